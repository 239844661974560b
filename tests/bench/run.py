#!/usr/bin/env python3
"""What mc-idle costs beside what could be used instead: docs/benchmarks.md, with its plots. `make bench` sets all up for it.

    target/lab/venv/bin/python tests/bench/run.py [--only NAME …] [--quick] [--render] [--binary PATH] [--sample-cost PATH]

    --only NAME…   only these measures; of the others the page keeps what was measured before
    --quick        few rounds, few sockets: to see that it works
    --render       measure nothing, write the page only

A measure is a module here with measure(context), whose result is kept in target/bench/NAME.json; section(result), its part of the
page; targets(result), a list of (what, limit, value, met); and perhaps plots(result), {file below docs/benchmarks: SVG}. The
page's order is that of MEASURES. Root measures everything; without, what cannot be measured is named and left out.
Exit code 1: a measure failed. A target that is not met is no failure.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
import time
import traceback

sys.dont_write_bytecode = True  # nothing generated among the sources
import page  # noqa: E402
from context import HERE, ROOT, Context  # noqa: E402

MEASURES = ["peers", "growth", "sample", "rest", "start", "stop", "fleet", "launcher", "broker", "size", "crates"]
# Only with --only: it builds.
ON_REQUEST = {"crates"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=MEASURES, default=[])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/mc-idle")
    parser.add_argument("--sample-cost", type=pathlib.Path, default=ROOT / "target/bench-build/release/sample-cost")
    return parser.parse_args()


def among_themselves():
    """As root once more, where no process but those of this run is to be seen: each that comes costs mc-idle a longer look."""
    if os.geteuid() == 0 and os.getpid() != 1:
        os.execvp("unshare", ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *sys.argv])


def main():
    asked = arguments()
    among_themselves()
    context = Context(asked.binary.resolve(), asked.sample_cost.resolve(), asked.quick, ROOT / "target/bench")
    context.folder.mkdir(parents=True, exist_ok=True)
    modules = {name: importlib.import_module(name) for name in MEASURES if (HERE / f"{name}.py").exists()}
    wanted = asked.only or [name for name in MEASURES if name not in ON_REQUEST]
    failed = []
    if not context.root:
        context.say("not root: on the machine's own network, among its sockets, and with as many as it allows")
    for name in [] if asked.render else wanted:
        if name not in modules:
            context.say(f"{name}: not here")
            continue
        context.say(f"{name}: begins")
        began = time.monotonic()
        try:
            facts = page.facts(context)
            result = modules[name].measure(context)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        seconds = time.monotonic() - began
        (context.folder / f"{name}.json").write_text(json.dumps(facts | {"seconds": seconds, "result": result}, indent=1) + "\n")
        context.say(f"{name}: done in {seconds:.0f} s")
    for name, what, limit, value, met in page.render(context, modules):
        print(f"{'met' if met == 'yes' else 'NOT MET':8}{name}: {what}: {value} ({limit})")
    print(f"written: {page.PAGE.relative_to(ROOT)}")
    if failed:
        sys.exit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
