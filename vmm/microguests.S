/*
 * microguests.S - the tiny guests of the boot self-test [selftest.c].
 *
 * Copied to guest-physical 10000h and entered in 64-bit mode, flat segments,
 * interrupts off, an identity map, a stack, and an IDT whose vectors 0, 6, 14
 * and 41h are mg_fault_2, _3 and friends.  Position-independent.
 */
	.section .rodata
	.globl mg_start, mg_end, mg_loop, mg_count, mg_tsc, mg_mix, mg_smc, mg_shadow
	.globl mg_skip_div, mg_skip_ud, mg_return
	.balign 16
mg_start:

mg_count:			/* rcx times two instructions, then an exit */
	dec %rcx
	jnz mg_count
	vmmcall

mg_loop:			/* for ever; rcx counts */
	inc %rcx
	jmp mg_loop

mg_tsc:
	rdtsc
	shl $32, %rdx
	or %rdx, %rax
	vmmcall

mg_shadow:			/* an interrupt is pending: STI; INC; INC */
	sti
	inc %rcx
	inc %rcx
	inc %rcx
	vmmcall

/*
 * Straight-line self-modifying code: no jump between the store and the
 * instruction it changes.  eax is 1 where the processor is coherent.
 */
mg_smc:
	movb $1, 1f+1(%rip)
1:	mov $0, %eax
	vmmcall

/* A bit of everything that must count the same wherever it is stopped; r8 rounds. */
mg_mix:
	imul $0x4c957f2d, %r9, %r9
	add $12345, %r9
	mov %r9, 0x20000
	xor %ecx, %ecx
	xor %edx, %edx
	mov $7, %eax
	div %rcx
	ud2
	int $0x41
	mov $0x20000, %esi
	mov $0x21000, %edi
	mov $37, %ecx
	rep movsb
	mov $9, %ecx
	mov $0x20000, %esi
	mov $0x21000, %edi
	repe cmpsb
	add %rcx, %r9
	sti
	nop
	cli
	pushf
	popf
	mov %ss, %eax
	mov %eax, %ss
	nop
	mov %r9d, 2f+1(%rip)
	jmp 2f
	nop
2:	mov $0, %eax
	add %rax, %r9
	xor %ecx, %ecx
	mov $0x15, %eax
	cpuid
	add %rcx, %r9
	rdtsc
	add %rax, %r9
	mov $0x80, %edx
	out %al, %dx
	mov %cr3, %rax
	mov %rax, %cr3
	dec %r8
	jnz mg_mix
	mov $0, %al
	out %al, $0xf4
1:	jmp 1b

mg_skip_div:			/* DIV RCX is 3 bytes */
	addq $3, (%rsp)
	iretq
mg_skip_ud:
	addq $2, (%rsp)
	iretq
mg_return:
	incq 0x22000
	iretq
mg_end:
	.section .note.GNU-stack, "", @progbits
