#!/usr/bin/env python3
"""How long mc-idle takes from its start to READY=1, whatever AWS does, beside a program that only says so.

    python tests/bench/start.py BINARY [--quick]     prints JSON; needs `ready` (mc-idle-tools) in the folder of BINARY
"""

import contextlib
import os
import pathlib
import signal
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import around  # noqa: E402
from context import table  # noqa: E402

MOST = 0.050
SETTINGS = 'minecraft.ports = [{port}]\nefs.mount_point = ""\n'
CASES = {"answering": "AWS answers", "silent": "AWS accepts and never answers", "closed": "nothing listens where AWS should be"}


def measure(context):
    peer = context.tool("ready")
    rounds = 3 if context.quick else 30
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(around.folder())
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        (folder / "config.toml").write_text(SETTINGS.format(port=server.getsockname()[1]))
        endpoints = {
            "answering": stack.enter_context(around.emulator())["endpoint"],
            "silent": stack.enter_context(silent()),
            "closed": closed(),
        }
        result = {"rounds": rounds}
        for case, endpoint in endpoints.items():
            run = folder / case
            run.mkdir()
            supervisor = around.Supervisor(folder / f"{case}.notify")
            environment = around.environment(
                RUNTIME_DIRECTORY=str(run), NOTIFY_SOCKET=supervisor.path, WATCHDOG_USEC=around.WATCHDOG_USEC,
                **around.at_endpoint(endpoint),
            )
            agent = [str(context.binary), "run", "--config", str(folder / "config.toml")]
            taken = {"agent": [], "peer": []}
            # The first round finds nothing in the page cache.
            for turn in range(rounds + 1):
                for name, arguments in (("agent", agent), ("peer", [str(peer)])):
                    seconds = one(arguments, environment, supervisor, folder / "log")
                    if turn:
                        taken[name].append(seconds)
            result[case] = {name: spread(values) for name, values in taken.items()}
    return result


def one(arguments, environment, supervisor, log):
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    began = time.monotonic()
    pid = os.posix_spawn(arguments[0], arguments, environment, file_actions=actions)
    try:
        return supervisor.ready() - began
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(log)
        # What was said behind that is not the next one's.
        supervisor.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                supervisor.socket.recv(4096)


@contextlib.contextmanager
def silent():
    """Somebody who accepts every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        held = []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept())

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def spread(values):
    ordered = sorted(values)
    return {"median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1]}


def over(result, case):
    return result[case]["agent"]["median"] - result[case]["peer"]["median"]


def targets(result):
    value = over(result, "closed")
    return [("start with AWS closed, over a program that only says READY=1", f"at most {MOST * 1000:.0f} ms, in the median",
             f"{value * 1000:.1f} ms", value <= MOST)]


def section(result):
    def cell(one):
        return f"{one['median'] * 1000:.1f} ({one['least'] * 1000:.1f} to {one['most'] * 1000:.1f})"

    rows = [[words, cell(result[case]["agent"]), cell(result[case]["peer"]), f"**{over(result, case) * 1000:.1f}**"]
            for case, words in CASES.items()]
    return "\n".join([
        "## Start\n",
        f"`tests/bench/start.py target/release/mc-idle`: from the start of the process to READY=1, which it says after its first look, "
        f"in ms. In turn with a program that does nothing but say so (`tests/bench/ready.rs`), {result['rounds']} rounds: the median, "
        "the least and the most.\n",
        table(["", "mc-idle", "the other program", "difference of the medians"], *rows),
    ])


if __name__ == "__main__":
    around.alone(measure, targets, section)
