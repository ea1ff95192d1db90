#!/bin/sh
# symbols.sh ELF - the functions of ELF as an assembly table, sorted by address, for panic.c.
# The table is a section of its own behind .text, so adding it moves no function.
set -eu
nm -n "$1" | awk '
BEGIN {
	print "\t.section .symbols, \"a\""
	print "\t.globl symbol_table, symbol_table_end, symbol_names"
	print "\t.balign 4\nsymbol_table:"
}
$2 ~ /^[tTwW]$/ && $3 !~ /^(\.L|__text_)/ {
	if ($1 == last) next	# of several names for one address, the first
	last = $1
	printf "\t.long 0x%s, %d\n", substr($1, 9), offset
	names[++n] = $3
	offset += length($3) + 1
}
END {
	print "symbol_table_end:\nsymbol_names:"
	for (i = 1; i <= n; i++)
		printf "\t.asciz \"%s\"\n", names[i]
	print "\t.section .note.GNU-stack, \"\", @progbits"
}'
