#!/bin/bash
# Installs what tests/image/run.py needs beside the lab (tests/lab/setup.sh): QEMU, an NFS server, DHCP, nft, SSH.
# Run as root on Debian; only what is missing is installed.
set -euo pipefail

packages=(
    qemu-system-x86 qemu-utils nfs-ganesha nfs-ganesha-vfs nftables dnsmasq-base
    iproute2 e2fsprogs openssh-client util-linux systemd
)

[ "$(id -u)" = 0 ] || { echo "setup.sh: must run as root (it installs packages)" >&2; exit 1; }
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} = 0 ]; then
    echo "setup: packages are here: ${packages[*]}"
    exit
fi
echo "setup: installing ${missing[*]}"
log=$(mktemp)
# The services that come with them are not wanted: the tests start what they need themselves.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    echo "setup: failed; the end of $log:" >&2
    tail -n 30 "$log" >&2
    exit 1
fi
rm -f "$log"
# The NFS server's package would have it started with this machine.
if [[ " ${missing[*]} " == *" nfs-ganesha "* ]]; then
    systemctl disable --quiet nfs-ganesha nfs-ganesha-lock 2>/dev/null || true
fi
