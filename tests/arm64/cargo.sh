#!/usr/bin/env bash
# cargo for arm64: `tests/arm64/cargo.sh build --target aarch64-unknown-linux-gnu …`, with the cross compiler where this is
# another machine, and QEMU for what cargo runs. Where the toolchain has no std for arm64, with the one that
# tests/arm64/setup.sh has made: it builds std first, which takes a minute.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=aarch64-unknown-linux-gnu
[[ $(rustc -vV | sed -n 's/^host: //p') != "$target" ]] || exec cargo "$@"

: "${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER:=aarch64-linux-gnu-gcc}"
: "${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER:=qemu-aarch64 -L /usr/aarch64-linux-gnu}"
: "${CC_aarch64_unknown_linux_gnu:=aarch64-linux-gnu-gcc}"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER
export CC_aarch64_unknown_linux_gnu
[[ ! -d $(rustc --print sysroot)/lib/rustlib/$target/lib ]] || exec cargo "$@"

toolchain=$project/target/arm64/toolchain
[[ -x $toolchain/bin/cargo ]] || { echo "cargo.sh: there is no std for arm64: run tests/arm64/setup.sh first" >&2; exit 1; }
export RUSTC=$toolchain/bin/rustc
# Building std is unstable in cargo: this is what allows it in a release.
export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
# Of its own: with RUSTC_BOOTSTRAP what is built for this machine would be built anew each time, there and back.
: "${CARGO_BUILD_BUILD_DIR:=$project/target/arm64/build}"
export CARGO_BUILD_BUILD_DIR
exec "$toolchain/bin/cargo" "$@"
