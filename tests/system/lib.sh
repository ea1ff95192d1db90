# lib.sh - what the tests against the real hypervisor share: naming results, finding QEMU, a
# typist with a clock of its own.  Sourced by the other scripts, with bash.
#
# Environment: REPRISE (build/host/reprise), KERNEL and INITRD (build/guests/), FAILURES
# (build/failures: what failed is kept there), TEST_SEED (a random one, printed).
# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034 # the guest expands; read by the scripts that source this
set -u
export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
reprise=$(realpath -m "${REPRISE:-$root/build/host/reprise}")
kernel=$(realpath -m "${KERNEL:-$root/build/guests/vmlinuz}")
initrd=$(realpath -m "${INITRD:-$root/build/guests/initrd.cpio}")
failures=$(realpath -m "${FAILURES:-$root/build/failures}")
full_boot='console=ttyS0'    # two thirds of it the kernel's tests of its ciphers, the same work over and over
loud_boot='console=ttyS0 cryptomgr.notests'
append="$loud_boot quiet"    # what the kernel says is a quarter of a boot
prompt=$'# \\(\x1b\\[6n\\)*$'  # of the guest's shell; it may ask where the cursor is
patience_s=300            # for anything that should take seconds: longer is a hang
passed=0 failed=0 status=0
test_name=$(basename "$0" .sh)
tmp=$(mktemp -d)

for image in "$reprise" "$kernel" "$initrd"; do
	[ -r "$image" ] || { echo "$test_name: $image: not there; run 'make' and 'make linux-guest'" >&2; exit 2; }
done

TEST_SEED=${TEST_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
chance=$TEST_SEED
echo "# $test_name: TEST_SEED=$TEST_SEED"

# What this shell started and did not wait for ends with it.
leave() {
	local p
	for p in $(jobs -p); do kill -9 "$p" 2> /dev/null; done
	rm -rf "$tmp" "${port_locks[@]}"
}
trap leave EXIT
trap 'exit 1' INT TERM

# ---- ports ----

port_locks=()
# Sets $port: one nobody listens on, of this script alone until it ends: suites run side by side.
# Below those the kernel gives to connections that go out.
free_port() {
	local fd lock
	while :; do
		draw 10000
		port=$((20000 + drawn)) lock=${TMPDIR:-/tmp}/reprise-port-$port
		exec {fd}> "$lock" || exit 1
		# The second: not one that somebody has just removed.
		if flock -n "$fd" && [ "$lock" -ef "/dev/fd/$fd" ] && ! (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
			port_locks+=("$lock")
			return
		fi
		exec {fd}>&-
	done
}
wait_for_line() { # FILE PATTERN PID: until a line of FILE matches, or PID is gone
	local end=$((SECONDS + patience_s))
	until grep -aq -- "$2" "$1" 2> /dev/null; do
		gone "$3" && return 1
		[ $SECONDS -lt $end ] || return 1
		pause 50
	done
}
value() { # FILE KEY: of a line "KEY: VALUE"
	sed -n "s/^$2: //p" "$1"
}

# ---- results ----

result() { # STATUS NAME
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		echo "ok $((passed + failed)) - $2"
	else
		failed=$((failed + 1))
		echo "not ok $((passed + failed)) - $2"
		[ ! -s "$tmp/err" ] || tail -8 "$tmp/err" | tr -d '\r' | cut -c 1-300 | sed 's/^/# err: /'
	fi
	return "$1"
}
ok() { # NAME: by the status of the command before, so no command substitution in NAME
	result $? "$1"
}
ok_with() { # 'NAME WITH $(SUBSTITUTIONS)': made when the status is known; in double quotes they would change it
	local status_before=$? name
	eval "name=\"$1\""
	result $status_before "$name"
}
skip() { # NAME REASON
	passed=$((passed + 1))
	echo "ok $((passed + failed)) - $1 # SKIP $2"
}
finish() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
	exit
}
keep() { # NAME FILE...: evidence of a failure
	local dir file
	dir=$failures/$test_name-$1-$(date +%H%M%S)
	shift
	mkdir -p "$dir"
	for file; do [ ! -f "$file" ] || cp --sparse=always "$file" "$dir/"; done
	echo "# kept in $dir"
}

# ---- running it ----

# `run COMMAND...` leaves ./out, ./err and $status.  A hang becomes status 124.
run() {
	timeout -k 5 "$patience_s" "$@" > "$tmp/out" 2> "$tmp/err"
	status=$?
}
is() { # STATUS [PATTERN in err]
	[ "$status" = "$1" ] && { [ $# = 1 ] || grep -q -- "$2" "$tmp/err"; }
}
# Exactly one line on standard error, in the form of every complaint.
one_line() {
	[ "$(wc -l < "$tmp/err")" = 1 ] && grep -q '^reprise: .*[;:] ' "$tmp/err"
}
digest_of_run() { # ERR: the final digest in the closing line
	sed -n 's/.*(digest \([0-9a-f]*\))$/\1/p' "$1"
}
info() { # FILE KEY
	"$reprise" info "$1" 2> /dev/null | sed -n "s/^$2: //p"
}
extent() { # FILE: how long a recording is, for the name of a result
	echo "$(info "$1" inputs) inputs, $(info "$1" instructions) instructions"
}
bytes() { # FILE
	stat -c %s "$1"
}
# True if one of the two files is the beginning of the other.
same_beginning() {
	local a b n
	a=$(bytes "$1") b=$(bytes "$2")
	n=$((a < b ? a : b))
	cmp -s -n "$n" "$1" "$2"
}
begins_with() { # LONG SHORT
	cmp -s -n "$(stat -c %s "$2")" "$1" "$2"
}

qemu_of() { # PID of a reprise: prints the pid of its QEMU, once that runs
	local p tool children
	for _ in {1..100}; do
		tool=$(readlink "/proc/$1/exe") || return 1
		children=()
		read -ra children 2> /dev/null < "/proc/$1/task/$1/children" # no newline at its end: false
		for p in "${children[@]}"; do
			[ "$(readlink "/proc/$p/exe")" != "$tool" ] && echo "$p" && return 0
		done
		pause 50
	done
	return 1
}
gone() { # PID: no such process, or a dead one nobody waited for
	local s
	s=$(cat "/proc/$1/stat" 2> /dev/null) || return 0
	s=${s##*) }
	[ "${s%% *}" = Z ]
}

# ---- time and chance ----

exec {never}<> <(:)       # nothing is ever read from it: read -t on it only waits
pause() { # MILLISECONDS
	local _nothing
	read -rt "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))" -u "$never" _nothing
	return 0
}
now_ms() {
	echo $(("${EPOCHREALTIME/./}" / 1000))
}
draw() { # N: sets $drawn to a number less than N.  Not RANDOM, which a subshell seeds anew
	chance=$((chance * 6364136223846793005 + 1442695040888963407))
	drawn=$(((chance >> 33 & 0x7fffffff) % $1))
}
pause_below() { # MILLISECONDS
	draw "$1"
	pause "$drawn"
}
wait_for() { # FILE PATTERN PID: until the last line of FILE matches, or PID is gone
	local end=$((SECONDS + patience_s))
	until tail -c 300 "$1" 2> /dev/null | tail -n 1 | grep -q -- "$2"; do
		gone "$3" && return 1
		[ $SECONDS -lt $end ] || return 1
		pause 50
	done
}

# ---- a typist ----

commands=(
	'uname -a' 'ls /proc' 'cat /proc/interrupts' 'date' 'cat /proc/uptime' 'head -c 2000000 /dev/zero | md5sum'
	'for i in 1 2 3 4 5 6 7 8 9; do echo $i; done' 'sleep 0.3; echo slept' 'ls -lR /bin | md5sum' 'ps' 'dmesg | tail -3'
	'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; echo $i' 'find /sys | wc -l' 'cat /proc/self/maps' 'echo "$RANDOM"'
	'head -c 16 /dev/urandom | hexdump' '(sleep 0.1; echo one) & sleep 0.2; echo two; wait' 'cat /proc/meminfo | head -4'
	'dd if=/dev/zero of=/tmp/f bs=64k count=32; md5sum /tmp/f; rm /tmp/f' 'free' 'uptime' 'kill -0 1 && echo alive'
)
type_slowly() { # TEXT MAX_MS: with a random pause before some of the bytes
	local i
	for ((i = 0; i < ${#1}; i++)); do
		draw 3
		[ $drawn != 0 ] || pause_below "$2"
		printf %s "${1:i:1}"
	done
	printf '\n'
}
# Types while the guest boots, then some commands, hurrying or dawdling, then switches it off.
# The bytes arrive when the host's clock says so: nothing in the machine knows when.
typist() { # OUT PID COMMANDS: what the guest says, whose guest it is, how many commands
	local i command
	pause_below 2500
	type_slowly 'echo early' 300
	wait_for "$1" "$prompt" "$2" || return
	for ((i = 0; i < $3; i++)); do
		draw ${#commands[@]}
		command=${commands[drawn]}
		draw 4
		case $drawn in
		0) printf '%s\n' "$command" ;;
		1) type_slowly "$command" 20 ;;
		*) type_slowly "$command" 200 ;;
		esac
		draw 4
		if [ $drawn = 0 ]; then pause_below 1500; else pause_below 150; fi
	done
	pause 300
	wait_for "$1" "$prompt" "$2"
	printf 'poweroff -f\n'
}
# Starts `reprise record` with somebody at its console.  Sets $pid and $qemu; $tmp/NAME.out and
# $tmp/NAME.err fill; wait for $pid.
start_record() { # NAME COMMANDS RECORD-OPTIONS...
	local name=$1 count=$2
	shift 2
	mkfifo "$tmp/$name.tty" 2> /dev/null
	: > "$tmp/$name.out"
	"$reprise" record --force -o "$tmp/$name.rpl" --kernel "$kernel" --initrd "$initrd" --append "$append" \
		--timeout "${patience_s}s" "$@" < "$tmp/$name.tty" > "$tmp/$name.out" 2> "$tmp/$name.err" &
	pid=$!
	typist "$tmp/$name.out" $pid "$count" > "$tmp/$name.tty" 2> /dev/null &
	typing=$!
	draw 1 # the next typist types something else
	qemu=$(qemu_of $pid)
}
record_typed() { # NAME COMMANDS RECORD-OPTIONS...: to its end; leaves $status and $tmp/err
	start_record "$@"
	wait "$pid"
	status=$?
	kill "$typing" 2> /dev/null
	wait "$typing" 2> /dev/null
	cp "$tmp/$1.err" "$tmp/err"
}
# True if NAME's recording replays identically, with the same bytes on the console.
replays() { # NAME OPTIONS...
	local name=$1
	shift
	run "$reprise" replay "$@" "$tmp/$name.rpl"
	is 0 'identical to its end' && cmp -s "$tmp/out" "$tmp/$name.out"
}
