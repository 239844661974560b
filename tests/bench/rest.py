#!/usr/bin/env python3
"""What an agent at rest takes of the machine in an hour: memory, wake-ups, system calls, processes, disk, network.

    python tests/bench/rest.py BINARY [SECONDS] [--quick]     prints JSON

The agent and the emulated AWS are alone in a network of their own (with root; else the network is not counted), beside a server
that nobody plays on. All is as shipped, but for EFS, which there is none of, and the window, which is not to end.
"""

import collections
import contextlib
import fcntl
import json
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import around  # noqa: E402
from context import table  # noqa: E402

MIB = 1024 * 1024
MEMORY = 8 * MIB
# A page here and there is no growth.
LEVEL = 128 * 1024
WAKE_UPS = 30
# In its first minute the agent writes its files with each sample, on purpose; and the start is not what an hour is made of.
WARM_UP = 75
SETTINGS = 'idle_minutes = 10080\nminecraft.ports = [{port}]\nefs.mount_point = ""\n'


def measure(context):
    seconds = context.seconds(3600)
    traced = 20 if context.quick else 120
    inside = [sys.executable, __file__, "--inside", context.binary, str(seconds), str(traced)]
    alone = ["unshare", "--net"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []
    done = subprocess.run([*alone, *inside, "alone" if alone else "shared"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def inside(binary, seconds, traced, network):
    if network == "alone":
        switch_on("lo")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(around.folder())
        endpoint = stack.enter_context(around.emulator())["endpoint"]
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        config = folder / "config.toml"
        config.write_text(SETTINGS.format(port=server.getsockname()[1]))
        supervisor = around.Supervisor(folder / "notify")
        supervisor.listen()
        environment = around.environment(
            RUNTIME_DIRECTORY=str(folder), NOTIFY_SOCKET=supervisor.path, WATCHDOG_USEC=around.WATCHDOG_USEC,
            **around.at_endpoint(endpoint),
        )
        agent = stack.enter_context(around.ended(around.start(binary, config, environment, stack.enter_context(
            open(folder / "log", "w")))))
        time.sleep(WARM_UP)
        # Asked for before and after: what is asked in between is no agent's.
        before = len(around.asked_of(endpoint, "/lab/heartbeats"))
        result = watch(agent.pid, seconds)
        result["heartbeats"] = len(around.asked_of(endpoint, "/lab/heartbeats")) - before
        if network != "alone":
            result["network_bytes"] = None
        result["trace"] = trace(agent.pid, traced, folder)
        if agent.poll() is not None:
            raise RuntimeError(f"the agent ended: {(folder / 'log').read_text()}")
    return result


def switch_on(interface):
    """As `ip link set lo up` does: netdevice(7), SIOCSIFFLAGS, IFF_UP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", interface.encode(), 1))


def watch(pid, seconds):
    every = max(1.0, min(10.0, seconds / 60))
    first = Look(pid)
    looks, children = [first], 0
    # A thread may end: what it was last seen with counts.
    threads = dict(first.threads)
    while (left := first.at + seconds - time.monotonic()) > 0:
        time.sleep(min(every, left))
        looks.append(Look(pid))
        threads |= looks[-1].threads
        children += looks[-1].children
    last, minutes = looks[-1], (looks[-1].at - first.at) / 60
    by_name, pushed_aside = collections.Counter(), 0
    for task, (name, voluntary, involuntary) in threads.items():
        _, before, pushed_before = first.threads.get(task, (name, 0, 0))
        by_name[name] += voluntary - before
        pushed_aside += involuntary - pushed_before
    # Around the middle: the highest before it, and after it.
    half = len(looks) // 2
    memory = [look.memory for look in looks]
    return {
        "seconds": last.at - first.at,
        "memory_first": memory[0], "memory_last": memory[-1], "memory_most": max(memory), "memory_peak": last.peak,
        "memory_first_half": max(memory[: half + 1]), "memory_second_half": max(memory[half:]),
        "memory_curve": [[round(look.at - first.at), look.memory] for look in looks],
        "wake_ups": sum(by_name.values()) / minutes,
        "wake_ups_by_thread": {name: count / minutes for name, count in sorted(by_name.items())},
        "pushed_aside": pushed_aside / minutes,
        "threads": len(last.threads),
        "cpu_ms_an_hour": (last.cpu - first.cpu) * 1000 / minutes * 60,
        # Of children seen, and of those that were there and had ended: they leave page faults behind.
        "children_seen": children, "children_faults": last.children_faults - first.children_faults,
        "disk_written": last.disk_written - first.disk_written, "disk_read": last.disk_read - first.disk_read,
        "network_bytes": last.network - first.network,
    }


class Look:
    """What /proc says of the agent at one moment."""

    def __init__(self, pid):
        proc = pathlib.Path(f"/proc/{pid}")
        self.at = time.monotonic()
        self.threads, self.children, self.cpu = {}, 0, 0.0
        for task in (proc / "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                said = fields(task / "status")
                self.threads[task.name] = (
                    said["Name"], int(said["voluntary_ctxt_switches"]), int(said["nonvoluntary_ctxt_switches"])
                )
                self.children += len((task / "children").read_text().split())
                self.cpu += int((task / "schedstat").read_text().split()[0]) / 1e9
        said = fields(proc / "status")
        self.memory, self.peak = (int(said[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        # proc(5): cminflt and cmajflt, behind the name, which may hold spaces.
        rest = (proc / "stat").read_text().rpartition(")")[2].split()
        self.children_faults = int(rest[8]) + int(rest[10])
        io = fields(proc / "io")
        self.disk_written, self.disk_read = int(io["write_bytes"]), int(io["read_bytes"])
        loopback = next(line for line in (proc / "net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
        self.network = int(loopback.split(":")[1].split()[0])


def fields(path):
    return {name: value.strip() for name, _, value in (line.partition(":") for line in path.read_text().splitlines())}


def trace(pid, seconds, folder):
    """System calls, children and files written, seen by strace in a while of its own: it slows the agent down."""
    if not shutil.which("strace"):
        return None
    output = folder / "trace"
    strace = subprocess.Popen(["strace", "-f", "-qq", "-o", output, "-p", str(pid)], stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    strace.send_signal(signal.SIGINT)
    strace.wait()
    calls, started, written = collections.Counter(), 0, set()
    for line in output.read_text().splitlines():
        found = re.match(r"\d+ +(\w+)\((.*)", line)
        if not found:
            continue
        name, rest = found.groups()
        calls[name] += 1
        # A thread is started with CLONE_THREAD.
        started += name in ("fork", "vfork", "execve") or (name in ("clone", "clone3") and "CLONE_THREAD" not in rest)
        if name == "openat" and re.search(r"O_WRONLY|O_RDWR|O_CREAT", rest):
            written.add(rest.split('"')[1])
    if not calls:
        return None
    outside = sorted(path for path in written if not path.startswith(f"{folder}/"))
    return {
        "seconds": seconds, "calls": sum(calls.values()) * 60 / seconds,
        "most": {name: count * 60 / seconds for name, count in calls.most_common(8)}, "processes": started,
        "files": sorted({pathlib.Path(path).name.removesuffix(".new") for path in written} - set(outside)),
        "files_elsewhere": outside,
    }


def processes(result):
    seen_by_strace = (result["trace"] or {}).get("processes", 0)
    return result["children_seen"] + result["children_faults"] + seen_by_strace


def targets(result):
    growth = result["memory_second_half"] - result["memory_first_half"]
    rows = [
        ("resident memory", f"at most 8 MiB ({MEMORY:,} bytes)", f"{result['memory_most'] / MIB:.2f} MiB "
         f"({result['memory_most']:,} bytes)", result["memory_most"] <= MEMORY),
        ("resident memory does not grow", f"by less than {LEVEL // 1024} KiB from the first half to the second",
         f"{growth / 1024:+.0f} KiB", growth < LEVEL),
        ("wake-ups a minute", f"at most {WAKE_UPS}", f"{result['wake_ups']:.1f}", result["wake_ups"] <= WAKE_UPS),
        ("processes started", "none", "none" if not processes(result) else "some", not processes(result)),
        ("bytes written to a disk", "none", f"{result['disk_written']:,}", result["disk_written"] == 0),
    ]
    if result["trace"]:
        elsewhere = result["trace"]["files_elsewhere"]
        rows.append(("files written outside the runtime directory", "none", ", ".join(elsewhere) or "none", not elsewhere))
    return rows


def section(result):
    minutes, threads = result["seconds"] / 60, result["wake_ups_by_thread"]
    network, trace = result["network_bytes"], result["trace"]
    rows = [
        ["resident memory, after the start", f"{result['memory_first'] / MIB:.2f} MiB"],
        ["… at the end", f"{result['memory_last'] / MIB:.2f} MiB"],
        ["… at most", f"{result['memory_most'] / MIB:.2f} MiB ({result['memory_most']:,} bytes)"],
        ["… at most since the start of the process (`VmHWM`)", f"{result['memory_peak'] / MIB:.2f} MiB"],
        ["wake-ups a minute (voluntary context switches of all threads)", f"**{result['wake_ups']:.1f}**"],
        *([f"… of the thread `{name}`", f"{count:.1f}"] for name, count in threads.items()),
        ["CPU in an hour", f"{result['cpu_ms_an_hour'] / 1000:.2f} s"],
        ["processes started", "none" if not processes(result) else "some"],
        ["bytes written to a disk", f"{result['disk_written']:,}"],
    ]
    if network is not None:
        hour = network / result["seconds"] * 3600
        rows.append(["network in an hour, both ways", f"{hour / 1024:.0f} KiB"])
    if trace:
        rows.append([f"system calls a minute, in {trace['seconds']} s of their own under strace", f"{trace['calls']:.0f}"])
        most = ", ".join(f"{name} {count:.0f}" for name, count in trace["most"].items())
        rows.append(["files written", ", ".join(f"`{name}`" for name in trace["files"]) or "none"])
    parts = [
        "## At rest\n",
        f"`tests/bench/rest.py target/release/mc-idle 3600`: {minutes:.0f} minutes beside a server that nobody plays on, with "
        f"heartbeats ({result['heartbeats']} of them), a look every 5 s, a watchdog as in the unit, no EFS and no D-Bus, after the first "
        f"{WARM_UP} s. The files are in the runtime directory, which is in memory. Nearly all of the CPU is the kernel's walk through this "
        "machine's long table of connections; see *One look*.\n",
        table(["", "mc-idle"], *rows),
    ]
    if network is not None:
        parts.append("The network is what the loopback device of a network namespace counts, with all headers, and without the TLS "
                     "that real heartbeats are in.\n")
    if trace:
        parts.append(f"The most frequent system calls a minute: {most}.\n")
    parts.append("With EFS configured, a short process of the same program asks the mount every 30 s, which is not in these figures.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(inside(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5])))
    else:
        around.alone(measure, targets, section)
