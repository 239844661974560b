#!/usr/bin/env bash
# Makes a machine ready to build mc-idle and to run its lab. Safe to repeat; the second run takes under a second.
#
#   tests/lab/setup.sh build   system packages for `cargo build` only (C compiler, make, curl)
#   tests/lab/setup.sh fuzz    the same and a C++ compiler, for the fuzzer
#   tests/lab/setup.sh manual  the same and, as root with apt-get, what the manual, metrics and the
#                              launcher's page are tried with, and valgrind
#   tests/lab/setup.sh bench   as build and, as root with apt-get, what `make bench` measures with and against
#   tests/lab/setup.sh cloud   target/lab/ministack, an emulator of AWS that runs Lambda functions; needs what `lab` installs
#   tests/lab/setup.sh stack   the same, target/lab/stack with what judges deploy/stack.yaml and, with apt-get, the AWS CLI 2
#   tests/lab/setup.sh         all: the above, python3 + venv, node >= 18 + npm, faketime,
#   tests/lab/setup.sh lab     then target/lab/venv and target/lab/node_modules from the pinned lists beside this file, and
#                              on Debian target/lab/haproxy from its package
#
# Installs with apt-get (through sudo unless root) and only what is missing; without apt-get it names what is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab=$(cd "$here/../.." && pwd)/target/lab
manual=${lab%/lab}/manual
part=${1:-lab}

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Runs a long step with its output in a log, a sign of life every 5 s, and the log's end if it fails.
step() {
    local what=$1 log pid began=$SECONDS shown=0 code=0
    shift
    mkdir -p "$lab"
    log=$lab/setup.log
    say "$what"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM # bash shields background jobs from Ctrl-C
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - began >= shown + 5)); then
            shown=$((SECONDS - began))
            say "  still at it, ${shown} s"
        fi
    done
    wait "$pid" || code=$?
    trap - INT TERM
    if ((code)); then
        tail -n 25 "$log" | cut -c 1-300 >&2
        die "failed with exit code $code: $what"
    fi
}

has() { command -v "$1" >/dev/null 2>&1; }
has_node() { has npm && [[ $(node -p 'parseInt(process.versions.node)' 2>/dev/null || echo 0) -ge 18 ]]; }
has_aws_cli() { [[ $(aws --version 2>/dev/null) == aws-cli/2.* || $(/usr/bin/aws --version 2>/dev/null) == aws-cli/2.* ]]; }
has_venv() { python3 -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

missing_packages() {
    has cc || echo gcc libc6-dev
    has make || echo make
    has curl || echo curl
    [[ $part == fuzz ]] && { has c++ || echo g++; } # libFuzzer is written in it
    # What only one test file needs is worth neither a password nor a failure.
    if [[ $part == manual ]] && ((EUID == 0)) && has apt-get; then
        has man || echo man-db
        has zsh || echo zsh
        has fish || echo fish
        has valgrind || echo valgrind
        has chromium || echo chromium # the launcher's page is tried in it
        has chromedriver || echo chromium-driver
    fi
    if [[ $part == bench ]] && ((EUID == 0)) && has apt-get; then # without, the bench names what it leaves out
        has lsof || echo lsof
        has ss && has ip || echo iproute2
        has netstat || echo net-tools
        has strace || echo strace
        has valgrind || echo valgrind
    fi
    if [[ $part == stack ]]; then
        has_aws_cli || echo awscli # Debian's is version 2
        has shellcheck || echo shellcheck
    fi
    [[ $part == lab ]] || return 0
    has_venv || echo python3 python3-venv
    has_node || { has node || echo nodejs; has npm || echo npm; }
    # Two tests shift the agent's wall clock with it, and are skipped without: not worth a password, nor a failure.
    has faketime || ((EUID != 0)) || ! has apt-get || echo faketime
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}
install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

system_packages() {
    local missing
    mapfile -t missing < <(missing_packages | tr ' ' '\n')
    if ((${#missing[@]})); then
        local manual="install these yourself (Debian's names): ${missing[*]}"
        has apt-get || die "no apt-get here; $manual"
        if ((EUID != 0)); then
            has sudo || die "neither root nor sudo; $manual"
            sudo -v || die "sudo refused; $manual" # asks for the password here, not in the background
        fi
        step "installing system packages: ${missing[*]}" install_packages "${missing[@]}"
    fi
    [[ $part == lab ]] || return 0
    has_venv || die "python3 is missing or older than 3.11"
    has_node || die "node $(node --version 2>/dev/null || echo '(none)') is older than 18, or npm is missing"
}

# make_once STAMP FILES... -- COMMAND...: runs COMMAND unless STAMP holds the checksum of FILES already.
make_once() {
    local stamp=$1 sum files=()
    shift
    while [[ $1 != -- ]]; do files+=("$1"); shift; done
    shift
    sum=$(cat "${files[@]}" | sha256sum)
    if [[ -f $stamp && $(<"$stamp") == "$sum" ]]; then
        say "up to date: ${stamp%/.stamp}"
        return
    fi
    "$@"
    printf '%s\n' "$sum" >"$stamp"
}

# make_venv NAME LIST WHAT: target/lab/NAME with the packages of LIST.
make_venv() {
    rm -rf "${lab:?}/$1"
    step "making the Python environment target/lab/$1" python3 -m venv "$lab/$1"
    step "installing $3 (half a minute)" \
        "$lab/$1/bin/pip" install --quiet --no-input --no-deps --disable-pip-version-check -r "$here/$2"
}
make_node_modules() {
    cp "$here/package.json" "$here/package-lock.json" "$lab/"
    # Engine warnings are expected: minecraft-protocol asks for Node 22 and runs on 18 and 20 as well.
    step "installing the Minecraft servers and bots (560 MB in target/lab/node_modules, half a minute)" \
        npm ci --prefix "$lab" --ignore-scripts --no-audit --no-fund --loglevel=error
}

# What speaks the PROXY protocol before a server. Only the files, and of the libraries that few machines have: the package
# would start its daemon here.
make_haproxy() {
    local packages=(haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1) package
    rm -rf "$lab/new"
    mkdir -p "$lab/new"
    chmod 777 "$lab/new" # apt-get downloads as a user of its own
    (cd "$lab/new" && { apt-get download -q "${packages[@]}" || { apt-get update -q && apt-get download -q "${packages[@]}"; }; }) &&
        for package in "$lab"/new/*.deb; do dpkg-deb --extract "$package" "$lab/new" || return; done &&
        rm -f "$lab"/new/*.deb && rm -rf "$lab/haproxy" && mv "$lab/new" "$lab/haproxy"
}

# Prometheus's own reader of metrics. Only the program: the package would start a server here.
make_promtool() {
    rm -rf "$manual/new"
    mkdir -p "$manual/new"
    chmod 777 "$manual/new" # apt-get downloads as a user of its own
    (cd "$manual/new" && { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; }) &&
        dpkg-deb --extract "$manual"/new/prometheus_*.deb "$manual/new" &&
        mv "$manual/new/usr/bin/promtool" "$manual/promtool" && rm -r "$manual/new"
}

# Only the files, and of the two modules that it needs: the package would start its daemon here.
make_autosuspend() {
    local bench=${lab%/lab}/bench packages=(autosuspend python3-psutil python3-portalocker) package
    rm -rf "$bench/new"
    mkdir -p "$bench/new"
    chmod 777 "$bench/new" # apt-get downloads as a user of its own
    (cd "$bench/new" && { apt-get download -q "${packages[@]}" || { apt-get update -q && apt-get download -q "${packages[@]}"; }; }) &&
        for package in "$bench"/new/*.deb; do dpkg-deb --extract "$package" "$bench/new" || return; done &&
        rm -f "$bench"/new/*.deb && rm -rf "$bench/autosuspend" && mv "$bench/new" "$bench/autosuspend"
}

# What answers for a server that sleeps, beside which mc-broker is measured.
make_sleeping() {
    local sleeping=${lab%/lab}/bench/sleeping
    rm -rf "$sleeping"
    mkdir -p "${sleeping%/*}"
    cp -r "$here/../bench/peers/sleeping" "$sleeping" &&
        npm ci --prefix "$sleeping" --ignore-scripts --no-audit --no-fund --loglevel=error
}

case $part in
build | fuzz | manual | bench | cloud | stack | lab) ;;
*) die "usage: setup.sh [build|fuzz|manual|bench|cloud|stack|lab]" ;;
esac
system_packages
if [[ $part == lab ]]; then
    mkdir -p "$lab"
    make_once "$lab/venv/.stamp" "$here/requirements.txt" -- \
        make_venv venv requirements.txt "the AWS emulators and the status client"
    make_once "$lab/node_modules/.stamp" "$here/package.json" "$here/package-lock.json" -- make_node_modules
    if grep -qx ID=debian /etc/os-release && [[ ! -d $lab/haproxy ]]; then # one test is skipped without
        (step "fetching HAProxy (Debian's package)" make_haproxy) || say "the lab goes on without HAProxy"
    fi
fi
if [[ $part == cloud || $part == stack ]]; then
    mkdir -p "$lab"
    make_once "$lab/ministack/.stamp" "$here/ministack.txt" -- \
        make_venv ministack ministack.txt "an emulator of AWS that runs Lambda functions"
fi
if [[ $part == stack ]]; then
    make_once "$lab/stack/.stamp" "$here/stack.txt" -- \
        make_venv stack stack.txt "what judges a template of CloudFormation (400 MB in target/lab/stack)"
fi
if [[ $part == manual ]] && ((EUID == 0)) && has apt-get && ! has promtool && [[ ! -x $manual/promtool ]]; then
    step "fetching promtool (Debian's package prometheus)" make_promtool
fi
if [[ $part == bench ]] && has apt-get && has dpkg-deb && [[ -x /usr/bin/python3 && ! -d ${lab%/lab}/bench/autosuspend ]]; then
    (step "fetching autosuspend (Debian's package)" make_autosuspend) || say "the bench goes on without autosuspend"
fi
if [[ $part == bench ]] && has_node; then
    sleeping=$here/../bench/peers/sleeping
    (make_once "${lab%/lab}/bench/sleeping/.stamp" "$sleeping/package.json" "$sleeping/package-lock.json" -- \
        step "installing mcsleepingserverstarter (540 MB in target/bench/sleeping, half a minute)" make_sleeping) ||
        say "the bench goes on without mcsleepingserverstarter"
fi
say "ready"
