#!/bin/bash
# Provisioning, as root on the machine that becomes the image, or on an instance by its user data: what a Minecraft server
# on EFS needs, and mc-idle. The same for Amazon Linux 2023 and Debian 12; only what is missing is fetched. It does not wait
# for cloud-init, which may be what runs it.
# Usage: install.sh [FOLDER]    (FOLDER: the package, three files of systemd/ and cloud-init.conf; else /tmp/mc-idle-image)
set -euo pipefail

. /etc/os-release
say() { echo "install: $*"; }
die() { echo "install: $*" >&2; exit 1; }

from=${1:-/tmp/mc-idle-image}
[ -d "$from" ] || die "there is no folder $from to install from"
# Package managers take a relative path for a package's name.
from=$(realpath "$from")
package=$(find "$from" -maxdepth 1 -name '*.rpm' -o -maxdepth 1 -name '*.deb')
[ -f "$package" ] || die "there must be one .rpm or .deb in $from, there is: ${package:-none}"

case $ID in
amzn)
    [ "$VERSION_ID" = 2023 ] || die "Amazon Linux 2023 is needed, this is $PRETTY_NAME"
    [[ $package == *.rpm ]] || die "Amazon Linux takes a .rpm, not $package"
    # The builder itself must not answer without a token.
    if curl -sf -m 2 -o /dev/null http://169.254.169.254/latest/meta-data/; then
        die "instance metadata answers without a token (IMDSv1): build with metadata_options.http_tokens = \"required\""
    fi
    # Minecraft 26.1 and later need Java 25, which older releases of Amazon Linux do not have; 1.20.5 to 1.21 need 21.
    java="java-25-amazon-corretto-headless"
    dnf -q list "$java" >/dev/null 2>&1 || java="java-21-amazon-corretto-headless"
    say "amazon-efs-utils, $java and ${package##*/}"
    dnf -q -y install amazon-efs-utils "$java" "$package"
    ;;
debian)
    [[ $package == *.deb ]] || die "Debian takes a .deb, not $package"
    export DEBIAN_FRONTEND=noninteractive
    missing=()
    command -v mount.nfs4 >/dev/null || missing+=(nfs-common)
    command -v java >/dev/null || missing+=(default-jre-headless)
    if [ ${#missing[@]} != 0 ]; then
        say "${missing[*]}"
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends "${missing[@]}"
    fi
    say "${package##*/}"
    # Nothing is started while the image is made.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get install -qq -y --no-install-recommends "$package"
    rm /usr/sbin/policy-rc.d
    ;;
*) die "Amazon Linux 2023 or Debian is needed, this is $PRETTY_NAME" ;;
esac

say "the server's unit and its user"
install -Dm644 "$from/minecraft@.service" /usr/lib/systemd/system/minecraft@.service
install -Dm755 "$from/minecraft-server" /usr/lib/mc-idle/minecraft-server
install -Dm644 "$from/minecraft.sysusers" /usr/lib/sysusers.d/minecraft.conf
install -Dm644 "$from/cloud-init.conf" /etc/systemd/system/cloud-init.service.d/efs.conf
install -d /mnt/efs
systemd-sysusers
journalctl --update-catalog
systemctl daemon-reload
systemctl enable mc-idle
