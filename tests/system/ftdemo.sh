#!/bin/bash
# ftdemo.sh - `reprise ft demo` itself: its network, cable, capture, client and verdict, with hosts
# that are fakes [fake-ft-host.c]; right ones, and such as it must find out.  Half a minute.
# The fakes' pair is real enough to take over a TCP connection; the hypervisor's is tested elsewhere.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1
"${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -O1 -I"$root" -o fake "$root"/tests/system/fake-ft-host.c "$root"/kernel/bundle.c \
	"$root"/kernel/kconf.c || exit 1
export REPRISE_QEMU=$tmp/fake XDG_RUNTIME_DIR=$tmp/run TMPDIR=$tmp/tmp
mkdir run tmp
unset FAKE_FT

demo() { # OPTIONS...: leaves ./out, ./err and $status
	# A machine full of tests may let a host wait for longer than the 150 ms of a quiet one.
	run "$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --arbiter file --detect 600ms --seconds 1 \
		--seed "$((TEST_SEED + passed))" "$@"
}
last() { # PATTERN: the last line, pause_ms aside
	tail -n 1 out | sed 's/pause_ms: [0-9]*/pause_ms: N/' | grep -qx -- "$1"
}
clean() { # nothing is left: no files, no sockets, no processes
	[ -z "$(find tmp run -mindepth 1)" ] && ! pgrep -f "^$tmp/fake" > /dev/null
}
processors() { # PID: those it may use, a line each
	sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "/proc/$1/status" | tr , '\n' | while IFS=- read -r from to; do seq "$from" "${to:-$from}"; done
}

good=' pause_ms: N lost: 0 repeated: 0 live_hosts_max: 1'
# Where the kernel allows no network of our own: real hosts, over UDP.
plain() {
	local order=
	unset REPRISE_QEMU
	# A user namespace may forbid its own what we may.
	run unshare -U -r sh -c 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"' sh \
		"$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --detect 600ms --seconds 1 --keep plain
	is 0 'so it goes over plain sockets' && last "takeovers: 1$good" && grep -q 'connected to 127.0.0.1' out ||
		{ keep plain out err plain/timeline plain/log-* plain/gateway.log plain/wire.pcapng; false; }
	ok 'without a network namespace: kill -9 of the primary, over plain sockets'
	if command -v tshark > /dev/null; then
		order=$(tshark -r plain/wire.pcapng -Y 'eth.src == 52:54:00:12:34:56' -T fields -e frame.interface_name 2> /dev/null | uniq | paste -sd ' ')
		[ "$order" = 'tapa tapb' ]; ok_with 'frames of the machine came from: $order'
	fi
	run "$reprise" replay plain/b-2.rpl
	is 0 'identical'; ok 'the heir replays'
	begin=$(sed -n 's/^.*begins at \([0-9]*\) instructions.*/\1/p' < <("$reprise" debug --at 1 plain/b-2.rpl 2>&1))
	run "$reprise" debug -q plain/b-2.rpl -- -nx -batch -ex 'monitor digest' -ex 'reverse-stepi 5' -ex 'goto start' -ex where-am-i \
		-ex reverse-stepi -ex inputs -ex 'stepi 3' -ex reverse-continue -ex 'goto end' -ex 'monitor digest'
	cat err >> out
	is 0 && [ "$(grep -c "^$(info plain/b-2.rpl digest)$" out)" = 2 ] && grep -q "^instruction $begin," out &&
		[ "$(grep -c 'No more reverse-execution history' out)" = 2 ] && grep -q 'frame, [0-9]* bytes: 52540012' out ||
		{ keep debug out plain/b-2.rpl; false; }
	ok_with 'under GDB: from its end back to where the machine came to it, instruction $begin'
}

demo --kill none
if grep -q 'so it goes over plain sockets' err; then # its gateway is a QEMU, which the fakes are not
	skip 'a network for the demo' "$(cat err)"
	plain
	finish
fi
is 0 && last "takeovers: 0$good" && clean; ok 'nothing happens'
[ "$(value out answered)" -gt 30 ] && [ "$(value out link_bytes)" -gt 1000 ]; ok 'requests were answered, the link was used'

# ---- blows ----

demo --kill primary
is 0 && last "takeovers: 1$good" && clean; ok 'kill -9 of the primary'
grep -q 'kill -9 *host a' out && grep -q 'takeover *host b is live' out && grep -q "wire *host b's first frame" out &&
	grep -q 'protected *by host a' out && [ "$(grep -c 'protected' out)" = 2 ]; ok 'its timeline'
pause=$(tail -n 1 out | sed 's/.*pause_ms: \([0-9]*\).*/\1/')
[ "$pause" -ge 500 ] && [ "$pause" -lt 10000 ]; ok "the pause is that of a detection, $pause ms"
demo --kill secondary
is 0 && last "takeovers: 0$good" && grep -q 'goes on *host a' out && clean; ok 'kill -9 of the secondary'
demo --kill partition
is 0 && last "takeovers: [01]$good" && grep -q 'role *host [ab]: lost' out && clean; ok 'a partition: one wins'
demo --kill freeze
is 0 && last "takeovers: 1$good" && grep -q 'thaw' out && grep -q 'role *host a: lost' out && clean; ok 'a freeze'
demo --kill any --count 3 --lose 50 --duplicate 50 --reorder 50
is 0 && [ "$(value out events)" = 3 ] && clean; ok 'three of any kind, on a bad link'

# ---- what it must find ----

finds() { # FAULT PATTERN OPTIONS...
	local fault=$1 pattern=$2
	shift 2
	FAKE_FT=$fault demo --patience 4s "$@"
	is 1 "$pattern" && clean; ok "found: $fault"
}
finds split '2 hosts sent frames' --kill freeze
last 'takeovers: 1 pause_ms: N lost: [0-9]* repeated: [0-9]* live_hosts_max: 2'; ok 'found: in the last line, too'
finds skip 'client: 1 lost'
last 'takeovers: 1 pause_ms: N lost: 1 repeated: 0 live_hosts_max: 1'; ok 'found: a lost one'
finds repeat 'client: 0 lost, 1 repeated'
finds lie 'contradicted'
finds deaf 'no host was live'
finds nojoin 'not protected again'
finds mute '0 of 1 events'

# ---- what is kept; another client; one host ----

demo --keep kept
is 0 && [ -s kept/timeline ] && [ -s kept/a-1.rpl ] && [ -s kept/b-2.rpl ] && [ -s kept/a-3.rpl ] && grep -q up kept/console-a-1 &&
	grep -q '^# event=1 strike=primary pause_ms=' kept/timeline || { keep kept out err kept/timeline kept/console-* kept/log-*; ls -l kept; false; }
ok 'what is kept'
if command -v tshark > /dev/null; then
	# What another program reads in it: the guest's frames come from one tap, then from the other.
	tshark -r kept/wire.pcapng -Y 'eth.src == 52:54:00:12:34:56 && frame.packet_flags_direction == 1' -T fields -e frame.interface_name 2> /dev/null |
		uniq > order
	[ "$(paste -sd ' ' order)" = 'tapa tapb' ]; ok 'the capture, as tshark reads it'
fi
demo --keep kept
is 2 'a new directory'; ok 'not over an earlier one'
cat > client <<- 'END'
	exec 3<> "/dev/tcp/$REPRISE_GUEST/7" && read -r hello <&3 && echo "$hello" || exit 1
	sleep "$1"
	printf 'lost: %s\nrepeated: 0\npause_ms_max: 44.2\n' "$2"
END
demo --kill none --client 'bash ./client 1 2'
is 1 '2 lost' && grep -qx 'seqd 1' out && tail -n 1 out | grep -q 'pause_ms: 44 lost: 2 '; ok 'a client of its own, and its words'
demo --kill none --client 'bash ./client 0 0; false'
is 1 'client failed'; ok 'a client that fails'
demo --client 'bash ./client 6 0'
is 0 && grep -qx 'seqd 1' out && last "takeovers: 1$good"; ok 'a client of its own, a kill'
demo --kill none --alone
is 0 && last "takeovers: 0$good" && ! grep -q link_ out; ok 'one host alone'
run taskset -c "$(processors $$ | head -n 1)" "$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --arbiter file --detect 600ms \
	--seconds 1 --kill none
is 0 && last "takeovers: 0$good" && clean; ok 'two hosts on one processor'

# ---- endings ----

"$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --arbiter file --detect 600ms --seconds 60 --rate 1000 > out 2> err &
pid=$!
wait_for_line out connected $pid
"$reprise" ft status > st
[ "$(grep -c '^protected: 1' st)" = 2 ] && grep -qx 'role: primary' st && grep -qx 'role: secondary' st && grep -qx 'peer: 127.0.0.1:[0-9]*' st
ok 'ft status, meanwhile'
ours=$(processors $$) theirs=$(for p in $(sed -n 's/^qemu_pid: //p' st); do processors "$p"; done)
if [ "$(wc -l <<< "$ours")" -gt 1 ]; then
	[ "$(sort -n <<< "$theirs")" = "$ours" ]; ok_with 'each host on its half of the processors: $(paste -sd " " <<< "$theirs")'
else
	skip 'a half of the processors for each host' 'there is one'
fi
kill -INT $pid # with some requests under way, which are answered
wait $pid
status=$?
is 1 && last "takeovers: 0$good" && clean; ok 'Ctrl-C'
"$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --arbiter file --detect 600ms --seconds 60 > out 2> err &
pid=$!
wait_for_line out connected $pid
kill -9 $pid
wait $pid 2> /dev/null
for _ in {1..100}; do clean && break; pause 50; done
clean; ok 'kill -9 of all of it: nothing is left'

# ---- usage ----

for c in '--kill all:primary, secondary' '--count 999:at most 200' '--rate 5000:at most 1000' '--lose 950:of a thousand' \
	'--alone:--kill none' '--arbiter disk:tgt or file' '--heartbeat 400ms:two heartbeats'; do
	# shellcheck disable=SC2086
	demo ${c%%:*}
	is 2 "${c#*:}" && one_line && ! grep -q '^takeovers' out; ok "refused: ${c%%:*}"
done
demo --kernel /no/such # the hosts' to find out
is 1 '/no/such: No such file' && clean; ok 'a guest that is not there: its hosts say so'
plain
finish
