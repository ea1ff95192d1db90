#!/bin/sh
# bench.sh [N] [OPTIONS] - Reprise beside its peers, in turn, on the same guest.
#
# N rounds (3), each: QEMU plain, under icount, recording, replaying; Reprise running,
# recording, replaying.  Two tables: times, as ratios to a peer of the same round; and
# figures of the instruction counter, which host load does not move.  Then debug.sh.
# Status 0 whatever the figures; 1 when something did not run.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
name=bench
# shellcheck source=tests/bench/common.sh
. "$here/common.sh"

usage() {
	cat << 'END'
bench.sh [N] [--quick] [--no-rr] [--no-debug] [--tsv FILE]
  N            rounds (3)
  --quick      one round
  --no-rr      without QEMU's own record and replay, the slowest of all
  --no-debug   without the second part, on debugging: debug.sh
  --tsv FILE   everything measured, for programs

Environment:
  BENCH_KERNEL BENCH_INITRD BENCH_APPEND   the guest (build/guests/, console=ttyS0 workload=bench)
  BENCH_MARKER BENCH_END   lines of its console: booted; finished ('' for none)
  BENCH_RR_SHIFTS          icount shifts for QEMU's record and replay (auto 0: QEMU's way, and ours)
  BENCH_TIMEOUT_S          when a run counts as hung (180)
  REPRISE REPRISE_QEMU     the programs (build/host/reprise, qemu-system-x86_64)
END
}

rounds=3 rr=yes debug=yes tsv=
while [ $# -gt 0 ]; do
	case $1 in
	--quick) rounds=1 ;;
	--no-rr) rr= ;;
	--no-debug) debug= ;;
	--tsv) [ $# -gt 1 ] || die '--tsv: missing its FILE'; shift; tsv=$1 ;;
	--help | -h) usage; exit 0 ;;
	*[!0-9]* | '' | 0) usage >&2; exit 2 ;;
	*) rounds=$1 ;;
	esac
	shift
done

marker=${BENCH_MARKER-workload bench: start}
end=${BENCH_END-workload bench: end 0}
shifts=${BENCH_RR_SHIFTS-auto 0}
need_files "$reprise" "$kernel" "$initrd"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
tool timed
keep_build
raw=$tmp/raw
failed=
: > "$raw"

# --- one run ------------------------------------------------------------------

is_rr() { # KEY: QEMU's own record and replay hang now and then; that is a result, not a failure
	case $1 in rr-*) return 0 ;; *) return 1 ;; esac
}

# Runs it, keeps its console in $tmp/KEY.out and its words in $tmp/KEY.err.
measure() { # KEY LOG COMMAND...
	key=$1 log=$2
	shift 2
	[ ! -t 2 ] || printf '\r\033[Kround %s of %s: %s' "$round" "$rounds" "$key" >&2
	# shellcheck disable=SC2046
	set -- $("$tmp/timed" -t "$timeout_s" -m "$marker" -o "$tmp/$key.out" "$@" < /dev/null 2> "$tmp/$key.err")
	status=${1:-no-status}
	if [ "$status" = 0 ] && [ -n "$end" ] && ! grep -q "$end" "$tmp/$key.out"; then
		status=incomplete
	fi
	row time "$round" "$key" "$status" "${2:--}" "${3:--}" "${4:--}" "${5:-0}" "$(size_of "$log")" "$(stat_of "$key" guest_insns)"
	[ "$status" = 0 ] && return
	is_rr "$key" && return
	failed="$failed $key"
	{
		echo "bench: $key: status $status"
		tail -n 3 "$tmp/$key.err"
	} >&2
}
stat_of() { # KEY NAME: a figure of a Reprise run
	sed -n "s/^$2 \([0-9]*\)$/\1/p" "$tmp/$1.err" | grep . || echo -
}

# --- the configurations -----------------------------------------------------------

# The machine Reprise's own host is, with the guest directly on it.
peer() { # KEY LOG OPTIONS...
	key=$1 log=$2
	shift 2
	measure "$key" "$log" "$qemu" -nodefaults -no-user-config -no-reboot -display none -machine q35 -accel tcg \
		-cpu qemu64 -m 256M -rtc base=2025-01-01 -chardev stdio,id=console,signal=off -serial chardev:console \
		-kernel "$kernel" -initrd "$initrd" -append "$append" "$@"
}
peer_rr() { # SHIFT
	rm -f "$tmp/rr.log"
	peer "rr-record-$1" "$tmp/rr.log" -icount "shift=$1,rr=record,rrfile=$tmp/rr.log"
	if [ "$status" = 0 ]; then
		peer "rr-replay-$1" /dev/null -icount "shift=$1,rr=replay,rrfile=$tmp/rr.log"
	else
		row time "$round" "rr-replay-$1" no-recording - - - 0 - -
	fi
	rm -f "$tmp/rr.log"
}
ours() { # COMMAND LOG OPTIONS...
	command=$1 log=$2
	shift 2
	measure "$command" "$log" "$reprise" "$command" --stats --verbose "$@"
}
guest() { # COMMAND LOG OPTIONS...
	command=$1 log=$2
	shift 2
	ours "$command" "$log" --kernel "$kernel" --initrd "$initrd" --append "$append" "$@"
}
one_round() {
	peer tcg /dev/null
	peer icount /dev/null -icount shift=0,sleep=off
	for shift in ${rr:+$shifts}; do
		peer_rr "$shift"
	done
	guest run /dev/null
	guest record "$tmp/bench.rpl" --force -o "$tmp/bench.rpl"
	ours replay /dev/null "$tmp/bench.rpl"
}

# --- what the bench itself costs ---------------------------------------------------

overhead() {
	for i in 1 2 3 4 5; do
		# shellcheck disable=SC2046
		row overhead "$i" $("$tmp/timed" -m "$marker" -o /dev/null true)
	done
}

# --- the counter's figures -----------------------------------------------------------

# Sizes of what a recording is made of [docs/RECORDING.md 3].
chunks() { # FILE NAME
	od -An -v -tu1 "$1" | awk -v name="$2" -f "$here/chunks.awk" >> "$raw"
}
counters() {
	for key in run record replay; do
		sed -n -e "s/^ready /boot_insns /p" "$tmp/$key.err" | sed -n 's/.*boot_insns=\([0-9]*\).*/boot_insns \1/p' > "$tmp/stats"
		sed -n -e 's/^# guest loaded in \([0-9]*\) .*/load_insns \1/p' \
			-e '/^[a-z_]* [0-9]*$/p' -e '/^exit\.[a-z-]* [0-9]* [0-9]*$/p' "$tmp/$key.err" >> "$tmp/stats"
		while read -r name value more; do
			row stat "$key" "$name" "$value" "${more:--}"
		done < "$tmp/stats"
	done
	[ ! -e "$tmp/bench.rpl" ] || chunks "$tmp/bench.rpl" bench
}
# The recording of a short session at the shell; not timed.
scripted_boot() {
	if printf 'uname -a\nls /proc\npoweroff -f\n' |
		timeout "$timeout_s" "$reprise" record --force -o "$tmp/shell.rpl" --kernel "$kernel" --initrd "$initrd" \
			--append console=ttyS0 > "$tmp/shell.out" 2> "$tmp/shell.err" && grep -q cpuinfo "$tmp/shell.out"; then
		chunks "$tmp/shell.rpl" shell
	else
		failed="$failed scripted-boot"
		{ echo 'bench: the scripted boot did not run'; tail -n 3 "$tmp/shell.err"; } >&2
	fi
}

# --- all of it ----------------------------------------------------------------------

host_rows
row host guest "$(basename "$kernel"), $append"
row host rounds "$rounds"
overhead
round=0
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	one_round
done
[ ! -t 2 ] || printf '\r\033[K' >&2
counters
scripted_boot
row host load-after "$(cut -d ' ' -f 1-3 /proc/loadavg)"

awk -F "$tab" -v tsv="${tsv:-/dev/null}" -f "$here/report.awk" "$raw"
if [ -n "$debug" ]; then
	echo
	set -- --tsv "$tmp/debug.tsv"
	[ "$rounds" != 1 ] || set -- "$@" --quick
	[ -n "$rr" ] || set -- "$@" --no-rr
	REPRISE=$reprise "$here/debug.sh" "$@" || failed="$failed debug.sh"
	[ -z "$tsv" ] || cat "$tmp/debug.tsv" >> "$tsv"
fi
[ -z "$failed" ] || {
	echo "bench: did not run:$failed" >&2
	exit 1
}
