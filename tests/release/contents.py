#!/usr/bin/env python3
"""What a release consists of: contents.txt, and where the files come from.

    tests/release/contents.py collect ARCHITECTURE FOLDER     copies what `make packages launcher` has built into FOLDER
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
from changelog import version  # noqa: E402

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
PROGRAMS = ("mc-idle", "mc-broker", "mc-launcher")
SUMS = "SHA256SUMS"
# Debian's name: Rust's target, the kernel's name, what readelf calls it.
ARCHITECTURES = {
    "amd64": ("x86_64-unknown-linux-gnu", "x86_64", "Advanced Micro Devices X86-64"),
    "arm64": ("aarch64-unknown-linux-gnu", "aarch64", "AArch64"),
}
BUILT = ("target/packages", "target/launcher")


def this_architecture():
    kernel = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return next(name for name, (_, other, _) in ARCHITECTURES.items() if other == kernel)


def names(architectures):
    """The names of the files for these architectures, and of those for all."""
    lines = [line.split() for line in (HERE / "contents.txt").read_text().splitlines() if not line.startswith("#")]
    wanted = {*architectures, "any"}
    return [name.replace("VERSION", version()) for architecture, name in lines if architecture in wanted]


def built(architecture):
    """The names of what is built for one architecture."""
    return [name for name in names([architecture]) if name not in names([])]


def architectures_in(folder):
    """Those that there is a file for; this machine's if there is none at all."""
    found = [name for name in ARCHITECTURES if any((folder / file).is_file() for file in built(name))]
    return found or [this_architecture()]


def collect(architecture, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in built(architecture):
        found = [path for path in (PROJECT / place / name for place in BUILT) if path.is_file()]
        if not found:
            sys.exit(f"contents.py: {name} is not in {' or '.join(BUILT)}: run make packages launcher")
        shutil.copyfile(found[0], folder / name)


def main():
    options = argparse.ArgumentParser(description="What a release consists of; see the head of this file")
    collecting = options.add_subparsers(dest="command", required=True).add_parser("collect")
    collecting.add_argument("architecture", choices=ARCHITECTURES)
    collecting.add_argument("folder", type=Path)
    given = options.parse_args()
    collect(given.architecture, given.folder)


if __name__ == "__main__":
    main()
