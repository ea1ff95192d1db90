#!/bin/sh
# whitespace.sh - no blanks at the end of a line, none before a tab, no CR, a newline at the end.
set -u
. tests/lint/files.sh

# shellcheck disable=SC2046
awk '
function complain(what) { print FILENAME ":" FNR ": " what; bad = 1 }
/\r/ { complain("a carriage return") }
/[ \t]$/ { complain("blanks at the end of the line") }
/^\t* +\t/ { complain("a blank before a tab") }
END { exit bad }' $(sources '*.[chS]' '*.sh' '*.awk' '*.mk' '*.ld' '*.md' 'GNUmakefile' 'Kconfig')
status=$?
for f in $(sources '*.[chS]' '*.sh' '*.awk' '*.mk' '*.ld' '*.md' 'GNUmakefile' 'Kconfig'); do
	[ -z "$(tail -c 1 "$f")" ] || { echo "$f: no newline at the end"; status=1; }
done
exit $status
