"""A friend joins a sleeping server: mc-broker and mc-launcher for arm64, a real client and a real server beside them."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

LAB = Path(__file__).resolve().parent.parent / "lab"
sys.path.insert(0, str(LAB))
from account import Account  # noqa: E402
from mcstatus import JavaServer  # noqa: E402
from ports import free_port  # noqa: E402

EMULATED = Path(__file__).resolve().parent / "emulated.sh"
TARGET_LAB = LAB.parent.parent / "target/lab"
REGION = "eu-west-1"
KEY = "broker-key-0123456789"
# The newest that both the broker can hand over and the clients of the lab speak.
VERSION = "1.21.11"
# Emulated, and on a machine that does something else.
PATIENCE_SECONDS = 90


class Program:
    """A process whose lines are kept, ended with the block."""

    def __init__(self, name, *command, environment=None):
        self.name, self.lines, self.more = name, [], threading.Condition()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=kept | (environment or {}),
        )
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            with self.more:
                self.lines.append(line.rstrip())
                self.more.notify_all()
        with self.more:
            self.lines.append(None)
            self.more.notify_all()

    def wait_for(self, pattern):
        """The match of the first line in which the pattern is."""
        end, seen = time.monotonic() + PATIENCE_SECONDS, 0
        with self.more:
            while True:
                for line in self.lines[seen:]:
                    if line is None:
                        raise RuntimeError(f"{self.name} ended without {pattern!r}: {self.lines[-12:-1]}")
                    if match := re.search(pattern, line):
                        return match
                seen = len(self.lines)
                if not self.more.wait(max(0, end - time.monotonic())) and time.monotonic() >= end:
                    raise RuntimeError(f"{self.name} said no {pattern!r} in {PATIENCE_SECONDS} s: {self.lines[-12:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Sessions(BaseHTTPRequestHandler):
    """A stand-in for Mojang's session server: whoever has joined by it is vouched for."""

    joined = {}

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.joined[body["serverId"]] = body["selectedProfile"]
        self.answer(204, b"")

    def do_GET(self):
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        profile = self.joined.pop(query["serverId"], None)
        if profile is None:
            return self.answer(204, b"")
        self.answer(200, json.dumps({"id": profile, "name": query["username"], "properties": []}).encode())

    def answer(self, code, body):
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def sleeping_instance(account):
    """An instance that is stopped, and what the launcher has to know about it."""
    ec2, ssm = account.client("ec2"), account.client("ssm")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "mc-idle:server", "Value": "survival"}]}]
    run = ec2.run_instances(
        ImageId="ami-00000000", InstanceType="t4g.medium", MinCount=1, MaxCount=1, TagSpecifications=tags,
    )
    instance_id = run["Instances"][0]["InstanceId"]
    ec2.stop_instances(InstanceIds=[instance_id])
    for name, kind, value in (
        ("instance-id", "String", instance_id), ("key", "SecureString", "correct-horse-battery"),
        ("broker-key", "SecureString", KEY),
    ):
        ssm.put_parameter(Name=f"/mc-idle/survival/{name}", Type=kind, Value=value)
    end = time.monotonic() + PATIENCE_SECONDS
    while state(account, instance_id) != "stopped":
        if time.monotonic() > end:
            raise RuntimeError("the emulated instance did not stop")
        time.sleep(0.2)
    return instance_id


def state(account, instance_id):
    described = account.client("ec2").describe_instances(InstanceIds=[instance_id])
    return described["Reservations"][0]["Instances"][0]["State"]["Name"]


def show(report, launcher, broker, folder):
    sessions = ThreadingHTTPServer(("127.0.0.1", 0), Sessions)
    threading.Thread(target=sessions.serve_forever, daemon=True).start()
    cloud = ["--port", free_port(), "--region", REGION, "--address", "127.0.0.1"]
    python = TARGET_LAB / "ministack/bin/python"
    with (
        Program("AWS", python, LAB / "cloud.py", *cloud, environment={"TMPDIR": str(folder)}) as aws,
        Program("the game", "node", LAB / "any_server.js") as game,
    ):
        port = game.wait_for(r"^listening (\d+)")[1]
        endpoint = aws.wait_for(r"^http://\S+")[0]
        account = Account(endpoint, REGION)
        instance_id = sleeping_instance(account)
        settings = {
            "MC_SERVER": "survival", "MC_PORT": port, "MC_ADDRESS": "localhost", "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }
        key_file, config = folder / "broker-key", folder / "broker.toml"
        key_file.touch(mode=0o600)
        key_file.write_text(KEY)
        with Program("mc-launcher", EMULATED, launcher, "serve", "--listen", "127.0.0.1:0", environment=settings) as page:
            url = page.wait_for(r"listens on (http://127.0.0.1:\d+)")[1]
            config.write_text(
                f'listen = ["127.0.0.1:0"]\nlauncher.url = "{url}"\nlauncher.key_file = "{key_file}"\n'
                f'auth_url = "http://127.0.0.1:{sessions.server_address[1]}"\n'
            )
            with Program("mc-broker", EMULATED, broker, "run", "--config", config) as listening:
                broker_port = int(listening.wait_for(r"listens at 127.0.0.1:(\d+)")[1])
                joins(report, broker_port, port, sessions, account, instance_id)
    sessions.shutdown()


def joins(report, broker_port, game_port, sessions, account, instance_id):
    end, text = time.monotonic() + PATIENCE_SECONDS, ""
    while "Asleep" not in text and time.monotonic() < end:  # the launcher may not have answered yet
        text = JavaServer("127.0.0.1", broker_port, timeout=30).status().motd.to_plain()
        time.sleep(0.5)
    report.show(f"mc-broker answers a status ping: {text!r}, by way of mc-launcher serve", "Asleep" in text)
    report.show("a ping starts nothing", state(account, instance_id) == "stopped")
    player = [
        "node", LAB / "broker_client.js", "--port", broker_port, "--name", "steve", "--version", VERSION,
        "--session", f"http://127.0.0.1:{sessions.server_address[1]}",
    ]
    with Program("the player", *player) as steve:
        to = steve.wait_for(r"^handed over (.*)")[1]
        what = f"a player with an account logs in (RSA and AES), is held, and is handed over to {to}"
        report.show(what, to == f"127.0.0.1 {game_port}")
        steve.wait_for(f"^in game {game_port}$")
        now = state(account, instance_id)
        report.show(f"he is in the game, and the instance is {now}", now in ("pending", "running"))
