/*
 * test_disk.c - a guest's disk: the overlay's layout, its limits, how the base is
 * asked, and random reads, writes, images and commits against a plain array.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"
#include "tests/unit/testmem.h"
#include "vmm/disk.h"
#include "vmm/image.h"

/* --- a base in memory ----------------------------------------------------------------- */

/*
 * Sector contents are a stamp, different in each of a sector's words.  The base
 * holds stamps only, so that it can be large.
 */
#define REGIONS 5
#define SECTORS (REGIONS * DISK_REGION_SECTORS - 4091) /* the last region: five sectors, no whole page */

struct base {
	u32 stamp[SECTORS];
	unsigned reads, writes, flushes, fail_in; /* fail_in calls from now, 0: never */
	u64 nread, nwritten;
	u64 next_write;                          /* writes come in order */
};
static struct base base;

static void fill(u8 *p, u32 stamp)
{
	for (u64 i = 0; i < DISK_SECTOR / 8; i++)
		write_bytes_le(p + 8 * i, 8, stamp ? (u64)stamp << 32 | i : 0);
}

static u32 stamp_of(const u8 *p)
{
	u32 stamp = (u32)(read_bytes_le(p, 8) >> 32);

	for (u64 i = 0; i < DISK_SECTOR / 8; i++)
		cr_assert_eq(read_bytes_le(p + 8 * i, 8), stamp ? (u64)stamp << 32 | i : 0, "a sector of two halves");
	return stamp;
}

static bool fails(struct base *b)
{
	return b->fail_in && !--b->fail_in;
}

static err_t base_read(void *ctx, u64 sector, void *buf, u32 n)
{
	struct base *b = ctx;

	cr_assert(n && sector + n <= SECTORS);
	b->reads++;
	b->nread += n;
	if (fails(b))
		return ERR_IO;
	for (u32 i = 0; i < n; i++)
		fill((u8 *)buf + i * DISK_SECTOR, b->stamp[sector + i]);
	return OK;
}

static err_t base_write(void *ctx, u64 sector, const void *buf, u32 n)
{
	struct base *b = ctx;

	cr_assert(n && sector + n <= SECTORS);
	cr_assert_geq(sector, b->next_write);
	b->writes++;
	b->nwritten += n;
	if (fails(b))
		return ERR_IO;
	for (u32 i = 0; i < n; i++)
		b->stamp[sector + i] = stamp_of((const u8 *)buf + i * DISK_SECTOR);
	return OK;
}

static err_t base_flush(void *ctx)
{
	struct base *b = ctx;

	b->flushes++;
	return fails(b) ? ERR_IO : OK;
}

static struct disk disk;
static u8 buf[2 * CHUNK_SIZE];

static err_t make(enum disk_mode mode, u64 room_bytes)
{
	const struct disk_config c = { .nsectors = SECTORS, .mode = mode, .room_bytes = room_bytes,
				       .base = { base_read, base_write, base_flush, &base } };

	testmem_chunks_left = 200;
	memset(&base, 0, sizeof(base));
	for (u32 i = 0; i < SECTORS; i++)
		base.stamp[i] = 0x80000000 | i;
	memset(&disk, 0xdd, sizeof(disk));
	return disk_init(&disk, &c, &testmem_source);
}

static err_t write_stamp(u64 sector, u32 n, u32 stamp)
{
	for (u32 i = 0; i < n; i++)
		fill(buf + i * DISK_SECTOR, stamp ? stamp + i : 0);
	return disk_write(&disk, sector, buf, n);
}

static u32 read_stamp(u64 sector)
{
	cr_assert_eq(disk_read(&disk, sector, buf, 1), OK);
	return stamp_of(buf);
}

static u64 digest(void)
{
	u64 n = 0;
	return guestmem_digest(&disk.overlay, &n);
}

/* --- what a disk can be -------------------------------------------------------------------- */

Test(disk, what_cannot_be_is_refused)
{
	const struct disk_base b = { base_read, base_write, base_flush, &base };
	static const struct { u64 nsectors; enum disk_mode mode; u64 room; err_t want; } cases[] = {
		{ 1, DISK_COW, MIB(2), OK },
		{ 0, DISK_COW, MIB(2), ERR_INVALID },
		{ 0, DISK_RO, 0, ERR_INVALID },
		{ 1, DISK_RO, 0, OK },
		{ 1, DISK_THROUGH, 0, OK },
		{ 1, DISK_COW, 0, ERR_INVALID },
		{ 1, DISK_COW, MIB(3), ERR_INVALID },
		{ GIB(128) / 512, DISK_COW, MIB(2), OK },
		{ GIB(128) / 512 + 1, DISK_COW, MIB(2), ERR_TOO_BIG },
		{ GIB(128) / 512 + 1, DISK_THROUGH, 0, OK },
		{ 1, DISK_COW, GIB(3) - MIB(2), OK },
		{ 1, DISK_COW, GIB(3), ERR_TOO_BIG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct disk_config c = { cases[i].nsectors, cases[i].mode, cases[i].room, b };

		cr_assert_eq(disk_init(&disk, &c, &testmem_source), cases[i].want, "case %zu", i);
	}
	for (unsigned i = 0; i < 3; i++) {
		struct disk_config c = { 1, DISK_COW, MIB(2), b };

		if (i == 0)
			c.base.read = NULL;
		else if (i == 1)
			c.base.write = NULL;
		else
			c.base.flush = NULL;
		cr_assert_eq(disk_init(&disk, &c, &testmem_source), ERR_INVALID, "hook %u is missing", i);
	}
	cr_assert_eq(testmem_given, 0, "memory is taken when it is written to");
}

Test(disk, sectors_beyond_the_end_are_refused)
{
	static const struct { u64 sector; u32 n; err_t want; } cases[] = {
		{ SECTORS - 1, 1, OK }, { SECTORS - 1, 2, ERR_INVALID }, { SECTORS, 0, OK }, { SECTORS, 1, ERR_INVALID },
		{ SECTORS + 1, 0, ERR_INVALID }, { ~0UL, 1, ERR_INVALID }, { ~0UL, 2, ERR_INVALID }, { 1, ~0U, ERR_INVALID },
		{ SECTORS - 5, 5, OK }, { 1UL << 32, 1, ERR_INVALID },
	};

	for (enum disk_mode mode = DISK_RO; mode <= DISK_THROUGH; mode++) {
		cr_assert_eq(make(mode, MIB(8)), OK);
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			err_t want = cases[i].want;

			cr_assert_eq(disk_read(&disk, cases[i].sector, buf, cases[i].n), want, "read %zu", i);
			memset(buf, 0, sizeof(buf));
			want = !want && mode == DISK_RO ? ERR_UNSUPPORTED : want;
			base.next_write = 0;
			cr_assert_eq(disk_write(&disk, cases[i].sector, buf, cases[i].n), want, "write %zu", i);
		}
	}
	testmem_free_all();
}

Test(disk, without_an_overlay_all_is_the_bases)
{
	cr_assert_eq(make(DISK_RO, 0), OK);
	cr_assert_eq(write_stamp(7, 3, 1), ERR_UNSUPPORTED);
	cr_assert_eq(read_stamp(7), 0x80000007);
	cr_assert_eq(disk_flush(&disk), OK);
	cr_assert_eq(disk_commit(&disk, NULL, NULL), OK);
	cr_assert(!base.writes && !base.flushes);

	cr_assert_eq(make(DISK_THROUGH, 0), OK);
	cr_assert_eq(write_stamp(4000, 4096, 1), OK);
	cr_assert(base.writes == 1 && base.stamp[4000] == 1 && base.stamp[8095] == 4096);
	cr_assert_eq(read_stamp(4001), 2);
	cr_assert_eq(disk_flush(&disk), OK);
	cr_assert_eq(base.flushes, 1);
	cr_assert_eq(disk_commit(&disk, NULL, NULL), OK);
	cr_assert(base.writes == 1 && base.flushes == 1 && !disk_written(&disk));
	base.fail_in = 1;
	cr_assert_eq(write_stamp(1, 1, 1), ERR_IO);
	base.fail_in = 1;
	cr_assert_eq(disk_flush(&disk), ERR_IO);
	cr_assert_eq(testmem_given, 0);
}

/* --- the overlay ------------------------------------------------------------------------------ */

Test(disk, slots_are_given_in_the_order_of_the_first_writes)
{
	static const u64 order[] = { 3, 0, 4, 1 };
	u8 word[4];

	cr_assert_eq(make(DISK_COW, MIB(8)), OK);
	for (unsigned i = 0; i < 4; i++) {
		u64 at = order[i] * DISK_REGION_SECTORS + 3;

		cr_assert_eq(write_stamp(at, 1, 100 + i), OK);
		cr_assert_eq(write_stamp(at, 1, 200 + i), OK);
		cr_assert_eq(guestmem_read(&disk.overlay, GPA(2 * order[i]), word, 2), OK);
		cr_assert_eq(read_bytes_le(word, 2), i + 1);
		cr_assert_eq(guestmem_read(&disk.overlay, GPA(KIB(128)), word, 4), OK);
		cr_assert_eq(read_bytes_le(word, 4), i + 1);
		cr_assert_eq(guestmem_read(&disk.overlay, GPA(KIB(132) + 512 * i), word, 1), OK);
		cr_assert_eq(word[0], 8);
		cr_assert_eq(stamp_of(guestmem_peek(&disk.overlay, GPA((1 + i) * CHUNK_SIZE + 3 * 512))), 200 + i);
	}
	cr_assert_eq(disk_written(&disk), 4);
	cr_assert_eq(base.writes, 0);
	testmem_free_all();
}

Test(disk, a_write_that_has_no_room_does_nothing)
{
	u64 was;

	cr_assert_eq(make(DISK_COW, MIB(4)), OK);
	cr_assert_eq(write_stamp(0, 1, 5), OK);
	was = digest();
	/* Two more regions, one slot. */
	cr_assert_eq(write_stamp(2 * DISK_REGION_SECTORS - 1, 2, 9), ERR_TOO_BIG);
	cr_assert_eq(write_stamp(0, 2 * DISK_REGION_SECTORS, 9), OK, "one has a slot, the other gets the last");
	cr_assert_neq(digest(), was);
	was = digest();
	cr_assert_eq(write_stamp(2 * DISK_REGION_SECTORS - 1, 2, 1000000), ERR_TOO_BIG);
	cr_assert_eq(write_stamp(SECTORS - 1, 1, 1000000), ERR_TOO_BIG);
	cr_assert_eq(digest(), was);
	cr_assert_eq(read_stamp(2 * DISK_REGION_SECTORS - 1), 9 + 2 * DISK_REGION_SECTORS - 1);
	cr_assert_eq(read_stamp(SECTORS - 1), 0x80000000 | (SECTORS - 1));
	cr_assert_eq(write_stamp(17, 1, 3), OK, "where there is a slot already there is room");
	testmem_free_all();
}

Test(disk, a_host_without_memory_says_so)
{
	cr_assert_eq(make(DISK_COW, MIB(4)), OK);
	testmem_chunks_left = 0;
	cr_assert_eq(write_stamp(0, 1, 5), ERR_NO_MEMORY);
	testmem_chunks_left = 1;
	cr_assert_eq(write_stamp(0, 1, 5), ERR_NO_MEMORY);
	testmem_free_all();
}

/* Each run of sectors in one place is one call, wherever regions end. */
Test(disk, the_base_is_asked_as_seldom_as_can_be)
{
	cr_assert_eq(make(DISK_COW, MIB(8)), OK);
	cr_assert_eq(disk_read(&disk, 100, buf, 8000), OK);
	cr_assert(base.reads == 1 && base.nread == 8000, "nothing written: %u reads", base.reads);
	cr_assert_eq(write_stamp(4096 + 60, 10, 1), OK);
	cr_assert_eq(write_stamp(4096 + 70, 1, 1), OK);
	base.reads = base.nread = 0;
	cr_assert_eq(disk_read(&disk, 100, buf, 8000), OK);
	cr_assert(base.reads == 2 && base.nread == 8000 - 11, "one run written: %u reads, %lu sectors", base.reads, base.nread);
	base.reads = 0;
	cr_assert_eq(disk_read(&disk, 4096 + 60, buf, 11), OK);
	cr_assert_eq(base.reads, 0);
	cr_assert_eq(disk_read(&disk, 4096 + 71, buf, 4096), OK);
	cr_assert_eq(base.reads, 1, "the rest of a region and the next");
	testmem_free_all();
}

Test(disk, an_error_of_the_base_is_told)
{
	cr_assert_eq(make(DISK_COW, MIB(8)), OK);
	cr_assert_eq(write_stamp(50, 1, 1), OK);
	for (unsigned i = 1; i <= 2; i++) {
		base.fail_in = i;
		cr_assert_eq(disk_read(&disk, 0, buf, 100), ERR_IO);
	}
	base.fail_in = 1;
	cr_assert_eq(disk_read(&disk, 50, buf, 1), OK, "the overlay's own");
	testmem_free_all();
}

Test(disk, one_sector_makes_another_digest)
{
	u64 before, after;

	cr_assert_eq(make(DISK_COW, MIB(8)), OK);
	before = digest();
	cr_assert_eq(before, 0);
	fill(buf, 0x80000005); /* what the base has there */
	cr_assert_eq(disk_write(&disk, 5, buf, 1), OK);
	after = digest();
	cr_assert_neq(after, before);
	buf[511] ^= 1;
	cr_assert_eq(disk_write(&disk, 5, buf, 1), OK);
	cr_assert_neq(digest(), after);
	buf[511] ^= 1;
	cr_assert_eq(disk_write(&disk, 5, buf, 1), OK);
	cr_assert_eq(digest(), after);
	memset(buf, 0, 512);
	cr_assert_eq(disk_write(&disk, 6, buf, 1), OK, "zeros are contents, too");
	cr_assert_neq(digest(), after);
	testmem_free_all();
}

static u64 last_done, last_all;

static void note(void *ctx, u64 ndone, u64 all)
{
	struct base *b = ctx;

	cr_assert(ndone == b->nwritten && ndone <= all && ndone > last_done);
	last_done = ndone;
	last_all = all;
}

/* Zeros written come back, also where no page of them came back from a file, and memory was never touched. */
Test(disk, zeros_written_are_no_hole)
{
	cr_assert_eq(make(DISK_COW, MIB(8)), OK);
	cr_assert_eq(write_stamp(4096, 8, 0), OK);
	for (unsigned i = 0; i < 2; i++) {
		disk.overlay.chunk[1] = NULL;
		cr_assert_eq(disk_written(&disk), 8);
		if (i)
			cr_assert(!read_stamp(4096) && !read_stamp(4103) && read_stamp(4104));
		else
			cr_assert_eq(disk_commit(&disk, note, &base), OK);
	}
	cr_assert(!base.stamp[4096] && !base.stamp[4103] && base.stamp[4104]);
	testmem_free_all();
}

Test(disk, a_commit_writes_what_was_written)
{
	cr_assert_eq(make(DISK_COW, MIB(8)), OK);
	cr_assert_eq(write_stamp(3 * 4096 + 1, 2, 1), OK);
	cr_assert_eq(write_stamp(4095, 3, 100), OK);
	cr_assert_eq(write_stamp(10, 1, 0), OK);
	disk.overlay.chunk[1]->data[0] = 1; /* no sector's that is set */
	base.nwritten = last_done = 0;
	cr_assert_eq(disk_commit(&disk, note, &base), OK);
	cr_assert(base.writes == 4 && base.flushes == 1 && last_done == 6 && last_all == 6);
	for (u32 i = 0; i < SECTORS; i++) {
		u32 want = i == 3 * 4096 + 1 ? 1 : i == 3 * 4096 + 2 ? 2 : i >= 4095 && i < 4098 ? 100 + i - 4095 :
			   i == 10 ? 0 : 0x80000000 | i;

		cr_assert_eq(base.stamp[i], want, "sector %u", i);
	}
	for (unsigned i = 1; i <= 5; i++) {
		base.fail_in = i;
		base.nwritten = last_done = 0;
		cr_assert_eq(disk_commit(&disk, note, &base), ERR_IO, "the %u-th fails", i);
	}
	testmem_free_all();
}

/* Out of a file anything may come. */
Test(disk, tables_that_cannot_be_reach_nothing_that_is_not_there)
{
	unsigned wrote = 0, refused = 0;

	for (u64 seed = world_first_seed(), n = world_runs(60); n; n--, seed++) {
		struct rng r = rng_of(seed);

		cr_assert_eq(make(DISK_COW, MIB(4)), OK);
		for (unsigned step = 0; step < 60; step++) {
			u64 at = rng_chance(&r, 40) ? 2 * rng_below(&r, REGIONS + 2) : rng_chance(&r, 30) ? KIB(128) :
				 KIB(132) + rng_below(&r, 1024);
			u64 junk = rng_chance(&r, 30) ? rng_below(&r, 4) : rng_next(&r);
			u64 sector = rng_below(&r, SECTORS);
			u32 len = 1 + (u32)rng_below(&r, MIN(5000UL, SECTORS - sector));
			err_t err;

			cr_assert_eq(guestmem_write(&disk.overlay, GPA(at), &junk, 2), OK);
			err = disk_read(&disk, sector, buf, len);
			cr_assert_eq(err, OK, "seed %lu: %d", seed, err);
			cr_assert_leq(disk_written(&disk), REGIONS * DISK_REGION_SECTORS);
			memset(buf, 0, len * DISK_SECTOR);
			err = disk_write(&disk, sector, buf, len);
			cr_assert(err == OK || err == ERR_TOO_BIG);
			wrote += !err;
			refused += !!err;
		}
		testmem_free_all();
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || (wrote > 100 && refused > 100), "%u written, %u refused", wrote, refused);
}

/* --- against a plain array ------------------------------------------------------------------------ */

#define IMAGES 6

struct copy {
	bool used;
	struct memory_image im;
	u32 stamp[SECTORS];
};

static struct {
	u32 stamp[SECTORS];
	bool slot[REGIONS];
	struct copy copy[IMAGES];
	struct page_pool pool;
	struct image_keeper keeper;
	struct rng rng;
	u32 next;
} m;

/* Often near where regions, words of the bitmap and the disk end. */
static u64 some_sector(void)
{
	u64 at = rng_below(&m.rng, SECTORS);

	switch (rng_below(&m.rng, 4)) {
	case 0:
		at = (1 + rng_below(&m.rng, REGIONS - 1)) * DISK_REGION_SECTORS - rng_below(&m.rng, 10);
		break;
	case 1:
		at = at / 64 * 64 + 64 - rng_below(&m.rng, 3);
		break;
	case 2:
		at = SECTORS - 1 - rng_below(&m.rng, 12);
		break;
	}
	return MIN(at, (u64)SECTORS - 1);
}

static u32 some_length(u64 sector)
{
	u64 n = 1 + (rng_chance(&m.rng, 20) ? rng_below(&m.rng, 5000) : rng_chance(&m.rng, 50) ? rng_below(&m.rng, 200) : rng_below(&m.rng, 9));

	return (u32)MIN(n, SECTORS - sector);
}

static void random_write(u64 seed, unsigned room)
{
	u64 at = some_sector();
	u32 n = some_length(at);
	unsigned used = 0, more = 0;
	err_t err;

	for (unsigned i = 0; i < REGIONS; i++)
		used += m.slot[i];
	for (u64 r = at / DISK_REGION_SECTORS; r <= (at + n - 1) / DISK_REGION_SECTORS; r++)
		more += !m.slot[r];
	for (u32 i = 0; i < n; i++)
		fill(buf + i * DISK_SECTOR, m.next + i);
	err = disk_write(&disk, at, buf, n);
	cr_assert_eq(err, used + more > room ? ERR_TOO_BIG : OK, "seed %lu: %d", seed, err);
	if (err)
		return;
	for (u32 i = 0; i < n; i++)
		m.stamp[at + i] = m.next++;
	for (u64 r = at / DISK_REGION_SECTORS; r <= (at + n - 1) / DISK_REGION_SECTORS; r++)
		m.slot[r] = true;
}

static void check_read(u64 seed, u64 at, u32 n)
{
	cr_assert_eq(disk_read(&disk, at, buf, n), OK);
	for (u32 i = 0; i < n; i++)
		cr_assert_eq(stamp_of(buf + i * DISK_SECTOR), m.stamp[at + i], "seed %lu: sector %lu", seed, at + i);
}

static void check_all(u64 seed)
{
	u64 written = 0;

	for (u64 at = 0; at < SECTORS; at += sizeof(buf) / DISK_SECTOR)
		check_read(seed, at, (u32)MIN(sizeof(buf) / DISK_SECTOR, SECTORS - at));
	for (u32 i = 0; i < SECTORS; i++)
		written += m.stamp[i] < 0x80000000;
	cr_assert_eq(disk_written(&disk), written, "seed %lu", seed);
}

static void take_or_restore(u64 seed)
{
	struct copy *c = &m.copy[rng_below(&m.rng, IMAGES)];

	if (c->used && rng_chance(&m.rng, 60)) {
		cr_assert_eq(image_restore(&m.keeper, &c->im), OK);
		memcpy(m.stamp, c->stamp, sizeof(m.stamp));
		memset(m.slot, 0, sizeof(m.slot));
		for (u32 i = 0; i < SECTORS; i++)
			m.slot[i / DISK_REGION_SECTORS] |= m.stamp[i] < 0x80000000;
		check_all(seed);
		return;
	}
	image_drop(&m.keeper, &c->im);
	cr_assert_eq(image_take(&m.keeper, &c->im), OK);
	memcpy(c->stamp, m.stamp, sizeof(m.stamp));
	c->used = true;
}

Test(disk, random_writes_images_and_commits_are_a_plain_array)
{
	for (u64 seed = world_first_seed(), runs = world_runs(25); runs; runs--, seed++) {
		u8 *memory = aligned_alloc(PAGE_SIZE, MIB(64));
		unsigned room;

		memset(&m, 0, sizeof(m));
		m.rng = rng_of(seed);
		m.next = 1;
		room = 1 + (unsigned)rng_below(&m.rng, REGIONS);
		cr_assert_eq(make(DISK_COW, room * CHUNK_SIZE), OK);
		memcpy(m.stamp, base.stamp, sizeof(m.stamp));
		cr_assert_eq(page_pool_init(&m.pool, memory, MIB(64)), OK);
		image_keeper_init(&m.keeper, &m.pool, &disk.overlay);
		for (unsigned step = 0; step < 120; step++) {
			u64 at = some_sector();

			if (rng_chance(&m.rng, 50))
				random_write(seed, room);
			else if (rng_chance(&m.rng, 80))
				check_read(seed, at, some_length(at));
			else
				take_or_restore(seed);
		}
		check_all(seed);
		base.nwritten = last_done = 0;
		cr_assert_eq(disk_commit(&disk, note, &base), OK);
		cr_assert(!memcmp(base.stamp, m.stamp, sizeof(m.stamp)), "seed %lu: the base after the commit", seed);
		check_all(seed);
		free(memory);
		testmem_free_all();
	}
}
