#!/bin/bash
# reverse.sh [SEED [OPS]] | -n N [OPS] - sessions of real gdb going forwards and backwards at random, OPS (300) operations
# each, on a tiny kernel and on Linux.  After every one the point, RIP and the digest of the whole
# machine are noted; then a plain replay, which knows nothing of going back, says what they are there.
#
# -n N: N sessions, every fifth on Linux (LINUX_EVERY, 5), each with a seed of its own, JOBS (one a
# processor) at a time.
#
# Environment: RECORDINGS (a directory with linux.rpl, so that it need not be made),
# SESSIONS ("tiny linux": which), LINUX_OPS (as many there: 30 where none are asked for), SOFT_S (10:
# what takes longer is interrupted).
# shellcheck disable=SC2016 # gdb expands
rounds=0
if [ "${1-}" = -n ]; then rounds=${2:-100} && set -- "" "${3:-300}"; fi
TEST_SEED=${1:-${TEST_SEED:-}}
[ -n "$TEST_SEED" ] || unset TEST_SEED
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/gdb.sh"
ops=${2:-300}
linux_ops=${LINUX_OPS:-${2:-30}}
sessions=${SESSIONS:-tiny linux}
soft_s=${SOFT_S:-10} hard_s=100 # then gdb is interrupted; and then it hangs
name='' command='' happened='' op=0 nproblems=0 ninterrupted=0 interrupted=false was_end=false direction=forward go=continue

# ---- what is drawn ----

point() { # sets $picked: a point of the run
	draw 8
	case $drawn in
	0) picked=begin ;;
	1) draw 2000; picked=$drawn ;;
	2) draw 2000; picked=$((end_count - drawn)) ;;
	*) far_draw "$end_count"; picked=$drawn ;;
	esac
}
far_draw() { # N: as draw, for more than 2^31
	local high
	draw 65536; high=$drawn
	draw 65536; drawn=$(((high << 16 | drawn) % $1))
}
pick() { # VALUE...
	draw $#
	picked=${*:drawn + 1:1}
}
# ---- one operation ----

problem() { # TEXT
	nproblems=$((nproblems + 1))
	echo "# $name op $op: $1; the last command: $command" | tee -a "$tmp/problems"
	printf '%s\n' "$answer" | tail -n 12 | sed 's/^/#   /' >> "$tmp/problems"
}
# Does COMMAND in gdb, then notes where the machine is.
do_() { # COMMAND...
	was_count=$count was_digest=$digest interrupted=false
	local began
	began=$(now_ms)
	command="$*"
	ask "$@" || { problem 'no answer: hangs'; return 1; }
	happened=$answer
	where_is_it || { problem 'no answer to where: hangs'; return 1; }
	echo "$(($(now_ms) - began)) $op $command" >> "$tmp/times"
	case $happened in *'signal SIGINT'*) interrupted=true; ninterrupted=$((ninterrupted + 1)) ;; esac
	case $happened in
	*SIGABRT* | *'reprise: '*diverged* | *'Remote connection closed'* | *'Ignoring packet'* | *'Remote failure'* | *'not back where'* | *'internal-error'*)
		problem 'failed' ;;
	esac
	[ "$gdb_rip" = "$rip" ] || problem "gdb has rip $gdb_rip, the machine $rip"
	$branched || $at_end || echo "$count $digest $rip $op" >> "$tmp/seen"
	if $at_end && ! $branched; then
		[ "$digest" = "$end_digest" ] || problem "at the end: digest $digest, the recording has $end_digest"
	fi
	$interrupted
	[ $? = 1 ]
}
at_edge() {
	case $happened in *'No more reverse-execution history'*) return 0 ;; esac
	return 1
}
edge_is() { # forward|backward
	if [ "$1" = forward ]; then $at_end; else [ "$count" = 0 ]; fi
}
verb() { # sets $direction, $go
	draw 2
	direction=forward go=continue
	[ $drawn = 0 ] || direction=backward go=reverse-continue
}
moved_right() {
	case $direction in
	forward) [ "$count" -gt "$was_count" ] || $at_end || problem "forward from $was_count to $count" ;;
	backward) [ "$count" -lt "$was_count" ] || [ "$count" = 0 ] || $was_end || problem "backward from $was_count to $count" ;;
	esac
}
run_to_breakpoints() { # PC...
	local pc hit=false
	verb
	was_end=$at_end
	do_ "$go" || return
	moved_right
	if at_edge; then
		edge_is $direction || problem "history ended at $count"
		return 1
	fi
	for pc; do [ "$pc" != "$rip" ] || hit=true; done
	$hit || problem "stopped at $rip, where no breakpoint is"
}

op_goto() { point; do_ "monitor goto $picked" reprise-moved && [ "$picked" = begin ] || $at_end || [ "$count" = "$picked" ] || $interrupted || problem "goto $picked went to $count"; }
op_nudge() { pick -1 -17 -300 -5000 +1 +20 +700 +30000; do_ "monitor goto $picked" reprise-moved; }
op_end() { do_ 'monitor goto end' reprise-moved && { $at_end || problem 'not at the end'; }; }
op_stepi() {
	local n from
	pick 1 1 2 5 30 100; n=$picked
	do_ "stepi $n" || return
	from=$was_count
	$at_end || at_edge || [ "$count" = $((from + n)) ] || problem "stepi $n from $from to $count"
}
op_back() {
	local n
	pick 1 1 2 5 30 100; n=$picked
	$at_end && return
	do_ "reverse-stepi $n" || return
	at_edge || [ "$count" = $((was_count - n)) ] || problem "reverse-stepi $n from $was_count to $count"
}
op_there_and_back() {
	local n from from_digest
	pick 1 3 40; n=$picked
	from=$count from_digest=$digest
	$at_end && return
	do_ "stepi $n" || return
	$at_end && return
	do_ "reverse-stepi $n" || return
	[ "$count $digest" = "$from $from_digest" ] || problem "$n forward and back: from $from $from_digest to $count $digest"
}
op_break() {
	pick "${pcs[@]}"
	ask "${1:-break} *$picked"
	run_to_breakpoints "$picked" && {
		# At a hit: back to the one before and forward again is here, and so the other way round.
		local here=$count other=reverse-continue
		[ $direction = forward ] || other=continue
		do_ $other && ! at_edge && [ "${1:-}" != tbreak ] && do_ $go && { [ "$count" = "$here" ] || problem "$other and $go: from $here to $count"; }
	}
	ask delete
}
op_hbreak() { op_break hbreak; }
op_tbreak() { op_break tbreak; }
op_many() {
	local n i set=()
	pick 3 5 8 20; n=$picked
	for ((i = 0; i < n; i++)); do
		pick "${pcs[@]}"
		set+=("$picked")
		ask "break *$picked"
	done
	run_to_breakpoints "${set[@]}"
	ask delete
}
op_condition() {
	local pc condition
	pick "${pcs[@]}"; pc=$picked
	pick '($rcx & 3) == 1' '($rax & 7) > 2' '((long) $rsp & 0x40) != 0' '*(unsigned char *) $rsp != 0' '(unsigned int) $rdx < 1000 && $rbx != 0' \
		'0' '$rdi == $rsi || ($rsi & 0xf0) == 0x30'
	condition=$picked
	ask "break *$pc if $condition"
	if run_to_breakpoints "$pc" && ! $interrupted; then
		ask "output !!($condition)"
		case $answer in *1*) ;; *) problem "stopped though '$condition' does not hold" ;; esac
	fi
	ask delete
}
op_watch() {
	local kind size where
	pick watch watch watch rwatch awatch; kind=$picked
	pick char short int long long; size=$picked
	pick '($rsp & ~7)' '($rsp - 16 & ~7)' '($rsp + 24 & ~7)' '($rbp & ~7)' "${places[@]}"; where=$picked
	ask "$kind -l *(unsigned $size *) $where"
	case $answer in *Hardware*) ;; *) ask delete; return ;; esac
	verb
	was_end=$at_end
	if do_ "$go"; then
		moved_right
		if at_edge; then
			edge_is $direction || problem "history ended at $count"
		elif [ $kind = watch ] && [ $direction = forward ] && ! $at_end && [[ $happened != *unreadable* ]]; then
			# (From what it could not read gdb takes any value for news, and later the same value for none.)
			local here=$count
			if do_ reverse-continue; then
				# The same store, seen from its other side.
				[ "$count" = $((here - 1)) ] || at_edge || problem "a store seen at $here, and backwards at $count"
				do_ continue && { [ "$count" = "$here" ] || problem "a store seen at $here, and again at $count"; }
			fi
		fi
	fi
	ask delete
}
op_who() { do_ 'eval "monitor who-wrote 0x%lx 8", ($rsp & ~7)' && { [ "$count $digest" = "$was_count $was_digest" ] || problem "who-wrote moved the machine from $was_count to $count"; }; }
op_checkpoint() { do_ 'monitor checkpoint' && { [ "$count $digest" = "$was_count $was_digest" ] || problem "checkpoint moved the machine"; }; }
op_nexti() { $at_end || do_ "nexti"; }
op_back_over() { $at_end || do_ "reverse-nexti"; }
op_branch() {
	local from=$count from_digest=$digest was=$rip
	$at_end && return
	pick 'set var $rax = $rax + 1' 'set var $rsp = $rsp - 64' 'set var *(unsigned char *) $rsp ^= 255' 'set var $rip = $rip + 1'
	do_ "$picked" || return
	if ! $branched; then return; fi # nothing there to write to
	pick 'stepi 3' 'stepi' 'monitor where' 'stepi 20'
	do_ "$picked"
	$branched || $at_end || problem 'the branch was left'
	pick reverse-stepi reverse-continue "monitor goto $from"
	do_ "$picked" reprise-moved || return
	[ "$count $digest $rip" = "$from $from_digest $was" ] || problem "a branch from $from left for $count, digest $digest instead of $from_digest"
}

all=(goto goto goto goto nudge nudge end stepi stepi stepi back back back back there_and_back there_and_back break break break
	hbreak tbreak many many condition condition condition watch watch watch watch who checkpoint nexti back_over branch branch)

# ---- the session, and the truth ----

truth() { # RECORDING COUNTS: prints "COUNT DIGEST RIP" lines
	REPRISE_SESSION="trace_at=$(sort -nu "$2" | tr '\n' ,)"$'\n' timeout -k 5 "$patience_s" "$reprise" replay "$1" 2>&1 > /dev/null |
		sed -n 's/.*trace insns=\([0-9]*\) .* digest=\([0-9a-f]*\) .*rip=\(0x[0-9a-f]*\).*/\1 \2 \3/p'
}
session() { # NAME OPS RECORDING DEBUG-OPTIONS...
	local wanted=$2 recording=$3 began=$SECONDS before points
	name=$1
	shift 3
	before=$(cksum < "$recording")
	end_count=$(info "$recording" instructions) end_digest=$(info "$recording" digest)
	nproblems=0 ninterrupted=0 op=0
	: > "$tmp/seen"
	: > "$tmp/problems"
	for ((i = 0; i < 60; i++)); do far_draw "$end_count"; echo $((drawn + 1)); done > "$tmp/points"
	truth "$recording" "$tmp/points" > "$tmp/pool"
	mapfile -t pcs < <(cut -d ' ' -f 3 "$tmp/pool" | sort -u)
	start_gdb "$tmp/session" "$recording" "$@"
	where_is_it || problem 'no answer at all'
	for ((op = 1; op <= wanted && nproblems < 5; op++)); do
		pick "${all[@]}"
		"op_$picked"
		gone "$gdb_pid" && { problem 'gdb has gone'; break; }
	done
	leave_gdb
	[ $nproblems = 0 ] && [ "$status" = 0 ]
	ok "$name: $((op - 1)) operations, $ninterrupted of them interrupted, in $((SECONDS - began)) s: each went where it should"
	cut -d ' ' -f 1 "$tmp/seen" > "$tmp/points"
	truth "$recording" "$tmp/points" | sort -u > "$tmp/truth"
	cut -d ' ' -f 1-3 "$tmp/seen" | sort -u > "$tmp/said"
	points=$(wc -l < "$tmp/said")
	[ "$points" -gt $((wanted / 10)) ] && cmp -s "$tmp/truth" "$tmp/said"
	ok "$name: at $points points, registers and the digest of the machine are those of a plain replay" || {
		diff "$tmp/truth" "$tmp/said" | head -n 10 | sed 's/^/# /'
		nproblems=1
	}
	[ "$before" = "$(cksum < "$recording")" ]; ok "$name: the recording is as it was"
	if [ $nproblems != 0 ]; then
		tail -n 40 "$tmp/problems"
		keep "$name-$TEST_SEED" "$recording" "$tmp"/{session.gdb,session.log,seen,truth,said,problems,times}
	fi
}

recordings=$(realpath -m "${RECORDINGS:-$tmp}")
linux_recording() {
	[ -r "$recordings/linux.rpl" ] || "$reprise" record -q --checkpoints -o "$recordings/linux.rpl" --kernel "$kernel" --initrd "$initrd" \
		--append "$append quiet" <<< 'echo hello; cat /proc/uptime; poweroff -f' > /dev/null
}
one_round() { # ROUND KIND SEED
	RECORDINGS=$recordings SESSIONS=$2 LINUX_OPS=$ops timeout -k 10 3600 "$0" "$3" "$ops" > "$tmp/round$1" 2>&1
	echo $? > "$tmp/status$1"
	echo "# round $1: status $(cat "$tmp/status$1"), $(sed -n 's/^ok [0-9]* - \(.*\): each went.*/\1/p' "$tmp/round$1")"
}
if [ "$rounds" != 0 ]; then
	linux_recording
	for ((round = 1; round <= rounds; round++)); do
		draw 1000000; seed=$drawn
		[ $((round % ${LINUX_EVERY:-5})) = 0 ] && kind=linux || kind=tiny
		while [ "$(jobs -pr | wc -l)" -ge "${JOBS:-$(nproc)}" ]; do wait -n; done
		echo "# round $round of $rounds, $kind, seed $seed: begins"
		one_round "$round" $kind "$seed" &
	done
	wait
	for ((round = 1; round <= rounds; round++)); do
		what=$(sed -n 's/^ok [0-9]* - \(.*\): each went.*/\1/p; s/^# reverse: TEST_SEED=\(.*\)/seed \1/p' "$tmp/round$round" | tr '\n' ' ')
		result "$(cat "$tmp/status$round")" "round $round of $rounds: $what" || sed 's/^/# /' "$tmp/round$round"
	done
fi
[ "$rounds" = 0 ] || finish
draw 2
case $drawn in
0) tiny=hlt words='batch tick=20' ;;
1) tiny=stray words='hot insns=200000' ;;
esac
elf=$root/build/guests/$tiny.elf
case $sessions in *tiny*)
	"$reprise" record -q --force -o "$tmp/tiny.rpl" --mem 64M --kernel "$elf" --append "$words" < /dev/null > /dev/null
	places=('&sum' '&sum' '&tss[4]')
	session $tiny "$ops" "$tmp/tiny.rpl" --symbols "$elf" ;;
esac
case $sessions in *linux*)
	linux_recording
	places=('($rsp + 64 & ~7)' '($rdi & ~7)' '($rsi & ~7)')
	session linux "$linux_ops" "$recordings/linux.rpl" ;;
esac
finish
