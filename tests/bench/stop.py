#!/usr/bin/env python3
"""How late a stop comes: from the end of the window to the call that asks EC2 for it, over many windows.

    python tests/bench/stop.py BINARY [--quick]     prints JSON

Agents run side by side, each beside a server of its own with one player, who leaves at a moment that only this program knows.
Half of them take a sample every second, half every five, as by default. Two figures for each window:

    after the agent's window   the call, less the end of the window as the agent counts it: from its first look that shows nobody
    after the player's window  the call, less the end of the window that began when the player left: by up to one interval more
"""

import contextlib
import datetime
import json
import pathlib
import random
import signal
import socket
import statistics
import sys
import threading
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import around  # noqa: E402
from context import table  # noqa: E402

WINDOW = 12.0
INTERVALS = [1.0, 5.0]
AT_ONCE = 10
PATIENCE = 60
# What the way of the request may take beside: credentials, the final heartbeat, the last look, and this machine's being busy.
ON_THE_WAY = 1.0
SETTINGS = """idle_minutes = {minutes}
sample_seconds = {interval}
minecraft.ports = [{port}]
minecraft.min_connection_seconds = 0
efs.mount_point = ""
aws.region = "{region}"
aws.instance_id = "{instance_id}"
"""


def measure(context):
    windows = 10 if context.quick else 200
    with around.folder() as folder, around.emulator() as aws:
        endpoint = aws["endpoint"]
        instances = run_instances(endpoint, aws["region"], AT_ONCE)
        left, lock, seen, failed = list(range(windows)), threading.Lock(), [], []

        def work(number):
            home = folder / str(number)
            home.mkdir()
            try:
                while True:
                    with lock:
                        if not left or failed:
                            return
                        window = left.pop()
                    interval = INTERVALS[window % len(INTERVALS)]
                    one = one_window(context.binary, home, aws, instances[number], interval)
                    with lock:
                        seen.append(one)
            except Exception as error:  # told by the thread that waits
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        calls = around.asked_of(endpoint, "/lab/calls?action=StopInstances")
    asked = [call for call in calls if call["params"].get("DryRun") != "true"]
    late = {str(interval): {"agent": [], "player": []} for interval in INTERVALS}
    for one in seen:
        at = [call["at"] for call in asked
              if call["params"].get("InstanceId.1") == one["instance"] and one["began"] <= call["at"] <= one["over"]]
        if len(at) != 1:
            raise RuntimeError(f"{len(at)} calls in one window: {one}")
        late[str(one["interval"])]["agent"].append(at[0] - one["agents_end"])
        late[str(one["interval"])]["player"].append(at[0] - one["players_end"])
    return {"windows": windows, "window": WINDOW, "late": late}


def run_instances(endpoint, region, number):
    """More instances for the emulator, one for each agent."""
    query = {"Action": "RunInstances", "Version": "2016-11-15", "ImageId": "ami-12345678", "MinCount": number, "MaxCount": number}
    now = datetime.datetime.now(datetime.UTC) if hasattr(datetime, "UTC") else datetime.datetime.now(datetime.timezone.utc)
    scope = f"LAB/{now:%Y%m%d}/{region}/ec2/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
               "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}"}
    request = urllib.request.Request(endpoint + "/", urllib.parse.urlencode(query).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        ids = [part.partition("</instanceId>")[0] for part in answer.read().decode().split("<instanceId>")[1:]]
    if len(ids) != number:
        raise RuntimeError(f"{len(ids)} instances, not {number}")
    return ids


def one_window(binary, home, aws, instance, interval):
    """An agent that has seen a player sees nobody any more, and asks for the stop."""
    # Another agent would go on with its clock.
    (home / "state.json").unlink(missing_ok=True)
    began = time.time()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        player = stack.enter_context(socket.create_connection(server.getsockname()))
        accepted = stack.enter_context(server.accept()[0])
        (home / "config.toml").write_text(SETTINGS.format(
            minutes=WINDOW / 60, interval=interval, port=server.getsockname()[1], region=aws["region"], instance_id=instance,
        ))
        environment = around.environment(RUNTIME_DIRECTORY=str(home), **around.at_endpoint(aws["endpoint"]))
        agent = around.start(binary, home / "config.toml", environment, stack.enter_context(open(home / "log", "w")))
        try:
            picture(agent, home, lambda status: status["state"] == "occupied" and status["pid"] == agent.pid)
            # Anywhere between two samples.
            time.sleep(1 + random.uniform(0, interval))
            # Both clocks at once: the emulator tells its calls' times on the wall clock.
            left, left_monotonic = time.time(), time.monotonic()
            player.close()
            accepted.close()
            idle = picture(agent, home, lambda status: status["state"] == "idle")
            picture(agent, home, lambda status: status["why"].startswith("EC2 accepted the stop"))
        finally:
            # What it writes at its end is no part of this.
            agent.send_signal(signal.SIGKILL)
            agent.wait()
    first_look = left + idle["at_ms"] / 1000 - left_monotonic
    if idle["idle_seconds"] != 0:
        raise RuntimeError("the first look that shows nobody was overlooked")
    return {"instance": instance, "interval": interval, "began": began, "over": time.time(),
            "players_end": left + WINDOW, "agents_end": first_look + WINDOW}


def picture(agent, home, wanted):
    """The first status.json that is `wanted`; it is written at once when something changes."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            status = json.loads((home / "status.json").read_text())
            if wanted(status):
                return status
        if agent.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"waited in vain: {(home / 'log').read_text()}")


def targets(result):
    rows = []
    for interval, late in result["late"].items():
        seconds = float(interval)
        most, latest, earliest = max(late["agent"]), max(late["player"]), min(late["player"])
        rows += [
            (f"stop after the agent's window, a look every {seconds:g} s", f"never over one interval late: {seconds:g} s",
             f"at most {most:.2f} s", most <= seconds),
            (f"stop after the player's window, a look every {seconds:g} s",
             f"never over one interval and {ON_THE_WAY:g} s for the last look: {seconds + ON_THE_WAY:g} s",
             f"at most {latest:.2f} s", latest <= seconds + ON_THE_WAY),
            (f"stop before the player's window is over, a look every {seconds:g} s", "never",
             "never" if earliest >= 0 else f"{-earliest:.3f} s early: a broken promise", earliest >= 0),
        ]
    return rows


def section(result):
    def cells(values):
        ordered = sorted(values)
        tail = ordered[max(0, -(-99 * len(ordered) // 100) - 1)]
        return [f"{value:.2f}" for value in (ordered[0], statistics.median(ordered), tail, ordered[-1])]

    rows = []
    for interval, late in result["late"].items():
        for name, words in (("agent", "the agent's window"), ("player", "the window since the player left")):
            rows.append([f"a look every {float(interval):g} s, after {words}", *cells(late[name])])
    # Computed: evenly spread over the minute.
    rows.append(["a script that cron starts every minute, after the window since the player left (computed)", "0", "30", "59.4", "60"])
    return "\n".join([
        "## Stop\n",
        f"`tests/bench/stop.py target/release/mc-idle`: how late the request is on the wire, in seconds, over {result['windows']} windows of "
        f"{result['window']:g} s, some agents side by side. The agent counts from its first look that shows nobody, up to one interval "
        "after the player has left; so it is late by that, and never early.\n",
        table(["", "least", "median", "99 of 100", "most"], *rows),
        "The script's row is computed, not measured: the window ends somewhere between two of its looks, and the look that ends it comes "
        "0 to 60 s later, evenly spread. That is so if it waits for one empty look more than its window has minutes; with as many looks "
        "as minutes it is early by as much instead.\n",
    ])


if __name__ == "__main__":
    around.alone(measure, targets, section)
