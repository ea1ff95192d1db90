#!/bin/bash
# net.sh - a guest on a network: Linux fetches from a web server, serves a client, and meets another on a
# switch, recorded while the host is busy; replayed, with nothing plugged in, it is the same; its frames as others see them.
. "$(dirname "$0")/lib.sh"
net=$(realpath -m "${NET:-$root/build/net}")
cd "$tmp" || exit 1
command -v tshark > /dev/null || { echo "net: tshark: not there; run 'make deps-net'" >&2; exit 2; }

vm() { # WORKLOAD...: the options of a guest that does it
	vm=(--kernel "$kernel" --initrd "$initrd" --append "$append $*" --timeout "${patience_s}s")
}
burn() { # N: as many processes keep the host busy, until quiet
	burning=()
	for ((i = 0; i < $1; i++)); do
		while :; do :; done &
		burning+=($!)
	done
}
quiet() {
	kill "${burning[@]}"
	wait "${burning[@]}" 2> /dev/null
}
frames_in() { # FILE: received ones
	"$reprise" log "$1" | grep -c ' input frame0 '
}
# Frames cost their bytes and a little: point, length, a share of a chunk, digests.
# By the format a frame that has a chunk of its own costs 23 bytes: the chunk 11, the event its kind, 3 of
# instructions, 4 of idle time, sort, device, and 2 of size [RECORDING.md 3, 6].  The rest is the machine and the host.
little_more() { # FILE
	local more frames
	frames=$(frames_in "$1")
	more=$(($(info "$1" file_bytes) - $(info "$1" input_bytes)))
	echo "# $frames frames received, $(info "$1" input_bytes) bytes; the file has $more more"
	[ "$frames" -gt 0 ] && [ "$frames" = "$(info "$1" inputs)" ] && [ $more -lt $((frames * 24 + 4096)) ]
}

# ---- it fetches ----

mkdir www
head -c 700000 /dev/urandom > www/file
free_port
busybox httpd -f -p "127.0.0.1:$port" -h www &
httpd=$!
vm workload=net-wget "url=http://10.0.2.2:$port/file" times=2
burn 2
run "$reprise" record -o wget.rpl "${vm[@]}" --net user < /dev/null
quiet
cp out wget.out
is 0 'powered off' && [ "$(grep -c "^net-wget: 700000 bytes, sha256 $(sha256sum < www/file | cut -d ' ' -f 1)" wget.out)" = 2 ] || {
	keep wget wget.rpl wget.out err
	false
}
ok 'wget, twice, recorded on a busy host: the file as it is'
kill $httpd
wait $httpd 2> /dev/null
little_more wget.rpl; ok 'the recording: the frames received, and little more'

# Nobody answers on that port any more, and the replay has no network to ask on.
"$reprise" replay wget.rpl > out 2> err &
pid=$!
qemu=$(qemu_of $pid)
! tr '\0' '\n' < "/proc/$qemu/cmdline" | grep -q netdev; ok 'a replay has no network device'
wait $pid
status=$?
is 0 'identical to its end' && cmp -s out wget.out || { keep replay wget.rpl wget.out out err; false; }; ok 'replayed, unplugged: identical, the same console'

# ---- its frames ----

run "$reprise" log --pcap wget.pcapng wget.rpl
frames=$(sed -n 's/.*: \([0-9]*\) frames, .*/\1/p' err)
is 0 "$(frames_in wget.rpl) received and [1-9][0-9]* sent"; ok 'log --pcap: all frames that were received, and some sent'
[ "$(capinfos -M -T -r -c wget.pcapng 2> /dev/null | cut -f 2)" = "$frames" ]; ok 'as many as Wireshark counts'
"$reprise" log -q --pcap - wget.rpl 2> err | cmp -s - wget.pcapng; ok 'the same again, on standard output'
tshark -q -r wget.pcapng --export-objects http,objects 2> /dev/null > /dev/null
cmp -s objects/file www/file; ok "Wireshark takes the fetched file out of it"
fields() { # TSHARK-OPTIONS...
	tshark -r wget.pcapng -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE "$@" 2> /dev/null
}
[ "$(fields -Y 'ip.checksum.status == 0 || tcp.checksum.status == 0 || tcp.analysis.lost_segment || _ws.malformed' | wc -l)" = 0 ] &&
	[ "$(fields -Y 'tcp.checksum.status == 1' | wc -l)" -gt 100 ]; ok 'every checksum is right'
fields -T fields -e frame.time_epoch -e frame.packet_flags_direction -e eth.src -e frame.interface_name -e frame.comment > list
# From the first second of 2025 on, the date of the machine's clock.
awk '
{ sent = $3 == "52:54:00:12:34:56" }
$1 < 1735689600 || $1 > 1735689900 || $1 < last { print "time", $0; exit bad = 1 }
substr($2, 10) != (sent ? "2" : "1") || $4 != "nic0" || $0 !~ /after [0-9]+ instructions/ { print "frame", $0; exit bad = 1 }
{ last = $1; n[sent]++ }
END { exit bad || !n[0] || !n[1] }' list; ok "directions, NIC, the machine's date, in order"

# ---- it serves ----

free_port
vm workload=echo-server
: > seqd.out
burn 1
"$reprise" record -o seqd.rpl "${vm[@]}" --net "user,hostfwd=tcp:127.0.0.1:$port-:7" < /dev/null > seqd.out 2> seqd.err &
pid=$!
wait_for_line seqd.out 'seqd: listening' $pid
"$net/seqclient" --connect-wait 60 --seconds 4 --window 4 --size 200 "127.0.0.1:$port" > client 2> err
status=$?
[ $status = 0 ] && [ "$(value client received)" -gt 20 ] || { keep client client err seqd.rpl seqd.out; false; }
ok_with 'a client outside: $(value client received) answers, each of them right'
wait $pid
status=$?
quiet
cp seqd.err err
is 0 'powered off' && grep -q "^seqd: connection 1: $(value client received) requests" seqd.out; ok 'the guest counts the same'
little_more seqd.rpl; ok 'its recording: the frames received, and little more'
run "$reprise" replay seqd.rpl
is 0 'identical to its end' && cmp -s out seqd.out || { keep seqd seqd.rpl seqd.out out err; false; }; ok 'replayed: identical, the same console'

# ---- two machines on a switch ----

# Neither is told an address: the second one takes another than the first.
member() { # NAME ADDRESS: records one, what it is told comes from the fifo NAME.tty
	mkfifo "$1.tty"
	"$reprise" record -o "$1.rpl" --kernel "$kernel" --initrd "$initrd" --append "$append quiet ip=$2/24" --net "switch=test-$$" \
		--timeout "${patience_s}s" < "$1.tty" > "$1.out" 2> "$1.err" &
}
count() { # FIELD of the line of eth0 in what the second says: 3 received, 11 sent
	awk -v n="$1" '$1 == "eth0:" { print $n }' second.out
}
member first 10.9.0.1
first=$!
exec {there}> first.tty
wait_for first.out "$prompt" $first
member second 10.9.0.2
second=$!
printf '%s\n' 'ping -c 200 -i 0.05 10.9.0.1' 'cat /proc/net/dev' 'poweroff -f' > second.tty
wait $second
status=$?
cp second.err err
is 0 'powered off' && grep -aq '^200 packets transmitted, 200 packets received, 0%' second.out || { keep switch first.out second.out second.rpl err; false; }
ok 'two machines on a switch: each ping answered'
! grep -aq DUP second.out && [ "$(count 3)" -ge 200 ] && [ "$(count 3)" -le $(($(count 11) + 5)) ]
ok 'nothing comes twice, and nobody hears himself'
printf '%s\n' 'poweroff -f' >&"$there"
exec {there}>&-
wait $first
[ "$("$reprise" info first.rpl | sed -n 's/^nic0_mac: //p')" != "$("$reprise" info second.rpl | sed -n 's/^nic0_mac: //p')" ]
ok 'each has an address of its own'
run "$reprise" replay first.rpl
is 0 'identical to its end' && cmp -s out first.out; ok 'the first, replayed: identical, the same console'
run "$reprise" replay second.rpl
is 0 'identical to its end' && cmp -s out second.out; ok 'the second, too'
finish
