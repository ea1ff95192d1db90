#!/bin/sh
# globals.sh - no mutable globals: everything writable in the object files is named in
# globals.allow, with the reason.
set -u
[ -n "${OBJECTS:-}" ] || { echo 'OBJECTS: not given; run make lint'; exit 1; }

# shellcheck disable=SC2086
objdump -t $OBJECTS | awk -v allow="${ALLOW:-tests/lint/globals.allow}" '
BEGIN {
	while ((getline line < allow) > 0)
		if (line !~ /^(#|$)/) {
			split(line, field)
			allowed[field[1], field[2]] = 1
		}
}
/file format/ {
	object = $1
	sub(/:$/, "", object)
	# build/kernel/vmm/run.o or a path like it: what counts is vmm/run
	file = object
	sub(/\.o$/, "", file)
	while (file ~ /\// && !((top = substr(file, 1, index(file, "/") - 1)) ~ /^(kernel|vmm|replay|ft|gdbstub|session|tools)$/ &&
			substr(file, length(top) + 2) !~ /^(kernel|vmm|replay|ft|gdbstub|session|tools)\//))
		file = substr(file, index(file, "/") + 1)
	next
}
/^[0-9a-f]+ / {
	rest = substr($0, length($1) + 2)
	flags = substr(rest, 1, 7)
	split(substr(rest, 9), part, "\t")
	section = part[1]
	name = $NF
	sub(/\.[0-9]+$/, "", name)	# a static in a function
	if (flags ~ /[dfF]/ || name ~ /^\.L/ ||
	    section ~ /^(\.text|\.rodata|\.data\.rel\.ro|\.debug|\.gnu\.debuglto|\.comment|\.note|\.eh_frame|\.symbols|\.boot|\*UND\*|\*ABS\*)/)
		next
	if ((file, name) in allowed || (file, "*") in allowed)
		next
	if (!seen[file, name]++) {
		print file ": " name " in " section ": a mutable global; put it into a struct, or name it in " allow
		bad = 1
	}
}
END { exit bad }'
