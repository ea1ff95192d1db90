#!/bin/bash
# replay.sh [N [R]] - Linux recorded N times (3) while somebody types at moments the machine
# does not choose, each replayed R times (3): the same console bytes, status 0.
. "$(dirname "$0")/lib.sh"
n=${1:-3} r=${2:-3}

printf 'uname -a\nls /proc\npoweroff -f\n' > "$tmp/typed"
run "$reprise" record -o "$tmp/pipe.rpl" --kernel "$kernel" --initrd "$initrd" \
	--append "$full_boot" < "$tmp/typed"
cp "$tmp/out" "$tmp/pipe.out"
is 0 'powered off' && grep -q '^Linux .*x86_64' "$tmp/pipe.out" && grep -q cpuinfo "$tmp/pipe.out"; ok 'Linux recorded, its commands from a pipe'
"$reprise" verify "$tmp/pipe.rpl" > /dev/null 2> "$tmp/err"; ok 'its recording is complete'
replays pipe || { keep pipe "$tmp/pipe".* "$tmp/out"; false; }; ok 'replayed: identical, the same console'
[ "$(info "$tmp/pipe.rpl" digest)" = "$(sed -n 's/.*(the last \([0-9a-f]*\))$/\1/p' "$tmp/err")" ]; ok "the replay's last digest is the recorded one"

for ((i = 1; i <= n; i++)); do
	record_typed typed 12
	extent=$(extent "$tmp/typed.rpl")
	is 0 'powered off'; ok "recording $i: $extent" || {
		keep "record$i" "$tmp/typed".*
		continue
	}
	for ((j = 1; j <= r; j++)); do
		replays typed || { keep "replay$i.$j" "$tmp/typed".* "$tmp/out" "$tmp/err"; false; }
		ok "recording $i replayed, time $j: identical, the same console"
	done
done
finish
