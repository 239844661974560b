#!/usr/bin/env python3
"""Goes the way of somebody new, from a release's package to a first stop, and writes down what was typed and what came.

    target/lab/venv/bin/python tests/release/first_stop.py FOLDER docs/first-stop.md     (or `make first-stop`)

FOLDER holds the release's .deb for this machine and SHA256SUMS. Needs root on Debian, and what `make setup-lab` and
`make setup-machine` install. Exit code 1, and no page, if a command does not do what the page says.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
import contents  # noqa: E402
from changelog import version  # noqa: E402
from instance import LAB, TREE, Instance  # noqa: E402
from report import Failure, expect  # noqa: E402

USER = "admin"
SETTINGS = "/etc/mc-idle/config.d/50-site.toml"
# With {version}, {deb} and so on, which are filled in.
HEAD = Path(__file__).with_name("first_stop_head.md")


class Page:
    """What was typed and what came, with the seconds that it took."""

    def __init__(self, instance):
        self.instance = instance
        self.parts = []
        self.began = time.monotonic()

    def say(self, text):
        self.parts.append(text.strip() + "\n")
        print(text.strip().splitlines()[0], flush=True)

    def type(self, command, *, ends_with=0, says=()):
        """Types a command; it must end with this code, and what it prints must contain all of `says`."""
        began = time.monotonic()
        done = self.instance.run(command, user=USER)
        took = time.monotonic() - began
        expect(done.returncode == ends_with, f"`{command}` ended with {done.returncode}:\n{done.stdout}")
        for text in says:
            expect(text in done.stdout, f"`{command}` does not say {text!r}:\n{done.stdout}")
        typed = command.replace("\n", "\n> ")
        self.parts.append(f"```console\n$ {typed}\n{done.stdout.rstrip()}".rstrip() + "\n```\n")
        print(f"  {self.seconds():5.1f} s  {command.splitlines()[0]} ({took:.1f} s)", flush=True)
        return done.stdout

    def seconds(self):
        return time.monotonic() - self.began

    def text(self):
        return "\n".join(self.parts)


def install(page, deb):
    page.type("sha256sum --check --ignore-missing SHA256SUMS", says=[f"{deb}: OK"])
    page.say("## 2. Install")
    page.type(f"sudo apt install ./{deb}", says=["It stops nothing within the next 2 hours"])
    page.say("It runs already, and holds the instance for two hours, so that there is time to configure it.")
    # From the next look on, within five seconds: slower than a script, quicker than a person.
    held = "just installed and not configured yet"
    page.instance.wait("the hold is shown", lambda: held in page.instance.run("mc-idle status").stdout, 30)
    page.type("mc-idle status", says=[held])


def configure(page):
    page.say("## 3. Configure\n\nThe port that the game listens on. This one is the default; put in yours.")
    page.type(
        f"echo 'minecraft.ports = [25565]' | sudo tee {SETTINGS} &&\n"
        "sudo systemctl enable mc-idle && sudo systemctl reload-or-restart mc-idle",
    )


def check(page):
    page.say("## 4. Check\n\nThe game is not running yet, and that is the one thing that is missing:")
    said = page.type("sudo mc-idle check", ends_with=1, says=["FAILED  listener: "])
    expect(said.count("FAILED") == 1, f"more than the game is missing:\n{said}")
    page.say("So start it, as you start yours.")
    page.type("sudo systemctl start minecraft")
    page.instance.wait("the game answers", lambda: page.instance.run("mc-idle check").returncode == 0, 60)
    said = page.type("sudo mc-idle check; echo $?")
    lines = said.splitlines()
    expect(lines[-1] == "0" and all(line.startswith("ok") for line in lines[:-1]), f"not everything is well:\n{said}")
    page.say("Everything that a stop needs is there.")


def stop(page):
    page.say("## 5. The first stop\n\nTo see it now, and not in two hours: end the hold, and let one minute be enough.")
    page.type(
        f"echo 'idle_minutes = 1' | sudo tee --append {SETTINGS} &&\n"
        "sudo systemctl reload mc-idle && sudo mc-idle release",
    )
    window = "of 60 s without a player"
    # As after the installation, the next look shows it.
    page.instance.wait("the hold has ended", lambda: "hold         none" in page.instance.run("mc-idle status").stdout, 30)
    page.type("mc-idle status", says=[window])
    page.instance.wait("EC2 is asked for the stop", lambda: page.instance.state() != "running", 180)
    stopped = page.seconds()
    instance = page.instance
    page.say(f"A minute later, EC2 says that `{instance.instance_id}` is `{instance.state()}`. The journal has it all:")
    page.type("sudo journalctl --no-pager --output cat -u mc-idle")
    page.say(
        f"Take the `idle_minutes` out of `{SETTINGS}` again, and the server stops like that whenever nobody has\n"
        "played for 15 minutes. [How friends start it](../README.md#how-friends-start-it-again) is the other half."
    )
    return stopped


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    deb = f"mc-idle_{version()}-1_{contents.this_architecture()}.deb"
    for needed in (folder / deb, folder / contents.SUMS, TREE, LAB / "node_modules"):
        expect(needed.exists(), f"{needed} is not there: see the head of first_stop.py")
    expect(os.geteuid() == 0, "needs root")
    with tempfile.TemporaryDirectory(prefix="mc-idle-first-stop-") as work:
        with Instance([folder / deb, folder / contents.SUMS], Path(work)) as instance:
            debian = instance.run("cat /etc/debian_version").stdout.strip()
            page = Page(instance)
            install(page, deb)
            configure(page)
            check(page)
            green = page.seconds()
            stopped = stop(page)
    head = HEAD.read_text().format(
        debian=debian, green=f"{green:.0f}", stop=f"{stopped:.0f}", user=USER, version=version(), deb=deb,
    )
    target.write_text(head + "\n" + page.text())
    print(f"green after {green:.1f} s, stopped after {stopped:.1f} s: {target}")


if __name__ == "__main__":
    try:
        main()
    except (Failure, subprocess.CalledProcessError) as failure:
        sys.exit(f"first_stop.py: {failure}")
