#!/bin/bash
# kill.sh [N] - kill -9 at N random moments (6) of a recording with somebody typing: QEMU, the tool,
# and with --sync.  What was written verifies up to a point, says so, and replays.
. "$(dirname "$0")/lib.sh"
n=${1:-6}

killed_at() { # WHO: after a while, QEMU or the tool
	draw 9000
	at_ms=$drawn
	pause "$at_ms"
	victim=$pid
	[ "$1" = tool ] || victim=$qemu
	kill -9 "$victim" 2> /dev/null
	wait "$pid" 2> /dev/null
	status=$?
	kill "$typing" 2> /dev/null
	wait "$typing" 2> /dev/null
	cp "$tmp/k.err" "$tmp/err"
}
reached() { # where the recording was cut, for the result's name
	"$reprise" verify "$tmp/k.rpl" 2>&1 | sed -n 's/.*intact before it: //; s/;.*//p'
}
prefix_replays() {
	run "$reprise" verify "$tmp/k.rpl"
	is 4 'cut off' && one_line; ok "$1: verify says how far it goes: $(reached)"
	run "$reprise" info "$tmp/k.rpl"
	[ "$status" = 0 ] && grep -q '^complete: no' "$tmp/out"; ok "$1: info"
	run "$reprise" replay "$tmp/k.rpl"
	is 0 'identical as far as the recording goes' || { keep replay "$tmp"/k.* "$tmp/out" "$tmp/err"; false; }
	ok "$1: replays so far: $(stat -c %s "$tmp/out") bytes of output of $(stat -c %s "$tmp/k.out") received"
	same_beginning "$tmp/out" "$tmp/k.out" || { keep console "$tmp"/k.* "$tmp/out"; false; }
	ok "$1: with the same console"
}

for ((i = 1; i <= n; i++)); do
	case $((i % 3)) in
	1)	start_record k 30
		killed_at qemu
		what="$i: QEMU killed after $at_ms ms"
		is 1 'killed by signal 9'; ok "$what: the tool says so" ;;
	2)	start_record k 30
		killed_at tool
		what="$i: the tool killed after $at_ms ms"
		for _ in {1..40}; do gone "$qemu" && break; pause 50; done
		gone "$qemu"; ok "$what: QEMU went with it"
		# Nobody was there to cut it: still as long as the room it was given, and sparse.
		[ "$(stat -c %s "$tmp/k.rpl")" -gt 60000000 ] && [ "$(stat -c %b "$tmp/k.rpl")" -lt 20000 ]
		ok "$what: its file is long and sparse" ;;
	0)	start_record k 30 --sync
		killed_at qemu
		what="$i: --sync, QEMU killed after $at_ms ms"
		is 1 'killed by signal 9'; ok "$what: the tool says so" ;;
	esac
	if [ ! -e "$tmp/k.rpl" ]; then
		[ ! -s "$tmp/k.out" ]; ok "$what: before the guest started, no file stays"
		continue
	fi
	prefix_replays "$what"
	if [ $((i % 3)) = 0 ]; then
		begins_with "$tmp/out" "$tmp/k.out" || { keep sync "$tmp"/k.* "$tmp/out"; false; }
		ok "$what: nothing was shown that the recording does not reproduce"
	fi
done
finish
