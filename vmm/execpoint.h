/*
 * execpoint.h - a position in a VM's run.
 *
 * An execution point belongs to the VM, not to a vCPU: count is the sum of
 * instructions retired by all its vCPUs, which run one at a time.  vtime_ns
 * tells points apart while the guest is halted and count stands still.
 * sequence tells apart what happens at one count and one instant.
 *
 * Order at one point, everywhere [docs/TIME.md]: timers, then inputs in the
 * order of their sequence, then injection of the interrupt that results.
 */
#ifndef VMM_EXECPOINT_H
#define VMM_EXECPOINT_H

#include "kernel/base.h"

struct execpoint {
	u64 count;     /* instructions retired by the VM since reset */
	u64 vtime_ns;  /* virtual time */
	u64 sequence;  /* events already delivered in this run */
};

static inline int execpoint_cmp(const struct execpoint *a, const struct execpoint *b)
{
	if (a->count != b->count)
		return a->count < b->count ? -1 : 1;
	if (a->vtime_ns != b->vtime_ns)
		return a->vtime_ns < b->vtime_ns ? -1 : 1;
	if (a->sequence != b->sequence)
		return a->sequence < b->sequence ? -1 : 1;
	return 0;
}

#endif
