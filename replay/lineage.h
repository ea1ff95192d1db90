/*
 * lineage.h - the events of a run, from all the recordings it is made of.
 *
 * A fork's recording holds what came after the fork; what came before is its
 * parent's, up to the point where it forked, which may itself have a parent.
 * Readers of a run see one row of events.
 */
#ifndef REPLAY_LINEAGE_H
#define REPLAY_LINEAGE_H

#include "replay/recording.h"

struct vm;

#define LINEAGE_MAX 8

/* One recording's part of the run. */
struct lineage_stage {
	struct rec_reader *r;      /* the caller's, open where its events begin */
	struct rec_place begin;
	struct execpoint until;    /* what is later belongs to another run; of the last stage: no limit */
	u64 jitter_ns, seed;       /* how late timers fire in this part [vclock.h] */
};

struct lineage {
	struct lineage_stage stage[LINEAGE_MAX]; /* the oldest first */
	unsigned n, at;
};

struct lineage_place {
	unsigned at;
	struct rec_place place;
};

/* Adds a recording behind those that are there; lineage_fork_at has said where it begins.  False: too many. */
bool lineage_add(struct lineage *l, struct rec_reader *r, u64 jitter_ns, u64 seed) must_check;

/*
 * Here the recording that is added next left the run so far.  It may be a point
 * before the last recording's own: nothing of that one belongs to the run then,
 * nor what its parents hold from there on.
 */
void lineage_fork_at(struct lineage *l, const struct execpoint *until);

/* The next event of the run; errors as rec_next_event's for the last recording. */
err_t lineage_next_event(struct lineage *l, struct rec_event *ev) must_check;

void lineage_tell(const struct lineage *l, struct lineage_place *at);
err_t lineage_seek(struct lineage *l, const struct lineage_place *at) must_check;

/* The reader of the recording that ends the run. */
struct rec_reader *lineage_last(const struct lineage *l);

/* The count at which the part after the one that holds vm->now begins; NO_STOP: there is none. */
u64 lineage_next_fork(const struct lineage *l, const struct vm *vm);

/* Gives the VM's clock what belongs to where it stands. */
void lineage_apply(const struct lineage *l, struct vm *vm);

#endif
