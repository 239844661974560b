"""One line for each thing that was looked at, as `mc-idle check` prints them."""

import os
import subprocess
from contextlib import contextmanager


class Failure(Exception):
    """An expectation that was not met, in one sentence."""


class Missing(Exception):
    """Something could not be looked at, and why."""


def expect(met, otherwise):
    if not met:
        raise Failure(otherwise)


def printed(*words, **options):
    """What a command prints, which must succeed."""
    try:
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, **options)
    except FileNotFoundError:
        raise Missing(f"{words[0]} is not installed (make setup-release)") from None
    if done.returncode:
        command, complaint = " ".join(map(str, words)), (done.stderr or done.stdout).strip()
        raise Failure(f"`{command}` ended with {done.returncode}: {complaint}")
    return done.stdout


class Report:
    def __init__(self):
        self.counts = {"ok": 0, "FAILED": 0, "not run": 0}

    @contextmanager
    def line(self, name):
        """Reports on the block, which adds what there is to say to the list that it gets, and raises what is wrong."""
        said = []
        try:
            yield said
        except Missing as missing:
            # In CI nothing may be left out.
            if os.environ.get("CI"):
                self.say("FAILED", name, f"could not be looked at: {missing}")
            else:
                self.say("not run", name, str(missing))
        except Failure as failure:
            self.say("FAILED", name, str(failure))
        except Exception as error:  # a broken file must not keep the others from being looked at
            self.say("FAILED", name, f"cannot be looked at: {type(error).__name__}: {error}")
        else:
            self.say("ok", name, "; ".join(said))

    def say(self, result, name, text):
        self.counts[result] += 1
        print(f"{result:8}{name}" + (f": {text}" if text else ""), flush=True)

    def end(self):
        """The exit code, after a last line."""
        print(", ".join(f"{count} {result}" for result, count in self.counts.items()), flush=True)
        return int(self.counts["FAILED"] > 0)
