#!/bin/bash
# Builds the golden image for QEMU by Packer: target/image/mc-idle.qcow2, from Debian 12 and a .deb of mc-idle.
# Usage: packer/debian/build.sh PACKAGE.deb    (as root on Debian 12; six minutes on two free cores without hardware
# virtualisation)
set -euo pipefail

cd "$(dirname "$0")/../.."
[ $# = 1 ] && [ -f "$1" ] || { echo "usage: $0 PACKAGE.deb (make packages)" >&2; exit 2; }
package=$1
out=target/image
mkdir -p "$out"

missing=()
command -v packer >/dev/null || missing+=(packer)
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
command -v ssh-keygen >/dev/null || missing+=(openssh-client)
if [ ${#missing[@]} != 0 ]; then
    echo "build: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

packer/debian/base.sh "$out/base.qcow2"

# A key for this build alone, and the seed that lets it in.
rm -rf "$out/build" "$out/seed" "$out/key" "$out/key.pub"
mkdir "$out/seed"
ssh-keygen -q -t ed25519 -N '' -C 'image build' -f "$out/key"
printf 'instance-id: image-build\n' >"$out/seed/meta-data"
printf '#cloud-config\nssh_authorized_keys:\n  - %s\n' "$(cat "$out/key.pub")" >"$out/seed/user-data"
trap 'rm -rf "$out/seed" "$out/key" "$out/key.pub"' EXIT

rm -rf "$out/template"
template=$(packer/debian/template.sh "$out/template")
export PACKER_CACHE_DIR=$PWD/$out/packer_cache CHECKPOINT_DISABLE=1
packer build -color=false -only=qemu.mc-idle -var "package=$package" "$template"
mv "$out/build/mc-idle.qcow2" "$out/mc-idle.qcow2"
rm -rf "$out/build" "$out/packer_cache" "$out/template"
echo "build: $out/mc-idle.qcow2, $(du -h "$out/mc-idle.qcow2" | cut -f 1)"
