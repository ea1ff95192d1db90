#!/bin/bash
# devices.sh - what devices add to a recording: bytes for each frame received, over the frame's own; and
# for a gigabyte of transfers on private disks, which should be nothing.  The frames' contents do not
# compress, so what is counted is what a frame costs.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
name=bench-devices
# shellcheck source=tests/bench/common.sh
. "$here/common.sh"
net=${NET:-$root/build/net}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
need_files "$reprise" "$kernel" "$initrd" "$net/bulk"
keep_build
failed=

info() { # KEY
	"$reprise" info --json "$tmp/r.rpl" | sed -n "s/.*\"$1\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" | head -n 1
}
record() { # WORKLOAD... -- OPTIONS...
	local words=
	while [ "$1" != -- ]; do words="$words $1"; shift; done
	shift
	timeout 300 "$reprise" record -q --force -o "$tmp/r.rpl" --kernel "$kernel" --initrd "$initrd" \
		--append "console=ttyS0 cryptomgr.notests$words" "$@" < /dev/null > "$tmp/out" 2> "$tmp/err" && return
	echo "$name:$words: $(tail -n 1 "$tmp/err")" >&2
	failed=1
	return 1
}

printf '%-34s %12s %14s %14s %s\n' 'recording' inputs 'input bytes' 'file bytes' 'that is'
port=$((20000 + RANDOM % 10000))
"$net/bulk" send 16M $port > "$tmp/sent" &
if record workload=net-bulk-recv peer=10.0.2.2:$port -- --net user; then
	frames=$("$reprise" log "$tmp/r.rpl" | grep -c ' input frame0 ')
	awk -v n="$(info inputs)" -v b="$(info input_bytes)" -v f="$(info file_bytes)" -v frames="$frames" 'BEGIN {
		printf "%-34s %12d %14d %14d %.2f bytes a frame over its own %.0f\n", "16 MB received, --net user", n, b, f, (f - b) / frames, b / frames }'
fi
kill %1 2> /dev/null
truncate -s 64M "$tmp/a.img" "$tmp/b.img"
if record workload=disk-1g -- --disk "$tmp/a.img,ro" --disk "$tmp/b.img,cow"; then
	awk -v n="$(info inputs)" -v b="$(info input_bytes)" -v f="$(info file_bytes)" -v did="$(sed -n 's/\r//; s/^disk-1g: //p' "$tmp/out")" \
		-v i="$(info instructions)" 'BEGIN {
		printf "%-34s %12d %14d %14d %s\n", did " of transfers, private disk", n, b, f, "HEAD, a digest each 200 M instructions, END" }'
fi
[ -z "$failed" ]
