/*
 * vclock.c - the timers of one VM.  The rules are in vclock.h.
 *
 * A handful of timers, so a scan beats a heap: the order of equal deadlines is
 * then plainly the order of addition.
 */
#include "vmm/vclock.h"

void vtimer_add(struct vclock *c, struct vtimer *t, void (*fire)(void *owner), void *owner)
{
	if (c->ntimers == VCLOCK_MAX_TIMERS)
		__builtin_trap(); /* the board wires a fixed set: a build error found late */
	*t = (struct vtimer){ .deadline_ns = VTIMER_NEVER, .fire = fire, .owner = owner, .clock = c };
	c->timers[c->ntimers++] = t;
	c->known = false;
}

void vtimer_state(struct vtimer *t, struct state_walk *w, const char *name)
{
	state_field(w, name, &t->deadline_ns, sizeof(t->deadline_ns));
	if (w->mode == STATE_LOAD)
		t->clock->known = false;
}

void vclock_set_jitter(struct vclock *c, u64 jitter_ns, u64 seed)
{
	c->jitter_ns = MIN(jitter_ns, VTIMER_NEVER - 1);
	c->jitter_seed = seed;
	c->known = false;
}

/* When a timer fires: at its deadline, or as much later as the seed says. */
static u64 due_ns(const struct vclock *c, unsigned i)
{
	u64 deadline_ns = c->timers[i]->deadline_ns, x;

	if (!c->jitter_ns || deadline_ns == VTIMER_NEVER)
		return deadline_ns;
	x = (deadline_ns + i + 1) * 0x9e3779b97f4a7c15UL ^ c->jitter_seed * 0xd6e8feb86659fd93UL;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93UL;
	x ^= x >> 32;
	return deadline_ns + MIN(x % (c->jitter_ns + 1), VTIMER_NEVER - 1 - deadline_ns); /* the end of time does not come round */
}

/* The timer that fires first, NULL: none is armed; and when. */
static struct vtimer *earliest(const struct vclock *c, u64 *at_ns)
{
	struct vtimer *first = NULL;

	*at_ns = VTIMER_NEVER;
	for (unsigned i = 0; i < c->ntimers; i++) {
		u64 due = due_ns(c, i);

		if (due < *at_ns) {
			*at_ns = due;
			first = c->timers[i];
		}
	}
	return first;
}

u64 vclock_find_next(struct vclock *c)
{
	earliest(c, &c->next_ns);
	c->known = true;
	return c->next_ns;
}

void vclock_fire(struct vclock *c)
{
	struct vtimer *t;
	u64 at_ns;

	while ((t = earliest(c, &at_ns)) && at_ns <= c->now_ns) {
		vtimer_cancel(t);
		t->fire(t->owner);
	}
}
