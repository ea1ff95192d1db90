# files.sh - sourced by the lints: which files of the tree are ours.
# shellcheck shell=sh

sources() { # PATTERN...: our files with such names, sorted
	args=
	for pattern; do args="$args -o -name $pattern"; done
	set -f
	# shellcheck disable=SC2086
	find . \( -name build -o -name '.git' \) -prune -o -type f \( ${args# -o} \) -print | sed 's,^\./,,' | sort
	set +f
}
