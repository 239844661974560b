"""How large the program is that is installed."""

import subprocess

from context import has, table

# The parts of the file that are worth a row, as `size -A` calls them.
PARTS = [".text", ".rodata", ".eh_frame", ".rela.dyn", ".data.rel.ro", ".gcc_except_table"]


def measure(context):
    if not context.binary.exists():
        raise RuntimeError(f"no {context.binary.name}: make release, or --binary PATH")
    parts = {}
    if has("size"):
        printed = subprocess.run(["size", "-A", context.binary], capture_output=True, text=True, check=True).stdout
        found = {line.split()[0]: int(line.split()[1]) for line in printed.splitlines() if line.startswith(".")}
        parts = {name: found[name] for name in PARTS if name in found}
    return {"bytes": context.binary.stat().st_size, "parts": parts}


def targets(_result):
    return []


def section(result):
    rows = [[f"… `{name}`", f"{size:,}"] for name, size in sorted(result["parts"].items(), key=lambda part: -part[1])]
    return "\n".join([
        "## Size\n",
        "The stripped program, in bytes: all of its code, AWS SDK and TLS included; it needs the C library only.\n",
        table(["", "bytes"], ["`/usr/bin/mc-idle`", f"**{result['bytes']:,}**"], *rows),
    ])
