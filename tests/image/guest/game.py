#!/usr/bin/env python3
"""The game server that the image runs from EFS: what a Minecraft 1.12.2 client needs to be in the game, and no more.

It starts in a second where the real ones take minutes: the image test runs on an emulated processor. Like the original
game it says in its log what it does, takes its time to save its world when it is told to stop, and ends with 143 after SIGTERM.
"""

import contextlib
import json
import os
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
import uuid
from pathlib import Path

PORT = 25565
PROTOCOL = 340  # of 1.12.2
KEEP_ALIVE_SECONDS = 10
SILENCE_SECONDS = 30  # as in the original game
REGIONS = 20  # files that are written one after the other, each through to the NFS server
REGION_SECONDS = 0.15
WORLD = Path(__file__).resolve().parent / "world"


def say(line):
    print(line, flush=True)


def varint(number):
    out = bytearray()
    while True:
        part, number = number & 0x7F, number >> 7
        out.append(part | (0x80 if number else 0))
        if not number:
            return bytes(out)


def string(text):
    return varint(len(text.encode())) + text.encode()


class Player(socketserver.BaseRequestHandler):
    """One connection: the server list, or a player."""

    online = 0

    def handle(self):
        self.request.settimeout(SILENCE_SECONDS)
        self.stream = self.request.makefile("rb")
        with contextlib.suppress(OSError, EOFError):
            _, shake = self.receive()
            if shake.endswith(b"\x01"):
                self.list()
            else:
                self.play()

    def read_varint(self):
        number = 0
        for place in range(5):
            part = self.stream.read(1)
            if not part:
                raise EOFError
            number |= (part[0] & 0x7F) << (7 * place)
            if not part[0] & 0x80:
                return number
        raise EOFError

    def receive(self):
        """A packet: its id (all of those wanted here are below 128) and its content."""
        packet = self.stream.read(self.read_varint())
        if not packet:
            raise EOFError
        return packet[0], packet[1:]

    def send(self, packet_id, content):
        packet = varint(packet_id) + content
        self.request.sendall(varint(len(packet)) + packet)

    def list(self):
        self.receive()
        self.send(0x00, string(json.dumps({
            "version": {"name": "1.12.2", "protocol": PROTOCOL}, "players": {"max": 10, "online": Player.online},
            "description": {"text": "image test"},
        })))
        _, ping = self.receive()
        self.send(0x01, ping)

    def play(self):
        _, login = self.receive()
        name = login[1:].decode()
        self.send(0x02, string(str(uuid.uuid4())) + string(name))
        # Join the game: creative, in the overworld.
        self.send(0x23, struct.pack(">iBiBB", 1, 1, 0, 0, 10) + string("flat") + b"\x00")
        self.send(0x2F, struct.pack(">dddff", 0, 64, 0, 0, 0) + b"\x00" + varint(1))  # position and look
        self.send(0x41, struct.pack(">f", 20) + varint(20) + struct.pack(">f", 5))  # health and food
        Player.online += 1
        say(f"{name} joined the game")
        threading.Thread(target=self.keep_alive, daemon=True).start()
        try:
            while True:
                self.receive()  # answers at least; who sends none for so long is gone
        finally:
            Player.online -= 1
            say(f"{name} left the game")

    def keep_alive(self):
        with contextlib.suppress(OSError):
            while True:
                time.sleep(KEEP_ALIVE_SECONDS)
                self.send(0x1F, struct.pack(">q", int(time.monotonic())))


class Game(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6  # and IPv4 with it, as Java does
    allow_reuse_address = True
    daemon_threads = True


def write_through(file, text):
    part = file.with_name(file.name + ".part")
    with part.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)


def save(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("Stopping the server")
    say("Saving the world")
    for region in range(REGIONS):
        write_through(WORLD / f"region-{region}", "x" * 65536)
        time.sleep(REGION_SECONDS)
    write_through(WORLD / "level.dat", json.dumps({"regions": REGIONS, "saved_at": time.time()}))
    say("The world is saved")
    sys.exit(143)


def main():
    WORLD.mkdir(exist_ok=True)
    (WORLD / "level.dat").unlink(missing_ok=True)  # what is there at the end was written at the end
    signal.signal(signal.SIGTERM, save)
    with Game(("::", PORT), Player) as game:
        say(f"Done: listening on port {PORT}")
        game.serve_forever()


if __name__ == "__main__":
    main()
