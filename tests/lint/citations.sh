#!/bin/sh
# citations.sh - what stands in brackets in a comment cites a manual in a form that
# docs/REFERENCES.md gives, or a file that exists.
#
# [SHORT where; SHORT where]: SHORT is the first cell, in backquotes, of a row of a table
# there; the last cell says what `where` looks like: numbered, titled, or any, or nothing.  [FILE where] names a file: by its path from the top, or a
# source file by its name alone.
set -u
. tests/lint/files.sh
references=docs/REFERENCES.md

# shellcheck disable=SC2046
awk -v references=$references -v files="$(sources '*' | tr '\n' ' ')" '
function complain(where, cite, what) { print where ": [" cite "]: " what; bad = 1 }

function check(where, cite,   parts, n, i, p, s, found, word) {
	n = split(cite, parts, /; */)
	for (i = 1; i <= n; i++) {
		p = parts[i]
		found = 0
		for (s in short)
			if (p == s || index(p, s " ") == 1 || index(p, s ",") == 1) found = length(s) > length(found) ? s : found
		if (found) {
			if (p ~ /^[^ ]*$/ && !(found in whole)) complain(where, cite, "where in " found "?")
			else if (substr(p, length(found) + 1) !~ form[found]) complain(where, cite, "not in the form of " references)
			continue
		}
		word = p
		sub(/[ ,:].*/, "", word)
		if (word in exists || word in named) continue
		# [exits.c, msr.c]
		if (p ~ /^[a-z0-9_.]+\.[chS](, [a-z0-9_.]+\.[chS])*$/) {
			complain(where, cite, word ": no such file")
			continue
		}
		complain(where, cite, word " is neither in " references " nor a file")
	}
}

function scan(comment, where,   c) {
	while (match(comment, /\[[^][]*\]/)) {
		c = substr(comment, RSTART + 1, RLENGTH - 2)
		# foo[n + 1] is no citation, nor is [0] or [n] or, in how a program is called, [FILE...]
		if ((RSTART == 1 || substr(comment, RSTART - 1, 1) !~ /[A-Za-z0-9_)\]]/) && c ~ /^[A-Za-z0-9]/ &&
		    (c ~ / [A-Za-z0-9]/ || c ~ /\./ || c ~ /^[A-Z]+[0-9]*$/) && c !~ /\.\.\.|^[a-z0-9_]+ [-+*\/] [a-z0-9_]+$/)
			check(where, c)
		comment = substr(comment, RSTART + RLENGTH)
	}
}

BEGIN {
	n = split(files, a, " ")
	for (i = 1; i <= n; i++) {
		exists[a[i]] = 1
		sub(/.*\//, "", a[i])
		named[a[i]] = 1
	}
	while ((getline line < references) > 0)
		if (line ~ /^\| `/) {
			split(line, cell, "|")
			split(cell[2], q, "`")
			short[q[2]] = 1
			if (line ~ /\| numbered *\|$/)
				form[q[2]] = "^ ([0-9A-Z]+(\\.[0-9]+)+|Table [0-9A-Z]+[-.0-9]*|Figure [0-9A-Z]+[-.0-9]*|Appendix [A-Z]|chapter [0-9]+|[A-Z][A-Z0-9]+[a-z]*)([ ,].*)?$"
			else if (line ~ /\| titled *\|$/)
				form[q[2]] = "^, [^ ].*$"
			else {
				form[q[2]] = ""
				whole[q[2]] = 1
			}
		}
}
FNR == 1 { inside = 0; comment = "" }
{
	line = $0
	if (FILENAME ~ /\.S$/ && line ~ /(^|[ \t])#[ \t]/) {
		scan(line, FILENAME ":" FNR)
		next
	}
	while (line != "") {
		if (inside) {
			end = index(line, "*/")
			text = end ? substr(line, 1, end - 1) : line
			sub(/^[ \t]*\*?[ \t]*/, "", text)
			comment = comment " " text
			if (!end) break
			line = substr(line, end + 2)
			inside = 0
			scan(comment, FILENAME ":" began)
			comment = ""
		} else {
			if (line !~ /\/\*/) break
			gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
			begin = index(line, "/*")
			if (!begin) break
			inside = 1
			began = FNR
			line = substr(line, begin + 2)
		}
	}
}
END { exit bad }' $(sources '*.[chS]')
