/*
 * mm.c - the free list: runs of free pages, sorted by address.
 *
 * Each run's length and link live in its own first bytes, so the list has no
 * size of its own.  Neighbours are always merged.  An overlap found on the
 * way back in is a double free and stops the host.
 */
#include "kernel/mm.h"
#include "kernel/panic.h"

struct run {
	struct run *next;
	size_t npages;
};

static struct {
	struct run *first;
	size_t nfree;
} mm;

extern const u8 __text_start[], __kernel_end[];

static u64 run_end(const struct run *r)
{
	return (u64)r + r->npages * PAGE_SIZE;
}

void page_free(void *pages, size_t npages)
{
	struct run *r = pages, *prev = NULL, *next = mm.first;

	if (!pages || !npages)
		return;
	while (next && next < r) {
		prev = next;
		next = next->next;
	}
	if (((u64)pages & ~PAGE_MASK) || (prev && run_end(prev) > (u64)r) ||
	    (next && (u64)r + npages * PAGE_SIZE > (u64)next))
		panic("page_free: %zu pages at %p are free already", npages, pages);
	r->npages = npages;
	r->next = next;
	if (next && run_end(r) == (u64)next) {
		r->npages += next->npages;
		r->next = next->next;
	}
	if (!prev) {
		mm.first = r;
	} else if (run_end(prev) == (u64)r) {
		prev->npages += r->npages;
		prev->next = r->next;
	} else {
		prev->next = r;
	}
	mm.nfree += npages;
}

/* Takes [start, start + npages) out of r, whose link is *link. */
static void *take(struct run **link, struct run *r, u64 start, size_t npages)
{
	size_t before = (start - (u64)r) / PAGE_SIZE, after = r->npages - before - npages;
	struct run *tail = r->next;

	if (after) {
		struct run *rest = (struct run *)(start + npages * PAGE_SIZE);

		rest->next = tail;
		rest->npages = after;
		tail = rest;
	}
	if (before) {
		r->npages = before;
		r->next = tail;
	} else {
		*link = tail;
	}
	mm.nfree -= npages;
	return (void *)start;
}

/* The first that fits, of those that end above `above`. */
static void *first_fit(size_t npages, size_t align_bytes, u64 above)
{
	for (struct run **link = &mm.first, *r; npages && (r = *link); link = &r->next) {
		u64 start = ALIGN_UP(MAX((u64)r, above), align_bytes);

		if (start < run_end(r) && (run_end(r) - start) / PAGE_SIZE >= npages)
			return take(link, r, start, npages);
	}
	return NULL;
}

/* Above the hypervisor before below it, where guests have their own [reprise.ld]. */
void *page_alloc_aligned(size_t npages, size_t align_bytes)
{
	void *pages = first_fit(npages, align_bytes, (u64)__kernel_end);

	return pages ? pages : first_fit(npages, align_bytes, 0);
}

void *page_alloc(size_t npages)
{
	return page_alloc_aligned(npages, PAGE_SIZE);
}

void *page_zalloc(size_t npages)
{
	void *p = page_alloc(npages);

	if (p)
		memset(p, 0, npages * PAGE_SIZE);
	return p;
}

size_t page_free_count(void)
{
	return mm.nfree;
}

/* Frees [start, end) around what is in use already: number 0 and 1, then the modules. */
static void add_around(const struct boot_info *bi, u64 start, u64 end, unsigned i)
{
	u64 used_start, used_end;

	if (start >= end)
		return;
	if (i == bi->nmodules + 2) {
		page_free((void *)start, (end - start) / PAGE_SIZE);
		return;
	}
	if (i == 0) {
		used_start = 0;
		used_end = MIB(1);
	} else if (i == 1) {
		used_start = (u64)__text_start;
		used_end = (u64)__kernel_end;
	} else {
		const struct boot_module *m = &bi->modules[i - 2];

		used_start = (u64)m->data & PAGE_MASK;
		used_end = ALIGN_UP((u64)m->data + m->size_bytes, PAGE_SIZE);
	}
	if (used_start >= end || used_end <= start) {
		add_around(bi, start, end, i + 1);
		return;
	}
	add_around(bi, start, used_start, i + 1);
	add_around(bi, MAX(start, used_end), end, i + 1);
}

void mm_add(const struct boot_info *bi, u64 start, u64 end)
{
	for (unsigned i = 0; i < bi->nram; i++)
		add_around(bi, MAX(start, bi->ram[i].start), MIN(end, bi->ram[i].end), 0);
}
