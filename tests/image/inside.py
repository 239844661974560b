"""What is seen of a machine made from the image, whatever AWS it lives in: by SSH while it runs, and on its disk afterwards."""

import json

import journal


class Guest:
    """`machine` is set by whoever makes it."""

    def __init__(self, stage, name):
        self.stage, self.crew, self.screen = stage, stage.crew, stage.screen
        self.name = name
        self.machine = None

    def agent(self):
        """`mc-idle status --json` in the guest."""
        return json.loads(self.machine.ssh("mc-idle", "status", "--json"))

    def unit(self, name, *properties):
        """Properties of a unit in the guest."""
        text = self.machine.ssh("systemctl", "show", name, *(f"--property={wanted}" for wanted in properties))
        return dict(line.split("=", 1) for line in text.splitlines())

    def identity(self):
        """What no two machines may have in common."""
        keys = self.machine.ssh("sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub | cut -d ' ' -f 1,2 | sort")
        return {"machine id": self.machine.ssh("cat", "/etc/machine-id").strip(), "host keys": keys.split("\n")[:-1]}

    def journal(self, boot_id):
        """That of one boot, from the disk of the machine, which is off. It is kept as text too."""
        self.screen.line("test", "reads the journal from the machine's disk")
        log = journal.read(self.machine).of_boot(boot_id)
        (self.machine.folder / f"journal-{self.machine.starts}.txt").write_text("\n".join(log.show()))
        return log

    def console(self):
        tail = self.machine.console_tail(1)
        return f"console: {tail[0].strip()[-90:]}" if tail else "no word on the console yet"
