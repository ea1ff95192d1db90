/*
 * malloc.c - malloc, calloc and free for liblz4.a and small host objects.
 *
 * Sizes are rounded up to a power of two; below a page they come from a free
 * list a size, above from the page allocator.  Lists only grow: what the
 * host allocates, it allocates once or again in the same sizes.
 */
#include "kernel/malloc.h"
#include "kernel/mm.h"
#include "kernel/panic.h"

/* In front of every object; 16 bytes, so that objects are aligned for SSE. */
struct header {
	u64 npages;      /* 0: from a list */
	u32 class;       /* log2 of the size with the header */
	u32 magic;
};

#define MAGIC_USED 0x75736564U /* "used" */
#define MAGIC_FREE 0x66726565U
#define CLASS_MIN 5
#define CLASS_MAX 11 /* 2 KiB; larger ones take whole pages */

struct free_object {
	struct header header;
	struct free_object *next;
};

static struct free_object *lists[CLASS_MAX + 1];

static bool refill(u32 class)
{
	u8 *page = page_alloc(1);

	for (size_t at = 0; page && at < PAGE_SIZE; at += 1UL << class) {
		struct free_object *o = (struct free_object *)(page + at);

		o->header = (struct header){ 0, class, MAGIC_FREE };
		o->next = lists[class];
		lists[class] = o;
	}
	return page;
}

void *malloc(size_t size)
{
	struct free_object *o;
	struct header *h;
	u32 class = CLASS_MIN;

	if (size > MIB(1024))
		return NULL;
	size += sizeof(struct header);
	if (size > 1UL << CLASS_MAX) {
		size_t npages = ALIGN_UP(size, PAGE_SIZE) / PAGE_SIZE;

		h = page_alloc(npages);
		if (!h)
			return NULL;
		*h = (struct header){ npages, 0, MAGIC_USED };
		return h + 1;
	}
	while (1UL << class < size)
		class++;
	if (!lists[class] && !refill(class))
		return NULL;
	o = lists[class];
	lists[class] = o->next;
	o->header.magic = MAGIC_USED;
	return &o->header + 1;
}

void *calloc(size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	p = malloc(bytes);
	/* Hidden, or the compiler knows malloc and memset by name and calls calloc for both. */
	__asm__ volatile("" : "+r"(p));
	if (p)
		memset(p, 0, bytes);
	return p;
}

void free(void *p)
{
	struct free_object *o;

	if (!p)
		return;
	o = (struct free_object *)((struct header *)p - 1);
	if (o->header.magic != MAGIC_USED)
		panic("free: %p was not allocated, or is free already", p);
	if (o->header.npages) {
		page_free(o, o->header.npages);
		return;
	}
	o->header.magic = MAGIC_FREE;
	o->next = lists[o->header.class];
	lists[o->header.class] = o;
}
