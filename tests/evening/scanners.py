#!/usr/bin/env python3
"""What comes by in a night: scanners, port probes and bots at the broker, link previews and strangers at the page.

`visit` is one round of all of them. As a program, which `visit` runs in the scanners' namespace, it is those at the
broker, and prints a JSON line for each: [what, what it saw].
"""

import contextlib
import http.client
import json
import socket
import ssl
import struct
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # nothing generated among the sources
HERE = Path(__file__).resolve().parent
for folder in ("lab", "image", "image/guest"):
    sys.path.insert(0, str(HERE.parent / folder))
import network  # noqa: E402
from demo import expect  # noqa: E402
from friend import CLIENT, VERSION  # noqa: E402
from game import string, varint  # noqa: E402
from internet import BROKER, SCANNERS, SESSIONS  # noqa: E402

PROTOCOL = 774  # of 1.21.11
DISCONNECT = 0x00  # in the login
BOT_SECONDS = 90
PORT = 25565
OTHER_PORTS = (22, 80, 443, 2375, 3306, 8080, 25564, 25566, 25575)
NAMES = ("", "a b", "x" * 17, "x" * 200, "../.. etc", "Robert'); --", "süß", "sam\n")
PATHS = ("/.env", "/wp-login.php", "/i/", "/i/0123456789abcdef0123", "/start/", "/admin", "//start", "/i/../start")
PREVIEW = {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}


# At the page.


class Stranger:
    """Somebody with an HTTP client."""

    def __init__(self, stage):
        self.host = stage.deployment.page_host
        self.context = ssl.create_default_context(cafile=stage.internet.authority)

    def ask(self, method, path, **headers):
        connection = http.client.HTTPSConnection(self.host, context=self.context, timeout=30)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            connection.close()


def at_the_page(stage):
    stranger, invitation = Stranger(stage), f"/i/{stage.deployment.key}"
    code, _, body = stranger.ask("GET", "/")
    expect(code == 200 and "<form" not in body, f"a stranger gets {code} and: {body[:200]}")
    yield "a stranger looks at the page", "200, no button"
    code, headers, _ = stranger.ask("GET", invitation, **PREVIEW)
    cookie = (headers["Set-Cookie"] or "").partition(";")[0]
    expect(code == 303 and cookie, f"the invitation answers {code}, cookie {cookie!r}")
    code, _, body = stranger.ask("GET", headers["Location"], Cookie=cookie, **PREVIEW)
    expect(code == 200 and "<form" in body, f"whoever follows the invitation gets {code}")
    yield "a chat program previews the invitation, and follows it", "303, then 200, and no press"
    refused = {}
    for what, expected, method, path, headers in (
        ("HEAD of the invitation", 303, "HEAD", invitation, PREVIEW),
        ("GET /start with the cookie", 405, "GET", "/start", {"Cookie": cookie}),
        ("HEAD /start with the cookie", 405, "HEAD", "/start", {"Cookie": cookie}),
        ("POST /start without a key", 401, "POST", "/start", {}),
        ("POST /start with a wrong key", 403, "POST", "/start", {"Authorization": "Bearer 0123456789abcdef"}),
        ("POST /start from another site", 403, "POST", "/start", {"Cookie": cookie, "Origin": "https://example.com"}),
        ("POST /start of a form without an origin", 403, "POST", "/start", {"Cookie": cookie}),
        ("POST of the invitation", 405, "POST", invitation, {}),
    ):
        code, _, _ = stranger.ask(method, path, **headers)
        expect(code == expected, f"{what} was answered with {code}, not {expected}")
        refused[what] = code
    yield "tries that start nothing", ", ".join(f"{what} {code}" for what, code in refused.items())
    codes = {path: stranger.ask("GET", path)[0] for path in PATHS}
    expect(all(code >= 400 for code in codes.values()), f"a scanner's paths are answered: {codes}")
    yield "a scanner tries paths", ", ".join(f"{path} {code}" for path, code in codes.items())


# At the broker.


def connect(source=SCANNERS[0], port=PORT):
    connection = socket.create_connection((BROKER, port), timeout=20, source_address=(source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def packet(packet_id, content=b""):
    body = varint(packet_id) + content
    return varint(len(body)) + body


def packet_id(answer):
    """Of the first packet in it (all of those wanted here are below 128)."""
    length = next(place for place, byte in enumerate(answer) if byte < 0x80)
    return answer[length + 1]


def handshake(intent):
    return packet(0, varint(PROTOCOL) + string("play.example.org") + struct.pack(">H", PORT) + varint(intent))


def answer_to(sent, source=SCANNERS[0]):
    """All that comes until the broker closes, or says nothing for a while."""
    received = b""
    with connect(source) as connection:
        connection.settimeout(3)
        with contextlib.suppress(OSError):
            connection.sendall(sent)
            while part := connection.recv(4096):
                received += part
    return received


def at_the_broker():
    closed = []
    for port in OTHER_PORTS:
        with contextlib.suppress(ConnectionRefusedError):
            connect(port=port).close()
            continue
        closed.append(port)
    expect(len(closed) == len(OTHER_PORTS), f"the broker's machine has open ports: closed are only {closed}")
    yield "a port scan", f"{len(closed)} other ports are closed"
    for source in SCANNERS:
        connect(source).close()
    yield "half-hearted connections", f"{len(SCANNERS)} addresses connect and go"
    shown = [answer_to(handshake(1) + packet(0) + packet(1, b"12345678"), source) for source in SCANNERS[:20]]
    expect(all(b"Asleep" in text for text in shown), f"a server list does not show that it sleeps: {shown}")
    yield "server lists", f"{len(shown)} addresses ping: Asleep"
    legacy = answer_to(b"\xfe\x01")
    yield "a legacy ping", f"{len(legacy)} bytes" if legacy else "no answer"
    for what, sent in (
        ("a browser", b"GET / HTTP/1.1\r\nHost: play.example.org\r\n\r\n"),
        ("a TLS client", bytes.fromhex("1603010200010001fc0303") + bytes(500)),
        ("an SSH client", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("noise", bytes(range(256)) * 16),
        ("a length beyond all bounds", b"\xff\xff\xff\xff\x07" + b"x" * 64),
    ):
        yield what, f"{len(answer_to(sent))} bytes"
    told = [answer_to(handshake(2) + packet(0, string(name) + bytes(16))) for name in NAMES]
    taken = [name for name, answer in zip(NAMES, told, strict=True) if answer and packet_id(answer) != DISCONNECT]
    expect(not taken, f"these names are taken for names: {taken}")
    yield "logins by names that are none", f"{len(told)} tried, all cut off or told so"
    for intent in (0, 3, 4, 99):
        answer_to(handshake(intent) + packet(0, string("sam") + bytes(16)))
    yield "logins of other kinds", "4 tried"


def bot(stage, name, account):
    """A bot that logs in with a client's own code; returns what it is told."""
    session = ["--session", f"https://{SESSIONS}"] if account else []
    process = subprocess.Popen(
        network.inside("scanners", "node", CLIENT, "--host", BROKER, "--name", name, "--version", VERSION, *session),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=stage.crew.environment | {"NODE_EXTRA_CA_CERTS": str(stage.internet.authority)},
    )
    try:
        stage.until(f"the bot {name} is told something", BOT_SECONDS, lambda: process.poll() is not None)
    finally:
        process.kill()
    said = process.stdout.read().splitlines()
    told = [line for line in said if line.startswith("told ")]
    expect(told, f"the bot {name} was not told why it cannot come in: {said}")
    return told[0]


def visit(stage):
    """One round: what came by, and what it saw."""
    yield from at_the_page(stage)
    process = subprocess.Popen(
        network.inside("scanners", sys.executable, HERE / "scanners.py"), stdout=subprocess.PIPE, text=True,
    )
    for line in process.stdout:
        yield json.loads(line)
    expect(process.wait() == 0, f"the scanners ended with {process.returncode}")
    yield "a bot that calls itself sam, without his account", bot(stage, "sam", account=False)
    yield "a stranger with an account, who is not on the list", bot(stage, "griefer", account=True)


if __name__ == "__main__":
    for seen in at_the_broker():
        print(json.dumps(seen), flush=True)
