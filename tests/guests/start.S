/*
 * start.S - from the PVH entry to 64-bit C, and the way in for every vector.
 *
 * Entered in 32-bit protected mode, paging off, EBX -> start info
 * [pvh.pandoc].  Maps the first 4 GiB onto itself in 2 MiB pages,
 * the devices' GiB uncached, all of it for the supervisor.
 */
#include "guest.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.quad start_pvh

	.text
	.code32
	.globl start_pvh
start_pvh:
	cli
	cld
	movl $boot_pdpt + 3, boot_pml4
	mov $boot_pd + 3, %eax
	xor %ecx, %ecx
1:	mov %eax, boot_pdpt(, %ecx, 8)
	add $4096, %eax
	inc %ecx
	cmp $4, %ecx
	jne 1b
	mov $0x83, %eax		/* present, writable, 2 MiB */
	xor %ecx, %ecx
2:	cmp $3 * 512, %ecx
	jne 3f
	or $0x18, %eax		/* PCD, PWT from 3 GiB */
3:	mov %eax, boot_pd(, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $2048, %ecx
	jne 2b

	mov $0x6b0, %eax	/* CR4: PSE, PAE, PGE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx	/* EFER: SCE, LME, NXE */
	rdmsr
	or $0x901, %eax
	wrmsr
	mov $0x80010033, %eax	/* CR0: PG, WP, NE, ET, MP, PE */
	mov %eax, %cr0
	lgdt gdt_operand
	ljmp $SEL_CODE, $4f
	.code64
4:	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	lea stack_top(%rip), %rsp
	mov %ebx, %edi
	xor %ebp, %ebp
	call start_c
	ud2

/*
 * One stub a vector, 16 bytes each, all ending in isr_common with the frame
 * of guest.h on the stack.  Vectors with an error code of the processor's:
 * [APM2 8.2].
 */
	.balign 16
	.globl isr_stubs
isr_stubs:
	.set v, 0
	.rept 256
	.balign 16
	.if !(v == 8 || (v >= 10 && v <= 14) || v == 17)
	push $0
	.endif
	.if v < 128		/* PUSH imm8, sign-extended */
	push $v
	.else
	push $v - 256
	.endif
	jmp isr_common
	.set v, v + 1
	.endr
	.balign 16
isr_common:
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
	movzbl 120(%rsp), %eax
	mov %rax, 120(%rsp)
	mov %rsp, %rdi
	cld
	call *handlers(, %rax, 8)
	.globl isr_return
isr_return:
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

/*
 * u64 enter_user(u64 rip, u64 rsp, u64 rflags): runs code in ring 3 until some
 * handler calls leave_user(value), which is what this returns.
 */
	.globl enter_user, leave_user
enter_user:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, user_return(%rip)
	mov %rsp, tss + 4(%rip)		/* RSP0: what lies above is ours */
	push $SEL_USER_DATA
	push %rsi
	push %rdx
	push $SEL_USER_CODE
	push %rdi
	iretq
leave_user:
	mov user_return(%rip), %rsp
	mov %rdi, %rax
	mov $SEL_DATA, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %ss
	push $2
	popf
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

	.data
	.balign 16
	.globl gdt, gdt_operand
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 08 64-bit code */
	.quad 0x00cf93000000ffff	/* 10 flat data */
	.quad 0x00cf9b000000ffff	/* 18 flat 32-bit code */
	.quad 0x00009b000000ffff	/* 20 16-bit code, base 0 */
	.quad 0x000093000000ffff	/* 28 16-bit data, base 0 */
	.quad 0x00cff3000000ffff	/* 30 user data */
	.quad 0x00affb000000ffff	/* 38 user 64-bit code */
	.quad 0, 0			/* 40 TSS, filled in by start_c */
	.fill 22, 8, 0			/* 50.. for the guest */
gdt_end:
gdt_operand:
	.short gdt_end - gdt - 1
	.quad gdt

	.bss
	.balign 4096
	.globl boot_pml4, boot_pdpt, boot_pd, tss
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
	.skip 16384
	.globl stack_top
stack_top:
tss:
	.skip 128
user_return:
	.skip 8

	.section .note.GNU-stack, "", @progbits
