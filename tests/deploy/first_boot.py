"""What the stack's script does at the boots of a plain Amazon Linux, of which the first ones fail. Run by template.py.

Real: the script, bash, tar. Stand-ins, which note how they are called: everything that changes a machine (mount, systemctl, install,
chown, shutdown), the download by the AWS CLI, and waiting.
"""

import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

REAL = ["bash", "mktemp", "tar", "gzip", "seq", "mkdir", "touch"]
STAND_INS = {
    "aws": '[ ! -e "$ROOT/no-network" ] && cat "$ROOT/bundle.tar.gz"',
    "mount": '[ ! -e "$ROOT/no-efs" ] && touch "$ROOT/mounted"',
    "mountpoint": '[ -e "$ROOT/mounted" ]',
    "install": 'for last; do :; done; mkdir -p "$last"',
    "systemctl": ":", "chown": ":", "shutdown": ":", "sleep": ":",
}
QUIET = {"mountpoint", "sleep", "chown", "install"}  # not what this is about


class Machine:
    """With `script` as what it does at each boot, and its files in `folder`."""

    def __init__(self, script, folder):
        self.root = Path(folder)
        for place in ("bin", "mnt/efs", "srv", "var/lib/cloud/instance"):
            (self.root / place).mkdir(parents=True)
        for name in REAL:
            (self.root / "bin" / name).symlink_to(shutil.which(name))
        for name, body in STAND_INS.items():
            note = "" if name in QUIET else f'echo "{name} $*" >>"$ROOT/called"\n'
            self.program(name, f"PATH=/usr/bin:/bin\n{note}{body}")
        with tarfile.open(self.root / "bundle.tar.gz", "w:gz") as bundle:
            text = f"printf '#!/bin/sh\\n' >{self.root}/bin/mc-idle && PATH=/bin chmod 755 {self.root}/bin/mc-idle\n".encode()
            entry = tarfile.TarInfo("./install.sh")
            entry.size = len(text)
            bundle.addfile(entry, BytesIO(text))
        for place in ("/mnt/efs", "/srv/minecraft", "/var/lib/cloud"):
            script = script.replace(place, f"{self.root}{place}")
        self.script = self.root / "at-boot"
        self.script.write_text(script)

    def program(self, name, body):
        file = self.root / "bin" / name
        file.write_text(f"#!/bin/bash\n{body}\n")
        file.chmod(0o755)

    def boot(self, *, network=True, efs=True):
        """The exit code of the script, and the calls that it has made."""
        (self.root / "mounted").unlink(missing_ok=True)
        (self.root / "called").write_text("")
        for name, there in (("no-network", network), ("no-efs", efs)):
            (self.root / name).unlink(missing_ok=True)
            if not there:
                (self.root / name).touch()
        done = subprocess.run(
            [shutil.which("bash"), self.script], env={"PATH": str(self.root / "bin"), "ROOT": str(self.root)}, capture_output=True,
            text=True, timeout=60, check=False,
        )
        return done.returncode, (self.root / "called").read_text() + done.stderr


def troubles(script, folder):
    """What is not as it should be, a sentence each."""
    machine = Machine(script, folder)
    enabled = "systemctl enable --now --no-block minecraft@survival"
    code, called = machine.boot(network=False)
    if not code or "shutdown -h +10" not in called or enabled in called:
        yield f"a machine without mc-idle is not switched off: {called}"
    code, called = machine.boot(efs=False)
    if not code or "systemctl start --no-block mc-idle" not in called or "shutdown" in called or enabled in called:
        yield f"at a second boot, without the world, mc-idle alone should be there: {called}"
    code, called = machine.boot()
    if code or enabled not in called or "aws" in called:
        yield f"at a third boot, the server should be set up: {called}"
    if not (machine.root / "mnt/efs/minecraft/survival/server.properties").exists():
        yield "the server has no server.properties"
    code, called = machine.boot()
    if code or called:
        yield f"once it is set up, a boot should change nothing: {called}"
