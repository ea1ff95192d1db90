#!/bin/bash
# pressure.sh [N [PERTURBED]] - guests that can see stale translations.  Linux short of memory ages
# pages: it clears accessed bits in page tables without flushing the TLB, and swaps; writing to
# /proc/PID/clear_refs does the same at once.  Whether the processor sets such a bit again depends
# on what is still in the TLB: there hides the last trace of where the guest was stopped, and of
# the size QEMU gave its software TLB, which follows host time [docs/CAVEATS.md].
#
# PRESSURE_MEM: sizes of the first guest (80M).  Each guest is recorded once and replayed N times (1): those must be identical.  Replays with
# --perturb (PERTURBED, 0) stop elsewhere on purpose; how many of them differ is only reported.
. "$(dirname "$0")/lib.sh"
n=${1:-1} perturbed=${2:-0}
patience_s=1800
summary=()

: > "$tmp/nothing"
cat > "$tmp/refs" <<'END'

stty -echo
sum() { s=0; while read k v u; do case $k in Referenced:) s=$((s+v));; esac; done < /proc/$$/smaps; }
work() { i=0; while [ $i -lt $1 ]; do i=$((i+1)); done; }
n=0; while [ $n -lt 40 ]; do echo 1 > /proc/$$/clear_refs; work $((n % 7 * 20)); sum; echo "ref $n $s"; n=$((n+1)); done
poweroff -f
END

guest() { # NAME INPUT RECORD-OPTIONS...
	local name=$1 input=$2 i extent plain_bad=0 perturbed_bad=0
	shift 2
	run "$reprise" record --force -o "$tmp/p.rpl" --kernel "$kernel" --initrd "$initrd" "$@" < "$input"
	cp "$tmp/out" "$tmp/p.out"
	extent="$(info "$tmp/p.rpl" instructions) instructions, $(info "$tmp/p.rpl" exits) exits"
	is 0 'powered off'; ok "$name: $extent" || return
	for ((i = 1; i <= n; i++)); do
		replays p || { plain_bad=$((plain_bad + 1)); differs "$name-plain$i"; false; }
		ok "$name: replay $i: identical"
	done
	for ((i = 1; i <= perturbed; i++)); do
		draw 1000000000
		export REPRISE_SESSION='perturb_gap=30000000'
		replays p --perturb $((drawn + 1)) || { perturbed_bad=$((perturbed_bad + 1)); differs "$name-perturb$((drawn + 1))"; }
		unset REPRISE_SESSION
	done
	summary+=("$name: $plain_bad of $n replays differ, and $perturbed_bad of $perturbed perturbed ones")
}
differs() { # NAME
	sed -n 's/^reprise: \(replay: .*\)/# \1/p' "$tmp/err"
	keep "$1" "$tmp"/p.* "$tmp/out" "$tmp/err"
}

for mem in ${PRESSURE_MEM:-80M}; do
	guest "pressure-$mem" "$tmp/nothing" --mem $mem --append "$append workload=pressure"
	sed -n 's/\r$//; s/^\(pg[a-z_]* \|pswp[a-z]* \|oom_kill \)/# &/p' "$tmp/p.out"
	awk '/^pswpout|^pgscan_(kswapd|direct)/ { sum += $2 } END { exit sum < 1000 }' "$tmp/p.out"
	ok "pressure-$mem: it aged and swapped pages"
done
guest clear_refs "$tmp/refs" --append "$append quiet"
printf '# %s\n' "${summary[@]}"
finish
