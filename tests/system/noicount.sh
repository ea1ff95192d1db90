#!/bin/bash
# noicount.sh - a QEMU that does not count instructions: the hypervisor finds out, and refuses.
. "$(dirname "$0")/lib.sh"

cat > "$tmp/qemu" <<'END'
#!/bin/bash
# QEMU, without -icount.
args=()
while [ $# -gt 0 ]; do
	if [ "$1" = -icount ]; then shift; else args+=("$1"); fi
	shift
done
exec qemu-system-x86_64 "${args[@]}"
END
chmod +x "$tmp/qemu"
printf 'poweroff -f\n' > "$tmp/typed"
export REPRISE_QEMU=$tmp/qemu
run "$reprise" record -o "$tmp/a.rpl" --kernel "$kernel" --initrd "$initrd" --append "$append" < "$tmp/typed"
is 1 icount && one_line; ok 'record refuses in one line that names icount'
[ ! -s "$tmp/out" ]; ok 'nothing was run'
[ ! -e "$tmp/a.rpl" ]; ok 'no recording stays behind'
run "$reprise" doctor
cat "$tmp/out" >> "$tmp/err"
is 1 && grep -q '^FAIL.*icount' "$tmp/out"; ok 'doctor says what is wrong'
unset REPRISE_QEMU
run "$reprise" record -o "$tmp/a.rpl" --kernel "$kernel" --initrd "$initrd" --append "$append" < "$tmp/typed"
is 0; ok 'the same with QEMU as it should be started'
REPRISE_QEMU=$tmp/qemu run "$reprise" replay "$tmp/a.rpl"
is 1 icount && one_line; ok 'replay refuses too'
run "$reprise" doctor
[ "$status" = 0 ]; ok 'doctor is content here'
finish
