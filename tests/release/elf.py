"""What readelf says of a program, and whether it runs where it is meant to."""

import re
import shutil
import subprocess

from changelog import version
from contents import ARCHITECTURES, PROJECT, this_architecture
from report import Missing, expect, printed

BUILD = (PROJECT / "systemd/packaging/build.sh").read_text()
# The packages' own limits: Lambda runs Amazon Linux 2023 as well.
GLIBC = re.search(r"^glibc=(\S+)$", BUILD, re.MULTILINE)[1]
LIBRARIES = re.search(r"^libraries='(.*)'$", BUILD, re.MULTILINE)[1].split()


def numbers(text):
    return tuple(map(int, text.split(".")))


def check(binary, architecture):
    """What is to be said of it."""
    machine = ARCHITECTURES[architecture][2]
    header = printed("readelf", "--wide", "--file-header", binary)
    expect(f"Machine:                           {machine}" in header, f"is not for {machine}:\n{header}")
    sections = printed("readelf", "--wide", "--sections", binary)
    expect(".symtab" not in sections and ".debug_info" not in sections, "is not stripped")
    symbols = printed("readelf", "--wide", "--version-info", binary)
    versions = sorted(set(re.findall(r"GLIBC_([0-9.]+)", symbols)), key=numbers)
    expect(versions, "does not say which glibc it needs")
    expect(numbers(versions[-1]) <= numbers(GLIBC), f"needs glibc {versions[-1]}, and at most {GLIBC} is allowed")
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", printed("readelf", "--wide", "--dynamic", binary)))
    others = sorted(needed - set(LIBRARIES))
    expect(not others, f"needs {', '.join(others)}, which the packages do not depend on")
    return f"{machine}, stripped, needs glibc {versions[-1]}"


def check_runs(binary, program, architecture):
    """Runs it here, or under emulation."""
    command = [str(binary), "--version"]
    where = "runs here"
    if architecture != this_architecture():
        kernel = ARCHITECTURES[architecture][1]
        emulator = shutil.which(f"qemu-{kernel}") or shutil.which(f"qemu-{kernel}-static")
        if not emulator:
            raise Missing(f"there is no QEMU to run a program for {architecture}")
        command = [emulator, "-L", f"/usr/{kernel}-linux-gnu", *command]
        where = "runs under QEMU"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.strip() or done.stderr.strip() or f"nothing, and ended with {done.returncode}"
    expect(said == f"{program} {version()}", f"says {said}")
    return where
