#!/bin/bash
# debug.sh - `reprise debug` with real gdb: each kind of command, on a tiny kernel with symbols and on
# Linux; what leaves the recorded run; what is interrupted, killed or in one another's way.  The
# recordings must be what they were, and replay identically.
# shellcheck disable=SC2016 # gdb expands
. "$(dirname "$0")/lib.sh"
append=$full_boot # the points below are its
. "$(dirname "$0")/gdb.sh"
stray=$root/build/guests/stray.elf
[ -r "$stray" ] || { echo "debug: $stray: not there; run 'make tiny-guests'" >&2; exit 2; }

says() { # PATTERN NAME [COMMAND...]: gdb's answer to the commands has the pattern
	local pattern=$1 name=$2
	shift 2
	ask "$@" || answer="(no answer) $answer"
	grep -qE -- "$pattern" <<< "$answer"
	ok "$name" || { echo "# wanted: $pattern"; printf '%s' "$answer" | tail -n 12 | sed 's/^/# gdb: /'; }
}
here() { # COUNT NAME: the machine is there, and gdb knows
	where_is_it && [ "$count" = "$1" ] && [ "$rip" = "$gdb_rip" ]
	ok "$2" || echo "# wanted $1, is at $count, rip $rip, gdb's $gdb_rip"
}
symbol() { # NAME: its address in stray.elf
	nm "$stray" | sed -n "s/^0*\([0-9a-f]*\) . $1\$/0x\1/p"
}

"$reprise" record -q -o "$tmp/tiny.rpl" --mem 64M --kernel "$stray" --append 'hot insns=2000000' < /dev/null > /dev/null
"$reprise" record -q --checkpoints -o "$tmp/linux.rpl" --kernel "$kernel" --initrd "$initrd" --append "$append" \
	<<< 'echo hello; uname -a; poweroff -f' > /dev/null
cksum "$tmp/tiny.rpl" "$tmp/linux.rpl" > "$tmp/before"
end_count=$(info "$tmp/tiny.rpl" instructions) end_digest=$(info "$tmp/tiny.rpl" digest)
soft_s=30 hard_s=20

# ---- a tiny kernel, with symbols ----

start_gdb "$tmp/tiny" "$tmp/tiny.rpl" --symbols "$stray"; ok 'gdb starts'
here "$end_count" 'at the end of the run'
[ "$digest" = "$end_digest" ]; ok 'where the digest is the recorded one'
says 'on_fault .*stray.c' 'bt: the fault handler, by name' bt
says '^rsp +0x[0-9a-f]+.*[^:]*.*' 'info registers' 'info registers'
says 'cr3 +0x105000' 'info registers cr3' 'info registers cr3'
says 'PG.*PE|PE.*PG|0x8001003[0-9a-f]' 'CR0' 'info registers cr0'
says 'xmm0|v4_float' 'vector registers' 'info registers xmm0'
says 'vCPU 0.*64-bit code, CPL 0' 'info threads' 'info threads'
says '^=> .*<leave\+[0-9]+>:' 'x/i' 'x/i $pc'
says 'Dijkstra' 'memory: a string' 'x/s beside.name[0]'
says '0x216e6f73706d614c' 'memory: the pointer that was overwritten' 'p/x beside.middle.next'
says "^$(symbol pool) <pool>|pool.*\$|1 pattern found" 'find: a value in memory' 'find /g &pool, +sizeof(pool), 1'
says 'Pattern not found' 'find: one that is not there' 'find /g &pool, +sizeof(pool), 0x123456789abcdef'
says 'Cannot access memory' 'memory that is not mapped' 'x/x 0x800000000000'
says 'No more reverse-execution history' 'continue at the end: no more history' continue
says 'No more reverse-execution history' 'reverse-continue to the beginning' reverse-continue
here 0 'which is instruction 0'
says 'No more reverse-execution history' 'back from there: no more history' reverse-stepi
says 'No more reverse-execution history' 'continue to the end' continue
here "$end_count" 'which is the end'

ask 'monitor goto 0' reprise-moved
says 'Breakpoint [0-9]+, sum_list' 'break FUNCTION, continue' 'break sum_list' continue
where_is_it
sum_count=$count sum_digest=$digest
says 'Run till exit' 'finish' finish
says '= 3016' 'what it returned' 'printf "= %d\n", $rax'
ask "monitor goto $sum_count" reprise-moved
says 'guest_main' 'reverse-finish: back to the call' 'delete' 'stepi' 'stepi' 'reverse-finish' 'info symbol $pc'
ask 'stepi'
here "$sum_count" 'one instruction on is the breakpoint'
[ "$digest" = "$sum_digest" ]; ok 'where the digest is what it was'
ask 'stepi 25'
here $((sum_count + 25)) 'stepi 25'
ask 'reverse-stepi 25'
here "$sum_count" 'reverse-stepi 25'
[ "$digest" = "$sum_digest" ]; ok 'where the digest is what it was, again'
ask 'back 3'
here $((sum_count - 3)) 'back 3'
says 'Breakpoint [0-9]+, sum_list' 'the second call' 'delete' 'hbreak sum_list' 'stepi 4' continue
where_is_it
crash_sum=$count
says 'Breakpoint [0-9]+, sum_list' 'hbreak, reverse-continue: the first again' reverse-continue
here "$sum_count" 'at the same instruction'
ask delete 'tbreak guest_main' reverse-continue
says 'guest_main' 'tbreak, backwards' 'info symbol $pc'
where_is_it
main_count=$count
says 'sum_list|guest_main|build_list' 'next, step: by lines' next next 'info symbol $pc'
says 'guest_main' 'nexti over a call' "monitor goto $main_count" reprise-moved 'tbreak *build_list' continue up 'stepi' reverse-stepi reverse-stepi nexti 'info symbol $pc'
ask 'reverse-nexti'
says 'guest_main' 'reverse-nexti' 'info symbol $pc'

ask delete "monitor goto $crash_sum" reprise-moved 'watch beside.middle.next'
says 'Hardware watchpoint .*set_name|Old value|set_name' 'watch, backwards: the stray store' reverse-continue
where_is_it
store_count=$count
says 'set_name' 'in set_name()' 'info symbol $pc'
says 'Old value' 'watch, forwards: behind it' continue
here $((store_count + 1)) 'the next instruction'
says 'Hardware read watchpoint .*' 'rwatch' delete 'rwatch beside.middle.value'
says 'sum_list' 'forwards: the list is summed' continue 'info symbol $pc'
says 'Hardware access' 'awatch, backwards' delete 'awatch beside.name[0]' reverse-continue
says 'set_name' 'the store of a name' 'info symbol $pc'
# gdb evaluates a watch's condition itself: a round trip at each store.
says 'Hardware watchpoint' 'a watch with a condition, on a hot counter' delete "monitor goto $store_count" reprise-moved 'set $w = beside.hot + 25' 'watch beside.hot if beside.hot == $w' continue
says '= 0$' 'stops at the value asked for' 'p $w - beside.hot'
says 'Breakpoint' 'a conditional breakpoint in a hot loop' delete 'set $at = $pc' 'eval "break *%p if beside.hot == %lu", $at, $w + 50000' continue
says '= 50000$' 'stops where it holds' 'p beside.hot - $w'
ask 'stepi 100' reverse-continue
says '= 50000$' 'and so backwards' 'p beside.hot - $w'
says 'No more reverse' 'one that never holds: to the end' delete 'eval "break *%p if beside.hot == 1", $at' continue

ask delete "monitor goto $main_count" reprise-moved
for i in {0..19}; do ask "break *pool+$i"; done
says 'No more reverse' '20 breakpoints where nothing is executed' continue
for f in on_tick on_fault set_name sum_list; do ask "break $f"; done
says 'on_fault' '24, backwards: the nearest' reverse-continue
says 'sum_list|on_tick' 'and the one before' reverse-continue 'info symbol $pc'
ask delete

# ---- the monitor's commands ----

ask "monitor goto $crash_sum" reprise-moved
where_is_it
point_digest=$digest
for c in 'help@who-wrote +ADDR' "where@^instruction $crash_sum," 'inputs@' 'checkpoint@kept' 'timeline@checkpoints: [0-9]+ of' \
	'translate &beside@' "translate $(symbol beside)@guest-physical $(symbol beside)" 'translate 0x800000000000@not mapped' \
	"who-wrote $(symbol beside) 40@rip 0x[0-9a-f]+ .*wrote" "when $(symbol beside) 8@different until instruction" \
	"who-wrote $(symbol image_end)@no instruction before" 'lapic@initial|count|timer' 'ioapic@redir|0x' 'pit@0x' 'pic@0x' 'uart@0x' 'rtc@0x' \
	'cpu@rip 0x' 'state@lapic' 'state nothing@not a part' 'digest@^[0-9a-f]{16}$' "xp $(symbol beside) 16@44 69 6a 6b" \
	'xp 0xfffffffffff@no RAM' 'phys on@physical' 'phys off@virtual' 'phys maybe@give on or off' 'nothing@no such command' 'goto@usage' \
	'goto yesterday@not a point' 'who-wrote@usage'; do
	says "${c#*@}" "monitor ${c%%@*}" "monitor ${c%%@*}"
done
here "$crash_sum" 'all that moved nothing'
[ "$digest" = "$point_digest" ]; ok 'and changed nothing'
says 'set_name.*|wrote' 'whowrote VARIABLE' 'whowrote beside.middle.next'
says "instruction $store_count," 'is the store found before' 'whowrote beside.middle.next'
says "instruction 1000000, " 'goto' 'goto 1M' 'where-am-i'
says "instruction 999900, " 'goto -100' 'goto -100' 'where-am-i'
says 'the end of the run' 'goto end' 'goto end' 'where-am-i'

# ---- branches ----

ask "monitor goto $sum_count" reprise-moved
says 'left the recorded run at instruction' 'set var of a register: a branch, and it says so' 'set var $rbx = 0x1234' 'p/x $rbx' 'monitor where'
says '0x1234' 'the register has it' 'p/x $rbx'
says 'branch is gone' 'stepping on, and back: the branch is gone' 'stepi 10' 'stepi' reverse-stepi
here "$sum_count" 'at where it began'
[ "$digest" = "$sum_digest" ]; ok 'the digest is that of before'
says 'on a branch' 'set var of memory: a branch' 'set var beside.middle.value = 5' 'monitor where'
says '= 5$' 'memory has it' 'p beside.middle.value'
says '= 2021' 'the machine computes with it: 3016 - 995' finish 'printf "= %d\n", $rax'
says 'branch is gone' 'reverse-continue leaves it' reverse-continue
says '= 1000$' 'memory is what it was' 'p beside.middle.value'
here "$sum_count" 'back at where it began'
says '= 3016' 'call FUNCTION: its result' 'call sum_list(&pool[0])' 'printf "= %d\n", $'
says 'branch is gone|back on the recorded' 'after the call: back' 'reverse-stepi'
here "$sum_count" 'at where it was'
[ "$digest" = "$sum_digest" ]; ok 'the digest is that of before, again'
says 'a branch' 'a branch run to its end' 'set var beside.middle.next = 0' 'monitor where'
says 'No more reverse|Breakpoint' 'ends by itself' delete continue
says 'branch is gone' 'goto leaves it' 'goto 5000'
here 5000 'on the recorded run'
says 'detached' 'detach' detach
leave_gdb
is 0; ok "it ends, status $status"

start_gdb "$tmp/kill" "$tmp/tiny.rpl" --at begin --symbols "$stray"
here 0 '--at begin'
says 'killed' 'kill' kill
leave_gdb
[ "$status" = 0 ]; ok "it ends, status $status"
start_gdb "$tmp/at" "$tmp/tiny.rpl" --at "$sum_count" -- -ex 'p 6*7'
here "$sum_count" "--at $sum_count"
leave_gdb

# ---- Linux, without symbols ----

linux_end=$(info "$tmp/linux.rpl" instructions)
start_gdb "$tmp/linux" "$tmp/linux.rpl"
here "$linux_end" 'Linux: at its end'
[ "$digest" = "$(info "$tmp/linux.rpl" digest)" ]; ok 'the digest is the recorded one'
ask 'monitor goto 700M' reprise-moved
here 700000000 'goto 700M'
middle=$digest
ask 'stepi 5' 'reverse-stepi 5'
here 700000000 'five instructions on and back'
[ "$digest" = "$middle" ]; ok 'the digest is the same'
says '^=> 0x' 'x/5i' 'x/5i $pc'
says 'console, [0-9]+ bytes?' 'monitor inputs: what was typed' 'monitor inputs 5'
ask 'goto end' 'monitor goto -1000' reprise-moved
where_is_it
late=$count
says 'wrote 0x' 'who-wrote of the stack' 'eval "monitor who-wrote 0x%lx 8", $rsp'
here "$late" 'it moved nothing'
ask 'monitor goto 1G' reprise-moved 'break *$pc'
pc=$(ask 'output/x (unsigned long) $pc'; echo "$answer" | tr -d '\n')
says 'Breakpoint|No more reverse' 'Linux: break, reverse-continue' reverse-continue
says 'Breakpoint' 'and forward again' continue
where_is_it
here 1000000000 'is where it was' || [ "$rip" = "$pc" ]
# Ctrl-C, as a terminal gives it, while a watch of what is never written goes back through all of it.
ask delete 'goto end' 'watch *(long *) 0xffffffffff000000' 'hbreak *0xdeadbeef000'
soft_s=1
says 'SIGINT' 'Ctrl-C stops a long journey' reverse-continue
soft_s=30
where_is_it
[ "$rip" = "$gdb_rip" ] && [ "$count" -gt 0 ]; ok 'somewhere on the way: gdb and the machine agree'
ask delete 'reverse-stepi'
n=$count
here $((n - 1)) 'and it goes on from there'
# gdb dies in the middle of a journey: nothing is left.
pause 100
printf '%s\n' 'hbreak *0xdeadbeef000' 'reverse-continue' >&"$gdb_in"
pause 300
machine=$(qemu_of "$tool_pid")
kill -9 "$gdb_pid"
leave_gdb
[ "$status" = 1 ] && gone "$machine" && gone "$tool_pid"; ok 'gdb killed by -9: nothing is left running'

# ---- the guest's modules, listed as Linux lists them; one has a file ----

modules=$root/build/guests/modules.elf
mkdir -p "$tmp/lib/kernel/drivers"
cp "$root/build/guests/ko/mod-number-one.ko" "$tmp/lib/kernel/drivers/"
"$reprise" record -q -o "$tmp/modules.rpl" --mem 64M --kernel "$modules" < /dev/null > /dev/null
rm -f evil
mkdir "$tmp/scratch"
export TMPDIR=$tmp/scratch
start_gdb "$tmp/modules" "$tmp/modules.rpl" --symbols "$modules" --modules "$tmp/lib"
unset TMPDIR
[ -h "$(echo "$tmp"/scratch/reprise-modules-*)/mod_number_one.ko" ]; ok 'a link to the module, by its name'
says 'mod_number_one: symbols' 'modules: one with a file' modules
says 'mod_two: loaded, but' 'one without' modules
says 'its name is none' 'one with a name for a shell' modules
says 'Breakpoint [0-9]+ at .*mod-one.c' 'a breakpoint in the module, by name' 'break mod_work'
says 'mod_work .*=3' 'reverse-continue: its last call' reverse-continue
says 'mod_work .*=2' 'and the one before' reverse-continue
says 'mod_number_one: symbols' 'modules there: only one is loaded' modules
[ ! -e evil ]; ok "no command of the guest's is run" || rm evil
says '^[^_]*$' 'at the start: none' delete 'goto start' modules
says 'No symbol "mod_work"' 'so their symbols are gone' 'p mod_work'
leave_gdb
[ -z "$(ls "$tmp/scratch")" ]; ok 'the links to modules are gone'
start_gdb "$tmp/modules" "$tmp/modules.rpl" --symbols "$modules"
says 'symbols at' 'modules beside the kernel, by themselves' 'info symbol mod_work' modules
leave_gdb

# ---- flags that an instruction leaves undefined: the way to a point is not to be seen there ----

"$reprise" record -q -o "$tmp/bits.rpl" --mem 64M --kernel "$root/build/guests/bits.elf" < /dev/null > /dev/null
start_gdb "$tmp/bits" "$tmp/bits.rpl" --symbols "$root/build/guests/bits.elf" --at begin
ask 'break turn' continue continue continue delete
where_is_it
turn=$count
stepped='' gone_to=''
for ((i = 1; i <= 16; i++)); do ask stepi; where_is_it; stepped+="$count $digest "; done
for ((i = 1; i <= 16; i++)); do ask 'monitor goto begin' "monitor goto $((turn + i))" reprise-moved; where_is_it; gone_to+="$count $digest "; done
[ "${stepped%% *}" = $((turn + 1)) ] && [ "$stepped" = "$gone_to" ]; ok 'behind BT: the same machine, stepped there or gone there' ||
	printf '# %s\n# %s\n' "$stepped" "$gone_to"
leave_gdb

# ---- --listen, and what is refused ----

"$reprise" debug --listen 127.0.0.1:0 "$tmp/tiny.rpl" > "$tmp/listen" 2> "$tmp/err" &
tool=$!
for _ in {1..200}; do grep -qs listening "$tmp/listen" && break; pause 50; done
address=$(sed -n 's/^listening //p' "$tmp/listen")
mkfifo "$tmp/first.in"
timeout 100 gdb -q -nx < "$tmp/first.in" > "$tmp/first" 2>&1 &
first=$!
exec {keep}> "$tmp/first.in"
printf '%s\n' "target remote $address" 'monitor goto 5000' >&"$keep"
for _ in {1..100}; do grep -q 'instruction 5000' "$tmp/first" && break; pause 50; done
timeout 20 gdb -q -batch -ex 'set tcp connect-timeout 2' -ex 'set remotetimeout 2' -ex "target remote $address" -ex 'monitor where' > "$tmp/second" 2>&1
! grep -q '^instruction' "$tmp/second"; ok 'a second gdb, while one is there, is not served'
printf '%s\n' 'monitor where' detach >&"$keep"
exec {keep}>&-
wait $first
[ "$(grep -c 'instruction 5000' "$tmp/first")" = 2 ]; ok 'the first does not notice' || sed 's/^/# /' "$tmp/first"
timeout 60 gdb -q -batch -ex "target remote $address" -ex 'monitor where' -ex 'stepi' -ex 'monitor where' > "$tmp/third" 2>&1
grep -q '^instruction 5000' "$tmp/third" && grep -q '^instruction 5001' "$tmp/third"; ok 'another, when it has gone, is; the machine is where it was left'
kill -TERM $tool # an interrupt would not reach it: a shell's background jobs ignore it
wait $tool
status=$?
is 0; ok '--listen, told to end: status 0' || echo "# status $status"

run "$reprise" debug --symbols "$kernel" "$tmp/tiny.rpl" -- -batch
is 2 && one_line; ok '--symbols of what is no ELF file: refused'
start_gdb "$tmp/wrong" "$tmp/tiny.rpl" --symbols "$root/build/guests/hlt.elf"
where_is_it; ok 'symbols of another kernel: gdb works all the same'
leave_gdb
run "$reprise" debug --at 999G "$tmp/tiny.rpl" -- -batch
is 2 && one_line; ok '--at beyond the end: refused'

cksum "$tmp/tiny.rpl" "$tmp/linux.rpl" | cmp -s - "$tmp/before"; ok 'the recordings are, byte for byte, what they were'
for r in tiny linux; do
	run "$reprise" replay "$tmp/$r.rpl"
	is 0 'identical to its end'; ok "$r: replays identically"
done
[ "$failed" = 0 ] || keep sessions "$tmp"/*.gdb "$tmp"/*.log "$tmp"/*.rpl
finish
