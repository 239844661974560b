#!/usr/bin/env bash
# Builds what a release consists of, for these architectures (Debian's names; without: this machine's), into FOLDER.
# Usage: build.sh FOLDER [ARCHITECTURE...]
set -euo pipefail

(($#)) || { sed -n '3s/^# //p' "$0" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=$1
shift
case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac

rm -rf "$folder"
for architecture in "${@:-$machine}"; do
    case $architecture in
    "$machine") target= ;;
    amd64) target=x86_64-unknown-linux-gnu ;;
    arm64) target=aarch64-unknown-linux-gnu ;;
    *) echo "build.sh: there is no release for $architecture" >&2; exit 2 ;;
    esac
    "${MAKE:-make}" packages launcher TARGET="$target"
    tests/release/contents.py collect "$architecture" "$folder"
done
tests/release/complete.py "$folder"
