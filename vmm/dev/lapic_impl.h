/*
 * lapic_impl.h - between the local APIC's two files; nothing else includes it.
 */
#ifndef VMM_DEV_LAPIC_IMPL_H
#define VMM_DEV_LAPIC_IMPL_H

#include "vmm/dev/lapic.h"

enum { LVT_MASKED = 1 << 16 };
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE };

static inline unsigned lapic_timer_mode(const struct lapic *l)
{
	return l->lvt[LVT_TIMER] >> 17 & 3;
}

/* Into the IRR; vectors 0 to 15 are an error. */
void lapic_take_fixed(struct lapic *l, u8 vector, u8 trigger);

/* The count as a read shows it. */
u32 lapic_timer_count(const struct lapic *l);

/* An expiry due by now comes before the access that could change it: call it first. */
void lapic_timer_catch_up(struct lapic *l);

/* After a change of what decides when it fires. */
void lapic_timer_arm(struct lapic *l);

/* The vtimer's hook; owner is the lapic. */
void lapic_timer_fires(void *owner);

/* Writes to the registers of these names. */
void lapic_timer_set_deadline(struct lapic *l, u64 deadline);
void lapic_timer_set_initial(struct lapic *l, u32 value);
void lapic_timer_set_divide(struct lapic *l, u32 value);
void lapic_timer_set_lvt(struct lapic *l, u32 value);

#endif
