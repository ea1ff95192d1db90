#!/bin/sh
# lint.sh - the rules of the house, checked.  Run by `make lint`, from the top of the tree.
#
# First each lint is shown to find what it is for (selftest.sh), then all run on the tree.
# Environment: CC, KFLAGS, HFLAGS (compiler and flags), OBJECTS (all object files), PORTABLE
# (the sources that must not know they are on bare metal), HOST (the host command's).
set -u
export LC_ALL=C
here=tests/lint
failed=0

for lint in layers globals headers rooms whitespace citations kconfig tour; do
	if out=$(sh $here/selftest.sh $lint 2>&1); then
		echo "ok    $lint finds what it should"
	else
		echo "FAIL  $lint: its own test"
		failed=1
	fi
	[ -z "$out" ] || echo "$out" | sed 's/^/      /'
	if out=$(sh $here/$lint.sh 2>&1); then
		echo "ok    $lint"
	else
		echo "FAIL  $lint"
		failed=1
	fi
	[ -z "$out" ] || echo "$out" | sed 's/^/      /'
done
exit $failed
