"""An EC2 instance made from the image: its machine, the AWS that it lives in, and what is seen of both."""

import json
import sys
import time
from datetime import datetime
from pathlib import Path

from demo import Aws, Failure, expect, wait

import machine
import user_data
from inside import Guest

HERE = Path(__file__).resolve().parent
# Generous: the machine is emulated, and may have to share the processor.
BOOT_SECONDS = 600
GAME_SECONDS = 300
OFF_SECONDS = 240  # EC2 waits "a few minutes" before it pulls the plug


def seconds_of(stamp):
    return datetime.fromisoformat(stamp).timestamp()


class Instance(Guest):
    def __init__(self, stage, name, settings):
        super().__init__(stage, name)
        folder = stage.folder / name
        folder.mkdir()
        document = folder / "user-data"
        document.write_text(user_data.document(settings))
        self.crew.start(
            "aws", sys.executable, HERE / "ec2.py", "--user-data", document, "--public-key", stage.sockets / "key.pub",
        )
        self.aws = Aws(json.loads(self.crew.first_line("aws", 60)))
        self.machine = machine.Machine(self.crew, folder, stage.sockets, stage.image, self.aws.instance_id)
        self.shown_beats = 0
        self.first_beat = 0  # of those since the last start
        self.first_stop = 0  # likewise
        self.no_stop = None  # while a stop would be wrong: when that is, in words
        self.pressed = False
        self.screen.line("aws", f"{self.aws.instance_id} is made from the image {stage.image.name}")

    def end(self):
        self.machine.pull_the_plug()
        self.crew.end("aws")

    # What is done to it.

    def start(self):
        """As StartInstances does."""
        self.first_beat, self.first_stop = len(self.aws.heartbeats()), len(self.aws.stops())
        self.pressed = False
        if self.machine.starts:
            self.stage.post(self.aws, "power", {"state": "running"})
        self.machine.switch_on()
        self.screen.line("aws", f"{self.aws.instance_id} starts")

    def wait(self, seconds, until=lambda: None, shown=None):
        return wait(self.screen, self.look, seconds, until, shown)

    def look(self):
        """The machine is stopped, as EC2 does, when the instance is."""
        self.crew.check()
        self.show_new_beats()
        self.press_power_button_if_stopped()

    def press_power_button_if_stopped(self):
        if self.pressed or self.aws.state() != "stopped":
            return
        if self.no_stop:
            raise Failure(f"StopInstances was called {self.no_stop}")
        self.pressed = True
        self.screen.line("aws", "StopInstances: EC2 presses the power button")
        self.machine.press_power_button()

    def wait_until_off(self):
        began = time.monotonic()
        off = self.wait(
            OFF_SECONDS, lambda: not self.machine.is_on(), lambda: f"the machine shuts down: {self.console()}",
        )
        expect(off, f"the machine was not off {OFF_SECONDS} s after the power button")
        self.screen.line("aws", f"the machine is off, {time.monotonic() - began:.0f} s after the power button")

    # What is seen of it.

    def beats(self):
        """The heartbeats since it was started."""
        return self.aws.heartbeats()[self.first_beat:]

    def last_beat(self):
        beats = self.beats()
        return beats[-1] if beats else None

    def show_new_beats(self):
        beats = self.aws.heartbeats()
        for beat in beats[self.shown_beats:]:
            clock = f" {beat['idle_seconds']} of {beat['window_seconds']} s" if beat["idle_seconds"] is not None else ""
            sentence = beat["why"].partition(". ")[0]
            self.screen.line("ssm", f"heartbeat {beat['state']}{clock}, efs {beat['efs']}: {sentence}")
        self.shown_beats = len(beats)

    def stops(self):
        """The requests to stop since it was started, dry runs left out."""
        return self.aws.stops()[self.first_stop:]

    def wait_for_beat(self, what, seconds, fits):
        """The first heartbeat from now on (the last one included) that fits; fails with `what` it should have said."""

        def found():
            beat = self.last_beat()
            return beat if beat and fits(beat) else None

        beat = self.wait(seconds, found, lambda: f"waiting for a heartbeat: {what}; {self.console()}")
        expect(beat, f"no heartbeat within {seconds} s said: {what}. The last one is {self.last_beat()}")
        return beat

    def wait_for_stop(self, since, not_before, not_after):
        """The request to stop comes in time: seconds after `since` by the emulator's clock."""
        late = 15  # seconds in which a stop that is too late is still waited for, to say how late
        stop = self.wait(
            since + not_after + late - time.time(), lambda: next(iter(self.stops()), None),
            lambda: f"waiting for the stop: {time.time() - since:.0f} s of {not_before:.0f} to {not_after:.0f} s",
        )
        expect(stop, f"no StopInstances within {not_after + late:.0f} s; the last heartbeat is {self.last_beat()}")
        took = stop["at"] - since
        allowed = f"{not_before:.0f} to {not_after:.0f} s"
        self.screen.line("aws", f"StopInstances came after {took:.1f} s; allowed are {allowed}")
        expect(took >= not_before, f"the stop came after {took:.1f} s, and must not come before {not_before:.1f} s")
        expect(took <= not_after, f"the stop came after {took:.1f} s, later than {not_after:.1f} s")
        asked = {key: value for key, value in stop["params"].items() if key != "Version"}
        plain = {"InstanceId.1": self.aws.instance_id}
        expect(asked == plain, f"the request asked for more than a plain stop of itself: {asked}")
