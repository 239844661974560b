"""What an agent that is measured needs around it: an emulated AWS, a supervisor, a runtime directory in memory, a configuration."""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = ROOT / "target/lab/venv/bin/python"
# What the unit sets.
WATCHDOG_USEC = "30000000"


class Alone:
    """The context of a measure that is run by itself."""

    def __init__(self, binary, seconds, quick):
        self.binary, self.quick, self.asked = pathlib.Path(binary).resolve(), quick, seconds

    def seconds(self, default):
        return self.asked or default

    def often(self, full, quick):
        return quick if self.quick else full

    def tool(self, name):
        """The path of a program of mc-idle-tools, built in the same folder as the agent."""
        return self.binary.parent / name


def alone(measure, targets, section):
    """`python tests/bench/NAME.py BINARY [SECONDS] [--quick]`: prints the result as JSON, and what it means to stderr."""
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("seconds", nargs="?", type=float)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    result = measure(Alone(asked.binary, asked.seconds, asked.quick))
    print(json.dumps(result))
    print(section(result), file=sys.stderr)
    for what, limit, value, met in targets(result):
        print(f"{'met' if met else 'NOT MET':8}{what}: {value} ({limit})", file=sys.stderr)


def environment(**further):
    """Nothing of AWS comes from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NOTIFY_", "WATCHDOG_"))}
    return kept | {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} | further


def at_endpoint(url):
    return {"AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": url}


@contextlib.contextmanager
def emulator():
    """The AWS of tests/lab/aws.py; gives what it says when it is ready."""
    aws = subprocess.Popen([PYTHON, ROOT / "tests/lab/aws.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(aws.stdout.readline())
    finally:
        aws.stdin.close()
        aws.wait()
        aws.stdout.close()


def asked_of(endpoint, page):
    with urllib.request.urlopen(endpoint + page, timeout=30) as answer:
        return json.load(answer)


@contextlib.contextmanager
def folder():
    """A runtime directory in memory, as /run is."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="mc-idle-") as path:
        yield pathlib.Path(path)


class Supervisor:
    """Whoever listens on NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)

    def listen(self):
        """Takes all that comes, and makes nothing of it."""

        def take():
            while self.socket.recv(4096):
                pass

        threading.Thread(target=take, daemon=True).start()

    def ready(self, patience=30):
        """Waits for READY=1; gives the time at which it came, on the monotonic clock."""
        self.socket.settimeout(patience)
        while not any(line == b"READY=1" for line in self.socket.recv(4096).splitlines()):
            pass
        return time.monotonic()


def start(binary, config, environment, log):
    arguments = [str(binary), "run", "--config", str(config)]
    return subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextlib.contextmanager
def ended(process):
    """Gives `process`, and ends it."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()
