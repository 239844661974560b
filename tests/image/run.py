#!/usr/bin/env python3
"""Boots the image under QEMU, and plays it what an instance meets: players, EFS that hangs or is missing, a reboot.

    target/lab/venv/bin/python tests/image/run.py target/image/mc-idle.qcow2 [SCENARIO...]    (or `make image-test`)

Needs root, and what tests/image/setup.sh installs. AWS is emulated (tests/lab/aws.py), EFS is a real NFS 4.1 server, the
players are real clients. Everything runs in namespaces of its own, which end with this program, however that ends.
What a run leaves behind (consoles, journals) is in target/image/run. Exit codes as for the demo: 0, 1 or 130.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import Request

sys.dont_write_bytecode = True  # nothing generated among the sources
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
from demo import Crew, Failure, expect, play  # noqa: E402

import network  # noqa: E402
from apart import delete_disks, go_apart, only_one_in  # noqa: E402
from efs import GAME_VERSION, Efs  # noqa: E402
from instance import Instance  # noqa: E402
from log import Log  # noqa: E402
from scenarios import SCENARIOS, settings, up_and_idle  # noqa: E402

TARGET = HERE.parent.parent / "target/image"
TOOLS = [
    "qemu-system-x86_64", "qemu-img", "ganesha.nfsd", "nft", "dnsmasq", "debugfs", "journalctl", "ssh", "node", "unshare",
]


class Stage:
    """What all scenarios share: the network, EFS, and the instances that were made from the image so far."""

    def __init__(self, image, screen, crew, folder, sockets):
        self.image, self.screen, self.crew, self.folder, self.sockets = image, screen, crew, folder, sockets
        self.efs = Efs(crew, folder)
        self.name = self.present = None
        self.made = 0
        self.identities = {}

    def say(self, text):
        self.screen.line("test", text)

    def set_up(self):
        network.build()
        network.start_dhcp(self.crew, self.sockets)
        network.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.sockets / "key")
        self.efs.fill()
        self.efs.start()
        while not self.efs.listens():
            time.sleep(0.2)
        self.say("the network is up; nfs-ganesha serves EFS")

    def instance(self, name, wanted):
        """The instance of this name, if it is the present one; else a new one, which takes its place."""
        if self.name != name:
            if self.present:
                self.present.end()
            self.made += 1
            self.name, self.present = name, Instance(self, f"{self.made}-{name}", wanted)
        return self.present

    def start_player(self, name):
        self.crew.start(name, *network.inside(
            "players", "node", HERE.parent / "lab/bot.js", "--host", network.GUEST, "--port", "25565", "--name", name,
            "--version", GAME_VERSION,
        ))

    def post(self, aws, page, content):
        body = json.dumps(content).encode()
        aws.opener.open(Request(f"{aws.endpoint}/lab/{page}", body), timeout=10).close()

    def note_identity(self, instance):
        """Remembers who an instance is, and that it stays so."""
        name = instance.name
        identity = instance.identity()
        keys = len(identity["host keys"])
        self.say(f"instance {name} has the machine id {identity['machine id']} and {keys} host keys")
        expect(identity["machine id"] and identity["host keys"], f"the instance lacks an identity: {identity}")
        known = self.identities.setdefault(name, identity)
        expect(identity == known, f"the instance has changed: {known} before, {identity} now")
        return identity

    def compare_identities(self):
        if len(self.identities) < 2:
            other = self.instance("other", settings())
            other.start()
            up_and_idle(other)
            self.note_identity(other)
        seen = {}
        for name, identity in self.identities.items():
            for mark in [identity["machine id"], *identity["host keys"]]:
                owner = seen.setdefault(mark, name)
                expect(owner == name, f"instances {owner} and {name} have this in common: {mark}")
        self.say(f"{len(self.identities)} instances of one image have no machine id and no host key in common")

    def play(self, names):
        try:
            self.set_up()
            for name in names:
                self.say(f"-- {name}: {SCENARIOS[name].__doc__}")
                SCENARIOS[name](self)
                self.say(f"-- {name}: as promised")
            if "reboot" in names:
                self.compare_identities()
        except Failure:
            self.last_words()
            raise

    def last_words(self):
        """What a failure leaves: the console, and the journal if the guest still answers."""
        instance = self.present
        if not instance:
            return
        for line in instance.machine.console_tail():
            self.screen.line("", f"console: {line}")
        try:
            text = instance.machine.ssh("sudo", "journalctl", "--boot", "--no-pager", "--output=short-monotonic")
        except Failure as failure:
            self.say(f"the guest's journal is not to be had: {failure}")
            return
        kept = instance.machine.folder / "journal-at-failure.txt"
        kept.write_text(text)
        self.say(f"the guest's journal is in {kept}")


def ready(image, names):
    """What is missing, in one sentence; None if nothing is."""
    if os.geteuid():
        return "needs root: for the network namespaces and the NFS server"
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"needs {', '.join(missing)}: run tests/image/setup.sh"
    if unknown := [name for name in names if name not in SCENARIOS]:
        return f"knows no scenario {', '.join(unknown)}: there are {', '.join(SCENARIOS)}"
    if not image.exists():
        return f"needs the image {image}: run `make image`"
    return None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    image, names = Path(sys.argv[1]), sys.argv[2:] or list(SCENARIOS)
    if trouble := ready(image, names):
        sys.exit(f"run.py: {trouble}")
    go_apart()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _lock = only_one_in(TARGET)
    folder = TARGET / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    screen = Log()
    crew = Crew(screen)
    with tempfile.TemporaryDirectory(prefix="mc-idle-") as sockets:  # whose paths must be short
        stage = Stage(image, screen, crew, folder, Path(sockets))

        def end():
            crew.end_all()
            delete_disks(folder)

        code = play(screen, lambda: stage.play(names), end)
    if not code:
        screen.as_promised()
    return code


if __name__ == "__main__":
    sys.exit(main())
