#!/bin/bash
# shared.sh - a pair whose hosts share the guest's disk, a unit of a real iSCSI target: a Linux guest that
# writes down every request before it answers, and blows at random moments.  Afterwards the file behind
# the unit holds every request that was answered, as a program that knows nothing of the pair reads it.
#
#   shared.sh [ROUNDS]   of each blow (1; make check-shared N=...)
#
# FT_DETECT: of the pair (1s: beside other things a host may have to wait for its processor).
. "$(dirname "$0")/lib.sh"
net=$(realpath -m "${NET:-$root/build/net}")
rounds=${1:-1}
cd "$tmp" || exit 1
PATH=$PATH:/usr/sbin:/sbin
command -v tgtd > /dev/null || { skip 'a shared disk' 'no tgtd here; make deps'; finish; }

demo() { # DIR OPTIONS...
	local dir=$1
	shift
	truncate -s 0 data.img && truncate -s 32M data.img
	run "$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --append "$append workload=ft-server" --seed "$TEST_SEED" \
		--arbiter tgt --detect "${FT_DETECT:-1s}" --seconds 2 --keep "$dir" "$@" -- --disk data.img,shared
}
# Every request that was answered, once, in its order, and nothing else: on the file itself.
disk_holds() {
	local answered=$1
	run "$net/disksum" --acked $((answered - 1)) data.img
	is 0 && [ "$(value out errors)" = 0 ] && [ "$(value out records)" -ge "$answered" ]
}

# As each host recorded it.  What it read of the disk is in the recording: there is no target any more.
replays_all() { # DIR
	local file n=0
	for file in "$1"/*.rpl; do
		"$reprise" replay "$file" > replay.out 2> replay.err || { echo "# $file: status $?: $(tail -n 1 replay.err)"; return 1; }
		grep -q 'identical' replay.err || return 1
		n=$((n + 1))
	done
	echo "# $n recordings"
	[ $n -gt 1 ]
}
can_do_with() { # RECORDING
	run "$reprise" debug -q "$1" -- -nx -batch -ex 'goto end' -ex 'reverse-stepi 1000' -ex 'goto end' -ex 'monitor digest'
	is 0 && grep -q "^$(info "$1" digest)$" out err; ok 'under GDB, and backwards'
	run "$reprise" fork --at 200M "$1"
	is 2 'its machine shared a disk'; ok 'no fork of it: nobody knows what else is on the disk'
	run "$reprise" replay --disk 0=data.img "$1"
	is 2 'leave it out'; ok 'no other disk in its place'
	run "$reprise" pack -o packed.rpl "$1"
	is 0 'opens on any machine$' && run "$reprise" replay packed.rpl && is 0 'identical'; ok 'packed, it replays'
}

good=' pause_ms: [0-9]* lost: 0 repeated: 0 live_hosts_max: 1$'
patience_s=$((300 + 30 * rounds))
for kind in none primary secondary partition freeze; do
	demo "$kind" --kill $kind --count "$rounds"
	if [ $kind = none ] && is 1 'a network of its own\|/dev/net/tun\|user namespace'; then
		skip 'a network for the pair' "$(cat err)"
		finish
	fi
	verdict=$(tail -n 1 out) answered=$(value out answered)
	is 0 && grep -q "^takeovers: [0-9]*$good" <<< "$verdict" || { keep "shared-$kind" out err "$kind"/timeline "$kind"/wire.pcapng "$kind"/log-*; false; }
	ok "$kind, $rounds times: $verdict"
	disk_holds "$answered" || { keep "shared-$kind-disk" out err data.img "$kind"/timeline "$kind"/log-*; false; }
	ok "$kind: the disk holds all $answered that were answered"
	replays_all "$kind" || { keep "shared-$kind-replay" replay.out replay.err "$kind"/*.rpl; false; }
	ok "$kind: what both hosts recorded replays, with the disk as it is by now out of reach"
	[ $kind = none ] && can_do_with "$kind/a-1.rpl"
	rm -rf "$kind"
done

# ---- the target goes away for a while ----

# A read waits for it, and the pair with it: no host takes the other for dead, or the guest sees an error.
cat > reader << 'END'
for i in {1..300}; do exec 4<> "/dev/tcp/$REPRISE_GUEST/9" && break; sleep 0.1; done 2> /dev/null
target=$(pgrep -x tgtd -P $PPID)
{ sleep 0.4; kill -STOP $target; sleep 5; kill -CONT $target; echo "away" > "$REPRISE_DIR/away"; } &
cat <&4 | wc -c > "$REPRISE_DIR/read"
wait
END
demo away --kill none --client "bash '$tmp/reader'"
is 0 && grep -q "^takeovers: 0$good" <<< "$(tail -n 1 out)" && [ "$(cat away/read)" = $((32 << 20)) ] && [ -s away/away ] ||
	{ keep shared-away out err away/timeline away/log-*; false; }
ok 'the target does not answer for 5 s: the guest waits, and reads on'

# ---- who has it afterwards ----

export TGT_IPC_SOCKET=$tmp/tgt.ipc
free_port; target_port=$port
free_port
tgtd -f -t 1 --iscsi portal=127.0.0.1:$target_port > tgtd.log 2>&1 &
for ((i = 0; i < 100; i++)); do
	tgtadm --lld iscsi --mode target --op new --tid 1 -T iqn.2026-01.invalid.reprise:shared 2> /dev/null && break
	pause 50
done
tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 1 --backing-store "$tmp/data.img" &&
	tgtadm --lld iscsi --mode target --op bind --tid 1 --initiator-address ALL
host() { # NAME WORKLOAD: the first host of a pair of that name, which waits for no other
	timeout 60 "$reprise" ft primary --kernel "$kernel" --initrd "$initrd" --append "$append workload=$2" --peer 127.0.0.1:$port --side a \
		--listen 127.0.0.1:$((port + 1)) --arbiter "file:$1" --pair "$1" --status "./$1.status" \
		--disk "iscsi://127.0.0.1:$target_port/iqn.2026-01.invalid.reprise:shared/1,shared" < /dev/null > out 2> err
}
host first none; status=$?; is 0; ok 'a machine ends'
host second none; status=$?; is 0; ok 'another pair finds its disk free'
host third ft-server & pid=$!
wait_for_line err solo $pid; pause 3000 # it writes
pkill -9 -f "ft primary.*--pair third"; wait $pid 2> /dev/null
host fourth none; status=$?
is 1 'reserved by somebody who is not of the pair'; ok 'that of a host which was killed it does not'
rm third; host third ft-server; status=$?
is 1 'reserved by an earlier run of this pair'; ok 'nor that pair, begun anew'
finish
