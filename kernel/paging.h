/*
 * paging.h - the hypervisor's own address space: identity, W^X, guarded.
 *
 * Not mapped: page 0, the guard page under each stack, memory the firmware
 * keeps.  Usable memory is writable and not executable; so is device memory
 * between the end of low RAM and 4 GiB, uncached.
 */
#ifndef KERNEL_PAGING_H
#define KERNEL_PAGING_H

#include "kernel/bootinfo.h"

/* Builds the final tables and switches to them.  The allocator holds memory below 4 GiB only. */
void paging_init(const struct boot_info *bi);

/* Maps device registers uncached, wherever they are; what is mapped already stays. */
volatile void *mmio_map(u64 start, size_t size_bytes);

/* The stack whose guard page holds addr; NULL if none does. */
const char *paging_guard_of(u64 addr);

/* Whether addr is inside a host stack: a backtrace follows frames nowhere else. */
bool paging_is_stack(u64 addr);

#endif
