#!/usr/bin/env bash
# Runs each fuzz target for a time: tests/fuzz/run.sh SECONDS_EACH. An input that makes one fail is left below
# tests/fuzz/artifacts. Once that is mended, it belongs in tests/fuzz/corpus, under a name that says what it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=${1:-}
version=0.13.2 # of cargo-fuzz
work=target/fuzz
at_once=$(nproc)
# No sanitizer: those find memory errors, and the agent forbids unsafe code. What is looked for panics, since overflow
# checks and debug assertions are on. It builds faster, and tries more inputs in the same time.
options=(--fuzz-dir tests/fuzz --target-dir "$work" --sanitizer none)

say() { printf 'fuzz: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

# libFuzzer takes 0 for no limit.
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "usage: run.sh SECONDS_EACH"
if ! rustup run nightly rustc --version >/dev/null 2>&1; then
    say "skipped: needs a nightly toolchain"
    exit
fi

tests/lab/setup.sh fuzz
if ! cargo fuzz --version 2>/dev/null | grep -qxF "cargo-fuzz $version"; then
    say "building cargo-fuzz $version, a minute or two"
    cargo install --quiet --locked cargo-fuzz --version "$version" --target-dir "$work"
fi
# cargo-fuzz knows no --locked; after this there is nothing left that it could change.
manifest=tests/fuzz/Cargo.toml
cargo +nightly fetch --quiet --locked --manifest-path "$manifest" --target "$(rustc +nightly --print host-tuple)" ||
    die "if the agent's dependencies have changed: cargo update --workspace --manifest-path $manifest"
cargo +nightly fuzz build "${options[@]}"

# One target; its exit code is the fuzzer's.
fuzz_one() {
    local target=$1 log=$work/$1.log
    mkdir -p "$work/corpus/$target"
    # What is new goes into the first corpus; the second one is only read.
    cargo +nightly fuzz run "${options[@]}" "$target" "$work/corpus/$target" "tests/fuzz/corpus/$target" -- \
        -dict="tests/fuzz/dictionaries/$target" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=512 \
        -print_final_stats=1 >"$log" 2>&1 </dev/null
}

# What came of it, for a person.
report() {
    local target=$1 code=$2 log=$work/$1.log
    if ((code == 0)); then
        say "$target, $seconds s: $(sed -n 's/^stat::number_of_executed_units: //p' "$log") inputs, no failure"
        return
    fi
    failed+=("$target")
    say "$target: failed"
    if grep -q 'Test unit written to' "$log"; then
        # What the panic says, or what libFuzzer does if it was none: too slow, too much memory.
        sed -n '/panicked at/,$p' "$log" | sed '/^stack backtrace:/,$d; /^note: /,$d; /^==/,$d; 21,$d' | cut -c 1-1000
        sed -n 's/^.*ERROR: /  /p; s/^.*Test unit written to /  the input: /p' "$log"
    else
        tail -n 25 "$log" | cut -c 1-300
    fi >&2
}

# As many at once as there are processors: each is one thread.
failed=()
mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir tests/fuzz)
for ((first = 0; first < ${#targets[@]}; first += at_once)); do
    round=("${targets[@]:first:at_once}") pids=()
    for target in "${round[@]}"; do
        fuzz_one "$target" &
        pids+=($!)
    done
    for number in "${!round[@]}"; do
        code=0
        wait "${pids[number]}" || code=$?
        report "${round[number]}" "$code"
    done
done
if ((${#failed[@]})); then
    die "failed: ${failed[*]}; to see it again without the fuzzer, copy the input into tests/fuzz/corpus and run" \
        "cargo test --workspace --test plain corpus::"
fi
