#!/usr/bin/env bash
# Installs what `make release-check` looks with: linters for the workflow in target/release-check/venv, from the pinned list
# beside this file, and as root on Debian the packages' own tools. Safe to repeat; the second run does nothing.
# Usage: tests/release/setup.sh [lint|packages]   (without an argument: both)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "$here/../.." && pwd)/target/release-check
what=${1:-all}
case $what in all | lint | packages) ;; *) echo "usage: $0 [lint|packages]" >&2; exit 2 ;; esac

if [ "$what" != packages ] && ! cmp -s "$here/requirements.txt" "$out/venv/requirements.txt"; then
    echo "setup: making the Python environment target/release-check/venv" >&2
    rm -rf "$out/venv"
    mkdir -p "$out"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
    fi
    python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet --no-input --no-deps --only-binary :all: --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$out/venv/requirements.txt"
fi

if [ "$what" != lint ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    missing=()
    for tool in lintian rpm cpio; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    command -v readelf >/dev/null || missing+=(binutils)
    command -v rpm2cpio >/dev/null || missing+=(rpm2cpio)
    if ((${#missing[@]})); then
        echo "setup: installing ${missing[*]}" >&2
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
fi
