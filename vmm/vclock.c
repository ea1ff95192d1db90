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

static struct vtimer *earliest(const struct vclock *c)
{
	struct vtimer *first = NULL;

	for (unsigned i = 0; i < c->ntimers; i++)
		if (!first || c->timers[i]->deadline_ns < first->deadline_ns)
			first = c->timers[i];
	return first;
}

u64 vclock_find_next(struct vclock *c)
{
	const struct vtimer *t = earliest(c);

	c->next_ns = t ? t->deadline_ns : VTIMER_NEVER;
	c->known = true;
	return c->next_ns;
}

void vclock_fire(struct vclock *c)
{
	struct vtimer *t;

	while ((t = earliest(c)) && t->deadline_ns <= c->now_ns) {
		vtimer_cancel(t);
		t->fire(t->owner);
	}
}
