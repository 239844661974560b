#!/bin/bash
# The last change to the machine that becomes the image, as root: takes away what belongs to this one machine and this one
# build, so that every instance gets its own. validate.sh fails the build if anything is left.
# Usage: seal.sh [ROOT]    (ROOT: a tree that is not running)
set -euo pipefail

root=${1:-}
root=${root%/}

if [ -z "$root" ]; then
    # Logs from here on go to /run; stopped, it does not save a seed in the shutdown.
    journalctl --relinquish-var
    systemctl stop systemd-random-seed.service
    # On Amazon Linux these write logs of their own, and would go on.
    systemctl stop amazon-ssm-agent.service amazon-efs-mount-watchdog.service 2>/dev/null || true
fi

rm -rf "$root/tmp/mc-idle-image"
# cloud-init's memory of this instance, the name that it gave it, and the seed that let Packer in.
rm -rf "$root"/var/lib/cloud/* "$root"/run/cloud-init/* "$root/etc/hostname"
rm -f "$root"/etc/ssh/ssh_host_*
rm -f "$root"/root/.ssh/authorized_keys "$root"/home/*/.ssh/authorized_keys
rm -f "$root/var/lib/systemd/random-seed" "$root/var/lib/systemd/credential.secret"
rm -rf "$root"/var/lib/dhcp/*.leases "$root"/var/lib/NetworkManager/*.lease
# Empty, not missing: systemd makes a new one at the next boot.
: >"$root/etc/machine-id"
[ ! -f "$root/var/lib/dbus/machine-id" ] || [ -L "$root/var/lib/dbus/machine-id" ] || rm -f "$root/var/lib/dbus/machine-id"

# Package lists and caches.
rm -rf "$root"/var/cache/dnf/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
rm -rf "$root"/root/.cache "$root"/home/*/.cache
# Shell histories.
find "$root/root" "$root/home" -maxdepth 2 \( -name '.*_history' -o -name .lesshst -o -name .viminfo \) -delete
# Logs: files go, but for those that logins are kept in.
rm -rf "$root"/var/log/journal/*
find "$root/var/log" -type f \( -name wtmp -o -name btmp -o -name lastlog \) -exec truncate -s 0 {} +
find "$root/var/log" -type f ! -name wtmp ! -name btmp ! -name lastlog -delete
# Packer still runs this from /tmp, and services that run have folders there that end with them.
find "$root/tmp" "$root/var/tmp" -mindepth 1 -maxdepth 1 ! -name 'script_*.sh' ! -name 'systemd-private-*' -exec rm -rf {} +
sync
