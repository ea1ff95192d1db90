#!/bin/bash
# arbiter.sh - two bare machines at one iSCSI target: who may be live, and who may write
# [docs/ARBITER.md].  tgtd with its reservations, istgt with COMPARE AND WRITE.
# The machine is arbiter_machine.c: what is typed here are its commands.
. "$(dirname "$0")/lib.sh"
machine_elf=$root/build/kernel/arbiter.elf
iqn=iqn.2026-01.invalid.reprise:test
races=${1:-1000}
more=2000 # so many test-and-sets last for seconds: a blow a moment after they began falls among them
export TGT_IPC_SOCKET=$tmp/tgt.ipc
${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -O1 -o "$tmp/relay" "$root/tests/system/relay.c" || exit 1
PATH=$PATH:/usr/sbin:/sbin

# ---- targets ----

store=$tmp/store data=$tmp/data
free_port
tgtd_start() {
	local try
	tgtd -f -t 1 --iscsi portal=127.0.0.1:$port >> "$tmp/tgtd.log" 2>&1 &
	target=$!
	for try in {1..100}; do
		tgtadm --lld iscsi --mode target --op new --tid 1 -T $iqn 2> /dev/null && break
		pause 50
	done
	tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 1 --backing-store "$store" &&
		tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 2 --backing-store "$data" &&
		tgtadm --lld iscsi --mode target --op bind --tid 1 --initiator-address 127.0.0.1
}
istgt_start() {
	local control
	control=$port
	free_port
	cat > "$tmp/istgt.conf" <<-END
	[Global]
	  NodeBase "${iqn%:*}"
	  PidFile $tmp/istgt.pid
	  AuthFile $tmp/istgt.auth
	  MediaDirectory $tmp
	  DiscoveryAuthMethod None
	[UnitControl]
	  AuthMethod None
	  Portal UC1 127.0.0.1:$control
	  Netmask 127.0.0.1
	[PortalGroup1]
	  Portal DA1 127.0.0.1:$port
	[InitiatorGroup1]
	  InitiatorName "ALL"
	  Netmask 127.0.0.0/8
	[LogicalUnit1]
	  TargetName ${iqn#*:}
	  Mapping PortalGroup1 InitiatorGroup1
	  AuthMethod None
	  UnitType Disk
	  LUN0 Storage $tmp/none 1MB
	  LUN1 Storage $store 1MB
	  LUN2 Storage $data 1MB
	END
	: > "$tmp/istgt.auth"
	truncate -s 1M "$tmp/none"
	istgt -D -c "$tmp/istgt.conf" -p "$tmp/istgt.pid" >> "$tmp/istgt.log" 2>&1 &
	target=$!
	pause 1000
}
gone_now() { # PID: killed, without a word about it
	{ kill -9 "$1"; wait "$1"; } 2> /dev/null
}
target_end() {
	gone_now "$target"
}

# ---- machines ----

declare -A pid_of in_of out_of
machine() { # NAME [PORT]: starts one; it is ready
	local name=$1 at=${2:-$port} i drives=()
	rm -f "$tmp/$name.in" "$tmp/$name.out"
	mkfifo "$tmp/$name.in" "$tmp/$name.out"
	exec {in_of[$name]}<> "$tmp/$name.in" {out_of[$name]}<> "$tmp/$name.out"
	for i in 1 2; do
		drives+=(-drive "file=iscsi://127.0.0.1:$at/$iqn/$i,if=none,format=raw,id=d$i"
			-device "scsi-generic,drive=d$i,scsi-id=$((i - 1))")
	done
	LD_PRELOAD=$root/build/host/steady.so qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
		-machine q35 -accel tcg -cpu qemu64,+svm,+npt -icount shift=0,sleep=on -m 256M \
		-kernel "$machine_elf" -device isa-debug-exit,iobase=0xf4,iosize=4 -serial stdio \
		-iscsi "initiator-name=iqn.2026-01.invalid.reprise:$name" -device virtio-scsi-pci "${drives[@]}" \
		< "$tmp/$name.in" > "$tmp/$name.out" 2>> "$tmp/err" &
	pid_of[$name]=$!
	hear "$name" && [ "$line" = ready ]
}
tell() { # NAME COMMAND...
	local name=$1
	shift
	echo "$*" >&"${in_of[$name]}"
}
hear() { # NAME: sets $line to the next one; false: none within a minute
	line=
	read -rt 60 -u "${out_of[$1]}" line || return
	echo "$1: $line" >> "$tmp/said"
}
ask() { # NAME COMMAND...: sets $line to the answer
	tell "$@"
	hear "$1"
}
down() { # NAME...
	local name
	for name; do
		gone_now "${pid_of[$name]}"
		exec {in_of[$name]}>&- {out_of[$name]}>&-
	done
}

# ---- races ----

# A failure shows what was said last.
right() { # NAME: by the status of the command before
	ok "$1" || tail -n 6 "$tmp/said" | sed 's/^/# said: /'
}

# Who won what: reads a machine's words up to the end of its race, or of itself.
declare -A winner
wins=0 doubles=0 waited=0
results_of() { # NAME
	while hear "$1"; do
		case $line in
		won\ *)
			wins=$((wins + 1))
			[ -z "${winner[${line#won }]:-}" ] || doubles=$((doubles + 1))
			winner[${line#won }]=$1
			;;
		unknown:* | unreachable:*) waited=$((waited + 1)) ;;
		over\ *) return 0 ;;
		*) return 1 ;;
		esac
	done
	return 1
}
missing() { # FROM TO: prints how many terms nobody won
	local i n=0
	for ((i = $1; i <= $2; i++)); do [ -n "${winner[$i]:-}" ] || n=$((n + 1)); done
	echo $n
}
stores() { # NAME HOST...: each machine is a host of the pair's, told to try for 2 s
	while [ $# -gt 0 ]; do
		ask "$1" "store 0 $2 2000"
		shift 2
	done
}

suite() { # NAME METHOD: all that concerns the word, against the target that runs
	local held pair
	winner=() wins=0 doubles=0 waited=0
	machine a && machine b
	right "$1: two machines reach the target"
	stores a 1 b 2

	head -c 512 /dev/zero | tr '\0' x | dd of="$store" conv=notrunc status=none
	ask a format
	[[ $line == unreachable*'something else'* ]] && [ "$(head -c 512 "$store" | tr -d x | wc -c)" = 0 ]
	right "$1: a disk that holds something else is not formatted"
	ask a format over
	[[ $line == "swapped method $2"* ]]; right "$1: formatted, the word changes by method $2"
	ask b format
	[[ $line == differs* ]]; right "$1: a store is not formatted again"

	tell a race "$races"
	tell b race "$races"
	results_of a && results_of b && [ $doubles = 0 ] && [ "$(missing 1 "$races")" = 0 ] && [ $wins = "$races" ]
	right "$1: $races test-and-sets by two hosts, each won once"

	# A host dies: at most what it had won and not yet said is missing.
	held=$((races + more))
	tell a race $held 2
	tell b race $held 2
	pause $((300 + RANDOM % 500))
	gone_now "${pid_of[b]}"
	results_of a; pair=$?
	echo 'over 0' > "$tmp/b.out"
	results_of b
	[ $pair = 0 ] && [ $doubles = 0 ] && [ "$(missing $((races + 1)) $held)" -le 1 ]
	right "$1: a host is killed; the other goes on, and none is won twice"
	machine b && stores b 3
	right "$1: it begins anew, as another"

	# The target stands still.
	tell a race $((held += more)) 2
	tell b race $held 2
	pause $((200 + RANDOM % 300))
	kill -STOP "$target"
	waited=0
	pause 5000
	kill -CONT "$target"
	results_of a && results_of b && [ $doubles = 0 ] && [ "$(missing $((held - more + 1)) $held)" = 0 ] && [ $waited -ge 1 ]
	right "$1: the target stands still for 5 s: unreachable; then it goes on, none won twice"

	# ... and a host.
	tell a race $((held += more)) 2
	tell b race $held 2
	pause $((200 + RANDOM % 300))
	kill -STOP "${pid_of[b]}"
	pause 2000
	kill -CONT "${pid_of[b]}"
	results_of a && results_of b && [ $doubles = 0 ] && [ "$(missing $((held - more + 1)) $held)" = 0 ]
	right "$1: a host is frozen for 2 s, none won twice"
	down a b
}

# ---- tgtd ----

truncate -s 1M "$store" "$data"
tgtd_start
right 'tgtd, without being a service'
suite tgtd 2

# It forgets its reservations, and the word is still the same.
machine a && machine b
stores a 4 b 5
ask a 'race 1'
last=${line#over }
tell a race $((last + more))
tell b race $((last + more))
pause $((200 + RANDOM % 300))
target_end
pause 1000
tgtd_start
results_of a && results_of b && [ $doubles = 0 ] && [ "$(missing $((last + 1)) $((last + more)))" = 0 ]
right 'tgtd: the target is killed and started again, none won twice'

# ---- the fence ----

blocks=2000 # seconds of writing: a freeze a moment after its beginning falls into it
block_bytes_of() { # BYTE: how many of these blocks of the data disk begin with it
	od -An -v -tx1 -w512 -N$((blocks * 512)) "$data" | grep -c "^ $1 "
}
ask a 'fence 1 1 1'
[[ $line == held* ]]; right 'fence: a host takes the disk'
ask a 'burst 1 0 5 a0'
[ "$line" = '5 written' ]; right 'fence: it writes'
for i in {1..10}; do # attentions: of the restart, of the unit that came
	ask b 'scsi 1 000000000000 0' && [[ $line != *key=6* ]] && break
done
ask b 'burst 1 0 5 b0'
[[ $line == '0 written, then status=18'* ]]; right 'fence: the other is refused'
all=0
for i in 1 2 3 4 5; do
	ask a "fence 1 1 $((10 * i))"
	[[ $line == held* ]] || all=1
	tell a "burst 1 0 $blocks a$i"
	pause $((50 + RANDOM % 200))
	kill -STOP "${pid_of[a]}"
	ask b "fence 1 2 $((10 * i + 5))"
	[[ $line == held* ]] || all=1
	ask b "burst 1 0 $blocks b$i"
	[ "$line" = "$blocks written" ] || all=1
	kill -CONT "${pid_of[a]}"
	hear a
	[[ $line == *'status=02 key=6 asc=2a03' || $line == *status=18* ]] || all=1
	[ "$(block_bytes_of b$i)" = $blocks ] || all=1
done
[ $all = 0 ]; right 'fence: a host frozen while it writes is refused when it thaws, and nothing of its is found, five times'
ask a 'fence 1 1 50'
[[ $line == lost* ]]; right 'fence: and learns that it is out'
down a

# A write that has left the host and is still on the wire.
exec {wire}< <(exec "$tmp/relay" $port)
relay=$!
read -r -u "$wire" relayed
machine c "$relayed"
ask c 'fence 1 3 60'
[[ $line == held* ]]; right 'fence: a host behind a wire that can be held'
kill -STOP $relay
ask c 'start w 1 8a080000000000000000000000010000 0 cc*512'
ask c 'wait w 500'
[ "$line" = pending ]; right 'fence: its write is on the way'
ask b 'fence 1 2 65'
[[ $line == held* ]] && ask b "burst 1 0 $blocks bb" && [ "$line" = "$blocks written" ]
right 'fence: meanwhile the other has won, and written'
kill -CONT $relay
ask c 'wait w 20000'
[[ $line == *status=18* || $line == *'status=02 key=6 asc=2a03'* ]] && [ "$(block_bytes_of bb)" = $blocks ]
right 'fence: when it arrives it is refused'
down b c
kill $relay
target_end

# ---- istgt: COMPARE AND WRITE ----

free_port
truncate -s 0 "$store"
truncate -s 1M "$store"
istgt_start
suite istgt 1
target_end
finish
