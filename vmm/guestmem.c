/*
 * guestmem.c - touching, copying and digesting a guest's RAM.
 *
 * Reads and changes: the chunks of one guest.  Never: the second-level tables
 * (paging), nor anything of another guest.
 */
#include "kernel/xxh.h"
#include "vmm/guestmem.h"

struct chunk_info *guestmem_touch(struct guest_memory *m, gpa_t at)
{
	struct chunk_info **slot;

	if (!guestmem_is_ram(m, at))
		return NULL;
	slot = &m->chunk[at.v >> CHUNK_SHIFT];
	if (!*slot) {
		struct chunk_info *c = m->source.pages(m->source.ctx, (sizeof(*c) + PAGE_SIZE - 1) / PAGE_SIZE);
		if (!c)
			return NULL;
		c->data = m->source.chunk(m->source.ctx);
		if (!c->data)
			return NULL; /* the VM stops: what c took is not missed */
		*slot = c;
	}
	return *slot;
}

void guestmem_mark(struct guest_memory *m, gpa_t at)
{
	struct chunk_info *c = m->chunk[at.v >> CHUNK_SHIFT];
	unsigned page = (at.v >> PAGE_SHIFT) % CHUNK_PAGES;

	if (c) {
		c->stale[page / 64] |= BIT(page % 64);
		c->changed[page / 64] |= BIT(page % 64);
	}
}

/* Copies page by page; `write` tells the direction. */
static err_t copy(struct guest_memory *m, gpa_t at, u8 *buf, size_t size_bytes, bool write)
{
	while (size_bytes) {
		size_t n = MIN(size_bytes, PAGE_SIZE - at.v % PAGE_SIZE);
		struct chunk_info *c = guestmem_touch(m, at);

		if (!c)
			return guestmem_is_ram(m, at) ? ERR_NO_MEMORY : ERR_INVALID;
		if (write) {
			memcpy(c->data + at.v % CHUNK_SIZE, buf, n);
			guestmem_mark(m, at);
		} else {
			memcpy(buf, c->data + at.v % CHUNK_SIZE, n);
		}
		at.v += n;
		buf += n;
		size_bytes -= n;
	}
	return OK;
}

err_t guestmem_read(struct guest_memory *m, gpa_t at, void *buf, size_t size_bytes)
{
	return copy(m, at, buf, size_bytes, false);
}

err_t guestmem_write(struct guest_memory *m, gpa_t at, const void *buf, size_t size_bytes)
{
	return copy(m, at, (u8 *)(uintptr_t)buf, size_bytes, true);
}

#define FOLD 0x9e3779b97f4a7c15UL /* odd: multiplying by it loses nothing */

static inline u64 fold(u64 lane, u64 word)
{
	lane ^= word;
	return (lane << 27 | lane >> 37) * FOLD;
}

/*
 * The hash of a page: its words folded into four lanes, three instructions a
 * word, and XXH64 over the lanes.  XXH64 over the page costs twice that, and
 * this is where a recording VM spends most.
 */
static u64 page_hash(const u8 *page)
{
	const u64 *w = (const u64 *)(const void *)page;
	u64 lane[4] = { 1, 2, 3, 4 };

	for (unsigned i = 0; i < PAGE_SIZE / 8; i += 8) {
		lane[0] = fold(fold(lane[0], w[i]), w[i + 4]);
		lane[1] = fold(fold(lane[1], w[i + 1]), w[i + 5]);
		lane[2] = fold(fold(lane[2], w[i + 2]), w[i + 6]);
		lane[3] = fold(fold(lane[3], w[i + 3]), w[i + 7]);
	}
	return XXH64(lane, sizeof(lane), 0);
}

static const u8 zero_page[PAGE_SIZE] aligned_to(8);

err_t guestmem_init_flat(struct guest_memory *m, u64 size_bytes, const struct chunk_source *s)
{
	if (!size_bytes || size_bytes % CHUNK_SIZE)
		return ERR_INVALID;
	if (size_bytes / CHUNK_SIZE > GUEST_MAX_CHUNKS)
		return ERR_TOO_BIG;
	memset(m, 0, sizeof(*m));
	m->size_bytes = size_bytes;
	m->nchunks = (unsigned)(size_bytes / CHUNK_SIZE);
	m->source = *s;
	m->zero_hash = page_hash(zero_page);
	return OK;
}

err_t guestmem_init(struct guest_memory *m, u64 size_bytes, const struct chunk_source *s)
{
	err_t err = guestmem_init_flat(m, size_bytes, s);

	m->hole_bytes = VIDEO_END - VIDEO_START;
	return err;
}

bool guestmem_is_zero(const u8 *page)
{
	const u64 *w = (const u64 *)(const void *)page;
	u64 any = 0;

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		any |= w[i];
	return !any;
}

/* A page's term: its hash less that of a zero page, spread by an odd number made of its frame. */
u64 guestmem_page_term(const struct guest_memory *m, const u8 *page, u64 frame)
{
	u64 spread = (frame + 1) * FOLD;

	return (page_hash(page) - m->zero_hash) * ((spread ^ spread >> 29) | 1);
}

u64 guestmem_digest(struct guest_memory *m, u64 *npages)
{
	for (unsigned n = 0; n < m->nchunks; n++) {
		struct chunk_info *c = m->chunk[n];

		for (unsigned i = 0; c && i < CHUNK_PAGES / 64; i++) {
			for (u64 bits = c->stale[i]; bits; bits &= bits - 1) {
				unsigned page = i * 64 + (unsigned)__builtin_ctzl(bits);
				u64 term = guestmem_page_term(m, c->data + page * PAGE_SIZE, n * CHUNK_PAGES + page);

				m->digest += term - c->hash[page];
				c->hash[page] = term;
				++*npages;
			}
			c->stale[i] = 0;
		}
	}
	return m->digest;
}
