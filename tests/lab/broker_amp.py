#!/usr/bin/env python3
"""A player of 26.1 or 26.2 (amp-mc, which decodes strictly) who joins through mc-broker, up to the hand-over.

    target/lab/venv/bin/python tests/lab/broker_amp.py --port P [--host 127.0.0.1] [--name steve] [--version 26.2]
        [--session URL]

Prints `alive` for each packet that keeps the connection alive, and `handed over` once the server says so. --session: a session
server at which the player has an account; without one there is none. Exit code 1 if it ends in another way.
"""
import argparse
import hashlib
import importlib.util
import json
import sys
import types
import urllib.request
from types import SimpleNamespace

# Only its protocol is wanted: the package itself would load what is not installed here.
package = types.ModuleType("amp")
package.__path__ = list(importlib.util.find_spec("amp").submodule_search_locations)
sys.modules["amp"] = package

from amp.connection import Connection
from amp.java26_protocol import Java26ProtocolAdapter

PROTOCOLS = {"26.1": 775, "26.2": 776}
HANDED_OVER = "Server transfer requested during Configuration"


class Joiner:
    """Tells the session server about a login, as the library does to Mojang's."""

    def __init__(self, url):
        self.url = url

    def join(self, session, server_hash):
        body = {"accessToken": "x", "selectedProfile": session.profile_id, "serverId": server_hash}
        request = urllib.request.Request(f"{self.url}/session/minecraft/join", json.dumps(body).encode(), method="POST")
        request.add_header("content-type", "application/json")
        urllib.request.urlopen(request, timeout=20).close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--name", default="steve")
    parser.add_argument("--version", default="26.2", choices=PROTOCOLS)
    parser.add_argument("--session")
    args = parser.parse_args()
    identity = hashlib.md5(args.name.encode(), usedforsecurity=False).hexdigest()
    session = SimpleNamespace(profile_id=identity, access_token="x", username=args.name) if args.session else None
    connection = Connection(args.host, args.port, args.version, args.name, print, PROTOCOLS[args.version],
                            auth_session=session, session_joiner=Joiner(args.session))
    adapter = Java26ProtocolAdapter("java26", args.version, connection)
    connection.set_protocol_adapter(adapter)
    keep_alive, send = adapter.configuration_serverbound["keep_alive"], connection._send_protocol_packet

    def tell(packet_id, *rest):
        send(packet_id, *rest)
        if packet_id == keep_alive and rest:
            print("alive", flush=True)

    connection._send_protocol_packet = tell
    try:
        connection.connect()
    except ConnectionError as error:
        if str(error) != HANDED_OVER:
            print(error, file=sys.stderr)
            return 1
        print("handed over", flush=True)
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
