/*
 * device.h - what a device is: one struct of hooks, none optional.
 *
 * A device is a struct of state plus a constant struct device_ops.  It knows
 * the virtual clock, the interrupt lines and the outlet it was given when the
 * board wired it, and nothing else: no VM, no vCPU, no host.  So each one
 * runs under a unit test as it is.
 *
 * A device that takes nothing from outside says so with device_no_input.
 */
#ifndef VMM_DEV_DEVICE_H
#define VMM_DEV_DEVICE_H

#include "kernel/base.h"
#include "vmm/state.h"
#include "vmm/vclock.h"

/* Where an access comes from.  A device with one range per space tells them apart by this. */
enum io_space { IO_PORT, IO_MEMORY };

struct device_ops {
	const char *name;  /* lower case, unique on the board; a state section's name */
	u32 version;       /* of the state section */

	/*
	 * An access by the guest.  addr is the full port or guest-physical
	 * address, size_bytes 1, 2 or 4 (memory: also 8).  A device defines
	 * every size: what hardware ignores reads as all ones.  The upper bytes
	 * of a result beyond size_bytes are ignored.
	 */
	u64 (*read)(void *dev, enum io_space space, u64 addr, unsigned size_bytes);
	void (*write)(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value);

	/* Power-on state. Cancels timers and lowers lines. */
	void (*reset)(void *dev);

	/* Bytes that arrive from outside at this execution point (console, keys, frames). */
	void (*input)(void *dev, const void *data, size_t size);

	/* Visits every field the guest can ever see an effect of, armed timers included. */
	void (*state)(void *dev, struct state_walk *w);
};

void device_no_input(void *dev, const void *data, size_t size);

/* An interrupt line out of a device: level, set and cleared.  Copyable. */
struct irq_line {
	void (*set)(void *ctx, unsigned pin, bool level);
	void *ctx;
	unsigned pin;
};

static inline void irq_set(const struct irq_line *l, bool level)
{
	l->set(l->ctx, l->pin, level);
}

/* Where a device's bytes to the outside go; they leave through the input boundary. */
struct outlet {
	void (*put)(void *ctx, const void *data, size_t size);
	void *ctx;
};

/* What a device may ask of the machine around it. */
enum machine_request {
	MACHINE_RESET,      /* keyboard controller, port 92h, ACPI reset */
	MACHINE_POWER_OFF,  /* ACPI S5 */
	MACHINE_EXIT,       /* debug-exit port; value is the guest's exit code */
	MACHINE_OUT_OF_MEMORY, /* the host has none for the guest's RAM */
};

struct machine_control {
	void (*request)(void *ctx, enum machine_request what, u32 value);
	void *ctx;
};

#endif
