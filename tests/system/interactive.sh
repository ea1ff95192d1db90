#!/bin/bash
# interactive.sh - a person at a terminal: typing, leaving, the terminal afterwards, and the clock
# of a guest that waits for the next key.
# shellcheck disable=SC2016 # the guest expands
. "$(dirname "$0")/lib.sh"

${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -o "$tmp/pty" "$root/tests/system/pty.c" || exit 1
cd "$tmp" || exit 1

# What runs on the terminal: $VM, with the terminal's state written down before and after.
export VM reprise kernel initrd append
cat > session <<'END'
stty -a > before
sh -c 'echo $$ > pid; exec "$reprise" $VM --kernel "$kernel" --initrd "$initrd" --append "$append"'
echo $? > status
stty -a > after
END
# The shell's prompt comes last: whatever it prints after it, 'sleep' lets it.
boot=(expect:'# ' sleep:300)
at_terminal() { # STEP...: leaves $status of the tool, ./seen and ./err
	rm -f before after status pid
	./pty "$@" -- sh ./session > seen 2> err
	status=$(cat status 2> /dev/null)
}
restored() {
	[ -s before ] && cmp -s before after
}

VM=run
at_terminal "${boot[@]}" 'send:echo $((6*7))abc\r' expect:42abc 'send:\001x'
is 0 && grep -q 'left after' seen; ok "boot, a command, its output, Ctrl-A x: left with status 0"
restored; ok 'the terminal is as it was'

# One key at a time: the echo is the guest's.  A person notices a tenth of a second.
steps=()
for c in a b c d e f g h i j k l m n o p q r s t; do
	steps+=(sleep:150 "send:$c" "expect:$c")
done
at_terminal "${boot[@]}" "send:# " "expect:# " "${steps[@]}" 'send:\001x'
sed -n 's/^seen [a-t] after \([0-9]*\) ms.*/\1/p' err | sort -n > latencies
median=$(sed -n 10p latencies) longest=$(tail -n 1 latencies)
[ "$(wc -l < latencies)" = 20 ]; ok "20 keys, each echoed: median $median ms, longest $longest ms"
# No timed assertion but a sane one: typing does not wait for the guest's next timer a second away.
[ "$median" -lt 500 ]; ok 'the median is under half a second'

at_terminal "${boot[@]}" 'send:\003' 'expect:# ' 'send:echo st\001\001ill\r' expect:ill 'send:\001h' sleep:200 'send:\001x'
is 0 && grep -q 'Ctrl-A x' seen; ok 'Ctrl-C is the guest'"'"'s, Ctrl-A h helps, Ctrl-A x leaves'
restored; ok 'the terminal is as it was'

at_terminal "${boot[@]}" 'send:poweroff -f\r' end
is 0 && grep -q 'powered off' seen; ok 'the guest powers off: the tool ends by itself'
restored; ok 'the terminal is as it was'

rm -f seen pid
at_terminal "${boot[@]}" end &
terminal=$!
for _ in {1..2400}; do grep -q '# ' seen 2> /dev/null && break; pause 50; done
pause 1000
kill -9 "$(qemu_of "$(cat pid)")"
wait $terminal
status=$(cat status)
is 1 && grep -q 'killed by signal 9' seen; ok 'QEMU killed: status 1, in words'
restored; ok 'the terminal is as it was'

# An idle guest: its clock goes with the world's, and never leads it.  Uptime in hundredths.
clock() { # the two readings in ./seen, in ms apart
	tr -d '\r' < seen | sed -n 's/^up \([0-9]*\)\.\([0-9][0-9]\) .*/\1\20/p' | { read -r a; read -r b; echo $((10#$b - 10#$a)); } # 10#: "0970" is no octal number
}
for VM in run "record --force -o $tmp/clock.rpl"; do
	at_terminal "${boot[@]}" 'send:echo up `cat /proc/uptime`; echo on""e\r' expect:one sleep:5000 \
		'send:echo up `cat /proc/uptime`; echo tw""o\r' expect:two 'send:\001x'
	guest_ms=$(clock)
	# At least this long, from the first reading's end to the second's end, and a tick of the reading.
	# The first command is the first thing that is sent.
	sent=$(sed -n 's/^sent at \([0-9]*\) ms$/\1/p' err | head -n 1)
	seen_two=$(sed -n 's/^seen two after .*, \([0-9]*\) ms since.*/\1/p' err)
	host_most_ms=$((seen_two - sent + 20))
	is 0 && [ "$guest_ms" -le $host_most_ms ]; ok "${VM%% *}: an idle guest's clock went on $guest_ms ms in at most $host_most_ms: it does not lead"
	[ "$guest_ms" -ge 4000 ]; ok "${VM%% *}: and it follows"
	restored; ok "${VM%% *}: the terminal is as it was"
done
run "$reprise" replay clock.rpl
is 0 identical; ok 'what was typed at the terminal replays'
tr -d '\r' < out | grep -q '^up '; ok 'with its output'
finish
