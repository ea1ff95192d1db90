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
	rm -rf "$kind"
done
finish
