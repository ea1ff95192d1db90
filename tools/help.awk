# help.awk - `make help`: the targets with a comment behind "##", by the group named
# in the "##@" line before them.
BEGIN {
	order = "Build Run Test House Parts"
}
FNR == 1 {
	group = "Parts"
}
/^##@ / {
	group = $2
}
/^[a-z-]+:.*## / {
	target = what = $0
	sub(/:.*/, "", target)
	sub(/.*## /, "", what)
	lines[group] = lines[group] sprintf("  %-14s %s\n", target, what)
}
END {
	n = split(order, groups)
	for (i = 1; i <= n; i++)
		if (groups[i] in lines)
			printf "%s\n%s", groups[i], lines[groups[i]]
	print "Variables"
	print "  V=1            show the commands"
	print "  CC=clang       another compiler; what it did not compile is compiled again"
	print "  O=build        where everything built goes"
	print "  KERNEL= INITRD= APPEND= REPRISE_ARGS=   what `make run` boots, and how"
	print "What a target needs of Debian is installed when it is needed, by sudo if you are not root."
}
