#!/bin/sh
# check.sh - runs suites of tests and sums them up, for `make check`.
#
#   check.sh run DIR/NAME COMMAND...   output into DIR/NAME.log, figures into DIR/NAME; a line on it
#   check.sh sum DIR/NAME...           what failed, then one line "N passed, N failed"
#   check.sh sum_of DIR                the same of all that began there
#
# A suite says its results as "ok ..." and "not ok ..." or "FAIL ..." lines, or is
# Criterion; one that says nothing of the kind is one test, by its exit status.
# `run` succeeds always, so that the other suites run too; `sum` fails if one did.
set -u

count() { # LOG: prints "PASSED FAILED"
	awk '
	/^ok / { passed++ }
	/^(not ok|FAIL) / { failed++ }
	/Synthesis: Tested:/ {
		gsub(/\033\[[0-9;]*m/, "")
		gsub(/[|:]/, " ")
		for (i = 1; i < NF; i++) {
			if ($i == "Passing") passed += $(i + 1)
			if ($i == "Failing" || $i == "Crashing") failed += $(i + 1)
		}
	}
	END { print passed + 0, failed + 0 }' "$1"
}

# Of all children waited for: the second line of what `times` printed, 1m2.3s 0m4.5s.
cpu_seconds() { # FILE
	awk -F '[ms ]+' 'NR == 2 { print int($1 * 60 + $2 + $3 * 60 + $4) }' "$1"
}

run() { # FILE COMMAND...
	file=$1 name=${1##*/}
	shift
	mkdir -p "${file%/*}"
	began=$(date +%s)
	# In a group of its own, so that all of it ends when we are told to.
	timeout -k 10 "${SUITE_TIMEOUT_S:-1800}" "$@" > "$file.log" 2>&1 < /dev/null &
	suite=$!
	trap 'kill $suite; wait $suite; exit 130' INT TERM
	wait $suite
	status=$?
	# shellcheck disable=SC2046
	set -- $(count "$file.log")
	if [ $status != 0 ] && [ "$2" = 0 ]; then
		set -- "$1" 1
	elif [ $status = 0 ] && [ "$1$2" = 00 ]; then
		set -- 1 0
	fi
	echo "$1 $2 $status" > "$file"
	took=$(($(date +%s) - began))
	times > "$file.times"
	printf '  %-7s %-12s %4d passed %3d failed %5d s, %d of a processor\n' TEST "$name" "$1" "$2" "$took" "$(cpu_seconds "$file.times")"
}

sum() { # FILE...
	passed=0 failed=0
	for file; do
		if [ ! -r "$file" ]; then
			echo "FAIL  ${file##*/}: did not run to its end; see above, or ${file}.log"
			failed=$((failed + 1))
			continue
		fi
		read -r p f status < "$file"
		passed=$((passed + p)) failed=$((failed + f))
		[ "$f" = 0 ] || report "$file" "$status"
	done
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

sum_of() { # DIR
	set -- "$1"/*.log
	for log; do
		set -- "$@" "${log%.log}"
		shift
	done
	sum "$@"
}

report() { # FILE STATUS: of a suite in which something failed
	echo "---- ${1##*/}: status $2, all of it in $1.log"
	if grep -aqE '^(not ok|FAIL) |^\[.*FAIL' "$1.log"; then
		grep -aE -A 12 '^(not ok|FAIL) |^\[.*(FAIL|----)' "$1.log" | head -n 60
	else
		tail -n 25 "$1.log"
	fi
}

what=$1
shift
"$what" "$@"
