#!/usr/bin/env python3
"""How a friend starts the server, live, in about two and a half minutes, without AWS and without Docker.
Over 400 lines: one story, from its stage to its end.

    target/lab/venv/bin/python tests/lab/start_demo.py target/debug/mc-launcher target/debug/mc-idle
                                                                          (`make start-demo` builds and does it all)

Everything runs on 127.0.0.1 and is ended with the demo: AWS (cloud.py) with mc-launcher as two Lambda functions, a small proxy
that leads a browser to the page's function, and a machine that is made of processes: a Minecraft server (server.js) and the
agent, with a player (bot.js) on it.
Exit code 0: all went as promised; 1: it did not, and the last line says what; 130: interrupted.
Colours only on a terminal and without NO_COLOR.
"""

import ctypes
import html
import http.client
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

sys.dont_write_bytecode = True  # nothing generated among the sources
from account import Account  # noqa: E402
from demo import Crew, Failure, Screen, countdown, expect, play, wait  # noqa: E402
from front import Front  # noqa: E402
from functions import create_functions  # noqa: E402
from ports import free_port  # noqa: E402

HERE = Path(__file__).resolve().parent
LAB = HERE.parent.parent / "target" / "lab"
REGION = "eu-west-1"
SERVER = "survival"
PREFIX = f"/mc-idle/{SERVER}"
PRICE_PER_HOUR = 6  # USD: more than any such machine costs, so that two minutes come to something
WINDOW_SECONDS = 30
YOUNG_SECONDS = 8  # min_connection_seconds: younger connections are no players
ASK_SECONDS = 10  # how often the agent asks the server who is online, the least that it allows
# A player stays until the warden's schedule has told of it, and so much longer that its next look falls into the idle window.
SCHEDULE_SECONDS = 60
SCHEDULE_PATIENCE_SECONDS = 15
PLAYS_ON_SECONDS = 40
PRESS_SECONDS = 6
PRESS_ON_TERMINAL_SECONDS = 12  # somebody who watches may want to press the button
LOOK_AT_END_SECONDS = 6  # longer than the page takes to follow
COOKIE = "__Host-mc-launcher"
CONFIG = """\
idle_minutes = {idle_minutes}
sample_seconds = 1

[minecraft]
ports = [{port}]
min_connection_seconds = {young_seconds}
ask_seconds = {ask_seconds}

[efs]
mount_point = ""

[heartbeat]
parameter = "{prefix}/heartbeat"
seconds = 10

[hold]
parameter = "{prefix}/hold"

[aws]
region = "{region}"
instance_id = "{instance_id}"
"""


class StartScreen(Screen):
    COLOURS = Screen.COLOURS | {"page": 34, "told": 95}


class Browser:
    """Somebody who looks at the page, with the cookie that it has set."""

    def __init__(self, page):
        self.page, self.cookie = page, None

    def ask(self, method, path, origin=None, form=False):
        headers = {"Accept": "text/html"}
        if self.cookie:
            headers["Cookie"] = self.cookie
        if origin:
            headers["Origin"] = origin
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.page.server_port, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"{method} of the page was not answered: {error}") from error
        finally:
            connection.close()

    def press(self, origin=None):
        return self.ask("POST", "/start", origin or self.page.url("").rstrip("/"), form=True)

    def status(self):
        code, _, body = self.ask("GET", "/status")
        expect(code == 200, f"GET /status answered {code}: {body[:200]}")
        return json.loads(body)

    def seen(self):
        """The pieces of text on the page in their order, and what its button says; None: there is none."""
        code, _, body = self.ask("GET", "/")
        expect(code == 200, f"GET / answered {code}: {pieces(body)}")
        button = re.search(r"<form[^>]*>.*?<button[^>]*>(.*?)</button>", body, re.S)
        return pieces(body), button and pieces(button.group(1))[0]


def pieces(body):
    """The pieces of text that somebody reads in an answer, HTML or not."""
    plain = re.sub(r"<(head|script|style)\b.*?</\1>", "", body, flags=re.S)
    return [text.strip() for text in html.unescape(re.sub(r"<[^>]*>", "\n", plain)).split("\n") if text.strip()]


class StartDemo:
    def __init__(self, launcher, agent, screen, crew, folder):
        self.launcher, self.agent_binary, self.screen, self.crew, self.folder = launcher, agent, screen, crew, Path(folder)
        self.account = self.instance_id = self.page = self.friend = self.queue = None
        self.game_port = free_port()
        self.key = secrets.token_urlsafe(18)
        self.machine = None  # the state that was told last
        self.shown = self.beat = None
        self.messages = []
        self.looked = 0

    def say(self, text):
        self.screen.line("demo", text)

    def aws(self, service):
        return self.account.client(service)

    # What goes on all the time.

    def wait(self, seconds, until=lambda: False, shown=None):
        return wait(self.screen, self.look, seconds, until, shown)

    def look(self):
        self.crew.check()
        self.follow_machine()
        self.read_messages()
        if time.monotonic() - self.looked > 0.8:
            self.looked = time.monotonic()
            self.read_heartbeat()
            self.read_page()

    def state(self):
        described = self.aws("ec2").describe_instances(InstanceIds=[self.instance_id])
        return described["Reservations"][0]["Instances"][0]["State"]["Name"]

    def follow_machine(self):
        """Tells of EC2's states, and lets the machine and the warden follow them."""
        state = self.state()
        if state == self.machine:
            return
        self.machine = state
        self.screen.line("aws", f"{self.instance_id} is {state}; the event wakes the warden")
        self.account.hand_state_change("warden", self.instance_id, state)  # the emulator has no such events
        if state == "running":
            self.boot()
        elif state == "stopping":
            self.shut_down()

    def read_messages(self):
        """What the topic's subscribers get."""
        got = self.aws("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        for message in got.get("Messages", []):
            self.aws("sqs").delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            text = json.loads(message["Body"])["Message"]
            self.messages.append(text)
            self.screen.line("told", text)

    def told(self, part):
        return next((message for message in self.messages if part in message), None)

    def read_heartbeat(self):
        try:
            value = self.aws("ssm").get_parameter(Name=f"{PREFIX}/heartbeat")["Parameter"]["Value"]
        except ClientError:  # none yet
            return
        beat = json.loads(value)
        if self.beat is None or beat["state"] != self.beat["state"]:
            self.screen.line("ssm", f"heartbeat {beat['state']}: {beat['why']}")
        self.beat = beat

    def read_page(self):
        if not self.friend:
            return
        status = self.friend.status()
        kept = (status["state"], status["players"])
        if kept == self.shown:
            return
        self.shown = kept
        players = "" if status["players"] is None else f" ({status['players']} in the game)"
        self.screen.line("page", f"{status['state']}{players}: {status['why']}")

    # The story.

    def introduce(self):
        self.say("real: mc-launcher as two Lambda functions, mc-idle as the agent, a Minecraft server and a player")
        self.say("emulated: AWS (ministack; IAM is not checked), EC2's events and boot times, and the machine: processes here")

    def start_aws(self):
        port = free_port()
        self.crew.start(
            "aws", LAB / "ministack" / "bin" / "python", HERE / "cloud.py", "--port", port, "--region", REGION,
            environment={"TMPDIR": str(self.folder)},
        )
        self.account = Account(self.crew.first_line("aws", 30), REGION)
        self.screen.line("aws", f"EC2, SSM, Lambda, the Scheduler and SNS at {self.account.endpoint}")

    def deploy(self):
        """What whoever deploys the launcher does."""
        ec2, ssm = self.aws("ec2"), self.aws("ssm")
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "mc-idle:server", "Value": SERVER}]}]
        run = ec2.run_instances(
            ImageId="ami-00000000", InstanceType="t4g.large", MinCount=1, MaxCount=1, TagSpecifications=tags,
        )
        self.instance_id = run["Instances"][0]["InstanceId"]
        ec2.stop_instances(InstanceIds=[self.instance_id])
        topic = self.aws("sns").create_topic(Name="minecraft")["TopicArn"]
        self.queue = self.aws("sqs").create_queue(QueueName="somebody")["QueueUrl"]
        queue = self.aws("sqs").get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]
        self.aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue["QueueArn"])
        for name, kind, value in (
            ("instance-id", "String", self.instance_id), ("key", "SecureString", self.key),
            ("tell", "SecureString", json.dumps({"sns": topic})),
        ):
            ssm.put_parameter(Name=f"{PREFIX}/{name}", Type=kind, Value=value)
        host = create_functions(self.account, self.launcher, {
            "MC_SERVER": SERVER, "MC_PORT": str(self.game_port), "MC_PRICE_PER_HOUR": str(PRICE_PER_HOUR),
        })
        stopped = self.await_stopped()
        expect(stopped, "the new instance did not stop within 10 s")
        self.machine = "stopped"
        self.screen.line(
            "aws", f"{self.instance_id}, tagged mc-idle:server={SERVER}, is stopped; its id and a key are in {PREFIX}",
        )
        self.screen.line("aws", f"the functions are page (https://{host}/)")
        self.screen.line("aws", "and warden, which the schedule wakes each minute instead of every five")
        self.page = Front(self.account.endpoint.removeprefix("http://"), host)

    def await_stopped(self):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if self.state() == "stopped":
                return True
            self.screen.progress("demo", "waiting for the new instance to stop")
            time.sleep(0.2)
        return False

    def refuse(self):
        """Who cannot start the server."""
        stranger = Browser(self.page)
        code, _, body = stranger.press()
        self.screen.line("page", f"a stranger presses start: {code}, {pieces(body)[0]}")
        expect(code == 401, f"a start without a key was answered with {code}, not 401")
        code, _, _ = stranger.ask("GET", "/start")
        self.screen.line("page", f"a chat program previews /start: {code}, only a POST starts anything")
        expect(code == 405, f"GET /start was answered with {code}, not 405")

    def invite(self):
        link = self.page.url(f"/i/{self.key}")
        self.screen.line("page", f"open the invitation in a browser, if you like; the page follows by itself: {link}")
        friend = Browser(self.page)
        code, headers, body = friend.ask("GET", f"/i/{self.key}")
        expect(code == 303, f"the invitation answered {code}, not 303: {pieces(body)}")
        cookie, *attributes = (headers["Set-Cookie"] or "").split("; ")
        expect(cookie.startswith(f"{COOKIE}="), "the invitation set no cookie")
        needed = {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"}
        expect(needed <= set(attributes), f"the cookie is open to misuse: {attributes}")
        friend.cookie = cookie
        self.say(f"a friend opens it too: {code} to {headers['Location']}, with a cookie ({', '.join(attributes)})")
        code, _, body = friend.press(origin="https://example.com")
        self.screen.line("page", f"a form on another site presses start in the friend's browser: {code}, {pieces(body)[0]}")
        expect(code == 403, f"a form of another site was answered with {code}, not 403")
        expect(self.state() == "stopped", "a start that was refused has started the instance")
        self.friend = friend

    def press(self):
        shown, button = self.friend.seen()
        expect(button, f"the page shows the friend no button: {shown}")
        patience = PRESS_ON_TERMINAL_SECONDS if self.screen.live else PRESS_SECONDS
        self.say(f"the friend presses {button!r} in {patience} s, unless you do")
        if self.wait(patience, lambda: self.machine != "stopped", lambda: "nobody has pressed yet"):
            self.say("you have pressed it")
            return
        began = time.monotonic()
        code, headers, body = self.friend.press()
        expect(code == 303, f"the start was answered with {code}, not 303: {pieces(body)}")
        self.say(f"pressed: {code} to {headers['Location']} after {(time.monotonic() - began) * 1000:.0f} ms")

    def boot(self):
        self.say("the machine boots: a Minecraft server, and the agent")
        self.crew.start(
            "server", "node", HERE / "server.js", "--version", "1.20.2", "--port", self.game_port, "--host", "127.0.0.1",
        )
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(
            idle_minutes=WINDOW_SECONDS / 60, port=self.game_port, young_seconds=YOUNG_SECONDS, ask_seconds=ASK_SECONDS,
            prefix=PREFIX, region=REGION, instance_id=self.instance_id,
        ))
        runtime = self.folder / "run"
        runtime.mkdir()
        self.crew.environment["RUNTIME_DIRECTORY"] = str(runtime)
        die_with_parent = ctypes.CDLL(None).prctl  # should even the demo be killed
        self.crew.start(
            "agent", self.agent_binary, "run", "--config", config, log_lines=True,
            environment={
                "AWS_ENDPOINT_URL": self.account.endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            },
            preexec_fn=lambda: die_with_parent(1, signal.SIGTERM),  # PR_SET_PDEATHSIG
        )
        self.crew.first_line("server", 30)

    def shut_down(self):
        self.say("the machine shuts down: SIGTERM to the agent and to the Minecraft server")
        code = self.crew.end("agent")
        expect(code == 0, f"the agent ended with exit code {code} at SIGTERM, not 0")
        self.crew.end("server")

    def play(self):
        up = self.wait(60, lambda: self.shown and self.shown[0] == "up", lambda: "waiting for the page to say up")
        expect(up, f"the page did not say up within 60 s; it says {self.shown}")
        status = self.friend.status()
        self.screen.line("page", f"the address to type: {status['address']}:{status['port']}")
        self.crew.start("steve", "node", HERE / "bot.js", "--port", status["port"], "--name", "steve", "--version", "1.20.2")
        expect(self.crew.first_line("steve", 30) == "spawned", "the player did not get into the game")
        self.screen.line("game", "steve is in the game, and plays until the warden's schedule has told of it")
        spawned = time.monotonic()

        def plays():
            return f"steve has played for {time.monotonic() - spawned:.0f} s"

        joined = self.wait(YOUNG_SECONDS + SCHEDULE_SECONDS + SCHEDULE_PATIENCE_SECONDS, lambda: self.told("joined"), plays)
        expect(joined, "nobody was told that steve has joined: the schedule has not woken the warden, or it told nothing")
        self.wait(PLAYS_ON_SECONDS, shown=plays)
        expect(self.machine == "running", "the instance was stopped while steve was in the game")
        expect(self.crew.end("steve") == 0, "the player could not leave cleanly")
        self.screen.line("game", "steve has left")

    def idle(self):
        left_at = time.monotonic()
        latest = WINDOW_SECONDS + ASK_SECONDS + 10
        stopped = self.wait(latest, lambda: self.machine != "running", lambda: countdown(self.beat))
        expect(stopped, f"the instance is still {self.machine} {time.monotonic() - left_at:.0f} s after the player left")
        self.say(f"the agent has stopped its own instance, {time.monotonic() - left_at:.0f} s after the last player left")
        expect(self.wait(20, lambda: self.machine == "stopped"), f"the instance is still {self.machine}")
        expect(self.wait(20, lambda: self.told("has stopped")), "nobody was told that the server has stopped")

    def end(self):
        expect(self.wait(10, lambda: self.shown[0] == "asleep"), f"the page says {self.shown[0]}, not asleep")
        shown, button = self.friend.seen()
        cost = re.search(r"This month\n(\$(?!0\.00)\d+\.\d\d)\n", "\n".join(shown) + "\n")
        expect(cost and button, f"the page does not say what it cost, or has no button: {shown}")
        price = f"${PRICE_PER_HOUR} an hour, more than such a machine costs, so that two minutes show"
        self.screen.line("page", f"this month: {cost.group(1)} (at {price}); the button {button!r} is back")
        for part in ("is starting", "is up", "joined", "Nobody", "has stopped"):
            expect(self.told(part), f"nobody was told {part!r}; told was: {self.messages}")
        expect(len(set(self.messages)) == len(self.messages), f"something was told twice: {self.messages}")
        self.wait(LOOK_AT_END_SECONDS, shown=lambda: "the page goes with the demo")
        self.say("all as promised")

    def logs(self):
        """The last words of both functions."""
        for name in ("page", "warden"):
            with suppress(BotoCoreError, ClientError):
                for line in self.account.log_lines(name)[-8:]:
                    self.screen.line(name, line)

    def run(self):
        self.introduce()
        try:
            self.start_aws()
            self.deploy()
            self.refuse()
            self.invite()
            self.press()
            self.play()
            self.idle()
            self.end()
        except (BotoCoreError, ClientError) as error:
            raise Failure(f"the emulated AWS: {error}") from error
        except Failure:
            self.logs()
            raise

    def end_all(self):
        if self.page:
            self.page.shutdown()
            self.page.server_close()
        self.crew.end_all()
        if cloud := self.crew.members.get("aws"):
            with suppress(ProcessLookupError):  # functions that have outlived it
                os.killpg(cloud.pid, signal.SIGKILL)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    binaries = [Path(argument).resolve() for argument in sys.argv[1:]]
    for binary in binaries:
        if not os.access(binary, os.X_OK):
            sys.exit(f"start_demo.py: {binary} is not a program; run `make start-demo`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = StartScreen()
    crew = Crew(screen)
    with tempfile.TemporaryDirectory(prefix="mc-idle-start-demo-") as folder:
        demo = StartDemo(*binaries, screen, crew, folder)
        return play(screen, demo.run, demo.end_all)


if __name__ == "__main__":
    sys.exit(main())
