#!/bin/sh
# debug.sh [OPTIONS] - what debugging costs: reprise debug and fork, beside QEMU.
#
# The second part of bench.sh, which calls it; or alone.  Every figure is that of a
# debugger on the wire [rsptimes.c], one of them gdb's own.  What is not through when
# the time is up is left out, and the table says so.
# Status 0 whatever the figures; 1 when something of Reprise did not run.
#
#   1  one session, one sample    2  recordings    3  the measurements
#   4  QEMU's savevm              5  QEMU's record and replay    6  all of it
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
name=debug-bench
# shellcheck source=tests/bench/common.sh
. "$here/common.sh"

usage() {
	cat << 'END'
debug.sh [--quick] [--no-rr] [--tsv FILE]
  --quick      fewer samples: under three minutes instead of ten
  --no-rr      without QEMU's own reverse debugging
  --tsv FILE   everything measured, for programs

Environment, besides that of bench.sh:
  BENCH_STRAY     the guest with the planted bug (build/guests/stray.elf)
  BENCH_DEBUG_S   the time for all of it (600; quick 170)
END
}

quick='' rr=yes tsv=
while [ $# -gt 0 ]; do
	case $1 in
	--quick) quick=yes ;;
	--no-rr) rr= ;;
	--tsv) [ $# -gt 1 ] || die '--tsv: missing its FILE'; shift; tsv=$1 ;;
	--help | -h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done
pick() { # QUICK FULL
	[ -n "$quick" ] && echo "$1" || echo "$2"
}

stray=${BENCH_STRAY:-$root/build/guests/stray.elf}
need_files "$reprise" "$kernel" "$initrd" "$stray"
limit_s=${BENCH_DEBUG_S:-$(pick 170 600)}
points=$(pick 5 20)         # of the Linux run, ten steps back at each
rounds=$(pick 1 3)
patience_s=$(pick 30 60)    # for one answer
loads=5
forks=50
began_s=$(date +%s)

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
tool timed
tool rsptimes
keep_build
raw=$tmp/raw
failed=
: > "$raw"

# --- 1  one session, one sample ---------------------------------------------------------

left_s() {
	echo $((began_s + limit_s - $(date +%s)))
}
# Whether there is time for it: SECONDS is what it may take on a busy machine.
room() { # SECONDS WHAT
	[ ! -t 2 ] || printf '\r\033[Kdebug: %s, %s s left' "$2" "$(left_s)" >&2
	[ "$(left_s)" -ge "$1" ] && return
	row left-out "$2"
	return 1
}
patience_ms() { # never longer than what is left
	left=$(left_s)
	[ "$left" -ge 1 ] || left=1
	echo $(((left < patience_s ? left : patience_s) * 1000))
}
fault() { # WHAT
	failed="$failed $1"
	{
		echo "$name: $1 did not run"
		tail -n 3 "$tmp/err"
	} >&2
}
# The script on standard input; its lines "NAME MS ANSWER" go to $tmp/answers.
ask() { # COMMAND...
	timeout $(($(left_s) < 1 ? 6 : $(left_s) + 5)) "$tmp/rsptimes" -t "$(patience_ms)" "$@" > "$tmp/answers" 2> "$tmp/err"
}
debug() { # FILE: ... of a session of reprise debug
	ask "$reprise" debug --quiet --listen 127.0.0.1:0 "$1"
}
# Keeps the samples called NAME.  An answer that does not match is no sample.
keep() { # KEY NAME PATTERN
	awk -v OFS="$tab" -v key="$1" -v name="$2" -v pattern="$3" '
		$1 == name && NF < 3 { print "sample", key, "-", $2; bad = 1 }
		$1 == name && NF >= 3 { good = $3 ~ pattern; print "sample", key, good ? $2 : "-", good ? "ok" : "wrong:" $3; bad += !good; n++ }
		END { exit bad || !n }' "$tmp/answers" >> "$raw"
}
keep_ours() { # KEY NAME PATTERN
	keep "$@" || fault "$1"
}
value() { # NAME: the answer, a little-endian number, in decimal
	hex=$(sed -n "s/^$1 [^ ]* //p" "$tmp/answers" | sed 's/\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)/\8\7\6\5\4\3\2\1/')
	echo $((0x${hex:-0}))
}

# --- 2  recordings ------------------------------------------------------------------------

record() { # NAME OPTIONS...: of what is typed on standard input
	file=$1
	shift
	"$reprise" record --quiet --force -o "$tmp/$file.rpl" "$@" > "$tmp/$file.out" 2> "$tmp/err"
	case $? in
	0 | 5) row bytes "$file" "$(size_of "$tmp/$file.rpl")" ;; # 5: the planted bug
	*) fault "recording-$file"; return 1 ;;
	esac
}
record_linux() {
	for kind in plain stored; do
		checkpoints=--checkpoints
		[ $kind = stored ] || checkpoints=
		printf 'uname -a\nls /proc\npoweroff -f\n' | record $kind ${checkpoints:+$checkpoints} --kernel "$kernel" \
			--initrd "$initrd" --append console=ttyS0 || return
	done
	insns=$("$reprise" info "$tmp/stored.rpl" | sed -n 's/^instructions: //p')
	row number linux-insns "$insns"
}
record_stray() { # NAME APPEND
	record "$1" --checkpoints --kernel "$stray" --append "$2" < /dev/null
}
symbol() { # NAME: its address
	nm "$stray" | sed -n "s/^0*\([0-9a-f]*\) . $1$/\1/p"
}
# Where the loop of work() begins: what its jump back goes to.
hot_loop() {
	objdump -d --no-show-raw-insn --disassemble=work "$stray" |
		awk '$2 ~ /^j/ && ("0x" $3) != "0x" { at = $1; sub(/:/, "", at); if (length($3) == length(at) && $3 < at) { print $3; exit } }'
}

# --- 3  the measurements --------------------------------------------------------------------

first_prompt() {
	i=0
	while [ $i -lt "$rounds" ]; do
		for kind in plain stored; do
			room 20 "first prompt" || return
			echo 'cold first g' | debug "$tmp/$kind.rpl"
			keep_ours first-$kind first '^[0-9a-f]'
		done
		i=$((i + 1))
	done
}
# Ten steps back at each of some points, as gdb makes them: it reads the registers and
# the top of the stack each time.
steps() {
	room 40 'reverse-stepi' || return
	awk -v n="$points" -v insns="$insns" 'BEGIN {
		x = 20250101
		for (i = 0; i < n; i++) {
			x = (x * 16807) % 2147483647
			printf "monitor goto goto %.0f\nsleep 500\n- g\n", insns * (0.02 + 0.96 * x / 2147483647)
			for (k = 0; k < 10; k++)
				print "step bs g m%sp,40"
		}
	}' | debug "$tmp/stored.rpl"
	keep_ours step step '^T'
	keep_ours goto goto '^OK'
}
gdb_steps() {
	room 20 'reverse-stepi in gdb' || return
	{
		printf 'shell sleep 0.5\nshell date +%%s%%N > %s\n' "$tmp/gdb-begin"
		awk 'BEGIN { for (i = 0; i < 100; i++) print "reverse-stepi" }'
		echo "shell date +%s%N > $tmp/gdb-end"
	} > "$tmp/gdb-script"
	timeout 60 "$reprise" debug --quiet --at $((insns / 2)) "$tmp/stored.rpl" -- -batch -x "$tmp/gdb-script" \
		< /dev/null > "$tmp/gdb-out" 2> "$tmp/err"
	if [ -s "$tmp/gdb-end" ] && [ "$(grep -c '^0x' "$tmp/gdb-out")" -ge 100 ]; then
		row sample gdb-step "$(cat "$tmp/gdb-begin" "$tmp/gdb-end" | awk 'NR == 1 { b = $1 } END { printf "%.3f", ($1 - b) / 1e8 }')" ok
	else
		row sample gdb-step - failed
		fault gdb-step
	fi
}
back() { # KEY FILE POINT PATTERN: one reverse-continue from the end, in a session of its own
	room 15 "reverse-continue, $1" || return
	{
		echo '- g'
		[ -z "$3" ] || echo "- $3"
		printf 'sleep 500\nback bc\n'
	} | debug "$tmp/$2.rpl"
	if grep -q '^back timeout' "$tmp/answers"; then
		keep "$1" back "$4" # slow is a figure, too
	else
		keep_ours "$1" back "$4"
	fi
}
backs() {
	breakpoint=Z0,$(symbol set_name),1
	pointer=$(printf '%x' $((0x$(symbol beside) + 32))) # struct neighbours: behind name[4][8]
	i=0
	while [ $i -lt "$rounds" ]; do
		back begin-linux stored '' replaylog:begin
		back break-10M cold-10M "$breakpoint" 'swbreak|hwbreak'
		back watch-10M cold-10M "Z2,$pointer,8" "watch:0*$pointer"
		back hot-10M hot-10M "Z2,$pointer,8" "watch:0*$pointer"
		back begin-1G cold-1G '' replaylog:begin
		back never-1G cold-1G Z0,1,1 replaylog:begin
		back watch-1G cold-1G "Z2,$pointer,8" "watch:0*$pointer"
		back hot-1G hot-1G "Z2,$pointer,8" "watch:0*$pointer"
		[ $i != 0 ] || back break-1G cold-1G "$breakpoint" 'swbreak|hwbreak'
		i=$((i + 1))
	done
}
# From the beginning to the end, over a breakpoint in the loop whose condition is never true.
conditions() {
	room 20 'conditional breakpoints' || return
	record_stray condition "insns=$(pick 150000 500000)" || return
	counter=m$(symbol elsewhere),8
	printf '%s\n' 'monitor - goto begin' 'sleep 500' '- g' "before $counter" "- Z0,$(hot_loop),1;X3,220027" 'run vCont;c' \
		"after $counter" | debug "$tmp/condition.rpl"
	keep_ours condition run replaylog:end
	row number condition-hits $(($(value after) - $(value before)))
}
# The instruction counter's figure, and the time, of the workload with and without.
overhead() {
	i=0
	while [ $i -lt "$rounds" ]; do
		room "$(pick 45 75)" 'recording with checkpoints' || return
		for kind in record checkpoints; do
			option=
			[ $kind = record ] || option=--checkpoints
			# shellcheck disable=SC2046
			set -- $("$tmp/timed" -t "$timeout_s" -o "$tmp/out" "$reprise" record --stats --force -o "$tmp/over.rpl" \
				${option:+$option} --kernel "$kernel" --initrd "$initrd" --append "$append" < /dev/null 2> "$tmp/err")
			row overhead "$kind" "${1:-no-status}" "${3:--}" "${4:--}" "$(sed -n 's/^host_insns //p' "$tmp/err" | grep . || echo -)" \
				"$(sed -n 's/^guest_insns //p' "$tmp/err" | grep . || echo -)" "$(size_of "$tmp/over.rpl")"
			[ "${1:-}" = 0 ] || fault "overhead-$kind"
			rm -f "$tmp/over.rpl"
		done
		i=$((i + 1))
	done
}
make_forks() {
	room 30 forks || return
	timeout "$timeout_s" "$reprise" fork --quiet --at $((insns * 9 / 10)) --seed 1 --count $forks --limit-insns 20M \
		"$tmp/stored.rpl" < /dev/null > "$tmp/forks" 2> "$tmp/err"
	sed -n 's/^fork \([0-9]*\):.* made in \([0-9]*\) host instructions, \([0-9]*\) us, wrote \([0-9]*\) pages, \([0-9]*\) of.*/\1 \2 \3 \4 \5/p' \
		"$tmp/forks" | while read -r n host us written own; do
		row fork "$n" "$host" "$us" "$written" "$own"
	done
	[ "$(grep -c '^fork.* made in ' "$tmp/forks")" = $forks ] || fault forks
}

# --- 4  QEMU's savevm -------------------------------------------------------------------------

octets() { # NUMBER...
	for octet; do
		# shellcheck disable=SC2059
		printf "\\$(printf %03o "$octet")"
	done
}
big32() { # NUMBER...: big-endian
	for number; do
		octets $((number >> 24 & 255)) $((number >> 16 & 255)) $((number >> 8 & 255)) $((number & 255))
	done
}
# An empty qcow2 of 1 MiB in clusters of 64 KiB, for snapshots (qemu-img is another package):
# header, table of refcount blocks, the one block, table of tables [QEMU docs/interop/qcow2.txt].
qcow2() { # FILE
	rm -f "$1"
	truncate -s 262144 "$1"
	{ printf 'QFI\373'; big32 2 0 0 0 16 0 1048576 0 1 0 196608 0 65536 1 0 0 0; } | dd of="$1" conv=notrunc 2> /dev/null
	big32 0 131072 | dd of="$1" bs=65536 seek=1 conv=notrunc 2> /dev/null
	big32 65537 65537 | dd of="$1" bs=65536 seek=2 conv=notrunc 2> /dev/null
}
console_says() { # TEXT FILE SECONDS
	tries=0
	until grep -q "$1" "$2" 2> /dev/null; do
		tries=$((tries + 1))
		[ $tries -lt $(($3 * 20)) ] || return
		sleep 0.05
	done
}
# The guest at its shell, then saved once and loaded some times.
savevm() {
	room 30 'savevm and loadvm' || return
	qcow2 "$tmp/save.qcow2"
	{
		console_says 'powers off when this shell ends' "$tmp/save.console" 60
		printf 'sleep 500\nsave savevm a\n'
		awk -v n=$loads 'BEGIN { for (i = 0; i < n; i++) printf "sleep 200\nload loadvm a\n" }'
	} | ask -m -c "$tmp/hmp" "$qemu" -nodefaults -no-user-config -no-reboot -display none -machine q35 -accel tcg \
		-cpu qemu64 -m 256M -rtc base=2025-01-01 -kernel "$kernel" -initrd "$initrd" -append console=ttyS0 \
		-chardev "file,path=$tmp/save.console,id=console" -serial chardev:console \
		-drive "if=none,id=disk,file=$tmp/save.qcow2,format=qcow2" -monitor "unix:$tmp/hmp,server=on,wait=off"
	keep savevm save '^-$'
	keep loadvm load '^-$'
	row bytes savevm "$(size_of "$tmp/save.qcow2")"
}

# --- 5  QEMU's record and replay ------------------------------------------------------------------

# A session that boots and powers off at once; one snapshot, at its beginning.
rr_qemu() { # MODE CONSOLE OPTIONS...
	mode=$1 console=$2
	shift 2
	set -- "$qemu" -nodefaults -no-user-config -no-reboot -display none -machine q35 -accel tcg -cpu qemu64 -m 256M \
		-rtc base=2025-01-01 -kernel "$kernel" -initrd "$initrd" -append 'console=ttyS0 workload=none' \
		-chardev "file,path=$console,id=console" -serial chardev:console \
		-drive "if=none,id=disk,file=$tmp/rr.qcow2,format=qcow2" \
		-icount "shift=auto,rr=$mode,rrfile=$tmp/rr.log,rrsnapshot=init" "$@"
	if [ "$mode" = record ]; then
		timeout 60 "$@" < /dev/null > /dev/null 2> "$tmp/err"
	else
		ask -c "$tmp/gdb" "$@"
	fi
}
# It is interrupted when the kernel starts init, close to the end: powered off, it could not go back.
rr_session() { # LINE...: of the script, at the end
	rm -f "$tmp/rr.console" "$tmp/gdb"
	{
		echo 'send c'
		console_says 'Run /init' "$tmp/rr.console" 60
		echo 'cold end ^C'
		echo '- g'
		printf '%s\n' "$@"
	} | rr_qemu replay "$tmp/rr.console" -S -no-shutdown -gdb "unix:$tmp/gdb,server=on,wait=off"
	keep rr-end end '^T'
	keep rr-bs bs '^T'
	keep rr-bc bc '^T'
}
reverse_qemu() {
	room "$(pick 54 100)" "QEMU's reverse debugging" || return
	qcow2 "$tmp/rr.qcow2"
	if ! rr_qemu record "$tmp/rr.console"; then
		row sample rr-end - no-recording
		return
	fi
	row bytes rr "$(size_of "$tmp/rr.log")"
	i=0
	while [ $i -lt "$rounds" ]; do
		# An answer that the end of the bench cuts short would count as hung.
		room "$(pick 40 85)" "QEMU's reverse-stepi" || return
		if [ -n "$quick" ]; then
			rr_session 'bs bs g m%sp,40' 'bc bc'
			return
		fi
		rr_session 'bs bs g m%sp,40' 'bs bs g m%sp,40' 'bs bs g m%sp,40' 'bs bs g m%sp,40' 'bs bs g m%sp,40'
		room 85 "QEMU's reverse-continue" || return
		rr_session 'bc bc'
		i=$((i + 1))
	done
}

# --- 6  all of it -----------------------------------------------------------------------------------

host_rows
row host rounds "$rounds"
row host patience "$patience_s"
row host forks "$forks"
if record_linux; then
	first_prompt
	steps
	gdb_steps
	make_forks
	savevm
fi
conditions
if record_stray cold-10M insns=10000000 && record_stray hot-10M 'hot insns=10000000' &&
	record_stray cold-1G insns=1000000000 && record_stray hot-1G 'hot insns=1000000000'; then
	backs
fi
overhead
[ -z "$rr" ] || reverse_qemu
[ ! -t 2 ] || printf '\r\033[K' >&2
row host load-after "$(cut -d ' ' -f 1-3 /proc/loadavg)"
row host took "$(($(date +%s) - began_s))"

awk -F "$tab" -v tsv="${tsv:-/dev/null}" -f "$here/debug.awk" "$raw"
[ -z "$failed" ] || {
	echo "$name: did not run:$failed" >&2
	exit 1
}
