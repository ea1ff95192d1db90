#!/bin/bash
# guests.sh [-p SEEDS] [NAME...] - the tiny kernels of tests/guests under Reprise: each passes its
# own checks, runs the same twice, and replays identically however it is disturbed.
#
#   -p '1 2 3'   seeds of the disturbed replays, and of hostile guests (default: 1 2)
#   NAME         only these (default: all)
#
# Builds nothing.  Environment: REPRISE (build/host/reprise), GUESTS (build/guests), FAILURES
# (build/failures: recordings of what failed).  Prints "ok N - what" lines and a summary.
set -u
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
reprise=$(realpath -m "${REPRISE:-$root/build/host/reprise}")
guests=$(realpath -m "${GUESTS:-$root/build/guests}")
failures=$(realpath -m "${FAILURES:-$root/build/failures}")
seeds='1 2'
patience_s=300
passed=0 failed=0

[ "${1-}" != -p ] || { seeds=$2; shift 2; }
only=" $* "
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
[ -x "$reprise" ] || { echo "guests: $reprise: not there; run 'make'" >&2; exit 2; }

ok() { # NAME: by the status of the command before
	local good=$?
	if [ $good = 0 ]; then
		passed=$((passed + 1))
		echo "ok $((passed + failed)) - $1"
	else
		failed=$((failed + 1))
		echo "not ok $((passed + failed)) - $1"
		tail -n 4 "$tmp/out" "$tmp/err" 2> /dev/null | tr -cd '[:print:]\n' | cut -c 1-240 | sed 's/^/# /'
	fi
	return $good
}
run() { # COMMAND...: leaves $tmp/out, $tmp/err, $status; the console's input is ours
	timeout -k 5 "$patience_s" "$@" > "$tmp/out" 2> "$tmp/err"
	status=$?
}
end_of() { # RECORDING: what must not change from run to run
	"$reprise" info "$1" | grep -E '^(instructions|virtual_time_ns|guest_exit|digest|complete):'
}
keep() { # NAME FILE...
	local dir
	dir=$failures/guests-$1
	shift
	mkdir -p "$dir" && cp -f --sparse=always "$@" "$dir/" && echo "# kept in $dir"
}

# guest NAME APPEND STATUS CONSOLE: the exit status and a pattern of the console, or of the message
guest() {
	local name=$1 append=$2 want=$3 pattern=$4 label=$1 elf=$guests/$1.elf seed
	local options=(--mem 64M --kernel "$elf" --append "$append")
	[ -z "$append" ] || label="$1 $append"
	if [ "$only" != '  ' ] && [ "${only#* "$name" }" = "$only" ]; then return; fi
	if [ ! -r "$elf" ]; then
		echo "guests: $elf: not there; run 'make guests'" >&2
		exit 2
	fi
	run "$reprise" record --force -o "$tmp/a.rpl" "${options[@]}" < "$input"
	[ $status = "$want" ] && grep -aqE -- "$pattern" "$tmp/out" "$tmp/err"
	ok "$label: ends as it should" || keep "$name" "$tmp/a.rpl" "$tmp/out" "$tmp/err"
	cp "$tmp/out" "$tmp/first"
	if [ "$input" = /dev/null ]; then # typed input comes when it comes
		run "$reprise" record --force -o "$tmp/b.rpl" "${options[@]}" < /dev/null
		[ "$(end_of "$tmp/a.rpl")" = "$(end_of "$tmp/b.rpl")" ] && cmp -s "$tmp/out" "$tmp/first"
		ok "$label: the same twice" || keep "$name-twice" "$tmp/a.rpl" "$tmp/b.rpl"
	fi
	for seed in '' $seeds; do
		run "$reprise" replay ${seed:+--perturb "$seed"} "$tmp/a.rpl" < /dev/null
		[ $status = 0 ] && cmp -s "$tmp/out" "$tmp/first"
		ok "$label: replayed${seed:+, disturbed by $seed}" || keep "$name-replay$seed" "$tmp/a.rpl" "$tmp/out" "$tmp/err"
	done
}

input=/dev/null
for name in rep smc irqs shadow faults tlb storm tsc fpu modes mixture bits; do
	guest $name '' 0 "^$name: ok"
done
guest stray 'good insns=1000000' 0 '^stray: ok'
guest stray 'hot insns=1000000' 5 'vector 13'
guest x87ptr '' 0 '^x87ptr: ok'
guest hlt batch 0 '^hlt: ok'
printf 'hello, q' > "$tmp/typed"
input=$tmp/typed
guest hlt '' 0 '^h [0-9]'
input=/dev/null
for n in $seeds; do guest hostile "seed=$n" 0 'hostile: ok'; done
guest hostile triple 5 'triple fault'
guest hostile badcr3 5 .
guest hostile nowhere 5 .
guest hostile hltcli 5 'interrupts disabled'

echo "$passed passed, $failed failed"
[ $failed = 0 ]
