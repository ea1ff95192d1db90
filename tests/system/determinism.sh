#!/bin/bash
# determinism.sh - no input and the same seed: the same run, whatever the host is doing.  Another
# seed: another.  And a replay that is stopped at random points on the way does not notice.
. "$(dirname "$0")/lib.sh"
perturb_seeds=${1:-3}

# Nobody types: the guest boots, reaches its shell, idles, and is stopped at a point of its own time.
undisturbed() { # NAME SEED
	run "$reprise" run --kernel "$kernel" --initrd "$initrd" --append "$append" --seed "$2" --limit-vtime 3s < /dev/null
	cp "$tmp/out" "$tmp/$1.out"
	cp "$tmp/err" "$tmp/$1.err"
	is 6
}
# The same while the host is busy, and QEMU stops for a while now and then.
disturbed() { # NAME SEED
	local load
	(while :; do :; done) &
	load=$!
	: > "$tmp/$1.out"
	"$reprise" run --kernel "$kernel" --initrd "$initrd" --append "$append" --seed "$2" --limit-vtime 3s \
		--timeout "${patience_s}s" < /dev/null > "$tmp/$1.out" 2> "$tmp/$1.err" &
	pid=$!
	qemu=$(qemu_of $pid)
	stops=0
	while ! gone $pid; do
		pause_below 400
		kill -STOP "$qemu" 2> /dev/null || break
		stops=$((stops + 1))
		pause_below 300
		kill -CONT "$qemu" 2> /dev/null
	done
	wait $pid
	status=$?
	cp "$tmp/$1.err" "$tmp/err"
	kill $load
	wait $load 2> /dev/null
	is 6
}
same_run() { # NAME NAME
	cmp -s "$tmp/$1.out" "$tmp/$2.out" && [ -n "$(digest_of_run "$tmp/$1.err")" ] &&
		cmp -s "$tmp/$1.err" "$tmp/$2.err" # instructions, virtual time, exits, digest
}

undisturbed a 1; ok "a run without input, stopped at its limit"
digest=$(digest_of_run "$tmp/a.err")
[ -n "$digest" ]; ok "its digest: $digest"
grep -q Linux "$tmp/a.out"; ok 'in which Linux boots'
disturbed c 1; ok "once more on a busy host, QEMU stopped and continued $stops times"
same_run a c || { keep busy "$tmp"/[ac].*; false; }; ok 'the same: console, instructions, virtual time, exits, digest'
undisturbed d 2; ok 'another seed'
[ "$(digest_of_run "$tmp/d.err")" != "$(digest_of_run "$tmp/a.err")" ]; ok 'another digest'
run "$reprise" record -o "$tmp/e.rpl" --kernel "$kernel" --initrd "$initrd" --append "$append" --limit-vtime 3s < /dev/null
is 6 && [ "$(digest_of_run "$tmp/err")" = "$(digest_of_run "$tmp/a.err")" ]; ok 'recorded: the same digest as unrecorded'
cp "$tmp/out" "$tmp/e.out"
replays e || { keep limit "$tmp"/e.* "$tmp/out" "$tmp/err"; false; }; ok 'and replayed: identical to its end, the limit'

# Far apart, so that a boot takes seconds; every seed samples other stretches.
export REPRISE_SESSION='perturb_gap=20000000'
record_typed typed 6
extent=$(extent "$tmp/typed.rpl")
is 0; ok "recorded: $extent"
for ((i = 1; i <= perturb_seeds; i++)); do
	draw 1000000000
	seed=$((drawn + 1))
	replays typed --perturb $seed || { keep "perturb-$seed" "$tmp"/typed.* "$tmp/out" "$tmp/err"; false; }
	ok "replayed with --perturb $seed: identical, the same console"
done
finish
