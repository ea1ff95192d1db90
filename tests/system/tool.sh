#!/bin/sh
# tool.sh [REPRISE] - the host command against fake-qemu.c: exit statuses, console, recordings
# on files, damage, debuggers, terminal.  Prints "ok N - what" lines and the failures' evidence.
# Needs no hypervisor; runs half a minute.
set -u
cd "$(dirname "$0")/../.." || exit 1
reprise=$(realpath "${1:-build/host/reprise}")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
here=$(pwd)/tests/system
n=0 failed=0

${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O1 -I. -o "$tmp/fake-qemu" tests/system/fake-qemu.c tools/recfile.c replay/stored_read.c tools/util.c \
	kernel/bundle.c kernel/kconf.c replay/recording_event.c replay/recording_write.c replay/recording_read.c replay/recording_lz4.c -llz4 || exit 1
export REPRISE_QEMU="$tmp/fake-qemu" REPRISE_KERNEL="$tmp/hypervisor.elf"
unset FAKE
export FAKE_DUMP="$tmp/dump"
mkdir "$tmp/dump"
cd "$tmp" || exit 1
echo elf > hypervisor.elf
echo 'a kernel' > kernel
echo 'an initrd' > initrd
VM='--kernel kernel --initrd initrd'

ok() { # WHAT: by the status of the command before
	if [ $? = 0 ]; then r=ok; else r='not ok'; failed=1; fi
	n=$((n + 1))
	echo "$r $n - $1"
	[ "$r" = ok ] || { echo "# status $status"; sed 's/^/# out: /' out; sed 's/^/# err: /' err; } 2>/dev/null
}
run() { # COMMAND...: standard input is the caller's
	"$@" > out 2> err
	status=$?
}
is() { # STATUS [PATTERN in err]
	[ "$status" = "$1" ] && { [ $# = 1 ] || grep -q -- "$2" err; }
}
one_line() { [ "$(wc -l < err)" = 1 ] && grep -q '^reprise: [^:]*: .*; ' err; }
key() { sed -n "s/^$1: //p" info; } # a value of `reprise info`, kept in ./info

# ---- statuses of a run ----
for c in 'x:0:powered off' 'exit=0:0:exited with 0' 'exit=7:5:exited with 7' 'reset:0:reset' 'triple:5:triple fault' \
	'stuck:5:stuck' 'unhandled:5:rdmsr of 123h' 'limit:6:limit'; do
	want=${c#*:}
	FAKE=${c%%:*} run "$reprise" run $VM < /dev/null
	is "${want%%:*}" "${want#*:}"; ok "run, the guest's end $c"
done
FAKE=triple run "$reprise" run $VM < /dev/null
grep -q '^rip 0000000000001000' err; ok 'a stopped machine shows its state'
FAKE=die run "$reprise" run $VM < /dev/null
is 1 'could not set up something' && one_line; ok 'QEMU fails to start: its own words, one line'
FAKE=gone run "$reprise" run $VM < /dev/null
is 1 'ended in the middle of the run' && one_line; ok 'QEMU ends without a word'
FAKE=error run "$reprise" run $VM < /dev/null
is 1 'recording disk: write failed' && one_line; ok 'an error from the hypervisor'
FAKE=panic run "$reprise" run $VM < /dev/null
is 1 'hypervisor: panic: something broke' && one_line; ok 'a panic of the hypervisor'
REPRISE_QEMU=/nonexistent/qemu run "$reprise" run $VM < /dev/null
is 1 'install QEMU' && one_line; ok 'no QEMU'
REPRISE_KERNEL=/nonexistent/elf run "$reprise" run $VM < /dev/null
is 1 'REPRISE_KERNEL'; ok 'no hypervisor'
run "$reprise" run -q $VM < /dev/null
is 0 && [ ! -s err ]; ok '--quiet is quiet'
run "$reprise" run --stats $VM < /dev/null
is 0 'exits.total 1234'; ok '--stats'
run "$reprise" run -v $VM < /dev/null
is 0 '# fake talk'; ok '--verbose'

# ---- usage ----
for c in 'frobnicate|no such command' 'run --frobnicate|no option of' 'run|--kernel: missing' 'run --kernel|needs a value' \
	"run $VM extra|not an option" 'run --kernel nothing-here|No such file' "run $VM --mem 255M|multiple of 2M" \
	"run $VM --net bogus|not understood" "run $VM --net user,hostfwd=tcp::80|not understood" \
	"run $VM --net user,restrict=on|not understood" "run $VM --net switch=a,hostfwd=tcp::80-:80|is for --net user only" \
	"run $VM --net user,mac=01:00:00:00:00:01|mac=" "run $VM --net user --net none|choose" "run $VM --net tap=nothere|no such device" \
	"run $VM --net user,mac=52:54:00:12:34:60 --net user,mac=52:54:00:12:34:60|two devices" \
	"run $VM --net user --net user --net user --net user --net user|one more than" \
	"run $VM --mem lots|not understood" "run $VM --smp 2|one vCPU" \
	"run $VM --limit-insns 0|not understood" "run $VM --rtc tomorrow|not understood" "record $VM|-o: missing" \
	"run $VM --root .|choose" "run $VM --poll-insns 3|multiple" 'info|no recording named' 'info a b|one at a time' \
	'info nothing-here|No such file' "run --kernel kernel --root kernel|not a directory" 'pack x|No such file'; do
	# shellcheck disable=SC2086
	run "$reprise" ${c%|*} < /dev/null
	is 2 "${c##*|}" && one_line; ok "usage: reprise ${c%|*}"
done
run "$reprise" run $VM --append 'two
lines' < /dev/null
is 2 newline; ok 'usage: a newline in --append'
for c in run record replay debug bt fork info log verify pack doctor; do
	run "$reprise" "$c" --help && grep -q "^reprise $c" out && "$reprise" help "$c" | cmp -s - out
	ok "$c --help and help $c"
done
run "$reprise" --version; is 0 && grep -q '^reprise [0-9]' out; ok --version

# ---- what the hypervisor is told ----
run "$reprise" run $VM --append 'a=b "c d"' --mem 64M --seed 9 --rtc 2025-06-01T00:00:01Z --limit-insns 5G --limit-vtime 60s < /dev/null
cat > want <<'END'
machine=1
digest_version=2
x87_cleared=1
cpu_model=1
mem_bytes=67108864
ncpus=1
seed=9
rtc_epoch_s=1748736001
ns_per_insn=1
poll_insns=1000000
epoch_insns=200000000
limit_insns=5000000000
limit_vtime_ns=60000000000
append=a=b "c d"
END
head -14 dump/machine.conf | cmp -s - want && [ "$(cat dump/session.conf)" = mode=run ]
ok 'machine.conf and session.conf'
cmp -s dump/kernel kernel && cmp -s dump/initrd initrd && grep -q "^kernel=$tmp/kernel$" dump/machine.conf; ok 'images in the bundle'
grep -qx -- '-icount' dump/argv && grep -qx 'shift=0,sleep=on' dump/argv && ! grep -qx -- -drive dump/argv; ok "QEMU's arguments"
run "$reprise" run $VM --bundle b.cpio < /dev/null
is 0 && [ "$(cpio -it --quiet < b.cpio | tr '\n' ' ')" = 'machine.conf session.conf kernel initrd ' ]; ok '--bundle writes it for a boot loader'
run "$reprise" run $VM --bundle /nowhere/b.cpio < /dev/null; is 2 'nowhere' && one_line; ok '--bundle where nothing can be written'
[ "$(cat dump/clock)" = steady ] && [ "$(cat dump/rtc)" = milliseconds ]; ok "QEMU's times of day are ours"

# ---- networks ----
switch=test-$$
run "$reprise" record -o net.rpl $VM --net user,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp::53-10.0.2.15:5353 \
	--net user,mac=52:54:00:AA:BB:CC,offload=off --net switch=$switch < /dev/null
printf '%s\n' machine=5 nic0_mac=52:54:00:12:34:56 nic0_offload=1 nic1_mac=52:54:00:aa:bb:cc nic2_mac=52:54:00:12:34:58 nic2_offload=1 > want
is 0 && grep -E '^(machine|nic)' dump/machine.conf | cmp -s - want && grep -qx nic_echo=4 dump/session.conf
ok '--net: the machine has these NICs'
sed -n '/^-netdev$/,$p' dump/argv > argv
cat > want <<'END'
-netdev
user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp::53-10.0.2.15:5353
-device
virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,romfile=
-netdev
user,id=net1
-device
virtio-net-pci,netdev=net1,mac=52:54:00:aa:bb:cc,romfile=
-netdev
socket,id=net2,mcast=239.255.
-device
virtio-net-pci,netdev=net2,mac=52:54:00:12:34:58,romfile=
END
sed 's/\(mcast=239\.255\.\)[0-9.]*:[0-9]*,localaddr=127\.0\.0\.1$/\1/' argv | cmp -s - want; ok "--net: QEMU's arguments"
group() { # USER'S SWITCH: where it is
	"$reprise" run $VM --net "switch=$1" < /dev/null 2> err && sed -n 's/.*mcast=\([^,]*\),.*/\1/p' dump/argv
}
[ -n "$(group "$switch")" ] && [ "$(group "$switch")" = "$(group "$switch")" ] && [ "$(group "$switch")" != "$(group "$switch-2")" ]
ok '--net switch: a name is a place, another name another'
mkfifo held
FAKE=wait "$reprise" run $VM --net switch=$switch < held 2> /dev/null &
pid=$!
exec 9> held
until [ "$(sed -n 's/^nic0_mac=//p' dump/machine.conf)" = 52:54:00:12:34:56 ] && [ "$(cat dump/session.conf)" != mode=replay ] &&
	[ -s dump/pid ] && kill -0 "$(cat dump/pid)" 2> /dev/null; do sleep 0.1; done
run "$reprise" run $VM --net switch=$switch < /dev/null
is 0 && grep -qx nic0_mac=52:54:00:12:34:5a dump/machine.conf; ok '--net switch: the second machine has another address'
run "$reprise" run $VM --net switch=$switch,mac=52:54:00:12:34:56 < /dev/null
is 2 'another machine on it has the address' && one_line; ok '--net switch: an address that is taken is refused'
exec 9>&-
kill $pid; wait $pid
run "$reprise" run $VM --net switch=$switch,mac=52:54:00:12:34:56 < /dev/null; is 0; ok '--net switch: and is free when that machine has gone'
FAKE=port run "$reprise" run $VM --net user,hostfwd=tcp::8080-:80 < /dev/null
is 1 'hostfwd=tcp::8080-:80: QEMU cannot listen' && one_line; ok '--net user: a port in use'
run "$reprise" replay net.rpl < /dev/null
is 0 'identical to its end' && ! grep -q netdev dump/argv &&
	[ "$(grep -A1 -x -- -device dump/argv | sed -n 's/^virtio-net-pci,\(.*\),romfile=.*$/\1/p' | tr '\n' ' ')" = \
	'mac=52:54:00:12:34:56 mac=52:54:00:aa:bb:cc mac=52:54:00:12:34:58 ' ]; ok 'a replay has the devices, and no network'
truncate -s 4096 net.img; mkfifo pipe.pcapng; run "$reprise" record -o pcap.rpl $VM --net user --disk net.img < /dev/null
cp pcap.rpl kept.rpl; ln -s pcap.rpl link.rpl
for o in 'link.rpl|the recording itself' 'kernel|the kernel of the machine' 'net.img|disk 0 of the machine' 'pipe.pcapng|not a regular file'; do
	run timeout 20 "$reprise" log --force --pcap "${o%|*}" pcap.rpl < /dev/null
	is 2 "--pcap ${o%|*}: ${o#*|}" && one_line && cmp -s pcap.rpl kept.rpl && [ "$(cat kernel)" = 'a kernel' ] &&
		[ "$(stat -c %s net.img)" = 4096 ] && [ -p pipe.pcapng ]; ok "log --force --pcap ${o%|*} is refused"
done
printf precious > old.rpl
for o in 'new.rpl' 'old.rpl --force'; do
	run "$reprise" record -o $o $VM --net tap=nothere < /dev/null
	is 2 'no such device' && one_line && [ ! -e new.rpl ] && [ "$(cat old.rpl)" = precious ]; ok "a network that is not there: no recording, -o $o"
done
mkdir root root/bin && echo hello > root/bin/sh && chmod 755 root/bin/sh && ln -s sh root/bin/ls && mkfifo root/pipe
run "$reprise" run --kernel kernel --root root < /dev/null && cp dump/initrd one
cp -r root root2 && touch -d 2001-01-01 root2 root2/bin/sh && run "$reprise" run --kernel kernel --root root2 < /dev/null
cmp -s one dump/initrd; ok '--root: the same directory gives the same bytes'
mkdir x && (cd x && cpio -id --quiet < ../one) && [ "$(cat x/bin/ls)" = hello ] && [ -x x/bin/sh ] && [ -p x/pipe ]
ok '--root: cpio(1) reads it'

# ---- console ----
printf 'hello' > hello
run "$reprise" run $VM < hello
is 0 && printf 'hello\004' | cmp -s - out; ok 'a pipe is typed, then ^D'
cat hello | "$reprise" run $VM --no-eof-char > out 2> err; status=$?
is 0 && cmp -s hello out; ok '--no-eof-char'
: | "$reprise" run $VM > out 2> err; status=$?
is 0 && [ ! -s out ]; ok 'an empty pipe types nothing'
run "$reprise" run $VM <&-
is 0 && [ ! -s out ]; ok 'standard input closed'
head -c 3000000 /dev/urandom > big
run "$reprise" run --no-eof-char $VM < big
is 0 && cmp -s big out; ok '3 MB through the console and back'
FAKE=deaf run timeout 20 "$reprise" run --timeout 500ms $VM < big
is 6; ok 'a guest that does not read holds the typist back, and --timeout ends it'
FAKE=flood=20000 "$reprise" run $VM < /dev/null 2> err | { sleep 0.3; wc -c > out; }
[ "$(cat out)" = 20480000 ]; ok '20 MB of output to a slow reader arrive'
FAKE=flood=20000 "$reprise" run $VM < /dev/null 2> err | head -c 1000 > /dev/null; ok 'a reader that leaves ends the run'
FAKE=hang run timeout 20 "$reprise" run --timeout 300ms $VM < /dev/null
is 6 "not ready" && one_line; ok "--timeout before the guest starts"
FAKE=mute run timeout 20 "$reprise" run --timeout 300ms $VM < /dev/null
is 6 "without the hypervisor"; ok "--timeout of a hypervisor that does not answer"
FAKE=wait run timeout 20 "$reprise" run --timeout 300ms $VM < /dev/null
is 6 'timed out: left'; ok '--timeout ends politely'
mkfifo quiet && exec 9<> quiet # a console on which nobody types
FAKE=wait "$reprise" run $VM <&9 > out 2> err & pid=$!
sleep 0.7; kill -TERM $pid; wait $pid; status=$?
is 0 'left after'; ok 'SIGTERM leaves'

# ---- recordings ----
printf 'ls\n' > ls
run "$reprise" record -o a.rpl $VM < ls
is 0 'recording a.rpl'; ok record
run "$reprise" verify a.rpl; is 0; ok verify
"$reprise" info a.rpl > info
[ "$(key complete)" = yes ] && [ "$(key input_bytes)" = 4 ] && [ "$(key guest)" = kernel ] && [ "$(key counter)" = icount ] &&
	[ "$(key file_bytes)" = "$(stat -c %s a.rpl)" ] && [ "$(key exits)" = 1234 ] && [ "$(key guest_exit)" = 0 ]
ok 'info'
for k in format guest counter instructions virtual_time_ns exits inputs input_bytes file_bytes guest_exit digest complete \
	parent host_probe; do grep -q "^$k: ." info || echo "missing $k"; done > missing
[ ! -s missing ]; ok 'info has every key it promises'
"$reprise" info --json a.rpl | tr -d '\n' | grep -q '^{.*"complete": true,.*"parent": null,.*}$'; ok 'info --json'
"$reprise" log a.rpl | grep -q 'input console0 "ls\\n' && "$reprise" log --json a.rpl | grep -q '"hex":"6c730a'; ok log
run "$reprise" log --pcap f.pcapng a.rpl; is 2 'a.rpl: its machine has no network interface' && one_line && [ ! -e f.pcapng ]; ok 'log --pcap of a machine without a NIC'
run "$reprise" replay a.rpl < /dev/null
is 0 'identical to its end' && printf 'ls\n\004' | cmp -s - out; ok 'replay: the same console'
[ "$(sed -n 's/^mode=//p' dump/session.conf)" = replay ] && grep -q 'readonly=on' dump/argv; ok 'replay reads only'
run "$reprise" record -o a.rpl $VM < /dev/null
is 2 'exists already' && one_line; ok 'a recording is not overwritten'
run "$reprise" record --force -o a.rpl $VM < /dev/null
is 0 && "$reprise" verify a.rpl > /dev/null; ok 'unless --force'
printf 'one two three' > text
run "$reprise" record --force -o a.rpl $VM < text
FAKE=diverge=1 run "$reprise" replay a.rpl
is 3 'diverged at epoch 1, instruction .*: ' && one_line; ok 'replay: a digest differs'
FAKE=probe run "$reprise" replay a.rpl
is 1 'recorded where host_probe is 00000000000000aa' && one_line && [ ! -s out ]; ok 'replay: a host that computes otherwise is refused'
FAKE=early=0 run "$reprise" replay a.rpl
is 3 'diverged at the end' && one_line; ok "replay: another end, though the hypervisor says nothing"
FAKE=exit=7 run "$reprise" record -o crash.rpl $VM < text
is 5; run "$reprise" replay crash.rpl; is 0; ok 'a crash replays identically: 0'
run "$reprise" replay --perturb 5 --until 7K --from 1 a.rpl
grep -q '^perturb=5$' dump/session.conf && grep -q '^until=7000$' dump/session.conf && grep -q '^from=1$' dump/session.conf
ok 'replay options reach the hypervisor'
FAKE=die run "$reprise" record -o none.rpl $VM < text
is 1 && [ ! -e none.rpl ]; ok 'nothing started: no file stays behind'
run "$reprise" record -o /nonexistent/a.rpl $VM < text
is 2 && one_line; ok 'no place for the recording'

# ---- killed and damaged ----
FAKE=kill=100 run "$reprise" record -o cut.rpl $VM < big
is 1 'killed by signal 9' && grep -q 'cut off.*reprise replay cut.rpl' err; ok 'QEMU killed with -9 while recording'
[ "$(stat -c %s cut.rpl)" -lt 4096 ]; ok 'what is kept is only what was written'
run "$reprise" verify cut.rpl; is 4 'cut off'; ok 'verify says it is not complete'
"$reprise" info cut.rpl > info 2> err; [ $? = 0 ] && [ "$(key complete)" = no ] && [ "$(key exits)" = unknown ]; ok 'info of a cut recording'
run "$reprise" replay cut.rpl; is 0 'as far as the recording goes' && [ -s out ]; ok 'a cut recording replays'
FAKE=wait "$reprise" record -o t.rpl $VM <&9 > out 2> err & pid=$!
sleep 0.7; kill -9 $pid; wait $pid 2> /dev/null; sleep 0.3; status=$?
gone=$(cat "/proc/$(cat dump/pid)/stat" 2> /dev/null); case $gone in ''|*') Z '*) : ;; *) false ;; esac
ok 'the tool killed with -9 takes QEMU along'
[ "$(stat -c %s t.rpl)" -gt 1000000000 ] && run "$reprise" replay t.rpl && is 0; ok 'and its file, still sparse, replays'
run "$reprise" info t.rpl; is 0 && grep -q '^complete: no' out && [ "$(sed -n 's/^file_bytes: //p' out)" -lt 4096 ]; ok 'and is described'
size=$(stat -c %s a.rpl)
head -c $((size - 20)) a.rpl > short.rpl
run "$reprise" replay short.rpl; is 4 'damaged at byte' && [ -s out ]; ok 'a recording cut in the middle of a chunk: 4, and the rest replays'
cp a.rpl bad.rpl && printf '\377\376\375\374\373\372\371\370' | dd of=bad.rpl bs=1 seek=$((size - 70)) conv=notrunc status=none
run "$reprise" verify bad.rpl; is 4 'damaged at byte'; ok 'changed bytes: verify'
run "$reprise" replay bad.rpl; is 4; ok 'changed bytes: replay'
run "$reprise" info bad.rpl; is 4 && grep -q '^complete: no' out; ok 'changed bytes: info'
run "$reprise" log bad.rpl; is 4; ok 'a flipped byte: log'
for f in kernel /dev/null; do run "$reprise" info $f; is 4 'not a recording' && one_line; ok "not a recording: $f"; done

# ---- images ----
mkdir away && mv kernel away/
run "$reprise" replay a.rpl; is 2 'not there' && one_line; ok 'the kernel is gone'
run "$reprise" replay --kernel away/kernel a.rpl; is 0; ok '--kernel says where it is'
cp a.rpl away/ && (cd / && run "$reprise" replay "$tmp/away/a.rpl"; [ "$status" = 0 ]) > /dev/null 2>&1
(cd away && "$reprise" replay a.rpl > /dev/null 2>&1); ok 'found beside the recording'
echo 'another kernel' > kernel
run "$reprise" replay a.rpl; is 2 'digest .* was recorded with the kernel' && one_line; ok 'another kernel is refused, both digests named'
"${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -O1 -I"$here/../.." -o alter "$here"/alter.c "$here"/../../tools/recfile.c "$here"/../../tools/util.c "$here"/../../kernel/kconf.c \
	"$here"/../../replay/stored_read.c "$here"/../../replay/recording_*.c -llz4 || exit 1
for c in 'digest_version=2 digest_version=3|its digests are of version 3' 'machine=1 machine=9|recorded on machine model 9'; do
	./alter a.rpl later.rpl ${c%|*} > /dev/null && run "$reprise" replay --kernel away/kernel later.rpl
	is 2 "later.rpl: ${c#*|}, .*replay it with the reprise that recorded it" && one_line; ok "of a later reprise: ${c%|*}"
done
run "$reprise" pack a.rpl -o p.rpl --kernel away/kernel; is 0 && "$reprise" verify p.rpl | grep -q packed; ok pack
rm initrd; run "$reprise" replay p.rpl; is 0 identical; ok 'a packed recording needs no files'
"$reprise" log a.rpl > l1; "$reprise" log p.rpl | cmp -s - l1; ok 'packing keeps every event'
run "$reprise" pack a.rpl; is 2 '-o: missing'; ok 'pack needs -o'
run "$reprise" pack p.rpl --force -o quiet; is 2 'not a regular file' && [ -p quiet ]; ok '--force overwrites only files'
run "$reprise" pack p.rpl -o p.rpl --force; is 2 'the recording itself'; ok 'packing onto itself is refused'
run "$reprise" pack cut.rpl -o pc.rpl --kernel away/kernel; [ "$status" = 2 ]; ok 'packing without an image is refused'
echo 'an initrd' > initrd; cp away/kernel kernel
run "$reprise" record --pack -o q.rpl $VM < text; rm kernel initrd
run "$reprise" replay q.rpl; is 0 identical; ok 'record --pack'
run "$reprise" record -o d.rpl --kernel away/kernel --root root < text
run "$reprise" replay d.rpl; is 0 identical; ok 'a directory as initramfs replays'
echo changed > root/bin/sh; run "$reprise" replay d.rpl; is 2 'a directory changed since'; ok 'a changed directory is refused'
head -c 300000 big > kernel && run "$reprise" record --pack --sync -o big.rpl --kernel kernel < text && rm kernel
run "$reprise" replay big.rpl; is 0 && cmp -s -n 300000 dump/kernel big; ok 'an image in many parts'

# ---- disks ----
echo 'a kernel' > kernel; echo 'an initrd' > initrd
head -c 1048576 big > one.img; head -c 3072 big > two.img; truncate -s 3000 odd.img; : > empty.img; mkdir sub
printf 'QFI\373' > qcow.img; truncate -s 4096 qcow.img
rm -f dump/pid
for c in 'odd.img|3000 bytes are no whole number of sectors of 512; round it up: truncate -s 3072' 'empty.img|empty; make it' \
	'gone.img|No such file' 'gone.img,rx|gone.img,rx: No such file' 'sub|neither a file nor' 'qcow.img|a qcow2 image; make a raw one' \
	'one.img,ro,cow|ro and cow; choose' 'one.img,room=x|not understood' 'one.img,room=0|not understood' 'one.img,ro,room=2M|leave room= out' \
	'one.img,room=3G|at most 3070M' ',ro|give a disk image' 'one.img,shared|one.img,shared: only the hosts of a pair share a disk; ' \
	'one.img,shared,rw|shared and rw; choose'; do
	run "$reprise" run $VM --disk "${c%%|*}" < /dev/null; is 2 "${c#*|}" && one_line && [ ! -e dump/pid ]; ok "usage: --disk ${c%%|*}"
done
d='--disk two.img'; run "$reprise" run $VM $d $d $d $d $d $d $d $d $d < /dev/null; is 2 'at most 8 disks' && one_line; ok 'usage: nine disks'
truncate -s 129G huge.img; run "$reprise" run $VM --disk huge.img < /dev/null; is 2 'more than 128 GiB' && one_line; ok 'usage: too large to be written to'
run "$reprise" run $VM --disk huge.img,ro < /dev/null; is 0; ok 'but not to be read'
rm huge.img
if [ "$(id -u)" != 0 ]; then
	chmod 400 two.img; run "$reprise" run $VM --disk two.img,rw < /dev/null; is 2 'can be written' && one_line; ok 'usage: rw of what cannot be written'
	chmod 600 two.img
fi

digest() { # FILE: taken of it as an initrd, all at once
	"$reprise" record --force -q -o digest.rpl --kernel kernel --initrd "$1" < /dev/null && "$reprise" info digest.rpl | sed -n 's/^initrd_xxh64: //p'
}
one=$(digest one.img) two=$(digest two.img)
run "$reprise" run $VM < /dev/null; plain=$(sed -n '/^-m$/{n;s/M//;p}' dump/argv)
run "$reprise" record -o disks.rpl $VM --disk one.img --disk two.img,rw,room=5M --disk sub/../two.img,ro < text
is 2 'in use, another run may write it' && one_line; ok 'one disk twice, and written'
cp two.img sub/three.img
run "$reprise" record -o disks.rpl $VM --disk one.img --disk two.img,rw,room=5M --disk sub/three.img,ro < text
is 0 'two.img: will be written when the run is over' && [ "$(wc -l < err)" = 2 ]; ok 'record with disks'
{
	printf 'disk0=%s\ndisk0_size=1048576\ndisk0_xxh64=%s\ndisk0_mode=cow\ndisk0_room_bytes=2097152\n' "$tmp/one.img" "$one"
	printf 'disk1=%s\ndisk1_size=3072\ndisk1_xxh64=%s\ndisk1_mode=rw\ndisk1_room_bytes=6291456\n' "$tmp/two.img" "$two"
	printf 'disk2=%s\ndisk2_size=3072\ndisk2_xxh64=%s\ndisk2_mode=ro\n' "$tmp/sub/three.img" "$two"
} > want
grep '^disk' dump/machine.conf | cmp -s - want && grep -qx machine=3 dump/machine.conf; ok 'HEAD describes them, by their digests'
grep 'id=disk0' dump/argv | grep -q 'cache=unsafe,readonly=on' && grep 'id=disk1' dump/argv | grep -q 'cache=writeback$' &&
	grep 'id=disk2' dump/argv | grep -q readonly=on && grep -q 'serial=disk2' dump/argv; ok "QEMU's arguments for them"
[ "$(sed -n '/^-m$/{n;s/M//;p}' dump/argv)" = $((plain + 2 + 2 + 6 + 2)) ]; ok 'the hypervisor has memory for what is written'
"$reprise" info disks.rpl > info; grep '^disk' info > list; sed 's/=/: /' want > want2; echo 'disk2_room_bytes: none' >> want2
cmp -s list want2; ok 'info lists them'
"$reprise" info --json disks.rpl | tr -d '\n' | grep -q '"disk1_size": 3072,.*"disk2_room_bytes": null}$'; ok 'info --json, too'
run "$reprise" run $VM --disk one.img,ro < /dev/null; is 0 && grep -q '^disk0_size=' dump/machine.conf && ! grep -q '^disk.*_xxh64=' dump/machine.conf; ok 'no digest of what nobody records'
run "$reprise" replay disks.rpl; is 0 identical && [ "$(grep -c 'id=disk.*readonly=on' dump/argv)" = 3 ]; ok 'replay: all disks are only read'

# where they are, and whether they are the right ones
cp two.img before.img; printf "another one" | dd of=two.img bs=1 seek=2000 conv=notrunc status=none
other=$(digest two.img); rm -f dump/pid; run "$reprise" replay disks.rpl
is 2 "two.img: digest $other, but disks.rpl was recorded with disk 1 $two; give that one with --disk 1=FILE (a copy from before" &&
	one_line && [ ! -e dump/pid ]; ok 'another image is refused'
run "$reprise" replay --disk 1=before.img disks.rpl; is 0 identical && grep -q serial=disk1 dump/argv; ok 'replay --disk N=FILE'
run "$reprise" replay --disk 1=one.img disks.rpl; is 2 '1048576 bytes, but disks.rpl was recorded with a disk 1 of 3072' && one_line; ok 'one of another size'
run "$reprise" replay --disk 1=gone.img disks.rpl; is 2 'gone.img: disk 1 of disks.rpl is not there' && one_line; ok 'one that is not there'
run "$reprise" replay --disk 3=one.img disks.rpl; is 2 'recorded without a disk 3' && one_line; ok 'one too many'
for c in 9=x x=y one.img 0=; do run "$reprise" replay --disk $c disks.rpl; is 2 'not understood' && one_line; ok "usage: replay --disk $c"; done
mkdir far; cp disks.rpl far; mv one.img before.img sub/three.img far; mv far/before.img far/two.img
run "$reprise" replay far/disks.rpl; is 0 identical; ok 'disks beside the recording'
mv far/one.img .; run "$reprise" info disks.rpl; is 0; run "$reprise" verify disks.rpl; is 0; ok 'info and verify need none'
run "$reprise" pack disks.rpl -o pd.rpl; is 0 'that has its 3 disks: they are not packed' && one_line; ok 'pack says what it leaves out'
run "$reprise" pack disks.rpl --disk 0=one.img -o pd2.rpl; is 2 'leave it out' && one_line; ok 'and takes none'
run "$reprise" record --pack -o pd3.rpl $VM --disk one.img < text; is 0 'one.img: disks are not packed'; ok 'record --pack says so, too'
mv far/two.img far/three.img .

# nobody loses one
cp one.img keep.img; run "$reprise" record --force -o one.img $VM --disk one.img < text
is 2 '-o one.img: disk 0 of the machine' && one_line && cmp -s one.img keep.img; ok 'a recording does not overwrite a disk'
FTVM="$VM --peer 127.0.0.1:42424 --listen 127.0.0.1:42425 --arbiter file:word"
run "$reprise" ft primary --force -o one.img $FTVM --disk one.img < /dev/null
is 2 '-o one.img: disk 0 of the machine' && one_line && cmp -s one.img keep.img; ok 'nor does that of a host of a pair'
ln -f kernel hard
for o in "record --force -o hard $VM|kernel" "record --force -o ./initrd $VM|initrd" "ft primary --force -o kernel $FTVM|kernel" \
	"pack --force -o kernel disks.rpl|kernel"; do
	run "$reprise" ${o%|*} < /dev/null
	is 2 "-o .*: the ${o##*|} of the machine" && [ "$(cat kernel initrd)" = 'a kernel
an initrd' ]; ok "an image is not overwritten: ${o%% *}, the ${o##*|}"
done
soon() { # COMMAND...: it becomes true
	for _ in $(seq 200); do
		if "$@" 2> /dev/null; then return 0; fi
		sleep 0.05
	done
	return 1
}
# Its disks are locked before QEMU runs.  Not found out by trying the lock: the one that is to get it might not.
rm -f dump/pid
FAKE=wait "$reprise" run $VM --disk one.img,rw <&9 > out 2> err & pid=$!
soon [ -s dump/pid ]
for m in rw cow ro; do run "$reprise" run $VM --disk one.img,$m < /dev/null; is 2 'one.img: in use' && one_line; ok "one writer, no other: $m"; done
kill -TERM $pid; wait $pid; rm -f dump/pid
FAKE=wait "$reprise" run $VM --disk one.img <&9 > out 2> err & pid=$!
soon [ -s dump/pid ]
run "$reprise" run $VM --disk one.img,rw < /dev/null; is 2 'in use, another run has it' && one_line; ok 'readers, no writer'
run "$reprise" run $VM --disk one.img < /dev/null; is 0; ok 'many readers'
kill -TERM $pid; wait $pid

# a commit is not interrupted; when it is, that is said
rm -f dump/committing
(soon test -e dump/committing; kill -TERM "$(cat toolpid)"; sleep 0.2; kill -TERM "$(cat toolpid)") &
FAKE=commit=25 run sh -c "echo \$\$ > toolpid; exec '$reprise' record -o c1.rpl $VM --disk one.img,rw" < /dev/null
is 0 'powered off'; ok 'SIGTERM waits until a disk is written'
wait
FAKE=commit=50 run "$reprise" record --timeout 2500ms -o c2.rpl $VM --disk one.img,rw < /dev/null; is 0 'powered off'; ok 'so does --timeout'
FAKE=half run "$reprise" record -o c3.rpl $VM --disk one.img,rw < /dev/null
is 1 'which is half done; put the image back from a copy' && run "$reprise" verify c3.rpl && is 0; ok 'killed in the middle: said, the recording is complete'
FAKE=remark run "$reprise" record -o c4.rpl $VM --disk one.img < /dev/null; is 0 '^reprise: disk 0: 7 writes failed'; ok "the hypervisor's remarks are shown"

# ---- doctor ----
echo k > kernel
run "$reprise" doctor; is 0 && grep -q '^ok .*exact here' out; ok doctor
REPRISE_QEMU=/nonexistent/q run "$reprise" doctor; is 1 && grep -q '^FAIL.*apt-get' out; ok 'doctor without QEMU'
FAKE=panic run "$reprise" doctor; is 1 && grep -q '^FAIL.*panic' out; ok 'doctor with a broken hypervisor'

# ---- debug: a debugger and the third serial port ----
"${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -O1 -o talk "$here/talk.c" || exit 1
echo 'a kernel' > kernel; run "$reprise" record --force -o g.rpl --kernel kernel < text
serve() { # a session for debuggers, $pid, on $port, in the background
	: > out
	"$reprise" debug g.rpl --listen 127.0.0.1:0 > out 2> err & pid=$!
	soon grep -q '^listening 127.0.0.1:[0-9]*$' out && port=$(sed 's/.*://' out)
}
leave() { # SIGNAL: it ends then, and so does its QEMU
	kill "-$1" $pid; wait $pid; status=$?
	no_qemu
}
no_qemu() { ! kill -0 "$(cat dump/pid)" 2> /dev/null; }
cat > fake-gdb <<'END'
#!/bin/sh
# Standard input, output, arguments and connection of a gdb that ends when it is told to.
printf '%s\n' "$@" > gdb-args
echo $$ > gdb-pid
port=$(sed -n 's/^target remote 127.0.0.1://p' gdb-args)
[ -z "${GDB_SLEEPS:-}" ] || exec sleep 60
{ printf '+$?#3f+'; [ -z "${GDB_WAITS:-}" ] || sleep 1; } | ./talk 127.0.0.1 "$port" 200 > gdb-heard 2> gdb-end
[ -z "${GDB_LINGERS:-}" ] || sleep 0.5
exit "${GDB_STATUS:-0}"
END
chmod +x fake-gdb
printf '.globl entry_SYSCALL_64, panic\nentry_SYSCALL_64: nop\npanic: ret\n' > k.s
${CC:-gcc} -nostdlib -static -Wl,-e0,-Ttext=0x81000000,--build-id=none -o vmlinux k.s && ${CC:-gcc} -c -m32 -o vmlinux32 k.s || exit 1

run "$reprise" debug g.rpl --gdb ./fake-gdb --at 5K --timeline-mem 100M < /dev/null
is 0 && [ ! -s out ] && [ ! -s err ] && [ "$(cat gdb-heard)" = '+$S05#b8' ] && no_qemu; ok 'debug: gdb is started, talks, ends'
printf '%s\n' -q -x "$(dirname "$reprise")/reprise.gdb" -ex > want; head -n 4 gdb-args | cmp -s - want && [ "$(wc -l < gdb-args)" = 5 ]; ok "debug: gdb's arguments"
run "$reprise" replay g.rpl > /dev/null; sed 's/^mode=replay/mode=debug/' dump/session.conf > want; printf 'at=5000\ntimeline_mib=100\n' >> want
mem=$(sed -n '/^-m$/{n;s/M//;p}' dump/argv)
run "$reprise" debug g.rpl --gdb ./fake-gdb --at 5K --timeline-mem 100M < /dev/null; cmp -s want dump/session.conf; ok 'debug: session.conf'
[ "$(sed -n '/^-m$/{n;p}' dump/argv)" = $((mem + 100))M ] && grep -qx 'socket,id=gdb,fd=[0-9]*' dump/argv &&
	[ "$(grep -cx -- -serial dump/argv)" = 3 ] && grep -q 'readonly=on' dump/argv; ok "debug: QEMU's arguments"
run "$reprise" debug g.rpl --gdb ./fake-gdb --console < /dev/null; is 0 'guest talk' && [ ! -s out ]; ok 'debug: --console is on standard error'
run "$reprise" debug g.rpl --gdb ./fake-gdb -- -batch -ex 'a b' < /dev/null
[ "$(tail -n 3 gdb-args | tr '\n' ,)" = '-batch,-ex,a b,' ]; ok 'debug: arguments for gdb'
REPRISE_GDB=./fake-gdb run "$reprise" debug g.rpl < /dev/null; is 0; ok 'debug: REPRISE_GDB'

# symbols
FAKE_LSTAR=ffffffff92000000 run "$reprise" debug g.rpl --gdb ./fake-gdb --symbols vmlinux < /dev/null
is 0 && grep -qx "symbol-file $tmp/vmlinux -o 0xffffffff11000000" gdb-args && grep -qx lstar_linear=0x81000000 dump/session.conf &&
	grep -qx panic_linear=0x81000001 dump/session.conf && grep -qx gdb_arch=x86-64 dump/session.conf; ok 'debug: symbols, where KASLR put them'
mkdir 'a "dir'; cp vmlinux "a \"dir/it's"; run "$reprise" debug g.rpl --gdb ./fake-gdb --symbols "a \"dir/it's" < /dev/null
is 0 && grep -qxF "symbol-file $tmp/a\\ \\\"dir/it\\'s" gdb-args; ok 'debug: no LSTAR yet, no offset; a name to be quoted'
FAKE_LSTAR=ffffffff92000010 run "$reprise" debug g.rpl --gdb ./fake-gdb --symbols vmlinux < /dev/null
is 0 'symbols are of another kernel: ' && one_line && grep -qx "symbol-file $tmp/vmlinux" gdb-args; ok 'debug: symbols of another kernel'
run "$reprise" debug g.rpl --gdb ./fake-gdb --symbols vmlinux32 < /dev/null
is 0 && grep -qx gdb_arch=i386 dump/session.conf; ok 'debug: symbols of a 32-bit kernel'
strip -o stripped vmlinux
for c in 'kernel|not an ELF file' '/dev/null|not an ELF file' '.|not an ELF file' 'nowhere|No such file' 'stripped|no symbol table'; do
	run "$reprise" debug g.rpl --gdb ./fake-gdb --symbols "${c%|*}" < /dev/null; is 2 "${c##*|}" && one_line; ok "debug: --symbols ${c%|*}"
done

# how gdb ends
GDB_STATUS=3 run "$reprise" debug g.rpl --gdb ./fake-gdb < /dev/null; is 1 'ended with status 3' && one_line; ok 'debug: gdb fails'
rm gdb-pid; (soon [ -s gdb-pid ]; kill -9 "$(cat gdb-pid)") & GDB_SLEEPS=1 run "$reprise" debug g.rpl --gdb ./fake-gdb < /dev/null
wait; is 1 'killed by signal 9' && one_line && no_qemu; ok 'debug: gdb is killed: nothing is left'
rm gdb-pid; GDB_SLEEPS=1 "$reprise" debug g.rpl --gdb ./fake-gdb > out 2> err < /dev/null & pid=$!
soon [ -s gdb-pid ]; kill -INT $pid; kill -QUIT $pid; sleep 0.3; kill -0 $pid && kill -0 "$(cat gdb-pid)"; ok 'debug: Ctrl-C is for gdb alone'
leave TERM && is 1 'killed by signal 15' && ! kill -0 "$(cat gdb-pid)" 2> /dev/null; ok 'debug: SIGTERM ends gdb and QEMU'
rm gdb-pid; GDB_SLEEPS=1 "$reprise" debug g.rpl --gdb ./fake-gdb > out 2> err < /dev/null & pid=$!
soon [ -s gdb-pid ]; leave HUP && is 1 && ! kill -0 "$(cat gdb-pid)" 2> /dev/null; ok 'debug: SIGHUP too'
rm gdb-pid; GDB_SLEEPS=1 "$reprise" debug g.rpl --gdb ./fake-gdb > out 2> err < /dev/null & pid=$!
soon [ -s gdb-pid ]; kill -9 $pid; wait $pid 2> /dev/null
soon no_qemu && soon eval '! kill -0 "$(cat gdb-pid)"'; ok 'debug: killed itself, it leaves nothing'
GDB_SLEEPS=1 run "$reprise" debug g.rpl --gdb ./fake-gdb --timeout 700ms < /dev/null; is 6 && no_qemu; ok 'debug: --timeout'
GDB_WAITS=1 GDB_LINGERS=1 FAKE=kill=5 run "$reprise" debug g.rpl --gdb ./fake-gdb < /dev/null
is 1 'killed by signal 9 (Killed); was the host' && grep -q closed gdb-end; ok 'debug: QEMU dies: gdb sees it, then it is explained'
FAKE=early=0 run "$reprise" debug g.rpl --gdb ./fake-gdb < /dev/null; is 1 'before the point asked for' && one_line; ok 'debug: the run ends before the point'
FAKE=diverge=1 run "$reprise" debug g.rpl --gdb ./fake-gdb < /dev/null; is 3 'diverged at epoch 1, instruction 7,000' && one_line; ok 'debug: a divergence on the way'
FAKE=die run "$reprise" debug g.rpl --gdb ./fake-gdb < /dev/null; is 1 'could not set up' && one_line; ok 'debug: QEMU does not start'

# what is refused before anything starts
rm -f dump/pid
for c in '--gdb ./nothing|2|no program that can be run' '--listen 1:2:3|2|not understood' '--listen nonsense|2|not understood' \
	'--listen 192.0.2.1:0|2|another address' '--listen 0 --gdb gdb|2|choose' '--listen 0 -- -batch|2|none is started' '--at soon|2|not understood' \
	'--at 5G|2|ends after' '--timeline-mem 0|2|not understood' '--until 5|2|no option of'; do
	want=${c#*|}
	run "$reprise" debug g.rpl ${c%%|*} < /dev/null; is "${want%%|*}" "${want#*|}" && [ "$(wc -l < err)" = 1 ] && [ ! -e dump/pid ]; ok "debug ${c%%|*}"
done
mkdir empty; PATH=$tmp/empty run "$reprise" debug g.rpl < /dev/null; is 1 'apt-get install gdb' && one_line; ok 'debug: no gdb here'

# ---- bt: a debugger of our own on that port ----
FAKE_LSTAR=ffffffff92000000 run "$reprise" bt g.rpl --symbols vmlinux --at 5K --timeline-mem 100M < /dev/null
is 0 && [ ! -s err ] && [ "$(head -n 1 out)" = "vCPU 0 at instruction 13000" ] && [ "$(wc -l < out)" = 2 ] && no_qemu; ok "bt: one vCPU, one frame"
grep -qx at=5000 dump/session.conf && grep -qx lstar_linear=0x81000000 dump/session.conf && grep -qx gdb_arch=x86-64 dump/session.conf && grep -qx timeline_mib=100 dump/session.conf
ok "bt: session.conf"
run "$reprise" bt g.rpl --symbols vmlinux --json < /dev/null; is 0 && tr -d "\n" < out | grep -q "^\[{.vcpu.: 0.*\]}\]$"; ok "bt --json"
FAKE_LSTAR=ffffffff92000010 run "$reprise" bt g.rpl --symbols vmlinux < /dev/null; is 0 "symbols are of another kernel: " && one_line; ok "bt: symbols of another kernel"
"$reprise" bt g.rpl --symbols vmlinux > /dev/full 2> err < /dev/null; status=$?
is 1 "No space left" && one_line; ok "bt: nowhere to print"
FAKE=echo run "$reprise" bt g.rpl --symbols vmlinux < /dev/null; is 1 "cannot be understood" && one_line && no_qemu; ok "bt: a hypervisor that talks nonsense"
FAKE=kill=5 run "$reprise" bt g.rpl --symbols vmlinux < /dev/null; is 1 "killed by signal 9" && one_line && [ ! -s out ]; ok "bt: QEMU dies"
FAKE=early=0 run "$reprise" bt g.rpl --symbols vmlinux < /dev/null; is 1 "before the point asked for" && one_line; ok "bt: the run ends before the point"
FAKE=diverge=1 run "$reprise" bt g.rpl --symbols vmlinux < /dev/null; is 3 "diverged at epoch 1" && one_line; ok "bt: a divergence on the way"
FAKE=travel=60000 run "$reprise" bt g.rpl --symbols vmlinux --timeout 700ms < /dev/null; is 6 && no_qemu; ok "bt: --timeout on the way"
FAKE=travel=1000 "$reprise" bt g.rpl --symbols vmlinux > out 2> err & pid=$!
sleep 0.4; kill -INT $pid; wait $pid; status=$?; is 1 && no_qemu && [ ! -s out ]; ok "bt: Ctrl-C on the way"
rm -f dump/pid
for c in "g.rpl|--symbols" "g.rpl --symbols kernel|not an ELF file" "g.rpl --at 5G|ends after" "g.rpl --at soon|not understood" "g.rpl --listen 0|no option of" \
	"g.rpl --panic kernel|leave one of them out" "--panic kernel|no backtrace" "--panic nothing-here|No such file" "|no recording named"; do
	run "$reprise" bt ${c%%|*} < /dev/null; is 2 "${c#*|}" && one_line && [ ! -e dump/pid ]; ok "bt ${c%%|*}"
done

# clients
serve && printf '$?#3f' | ./talk 127.0.0.1 "$port" > heard; [ "$(cat heard)" = '+$S05#b8' ]; ok 'debug --listen serves'
leave INT; is 0 && [ ! -s err ]; ok 'debug --listen: Ctrl-C leaves'
serve; mkfifo typed1; ./talk 127.0.0.1 "$port" < typed1 > heard1 & client=$!
exec 8> typed1; printf '$?#3f' >&8; soon grep -q S05 heard1
./talk 127.0.0.1 "$port" < /dev/null > heard2 2> end2; grep -q closed end2 && [ ! -s heard2 ] && soon grep -q 'a second debugger: refused' err
ok 'a second debugger is refused'
printf '$?#3f' >&8; soon grep -q 'S05.*S05' heard1; ok 'the first one does not notice'
printf '$g' >&8; soon grep -q '?#3f$g' dump/gdb.log; kill -9 $client; wait $client 2> /dev/null
printf '$?#3f' | ./talk 127.0.0.1 "$port" > heard; [ "$(cat heard)" = '+$S05#b8' ] && grep -q '$g<detached>' dump/gdb.log
ok 'a debugger killed in the middle of a packet; the next one begins afresh'
exec 8>&-; leave TERM; is 0; ok 'debug --listen: SIGTERM leaves'
FAKE=forget=300 serve
for i in 1 2 3; do printf '$?#3f' | ./talk 127.0.0.1 "$port" 600 | head -c 8; done > heard
[ "$(cat heard)" = '+$S05#b8+$S05#b8+$S05#b8' ]; ok 'the next debugger waits until the last is forgotten, and hears nothing stale'
printf 'last words' | ./talk 127.0.0.1 "$port" 0; soon grep -q 'last words<detached>' dump/gdb.log; ok "a debugger's last words come before detached"
leave INT; is 0; ok 'debug --listen: leaves while nobody is there'
FAKE=echo serve; ./talk 127.0.0.1 "$port" 700 < big > heard; cmp -s big heard; ok '3 MB through the relay and back'
leave INT
FAKE=kill=3 serve; printf '$?#3f' | ./talk 127.0.0.1 "$port" 5000 > heard 2> end2; wait $pid; status=$?
is 1 'killed by signal 9' && grep -q closed end2; ok 'debug --listen: QEMU dies'
FAKE=travel=800 "$reprise" debug g.rpl --listen "$port" > out 2> err & pid=$!
sleep 0.4; ! printf '$?#3f' | ./talk 127.0.0.1 "$port" > heard 2>&1; ok 'nobody listens before the hypervisor does'
soon grep -q "^listening 127.0.0.1:$port$" out && printf '$?#3f' | ./talk 127.0.0.1 "$port" > heard; [ "$(cat heard)" = '+$S05#b8' ]; ok 'debug --listen PORT'
run "$reprise" debug g.rpl --listen ":$port" < /dev/null; is 2 'Address already in use'; ok 'debug --listen: taken'
leave INT
rm dump/gdb.log; FAKE=travel=1000 "$reprise" debug g.rpl --listen 0 > out 2> err & pid=$!
soon [ -e dump/gdb.log ]; sleep 0.3; kill -INT $pid; wait $pid; status=$?; is 1 && no_qemu && [ ! -s out ]; ok 'debug: Ctrl-C on the way'
if [ -s /proc/net/if_inet6 ]; then
	"$reprise" debug g.rpl --listen '[::1]:0' > out 2> err & pid=$!
	soon grep -q '^listening \[::1\]:[0-9]*$' out && printf '$?#3f' | ./talk ::1 "$(sed 's/.*://' out)" > heard; [ "$(cat heard)" = '+$S05#b8' ]; ok 'debug --listen, IPv6'
	leave INT
fi
if command -v gdb > /dev/null; then
	FAKE_LSTAR=92000000 run "$reprise" debug g.rpl --symbols vmlinux -- -nx -batch -ex 'reverse-stepi' -ex 'p/x $pc' -ex 'back 3' -ex 'p/x $pc' \
		-ex 'goto 5000' -ex 'p/x $pc' -ex 'whowrote *(int*)0x1234' -ex 'whowrote 0x10 2' -ex 'p/x &panic' -ex where-am-i -ex inputs -ex 'help whowrote' < /dev/null
	is 0 && grep -q '^$1 = 0x1fff$' out && grep -q '^$2 = 0x1ffc$' out && grep -q '^$3 = 0x5000$' out && grep -q '^$4 = 0x92000001$' out &&
		grep -q 'Usage: whowrote' out; ok 'debug: gdb itself, backwards, symbols where they are'
	tr '>' '\n' < dump/gdb.log | sed -n 's/.*<monitor //p' | tr '\n' , > heard
	[ "$(cat heard)" = 'goto 5000,who-wrote 0x1234 4,who-wrote 0x10 2,where,inputs,' ]; ok "debug: the commands we teach gdb"
	serve; gdb -nx -q -batch -ex "target remote :$port" -ex 'p/x $pc' < /dev/null > heard 2>&1; grep -q '= 0x2000' heard; ok 'debug --listen: gdb connects'
	leave INT
fi

# ---- a host of a pair ----
echo 'an initrd' > initrd
FT='--kernel kernel --initrd initrd --peer 127.0.0.1:42424 --listen 127.0.0.1:42425'
bad_ft() { # WHAT PATTERN OPTIONS...
	what=$1 pattern=$2
	shift 2
	run "$reprise" ft "$@" < /dev/null
	is 2 "$pattern" && [ "$(wc -l < err)" = 1 ] && grep -q '^reprise: .*[;,] ' err; ok "ft: $what"
}
bad_ft 'nothing more' 'primary, secondary'
bad_ft 'no such part' 'no such command' tertiary
bad_ft 'no peer' '^reprise: --peer: missing' primary $VM --arbiter file:word
bad_ft 'no arbiter' '^reprise: --arbiter: missing' secondary $FT
bad_ft 'a peer that is none' 'HOST:PORT' primary $VM --arbiter file:word --peer here
bad_ft 'itself as its peer' "own end" primary $VM --arbiter file:word --peer localhost:42424
bad_ft 'an arbiter that is none' 'not understood' primary $FT --arbiter ./file
bad_ft 'no arbiter but a store' 'not understood' primary $FT --arbiter none
bad_ft 'an option that is none' "help ft primary" primary $FT --arbiter file:word --follow
bad_ft 'a disk to be written' 'one.img,rw: a pair' primary $FT --arbiter file:word --disk one.img,rw
u=iscsi://10.0.0.9/iqn.2026-01.lab:store
for d in "one.img,shared|one.img,shared: a shared disk must be a SCSI unit, which can be reserved" "$u/2|give it with ,shared" "$u/2,rw|give it with ,shared" \
	"$u/2,ro|give it with ,shared" "$u/x,shared|not understood; give iscsi://" "$u/1,shared|the arbiter of the pair; give"; do
	bad_ft "--disk ${d%%|*}" "${d#*|}" secondary $FT --arbiter "$u/1" --disk "${d%%|*}"
done
for c in run "record -o rec.rpl" "run --vm a"; do
	run "$reprise" $c $VM --disk "$u/2,shared" < /dev/null; is 2 'only the hosts of a pair share a disk; give a file' && [ "$(wc -l < err)" = 1 ]; ok "a shared disk: not for $c"
done
run "$reprise" run $VM --disk "$u/2" < /dev/null; is 2 'give a file of this host' && [ "$(wc -l < err)" = 1 ]; ok 'nor a unit at all'
for c in "--arbiter file -- --disk one.img,shared|one.img,shared: .*; give --arbiter tgt" "--alone --kill none -- --disk one.img,shared|--alone" \
	"-- --disk odd.img,shared|round it up" "-- --disk=gone.img,shared|No such file" "-- --disk one.img,shared --disk one.img,shared|in use"; do
	run "$reprise" ft demo --kernel kernel ${c%%|*} < /dev/null; is 2 "${c#*|}" && one_line; ok "usage: ft demo ${c%%|*}"
done
bad_ft 'a status that cannot be' '--status /no/such/s: No such' primary $FT --arbiter file:word --status /no/such/s
bad_ft 'a status of nobody' 'No such file' status ./nobody
run "$reprise" help ft secondary; [ $status = 0 ] && grep -q -- '--arbiter URL' out; ok 'ft: help of a part'
run "$reprise" ft secondary --help; [ $status = 0 ] && grep -q -- '--arbiter URL' out; ok 'ft: the same by --help'

# What the hypervisor says, and nothing else, is what is documented.
sed -n '/"ft role=/,/;$/p' "$here/../../session/ft.c" | grep -o '[a-z_]*=[%\\]' | sed 's/=.*//' | sort > want
sed -n '/^ \*     ft role=/,/(one line)/p' "$here/../../tools/session.h" | grep -o '[a-z_]*=' | sed 's/=.*//' | sort | cmp -s - want && [ -s want ]
ok 'ft status: the keys in tools/session.h'
"$reprise" help ft status > out
for k in $(cat want); do
	grep -qw "$k" out && grep -qw "$k" "$here/../../docs/reprise.1" || echo "$k"
done > missing
[ ! -s missing ]; ok 'ft status: the keys in its help and the man page'

host() { # OPTIONS...: one that waits; sets $pid
	FAKE=wait "$reprise" ft primary $FT --status ./status "$@" < /dev/null > out 2> err & pid=$!
	soon grep -q arbiter dump/control
}
rm -f dump/control
XDG_RUNTIME_DIR=$tmp/run && mkdir run && export XDG_RUNTIME_DIR
host --arbiter file:word
grep -qx 'mode=ft' dump/session.conf && grep -qx 'ft_role=primary' dump/session.conf && grep -qx 'ft_arbiter=file' dump/session.conf &&
	grep -qx 'ft_heartbeat_ms=50' dump/session.conf && grep -qx 'ft_detect_ms=150' dump/session.conf &&
	grep -q '^ft_pair_id=0x[0-9a-f]\{16\}$' dump/session.conf && grep -qx 'ft_policy=reprotect' dump/session.conf &&
	! grep -q ft_recording dump/session.conf; ok 'ft: what the hypervisor is told'
grep -qx 'ft_link_mac=52:54:00:ff:00:02' dump/session.conf; ok 'ft: the higher address is host b'
grep -q '^dgram,id=link,local.type=fd,local.str=[0-9]*$' dump/argv && grep -q '^virtio-net-pci,netdev=link,mac=52:54:00:ff:00:02,romfile=,tx=timer,ioeventfd=off$' dump/argv &&
	! grep -q scsi dump/argv; ok 'ft: the link is an adapter of QEMU'
grep -q '^arbiter n=1 result=differs word=0\{128\}$' dump/control; ok 'ft: the arbiter answers'
"$reprise" ft status ./status > st; [ $? = 0 ] && grep -qx 'role: solo' st && grep -qx 'state: a fake' st && grep -qx 'some_new_key: 5' st &&
	grep -qx "pid: $pid" st && grep -qx 'side: b' st; ok 'ft status'
"$reprise" ft status --json ./status > st; [ "$(wc -l < st)" = 1 ] && grep -q '^{"socket": "./status", .*"state": "a fake".*"some_new_key": 5.*}$' st; ok 'ft status --json'
run "$reprise" ft status < /dev/null; is 2 'no host of a pair runs'; ok 'ft status: one with a socket of its own is not found'
timeout 5 "$reprise" ft status --follow ./status > st & follower=$!
soon grep -q role st; kill -INT $pid; wait $pid; status=$?; is 0 'left after'; ok 'ft: left'
wait $follower; [ $? = 0 ] && [ ! -e status ]; ok 'ft status --follow ends with the host'
first=$(sed -n 's/^ft_pair_id=//p' dump/session.conf)

rm -f dump/control; host --arbiter file:word --pair other --side a -o ft.rpl; kill -TERM $pid; wait $pid; status=$?
is 0 'recording ft.rpl' && grep -qx 'ft_recording=1' dump/session.conf && grep -q '^append_offset=' dump/session.conf &&
	grep -qx 'ft_link_mac=52:54:00:ff:00:01' dump/session.conf; ok 'ft -o, --side'
[ "$(sed -n 's/^ft_pair_id=//p' dump/session.conf)" != "$first" ]; ok 'ft --pair: another name, another pair'
run "$reprise" verify ft.rpl < /dev/null; is 0; ok 'ft: what was recorded is whole'
cp kernel elsewhere; rm -f dump/control; FT="--kernel elsewhere ${FT#--kernel kernel}"
host --arbiter iscsi://10.0.0.9/iqn.2026-01.lab:store/1; kill -TERM $pid; wait $pid
[ "$(sed -n 's/^ft_pair_id=//p' dump/session.conf)" = "$first" ]; ok 'ft: the same machine elsewhere is the same pair'
grep -q '^driver=iscsi,node-name=arbiter,.*portal=10.0.0.9:3260,target=iqn.2026-01.lab:store,lun=1,' dump/argv &&
	grep -qx 'scsi-generic,drive=arbiter,bus=arbiter.0' dump/argv && grep -q 'n=1 result=unreachable' dump/control; ok 'ft: an arbiter that QEMU reaches'
rm -f dump/control; host --arbiter $u/1 --disk $u/2,shared --disk one.img --disk $u/3,shared,room=4M; kill -TERM $pid; wait $pid
sed -n '/^driver=/s/,portal.*lun/ lun/p; s/^virtio-scsi-pci,/&/p; /^scsi-generic/p' dump/argv > got
{
	k=1
	for d in arbiter shared0 shared2; do
		printf 'driver=iscsi,node-name=%s,transport=tcp lun=%d,initiator-name=iqn.2026-01.reprise:b\n' $d $k
		printf 'virtio-scsi-pci,id=%s\nscsi-generic,drive=%s,bus=%s.0\n' $d $d $d
		k=$((k + 1))
	done
} | cmp -s - got && [ "$(grep -c '^virtio-blk-pci' dump/argv)" = 1 ] && grep -q 'serial=disk1,' dump/argv; ok 'ft: shared disks are units behind the arbiter, and no other disks'
grep -qx shared0_unit=1 dump/session.conf && grep -qx shared2_unit=2 dump/session.conf && [ "$(grep -c ^shared dump/session.conf)" = 2 ]; ok 'ft: the hypervisor is told which is which'
{
	printf 'disk0=%s\ndisk0_target=iqn.2026-01.lab:store/2\ndisk0_size=0\ndisk0_mode=shared\ndisk0_room_bytes=1073741824\n' $u/2
	printf 'disk2=%s\ndisk2_target=iqn.2026-01.lab:store/3\ndisk2_size=0\ndisk2_mode=shared\ndisk2_room_bytes=4194304\n' $u/3
} > want
grep '^disk[02]' dump/machine.conf | cmp -s - want; ok 'ft: the machine that has them'
shared=$(sed -n 's/^ft_pair_id=//p' dump/session.conf) memory=$(sed -n '/^-m$/{n;s/M//;p}' dump/argv)
rm -f dump/control; host --arbiter file:word --disk iscsi://192.0.2.1:5/${u##*/}/2,shared --disk one.img --disk $u/3,shared,room=4M; kill -TERM $pid; wait $pid
[ "$(sed -n 's/^ft_pair_id=//p' dump/session.conf)" = "$shared" ] && grep -qx shared0_unit=0 dump/session.conf; ok 'ft: another way to the same unit; an arbiter that is none'
rm -f dump/control; host --arbiter file:word --disk $u/4,shared,room=64M --disk one.img --disk $u/3,shared,room=4M; kill -TERM $pid; wait $pid
[ "$(sed -n 's/^ft_pair_id=//p' dump/session.conf)" != "$shared" ] && [ $((memory - $(sed -n '/^-m$/{n;s/M//;p}' dump/argv))) -ge 960 ]
ok 'ft: another unit is another machine; room is memory'
FAKE=lost run "$reprise" ft secondary $FT --arbiter file:word < /dev/null; is 1 'this host is out: the other is live'; ok 'ft: a host that has lost'
for c in 'x:0:powered off' 'exit=7:5:exited with 7' 'triple:5:triple fault'; do
	want=${c#*:}
	FAKE=${c%%:*} run "$reprise" ft primary $FT --arbiter file:word < /dev/null
	is "${want%%:*}" "${want#*:}" && ! grep -q 'lost\|is out' err; ok "ft: a machine that ends ends the host as run does: ${c%%:*}"
done
FAKE=wait "$reprise" ft primary $FT --arbiter file:word < /dev/null > /dev/null 2>&1 & pid=$!
FT='--kernel kernel --peer 127.0.0.1:42426 --listen 127.0.0.1:42427'
FAKE=wait "$reprise" ft secondary $FT --arbiter file:word < /dev/null > /dev/null 2>&1 & second=$!
two() { [ "$("$reprise" ft status 2> /dev/null | grep -c '^role: solo')" = 2 ]; }
soon two; ok 'ft status: all hosts of this machine'
kill -9 $second; wait $second 2> /dev/null; "$reprise" ft status > st && [ "$(grep -c '^role' st)" = 1 ] && [ "$(ls run)" = "reprise-ft-$pid" ]
ok 'ft status: a killed host is not there, nor its socket'
kill -INT $pid; wait $pid; [ -z "$(ls run)" ]; ok 'ft: its socket goes with it'
unset XDG_RUNTIME_DIR

# ---- terminal: script(1) gives one ----
if command -v script > /dev/null; then
	echo 'an initrd' > initrd
	cat > t.sh <<END
stty -g > before
FAKE=wait sh -c 'echo \$\$ > pid; exec "$reprise" run $VM' > out 2> err
echo \$? > st
stty -g > after
END
	(sleep 1; printf 'ab\001\001c\001x'; sleep 1) | script -qec 'sh t.sh' /dev/null > /dev/null
	status=$(cat st); is 0 'left after' && cmp -s before after && printf 'ab\001c' | cmp -s - out; ok 'Ctrl-A x leaves, terminal as before'
	sed -i 's/FAKE=wait/FAKE=kill=2/' t.sh
	(sleep 1; printf 'abcd'; sleep 1) | script -qec 'sh t.sh' /dev/null > /dev/null
	status=$(cat st); is 1 'killed by signal 9' && cmp -s before after; ok 'QEMU killed: terminal as before'
	(sleep 1; kill -SEGV "$(cat pid)"; sleep 0.5) > /dev/null 2>&1 &
	sed -i 's/FAKE=kill=2/FAKE=wait/' t.sh
	(sleep 2.5) | script -qec 'sh t.sh' /dev/null > /dev/null
	wait; status=$(cat st); [ "$status" = 139 ] && cmp -s before after; ok 'the tool crashes: terminal as before'
fi

echo "1..$n"
exit $failed
