#!/usr/bin/env python3
"""What the launcher costs as a Lambda: its zip, the first answer, CPU and memory, beside a handler in Python with boto3.

    python tests/bench/launcher.py BINARY [--quick]     prints JSON; needs mc-launcher in the folder of BINARY

Lambda's Runtime API, EC2 and SSM are stand-ins in this process that answer at once.
"""

import http.server
import io
import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import around  # noqa: E402
from context import HERE, PYTHON, table  # noqa: E402

MOST_ZIP, MOST_FIRST, MOST_MEMORY = 8_000_000, 0.100, 64 * 2**20
INSTANCE = "i-0123456789abcdef0"
STARTED = "2026-11-30T20:00:00.000Z"
PARAMETERS = {"key": "correct-horse-battery", "instance-id": INSTANCE}
DESCRIBED = f"""<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId><reservationSet><item>
<instancesSet><item><instanceId>{INSTANCE}</instanceId><instanceState><code>16</code><name>running</name></instanceState>
<launchTime>{STARTED}</launchTime></item></instancesSet></item></reservationSet></DescribeInstancesResponse>"""
TICK = os.sysconf("SC_CLK_TCK")


class Cloud(http.server.BaseHTTPRequestHandler):
    """EC2 and SSM."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        target = self.headers.get("x-amz-target")
        if target is None:
            assert urllib.parse.parse_qs(body.decode())["Action"] == ["DescribeInstances"], body
            return self.answer(200, DESCRIBED)
        name = json.loads(body)["Name"].rsplit("/", 1)[1]
        if name not in PARAMETERS:
            return self.answer(400, json.dumps({"__type": "ParameterNotFound", "message": ""}))
        parameter = {"Name": name, "Type": "String", "Value": PARAMETERS[name], "LastModifiedDate": 1.7e9, "Version": 1}
        self.answer(200, json.dumps({"Parameter": parameter}))

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Runtime(http.server.BaseHTTPRequestHandler):
    """Lambda's Runtime API, for one process of a function: each has its own, since one that has ended may still wait for an event."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        event = json.dumps(self.events.get()).encode()
        self.send_response(200)
        for name, value in {
            "Lambda-Runtime-Aws-Request-Id": "8476a536", "Lambda-Runtime-Deadline-Ms": "9999999999999",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:mc",
            "content-length": str(len(event)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self):
        self.answers.put((time.monotonic(), json.loads(self.body())))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def body(self):
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def log_message(self, *_):
        pass


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def event(method, path):
    headers = {"host": "mc.lambda-url.eu-central-1.on.aws", "authorization": f"Bearer {PARAMETERS['key']}"}
    http = {"method": method, "path": path}
    return {"version": "2.0", "rawPath": path, "headers": headers, "requestContext": {"http": http}, "isBase64Encoded": False}


def invoke(runtime, method, path):
    runtime.events.put(event(method, path))
    at, answer = runtime.answers.get(timeout=60)
    assert answer["statusCode"] in (200, 202), answer
    return at


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak(pid):
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(context):
    program = context.binary.with_name("mc-launcher")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        zipped.write(program, "bootstrap")
    environment = around.environment(
        MC_ROLE="page", MC_SERVER="survival", AWS_LAMBDA_FUNCTION_NAME="mc",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="256", AWS_LAMBDA_FUNCTION_VERSION="1", AWS_LAMBDA_LOG_GROUP_NAME="mc",
        AWS_LAMBDA_LOG_STREAM_NAME="mc", AWS_REGION="eu-central-1", AWS_DEFAULT_REGION="eu-central-1", AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x", AWS_ENDPOINT_URL=f"http://127.0.0.1:{serve(Cloud)}",
    )
    commands = {"launcher": [str(program)], "python": [str(PYTHON), str(HERE / "peers/start_handler.py")]}
    rounds, presses = context.often(15, 2), context.often(300, 20)
    first, each, memory = ({name: [] for name in commands} for _ in range(3))
    # In turn; the first round finds nothing in the page cache.
    for turn in range(rounds + 1):
        for name, command in commands.items():
            runtime = type("Runtime", (Runtime,), {"events": queue.Queue(), "answers": queue.Queue()})
            api = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{serve(runtime)}"}
            began = time.monotonic()
            process = subprocess.Popen(command, env=environment | api, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                taken = invoke(runtime, "GET", "/status") - began
                if turn:
                    first[name].append(taken)
                if turn == rounds:
                    before = cpu(process.pid)
                    # A press looks at EC2 and SSM each time; a look at the page is shared for a second.
                    for _ in range(presses):
                        invoke(runtime, "POST", "/start")
                    each[name].append((cpu(process.pid) - before) / presses)
                    memory[name].append(peak(process.pid))
            finally:
                process.kill()
                process.wait()
    return {
        "zip": packed.getbuffer().nbytes, "rounds": rounds, "presses": presses,
        "first": {name: statistics.median(values) for name, values in first.items()},
        "cpu": {name: values[0] for name, values in each.items()},
        "memory": {name: values[0] for name, values in memory.items()},
    }


def targets(result):
    size, first, memory = result["zip"], result["first"]["launcher"], result["memory"]["launcher"]
    return [
        ("the launcher's zip", f"at most {MOST_ZIP / 1e6:.0f} MB", f"{size / 1e6:.2f} MB", size <= MOST_ZIP),
        ("the launcher's first answer after exec", f"at most {MOST_FIRST * 1000:.0f} ms", f"{first * 1000:.0f} ms", first <= MOST_FIRST),
        ("the launcher's memory at most", f"at most {MOST_MEMORY / 2**20:.0f} MiB", f"{memory / 2**20:.1f} MiB", memory <= MOST_MEMORY),
    ]


def section(result):
    def row(words, values, unit, scale):
        ours, theirs = values["launcher"] * scale, values["python"] * scale
        return [words, f"{ours:.1f} {unit}", f"{theirs:.1f} {unit}", f"**{theirs / ours:.1f}**"]

    return "\n".join([
        "## The launcher\n",
        f"`tests/bench/launcher.py`: as a Lambda function, in turn with a handler in Python 3 with boto3 that does the same "
        f"(`tests/bench/peers/start_handler.py`), beside an EC2 and an SSM that answer at once. The first answer is the median of "
        f"{result['rounds']} starts, from exec to the answer to `GET /status`, clients, keys and the calls of AWS included; CPU is of one "
        f"press of the button while the server runs, of {result['presses']}; memory is the most that was resident after them. Its zip has "
        f"{result['zip'] / 1e6:.2f} MB.\n",
        table(["", "mc-launcher", "Python", "Python is so many times as much"],
              row("first answer after exec", result["first"], "ms", 1000),
              row("CPU of a press", result["cpu"], "ms", 1000),
              row("memory at most", result["memory"], "MiB", 1 / 2**20)),
    ])


if __name__ == "__main__":
    around.alone(measure, targets, section)
