#!/bin/sh
# selftest.sh LINT - shows that a lint finds what it is for: in a small tree that it passes,
# violations are planted one by one, and each must be found and named.
# shellcheck disable=SC2016 # what is planted is not for this shell to expand
set -u
lint=$1
top=$(pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
status=0

plant() { # FILE: contents from standard input
	mkdir -p "$(dirname "$1")" && cat > "$1"
}
run() {
	sh "tests/lint/$lint.sh" > out 2>&1
}
clean() { # the tree as it should be
	find . -mindepth 1 -delete
	mkdir -p tests/lint docs kernel vmm/svm vmm/vmx vmm/dev replay ft gdbstub tools
	cp "$top"/tests/lint/*.sh tests/lint/
	plant tests/lint/globals.allow <<- END
		kernel/a cpus	per-CPU areas
	END
	plant docs/REFERENCES.md <<- END
		| Cited as | Document | Edition | Form |
		|---|---|---|---|
		| \`APM2\` | a manual | 1 | numbered |
		| \`8259A datasheet\` | a chip | 1 | titled |
	END
	plant kernel/a.c <<- END
		/*
		 * a.c - a file as it should be [APM2 15.20 Event Injection; APM2 Table B-1].
		 */
		#include "kernel/base.h"
		static int cpus[2];
		static const int table[2] = { 1, 2 };
		int get(int i)
		{
			return cpus[i] + table[i]; /* [8259A datasheet, Poll Command], not x[i + 1] */
		}
	END
	plant kernel/base.h <<- END
		/*
		 * base.h - a header as it should be [docs/REFERENCES.md].
		 */
		#ifndef KERNEL_BASE_H
		#define KERNEL_BASE_H
		int get(int i);
		#endif
	END
	plant kernel/cpu.h < kernel/base.h
	sed -i 's/base\.h/cpu.h/; s/BASE/CPU/' kernel/cpu.h
	for f in vmm/vm vmm/svm/svm vmm/vmx/vmx session/session replay/perturb ft/link gdbstub/stub tools/main; do
		sed "s/base\.h/${f##*/}.h/; s/KERNEL_BASE_H/$(echo $f | tr a-z/ A-Z_)_H/" kernel/base.h | plant $f.h
		printf '/*\n * %s.c - a file.\n */\n#include "kernel/base.h"\n#include "%s.h"\n' ${f##*/} $f | plant $f.c
	done
	printf '#include "vmm/svm/svm.h"\n#include "kernel/cpu.h"\n' >> session/session.c
	plant Kconfig <<- END
		config PERTURB
			bool "disturb"
			help
			  Costs nothing.
	END
	plant replay/build.mk <<- 'END'
		portable-y += $(if $(CONFIG_PERTURB),replay/perturb.c)
	END
	echo 'Read `kernel/a.c: get()` in `kernel/a.c`.' > docs/TOUR.md
	echo 'See `kernel/base.h`.' > docs/MACHINE.md
	export PORTABLE='vmm/vm.c replay/perturb.c' HOST='tools/main.c' KFLAGS=-I. HFLAGS=-I. OBJECTS=build/kernel/kernel/a.o
	mkdir -p build/kernel/kernel
	[ "$lint" != globals ] || compile
}
compile() {
	"${CC:-gcc}" -I. -O1 -c kernel/a.c -o build/kernel/kernel/a.o
}
expect_pass() {
	run && return
	echo "a good tree does not pass:"
	cat out
	status=1
}
expect() { # PATTERN: what was planted is found
	if run; then
		echo "not found: $1"
		status=1
	elif ! grep -q -- "$1" out; then
		echo "found, but not as: $1"
		cat out
		status=1
	fi
	clean
}

clean
expect_pass
case $lint in
layers)
	echo '#include "vmm/vm.h"' >> kernel/a.c; expect '^kernel/a.c:11: vmm/vm.h: kernel/ is below vmm/'
	echo '#include "replay/perturb.h"' >> vmm/vm.h; expect '^vmm/vm.h:8: .*vmm/ is below replay/'
	echo '#include "ft/link.h"' >> gdbstub/stub.c; expect 'do not know each other'
	echo '#include "tools/main.h"' >> ft/link.c; expect '^ft/link.c:6: .*below tools/'
	echo '#include "vmm/vmx/vmx.h"' >> vmm/svm/svm.c; expect '^vmm/svm/svm.c:6: .*outside vmm/vmx'
	echo '#include "vmm/svm/svm.h"' >> vmm/vm.c; expect '^vmm/vm.c:6: .*outside vmm/svm'
	echo '#include "vmm/svm/svm.h"' >> replay/perturb.c; expect '^replay/perturb.c:6: .*outside vmm/svm'
	echo '#include "kernel/cpu.h"' >> replay/perturb.c; expect '^replay/perturb.c:6: kernel/cpu.h is bare metal'
	echo '#include "kernel/cpu.h"' >> vmm/vm.h; expect '^vmm/vm.h:8: .*vmm/vm.c is portable'
	echo '#include "kernel/cpu.h"' >> tools/main.h; expect '^tools/main.h:8: .*tools/main.c is portable'
	echo '#include <stdio.h>' >> vmm/vm.c; expect '^vmm/vm.c:6: <stdio.h>'
	echo '#include "vm.h"' >> vmm/vm.c; expect 'path from the top'
	;;
globals)
	echo 'int counter;' >> kernel/a.c; compile; expect '^kernel/a: counter in .bss'
	echo 'int counter = 1;' >> kernel/a.c; compile; expect '^kernel/a: counter in .data'
	echo 'int next(void); int next(void) { static int n; return n++; }' >> kernel/a.c; compile; expect '^kernel/a: n in .bss'
	echo '__thread int mine;' >> kernel/a.c; compile; expect '^kernel/a: mine in .tbss'
	echo 'int odd __attribute__((section(".odd"))) = 1;' >> kernel/a.c; compile; expect '^kernel/a: odd in .odd'
	;;
headers)
	echo 'u32 read_word(void);' >> kernel/cpu.h; expect '^kernel/cpu.h: does not compile alone'
	echo 'struct twice { int i; };' >> tools/main.h; expect '^tools/main.h: does not compile alone'
	;;
rooms)
	echo 'int i;' > kernel/b.c; expect '^kernel/b.c:1: no room card'
	printf '/*\n * a.c - copied.\n */\n' > kernel/b.c; expect '^kernel/b.c:1: no room card'
	printf '#!/bin/sh\ntrue\n' > tools/x.sh; expect '^tools/x.sh:1: no room card'
	printf '#!/bin/sh\n# x.sh [--all] FILE... - a script with arguments.\n' > tools/x.sh; expect_pass
	seq 601 | sed 's/.*/\/* & *\//' >> kernel/a.c; expect_pass
	grep -q '^warning: kernel/a.c: 61. lines' out || { echo 'no word on a long file'; status=1; }
	;;
whitespace)
	printf 'int i; \n' >> kernel/a.c; expect '^kernel/a.c:11: blanks'
	printf '  \tint i;\n' >> kernel/a.c; expect '^kernel/a.c:11: a blank before a tab'
	printf 'int i;\r\n' >> kernel/a.c; expect '^kernel/a.c:11: a carriage return'
	printf 'int i;' >> kernel/a.c; expect '^kernel/a.c: no newline'
	printf 'text \n' > docs/A.md; expect '^docs/A.md:1: blanks'
	;;
citations)
	for c in 'SDM9 1.2 Nothing' 'APM2' 'APM2, 15.20' 'APM2 table B-1' 'APM2 Local Bus' '8259A Poll Command' '8259A datasheet Poll Command' \
		'APM2 15.20; SDM9 1.2' 'docs/GONE.md 3' 'gone.c' 'GONE 1' 'datasheet, Mode 3'; do
		echo "/* [$c] */" >> kernel/a.c; expect "^kernel/a.c:11: \\[$c\\]"
	done
	printf '/*\n * on two lines [SDM9\n * 1.2 Nothing]\n */\n' >> kernel/a.c; expect '^kernel/a.c:11: \[SDM9 1.2 Nothing\]'
	printf '\tmov %%eax, %%ebx # [SDM9 1.2]\n' > kernel/b.S; expect '^kernel/b.S:1: \[SDM9 1.2\]'
	;;
kconfig)
	printf '#ifdef CONFIG_PERTURB\n#endif\n' >> kernel/a.c; expect '^kernel/a.c:11: an option in an #if'
	printf '#if defined(CONFIG_PERTURB)\n#endif\n' >> kernel/a.c; expect '^kernel/a.c:11: an option in an #if'
	printf 'config SPARE\n\tbool "x"\n\thelp\n\t  x\n' >> Kconfig; expect '^Kconfig:5: SPARE: no build.mk'
	printf 'config SPARE\n\tbool "x"\n' >> Kconfig; echo '$(CONFIG_SPARE)' >> replay/build.mk; expect 'SPARE: no help'
	echo 'x += $(CONFIG_MISSING)' >> replay/build.mk; expect '^replay/build.mk:2: CONFIG_MISSING: not in Kconfig'
	;;
tour)
	echo 'Then `kernel/a.c: put()`.' >> docs/TOUR.md; expect 'put() is not a function of kernel/a.c'
	echo 'Then `kernel/b.c: get()`.' >> docs/TOUR.md; expect 'kernel/b.c: no such file'
	echo 'Then `kernel/base.h: get()`, only declared.' >> docs/TOUR.md; expect 'get() is not a function of kernel/base.h'
	echo 'Then `kernel/gone.h`.' >> docs/MACHINE.md; expect 'docs/MACHINE.md: kernel/gone.h: no such file'
	;;
*)
	echo "$lint: no such lint"
	status=1
	;;
esac
exit $status
