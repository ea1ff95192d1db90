/*
 * image.c - taking, restoring and dropping memory images.  See image.h.
 *
 * Reads and changes: the pool, the keeper's `last`, and on restoring the guest
 * memory with its page terms.  Never: second-level tables; what they map stays
 * where it is, only the contents change.
 */
#include "vmm/image.h"

#define ZEROS 0U /* the frame number that stands for a page, or a chunk, of zeros */

struct node {
	u32 page[CHUNK_PAGES];
};
_Static_assert(sizeof(struct node) <= PAGE_SIZE, "a node is one frame");

/* --- the pool ------------------------------------------------------------------ */

err_t page_pool_init(struct page_pool *p, void *memory, u64 size_bytes)
{
	u64 each = PAGE_SIZE + sizeof(*p->users) + sizeof(*p->term), n = MIN(size_bytes / each, 0xffffffffUL);
	u64 tables = n * (sizeof(*p->users) + sizeof(*p->term));

	if (size_bytes < MIB(1) || (u64)memory % PAGE_SIZE)
		return ERR_INVALID;
	*p = (struct page_pool){ .data = memory };
	while (n * PAGE_SIZE + tables > size_bytes)
		n--;
	p->term = (u64 *)(void *)(p->data + n * PAGE_SIZE);
	p->users = (u32 *)(void *)(p->term + n);
	p->npages = (u32)n;
	p->nfree = p->npages - 1;
	p->first_free = 1;
	for (u32 i = 1; i < p->npages; i++)
		p->users[i] = i + 1 < p->npages ? i + 1 : 0;
	return OK;
}

u32 page_pool_take(struct page_pool *p)
{
	u32 frame = p->first_free;

	if (!frame)
		return 0;
	p->first_free = p->users[frame];
	p->nfree--;
	p->users[frame] = 1;
	return frame;
}

void page_pool_drop(struct page_pool *p, u32 frame)
{
	if (!frame || --p->users[frame])
		return;
	p->users[frame] = p->first_free;
	p->first_free = frame;
	p->nfree++;
}

static u32 share(struct page_pool *p, u32 frame)
{
	if (frame)
		p->users[frame]++;
	return frame;
}

/* --- nodes ----------------------------------------------------------------------- */

static struct node *node_at(const struct page_pool *p, u32 frame)
{
	return page_pool_at(p, frame);
}

static u32 page_of(const struct page_pool *p, u32 node, unsigned page)
{
	return node ? node_at(p, node)->page[page] : ZEROS;
}

static void drop_node(struct page_pool *p, u32 frame)
{
	struct node *n = node_at(p, frame);

	if (!frame)
		return;
	if (p->users[frame] == 1)
		for (unsigned i = 0; i < CHUNK_PAGES; i++)
			page_pool_drop(p, n->page[i]);
	page_pool_drop(p, frame);
}

static bool changed(const struct chunk_info *c)
{
	for (unsigned i = 0; c && i < CHUNK_PAGES / 64; i++)
		if (c->changed[i])
			return true;
	return false;
}

static bool page_changed(const struct chunk_info *c, unsigned page)
{
	return c->changed[page / 64] >> page % 64 & 1;
}

/* A copy of one page of guest memory; *frame is ZEROS for one of zeros, whose term is 0.  False: the pool is full. */
static bool copy_out(struct image_keeper *k, const struct chunk_info *c, unsigned page, u32 *frame)
{
	*frame = ZEROS;
	if (!c->hash[page] && guestmem_is_zero(c->data + page * PAGE_SIZE))
		return true;
	*frame = page_pool_take(k->pool);
	if (!*frame)
		return false;
	memcpy(page_pool_at(k->pool, *frame), c->data + page * PAGE_SIZE, PAGE_SIZE);
	k->pool->term[*frame] = c->hash[page];
	k->pages_copied++;
	return true;
}

/* The node of a chunk that has changed: copies of what changed, the rest shared with the old one.  0: the pool is full. */
static u32 new_node(struct image_keeper *k, const struct chunk_info *c, u32 old)
{
	u32 frame = page_pool_take(k->pool);
	struct node *n = node_at(k->pool, frame);
	bool room = true;

	if (!frame)
		return 0;
	for (unsigned i = 0; i < CHUNK_PAGES; i++) {
		n->page[i] = ZEROS;
		if (!page_changed(c, i))
			n->page[i] = share(k->pool, page_of(k->pool, old, i));
		else if (room)
			room = copy_out(k, c, i, &n->page[i]);
	}
	if (room)
		return frame;
	drop_node(k->pool, frame);
	return 0;
}

/* --- images ------------------------------------------------------------------------ */

void image_keeper_init(struct image_keeper *k, struct page_pool *pool, struct guest_memory *mem)
{
	memset(k, 0, sizeof(*k));
	k->pool = pool;
	k->mem = mem;
}

void image_drop(struct image_keeper *k, struct memory_image *im)
{
	for (unsigned i = 0; i < k->mem->nchunks; i++) {
		drop_node(k->pool, im->node[i]);
		im->node[i] = ZEROS;
	}
}

void image_copy(struct image_keeper *k, struct memory_image *to, const struct memory_image *from)
{
	for (unsigned i = 0; i < k->mem->nchunks; i++)
		to->node[i] = share(k->pool, from->node[i]);
}

/* Memory is equal to this image from now on. */
static void remember(struct image_keeper *k, const struct memory_image *im)
{
	struct memory_image *last = &k->last;

	for (unsigned i = 0; i < k->mem->nchunks; i++) {
		struct chunk_info *c = k->mem->chunk[i];

		if (last->node[i] != im->node[i]) {
			share(k->pool, im->node[i]);
			drop_node(k->pool, last->node[i]);
			last->node[i] = im->node[i];
		}
		if (c)
			memset(c->changed, 0, sizeof(c->changed));
	}
}

err_t image_take(struct image_keeper *k, struct memory_image *out)
{
	u64 hashed = 0;

	guestmem_digest(k->mem, &hashed); /* the pages' terms are part of the image */
	image_copy(k, out, &k->last);
	for (unsigned i = 0; i < k->mem->nchunks; i++) {
		const struct chunk_info *c = k->mem->chunk[i];
		u32 node;

		if (!changed(c))
			continue;
		node = new_node(k, c, out->node[i]);
		if (!node) {
			image_drop(k, out);
			return ERR_NO_MEMORY;
		}
		drop_node(k->pool, out->node[i]);
		out->node[i] = node;
	}
	remember(k, out);
	return OK;
}

/* The node of a chunk, this image's own; 0: the pool is full. */
static u32 own_node(struct page_pool *p, u32 *slot)
{
	u32 frame;

	if (*slot && p->users[*slot] == 1)
		return *slot;
	frame = page_pool_take(p);
	if (!frame)
		return 0;
	for (unsigned i = 0; i < CHUNK_PAGES; i++)
		node_at(p, frame)->page[i] = share(p, page_of(p, *slot, i));
	drop_node(p, *slot);
	*slot = frame;
	return frame;
}

err_t image_put(struct image_keeper *k, struct memory_image *im, u64 guest_frame, const u8 *page)
{
	u32 node, frame, *slot;
	u64 term;

	if (guest_frame / CHUNK_PAGES >= k->mem->nchunks)
		return ERR_INVALID;
	node = own_node(k->pool, &im->node[guest_frame / CHUNK_PAGES]);
	frame = page_pool_take(k->pool);
	if (!node || !frame) {
		page_pool_drop(k->pool, frame);
		return ERR_NO_MEMORY;
	}
	/* `page` lies anywhere in a chunk; words are read out of aligned pages only. */
	memcpy(page_pool_at(k->pool, frame), page, PAGE_SIZE);
	term = guestmem_page_term(k->mem, page_pool_at(k->pool, frame), guest_frame);
	k->pool->term[frame] = term;
	if (!term) {
		page_pool_drop(k->pool, frame);
		frame = ZEROS;
	}
	slot = &node_at(k->pool, node)->page[guest_frame % CHUNK_PAGES];
	page_pool_drop(k->pool, *slot);
	*slot = frame;
	return OK;
}

static void restore_page(struct image_keeper *k, struct chunk_info *c, unsigned page, u32 frame)
{
	u8 *to = c->data + page * PAGE_SIZE;
	u64 term = frame ? k->pool->term[frame] : 0;

	if (frame)
		memcpy(to, page_pool_at(k->pool, frame), PAGE_SIZE);
	else
		memset(to, 0, PAGE_SIZE);
	k->pages_copied++;
	k->mem->digest += term - c->hash[page];
	c->hash[page] = term;
	c->stale[page / 64] &= ~BIT(page % 64);
}

static err_t restore_chunk(struct image_keeper *k, unsigned chunk, u32 node)
{
	u32 old = k->last.node[chunk];
	struct chunk_info *c = k->mem->chunk[chunk];

	if (!c && !node)
		return OK;
	/* The first chunk begins with RAM; in each, what is not RAM has no page in any image. */
	c = guestmem_touch(k->mem, GPA((u64)chunk << CHUNK_SHIFT));
	if (!c)
		return ERR_NO_MEMORY;
	for (unsigned i = 0; i < CHUNK_PAGES; i++) {
		u32 frame = page_of(k->pool, node, i);

		if (page_changed(c, i) || frame != page_of(k->pool, old, i))
			restore_page(k, c, i, frame);
	}
	return OK;
}

err_t image_restore(struct image_keeper *k, const struct memory_image *im)
{
	/* All the memory it takes first: half a restored image would be none, and nobody would know. */
	for (unsigned i = 0; i < k->mem->nchunks; i++)
		if (im->node[i] && !guestmem_touch(k->mem, GPA((u64)i << CHUNK_SHIFT)))
			return ERR_NO_MEMORY;
	for (unsigned i = 0; i < k->mem->nchunks; i++) {
		err_t err = OK;

		if (im->node[i] != k->last.node[i] || changed(k->mem->chunk[i]))
			err = restore_chunk(k, i, im->node[i]);
		if (err)
			return err;
	}
	remember(k, im);
	return OK;
}

u32 image_own_frames(const struct image_keeper *k, const struct memory_image *im)
{
	u32 own = 0;

	for (unsigned i = 0; i < k->mem->nchunks; i++) {
		const struct node *n = node_at(k->pool, im->node[i]);

		if (!im->node[i] || k->pool->users[im->node[i]] > 1)
			continue;
		own++;
		for (unsigned page = 0; page < CHUNK_PAGES; page++)
			own += n->page[page] && k->pool->users[n->page[page]] == 1;
	}
	return own;
}
