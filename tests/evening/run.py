#!/usr/bin/env python3
"""The whole system, live: from a press of the page's button to asleep again, and what must hold on the way.

    target/lab/venv/bin/python tests/evening/run.py LAUNCHER BROKER IMAGE [EVENING...]    (or `make evening`)

Evenings: `evening`, which is played if none is named; `dead`, with an mc-idle that is killed; `scanners`, a night of
them. Needs root, and what tests/image/setup.sh and tests/lab/setup.sh (lab, cloud, manual) install. Each runs in
namespaces of its own, which end with this program, however that ends. It leaves target/evening: consoles, the journal,
pictures, and timeline.md. Exit codes as for the demo: 0, 1 or 130.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent / "image"), str(HERE.parent / "lab")]
import settings  # noqa: E402
from apart import delete_disks, go_apart, only_one_in  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402
from browser import BrowserError, missing  # noqa: E402
from demo import Crew, Failure, play  # noqa: E402
from deployer import cli  # noqa: E402
from evenings import EVENINGS  # noqa: E402
from log import Log  # noqa: E402
from stage import LAB, Stage  # noqa: E402

TARGET = HERE.parent.parent / "target/evening"
TOOLS = [
    "qemu-system-x86_64", "qemu-img", "ganesha.nfsd", "nft", "dnsmasq", "debugfs", "journalctl", "ssh", "node",
    "unshare", "ss", "curl",
]


def introduction(evening):
    boots = evening.boots
    lines = [f"Real: {settings.REAL}." if boots else f"Real: {settings.REAL_NIGHT}."]
    lines += [f"Emulated: {what}." for what in settings.EMULATED]
    lines += [f"Shortened (the default in brackets): {what}." for what in evening.shortened]
    lines += [f"Lengthened: {settings.LENGTHENED}."] if boots else []
    return [*lines, f"Injected: {settings.INJECTED}."]


def spend(name, programs, image):
    """One evening, in namespaces of its own; the exit code."""
    evening, folder = EVENINGS[name], TARGET / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    screen = Log()
    crew = Crew(screen)
    lines = introduction(evening)
    screen.line("test", f"-- {name}: {evening.play.__doc__}")
    for line in lines:
        screen.line("test", line)
    with tempfile.TemporaryDirectory(prefix="mc-idle-") as sockets:  # whose paths must be short
        stage = Stage(programs, image if evening.boots else None, screen, crew, folder, Path(sockets))

        def story():
            try:
                stage.set_up(evening.deploy_settings, settings.AGENT, settings.HOLD_MINUTES)
                evening.play(stage)
            except (BotoCoreError, ClientError, BrowserError, Failure) as error:
                stage.last_words()
                raise Failure(str(error)) from error

        def end():
            stage.end()
            crew.end_all()
            delete_disks(folder)

        if code := play(screen, story, end):
            return code
    for line in stage.timeline.lines():
        screen.line("time", line)
    page = stage.timeline.markdown(f"{name}: {evening.play.__doc__}", [f"* {line}" for line in lines])
    (folder / "timeline.md").write_text(page)
    screen.as_promised()
    return 0


def ready(programs, image, names):
    """What is missing, in one sentence; None if nothing is."""
    if unknown := [name for name in names if name not in EVENINGS]:
        return f"knows no evening {', '.join(unknown)}: there are {', '.join(EVENINGS)}"
    if os.geteuid():
        return "needs root: for the network namespaces and the NFS server"
    if gone := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"needs {', '.join(gone)}: run tests/image/setup.sh"
    if gone := missing():
        return f"needs {', '.join(gone)}: run tests/lab/setup.sh manual"
    if not cli():
        return "needs the AWS CLI, version 2 (Debian's package awscli)"
    if not (LAB / "ministack/bin/python").exists():
        return "needs target/lab/ministack: run tests/lab/setup.sh cloud"
    for file in (*programs, image):
        if not file.exists():
            return f"needs {file}: run `make evening`, which builds it"
    return None


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    *programs, image = [Path(argument).resolve() for argument in sys.argv[1:4]]
    names = sys.argv[4:] or ["evening"]
    if trouble := ready(programs, image, names):
        sys.exit(f"run.py: {trouble}")
    if len(names) > 1:
        codes = (subprocess.call([sys.executable, *sys.argv[:4], name]) for name in names)
        sys.exit(next((code for code in codes if code), 0))
    go_apart()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _lock = only_one_in(TARGET)
    code = spend(names[0], programs, image)
    pages = [TARGET / name / "timeline.md" for name in EVENINGS]
    (TARGET / "timeline.md").write_text("\n".join(page.read_text() for page in pages if page.exists()))
    return code


if __name__ == "__main__":
    sys.exit(main())
