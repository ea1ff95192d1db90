#!/bin/sh
# kconfig.sh - options choose files: none in an #if, each used by a build.mk, each with help.
set -u
. tests/lint/files.sh

# shellcheck disable=SC2046
awk '
function complain(what) { print FILENAME ":" FNR ": " what; bad = 1 }
FILENAME ~ /Kconfig$/ {
	if ($1 == "config") { option = $2; where[option] = FILENAME ":" FNR }
	if ($1 == "help") help[option] = 1
	next
}
/^[ \t]*#[ \t]*(el)?if.*CONFIG_/ { complain("an option in an #if: let it choose a file in build.mk") }
FILENAME ~ /\.mk$/ {
	line = $0
	while (match(line, /\$\(CONFIG_[A-Z0-9_]+\)/)) {
		name = substr(line, RSTART + 9, RLENGTH - 10)
		used[name] = FILENAME ":" FNR
		line = substr(line, RSTART + RLENGTH)
	}
}
END {
	for (o in where) {
		if (!(o in used)) { print where[o] ": " o ": no build.mk asks for it"; bad = 1 }
		if (!(o in help)) { print where[o] ": " o ": no help"; bad = 1 }
	}
	for (o in used)
		if (!(o in where)) { print used[o] ": CONFIG_" o ": not in Kconfig"; bad = 1 }
	exit bad
}' Kconfig $(sources '*.[chS]' '*.mk')
