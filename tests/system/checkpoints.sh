#!/bin/bash
# checkpoints.sh - recordings with states of the machine in them: the same run, begun in the middle;
# and what is cut, flipped or altered there costs time at most, and never a wrong state.
. "$(dirname "$0")/lib.sh"
append=$full_boot # the points below are its
${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O1 -I"$root" -o "$tmp/alter" "$root"/tests/system/alter.c "$root"/tools/{recfile,util}.c "$root"/kernel/kconf.c "$root"/replay/stored_read.c \
	"$root"/replay/recording_{event,read,write,lz4}.c -llz4 || exit 1
cd "$tmp" || exit 1
export HOME=$tmp # nobody's .gdbinit

printf 'echo typed\n' > typed
machine=(--kernel "$kernel" --initrd "$initrd" --append "$append" --epoch-insns 100M)
records() { # NAME INPUT OPTIONS...
	local name=$1 input=$2
	shift 2
	run "$reprise" record --force -o "$name.rpl" "${machine[@]}" "$@" < "$input"
	cp out "$name.out"
}
debugs() { # OPTIONS... -- COMMANDS...: what gdb and the machine say, in ./out
	local options=() commands=()
	while [ "$1" != -- ]; do options+=("$1"); shift; done
	shift
	while [ $# != 0 ]; do commands+=(-ex "$1"); shift; done
	run "$reprise" debug -q "${options[@]}" -- -nx -batch "${commands[@]}"
	cat err >> out
}
digest_at() { # COUNT FILE: the machine's there, in a debugger
	debugs --at "$1" "$2" -- where-am-i 'monitor digest'
	sed -n 's/^.*\b\([0-9a-f]\{16\}\)$/\1/p' out
}
last_digest() {
	sed -n 's/.*(the last \([0-9a-f]*\))$/\1/p' err
}

# ---- the same run ----

records c typed --checkpoint-every 150M --limit-insns 500M
is 6; ok_with 'recorded with a checkpoint every 150M: $(bytes c.rpl) bytes'
[ "$(info c.rpl checkpoints)" = 4 ]; ok 'info: three, and the one of the end'
run "$reprise" verify c.rpl
is 0; ok verify
run "$reprise" log c.rpl
[ "$(grep -c ' digest ' out)" = 6 ] && grep -q 'end limit' out; ok 'log: events only'
begin=$(now_ms)
replays c || { keep whole c.* out err; false; }; ok 'replayed from its beginning: identical, the same console'
whole=$(($(now_ms) - begin))
[ "$(last_digest)" = "$(info c.rpl digest)" ]; ok 'to the same digest'
begin=$(now_ms)
run "$reprise" replay --from 460M c.rpl
part=$(($(now_ms) - begin))
is 0 'identical to its end' && [ "$(last_digest)" = "$(info c.rpl digest)" ]; ok 'replay --from 460M: identical to its end, the same digest'
[ $part -lt $((whole * 3 / 4)) ]; ok "begun there: $part ms, the whole took $whole ms"
run "$reprise" replay --from 210M c.rpl
[ "$(bytes out)" -gt 0 ] && [ "$(bytes out)" -lt "$(bytes c.out)" ] && tail -c "$(bytes out)" c.out | cmp -s - out; ok 'from 210M: the console from there on'
run "$reprise" replay --from 470M --until 480M c.rpl
is 0 'up to the point asked for'; ok 'replay --from 470M --until 480M'
run "$reprise" replay --from 470M --until 300M c.rpl
is 0 'up to the point asked for' && [ ! -s out ]; ok 'replay --from behind --until: nothing is shown, and it is no divergence'
run "$reprise" replay --from 470M --until 150M c.rpl
is 0 'up to the point asked for'; ok 'replay --until a checkpoint'
# When what is typed arrives the host's clock says: nothing is, where two recordings are compared.
records with /dev/null --checkpoint-every 150M --limit-insns 400M
records without /dev/null --limit-insns 400M
is 6 && [ "$(info without.rpl checkpoints)" = 0 ] && cmp -s with.out without.out; ok 'recorded without, and nothing typed'
[ "$(info with.rpl digest)" = "$(info without.rpl digest)" ]; ok 'the same run: the same digest'
run "$reprise" pack c.rpl -o plain.rpl
is 0 && [ "$(info plain.rpl checkpoints)" = 0 ] && [ "$(info plain.rpl digest)" = "$(info c.rpl digest)" ]; ok 'pack leaves them out'
at=$(digest_at 350M c.rpl)
[ -n "$at" ] && [ "$at" = "$(digest_at 350M plain.rpl)" ]; ok 'debug --at 350M: the machine of the run without'
[ "$(digest_at end c.rpl)" = "$(info c.rpl digest)" ]; ok 'debug at the end'
debugs c.rpl -- 'reverse-stepi 5' where-am-i 'goto 350M' 'monitor digest' 'goto begin' 'goto 301M' 'goto end'
grep -q '^instruction 499999995,' out && grep -q "$at" out && grep -q '^instruction 301000000,' out && grep -q '^instruction 500000000,.*the end' out
ok 'debug: from the end back, to the beginning, and to the end' || { cp out err; false; }
debugs --timeline-mem 64M --at 350M c.rpl -- where-am-i 'monitor digest'
is 0 && grep -q '^instruction 350000000,' out && grep -q "$at" out; ok 'debug with little memory for checkpoints'

# What x87 remembers of its last instruction cannot be saved, and this guest looks at it.
guests=$(realpath -m "${GUESTS:-$root/build/guests}")
run "$reprise" record -o x87.rpl --mem 64M --checkpoint-every 1M --kernel "$guests/x87ptr.elf" < /dev/null
for from in 3M 11M 20M; do
	run "$reprise" replay --from $from x87.rpl
	is 0 'identical to its end' || break
done
ok 'x87: the same from wherever it begins'

# ---- not whole ----

size=$(bytes c.rpl)
head -c $((size * 3 / 5)) c.rpl > cut.rpl
run "$reprise" verify cut.rpl
is 4 && one_line; ok 'cut in the middle of a checkpoint: verify says so'
n=$(info cut.rpl checkpoints)
run "$reprise" replay cut.rpl
is 4 && grep -q 'identical as far as' err && same_beginning out c.out; ok_with 'what is intact replays: $(info cut.rpl instructions) instructions, $n checkpoints'
debugs cut.rpl -- where-am-i reverse-stepi where-am-i
grep -q '^instruction [1-9]' out; ok 'and can be debugged'
early=$(digest_at 250M plain.rpl)
[ -n "$early" ] && [ "$(digest_at 250M cut.rpl)" = "$early" ]; ok 'at a point behind a checkpoint, too'
# Only END is gone: the checkpoint of the end is whole, but how the run ended is not known.
head -c $((size - 20)) c.rpl > cut.rpl
debugs cut.rpl -- where-am-i
is 0 && grep -q '^instruction 500000000,' out; ok 'cut before its END: debug goes as far as it is known'

flip_at=$((size / 2))
cp c.rpl flipped.rpl
byte=$(od -An -tu1 -j $flip_at -N 1 c.rpl)
# shellcheck disable=SC2059 # an octal escape
printf "\\$(printf %03o $((byte ^ 16)))" | dd of=flipped.rpl bs=1 seek=$flip_at conv=notrunc status=none
run "$reprise" verify flipped.rpl
is 4 damaged && one_line; ok 'a bit flipped in a page: verify says where'
run "$reprise" replay flipped.rpl
is 4 && same_beginning out c.out && ! grep -q diverged err; ok 'replays up to there'
run "$reprise" replay --from 490M flipped.rpl
is 4 && ! grep -q diverged err; ok 'from a point behind it: not at all, or up to there'

./alter c.rpl altered.rpl > altered
[ "$(cat altered)" -gt 4 ] && run "$reprise" verify altered.rpl
is 0; ok 'other pages, with right checksums'
run "$reprise" replay --from 250M altered.rpl
is 1 'not of this machine' && one_line && [ ! -s out ]; ok 'replay --from refuses them'
debugs --at 250M altered.rpl -- where-am-i
is 1 'not of this machine' && ! grep -q '^instruction' out; ok 'debug refuses them'
run "$reprise" pack altered.rpl -o mended.rpl
[ "$(digest_at 250M mended.rpl)" = "$early" ]; ok 'a copy without, as it advises, can be debugged'

# ---- kill -9 ----

for n in 1; do
	start_record k 3 --checkpoint-every 50M
	draw 12000
	far=$((drawn + 500))
	while [ "$(bytes k.out)" -lt $far ] && ! gone "$pid"; do pause 20; done
	pause_below 300
	kill -9 "$qemu"
	wait "$pid" 2> /dev/null
	kill "$typing" 2> /dev/null
	wait "$typing" 2> /dev/null
	run "$reprise" verify k.rpl
	is 4; ok_with 'QEMU killed after $far bytes of output: $(info k.rpl checkpoints) checkpoints, $(extent k.rpl)'
	run "$reprise" replay k.rpl
	grep -q 'identical as far as' err && same_beginning out k.out || { keep kill k.* out err; false; }; ok 'what is left replays'
	at=$(info k.rpl instructions) at=$((${at:-0} * 9 / 10))
	[ $at -lt 60000000 ] || { run "$reprise" replay --from $at k.rpl && grep -q 'identical as far as' err; }; ok "and from $at on"
done

# ---- usage ----

for c in '--checkpoint-every 1500K|not a multiple of --poll-insns' '--checkpoint-every 0|not understood' \
	'--checkpoint-every 5M --epoch-insns 1M|no point left'; do
	# shellcheck disable=SC2086
	run "$reprise" record --force -o x.rpl --kernel "$kernel" ${c%|*} < /dev/null
	is 2 "${c##*|}" && one_line; ok "usage: record ${c%|*}"
done
finish
