"""The emulator's instance is a machine under QEMU: it is switched on and off as EC2's states say."""

import json
import time

from botocore.exceptions import ClientError
from demo import expect
from inside import Guest
from instance import OFF_SECONDS
from machine import Machine


class Instance(Guest):
    """The one instance, its machine, and what is seen of both. `switched_on`: the folder that the emulator looks at."""

    def __init__(self, stage, name, switched_on):
        super().__init__(stage, name)
        deployment = stage.deployment
        self.account, self.instance_id = deployment.account, deployment.instance_id
        self.parameter, self.warden = f"{deployment.prefix}/heartbeat", deployment.warden
        self.on = switched_on / self.instance_id
        self.state = deployment.state()
        self.described = []  # all instances in the account, as they were last seen
        self.beats = []
        self.pressed_at = None
        folder = stage.folder / name
        folder.mkdir()
        if stage.image:
            self.machine = Machine(self.crew, folder, stage.sockets, stage.image, self.instance_id)

    def look(self):
        """Follows EC2, and reads the heartbeat."""
        reservations = self.account.client("ec2").describe_instances()["Reservations"]
        self.described = [instance for reservation in reservations for instance in reservation["Instances"]]
        own = [instance for instance in self.described if instance["InstanceId"] == self.instance_id]
        state = own[0]["State"]["Name"] if own else "gone"
        if state != self.state:
            self.state = state
            self.stage.timeline.mark(state)
            self.screen.line("aws", f"{self.instance_id} is {state}; the event wakes the warden")
            self.account.hand_state_change(self.warden, self.instance_id, state)
            self.follow()
        if self.on.exists() and not self.machine.is_on():
            self.stage.timeline.mark("off")
            took = time.time() - self.pressed_at
            self.screen.line("aws", f"the machine is off, {took:.0f} s after the power button")
            self.on.unlink()
        if self.pressed_at and self.on.exists():
            took = time.time() - self.pressed_at
            expect(took < OFF_SECONDS, f"the machine was not off {OFF_SECONDS} s after the power button")
        self.read_heartbeat()

    def follow(self):
        if self.state == "pending" and self.machine:
            self.on.touch()
            self.machine.switch_on()
            self.screen.line("aws", "EC2 switches the machine on: QEMU boots the image")
        elif self.state == "stopping" and self.on.exists():
            self.pressed_at = time.time()
            self.machine.press_power_button()
            self.screen.line("aws", "EC2 presses the power button")

    def read_heartbeat(self):
        try:
            value = self.account.client("ssm").get_parameter(Name=self.parameter)["Parameter"]["Value"]
        except ClientError:  # none yet
            return
        beat = json.loads(value)
        if self.beats and self.beats[-1] == beat:
            return
        self.stage.timeline.mark("first heartbeat")
        if beat["listening"]:
            self.stage.timeline.mark("listening")
        if not self.beats or beat["state"] != self.beats[-1]["state"] or beat["players"] != self.beats[-1]["players"]:
            players = "" if beat["players"] is None else f", {beat['players']} in the game"
            sentence = beat["why"].partition(". ")[0]
            self.screen.line("ssm", f"heartbeat {beat['state']}{players}, efs {beat['efs']}: {sentence}")
        self.beats.append(beat)

    def last_beat(self):
        return self.beats[-1] if self.beats else None
