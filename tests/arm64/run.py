#!/usr/bin/env python3
"""Tries what was built for arm64: reads the packages, and runs tests and programs, under QEMU where this is another machine.

    target/lab/venv/bin/python tests/arm64/run.py [PART...]     (`make arm64-test` builds and does it all)

Prints a line for each thing that is shown. Exit code 1 when one is not so. Parts: tests, check, agent, launcher, join. The
packages are always read: the programs of the other parts are taken from there. Logs: target/arm64/run.
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
TARGET = PROJECT / "target"
sys.path.insert(0, str(HERE))
import join  # noqa: E402
import packages  # noqa: E402

TRIPLE = "aarch64-unknown-linux-gnu"
# Those without the AWS SDK, which alone takes longer to build than all of this.
CRATES = (
    "mc-idle-agent", "mc-idle-rule", "mc-broker-core", "mc-launcher-core", "mc-heartbeat", "mc-http", "mc-ping", "mc-players",
    "mc-service",
)
# It allows a millisecond between two readings of the clock: too little for an emulated processor on a busy machine.
IMPATIENT = "clock::tests::the_kernels_alarm_goes_off_when_its_time_has_come_however_often_it_was_set"
INVALID_CONFIGURATION = 78
# What can start programs for arm64.
EMULATED = HERE / "emulated.sh"
PYTHON = TARGET / "lab/venv/bin/python"


class Report:
    def __init__(self, folder):
        self.folder, self.failed = folder, 0

    def show(self, what, met, otherwise=""):
        self.failed += not met
        print(f"{'ok' if met else 'FAILED':8}{what}" + ("" if met or not otherwise else f": {otherwise}"), flush=True)

    def logged(self, name, *command):
        """Runs a command with its output in a log; its exit code, the output, and how many seconds it took."""
        log, began = self.folder / f"{name}.log", time.monotonic()
        print(f"{'...':8}{name}: output in {log.relative_to(PROJECT)}", flush=True)
        with log.open("w") as file:
            code = subprocess.run(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False,
            ).returncode
        return code, log.read_text(errors="replace"), time.monotonic() - began


def tests(report, _programs):
    """The unit tests, in the dev profile. Not in namespaces, where there are no other users, as some of them need."""
    chosen = [word for crate in CRATES for word in ("-p", crate)]
    command = [HERE / "cargo.sh", "test", "--no-fail-fast", "--locked", "--target", TRIPLE, "--lib", *chosen]
    code, said, took = report.logged("tests", *command, "--", "--skip", IMPATIENT)
    passed = [int(number) for number in re.findall(r"^test result: ok\. (\d+) passed", said, re.M)]
    report.show(
        f"{sum(passed)} unit tests of {len(CRATES)} crates pass, {took:.0f} s with their build",
        code == 0 and len(passed) == len(CRATES), "\n".join(said.splitlines()[-25:]),
    )


def check(report, programs):
    """What each program says of itself and of its configuration."""
    key_file = report.folder / "key"
    key_file.touch(mode=0o600)
    key_file.write_text("broker-key-0123456789")
    launcher = f'launcher.url = "https://mc.example.org"\nlauncher.key_file = "{key_file}"\n'
    good = {"mc-idle": "idle_minutes = 20\n", "mc-broker": launcher}
    bad = {
        "mc-idle": ('idle_minutes = "soon"\n', 'idle_minutes = "soon" is not allowed'),
        "mc-broker": (launcher + 'listen = ["nowhere"]\n', 'listen = ["nowhere"] is not allowed'),
    }
    for name, program in programs.items():
        done = subprocess.run([EMULATED, program, "--version"], capture_output=True, text=True, check=False)
        said = done.stdout.strip()
        report.show(f"{name} --version: {said}", (done.returncode, said) == (0, f"{name} {version()}"), done)
    for name, (text, sentence) in bad.items():
        config = report.folder / f"{name}.toml"
        for content, code, said in ((good[name], 0, "ok      configuration"), (text, INVALID_CONFIGURATION, sentence)):
            config.write_text(content)
            command = [EMULATED, programs[name], "check", "--offline", "--config", config]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            met = done.returncode == code and said in done.stdout + done.stderr
            report.show(f"{name} check --offline ends with {code}: {said}", met, done)


def agent(report, programs):
    """An evening with a real server and a real player: `make demo`."""
    code, said, took = report.logged("agent", EMULATED, PYTHON, PROJECT / "tests/lab/demo.py", programs["mc-idle"])
    report.show(f"the agent lives through the demo's evening, {took:.0f} s", code == 0, "\n".join(said.splitlines()[-25:]))


def launcher(report, programs):
    """The zip's program as two functions in an emulated Lambda, and the agent on the instance: `make start-demo`."""
    demo = PROJECT / "tests/lab/start_demo.py"
    code, said, took = report.logged("launcher", EMULATED, PYTHON, demo, programs["mc-launcher"], programs["mc-idle"])
    report.show(
        f"page and warden start an instance as Lambda functions, and the agent stops it, {took:.0f} s", code == 0,
        "\n".join(said.splitlines()[-25:]),
    )


def broker(report, programs):
    folder = report.folder / "join"
    folder.mkdir()
    join.show(report, programs["mc-launcher"], programs["mc-broker"], folder)


PARTS = {"tests": tests, "check": check, "agent": agent, "launcher": launcher, "join": broker}


def version():
    return re.search(r'^version = "(.*)"', (PROJECT / "Cargo.toml").read_text(), re.M)[1]


def main(chosen):
    if unknown := [name for name in chosen if name not in PARTS]:
        sys.exit(f"run.py: unknown: {unknown}; there are {list(PARTS)}")
    folder, began = TARGET / "arm64/run", time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report = Report(folder)
    try:
        programs = packages.show(report, TARGET, version(), folder)
    except (OSError, RuntimeError) as error:
        sys.exit(f"run.py: cannot read what was built for arm64: {error}")
    for name in chosen or PARTS:
        try:
            PARTS[name](report, programs)
        except Exception as error:  # the other parts still show what they can
            report.show(name, False, f"{type(error).__name__}: {error}")
    print(f"{report.failed} failed, {time.monotonic() - began:.0f} s")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
