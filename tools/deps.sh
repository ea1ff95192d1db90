#!/bin/sh
# deps.sh WHY PACKAGE... - installs the Debian packages that are missing, saying what and why.
# Does nothing, quickly, when all are there.
set -eu
why=$1; shift

missing() { # PACKAGE...: those that are not installed
	dpkg-query -W -f '${Package} ${Status}\n' "$@" 2> /dev/null | awk -v want="$*" '
		/ install ok installed$/ { there[$1] = 1 }
		END {
			n = split(want, p)
			for (i = 1; i <= n; i++)
				if (!(p[i] in there) && !seen[p[i]]++)
					printf " %s", p[i]
		}'
}

fail() { # REASON; MEND
	echo "reprise: needs$packages $purpose; $1" >&2
	exit 1
}

case $why in
configure) purpose='to configure Reprise' ;;
build) purpose='to build Reprise' ;;
run) purpose='to run guests' ;;
test) purpose='to test Reprise' ;;
*) purpose="for $why" ;;
esac
command -v dpkg-query > /dev/null || { # not a Debian: whoever builds has seen to it
	exit 0
}
packages=$(missing "$@")
[ -n "$packages" ] || exit 0
command -v apt-get > /dev/null || fail 'apt-get is not here: install them by hand'
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo > /dev/null || fail "not root and no sudo: run 'apt-get install$packages' as root"
	sudo=sudo
fi
# One at a time where make runs several; another apt is waited for.
exec 9< "$0"
flock 9
packages=$(missing "$@")
[ -n "$packages" ] || exit 0
echo "Installing Debian packages $purpose:$packages" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
	# shellcheck disable=SC2086
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" > "$log" 2>&1 9<&-
}
# shellcheck disable=SC2086
install() {
	apt install -y --no-install-recommends $packages
}
# The lists of packages may be missing or old: then once more with new ones.
install || { apt update && install; } || {
	tail -n 15 "$log" >&2
	fail 'apt-get could not install them; see the lines above'
}
