/*
 * boot.S - from the loader's 32-bit protected mode to 64-bit C.
 *
 * Two loaders, one path: QEMU -kernel enters start_pvh [pvh.pandoc],
 * GRUB enters start_mb2 [Multiboot2 3.3 I386 machine state].  Both come
 * with paging off, flat segments, interrupts off and %ebx pointing to what
 * they know; both have zeroed .bss.
 *
 * Builds a throw-away identity map of the first 4 GiB in 2 MiB pages, all of
 * it writable and executable; paging_init replaces it.
 */
#define MB2_MAGIC 0xe85250d6
#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .multiboot2, "a"
	.balign 8
mb2_header:
	.long MB2_MAGIC, 0, mb2_end - mb2_header
	.long -(MB2_MAGIC + 0 + (mb2_end - mb2_header))
	.balign 8
	.short 6, 0	/* modules page-aligned, so that they share no page with anything */
	.long 8
	.balign 8
	.short 0, 0
	.long 8
mb2_end:

	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.quad start_pvh

	.section .text.boot, "ax"
	.code32
	.globl start_pvh, start_mb2
start_pvh:
	xor %esi, %esi		/* BOOT_PVH */
	jmp 1f
start_mb2:
	mov $1, %esi		/* BOOT_MULTIBOOT2 */
1:	cli
	cld
	rdtsc			/* the boot's instruction count starts here */
	mov %eax, boot_entry_tsc
	mov %edx, boot_entry_tsc + 4

	movl $boot_pdpt + 3, boot_pml4
	mov $boot_pd + 3, %eax
	xor %ecx, %ecx
2:	mov %eax, boot_pdpt(, %ecx, 8)
	add $4096, %eax
	inc %ecx
	cmp $4, %ecx
	jne 2b
	mov $0x83, %eax		/* present, writable, 2 MiB */
	xor %ecx, %ecx
3:	mov %eax, boot_pd(, %ecx, 8)
	add $0x200000, %eax
	inc %ecx
	cmp $2048, %ecx
	jne 3b

	/* [APM2 14.6.1 Activating Long Mode] */
	mov $0x6a0, %eax	/* CR4: PAE, PGE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx	/* EFER: LME, NXE */
	rdmsr
	or $0x900, %eax
	wrmsr
	mov $0x80010033, %eax	/* CR0: PG, WP, NE, ET, MP, PE; caches on, EM and TS off */
	mov %eax, %cr0
	lgdt boot_gdt_operand
	ljmp $8, $start64

	.code64
start64:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $boot_stack_top, %esp
	xor %ebp, %ebp		/* a backtrace ends here */
	mov %esi, %edi
	mov %ebx, %esi
	call boot_entry
	ud2

	.section .rodata
	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9a000000ffff
	.quad 0x00cf92000000ffff
boot_gdt_operand:
	.short . - boot_gdt - 1
	.quad boot_gdt

	.data
	.balign 8
	.globl boot_entry_tsc
boot_entry_tsc:
	.quad 0

	.section .bss.boot, "aw", @nobits
	.balign 4096
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096

/*
 * The stacks, each above a page that paging_init leaves unmapped: an overflow
 * is a #DF with its cause in CR2, not a silent walk through other data.
 */
	.section .stacks, "aw", @nobits
	.balign 4096
	.macro stack name, size
	.globl \name\()_guard, \name\()_top
\name\()_guard:
	.skip 4096
	.skip \size
\name\()_top:
	.endm
	stack boot_stack, 0x10000
	stack ist_df_stack, 0x4000
	stack ist_nmi_stack, 0x4000
	stack ist_mc_stack, 0x4000
	stack ist_irq_stack, 0x4000

	.section .note.GNU-stack, "", @progbits
