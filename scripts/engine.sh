#!/bin/sh
# Makes sure that the container engine and the builder of its images are installed: Debian's docker.io and mmdebstrap.
# The tests start an engine of their own; none that runs already is touched, and none is left running.
set -eu
# Administration programs are not on the path of every user.
PATH=$PATH:/usr/sbin:/sbin
missing=
command -v dockerd >/dev/null || missing="$missing docker.io"
command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null ||
    { echo "the tests of the sandbox need dockerd and mmdebstrap; install them" >&2; exit 1; }
[ "$(id -u)" = 0 ] ||
    { echo "run as root: apt-get install -y --no-install-recommends$missing" >&2; exit 1; }
# An installation must not start an engine for the whole machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of packages
apt-get install -y -q --no-install-recommends $missing >&2 ||
    { apt-get update -q >&2 && apt-get install -y -q --no-install-recommends $missing >&2; } ||
    { echo "apt-get could not install$missing; install it, then try again" >&2; exit 1; }
