#!/usr/bin/env python3
"""Measures a cold start, five times in fresh data directories: `orrery up` until every part is ready, and then a
first task of the no-op agent from its submission to its end, with the program that submits it.

scripts/cold_start.py [target/release/orrery]
"""

import subprocess
import sys
import tempfile
import time

TIMES = 5


def once(orrery):
    with tempfile.TemporaryDirectory() as directory:
        program = [orrery, "--data-dir", directory]
        began = time.monotonic()
        command = [*program, "up", "--http", "127.0.0.1:0", "--nats-port", "0", "--json"]
        system = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            if not system.stdout.readline():
                sys.exit("`orrery up` ended before it was ready: run it by hand")
            ready = time.monotonic()
            subprocess.run([*program, "task", "submit", "nothing", "--skill", "noop", "--wait"], check=True, capture_output=True)
            return ready - began, time.monotonic() - ready
        finally:
            system.terminate()
            system.wait()


def main():
    orrery = sys.argv[1] if len(sys.argv) > 1 else "target/release/orrery"
    for _ in range(TIMES):
        ready, task = once(orrery)
        print(f"ready after {ready:.2f} s, first task done {task:.2f} s later")


if __name__ == "__main__":
    main()
