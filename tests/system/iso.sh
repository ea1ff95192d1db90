#!/bin/bash
# iso.sh - the CD image of `make iso`: GRUB brings the hypervisor and a machine, no tool of ours about.
. "$(dirname "$0")/lib.sh"
iso=${ISO:-$root/build/reprise.iso}

mkfifo "$tmp/typed"
: > "$tmp/out"
qemu-system-x86_64 -nodefaults -no-reboot -display none -machine q35 -accel tcg \
	-cpu qemu64,+svm,+npt,+rdtscp,+ssse3,+sse4.1,+sse4.2,+popcnt -icount shift=0,sleep=on -m 1G \
	-device isa-debug-exit,iobase=0xf4,iosize=4 -cdrom "$iso" -serial stdio -serial "file:$tmp/control" \
	< "$tmp/typed" > "$tmp/out" 2> "$tmp/err" &
qemu=$!
exec 3> "$tmp/typed"
wait_for "$tmp/out" "$prompt" $qemu; ok 'Linux comes to its shell'
printf 'uname -a\npoweroff -f\n' >&3
wait $qemu
status=$?
exec 3>&-
is 1; ok 'and switches the machine off' # isa-debug-exit: 2 * 0 + 1
grep -aq '^Linux .*x86_64' "$tmp/out"; ok 'what was typed was heard'
grep -aq '^end outcome=poweroff ' "$tmp/control"; ok 'the control channel says how it ended'
finish
