#!/bin/sh
# rooms.sh - every file begins with its room card, "name - what it does"; a file of more
# than 600 lines is mentioned (tests are long, and may be).
set -u
. tests/lint/files.sh
status=0

for f in $(sources '*.c' '*.h' '*.S' '*.sh' '*.awk' '*.mk' '*.ld'); do
	name=${f##*/}
	case $name in
	build.mk) continue ;; # lists of files
	*.[chS] | *.ld) card="/* * $name - " ;;
	*) card="# $name - " ;;
	esac
	# The first words, without #! and arguments: "# name ARG... - ".
	head=$(sed -e '1{/^#!/d}' "$f" | head -n 3 | tr -s ' \t\n' ' ')
	case $f in
	*.sh) head=$(echo "$head" | sed 's/^\(# [^ ]*\) .* - /\1 - /') ;;
	esac
	case $head in
	"$card"?*) ;;
	*) echo "$f:1: no room card: begins not with \"$card...\""; status=1 ;;
	esac
	case $f in tests/*) continue ;; esac
	lines=$(wc -l < "$f")
	[ "$lines" -le 600 ] || echo "warning: $f: $lines lines; two rooms?"
done
exit $status
