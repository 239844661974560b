//! A Debian tree that is fit to become an image, and what can be wrong with one.

use std::process::{Command, Output};

use crate::machine::container::text;
use crate::machine::{AGENT, built, checkout};

/// What is wrong, the shell line that makes it so in the tree, and how the sentence of validate.sh begins.
pub(crate) const FAULTS: &[(&str, &str, &str)] = &[
    (
        "a unit that systemd refuses",
        "sed -i s,/usr/bin/mc-idle,/usr/bin/mc-idel, usr/lib/systemd/system/mc-idle.service",
        "a unit is refused by systemd",
    ),
    ("a configuration that mc-idle refuses", "echo 'idle_minuets = 1' >>etc/mc-idle/config.toml", "mc-idle refuses"),
    (
        "a service that is not enabled",
        "rm etc/systemd/system/multi-user.target.wants/mc-idle.service",
        "mc-idle is not enabled",
    ),
    ("no user for the game", "sed -i /^minecraft:/d etc/passwd", "there is no user minecraft"),
    ("another number for it", "sed -i s/25565/998/ etc/passwd", "there is no user minecraft with the number 25565"),
    ("a java that does not run", "echo exit 1 >usr/bin/java", "java does not run"),
    ("nothing to mount EFS with", "rm sbin/mount.nfs4", "nothing can mount EFS"),
    ("no cloud-init", "rm -r var/lib/cloud usr/bin/cloud-init", "there is no cloud-init"),
    ("a world on the root volume", "mkdir -p mnt/efs/minecraft/old", "something is on the root volume"),
    ("EFS in fstab", "echo 'fs-1:/ /mnt/efs efs _netdev 0 0' >>etc/fstab", "EFS stands in /etc/fstab"),
    ("a site's settings", "touch etc/mc-idle/config.d/50-site.toml", "a site's settings"),
    ("a site's endpoints", "touch etc/default/mc-idle", "a site's settings"),
    ("a site's memory options", "touch etc/default/minecraft-survival", "a site's settings"),
    (
        "an enabled server",
        "ln -s x etc/systemd/system/multi-user.target.wants/minecraft@survival.service",
        "a server is enabled",
    ),
    ("credentials", "mkdir root/.aws", "AWS credentials"),
    ("a password", "sed -i 's,^root:[^:]*,root:$6$salt$hash,' etc/shadow", "an account has a password: root"),
    ("host keys", "mkdir -p etc/ssh; touch etc/ssh/ssh_host_ed25519_key", "SSH host keys"),
    ("a machine id", "echo 0123456789abcdef0123456789abcdef >etc/machine-id", "/etc/machine-id is not empty"),
    ("no file for the machine id", "rm etc/machine-id", "/etc/machine-id is missing"),
    (
        "a machine id for D-Bus",
        "rm -f var/lib/dbus/machine-id; mkdir -p var/lib/dbus; echo 0 >var/lib/dbus/machine-id",
        "D-Bus has a machine id",
    ),
    ("a random seed", "touch var/lib/systemd/random-seed", "a seed of random numbers"),
    ("a host name", "echo builder >etc/hostname", "a host name"),
    ("a lease", "mkdir -p var/lib/dhcp; touch var/lib/dhcp/dhclient.eth0.leases", "leases"),
    ("cloud-init's state", "mkdir -p var/lib/cloud/instances/i-1", "cloud-init's state"),
    ("the build's key for root", "mkdir -p root/.ssh; touch root/.ssh/authorized_keys", "keys that let the build in"),
    (
        "the build's key for a user",
        "mkdir -p home/ec2-user/.ssh; touch home/ec2-user/.ssh/authorized_keys",
        "keys that let the build in",
    ),
    ("apt's lists", "touch var/lib/apt/lists/deb_dists_InRelease", "package caches"),
    ("apt's cache", "touch var/cache/apt/pkgcache.bin", "package caches"),
    ("dnf's cache", "mkdir -p var/cache/dnf/amazonlinux", "package caches"),
    ("root's history", "touch root/.bash_history", "shell histories"),
    ("a user's history", "mkdir -p home/debian; touch home/debian/.python_history", "shell histories"),
    ("the journal", "mkdir -p var/log/journal/0123456789abcdef0123456789abcdef", "logs"),
    ("a log", "echo x >var/log/cloud-init.log", "logs"),
    ("logins", "echo x >var/log/wtmp", "logs"),
    ("a temporary file", "touch tmp/notes", "temporary files"),
    ("what was provisioned from", "mkdir tmp/mc-idle-image", "temporary files"),
    ("services that may not start", "touch usr/sbin/policy-rc.d", "services are kept from starting"),
];

/// What a build does leave, in a machine and of a machine.
pub(crate) const LEFT_BY_A_BUILD: &[&str] = &[
    "mkdir -p tmp/mc-idle-image; touch tmp/mc-idle-image/mc-idle.rpm var/tmp/notes",
    "mkdir -p var/lib/cloud/instances/i-1/sem run/cloud-init; touch var/lib/cloud/instance",
    "mkdir -p etc/ssh; touch etc/ssh/ssh_host_ed25519_key etc/ssh/ssh_host_ed25519_key.pub",
    "mkdir -p root/.ssh home/ec2-user/.ssh; touch root/.ssh/authorized_keys home/ec2-user/.ssh/authorized_keys",
    "echo 0123456789abcdef0123456789abcdef >etc/machine-id; echo builder >etc/hostname",
    "rm -f var/lib/dbus/machine-id; mkdir -p var/lib/dbus; echo 0 >var/lib/dbus/machine-id",
    "touch var/lib/systemd/random-seed var/lib/systemd/credential.secret",
    "mkdir -p var/lib/dhcp var/cache/dnf/x; touch var/lib/dhcp/dhclient.leases var/lib/apt/lists/x var/cache/apt/x.bin",
    "touch root/.bash_history home/ec2-user/.bash_history home/ec2-user/.python_history; mkdir home/ec2-user/.cache",
    "mkdir -p var/log/journal/0123/; touch var/log/journal/0123/system.journal; echo x >var/log/cloud-init.log",
    "mkdir -p var/log/amazon/efs; echo x >var/log/amazon/efs/mount.log; echo x >var/log/wtmp; echo x >var/log/dpkg.log",
];

/// A tree that is fit. Nothing changes it: what a test does to it is written to memory, and gone at its end.
pub(crate) struct Sealed(tempfile::TempDir);

fn shell(line: &str) {
    let shell = Command::new("sh").args(["-ec", line]).output().expect("cannot start sh");
    assert!(shell.status.success(), "`{line}`: {}", text(&shell.stderr));
}

impl Sealed {
    /// As install.sh and seal.sh would leave it, with place-holders for what the tree lacks.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("no temporary folder");
        shell(&format!(
            "root='{root}'; mkdir \"$root\" '{memory}'; tar -C \"$root\" -xf '{tar}'
             install -Dm755 '{AGENT}' \"$root/usr/bin/mc-idle\"
             cd '{systemd}'
             install -Dm644 mc-idle.service minecraft@.service -t \"$root/usr/lib/systemd/system\"
             install -Dm755 minecraft-server \"$root/usr/lib/mc-idle/minecraft-server\"
             install -Dm644 mc-idle.toml \"$root/etc/mc-idle/config.toml\"
             install -Dm644 mc-idle.sysusers \"$root/usr/lib/sysusers.d/mc-idle.conf\"
             install -Dm644 minecraft.sysusers \"$root/usr/lib/sysusers.d/minecraft.conf\"
             cd \"$root\"
             mkdir -p etc/mc-idle/config.d mnt/efs var/lib/cloud home etc/default
             printf '#!/bin/sh\\n' | tee usr/bin/java usr/bin/cloud-init sbin/mount.nfs4
             chmod 755 usr/bin/java usr/bin/cloud-init sbin/mount.nfs4
             chroot . systemd-sysusers
             systemctl --root=. --quiet enable mc-idle
             '{scripts}/seal.sh' .",
            root = folder.path().join("root").display(),
            memory = folder.path().join("memory").display(),
            tar = built("root.tar").display(),
            systemd = checkout().join("systemd").display(),
            scripts = checkout().join("packer/scripts").display(),
        ));
        Sealed(folder)
    }

    /// Runs these lines in the tree, `seal.sh` if so wished, and then `validate.sh`.
    pub(crate) fn validate(&self, lines: &[&str], seal: bool) -> Output {
        let scripts = checkout().join("packer/scripts");
        let script = format!(
            "set -e
             mount -t tmpfs tmpfs memory
             mkdir memory/changes memory/work memory/root
             mount -t overlay overlay -o lowerdir=root,upperdir=memory/changes,workdir=memory/work memory/root
             cd memory/root
             {}
             {}
             exec '{}/validate.sh' \"$PWD\"",
            lines.join("\n"),
            if seal { format!("'{}/seal.sh' \"$PWD\"", scripts.display()) } else { String::new() },
            scripts.display(),
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", &script]).current_dir(self.0.path());
        unshare.output().expect("cannot start unshare")
    }
}
