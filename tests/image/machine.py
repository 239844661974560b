"""The virtual machine: QEMU in software, with the firmware's marks of EC2, a console, a power button and SSH."""

import json
import re
import shlex
import socket
import subprocess
import time
import uuid
from pathlib import Path

from demo import Failure, expect

import network

ESCAPES = re.compile(r"\x1b[\[\]][0-9;?]*[A-Za-z]|[\r\x1b]")  # colours and cursor movements
NO_CONNECTION = 255
USER = "debian"  # cloud-init's default user, who gets the instance's key pair


class Machine:
    """One disk, which may be switched on and off more than once."""

    def __init__(self, crew, folder, sockets, image, instance_id):
        self.crew = crew
        self.folder = Path(folder)
        self.sockets = Path(sockets)
        self.disk = self.folder / "disk.qcow2"
        self.instance_id = instance_id
        # cloud-init knows EC2 by its beginning.
        self.uuid = "ec2" + str(uuid.uuid4())[3:]
        self.starts = 0
        self.console = None
        # The image itself stays as it was built.
        image = Path(image).resolve()
        network.command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, self.disk)

    def switch_on(self):
        self.starts += 1
        self.console = self.folder / f"console-{self.starts}.log"
        self.crew.start(
            "machine", "qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1536",
            "-nodefaults", "-display", "none", "-rtc", "base=utc",
            "-smbios", f"type=1,manufacturer=Amazon EC2,product=t3.medium,uuid={self.uuid},serial={self.uuid}",
            "-smbios", f"type=2,manufacturer=Amazon EC2,asset={self.instance_id}",
            "-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2",
            "-drive", f"file={self.disk},format=qcow2,if=virtio,cache=unsafe",
            "-netdev", f"tap,id=net,ifname={network.TAP},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac={network.GUEST_MAC}", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.console}", "-qmp", f"unix:{self.sockets / 'qmp'},server=on,wait=off",
        )

    def is_on(self):
        return self.crew.members["machine"].poll() is None

    def press_power_button(self):
        """What a guest sees of StopInstances."""
        self.crew.expected_to_live.discard("machine")
        self.qmp("system_powerdown")

    def pull_the_plug(self):
        if self.starts and self.is_on():
            self.crew.end("machine")

    def qmp(self, order):
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(str(self.sockets / "qmp"))
            lines = monitor.makefile("rw")
            lines.readline()  # the greeting
            for execute in ("qmp_capabilities", order):
                lines.write(json.dumps({"execute": execute}) + "\n")
                lines.flush()
                while "event" in (answer := json.loads(lines.readline())):
                    pass
                expect("return" in answer, f"QEMU refused {execute}: {answer}")

    def ssh(self, *words, seconds=60):
        """What the command prints in the guest, run by a user who may become root."""
        order = shlex.join(words)
        end = time.monotonic() + seconds
        while True:
            try:
                done = subprocess.run(
                    ["ssh", "-F", "none", "-i", self.sockets / "key", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
                     "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=15",
                     "-o", "ServerAliveInterval=10", f"{USER}@{network.GUEST}", order],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
                )
            except subprocess.TimeoutExpired:
                raise Failure(f"`{order}` did not end in the guest within {seconds} s") from None
            if done.returncode == 0:
                return done.stdout
            # ssh's own failure: the guest's side may still be starting.
            if done.returncode != NO_CONNECTION or time.monotonic() >= end:
                complaint = (done.stderr or done.stdout).strip()
                raise Failure(f"`{order}` failed in the guest with {done.returncode}: {complaint}")
            time.sleep(1)

    def console_tail(self, lines=40):
        if not self.console or not self.console.exists():
            return []
        text = ESCAPES.sub("", self.console.read_bytes().decode(errors="replace"))
        return [line for line in text.splitlines() if line.strip()][-lines:]
