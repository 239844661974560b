"""Where a test runs that must leave nothing behind: in namespaces of its own, and alone in its folder."""

import fcntl
import os
import shutil
import sys

APART = "MC_IDLE_TEST_APART"


def go_apart():
    """Into a network, mount and process namespace, so that nothing outlives this program. Begins the program afresh."""
    if os.environ.get(APART):
        return
    os.environ[APART] = "yes"
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


def delete_disks(folder):
    """What a run's machines and its NFS server have written: too much to keep."""
    shutil.rmtree(folder / "efs", ignore_errors=True)
    for disk in folder.glob("*/disk.qcow2"):
        disk.unlink()


def only_one_in(folder):
    """The lock of `folder`, which is kept as long as what is returned; ends this program if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "run.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another run is under way in {folder}")
    return lock
