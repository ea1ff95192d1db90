# gdb.sh - a gdb that is talked to: commands one by one, each with its answer, and never waited
# for longer than some time.  Sourced after lib.sh, with bash.
# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # gdb expands; read, and set, by the scripts that source this

# Standard output by lines: what gdb says and what it passes on from the machine stay in order.
cat > "$tmp/gdb" << END
#!/bin/sh
echo \$\$ > "$tmp/gdb.pid"
exec stdbuf -oL gdb "\$@"
END
chmod +x "$tmp/gdb"
soft_s=60 hard_s=200
asked=0
answer='' count=0 rip='' digest='' gdb_rip='' at_end=false branched=false

# gdb under `reprise debug`.  What is asked is kept in NAME.gdb, all that was said in NAME.log.
start_gdb() { # NAME RECORDING DEBUG-OPTIONS...
	log=$1
	shift
	rm -f "$tmp/gdb.pid" "$tmp/to"
	mkfifo "$tmp/to"
	coproc talk { exec "$reprise" debug --gdb "$tmp/gdb" "$@" < "$tmp/to" 2>&1; }
	tool_pid=$talk_PID
	exec {gdb_out}<&"${talk[0]}" {gdb_in}> "$tmp/to"
	: > "$log.log"
	: > "$log.gdb"
	ask 'set pagination off' 'set width 0' 'set prompt' 'set style enabled off' || return
	gdb_pid=$(cat "$tmp/gdb.pid")
}
# Leaves all that was said in $answer.  False: gdb is gone, or hangs.
ask() { # COMMAND...
	local line mark end patience warned=false
	asked=$((asked + 1))
	mark="@@$asked"
	printf '%s\n' "$@" >> "$log.gdb"
	answer=
	{ printf '%s\n' "$@" "echo \\n$mark\\n" >&"$gdb_in"; } 2> /dev/null || return 1
	end=$((SECONDS + soft_s))
	while :; do
		if IFS= read -rt 1 -u "$gdb_out" line; then
			case $line in *"$mark") return 0 ;; esac
			printf '%s\n' "$line" >> "$log.log"
			answer+=$line$'\n'
		elif [ $? -le 128 ]; then
			return 1 # its end
		elif [ $SECONDS -gt $end ]; then
			! $warned || return 1
			warned=true
			end=$((SECONDS + hard_s))
			echo "(interrupted)" >> "$log.log"
			kill -INT "$gdb_pid"
		fi
	done
}
# Sets $count, $rip, $digest, $at_end, $branched and gdb's own opinion $gdb_rip.
where_is_it() {
	local line
	ask 'monitor where' 'monitor digest' 'select-frame 0' 'output/x (unsigned long) $rip' || return
	at_end=false branched=false count='' rip='' digest='' gdb_rip=''
	while IFS= read -r line; do
		case $line in
		'instruction '*)
			count=${line#instruction } count=${count%%,*}
			case $line in *'the end of the run'*) at_end=true ;; esac
			case $line in *'on a branch'*) branched=true ;; esac ;;
		'vCPU 0: rip '*) rip=${line#vCPU 0: rip } rip=${rip%%,*} ;;
		0x*) gdb_rip=$line ;;
		????????????????) digest=$line ;;
		esac
	done <<< "$answer"
	[ -n "$count" ]
}
leave_gdb() { # leaves $status of `reprise debug`
	local end=$((SECONDS + hard_s))
	exec {gdb_in}>&-
	while ! gone "$tool_pid" && [ $SECONDS -lt $end ]; do pause 50; done
	gone "$tool_pid" || { kill -9 "$tool_pid" "$gdb_pid"; echo "# it did not end"; }
	wait "$tool_pid" 2> /dev/null
	status=$?
	exec {gdb_out}<&-
}
