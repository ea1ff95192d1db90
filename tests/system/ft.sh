#!/bin/bash
# ft.sh - a pair of real hosts: two hypervisors in two QEMUs, a Linux guest that serves, a client that is
# none of ours [ftclient.sh], and blows at random moments.  Each time nothing it was promised is lost or
# said twice, frames on the wire come from one host at a time, the disk holds what was answered, and what
# both hosts recorded replays.
#
#   ft.sh [PRIMARY SECONDARY PARTITION FREEZE]   how many of each blow (1 0 0 0; make soak-ft: 50 20 10 10)
#
# FT_DETECT: of the pair (1s: beside other suites a host may have to wait for its processor; make soak-ft:
# 150ms, on a quiet machine).
. "$(dirname "$0")/lib.sh"
net=$(realpath -m "${NET:-$root/build/net}")
cd "$tmp" || exit 1
blows=(primary "${1:-1}" secondary "${2:-0}" partition "${3:-0}" freeze "${4:-0}")
pair=(--arbiter "${FT_ARBITER:-file}" --detect "${FT_DETECT:-1s}")
good=' pause_ms: [0-9]* lost: 0 repeated: 0 live_hosts_max: 1$'

demo() { # DIR OPTIONS...: leaves DIR, ./out, ./err and $status
	local dir=$1
	shift
	run "$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --seed "$TEST_SEED" --seconds 3 "${pair[@]}" --keep "$dir" "$@"
}
replays_all() { # DIR: the machine's run as each host recorded it, whole or as far as it came
	local file n=0
	for file in "$1"/*.rpl; do
		"$reprise" replay "$file" > replay.out 2> replay.err || { echo "# $file: status $?: $(tail -n 1 replay.err)"; return 1; }
		grep -q 'identical' replay.err || return 1
		n=$((n + 1))
		rm "$file" # they are big
	done
	echo "# $n recordings"
	[ $n -gt 1 ]
}
# What the server has on its disk, by a program that shares nothing with it.
disk_holds() { # DIR LAST: every request up to the last that was answered
	run "$net/disksum" --acked "$2" "$1/disk"
	is 0 && [ "$(value out errors)" = 0 ]
}

truncate -s 32M data.img
for ((i = 0; i < ${#blows[@]}; i += 2)); do
	kind=${blows[i]} n=${blows[i + 1]}
	[ "$n" -gt 0 ] || continue
	patience_s=$((300 + 15 * n))
	demo "$kind" --kill "$kind" --count "$n" --append "$append workload=ft-server" \
		--client "'$root/tests/system/ftclient.sh' $n" -- --disk data.img,cow --disk data.img,ro
	if [ $i = 0 ] && is 1 'a network of its own\|/dev/net/tun\|user namespace'; then
		skip 'a network for the pair' "$(cat err)"
		finish
	fi
	[ "$kind" = primary ] && takeovers=$n || takeovers='[0-9]*'
	verdict=$(tail -n 1 out)
	is 0 && grep -q "^takeovers: $takeovers$good" <<< "$verdict" ||
		{ keep "$kind" out err "$kind"/timeline "$kind"/log-* "$kind"/wire.pcapng; false; }
	ok "$n times $kind: $verdict"
	alarms=$(value out alarms)
	grep '^link_\|^alarms\|^join' out | sed 's/^/# /'
	[ "$(sed -n 's/^lost: //p' "$kind/client")" = 0 ] && [ "$(grep -c . "$kind/pauses")" = "$n" ]; ok "$kind: the client saw every number once"
	echo "# pauses at the client, ms: $(sort -n "$kind/pauses" | awk '{ a[NR] = $1 } END { print "p50", a[int((NR + 1) / 2)], "p99", a[int(NR * 0.99 + 0.99)], "of", NR }')"
	disk_holds "$kind" "$(sed -n 's/^last: //p' "$kind/client")" || { keep "$kind-disk" "$kind/disk" "$kind/client" out err; false; }
	ok "$kind: the disk holds every request that was answered"
	replays_all "$kind"; ok "$kind: what both hosts recorded replays"
	if command -v tshark > /dev/null; then
		# Another program's view of the wire: how often the guest's frames change from one tap to the other.
		tshark -r "$kind/wire.pcapng" -Y 'eth.src == 52:54:00:12:34:56 && frame.packet_flags_direction == 1' -T fields \
			-e frame.interface_id 2> /dev/null | uniq > stretches
		stretches=$(grep -c . stretches)
		[ "$stretches" -ge 1 ] && [ "$stretches" -le $((n + 1 + alarms)) ]
		ok "$kind: the guest's frames change hosts at most once a blow: $stretches stretches"
	fi
	rm -rf "$kind"
done

# Bulk, each way, with the primary killed amid it: packets that nobody has cut yet are inputs, and are withheld, as
# frames are.  Each word is checked by who receives it.
bulk() { # WAY CLIENT WHAT
	demo "$1" --kill primary --append "$append workload=again what=$3 peer=10.0.2.2:9000" \
		--client "$2 > '$tmp/bulk' && printf 'lost: 0\nrepeated: 0\npause_ms_max: 0\n'"
	is 0 && tail -n 1 out | grep -q "^takeovers: 1$good" && [ "$(value bulk errors)" = 0 ] ||
		{ keep "$1" out err bulk "$1"/timeline "$1"/log-* "$1"/console-*; false; }
	ok "bulk $1, through a takeover: $(value bulk bytes) bytes, as they were sent"
	"$reprise" log "$1/b-2.rpl" 2> err | grep -q 'input packet0 '; ok 'of packets'
	replays_all "$1"; ok "$1: what both hosts recorded replays"
	rm -rf "$1"
}
bulk received "'$net/bulk' send 300M 9000" net-bulk-recv
bulk sent "'$net/bulk' recv 9000" 'net-bulk-send bytes=300M'
finish
