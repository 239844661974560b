#!/usr/bin/env python3
"""Goes the way of somebody new, from a clone to a page that starts a server, and writes down what was typed and what came.

    target/lab/venv/bin/python tests/deploy/first_deploy.py docs/first-deploy.md [ZIP RPM]     (or `make first-deploy`)

The clone is of the last commit, into an empty folder. ZIP and RPM are files of a release; without them, everything is built anew in
the clone: an hour on two busy cores. AWS is emulated (tests/lab/cloud.py); the AWS CLI is the real one. Exit code 1, and no page, if a command does not do what the page says.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "lab"))
from demo import Crew, Failure, Screen, expect  # noqa: E402
from deployer import Deployer  # noqa: E402
from ports import free_port  # noqa: E402

REGION = "eu-west-1"
HEAD = """\
# From a clone to a page that starts the server

Written by `make first-deploy`, which typed each command in a fresh clone and took down what came, on a Debian 12 with two cores
that had other work as well. AWS is emulated (ministack): so the account is 000000000000, the stack is made in no time, where AWS
takes three to five minutes, and the instance never boots. What each setting means is in [deploy.md](deploy.md).
"""
BUILT = "Building takes most of the time; with the files of a release (`Zip=`, `Package=`) there is none of it."
RELEASED = "With the files of a release nothing is built. Without `Zip=` and `Package=`, the command builds both first, which took an\nhour on two cores that had three other builds to do."


class Page:
    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment
        self.parts = [HEAD]
        self.began = time.monotonic()

    def say(self, text):
        self.parts.append(text + "\n")

    def type(self, command, *, ends_with=0, says=(), shown=None, folder=None):
        """Types a command, of whose output `shown` makes what is on the page; it takes the time that stands beside it."""
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder or self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        took = time.monotonic() - began
        expect(done.returncode == ends_with, f"`{command}` ended with {done.returncode}:\n{done.stdout[-3000:]}")
        for text in says:
            expect(text in done.stdout, f"`{command}` does not say {text!r}:\n{done.stdout[-3000:]}")
        output = (shown or (lambda text: text))(done.stdout).rstrip()
        self.parts.append(f"```console\n$ {command}\n{output}".rstrip() + f"\n```\n\n{self.in_words(took)}\n")
        print(f"{command}: {took:.0f} s", flush=True)
        return done.stdout

    @staticmethod
    def in_words(seconds):
        return f"({seconds:.0f} s)" if seconds < 120 else f"({seconds / 60:.0f} min)"


def without_the_compiler(text):
    """What a build says of its progress is of no use on a page."""
    lines = [line for line in text.splitlines() if not re.match(r"\s*(Compiling|Downloading|Downloaded|Updating|Finished|Locking|Adding|setup:|Blocking)", line)]
    return "\n".join(line for line in lines if "make[" not in line)


def walk(page, clone, files):
    given = "".join(f" {name}={file.name}" for name, file in zip(("Zip", "Package"), files, strict=False))
    page.say("## 1. The clone\n\nWhat is needed: git, [Rust](https://rustup.rs/), and the [AWS CLI](https://docs.aws.amazon.com/cli/) 2 with your credentials.")
    page.type(f"git clone -q {PROJECT.as_uri()} mc-idle && ls mc-idle", folder=clone.parent)
    page.type("aws sts get-caller-identity --query Account --output text")
    page.say(f"## 2. One command\n\n{RELEASED if files else BUILT}")
    for file in files:
        shutil.copy(file, clone)
    said = page.type(f"make deploy SERVER=survival HoursPerMonth=40{given}", says=["/i/", "What it costs"], shown=without_the_compiler)
    url = re.search(r"https://[^/]+\.on\.aws", said).group(0)
    page.say("The instance that it has launched sets itself up at its first boot. From now on your friends start it, and mc-idle stops it.")
    page.say("## 3. What is there")
    page.type("aws ec2 describe-instances --query 'Reservations[].Instances[].[InstanceId,InstanceType,State.Name]' --output text", says=["running"])
    page.type("aws ssm describe-parameters --query 'Parameters[].[Name,Type]' --output text", says=["/mc-idle/survival/key\tSecureString"])
    host = url.removeprefix("https://")
    page.say("The page's JSON, for a stranger. (In the emulator a function is reached by its name in `Host`.)")
    page.type(f"curl -s -H 'Host: {host}' $EMULATOR/status", says=['"state"'])
    page.say("## 4. Another setting")
    page.type(f"make deploy SERVER=survival HoursPerMonth=60{given}", says=["/i/"], shown=lambda text: without_the_compiler(text).split("\nThe page,")[0])
    page.say("A setting that there is not is refused:")
    page.type("make deploy SERVER=survival Hours=60", ends_with=2, says=["Hours is no setting"])
    page.say("## 5. Taking it down\n\nNot while somebody may be playing:")
    page.type("make undeploy SERVER=survival", ends_with=2, says=["somebody may be playing"])
    page.type("make undeploy SERVER=survival FORCE=true", says=["What stays"])


def main():
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    files = [Path(name).resolve() for name in sys.argv[2:]]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen()
    crew = Crew(screen)
    try:
        with tempfile.TemporaryDirectory(prefix="mc-idle-first-deploy-") as name:
            folder = Path(name)
            port = free_port()
            crew.start(
                "aws", PROJECT / "target/lab/ministack/bin/python", HERE.parent / "lab/cloud.py", "--port", port, "--region", REGION,
                environment={"TMPDIR": name},
            )
            try:
                endpoint = crew.first_line("aws", 60)
                (folder / "bin").mkdir()
                deployer = Deployer(endpoint, REGION, folder / "bin")
                environment = {key: value for key, value in deployer.environment.items() if key not in ("AWS", "CARGO_TARGET_DIR")}
                environment |= {"PATH": f"{folder / 'bin'}:{environment['PATH']}", "EMULATOR": endpoint}
                page = Page(folder / "mc-idle", environment)
                walk(page, folder / "mc-idle", files)
                text = "\n".join(page.parts).replace(PROJECT.as_uri(), "https://github.com/OWNER/mc-idle").replace(name, "/tmp/new")
                Path(sys.argv[1]).write_text(text)
            finally:
                crew.end_all()
    except Failure as failure:
        screen.line("FAILED", str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
