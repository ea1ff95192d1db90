/*
 * test_timeline.c - journeys along recorded random programs (fakeworld.h),
 * against an oracle that only ever went forward.
 *
 * The oracle replays the recording once, looks at the machine at every count
 * and writes down each instruction and each load and store: the trail.  Where
 * a journey ends, the machine must be as the trail has it; where a condition is
 * met follows from the trail by the words of timeline.h.
 *
 *   1  the trail
 *   2  a timeline over the same recording
 *   3  going to points
 *   4  conditions
 *   5  hosts with quirks
 *   6  branches, interruptions and failures
 *   7  checkpoints
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

/* Too big for a stack; one test a process. */
static struct plan plan;
static struct world recorded, oracle, world;
static struct world_medium medium;
static struct timeline line;
static struct checkpoints store;
static struct rng rng;
static u64 seed;
static bool cut_it;    /* the recording loses its tail */

#define MEDIUM_SIZE (1 << 20)

/* --- 1  the trail ------------------------------------------------------------------ */

#define TRAIL_MAX 20000
#define REACHES_MAX 8          /* by one instruction: INT pushes and reads a gate */
#define TRAIL_EXECS (4 * TRAIL_MAX)
#define TRAIL_REACHES (4 * TRAIL_MAX)
#define DIGEST_EVERY 8

struct executed {
	u64 count, rip, regs;
};

struct reached {
	u64 count;             /* of the instruction that did it */
	u32 at;
	u8 n;
	bool write;
};

static struct trail {
	u64 end, end_digest;   /* the last count; the end is one more point, behind it */
	u64 regs[TRAIL_MAX + 2], rip[TRAIL_MAX + 1]; /* the end's are behind the last */
	u64 digest[TRAIL_MAX + 1]; /* every so many */
	bool halted[TRAIL_MAX + 1], seen[TRAIL_MAX + 1];
	struct executed exec[TRAIL_EXECS];
	unsigned nexec;
	struct reached reach[TRAIL_REACHES];
	unsigned nreach;
	/* of the instruction being executed: nothing of it counts before it is done */
	struct reached now[REACHES_MAX];
	unsigned nnow;
	u64 count;
} trail;

static u64 mix(u64 hash, u64 v)
{
	hash = (hash ^ v) * 0x9e3779b97f4a7c15UL;
	return hash ^ hash >> 29;
}

static u64 registers(const struct vcpu *v)
{
	u64 hash = mix(1, v->cpu.rip);

	hash = mix(hash, v->cpu.rflags);
	for (unsigned i = 0; i < 8; i++)
		hash = mix(hash, v->cpu.gpr[i]);
	return hash;
}

static void commit(u64 count)
{
	if (count > trail.count)
		for (unsigned i = 0; i < trail.nnow; i++) {
			cr_assert_lt(trail.nreach, TRAIL_REACHES);
			trail.reach[trail.nreach++] = trail.now[i];
		}
	trail.nnow = 0;
	trail.count = count;
}

static void note_instruction(struct vcpu *v, u64 count, int irq)
{
	struct executed e = { count, v->cpu.rip, registers(v) }, *last = &trail.exec[trail.nexec];

	if (irq >= 0)
		return;
	commit(count);
	if (trail.nexec && last[-1].count == count && last[-1].rip == e.rip)
		return; /* once more, after an exit */
	cr_assert_lt(trail.nexec, TRAIL_EXECS);
	trail.exec[trail.nexec++] = e;
}

static void note_reach(struct vcpu *v unused_arg, u32 at, unsigned n, bool write)
{
	cr_assert_lt(trail.nnow, REACHES_MAX);
	trail.now[trail.nnow++] = (struct reached){ trail.count, at, (u8)n, write };
}

static u64 look_at(struct vm *vm, void *ctx unused_arg)
{
	u64 count = vm->now.count;

	cr_assert_leq(count, TRAIL_MAX);
	trail.seen[count] = true;
	trail.regs[count] = registers(&vm->vcpu[0]);
	trail.rip[count] = vm->vcpu[0].cpu.rip;
	trail.halted[count] = vm->vcpu[0].cpu.halted;
	trail.digest[count] = count % DIGEST_EVERY ? 0 : vm_digest(vm);
	return count + 1;
}

/* Records the plan's run and follows it once. */
static void lay_trail(void)
{
	struct fake_vcpu *f;

	medium = medium_new(MEDIUM_SIZE);
	world_record(&recorded, &plan, &medium);
	world_run(&recorded);
	cr_assert_leq(recorded.vm->now.count, TRAIL_MAX);
	if (cut_it) {
		u64 from = 100 + rng_below(&rng, medium.high - 100); /* HEAD stays */

		memset(medium.data + from, 0, medium.high - from);
	}
	memset(&trail, 0, sizeof(trail));
	world_replay(&oracle, &plan, &medium);
	world_leave_as(&oracle, &recorded);
	f = fake_of(&oracle.vm->vcpu[0]);
	f->trace = note_instruction;
	f->reached = note_reach;
	vm_add_stop(oracle.vm, 0, look_at, NULL);
	vm_run(oracle.vm);
	trail.end = oracle.vm->now.count;
	trail.end_digest = vm_digest(oracle.vm);
	trail.regs[trail.end + trail.seen[trail.end]] = registers(&oracle.vm->vcpu[0]);
	commit(trail.end);
	cr_assert_null(oracle.replay.diverged.what, "seed %lu: %s", seed, oracle.replay.diverged.what);
}

static void forget_trail(void)
{
	world_free(&recorded);
	world_free(&oracle);
	medium_free(&medium);
}

/* --- 2  a timeline over the same recording -------------------------------------------- */

static u64 stop_after; /* times the journey asks whether to stop, before it is told to; ~0: never */
static u64 fail_after; /* poll points until the recording cannot be read; ~0: it always can */

static bool wants_stop(void *ctx unused_arg)
{
	if (stop_after == ~0UL)
		return false;
	return !stop_after || !--stop_after;
}

static void make_unreadable(bool yes)
{
	medium.unreadable = yes;
	world.reader->window_fill = 0; /* what it holds ready is gone, too */
}

static void progress(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
	if (fail_after != ~0UL && !fail_after--)
		make_unreadable(true);
}

static void open_line(u64 pool_bytes, u64 spacing)
{
	static const struct timeline_host host = { .wants_stop = wants_stop, .progress = progress };

	stop_after = fail_after = ~0UL;
	cr_assert_eq(world_timeline(&world, &plan, &medium, &line, &store, &host, pool_bytes), OK, "seed %lu", seed);
	world_leave_as(&world, &recorded);
	line.spacing = spacing;
}

static u64 here(void)
{
	return world.vm->now.count;
}

/* The machine stands on the recorded line: as the trail has it for this count. */
static void on_line(const char *what)
{
	u64 count = here(), digest;

	cr_assert_str_empty(timeline_trouble(&line), "seed %lu: %s: %s", seed, what, timeline_trouble(&line));
	cr_assert_leq(count, trail.end, "seed %lu: %s", seed, what);
	if (line.delivered) { /* at a handler's first instruction: one step back is the stop at this count */
		u64 patience = stop_after;
		enum travel_end end;

		stop_after = ~0UL;
		end = timeline_step(&line, false).end;
		stop_after = patience;
		if (end == TRAVEL_FAILED) /* the medium, just now */
			return;
		cr_assert_eq(end, TRAVEL_ARRIVED, "seed %lu: %s: back before a delivery: %u", seed, what, (unsigned)end);
		cr_assert_eq(here(), count, "seed %lu: %s: back before a delivery is %lu, not %lu", seed, what, here(), count);
	}
	digest = vm_digest(world.vm);
	if (timeline_at_end(&line)) {
		cr_assert_eq(count, trail.end, "seed %lu: %s: the end at %lu, not %lu", seed, what, count, trail.end);
		cr_assert_eq(world.vm->outcome, oracle.vm->outcome, "seed %lu: %s", seed, what);
		cr_assert_eq(digest, trail.end_digest, "seed %lu: %s: another end", seed, what);
		return;
	}
	cr_assert_eq(registers(&world.vm->vcpu[0]), trail.regs[count], "seed %lu: %s: other registers at %lu (rip %lx, not %lx)",
		     seed, what, count, world.vm->vcpu[0].cpu.rip, trail.rip[count]);
	cr_assert(count % DIGEST_EVERY || digest == trail.digest[count], "seed %lu: %s: another digest at %lu", seed, what,
		  count);
}

/* Nothing of the pool is lost. */
static void close_line(void)
{
	for (unsigned i = 0; i < store.n; i++) {
		images_drop(&store, store.sorted[i]->memory);
		for (unsigned j = 0; j < ARRAY_SIZE(store.sorted[i]->state); j++)
			page_pool_drop(&store.pool, store.sorted[i]->state[j]);
	}
	if (store.has_end) {
		images_drop(&store, store.end.memory);
		for (unsigned j = 0; j < ARRAY_SIZE(store.end.state); j++)
			page_pool_drop(&store.pool, store.end.state[j]);
	}
	for (unsigned i = 0; i < vm_nmemories(world.vm); i++)
		image_drop(&store.keeper[i], &store.keeper[i].last);
	cr_assert_eq(store.pool.nfree, store.pool.npages - 1, "seed %lu: the pool has lost frames", seed);
	world_free(&world);
}

static void short_plan(void)
{
	plan_random(&plan, seed);
	rng = rng_of(seed ^ 0x71e11e);
	plan.config.limit_insns = 200 + rng_below(&rng, 4000);
	if (rng_chance(&rng, 20))
		plan.quit_at_look = 1 + rng_below(&rng, 40);
	cut_it = rng_chance(&rng, 15);
}

/* The plan's run, and a timeline over it with a pool that is soon full. */
static void set_out_with(const struct plan *p)
{
	plan = *p;
	lay_trail();
	open_line(MIB(1) + rng_below(&rng, 2) * MIB(1), rng_chance(&rng, 30) ? 1 + rng_below(&rng, 20) : 100 + rng_below(&rng, 600));
}

static void come_home(void)
{
	close_line();
	forget_trail();
}

/* --- 3  going to points ----------------------------------------------------------------- */

static void arrived(struct travel r, u64 want, const char *what)
{
	on_line(what);
	if (r.end == TRAVEL_END) {
		cr_assert(timeline_at_end(&line) && want >= trail.end, "seed %lu: %s: the end on the way to %lu", seed, what, want);
		return;
	}
	cr_assert_eq(r.end, TRAVEL_ARRIVED, "seed %lu: %s to %lu: %d", seed, what, want, r.end);
	cr_assert_eq(here(), want, "seed %lu: %s to %lu, not %lu", seed, what, want, here());
}

static void random_journey(void)
{
	u64 to = rng_below(&rng, trail.end + 3), now = here();
	bool end = timeline_at_end(&line);
	struct travel r;

	switch (rng_below(&rng, 8)) {
	case 0:
		arrived(timeline_goto_end(&line), trail.end, "to the end");
		cr_assert(timeline_at_end(&line));
		return;
	case 1:
		arrived(timeline_goto(&line, 0), 0, "to the beginning");
		cr_assert_eq(timeline_step(&line, false).end, TRAVEL_BEGIN);
		on_line("before the beginning");
		return;
	case 2:
	case 3:
		if (end)
			cr_assert_eq(timeline_step(&line, true).end, TRAVEL_END);
		else
			arrived(timeline_step(&line, true), now + 1, "a step");
		return;
	case 4:
	case 5:
		r = timeline_step(&line, false);
		if (now)
			arrived(r, now - 1, "a step back");
		return;
	case 6:
		if (!end && now)
			cr_assert(timeline_keep(&line) == OK || store.pool.nfree < 64, "seed %lu: nothing is kept", seed);
		on_line("a kept point");
		return;
	default:
		arrived(timeline_goto(&line, to), to, "a journey");
	}
}

Test(timeline, every_point_is_that_of_a_run_that_only_went_forward)
{
	u64 dropped = 0, n = world_runs(80);

	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		set_out_with(&plan);
		on_line("the beginning");
		for (unsigned i = 0; i < 60; i++)
			random_journey();
		dropped += store.dropped;
		come_home();
	}
	cr_assert(dropped || getenv("REPRISE_SIM_SEED"), "no pool was ever full");
}

static unsigned ninputs;

static void input_line(void *ctx unused_arg, const char *text)
{
	cr_assert(strstr(text, "console, ") && strlen(text) < 280, "%s", text);
	ninputs++;
}

/* Most bytes take four characters each. */
Test(timeline, inputs_are_shown_whatever_they_hold)
{
	for (seed = 1; seed < 20; seed++) {
		short_plan();
		plan.supply = 5000;
		plan.arrival_percent = 60;
		plan.burst = 1024;
		set_out_with(&plan);
		timeline_inputs(&line, 1000, input_line, NULL);
		come_home();
	}
	cr_assert_gt(ninputs, 20U);
}

/* --- 4  conditions ------------------------------------------------------------------------- */

#define WATCHES_MAX 9

struct wanted {
	struct watch watch[WATCHES_MAX];
	unsigned n;
	u64 salt;              /* of `holds`; 0: all hits count */
};
static struct wanted wanted;
static bool rarely;        /* `holds` is true of few states */

/* Some states, by their registers. */
static bool state_counts(u64 regs, unsigned watch)
{
	return !wanted.salt || mix(regs ^ wanted.salt, watch) % (rarely ? 3000 : 3) == 0;
}

static bool holds(void *ctx unused_arg, unsigned watch)
{
	return state_counts(registers(&world.vm->vcpu[0]), watch);
}

static bool overlap(u64 a, u64 na, u64 b, u64 nb)
{
	return a < b + nb && b < a + na;
}

/* A load of bytes that lie together in an aligned piece of at most 8, and no store to any of it. */
static bool loads_only(const struct watch *w, const struct reached *r, unsigned n)
{
	for (u64 at = w->at, left = w->size_bytes, size; left; at += size, left -= size) {
		bool load = false, store_too = false;

		for (size = 8; size > left || at % size; size /= 2)
			;
		for (unsigned i = 0; i < n; i++)
			if (overlap(r[i].at, r[i].n, at, size))
				*(r[i].write ? &store_too : &load) = true;
		if (load && !store_too)
			return true;
	}
	return false;
}

static bool is_hit(const struct watch *w, const struct reached *r, unsigned n)
{
	if (w->kind == WATCH_READ)
		return loads_only(w, r, n);
	for (unsigned i = 0; i < n; i++)
		if (overlap(r[i].at, r[i].n, w->at, w->size_bytes) && (w->kind == WATCH_ACCESS || r[i].write))
			return true;
	return false;
}

/*
 * The hit that a journey must find: its count, and which watches may be named.  A count has two
 * halves: before the instruction there, and behind the delivery that came before it.
 */
struct hit {
	bool found, behind;    /* behind: only breakpoints, and those behind the delivery */
	u64 at;
	unsigned watches;      /* bits */
	bool access;           /* among them one that is none */
};
struct position {
	u64 count;             /* ~0: past the end */
	bool behind;
};

static bool is_ahead(struct position from, bool forward, bool exec, u64 at, bool behind)
{
	if (!exec)             /* what the instruction from a point on does is ahead of both its halves */
		return forward ? at > from.count : at < from.count;
	if (at == from.count)
		return forward ? behind && !from.behind : !behind && from.behind;
	return forward ? at > from.count : at < from.count;
}

static void consider(struct hit *h, bool forward, struct position from, u64 at, unsigned watch, bool exec, bool behind)
{
	if (!is_ahead(from, forward, exec, at, behind))
		return;
	if (!h->found || (forward ? at < h->at : at > h->at)) {
		*h = (struct hit){ true, behind, at, 1U << watch, !exec };
		return;
	}
	if (h->at != at)
		return;
	if (!exec || h->access || h->behind == behind) {
		h->watches |= 1U << watch;
		h->access |= !exec;
	} else if (behind != forward) {
		h->watches = 1U << watch;
		h->behind = behind;
	}
}

/*
 * A walk looks at each point: it sees a breakpoint there, not the first
 * instruction of a handler, and of stores those that change something.
 */
static bool by_walk;
static u16 changed[TRAIL_MAX + 2]; /* bits: watches whose bytes the instruction from this count, or what came before it, changed */
static u64 contents[WATCHES_MAX];

static u64 look_for_changes(struct vm *vm, void *ctx unused_arg)
{
	u64 count = vm->now.count + (vm->outcome != VM_RUNNING && trail.seen[vm->now.count]);

	for (unsigned i = 0; i < wanted.n; i++) {
		u64 hash = 1;
		u8 byte = 0;

		for (u64 at = 0; at < wanted.watch[i].size_bytes; at++) {
			if (guestmem_read(&vm->mem, GPA(wanted.watch[i].at + at), &byte, 1))
				byte = 0;
			hash = mix(hash, byte);
		}
		if (count && hash != contents[i])
			changed[count - 1] |= (u16)(1U << i);
		contents[i] = hash;
	}
	return count + 1;
}

/* Once more along the run, for the changes to what is wanted now. */
static void lay_changes(void)
{
	static struct world again;

	memset(changed, 0, sizeof(changed));
	world_replay(&again, &plan, &medium);
	world_leave_as(&again, &recorded);
	vm_add_stop(again.vm, 0, look_for_changes, NULL);
	vm_run(again.vm);
	look_for_changes(again.vm, NULL);
	world_free(&again);
}

static struct hit expected_of_walk(bool forward, struct position from)
{
	struct hit h = { 0 };

	for (unsigned i = 0; i < wanted.n; i++) {
		const struct watch *w = &wanted.watch[i];

		for (unsigned e = 0; w->kind == WATCH_EXEC && e < trail.nexec; e++)
			if (trail.exec[e].rip == w->at && trail.rip[trail.exec[e].count] == w->at &&
			    state_counts(trail.exec[e].regs, i))
				consider(&h, forward, from, trail.exec[e].count, i, true, false);
		for (u64 count = 0; w->kind != WATCH_EXEC && w->kind != WATCH_READ && count <= trail.end; count++)
			if (changed[count] >> i & 1 && state_counts(trail.regs[count + 1], i))
				consider(&h, forward, from, forward ? count + 1 : count, i, false, false);
	}
	return h;
}

static struct hit expected(bool forward, struct position from)
{
	struct hit h = { 0 };

	if (by_walk)
		return expected_of_walk(forward, from);

	for (unsigned i = 0; i < wanted.n; i++) {
		const struct watch *w = &wanted.watch[i];

		for (unsigned e = 0; w->kind == WATCH_EXEC && e < trail.nexec; e++)
			if (trail.exec[e].rip == w->at && state_counts(trail.exec[e].regs, i))
				consider(&h, forward, from, trail.exec[e].count, i, true,
					 trail.exec[e].rip != trail.rip[trail.exec[e].count]);
		for (unsigned r = 0, n; w->kind != WATCH_EXEC && r < trail.nreach; r += n) {
			u64 count = trail.reach[r].count;

			for (n = 1; r + n < trail.nreach && trail.reach[r + n].count == count; n++)
				;
			if (is_hit(w, &trail.reach[r], n) && state_counts(trail.regs[count + 1], i))
				consider(&h, forward, from, forward ? count + 1 : count, i, false, false);
		}
	}
	return h;
}

/* A place the run does reach, mostly; many watches are of a few bytes next to it. */
static struct watch random_watch(void)
{
	struct watch w = { .kind = (enum watch_kind)rng_below(&rng, 4), .size_bytes = 1 };

	if (w.kind == WATCH_EXEC) {
		w.at = trail.nexec ? trail.exec[rng_below(&rng, trail.nexec)].rip : WORLD_CODE;
		return w;
	}
	w.at = trail.nreach ? trail.reach[rng_below(&rng, trail.nreach)].at : WORLD_DATA;
	w.size_bytes = 1 + rng_below(&rng, rng_chance(&rng, 70) ? 8 : rng_chance(&rng, 50) ? 24 : 300);
	if (rng_chance(&rng, 50))
		w.at -= rng_below(&rng, MIN(w.size_bytes, w.at));
	return w;
}

static void random_wanted(void)
{
	wanted.n = 1 + (unsigned)rng_below(&rng, rng_chance(&rng, 50) ? 2 : WATCHES_MAX);
	wanted.salt = rng_chance(&rng, 40) ? rng_next(&rng) : 0;
	for (unsigned i = 0; i < wanted.n; i++)
		wanted.watch[i] = random_watch();
	if (wanted.n > 1 && rng_chance(&rng, 30)) { /* two of one place */
		wanted.watch[1].at = wanted.watch[0].at;
		if ((wanted.watch[0].kind == WATCH_EXEC) != (wanted.watch[1].kind == WATCH_EXEC))
			wanted.watch[1].kind = wanted.watch[0].kind;
	}
}

/* In words, for a message. */
static const char *words(void)
{
	static const char *const kinds[] = { "exec", "write", "read", "access" };
	static char s[512];
	int n = 0;

	for (unsigned i = 0; i < wanted.n; i++)
		n += snprintf(s + n, sizeof(s) - (size_t)n, "%s 0x%lx+%lu ", kinds[wanted.watch[i].kind], wanted.watch[i].at,
			      wanted.watch[i].size_bytes);
	snprintf(s + n, sizeof(s) - (size_t)n, "salt %lx", wanted.salt);
	return s;
}

static unsigned may_be_named; /* bits: watches that are right besides */

static void look_for(bool forward)
{
	struct conditions c = { .watches = wanted.watch, .nwatches = wanted.n, .holds = wanted.salt ? holds : NULL };
	struct position start = { timeline_at_end(&line) ? ~0UL : here(), line.delivered };
	u64 from = start.count;
	struct hit h = expected(forward, start);
	struct travel r = timeline_run(&line, forward, &c);
	const char *way = forward ? start.behind ? "forward from a handler" : "forward" : start.behind ? "backward from a handler" : "backward";

	if (!line.delivered || rng_chance(&rng, 50)) /* else the next journey begins there */
		on_line(way);
	if (!h.found) {
		cr_assert_eq(r.end, forward ? TRAVEL_END : TRAVEL_BEGIN, "seed %lu: %s from %ld for %s: end %d at %lu, there is no hit",
			     seed, way, (long)from, words(), r.end, here());
		cr_assert(forward ? timeline_at_end(&line) : !here());
		return;
	}
	cr_assert(r.end == TRAVEL_HIT && here() == MIN(h.at, trail.end), "seed %lu: %s from %ld for %s: end %d at %lu, must be %lu of %lu (rip %lx) for %x, watch %u, outcome %d", seed,
		  way, (long)from, words(), r.end, here(), h.at, trail.end, trail.rip[MIN(h.at, trail.end)], h.watches, r.watch, world.vm->outcome);
	cr_assert((h.watches | may_be_named) >> r.watch & 1, "seed %lu: %s from %ld for %s: watch %u, must be of %x", seed, way, (long)from, words(),
		  r.watch, h.watches);
	cr_assert(overlap(r.linear, wanted.watch[r.watch].kind == WATCH_EXEC ? 1 : 8, wanted.watch[r.watch].at,
			  wanted.watch[r.watch].size_bytes));
}

Test(timeline, hits_are_where_the_trail_has_them)
{
	u64 n = world_runs(150), walked = 0;

	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		set_out_with(&plan);
		for (unsigned i = 0; i < 24; i++) {
			bool forward = rng_chance(&rng, 50);

			if (i % 4 == 0)
				random_wanted();
			if (rng_chance(&rng, 25))
				timeline_goto(&line, rng_below(&rng, trail.end + 3));
			if (!line.delivered)
				on_line("before");
			look_for(forward);
		}
		walked += line.walked;
		come_home();
	}
	cr_assert_eq(walked, 0, "%lu stretches were walked: the forks are not the run", walked);
}

/* An instruction that was begun and the handler entered instead, both at one count; false: the run has none. */
static bool random_fault(u64 *count, struct watch *instruction, struct watch *handler)
{
	unsigned start = trail.nexec ? (unsigned)rng_below(&rng, trail.nexec) : 0;

	for (unsigned n = 0; n + 1 < trail.nexec; n++) {
		const struct executed *e = &trail.exec[(start + n) % (trail.nexec - 1)];

		if (e[0].count != e[1].count || e[0].rip != trail.rip[e[0].count] || e[1].rip == e[0].rip)
			continue;
		*count = e[0].count;
		*instruction = (struct watch){ .kind = WATCH_EXEC, .at = e[0].rip, .size_bytes = 1 };
		*handler = (struct watch){ .kind = WATCH_EXEC, .at = e[1].rip, .size_bytes = 1 };
		return true;
	}
	return false;
}

Test(timeline, a_fault_and_its_handler_are_met_in_order_both_ways)
{
	static const struct watch nowhere = { .kind = WATCH_EXEC, .at = WORLD_UNUSED, .size_bytes = 1 };
	unsigned faults = 0, handlers = 0;

	for (u64 n = world_runs(40); seed = seed ? seed + 1 : world_first_seed(), n; n--) {
		short_plan();
		set_out_with(&plan);
		for (unsigned i = 0; i < 6; i++) {
			struct watch w[2];
			unsigned first = (unsigned)rng_below(&rng, 2);
			u64 count;

			if (!random_fault(&count, &w[0], &w[1]))
				break;
			faults++;
			/* In one pass or in two, in either order. */
			wanted.n = 2 + 3 * (unsigned)rng_below(&rng, 2);
			wanted.salt = 0;
			for (unsigned k = 0; k < wanted.n; k++)
				wanted.watch[k] = nowhere;
			count += rng_chance(&rng, 50);
			wanted.watch[0] = w[first];
			wanted.watch[wanted.n - 1] = w[!first];
			timeline_goto(&line, count);
			for (unsigned k = 0; k < 4; k++) {
				handlers += line.delivered;
				look_for(k < 2 ? false : rng_chance(&rng, 50));
			}
			on_line("behind a fault");
		}
		come_home();
	}
	cr_assert(getenv("REPRISE_SIM_SEED") || (faults > 50 && handlers > 20), "%u faults, %u times from a handler", faults, handlers);
}

/* The place that is executed most often. */
static struct watch busiest_place(void)
{
	static u32 times[WORLD_DATA];
	struct watch w = { .kind = WATCH_EXEC, .size_bytes = 1 };

	memset(times, 0, sizeof(times));
	for (unsigned i = 0; i < trail.nexec; i++)
		if (trail.exec[i].rip < ARRAY_SIZE(times) && ++times[trail.exec[i].rip] > times[w.at])
			w.at = trail.exec[i].rip;
	return w;
}

/* More hits than a scan looks at in one stretch: it is divided. */
Test(timeline, a_crowd_of_hits_hides_none)
{
	u64 n = world_runs(30), crowds = 0;

	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		plan.config.limit_insns = 12000;
			cut_it = false;
		lay_trail();
		open_line(MIB(2), 100000);
		wanted.n = 2;
		wanted.watch[0] = busiest_place();
		wanted.watch[1] = (struct watch){ WATCH_ACCESS, WORLD_STACK - 64, 64 };
		for (unsigned i = 0; i < 6 && trail.end > 10000; i++) {
			wanted.salt = i ? rng_next(&rng) : 0;
			timeline_goto(&line, trail.end - rng_below(&rng, 1000));
			rarely = i > 2; /* one condition in thousands holds */
			look_for(i % 2);
			look_for(false);
			crowds++;
		}
		rarely = false;
		come_home();
	}
	cr_assert(crowds > 20 || getenv("REPRISE_SIM_SEED"), "%lu", crowds);
}

/* --- 5  hosts with quirks -------------------------------------------------------------------- */

/* All the slots find is refused: everything is walked. */
Test(timeline, on_a_host_that_misses_watches_the_walk_finds_them)
{
	u64 n = world_runs(40), walked = 0;

	by_walk = true;
	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		plan.config.limit_insns = 200 + rng_below(&rng, 1000);
		set_out_with(&plan);
		fake_of(&world.vm->vcpu[0])->quirks.watch_blind = true;
		for (unsigned i = 0; i < 12; i++) {
			if (i % 4 == 0) {
				random_wanted();
				if (i == 8) /* a large place, alone */
					wanted = (struct wanted){ .n = 1, .watch = { { WATCH_WRITE, random_watch().at - 200, 300 } } };
				lay_changes();
			}
			if (rng_chance(&rng, 25))
				timeline_goto(&line, rng_below(&rng, trail.end + 3));
			look_for(rng_chance(&rng, 50));
		}
		walked += line.walked;
		come_home();
	}
	cr_assert_gt(walked, 0);
}

/* What the forks find is believed only if they did what the run does. */
Test(timeline, a_host_that_watches_disturb_gives_the_right_answer)
{
	u64 n = world_runs(60), walked = 0, asked = 0;

	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		plan.config.limit_insns = 200 + rng_below(&rng, 1000);
		set_out_with(&plan);
		fake_of(&world.vm->vcpu[0])->quirks.watch_disturbs = 1 + (u32)rng_below(&rng, 6);
		for (unsigned i = 0; i < 12; i++) {
			bool forward = rng_chance(&rng, 50);
			struct position from = { timeline_at_end(&line) ? ~0UL : here(), line.delivered };
			struct hit armed, walk;

			random_wanted();
			wanted.salt = 0;
			lay_changes();
			by_walk = false;
			armed = expected(forward, from);
			walk = expected_of_walk(forward, from);
			/* where the two see different things a mixture of both is right */
			if (armed.found != walk.found || armed.at != walk.at)
				continue;
			may_be_named = walk.watches;
			look_for(forward);
			may_be_named = 0;
			asked++;
		}
		walked += line.walked;
		come_home();
	}
	cr_assert(walked && (asked > 100 || getenv("REPRISE_SIM_SEED")), "%lu walked, %lu asked", walked, asked);
}

/* --- 6  branches, interruptions and failures ------------------------------------------------------ */

Test(timeline, an_interrupted_journey_stops_on_the_line)
{
	u64 n = world_runs(120), interrupted = 0;

	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		set_out_with(&plan);
		random_wanted();
		for (unsigned i = 0; i < 24; i++) {
			struct conditions c = { .watches = wanted.watch, .nwatches = (unsigned)rng_below(&rng, wanted.n + 1) };
			struct travel r;

			stop_after = rng_below(&rng, rng_chance(&rng, 50) ? 4 : 30);
			if (rng_chance(&rng, 40))
				r = timeline_goto(&line, rng_below(&rng, trail.end + 3));
			else
				r = timeline_run(&line, rng_chance(&rng, 50), &c);
			on_line("interrupted");
			interrupted += r.end == TRAVEL_INTERRUPTED;
			stop_after = ~0UL;
			if (rng_chance(&rng, 50))
				look_for(rng_chance(&rng, 50));
		}
		come_home();
	}
	cr_assert(interrupted || getenv("REPRISE_SIM_SEED"));
}

/* A debugger's hand: registers and memory are no longer those of the run. */
static void meddle(void)
{
	u64 value = rng_next(&rng), at = WORLD_DATA + 0x4000 + rng_below(&rng, 0x200);

	world.vm->vcpu[0].cpu.gpr[rng_chance(&rng, 50) ? RBX : RDI] = (u32)value;
	cr_assert_eq(guestmem_write(&world.vm->mem, GPA(at), &value, 8), OK);
	if (rng_chance(&rng, 30)) { /* and elsewhere altogether */
		world.vm->vcpu[0].cpu.rip = WORLD_CODE;
		world.vm->virt->load(&world.vm->vcpu[0], PART_ALL);
	}
}

static void run_in_branch(void)
{
	struct conditions c = { .watches = wanted.watch, .nwatches = wanted.n };
	u64 now = here();
	struct travel r;

	cr_assert(timeline_branched(&line));
	if (rng_chance(&rng, 60)) {
		r = timeline_run(&line, true, &c);
		cr_assert(r.end == TRAVEL_HIT || (r.end == TRAVEL_END && timeline_at_end(&line)), "seed %lu: %d", seed, r.end);
		return;
	}
	r = timeline_step(&line, true);
	cr_assert(r.end == TRAVEL_END || (r.end == TRAVEL_ARRIVED && here() == now + 1), "seed %lu: %d", seed, r.end);
}

Test(timeline, a_branch_leaves_the_run_as_it_was)
{
	u8 *was = malloc(MEDIUM_SIZE);

	for (u64 n = world_runs(120); seed = seed ? seed + 1 : world_first_seed(), n; n--) {
		u64 operations;

		short_plan();
		set_out_with(&plan);
		memcpy(was, medium.data, MEDIUM_SIZE);
		operations = medium.operations;
		random_wanted();
		for (unsigned i = 0; i < 10; i++) {
			u64 at, to = rng_below(&rng, trail.end + 3);
			bool end;

			timeline_goto(&line, rng_below(&rng, trail.end + 3));
			at = here();
			end = timeline_at_end(&line);
			cr_assert(timeline_branch(&line));
			meddle();
			for (u64 j = rng_below(&rng, 4); j; j--)
				run_in_branch();
			if (rng_chance(&rng, 30)) {
				arrived(timeline_goto(&line, to), to, "out of a branch");
				cr_assert(!timeline_branched(&line));
			} else {
				struct conditions c = { .watches = wanted.watch, .nwatches = wanted.n };

				if (rng_chance(&rng, 50))
					timeline_step(&line, false);
				else
					timeline_run(&line, false, &c);
				cr_assert(!timeline_branched(&line));
				on_line("back from a branch");
				cr_assert(here() == at && timeline_at_end(&line) == end, "seed %lu: at %lu, not %lu", seed, here(), at);
			}
			look_for(rng_chance(&rng, 50));
		}
		cr_assert(!memcmp(was, medium.data, MEDIUM_SIZE) && medium.operations == operations, "seed %lu: the recording was touched",
			  seed);
		come_home();
	}
	free(was);
}

/* The PIT runs masked: time goes on for ever, and no instruction is executed any more. */
static const u8 sleeps_for_good[] = {
	0xb8, 0x34, 0, 0, 0, 0xe6, 0x43, /* channel 0: mode 2 */
	0xb8, 0x00, 0, 0, 0, 0xe6, 0x40, 0xe6, 0x40, /* 65536 ticks */
	0xb8, 0xff, 0, 0, 0, 0xe6, 0x21, /* all masked */
	0xfb, 0xf4,
};

/* A branch has no end recorded: only its user ends it.  Interrupted it stands where the guest halted, and goes back. */
Test(timeline, a_guest_that_sleeps_for_good_on_a_branch_is_interrupted, .timeout = 20)
{
	struct conditions none = { 0 };
	u64 halted;

	seed = 1;
	short_plan();
	cut_it = false;
	memcpy(plan.program.code, sleeps_for_good, sizeof(sleeps_for_good));
	plan.program.size = sizeof(sleeps_for_good);
	plan.supply = 0;
	plan.closes = true;
	plan.quit_at_look = 0;
	plan.config.limit_insns = NO_STOP;
	plan.config.limit_vtime_ns = 1000000000;
	set_out_with(&plan);
	halted = trail.end;
	world.vm->config.limit_vtime_ns = NO_STOP;
	for (unsigned nwatches = 0; nwatches < 2; nwatches++) {
		const struct watch nowhere = { .kind = WATCH_EXEC, .at = WORLD_UNUSED, .size_bytes = 1 };
		struct conditions c = { .watches = &nowhere, .nwatches = nwatches };

		timeline_goto(&line, 3);
		cr_assert(timeline_branch(&line));
		stop_after = 50;
		cr_assert_eq(timeline_run(&line, true, &c).end, TRAVEL_INTERRUPTED);
		cr_assert_eq(here(), halted);
		cr_assert(world.vm->vcpu[0].cpu.halted);
		stop_after = ~0UL;
		cr_assert_eq(timeline_run(&line, false, &none).end, TRAVEL_ARRIVED);
		cr_assert_eq(here(), 3);
		on_line("back from a branch that slept");
	}
	come_home();
}

/* Nothing is typed, so a branch that nobody has meddled with does what the run does. */
static void look_along_branches(bool blind)
{
	for (u64 n = world_runs(60); seed = seed ? seed + 1 : world_first_seed(), n; n--) {
		short_plan();
		plan.supply = 0;
		plan.closes = true;
		plan.quit_at_look = 0;
		cut_it = false;
		set_out_with(&plan);
		fake_of(&world.vm->vcpu[0])->quirks.watch_blind = blind;
		for (unsigned i = 0; i < 12; i++) {
			struct conditions c = { .watches = wanted.watch, .holds = holds };
			struct hit h;
			struct travel r;
			u64 from;

			random_wanted();
			c.nwatches = wanted.n;
			timeline_goto(&line, rng_below(&rng, MAX(trail.end, 1UL)));
			from = here();
			if (blind)
				wanted.salt = 0;
			h = expected(true, (struct position){ from, false });
			if (blind) {
				struct hit walk;

				lay_changes();
				walk = expected_of_walk(true, (struct position){ from, false });
				if (h.found != walk.found || h.at != walk.at)
					continue; /* what the emulator reaches is seen all the same */
				h.watches |= walk.watches;
			}
			cr_assert(timeline_branch(&line));
			r = timeline_run(&line, true, &c);
			cr_assert_eq(r.end, h.found ? TRAVEL_HIT : TRAVEL_END, "seed %lu: a branch from %lu for %s: end %d at %lu, not %lu", seed, from,
				     words(), r.end, here(), h.at);
			cr_assert_eq(here(), h.found ? h.at : trail.end, "seed %lu: a branch from %lu for %s: at %lu, not %lu", seed, from,
				     words(), here(), h.at);
			cr_assert(!h.found || h.watches >> r.watch & 1, "seed %lu: watch %u of %x", seed, r.watch, h.watches);
		}
		timeline_goto(&line, 0);
		on_line("back from all branches");
		come_home();
	}
}

Test(timeline, a_branch_nobody_meddles_with_meets_what_the_run_meets)
{
	look_along_branches(false);
}

Test(timeline, a_branch_on_a_host_that_misses_watches_is_walked)
{
	look_along_branches(true);
}

Test(timeline, a_recording_that_cannot_be_read_fails_the_journey_and_no_other)
{
	u64 n = world_runs(120), failed = 0;

	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		cut_it = false;
		set_out_with(&plan);
		random_wanted();
		for (unsigned i = 0; i < 12; i++) {
			struct conditions c = { .watches = wanted.watch, .nwatches = wanted.n };
			u64 to = rng_below(&rng, trail.end + 3);
			struct travel r;

			fail_after = rng_below(&rng, 6);
			if (rng_chance(&rng, 30))
				make_unreadable(true);
			if (rng_chance(&rng, 50))
				r = timeline_goto(&line, to);
			else
				r = timeline_run(&line, rng_chance(&rng, 50), &c);
			if (r.end == TRAVEL_FAILED) {
				cr_assert(timeline_trouble(&line)[0]);
				failed++;
			} else {
				on_line("while the recording fails");
			}
			make_unreadable(false);
			fail_after = ~0UL;
			to = rng_below(&rng, trail.end + 3);
			if (rng_chance(&rng, 50) && r.end != TRAVEL_FAILED)
				look_for(rng_chance(&rng, 50));
			else
				arrived(timeline_goto(&line, to), to, "after a failure");
		}
		come_home();
	}
	cr_assert(failed || getenv("REPRISE_SIM_SEED"));
}

/* --- 7  checkpoints ----------------------------------------------------------------------------------- */

Test(timeline, a_full_table_drops_what_is_missed_least)
{
	u64 n = world_runs(10), full = 0;

	for (seed = world_first_seed(); n; n--, seed++) {
		short_plan();
		lay_trail();
		open_line(MIB(16), 1 + rng_below(&rng, 5));
		timeline_goto_end(&line);
		for (unsigned i = 0; i < 20; i++)
			random_journey();
		full += store.n == MAX_CHECKPOINTS && store.pool.nfree > 200;
		cr_assert(store.sorted[0]->at.count == 0);
		for (unsigned i = 1; i < store.n; i++)
			cr_assert_lt(store.sorted[i - 1]->at.count, store.sorted[i]->at.count);
		come_home();
	}
	cr_assert(full || getenv("REPRISE_SIM_SEED"));
}

Test(timeline, what_is_kept_stays_until_nothing_more_fits)
{
	static u64 kept[MAX_CHECKPOINTS];

	for (u64 n = world_runs(20); seed = seed ? seed + 1 : world_first_seed(), n; n--) {
		unsigned nkept = 0;
		err_t err = OK;

		short_plan();
		cut_it = false;
		lay_trail();
		open_line(MIB(1), 300);
		for (unsigned i = 0; i < 400 && !err; i++) {
			timeline_goto(&line, rng_below(&rng, trail.end));
			if (timeline_at_end(&line))
				break;
			err = timeline_keep(&line);
			if (!err && nkept < MAX_CHECKPOINTS)
				kept[nkept++] = here();
			on_line("kept");
		}
		cr_assert(!err || err == ERR_NO_MEMORY);
		for (unsigned i = 0; i < nkept; i++)
			cr_assert_eq(checkpoint_before(&store, kept[i])->at.count, kept[i], "seed %lu: %lu was dropped", seed, kept[i]);
		for (unsigned i = 0; i < 20; i++) {
			u64 to = rng_below(&rng, trail.end + 3);

			arrived(timeline_goto(&line, to), to, "with a full pool");
		}
		come_home();
	}
}

Test(timeline, at_the_end_nothing_is_kept_and_a_branch_goes_nowhere)
{
	struct conditions none = { 0 };

	seed = 1;
	short_plan();
	cut_it = false;
	set_out_with(&plan);
	cr_assert_eq(timeline_goto_end(&line).end, TRAVEL_END);
	cr_assert_eq(timeline_keep(&line), ERR_INVALID);
	cr_assert_eq(timeline_step(&line, true).end, TRAVEL_END);
	cr_assert_eq(timeline_run(&line, true, &none).end, TRAVEL_END);
	cr_assert(timeline_branch(&line));
	cr_assert_eq(timeline_keep(&line), ERR_INVALID);
	cr_assert_eq(timeline_step(&line, true).end, TRAVEL_END);
	timeline_step(&line, false);
	on_line("back at the end");
	cr_assert(timeline_at_end(&line));
	cr_assert_eq(timeline_run(&line, false, &none).end, TRAVEL_BEGIN);
	on_line("the beginning");
	cr_assert_eq(here(), 0);
	come_home();
}
