#!/usr/bin/env bash
# Makes an x86_64 Debian 12 ready to build for arm64 (aarch64-unknown-linux-gnu), and with `test` to run what it has built.
# Safe to repeat; the second run takes no second.
#
#   tests/arm64/setup.sh        a cross compiler and, where the toolchain has no std for arm64 (rustup target add brings it),
#                               target/arm64/toolchain: a copy of the toolchain with std's source of the very same release,
#                               from Debian's package rust-src, which tests/arm64/cargo.sh then builds std from
#   tests/arm64/setup.sh test   the same, and what `make arm64-test` needs
#
# Installs with apt-get (through sudo unless root) and only what is missing. An arm64 machine needs nothing for the first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "$here/../.." && pwd)/target/arm64
target=aarch64-unknown-linux-gnu
# Newer than the Debian that is built on: only files are taken from it, nothing is installed.
suite=trixie-backports
part=${1:-build}
case $part in build | test) ;; *) echo "usage: $0 [build|test]" >&2; exit 2 ;; esac

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# Runs a step with its output in a log, and shows the log's end if it fails.
step() {
    local what=$1 code=0
    shift
    say "$what"
    "$@" >"$out/setup.log" 2>&1 </dev/null || code=$?
    if ((code)); then
        tail -n 25 "$out/setup.log" | cut -c 1-300 >&2
        die "failed with exit code $code: $what"
    fi
}

install_packages() {
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

system_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        { command -v sudo >/dev/null && sudo -v; } ||
            die "installing ${missing[*]} needs root, or sudo: install them yourself, then run this again"
    fi
    step "installing ${missing[*]}" install_packages "${missing[@]}"
}

# APT with lists and a cache of its own: what this machine's APT knows stays as it is.
private_apt() {
    local command=$1
    shift
    "$command" -o Dir::Etc::sourcelist="$out/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$out/apt/lists" -o Dir::Cache="$out/apt/cache" -o APT::Sandbox::User=root "$@"
}

# The source of std, in the release of the toolchain.
make_source() {
    local release=$1 mirror version
    # shellcheck disable=SC2016 # APT's variables, not the shell's
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' |
        sed -n 's/ [a-z]*$//p' | head -n 1)
    rm -rf "$out/apt" "$out/source"
    mkdir -p "$out/apt/lists/partial" "$out/apt/cache/archives/partial" "$out/source"
    mirror=${mirror:-http://deb.debian.org/debian}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$out/apt/sources.list"
    step "fetching the package lists of $suite" private_apt apt-get update -q
    version=$(private_apt apt-cache madison rust-src | awk '{ print $3 }' | grep -m 1 "^${release//./\\.}+dfsg" || true)
    [[ -n $version ]] ||
        die "$suite has no rust-src $release, which this toolchain needs, but:" \
            "$(private_apt apt-cache madison rust-src | awk '{ print $3 }' | xargs). Install std for arm64 by" \
            "\`rustup target add $target\`, then run this again"
    (cd "$out/apt" && step "fetching std's source (Debian's package rust-src $version)" \
        private_apt apt-get download -q "rust-src=$version")
    step "unpacking it" dpkg-deb --extract "$out"/apt/rust-src_*.deb "$out/source"
    [[ -f $out/source/usr/src/rustc-$release/library/Cargo.lock ]] ||
        die "rust-src $version has no usr/src/rustc-$release/library/Cargo.lock"
    rm -rf "$out/apt"
}

# Links where the file system allows: nothing is changed in them.
make_toolchain() {
    local release=$1 sysroot=$2
    rm -rf "$out/toolchain"
    mkdir -p "$out/toolchain"
    cp -al "$sysroot"/{bin,lib,libexec} "$out/toolchain/" 2>/dev/null ||
        { rm -rf "$out/toolchain" && mkdir "$out/toolchain" && cp -a "$sysroot"/{bin,lib,libexec} "$out/toolchain/"; }
    rm -rf "$out/toolchain/lib/rustlib/src"
    mkdir "$out/toolchain/lib/rustlib/src"
    ln -s "../../../../source/usr/src/rustc-$release" "$out/toolchain/lib/rustlib/src/rust"
}

command -v rustc >/dev/null || die "there is no Rust toolchain: install rustup, see docs/install.md"
host=$(rustc -vV | sed -n 's/^host: //p')
release=$(rustc -vV | sed -n 's/^release: //p')
sysroot=$(realpath "$(rustc --print sysroot)")
mkdir -p "$out"

debian=
grep -qx ID=debian /etc/os-release && command -v apt-get >/dev/null && debian=1
wanted=()
[[ $host == "$target" ]] || wanted+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
if [[ $part == test ]]; then
    wanted+=(binutils cpio file rpm)
    [[ $host == "$target" ]] || wanted+=(qemu-user)
fi
if [[ -n $debian ]]; then
    system_packages "${wanted[@]}"
elif ((${#wanted[@]})); then
    say "this is not Debian: whether there is what Debian calls ${wanted[*]} is not checked"
fi

if [[ $host != "$target" && ! -d $sysroot/lib/rustlib/$target/lib ]]; then
    [[ -n $debian ]] ||
        die "this is not Debian, and the toolchain has no std for arm64: \`rustup target add $target\`, then run this again"
    stamp="$release $sysroot"
    if [[ ! -f $out/toolchain/.stamp || $(<"$out/toolchain/.stamp") != "$stamp" ]]; then
        make_source "$release"
        step "copying the toolchain" make_toolchain "$release" "$sysroot"
        printf '%s\n' "$stamp" >"$out/toolchain/.stamp"
    fi
fi
say "ready for arm64"
