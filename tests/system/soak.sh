#!/bin/bash
# soak.sh [N] - record and replay N times (200) with everything drawn at random: memory, seed, pacing,
# poll and epoch lengths, what is typed; each replayed plain and perturbed.  What diverges is kept.
. "$(dirname "$0")/lib.sh"
n=${1:-200}
diverged=0 broken=0 insns=0
sizes=(80M 96M 128M 160M 256M 512M)
polls=(100K 500K 1M 1M 1M 2M)

pick() { # VALUE...: sets $picked
	draw $#
	picked=${*:drawn + 1:1}
}
# Replays the recording; counts and keeps what is not as it was.
check() { # HOW OPTIONS...
	local how=$1
	shift
	replays soak "$@" && return 0
	case $status in
	3 | 0) diverged=$((diverged + 1)) ;;
	*) broken=$((broken + 1)) ;;
	esac
	printf '%s\n' "$parameters" "replay $* status $status session ${REPRISE_SESSION:-}" > "$tmp/parameters"
	keep "round$i-$how" "$tmp"/soak.{rpl,out,err} "$tmp"/{out,err,parameters}
	return 1
}

for ((i = 1; i <= n; i++)); do
	pick "${sizes[@]}"; mem=$picked
	pick "${polls[@]}"; poll=$picked
	draw 1000000; seed=$drawn
	draw 25; count=$drawn
	draw 4; sync=()
	[ $drawn != 0 ] || sync=(--sync)
	parameters="mem $mem poll $poll seed $seed commands $count ${sync[*]}"
	unset REPRISE_SESSION
	record_typed soak "$count" --mem "$mem" --poll-insns "$poll" --seed "$seed" "${sync[@]}"
	if ! is 0; then
		broken=$((broken + 1))
		keep "round$i-record" "$tmp"/soak.{rpl,out,err}
		false; ok "round $i: recording, $parameters"
		continue
	fi
	insns=$((insns + $(info "$tmp/soak.rpl" instructions)))
	draw 1000000000; perturb=$((drawn + 1))
	draw 30; gap=$(((drawn + 1) * 1000000))
	check plain
	plain=$?
	export REPRISE_SESSION="perturb_gap=$gap"
	check perturb --perturb $perturb && [ $plain = 0 ]
	ok "round $i of $n: $parameters perturb $perturb gap $gap; so far: diverged $diverged, broken $broken, $((insns / 1000000)) M instructions"
done
echo "# $n rounds, $insns instructions recorded: $diverged divergences, $broken other failures"
finish
