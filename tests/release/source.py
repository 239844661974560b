"""A copy of the sources that git knows, for tools that write beside what they read, and for packing once more."""

import os
import shutil
import subprocess
from pathlib import Path

from contents import PROJECT
from report import Failure


def git(*words):
    """What git says of the checkout."""
    done = subprocess.run(["git", "-C", str(PROJECT), *words], capture_output=True, check=False)
    if done.returncode:
        raise Failure(f"git {words[0]} failed in the checkout: {done.stderr.decode().strip()}")
    return done.stdout


def commit_time():
    return int(git("log", "-1", "--format=%ct"))


def copy(folder):
    """Files as they are in the checkout, which may have changes; all of them new."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in git("ls-files", "-z").split(b"\0"):
        path = Path(os.fsdecode(name))
        if name and (PROJECT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / path, folder / path)
