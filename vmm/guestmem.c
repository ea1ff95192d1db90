/*
 * guestmem.c - touching, copying and digesting a guest's RAM.
 *
 * Reads and changes: the chunks of one guest.  Never: the second-level tables
 * (paging), nor anything of another guest.
 */
#include "kernel/xxh.h"
#include "vmm/guestmem.h"

/*
 * Video memory, which is a device.  The ROM area above it, C0000h to FFFFFh,
 * is RAM here, all zero until something is loaded: kernels search it for
 * tables, 100,000 reads in a boot, which must not exit.
 */
#define HOLE_START 0xa0000UL
#define HOLE_END 0xc0000UL

err_t guestmem_init(struct guest_memory *m, u64 size_bytes, const struct chunk_source *s)
{
	if (!size_bytes || size_bytes % CHUNK_SIZE)
		return ERR_INVALID;
	if (size_bytes / CHUNK_SIZE > GUEST_MAX_CHUNKS)
		return ERR_TOO_BIG;
	memset(m, 0, sizeof(*m));
	m->size_bytes = size_bytes;
	m->nchunks = (unsigned)(size_bytes / CHUNK_SIZE);
	m->source = *s;
	return OK;
}

bool guestmem_is_ram(const struct guest_memory *m, gpa_t at)
{
	return at.v < m->size_bytes && (at.v < HOLE_START || at.v >= HOLE_END);
}

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

	if (c)
		c->stale[page / 64] |= BIT(page % 64);
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

/* A page's term: 0 if it is all zero, else its hash spread by an odd number made of its frame. */
static u64 page_term(const u8 *page, u64 frame)
{
	const u64 *w = (const u64 *)(const void *)page;
	u64 spread = (frame + 1) * 0x9e3779b97f4a7c15UL;
	size_t i = 0;

	while (i < PAGE_SIZE / 8 && !w[i])
		i++;
	if (i == PAGE_SIZE / 8)
		return 0;
	spread ^= spread >> 29;
	return XXH64(page, PAGE_SIZE, 0) * (spread | 1);
}

u64 guestmem_digest(struct guest_memory *m, u64 *npages)
{
	for (unsigned n = 0; n < m->nchunks; n++) {
		struct chunk_info *c = m->chunk[n];

		for (unsigned i = 0; c && i < CHUNK_PAGES / 64; i++) {
			for (u64 bits = c->stale[i]; bits; bits &= bits - 1) {
				unsigned page = i * 64 + (unsigned)__builtin_ctzl(bits);
				u64 term = page_term(c->data + page * PAGE_SIZE, n * CHUNK_PAGES + page);

				m->digest += term - c->hash[page];
				c->hash[page] = term;
				++*npages;
			}
			c->stale[i] = 0;
		}
	}
	return m->digest;
}
