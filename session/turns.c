/*
 * turns.c - stride scheduling.  See turns.h.
 */
#include "session/turns.h"

unsigned turns_add(struct turns *t, u64 share)
{
	if (t->n == TURNS_MAX || !share || share > SHARE_MAX)
		__builtin_trap(); /* a fixed set, checked where it comes from */
	t->of[t->n] = (struct turn){ .share = share };
	return t->n++;
}

void turns_charge(struct turns *t, unsigned n, u64 ticks)
{
	t->of[n].used += ticks;
	t->of[n].pass += ticks * SHARE_MAX / t->of[n].share;
}

void turns_want(struct turns *t, unsigned n, bool wants)
{
	if (wants && !t->of[n].wants)
		t->of[n].pass = MAX(t->of[n].pass, t->floor);
	t->of[n].wants = wants;
}

int turns_next(struct turns *t)
{
	int next = -1;

	for (unsigned i = 0; i < t->n; i++)
		if (t->of[i].wants && (next < 0 || t->of[i].pass < t->of[next].pass))
			next = (int)i;
	if (next >= 0)
		t->floor = t->of[next].pass;
	return next;
}
