#!/bin/sh
# Runs a command with a container engine of its own, whose socket is in ORRERY__SANDBOX__SOCKET. The engine and all that
# it kept are gone when the command has ended.
set -eu
PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d -t orrery-engine-XXXXXX)
dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$folder/data" --exec-root "$folder/exec" \
    --pidfile "$folder/pid" -H "unix://$folder/socket" >"$folder/log" 2>&1 &
engine=$!
# An engine that is stopped while it starts leaves a mount.
stop() {
    kill "$engine" 2>/dev/null && wait "$engine" 2>/dev/null || true
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
        echo "dockerd did not start; run as root on Linux" >&2
        exit 1
    fi
    sleep 0.1
done
ORRERY__SANDBOX__SOCKET=unix://$folder/socket "$@"
