"""Ports for servers that cannot be asked to take any that is free."""

import random
import socket
from contextlib import suppress
from pathlib import Path


def free_port():
    """A port at which nobody listens, below those that the kernel gives to connections (ip(7), ip_local_port_range): between
    now and the server's start no connection takes it."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(low - 4000, low)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
