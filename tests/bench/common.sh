# common.sh - sourced by bench.sh and debug.sh: where things are, and the raw results.
# shellcheck shell=sh disable=SC2034,SC2154

root=$(cd "$here/../.." && pwd)
reprise=${REPRISE:-$root/build/host/reprise}
qemu=${REPRISE_QEMU:-qemu-system-x86_64}
kernel=${BENCH_KERNEL:-$root/build/guests/vmlinuz}
initrd=${BENCH_INITRD:-$root/build/guests/initrd.cpio}
append=${BENCH_APPEND-console=ttyS0 workload=bench}
timeout_s=${BENCH_TIMEOUT_S:-180}
tab=$(printf '\t')

die() {
	echo "$name: $*" >&2
	exit 2
}
need_files() { # FILE...
	for file; do
		[ -r "$file" ] || die "$file: not there; run 'make', 'make tiny-guests' and 'make linux-guest'"
	done
	command -v "$qemu" > /dev/null || die "$qemu: not found; install qemu-system-x86"
}
tool() { # NAME: compiles NAME.c to $tmp/NAME
	${HOSTCC:-cc} -std=gnu11 -O2 -D_GNU_SOURCE -o "$tmp/$1" "$here/$1.c" || die "$1.c: does not compile"
}
# As it is now: somebody may build while this runs, and another build is another machine.
keep_build() {
	from=$(dirname "$reprise")
	[ -r "$from/../kernel/reprise.elf" ] || return 0
	mkdir "$tmp/host" "$tmp/kernel"
	cp "$from/../kernel/reprise.elf" "$tmp/kernel/"
	cp "$reprise" "$from/steady.so" "$from/reprise.gdb" "$tmp/host/"
	reprise=$tmp/host/$(basename "$reprise")
}
row() { # FIELD...: one line of the raw results
	(IFS=$tab; echo "$*") >> "$raw"
}
size_of() { # FILE
	[ -e "$1" ] && wc -c < "$1" | tr -d ' ' || echo -
}
host_rows() {
	load=$(cut -d ' ' -f 1-3 /proc/loadavg)
	row host load-before "$load"
	row host cpus "$(nproc)"
	row host qemu "$("$qemu" --version | sed -n '1s/.*version \([^ ]*\).*/\1/p')"
	row host processor "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
	echo "$load" | awk '$1 >= 0.5 { exit 1 }' || {
		row host busy yes
		echo "$name: the machine is busy (load $load): trust the ratios and the counter, not the seconds" >&2
	}
}
