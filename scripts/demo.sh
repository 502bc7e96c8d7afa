#!/bin/sh
# Generate, test, repair: a function without a body and its tests. First a small model that runs on this machine writes
# the body, then scripted answers do. Called by `make demo`, with an engine in ORRERY__SANDBOX__SOCKET.
set -eu
folder=$(mktemp -d -t orrery-demo-XXXXXX)
orrery=${CARGO_TARGET_DIR:-target}/debug/orrery
trap 'exec 3>&-; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
export ORRERY__SANDBOX__IMAGES=.tools/sandbox

# The server of the model ends when its input closes.
port=$(.tools/venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkfifo "$folder/input"
.tools/venv/bin/python actors/models/tests/real/server.py "$port" demo <"$folder/input" >"$folder/output" 2>"$folder/log" &
model=$!
exec 3>"$folder/input"
until grep -q '^ready' "$folder/output"; do
    kill -0 "$model" 2>/dev/null || { cat "$folder/log" >&2; echo "the small model does not start" >&2; exit 1; }
    sleep 0.1
done
printf demo >"$folder/key"
cat >"$folder/models.toml" <<TOML
[[provider]]
name = "small"
format = "compatible-chat"
url = "http://127.0.0.1:$port/v1"
model = "smollm2"
key_file = "$folder/key"
max_tokens = 96
temperature = 0.0
TOML

echo "== A small model: SmolLM2 with 135 million parameters, on this machine. It repairs next to nothing; what counts"
echo "== is that it ends in bounded rounds, and that the report says how."
"$orrery" bench repair --only demo --models "$folder/models.toml"
echo
echo "== Scripted answers, which no model gave: a wrong patch, then the right one. They show the loop, and end green."
"$orrery" bench repair --only demo
