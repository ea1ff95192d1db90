/*
 * entry.S - 256 trap stubs and the one road from them into C.
 *
 * A stub makes every trap look alike: vector and error code on the stack
 * under a struct trap_frame (trap.h), whose order the pushes below fix.
 */
	.text
	.globl trap_stubs
	.balign 16
trap_stubs:
	.set .Lvector, 0
	.rept 256
	.balign 16
	/* These push an error code themselves [APM2 8.2 Vectors]. */
	.if .Lvector != 8 && (.Lvector < 10 || .Lvector > 14) && .Lvector != 17 && .Lvector != 21 && .Lvector != 29 && .Lvector != 30
	push $0
	.endif
	push $.Lvector
	jmp trap_common
	.set .Lvector, .Lvector + 1
	.endr

	.globl trap_common
	.type trap_common, @function
trap_common:
	push %rax
	push %rcx
	push %rdx
	push %rbx
	push %rbp
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	cld
	mov %rsp, %rdi		/* 16-byte aligned: the CPU aligned it, then 22 pushes */
	call trap_dispatch
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rbp
	pop %rbx
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq
	.size trap_common, . - trap_common

/* err_t rdmsr_safe(u32 msr, u64 *value), err_t wrmsr_safe(u32 msr, u64 value): see cpu.h. */
	.macro extable fault, fixup
	.pushsection .extable, "a"
	.long \fault, \fixup
	.popsection
	.endm

	.globl rdmsr_safe, wrmsr_safe
	.type rdmsr_safe, @function
rdmsr_safe:
	mov %edi, %ecx
1:	rdmsr
	shl $32, %rdx
	or %rdx, %rax
	mov %rax, (%rsi)
	xor %eax, %eax
	ret
	extable 1b, msr_absent
	.size rdmsr_safe, . - rdmsr_safe
	.type wrmsr_safe, @function
wrmsr_safe:
	mov %edi, %ecx
	mov %esi, %eax
	mov %rsi, %rdx
	shr $32, %rdx
2:	wrmsr
	xor %eax, %eax
	ret
	extable 2b, msr_absent
	.size wrmsr_safe, . - wrmsr_safe
msr_absent:
	mov $-5, %eax		/* ERR_UNSUPPORTED */
	ret

	.section .note.GNU-stack, "", @progbits
