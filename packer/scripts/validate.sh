#!/bin/bash
# Proves, as root, that the machine or tree is fit to become the image: it does what it should, and nothing of this machine,
# this build or any site is left in it. Says what is wrong, one line each, and fails.
# Usage: validate.sh [ROOT]    (ROOT: a tree that is not running)
set -uo pipefail
shopt -s nullglob dotglob

root=${1:-}
root=${root%/}
wrong=0

bad() { echo "validate: WRONG: $*" >&2; wrong=$((wrong + 1)); }
inside() { if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi; }

# none WHAT PATH...: not one of them may be there.
none() {
    local what=$1 path found=()
    shift
    for path in "$@"; do
        if [ -e "$path" ] || [ -L "$path" ]; then found+=("${path#"$root"}"); fi
    done
    [ ${#found[@]} = 0 ] || bad "$what: ${found[*]}"
}

# It works.
said=$(inside systemd-analyze verify --recursive-errors=no --man=no mc-idle.service minecraft@check.service 2>&1) ||
    bad "a unit is refused by systemd: $said"
said=$(inside mc-idle check --offline 2>&1) || bad "mc-idle refuses its configuration: $said"
[ "$(systemctl ${root:+--root="$root"} is-enabled mc-idle.service 2>/dev/null)" = enabled ] || bad "mc-idle is not enabled"
[ "$(inside id -u minecraft 2>/dev/null)" = 25565 ] || bad "there is no user minecraft with the number 25565"
[ -x "$root/usr/lib/mc-idle/minecraft-server" ] || bad "what minecraft@.service runs is missing"
inside java -XX:-UsePerfData -version >/dev/null 2>&1 || bad "java does not run"
[ -x "$root/sbin/mount.efs" ] || [ -x "$root/sbin/mount.nfs4" ] ||
    bad "nothing can mount EFS: neither mount.efs nor mount.nfs4"
[ -d "$root/var/lib/cloud" ] || [ -x "$root/usr/bin/cloud-init" ] || bad "there is no cloud-init to apply user data"

# Nothing of a site: that is user data's.
none "something is on the root volume where EFS belongs" "$root"/mnt/efs/*
grep -qs '[[:space:]]/mnt/efs' "$root/etc/fstab" && bad "EFS stands in /etc/fstab"
none "a site's settings" "$root"/etc/mc-idle/config.d/*.toml "$root"/etc/default/mc-idle "$root"/etc/default/minecraft*
none "a server is enabled" "$root"/etc/systemd/system/*.wants/minecraft@*
none "AWS credentials" "$root"/root/.aws "$root"/home/*/.aws
accounts=$(grep -E '^[^:]+:\$' "$root/etc/shadow" | cut -d : -f 1 | tr '\n' ' ')
[ -z "$accounts" ] || bad "an account has a password: $accounts"

# Nothing of this machine: every instance makes its own.
none "SSH host keys" "$root"/etc/ssh/ssh_host_*
if [ ! -f "$root/etc/machine-id" ]; then
    bad "/etc/machine-id is missing; it must be there, and empty"
elif [ -s "$root/etc/machine-id" ]; then
    bad "/etc/machine-id is not empty"
fi
[ -f "$root/var/lib/dbus/machine-id" ] && [ ! -L "$root/var/lib/dbus/machine-id" ] && bad "D-Bus has a machine id of its own"
none "a seed of random numbers" "$root"/var/lib/systemd/random-seed "$root"/var/lib/systemd/credential.secret
none "a host name" "$root"/etc/hostname
none "leases" "$root"/var/lib/dhcp/*.leases "$root"/var/lib/NetworkManager/*.lease

# Nothing of this build.
none "cloud-init's state" "$root"/var/lib/cloud/*
none "keys that let the build in" "$root"/root/.ssh/authorized_keys "$root"/home/*/.ssh/authorized_keys
none "package caches" "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/dnf/*
none "shell histories" "$root"/root/.*_history "$root"/home/*/.*_history
none "logs" "$root"/var/log/journal/*
mapfile -t logs < <(find "$root/var/log" -type f -size +0)
none "logs" "${logs[@]}"
mapfile -t files < <(find "$root/tmp" "$root/var/tmp" -mindepth 1 -maxdepth 1 \
    ! -name 'script_*.sh' ! -name 'systemd-private-*')
none "temporary files" "${files[@]}"
[ ! -e "$root/usr/sbin/policy-rc.d" ] || bad "services are kept from starting by /usr/sbin/policy-rc.d"

if [ "$wrong" != 0 ]; then
    echo "validate: $wrong wrong: this must not become an image" >&2
    exit 1
fi
echo "validate: fit to become an image"
