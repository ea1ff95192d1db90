#!/bin/bash
# damage.sh [STEP] - recordings that are cut, flipped, foreign, unreadable, and a disk that is full:
# the documented status, one line, no hang, no crash.  What is intact still replays.  Every
# STEPth (97) offset is cut and flipped, and a few of those are replayed.
# shellcheck disable=SC2015 # what comes after || fails too
. "$(dirname "$0")/lib.sh"
step=${1:-97}
cd "$tmp" || exit 1

# A short run, so that replaying parts of it is quick; typed at, so that there is something in it.
printf 'echo hello\n' > typed
run "$reprise" record --force -o a.rpl --kernel "$kernel" --initrd "$initrd" --append "$append" --limit-insns 300M \
	--epoch-insns 10M < typed
size=$(bytes a.rpl)
cp out a.out
is 6; ok "a recording to damage: $size bytes"
# Where the machine's description ends: cut before, nothing can be replayed.
head_bytes=$(for ((i = 33; i < size; i++)); do head -c $i a.rpl > h.rpl; "$reprise" verify h.rpl 2>&1 | grep -q 'intact before' && echo $i && break; done)

crashed() { # of a status: a signal's, a sanitizer's, a hang's
	[ "$1" -ge 124 ]
}
# Status 4 with one line; only counts, so that a thousand are one result.
bad=0 looked=0
expect_damaged() { # FILE WHAT COMMAND
	run "$reprise" "$3" "$1"
	looked=$((looked + 1))
	is 4 && one_line && return
	bad=$((bad + 1))
	[ $bad -gt 5 ] || echo "# $2: $3: status $status, $(wc -l < err) lines: $(head -1 err)"
}
all_good() { # NAME
	[ $bad = 0 ]; ok "$1 ($looked looked at)"
	bad=0 looked=0
}

for ((at = 0; at < size; at += step)); do
	head -c $at a.rpl > cut.rpl
	expect_damaged cut.rpl "cut at $at" verify
done
all_good 'cut anywhere: verify says so, status 4'
for ((at = 0; at < size; at += step)); do
	head -c $at a.rpl > cut.rpl
	run "$reprise" info cut.rpl
	looked=$((looked + 1))
	if [ "$at" -lt "${head_bytes:-0}" ]; then is 4 && one_line; else { is 0 || is 4; } && grep -q '^complete: no' out; fi || bad=$((bad + 1))
	run "$reprise" log cut.rpl
	crashed "$status" && bad=$((bad + 1))
done
all_good 'and info and log work, as far as it goes'

flip() { # OFFSET BIT
	local byte
	byte=$(od -An -tu1 -j "$1" -N 1 a.rpl)
	cp a.rpl flipped.rpl
	# shellcheck disable=SC2059 # an octal escape
	printf "\\$(printf %03o $((byte ^ (1 << $2))))" | dd of=flipped.rpl bs=1 seek="$1" conv=notrunc status=none
}
for ((at = 0; at < size; at += step)); do
	draw 8
	flip $at "$drawn"
	expect_damaged flipped.rpl "bit $drawn of byte $at" verify
	run "$reprise" info flipped.rpl
	is 4 || bad=$((bad + 1))
	run "$reprise" log flipped.rpl
	is 4 || bad=$((bad + 1))
done
all_good 'one bit flipped anywhere: verify, info and log say so, status 4'

# Replays of some of them: the intact part, then status 4 or, where it ends between two chunks, 0.
for i in 1 2 3 4; do
	draw $((size - head_bytes - 1)); at=$((head_bytes + drawn))
	head -c $at a.rpl > cut.rpl
	run "$reprise" replay cut.rpl
	shown=$(bytes out)
	{ is 0 || is 4; } && same_beginning out a.out && ! grep -q diverged err || { keep "cut$at" a.rpl cut.rpl out err; false; }
	ok "cut at $at: replays so far, status $status, $shown bytes of output"
	draw 8; flip $at "$drawn"
	run "$reprise" replay flipped.rpl
	is 4 && same_beginning out a.out && ! grep -q diverged err || { keep "flip$at" a.rpl flipped.rpl out err; false; }
	ok "bit $drawn of byte $at: replays up to it, status 4"
done
head -c $((head_bytes - 1)) a.rpl > cut.rpl
run "$reprise" replay cut.rpl
is 4 && one_line; ok 'cut within the description: nothing to replay, status 4'

# ---- not what they seem ----
cp a.rpl later.rpl
printf '\002' | dd of=later.rpl bs=1 seek=8 conv=notrunc status=none
cat > seal.c <<'END'
#include <stdio.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
/* Makes the file header's checksum right again. */
int main(int argc, char **argv)
{
	FILE *f = fopen(argv[argc - 1], "r+");
	unsigned char b[24];
	XXH64_hash_t h;

	if (!f || fread(b, 1, 24, f) != 24)
		return 1;
	h = XXH64(b, 24, 0);
	fseek(f, 24, SEEK_SET);
	return fwrite(&h, 8, 1, f) != 1 || fclose(f);
}
END
if ${CC:-gcc} -o seal seal.c 2> /dev/null && ./seal later.rpl; then
	for c in verify info log replay; do
		run "$reprise" $c later.rpl
		is 4 'later version' && one_line; ok "a later version of the format: $c"
	done
else
	skip 'a later version of the format' 'no xxhash.h'
fi
: > empty.rpl
head -c 4096 /dev/urandom > noise.rpl
head -c 4096 /dev/zero > zero.rpl
for f in empty.rpl noise.rpl zero.rpl "$kernel"; do
	for c in verify info log replay; do
		run "$reprise" $c "$f"
		is 4 'not a recording' && one_line; ok "not a recording: $c ${f##*/}"
	done
done
mkdir dir.rpl
for c in verify info log replay; do
	run "$reprise" $c dir.rpl
	is 2 && one_line; ok "a directory: $c"
	run "$reprise" $c nothing-here.rpl
	is 2 'No such file' && one_line; ok "not there: $c"
done
cp a.rpl secret.rpl && chmod 0 secret.rpl
if [ "$(id -u)" != 0 ]; then
	run "$reprise" verify secret.rpl
	is 2 'Permission denied' && one_line; ok 'unreadable'
elif command -v setpriv > /dev/null && chmod 755 . && cp "$reprise" reprise && setpriv --reuid 65534 --clear-groups ./reprise --version > out 2>&1; then
	run setpriv --reuid 65534 --clear-groups ./reprise verify secret.rpl
	is 2 'Permission denied' && one_line; ok 'unreadable'
else
	skip unreadable 'root reads everything'
fi

# ---- other images ----
cp "$kernel" other && printf x >> other
run "$reprise" replay --kernel other a.rpl
is 2 digest && one_line && [ ! -s out ]; ok 'another kernel is refused, nothing runs'
run "$reprise" replay --initrd other a.rpl
is 2 digest && one_line && [ ! -s out ]; ok 'another initial RAM disk too'
head -c 100000 "$kernel" > other
run "$reprise" record --force -o bad.rpl --kernel other < /dev/null
{ is 1 || is 2 || is 5; } && one_line; ok "half a kernel: status $status, one line"
head -c 100000 /dev/urandom > other
run "$reprise" record --force -o bad.rpl --kernel other < /dev/null
{ is 1 || is 2 || is 5; } && one_line; ok "noise as a kernel: status $status, one line"

# ---- the disk is full while recording ----
# Typed bytes are the recording: noise, too much for the room there is.
{
	printf 'stty -echo; cat > /dev/null\n'
	head -c 300000 /dev/urandom | od -An -tx1
} > flood
cat > full.sh <<'END'
mkdir full && mount -t tmpfs -o size=48k full full || exit 99
timeout -k 5 "$patience_s" "$reprise" record -o full/a.rpl --kernel "$kernel" --initrd "$initrd" --append "$append" --timeout 120s < flood > out 2> err
echo $? > status
cp --sparse=always full/a.rpl full.rpl
END
export patience_s reprise kernel initrd append
# In a mount namespace of its own: nothing stays mounted.
root_there=()
[ "$(id -u)" = 0 ] || root_there=(--user --map-root-user)
if unshare "${root_there[@]}" --mount sh ./full.sh 2> mount.err; [ -e status ]; then
	status=$(cat status)
	is 1 'write failed\|No space\|disk' && [ "$(grep -c . err)" -le 2 ]; ok 'the disk is full while recording: status 1, in words'
	run "$reprise" verify full.rpl
	is 4; ok "what was written is intact"
	run "$reprise" replay full.rpl
	is 0 || is 4; ok 'and replays'
else
	skip 'the disk is full while recording' "no tmpfs to be had: $(head -1 mount.err)"
fi
finish
