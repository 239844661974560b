"""A program that stays and asks a Minecraft server for its status with mcstatus, at every line on stdin.

    target/lab/venv/bin/python mcstatus_rounds.py HOST PORT

After each it prints one line of JSON: the CPU seconds that it took, and how many players are there.
The first poll comes at the start. Ends when stdin is closed.
"""

import json
import sys
import time

from mcstatus import JavaServer

while True:
    began = time.process_time()
    players = JavaServer(sys.argv[1], int(sys.argv[2]), timeout=10).status().players.online
    print(json.dumps({"cpu": time.process_time() - began, "players": players}), flush=True)
    if not sys.stdin.readline():
        break
