"""Somebody who runs `make deploy` and `make undeploy` against the emulated AWS, by the real AWS CLI 2."""

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
CLI_SECONDS = 600
INVITATION = re.compile(r"^ *(https://([^/\s]+)/i/([0-9a-f]{32}))$", re.M)


def cli():
    """The AWS CLI 2; None if there is none. Debian's package may stand behind another installation on the path."""
    for candidate in ("aws", "/usr/bin/aws"):
        if not (program := shutil.which(candidate)):
            continue
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        if said.startswith("aws-cli/2."):
            return program
    return None


class Deployer:
    def __init__(self, endpoint, region, folder):
        """`folder`: for the command that leads the CLI to the endpoint."""
        self.wrapper, self.before_each = Path(folder) / "aws", Path(folder) / "before-each-call"
        # Not every version 2 of the CLI knows AWS_ENDPOINT_URL.
        self.wrapper.write_text(
            f'#!/bin/sh\naws() {{ {cli()} --endpoint-url {endpoint} "$@"; }}\n[ ! -e {self.before_each} ] || . {self.before_each}\naws "$@"\n'
        )
        self.wrapper.chmod(0o755)
        self.temporary = Path(folder) / "temporary"  # for what the scripts keep while they run
        self.temporary.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and not name.lower().endswith("_proxy")}
        self.environment = kept | {
            "TMPDIR": str(self.temporary), "AWS": str(self.wrapper), "AWS_REGION": region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def meanwhile(self, calls, commands):
        """Has shell `commands` done right before each of the CLI's calls that match a pattern: `aws` in them is the CLI."""
        self.before_each.write_text(f'case "$*" in\n{calls}) {commands} ;;\nesac\n')
        try:
            yield
        finally:
            self.before_each.unlink()

    def run(self, script, settings):
        return subprocess.run(
            [DEPLOY / script, *(f"{name}={value}" for name, value in settings.items())], env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=CLI_SECONDS, check=False,
        )

    def deploy(self, **settings):
        return self.run("deploy.sh", settings)

    def undeploy(self, **settings):
        return self.run("undeploy.sh", settings)


def invitation(deployed):
    """Of what a deployment has said: the link, the page's host and the key; None if there is none."""
    found = INVITATION.search(deployed.stdout)
    return found and found.groups()
