/*
 * test_vmdisks.c - disks as part of a machine's state: in its digest, in its
 * checkpoints, in a recording's stored ones, and on the way back along a timeline.
 *
 * That recorded, replayed and perturbed runs of machines with disks agree is shown
 * where those of all machines are: a plan may have disks [fakeworld.h].
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "replay/recording_format.h"
#include "replay/stored.h"
#include "tests/unit/fakeworld.h"

static struct plan plan;
static struct world a, b, recorded;
static struct world_medium medium;

/* The next plan from *seed on with as many disks. */
static void plan_disks(u64 *seed, unsigned ndisks)
{
	do
		plan_random(&plan, ++*seed);
	while (plan.ndisks != ndisks);
	for (unsigned i = 0; i < ndisks; i++) /* small, so that all of it can be looked at often; a region ends within */
		plan.disk[i].nsectors = MIN(plan.disk[i].nsectors, DISK_REGION_SECTORS + 600UL);
}

/* What a guest could read of its disks: a word of each sector. */
static u64 contents(struct vm *vm)
{
	static u8 buf[512 * DISK_SECTOR];
	u64 hash = 1;

	for (unsigned i = 0; i < vm->ndisks; i++)
		for (u64 at = 0, n; at < vm->disk[i]->config.nsectors; at += n) {
			n = MIN(512UL, vm->disk[i]->config.nsectors - at);
			cr_assert_eq(disk_read(vm->disk[i], at, buf, (u32)n), OK);
			for (u64 k = 0; k < n; k++)
				hash = (hash << 5 | hash >> 59) * 3 + read_bytes_le(buf + k * DISK_SECTOR + 8, 8);
		}
	return hash;
}

/* --- digests ------------------------------------------------------------------------- */

/* As it was before there were disks. */
static u64 plain_digest(struct vm *vm)
{
	struct state_walk w = state_digest();
	u64 memory, n = 0;

	vm_digest(vm); /* makes all current */
	w.all_flags = vm->config.digest_all_flags;
	vm_state_walk(vm, &w);
	memory = guestmem_digest(&vm->mem, &n);
	state_section(&w, "memory", 1);
	state_field(&w, "digest", &memory, 8);
	return w.digest;
}

Test(vmdisks, a_machine_without_disks_has_the_digest_it_always_had)
{
	u64 seed = 0;

	for (unsigned ndisks = 0; ndisks <= WORLD_DISKS; ndisks++) {
		plan_disks(&seed, ndisks);
		world_live(&a, &plan);
		cr_assert_eq(vm_digest(a.vm) == plain_digest(a.vm), !ndisks);
		world_run(&a);
		cr_assert_eq(vm_digest(a.vm) == plain_digest(a.vm), !ndisks);
		world_free(&a);
	}
}

Test(vmdisks, one_sector_of_one_disk_makes_another_digest)
{
	static u8 sector[DISK_SECTOR];
	u64 seed = 0, same, other[2];

	plan_disks(&seed, 2);
	world_live(&a, &plan);
	world_live(&b, &plan);
	same = vm_digest(a.vm);
	cr_assert_eq(vm_digest(b.vm), same);
	cr_assert_eq(disk_write(a.vm->disk[0], 0, sector, 1), OK);
	cr_assert_eq(disk_write(b.vm->disk[1], 0, sector, 1), OK);
	other[0] = vm_digest(a.vm);
	other[1] = vm_digest(b.vm);
	cr_assert(other[0] != same && other[1] != same && other[0] != other[1], "which disk it is counts, too");
	cr_assert_eq(disk_write(a.vm->disk[1], 0, sector, 1), OK);
	cr_assert_eq(disk_write(b.vm->disk[0], 0, sector, 1), OK);
	cr_assert_eq(vm_digest(a.vm), vm_digest(b.vm));
	sector[200] = 1;
	cr_assert_eq(disk_write(b.vm->disk[0], 0, sector, 1), OK);
	cr_assert_neq(vm_digest(a.vm), vm_digest(b.vm), "one byte of it");
	world_free(&a);
	world_free(&b);
}

/* --- back and forth ---------------------------------------------------------------------- */

#define POINTS 40

static struct timeline line;
static struct checkpoints store;

static bool never(void *ctx unused_arg)
{
	return false;
}

static void no_progress(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
}

static u64 noted[POINTS], noted_at[POINTS];
static unsigned nnoted;

static u64 note(struct vm *vm, void *ctx unused_arg)
{
	noted_at[nnoted] = vm->now.count;
	noted[nnoted++] = contents(vm);
	return nnoted == POINTS ? NO_STOP : vm->now.count + 1 + plan.config.limit_insns / POINTS;
}

Test(vmdisks, going_back_brings_back_what_was_on_the_disks)
{
	static const struct timeline_host host = { .wants_stop = never, .progress = no_progress };
	unsigned lines = 0, changes = 0;
	u64 seed = 0;

	for (u64 runs = world_runs(40); runs; runs--) {
		struct rng r;

		plan_disks(&seed, 1 + runs % WORLD_DISKS);
		r = rng_of(seed);
		plan.quit_at_look = 0;
		medium = medium_new(1 << 20);
		world_record(&recorded, &plan, &medium);
		nnoted = 0;
		vm_add_stop(recorded.vm, 1, note, NULL);
		world_run(&recorded);
		if (recorded.vm->outcome == VM_QUIT || !recorded.disk_writes) {
			world_free(&recorded);
			medium_free(&medium);
			continue;
		}
		cr_assert_eq(world_timeline(&a, &plan, &medium, &line, &store, &host, MIB(2)), OK, "seed %lu", seed);
		line.spacing = 50 + rng_below(&r, 500);
		for (unsigned i = 0, last = 0; i < 25; i++) {
			unsigned to = (unsigned)rng_below(&r, nnoted);

			cr_assert_eq(timeline_goto(&line, noted_at[to]).end, TRAVEL_ARRIVED, "seed %lu: %s", seed, timeline_trouble(&line));
			cr_assert_eq(contents(a.vm), noted[to], "seed %lu: the disks at %lu, behind %lu", seed, noted_at[to], noted_at[last]);
			changes += noted[to] != noted[last];
			last = to;
		}
		/* A write by hand, off the line: gone with the branch. */
		if (timeline_goto(&line, noted_at[nnoted / 2]).end == TRAVEL_ARRIVED && timeline_branch(&line)) {
			static u8 sector[DISK_SECTOR] = { 1, 2, 3 };

			cr_assert(disk_write(a.vm->disk[0], 0, sector, 1) != ERR_INVALID);
			timeline_step(&line, false);
			cr_assert_eq(contents(a.vm), noted[nnoted / 2], "seed %lu: back from a branch", seed);
		}
		lines++;
		world_free(&a);
		world_free(&recorded);
		medium_free(&medium);
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || world_runs(40) < 40 || (lines > 5 && changes > 40), "%u lines, %u changes", lines, changes);
}

/* --- stored in a recording ------------------------------------------------------------------ */

static struct stored_writer stored;
static struct stored_keeper keeper;

/* Page numbers of all stored pages: how many for each memory.  And where the first checkpoint begins. */
static void count_pages(u64 pages[1 + WORLD_DISKS], struct rec_place *first)
{
	static struct rec_reader r;
	const struct rec_medium ops = medium_ops(&medium);
	struct stored_point p;

	memset(pages, 0, sizeof(pages[0]) * (1 + WORLD_DISKS));
	cr_assert(!rec_reader_open(&r, &ops));
	*first = (struct rec_place){ 0 };
	while (!rec_next_chunk(&r)) {
		unsigned part = stored_parse(&r.chunk, &p);

		if (part == STORED_BEGIN && !first->offset)
			*first = (struct rec_place){ .offset = r.chunk.offset, .chain = r.chunk_chain };
		if (part == STORED_PAGES)
			for (const u8 *at = r.chunk.payload + 1, *end = r.chunk.payload + r.chunk.size; at < end; at += PAGE_SIZE) {
				u64 number = 0;

				at += get_varint(at, (u32)(end - at), &number);
				cr_assert_leq(number >> 32, WORLD_DISKS);
				pages[number >> 32]++;
			}
	}
}

static bool record_with_checkpoints(u64 seed)
{
	if (plan.config.epoch_insns == plan.config.poll_insns)
		plan.config.epoch_insns *= 2;
	medium = medium_new(16UL << 20);
	world_record(&recorded, &plan, &medium);
	memset(&stored, 0, sizeof(stored));
	stored_start(&stored, recorded.vm, recorded.writer, plan.config.poll_insns * (1 + seed % 5));
	vm_run(recorded.vm);
	record_boundary_finish(&recorded.record, &recorded.vm->now);
	stored_end(&stored);
	world_run(&recorded);
	if (recorded.writer->error != ERR_IO && recorded.disk_writes)
		return true;
	world_free(&recorded);
	medium_free(&medium);
	return false;
}

Test(vmdisks, a_stored_checkpoint_has_the_disks)
{
	unsigned seen = 0, plain = 0;
	u64 seed = 0;

	for (u64 runs = world_runs(50); runs; runs--) {
		u64 pages[1 + WORLD_DISKS];
		struct stored_sink sink;
		struct rec_place first;
		err_t e;
		void *pool = aligned_alloc(PAGE_SIZE, MIB(32));

		plan_disks(&seed, runs % (1 + WORLD_DISKS));
		if (plan.ndisks == 0)
			plan_random(&plan, seed);
		if (!record_with_checkpoints(seed)) {
			plain += !plan.ndisks;
			free(pool);
			continue;
		}
		count_pages(pages, &first);
		for (unsigned i = 0; i <= WORLD_DISKS; i++)
			cr_assert(i <= plan.ndisks || !pages[i], "seed %lu: pages of a disk that is not there", seed);
		cr_assert(pages[1] || pages[2], "seed %lu: none of any disk", seed);
		world_replay(&a, &plan, &medium);
		cr_assert(!checkpoints_init(&store, a.vm, &a.replay, pool, MIB(32)) && checkpoint_take(&store));
		sink = stored_keep(&keeper, &store, a.reader);
		cr_assert(!rec_seek(a.reader, &first));
		e = stored_load(a.reader, recorded.vm->now.count, true, &sink);
		cr_assert_eq(e, OK, "seed %lu: %d", seed, e);
		stored_forget(&keeper);
		cr_assert(store.has_end && !checkpoint_restore_machine(&store, &store.end));
		cr_assert_eq(contents(a.vm), contents(recorded.vm), "seed %lu: other contents", seed);
		cr_assert_eq(vm_digest(a.vm), recorded.digest, "seed %lu", seed);
		cr_assert(!checkpoint_restore_machine(&store, store.sorted[0]));
		cr_assert_eq(disk_written(a.vm->disk[0]), 0);
		seen++;
		world_free(&a);
		world_free(&recorded);
		medium_free(&medium);
		free(pool);
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || world_runs(50) < 50 || (seen > 8 && plain > 3), "%u, %u without disks", seen, plain);
}

/* A file may name any memory. */
Test(vmdisks, pages_of_no_disk_are_refused)
{
	static const u8 page[PAGE_SIZE] = { 1 };
	static const struct { u64 number; err_t want; } cases[] = {
		{ 5, OK }, { WORLD_MEM / PAGE_SIZE, ERR_INVALID }, { 1UL << 32, OK }, { 2UL << 32, ERR_INVALID }, { 9UL << 32, ERR_INVALID },
		{ 1UL << 32 | 0xffffffff, ERR_INVALID }, { ~0UL, ERR_INVALID }, { 1UL << 63, ERR_INVALID },
	};
	void *pool = aligned_alloc(PAGE_SIZE, MIB(2));
	struct stored_sink sink;
	u64 seed = 0;

	plan_disks(&seed, 1);
	world_live(&a, &plan);
	cr_assert(!checkpoints_init(&store, a.vm, &a.replay, pool, MIB(2)));
	sink = stored_keep(&keeper, &store, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_assert_eq(sink.page(sink.ctx, cases[i].number, page), cases[i].want, "case %u", i);
		cr_assert_eq(!!stored_memory(a.vm, cases[i].number), cases[i].number >> 32 < 2);
	}
	world_free(&a);
	free(pool);
}
