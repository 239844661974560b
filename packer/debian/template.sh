#!/bin/bash
# Prints the folder of a template that the installed Packer understands: packer/ itself from Packer 1.8 on. For an older one,
# such as Debian's 1.6.6, a copy without the plugins' file and without what stands between the marks.
# Usage: packer/debian/template.sh COPY    (COPY: the folder for the copy)
set -euo pipefail

[ $# = 1 ] || { echo "usage: $0 COPY" >&2; exit 2; }
here=$(cd "$(dirname "$0")/.." && pwd)
version=$(packer version | sed -n 's/^Packer v//p' | head -n 1)
if [ "$(printf '1.8\n%s\n' "$version" | sort -V | head -n 1)" = 1.8 ]; then
    echo "$here"
    exit
fi
copy=$1
mkdir -p "$copy"
for file in "$here"/*.pkr.hcl; do
    [ "${file##*/}" = plugins.pkr.hcl ] ||
        sed '/# packer >= 1.8$/,/# packer >= 1.8 end$/d' "$file" >"$copy/${file##*/}"
done
echo "$copy"
