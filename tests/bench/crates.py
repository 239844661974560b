"""What the program's size is made of, by crate: it is built again for that, with its symbols (`make bench-size`, a quarter of an hour)."""

import json
import os
import subprocess

from context import ROOT, table

MOST = 15


def measure(_context):
    # cargo-bloat keeps the symbols by itself.
    environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target/bench-build")}
    words = ["cargo", "bloat", "--release", "--locked", "--bin", "mc-idle", "--crates", "-n", "0", "--message-format", "json"]
    printed = subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(printed)


def targets(_result):
    return []


def section(result):
    crates = sorted(result["crates"], key=lambda crate: -crate["size"])
    parts = [(f"`{crate['name']}`", crate["size"]) for crate in crates[:MOST]]
    if len(crates) > MOST:
        parts.append((f"{len(crates) - MOST} others", sum(crate["size"] for crate in crates[MOST:])))
    rows = [[name, f"{size:,}", f"{size / result['text-section-size']:.1%}"] for name, size in parts]
    return "\n".join([
        "### Size, by crate\n",
        "Code (`.text`) only, by `cargo bloat`, which guesses where a function was inlined (`make bench-size`).\n",
        table(["crate", "bytes", "of the code"], *rows),
    ])
