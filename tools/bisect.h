/*
 * bisect.h - where exactly a replay differs from an undisturbed one.
 */
#ifndef TOOLS_BISECT_H
#define TOOLS_BISECT_H

#include "tools/session.h"

/*
 * One run over a recording [cmd_replay.c]; the caller zeroes s and sets what
 * of "what to do" it wants.  disturbed: with the options' --perturb and
 * --plant.  more: further lines of session.conf.
 */
bool replay_pass(struct session *s, const struct machine *m, const struct summary *sum, const struct options *o,
		 bool disturbed, const char *more) must_check;

/* What such a pass came to, said unless options->quiet. */
enum status replay_judge(const struct session *s, const struct summary *sum, const struct options *o) must_check;

/*
 * `first` is the pass that diverged.  Finds the first instruction after which
 * it differs from an undisturbed replay and prints registers, device fields
 * and memory of both to standard output.
 */
enum status bisect(const struct session *first, const struct machine *m, const struct summary *sum,
		   const struct options *o) must_check;

#endif
