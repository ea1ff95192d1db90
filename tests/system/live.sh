#!/bin/bash
# live.sh - gdb in a machine that still runs: record --gdb and run --gdb.  Backwards out of the
# running machine and forwards past where it had come to, breakpoints, Ctrl-C while it waits,
# gdb dying and killing; and what is recorded meanwhile replays.
. "$(dirname "$0")/lib.sh"
append=$loud_boot # how far it has come is seen by what it says
command -v gdb > /dev/null || { echo "$test_name: gdb: not there; apt-get install gdb" >&2; exit 2; }
commands_file=$root/tools/reprise.gdb
mkdir "$tmp/scratch"
export TMPDIR=$tmp/scratch HOME=$tmp # nobody's .gdbinit; and where `run` keeps its scratch file

# Starts the tool with somebody at its console, whose words go to file descriptor 8.  Sets $pid and
# $address of the debugger's port.
start() { # NAME COMMAND...
	local name=$1 end=$((SECONDS + patience_s))
	shift
	rm -f "$tmp/$name.tty"
	mkfifo "$tmp/$name.tty"
	"$reprise" "$@" --gdb 0 --timeout "${patience_s}s" < "$tmp/$name.tty" > "$tmp/$name.out" 2> "$tmp/$name.err" &
	pid=$!
	exec 8> "$tmp/$name.tty"
	address=
	until [ -n "$address" ] || gone $pid || [ $SECONDS -ge $end ]; do
		pause 50
		address=$(sed -n "s/^reprise: gdb: 'target remote \([^']*\)'.*/\1/p" "$tmp/$name.err")
	done
	[ -n "$address" ]
}
linux() { # NAME OPTIONS...: recorded
	local name=$1
	shift
	start "$name" record --force -o "$tmp/$name.rpl" --kernel "$kernel" --initrd "$initrd" --append "$append" "$@"
}
stop() { # NAME: waits for the tool's end; leaves $status and ./err
	exec 8>&-
	wait $pid
	status=$?
	cp "$tmp/$1.err" "$tmp/err"
}
said() { # NAME BYTES: until the guest has said so much
	local end=$((SECONDS + patience_s))
	until [ "$(bytes "$tmp/$1.out")" -ge "$2" ]; do
		gone $pid && return 1
		[ $SECONDS -lt $end ] || return 1
		pause 50
	done
}
heard() { # NAME PATTERN: until the guest has said it
	local end=$((SECONDS + 120))
	until grep -aq -- "$2" "$tmp/$1.out"; do
		gone $pid && return 1
		[ $SECONDS -lt $end ] || return 1
		pause 50
	done
}
exists() { # FILE
	local end=$((SECONDS + 60))
	until [ -e "$1" ]; do
		[ $SECONDS -lt $end ] || return 1
		pause 50
	done
	rm "$1"
}
# gdb on the running machine, its words in ./gdb; `gdb_on` waits for it, `gdb_behind` does not.
gdb_on() { # -ex COMMAND...
	timeout -k 5 120 gdb -q -nx -batch -ex 'set remotetimeout 60' -ex "target remote $address" -x "$commands_file" "$@" > "$tmp/gdb" 2>&1 < /dev/null
}
gdb_behind() {
	gdb -q -nx -batch -ex 'set remotetimeout 60' -ex "target remote $address" -x "$commands_file" "$@" > "$tmp/gdb" 2>&1 < /dev/null &
	gdb_pid=$!
}
# The n-th point that where-am-i or goto told.
point() { # N
	sed -n 's/^instruction \([0-9]*\),.*/\1/p' "$tmp/gdb" | sed -n "$1p"
}
digest() { # N: that `monitor digest` told
	sed -n 's/^.*\b\([0-9a-f]\{16\}\)$/\1/p' "$tmp/gdb" | sed -n "$1p"
}
evidence() {
	cp "$tmp/gdb" "$tmp/err"
	false
}
W=(-ex where-am-i)

# ---- Linux: while it boots ----

linux a; ok 'record --gdb: the port is announced'
said a 4000
gdb_on "${W[@]}" -ex reverse-stepi "${W[@]}" -ex 'reverse-stepi 20' "${W[@]}" -ex 'stepi 121' "${W[@]}" -ex 'reverse-stepi 100' "${W[@]}" \
	-ex 'monitor digest' -ex 'goto begin' -ex 'goto end' -ex 'reverse-stepi 100' "${W[@]}" -ex 'monitor digest' -ex detach
n=$(point 1)
[ "$n" -gt 1000000 ]; ok "attached while it boots, at instruction $n" || evidence
[ "$(point 2)" = $((n - 1)) ] && [ "$(point 3)" = $((n - 21)) ]; ok 'reverse-stepi, and 20 more'
[ "$(point 4)" = $((n + 100)) ]; ok '121 forward: past where it had come to'
[ "$(point 5)" = "$n" ] && [ "$(point 6)" = 0 ] && [ "$(point 7)" = $((n + 100)) ] && [ "$(point 8)" = "$n" ] || evidence
ok 'back, to the beginning, to the end, and back'
[ -n "$(digest 1)" ] && [ "$(digest 1)" = "$(digest 2)" ]; ok 'the machine at one point is the same, whichever way one came'
grep -q detached "$tmp/gdb"; ok 'gdb detaches'

gdb_on -ex stepi -ex 'set $x = $pc' "${W[@]}" -ex reverse-stepi -ex 'break *$x' -ex continue "${W[@]}" -ex delete -ex detach
[ "$(point 1)" -gt "$n" ] && [ "$(point 2)" = "$(point 1)" ]; ok_with 'a breakpoint just where it had come to, at $(point 1)' || evidence

# ---- at its prompt ----

wait_for "$tmp/a.out" "$prompt" $pid; ok 'the machine goes on to its prompt'
gdb_behind -ex "shell touch $tmp/running" -ex continue "${W[@]}" -ex "set \$idle = \$rip" -ex 'reverse-stepi 3' "${W[@]}" \
	-ex reverse-continue "${W[@]}" -ex 'goto end' \
	-ex 'break *$idle' -ex "shell touch $tmp/armed" -ex continue "${W[@]}" -ex 'printf "at %d\n", $rip == $idle' \
	-ex reverse-continue "${W[@]}" -ex continue "${W[@]}" -ex delete -ex detach
exists "$tmp/running"
pause 1500
kill -INT $gdb_pid
exists "$tmp/armed"; ok 'Ctrl-C while the guest waits for input: it stops, goes back, to the beginning and to the end' || evidence
pause 500
printf 'echo $((6*7))typed\n' >&8
wait $gdb_pid
n=$(point 1)
[ "$(point 2)" = $((n - 3)) ] && [ "$(point 3)" = 0 ] && [ "$(point 4)" = "$n" ]; ok "at instruction $n: reverse-stepi, reverse-continue to the beginning, goto end" || evidence
[ "$(point 5)" -gt "$n" ] && grep -q '^at 1$' "$tmp/gdb"; ok_with 'a breakpoint is hit live, at instruction $(point 5)' || evidence
[ "$(point 6)" -lt "$(point 5)" ] && [ "$(point 7)" = "$(point 5)" ]; ok 'and the hit before it backward, and it again forward' || evidence
wait_for "$tmp/a.out" "$prompt" $pid
pause 300
printf 'poweroff -f\n' >&8
stop a
is 0 'powered off' && grep -q '42typed' "$tmp/a.out"; ok 'detached: the machine goes on, hears what is typed, and powers off'
[ "$(info "$tmp/a.rpl" complete)" = yes ]; ok_with 'its recording is complete: $(extent "$tmp/a.rpl")'
replays a || { keep live "$tmp"/a.* "$tmp/out" "$tmp/err" "$tmp/gdb"; false; }; ok 'and replays: identical to its end, the same console'

# ---- gdb dies, gdb kills ----

linux b
said b 3000
gdb_behind -ex 'stepi 10' -ex 'reverse-stepi 5' -ex "shell touch $tmp/running" -ex 'shell sleep 60'
exists "$tmp/running"
kill -9 $gdb_pid
wait $gdb_pid 2> /dev/null
n=$(bytes "$tmp/b.out")
said b $((n + 2000)); ok 'gdb killed while the machine stood in its past: the machine goes on'
gdb_behind -ex "shell touch $tmp/running" -ex continue
exists "$tmp/running"
pause 300
kill -9 $gdb_pid
wait $gdb_pid 2> /dev/null
printf 'echo alive-$((6*7))\n' >&8 # heard when the guest has booted
heard b alive-42; ok 'gdb killed while it ran: the machine goes on, and hears what is typed'
gdb_on "${W[@]}" -ex 'reverse-stepi 1000' -ex kill
stop b
is 0 'left after'; ok "gdb's kill ends the session"
[ "$(info "$tmp/b.rpl" complete)" = yes ] && [ "$(info "$tmp/b.rpl" instructions)" = "$(point 1)" ]
ok_with 'its recording is complete, to where the machine had come: $(extent "$tmp/b.rpl")'
replays b || { keep killed "$tmp"/b.* "$tmp/out" "$tmp/err" "$tmp/gdb"; false; }; ok 'and replays: identical to its end'

# ---- a tiny kernel, which ends by itself; --gdb-wait; run ----

tiny=(--kernel "$root/build/guests/mixture.elf" --mem 64M)
run "$reprise" record --force -o "$tmp/t.rpl" "${tiny[@]}" < /dev/null
want=$(info "$tmp/t.rpl" digest)
start c record --force -o "$tmp/c.rpl" "${tiny[@]}" --gdb-wait
grep -q 'nothing runs before' "$tmp/c.err"; ok '--gdb-wait says that it waits'
pause 1000
[ ! -s "$tmp/c.out" ]; ok 'nothing runs before gdb says so'
gdb_on "${W[@]}" -ex continue "${W[@]}" -ex 'reverse-stepi 7' "${W[@]}" -ex continue "${W[@]}" -ex reverse-continue "${W[@]}" -ex kill
stop c
[ "$(point 1)" = 0 ] && [ "$(point 2)" = "$(info "$tmp/t.rpl" instructions)" ]; ok 'from its first instruction to its end' || evidence
[ "$(point 3)" -lt "$(point 2)" ] && [ "$(point 4)" = "$(point 2)" ] && [ "$(point 5)" = 0 ]; ok 'back from there, to the end again, and to the beginning' || evidence
cmp -s "$tmp/c.out" <("$reprise" replay -q "$tmp/t.rpl" < /dev/null); ok 'the console says what it says without a debugger'
is 0 && [ "$(info "$tmp/c.rpl" complete)" = yes ] && [ "$(info "$tmp/c.rpl" digest)" = "$want" ]; ok 'the recording: complete, its last digest that of a run without a debugger'
replays c; ok 'and replays: identical to its end'
start d run "${tiny[@]}" --gdb-wait
gdb_on -ex 'stepi 1000' "${W[@]}" -ex 'reverse-stepi 400' "${W[@]}" -ex continue "${W[@]}" -ex detach
stop d
[ "$(point 1)" = 1000 ] && [ "$(point 2)" = 600 ] && [ "$(point 3)" = "$(info "$tmp/t.rpl" instructions)" ]; ok 'run --gdb goes backwards, too' || evidence
is 0 && [ -z "$(ls -A "$TMPDIR")" ]; ok 'run --gdb: status 0, and no file stays behind'
start e run "${tiny[@]}"
gdb_on -ex kill
stop e
[ -z "$(ls -A "$TMPDIR")" ]; ok 'killed: no file stays behind either'

# ---- usage ----
run "$reprise" run "${tiny[@]}" --gdb-wait < /dev/null
is 2 'without --gdb' && one_line; ok 'usage: --gdb-wait without --gdb'
run "$reprise" record --force -o "$tmp/x.rpl" "${tiny[@]}" --gdb 0 --checkpoints < /dev/null
is 2 'together with --gdb' && one_line; ok 'usage: --gdb with --checkpoints'
run "$reprise" run "${tiny[@]}" --gdb nonsense:port < /dev/null
is 2 && [ -z "$(ls -A "$TMPDIR")" ]; ok 'usage: no such port, and no file stays behind'
finish
