/*
 * timeline_impl.h - what timeline.c (journeys) and scan.c (looking for hits)
 * share, and whoever makes a timeline: session.c and the tests.
 */
#ifndef REPLAY_TIMELINE_IMPL_H
#define REPLAY_TIMELINE_IMPL_H

#include "replay/checkpoint.h"
#include "replay/timeline.h"

/* What the timeline wants of its surroundings. */
struct timeline_host {
	bool (*wants_stop)(void *ctx);  /* the user asks to stop a journey; asked now and then */
	void (*progress)(void *ctx, const struct execpoint *now);
	const struct host_port *live;   /* of a run that still goes on: its console and waiting; NULL */
	void (*ended)(void *ctx);       /* such a run has ended, just now */
	void *ctx;
};

/* Hits that a scan looks for, or has found. */
struct scan {
	const struct conditions *c;
	u64 low, high;                 /* positions from low on, below high */
	u64 begun, begun_at;           /* forward: the instruction the user stands at, its count and linear address, is no hit */
	bool forward;                  /* the first hit ends it; else the last one counts */
	u64 nhits, max_hits;           /* too many: the scan gives up, `crowded` */
	bool crowded;
	bool found;
	u64 count;                     /* the hit's position */
	unsigned watch;
	u64 linear;
	/* of breakpoints at one count, on an instruction and on the handler that was entered instead: the other one */
	bool twice;
	unsigned other_watch;
	u64 other_linear;
	/* the pass under way: which watch each slot serves */
	unsigned serves[WATCH_SLOTS], nslots;
};

struct timeline {
	struct vm *vm;
	struct replay_boundary *replay;
	struct checkpoints *cs;
	struct timeline_host host;
	struct host_port port;         /* what the replay boundary sees */
	struct vm_stop *stop;
	u64 target;                    /* the count to pause at */
	u64 spacing;                   /* a checkpoint every so many instructions of new ground */
	bool interrupted;
	bool end_known;
	u64 end_count, end_digest;
	bool off_line;                 /* the machine is in a fork, whatever its count */
	bool delivered;                /* it stands behind the delivery of an interrupt or exception at its count */
	/* a run that still goes on [frontier.c] */
	struct record_boundary *recording; /* NULL: all is recorded */
	struct host_port live_port;    /* what its boundary sees */
	bool at_frontier;              /* the machine stands there, and runs on live */
	bool mid_idle;                 /* the frontier is where a halted machine waits: behind the stop at its count */
	bool unseen;                   /* what has run since the frontier moved, no scan has looked at yet */
	bool searching;                /* it runs on with conditions set ... */
	u64 idle_seen;                 /* ... and was looked at when it idled at this count */
	struct vm_stats stats;         /* the live run's own */
	/* off the recorded line, by the user's hand */
	bool branched;
	u64 branch_count;
	bool branch_at_end;
	struct live_boundary branch;
	struct checkpoint part;        /* where a part of a journey along it began */
	struct scan *scan;             /* under way */
	u64 walked;                    /* stretches that had to be walked, for reports */
	u64 before[MAX_WATCHES];       /* of a step of such a walk: hashes of what is watched */
	char trouble[192];
};

/*
 * Makes a timeline of a VM that stands at its beginning (of whatever count: it may have come from
 * another host), around replay and cs
 * (both the caller's, initialised).  The beginning becomes its first checkpoint.
 * Before replay_boundary_init: timeline_port gives the port it needs.
 */
void timeline_prepare(struct timeline *t, const struct timeline_host *host);
err_t timeline_init(struct timeline *t, struct vm *vm, struct replay_boundary *replay, struct checkpoints *cs) must_check;

/*
 * The same for a VM whose run only begins: recording is its boundary, made
 * around t->live_port, and replay reads what that has written.
 */
err_t timeline_init_live(struct timeline *t, struct vm *vm, struct record_boundary *recording,
			 struct replay_boundary *replay, struct checkpoints *cs) must_check;

/* ---- between timeline.c and scan.c ---- */

enum stopped { STOPPED_AT_COUNT, STOPPED_AT_END, STOPPED_ON_WAY /* interrupted, or a scan is content */ };

/* Runs on to a count, as it is, nothing taken on the way. */
enum stopped run_until(struct timeline *t, u64 count);

/* Back to a checkpoint; false: trouble. */
bool go_back(struct timeline *t, const struct checkpoint *c);

/* Takes up the user's wish to stop, at the next instruction.  Always false: the run is not left. */
bool look_up(void *t);

/* The journey is over: what GDB will look at is made current. */
struct travel settle(struct timeline *t, enum stopped how, enum travel_end end);
struct travel arrive(struct timeline *t, const struct scan *s);

/* ---- frontier.c ---- */

/* How far the run has come. */
u64 frontier_count(const struct timeline *t);

void frontier_prepare(struct timeline *t);

/* Before the machine leaves the frontier: keeps it, for coming back; and back.  False: no memory, it stays there. */
bool frontier_hold(struct timeline *t) must_check;
enum stopped frontier_go(struct timeline *t);

/* Runs on live to a count, recorded. */
enum stopped frontier_run(struct timeline *t, u64 count);

/* Runs on live until a hit, which lies in the past by then, or until the user asks to stop, or the run ends. */
struct travel frontier_search(struct timeline *t, struct scan *s);

/* ---- timeline.c and scan.c ---- */

/* Exactly to a count ahead, checkpoints taken on the way; and to any count, NO_STOP: the end. */
enum stopped travel_to(struct timeline *t, u64 count);
enum stopped go_to(struct timeline *t, u64 count);

/*
 * Looks at the run from count `from` on, up to `to` (NO_STOP: the end),
 * where the digest is *known, NULL: not known.  Leaves the machine in a fork,
 * the caller goes elsewhere.  False: trouble, or interrupted.
 */
bool scan_stretch(struct timeline *t, struct scan *s, u64 from, u64 to, const u64 *known);

/* From a hit's position into a handler whose first instruction is what was hit: behind the delivery, before it. */
void enter_handler(struct timeline *t, u64 linear);

/* Whether the instruction at this address is begun at this count; leaves the machine before it, or in a fork. */
bool executes(struct timeline *t, u64 linear);
u64 linear_rip(const struct vcpu *v);

/* A scan forward from here; delivered: from behind a delivery, where only the next instruction is news. */
struct scan scan_from_here(const struct timeline *t, const struct conditions *c, bool delivered);

/* Where in the list of watches, and in the bytes of one, the next pass goes on. */
struct scan_cursor {
	unsigned watch;
	u64 done_bytes;
};

/* Fills the slots from *at on; false: none is left. */
bool scan_next_pass(struct vm *vm, struct scan *s, struct scan_cursor *at);

/* Runs with the slots armed until `to`, or a forward scan has its hit; and the same instruction by instruction. */
enum stopped scan_run_armed(struct timeline *t, struct scan *s, u64 to);
enum stopped scan_walk_to(struct timeline *t, struct scan *s, u64 to);

/* ---- branch.c ---- */

/* Forward to the first hit, or the branch's end; and back to where it began. */
struct travel branch_run(struct timeline *t, const struct conditions *c);
struct travel branch_leave(struct timeline *t);

void timeline_fail(struct timeline *t, const char *fmt, ...) printf_like(2, 3);

#endif
