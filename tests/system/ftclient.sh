#!/bin/bash
# ftclient.sh EVENTS [PAYLOAD] - a client that has nothing of Reprise's but a shell: numbered lines over
# one connection of the kernel's to $REPRISE_GUEST, until the demo's timeline in $REPRISE_DIR has so
# many events and a second more.  An answer is awaited before the next request goes: so each number
# must come back, once, in its turn.  Then port 9's disk is fetched into $REPRISE_DIR/disk.
#
# For the demo: "lost: N", "repeated: N", "pause_ms_max: N", "last: N"; and in $REPRISE_DIR/pauses the
# longest wait, in ms, around each event.
events=$1 payload=${2-some text}
# The guest may be on its way up still.
for ((i = 0; i < 300; i++)); do
	{ exec 3<> "/dev/tcp/$REPRISE_GUEST/7"; } 2> /dev/null && break
	sleep 0.2
done
[ "$i" -lt 300 ] || { echo "no server at $REPRISE_GUEST" >&2; exit 1; }
read -r -t 60 hello <&3 || exit 1
[ "$hello" = 'seqd 1' ] || { echo "not a seqd: $hello" >&2; exit 1; }

exec 5<> <(:)

us() { # now, into $now
	now=${EPOCHREALTIME/[.,]/}
}
seen() { # the events so far, into $seen
	seen=$(grep -c '^# event=' "$REPRISE_DIR/timeline")
}
lost=0 repeated=0 most=0 most_ever=0 seq=0 had=0 over=
: > "$REPRISE_DIR/pauses"
us; last=$now
while :; do
	printf '%d %s\n' $seq "$payload" >&3 || exit 1
	read -r -t 120 got sum <&3 || { echo "no answer to $seq" >&2; exit 1; }
	us
	[ $((now - last)) -le $most ] || most=$((now - last))
	last=$now
	if [ "$got" = $seq ]; then
		seq=$((seq + 1))
	elif [ "${got//[0-9]/}" = '' ] && [ "$got" -lt $seq ]; then
		repeated=$((repeated + 1))
	else
		lost=$((lost + 1)) seq=$((seq + 1))
	fi
	[ ${#sum} = 16 ] || exit 1
	if [ $((seq % 16)) = 0 ]; then
		seen
		if [ "$seen" -gt $had ]; then
			had=$seen
			echo $((most / 1000)) >> "$REPRISE_DIR/pauses"
			[ $most -le $most_ever ] || most_ever=$most
			most=0
		fi
		[ "$had" -lt "$events" ] || { : "${over:=$((now + 1000000))}"; [ $now -lt "$over" ] || break; }
	fi
	read -r -t 0.015 -u 5 _ || : # a sleep without a process
	us; last=$now
done
exec 3>&-
exec 4<> "/dev/tcp/$REPRISE_GUEST/9" && cat <&4 > "$REPRISE_DIR/disk"
printf 'lost: %d\nrepeated: %d\npause_ms_max: %d\nlast: %d\n' $lost $repeated $((most_ever / 1000)) $((seq - 1))
