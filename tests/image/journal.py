"""The journal of a machine that is off, read from its disk without mounting it."""

import json
import struct
import subprocess
from pathlib import Path

from demo import Failure

import network

SECTOR = 512
ROOT_PARTITION = 2
# systemd's and mc-idle's own fixed ids.
UNIT_STOPPED = "9d1aaa27d60140bd96365438aad20286"
UNIT_SUCCEEDED = "7ad2d189f7e94e70a38c781354912448"


def root_offset(raw):
    """Where the root file system begins, in bytes: from the partition table (GPT), or 0 without one."""
    with raw.open("rb") as disk:
        disk.seek(SECTOR)
        if disk.read(8) != b"EFI PART":
            return 0
        disk.seek(2 * SECTOR + (ROOT_PARTITION - 1) * 128 + 32)
        return struct.unpack("<Q", disk.read(8))[0] * SECTOR


def read(machine):
    """All entries, oldest first."""
    raw = machine.folder / "disk.raw"
    copy = machine.folder / f"journal-{machine.starts}"
    copy.mkdir()
    try:
        network.command("qemu-img", "convert", "-O", "raw", machine.disk, raw)
        source = f"{raw}?offset={root_offset(raw)}"
        network.command("debugfs", "-R", f"rdump /var/log/journal {copy}", source)
    finally:
        raw.unlink(missing_ok=True)
    files = list(Path(copy).glob("journal/*/*.journal"))
    if not files:
        raise Failure("there is no journal on the machine's disk")
    done = subprocess.run(
        ["journalctl", "--quiet", "--all", "--output=json", *(f"--file={file}" for file in files)],
        capture_output=True, text=True, check=False,
    )
    return Journal([json.loads(line) for line in done.stdout.splitlines()])


def line(entry):
    message = entry.get("MESSAGE") or ""
    # journald gives as numbers what has control characters in it.
    return message if isinstance(message, str) else bytes(message).decode(errors="replace")


class Journal:
    def __init__(self, entries):
        self.entries = entries

    def of_boot(self, boot_id):
        return Journal([entry for entry in self.entries if entry["_BOOT_ID"] == boot_id.replace("-", "")])

    def place(self, unit, text=None, message_id=None):
        """Where in the whole journal the unit first says this text, or systemd this of it; None if never."""
        for place, entry in enumerate(self.entries):
            if unit not in (entry.get("_SYSTEMD_UNIT"), entry.get("UNIT")):
                continue
            if (text is None or text in line(entry)) and message_id in (None, entry.get("MESSAGE_ID")):
                return place
        return None

    def seconds(self, place):
        """When that was, in seconds on the machine's own monotonic clock."""
        return int(self.entries[place]["__MONOTONIC_TIMESTAMP"]) / 1e6

    def show(self):
        return [
            f"{self.seconds(place):8.1f}  {entry.get('SYSLOG_IDENTIFIER', '?')}: {line(entry)}"
            for place, entry in enumerate(self.entries)
        ]
