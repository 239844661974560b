"""A friend: a real client (tests/lab/broker_client.js) at a home of his own, who joins, plays and leaves."""

import threading
import time
from pathlib import Path

import network
from demo import expect
from internet import SESSIONS

CLIENT = Path(__file__).resolve().parent.parent / "lab/broker_client.js"
VERSION = "1.21.11"


class Friend:
    def __init__(self, crew, name, authority, home=None):
        self.crew, self.name, self.home = crew, name, home or name
        self.authority = authority
        self.said = []  # what he saw, and when
        self.left_at = None

    def join(self, address, account=True):
        """Without an `account` the session server does not vouch for him."""
        host, _, port = address.partition(":")
        sessions = ["--session", f"https://{SESSIONS}"] if account else []
        member = self.crew.start(
            self.name, *network.inside(
                self.home, "node", CLIENT, "--host", host, "--port", port or "25565", "--name", self.name,
                "--version", VERSION, *sessions,
            ),
            environment={"NODE_EXTRA_CA_CERTS": str(self.authority)},
        )
        threading.Thread(target=self.listen, args=(member,), daemon=True).start()

    def listen(self, member):
        for line in member.stdout:
            self.said.append((time.time(), line.rstrip()))

    def saw(self, beginning):
        """When he first saw a line that begins so; None: not yet."""
        return next((at for at, line in list(self.said) if line.startswith(beginning)), None)

    def line(self, beginning):
        return next((line for _, line in list(self.said) if line.startswith(beginning)), None)

    def plays_since(self):
        """Since when he has been in the game; None: he is not, or has left."""
        return None if self.left_at else self.saw("in game")

    def leave(self):
        expect(self.crew.end(self.name) == 0, f"{self.name} could not leave cleanly")
        self.left_at = time.time()
        return self.left_at
