#!/usr/bin/env python3
"""A server list ping, as a player's client sends it when it shows the server list (mcstatus).

    target/lab/venv/bin/python tests/lab/ping.py HOST PORT

Prints ONLINE/MAX, for example 0/10; exit code 1 and the cause on stderr when there is no answer within 5 s.
"""

import sys

from mcstatus import JavaServer


def ping(host, port):
    players = JavaServer(host, int(port), timeout=5).status().players
    return f"{players.online}/{players.max}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        print(ping(sys.argv[1], sys.argv[2]))
    except OSError as error:
        sys.exit(f"no answer from {sys.argv[1]}:{sys.argv[2]}: {error}")
