/*
 * test_lineage.c - a run in several recordings reads as the same row of events
 * as the run in one, from wherever one looks; and rows of checkpoints between
 * the events change nothing but the bytes that are passed over.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "replay/lineage.h"
#include "tests/unit/fakeworld.h"

#define ROW_MAX 400
#define MEDIUM_SIZE (4UL << 20)

/* An event as the tests make it up: kind, point, and what tells it from others. */
struct item {
	enum rec_event_kind kind;
	struct execpoint at;
	u64 tag;
};

struct row {
	struct item item[ROW_MAX];
	unsigned n;
};

static struct rng rng;
static struct rec_writer w;
static struct rec_reader readers[LINEAGE_MAX];
static struct world_medium media[LINEAGE_MAX];

static void put(const struct item *i)
{
	const struct input in = { INPUT_CONSOLE, 0, (const u8 *)&i->tag, 1 + i->tag % 8 };
	char name[20];

	snprintf(name, sizeof(name), "%lu", i->tag);
	cr_assert(!(i->kind == REC_INPUT ? rec_put_input(&w, 0, &i->at, &in) :
		    i->kind == REC_DIGEST ? rec_put_digest(&w, 0, &i->at, i->tag) : rec_put_mark(&w, 0, &i->at, name)));
}

static bool is(const struct rec_event *ev, const struct item *i)
{
	char name[20];

	if (ev->kind != i->kind || execpoint_cmp(&ev->at, &i->at))
		return false;
	snprintf(name, sizeof(name), "%lu", i->tag);
	return i->kind == REC_INPUT ? ev->input.size == 1 + i->tag % 8 && !memcmp(ev->input.data, &i->tag, ev->input.size) :
	       i->kind == REC_DIGEST ? ev->digest == i->tag : ev->name_size == strlen(name) && !memcmp(ev->name, name, ev->name_size);
}

/* Events from a point on, as a machine makes them: inputs count in the sequence of those behind them. */
static void go_on(struct row *r, struct execpoint at, unsigned n)
{
	while (n-- && r->n < ROW_MAX) {
		struct item *i = &r->item[r->n++];
		u64 far = rng_chance(&rng, 40) ? 0 : rng_below(&rng, 5000000);

		at.count += far;
		at.vtime_ns += far + (rng_chance(&rng, 30) ? rng_below(&rng, 100000) : 0);
		*i = (struct item){ (enum rec_event_kind)(1 + rng_below(&rng, 3)), at, rng_next(&rng) };
		if (i->kind == REC_INPUT)
			at.sequence++;
	}
}

static void begin(struct world_medium *m, u64 nonce)
{
	const struct rec_medium ops = medium_ops(m);
	cr_assert(!rec_create(&w, &ops, nonce, "machine=1\n", 10));
}

static void write_items(const struct row *r, unsigned from)
{
	for (unsigned i = from; i < r->n; i++) {
		put(&r->item[i]);
		if (rng_chance(&rng, 20))
			cr_assert(!rec_commit(&w, false));
	}
}

static void finish(const struct row *r)
{
	const struct rec_end end = { .outcome = VM_POWERED_OFF, .insns = r->n ? r->item[r->n - 1].at.count : 0 };
	cr_assert(!rec_put_end(&w, &end, 1));
}

static void open_stage(struct lineage *l, unsigned i)
{
	const struct rec_medium m = medium_ops(&media[i]);

	cr_assert(!rec_reader_open(&readers[i], &m));
	cr_assert(lineage_add(l, &readers[i], i * 10, i));
}

/* Some point of a row, at an event or between two. */
static struct execpoint some_point(const struct row *r)
{
	struct execpoint at = r->item[rng_below(&rng, r->n)].at;

	if (rng_chance(&rng, 40)) {
		at.count += rng_below(&rng, 1000);
		at.vtime_ns += rng_below(&rng, 2000) + 1000;
	}
	/* The machine's own sequence there: as many as were delivered before. */
	at.sequence = 0;
	for (unsigned i = 0; i < r->n && (r->item[i].at.count < at.count || (r->item[i].at.count == at.count && r->item[i].at.vtime_ns <= at.vtime_ns)); i++)
		if (r->item[i].kind == REC_INPUT && (r->item[i].at.count != at.count || r->item[i].at.vtime_ns != at.vtime_ns || rng_chance(&rng, 50)))
			at.sequence = r->item[i].at.sequence + 1;
		else if (r->item[i].kind == REC_INPUT)
			break;
	return at;
}

/* What stays of a row for one that leaves it there. */
static unsigned before_fork(const struct row *r, const struct execpoint *at)
{
	unsigned n = 0;

	while (n < r->n) {
		int c = execpoint_cmp(&r->item[n].at, at);

		if (c > 0 || (c == 0 && r->item[n].kind == REC_INPUT))
			break;
		n++;
	}
	return n;
}

static void all_of(struct lineage *l, const struct row *r, unsigned from, const char *what, u64 seed)
{
	struct rec_event ev;

	for (unsigned i = from; i < r->n; i++) {
		cr_assert_eq(lineage_next_event(l, &ev), OK, "%s, seed %lu: event %u of %u is missing", what, seed, i, r->n);
		cr_assert(is(&ev, &r->item[i]), "%s, seed %lu: event %u of %u is another: kind %u at %lu", what, seed, i, r->n,
			  ev.kind, ev.at.count);
	}
	cr_assert_eq(lineage_next_event(l, &ev), ERR_END, "%s, seed %lu: there are more", what, seed);
	cr_assert_eq(lineage_last(l)->stop, REC_STOP_COMPLETE);
	cr_assert_eq(lineage_last(l)->nends, 1);
}

/*
 * Generations, each out of any point of the run before it: also one its parent
 * had come to before it was its own.
 */
Test(lineage, a_run_in_several_recordings_is_one_row_of_events)
{
	static struct row run;

	for (u64 seed = world_first_seed(), runs = world_runs(400); runs; runs--, seed++) {
		struct lineage l = { 0 };
		struct lineage_place place[ROW_MAX + 1];
		struct rec_event ev;
		unsigned n;

		rng = rng_of(seed);
		n = 1 + (unsigned)rng_below(&rng, LINEAGE_MAX);
		run.n = 0;
		for (unsigned i = 0; i < n; i++) {
			struct execpoint at = { 0, 0, 0 };
			unsigned kept = 0;

			if (i) {
				at = some_point(&run);
				kept = before_fork(&run, &at);
				lineage_fork_at(&l, &at);
			}
			run.n = kept;
			go_on(&run, at, 1 + (unsigned)rng_below(&rng, 40));
			media[i] = medium_new(MEDIUM_SIZE);
			begin(&media[i], seed * 100 + i);
			write_items(&run, kept);
			finish(&run);
			open_stage(&l, i);
		}
		for (unsigned i = 0; i < run.n; i++) {
			lineage_tell(&l, &place[i]);
			cr_assert(!lineage_next_event(&l, &ev) && is(&ev, &run.item[i]), "seed %lu: event %u of %u", seed, i, run.n);
		}
		lineage_tell(&l, &place[run.n]);
		all_of(&l, &run, run.n, "at the end", seed);
		for (unsigned k = 0; k < 20; k++) {
			unsigned from = (unsigned)rng_below(&rng, run.n + 1);

			cr_assert(!lineage_seek(&l, &place[from]));
			if (k % 4 == 0)
				all_of(&l, &run, from, "from a place on", seed);
			else if (from < run.n)
				cr_assert(!lineage_next_event(&l, &ev) && is(&ev, &run.item[from]), "seed %lu: after a seek to %u", seed, from);
		}
		for (unsigned i = 0; i < n; i++)
			medium_free(&media[i]);
	}
}

/* Timers: each part's lateness where it holds, the next part's from its point on. */
Test(lineage, a_vm_has_the_clock_of_the_part_it_stands_in)
{
	static struct vm vm;
	const struct execpoint forks[] = { { 100, 150, 2 }, { 100, 150, 3 }, { 500, 900, 3 } };
	const struct { struct execpoint at; u64 jitter_ns, next; } cases[] = {
		{ { 0, 0, 0 }, 0, 100 }, { { 100, 149, 0 }, 0, 100 }, { { 100, 150, 1 }, 0, 100 }, { { 100, 150, 2 }, 10, 100 },
		{ { 100, 150, 3 }, 20, 500 }, { { 499, 899, 3 }, 20, 500 }, { { 500, 900, 3 }, 30, NO_STOP }, { { 501, 901, 9 }, 30, NO_STOP },
	};
	struct lineage l = { 0 };

	for (unsigned i = 0; i < 4; i++) {
		struct row none = { .n = 0 };

		media[i] = medium_new(4096);
		begin(&media[i], i);
		finish(&none);
		open_stage(&l, i);
		if (i < 3)
			lineage_fork_at(&l, &forks[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		vm.now = cases[i].at;
		lineage_apply(&l, &vm);
		cr_assert_eq(vm.clock.jitter_ns, cases[i].jitter_ns, "case %u: %lu", i, vm.clock.jitter_ns);
		cr_assert_eq(vm.clock.jitter_seed, cases[i].jitter_ns / 10, "case %u", i);
		cr_assert_eq(lineage_next_fork(&l, &vm), cases[i].next, "case %u", i);
	}
	/* Out of a point before all of them: only the first is left, and the new one. */
	lineage_fork_at(&l, &(struct execpoint){ 50, 60, 0 });
	media[4] = medium_new(4096);
	begin(&media[4], 4);
	finish(&(struct row){ .n = 0 });
	open_stage(&l, 4);
	vm.now = (struct execpoint){ 49, 59, 0 };
	lineage_apply(&l, &vm);
	cr_assert_eq(vm.clock.jitter_ns, 0);
	cr_assert_eq(lineage_next_fork(&l, &vm), 50);
	vm.now = (struct execpoint){ 50, 60, 0 };
	lineage_apply(&l, &vm);
	cr_assert_eq(vm.clock.jitter_ns, 40);
	cr_assert_eq(lineage_next_fork(&l, &vm), NO_STOP);
}

Test(lineage, has_room_for_so_many_and_no_more)
{
	struct lineage l = { 0 };

	media[0] = medium_new(4096);
	begin(&media[0], 1);
	for (unsigned i = 0; i < LINEAGE_MAX; i++)
		cr_assert(lineage_add(&l, &readers[0], 0, 0));
	cr_assert_not(lineage_add(&l, &readers[0], 0, 0));
	cr_assert_eq(l.n, LINEAGE_MAX);
}

/* A parent that is cut before the fork gives an error or the child's events, never others. */
Test(lineage, damage_in_a_parent_is_an_error)
{
	static struct row run;
	struct lineage l = { 0 };
	struct rec_event ev;
	u64 end = 0;
	err_t e;

	rng = rng_of(5);
	run.n = 0;
	go_on(&run, (struct execpoint){ 0, 0, 0 }, 60);
	media[0] = medium_new(MEDIUM_SIZE);
	begin(&media[0], 1);
	for (unsigned i = 0; i < run.n; i++) {
		put(&run.item[i]);
		cr_assert(!rec_commit(&w, false));
		if (i == 30)
			end = w.end;
	}
	finish(&run);
	media[0].data[end + 3] ^= 4;
	open_stage(&l, 0);
	lineage_fork_at(&l, &run.item[50].at);
	media[1] = medium_new(MEDIUM_SIZE);
	begin(&media[1], 2);
	finish(&run);
	open_stage(&l, 1);
	for (unsigned i = 0; i <= 30; i++)
		cr_assert(!lineage_next_event(&l, &ev) && is(&ev, &run.item[i]));
	e = lineage_next_event(&l, &ev);
	cr_assert_eq(e, ERR_DAMAGED);
	cr_assert_eq(lineage_next_event(&l, &ev), ERR_DAMAGED, "it sticks");
}

/* ---- rows of checkpoints are passed over ---- */

static u64 reads;
static err_t (*plain_read)(void *ctx, u64 offset, void *buf, size_t n);

static err_t counting_read(void *ctx, u64 offset, void *buf, size_t n)
{
	reads++;
	return plain_read(ctx, offset, buf, n);
}

/* Between the events, rows of all lengths; more of them than the reader remembers. */
Test(lineage, events_around_checkpoints_are_the_same_after_every_seek)
{
	static struct row run;
	static u8 part[REC_PART_MAX];
	static struct rec_place place[ROW_MAX + 1];

	for (u64 seed = world_first_seed(), runs = world_runs(30); runs; runs--, seed++) {
		struct rec_medium m;
		struct rec_reader *r = &readers[0];
		struct rec_event ev;
		u64 first, again;

		rng = rng_of(seed);
		run.n = 0;
		go_on(&run, (struct execpoint){ 0, 0, 0 }, 20 + (unsigned)rng_below(&rng, 150));
		media[0] = medium_new(64UL << 20);
		begin(&media[0], seed);
		for (unsigned i = 0; i < run.n; i++) {
			put(&run.item[i]);
			for (u64 k = rng_chance(&rng, 20) ? 1 + rng_below(&rng, 8) : 0; k; k--) {
				memset(part, (int)k, sizeof(part));
				cr_assert(!rec_put_chunk(&w, REC_CHECKPOINT | REC_SKIPPABLE, part, 1 + rng_below(&rng, sizeof(part))));
			}
		}
		finish(&run);
		m = medium_ops(&media[0]);
		plain_read = m.read;
		m.read = counting_read;
		reads = 0;
		cr_assert(!rec_reader_open(r, &m));
		for (unsigned i = 0; i <= run.n; i++) {
			rec_tell(r, &place[i]);
			if (i < run.n)
				cr_assert(!rec_next_event(r, &ev) && is(&ev, &run.item[i]), "seed %lu: event %u", seed, i);
		}
		first = reads;
		for (unsigned k = 0; k < 60; k++) {
			unsigned from = (unsigned)rng_below(&rng, run.n + 1);
			u64 end;

			cr_assert(!rec_seek(r, &place[from]));
			for (unsigned i = from, far = (unsigned)rng_below(&rng, 60); i < run.n && far; i++, far--)
				cr_assert(!rec_next_event(r, &ev) && is(&ev, &run.item[i]), "seed %lu: from %u on, event %u", seed, from, i);
			end = r->end;
			if (k % 10)
				continue;
			while (!rec_next_event(r, &ev))
				;
			cr_assert(r->stop == REC_STOP_COMPLETE && r->end == w.end && r->end >= end && r->nends == 1, "seed %lu", seed);
		}
		/* From the beginning once more: what was verified is not read again, as far as the table goes. */
		cr_assert(!rec_seek(r, &place[0]));
		reads = 0;
		for (unsigned i = 0; i < run.n; i++)
			cr_assert(!rec_next_event(r, &ev) && is(&ev, &run.item[i]), "seed %lu: again, event %u", seed, i);
		again = reads;
		cr_assert_leq(again, first + 1, "seed %lu: %lu reads, then %lu", seed, first, again);
		medium_free(&media[0]);
	}
}

Test(lineage, rows_of_checkpoints_are_verified_once)
{
	static struct row run;
	static u8 part[REC_PART_MAX];
	struct rec_reader *r = &readers[0];
	struct rec_place start;
	struct rec_medium m;
	struct rec_event ev;
	u64 first;

	rng = rng_of(8);
	run.n = 0;
	go_on(&run, (struct execpoint){ 0, 0, 0 }, 40);
	for (unsigned i = 0; i < sizeof(part); i++)
		part[i] = (u8)rng_next(&rng);
	media[0] = medium_new(16UL << 20);
	begin(&media[0], 1);
	for (unsigned i = 0; i < run.n; i++) {
		put(&run.item[i]);
		for (unsigned k = 0; i % 5 == 2 && k < 10; k++)
			cr_assert(!rec_put_chunk(&w, REC_CHECKPOINT | REC_SKIPPABLE, part, sizeof(part)));
	}
	finish(&run);
	m = medium_ops(&media[0]);
	plain_read = m.read;
	m.read = counting_read;
	cr_assert(!rec_reader_open(r, &m));
	rec_tell(r, &start);
	reads = 0;
	for (unsigned i = 0; i < run.n; i++)
		cr_assert(!rec_next_event(r, &ev) && is(&ev, &run.item[i]));
	cr_assert_gt(reads, 40, "%lu", reads);
	for (unsigned again = 0; again < 3; again++) {
		first = reads;
		reads = 0;
		cr_assert(!rec_seek(r, &start));
		for (unsigned i = 0; i < run.n; i++)
			cr_assert(!rec_next_event(r, &ev) && is(&ev, &run.item[i]));
		cr_assert(reads <= 16 && reads <= first, "%lu reads for eight rows, %lu before", reads, first);
	}
	cr_assert_eq(r->nskips, 8);
	medium_free(&media[0]);
}
