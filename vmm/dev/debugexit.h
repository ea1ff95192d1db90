/*
 * debugexit.h - port F4h: a guest ends its run with a number.
 *
 * For test kernels: a write of any size asks the machine to stop and gives
 * the value as the exit code, unchanged.  It has no state and reads as all
 * ones, like a port where nothing is.
 */
#ifndef VMM_DEV_DEBUGEXIT_H
#define VMM_DEV_DEBUGEXIT_H

#include "vmm/dev/device.h"

#define DEBUGEXIT_PORT 0xf4

struct debugexit {
	struct machine_control control;
};

extern const struct device_ops debugexit_ops;

void debugexit_init(struct debugexit *d, struct vclock *clock, struct machine_control control);

#endif
