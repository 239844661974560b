#!/bin/bash
# Boots the tree of setup.sh with its real systemd, journald and dbus as a container without a network but loopback.
# Usage: nspawn.sh ROOT.TAR FILES [OPTION...]
#   FILES: a folder laid over the tree before the boot.
#   OPTION: more of systemd-nspawn's.
# Prints "pid N" (N: the container's process 1, for nsenter) once it has booted, and ends it when standard input ends:
# a test that dies takes its container with it. Everything is in a mount namespace and a tmpfs of its own.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
    exec unshare --mount --propagation private "$0" --inside "$@"
fi
tar=$2 files=$3
shift 3

# systemd-nspawn needs a pure cgroup v2 (not v1, not both), and a group of its own.
umount --recursive /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
group=/sys/fs/cgroup/mc-idle-test-$$
mkdir "$group"
echo $$ >"$group/cgroup.procs"

work=$(mktemp -d "${TMPDIR:-/tmp}/mc-idle-machine.XXXXXX")
mount -t tmpfs -o mode=755 tmpfs "$work"
nspawn=

# Process 1 of the container: the descendant of systemd-nspawn whose innermost pid is 1.
find_init() {
    local parent=$1 child
    for child in $(cat "/proc/$parent/task/$parent/children" 2>/dev/null); do
        if grep -q '^NSpid:.*[[:space:]]1$' "/proc/$child/status" 2>/dev/null; then
            echo "$child"
            return
        fi
        find_init "$child"
    done
}

clean() {
    trap - EXIT
    if [ -n "$nspawn" ]; then
        # SIGTERM asks the container's systemd to shut down in good order, which not all that runs in it may follow. The
        # end of its process 1 ends all of it; that of systemd-nspawn does not.
        kill -TERM "$nspawn" 2>/dev/null || true
        for _ in $(seq 50); do
            kill -0 "$nspawn" 2>/dev/null || break
            sleep 0.1
        done
        init=$(find_init "$nspawn" | head -n 1)
        [ -z "$init" ] || kill -KILL "$init" 2>/dev/null || true
        for _ in $(seq 20); do
            kill -0 "$nspawn" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$nspawn" 2>/dev/null || true
        wait "$nspawn" 2>/dev/null || true
    fi
    umount --lazy "$work"
    rmdir "$work"
    echo $$ >/sys/fs/cgroup/cgroup.procs
    for _ in $(seq 20); do
        find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        [ -d "$group" ] || break
        sleep 0.1
    done
}
trap clean EXIT
trap 'exit 1' INT TERM

mkdir "$work/root"
tar -C "$work/root" -xf "$tar"
cp -a --no-preserve=ownership "$files/." "$work/root/"

systemd-nspawn --quiet --directory="$work/root" --boot --register=no --keep-unit --private-network \
    --console=pipe --link-journal=no --machine="mc-idle-test-$$" "$@" \
    </dev/null >"$work/console" 2>&1 &
nspawn=$!

init=
for _ in $(seq 1200); do
    kill -0 "$nspawn" 2>/dev/null || break
    init=$(find_init "$nspawn" | head -n 1)
    if [ -n "$init" ]; then
        case $(nsenter -t "$init" -a systemctl is-system-running 2>/dev/null) in
        running | degraded) break ;;
        esac
    fi
    init=
    sleep 0.1
done
if [ -z "$init" ]; then
    echo "the container did not boot; its console:" >&2
    cat "$work/console" >&2
    exit 1
fi
echo "pid $init"

# Until the test ends, or the container does.
while true; do
    status=0
    read -r -t 1 _ || status=$?
    [ "$status" -gt 128 ] || break
    kill -0 "$nspawn" 2>/dev/null || break
done
