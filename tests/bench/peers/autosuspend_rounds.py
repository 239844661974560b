"""The daemon autosuspend, but for its sleep: it waits for a line on stdin instead, so that the bench decides when it looks.

    PYTHONPATH=target/bench/autosuspend/usr/lib/python3/dist-packages /usr/bin/python3 autosuspend_rounds.py CONFIG

After every round of checks it prints one line of JSON: the CPU seconds that the round took, and whether a check matched.
The first round comes at the start, as in the daemon. Ends when stdin is closed.
"""

import json
import sys
import time
import types

import autosuspend

state = {"began": time.process_time(), "matched": None}
original = autosuspend.execute_checks


def execute_checks(*arguments):
    state["matched"] = original(*arguments)
    return state["matched"]


def sleep(_seconds):
    print(json.dumps({"cpu": time.process_time() - state["began"], "matched": state["matched"]}), flush=True)
    if not sys.stdin.readline():
        sys.exit(0)
    state["began"] = time.process_time()


autosuspend.execute_checks = execute_checks
autosuspend.time = types.SimpleNamespace(sleep=sleep)
autosuspend.main(["-c", sys.argv[1], "daemon"])
