/*
 * bootinfo.h - what the loader told us, the same whichever loader it was.
 *
 * Copied out of the loader's memory before anything is allocated; only the
 * modules stay where they are, and the allocator keeps off them.
 */
#ifndef KERNEL_BOOTINFO_H
#define KERNEL_BOOTINFO_H

#include "kernel/base.h"

#define BOOT_MAX_RAM 64
#define BOOT_MAX_MODULES 8
#define BOOT_CMDLINE_MAX 1024

enum boot_protocol { BOOT_PVH = 0, BOOT_MULTIBOOT2 = 1 }; /* boot.S knows the numbers */

/* Usable memory [start, end): whole pages, sorted, no overlaps, holes cut out. */
struct boot_ram {
	u64 start, end;
};

struct boot_module {
	const u8 *data;
	size_t size_bytes;
	char cmdline[64];
};

struct boot_info {
	enum boot_protocol protocol;
	unsigned nram;
	unsigned nmodules;
	struct boot_ram ram[BOOT_MAX_RAM];
	struct boot_module modules[BOOT_MAX_MODULES];
	char cmdline[BOOT_CMDLINE_MAX];
	u64 entry_tsc; /* TSC at our first instructions */
};

/* Called by boot.S on the early map; fills the struct and calls kmain. */
noreturn_fn void boot_entry(enum boot_protocol protocol, u64 loader_info);

/* Brings the substrate up and calls hypervisor_main. */
own_frame noreturn_fn void kmain(struct boot_info *bi);

/* The layer above.  Returning ends the machine with status 0. */
own_frame void hypervisor_main(const struct boot_info *bi);

#endif
