"""What a deployment makes in the account: the instance, the launcher's functions, their schedule, and the parameters.

The only place that knows how it is made. The others know a deployment by what is public of it: see Deployment.
"""

import json
import secrets
import time

import user_data
from demo import expect
from functions import create_functions

SETTLES_SECONDS = 30


class Deployment:
    """`settings`: the launcher's. `tell`: its channels. `allow`: for whom the broker may start."""

    warden = "warden"  # the function's name
    page = "page"

    def __init__(self, account, server, launcher, settings, tell, allow):
        self.account, self.server, self.launcher, self.settings = account, server, launcher, settings
        self.tell, self.allow = tell, allow
        self.prefix = f"/mc-idle/{server}"
        self.key, self.broker_key = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
        self.instance_id = self.page_host = None

    @property
    def invitation(self):
        return f"https://{self.page_host}/i/{self.key}"

    def make(self):
        """Leaves the instance stopped: it has never booted."""
        ec2, ssm = self.account.client("ec2"), self.account.client("ssm")
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "mc-idle:server", "Value": self.server}]}]
        run = ec2.run_instances(
            ImageId="ami-00000000", InstanceType="t3.medium", MinCount=1, MaxCount=1, TagSpecifications=tags,
        )
        self.instance_id = run["Instances"][0]["InstanceId"]
        ec2.stop_instances(InstanceIds=[self.instance_id])
        for name, kind, value in (
            ("instance-id", "String", self.instance_id), ("key", "SecureString", self.key),
            ("broker-key", "SecureString", self.broker_key), ("tell", "SecureString", json.dumps(self.tell)),
            ("allow", "StringList", ",".join(self.allow)),
        ):
            ssm.put_parameter(Name=f"{self.prefix}/{name}", Type=kind, Value=value)
        self.page_host = create_functions(self.account, self.launcher, {"MC_SERVER": self.server} | self.settings)
        end = time.monotonic() + SETTLES_SECONDS
        while (state := self.state()) != "stopped":
            expect(time.monotonic() < end, f"the new instance is still {state} after {SETTLES_SECONDS} s")
            time.sleep(0.2)

    def state(self):
        described = self.account.client("ec2").describe_instances(InstanceIds=[self.instance_id])
        return described["Reservations"][0]["Instances"][0]["State"]["Name"]

    def user_data(self, agent_settings):
        """What the instance gets. `agent_settings`: mc-idle's, as TOML, with places for its parameters' names."""
        shared = {"heartbeat": f"{self.prefix}/heartbeat", "hold": f"{self.prefix}/hold"}
        return user_data.document(agent_settings.format(**shared))
