"""A Debian with a real systemd, in a container that takes itself for an EC2 instance: AWS (ec2.py) is beside it."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import ec2
from report import Failure, expect

PROJECT = Path(__file__).resolve().parent.parent.parent
TREE = PROJECT / "target/machine/root.tar"
LAB = PROJECT / "target/lab"
# Where the Minecraft server of the lab is inside.
GAME = "/opt/lab"
GAME_UNIT = f"""\
[Unit]
Description=Minecraft server

[Service]
User=minecraft
WorkingDirectory=/srv/minecraft
Environment=LD_LIBRARY_PATH={GAME}/lib
ExecStart={GAME}/node {GAME}/tests/lab/server.js --port 25565 --version 1.20.2
"""
# As an AMI of Debian has it: a user who may use sudo, and the certificates of AWS's endpoints trusted.
PREPARE = f"""set -e
dpkg --install /root/sudo.deb
useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
useradd --system minecraft
chown -R minecraft: /srv/minecraft
mv /root/release/* /home/admin/
chown admin: /home/admin/*
ip address add {ec2.METADATA}/32 dev lo
echo '127.0.0.1 {" ".join(ec2.NAMES)}' >>/etc/hosts
"""


def outcome(process, line, what):
    """The first line that a process prints, which says that it is ready."""
    said = process.stdout.readline().strip()
    expect(line in said, f"{what} is not ready: {said or 'it ended'}")
    return said


class Instance:
    def __init__(self, files, work):
        """Boots it with these files in the home of the user `admin`."""
        self.stack = ExitStack()
        self.work = work
        overlay = work / "overlay"
        self.lay(overlay, files)
        options = [f"--bind-ro={LAB}:{GAME}/target/lab", f"--bind-ro={PROJECT}/tests/lab:{GAME}/tests/lab"]
        booting = self.start([PROJECT / "tests/machine/nspawn.sh", TREE, overlay, *options])
        self.init = outcome(booting, "pid ", "the container").removeprefix("pid ")
        done = self.run(PREPARE)
        expect(done.returncode == 0, f"the container could not be prepared: {done.stdout}")
        self.start_aws()

    def lay(self, overlay, files):
        for folder in ("root/release", "srv/minecraft", "etc/systemd/system", f"{GAME[1:]}/lib"):
            (overlay / folder).mkdir(parents=True)
        for file in files:
            shutil.copy(file, overlay / "root/release")
        (overlay / "srv/minecraft/server.properties").write_text("server-port=25565\n")
        (overlay / "etc/systemd/system/minecraft.service").write_text(GAME_UNIT)
        node = shutil.which("node")
        shutil.copy(node, overlay / f"{GAME[1:]}/node")
        # Debian's has libraries of its own; those of the C compiler are in every tree.
        for line in subprocess.run(["ldd", node], capture_output=True, text=True, check=True).stdout.splitlines():
            name, _, path = line.strip().partition(" => ")
            if path and not name.startswith(("libc.", "libm.", "libdl.", "libpthread.", "libstdc++.", "libgcc_s.")):
                shutil.copy(path.split()[0], overlay / f"{GAME[1:]}/lib")
        download = self.work / "sudo"
        download.mkdir()
        download.chmod(0o777)  # apt-get downloads as a user of its own
        subprocess.run(["apt-get", "download", "--quiet", "sudo"], cwd=download, capture_output=True, check=True)
        [package] = download.glob("sudo_*.deb")
        shutil.copy(package, overlay / "root/sudo.deb")

    def start(self, command):
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.stdin.close()
        process.wait(60)

    def start_aws(self):
        beside = ["nsenter", "-t", self.init, "-n", sys.executable]
        aws = self.start([*beside, Path(__file__).with_name("ec2.py"), self.work])
        self.instance_id = json.loads(outcome(aws, "instance_id", "AWS"))["instance_id"]
        trusted = "cat >/usr/local/share/ca-certificates/aws.crt && update-ca-certificates"
        done = self.run(trusted, given=(self.work / "ca.pem").read_text())
        expect(done.returncode == 0, f"the certificate could not be installed: {done.stdout}")

    def run(self, line, *, user=None, given=None):
        """Runs a shell line inside, by root or as a user who has logged in; all that it prints is in `stdout`."""
        shell = ["runuser", "--login", user, "--command", line] if user else ["/bin/sh", "-c", line]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        done = subprocess.run(
            ["nsenter", "-t", self.init, "-a", *environment, *shell],
            input=(given or "").encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )
        # A terminal shows of a line what was written last.
        lines = done.stdout.decode(errors="replace").split("\n")
        done.stdout = "\n".join(line.rstrip("\r").split("\r")[-1] for line in lines)
        return done

    def state(self):
        """What EC2 says of it."""
        done = self.run(f"busybox wget -q -O - http://{ec2.METADATA}/lab/state")
        return json.loads(done.stdout)["state"]

    def wait(self, what, met, seconds):
        end = time.monotonic() + seconds
        while not met():
            if time.monotonic() > end:
                raise Failure(f"waited {seconds} s in vain: {what}")
            time.sleep(0.5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()
