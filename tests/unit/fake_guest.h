/*
 * fake_guest.h - guest memory for tests of loaders: an array that refuses what
 * a loader must never do (write outside RAM, into the hole).
 */
#ifndef TESTS_UNIT_FAKE_GUEST_H
#define TESTS_UNIT_FAKE_GUEST_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "vmm/guestload.h"

struct fake_guest {
	u8 *ram;
	struct guest_loader mem;
	unsigned nwrites;
	unsigned fail_at; /* the n-th access fails, 0: none */
};

static inline err_t fake_access(struct fake_guest *g, u64 at, u64 size)
{
	cr_assert(guest_ram_holds(g->mem.ram_size, (struct guest_range){ at, size }),
		  "wrote %#lx bytes at %#lx, outside RAM", size, at);
	return ++g->nwrites == g->fail_at ? ERR_NO_MEMORY : OK;
}

static inline err_t fake_write(void *ctx, gpa_t at, const void *data, size_t size_bytes)
{
	struct fake_guest *g = ctx;
	err_t error = fake_access(g, at.v, size_bytes);

	memcpy(g->ram + at.v, data, size_bytes);
	return error;
}

static inline err_t fake_zero(void *ctx, gpa_t at, u64 size_bytes)
{
	struct fake_guest *g = ctx;
	err_t error = fake_access(g, at.v, size_bytes);

	memset(g->ram + at.v, 0, size_bytes);
	return error;
}

/* RAM full of CCh: what a loader leaves unset shows. */
static inline void fake_guest_init(struct fake_guest *g, u64 ram_size)
{
	*g = (struct fake_guest){ .ram = malloc(ram_size) };
	cr_assert_not_null(g->ram);
	memset(g->ram, 0xcc, ram_size);
	g->mem = (struct guest_loader){ fake_write, fake_zero, g, ram_size };
}

static inline u64 fake_le(const struct fake_guest *g, u64 at, unsigned size_bytes)
{
	cr_assert_lt(at, g->mem.ram_size - 8);
	return read_bytes_le(g->ram + at, size_bytes);
}

/* A copy of exactly size bytes, so that the sanitizer sees a read beyond. */
static inline u8 *exact_copy(const void *data, size_t size)
{
	u8 *copy = malloc(size ? size : 1);

	cr_assert_not_null(copy);
	memcpy(copy, data, size);
	return copy;
}

#endif
