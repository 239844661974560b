#!/usr/bin/env python3
"""Adds to a folder of built files what is made of all of them: an SBOM of each program, and SHA256SUMS.

    tests/release/complete.py FOLDER
"""

import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
import sbom  # noqa: E402
from contents import PROGRAMS, PROJECT, SUMS  # noqa: E402


def complete(folder):
    sbom.make(PROGRAMS, folder, PROJECT / "target/release-check/sbom")
    files = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    sums = subprocess.run(["sha256sum", "--", *files], cwd=folder, capture_output=True, text=True, check=True).stdout
    (folder / SUMS).write_text(sums)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    complete(Path(sys.argv[1]))
