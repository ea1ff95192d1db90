/*
 * turns.h - whose turn it is: one CPU among several that want it, in proportion to their shares.
 *
 * Stride scheduling [Stride, Stride Scheduling]: each has a pass, which grows by what it has used
 * over its share; the lowest of those that want the CPU is next.  Who has slept begins where the
 * others are: it neither pays for the time nor has saved it.
 */
#ifndef SESSION_TURNS_H
#define SESSION_TURNS_H

#include "kernel/base.h"

#define TURNS_MAX 8
#define SHARE_DEFAULT 100
#define SHARE_MAX 1000

struct turns {
	struct turn {
		bool wants;
		u64 share;         /* 1 to SHARE_MAX */
		u64 pass;          /* ticks used * SHARE_MAX / share: fits for 200 days of 1 GHz at share 1 */
		u64 used;          /* ticks */
	} of[TURNS_MAX];
	unsigned n;
	u64 floor;                 /* the pass of who was chosen last */
};

/* One more, which wants nothing yet; returns its number. */
unsigned turns_add(struct turns *t, u64 share);

/* It has used the CPU for so many ticks. */
void turns_charge(struct turns *t, unsigned n, u64 ticks);

/* It wants the CPU from now on, or does not. */
void turns_want(struct turns *t, unsigned n, bool wants);

/* Who is next, of equals the first; -1: nobody wants it. */
int turns_next(struct turns *t);

#endif
