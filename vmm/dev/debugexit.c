/*
 * debugexit.c - port F4h: a guest ends its run with a number.  See debugexit.h.
 */
#include "vmm/dev/debugexit.h"

static u64 debugexit_read(void *dev unused_arg, enum io_space space unused_arg, u64 addr unused_arg,
			  unsigned size_bytes)
{
	return size_mask(size_bytes);
}

static void debugexit_write(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes, u64 value)
{
	struct debugexit *d = dev;

	if (addr == DEBUGEXIT_PORT)
		d->control.request(d->control.ctx, MACHINE_EXIT, (u32)(value & size_mask(size_bytes)));
}

static void debugexit_reset(void *dev unused_arg)
{
}

static void debugexit_state(void *dev unused_arg, struct state_walk *w unused_arg)
{
}

void debugexit_init(struct debugexit *d, struct vclock *clock unused_arg, struct machine_control control)
{
	d->control = control;
}

const struct device_ops debugexit_ops = {
	.name = "debugexit",
	.version = 1,
	.read = debugexit_read,
	.write = debugexit_write,
	.reset = debugexit_reset,
	.input = device_no_input,
	.state = debugexit_state,
};
