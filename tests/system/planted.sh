#!/bin/bash
# planted.sh [INSNS] - the planted bug of tests/guests/stray.c: from the crash to the store that
# made it, INSNS instructions earlier (20M; "1G" is a billion), by `monitor who-wrote` and by a
# watchpoint that runs backwards; and the same where a hot counter lies beside what is watched.
# shellcheck disable=SC2016 # gdb expands
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/gdb.sh"
insns=${1:-20M}
insns=${insns/%G/000M} insns=${insns/%M/000000}
stray=$root/build/guests/stray.elf
[ -r "$stray" ] || { echo "planted: $stray: not there; run 'make tiny-guests'" >&2; exit 2; }
soft_s=600

for words in '' hot; do
	how=${words:+, a hot counter in the same cache line}
	run "$reprise" record --force -o "$tmp/stray.rpl" --mem 64M --kernel "$stray" --append "insns=$insns $words" < /dev/null
	is 5 && grep -q 'vector 13' "$tmp/out"; ok_with 'the list is followed into nothing$how: $(extent "$tmp/stray.rpl")'
	start_gdb "$tmp/gdb-$words" "$tmp/stray.rpl" --symbols "$stray"
	where_is_it
	crash=$count
	began=$(now_ms)
	ask 'whowrote beside.middle.next'
	took=$(($(now_ms) - began))
	store=$(sed -n 's/^instruction \([0-9]*\), .*: rip \(0x[0-9a-f]*\) .* wrote .*/\1 \2/p' <<< "$answer")
	ask "info symbol ${store#* }"
	grep -q '^set_name' <<< "$answer" && [ $((crash - ${store% *})) -gt "$insns" ]
	ok "who-wrote: set_name(), $((crash - ${store% *})) instructions before the end; $took ms" || printf '%s\n' "$store" "$answer"
	where_is_it
	[ "$count" = "$crash" ]; ok 'the machine is where it was'
	ask 'goto begin'
	began=$(now_ms)
	ask 'watch beside.middle.next' 'goto end' reverse-continue
	took=$(($(now_ms) - began))
	where_is_it
	[ "$count $rip" = "$store" ]; ok "watch, reverse-continue: the same store; $took ms" || echo "# $count $rip, not $store: $answer"
	ask 'bt 3'
	grep -q read_names <<< "$answer"; ok 'the backtrace there: read_names()' || echo "$answer"
	leave_gdb
done
finish
