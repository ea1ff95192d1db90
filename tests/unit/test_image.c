/*
 * test_image.c - memory images: the pool, what images share and what they
 * cost, and random takes, restores and drops against plain copies.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"
#include "tests/unit/testmem.h"
#include "vmm/image.h"

/* --- memory to take images of ------------------------------------------------- */

#define CHUNKS 3


static struct guest_memory mem, reference;
static struct page_pool pool;
static struct image_keeper keeper;
static u8 *pool_memory;
static u32 all_frames;

static void begin(u64 pool_bytes)
{
	testmem_chunks_left = 2 * CHUNKS;
	cr_assert_eq(guestmem_init(&mem, CHUNKS * CHUNK_SIZE, &testmem_source), OK);
	cr_assert_eq(guestmem_init(&reference, CHUNKS * CHUNK_SIZE, &testmem_source), OK);
	pool_memory = aligned_alloc(PAGE_SIZE, pool_bytes);
	memset(pool_memory, 0xcd, pool_bytes);
	cr_assert_eq(page_pool_init(&pool, pool_memory, pool_bytes), OK);
	all_frames = pool.nfree;
	image_keeper_init(&keeper, &pool, &mem);
}

static void done(void)
{
	testmem_free_all();
	free(pool_memory);
}

static u64 digest(struct guest_memory *m)
{
	u64 n = 0;
	return guestmem_digest(m, &n);
}

static void put(u64 at, u64 value)
{
	cr_assert_eq(guestmem_write(&mem, GPA(at), &value, sizeof(value)), OK);
}

static u64 get(u64 at)
{
	u64 value;

	cr_assert_eq(guestmem_read(&mem, GPA(at), &value, sizeof(value)), OK);
	return value;
}

static void take(struct memory_image *im)
{
	*im = (struct memory_image){ 0 };
	cr_assert_eq(image_take(&keeper, im), OK);
}

/* What the keeper itself holds: the image the memory was last equal to. */
static void drop_last(void)
{
	image_drop(&keeper, &keeper.last);
}

/* --- the pool ---------------------------------------------------------------------- */

Test(image, a_pool_needs_a_mib_and_pages)
{
	u8 *m = aligned_alloc(PAGE_SIZE, MIB(1));

	cr_assert_eq(page_pool_init(&pool, m, MIB(1) - PAGE_SIZE), ERR_INVALID);
	cr_assert_eq(page_pool_init(&pool, m + 8, MIB(1)), ERR_INVALID);
	cr_assert_eq(page_pool_init(&pool, m, MIB(1)), OK);
	cr_assert(pool.nfree > 250 && pool.nfree < 256);
	free(m);
}

Test(image, a_pool_gives_each_frame_to_one_user_until_none_is_left)
{
	static bool seen[1024];
	u32 n = 0, frame;

	begin(MIB(1) + 3 * PAGE_SIZE);
	while ((frame = page_pool_take(&pool))) {
		cr_assert(frame < pool.npages && !seen[frame], "frame %u", frame);
		seen[frame] = true;
		memset(page_pool_at(&pool, frame), (int)frame, PAGE_SIZE); /* the tables lie behind */
		pool.term[frame] = frame;
		n++;
	}
	cr_assert_eq(n, all_frames);
	cr_assert_eq(pool.nfree, 0);
	for (frame = 1; frame < pool.npages; frame++) {
		u8 *data = page_pool_at(&pool, frame);

		cr_assert(data + PAGE_SIZE <= pool_memory + MIB(1) + 3 * PAGE_SIZE);
		cr_assert(data[0] == (u8)frame && data[PAGE_SIZE - 1] == (u8)frame && pool.term[frame] == frame);
	}
	for (frame = 1; frame < pool.npages; frame++)
		page_pool_drop(&pool, frame);
	page_pool_drop(&pool, 0); /* nothing */
	cr_assert_eq(pool.nfree, all_frames);
	cr_assert_neq(page_pool_take(&pool), 0);
	done();
}

Test(image, a_frame_is_free_when_its_last_user_drops_it)
{
	u32 frame;

	begin(MIB(1));
	frame = page_pool_take(&pool);
	pool.users[frame]++;
	page_pool_drop(&pool, frame);
	cr_assert_eq(pool.nfree, all_frames - 1);
	page_pool_drop(&pool, frame);
	cr_assert_eq(pool.nfree, all_frames);
	cr_assert_eq(page_pool_take(&pool), frame);
	done();
}

/* --- sharing ------------------------------------------------------------------------- */

Test(image, untouched_memory_costs_nothing)
{
	struct memory_image im, again;

	begin(MIB(1));
	take(&im);
	take(&again);
	cr_assert_eq(pool.nfree, all_frames);
	cr_assert_eq(image_own_frames(&keeper, &im), 0);
	cr_assert_eq(image_restore(&keeper, &im), OK);
	for (unsigned i = 0; i < CHUNKS; i++)
		cr_assert(!mem.chunk[i] && !im.node[i]);
	done();
}

Test(image, an_image_costs_what_was_written_since_the_one_before)
{
	struct memory_image a, b, c;

	begin(MIB(1));
	put(0, 1);
	put(PAGE_SIZE, 1);
	put(CHUNK_SIZE, 1);
	take(&a); /* two nodes and three pages; the keeper has them, too */
	cr_assert_eq(pool.nfree, all_frames - 5);
	put(PAGE_SIZE, 2);
	take(&b); /* one node, one page */
	cr_assert_eq(pool.nfree, all_frames - 7);
	cr_assert_eq(image_own_frames(&keeper, &a), 2); /* the node and the page that changed */
	take(&c); /* nothing was written */
	cr_assert_eq(pool.nfree, all_frames - 7);
	cr_assert_eq(image_own_frames(&keeper, &b), 0);
	image_drop(&keeper, &a);
	cr_assert_eq(pool.nfree, all_frames - 5);
	image_drop(&keeper, &b);
	image_drop(&keeper, &c);
	cr_assert_eq(pool.nfree, all_frames - 5); /* the keeper's */
	drop_last();
	cr_assert_eq(pool.nfree, all_frames);
	done();
}

Test(image, pages_of_zeros_cost_nothing)
{
	struct memory_image a, b;

	begin(MIB(1));
	put(0, 0); /* written, with what was there */
	put(5 * PAGE_SIZE, 7);
	take(&a);
	cr_assert_eq(pool.nfree, all_frames - 2);
	put(5 * PAGE_SIZE, 0);
	take(&b);
	cr_assert_eq(image_own_frames(&keeper, &a), 2);
	cr_assert_eq(image_restore(&keeper, &a), OK);
	cr_assert_eq(get(5 * PAGE_SIZE), 7);
	cr_assert_eq(image_restore(&keeper, &b), OK);
	cr_assert_eq(get(5 * PAGE_SIZE), 0);
	cr_assert_eq(digest(&mem), 0);
	done();
}

Test(image, a_chunk_touched_after_the_image_is_zeros_again)
{
	struct memory_image before, after;

	begin(MIB(1));
	put(8, 1);
	take(&before);
	put(2 * CHUNK_SIZE + 16, 99);
	take(&after);
	put(CHUNK_SIZE + 16, 98); /* in no image at all */
	cr_assert_eq(image_restore(&keeper, &before), OK);
	cr_assert(get(8) == 1 && !get(CHUNK_SIZE + 16) && !get(2 * CHUNK_SIZE + 16));
	cr_assert_eq(image_restore(&keeper, &after), OK);
	cr_assert(get(8) == 1 && !get(CHUNK_SIZE + 16) && get(2 * CHUNK_SIZE + 16) == 99);
	done();
}

Test(image, a_full_pool_changes_nothing)
{
	struct memory_image a, b = { 0 };
	u64 was;
	u32 left;

	begin(MIB(1));
	for (unsigned i = 0; i < 150; i++)
		put(i * PAGE_SIZE, i + 1);
	take(&a);
	for (unsigned i = 0; i < 150; i++)
		put(i * PAGE_SIZE, i + 1000);
	was = digest(&mem);
	left = pool.nfree;
	cr_assert_eq(image_take(&keeper, &b), ERR_NO_MEMORY);
	cr_assert_eq(pool.nfree, left);
	cr_assert_eq(digest(&mem), was);
	for (unsigned i = 0; i < CHUNKS; i++)
		cr_assert_eq(b.node[i], 0);
	/* The keeper still knows what has changed: a restore finds all of it. */
	cr_assert_eq(image_restore(&keeper, &a), OK);
	for (unsigned i = 0; i < 150; i++)
		cr_assert_eq(get(i * PAGE_SIZE), i + 1);
	for (unsigned i = 0; i < 60; i++)
		put(i * PAGE_SIZE, i + 2000);
	take(&b);
	image_drop(&keeper, &a);
	image_drop(&keeper, &b);
	drop_last();
	cr_assert_eq(pool.nfree, all_frames);
	done();
}

Test(image, restoring_says_so_when_the_host_has_no_memory)
{
	struct memory_image im, nothing;

	begin(MIB(1));
	put(8, 3);
	take(&nothing);
	put(8, 4);
	put(CHUNK_SIZE, 5);
	take(&im);
	put(8, 3);
	mem.chunk[1] = NULL; /* as in another guest that never touched it */
	keeper.last = nothing;
	testmem_chunks_left = 0;
	cr_assert_eq(image_restore(&keeper, &im), ERR_NO_MEMORY);
	cr_assert_eq(get(8), 3, "half of it has been restored");
	done();
}

/* --- against plain copies --------------------------------------------------------------- */

#define PLACES 40
#define IMAGES 12

struct copy {
	bool used;
	struct memory_image im;
	u8 bytes[PLACES][PAGE_SIZE];
};
static struct copy copies[IMAGES];
static u64 place[PLACES]; /* addresses of the pages that are written to */
static struct rng rng;

static void choose_places(void)
{
	for (unsigned i = 0; i < PLACES; i++) {
		u64 page;
		bool again;

		do {
			page = rng_below(&rng, CHUNKS * CHUNK_PAGES);
			again = !guestmem_is_ram(&mem, GPA(page * PAGE_SIZE));
			for (unsigned j = 0; j < i; j++)
				again |= place[j] == page * PAGE_SIZE;
		} while (again);
		place[i] = page * PAGE_SIZE;
	}
}

static void write_somewhere(void)
{
	static const u8 zeros[PAGE_SIZE];
	u64 at = place[rng_below(&rng, PLACES)], value = rng_chance(&rng, 20) ? 0 : rng_next(&rng);

	if (rng_chance(&rng, 15))
		cr_assert_eq(guestmem_write(&mem, GPA(at), zeros, PAGE_SIZE), OK);
	else
		put(at + rng_below(&rng, 4) * 8, value);
}

static void copy_memory(struct copy *c)
{
	for (unsigned i = 0; i < PLACES; i++)
		cr_assert_eq(guestmem_read(&mem, GPA(place[i]), c->bytes[i], PAGE_SIZE), OK);
}

/* The memory is what the copy says, and its digest that of other memory with the same contents. */
static void check_memory(const struct copy *c, u64 seed)
{
	u8 now[PAGE_SIZE];
	bool all_zeros = true;

	for (unsigned i = 0; i < PLACES; i++) {
		cr_assert_eq(guestmem_read(&mem, GPA(place[i]), now, PAGE_SIZE), OK);
		cr_assert(!memcmp(now, c->bytes[i], PAGE_SIZE), "seed %lu: page 0x%lx", seed, place[i]);
		cr_assert_eq(guestmem_write(&reference, GPA(place[i]), now, PAGE_SIZE), OK);
		for (unsigned j = 0; j < PAGE_SIZE; j++)
			all_zeros &= !now[j];
	}
	cr_assert_eq(digest(&mem), digest(&reference), "seed %lu", seed);
	cr_assert_eq(!digest(&mem), all_zeros, "seed %lu", seed);
}

static void take_one(u64 seed)
{
	struct copy *c = &copies[rng_below(&rng, IMAGES)];
	u32 left = pool.nfree, own;
	err_t err;

	if (c->used) {
		own = image_own_frames(&keeper, &c->im);
		image_drop(&keeper, &c->im);
		cr_assert_eq(pool.nfree, left + own, "seed %lu: %u own frames, %u given back", seed, own, pool.nfree - left);
		c->used = false;
		left = pool.nfree;
	}
	copy_memory(c);
	err = image_take(&keeper, &c->im);
	if (err) {
		cr_assert_eq(err, ERR_NO_MEMORY);
		cr_assert_eq(pool.nfree, left, "seed %lu: a take that failed keeps frames", seed);
	} else {
		c->used = true;
	}
	check_memory(c, seed);
}

static void restore_one(u64 seed)
{
	struct copy *c = &copies[rng_below(&rng, IMAGES)];

	if (!c->used)
		return;
	cr_assert_eq(image_restore(&keeper, &c->im), OK);
	check_memory(c, seed);
}

Test(image, random_takes_restores_and_drops_are_plain_copies)
{
	for (u64 seed = world_first_seed(), n = world_runs(40); n; n--, seed++) {
		rng = rng_of(seed);
		begin(MIB(1));
		while (seed % 2 && pool.nfree > 60) /* half of them meet a full pool again and again */
			cr_assert(page_pool_take(&pool));
		all_frames = pool.nfree;
		choose_places();
		for (unsigned step = 0; step < 120; step++) {
			for (u64 i = rng_below(&rng, 12); i; i--)
				write_somewhere();
			if (rng_chance(&rng, 60))
				take_one(seed);
			else
				restore_one(seed);
		}
		for (unsigned i = 0; i < IMAGES; i++)
			image_drop(&keeper, &copies[i].im);
		drop_last();
		cr_assert_eq(pool.nfree, all_frames, "seed %lu: frames are lost", seed);
		memset(copies, 0, sizeof(copies));
		done();
	}
}
