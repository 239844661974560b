#!/usr/bin/env python3
"""What mc-idle costs, beside the cron script that it replaces, measured side by side in one run.

    python3 tests/lab/cost.py target/release/mc-idle [SECONDS]

The agent runs with its default sample interval, against the emulator of aws.py if that is installed (heartbeats
included), else as a dry run. Of the cron script the part that counts is run, as often as cron runs it: bash and lsof.
"""

import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = HERE.parents[1] / "target/lab/venv/bin/python"
CRON = "lsof -i TCP:25565 -s TCP:ESTABLISHED | wc -l"


def cpu(pid):
    """CPU seconds of all threads: the first figure of schedstat, in nanoseconds, where stat counts in hundredths."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks(pid)) / 1e9


def tasks(pid):
    return pathlib.Path(f"/proc/{pid}/task").iterdir()


def status(pid, name):
    for task in tasks(pid):
        for line in (task / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                yield int(line.split()[1])


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cron_cpu(runs=20):
    before = children_cpu()
    for _ in range(runs):
        subprocess.run(["bash", "-c", CRON], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (children_cpu() - before) / runs


def main():
    binary, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 120
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    emulator, arguments = None, ["--dry-run"]
    if PYTHON.exists():
        emulator = subprocess.Popen([PYTHON, HERE / "aws.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        endpoint = json.loads(emulator.stdout.readline())["endpoint"]
        environment |= {"AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint}
        arguments = []
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "config.toml")
        config.write_text('[efs]\nmount_point = ""\n')
        environment["RUNTIME_DIRECTORY"] = folder
        agent = subprocess.Popen([binary, "run", "--config", config, *arguments], env=environment)
        try:
            time.sleep(10)  # start, TLS and the first heartbeats are not what an hour is made of
            before, woken = cpu(agent.pid), sum(status(agent.pid, "voluntary_ctxt_switches"))
            time.sleep(seconds)
            used = cpu(agent.pid) - before
            woken = sum(status(agent.pid, "voluntary_ctxt_switches")) - woken
            memory = next(status(agent.pid, "VmRSS"))
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait()
            if emulator:
                emulator.stdin.close()
                emulator.wait()
    print(f"{'':38}{'mc-idle':>12}{'cron script':>14}")
    print(f"{'resident memory between two looks':38}{memory / 1024:>8.1f} MiB{'0':>14}")
    print(f"{'CPU for one look':38}{used / (seconds / 5) * 1000:>9.2f} ms", end="")
    cron = cron_cpu() if shutil.which("lsof") else None
    print(f"{cron * 1000:>11.1f} ms" if cron else f"{'no lsof':>14}")
    print(f"{'CPU for one hour, heartbeats included':38}{used / seconds * 3600:>10.2f} s", end="")
    print(f"{cron * 60:>12.2f} s" if cron else f"{'no lsof':>14}")
    print(f"{'looks in an hour':38}{720:>12}{60:>14}")
    print(f"{'wake-ups in an hour':38}{woken / seconds * 3600:>12.0f}{'60 starts':>14}")


if __name__ == "__main__":
    main()
