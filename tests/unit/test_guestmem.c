/*
 * test_guestmem.c - a guest's RAM: what is RAM, copies of any kind, and a
 * digest that knows contents only.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"
#include "tests/unit/testmem.h"
#include "vmm/guestmem.h"

static unsigned memories;

static struct guest_memory *memory(u64 size_bytes)
{
	struct guest_memory *m = malloc(sizeof(*m));

	memories++;
	testmem_chunks_left = 64;
	memset(m, 0xdd, sizeof(*m));
	cr_assert_eq(guestmem_init(m, size_bytes, &testmem_source), OK);
	return m;
}

/* With the last of them all goes. */
static void done(struct guest_memory *m)
{
	free(m);
	if (--memories)
		return;
	testmem_free_all();
}

static void wr(struct guest_memory *m, u64 at, const void *data, size_t n)
{
	cr_assert_eq(guestmem_write(m, GPA(at), data, n), OK);
}

static u64 digest(struct guest_memory *m)
{
	u64 n = 0;
	return guestmem_digest(m, &n);
}

Test(guestmem, sizes_are_whole_chunks_up_to_3_gib)
{
	struct guest_memory *m = malloc(sizeof(*m));

	cr_assert_eq(guestmem_init(m, 0, &testmem_source), ERR_INVALID);
	cr_assert_eq(guestmem_init(m, CHUNK_SIZE + PAGE_SIZE, &testmem_source), ERR_INVALID);
	cr_assert_eq(guestmem_init(m, GIB(3), &testmem_source), OK);
	cr_assert_eq(guestmem_init(m, GIB(3) + CHUNK_SIZE, &testmem_source), ERR_TOO_BIG);
	free(m);
}

Test(guestmem, video_memory_and_what_lies_beyond_the_end_are_not_ram)
{
	static const struct { u64 at; bool ram; } cases[] = {
		{ 0, true }, { 0x9ffff, true }, { 0xa0000, false }, { 0xbffff, false }, { 0xc0000, true },
		{ 0xfffff, true }, { MIB(4) - 1, true }, { MIB(4), false }, { 0xfee00000, false }, { ~0UL, false },
	};
	struct guest_memory *m = memory(MIB(4));

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_assert_eq(guestmem_is_ram(m, GPA(cases[i].at)), cases[i].ram, "0x%lx", cases[i].at);
		cr_assert_eq(!!guestmem_touch(m, GPA(cases[i].at)), cases[i].ram);
		cr_assert_eq(!!guestmem_peek(m, GPA(cases[i].at)), cases[i].ram);
	}
	done(m);
}

Test(guestmem, a_flat_memory_has_no_hole)
{
	struct guest_memory *m = memory(MIB(4)), *flat = memory(MIB(4));
	static u8 buf[0x60000];

	cr_assert_eq(guestmem_init_flat(flat, MIB(4), &testmem_source), OK);
	for (u64 at = 0; at < MIB(4); at += PAGE_SIZE)
		cr_assert(guestmem_is_ram(flat, GPA(at)));
	cr_assert(!guestmem_is_ram(flat, GPA(MIB(4))) && !guestmem_is_ram(flat, GPA(~0UL)));
	memset(buf, 7, sizeof(buf));
	cr_assert_eq(guestmem_write(m, GPA(0x80000), buf, sizeof(buf)), ERR_INVALID);
	cr_assert_eq(guestmem_write(flat, GPA(0x80000), buf, sizeof(buf)), OK);
	memset(buf, 0, sizeof(buf));
	cr_assert_eq(guestmem_read(flat, GPA(0x80000), buf, sizeof(buf)), OK);
	cr_assert(buf[0x20000] == 7 && buf[sizeof(buf) - 1] == 7);
	done(m);
	done(flat);
}

Test(guestmem, an_access_that_leaves_ram_is_refused)
{
	static const struct { u64 at; size_t n; } cases[] = {
		{ 0x9ffff, 2 }, { 0xbffff, 2 }, { 0xa0000, 1 }, { 0x9f000, 0x22000 }, { MIB(4) - 1, 2 }, { MIB(4), 1 },
		{ ~0UL, 1 }, { ~0UL - 3, 8 },
	};
	static u8 buf[0x22000];
	struct guest_memory *m = memory(MIB(4));

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_assert_eq(guestmem_read(m, GPA(cases[i].at), buf, cases[i].n), ERR_INVALID, "case %zu", i);
		cr_assert_eq(guestmem_write(m, GPA(cases[i].at), buf, cases[i].n), ERR_INVALID, "case %zu", i);
	}
	cr_assert_eq(guestmem_write(m, GPA(MIB(4) - 1), buf, 1), OK);
	cr_assert_eq(guestmem_read(m, GPA(~0UL), buf, 0), OK);
	done(m);
}

Test(guestmem, untouched_memory_reads_zero)
{
	struct guest_memory *m = memory(MIB(6));
	u64 v = 1;

	cr_assert_null(guestmem_peek(m, GPA(MIB(2))));
	cr_assert_eq(guestmem_read(m, GPA(MIB(2) - 4), &v, 8), OK);
	cr_assert_eq(v, 0);
	done(m);
}

Test(guestmem, copies_cross_pages_and_chunks)
{
	struct guest_memory *m = memory(MIB(6));
	struct rng r = rng_of(3);
	u8 *model = calloc(1, MIB(6)), *buf = malloc(20000);

	for (int i = 0; i < 2000; i++) {
		size_t n = rng_below(&r, rng_chance(&r, 80) ? 40 : 20000);
		u64 at = MIB(1) + rng_below(&r, MIB(5) - n);

		if (rng_chance(&r, 30))
			at = CHUNK_SIZE * (1 + rng_below(&r, 2)) - rng_below(&r, 40);
		if (rng_chance(&r, 60)) {
			for (size_t k = 0; k < n; k++)
				buf[k] = (u8)rng_next(&r);
			wr(m, at, buf, n);
			memcpy(model + at, buf, n);
		} else {
			cr_assert_eq(guestmem_read(m, GPA(at), buf, n), OK);
			cr_assert(!memcmp(buf, model + at, n), "read of %zu bytes at 0x%lx", n, at);
		}
	}
	for (u64 at = MIB(1); at < MIB(6); at += PAGE_SIZE)
		if (guestmem_peek(m, GPA(at)))
			cr_assert(!memcmp(guestmem_peek(m, GPA(at)), model + at, PAGE_SIZE));
	free(model);
	free(buf);
	done(m);
}

Test(guestmem, without_host_memory_it_says_so)
{
	struct guest_memory *m = memory(MIB(4));
	u8 byte = 1;

	testmem_chunks_left = 0;
	cr_assert_eq(guestmem_write(m, GPA(0), &byte, 1), ERR_NO_MEMORY);
	cr_assert_eq(guestmem_read(m, GPA(0), &byte, 1), ERR_NO_MEMORY);
	cr_assert_null(guestmem_touch(m, GPA(0)));
	testmem_chunks_left = 1;
	cr_assert_eq(guestmem_write(m, GPA(0), &byte, 1), OK);
	done(m);
}

/* --- the digest --- */

Test(guestmem, zeros_touched_or_not_are_the_same)
{
	struct guest_memory *a = memory(MIB(4)), *b = memory(MIB(4));
	u8 zeros[100] = { 0 }, one = 1;

	wr(b, 5000, zeros, sizeof(zeros));
	cr_assert_not_null(guestmem_touch(b, GPA(MIB(2))));
	cr_assert_eq(digest(a), digest(b));
	wr(b, 70000, &one, 1);
	cr_assert_neq(digest(a), digest(b));
	wr(b, 70000, zeros, 1);
	cr_assert_eq(digest(a), digest(b));
	done(a);
	done(b);
}

/* The same contents by any way: other orders, things written in between, digests taken in between. */
Test(guestmem, it_is_a_function_of_contents_alone)
{
	for (u64 seed = 1; seed <= 30; seed++) {
		struct guest_memory *a = memory(MIB(4)), *b = memory(MIB(4));
		struct rng r = rng_of(seed);
		struct { u64 at, value; } word[64];
		unsigned order[64];

		for (unsigned i = 0; i < 64; i++) {
			word[i].at = rng_chance(&r, 50) ? MIB(1) + 8 * rng_below(&r, MIB(3) / 8) : 8 * rng_below(&r, 100);
			word[i].value = rng_next(&r);
			order[i] = i;
			for (unsigned k = 0; k < i; k++) /* each place once */
				if (word[k].at == word[i].at)
					word[i].value = word[k].value;
			wr(a, word[i].at, &word[i].value, 8);
		}
		for (unsigned i = 63; i; i--) {
			unsigned k = (unsigned)rng_below(&r, i + 1), t = order[i];

			order[i] = order[k];
			order[k] = t;
		}
		for (unsigned i = 0; i < 64; i++) {
			u64 junk = rng_next(&r);

			if (rng_chance(&r, 30))
				wr(b, word[order[i]].at, &junk, 8);
			if (rng_chance(&r, 20))
				digest(b);
			wr(b, word[order[i]].at, &word[order[i]].value, 8);
		}
		cr_assert_eq(digest(a), digest(b), "seed %lu", seed);
		done(a);
		done(b);
	}
}

Test(guestmem, every_bit_and_every_place_counts)
{
	struct guest_memory *m = memory(MIB(4));
	struct rng r = rng_of(9);
	u8 page[PAGE_SIZE];
	u64 before;

	for (size_t i = 0; i < PAGE_SIZE; i++)
		page[i] = (u8)rng_next(&r);
	wr(m, MIB(1), page, PAGE_SIZE);
	before = digest(m);
	for (size_t bit = 0; bit < 8 * PAGE_SIZE; bit += 7) {
		page[bit / 8] ^= (u8)(1 << bit % 8);
		wr(m, MIB(1), page, PAGE_SIZE);
		cr_assert_neq(digest(m), before, "bit %zu", bit);
		page[bit / 8] ^= (u8)(1 << bit % 8);
	}
	wr(m, MIB(1), page, PAGE_SIZE);
	cr_assert_eq(digest(m), before);
	done(m);
}

/* The same page elsewhere, two pages exchanged, one page twice: all different. */
Test(guestmem, pages_moved_or_exchanged_show)
{
	static const u8 x[PAGE_SIZE] = { 1 }, y[PAGE_SIZE] = { 2 };
	static const struct { u64 x, y; } places[] = {
		{ 0, PAGE_SIZE }, { PAGE_SIZE, 0 }, { 0, 2 * PAGE_SIZE }, { MIB(2), PAGE_SIZE }, { MIB(2), MIB(2) + PAGE_SIZE },
	};
	u64 seen[ARRAY_SIZE(places)];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct guest_memory *m = memory(MIB(4));

		wr(m, places[i].x, x, PAGE_SIZE);
		wr(m, places[i].y, y, PAGE_SIZE);
		seen[i] = digest(m);
		for (size_t k = 0; k < i; k++)
			cr_assert_neq(seen[i], seen[k]);
		done(m);
	}
}

/* Words exchanged within a page, in the same lane and across lanes. */
Test(guestmem, words_exchanged_in_a_page_show)
{
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = i + 1; k < 16; k++) {
			struct guest_memory *m = memory(MIB(2));
			u64 page[512] = { 0 }, before;

			page[i] = 0x1111;
			page[k] = 0x2222;
			wr(m, 0, page, PAGE_SIZE);
			before = digest(m);
			page[i] = 0x2222;
			page[k] = 0x1111;
			wr(m, 0, page, PAGE_SIZE);
			cr_assert_neq(digest(m), before, "words %u and %u", i, k);
			done(m);
		}
}

Test(guestmem, only_what_may_have_changed_is_hashed)
{
	struct guest_memory *m = memory(MIB(4));
	u64 n = 0;
	u8 buf[2] = { 1, 1 };

	wr(m, PAGE_SIZE - 1, buf, 2);
	guestmem_digest(m, &n);
	cr_assert_eq(n, 2);
	guestmem_digest(m, &n);
	cr_assert_eq(n, 2);
	guestmem_mark(m, GPA(MIB(2) + 5)); /* a chunk never touched has nothing to hash */
	guestmem_mark(m, GPA(PAGE_SIZE * 3 + 5));
	guestmem_digest(m, &n);
	cr_assert_eq(n, 3);
	cr_assert_eq(guestmem_read(m, GPA(0), buf, 2), OK);
	guestmem_digest(m, &n);
	cr_assert_eq(n, 3, "reading makes nothing stale");
	done(m);
}
