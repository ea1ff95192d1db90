/*
 * guestmem.h - a guest's RAM: 2 MiB chunks of host memory, zeroed when first
 * touched, and what is needed to digest them cheaply.  What a guest wrote to a
 * disk is kept in such a memory, too [disk.h].
 *
 * The digest of memory is a function of contents only: the sum over pages of
 * a hash mixed with the page's number, a zero page counting as nothing.  So
 * untouched memory costs nothing, and one changed page changes one term.
 */
#ifndef VMM_GUESTMEM_H
#define VMM_GUESTMEM_H

#include "kernel/base.h"

#define CHUNK_SHIFT 21
#define CHUNK_SIZE (1UL << CHUNK_SHIFT)
#define CHUNK_PAGES (CHUNK_SIZE / PAGE_SIZE)
#define GUEST_MAX_CHUNKS 1536 /* 3 GiB: RAM ends where the PC's MMIO hole begins */

/* Where memory comes from, zeroed; NULL when out. */
struct chunk_source {
	void *(*chunk)(void *ctx);                /* CHUNK_SIZE bytes, so aligned */
	void *(*pages)(void *ctx, size_t npages); /* for tables and such */
	void *ctx;
};

/* Per chunk: hashes of its pages and which of them must be hashed again. */
struct chunk_info {
	u8 *data;                    /* NULL: never touched, all zero */
	u64 stale[CHUNK_PAGES / 64]; /* bit set: changed since last hashed */
	u64 changed[CHUNK_PAGES / 64]; /* bit set: changed since an image was last taken or restored [image.h] */
	u64 hash[CHUNK_PAGES];       /* this page's term of the sum; 0 for a zero page */
};

struct guest_memory {
	u64 size_bytes;
	u64 hole_bytes;              /* from VIDEO_START on, that are no RAM; a disk's memory has none */
	unsigned nchunks;
	struct chunk_info *chunk[GUEST_MAX_CHUNKS]; /* NULL: never touched */
	struct chunk_source source;
	u64 zero_hash;               /* of a page of zeros */
	u64 digest;                  /* the sum, valid but for stale pages */
};

err_t guestmem_init(struct guest_memory *m, u64 size_bytes, const struct chunk_source *s) must_check;

/* The same for a memory that is no PC's: all of it is there. */
err_t guestmem_init_flat(struct guest_memory *m, u64 size_bytes, const struct chunk_source *s) must_check;

/*
 * Video memory, which is a device.  The ROM area above it, C0000h to FFFFFh,
 * is RAM here, all zero until something is loaded: kernels search it for
 * tables, 100,000 reads in a boot, which must not exit.
 */
#define VIDEO_START 0xa0000UL
#define VIDEO_END 0xc0000UL

/* True for addresses backed by RAM: all of it but video memory. */
static inline bool guestmem_is_ram(const struct guest_memory *m, gpa_t at)
{
	return at.v < m->size_bytes && at.v - VIDEO_START >= m->hole_bytes;
}

/* The chunk holding `at`, touched if need be.  NULL: not RAM, or the host is out of memory. */
struct chunk_info *guestmem_touch(struct guest_memory *m, gpa_t at);

/* The bytes at `at`, to the end of its page; NULL where it is not RAM or was never touched. */
static inline const u8 *guestmem_peek(const struct guest_memory *m, gpa_t at)
{
	const struct chunk_info *c;

	if (!guestmem_is_ram(m, at))
		return NULL;
	c = m->chunk[at.v >> CHUNK_SHIFT];
	return c ? c->data + at.v % CHUNK_SIZE : NULL;
}

/* Copies; fails with ERR_INVALID when any byte is not RAM.  Writes mark pages stale. */
err_t guestmem_read(struct guest_memory *m, gpa_t at, void *buf, size_t size_bytes) must_check;
err_t guestmem_write(struct guest_memory *m, gpa_t at, const void *buf, size_t size_bytes) must_check;

/* A page may have changed since it was hashed. */
void guestmem_mark(struct guest_memory *m, gpa_t at);

/* Whether a page is all zeros: its term, 0 then, can be 0 of a page made so on purpose. */
bool guestmem_is_zero(const u8 *page);

/* A page's term of that digest; 0: it is all zeros.  frame: its guest-physical page number. */
u64 guestmem_page_term(const struct guest_memory *m, const u8 *page, u64 frame);

/* Hashes what is stale and returns the digest of all memory; pages hashed are added to *npages. */
u64 guestmem_digest(struct guest_memory *m, u64 *npages);

#endif
