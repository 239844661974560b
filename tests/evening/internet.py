"""The private internet of an evening: who has which address and name, and whose certificates are believed.

It is a network namespace, and leads nowhere else. So Discord, the session server and the function's URL can have their
own names, and addresses that are public in form: mc-launcher tells nobody at a private address.
"""

from pathlib import Path

import network
from certificate import certificate

BROKER = "10.77.0.30"
FRIENDS = {"sam": "10.77.0.50", "alex": "10.77.0.51"}
SCANNERS = [f"10.77.0.{last}" for last in range(100, 140)]
HOSTS = {"efs": network.EFS, "broker": BROKER, **FRIENDS, "scanners": SCANNERS[0]}

PLAY = "play.example.org"  # what friends type: the broker's name
DISCORD, MAIL, SESSIONS = "discord.com", "mail.example.org", "sessionserver.mojang.com"
PAGE_ADDRESS, DISCORD_ADDRESS, SESSIONS_ADDRESS, MAIL_ADDRESS = (f"11.77.0.{last}" for last in range(1, 5))
BELIEVED = Path("/etc/ssl/certs/ca-certificates.crt")  # Debian's


class Internet:
    """`folder`: for the certificates and what is mounted over this machine's own files."""

    def __init__(self, folder, region):
        self.folder = folder
        self.functions = f"lambda-url.{region}.on.aws"
        self.names = {
            PLAY: BROKER, DISCORD: DISCORD_ADDRESS, SESSIONS: SESSIONS_ADDRESS, MAIL: MAIL_ADDRESS,
        }
        self.certificate = self.key = None

    @property
    def authority(self):
        return self.folder / "ca.pem"

    def build(self):
        network.build(HOSTS)
        for address in (PAGE_ADDRESS, DISCORD_ADDRESS, SESSIONS_ADDRESS, MAIL_ADDRESS):
            network.command("ip", "address", "add", f"{address}/32", "dev", "vpc")
        for host in HOSTS:
            network.command("ip", "-n", host, "route", "add", "default", "via", network.GATEWAY)
        for address in SCANNERS[1:]:
            network.command("ip", "-n", "scanners", "address", "add", f"{address}/24", "dev", "eth0")
        self.certificate, self.key = certificate(
            self.folder, ["play.test", DISCORD, SESSIONS, MAIL, f"*.{self.functions}"],
        )
        self.mount("hosts", Path("/etc/hosts"), self.hosts())
        # Whoever asks for another name is told at once that there is none.
        self.mount("resolv.conf", Path("/etc/resolv.conf"), f"nameserver {network.GATEWAY}\n")
        self.mount("believed.pem", BELIEVED, self.authority.read_text())

    def mount(self, name, over, content):
        """In this mount namespace only."""
        file = self.folder / name
        file.write_text(content)
        network.command("mount", "--bind", file, over)

    def hosts(self):
        names = {"localhost": "127.0.0.1"} | self.names
        return "".join(f"{address} {name}\n" for name, address in names.items())

    def add(self, name, address):
        """A further name, from now on."""
        self.names[name] = address
        (self.folder / "hosts").write_text(self.hosts())
