/*
 * lapic_impl.h - between the local APIC's three files; nothing else includes it.
 */
#ifndef VMM_DEV_LAPIC_IMPL_H
#define VMM_DEV_LAPIC_IMPL_H

#include "vmm/dev/lapic.h"

enum {
	LVT_MASKED = 1 << 16,
	BASE_BSP = 1 << 8, BASE_EXTD = 1 << 10, BASE_EN = 1 << 11,
	SVR_ENABLE = 1 << 8,
	ESR_SEND_ILLEGAL = 1 << 5, ESR_RECEIVE_ILLEGAL = 1 << 6, ESR_ILLEGAL_REGISTER = 1 << 7,
};
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE };

static inline unsigned lapic_timer_mode(const struct lapic *l)
{
	return l->lvt[LVT_TIMER] >> 17 & 3;
}

static inline bool lapic_hw_enabled(const struct lapic *l)
{
	return l->apic_base & BASE_EN;
}

static inline bool lapic_x2apic(const struct lapic *l)
{
	return l->apic_base & BASE_EXTD;
}

static inline bool lapic_sw_enabled(const struct lapic *l)
{
	return lapic_hw_enabled(l) && l->svr & SVR_ENABLE;
}

static inline u32 lapic_ldr(const struct lapic *l)
{
	/* In x2APIC mode derived from the ID [SDM3 10.12.10.2]. */
	return lapic_x2apic(l) ? l->apic_id >> 4 << 16 | 1U << (l->apic_id & 15) : l->ldr;
}

/* ---- lapic.c ---- */

/* The processor's priority [SDM3 10.8.3.1]. */
u32 lapic_ppr(const struct lapic *l);

/* Into the error status, and the interrupt for it. */
void lapic_log_error(struct lapic *l, u32 bit);

/* As INIT does: the ID and IA32_APIC_BASE stay. */
void lapic_reset_registers(struct lapic *l);

/* Into the IRR; vectors 0 to 15 are an error. */
void lapic_take_fixed(struct lapic *l, u8 vector, u8 trigger);

/* ---- lapic_route.c ---- */

/* What the interrupt command register says now, or the self-IPI register, leaves. */
void lapic_send_ipi(struct lapic *l);
void lapic_self_ipi(struct lapic *l, u8 vector);

/* ---- lapic_timer.c ---- */

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
