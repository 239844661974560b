"""Real established connections on loopback, both ends of them, for run.py.

    python3 sockets.py PORT        (0: one that is free)

Listens on the port as Java does, with one socket for IPv6 and IPv4, and prints `ready`. Then makes more connections for
each number on stdin until there are so many, and answers with how many there are: there cannot be fewer. Ends when stdin is
closed.
"""

import resource
import socket
import sys

# The kernel has 28,000 ports for each pair of addresses, and is slow to find the last of them.
FROM_ONE_ADDRESS = 10_000
IP_BIND_ADDRESS_NO_PORT = 24


def listen(port):
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=64, dualstack_ipv6=True)
    except (OSError, ValueError):  # no IPv6 here
        return socket.create_server(("", port), backlog=64)


def connect(listener, source):
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    client.bind((source, 0))
    client.connect(("127.0.0.1", listener.getsockname()[1]))
    return client, listener.accept()[0]


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener, connections = listen(int(sys.argv[1])), []
    print("ready", flush=True)
    for line in sys.stdin:
        while len(connections) < int(line):
            connections.append(connect(listener, f"127.0.1.{1 + len(connections) // FROM_ONE_ADDRESS}"))
        print(len(connections), flush=True)


if __name__ == "__main__":
    main()
