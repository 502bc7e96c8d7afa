#!/bin/sh
# Makes sure that the container engine and the builder of its images are installed: Debian's docker.io and mmdebstrap.
# The tests start an engine of their own; none that runs already is touched, and none is left running.
set -eu
exec "$(dirname "$0")/debian.sh" dockerd=docker.io mmdebstrap=mmdebstrap
