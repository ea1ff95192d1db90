/*
 * vclock.h - a VM's virtual clock and the timers that hang on it.
 *
 * Virtual time is derived from the execution point [docs/TIME.md], never
 * observed.  The vCPU loop sets now_ns before it calls any device; a device
 * reads it here and nowhere else.  A timer fires when now_ns has reached its
 * deadline; the loop stops the guest on exactly that instruction.
 *
 * Timers due at the same instant fire in the order they were added, which is
 * the order the board wires its devices: that is a rule of the machine, not
 * an accident, and replay rests on it.
 */
#ifndef VMM_VCLOCK_H
#define VMM_VCLOCK_H

#include "kernel/base.h"
#include "vmm/state.h"

#define VTIMER_NEVER (~0UL)
#define VCLOCK_MAX_TIMERS 48

struct vclock;

struct vtimer {
	u64 deadline_ns;            /* VTIMER_NEVER when not armed */
	void (*fire)(void *owner);  /* called with deadline_ns already VTIMER_NEVER */
	void *owner;
	struct vclock *clock;
};

struct vclock {
	u64 now_ns;
	u64 next_ns;                /* the earliest deadline, derived; valid when known */
	bool known;
	struct vtimer *timers[VCLOCK_MAX_TIMERS];
	unsigned ntimers;
	/*
	 * Timers may fire late, by up to jitter_ns: which is legal, and finds the
	 * races that depend on when an interrupt comes.  How late is a function
	 * of seed, timer and deadline, so the run stays a function of its inputs.
	 */
	u64 jitter_ns, jitter_seed;
};

/* From now on; 0, 0: timers fire when they are due. */
void vclock_set_jitter(struct vclock *c, u64 jitter_ns, u64 seed);

/* Adds a timer for the life of the clock; it starts unarmed. */
void vtimer_add(struct vclock *c, struct vtimer *t, void (*fire)(void *owner), void *owner);

/* Arms for an instant; one already past fires at the next vclock_run. */
static inline void vtimer_arm(struct vtimer *t, u64 deadline_ns)
{
	t->deadline_ns = deadline_ns;
	t->clock->known = false;
}

static inline void vtimer_cancel(struct vtimer *t)
{
	vtimer_arm(t, VTIMER_NEVER);
}

/* Visits the deadline, a timer's only state, for the owner's state hook. */
void vtimer_state(struct vtimer *t, struct state_walk *w, const char *name);

/* The earliest deadline when it is not known; for vclock_next. */
u64 vclock_find_next(struct vclock *c);

/* The earliest deadline, VTIMER_NEVER if none is armed. */
static inline u64 vclock_next(struct vclock *c)
{
	return c->known ? c->next_ns : vclock_find_next(c);
}

/*
 * Fires every timer whose deadline is now or past, earliest first, equal ones
 * in order of addition; a timer re-armed by its own firing for an instant not
 * after now fires again.
 */
void vclock_fire(struct vclock *c);

static inline void vclock_run(struct vclock *c)
{
	if (vclock_next(c) <= c->now_ns)
		vclock_fire(c);
}

#endif
