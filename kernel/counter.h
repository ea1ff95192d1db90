/*
 * counter.h - counting a guest's instructions, and stopping it on one.
 *
 * Everything Reprise does rests on this: that the host can say how many
 * instructions a guest has retired, and stop it after exactly k more.  A host
 * offers that in its own way (a provider); the vendor code that enters guests
 * applies the provider's numbers in straight-line code (vmm/svm/entry.S).
 *
 * Provider "icount": QEMU's TCG with -icount shift=0.  There the TSC advances
 * by exactly one for every retired instruction and the LAPIC timer counts the
 * same ticks, so a timer armed before VMRUN stops the guest on an exact
 * instruction.  Two constants depend only on our own straight-line code and
 * are measured at boot (vmm/selftest.c):
 *
 *   entry_cost   TSC ticks between the two readings that are not the guest's
 *   stop_cost    ticks from arming the timer to the guest's first instruction
 *   tsc_lead     what the guest's first RDTSC reads beyond the TSC at entry
 *
 * A provider that is not exact on this host is refused, and recording with it.
 */
#ifndef KERNEL_COUNTER_H
#define KERNEL_COUNTER_H

#include "kernel/base.h"

/* What the boot self-test found [vmm/selftest.c]; the boot area holds the one instance. */
struct counter {
	const char *kind;        /* "icount", or "none" */
	bool exact;
	u64 entry_cost, stop_cost, tsc_lead;
	char refusal[120];       /* why it is not exact, for one line to the user */
};

/* Longest stretch one arming can cover: the timer is 32 bits wide. */
static inline u64 counter_max(const struct counter *c)
{
	return 0xffffff00UL - c->stop_cost;
}

/* Ticks to arm for a stop after k more instructions; a longer stretch stops early and goes on. */
static inline u32 counter_ticks(const struct counter *c, u64 k)
{
	return (u32)(MIN(k, counter_max(c)) + c->stop_cost);
}

struct counter *host_counter(void);

#endif
