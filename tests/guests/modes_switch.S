/*
 * modes_switch.S - one tour through every mode of the processor, for modes.c.
 *
 *   64-bit -> compatibility -> 32-bit without paging -> PAE paging -> 32-bit
 *   paging -> virtual 8086 -> 16-bit protected -> real -> 64-bit
 *
 * In each mode it works with interrupts on until two have come.  What must lie
 * below 1 MiB is copied to LOW; LOG is memory every mode can reach.
 * [APM2 14.6 to 14.7, 12.3 Task switching aside; SDM3 9.9 Mode Switching]
 */
#include "guest.h"
#include "modes.h"

#define L(label) (LOW + (label) - low_start)
#define CR0_PG 0x80000000
#define CR4_PAE 0x20

	.text
	.code64
	.globl tour
tour:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	cli
	mov %rsp, saved_rsp
	pushq $SEL_CODE32
	pushq $compat
	lretq

	.code32
compat:	mov $stack32, %esp
	mov $SEL_BASED, %eax
	mov %eax, %fs
	mov $SEL_LAPIC, %eax
	mov %eax, %gs
	movl $0, LOG_MODE
	call work32

	mov %cr0, %eax		/* out of long mode */
	and $~CR0_PG, %eax
	mov %eax, %cr0
	mov $0xc0000080, %ecx
	rdmsr
	and $~0x100, %eax
	wrmsr
	lidt idt32_operand
	incl LOG_MODE
	call work32

	mov $pae_pdpt, %eax
	call paging_on
	incl LOG_MODE
	call work32

	call paging_off
	mov %cr4, %eax
	and $~CR4_PAE, %eax
	mov %eax, %cr4
	mov $flat_pd, %eax
	call paging_on
	incl LOG_MODE
	call work32

	incl LOG_MODE
	mov $SEL_TSS32, %eax
	ltr %ax
	mov %esp, tss32 + 4
	movl $SEL_DATA, tss32 + 8
	push $0			/* GS, FS, DS, ES, SS, ESP, EFLAGS: VM, IOPL 3; CS, EIP */
	push $0
	push $0
	push $0
	push $0
	push $STACK16
	push $0x23002
	push $0
	push $L(v86)
	iret
	.globl v86_done, tick32, fail32
v86_done:			/* INT 61h comes here */
	mov tss32_esp0, %esp
	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	call paging_off
	incl LOG_MODE
	ljmp $SEL_CODE16, $L(protected16)

/* CR3 = eax. */
paging_on:
	mov %eax, %cr3
	mov %cr0, %eax
	or $CR0_PG, %eax
	mov %eax, %cr0
	ret
paging_off:
	mov %cr0, %eax
	and $~CR0_PG, %eax
	mov %eax, %cr0
	ret

/* The work of 32-bit modes: FS has a base, GS is the LAPIC's page. */
work32:
	mov LOG_TICKS, %ebp
	add $2, %ebp
	xor %ebx, %ebx
1:	mov $41, %ecx
	mov $LOG_SOURCE, %esi
	mov $LOG_TARGET, %edi
	rep movsb
	sti
	mov $23, %ecx		/* from FS, 16-bit addresses */
	mov $LOG_SOURCE - FS_BASE, %esi
	mov $LOG_TARGET + 3, %edi
	addr16 rep movsb %fs:(%si), %es:(%di)
	test %ebx, %ebx		/* what exits: once a visit */
	jnz 2f
	mov $9, %ecx
	mov $LOG_SOURCE - FS_BASE, %esi
	mov $0x80, %edx
	rep outsb %fs:(%esi), (%dx)
	mov $0x84, %edx
	mov $5, %ecx
	rep insb
	add %gs:0x30, %ebx
	add LAPIC_ADDRESS + 0x30, %ebx
	mov $1, %eax
	push %ebx
	cpuid
	pop %ebx
	add %eax, %ebx
	in $0x84, %al
2:	add %esi, %ebx
	add %edi, %ebx
	addr16 mov LOG_TARGET + 8, %eax
	add %eax, %ebx
	pushf
	popf
	rol $3, %ebx
	or $1, %ebx
	cli
	cmp %ebp, LOG_TICKS
	jl 1b
	sti
	hlt
	cli
	mov LOG_MODE, %eax
	add %ebx, LOG_SUMS(, %eax, 4)
	rdtsc
	roll $7, LOG_SUM
	xor %eax, LOG_SUM
	ret

/* IRQ 0 in every protected mode but the 64-bit one. */
tick32:
	push %eax
	push %edx
	push %ds
	mov $SEL_DATA, %eax
	mov %eax, %ds
	incl LOG_TICKS
	rdtsc
	roll $5, LOG_SUM
	xor %eax, LOG_SUM
	mov 12(%esp), %eax	/* EIP */
	add %eax, LOG_SUM
	mov $0x20, %al
	out %al, $0x20
	pop %ds
	pop %edx
	pop %eax
	iret
fail32:	mov $4, %al
	out %al, $0xf4
	jmp fail32

back32:	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $stack32, %esp
	mov %cr4, %eax
	or $CR4_PAE, %eax
	mov %eax, %cr4
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov $boot_pml4, %eax
	call paging_on
	ljmp $SEL_CODE, $back64
	.code64
back64:	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov saved_rsp, %rsp
	lidt idt64_operand
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

/* --- copied below 1 MiB --------------------------------------------------- */

	.section .rodata
	.globl low_start, low_end
low_start:
	.code16
protected16:
	mov $SEL_DATA16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $STACK16, %esp
	call work16
	sti
	hlt
	cli
	mov $SEL_DATA, %eax	/* FS keeps its 4 GiB limit in real mode */
	mov %eax, %fs
	mov %cr0, %eax
	and $~1, %eax
	mov %eax, %cr0
	ljmp $0, $L(real)
real:	xor %eax, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $STACK16, %esp
	lidtl L(ivt_operand)
	incl LOG_MODE
	call work16
	addr32 mov %fs:LAPIC_ADDRESS + 0x30, %eax
	add %eax, LOG_SUMS + 28
	int $0x62
	mov $FS_BASE / 16, %ax
	mov %ax, %ds
	mov $LOG_SOURCE - FS_BASE, %esi
	mov $7, %cx
	mov $0x80, %dx
	rep outsw (%si), (%dx)
	mov $3, %ecx
	addr32 rep outsb (%esi), (%dx)
	sti
	hlt
	cli
	mov %cr0, %eax
	or $1, %eax
	mov %eax, %cr0
	ljmpl $SEL_CODE32, $back32

v86:	call work16
	int $0x61

/* The work of 16-bit modes, all segments at 0. */
work16:
	mov LOG_TICKS, %ebp
	add $2, %ebp
	xor %ebx, %ebx
	cld
1:	mov $37, %cx
	mov $LOG_SOURCE, %si
	mov $LOG_TARGET, %di
	rep movsb
	sti
	mov $19, %ecx
	mov $LOG_SOURCE, %esi
	mov $LOG_TARGET + 5, %edi
	addr32 rep movsw
	std
	mov $11, %cx
	mov $LOG_TARGET + 60, %di
	rep stosl
	cld
	test %ebx, %ebx		/* what exits: once a visit */
	jnz 2f
	mov $6, %cx
	mov $0x84, %dx
	rep insb
	mov $6, %cx
	mov $LOG_SOURCE, %si
	addr32 rep outsb
	push %ebx
	mov $1, %eax
	cpuid
	pop %ebx
	add %eax, %ebx
2:	mov $LOG_TARGET, %si
	lodsl
	add %eax, %ebx
	add %esi, %ebx
	pushf
	popf
	pushfl
	popfl
	rol $3, %ebx
	or $1, %ebx
	cli
	cmp %ebp, LOG_TICKS
	jl 1b
	mov LOG_MODE, %di
	shl $2, %di
	add %ebx, LOG_SUMS(%di)
	ret

	.globl tick16, call16
tick16:
	push %eax
	push %edx
	push %ds
	push %bp
	mov %sp, %bp
	xor %ax, %ax
	mov %ax, %ds
	incl LOG_TICKS
	rdtsc
	roll $5, LOG_SUM
	xor %eax, LOG_SUM
	mov 12(%bp), %ax	/* IP */
	add %ax, LOG_SUM
	mov $0x20, %al
	out %al, $0x20
	pop %bp
	pop %ds
	pop %edx
	pop %eax
	iret
call16:				/* INT 62h in real mode */
	roll $9, LOG_SUM
	iret
	.balign 4
ivt_operand:
	.short 0x3ff
	.long 0
low_end:

	.data
	.balign 8
	.globl idt32_operand, idt64_operand
idt32_operand:
	.short 256 * 8 - 1
	.long idt32
	.balign 8
idt64_operand:
	.short 256 * 16 - 1
	.quad idt

	.bss
	.balign 4096
	.globl idt32, flat_pd, pae_pdpt, tss32
idt32:
	.skip 256 * 8
	.balign 4096
flat_pd:
	.skip 4096
	.skip 4096
stack32:
pae_pdpt:
	.skip 32
	.balign 16
tss32:
	.skip 256
	.set tss32_esp0, tss32 + 4
saved_rsp:
	.skip 8

	.section .note.GNU-stack, "", @progbits
