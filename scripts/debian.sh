#!/bin/sh
# Installs Debian packages whose programs are missing: PROGRAM=PACKAGE ... No service is started by an installation.
set -eu
# Administration programs are not on the path of every user.
PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
done
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null ||
    { echo "the tests need Debian's$missing; install what is the same here" >&2; exit 1; }
[ "$(id -u)" = 0 ] ||
    { echo "run as root: apt-get install -y --no-install-recommends$missing" >&2; exit 1; }
# An installation must not start a service for the whole machine.
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
