"""One look at the sockets: mc-idle's beside what a user would run instead, in turn, against the same connections."""

import contextlib
import json
import os
import re
import statistics
import subprocess
import time

import chart
from context import HERE, LAB, PLACES, PORT, PYTHON, ROOT, Talker, cpu_text, has, part_text, ratio, spent
from context import status, table, threads_cpu, turns

PLAYERS = 3
POLLED_PORT = 25566
AUTOSUSPEND = ROOT / "target/bench/autosuspend"
DEBIANS_PYTHON = "/usr/bin/python3"

LOOK, CRON, SS, NETSTAT = "mc-idle: a look, and its rule", "cron script: bash, lsof, date", "ss", "netstat, grep"
CHECK, POLL, STAYING = "autosuspend: a check", "mcstatus: a poll, new process", "mcstatus: a poll, staying process"
FIRST_LOOK, AGENT = "mc-idle: a look, processes have come", "mc-idle: the running agent"
# How often each looks: mc-idle by default, autosuspend as its configuration in Debian says, cron at most.
LOOKS_IN_AN_HOUR = {LOOK: 720, FIRST_LOOK: 720, AGENT: 720, CHECK: 120}
OURS = [LOOK, FIRST_LOOK]
TARGETS = [
    (CRON, 4, "a run of the cron script"), (CHECK, 2, "a check of autosuspend"), (POLL, 20, "a poll with mcstatus (new process)"),
]

MISSED = (
    "**What is not met, and why:** on a machine with much memory nearly all of a look is the kernel's walk through its long, empty "
    "table, once for `tcp` and once for `tcp6`; autosuspend and lsof take the same walk twice. `ss` asks over netlink and walks it faster. "
    "mc-idle stays with `/proc`, which tells of an error where netlink's list just ends, and which shows containers; netlink is its "
    "second witness before a stop. Thought of and left: to read of `tcp` only the listeners, which come first, as long as none is on "
    "the game's port. Players whose server has closed its port but not yet let go of them would not be seen.\n"
)


class Peers:
    """Those peers that are here, each a function that gives the CPU seconds of one look; for use in a `with`."""

    def __init__(self, context, players):
        self.context, self.players, self.works, self.missing, self.pids = context, players, {}, [], {}
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        turns_of_look = [self.context.sample_cost, "turns", "--port", PORT]
        self.talking(FIRST_LOOK, turns_of_look, "connections", lambda connections: connections == self.players)
        self.works[LOOK] = self.works[FIRST_LOOK]  # in turn right after it: no process has come in between
        self.cron()
        ss = ["ss", "-Htn", "state", "established", f"( sport = :{PORT} )"]
        self.command(SS, "ss", ss, lambda printed: len(printed.splitlines()) == self.players)
        grep = f"netstat -tn | grep -c ':{PORT} .*ESTABLISHED'"
        self.command(NETSTAT, "netstat", ["sh", "-c", grep], lambda printed: int(printed) >= self.players)
        self.autosuspend()
        self.mcstatus()
        return self

    def __exit__(self, *details):
        return self.stack.__exit__(*details)

    def command(self, name, program, arguments, right):
        """A peer that is a process for each look; what does not see the connections is no peer."""
        if not has(program):
            self.missing.append(f"{name} (no {program})")
            return
        printed = subprocess.run([str(word) for word in arguments], capture_output=True, text=True, check=False).stdout
        if not right(printed):
            raise RuntimeError(f"{name} does not see the {self.players} connections: {printed!r}")
        self.works[name] = lambda: spent(arguments)

    def cron(self):
        counter = self.context.folder / "cron-counter"
        script = ["bash", HERE / "peers/cron.sh", PORT, counter]
        self.command(CRON, "lsof", script, lambda printed: int(re.search(r"connections: (\d+)", printed)[1]) >= self.players)

    def talking(self, name, arguments, key, right, environment=None):
        talker = self.stack.enter_context(Talker(arguments, environment))
        try:
            first = json.loads(talker.heard())
        except RuntimeError as error:
            self.missing.append(f"{name} ({error})")
            return
        if not right(first[key]):
            raise RuntimeError(f"{name} does not see what is there: {first}")
        self.pids[name] = talker.process.pid
        self.works[name] = lambda: json.loads(talker.ask())["cpu"]

    def autosuspend(self):
        packages = AUTOSUSPEND / "usr/lib/python3/dist-packages"
        if not packages.exists():
            self.missing.append(f"{CHECK} (tests/lab/setup.sh bench fetches it where there is apt-get)")
            return
        config = self.context.folder / "autosuspend.conf"
        config.write_text(
            "[general]\ninterval = 60\nidle_time = 900\nsuspend_cmd = true\nwakeup_cmd = true\n"
            f"woke_up_file = {config}.woke\nlock_file = {config}.lock\n"
            f"[check.ActiveConnection]\nenabled = true\nports = {PORT}\n"
        )
        rounds = [DEBIANS_PYTHON, HERE / "peers/autosuspend_rounds.py", config]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}
        self.talking(CHECK, rounds, "matched", lambda matched: matched is True, environment)

    def mcstatus(self):
        program = PYTHON.with_name("mcstatus")
        if not has("node") or not program.exists() or not (ROOT / "target/lab/node_modules").exists():
            self.missing.append(f"{POLL} and {STAYING} (tests/lab/setup.sh lab)")
            return
        server = self.stack.enter_context(Talker(["node", LAB / "server.js", "--host", "127.0.0.1", "--port", POLLED_PORT]))
        if "listening" not in server.heard():
            raise RuntimeError("the Minecraft server does not listen")
        address = f"127.0.0.1:{POLLED_PORT}"
        self.command(POLL, str(program), [program, address, "status"], lambda printed: "players: 0/10" in printed)
        staying = [PYTHON, HERE / "peers/mcstatus_rounds.py", "127.0.0.1", POLLED_PORT]
        self.talking(STAYING, staying, "players", lambda players: players == 0)


def agent(context):
    """The CPU of the running agent for each of its looks: with heartbeats, watchdog and all else that it does meanwhile."""
    seconds, every = context.often(180, 20), 5
    with context.agent() as process:
        time.sleep(10)  # its start is the measure `start`
        before = threads_cpu(process.pid)
        time.sleep(seconds)
        used = threads_cpu(process.pid) - before
        return {"cpu": used / (seconds / every), "seconds": seconds, "rss_kib": status(process.pid, "VmRSS")}


def one_table(context, places, with_agent):
    with context.network(places) as found, context.sockets() as sockets:
        sockets.players(PLAYERS)
        result = {"places": found, "agent": agent(context) if with_agent else None}
        with Peers(context, PLAYERS) as peers:
            taken = turns(peers.works, context.often(25, 3), context.often(400, 60))
            result |= {
                "cpu": {name: statistics.median(values) for name, values in taken.items()},
                "spread": {name: [min(values), max(values)] for name, values in taken.items()},
                "part": {name: ratio(taken[LOOK], values) for name, values in taken.items() if name not in OURS},
                "rounds": len(taken[LOOK]), "missing": peers.missing,
                "rss_kib": {name: status(pid, "VmRSS") for name, pid in peers.pids.items() if name not in OURS},
            }
    return result


def measure(context):
    """In the table of an instance of 4 GiB, and in the one that this machine has; see the words in section()."""
    binary = context.binary.exists()
    if not binary:
        context.say(f"no {context.binary.name} here: without the running agent")
    tables = [one_table(context, PLACES, binary)]
    if context.root:
        own = one_table(context, None, binary)
        if own["places"] != tables[0]["places"]:
            tables.append(own)
    for name in tables[0]["missing"]:
        context.say(f"missing: {name}")
    return {"tables": tables}


def named(places):
    return "" if places is None else f"{places:,} places"


def targets(result):
    rows = []
    for one in result["tables"]:
        for name, limit, words in TARGETS:
            if name in one["part"]:
                part = one["part"][name]
                what = f"one look beside {words}" + (f", {named(one['places'])}" if one["places"] else "")
                rows.append((what, f"at most 1/{limit}", part_text(part), part <= 1 / limit))
    return rows


def plots(result):
    first = result["tables"][0]
    ours = {name: first["cpu"][name] for name in OURS} | ({AGENT: first["agent"]["cpu"]} if first["agent"] else {})
    rest = sorted(((name, cpu) for name, cpu in first["cpu"].items() if name not in OURS), key=lambda row: row[1])
    title = f"CPU of one look at {PLAYERS} connections"
    note = "A logarithmic scale; medians of rounds in turn."
    return {"peers.svg": chart.bars(title, [*ours.items(), *rest], cpu_text, len(ours), note=note)}


def section(result):
    parts = [
        "## One look, beside what else there is\n",
        f"What one look at {PLAYERS} connections costs in CPU: the median of rounds in which all were run in turn, and how much of "
        "each peer's CPU mc-idle's look is (median over the rounds). For programs that are started anew it is all they use from "
        "start to end; for those that stay, the look alone.\n",
        "![CPU of one look](benchmarks/peers.svg)\n",
        "The kernel walks its whole table of connections, however empty, for `/proc/net/tcp` and again for `tcp6`, and its length goes "
        f"with the machine's memory: {PLACES:,} places on an instance of 4 GiB. A program that reads on until nothing more comes has it walk "
        "twice, which mc-idle does not (see *One sample, beside the floor*). So everything is measured in a network namespace with "
        "a table of that length, and again with the table of the machine that this was measured on.\n",
    ]
    for one in result["tables"]:
        cpus = {name: one["cpu"][name] for name in OURS} | ({AGENT: one["agent"]["cpu"]} if one["agent"] else {})
        cpus |= one["cpu"]
        memory = one["rss_kib"] | ({AGENT: one["agent"]["rss_kib"]} if one["agent"] else {})
        rows = []
        for name, cpu in cpus.items():
            looks = LOOKS_IN_AN_HOUR.get(name, 60)
            spread = " – ".join(map(cpu_text, one["spread"][name])) if name in one["spread"] else ""
            part = part_text(one["part"][name]) if name in one["part"] else ""
            resident = f"{memory[name] / 1024:.1f} MiB" if name in memory else "–"
            rows.append([name, cpu_text(cpu), spread, part, looks, cpu_text(cpu * looks), resident])
        parts.append(f"### A table of {named(one['places'])}\n" if one["places"] else "### This machine's table\n")
        head = [
            "", "CPU of one look", "least – most", "mc-idle's look is of it", "looks in an hour", "CPU in an hour", "resident memory",
        ]
        parts.append(table(head, *rows))
        note = f"{one['rounds']} rounds."
        if one["agent"]:
            note += f" The running agent: its CPU in {one['agent']['seconds']} s, heartbeats and all, for each look in them."
        parts.append(note + "\n")
        if one["missing"]:
            parts.append("Missing here: " + "; ".join(one["missing"]) + ".\n")
    if any(not met for *_, met in targets(result)):
        parts.append(MISSED)
    parts.append(
        "* The cron script is `tests/bench/peers/cron.sh`, written for this page after what is usual; cron can run it once a minute.\n"
        "* autosuspend is Debian's daemon with its check ActiveConnection on the port; its CPU is that of a round of checks.\n"
        "* A poll with mcstatus asks a Minecraft server on the same machine, whose own CPU for the answer is not counted.\n"
        "* mc-idle's look is that of `sample-cost` (`tests/bench/sample_cost.rs`): a sample and the rule's step, by the "
        "agent's own code. mc-idle looks for containers when a process has been started anywhere on the machine, as here by the peers "
        "before each first look; so a second one follows at once, which is the usual one on a server. The running agent looks every "
        "5 s, with cold caches, and does more besides: heartbeats, its watchdog, its status.\n")
    return "\n".join(parts)
