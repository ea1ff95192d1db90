/*
 * linuxboot.h - loads a Linux bzImage by the 64-bit boot protocol.
 *
 * Reads the kernel file; changes guest memory through a guest_loader and one
 * vCPU's state.  [boot.rst, "64-bit Boot Protocol"; zero-page.rst]
 */
#ifndef VMM_LINUXBOOT_H
#define VMM_LINUXBOOT_H

#include "vmm/guestload.h"

struct linux_config {
	const u8 *kernel;
	size_t kernel_size;
	const u8 *initrd;         /* NULL: none */
	size_t initrd_size;
	const char *cmdline;
	struct guest_range acpi;  /* where the tables are; size 0: none */
	gpa_t rsdp;
	u64 seed;                 /* of the random bytes handed to the kernel */
};

/* The file carries the boot sector's magic and "HdrS". */
bool linux_is_bzimage(const u8 *file, size_t size);

/*
 * Places everything and sets cpu at the kernel's 64-bit entry.  On failure
 * *why is one line for the user, and memory and cpu are not to be used.
 */
err_t linux_load(const struct linux_config *c, const struct guest_loader *mem, struct cpu_state *cpu,
		 const char **why) must_check;

#endif
