"""docs/benchmarks.md and its plots, from what the measures left in target/bench."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import subprocess

from context import PROCESSES, PYTHON, ROOT, output, table
from peers import AUTOSUSPEND, DEBIANS_PYTHON

PAGE, PLOTS = ROOT / "docs/benchmarks.md", ROOT / "docs/benchmarks"
HEAD = """# Benchmarks

What mc-idle costs beside what could be used instead, measured in one run on one machine by `make bench`, which writes this page.
Times differ from machine to machine, and by tens of percents from run to run; so what is compared is run in turn, A B A B, and
what counts is the ratios. As root it is all measured in a network namespace of its own, with real connections on loopback.

"""


def revision():
    def git(*words):
        words = ["git", "-c", "safe.directory=*", "-C", str(ROOT), *words]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit, changed = git("rev-parse", "--short=10", "HEAD"), git("status", "--porcelain", "--", ".", ":!docs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + (" and changes" if changed else "")


def first_of(path, name):
    for line in pathlib.Path(path).read_text().splitlines():
        key, _, value = line.replace("=", ":", 1).partition(":")
        if key.strip() == name:
            return value.strip().strip('"')
    return "unknown"


def machine():
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return [
        ["processor", f"{first_of('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores"],
        ["memory", f"{memory:.0f} GiB"],
        ["kernel", f"{platform.system()} {platform.release()}, {platform.machine()}"],
        ["distribution", first_of("/etc/os-release", "PRETTY_NAME")],
        ["other processes", f"{PROCESSES} that do nothing, in place of those of a server"],
    ]


def versions(context):
    """Of all that takes part, as each says it."""
    broker = context.binary.with_name("mc-broker")
    found = {
        "mc-idle": context.binary.exists() and output(context.binary, "--version"),
        "mc-broker": broker.exists() and output(broker, "--version"),
        "rustc": output("rustc", "--version"), "bash": output("bash", "--version"), "ss": output("ss", "-V"),
        "netstat": output("netstat", "--version"), "strace": output("strace", "-V"), "valgrind": output("valgrind", "--version"),
        "node": output("node", "--version"), "python": output(PYTHON, "--version"),
    }
    try:
        lsof = subprocess.run(["lsof", "-v"], capture_output=True, text=True, check=False).stderr
        found["lsof"] = re.search(r"revision: *(\S+)", lsof)[1]
    except (OSError, TypeError):
        pass
    eggs = list(AUTOSUSPEND.glob("usr/lib/python3/dist-packages/*.egg-info"))
    for egg in eggs:
        name, _, version = egg.name.removesuffix(".egg-info").partition("-")
        found[name] = version
    if eggs:
        found["autosuspend's python"] = output(DEBIANS_PYTHON, "--version")
    try:
        found["mcstatus"] = importlib.metadata.version("mcstatus")
    except importlib.metadata.PackageNotFoundError:
        pass
    return [[name, words] for name, words in found.items() if words]


def facts(context):
    """What the head tells, kept with the results: the page may be written elsewhere."""
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {
        "date": date, "revision": revision(), "quick": context.quick, "root": context.root, "machine": machine(),
        "versions": versions(context),
    }


def written(name):
    """What the page says of a measure whose result is not here (any more): its targets, its section, and when it was."""
    page = PAGE.read_text() if PAGE.exists() else ""
    section = re.search(rf"<!-- {name} -->\n(.*?)(?=\n<!-- |\n## Where and when)", page, re.S)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    goals, runs = ([row for row in cells if row[0] == first and len(row) == 5] for first in (name, f"`{name}`"))
    return (goals, section[1], runs) if section else ([], "", [])


def words_only(head, *rows):
    return table(head, *rows).replace("---:|", "---|")


def render(context, modules):
    """`modules`: name: module, in the order of the page; of those without a result the page keeps what it says."""
    kept = {}
    for name in modules:
        path = context.folder / f"{name}.json"
        if path.exists():
            kept[name] = json.loads(path.read_text())
    if not kept:
        raise SystemExit("bench: nothing has been measured yet")
    PLOTS.mkdir(parents=True, exist_ok=True)
    goals, sections, runs = [], [], []
    for name, module in modules.items():
        if name not in kept:
            told, text, when = written(name)
        else:
            one = kept[name]
            told = [[name, *words, "yes" if met else "**no**"] for *words, met in module.targets(one["result"])]
            text = module.section(one["result"])
            how = ("quick: rough" if one["quick"] else "full") + ("" if one["root"] else ", not root")
            when = [[f"`{name}`", one["date"], one["revision"], f"{one['seconds']:.0f} s", how]]
            for file, svg in getattr(module, "plots", lambda _: {})(one["result"]).items():
                (PLOTS / file).write_text(svg)
        goals, runs = goals + told, runs + when
        # By the comment the section is found again.
        sections += [f"<!-- {name} -->\n{text.strip()}\n"] if text else []
    newest = max(kept.values(), key=lambda one: one["date"])
    if any(one["machine"][:-1] != newest["machine"][:-1] for one in kept.values()):
        context.say("not all of it was measured on this machine: the page would compare what cannot be; measure all anew")
    parts = [HEAD]
    if any(one["quick"] for one in kept.values()):
        parts.append("**Made with `--quick`: few rounds, and rough.**\n\n")
    if goals:
        parts += ["## Targets\n\n", words_only(["measure", "target", "limit", "reached", "met"], *goals), "\n"]
    parts += ["\n".join(sections), "\n## Where and when\n\n", words_only(["", ""], *newest["machine"]), "\n",
              words_only(["program", "version"], *newest["versions"]), "\n",
              words_only(["measure", "measured", "revision", "took", "how"], *runs),
              "\n`make bench` measures all anew, `tests/bench/run.py --only NAME` one of them.\n"]
    PAGE.write_text(re.sub(r"\n{3,}", "\n\n", "".join(parts)))
    return goals
