#!/bin/sh
# selftest.sh ELF [ISO [STEADY]] - boots kernel/selftest.c in QEMU, a machine for each test, and
# checks what it prints, how it ends and what it left on its disk.
set -u
elf=$1 iso=${2:-} steady=${3:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0 preload=

machine() { # MEMORY QEMU-ARGUMENT...: runs one to its end
	mem=$1; shift
	LD_PRELOAD=$preload timeout 100 qemu-system-x86_64 -machine q35 -accel tcg -cpu qemu64,+svm,+npt -m "$mem" \
		-display none -nodefaults -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 \
		-icount shift=0,sleep=on "$@" > "$tmp/out" 2>&1
	status=$?
}

machine_stamped() { # the same, and when each line came, in milliseconds, in stamped
	mkfifo "$tmp/lines"
	while read -r line; do echo "$(date +%s%3N) $line"; done < "$tmp/lines" > "$tmp/stamped" &
	machine "$@" -serial "file:$tmp/lines"
	wait $!
	rm "$tmp/lines"
	cut -d' ' -f2- "$tmp/stamped" >> "$tmp/out"
}

expect() { # NAME STATUS PATTERN...: each pattern must be on a line of its own, in order
	name=$1 want=$2 why= at=1
	[ "$status" = "$want" ] || why="status $status, not $want"
	shift 2
	for pattern in "$@"; do
		line=$(tail -n +"$at" "$tmp/out" | grep -n -m 1 -- "$pattern" | cut -d: -f1)
		[ -n "$line" ] || { why="$why; no line '$pattern'"; break; }
		at=$((at + line))
	done
	if [ -z "$why" ]; then
		echo "ok    $name"
	else
		echo "FAIL  $name: ${why#; }"
		sed 's/^/      | /' "$tmp/out"
		failed=1
	fi
}

run() { # TEST QEMU-ARGUMENT...
	name=$1; shift
	machine 256M -serial stdio -kernel "$elf" -append "test=$name" "$@"
}

mkdir "$tmp/bundle"
printf 'mem=256M\n' > "$tmp/bundle/conf"
seq 2000 > "$tmp/bundle/numbers"
(cd "$tmp/bundle" && printf 'conf\nnumbers\n' | cpio -o -H newc --quiet) > "$tmp/bundle.cpio"

run info -initrd "$tmp/bundle.cpio"
expect info 1 'instructions from entry' 'protocol 0, tsc 1000000000 Hz' 'module 0' 'file conf 9 mem=256M' \
	'file numbers 8893 1' passed
insns=$(sed -n 's/ instructions from entry.*//p' "$tmp/out")
[ "$insns" -lt 2000000 ] || { echo "FAIL  boot takes $insns instructions"; failed=1; }
machine 5G -serial stdio -kernel "$elf" -append test=memory
expect 'memory, 5 GiB with a hole' 127 'highest page 1bffff000' 'are free already' test_memory
run memory; expect memory 127 'highest page' 'are free already' page_free test_memory hypervisor_main
run malloc; expect malloc 127 'panic: free: .* free already' test_malloc
run guard; expect 'stack guard' 127 'panic: #DF.*the boot stack overflowed' '    overflow+0x' '    \.\.\.$'
run write_text; expect 'text is read-only' 127 'panic: #PF.*write of 6000000, not permitted' test_write_text
run write_rodata; expect 'constants are read-only' 127 'panic: #PF.*write of .*, not permitted' test_write_rodata
run null; expect 'page 0 is not mapped' 127 'panic: #PF.*write of 8, not mapped' test_null
run execute_data; expect 'data is not executable' 127 'panic: #PF.*execution of .*, not permitted' hypervisor_main
run panic; expect panic 127 '^panic: asked for by the test, 42$' backtrace: '    test_panic+0x' '    kmain+0x'
run coroutine_guard
expect "a coroutine's stack guard" 127 'panic: #DF.*the coroutine 3 stack overflowed' '    overflow+0x' '    \.\.\.$'
for t in msr lz4 string irq coroutine; do
	run $t; expect $t 1 passed
done
machine 256M -serial null -serial stdio -kernel "$elf" -append test=panic
expect 'comment lines on COM2' 127 '^# .* instructions' '^# panic: asked' '^#     test_panic+0x'
run realtime
expect 'real time, by the TSC alone' 1 'begin' 'end' 'real: 0' passed
if [ -n "$steady" ]; then
	preload=$steady
	machine_stamped 256M -kernel "$elf" -append test=realtime -rtc clock=rt
	preload=
	expect 'real time' 1 'asleep' 'begin' 'end' 'real: 1' passed
	# Each line as it came.  A loaded machine is late with a line, but not by what the TSC is wrong.
	off=$(awk '/ begin /{ t = $1; own = $3 } / end /{ d = $1 - t - ($3 - own); print d < 0 ? -d : d }' "$tmp/stamped")
	[ "${off:-1000}" -le 300 ] || { echo "FAIL  real time is off by ${off:-?} ms"; failed=1; }
fi
mkfifo "$tmp/typed"
: > "$tmp/out"
{ n=0; until grep -q ready "$tmp/out" || [ $((n += 1)) = 400 ]; do sleep 0.2; done; sleep 1; printf a; sleep 1; printf bcq; } > "$tmp/typed" &
run serial < "$tmp/typed"
expect 'a byte wakes the host' 1 ready 'got a' 'got b' 'got c' 'got q' passed

truncate -s 8M "$tmp/disk" "$tmp/other"
disks="-drive file=$tmp/other,format=raw,if=none,id=o -device virtio-blk-pci,drive=o,serial=other"
disk="-drive file=$tmp/disk,format=raw,if=none,id=r"
# shellcheck disable=SC2086
run blk $disks $disk -device virtio-blk-pci,drive=r,serial=recording
expect 'virtio disk' 1 '16384 sectors, rw, id recording' passed
# What the test wrote: byte i is i * 7 + i / 512, from sector 1 on.
want=$(awk 'BEGIN { for (i = 0; i < 3145728; i++) printf "%d\n", (i * 7 + int(i / 512)) % 256 }' | cksum)
got=$(od -An -v -tu1 -w1 -j512 -N3145728 "$tmp/disk" | tr -d ' ' | cksum)
[ "$want" = "$got" ] || { echo 'FAIL  the disk does not hold what was written'; failed=1; }
# shellcheck disable=SC2086
run blk $disk -device pcie-root-port,id=p,chassis=1 -device virtio-blk-pci,bus=p,drive=r,serial=recording
expect 'virtio disk, modern, behind a bridge' 1 '16384 sectors, rw, id recording' passed
# shellcheck disable=SC2086
run blk $disk,readonly=on -device virtio-blk-pci,drive=r,serial=recording
expect 'virtio disk, read-only' 1 'ro, id recording' passed

nic() { # N MAC NETDEV: sets $nicN
	eval "nic$1='-netdev $3,id=n$1 -device virtio-net-pci,netdev=n$1,mac=52:54:00:12:34:$2,romfile='"
}
nic 0 56 hubport,hubid=0; nic 1 57 hubport,hubid=0
# shellcheck disable=SC2086,SC2154
run net $nic0 $nic1
expect 'two NICs' 1 'from sending to woken up' '10000 frames' passed
nic 0 56 "dgram,local.type=unix,local.path=$tmp/a,remote.type=unix,remote.path=$tmp/b"
nic 1 57 "dgram,local.type=unix,local.path=$tmp/b,remote.type=unix,remote.path=$tmp/a"
# shellcheck disable=SC2086
run jumbo $nic0 $nic1 -bios qboot.rom
expect 'two NICs, long frames, firmware that assigns nothing' 1 'from sending to woken up' '10000 frames' passed
scsi="-device virtio-scsi-pci -drive file=$tmp/disk,format=raw,if=none,id=s"
# shellcheck disable=SC2086
run scsi $scsi -device scsi-hd,drive=s,scsi-id=3,lun=2 -drive file=$tmp/other,format=raw,if=none,id=t -device scsi-hd,drive=t,scsi-id=3,lun=5
expect 'virtio SCSI' 1 'unit 0: target 3, lun 2' 'unit 1: target 3, lun 5' passed
# shellcheck disable=SC2086
run scsi_late $scsi,throttling.iops-total=4 -device scsi-hd,drive=s
expect 'virtio SCSI, late answers' 1 'in flight' abandoned passed

if [ -n "$iso" ]; then
	machine 256M -serial stdio -cdrom "$iso"
	expect 'GRUB, multiboot2' 1 'protocol 1, tsc 1000000000 Hz' 'module 0.*"bundle"' 'file kernel/selftest.sh' passed
fi
exit $failed
