#!/bin/bash
# kill.sh [N] - kill -9 at N random moments (3) of a recording with somebody typing: QEMU, the tool,
# and with --sync.  What was written verifies up to a point, says so, and replays.
. "$(dirname "$0")/lib.sh"
append=$loud_boot # how far it has come is seen by what it says
n=${1:-3}

# At a random moment, by what the guest has said: a busy host is slower.  Half of the moments are
# while it boots, half among the typing.
killed_at() { # WHO: QEMU or the tool
	local said end=$((SECONDS + patience_s))
	draw 2
	if [ $drawn = 0 ]; then draw 16000; else draw 2000; drawn=$((drawn + 16200)); fi
	said=$drawn
	while [ "$(bytes "$tmp/k.out")" -lt "$said" ] && [ $SECONDS -lt $end ] && ! gone "$pid"; do pause 20; done
	pause_below 700
	at_bytes=$(bytes "$tmp/k.out")
	victim=$pid
	[ "$1" = tool ] || victim=$qemu
	kill -9 "$victim" 2> /dev/null
	wait "$pid" 2> /dev/null
	status=$?
	kill "$typing" 2> /dev/null
	wait "$typing" 2> /dev/null
	cp "$tmp/k.err" "$tmp/err"
}
prefix_replays() {
	local far shown received
	run "$reprise" verify "$tmp/k.rpl"
	far=$(sed -n 's/.*intact before it: //; s/;.*//p' "$tmp/err")
	is 4 'cut off' && one_line; ok "$1: verify says how far it goes: $far"
	run "$reprise" info "$tmp/k.rpl"
	[ "$status" = 0 ] && grep -q '^complete: no' "$tmp/out"; ok "$1: info"
	run "$reprise" replay "$tmp/k.rpl"
	shown=$(bytes "$tmp/out") received=$(bytes "$tmp/k.out")
	is 0 'identical as far as the recording goes' || { keep replay "$tmp"/k.* "$tmp/out" "$tmp/err"; false; }
	ok "$1: replays so far: $shown bytes of output of $received received"
	same_beginning "$tmp/out" "$tmp/k.out" || { keep console "$tmp"/k.* "$tmp/out"; false; }
	ok "$1: with the same console"
}

for ((i = 1; i <= n; i++)); do
	case $((i % 3)) in
	1)	start_record k 30
		killed_at qemu
		what="$i: QEMU killed at $at_bytes bytes of output"
		is 1 'killed by signal 9'; ok "$what: the tool says so" ;;
	2)	start_record k 30
		killed_at tool
		what="$i: the tool killed at $at_bytes bytes of output"
		for _ in {1..40}; do gone "$qemu" && break; pause 50; done
		gone "$qemu"; ok "$what: QEMU went with it"
		# Nobody was there to cut it: still as long as the room it was given, and sparse.
		[ "$(stat -c %s "$tmp/k.rpl")" -gt 60000000 ] && [ "$(stat -c %b "$tmp/k.rpl")" -lt 20000 ]
		ok "$what: its file is long and sparse" ;;
	0)	start_record k 30 --sync
		killed_at qemu
		what="$i: --sync, QEMU killed at $at_bytes bytes of output"
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
# Before anything was to be recorded: there is nothing to replay, and a file that says so.
start_record k 30
while [ ! -s "$tmp/k.out" ] && ! gone "$pid"; do pause 5; done
kill -9 "$qemu" "$typing" 2> /dev/null
wait "$pid" "$typing" 2> /dev/null
run "$reprise" verify "$tmp/k.rpl"
is 4 'cut off' && run "$reprise" replay "$tmp/k.rpl" && is 0 'identical as far as the recording goes'; ok 'QEMU killed at the first byte of output: a recording of nothing'
finish
