"""The test's own network: a bridge with the guest's tap device on it, and a namespace each for whoever else is there.

    this namespace: bridge `vpc`       10.77.0.1 (AWS's endpoint, DHCP, DNS), 169.254.169.254 (instance metadata)
        tap device  `guest`            10.77.0.10, given out by DHCP as on EC2
        namespace   `efs`              10.77.0.20
        namespace   `players`          10.77.0.50

Whoever calls is in a network and a mount namespace of its own already (run.py), so nothing of this outlives the test.
"""

import os
import stat
import subprocess
from pathlib import Path

from demo import Failure

GATEWAY = "10.77.0.1"
API_PORT = 4566
METADATA = "169.254.169.254"
GUEST = "10.77.0.10"
GUEST_MAC = "0a:00:0a:4d:00:0a"
EFS = "10.77.0.20"
PLAYERS = "10.77.0.50"
HOSTS = {"efs": EFS, "players": PLAYERS}
TAP = "guest"

# What a security group without the NFS rule does: packets vanish, and nobody is told.
CUT = f"""\
table inet cut {{
    chain incoming {{
        type filter hook input priority 0; policy accept;
        ip saddr {GUEST} drop
    }}
    chain outgoing {{
        type filter hook output priority 0; policy accept;
        ip daddr {GUEST} drop
    }}
}}
"""


def command(*words, given=None):
    """Runs a short command; its complaint becomes the failure."""
    done = subprocess.run([str(word) for word in words], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip()
        raise Failure(f"`{' '.join(map(str, words))}` failed with {done.returncode}: {complaint}")
    return done.stdout


def inside(namespace, *words):
    return ["ip", "netns", "exec", namespace, *words]


def make_tun_device():
    """A container may lack the node though the kernel has the driver."""
    node = Path("/dev/net/tun")
    if not node.exists():
        node.parent.mkdir(exist_ok=True)
        os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(10, 200))


def build(hosts=None):
    """`hosts`: the namespaces, and the address of each; the two above by themselves."""
    make_tun_device()
    # Names of namespaces are files: in this mount namespace only.
    Path("/run/netns").mkdir(exist_ok=True)
    command("mount", "-t", "tmpfs", "none", "/run/netns")
    command("ip", "link", "set", "lo", "up")
    command("ip", "link", "add", "vpc", "type", "bridge")
    command("ip", "address", "add", f"{GATEWAY}/24", "dev", "vpc")
    command("ip", "address", "add", f"{METADATA}/32", "dev", "vpc")
    command("ip", "link", "set", "vpc", "up")
    command("ip", "tuntap", "add", TAP, "mode", "tap")
    command("ip", "link", "set", TAP, "master", "vpc", "up")
    for name, address in (hosts or HOSTS).items():
        command("ip", "netns", "add", name)
        command("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        command("ip", "link", "set", name, "master", "vpc", "up")
        command("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        command("ip", "-n", name, "link", "set", "eth0", "up")
        command("ip", "-n", name, "link", "set", "lo", "up")


def start_dhcp(crew, folder):
    crew.start(
        "dhcp", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root",
        f"--pid-file={folder / 'dnsmasq.pid'}", "--interface=vpc", "--bind-interfaces", "--no-hosts", "--no-resolv",
        f"--dhcp-range={GUEST},{GUEST},255.255.255.0,infinite", f"--dhcp-host={GUEST_MAC},{GUEST}",
        f"--dhcp-option=option:router,{GATEWAY}", f"--dhcp-leasefile={folder / 'leases'}",
    )


def cut_efs():
    command(*inside("efs", "nft", "-f", "-"), given=CUT)


def mend_efs():
    command(*inside("efs", "nft", "-f", "-"), given="add table inet cut\ndelete table inet cut\n")
