#!/bin/sh
# Runs a command with a container engine of its own, whose socket is in ORRERY__SANDBOX__SOCKET: Docker, or podman where
# ENGINE says so. The engine and all that it kept are gone when the command has ended.
set -eu
PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d -t orrery-engine-XXXXXX)
if [ "${ENGINE:-docker}" = podman ]; then
    # Debian's crun does not know machines with control groups of both versions, and nobody here runs systemd.
    # Its processes leave files where they are started.
    (cd "$folder" && exec podman --root "$folder/data" --runroot "$folder/run" --tmpdir "$folder/exec" --runtime runc \
        --cgroup-manager cgroupfs --events-backend file system service --time 0 "unix://$folder/socket") >"$folder/log" 2>&1 &
else
    dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$folder/data" --exec-root "$folder/exec" \
        --pidfile "$folder/pid" -H "unix://$folder/socket" >"$folder/log" 2>&1 &
fi
engine=$!
# An engine that is stopped while it starts leaves a mount. Podman leaves its containers, and for five minutes a process
# for each program that ran in one.
stop() {
    kill "$engine" 2>/dev/null && wait "$engine" 2>/dev/null || true
    if [ "${ENGINE:-docker}" = podman ]; then
        pgrep -f "conmon .*$folder/" | xargs -r kill -9 2>/dev/null || true
        awk -v "below=$folder/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r -n 1 umount -l 2>/dev/null || true
    fi
    umount -l "$folder/data" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM
tries=0
until [ -S "$folder/socket" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$engine" 2>/dev/null; then
        cat "$folder/log" >&2
        echo "the engine did not start; run as root on Linux" >&2
        exit 1
    fi
    sleep 0.1
done
ORRERY__SANDBOX__SOCKET=unix://$folder/socket "$@"
