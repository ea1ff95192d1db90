#!/bin/bash
# hostile.sh [SEEDS] - a guest that does what no kernel does (tests/guests/hostile.c), with many seeds
# (4), and all the ways it can end: the hypervisor stays up, says how the VM stopped, status 5.
elf=$(dirname "$0")/../../build/guests/hostile.elf
KERNEL=$(realpath -m "${HOSTILE:-$elf}")
. "$(dirname "$0")/lib.sh"
seeds=${1:-4} limit=30M
ways=(triple badcr3 nowhere hltcli nmi)

# Recorded, with all that the hypervisor says.
hostile() { # APPEND
	run "$reprise" record --force -v -o "$tmp/h.rpl" --kernel "$kernel" --append "$1" --limit-insns "$limit" < /dev/null
	cp "$tmp/out" "$tmp/h.out"
	cp "$tmp/err" "$tmp/h.err"
}
alive() { # no panic; QEMU ended by itself, not by a signal, and in time
	! grep -qi 'panic\|assert\|qemu.*fatal\|killed by signal\|without the hypervisor' "$tmp/err" && [ "$status" -lt 124 ] &&
		[ "$status" != 1 ]
}
once() { # APPEND STATUS NAME
	hostile "$1"
	alive || { keep "${1// /-}" "$tmp"/h.*; false; }
	ok "$3: the hypervisor stays up"
	end=$(grep '^reprise: ' "$tmp/err" | tail -1 | cut -c 10-90)
	[[ $status =~ ^$2$ ]]; ok "$3: status $status: $end"
	if [ "$2" = 5 ]; then
		grep -q '^cpu\.rip ' "$tmp/err"; ok "$3: the stopped machine's state"
	fi
	cp "$tmp/h.err" "$tmp/err"
	replays h || { keep "replay-${1// /-}" "$tmp"/h.* "$tmp/out" "$tmp/err"; false; }
	ok "$3: replayed: identical"
}

for ((i = 1; i <= seeds; i++)); do
	draw 1000000
	once "seed=$drawn" 0 "seed $drawn"
done
once "seed=778632" 0 'IRET in ring 3, its stack at a device that is the kernel'
once "seed=638951" 0 'a guest that comes back from x2APIC mode'
once "rounds=0 setcc" 0 setcc
for way in "${ways[@]}"; do
	draw 1000000
	once "seed=$drawn rounds=10 $way" 5 "$way"
done
# Random instructions in ring 0: any end will do, the limit too.  Soon: a store into a page of which
# QEMU has translated much takes it 0.1 ms.
limit=500k
for ((i = 1; i <= seeds; i++)); do
	draw 1000000
	once "seed=$drawn wild" '[056]' "wild $drawn"
done
finish
