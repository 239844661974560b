"""What must hold all the time, asserted of the world and not of what a program says: seen at every look of a test.

    Nobody who plays is cut off: while a friend's client is in the game the instance runs, and nobody asks for a stop.
    There are never two servers.
    The page never says that the month has cost less than the evening.
    The broker, once it has handed somebody over, carries none of his game.
"""

import json
import re

import network
from demo import Failure, expect
from instance import OFF_SECONDS
from internet import BROKER, FRIENDS
from start_demo import PRICE_PER_HOUR

# Packets of friends that reach the broker.
COUNTER = f"""\
table inet watch {{
    counter friends {{ }}
    chain incoming {{
        type filter hook input priority 0; policy accept;
        ip saddr {{ {', '.join(FRIENDS.values())} }} counter name friends
    }}
}}
"""
COST = re.compile(r"(This evening|This month)\n\$(\d+\.\d\d)")
# The evening is counted until the machine is off, and the month's hours until the stop was asked for.
SHUTDOWN_USD = PRICE_PER_HOUR * OFF_SECONDS / 3600
AGENT_KEY = "ASIALAB"  # how the credentials that instance metadata gives begin


class Call:
    """A call that changes instances, as the emulator got it."""

    def __init__(self, line):
        for name, value in json.loads(line).items():
            setattr(self, name, value)

    def by_agent(self):
        return self.access_key.startswith(AGENT_KEY)

    def __str__(self):
        by = "the agent" if self.by_agent() else "the launcher"
        return f"{self.action} of {', '.join(self.instances) or 'a new instance'} by {by}"


class Promises:
    def __init__(self, stage, calls):
        """`calls`: the emulator's record. What was called before now was the deployment's doing."""
        self.stage, self.file = stage, calls
        self.before = len(self.read())
        self.shown = 0
        self.nobody_starts = False  # while nobody may start anything

    def read(self):
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [Call(line) for line in lines]

    def calls(self, *actions):
        """The calls since the deployment, dry runs left out; of all actions, or of these."""
        calls = [call for call in self.read()[self.before:] if not call.dry_run]
        return [call for call in calls if not actions or call.action in actions]

    def check(self):
        calls = self.calls()
        for call in calls[self.shown:]:
            self.stage.screen.line("aws", f"{call}: {call.status}")
            self.check_call(call)
        self.shown = len(calls)
        instance = self.stage.instance
        living = [other["InstanceId"] for other in instance.described if other["State"]["Name"] != "terminated"]
        expect(len(living) <= 1, f"there is more than one instance: {', '.join(living)}")
        for friend in self.stage.friends:
            if friend.plays_since():
                expect(instance.state == "running", f"the instance is {instance.state} while {friend.name} plays")

    def check_call(self, call):
        expect(not self.nobody_starts, f"nothing should have been started, and there was {call}")
        expect(call.action in ("StartInstances", "StopInstances"), f"somebody has called {call}")
        expect(call.instances == [self.stage.instance.instance_id], f"a call about more than the own instance: {call}")
        if call.action != "StopInstances":
            return
        for friend in self.stage.friends:
            since = friend.saw("in game")
            if since and since <= call.at and (friend.left_at is None or call.at < friend.left_at):
                raise Failure(f"{call} while {friend.name} plays, since {call.at - since:.0f} s")

    @staticmethod
    def check_page(shown):
        cost = {what: float(usd) for what, usd in COST.findall(shown)}
        if len(cost) == 2:
            cheaper = cost["This month"] < cost["This evening"] - SHUTDOWN_USD
            expect(not cheaper, f"the page says that the month has cost less than the evening:\n{shown}")

    # The way that the game's bytes take.

    def watch_the_broker(self):
        """From now on what friends send to the broker is counted."""
        network.command(*network.inside("broker", "nft", "-f", "-"), given=COUNTER)

    def broker_carried_nothing(self):
        listed = network.command(*network.inside("broker", "nft", "-j", "list", "counters"))
        counters = [entry["counter"] for entry in json.loads(listed)["nftables"] if "counter" in entry]
        expect(len(counters) == 1, f"nft lists other counters than the one that is watched: {counters}")
        packets = counters[0]["packets"]
        expect(packets == 0, f"while they played, friends have sent {packets} packets to the broker")
        self.stage.say("while they played, friends have sent no packet to the broker")

    def plays_at_the_instance(self, friend):
        """The friend's only connection is to the instance's own address, and the instance sees his."""
        own = network.command(*network.inside(friend.home, "ss", "-Htn", "state", "established"))
        peers = sorted({line.split()[3] for line in own.splitlines()})
        expect(peers == [f"{network.GUEST}:25565"], f"{friend.name} is connected to {peers}, not to the instance alone")
        seen = self.stage.instance.machine.ssh("ss", "-Htn", "state", "established", "sport", "=", ":25565")
        ends = [line.split()[3].rpartition(":")[0] for line in seen.splitlines()]
        addresses = {end.removeprefix("[::ffff:").strip("[]") for end in ends}
        home = FRIENDS[friend.home]
        expect(home in addresses, f"the instance sees connections from {addresses}, none of {friend.name}")
        self.stage.say(f"{friend.name}'s one connection is {home} to {peers[0]}; the broker is {BROKER}")
