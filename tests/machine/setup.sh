#!/bin/bash
# Installs what the tests with a real systemd, a real Docker and a real NFS need, and builds the Debian trees they boot:
#   target/machine/root.tar               the container of tests/systemd/ and tests/packages.rs
#   target/machine/docker.tar             the container of tests/docker.rs and tests/podman.rs, with both engines
#   target/machine/nfs.ext4, vmlinuz, initrd   the virtual machine of tests/nfs.rs
# The packages come from where this machine's own apt gets them. Run as root; the second run does nothing.
# Usage: tests/machine/setup.sh [container|docker|vm]   (without an argument: all)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/target/machine
what=${1:-all}
case $what in all | container | docker | vm) ;; *) echo "usage: $0 [container|docker|vm]" >&2; exit 2 ;; esac

[ "$(id -u)" = 0 ] || { echo "setup.sh: must run as root (it installs packages and makes device nodes)" >&2; exit 1; }
. /etc/os-release
[ "${ID:-}" = debian ] || { echo "setup.sh: needs a Debian host, this is ${ID:-unknown}" >&2; exit 1; }
suite=$VERSION_CODENAME
mkdir -p "$out"

container_packages=systemd,systemd-sysv,dbus,udev,iproute2,procps,mount,busybox-static,ca-certificates,openssh-server,openssh-client,libpam-systemd
docker_packages=$container_packages,docker.io,iptables,podman,netavark,slirp4netns,uidmap,strace
vm_packages=$container_packages,linux-image-cloud-amd64,kmod,nfs-common,nfs-kernel-server,nftables

# long DESCRIPTION COMMAND...: runs the command with its output in a log, and shows that it is alive.
long() {
    local text=$1 log=$out/setup.log started=$SECONDS pid status=0
    shift
    echo "setup: $text"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        if (((SECONDS - started) % 10 == 9)); then
            echo "setup:   $((SECONDS - started + 1)) s: $(tr '\r' '\n' <"$log" | grep -v '^ *$' | tail -n 1 | cut -c 1-100)"
        fi
    done
    wait "$pid" || status=$?
    if [ "$status" != 0 ]; then
        echo "setup: failed with status $status after $((SECONDS - started)) s; the end of $log:" >&2
        tail -n 30 "$log" >&2
        return "$status"
    fi
    echo "setup:   done in $((SECONDS - started)) s"
}

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    if [ ${#missing[@]} = 0 ]; then
        echo "setup: packages are here: $*"
        return
    fi
    long "fetching the package lists" apt-get update
    long "installing ${missing[*]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# The Debian lines of this machine's own apt sources, whatever mirror they name.
debian_sources() {
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' | sort -u
}

# tree PACKAGES TAR [OPTION...]: a Debian tree of this machine's release as a tar file.
tree() {
    local packages=$1 tar=$2
    shift 2
    debian_sources >"$out/sources.list"
    if [ ! -s "$out/sources.list" ]; then
        apt-get update
        debian_sources >"$out/sources.list"
    fi
    [ -s "$out/sources.list" ] || { echo "this machine's apt knows no Debian sources"; return 1; }
    mmdebstrap --variant=minbase --include="$packages" --format=tar \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
        --customize-hook='rm -f "$1"/etc/machine-id "$1"/etc/resolv.conf; : >"$1"/etc/machine-id' \
        --customize-hook='echo machine >"$1"/etc/hostname; printf "127.0.0.1 localhost machine\n::1 localhost\n" >"$1"/etc/hosts' \
        "$@" "$suite" "$tar.part" - <"$out/sources.list"
    mv "$tar.part" "$tar"
}

# The virtual machine mounts a second disk at /payload and runs /payload/run with its output on the second serial port.
vm_image() {
    local dir=$out/vm.tree
    rm -rf "$dir"
    mkdir "$dir"
    tree "$vm_packages" "$out/vm.tar" \
        --essential-hook='mkdir -p "$1"/etc/initramfs-tools/conf.d "$1"/usr/share/initramfs-tools/modules.d' \
        --essential-hook='echo MODULES=list >"$1"/etc/initramfs-tools/conf.d/modules' \
        --essential-hook='printf "virtio_pci\nvirtio_blk\next4\n" >"$1"/usr/share/initramfs-tools/modules.d/machine' \
        --customize-hook="upload '$here/vm/machine-test.service' /etc/systemd/system/machine-test.service" \
        --customize-hook='printf "/dev/vda / ext4 defaults 0 0\n/dev/vdb /payload ext4 ro 0 0\n" >"$1"/etc/fstab; mkdir "$1"/payload' \
        --customize-hook='systemctl --root="$1" -q enable machine-test.service' \
        --customize-hook='systemctl --root="$1" -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer rpc-statd.service'
    tar -C "$dir" -xf "$out/vm.tar"
    cp "$dir"/boot/vmlinuz-* "$out/vmlinuz"
    cp "$dir"/boot/initrd.img-* "$out/initrd"
    rm -f "$out/nfs.ext4.part"
    mkfs.ext4 -q -L root -d "$dir" "$out/nfs.ext4.part" 2G
    mv "$out/nfs.ext4.part" "$out/nfs.ext4"
    rm -rf "$dir" "$out/vm.tar"
}

# A tree is built again when this script or a file that goes into the tree has changed.
stamp=$(cat "$0" "$here"/vm/machine-test.service | sha256sum | cut -d ' ' -f 1)-$suite

# container NAME PACKAGES: builds NAME.tar, the tree of a container with a systemd, unless it is here.
container() {
    local tar=$out/$1.tar built=$out/$1.stamp
    if [ -s "$tar" ] && [ "$(cat "$built" 2>/dev/null)" = "$stamp" ]; then
        echo "setup: container tree $1 is here: $(du -h "$tar" | cut -f 1)"
        return
    fi
    long "building the container tree $1 (about a minute)" tree "$2" "$tar"
    echo "$stamp" >"$built"
}

wanted() { [ "$what" = all ] || [ "$what" = "$1" ]; }

if wanted container || wanted docker; then
    install_packages systemd-container mmdebstrap util-linux
fi
if wanted container; then
    container root "$container_packages,rpm"
    # The packages' own tests look at them from outside too.
    install_packages rpm binutils
fi
if wanted docker; then
    container docker "$docker_packages"
fi

if wanted vm; then
    install_packages qemu-system-x86 mmdebstrap e2fsprogs
    if [ -s "$out/nfs.ext4" ] && [ "$(cat "$out/vm.stamp" 2>/dev/null)" = "$stamp" ]; then
        echo "setup: virtual machine is here: $(du -h "$out/nfs.ext4" | cut -f 1)"
    else
        long "building the virtual machine (about two minutes)" vm_image
        echo "$stamp" >"$out/vm.stamp"
    fi
fi
