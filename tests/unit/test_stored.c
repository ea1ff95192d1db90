/*
 * test_stored.c - checkpoints within a recording: a run that leaves them is the
 * run without; from each of them on it goes on as it did; and whatever stands in
 * their chunks, nothing is read or written that is not there.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "replay/recording_format.h"
#include "replay/stored.h"
#include "tests/unit/fakeworld.h"

#define MEDIUM_SIZE (16UL << 20)
#define POINTS_MAX 64

static struct plan plan;
static struct world a, b, c;
static struct stored_writer stored;

/* Runs the plan, recorded, with a checkpoint every so many instructions; false: the plan has no room for them. */
static bool record(u64 seed, struct world_medium *m)
{
	struct rng r = rng_of(seed + 5);

	plan_random(&plan, seed);
	if (plan.config.epoch_insns == plan.config.poll_insns)
		plan.config.epoch_insns *= 2;
	*m = medium_new(MEDIUM_SIZE);
	world_record(&a, &plan, m);
	memset(&stored, 0, sizeof(stored));
	stored_start(&stored, a.vm, a.writer, plan.config.poll_insns * (1 + rng_below(&r, 20)));
	vm_run(a.vm);
	record_boundary_finish(&a.record, &a.vm->now);
	if (a.vm->outcome != VM_HOST_FAILED)
		stored_end(&stored);
	if (a.vm->outcome != VM_HOST_FAILED && !a.writer->error)
		world_run(&a); /* it has ended: only END is written */
	if (a.writer->error != ERR_IO)
		return true;
	world_free(&a); /* more than the medium holds */
	medium_free(m);
	return false;
}

struct place {
	u64 offset, chain;          /* of the full one it builds on */
	struct stored_point p;
	u64 read_on;                /* behind it */
	u64 pages;                  /* it holds */
};

/* What a host command finds in the file: all that are whole. */
static unsigned find(struct world_medium *m, struct place *list)
{
	static struct rec_reader r;
	const struct rec_medium ops = medium_ops(m);
	struct stored_point p = { 0 };
	struct place full = { 0 };
	unsigned n = 0;
	u64 pages = 0;

	cr_assert(!rec_reader_open(&r, &ops));
	while (!rec_next_chunk(&r)) {
		unsigned part = stored_parse(&r.chunk, &p);

		if (part == STORED_BEGIN && p.full)
			full = (struct place){ .offset = r.chunk.offset, .chain = r.chunk_chain };
		pages = part == STORED_BEGIN ? 0 : pages + (part == STORED_PAGES ? r.chunk.size / PAGE_SIZE : 0);
		if (part == STORED_STATE && n < POINTS_MAX) {
			list[n] = full;
			list[n].read_on = r.end;
			list[n].pages = pages;
			list[n++].p = p;
		}
	}
	return n;
}

/* ---- into a VM, as a replay does ---- */

static struct stored_point begun;

static err_t take_begin(void *ctx, const struct stored_point *p)
{
	(void)ctx;
	begun = *p;
	return OK;
}

static err_t take_page(void *ctx, u64 number, const u8 *data)
{
	struct world *w = ctx;
	struct guest_memory *m = stored_memory(w->vm, number);

	return m ? guestmem_write(m, GPA(stored_frame(number) << PAGE_SHIFT), data, PAGE_SIZE) : ERR_DAMAGED;
}

static u64 wanted;

static err_t take_state(void *ctx, const u8 *data, u32 size)
{
	struct world *w = ctx;
	return begun.at.count == wanted ? checkpoint_load_state(w->vm, data, size) : OK;
}

static err_t resume(struct world *w, const struct place *at)
{
	static const u8 zeros[PAGE_SIZE];
	const struct stored_sink sink = { take_begin, take_page, take_state, w };
	struct rec_place seek = { .offset = at->offset, .chain = at->chain };
	struct replay_place place = { 0 };
	err_t err;

	for (unsigned i = 0; i < vm_nmemories(w->vm); i++)
		for (u64 g = 0; g < vm_memory(w->vm, i)->size_bytes; g += PAGE_SIZE)
			if (guestmem_peek(vm_memory(w->vm, i), GPA(g)))
				cr_assert(!guestmem_write(vm_memory(w->vm, i), GPA(g), zeros, PAGE_SIZE));
	wanted = at->p.at.count;
	cr_assert(!rec_seek(w->reader, &seek));
	err = stored_load(w->reader, at->p.at.count, false, &sink);
	if (err)
		return err;
	rec_tell(w->reader, &place.at.place);
	place.epochs = at->p.epochs;
	return replay_seek(&w->replay, w->vm, &place);
}

/* ---- what they are for ---- */

Test(stored, a_run_that_leaves_checkpoints_is_the_run_without)
{
	for (u64 seed = world_first_seed(), n = world_runs(100); n; n--, seed++) {
		struct world_medium m, plain = medium_new(1 << 20);
		const char *why;

		if (!record(seed, &m))
			continue;
		world_record(&b, &plan, &plain);
		world_run(&b);
		why = world_difference(&a, &b);
		cr_assert_null(why, "with checkpoints and without: %s", why);
		world_replay(&c, &plan, &m);
		world_run(&c);
		why = world_difference(&a, &c);
		cr_assert_null(why, "replayed: %s", why);
		world_free(&a);
		world_free(&b);
		world_free(&c);
		medium_free(&m);
		medium_free(&plain);
	}
}

Test(stored, from_each_of_them_the_run_goes_on_as_it_did)
{
	static struct place list[POINTS_MAX];
	unsigned resumed = 0, partial = 0, ends = 0, again = 0;

	for (u64 seed = world_first_seed(), n = world_runs(150); n; n--, seed++) {
		struct world_medium m;
		unsigned points;

		if (!record(seed, &m))
			continue;
		points = find(&m, list);
		cr_assert_geq(points, 1, "seed %lu: not even one of the end", seed);
		for (u64 i = 0, since = 0; i < points; i++) {
			const struct stored_point *p = &list[i].p;

			cr_assert(i || p->full, "seed %lu: the first is not full", seed);
			cr_assert(!i || !p->full || since > list[i].pages, "seed %lu: checkpoint %lu is full, %lu pages of them behind only %lu",
				  seed, i, list[i].pages, since);
			again += i && p->full;
			since = p->full ? 0 : since + list[i].pages;
			cr_assert(p->end || p->at.count % plan.config.epoch_insns, "seed %lu: at the end of an epoch", seed);
			if (p->end) {
				cr_assert(i == points - 1 && p->digest == a.digest && !execpoint_cmp(&p->at, &a.vm->now), "seed %lu: the end", seed);
				ends++;
				continue;
			}
			world_replay(&b, &plan, &m);
			cr_assert_eq(resume(&b, &list[i]), OK, "seed %lu: checkpoint %lu of %u", seed, i, points);
			cr_assert_eq(vm_digest(b.vm), p->digest, "seed %lu: checkpoint %lu at %lu has another digest", seed, i, p->at.count);
			cr_assert(!execpoint_cmp(&b.vm->now, &p->at), "seed %lu: checkpoint %lu stands elsewhere", seed, i);
			world_run(&b);
			cr_assert(b.vm->outcome == a.vm->outcome && b.digest == a.digest && !execpoint_cmp(&b.vm->now, &a.vm->now),
				  "seed %lu: from checkpoint %lu at %lu: outcome %d, not %d, at %lu, not %lu: %s", seed, i, p->at.count,
				  b.vm->outcome, a.vm->outcome, b.vm->now.count, a.vm->now.count,
				  b.replay.diverged.found ? b.replay.diverged.what : "");
			cr_assert(b.host.output_size <= a.host.output_size && (!b.host.output_size ||
				  !memcmp(b.host.output, a.host.output + a.host.output_size - b.host.output_size, b.host.output_size)),
				  "seed %lu: from checkpoint %lu: another console", seed, i);
			cr_assert_eq(b.replay.epochs, a.vm->stats.epochs, "seed %lu: from checkpoint %lu: other numbers of epochs", seed, i);
			resumed++;
			partial += !p->full;
			world_free(&b);
		}
		world_free(&a);
		medium_free(&m);
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || (resumed > 100 && partial > 50 && ends > 50 && again), "%u resumed, %u of them partial, %u ends, %u full again",
		  resumed, partial, ends, again);
}

/* A page that is another one, checksums and all: the digest says so. */
Test(stored, altered_pages_are_seen_by_the_digest)
{
	static struct place list[POINTS_MAX];
	static struct rec_writer w;
	static struct rec_reader r;
	static u8 part[REC_PART_MAX];
	unsigned seen = 0;

	for (u64 seed = world_first_seed(), n = world_runs(40); n; n--, seed++) {
		struct world_medium m, copy;
		struct rng rng = rng_of(seed);
		struct rec_medium from, to;
		unsigned points, altered = 0;

		if (!record(seed, &m))
			continue;
		copy = medium_new(MEDIUM_SIZE);
		from = medium_ops(&m);
		to = medium_ops(&copy);
		cr_assert(!rec_reader_open(&r, &from) && !rec_create(&w, &to, 9, (const char *)r.chunk.payload, r.chunk.size));
		while (!rec_next_chunk(&r)) {
			u32 pages = 0;

			memcpy(part, r.chunk.payload, r.chunk.size);
			if (r.chunk.type == REC_CHECKPOINT && part[0] == STORED_PAGES)
				pages = (r.chunk.size - 1) / (PAGE_SIZE + 2);
			if (pages) {
				part[r.chunk.size - 1 - rng_below(&rng, PAGE_SIZE)] ^= (u8)(1 + rng_below(&rng, 255));
				altered++;
			}
			cr_assert(!rec_put_chunk(&w, r.chunk.type | (r.chunk.skippable ? REC_SKIPPABLE : 0), part, r.chunk.size));
		}
		points = find(&copy, list);
		if (points > 1 && altered) {
			world_replay(&b, &plan, &copy);
			cr_assert_eq(resume(&b, &list[0]), OK);
			cr_assert_neq(vm_digest(b.vm), list[0].p.digest, "seed %lu: nobody noticed", seed);
			seen++;
			world_free(&b);
		}
		world_free(&a);
		medium_free(&m);
		medium_free(&copy);
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || seen > 5, "%u", seen);
}

/* ---- as checkpoints of a timeline, out of whatever the chunks hold ---- */

#define POOL_BYTES (6UL << 20)

static struct checkpoints *line_of(struct world *w, void **pool, u64 pool_bytes)
{
	struct checkpoints *cs = malloc(sizeof(*cs));

	*pool = aligned_alloc(PAGE_SIZE, pool_bytes);
	cr_assert(cs && *pool && !checkpoints_init(cs, w->vm, &w->replay, *pool, pool_bytes));
	cr_assert(checkpoint_take(cs));
	return cs;
}

Test(stored, kept_on_a_timeline_each_can_be_gone_back_to)
{
	static struct place list[POINTS_MAX];
	unsigned visited = 0;

	for (u64 seed = world_first_seed(), n = world_runs(60); n; n--, seed++) {
		struct world_medium m;
		static struct stored_keeper keeper;
		struct stored_sink sink;
		struct checkpoints *cs;
		unsigned points, last;
		void *pool;
		u32 free_frames;

		if (!record(seed, &m))
			continue;
		points = find(&m, list);
		last = points - 1;
		world_replay(&b, &plan, &m);
		cs = line_of(&b, &pool, 64UL << 20);
		sink = stored_keep(&keeper, cs, b.reader);
		cr_assert(!rec_seek(b.reader, &(struct rec_place){ .offset = list[last].offset, .chain = list[last].chain }));
		cr_assert_eq(stored_load(b.reader, list[last].p.at.count, list[last].p.end, &sink), OK, "seed %lu", seed);
		stored_forget(&keeper);
		cr_assert_eq(cs->has_end, list[last].p.end);
		free_frames = cs->pool.nfree;
		for (unsigned i = cs->n; i--;) {
			const struct checkpoint *k = cs->sorted[i];

			cr_assert(!checkpoint_restore(cs, k));
			cr_assert(vm_digest(b.vm) == k->digest && !execpoint_cmp(&b.vm->now, &k->at), "seed %lu: checkpoint at %lu", seed, k->at.count);
			visited++;
		}
		if (cs->has_end) {
			cr_assert(!checkpoint_restore(cs, &cs->end));
			cr_assert_eq(vm_digest(b.vm), a.digest, "seed %lu: the end", seed);
		}
		cr_assert(!checkpoint_restore(cs, cs->sorted[cs->n - 1]));
		world_run(&b);
		cr_assert(b.vm->outcome == a.vm->outcome && b.digest == a.digest, "seed %lu: on from the last: %s", seed,
			  b.replay.diverged.found ? b.replay.diverged.what : "");
		cr_assert_geq(cs->pool.nfree + 4096, free_frames);
		free(cs);
		free(pool);
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || visited > 60, "%u", visited);
}

/* Contents in an allocation of their own size, so that the sanitizer sees what is read behind them. */
static void mutate(struct rng *r, u8 *p, u32 *size)
{
	for (u64 k = 1 + rng_below(r, 4); k && *size; k--) {
		u32 at = (u32)rng_below(r, rng_chance(r, 60) ? MIN(*size, 24U) : *size);

		switch (rng_below(r, 5)) {
		case 0: p[at] ^= (u8)(1 << rng_below(r, 8)); break;
		case 1: p[at] = (u8)rng_next(r); break;
		case 2: p[at] = 0xff; break;
		case 3: *size = at; break;
		default: memset(p + at, 0xff, MIN(*size - at, 11U)); break;
		}
	}
}

static unsigned parsed[4];

/* Sums up all that it is shown: each byte must be there. */
static u64 sum;

static err_t look_begin(void *ctx, const struct stored_point *p)
{
	(void)ctx;
	sum += p->at.count + p->digest;
	return OK;
}

static err_t look_page(void *ctx, u64 frame, const u8 *data)
{
	(void)ctx;
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		sum += data[i];
	sum += frame;
	return OK;
}

static err_t look_state(void *ctx, const u8 *data, u32 size)
{
	(void)ctx;
	for (u32 i = 0; i < size; i++)
		sum += data[i];
	return OK;
}

Test(stored, any_bytes_as_a_part_are_read_within_them)
{
	struct rng r = rng_of(1);

	for (unsigned i = 0; i < 200000; i++) {
		u32 size = (u32)rng_below(&r, 80);
		u8 *bytes = malloc(size ? size : 1);
		struct rec_chunk chunk = { .type = REC_CHECKPOINT, .payload = bytes, .size = size };
		struct stored_point p = { 0 };
		unsigned part;

		for (u32 k = 0; k < size; k++)
			bytes[k] = rng_chance(&r, 30) ? (u8)(rng_below(&r, 5)) : rng_chance(&r, 50) ? 0x80 : (u8)rng_next(&r);
		part = stored_parse(&chunk, &p);
		cr_assert_leq(part, STORED_STATE);
		parsed[part]++;
		chunk.type = REC_EVENTS;
		cr_assert_eq(stored_parse(&chunk, &p), 0, "no checkpoint's chunk");
		free(bytes);
	}
	cr_assert(parsed[0] && parsed[STORED_BEGIN] && parsed[STORED_PAGES] && parsed[STORED_STATE]);
}

/* Right checksums do not make a row of it. */
Test(stored, rows_that_make_no_sense_are_damage)
{
	static const u8 begin[] = { STORED_BEGIN, STORED_FULL, 5, 5, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	static const u8 partial[] = { STORED_BEGIN, 0, 5, 5, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	static u8 pages[1 + 1 + PAGE_SIZE + 1 + PAGE_SIZE] = { STORED_PAGES, 3 };
	static const u8 state[] = { STORED_STATE, 1, 2, 3 };
	const struct {
		const u8 *part[4];
		u32 size[4];
		err_t want;
	} cases[] = {
		{ { begin, pages, state }, { sizeof(begin), sizeof(pages), sizeof(state) }, OK },
		{ { begin, state }, { sizeof(begin), sizeof(state) }, OK },                           /* all zero */
		{ { begin, pages, begin, state }, { sizeof(begin), sizeof(pages), sizeof(begin), sizeof(state) }, OK }, /* the first was cut */
		{ { begin, pages, state }, { sizeof(begin), sizeof(pages) - 1, sizeof(state) }, ERR_DAMAGED },
		{ { begin, pages, state }, { sizeof(begin), 1 + 1 + PAGE_SIZE + 1, sizeof(state) }, ERR_DAMAGED },
		{ { begin, pages, state }, { sizeof(begin), 2, sizeof(state) }, ERR_DAMAGED },
		{ { partial, pages, state }, { sizeof(partial), sizeof(pages), sizeof(state) }, ERR_DAMAGED },
		{ { pages, state }, { sizeof(pages), sizeof(state) }, ERR_DAMAGED },
		{ { state }, { sizeof(state) }, ERR_DAMAGED },
		{ { begin, pages, state }, { sizeof(begin) - 1, sizeof(pages), sizeof(state) }, ERR_DAMAGED }, /* no beginning at all */
		{ { begin, pages }, { sizeof(begin), sizeof(pages) }, ERR_END },
	};
	static struct rec_writer w;
	static struct rec_reader r;
	const struct stored_sink look = { look_begin, look_page, look_state, NULL };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world_medium m = medium_new(1 << 20);
		const struct rec_medium ops = medium_ops(&m);

		cr_assert(!rec_create(&w, &ops, 1, "machine=1\n", 10));
		for (unsigned k = 0; k < 4 && cases[i].part[k]; k++)
			cr_assert(!rec_put_chunk(&w, REC_CHECKPOINT | REC_SKIPPABLE, cases[i].part[k], cases[i].size[k]));
		cr_assert(!rec_reader_open(&r, &ops));
		cr_assert_eq(stored_load(&r, 5, false, &look), cases[i].want, "case %u", i);
		medium_free(&m);
	}
}

/* Whole rows, mended: an error or checkpoints, which are not the recorded ones then; never more. */
Test(stored, rows_that_were_altered_load_or_do_not)
{
	static struct place list[POINTS_MAX];
	static struct rec_writer w;
	static struct rec_reader r;
	unsigned loaded = 0, refused = 0;

	for (u64 seed = world_first_seed(), n = world_runs(120); n; n--, seed++) {
		struct rng rng = rng_of(seed);
		struct world_medium m, copy;
		struct rec_medium from, to;
		static struct stored_keeper keeper;
		struct stored_sink look = { look_begin, look_page, look_state, NULL }, sink;
		struct checkpoints *cs;
		struct rec_place at;
		unsigned last;
		void *pool;
		err_t e;

		if (!record(seed, &m))
			continue;
		last = find(&m, list) - 1;
		copy = medium_new(MEDIUM_SIZE);
		from = medium_ops(&m);
		to = medium_ops(&copy);
		cr_assert(!rec_reader_open(&r, &from) && !rec_create(&w, &to, 9, (const char *)r.chunk.payload, r.chunk.size));
		at = (struct rec_place){ .offset = w.end, .chain = w.chain };
		while (!rec_next_chunk(&r)) {
			u8 *part = malloc(r.chunk.size + 1);
			u32 size = r.chunk.size;

			memcpy(part, r.chunk.payload, size);
			if (r.chunk.type == REC_CHECKPOINT && rng_chance(&rng, 30))
				mutate(&rng, part, &size);
			cr_assert(!rec_put_chunk(&w, r.chunk.type | (r.chunk.skippable ? REC_SKIPPABLE : 0), part, size));
			free(part);
		}
		copy.size = w.end; /* nothing behind it */
		copy.data = realloc(copy.data, copy.size);
		to = medium_ops(&copy);
		cr_assert(!rec_reader_open_at(&r, &to, at.offset, at.chain));
		e = stored_load(&r, list[last].p.at.count, list[last].p.end, &look);
		cr_assert(e == OK || e == ERR_DAMAGED || e == ERR_END, "seed %lu: %d", seed, e);

		world_replay(&b, &plan, &copy);
		cs = line_of(&b, &pool, rng_chance(&rng, 50) ? POOL_BYTES : 2UL << 20);
		cr_assert(!rec_seek(b.reader, &at));
		sink = stored_keep(&keeper, cs, b.reader);
		e = stored_load(b.reader, list[last].p.at.count, list[last].p.end, &sink);
		loaded += !e;
		refused += !!e;
		for (unsigned i = 0; i < cs->n; i++)
			if (!checkpoint_restore_machine(cs, cs->sorted[i]))
				sum += vm_digest(b.vm);
		free(cs);
		free(pool);
		world_free(&a);
		world_free(&b);
		medium_free(&m);
		medium_free(&copy);
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || (loaded > 5 && refused > 5), "%u loaded, %u refused", loaded, refused);
}

/* A pool too small for all of them: those that fit, the others dropped, and no frame lost. */
Test(stored, a_small_pool_keeps_what_it_can)
{
	static struct place list[POINTS_MAX];
	unsigned kept = 0;

	for (u64 seed = world_first_seed(), n = world_runs(60); n; n--, seed++) {
		struct world_medium m;
		static struct stored_keeper keeper;
		struct stored_sink sink;
		struct checkpoints *cs;
		unsigned last;
		void *pool;
		u32 before;

		if (!record(seed, &m))
			continue;
		last = find(&m, list) - 1;
		world_replay(&b, &plan, &m);
		cs = line_of(&b, &pool, 1UL << 20);
		before = cs->pool.nfree;
		sink = stored_keep(&keeper, cs, b.reader);
		cr_assert(!rec_seek(b.reader, &(struct rec_place){ .offset = list[last].offset, .chain = list[last].chain }));
		if (!stored_load(b.reader, list[last].p.at.count, list[last].p.end, &sink)) {
			const struct checkpoint *k = list[last].p.end ? &cs->end : checkpoint_before(cs, list[last].p.at.count);

			cr_assert(!checkpoint_restore(cs, k));
			cr_assert_eq(vm_digest(b.vm), list[last].p.digest, "seed %lu", seed);
			kept++;
			stored_forget(&keeper);
			cr_assert(!checkpoint_restore(cs, cs->sorted[0]));
			while (checkpoints_drop_one(cs))
				;
			if (!cs->has_end) {
				cr_assert_eq(cs->pool.nfree, before, "seed %lu: %u frames of %u came back", seed, cs->pool.nfree, before);
			}
		}
		free(cs);
		free(pool);
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || kept > 5, "%u", kept);
}
