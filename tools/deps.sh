#!/bin/sh
# deps.sh WHY PACKAGE... - install the Debian packages that are missing, saying what and why.
# Does nothing, quickly, when all are there.
set -eu
why=$1; shift
missing=
for p in "$@"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
case $why in
build) purpose='to build Reprise' ;;
run) purpose='to run guests' ;;
test) purpose='to test Reprise' ;;
*) purpose="for $why" ;;
esac
command -v apt-get >/dev/null || {
	echo "reprise: needs$missing $purpose; apt-get is not here: install them by hand" >&2
	exit 1
}
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "reprise: needs$missing $purpose; not root and no sudo: run 'apt-get install$missing' as root" >&2
		exit 1
	}
	sudo=sudo
fi
echo "Installing Debian packages $purpose:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# Wait for another apt rather than fail.
apt="$sudo apt-get -q -o DPkg::Lock::Timeout=300"
$apt install -y --no-install-recommends $missing >/dev/null 2>&1 && exit 0
$apt update >/dev/null && $apt install -y --no-install-recommends $missing >/dev/null || {
	echo "reprise: apt-get could not install$missing; see the lines above" >&2
	exit 1
}
