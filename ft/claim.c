/*
 * claim.c - asking the store, what its answers mean [docs/LINK.md 4], and taking the disks for what was won.
 *
 * One claim is open at a time: founding, enlisting, parting, going live.  It is
 * a row of attempts, one outstanding at a time, until the word is ours or names
 * us no more.  An attempt whose fate is unknown is repeated and stays unknown
 * (I9): only then may it be made later.
 */
#include "ft/pair.h"

/* How often a started attempt is looked at if the host is not woken by its result. */
#define LOOK_NS 1000000

struct ft_word ft_next_word(const struct ft_pair *p, const struct ft_word *w, u64 other)
{
	return (struct ft_word){ .pair = p->c.pair, .term = w->term + 1, .owner = p->me, .member = { p->me, other } };
}

void ft_claim_open(struct ft_pair *p, const struct ft_word *expected, const struct ft_word *desired)
{
	p->claim.open = true;
	p->claim.expected = *expected;
	p->claim.desired = *desired;
	p->claim.again_ns = 0;
}

void ft_take_disks(struct ft_pair *p)
{
	const struct ft_disks *d = p->env->disks;

	p->outlet = (struct ft_outlet){ .busy = d, .look_ns = ft_now(p) + FT_DISK_LOOK_NS };
	if (d)
		d->take(d->ctx, p->word.term);
}

static void won(struct ft_pair *p)
{
	p->word = p->claim.desired;
	switch (p->role) {
	case FT_FOUNDING:
		pair_founded(p);
		break;
	case FT_ENLISTING:
		pair_protect(p);
		break;
	case FT_PARTING:
		pair_go_on_alone(p);
		break;
	case FT_CLAIMING:
		pair_take_over(p);
		break;
	default:
		break;
	}
}

/* The word is neither what was expected nor what was desired. */
static void differs(struct ft_pair *p, const struct ft_word *current)
{
	if (p->role != FT_FOUNDING && current->pair == p->c.pair && ft_named(current, p->me)) {
		bool enlisting = p->role == FT_ENLISTING;

		p->claim.expected = *current;
		p->claim.desired = ft_next_word(p, current, enlisting ? p->other : 0);
		return;
	}
	if (p->role == FT_FOUNDING) {
		pair_stop(p, VM_HOST_FAILED, "the store holds a pair already: number %lx, term %lu", current->pair,
			  current->term);
	} else {
		p->s.may_join = true;
		pair_stop(p, VM_QUIT, "out of the pair: another host is live since term %lu", current->term);
	}
}

/* An attempt has ended without a word. */
static void not_answered(struct ft_pair *p, enum ft_verdict v)
{
	if (!ft_never_made(&p->claim, v)) {
		p->claim.unknown = true;
		if (p->role == FT_ENLISTING && p->ship.silent)
			pair_part(p, "silent");
		return;
	}
	if (p->role == FT_ENLISTING && p->ship.silent)
		pair_drop(p, "silent");
	else if (p->role == FT_PARTING && !p->ship.silent)
		pair_reunite(p);
	else if (p->role == FT_CLAIMING && p->follow.heard_mute)
		pair_forgive(p);
}

static void ended(struct ft_pair *p, enum ft_verdict v, const struct ft_word *current, u64 now_ns)
{
	p->claim.started = false;
	p->claim.again_ns = now_ns + (v == FT_DIFFERS ? 0 : p->c.timers.retry_ns);
	if (!p->claim.open)
		return; /* nobody waits for it any more */
	if (ft_won(v, current, &p->claim.desired))
		won(p);
	else if (v == FT_DIFFERS)
		differs(p, current);
	else
		not_answered(p, v);
}

void ft_claim_step(struct ft_pair *p, u64 now_ns)
{
	const struct ft_arbiter *a = p->env->arbiter;
	struct ft_word current = { 0 };
	enum ft_verdict v;

	if (p->claim.started) {
		v = a->poll(a->ctx, &current);
		if (v == FT_ASKING) {
			p->claim.again_ns = now_ns + LOOK_NS;
			return;
		}
		ended(p, v, &current, now_ns);
	}
	if (p->claim.open && now_ns >= p->claim.again_ns) {
		p->claim.started = true;
		p->claim.again_ns = now_ns + LOOK_NS;
		a->start(a->ctx, &p->claim.expected, &p->claim.desired);
	}
}
