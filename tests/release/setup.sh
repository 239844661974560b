#!/usr/bin/env bash
# Installs what a release is made and looked at with. Safe to repeat; the second run does nothing.
#   lint       target/release-check/venv, with linters for the workflow from the pinned list beside this file
#   packages   as root on Debian, the packages' own tools
#   sbom       cargo-cyclonedx
# Usage: tests/release/setup.sh [lint|packages|sbom]   (without an argument: all)
set -euo pipefail

cyclonedx=0.5.9

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "$here/../.." && pwd)/target/release-check
what=${1:-all}
case $what in all | lint | packages | sbom) ;; *) echo "usage: $0 [lint|packages|sbom]" >&2; exit 2 ;; esac

wanted() { [ "$what" = all ] || [ "$what" = "$1" ]; }

# Without root or apt-get, check.py says what is missing.
install_packages() {
    if (($#)) && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing $*" >&2
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
    fi
}

if wanted lint && ! cmp -s "$here/requirements.txt" "$out/venv/requirements.txt"; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    echo "setup: making the Python environment target/release-check/venv" >&2
    rm -rf "$out/venv"
    mkdir -p "$out"
    python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet --no-input --no-deps --only-binary :all: --disable-pip-version-check \
        -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$out/venv/requirements.txt"
fi

if wanted packages; then
    missing=()
    for tool in cpio lintian rpm rpm2cpio; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    command -v readelf >/dev/null || missing+=(binutils)
    install_packages "${missing[@]}"
fi

if wanted sbom && ! cargo cyclonedx --version 2>/dev/null | grep -qwF "$cyclonedx"; then
    echo "setup: building cargo-cyclonedx $cyclonedx, some minutes" >&2
    cargo install --quiet --locked cargo-cyclonedx --version "$cyclonedx"
fi
