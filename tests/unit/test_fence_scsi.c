/*
 * test_fence_scsi.c - who may write to a shared disk: the reservation by term, against a target that
 * answers at once, and hosts with several writes on their way while everything goes wrong.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ft/fence_scsi.h"
#include "tests/unit/faketarget.h"

enum { PAIR = 12, HOSTS = 3, DEPTH = 4 };

static struct fake_target target;

static u64 clock_ns;
static u64 now_ns(void *ctx unused_arg)
{
	return clock_ns;
}

static void fence_on(struct ft_fence *f, struct fake_way *w, u64 pair, u64 host)
{
	const struct ft_fence_config c = { &w->port, pair, host, now_ns, NULL };

	fake_way_init(w, &target);
	ft_fence_init(f, &c);
}

static enum ft_fence_state take(struct ft_fence *f, u64 term)
{
	ft_fence_take(f, term);
	for (unsigned i = 0; i < 1000; i++, clock_ns += 500000) {
		enum ft_fence_state state = ft_fence_poll(f);

		if (state != FT_FENCE_TAKING)
			return state;
	}
	return FT_FENCE_TAKING;
}

static u8 write_one(struct fake_way *w)
{
	u8 out[FT_BLOCK_BYTES] = { 1 };
	const struct scsi_command c = ft_scsi_write(1, out, 1);
	struct scsi_reply r = { 0 };
	u64 ticket;

	w->attention = 0;
	cr_assert_eq(w->port.start(w, &c, &ticket), OK);
	cr_assert(w->port.poll(w, ticket, &r));
	return r.status;
}

static void fresh(void)
{
	fake_target_init(&target);
	target.instant = true;
}

static struct ft_fence a, b, stranger;
static struct fake_way wa, wb, ws;

/* Two hosts of a pair and one of another. */
static void three(void)
{
	fresh();
	fence_on(&a, &wa, PAIR, 1);
	fence_on(&b, &wb, PAIR, 2);
	fence_on(&stranger, &ws, PAIR + 1, 1);
}

Test(fence_scsi, by_term)
{
	three();
	cr_assert_eq(take(&a, 1), FT_FENCE_HELD);
	cr_assert_eq(write_one(&wa), SCSI_GOOD);
	cr_assert_eq(write_one(&wb), SCSI_RESERVATION_CONFLICT);
	cr_assert_eq(take(&b, 2), FT_FENCE_HELD);
	cr_assert_eq(write_one(&wb), SCSI_GOOD);
	cr_assert_eq(write_one(&wa), SCSI_RESERVATION_CONFLICT);
	cr_assert_eq(take(&a, 1), FT_FENCE_LOST);
	cr_assert_eq(take(&a, 2), FT_FENCE_LOST, "two hosts of one term cannot be");
	cr_assert_eq(take(&stranger, 9), FT_FENCE_REFUSED);
	cr_assert(stranger.complaint && strstr(stranger.complaint, "not of the pair"));
	cr_assert_eq(write_one(&wb), SCSI_GOOD);
	cr_assert_eq(take(&b, 1UL << 32), FT_FENCE_REFUSED);
}

/* Of one that was taken since, nothing is given back. */
Test(fence_scsi, given_back)
{
	three();
	cr_assert_eq(take(&a, 1), FT_FENCE_HELD);
	cr_assert_eq(take(&b, 2), FT_FENCE_HELD);
	wa.attention = 0;
	ft_fence_release(&a);
	cr_assert_eq(ft_fence_poll(&a), FT_FENCE_REFUSED);
	cr_assert_eq(take(&stranger, 1), FT_FENCE_REFUSED, "b has it");
	ft_fence_release(&b);
	cr_assert_eq(ft_fence_poll(&b), FT_FENCE_REFUSED);
	cr_assert_eq(take(&stranger, 1), FT_FENCE_HELD);
	cr_assert_eq(write_one(&wb), SCSI_RESERVATION_CONFLICT);
}

/* The same host, after its connection was lost: it finds itself there. */
Test(fence_scsi, again_after_a_lost_connection)
{
	struct rng r = rng_of(1);

	fresh();
	fence_on(&a, &wa, PAIR, 1);
	for (unsigned i = 0; i < 600; i++) { /* more than keys have numbers */
		cr_assert_eq(take(&a, 7), FT_FENCE_HELD, "%u", i);
		cr_assert_eq(write_one(&wa), SCSI_GOOD);
		fake_way_lose(&wa, &r);
		if (i % 40 == 39) {
			struct fake_way *ways[1] = { &wa };

			fake_target_restart(&target, ways, 1, &r);
		} else {
			cr_assert_eq(write_one(&wa), SCSI_RESERVATION_CONFLICT);
		}
	}
}

Test(fence_scsi, what_the_target_can)
{
	for (unsigned i = 0; i < 4; i++) {
		fresh();
		target.persists = i & 1;
		target.has_abort = i & 2;
		fence_on(&a, &wa, PAIR, 1);
		fence_on(&b, &wb, PAIR, 2);
		cr_assert_eq(take(&a, 1), FT_FENCE_HELD);
		cr_assert_eq(take(&b, 2), FT_FENCE_HELD);
		cr_assert_eq(ft_fence_persists(&b), i & 1);
		cr_assert_eq(ft_fence_aborts(&b), !!(i & 2));
	}
	fresh();
	target.has_reserve = false;
	fence_on(&a, &wa, PAIR, 1);
	cr_assert_eq(take(&a, 1), FT_FENCE_REFUSED);
	cr_assert(strstr(a.complaint, "no persistent reservations"));
	fresh();
	target.instant = false;
	fence_on(&a, &wa, PAIR, 1);
	cr_assert_eq(take(&a, 1), FT_FENCE_TAKING, "an unreachable disk is waited for");
	target.instant = true;
	ft_fence_take(&a, 2);
	cr_assert_eq(take(&a, 2), FT_FENCE_HELD);
}

/* ---- F1 ---- */

struct writer {
	struct ft_fence fence;
	struct fake_way way;
	u64 term;               /* won; 0: none */
	bool held, dead;
	unsigned frozen;
	struct { u64 ticket; bool used; } write[DEPTH];
};

static struct {
	struct writer writer[HOSTS];
	u64 term, written;      /* won last; the latest that has written */
	u64 nwrites, ids;
	bool broken;
} world;

/* F1: no write by the loser after the winner's first. */
static void watch(void *ctx unused_arg, u64 lba unused_arg, const u8 *before unused_arg, const u8 *after)
{
	u64 term = read_bytes_le(after, 8);

	world.broken |= term < world.written;
	world.written = MAX(world.written, term);
	world.nwrites++;
}

static void on_reply(struct writer *w, const struct scsi_reply *r)
{
	if (r->delivered && r->status == SCSI_GOOD)
		return;
	/* Not carried out, or who knows: the disk is asked who has it, and what is open is written again. */
	w->held = false;
	ft_fence_take(&w->fence, w->term);
}

static void write_some(struct writer *w, struct rng *r)
{
	unsigned i = (unsigned)rng_below(r, DEPTH);
	u8 out[FT_BLOCK_BYTES] = { 0 };
	struct scsi_command c;
	struct scsi_reply reply = { 0 };

	if (w->write[i].used) {
		if (w->way.port.poll(&w->way, w->write[i].ticket, &reply)) {
			w->write[i].used = false;
			if (w->held)
				on_reply(w, &reply);
		}
	} else if (w->held) {
		write_bytes_le(out, 8, w->term);
		c = ft_scsi_write(rng_below(r, FAKE_BLOCKS), out, 1);
		w->write[i].used = !w->way.port.start(&w->way, &c, &w->write[i].ticket);
	}
}

static void turn(struct writer *w, struct rng *r)
{
	if (!w->term || w->dead)
		return;
	if (!w->held) {
		enum ft_fence_state state = ft_fence_poll(&w->fence);

		w->held = state == FT_FENCE_HELD;
		w->dead = state == FT_FENCE_LOST || state == FT_FENCE_REFUSED;
	}
	write_some(w, r);
}

/* The arbiter has spoken: a host has won, whatever the one before may be doing. */
static void another_wins(struct rng *r)
{
	struct writer *w = &world.writer[rng_below(r, HOSTS)];

	fake_way_drop(&w->way); /* a new host, or one that began anew */
	*w = (struct writer){ 0 };
	fence_on(&w->fence, &w->way, PAIR, ++world.ids);
	w->term = ++world.term;
	ft_fence_take(&w->fence, w->term);
}

static void misfortune(struct rng *r, bool restarts)
{
	struct fake_way *ways[HOSTS];
	struct writer *w = &world.writer[rng_below(r, HOSTS)];

	switch (rng_below(r, restarts ? 4 : 3)) {
	case 0:
		fake_way_lose(&w->way, r);
		break;
	case 1:
		w->frozen = (unsigned)rng_below(r, 600);
		break;
	case 2:
		another_wins(r);
		break;
	default:
		for (unsigned i = 0; i < HOSTS; i++)
			ways[i] = &world.writer[i].way;
		fake_target_restart(&target, ways, HOSTS, r);
	}
}

static bool run(u64 seed, bool unordered, bool aborts, bool persists, bool restarts)
{
	struct rng r = rng_of(seed);

	memset(&world, 0, sizeof(world));
	fake_target_init(&target);
	target.unordered = unordered;
	target.has_abort = aborts;
	target.persists = persists;
	target.keeps_nexus = persists && seed & 1;
	target.on_write = watch;
	for (unsigned i = 0; i < HOSTS; i++)
		fence_on(&world.writer[i].fence, &world.writer[i].way, PAIR, ++world.ids);
	another_wins(&r);
	for (unsigned i = 0; i < 4000 && !world.broken; i++) {
		struct writer *w = &world.writer[rng_below(&r, HOSTS)];

		clock_ns += rng_below(&r, 400000);
		if (w->frozen)
			w->frozen--;
		else
			turn(w, &r);
		if (rng_chance(&r, 70))
			fake_target_step(&target, &r);
		if (rng_below(&r, 100) == 0)
			misfortune(&r, restarts);
	}
	cr_assert(world.broken || world.nwrites > 5, "seed %lu: %lu writes", seed, world.nwrites);
	return !world.broken;
}

static unsigned runs(void)
{
	const char *n = getenv("REPRISE_SIM_RUNS");

	return n ? (unsigned)atoi(n) : 400;
}

static unsigned violations(bool unordered, bool aborts, bool persists, bool restarts)
{
	unsigned n = 0;

	for (u64 seed = 1; seed <= runs(); seed++)
		n += !run(seed, unordered, aborts, persists, restarts);
	return n;
}

Test(fence_scsi, no_write_after_the_winners_first)
{
	cr_assert_eq(violations(false, false, false, false), 0, "tgtd with one I/O thread, not restarted");
	cr_assert_eq(violations(true, true, false, false), 0, "PREEMPT AND ABORT, any order");
	cr_assert_eq(violations(true, true, true, true), 0, "... restarted, with reservations that persist");
}

/* What a target has to have: without it the check above fails. */
Test(fence_scsi, what_is_needed_is_needed)
{
	cr_assert_gt(violations(true, false, false, false), 0, "any order, without PREEMPT AND ABORT");
	cr_assert_gt(violations(false, false, false, true), 0, "restarted, and it has forgotten its reservations");
}
