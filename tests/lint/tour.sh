#!/bin/sh
# tour.sh [FILE...] - every function cited in the tour, `file.c: function()`, is defined in that
# file, and every file named in backquotes exists.  Default: all of docs/.
# shellcheck disable=SC2016 # the backquotes are the text looked for
set -u
[ $# -gt 0 ] || set -- docs/*.md
status=0

for page; do
	[ -r "$page" ] || { echo "$page: not there"; status=1; continue; }
	# A citation may be broken over two lines of text.
	cited=$(tr '\n' ' ' < "$page" | grep -o '`[A-Za-z0-9_./-]*\.[chS]: *[a-z_0-9]*()`' | tr -d '`() ' | sort -u)
	[ -n "$cited" ] || [ "$page" != docs/TOUR.md ] || { echo "$page: cites no function"; status=1; }
	for cite in $cited; do
		file=${cite%%:*} name=${cite#*:}
		# A definition begins in the first column and its line does not end in ";"; in assembly it is a label.
		if [ ! -r "$file" ]; then
			echo "$page: $file: no such file"
			status=1
		elif ! grep -E "^([A-Za-z_][^=;(]*[ *])?$name(\(|:$|:[[:space:]])" "$file" | grep -qv ';[[:space:]]*$'; then
			echo "$page: $name() is not a function of $file"
			status=1
		fi
	done
	for file in $(grep -o '`[a-z]*/[A-Za-z0-9_./-]*\.\(c\|h\|S\|sh\|md\)`' "$page" | tr -d '`' | sort -u); do
		[ -r "$file" ] || { echo "$page: $file: no such file"; status=1; }
	done
done
exit $status
