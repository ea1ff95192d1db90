/*
 * timeline.h - a recorded run as a line one can travel along, both ways.
 *
 * The machine stands at one point of its run.  Going back is: the nearest
 * checkpoint before, and forward from there.  Every stop is found exactly
 * [docs/TIMELINE.md]: scans for breakpoints run ahead in throw-away forks, and
 * what they find is replayed undisturbed and compared before it is shown.
 *
 * Points are counts of instructions: the state at count N is that before the
 * instruction which makes it N + 1, timers and inputs of N taken.  The end of
 * a run is one more point, behind the last.
 */
#ifndef REPLAY_TIMELINE_H
#define REPLAY_TIMELINE_H

#include "replay/boundaries.h"
#include "vmm/vm.h"

enum watch_kind {
	WATCH_EXEC,    /* before the instruction at this address executes */
	WATCH_WRITE,   /* a store to any of these bytes */
	WATCH_READ,    /* a load */
	WATCH_ACCESS,  /* either */
};

/* A place to stop at. */
struct watch {
	enum watch_kind kind;
	u64 at;            /* guest-linear */
	u64 size_bytes;    /* EXEC: 1 */
};

#define MAX_WATCHES 256

/* What a journey looks for. */
struct conditions {
	const struct watch *watches;
	unsigned nwatches; /* at most MAX_WATCHES */
	/*
	 * Whether a hit counts; NULL: every one does.  Asked with the machine in
	 * the state the hit is seen in: before the instruction (EXEC), behind it
	 * (the others).  Must not change the machine.
	 */
	bool (*holds)(void *ctx, unsigned watch);
	void *ctx;
};

enum travel_end {
	TRAVEL_ARRIVED,      /* at the point asked for, or one instruction on */
	TRAVEL_HIT,          /* a condition came true */
	TRAVEL_BEGIN,        /* the beginning of history */
	TRAVEL_END,          /* the end of the run, or of what is recorded */
	TRAVEL_INTERRUPTED,  /* the user asked to stop; the machine stands somewhere on the way */
	TRAVEL_FAILED,       /* the host failed, or the replay diverged: timeline.trouble says how */
};

struct travel {
	enum travel_end end;
	unsigned watch;      /* HIT: index in conditions.watches */
	u64 linear;          /* HIT: the address reached, of a store or load */
};

/*
 * A breakpoint on the first instruction of an interrupt or exception handler is
 * hit behind the delivery, at the count of the instruction it came before: there
 * the machine stands then, and one step back is that count itself.  On a way
 * forward it comes after that count, on a way back before it.
 * A load that is part of a read-modify-write counts as a store.
 */
struct timeline;

/* One instruction. */
struct travel timeline_step(struct timeline *t, bool forward);

/*
 * Forward to the first hit behind this point, or backward to the last before
 * it.  A hit of a store is behind the storing instruction when going forward,
 * and before it when going backward: at once the value is the other one.
 */
struct travel timeline_run(struct timeline *t, bool forward, const struct conditions *c);

/* To a count; beyond the end: the end. */
struct travel timeline_goto(struct timeline *t, u64 count);
struct travel timeline_goto_end(struct timeline *t);

/*
 * The user is thinking: leaves checkpoints close before this point, so that the
 * first step back is as short as the next.  The machine stands where it stood.
 */
void timeline_warm(struct timeline *t);

/*
 * From here the machine is changed by hand, or runs without the recording's
 * inputs: what follows is no recorded run.  Going back from there ends it and
 * leads to the point where it began.
 */
bool timeline_branch(struct timeline *t) must_check; /* false: timeline_trouble says why, nothing has changed */
bool timeline_branched(const struct timeline *t);

/* Keeps the state here until the session ends.  ERR_NO_MEMORY: the bound is reached. */
err_t timeline_keep(struct timeline *t) must_check;

/* The machine, all of its state current in struct cpu_state. */
struct vm *timeline_vm(struct timeline *t);
bool timeline_at_end(const struct timeline *t);

/* Why the last journey failed, in words. */
const char *timeline_trouble(const struct timeline *t);

/* Figures, a line each. */
void timeline_describe(struct timeline *t, void (*print)(void *ctx, const char *line), void *ctx);

/* The last n recorded inputs up to here and the next n, marked '>', a line each. */
void timeline_inputs(struct timeline *t, unsigned n, void (*print)(void *ctx, const char *line), void *ctx);

#endif
