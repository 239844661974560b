#!/usr/bin/env python3
"""mc-idle live, in under two minutes, without AWS and without root: a player comes, plays and leaves; the instance stops.
Over 400 lines: one story, from its stage to its end.

    target/lab/venv/bin/python tests/lab/demo.py target/debug/mc-idle       (`make demo` builds and does it all)

Everything runs on 127.0.0.1 and is ended with the demo: AWS (aws.py), a Minecraft server (server.js), a player (bot.js),
a status ping, a silent scanner and the agent, which finds region, instance and credentials in the emulated metadata.
Exit code 0: all went as promised; 1: it did not, and the last line says what; 130: interrupted.
Colours only on a terminal and without NO_COLOR.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from datetime import datetime
from itertools import groupby
from pathlib import Path
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import boto3

sys.dont_write_bytecode = True  # nothing generated among the sources
from ping import ping  # noqa: E402

HERE = Path(__file__).resolve().parent
WINDOW_SECONDS = 30
SAMPLE_SECONDS = 1
YOUNG_SECONDS = 8  # min_connection_seconds: younger connections are no players
PLAY_SECONDS = 45  # longer than the window
SCAN_FROM, SCAN_SECONDS = 4, 6  # in the window's first half, shorter than YOUNG_SECONDS
PATIENCE_SECONDS = 3  # from the end of the window to the request, besides one sample
CONFIG = """\
idle_minutes = {idle_minutes}
sample_seconds = {sample_seconds}

[minecraft]
ports = [{port}]
min_connection_seconds = {young_seconds}

[efs]
mount_point = ""

[heartbeat]
seconds = 10
"""
# `due` may pass too quickly for a heartbeat of its own.
STORY = re.compile(r"starting (no-server )?idle occupied idle (due )?stopping")


class Failure(Exception):
    """An expectation that was not met, in one sentence."""


def expect(met, otherwise):
    if not met:
        raise Failure(otherwise)


class Screen:
    """The running log: elapsed seconds, who speaks, what; and on a terminal one live line below it."""

    NARRATOR = "demo"
    COLOURS = {"demo": 1, "aws": 33, "ssm": 35, "game": 32, "agent": 36, "FAILED": 31}

    def __init__(self):
        self.live = sys.stdout.isatty()
        self.coloured = self.live and not os.environ.get("NO_COLOR")
        self.began = time.monotonic()
        self.spoke = self.began
        self.lock = threading.Lock()

    def paint(self, text, colour):
        return f"\x1b[{colour}m{text}\x1b[0m" if self.coloured else text

    def head(self, who):
        return f"{time.monotonic() - self.began:6.1f}s  " + self.paint(f"{who:<6}", self.COLOURS.get(who, 0))

    def line(self, who, text):
        with self.lock:
            self.spoke = time.monotonic()
            print(("\r\x1b[K" if self.live else "") + self.head(who), text, flush=True)

    def progress(self, who, text):
        """Redrawn in place on a terminal, otherwise a line whenever 4 s passed in silence."""
        with self.lock:
            if self.live:
                room = shutil.get_terminal_size().columns - 18
                print("\r\x1b[K" + self.head(who), text[:room], end="", flush=True)
            elif time.monotonic() - self.spoke < 4:
                return
            else:
                print(self.head(who), text, flush=True)
            self.spoke = time.monotonic()


class Crew:
    """The processes of the demo. They share neither terminal signals nor the caller's AWS settings and proxies."""

    def __init__(self, screen):
        self.screen = screen
        self.members = {}
        self.expected_to_live = set()
        self.environment = {
            key: value for key, value in os.environ.items()
            if not key.startswith(("AWS_", "WATCHDOG_"))
            and key not in ("NOTIFY_SOCKET", "JOURNAL_STREAM", "INVOCATION_ID")
            and not key.lower().endswith("_proxy")
        }

    def start(self, name, *command, environment=None, log_lines=False, **options):
        """Starts a member; its stderr is shown (log_lines) or kept for the case that it dies."""
        member = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True, env=self.environment | (environment or {}), **options,
        )
        member.last_words = deque(maxlen=15)
        self.members[name] = member
        self.expected_to_live.add(name)
        threading.Thread(target=self.listen, args=(name, member, log_lines), daemon=True).start()
        return member

    def listen(self, name, member, log_lines):
        for line in member.stderr:
            member.last_words.append(line.rstrip())
            if log_lines:
                self.screen.line(name, line.rstrip())

    def first_line(self, name, seconds):
        """The member's first line on stdout, which says that it is ready."""
        lines = []
        reader = threading.Thread(target=lambda: lines.append(self.members[name].stdout.readline().strip()), daemon=True)
        reader.start()
        until = time.monotonic() + seconds
        while reader.is_alive() and time.monotonic() < until:
            self.screen.progress("demo", f"waiting for {name}")
            reader.join(0.5)
        expect(lines and lines[0], f"{name} was not ready within {seconds} s:\n" + "\n".join(self.members[name].last_words))
        return lines[0]

    def check(self):
        for name in self.expected_to_live:
            member = self.members[name]
            if member.poll() is not None:
                time.sleep(0.2)  # its last words may still be on the way
                words = "" if name == "agent" else ":\n" + "\n".join(member.last_words)
                raise Failure(f"{name} ended by itself with exit code {member.returncode}{words}")

    def end(self, name, seconds=5):
        """SIGTERM, patience, SIGKILL; the exit code, or None if it had to be killed."""
        member = self.members[name]
        self.expected_to_live.discard(name)
        member.terminate()
        try:
            return member.wait(seconds)
        except subprocess.TimeoutExpired:
            member.kill()
            member.wait()
            return None

    def end_all(self):
        for name in reversed(self.members):
            if self.members[name].poll() is None:
                self.end(name, 3)


def wait(screen, look, seconds, until, shown=None):
    """Looks, again and again, until `until` has a value, which is returned, or the seconds are over (None); shows signs of life."""
    end = time.monotonic() + seconds
    while True:
        look()
        if value := until():
            return value
        if time.monotonic() >= end:
            return None
        screen.progress(screen.NARRATOR, shown() if shown else "...")
        time.sleep(0.2)


def play(screen, story, end):
    """Plays a story, and then ends everything of it, however it went. The program's exit code."""
    try:
        try:
            story()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must leave nothing behind
            end()
    except Failure as failure:
        screen.line("FAILED", str(failure))
        return 1
    except KeyboardInterrupt:
        screen.line(screen.NARRATOR, "interrupted; everything is ended")
        return 130
    return 0


class Aws:
    """What the demo asks the emulated AWS."""

    def __init__(self, ready):
        self.endpoint, self.instance_id, self.region = ready["endpoint"], ready["instance_id"], ready["region"]
        self.parameter = f"/mc-idle/{self.instance_id}/heartbeat"
        self.opener = build_opener(ProxyHandler({}))  # never through a proxy of the caller's

    def lab(self, page):
        with self.opener.open(f"{self.endpoint}/lab/{page}", timeout=5) as answer:
            return json.load(answer)

    def state(self):
        return self.lab("state")["state"]

    def heartbeats(self):
        return self.lab("heartbeats?name=" + quote(self.parameter, safe=""))

    def stops(self):
        """The real requests: a DryRun only asks for permission."""
        return [call for call in self.lab("calls?action=StopInstances") if call["params"].get("DryRun") != "true"]

    def stored_heartbeat(self):
        """The newest heartbeat as any reader with AWS's own client gets it."""
        ssm = boto3.client(
            "ssm", endpoint_url=self.endpoint, region_name=self.region,
            aws_access_key_id="reader", aws_secret_access_key="reader",
        )
        return ssm.get_parameter(Name=self.parameter)["Parameter"]["Value"]


def seconds_idle(beat):
    """The idle clock now, as the heartbeat tells it: carried on to this moment by the time of the stop that it announces."""
    if beat["state"] == "idle" and beat["stop_at"]:
        left = datetime.fromisoformat(beat["stop_at"]).timestamp() - time.time()
        return max(0, min(beat["window_seconds"] - left, beat["window_seconds"]))
    return beat["idle_seconds"] or 0


def countdown(beat):
    window = beat["window_seconds"] or WINDOW_SECONDS
    idle = seconds_idle(beat)
    done = round(30 * idle / window)
    return f"[{'#' * done}{'.' * (30 - done)}] {idle:.0f} of {window:g} s without a player"


class Demo:
    def __init__(self, agent_binary, screen, crew, folder):
        self.agent_binary, self.screen, self.crew, self.folder = agent_binary, screen, crew, Path(folder)
        self.aws = None
        self.port = None
        self.shown_beats = 0
        self.no_stop = None  # while a stop would be wrong: when that is, in words

    def say(self, text):
        self.screen.line("demo", text)

    def wait(self, seconds, until=lambda: False, shown=None):
        return wait(self.screen, self.look, seconds, until, shown)

    def look(self):
        self.crew.check()
        self.expect_no_stop()
        self.show_new_beats()

    def show_new_beats(self):
        beats = self.aws.heartbeats()
        for beat in beats[self.shown_beats:]:
            clock = f" {beat['idle_seconds']} of {beat['window_seconds']} s" if beat["idle_seconds"] is not None else ""
            self.screen.line("ssm", f"heartbeat {beat['state']}{clock}: {beat['why']}")
        self.shown_beats = len(beats)

    def last_beat(self):
        beats = self.aws.heartbeats()
        return beats[-1] if beats else None

    def wait_for_state(self, state, seconds):
        def reached():
            beat = self.last_beat()
            return beat if beat and beat["state"] == state else None

        beat = self.wait(seconds, reached, lambda: f"waiting for the heartbeat to say {state}")
        expect(beat, f"the heartbeat did not say {state!r} within {seconds} s; the last one is {self.last_beat()}")

    def start_aws(self):
        self.crew.start("aws", sys.executable, HERE / "aws.py")
        self.aws = Aws(json.loads(self.crew.first_line("aws", 20)))
        self.screen.line("aws", f"EC2, SSM and instance metadata at {self.aws.endpoint}; {self.aws.instance_id} is running")

    def start_server(self):
        self.crew.start("server", "node", HERE / "server.js", "--version", "1.20.2")
        self.port = int(self.crew.first_line("server", 30).split()[1])
        self.screen.line("game", f"a Minecraft 1.20.2 server listens on port {self.port}")

    def start_agent(self):
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(
            idle_minutes=WINDOW_SECONDS / 60, sample_seconds=SAMPLE_SECONDS, port=self.port, young_seconds=YOUNG_SECONDS,
        ))
        runtime = self.folder / "run"
        runtime.mkdir()
        self.crew.environment["RUNTIME_DIRECTORY"] = str(runtime)
        self.say(f"the agent starts: idle window {WINDOW_SECONDS} s, a connection counts as a player after {YOUNG_SECONDS} s")
        die_with_parent = ctypes.CDLL(None).prctl  # should even the demo be killed
        self.crew.start(
            "agent", self.agent_binary, "run", "--config", config, log_lines=True,
            environment={
                "AWS_ENDPOINT_URL": self.aws.endpoint,
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.endpoint,
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            },
            preexec_fn=lambda: die_with_parent(1, signal.SIGTERM),  # PR_SET_PDEATHSIG
        )
        self.wait_for_state("idle", 15)

    def play(self):
        """A player is in for longer than the window; nothing may be stopped."""
        self.crew.start("steve", "node", HERE / "bot.js", "--port", self.port, "--name", "steve", "--version", "1.20.2")
        expect(self.crew.first_line("steve", 30) == "spawned", "the player did not get into the game")
        spawned = time.monotonic()
        self.no_stop = "while steve was in the game"
        self.screen.line("game", f"steve is in the game and plays for {PLAY_SECONDS} s, longer than the window")
        self.wait_for_state("occupied", YOUNG_SECONDS + 7)

        def plays():
            return f"steve has played {time.monotonic() - spawned:.0f} of {PLAY_SECONDS} s; the instance is {self.aws.state()}"

        self.wait(3, shown=plays)
        self.screen.line("game", f"a passer-by looks at the server list and reads {ping('127.0.0.1', self.port)} players")
        self.wait(PLAY_SECONDS - (time.monotonic() - spawned), shown=plays)
        self.say(f"no stop was asked for in {PLAY_SECONDS} s of play")

    def leave(self):
        """The player leaves; returns when, by the wall clock that the record of calls uses too."""
        self.expect_no_stop()
        self.no_stop = None
        expect(self.crew.end("steve") == 0, "the player could not leave cleanly")
        left_at = time.time()
        self.screen.line("game", "steve has left")
        return left_at

    def expect_no_stop(self):
        if self.no_stop:
            expect(not self.aws.stops() and self.aws.state() == "running", f"StopInstances was called {self.no_stop}")

    def idle_until_stopped(self, left_at):
        def since():
            return time.time() - left_at

        def clock():
            return countdown(self.last_beat())

        self.wait_for_state("idle", 5)
        self.wait(SCAN_FROM - since(), shown=clock)
        self.screen.line("game", f"a scanner connects, says nothing and holds on for {SCAN_SECONDS} s: no player")
        with socket.create_connection(("127.0.0.1", self.port)):
            self.wait(SCAN_SECONDS, shown=clock)
        self.screen.line("game", "the scanner has gone; the window must not have started afresh")
        latest = WINDOW_SECONDS + SAMPLE_SECONDS + PATIENCE_SECONDS
        stopped = self.wait(latest - since() + 2, lambda: self.aws.state() == "stopped", clock)
        expect(stopped, f"the instance is still {self.aws.state()} {since():.0f} s after the player left: {clock()}")
        stops = self.aws.stops()
        took = stops[0]["at"] - left_at
        self.show_new_beats()
        self.screen.line("aws", f"{self.aws.instance_id} is stopped, {took:.1f} s after steve left")
        expect(took <= latest, f"the stop came {took:.1f} s after the player left, more than {latest} s")
        expect(took >= WINDOW_SECONDS - 0.5, f"the stop came {took:.1f} s after the player left, before the window was over")
        self.show_request(stops)

    def show_request(self, stops):
        request = stops[0]
        params = {key: value for key, value in request["params"].items() if key != "Version"}
        self.screen.line("aws", f"the request as it arrived: {request['action']} {json.dumps(params)}")
        expect(len(stops) == 1, f"StopInstances was called {len(stops)} times, not once")
        expect(
            params == {"InstanceId.1": self.aws.instance_id},
            "the request asks for more than a plain stop of the own instance",
        )
        expect(
            request["access_key"].startswith("ASIALAB"), "the request was not signed with the instance role's credentials"
        )

    def show_history(self):
        states = [state for state, _ in groupby(beat["state"] for beat in self.aws.heartbeats())]
        self.say("the heartbeats' states: " + " -> ".join(states))
        expect(STORY.fullmatch(" ".join(states)), f"that is not the order of states expected, {STORY.pattern!r}")
        self.say("the last one, as SSM holds it:")
        for key, value in json.loads(self.aws.stored_heartbeat()).items():
            self.screen.line("", f"  {key:<15} {json.dumps(value)}")

    def shut_down(self):
        self.wait(1.5)  # an accepted stop does not end the agent
        self.say("the machine shuts down: SIGTERM to the agent")
        began = time.monotonic()
        code = self.crew.end("agent")
        expect(code is not None, "the agent did not end within 5 s of SIGTERM")
        expect(code == 0, f"the agent ended with exit code {code} at SIGTERM, not 0")
        self.say(f"the agent ended with exit code 0 after {time.monotonic() - began:.1f} s")
        time.sleep(0.3)
        last = self.last_beat()["state"]
        expect(last == "stopping", f"the last heartbeat says {last!r}, not 'stopping'")

    def run(self):
        self.start_aws()
        self.start_server()
        self.start_agent()
        self.play()
        self.idle_until_stopped(self.leave())
        self.shut_down()
        self.show_history()
        self.say("all as promised")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    agent_binary = Path(sys.argv[1]).resolve()
    if not os.access(agent_binary, os.X_OK):
        sys.exit(f"demo.py: {sys.argv[1]} is not a program; run `cargo build` first")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen()
    crew = Crew(screen)
    with tempfile.TemporaryDirectory(prefix="mc-idle-demo-") as folder:
        return play(screen, Demo(agent_binary, screen, crew, folder).run, crew.end_all)


if __name__ == "__main__":
    sys.exit(main())
