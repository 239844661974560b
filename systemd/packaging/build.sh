#!/bin/bash
# Packages an existing binary as .deb and .rpm; `make packages` builds it and calls this.
# Usage: build.sh PROGRAM BINARY FOLDER [TARGET]
#   PROGRAM: mc-idle or mc-broker.
#   FOLDER: where the packages go.
#   TARGET: the Rust target of the binary if it is not this machine's, such as aarch64-unknown-linux-gnu.
# Environment: PACKAGE_VERSION overrides the version in Cargo.toml; FAST=1 compresses less.
set -euo pipefail

# Amazon Linux 2023 has this glibc; the other supported distributions have newer ones. The packages depend on it too
# (Cargo.toml of the program).
glibc=2.34
libraries='ld-linux-x86-64.so.2 ld-linux-aarch64.so.1 libc.so.6 libgcc_s.so.1 libm.so.6'

usage() {
    sed -n '3,7s/^# //p' "$0" >&2
    exit 2
}
[ $# = 3 ] || [ $# = 4 ] || usage
program=$1
# Where the program's Cargo.toml is.
case $program in mc-idle) package=. ;; mc-broker) package=broker ;; *) usage ;; esac
binary=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3") target=${4:-}
project=$(cd "$(dirname "$0")/../.." && pwd)
cd "$project"

stage=$(mktemp -d "$folder/.stage.XXXXXX")
trap 'rm -rf "$stage"' EXIT
staged=$stage/${target:+$target/}release/$program
install -Dm755 "$binary" "$staged"
# A release build is already stripped, by a tool that knows its architecture.
if [[ $(readelf --wide --sections "$staged") == *.symtab* ]]; then
    strip "$staged"
fi

newest=$(readelf --wide --version-info "$staged" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1 || true)
if [ -z "$newest" ]; then
    echo "build.sh: cannot tell which glibc $binary needs" >&2
    exit 1
fi
if [ "$(printf '%s\n' "GLIBC_$glibc" "$newest" | sort -V | tail -n 1)" != "GLIBC_$glibc" ]; then
    echo "build.sh: $binary needs $newest, but at most GLIBC_$glibc is allowed: build it on an older distribution" >&2
    exit 1
fi
for library in $(readelf --wide --dynamic "$staged" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
    if [[ " $libraries " != *" $library "* ]]; then
        echo "build.sh: $binary needs $library, which the packages do not depend on ($package/Cargo.toml)" >&2
        exit 1
    fi
done

# Reproducible: the same sources give the same packages.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH
deb=(--package "$program" --no-build --no-strip --quiet --output "$folder/")
rpm=(--target-dir "$stage" --output "$folder/")
# The root package is what it takes without a name.
[ "$package" = . ] || rpm+=(--package "$package")
if [ -n "${PACKAGE_VERSION:-}" ]; then
    deb+=(--deb-version "$PACKAGE_VERSION-1")
    rpm+=(--set-metadata "version = '$PACKAGE_VERSION'")
fi
: "${PACKAGE_VERSION:=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}"
if [ -n "${FAST:-}" ]; then
    deb+=(--fast)
    rpm+=(--payload-compress gzip)
fi
if [ -n "$target" ]; then
    deb+=(--target "$target")
    rpm+=(--target "$target")
fi
# Debian's changelog; the project's own is a separate file. deb-changelog(5) requires angle brackets after the name:
# they are empty because there is no address.
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' "$package/Cargo.toml")
gzip -9n >"$(dirname "$staged")/changelog.Debian.gz" <<END
$program ($PACKAGE_VERSION-1) unstable; urgency=medium

  * See changelog.gz.

 -- $maintainer <>  $(LC_ALL=C date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
END

CARGO_TARGET_DIR=$stage cargo deb "${deb[@]}"
# cargo generate-rpm gives SOURCE_DATE_EPOCH to what is newer than that, and leaves older times: so from fresh copies.
mkdir "$stage/sources"
cp --recursive --parents Cargo.toml broker/Cargo.toml CHANGELOG.md LICENSE-* systemd docs/man docs/completions "$stage/sources"
cd "$stage/sources"
cargo generate-rpm "${rpm[@]}"
