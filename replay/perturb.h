/*
 * perturb.h - disturbing a run without changing it.
 *
 * A replay with forced exits at random points, at strides of 1, 2, 3 and 7
 * over stretches, and with other second-level page sizes must come to the
 * same digests.  Where it does not, the host leaks into the guest.
 */
#ifndef REPLAY_PERTURB_H
#define REPLAY_PERTURB_H

#include "vmm/vm.h"

struct perturb {
	u64 seed, random;      /* xorshift state */
	u64 stretch_end;       /* count at which the present stretch ends */
	u64 stride;            /* of the present stretch; 0: random single stops */
	u64 mean_gap;          /* instructions between stretches, on average */
	u64 stretch_stops;     /* stops in a stretch, at most */
};

/*
 * Reads `perturb` (the seed; absent: nothing is disturbed), `perturb_gap` and
 * `perturb_stops` from the session's text and starts disturbing vm.
 */
void perturb_start(struct perturb *p, struct vm *vm, const char *conf, size_t size);

#endif
