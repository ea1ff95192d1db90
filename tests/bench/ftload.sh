#!/bin/bash
# ftload.sh LOAD N - a client for `reprise ft demo`: what a guest does of a kind, in figures "KEY: VALUE".
#
#   cpu, disk   the guest repeats its work and says so on its console; rounds a second, over N rounds
#   reqresp     requests one after the other for N seconds; a second, and how long one takes
#   reqresp16   with 16 in flight
#   recv, send  N megabytes to the guest, from it
#   idle        N seconds of nothing; what the link carries then, in link_kbit_s
#
# Always "lost: 0", "repeated: 0", "pause_ms_max: 0", which the demo wants of a client, and
# "answers", "per_s" and "us" (of one, where it has a meaning).
here=$(cd "$(dirname "$0")" && pwd)
net=${NET:-$here/../../build/net}
load=$1 n=$2 window=${1#reqresp}

# Waits until the guest has said n rounds more; the end of the last is in $at, in microseconds.  It must
# cost nothing: both processors are the two hosts'.
after() { # N
	for ((i = 0; i < $1; i++)); do read -r -u 5 _ || exit; done
	at=${EPOCHREALTIME/[.,]/}
}
# On the link, said and heard, as the primary itself tells.
link_bytes() {
	"${REPRISE:-$here/../../build/host/reprise}" ft status |
		awk -F ': ' '$1 == "role" { live = $2 == "primary" } live && ($1 == "sent" || $1 == "received") { n += $2 } END { print n + 0 }'
}
case $load in
cpu | disk)
	exec 5< <(tail -n 0 -F --pid=$$ "$REPRISE_DIR/console-a-1" 2> /dev/null | grep --line-buffered '^again: ')
	after 1; from=$at
	after "$n"
	awk -v n="$n" -v us=$((at - from)) 'BEGIN { printf "per_s: %.4f\nus: %.0f\n", n * 1e6 / us, us / n }'
	;;
reqresp*)
	"$net/seqclient" --seconds "$n" --window "${window:-1}" --connect-wait 60 "$REPRISE_GUEST:7" > "$REPRISE_DIR/load" || exit
	sed -n 's/^rate: /per_s: /p; s/^p50_us: /us: /p; s/^p99_us/us_p99/p' "$REPRISE_DIR/load"
	;;
recv) # the guest receives
	"$net/bulk" send "${n}M" 9000 > "$REPRISE_DIR/load" || exit
	sed -n 's/^mbit_s: /per_s: /p' "$REPRISE_DIR/load"
	;;
send)
	"$net/bulk" recv 9000 > "$REPRISE_DIR/load" || exit
	sed -n 's/^mbit_s: /per_s: /p' "$REPRISE_DIR/load"
	;;
idle) # not the rest of its boot: it serves
	until (: < "/dev/tcp/$REPRISE_GUEST/7") 2> /dev/null; do sleep 0.2; done
	sleep 3
	said=$(link_bytes) from=${EPOCHREALTIME/[.,]/}
	sleep "$n"
	awk -v bytes=$(($(link_bytes) - said)) -v us=$((${EPOCHREALTIME/[.,]/} - from)) \
		'BEGIN { printf "per_s: 1\nlink_kbit_s: %.2f\n", bytes * 8000 / us }'
	;;
esac
printf 'lost: 0\nrepeated: 0\npause_ms_max: 0\n'
