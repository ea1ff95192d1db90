/*
 * elfboot.h - loads an ELF kernel by the PVH boot protocol.
 *
 * The simplest way into a PC kernel: an ELF file with a note "Xen", type 18
 * (XEN_ELFNOTE_PHYS32_ENTRY), entered in 32-bit protected mode without paging,
 * EBX pointing to a table of what there is [pvh.pandoc; start_info.h].
 *
 * Reads the kernel file, which may be hostile; changes guest memory through a
 * guest_loader and one vCPU's state.
 */
#ifndef VMM_ELFBOOT_H
#define VMM_ELFBOOT_H

#include "vmm/guestload.h"

struct elf_config {
	const u8 *kernel;
	size_t kernel_size;
	const u8 *initrd;         /* NULL: none; the guest sees one module */
	size_t initrd_size;
	const char *cmdline;
	struct guest_range acpi;  /* where the tables are; size 0: none */
	gpa_t rsdp;
};

/* The file is an x86 ELF, 32 or 64 bits, with a PVH entry note. */
bool elf_is_pvh(const u8 *file, size_t size);

/* As linux_load. */
err_t elf_load(const struct elf_config *c, const struct guest_loader *mem, struct cpu_state *cpu,
	       const char **why) must_check;

#endif
