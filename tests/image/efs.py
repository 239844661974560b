"""EFS: an NFS 4.1 server in user space (nfs-ganesha), and the game server's folder on it."""

import os
import shutil
from pathlib import Path

from demo import expect

import network

HERE = Path(__file__).resolve().parent
GAME = "evening"
GAME_VERSION = "1.12.2"
MINECRAFT_USER = 25565  # of the image; files on EFS belong to it
# The default grace period after a start, 90 s without any open, is for clients of a server that was there before.
CONFIG = """\
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = 2049; Bind_addr = {address}; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSV4 {{ Graceless = true; Minor_Versions = 1; RecoveryRoot = "{folder}/recovery"; }}
NFS_KRB5 {{ Active_krb5 = false; }}
LOG {{ Default_Log_Level = EVENT; }}
EXPORT {{
    Export_Id = 1; Path = "{folder}/export"; Pseudo = "/"; Protocols = 4; Transports = TCP;
    Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
    FSAL {{ Name = VFS; }}
}}
"""


class Efs:
    def __init__(self, crew, folder, contents=HERE / "guest"):
        """`contents`: the folder with the game server's files."""
        self.crew = crew
        self.contents = contents
        self.folder = Path(folder) / "efs"
        self.game = self.folder / "export/minecraft" / GAME
        self.log = self.folder / "ganesha.log"

    def fill(self):
        (self.folder / "recovery").mkdir(parents=True)
        self.game.mkdir(parents=True)
        for file in self.contents.iterdir():
            shutil.copy(file, self.game)
        os.chown(self.game, MINECRAFT_USER, MINECRAFT_USER)

    def start(self):
        config = self.folder / "ganesha.conf"
        config.write_text(CONFIG.format(address=network.EFS, folder=self.folder))
        self.crew.start(
            "efs", *network.inside(
                "efs", "ganesha.nfsd", "-F", "-f", config, "-L", self.log, "-p", self.folder / "ganesha.pid",
            ),
        )

    def listens(self):
        """Whether it can be mounted; fails with the end of its log if it has ended."""
        if self.crew.members["efs"].poll() is not None:
            tail = self.log.read_text().splitlines()[-10:] if self.log.exists() else []
            expect(False, "the NFS server ended by itself:\n" + "\n".join(tail))
        return ":2049 " in network.command(*network.inside("efs", "ss", "-Hltn"))

    def saved_world(self):
        """What the game server wrote last when it was told to stop; None: it did not come so far."""
        level = self.game / "world/level.dat"
        return level.read_text() if level.exists() else None
