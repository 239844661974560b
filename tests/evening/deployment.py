"""The deployment: deploy/deploy.sh in the emulated account, and what is public of it.

The only place that knows how it is made. Its instance has just been launched then, and is stopped at once, as mc-idle
would stop it after a while.
"""

import base64
import json
import platform
import time
from pathlib import Path

import user_data
import yaml
from demo import expect
from deployer import Deployer, invitation
from functions import package

IMAGE_ID = "ami-0123456789abcdef0"  # of the golden image, which QEMU boots
SETTLES_SECONDS = 60


class Deployment:
    """`settings`: of deploy.sh, by name. `tell`: the launcher's channels. `folder`: for what deploy.sh is given."""

    def __init__(self, account, server, launcher, settings, tell, folder):
        self.account, self.server, self.launcher, self.settings = account, server, launcher, settings
        self.tell, self.folder = tell, Path(folder)
        self.prefix = f"/mc-idle/{server}"
        self.page, self.warden = (f"mc-launcher-{server}-{role}" for role in ("page", "warden"))
        self.invitation = self.page_host = self.key = self.broker_key = self.instance_id = None

    def make(self):
        machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
        code, tell = self.folder / f"mc-launcher-{machine}.zip", self.folder / "tell.json"
        code.write_bytes(package(self.launcher))
        tell.write_text(json.dumps(self.tell))
        done = Deployer(self.account.endpoint, self.account.region, self.folder).deploy(
            SERVER=self.server, Zip=code, Tell=tell, ImageId=IMAGE_ID, Architecture="x86_64", InstanceType="t3.medium",
            **self.settings,
        )
        expect(done.returncode == 0, f"deploy.sh failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        link = invitation(done)
        expect(link, f"deploy.sh did not say the page's link:\n{done.stdout}")
        self.invitation, self.page_host, self.key = link
        self.broker_key, self.instance_id = self.parameter("broker-key"), self.parameter("instance-id")
        self.account.client("ec2").stop_instances(InstanceIds=[self.instance_id])
        end = time.monotonic() + SETTLES_SECONDS
        while (state := self.state()) != "stopped":
            expect(time.monotonic() < end, f"the new instance is still {state} after {SETTLES_SECONDS} s")
            time.sleep(0.2)
        # If the schedule's looks have told of this start, its end is told as well, before the evening begins.
        self.account.client("lambda").invoke(FunctionName=self.warden, Payload=b"{}")
        return done.stdout

    def parameter(self, name):
        found = self.account.client("ssm").get_parameter(Name=f"{self.prefix}/{name}", WithDecryption=True)
        return found["Parameter"]["Value"]

    def state(self):
        described = self.account.client("ec2").describe_instances(InstanceIds=[self.instance_id])
        return described["Reservations"][0]["Instances"][0]["State"]["Name"]

    def user_data(self, agent_settings):
        """What the instance was launched with, for the lab's EFS and AWS, and these further settings of mc-idle's."""
        ec2 = self.account.client("ec2")
        templates = ec2.describe_launch_templates()["LaunchTemplates"]
        expect(len(templates) == 1, f"there is not one launch template: {templates}")
        version = ec2.describe_launch_template_versions(
            LaunchTemplateId=templates[0]["LaunchTemplateId"], Versions=["$Latest"],
        )["LaunchTemplateVersions"][0]
        data = yaml.safe_load(base64.b64decode(version["LaunchTemplateData"]["UserData"]))
        data["write_files"].append({"path": "/etc/mc-idle/config.d/60-evening.toml", "content": agent_settings})
        return user_data.in_the_lab(data)
