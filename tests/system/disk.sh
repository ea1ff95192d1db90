#!/bin/bash
# disk.sh - a guest with disks: read-only, copy-on-write and written through; what it does to them
# adds nothing to a recording, and a replay does not touch them.  And one with the two devices that
# have no files: a console and random numbers.
. "$(dirname "$0")/lib.sh"
net=$(realpath -m "${NET:-$root/build/net}")
cd "$tmp" || exit 1

vm() { # WORKLOAD...: the options of a guest that does it
	vm=(--kernel "$kernel" --initrd "$initrd" --append "$append $*" --timeout "${patience_s}s")
}
sum() { # FILE [BYTES]
	head -c "${2:-1G}" "$1" | sha256sum | cut -d ' ' -f 1
}
no_inputs() { # FILE: nothing entered, and it is small: a digest each epoch, and the end
	echo "# $1: $(info "$1" instructions) instructions, $(info "$1" file_bytes) bytes"
	[ "$(info "$1" inputs)" = 0 ] && [ "$(info "$1" input_bytes)" = 0 ] && [ "$(info "$1" file_bytes)" -lt 6000 ]
}

# ---- read, written, made a file system of ----

mb=2
head -c ${mb}M /dev/urandom > a.img
head -c 16M /dev/urandom > b.img
a=$(sum a.img) b=$(sum b.img)
vm workload=disk-dd mb=$mb
(while :; do :; done) & burning=$!
run "$reprise" record -o dd.rpl "${vm[@]}" --disk a.img,ro --disk b.img,cow < /dev/null
kill $burning; wait $burning 2> /dev/null
cp out dd.out
is 0 'powered off' && grep -q "^disk-dd: /dev/vda $a" dd.out && ! grep -q 'disk-dd: .*BAD' dd.out &&
	[ "$(grep -c '^disk-dd: .*: good' dd.out)" = 9 ] || { keep dd dd.rpl dd.out err; false; }
ok 'dd, mke2fs and files on two disks, recorded on a busy host'
[ "$(sum a.img)$(sum b.img)" = "$a$b" ]; ok 'neither image has changed'
no_inputs dd.rpl; ok 'nothing of it is in the recording'
run "$reprise" replay dd.rpl
is 0 'identical to its end' && cmp -s out dd.out || { keep dd dd.rpl dd.out out err; false; }; ok 'replayed: identical, the same console'
[ "$(sum a.img)$(sum b.img)" = "$a$b" ]; ok 'a replay writes to no image'

# An image that is not the recorded one.
cp b.img kept.img
printf "another one" | dd of=b.img bs=1 seek=5000000 conv=notrunc 2> /dev/null
run "$reprise" replay dd.rpl
is 2 'b.img' && one_line; ok 'another image: refused in a line'
mv b.img elsewhere.img
run "$reprise" replay dd.rpl
is 2 'b.img' && one_line; ok 'no image: refused in a line'
cp kept.img b.img
run "$reprise" replay --until 1M dd.rpl
is 0; ok 'the right one again: it goes'

# ---- a gigabyte, or a part of it ----

truncate -s 32M c.img
vm workload=disk-1g "gb_mb=${GB_MB:-64}" to=/dev/vda
run "$reprise" record -o gb.rpl "${vm[@]}" --disk c.img,cow < /dev/null
cp out gb.out
is 0 'powered off' && grep -q "^disk-1g: ${GB_MB:-64} MB" out || { keep gb gb.rpl out err; false; }; ok "${GB_MB:-64} MB of transfers"
no_inputs gb.rpl && [ "$(stat -c %b c.img)" = 0 ]; ok 'nothing of it in the recording, nor in the image'
run "$reprise" replay gb.rpl
is 0 'identical to its end' && cmp -s out gb.out; ok 'replayed: identical'

# ---- not to be written ----

vm
printf '%s\n' 'dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync; echo "dd $?"' "head -c $((mb << 20)) /dev/vda | sha256sum" 'poweroff -f' |
	timeout "$patience_s" "$reprise" record -o ro.rpl "${vm[@]}" --disk a.img,ro > ro.out 2> err
status=$?
is 0 'powered off' && tr -d '\r' < ro.out | grep -qx 'dd 1' && grep -q "^$a" ro.out && [ "$(sum a.img)" = "$a" ]; ok 'read-only: the guest sees an error, and its disk as it was'

# ---- written when the run is over, or at once ----

truncate -s 16M d.img && cp d.img before.img
blocks='for i in 1 2 3 4 5 6 7 8; do echo "block $i" | dd of=/dev/vda bs=512 seek=$((i * 3000)) conv=notrunc 2> /dev/null; done; sync'
echo "$blocks; poweroff -f" > blocks
marks() { grep -aoc "block $1" d.img; }
run "$reprise" record -o rw.rpl "${vm[@]}" --disk d.img,rw < blocks
is 0 'powered off' && [ "$(marks '[1-8]')" = 8 ] && cp d.img after.img; ok 'rw: what the guest wrote is in the image when the recording is over'
run "$reprise" replay rw.rpl
is 2 'd.img' && one_line; ok 'which is another image then'
run "$reprise" replay --disk 0=before.img rw.rpl
is 0 'identical to its end' && cmp -s d.img after.img; ok 'a replay takes the one from before'
cp before.img d.img
run "$reprise" run "${vm[@]}" --disk d.img,rw < blocks
is 0 'powered off' && cmp -s d.img after.img; ok 'without a recording it is written at once: the same'
cp before.img d.img
printf '%s; echo writ""ten; sleep 1000\n' "$blocks" > wait
mkfifo keys && exec {keys}<> keys
cat wait >&"$keys"
"$reprise" record -o killed.rpl "${vm[@]}" --disk d.img,rw <&"$keys" > killed.out 2> err &
pid=$!
wait_for_line killed.out '^written' $pid
kill -9 $pid
wait $pid 2> /dev/null
exec {keys}>&-
sleep 0.5
cmp -s d.img before.img; ok 'killed before: the image is as it was'
run "$reprise" replay killed.rpl
is 0 'as far as the recording goes'; ok 'and its recording replays'

# ---- no room ----

run "$reprise" record -o room.rpl "${vm[@]}" --disk d.img,room=6M < blocks
cp out room.out
is 0 'disk 0: .* failed in the guest, all 6 MiB of room were used; give more' && grep -q 'I/O error, dev vda' out && cmp -s d.img before.img
ok 'room used up: the guest sees errors, the user why'
run "$reprise" replay room.rpl
is 0 'identical to its end' && cmp -s out room.out; ok 'replayed: the same errors'

# ---- back and forth ----

run "$reprise" record --checkpoint-every 100M -o back.rpl "${vm[@]}" --disk d.img < blocks
end=$(info back.rpl instructions)
run "$reprise" replay --from $((end - 3000000)) back.rpl
is 0 'identical to its end'; ok 'from a stored checkpoint on, with what was on the disk'
run "$reprise" pack back.rpl -o plain.rpl
digests() { grep -E '^[0-9a-f]{16}$' err; } # what gdb prints of a monitor's answer
near=$((end - 4000000)) far=$((end - 12000000))
for p in $near $far end; do run "$reprise" debug plain.rpl --at $p -- -batch -ex 'monitor digest' < /dev/null; digests; done > forward
run "$reprise" debug back.rpl -- -batch -ex "monitor goto $near" -ex 'monitor digest' -ex "monitor goto $far" -ex 'monitor digest' \
	-ex 'monitor goto end' -ex 'monitor digest' < /dev/null
digests > backward
[ "$(sort -u forward | wc -l)" = 3 ] && cmp -s forward backward || { keep back back.rpl forward backward out err; false; }
ok 'going back brings back what was on the disk'
run "$reprise" fork --at $near -o fork.rpl back.rpl < /dev/null
is 0 && [ "$(info fork.rpl machine)" = 4 ] && run "$reprise" replay fork.rpl && is 0 'identical to its end' && cmp -s d.img before.img
ok 'a fork goes on with the disk as it was there, and leaves the image alone'

# ---- written through ----

truncate -s 8M log.img
free_port
vm workload=echo-server log=/dev/vdb sync=1
: > seqd.out
"$reprise" record -o seqd.rpl "${vm[@]}" --disk a.img,ro --disk log.img,rw --net "user,hostfwd=tcp:127.0.0.1:$port-:7" \
	< /dev/null > seqd.out 2> seqd.err &
pid=$!
wait_for_line seqd.out 'seqd: listening' $pid
"$net/seqclient" --connect-wait 60 --count 150 --window 4 --size 200 --seed 3 "127.0.0.1:$port" > client 2> err
status=$?
[ $status = 0 ]; ok 'a server with a log on a disk: 150 answers'
wait $pid
status=$?
cp seqd.err err
is 0 'powered off'; ok 'it ends'
"$net/disksum" --acked 149 --seed 3 --size 200 log.img > out 2> err
[ $? = 0 ] && [ "$(value out records)" = 150 ] || { keep log seqd.rpl seqd.out out err; false; }; ok 'its log is in the image, checked by another program'
# What it was when it was recorded is wanted, and that it no longer is.
cp log.img after.img
truncate -s 0 log.img && truncate -s 8M log.img
run "$reprise" replay seqd.rpl
is 0 'identical to its end' && cmp -s out seqd.out || { keep seqd seqd.rpl seqd.out out err; false; }; ok 'replayed on the image as it was: identical'
[ "$(stat -c %b log.img)" = 0 ]; ok 'and the replay writes nothing'

# ---- a console, random numbers ----

vm
printf '%s\n' 'tty' 'head -c 64 /dev/hwrng | md5sum' 'seq 5000' 'poweroff -f' |
	"$reprise" record -o hvc.rpl "${vm[@]}" --virtio-console --rng > hvc.out 2> err
status=$?
is 0 'powered off' && tr -d '\r' < hvc.out | grep -q '^/dev/hvc0$' && tr -d '\r' < hvc.out | grep -q '^5000$'
ok 'a shell on the virtio console'
[ "$(info hvc.rpl exits)" -lt 60000 ]; ok_with 'it prints 29 KB in $(info hvc.rpl exits) exits, the boot'"'"'s among them: a byte takes none of its own'
run "$reprise" replay hvc.rpl
is 0 'identical to its end' && cmp -s out hvc.out; ok 'replayed: identical, the same console'
finish
