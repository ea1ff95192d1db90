#!/bin/sh
# layers.sh - who may include whom.
#
#   1  kernel <- vmm <- replay <- {ft, gdbstub} <- session: lower may not include upper, ft and gdbstub
#      not each other; tools/ and tests/ are included only from themselves
#   2  vmm/svm/ and vmm/vmx/ do not see each other, and nobody else sees them but
#      session/, which chooses
#   3  what is portable includes of kernel/ only the headers named below, through other
#      headers too, and of the system only what a freestanding compiler has (the host command: any)
set -u
. tests/lint/files.sh
portable_headers='kernel/base.h kernel/xxh.h kernel/kfmt.h kernel/kconf.h kernel/bundle.h kernel/scsi.h kernel/netpacket.h'
system_headers='stdarg.h stdbool.h stddef.h stdint.h string.h lz4.h xxhash.h'
# FILE INCLUDED: behind #ifdef REPRISE_KERNEL.
exceptions='replay/recording_lz4.c kernel/fpu.h'

# shellcheck disable=SC2046
awk -v portable="${PORTABLE:-}" -v host="${HOST:-}" -v ok_headers="$portable_headers" \
	-v ok_system="$system_headers" -v ok_pairs="$exceptions" '
function complain(where, what) { print where ": " what; bad = 1 }
function top(path) { return substr(path, 1, index(path, "/") - 1) }
function vendor(path) { return path ~ /^vmm\/(svm|vmx)\// ? substr(path, 5, 3) : "" }
# What root includes, directly and through headers.
function walk(root, file, via,   i, n, inc, part) {
	n = split(includes[file], inc, " ")
	for (i = 1; i <= n; i++) {
		split(inc[i], part, "@")
		if (part[1] ~ /^kernel\// && !(part[1] in allowed) && !((file, part[1]) in excepted))
			complain(file ":" part[2], part[1] " is bare metal, " root " is portable" via)
		else if (!((root, part[1]) in seen)) {
			seen[root, part[1]] = 1
			walk(root, part[1], " (through " part[1] ")")
		}
	}
}
BEGIN {
	level["kernel"] = 0; level["vmm"] = 1; level["replay"] = 2; level["ft"] = level["gdbstub"] = 3
	level["session"] = 4; level["tools"] = level["tests"] = level["labs"] = 5
	n = split(ok_headers, a, " "); for (i = 1; i <= n; i++) allowed[a[i]] = 1
	n = split(ok_system, a, " "); for (i = 1; i <= n; i++) freestanding[a[i]] = 1
	n = split(ok_pairs, a, " "); for (i = 1; i < n; i += 2) excepted[a[i], a[i + 1]] = 1
	n = split(portable, a, " "); for (i = 1; i <= n; i++) is_portable[a[i]] = 1
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, q, "\"")
	f = FILENAME; inc = q[2]; at = f ":" FNR
	includes[f] = includes[f] " " inc "@" FNR
	if (inc !~ /\//) {
		if (top(f) != "tests") complain(at, "\"" inc "\": give the path from the top of the tree")
		next
	}
	if (top(f) == top(inc)) {
		if (vendor(f) != vendor(inc) && vendor(inc) != "")
			complain(at, inc ": seen from outside vmm/" vendor(inc))
		next
	}
	if (!(top(inc) in level)) complain(at, inc ": in no layer")
	else if (level[top(f)] < level[top(inc)]) complain(at, inc ": " top(f) "/ is below " top(inc) "/")
	else if (level[top(f)] == level[top(inc)] && top(f) != "tests")
		complain(at, inc ": " top(f) "/ and " top(inc) "/ do not know each other")
	if (vendor(inc) != "" && top(f) != "session") complain(at, inc ": seen from outside vmm/" vendor(inc))
}
/^[ \t]*#[ \t]*include[ \t]*</ {
	split($0, q, "[<>]")
	if (top(FILENAME) !~ /^(tools|tests|labs)$/ && !(q[2] in freestanding))
		complain(FILENAME ":" FNR, "<" q[2] ">: not there in a freestanding compiler")
}
END {
	for (f in is_portable) walk(f, f, "")
	n = split(host, a, " "); for (i = 1; i <= n; i++) walk(a[i], a[i], "")
	exit bad
}' $(sources '*.c' '*.h' '*.S')
