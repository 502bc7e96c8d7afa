# Short verbs; CI runs the same ones. `make help` lists them.
REPO ?= .
GOAL ?= Report on this repository
DATA ?= .orrery

.PHONY: help run up build tools test lint bench clean

help:  ## list the verbs
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

run: build  ## make a report on a repository: make run REPO=/some/repo GOAL="…"
	target/debug/orrery --data-dir "$(DATA)" run "$(GOAL)" --repo "$(REPO)" --embedded

up: build  ## start the system and leave it running
	target/debug/orrery --data-dir "$(DATA)" up

build: .tools/nats-server  ## build the `orrery` binary
	cargo build --package orrery

.tools/nats-server:
	@mkdir -p .tools
	@ln -sf "$$(scripts/nats-server.sh)" .tools/nats-server.link && \
	  { [ -e .tools/nats-server ] || mv -f .tools/nats-server.link .tools/nats-server; rm -f .tools/nats-server.link; }

.tools/venv/bin/python: tests/requirements.txt
	python3 -m venv .tools/venv
	.tools/venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

tools: .tools/nats-server .tools/venv/bin/python  ## obtain what the tests need beside Rust

test: tools  ## run every test
	cargo test --workspace --no-fail-fast

lint:  ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

clean:  ## remove what was built and obtained
	cargo clean
	rm -rf .tools
