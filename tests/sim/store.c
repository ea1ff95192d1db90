/*
 * store.c - the arbiter: one word, compare-and-swap, and all that can come of
 * asking over a network.
 *
 * The word is kept in the store's bytes, so that their codec is in the way.  An
 * attempt is unreachable (never made), made and answered, made and not answered,
 * lost and not answered, or made long after it was given up.
 */
#include "tests/sim/sim.h"

static u8 bytes[FT_WORD_BYTES];

struct attempt {
	struct ft_word expected, desired, current;
	enum ft_verdict verdict;
	u64 number;
	struct host *host;
};
static struct attempt asked[NHOSTS]; /* one outstanding for each host */
#define LATE 64
static struct attempt late[LATE];    /* given up, and still under way */
static unsigned nlate;

void store_reset(void)
{
	memset(bytes, 0, sizeof(bytes));
	memset(asked, 0, sizeof(asked));
	nlate = 0;
}

void store_word(struct ft_word *w)
{
	if (ft_word_decode(bytes, w))
		check_fail("the store's word is damaged");
}

static void swap(struct attempt *a)
{
	store_word(&a->current);
	if (!ft_word_equal(&a->current, &a->expected)) {
		a->verdict = FT_DIFFERS;
		return;
	}
	a->verdict = FT_SWAPPED;
	ft_word_encode(&a->desired, bytes);
	TRACE("store", STORE_ADDRESS, "term %lu, owner %lx, members %lx %lx", a->desired.term, a->desired.owner,
	      a->desired.member[0], a->desired.member[1]);
	if (a->desired.term <= a->current.term)
		check_fail("I9: a term that does not grow");
}

static u64 latency(void)
{
	return rng_between(&sim.rng, sim.sc.store_min, sim.sc.store_max);
}

void store_start(void *ctx, const struct ft_word *expected, const struct ft_word *desired)
{
	struct host *h = ctx;
	struct attempt *a = &asked[h->id];

	*a = (struct attempt){ .expected = *expected, .desired = *desired, .verdict = FT_ASKING, .number = a->number + 1,
			       .host = h };
	TRACE("host", h->id, "asks the store: term %lu -> %lu", expected->term, desired->term);
	sched_add(sim.now + latency(), EV_STORE, h->id, a->number, NULL);
}

/* An attempt whose requester will not hear of it. */
static void lose(struct attempt *a)
{
	a->verdict = FT_UNKNOWN;
	switch (rng_below(&sim.rng, 3)) {
	case 0: /* made, the answer was lost */
		swap(a);
		a->verdict = FT_UNKNOWN;
		break;
	case 1: /* never came there */
		break;
	default: /* under way, for a long time */
		if (nlate == LATE)
			return;
		late[nlate] = *a;
		sched_add(sim.now + rng_below(&sim.rng, 600 * MS), EV_STORE_LATE, nlate++, 0, NULL);
	}
}

void store_event(const struct event *e)
{
	struct attempt *a = e->kind == EV_STORE_LATE ? &late[e->who] : &asked[e->who];

	if (e->kind == EV_STORE_LATE) {
		swap(a);
		return;
	}
	if (a->number != e->arg)
		return;
	if (sim.sc.store_down || rng_chance(&sim.rng, sim.sc.store_unreachable))
		a->verdict = FT_UNREACHABLE;
	else if (rng_chance(&sim.rng, sim.sc.store_unknown))
		lose(a);
	else
		swap(a);
	a->host->life.told_out |= a->verdict == FT_DIFFERS && a->current.member[0] != a->host->pair.me &&
				  a->current.member[1] != a->host->pair.me;
	TRACE("host", e->who, "the store says %s", a->verdict == FT_SWAPPED ? "swapped" : a->verdict == FT_DIFFERS ? "differs" :
	      a->verdict == FT_UNKNOWN ? "nothing (unknown)" : "nothing (unreachable)");
	host_kick(a->host);
}

enum ft_verdict store_poll(void *ctx, struct ft_word *current)
{
	struct host *h = ctx;

	*current = asked[h->id].current;
	return asked[h->id].verdict;
}
