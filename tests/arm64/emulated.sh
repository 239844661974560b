#!/usr/bin/env bash
# Runs a command that can start programs for arm64 as if they were this machine's, and so can what it starts. QEMU's user mode
# emulation is registered with the kernel (binfmt_misc) in namespaces of the command's own: nothing of the machine is changed.
# Usage: tests/arm64/emulated.sh COMMAND...
#
# Needs Linux 6.7. An older kernel has one register for the whole machine: Debian's qemu-user-binfmt enters QEMU there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
register=/proc/sys/fs/binfmt_misc
[[ $(uname -m) != aarch64 ]] || exec "$@"
# Where the entry of Debian's package finds the libraries.
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu
[[ ! -e $register/qemu-aarch64 ]] || exec "$@"

# An ELF file (bytes 0 to 3) of 64 bits (4), little-endian (5), for this machine (18 and 19: 183).
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
# shellcheck disable=SC2016 # for the inner shell
exec unshare --user --map-root-user --mount bash -c '
    mount -t binfmt_misc none "$1" 2>/dev/null && printf %s "$2" >"$1/register" || {
        echo "emulated.sh: cannot register QEMU for arm64 in namespaces of its own, which needs Linux 6.7, this is" \
            "$(uname -r); on Debian, apt install qemu-user-binfmt registers it for the whole machine" >&2
        exit 1
    }
    shift 2
    exec "$@"' emulated.sh "$register" ":arm64:M::$magic:$mask:$here/qemu.sh:" "$@"
