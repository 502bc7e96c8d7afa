#!/bin/sh
# Obtains the source distributions of `orrery bench repair` into a folder: PYTHON FOLDER. pip checks their hashes.
set -eu
part=$2.part
rm -rf "$part"
"$1" -m pip download --quiet --disable-pip-version-check --no-binary :all: --no-deps --require-hashes \
    --dest "$part" -r bench/src/repair/packages.txt
# A folder that is there is whole.
rm -rf "$2"
mv "$part" "$2"
