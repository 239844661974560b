#!/bin/bash
# Makes the disk that the template's qemu source starts from: a Debian 12 with cloud-init, as a cloud's image would be, but
# with everything in it that the provisioning would otherwise have to fetch, because the guest has no way to the Internet.
# The packages come from where this machine's own apt gets them. It boots by itself (BIOS, GRUB, serial console).
# Usage: packer/debian/base.sh DISK.qcow2    (as root on Debian 12; the second run does nothing)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ $# = 1 ] || { echo "usage: $0 DISK.qcow2" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "base.sh: must run as root (it installs packages and makes device nodes)" >&2; exit 1; }
. /etc/os-release
[ "${ID:-}" = debian ] || { echo "base.sh: needs a Debian host, this is ${PRETTY_NAME:-unknown}" >&2; exit 1; }

disk=$1
mib=4096
packages=(
    systemd systemd-sysv systemd-resolved dbus udev libpam-systemd kmod init-system-helpers
    linux-image-cloud-amd64 grub-pc-bin grub-common
    cloud-init cloud-guest-utils sudo openssh-server isc-dhcp-client
    iproute2 iputils-ping procps ca-certificates less
    # What install.sh looks for: EFS by plain NFS, and a Java.
    nfs-common openjdk-17-jre-headless
)

stamp=$(cat "$0" "$here"/files/* | sha256sum | cut -d ' ' -f 1)-$VERSION_CODENAME
if [ -s "$disk" ] && [ "$(cat "$disk.stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "base: $disk is here"
    exit
fi

mkdir -p "$(dirname "$disk")"
missing=()
for tool in mmdebstrap:mmdebstrap qemu-img:qemu-utils mkfs.ext4:e2fsprogs sfdisk:fdisk python3:python3; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool#*:}")
done
if [ ${#missing[@]} != 0 ]; then
    echo "base: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

work=$(mktemp -d "$disk.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree

# The Debian lines of this machine's own apt sources, whatever mirror they name.
apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    sort -u >"$work/sources.list"
if [ ! -s "$work/sources.list" ]; then
    apt-get update -qq
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        sort -u >"$work/sources.list"
fi
[ -s "$work/sources.list" ] || { echo "base: this machine's apt knows no Debian sources" >&2; exit 1; }

echo "base: building a Debian tree (two minutes)"
mmdebstrap --variant=minbase --format=directory --include="$(IFS=,; echo "${packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --essential-hook='mkdir -p "$1"/etc/initramfs-tools/conf.d "$1"/usr/share/initramfs-tools/modules.d' \
    --essential-hook='mkdir -p "$1"/usr/share/man/man1' \
    --essential-hook='echo MODULES=list >"$1"/etc/initramfs-tools/conf.d/modules' \
    --essential-hook='printf "%s\n" virtio_pci virtio_blk ext4 >"$1"/usr/share/initramfs-tools/modules.d/machine' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    "$VERSION_CODENAME" "$tree" - <"$work/sources.list" >"$disk.log" 2>&1 ||
    { tail -n 30 "$disk.log" >&2; exit 1; }

# As a cloud's image: no identity, DHCP on the first card, cloud-init for the rest.
install -Dm644 "$here/files/cloud.cfg" "$tree/etc/cloud/cloud.cfg.d/90-image.cfg"
install -Dm644 "$here/files/ether.network" "$tree/etc/systemd/network/80-ether.network"
install -Dm644 "$here/files/host-keys.conf" "$tree/etc/systemd/system/ssh.service.d/host-keys.conf"
install -Dm644 "$here/files/grub.cfg" "$tree/boot/grub/grub.cfg"
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/hostname" "$tree/etc/resolv.conf"
: >"$tree/etc/machine-id"
ln -s ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$tree/etc/hosts"
echo 'LABEL=root / ext4 defaults 0 1' >"$tree/etc/fstab"
# The sources of the machine that built it are not the image's business.
echo "deb http://deb.debian.org/debian $VERSION_CODENAME main" >"$tree/etc/apt/sources.list"
rm -f "$tree"/etc/apt/sources.list.d/* "$tree"/etc/apt/apt.conf.d/99mmdebstrap
mkdir -p "$tree/var/log/journal"
systemctl --root="$tree" --quiet enable systemd-networkd systemd-resolved ssh
# Work in the background costs minutes in an emulated machine.
systemctl --root="$tree" --quiet mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer man-db.timer rpc-statd.service rpc-statd-notify.service

echo "base: making the disk"
# GRUB's own partition, then the root.
truncate -s "${mib}M" "$work/disk.raw"
sfdisk --quiet "$work/disk.raw" <<'TABLE'
label: gpt
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649
start=4096, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
TABLE
truncate -s "$((mib - 4))M" "$work/root.ext4"
mkfs.ext4 -q -L root -d "$tree" "$work/root.ext4"
dd if="$work/root.ext4" of="$work/disk.raw" bs=1M seek=2 conv=sparse,notrunc status=none
rm "$work/root.ext4"
# What grub-install does, without a loop device, which a container may not have.
chroot "$tree" grub-mkimage --format=i386-pc --output=/tmp/core.img --prefix='(hd0,gpt2)/boot/grub' \
    biosdisk part_gpt ext2 normal linux configfile search search_label serial terminal echo
"$here/boot-sector.py" "$tree/usr/lib/grub/i386-pc/boot.img" "$tree/tmp/core.img" "$work/disk.raw" 2048 2048
qemu-img convert -q -f raw -O qcow2 "$work/disk.raw" "$work/disk.qcow2"
mv "$work/disk.qcow2" "$disk"
echo "$stamp" >"$disk.stamp"
echo "base: $disk, $(du -h "$disk" | cut -f 1)"
