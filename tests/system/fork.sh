#!/bin/bash
# fork.sh - reprise fork: live machines out of points of a recorded Linux: typed at, recorded and
# replayed, forked again, debugged across the point where they left; many by their seeds; and
# parents that have moved, gone, or are others.
. "$(dirname "$0")/lib.sh"
append=$full_boot # the points below are its
cd "$tmp" || exit 1
export HOME=$tmp # nobody's .gdbinit

# The parent has checkpoints, so that what forks from it late begins quickly.
printf 'echo parent-$((6*7))\n' > typed
run "$reprise" record -o p.rpl --kernel "$kernel" --initrd "$initrd" --append "$append" --checkpoint-every 500M --no-eof-char \
	--limit-vtime 1500ms < typed
is 6 && grep -q parent-42 out; ok_with 'a parent: $(extent p.rpl)'
printf 'echo child-$((6*7))\npoweroff -f\n' > typed

forks() { # NAME PARENT OPTIONS...: recorded; what is typed comes from ./typed
	local name=$1 parent=$2
	shift 2
	run "$reprise" fork --force -o "$name.rpl" "$@" "$parent" < typed
	cp out "$name.out"
}
# The child replays to its end; on its console what it said since it left is what comes last.
child_replays() { # NAME
	run "$reprise" replay "$1.rpl"
	is 0 'identical to its end' && tail -c "$(bytes "$1.out")" out | cmp -s - "$1.out" || { keep "$1" ./*.rpl out err; false; }
}
digests() { # FILE COUNT...: the machine's at these points, in a debugger, one a line
	local file=$1 at=() n
	shift
	for n; do at+=(-ex "monitor goto $n" -ex 'monitor digest'); done
	run "$reprise" debug --at "$1" -q "$file" -- -nx -batch "${at[@]}"
	cat err >> out
	sed -n 's/^.*\b\([0-9a-f]\{16\}\)$/\1/p' out
}

# ---- one ----

forks k p.rpl --at 1300M
is 0 'powered off' && grep -q child-42 k.out && grep -q 'echo child' k.out; ok 'a fork: what is typed is echoed, heard and answered; it powers off'
[ "$(info k.rpl parent)" = "$(info p.rpl id)" ] && [ "$(info k.rpl complete)" = yes ]; ok_with 'its recording names its parent: $(extent k.rpl)'
[ "$(bytes k.rpl)" -lt 4096 ]; ok_with 'and is small: $(bytes k.rpl) bytes'
child_replays k; ok 'and replays: identical to its end, the same console'
grep -q parent-42 out; ok 'from the beginning of its run on, its parent'"'"'s part too'
run "$reprise" log k.rpl
is 0 && grep -q 'input console0' out && grep -q 'end poweroff' out; ok 'log shows its own part'
run "$reprise" verify k.rpl
is 0; ok 'verify'

digests p.rpl 900M 1250M > want
digests k.rpl 900M 1400M 900M 1250M > got
[ "$(wc -l < want)" = 2 ] && [ "$(wc -l < got)" = 4 ] || { cat out > err; false; }
ok 'debug: from before the point to behind it and back'
[ "$(sed -n 1p got)" = "$(sed -n 1p want)" ] && [ "$(sed -n 3p got)" = "$(sed -n 1p want)" ] && [ "$(sed -n 4p got)" = "$(sed -n 2p want)" ]
ok 'before the point it is its parent, each time'

# ---- forks of it ----

forks g k.rpl --at 1310M --limit-insns 20M --seed 7
is 6; ok_with 'a fork of the fork: $(extent g.rpl)'
child_replays g; ok 'replays'
# Out of the child, but from a point where there was no child yet, and past where that began.
forks e k.rpl --at 400M --jitter 1ms --limit-insns 950M
is 6 && [ "$(info e.rpl parent)" = "$(info k.rpl id)" ]; ok_with 'a fork of the fork at a point before its own: $(extent e.rpl)'
child_replays e; ok 'replays: it has nothing of its parent but the name'

# ---- seeds ----

one() { # SEED: the digest it ends with
	run "$reprise" fork --at 1010M --seed "$1" --limit-insns 30M p.rpl < /dev/null
	is 6 && digest_of_run err
}
five=$(one 5) again=$(one 5) six=$(one 6)
[ -n "$five" ] && [ "$five" = "$again" ]; ok "the same seed twice: the same digest"
[ -n "$six" ] && [ "$five" != "$six" ]; ok 'another seed: another digest'
run "$reprise" fork --at 1010M --limit-insns 30M p.rpl < /dev/null
[ "$(digest_of_run err)" != "$five" ] && cp err plain; ok 'without a seed timers are on time'
run "$reprise" fork --at 1010M --limit-insns 30M --jitter 0 --seed 9 p.rpl < /dev/null
[ -n "$(digest_of_run err)" ] && [ "$(digest_of_run err)" = "$(digest_of_run plain)" ]; ok 'a seed with --jitter 0, too'
run "$reprise" fork --at 1010M --seed 4 --count 5 --limit-insns 30M p.rpl < /dev/null
cp out many
is 0 && [ "$(wc -l < many)" = 5 ] && [ "$(grep -c '^fork [1-5]: seed [4-8], limit after 1040000000 ' many)" = 5 ]; ok '--count 5: five lines'
[ "$(sed 's/.*digest \([0-9a-f]*\),.*/\1/' many | sort -u | wc -l)" = 5 ]; ok 'all different'
[ "$(sed -n 's/^fork 2: .*digest \([0-9a-f]*\),.*/\1/p' many)" = "$five" ] && [ "$(sed -n 's/^fork 3: .*digest \([0-9a-f]*\),.*/\1/p' many)" = "$six" ]
ok 'each the single fork of its seed'
run "$reprise" fork --at 1010M --limit-vtime 1030ms p.rpl < /dev/null
is 6 'virtual'; ok "--limit-vtime is kept"

# ---- where the parent is ----

mkdir away
mv p.rpl k.rpl away
run "$reprise" replay --until 1M away/k.rpl
is 0; ok 'parent and child moved together: found beside it'
mv away/p.rpl elsewhere.rpl
for c in replay "fork --at 1M" "debug --at 1M"; do
	# shellcheck disable=SC2086
	run "$reprise" $c away/k.rpl < /dev/null
	is 2 'its parent, recording' && one_line; ok "the parent is gone: $c says so"
done
run "$reprise" record --force -o away/p.rpl --kernel "$kernel" --limit-insns 2M < /dev/null
run "$reprise" replay away/k.rpl
is 2 'its parent, recording' && one_line; ok 'another recording in its place is not taken for it'
echo nonsense > away/p.rpl
run "$reprise" replay away/k.rpl
is 2 'its parent, recording' && [ ! -s out ]; ok 'nor is no recording at all'
head -c $(($(bytes elsewhere.rpl) / 3)) elsewhere.rpl > away/p.rpl
[ "$(info away/p.rpl instructions)" -lt 1300000000 ] && run "$reprise" replay away/k.rpl
is 4 'its parent' && one_line; ok 'a parent that was cut before the point is refused'
mv elsewhere.rpl away/p.rpl
run "$reprise" pack away/k.rpl -o packed.rpl
is 2 'a fork' && one_line && [ ! -e packed.rpl ]; ok 'pack: a fork has no images of its own to pack'
run "$reprise" info away/k.rpl
is 0; ok 'info needs no parent'

# ---- usage ----

cd away || exit 1
for c in 'fork p.rpl|--at: missing' 'fork --at end p.rpl|--at' 'fork --at 9G p.rpl|ends after' 'fork --at 1M --count 2 -o x.rpl p.rpl|together with --count' \
	'fork --at 1M --count 0 p.rpl|not understood' 'fork --at 1M --jitter soon p.rpl|not understood' 'fork --at 1M nothing.rpl|No such file' \
	'fork --at 1M -o p.rpl p.rpl|another name' 'fork --at 1M --force -o p.rpl p.rpl|another name' 'fork --at lots p.rpl|not understood' 'fork --at 1M|no recording named'; do
	# shellcheck disable=SC2086
	(cd "$tmp/away" && "$reprise" ${c%|*} < /dev/null > "$tmp/out" 2> "$tmp/err")
	status=$?
	is 2 "${c##*|}" && one_line; ok "usage: reprise ${c%|*}"
done
finish
