#!/bin/sh
# fetch-linux.sh METAPACKAGE DIR VMLINUZ - Debian's kernel of the day, out of its package.
#
# Downloads the package METAPACKAGE depends on into DIR and unpacks it there;
# needs no root.  VMLINUZ is the kernel, DIR/root/modules a link to its modules.
set -eu
meta=$1 dir=$2 vmlinuz=$3

fail() {
	echo "reprise: $*" >&2
	exit 1
}
command -v apt-get > /dev/null || fail 'apt-get: not here; put a Linux bzImage to' "$vmlinuz" 'by hand'
newest() {
	apt-cache depends --important "$meta" 2> /dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1
}
package=$(newest)
if [ -z "$package" ]; then # a machine whose lists were never fetched
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	$sudo apt-get -q -o DPkg::Lock::Timeout=300 update > /dev/null || fail 'apt-get update: failed; is there a network?'
	package=$(newest)
fi
[ -n "$package" ] || fail "$meta: apt knows no such package; is this Debian on x86-64?"

mkdir -p "$dir"
set -- "$dir/$package"_*.deb
if [ ! -r "$1" ]; then
	# APT::Sandbox::User: root cannot drop to _apt in a directory of somebody else's, and warns.
	(cd "$dir" && apt-get -q -o APT::Sandbox::User=root download "$package" > download.log 2>&1) || {
		tail -n 2 "$dir/download.log" >&2
		fail "$package: cannot be downloaded; is there a network? (then: apt-get update)"
	}
	set -- "$dir/$package"_*.deb
fi
rm -rf "$dir/root"
dpkg-deb -x "$1" "$dir/root" || { rm -f "$1"; fail "$1: damaged; run it again"; }
ln -s "$(cd "$dir/root" && echo lib/modules/*)" "$dir/root/modules"
cp "$dir"/root/boot/vmlinuz-* "$vmlinuz.tmp"
mv "$vmlinuz.tmp" "$vmlinuz"
