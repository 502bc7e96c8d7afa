#!/usr/bin/env python3
"""Counts the files that a typical addition touches, and fails where there are too many.

scripts/growth/ has one patch for each addition: a kind of entity, a command with its event, an endpoint with its verb.
Each is applied to a copy of the sources in a temporary folder. Generated files are not counted, nor is the note in
docs/changes that every change brings along.
With --test the copy is built, its generated files are written again, and the tests that guard the additions run.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# More is a list that is kept by hand somewhere: make it one table.
FILES_MAX = {"kind": 15, "command": 10, "endpoint": 6}
GENERATED = ("bus-schemas/schemas/", "cli/schema.json", "docs/errors/README.md", "gateway/api/openapi.json")
# A package, and the tests of it that know what an addition must bring along.
GUARDS = [
    ("bus-schemas", "--test", "schemas", "--test", "fixtures"),
    ("actors-logic", "--lib"),
    ("gateway-api", "--lib"),
    ("gateway", "--lib", "--test", "rest"),
    ("orrery", "--lib"),
    ("system-tests", "--test", "tidy"),
]


def copy_of_sources(folder):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def touched(patch):
    lines = patch.read_text(encoding="utf-8").splitlines()
    names = {line.split(" b/", 1)[1] for line in lines if line.startswith("diff --git ")}
    return sorted(name for name in names if not name.startswith(GENERATED))


def apply(patch, folder):
    # Outside of a repository, so that git takes the folder as it is.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    command = ["git", "apply", "-C1", "--whitespace=nowarn", str(patch)]
    if subprocess.run(command, cwd=folder, env=environment).returncode:
        sys.exit(f"{patch.relative_to(ROOT)} does not apply any more: make the change again and store it as this patch")


def test(folder):
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    # The tests of the repository's rules list the files with git.
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    environment = {**os.environ, "CARGO_TARGET_DIR": target, "ORRERY_UPDATE_GENERATED": "1"}
    for package, *tests in GUARDS:
        subprocess.run(["cargo", "test", "--package", package, *tests], cwd=folder, env=environment, check=True)


def main():
    too_many = []
    for name, most in FILES_MAX.items():
        patch = ROOT / "scripts" / "growth" / f"{name}.patch"
        with tempfile.TemporaryDirectory(prefix="orrery-growth-") as temporary:
            folder = pathlib.Path(temporary)
            copy_of_sources(folder)
            apply(patch, folder)
            if "--test" in sys.argv:
                test(folder)
        files = touched(patch)
        print(f"{name:<9} {len(files):>3} files of {most}")
        for file in files:
            print(f"            {file}")
        if len(files) > most:
            too_many.append(name)
    if too_many:
        sys.exit(f"too many files for: {', '.join(too_many)}")


if __name__ == "__main__":
    main()
