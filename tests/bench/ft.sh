#!/bin/bash
# ft.sh [N [KILLS]] - what protection costs: the same guest alone on a host, and protected by a second
# one, in turn; N rounds (1), with what the link carries.  Then how long KILLS (10) takeovers and new partners
# make a client and the machine wait.  Both hosts are emulated on this one machine: half of its processors each; a host
# that is alone has them all.
# Alone is measured beside a stranger, too: another unprotected guest on the same machine, with a client of its
# own, that does the same and has nothing to do with it.  What that costs is the machine's doing, not the pair's.
# No host records.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
name=bench-ft
# shellcheck source=tests/bench/common.sh
. "$here/common.sh"
rounds=${1:-1} kills=${2:-10}
export NET=$root/build/net
tmp=$(mktemp -d)
stranger=
alone_again() {
	[ -z "$stranger" ] || { kill -- "-$stranger"; wait "$stranger"; } 2> /dev/null
	stranger=
}
trap 'alone_again; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
need_files "$reprise" "$kernel" "$initrd" "$NET/bulk" "$NET/seqclient"
keep_build
export REPRISE=$reprise
raw=$tmp/raw
host_rows 2>&1
failed=

# The load's client wants the guest's workload; a client's N.
declare -A guest=([cpu]='workload=again what=bench' [disk]='workload=again what=disk-1g gb_mb=64'
	[reqresp]='workload=reqresp connections=0' [reqresp16]='workload=reqresp connections=0' [recv]='workload=again what=net-bulk-recv peer=10.0.2.2:9000'
	[send]='workload=again what=net-bulk-send peer=10.0.2.2:9000 bytes=64M' [idle]='workload=reqresp connections=0')
declare -A n=([cpu]=2 [disk]=12 [reqresp]=8 [reqresp16]=8 [recv]=64 [send]=64 [idle]=30)
declare -A what=([cpu]='CPU-bound, rounds/s' [disk]='disk-bound, 64 MB/s' [reqresp]='request-response, 1/s' [reqresp16]='... 16 in flight, 1/s'
	[recv]='bulk receive, Mbit/s' [send]='bulk send, Mbit/s' [idle]='idle')

play() { # DIR OPTIONS...
	local dir=$1
	shift
	timeout --foreground 300 "$reprise" ft demo --kernel "$kernel" --initrd "$initrd" --arbiter file --quiet "$@" > "$dir.out" 2> "$dir.err"
}
value() { # FILE KEY
	sed -n "s/^$2: //p" "$1"
}
serve() { # DIR LOAD N OPTIONS...: a guest at that load, and its client
	local dir=$1 load=$2 n=$3
	shift 3
	play "$dir" --kill none --append "console=ttyS0 cryptomgr.notests ${guest[$load]}" \
		--client "'$here/ftload.sh' $load $n | tee '$dir.client'" "$@" -- --disk "$tmp/a.img,ro" --disk "$tmp/b.img,cow"
}
measure() { # LOAD HOW...: into $per_s, $us, $p99, $kbit
	local load=$1 dir=$tmp/run
	shift
	rm -f "$dir".*
	serve "$dir" "$load" "${n[$load]}" "$@"
	per_s=$(value "$dir.client" per_s) us=$(value "$dir.client" us) p99=$(value "$dir.client" us_p99)
	kbit=$(value "$dir.out" link_kbit_s)
	[ -n "$per_s" ] && return
	failed=1
	echo "$name: $load $*: $(tail -n 1 "$dir.err")" >&2
	return 1
}

# Another guest at the same work, until `alone_again`.
beside() { # LOAD
	rm -f "$tmp/stranger".*
	set -m # a process group of its own, to be ended as one
	serve "$tmp/stranger" "$1" 100000 --alone &
	set +m
	stranger=$!
}

truncate -s 64M "$tmp/a.img" "$tmp/b.img"
echo "Two emulated hosts on one machine, $(nproc) processors; QEMU $("$qemu" --version | sed -n '1s/.*version \([^ ]*\).*/\1/p')"
printf '%-22s %9s %9s %6s %8s %7s %11s %s\n' load alone protected ratio stranger ratio 'link kbit/s' 'one: alone, protected (p99)'
for ((i = 0; i < rounds; i++)); do
	for load in cpu disk reqresp reqresp16 recv send; do
		measure "$load" --alone || continue
		alone=$per_s one="$us us" alone99=$p99 strange=
		beside "$load"
		measure "$load" --alone && strange=$per_s
		alone_again
		measure "$load" || continue
		awk -v w="${what[$load]}" -v a="$alone" -v p="$per_s" -v s="$strange" -v k="$kbit" \
			-v one="$one ($alone99), $us us ($p99)" -v l="$load" 'BEGIN {
			printf "%-22s %9.3f %9.3f %6.3f %8s %7s %11.1f %s\n", w, a, p, p / a, s ? sprintf("%.3f", s) : "-",
				s ? sprintf("%.3f", p / s) : "-", k, l ~ /^reqresp/ ? one : "" }'
	done
	measure idle && kbit=$(value "$tmp/run.client" link_kbit_s) && printf '%-22s %9s %9s %6s %8s %7s %11.2f %s\n' idle - - - - - "$kbit" 'goal: less than 8'
done
[ "$kills" -gt 0 ] || { [ -z "$failed" ]; exit; }
if play "$tmp/kills" --kill primary --count "$kills" --seconds 3 --append 'console=ttyS0 cryptomgr.notests workload=echo-server connections=0'; then
	awk -F ': ' '/^(pause_ms|join_client_ms|join_machine_ms)_p/ { print $1 ": " $2 }' "$tmp/kills.out"
	echo "takeover pause at the client: goal p50 less than 200 ms; published: VMware FT about 1 s [Scales 2010]"
	echo "re-protection pause: published: live migration 60 ms [NSDI'05]"
else
	failed=1
	tail -n 3 "$tmp/kills.err" >&2
fi
tail -n 1 "$tmp/kills.out"
[ -z "$failed" ]
