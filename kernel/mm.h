/*
 * mm.h - physical pages of the host.
 *
 * Virtual is physical, so a pointer is an address.  Contiguous runs,
 * first fit from the kernel's end up, then below it: which pages one gets is a function of
 * the calls so far and the memory map, nothing else.  Not zeroed, because
 * clearing costs an instruction for every 8 bytes.
 */
#ifndef KERNEL_MM_H
#define KERNEL_MM_H

#include "kernel/bootinfo.h"

/*
 * Gives the allocator the usable memory in [start, end), less the first MiB,
 * the kernel and the modules.  The range must be mapped.
 */
void mm_add(const struct boot_info *bi, u64 start, u64 end);

/* NULL when no run of that length is free. */
void *page_alloc(size_t npages) must_check;
void *page_zalloc(size_t npages) must_check;
/* align_bytes: a power of two, at least a page. */
void *page_alloc_aligned(size_t npages, size_t align_bytes) must_check;

/* Takes back any run of allocated pages, also part of one allocation. NULL is fine. */
void page_free(void *pages, size_t npages);

size_t page_free_count(void);

#endif
