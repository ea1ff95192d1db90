#!/bin/bash
# seq.sh - the programs that judge a network and a disk, judged themselves: seqd, seqclient, bulk
# and disksum [tests/net] among themselves, and against servers, clients and disks that lie.
. "$(dirname "$0")/lib.sh"
net=$(realpath -m "${NET:-$root/build/net}")
cd "$tmp" || exit 1

start_seqd() { # OPTIONS...: sets $port, $server
	free_port
	: > seqd.out
	timeout 60 "$net/seqd" --port "$port" "$@" > seqd.out 2>&1 &
	server=$!
	wait_for_line seqd.out listening $server
}
start_bulk() { # sets $port
	free_port
	: > bulk.out
	timeout 60 "$net/bulk" recv "$port" > bulk.out 2>&1 &
	wait_for_line bulk.out listening $!
}
client() { # OPTIONS...: leaves ./out, ./err and $status
	run "$net/seqclient" --connect-wait 10 "$@" "127.0.0.1:$port"
}
disksum() { # OPTIONS...
	run "$net/disksum" "$@"
}
says() { # KEY VALUE...: in ./out
	while [ $# -gt 0 ]; do
		[ "$(value out "$1")" = "$2" ] || return 1
		shift 2
	done
}

# ---- among themselves ----

truncate -s 4M disk
start_seqd --connections 2 --log disk --sync 1
client --count 300 --seed 7 --size 40 --window 5
is 0 && says sent 300 received 300 lost 0 repeated 0 contradicted 0 broken no last 299; ok '300 requests, all answered'
client --count 50 --seed 8 --first 1000 --size 0 --rate 200
is 0 && says received 50 last 1049; ok 'another client, from 1000 on, 200 a second'
awk '/^seconds/ { exit !($2 > 0.2) }' out; ok 'no faster than asked for'
wait $server && [ "$(grep -c '^seqd: connection' seqd.out)" = 2 ]; ok 'the server leaves after two connections'

disksum --acked 299 --seed 7 --size 40 disk
is 0 && says records 350 connections 2 last 299 errors 0; ok 'the log holds all of it, its sums are right'
disksum --connection 2 --acked 1049 --seed 8 --size 0 --first 1000 disk
is 0 && says last 1049 errors 0; ok "the second client's too"

start_seqd --connections 1 --log disk
grep -q 'has 350 records' seqd.out; ok 'a log that is there goes on'
client --count 2000 --window 1000 --size 10
is 0 && says received 2000; ok 'a thousand in flight'
wait $server
disksum --connection 3 --acked 1999 --seed 0 --size 10 disk
is 0 && says records 2350 connections 3; ok 'all of them in the log'

# A server that is frozen for a while: the client waits, measures it, and loses nothing.
start_seqd --connections 1
"$net/seqclient" --seconds 2 --rate 200 --gaps 300 "127.0.0.1:$port" > out 2> gaps &
pause 700
read -r seqd_pid < "/proc/$server/task/$server/children"
kill -STOP "$seqd_pid"
pause 600
kill -CONT "$seqd_pid"
wait $!
status=$?
is 0 && says lost 0 broken no && awk '/^pause_ms_max/ { p = $2 } /^pause_at_ms/ { a = $2 } /^p50_us/ { m = $2 }
	END { exit !(p >= 590 && a > 0 && m < p * 1000) }' out && grep -q '^gap at_ms [0-9]* ms [0-9]*$' gaps; ok 'a frozen server: a pause, and when it was'
wait $server

start_bulk
run "$net/bulk" send 5000001 "127.0.0.1:$port"
wait $! && is 0 && says bytes 5000008 errors 0 && [ "$(value bulk.out bytes)" = 5000008 ]; ok 'bulk: five million bytes'

# ---- servers that lie ----

# What a right server says to three requests is in its log.
truncate -s 1M three
start_seqd --connections 1 --log three
three=(--count 3 --window 3 --seed 1 --size 4)
client "${three[@]}"
wait $server
tr -d '\0' < three | awk '{ print $5, $6 }' > truth
[ "$(wc -l < truth)" = 3 ] && is 0; ok 'three right answers'
cat > liar <<- 'END'
	#!/bin/sh
	echo 'seqd 1'
	read -r a && read -r b && read -r c && cat said
	exec sleep "$(cat then)"
END
chmod +x liar
hears() { # NAME SECONDS KEY VALUE...: the client, when a server has said ./said and waits before it closes
	local name=$1
	echo "$2" > then
	shift 2
	free_port
	busybox nc -l -p "$port" -e ./liar &
	client "${three[@]}" --patience 1
	is 1 && says "$@"
	ok "the client: $name"
	kill $! 2> /dev/null
	wait $! 2> /dev/null
}
cp truth said
free_port
echo 0 > then
busybox nc -l -p "$port" -e ./liar &
client "${three[@]}"
is 0; ok 'an honest server of that making is believed'
head -n 2 truth > said; hears 'a lost answer' 0 received 2 lost 1 broken 'closed by the server'
head -n 2 truth > said; hears 'an answer that does not come' 5 received 2 lost 1 broken 'no answer for too long'
: > said; hears 'no answer at all' 0 received 0 lost 3 last none
sed -n '1p;2p;2p;3p' truth > said; hears 'an answer repeated' 0 received 3 repeated 1 lost 0
sed -n '1p;2p;3p;1p' truth > said; hears 'one repeated behind the last' 0 received 3 repeated 1
sed '2s/.$/x/' truth > said; hears 'no sum' 0 received 1 contradicted 2
sed '2y/0123456789abcdef/123456789abcdef0/;2s/^2/1/' truth > said; hears 'another sum' 0 contradicted 1
sed '2s/ .*/ 0123456789abcdef/' truth > said; hears 'a sum of something else' 0 contradicted 1 received 3
sed -n '1p;3p' truth > said; hears 'one left out' 0 received 1 contradicted 1 lost 2
{ cat truth; echo '3 0123456789abcdef'; } > said; hears 'an answer to nothing' 0 received 3 contradicted 1
tr '\n' ' ' < truth > said; hears 'no lines' 0 received 0 lost 3
cp truth said; hears 'a server that does not close' 5 received 3 broken 'not closed by the server'
free_port
run "$net/seqclient" --count 1 "127.0.0.1:$port"
is 2 'nobody says hello'; ok 'the client: no server'

# ---- clients that lie ----

lie() { # NAME SAID WHAT-IT-IS-TOLD: a server that goes away with status 1
	start_seqd --connections 1
	exec {wire}<> "/dev/tcp/127.0.0.1/$port"
	printf '%b' "$2" >&"$wire"
	timeout 10 cat <&"$wire" > told 2> /dev/null
	exec {wire}>&-
	wait $server
	[ $? = 1 ] && tail -n 1 told | grep -qx -- "$3" && grep -q 'broke the rules' seqd.out
	ok "the server: $1"
}
lie 'a number left out' '0 a\n2 b\n' '2 expected 1'
lie 'a number again' '5 a\n5 a\n' '5 expected 6'
lie 'no number' 'a\n' '0 expected 0'
lie 'a line without end' "$(head -c 20000 /dev/zero | tr '\0' x)" 'seqd 1'

# ---- disks that lie ----

wrong() { # NAME PATTERN OPTIONS...: ./bad has an error
	local name=$1 pattern=$2
	shift 2
	disksum "$@" bad
	is 1 "$pattern" && [ "$(value out errors)" -gt 0 ]
	ok "the disk: $name"
}
sector() { # FROM TO COUNT: sectors of ./three or ./bad to ./bad
	dd if="${4:-three}" of=bad bs=512 skip="$1" seek="$2" count="$3" conv=notrunc 2> /dev/null
}
disksum three
is 0 && says records 3 errors 0; ok 'a log as it should be'
cp three bad; printf 'X' | dd of=bad bs=1 seek=540 conv=notrunc 2> /dev/null; wrong 'a byte changed' 'sector 1'
cp three bad; sector 2 1 1; wrong 'a record lost' 'record 2'
cp three bad; sector 10 1 1; wrong 'a record gone, others behind it' 'behind the log'
cp three bad; sector 1 2 1; wrong 'a record twice' 'holds record 1'
cp three bad; sector 2 1 1; sector 1 2 1; wrong 'two in another order' 'does not follow'
cp three bad; sector 0 900 1; wrong 'one far behind' 'behind the log'
cp three bad; wrong 'an answered request not there' 'was answered' --acked 3
cp three bad; wrong 'payloads that were not sent' 'from the payloads' --seed 2 --size 4
cp disk bad; sector 349 351 1 disk; wrong 'a write of long ago over a new record' 'does not follow'
disksum . # opens, and cannot be read
is 2 'Is a directory' && [ ! -s out ]; ok 'the disk: one that cannot be read is not an empty one'

# A changed byte in a stream.
start_bulk
head -c 4096 /dev/zero > "/dev/tcp/127.0.0.1/$port"
wait $!
[ $? = 1 ] && [ "$(value bulk.out errors)" = 512 ]; ok 'bulk: other bytes than were sent'
finish
