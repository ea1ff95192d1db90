#!/bin/bash
# several.sh - several machines in one hypervisor: each runs as it does alone, to the last exit, and
# replays alone; one that crashes, is stuck or is killed with its host takes nobody's recording
# along; shares of the processor; a switch between them; consoles and keys; what is refused.
#
# Builds nothing.  Environment: see lib.sh, and GUESTS (build/guests).
# shellcheck disable=SC2016 # the guests expand it
. "$(dirname "$0")/lib.sh"
guests=$(realpath -m "${GUESTS:-$root/build/guests}")
cd "$tmp" || exit 1

linux=(--kernel "$kernel" --initrd "$initrd" --mem 128M)

# ---- as alone ----

tiny=(bits tsc x87ptr modes smc hostile)
args=()
for g in "${tiny[@]}"; do
	timeout -k 5 "$patience_s" "$reprise" run --mem 64M --seed 7 --kernel "$guests/$g.elf" < /dev/null > "$g.alone" 2> err
	sed "s/^reprise: /reprise: $g: /" err >> alone.err
	args+=(--vm "$g" --kernel "$guests/$g.elf" --share $((100 + 50 * (${#args[@]} / 6))))
done
run "$reprise" run --mem 64M --seed 7 "${args[@]}" < /dev/null
is 0 && cmp -s alone.err err || { keep alone alone.err err out; false; }
ok "six machines side by side: each as it is alone, to the last exit and the digest"
for g in "${tiny[@]}"; do
	sed -n "s/^$g *| //p" out | cmp -s - "$g.alone" || { keep "$g" out "$g.alone"; false; }
	ok "the console of $g, line by line"
done

# ---- one's fate ----

run "$reprise" record -o 'fate-%.rpl' --mem 64M --vm bad --kernel "$guests/hostile.elf" --append triple \
	--vm good --kernel "$guests/smc.elf" --vm stuck --kernel "$guests/hostile.elf" --append hltcli \
	--vm late --kernel "$guests/tsc.elf" --limit-insns 5M < /dev/null
is 5 '^reprise: bad: crashed (triple fault)' && is 5 '^reprise: good: exited with 0' && is 5 '^reprise: stuck: stuck' &&
	is 5 '^reprise: late: stopped at the limit' && [ "$(grep -c '^reprise: ' err)" = 4 ]
ok 'a crash, a halt for ever and a limit are their machines'"' own; the status is the first that is not 0"
for g in bad good stuck late; do
	"$reprise" replay "fate-$g.rpl" > /dev/null 2> err < /dev/null; status=$?
	is 0 'identical to its end'; ok "the recording of $g replays alone"
done

# ---- shares ----

spin=(--kernel "$guests/stray.elf" --append 'good insns=100000000000')
run "$reprise" record -o 'share-%.rpl' --mem 64M --timeout 4s --vm one "${spin[@]}" --vm three "${spin[@]}" --share 300 < /dev/null
one=$(info share-one.rpl instructions) three=$(info share-three.rpl instructions)
is 6 'one: timed out: left' && [ "$one" -gt 20000000 ] && [ $((three * 10 / one)) -ge 27 ] && [ $((three * 10 / one)) -le 33 ]
ok_with 'shares of 100 and 300: $one and $three instructions'

# ---- a switch, and disks ----

# The server waits for its client, which waits for the server: neither knows who runs when.  A machine
# of another hypervisor is on the same switch.
"$reprise" run "${linux[@]}" --append "$append ip=10.0.2.17/24 workload=echo-server" --net "switch=several-$$" \
	< /dev/null > outside.out 2> outside.err &
outside=$!
truncate -s 8M client.img server.img
server="$append ip=10.0.2.16/24 workload=echo-server connections=2"
{ printf '%s\n' 'seqclient --count 1000 --connect-wait 60 10.0.2.16:7' \
	'seqclient --count 500 --window 16 --size 1400 10.0.2.16:7' 'ping -c 20 -i 0.05 10.0.2.17' \
	'seqclient --count 100 --connect-wait 60 10.0.2.17:7' \
	'dd if=/dev/zero bs=1M count=4 | tr "\0" x > /dev/vda' sync 'poweroff -f'; } > commands
run "$reprise" record -o 'net-%.rpl' "${linux[@]}" --net "switch=several-$$" \
	--vm client --append "$append" --disk client.img,rw --vm server --append "$server" --disk server.img,rw < commands
wait $outside
tr -d '\r' < out > text
cp client.img written.img
truncate -s 0 client.img && truncate -s 8M client.img # as it was: the replays want it so
is 0 'client: powered off' && is 0 'server: powered off' || { keep switch out err net-client.rpl net-server.rpl outside.out; false; }
ok 'a client and its server on one switch'
[ "$(grep -c '^client | received: 1000$' text)" = 1 ] && [ "$(grep -c '^client | received: 500$' text)" = 1 ] &&
	[ "$(grep -c '^client | lost: 0$' text)" = 3 ] && [ "$(grep -c '^client | contradicted: 0$' text)" = 3 ] &&
	grep -q '^server | seqd: connection 1: 1000 requests' text
ok 'every request answered, and rightly'
grep -q '^client | 20 packets transmitted, 20 packets received, 0%' text && ! grep -q DUP text &&
	[ "$(grep -c '^client | received: 100$' text)" = 1 ] && grep -aq 'seqd: connection 1: 100 requests' outside.out ||
	{ keep outside text err outside.out; false; }
ok 'the switch leads to a machine of another hypervisor; each ping comes back once'
[ "$(head -c 4194304 written.img | tr -d x | wc -c)" = 0 ] && [ "$(tr -d '\0' < server.img | wc -c)" = 0 ]
ok 'disks of each: what one writes is in its own image'
for g in client server; do
	sed -n "s/^$g *| //p" out > "$g.out"
	"$reprise" replay "net-$g.rpl" > replayed 2> err < /dev/null; status=$?
	is 0 'identical to its end' && cmp -s replayed "$g.out" || { keep "$g" "net-$g.rpl" replayed "$g.out" err; false; }
	ok_with "$g replays alone, with no switch: $(extent "net-$g.rpl")"
done

# ---- killed ----

mkfifo tty
printf '%s\n' 'i=0; while :; do i=$((i+1)); done' > commands
"$reprise" record -o 'kill-%.rpl' "${linux[@]}" --vm busy --append "$append" \
	--vm idle --append "$append workload=idle" < tty > killed.out 2> killed.err &
victim=$!
exec {there}> tty
cat commands >&"$there"
wait_for_line killed.out 'idle: 1,' $victim
kill -9 "$(qemu_of $victim)"
wait $victim
exec {there}>&-
for g in busy idle; do
	"$reprise" replay "kill-$g.rpl" > /dev/null 2> err < /dev/null; status=$?
	is 0 'identical' && [ "$(info "kill-$g.rpl" instructions)" -gt 100000000 ]; ok_with "killed: what $g has done replays, $(extent "kill-$g.rpl")"
done

# ---- consoles and keys ----

${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O2 -o pty "$root/tests/system/pty.c" || exit 1
export reprise kernel initrd append
cat > session <<'END'
stty -a > before
"$reprise" run --kernel "$kernel" --initrd "$initrd" --mem 128M --append "$append" --vm first --vm second
echo $? > status
stty -a > after
END
./pty expect:'# ' sleep:300 'send:echo $((6*7))abc\r' expect:42abc 'send:\001n' expect:"keyboard is second's" expect:'# ' \
	sleep:300 'send:hostname other; hostname\r' expect:other expect:other 'send:poweroff -f\r' expect:'Power down' 'send:\001h' expect:'Ctrl-A n' \
	'send:\001n' 'send:echo $((5*5))de\r' expect:25de 'send:poweroff -f\r' end -- sh ./session > seen 2> err
status=$(cat status 2> /dev/null)
is 0 && cmp -s before after && tr -d '\r' < seen | grep -q 'first  |.* 42abc' && tr -d '\r' < seen | grep -q 'second |.* other$' ||
	{ keep keys seen err; false; }
ok 'a terminal: Ctrl-A n gives the next machine the keyboard; one that is off leaves it to the other'

# ---- refused ----

refused() { # PATTERN ARGUMENT...
	local pattern=$1
	shift
	run "$reprise" "$@" < /dev/null
	is 2 "$pattern" && one_line; ok "refused: $pattern"
}
k=(--kernel "$guests/fpu.elf" --mem 64M)
refused '--vm a: given twice' run "${k[@]}" --vm a --vm a
refused '--vm a b: not understood' run "${k[@]}" --vm 'a b'
refused '--share: given without --vm' run "${k[@]}" --share 5
refused '--share 0: not understood' run "${k[@]}" --vm a --share 0
refused '--timeout: is of all machines' run "${k[@]}" --vm a --vm b --timeout 4s
refused '-o: missing for --vm b' record "${k[@]}" --vm a -o a.rpl --vm b
refused '-o x.rpl: of two machines' record "${k[@]}" -o x.rpl --vm a --vm b
refused '--gdb: given together with --vm' run "${k[@]}" --gdb 1234 --vm a
refused 'two devices have the address' run "${k[@]}" --net user,mac=52:54:00:aa:bb:cc --vm a --vm b
refused 'more than 8 machines' run "${k[@]}" --vm 1 --vm 2 --vm 3 --vm 4 --vm 5 --vm 6 --vm 7 --vm 8 --vm 9
refused 'server.img: in use' run "${k[@]}" --disk server.img,rw --vm a --vm b
refused 'kernel: missing' run --vm a
refused 'operand: not an option' run "${k[@]}" operand --vm a --vm b
: > y.rpl
refused 'y.rpl: .*exists' record "${k[@]}" --vm a -o x.rpl --vm b -o y.rpl
refused 'of two machines' record --force "${k[@]}" --vm a -o x.rpl --vm b -o ./x.rpl
[ ! -e x.rpl ] && [ ! -e a.rpl ]; ok 'and no recording was left behind'
finish
