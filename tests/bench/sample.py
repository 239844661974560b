"""One sample of mc-idle: its CPU beside the floor, its system calls, allocations, bytes read and memory."""

import re
import statistics
import subprocess
import tempfile

from context import PORT, cpu_text, has, table

PLAYERS = 3
FOREIGN, FOREIGN_QUICK = 95_000, 10_000
# Runs of the same binary differ by so much in what is resident: whole pages, and where they happen to lie.
MEMORY_TOLERANCE = 1.03
FEW, MANY = 3, 9
FIGURES = ["floor_us", "short_floor_us", "sample_us", "ratio", "short_ratio", "table_bytes", "last_look_us"]


def floor_ratio(context, foreign):
    """The CPU of a sample and of the floor, measured in turn by sample-cost, in some processes of it."""
    rounds = context.often(12, 6) if foreign else context.often(240, 60)
    seen = [context.sample("compare", "--port", PORT, "--rounds", rounds) for _ in range(context.often(5, 3))]
    return {name: statistics.median(one[name] for one in seen) for name in FIGURES}


def peak(context):
    """Peak resident memory in KiB: sample-cost says it before its last looks."""
    seen = [context.sample("compare", "--port", PORT, "--rounds", 1) for _ in range(context.often(9, 5))]
    return statistics.median(one["peak_kib"] for one in seen)


def difference(context, work, run):
    """What one of `work` takes: run(words) of FEW and of MANY of them, without what comes once."""
    few, many = (run([context.sample_cost, "repeat", work, "--port", PORT, "--rounds", times]) for times in (FEW, MANY))
    return {name: (many[name] - few.get(name, 0)) / (MANY - FEW) for name in many}


def strace(options, words):
    with tempfile.NamedTemporaryFile("r") as log:
        subprocess.run(["strace", "-f", "-o", log.name, *options, *map(str, words)], stdout=subprocess.DEVNULL, check=True)
        return log.read()


def calls(words):
    """System calls, by name."""
    lines = [line.split() for line in strace(["-c", "-U", "calls,name"], words).splitlines()]
    return {words[1]: int(words[0]) for words in lines if len(words) == 2 and words[0].isdigit() and words[1] != "total"}


def bytes_read(words):
    printed = strace(["-s", "0", "-e", "trace=read,pread64,readv"], words)
    return {"bytes": sum(int(number) for number in re.findall(r"\) += (\d+)$", printed, re.MULTILINE))}


def heap(words):
    """What valgrind's dhat says: bytes and blocks allocated in all, and the most at one time."""
    dhat = ["valgrind", "--tool=dhat", "--dhat-out-file=/dev/null"]
    printed = subprocess.run([*dhat, *map(str, words)], capture_output=True, text=True, check=True).stderr
    found = re.findall(r"(Total|At t-gmax): +([\d,]+) bytes in ([\d,]+) blocks", printed)
    figures = {name: (int(size.replace(",", "")), int(blocks.replace(",", ""))) for name, size, blocks in found}
    return {"bytes": figures["Total"][0], "allocations": figures["Total"][1], "most_at_once": figures["At t-gmax"][0]}


def one_state(context, foreign):
    state = {"foreign": foreign, "peak_kib": peak(context)} | floor_ratio(context, foreign)
    if has("strace"):
        for work in ("floor", "sample"):
            state[f"{work}_calls"] = {name: count for name, count in difference(context, work, calls).items() if count}
            state[f"{work}_read"] = difference(context, work, bytes_read)["bytes"]
    if has("valgrind"):
        repeat = [context.sample_cost, "repeat", "sample", "--port", PORT, "--rounds"]
        state["heap"] = difference(context, "sample", heap) | {"most_at_once": heap([*repeat, MANY])["most_at_once"]}
    return state


def measure(context):
    with context.network() as places, context.sockets() as sockets:
        sockets.players(PLAYERS)
        states = [one_state(context, 0)]
        there = sockets.foreign(context.often(FOREIGN, FOREIGN_QUICK))
        context.say(f"sample: {there:,} foreign sockets")
        states.append(one_state(context, there))
    own = None
    if context.root:
        with context.network(None) as found, context.sockets() as sockets:
            sockets.players(PLAYERS)
            if found != places:
                own = {"places": found} | floor_ratio(context, 0)
    return {"places": places, "states": states, "own": own}


def named(foreign):
    return f"{PLAYERS} connections" + (f" and {foreign:,} foreign sockets" if foreign else "")


def targets(result):
    few, many = result["states"]
    rows = []
    for state in (few, many):
        limit = 1.10 if state["foreign"] else 1.05
        what = f"one sample beside the floor, {named(state['foreign'])}"
        rows.append((what, f"at most {limit:.2f} ×", f"{state['ratio']:.3f} ×", state["ratio"] <= limit))
    for name, unit, least, most in (
        ("peak resident memory", "KiB", few["peak_kib"], many["peak_kib"]),
        ("peak heap", "bytes", few.get("heap", {}).get("most_at_once"), many.get("heap", {}).get("most_at_once")),
    ):
        if least:
            limit = f"no more than without: {least:,.0f} {unit} (+{MEMORY_TOLERANCE - 1:.0%})"
            met = most <= least * MEMORY_TOLERANCE
            rows.append((f"{name} of a sample with {many['foreign']:,} foreign sockets", limit, f"{most:,.0f} {unit}", met))
    return rows


def count(value):
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def section(result):
    columns = result["states"]
    rows = [
        ["CPU of the floor", *(cpu_text(state["floor_us"] / 1e6) for state in columns)],
        ["CPU of the short floor", *(cpu_text(state["short_floor_us"] / 1e6) for state in columns)],
        ["CPU of a sample", *(cpu_text(state["sample_us"] / 1e6) for state in columns)],
        ["**sample ÷ floor**", *(f"**{state['ratio']:.3f}**" for state in columns)],
        ["**sample ÷ short floor**", *(f"**{state['short_ratio']:.3f}**" for state in columns)],
        ["CPU of a last look (before each stop)", *(cpu_text(state["last_look_us"] / 1e6) for state in columns)],
        ["bytes in the tables", *(count(state["table_bytes"]) for state in columns)],
    ]
    if "sample_read" in columns[0]:
        rows.append(["bytes read by a sample", *(count(state["sample_read"]) for state in columns)])
        for work in ("floor", "sample"):
            rows.append([f"system calls of the {work}" if work == "floor" else "system calls of a sample",
                         *(count(sum(state[f"{work}_calls"].values())) for state in columns)])
        every = sorted({name for state in columns for work in ("floor", "sample") for name in state[f"{work}_calls"]})
        for name in every:
            rows.append([f"… `{name}`: floor, sample", *(
                ", ".join(count(state[f"{work}_calls"].get(name, 0)) for work in ("floor", "sample")) for state in columns)])
    if "heap" in columns[0]:
        rows += [
            ["allocations in a sample", *(count(state["heap"]["allocations"]) for state in columns)],
            ["… bytes in them", *(count(state["heap"]["bytes"]) for state in columns)],
            ["heap: the most at one time", *(f"{state['heap']['most_at_once']:,} B" for state in columns)],
        ]
    rows.append(["peak resident memory", *(f"{state['peak_kib']:.0f} KiB" for state in columns)])
    own = result["own"]
    beside = (
        f"In this machine's own table of {own['places']:,} places, with {named(0)}: floor {cpu_text(own['floor_us'] / 1e6)}, "
        f"sample {cpu_text(own['sample_us'] / 1e6)}, ratio {own['ratio']:.3f}; beside the short floor {own['short_ratio']:.3f}.\n"
        if own else "")
    where = f", in a table of {result['places']:,} places" if result["places"] else ""
    return "\n".join([
        "## One sample, beside the floor\n",
        "The floor is a plain read of `/proc/self/net/tcp` and `tcp6` into a fixed buffer, until the kernel tells that there is no more. "
        "To tell it, the kernel walks through its whole table of connections a second time. A sample does not ask where a read has "
        "left room for another row, which the kernel leaves only at the end (`agent/host/sockets/seq_file.rs`); the short floor "
        "does not ask either, so what a sample costs beside it is its own work. "
        f"All are measured in turn in one process (`tests/bench/sample_cost.rs`){where}; calls, bytes and allocations are the "
        f"difference of {MANY} and {FEW} samples (`strace`, valgrind's `dhat`). In one sample of six all processes are gone "
        "through, and the bytes of each connection asked for: that is in the ratio, and in the calls as a mean.\n",
        table(["", *(named(state["foreign"]) for state in columns)], *rows),
        beside,
    ])
