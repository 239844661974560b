"""How large the program is that is installed."""

import subprocess

from context import has, table

# The parts of the file that are worth a row, as `size -A` calls them.
PARTS = [".text", ".rodata", ".eh_frame", ".rela.dyn", ".data.rel.ro", ".gcc_except_table"]
MOST = 6_500_000
# By hand, once: each row is a build of its own, of a quarter of an hour.
TRIED = """
How it came to that: each row with what the rows before it changed, built with `make release`, and its memory as in *At rest* after 25 s.

| | program | resident memory |
|---|---:|---:|
| `opt-level = "s"`, thin LTO, and the SDK's own choice for TLS, aws-lc | 9.1 MB | |
| fat LTO | 7.95 MB | 9.9 MiB |
| `opt-level = "z"` for all but mc-idle itself; ring for TLS; one HTTP connector for all services, not one for each | 6.91 MB | 8.7 MiB |
| the program before the next row, with all that it does today | 6.73 MB | 8.2 MiB |
| credentials from the instance's role or the environment only: no profiles, no STS | 6.25 MB | 7.6 MiB |

* `opt-level = "z"` for mc-idle too: 1.13 times the floor with 95,000 sockets, which is too much. `opt-level = 3` for it: no faster than `"s"`.
* The program is position independent, as Rust links by default: its own code is at a random address, like libraries, heap and stack. At a
  fixed address it would be smaller by 0.3 MB, the list of the places that are put right at each start (`.rela.dyn`). A daemon on the
  network is worth that. The shorter form of the list needs glibc 2.36, which Amazon Linux 2023 does not have.
* Not done: identical functions folded (`--icf=all`, 0.09 MB, and not in every linker); no unwind tables (0.85 MB, but then a
  debugger cannot tell where a program that was killed has been).
* `panic = "abort"` is no matter of size: a thread that is gone while the others go on would be a promise silently broken.
* Allocators, two runs of each with the program of 6.73 MB, by `LD_PRELOAD=…`: the C library's 8.0 and 8.1 MiB, with one arena only
  (`MALLOC_ARENA_MAX=1`) 8.0 and 8.0, mimalloc 2.0 8.9 and 8.9, jemalloc 5.3 10.4 and 10.4. So it is the C library's. The program was
  a fresh copy in these, of which the kernel has larger pieces at hand: 0.2 MiB more than of one that has been there for a while.
"""


def measure(context):
    if not context.binary.exists():
        raise RuntimeError(f"no {context.binary.name}: make release, or --binary PATH")
    parts = {}
    if has("size"):
        printed = subprocess.run(["size", "-A", context.binary], capture_output=True, text=True, check=True).stdout
        found = {line.split()[0]: int(line.split()[1]) for line in printed.splitlines() if line.startswith(".")}
        parts = {name: found[name] for name in PARTS if name in found}
    return {"bytes": context.binary.stat().st_size, "parts": parts}


def targets(result):
    size = result["bytes"]
    return [("the stripped program", f"at most {MOST / 1e6:.1f} MB", f"{size / 1e6:.2f} MB", size <= MOST)]


def section(result):
    rows = [[f"… `{name}`", f"{size:,}"] for name, size in sorted(result["parts"].items(), key=lambda part: -part[1])]
    return "\n".join([
        "## Size\n",
        "The stripped program, in bytes: all of its code, AWS SDK and TLS included; it needs only the libraries of C and GCC (libc, libm, libgcc_s).\n",
        table(["", "bytes"], ["`/usr/bin/mc-idle`", f"**{result['bytes']:,}**"], *rows),
        TRIED,
    ])
