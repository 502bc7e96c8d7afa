#!/usr/bin/env python3
"""Counts product lines: lines of Rust that are neither blank, nor a comment, nor a test.

Prints a table by crate. With --check it fails where all crates together have more than LINES_MAX.
"""

import pathlib
import subprocess
import sys

# More would be hard to hold in one head.
LINES_MAX = 82_000
ROOT = pathlib.Path(__file__).resolve().parent.parent


def product_lines(path):
    """The product lines of a file, up to its inline tests."""
    count = 0
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line == "#[cfg(test)]" and following.startswith("mod ") and following.endswith("{"):
            break
        text = line.strip()
        count += bool(text) and not text.startswith("//")
    return count


def is_test(path):
    """Whether a whole file is tests: a module `tests`, or `testing`, which is compiled for tests only."""
    return not {"tests", "testing"}.isdisjoint(path.with_suffix("").parts)


def main():
    listed = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, capture_output=True, text=True, check=True)
    crates = {}
    for name in listed.stdout.split():
        path = pathlib.Path(name)
        if is_test(path) or not (ROOT / path).exists():
            continue
        crate = str(path).split("/src/")[0]
        crates[crate] = crates.get(crate, 0) + product_lines(ROOT / path)
    for crate, lines in sorted(crates.items()):
        print(f"{crate:<20} {lines:>7,}")
    total = sum(crates.values())
    print(f"{'all':<20} {total:>7,} of {LINES_MAX:,}")
    if "--check" in sys.argv and total > LINES_MAX:
        sys.exit(f"there are more than {LINES_MAX:,} product lines: delete what no longer serves")


if __name__ == "__main__":
    main()
