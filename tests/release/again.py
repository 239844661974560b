"""Whether the same program, packed once more, gives the same bytes.

It is packed from a copy of the sources in another folder, with other times of files, time zone, umask and language."""

import io
import os
import shutil
import subprocess
import zipfile

import source
from contents import ARCHITECTURES, this_architecture
from report import Failure, expect, printed

ELSEWHERE = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "LANG": "de_DE.UTF-8"}


def time_in(rpm):
    return int(printed("rpm", "--query", "--package", "--queryformat=%{BUILDTIME}", rpm))


def check_time(rpm):
    """The time in the packages is the commit's, so that everybody who packs that commit gets the same ones."""
    built, commit = time_in(rpm), source.commit_time()
    expect(built == commit, f"is {built}, the commit's is {commit}: made from another one, or git could not be asked")


def pack(program, binary, architecture, time, work):
    """The folder with the packages made anew."""
    folder = work / "packed"
    shutil.rmtree(folder, ignore_errors=True)
    target = [] if architecture == this_architecture() else [ARCHITECTURES[architecture][0]]
    environment = os.environ | ELSEWHERE | {"SOURCE_DATE_EPOCH": str(time)}
    done = subprocess.run(
        ["systemd/packaging/build.sh", program, str(binary), str(folder), *target],
        cwd=work, env=environment, capture_output=True, text=True, check=False, umask=0o077,
    )
    if done.returncode:
        raise Failure(f"cannot be packed again: {done.stderr.strip()}")
    return folder


def check(package, again):
    expect(again.is_file(), f"packing again does not make {package.name}")
    expect(package.read_bytes() == again.read_bytes(), f"packed again it has other bytes: compare {again}")
    return "packed again it has the same bytes"


def check_zip(package):
    """The same from what the zip says of itself, which must not be anything of this machine or day."""
    with zipfile.ZipFile(package) as archive:
        entry, content = archive.infolist()[0], archive.read("bootstrap")
    expect(entry.date_time == (1980, 1, 1, 0, 0, 0), f"has a time in it: {entry.date_time}")
    expect(not entry.extra and not entry.comment, "has fields in it that differ by machine")
    copy = zipfile.ZipInfo("bootstrap")
    copy.external_attr, copy.compress_type = entry.external_attr, entry.compress_type
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(copy, content, compresslevel=9)
    expect(package.read_bytes() == packed.getvalue(), "packed again it has other bytes")
    return "packed again it has the same bytes"
