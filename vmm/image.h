/*
 * image.h - memory images: a guest's whole memory at one moment, kept cheaply.
 *
 * An image never changes.  Images share the pages that did not change between
 * them, so one more costs the pages written since the one before.  Checkpoints,
 * forks, migration and a new partner for a pair are made of it.
 *
 *   image ---> node of a chunk ---> page          0 stands for zeros
 *
 * Nodes and pages live in one pool of bounded size and count their users.  The
 * keeper knows which image the memory was last equal to, and guest memory which
 * pages may have changed since (chunk_info.changed): taking and restoring
 * look at nothing else.
 *
 * Pages are copied when an image is taken, not when the guest next writes to
 * them: the running guest is not disturbed by its checkpoints, and its exits
 * stay what they were [docs/TIMELINE.md 2].
 */
#ifndef VMM_IMAGE_H
#define VMM_IMAGE_H

#include "vmm/guestmem.h"

/* Frames of PAGE_SIZE by number; number 0 is never given out. */
struct page_pool {
	u8 *data;          /* frame n at data + n * PAGE_SIZE */
	u32 *users;        /* of a free frame: the next free one */
	u64 *term;         /* of a frame that is a page: its term of the memory's digest */
	u32 npages, nfree, first_free;
};

/* Lays a pool out in size_bytes at memory, which stay the caller's.  At least 1 MiB. */
err_t page_pool_init(struct page_pool *p, void *memory, u64 size_bytes) must_check;

/* A frame with one user; 0: none is free. */
u32 page_pool_take(struct page_pool *p) must_check;
void page_pool_drop(struct page_pool *p, u32 frame);

static inline void *page_pool_at(const struct page_pool *p, u32 frame)
{
	return p->data + (u64)frame * PAGE_SIZE;
}

/* All zeros is an image, too: of memory never written to. */
struct memory_image {
	u32 node[GUEST_MAX_CHUNKS];
};

struct image_keeper {
	struct page_pool *pool;
	struct guest_memory *mem;
	struct memory_image last;  /* what mem was equal to, but for the pages marked changed */
	u64 pages_copied;          /* for statistics: taken and restored */
};

/* mem must never have been written to: every image of it is taken or restored here. */
void image_keeper_init(struct image_keeper *k, struct page_pool *pool, struct guest_memory *mem);

/*
 * The memory as it is.  What the hardware has noted of dirty pages must have
 * been moved to mem (paging_ops.harvest_dirty).  ERR_NO_MEMORY: the pool is
 * full; nothing has changed then, drop an image and try again.
 */
err_t image_take(struct image_keeper *k, struct memory_image *out) must_check;

/* Makes the memory equal to an image again, digest included.  ERR_NO_MEMORY: the host has none for RAM. */
err_t image_restore(struct image_keeper *k, const struct memory_image *im) must_check;

/* Images by hand: a copy of one, and a page of it anew (ERR_NO_MEMORY: the pool is full, nothing has changed). */
void image_copy(struct image_keeper *k, struct memory_image *to, const struct memory_image *from);
err_t image_put(struct image_keeper *k, struct memory_image *im, u64 guest_frame, const u8 *page) must_check;

/* The image is no longer needed; it is all zeros then. */
void image_drop(struct image_keeper *k, struct memory_image *im);

/* Frames that only this image uses: what dropping it would give back. */
u32 image_own_frames(const struct image_keeper *k, const struct memory_image *im);

#endif
