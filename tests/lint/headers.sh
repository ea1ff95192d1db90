#!/bin/sh
# headers.sh - every header compiles alone, and twice.
set -u
. tests/lint/files.sh
export CC="${CC:-gcc}" KFLAGS="${KFLAGS:-}" HFLAGS="${HFLAGS:-}"

# shellcheck disable=SC2016
sources '*.h' | xargs -n 8 -P 2 sh -c '
status=0
for h; do
	case $h in
	tests/guests/*) flags="$KFLAGS -Itests/guests" ;;
	tests/* | tools/*) flags=$HFLAGS ;;
	*) flags=$KFLAGS ;;
	esac
	printf "#include \"%s\"\n#include \"%s\"\n" "$h" "$h" |
		$CC $flags -Wno-unused-function -fsyntax-only -x c - 2>&1 || { echo "$h: does not compile alone"; status=1; }
done
exit $status' sh
