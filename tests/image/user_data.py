"""The user data of the instance under test: packer/user-data.yaml filled in for the lab's EFS and AWS."""

from pathlib import Path

import yaml
from demo import expect

import network
from efs import GAME

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "packer/user-data.yaml"
SITE = "/etc/mc-idle/config.d/50-site.toml"
# What the example says for an NFS server that is not EFS.
OPTIONS = "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,_netdev,nofail"


def document(settings):
    """`settings`: the site's settings of mc-idle, as TOML."""
    text = EXAMPLE.read_text()
    expect(OPTIONS in text, f"{EXAMPLE} no longer shows the mount options that are tested here")
    data = yaml.safe_load(text.replace("survival", GAME))
    sites = [file for file in data["write_files"] if file["path"] == SITE]
    expect(len(sites) == 1, f"{EXAMPLE} does not write {SITE}")
    sites[0]["content"] = settings
    return in_the_lab(data)


def in_the_lab(data):
    """User data as read from YAML, for the lab's EFS and AWS."""
    expect(len(data["mounts"]) == 1 and data["mounts"][0][1] == "/mnt/efs", f"the user data mounts: {data['mounts']}")
    data["mounts"] = [[f"{network.EFS}:/", "/mnt/efs", "nfs4", OPTIONS, "0", "0"]]
    endpoint = f"AWS_ENDPOINT_URL=http://{network.GATEWAY}:{network.API_PORT}\n"
    data["write_files"].append({"path": "/etc/default/mc-idle", "content": endpoint})
    return "#cloud-config\n" + yaml.safe_dump(data, sort_keys=False, width=200)
