#!/bin/bash
# bt.sh - `reprise bt` on tests/guests/stack.c, whose stack is known: every function in order, through an
# exception in an interrupt's handler, by call frame information and by frame pointers; and a panic's text.
elf=$(realpath -m "$(dirname "$0")/../../build/guests/stack.elf")
bzimage=$(realpath -m "${KERNEL:-$(dirname "$0")/../../build/guests/vmlinuz}")
KERNEL=$elf
. "$(dirname "$0")/lib.sh"
hypervisor=${REPRISE_KERNEL:-$(dirname "$reprise")/../kernel/reprise.elf}
cd "$tmp" || exit 1

inner='give_up on_undefined isr_common <interrupt> stumble on_timer isr_common <interrupt> innermost middle outermost guest_main start_c'
frames() { # the functions of ./out in order, one line
	sed -n 's/^ *\(<.*>\)$/\1/p; s/^ #[0-9]* *0x[0-9a-f]\{16\}  \([^ +]*\)+0x[0-9a-f]*\( .*\)\{0,1\}$/\1/p' out | tr '\n' ' ' | sed 's/ $//'
}
names_are() { # NAMES
	frames > names
	[ "$(cat names)" = "$1" ] || { sed 's/^/# out: /' out; false; }
}

run "$reprise" record -o s.rpl --kernel "$elf" < /dev/null
is 5 'exited with 7'; ok 'the guest fails where it is to fail'
insns=$(info s.rpl instructions)

run "$reprise" bt s.rpl
is 0 && [ ! -s err ] && names_are "$inner start_pvh"; ok 'by call frame information, with the symbols of the recorded kernel'
[ "$(head -n 1 out)" = "vCPU 0 at instruction $insns" ]; ok 'the point is named'
if command -v addr2line > /dev/null; then
	[ "$(grep -c 'tests/guests/stack\.c:[0-9]*$' out)" = 8 ] || { cat out; false; }; ok 'lines of the source'
fi
cp out first
run "$reprise" bt --symbols "$elf" --at end s.rpl; is 0 && names_are "$inner start_pvh"; ok '--symbols, --at end'
run "$reprise" bt --at crash s.rpl; is 0 && cmp -s out first; ok '--at crash'
run "$reprise" bt --at "$insns" s.rpl; is 0 && cmp -s out first; ok '--at N'
objcopy --remove-section .debug_frame "$elf" plain.elf
run "$reprise" bt --symbols plain.elf s.rpl; is 0 && names_are "$inner"; ok 'by frame pointers'
run "$reprise" bt --at begin s.rpl; is 0 && names_are start_pvh && grep -q '^vCPU 0 at instruction 0$' out; ok '--at begin'
run "$reprise" bt --at $((insns - 1000)) s.rpl; is 0 && names_are 'innermost middle outermost guest_main start_c start_pvh'
ok 'before the interrupt'
run "$reprise" bt --json s.rpl
is 0 && grep -q "^\[{\"vcpu\": 0, \"instructions\": $insns, \"end\": \"top\", \"frames\": \[$" out &&
	[ "$(grep -c '"how": "interrupted"' out)" = 2 ] && [ "$(grep -c '"how": "cfi"' out)" = 9 ] &&
	[ "$(sed -n 's/.*"function": "\([a-z_]*\)".*/\1/p' out | tr '\n' ' ')" = "${inner//<interrupt> /} start_pvh " ]
ok '--json'
"$reprise" pack s.rpl -o p.rpl 2> /dev/null && run "$reprise" bt p.rpl && cmp -s out first; ok 'a packed recording'

# Every point on the way ends well, whatever the registers are there.
for ((i = 1; i <= 4; i++)); do
	draw "$insns"
	run "$reprise" bt --at "$drawn" s.rpl; is 0 && grep -q '^ #0 ' out; ok "--at $drawn"
done

run "$reprise" bt --symbols "$bzimage" s.rpl; is 2 'not an ELF file' && one_line; ok 'symbols that are none'
run "$reprise" record -o l.rpl --kernel "$bzimage" --limit-insns 5M < /dev/null
run "$reprise" bt l.rpl; is 2 '--symbols' && one_line; ok 'a kernel without symbols'
run "$reprise" bt --at 5G s.rpl; is 2 'ends after' && one_line; ok 'a point behind the end'

# ---- the hypervisor's own ----
address() { nm "$hypervisor" | sed -n "s/^0*\([0-9a-f]*\) [tT] $1$/0x\1/p" | head -n 1; }
printf 'talk\n# panic: it broke\n# backtrace:\n#     panic+0x5 (0x%x)\n#     kmain+0x10\nmore\n' $(($(address panic) + 5)) > said
run "$reprise" bt --panic said; is 0 && names_are 'panic kmain' && [ "$(head -n 1 out)" = 'panic: it broke' ]; ok '--panic'
grep -q "^ #0 *0x0*$(printf %x $(($(address panic) + 5))) " out; ok 'where it was'
run sh -c 'cat said | "$0" bt --panic -' "$reprise"; is 0 && names_are 'panic kmain'; ok '--panic of a pipe'
run "$reprise" bt --panic said --json; is 0 && grep -q '^{"panic": "it broke", "frames": \[$' out; ok '--panic, --json'
printf 'panic: it broke\nbacktrace:\n    nothing_of_that_name+0x5 (0x1234)\n' > said
run "$reprise" bt --panic said; is 0 'not the build that panicked' && one_line; ok 'the panic of another build'
run "$reprise" bt --panic "$elf"; is 2 'no backtrace' && one_line; ok 'no panic'
run "$reprise" bt --panic /nowhere; is 2 && one_line; ok 'no such file'
finish
