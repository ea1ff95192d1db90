/*
 * lapic.h - the host's local APIC: EOI and a one-shot timer.
 *
 * The timer counts at divide by 1, so on an instruction-counting host it
 * stops a guest on an exact instruction.
 */
#ifndef KERNEL_LAPIC_H
#define KERNEL_LAPIC_H

#include "kernel/base.h"

/* [APM2 16.3.1 APIC registers] */
enum lapic_reg {
	LAPIC_ID = 0x20,
	LAPIC_TPR = 0x80,
	LAPIC_EOI = 0xb0,
	LAPIC_SVR = 0xf0,
	LAPIC_IRR = 0x200, /* eight registers, 10h apart */
	LAPIC_ESR = 0x280,
	LAPIC_LVT_TIMER = 0x320,
	LAPIC_LVT_LINT0 = 0x350,
	LAPIC_LVT_LINT1 = 0x360,
	LAPIC_LVT_ERROR = 0x370,
	LAPIC_TIMER_INITIAL = 0x380,
	LAPIC_TIMER_CURRENT = 0x390,
	LAPIC_TIMER_DIVIDE = 0x3e0,
};

extern volatile u32 *host_lapic;

static inline u32 host_lapic_read(enum lapic_reg reg)
{
	return host_lapic[reg / 4];
}

static inline void host_lapic_write(enum lapic_reg reg, u32 value)
{
	host_lapic[reg / 4] = value;
}

static inline void host_lapic_eoi(void)
{
	host_lapic_write(LAPIC_EOI, 0);
}

/* VEC_HOST_TIMER in that many ticks; 0 stops the timer. */
static inline void host_timer_arm(u32 ticks)
{
	host_lapic_write(LAPIC_TIMER_INITIAL, ticks);
}

/* LINT0 takes the 8259s' interrupts (ExtINT, edge), or nothing. */
static inline void host_lint0_open(bool on)
{
	host_lapic_write(LAPIC_LVT_LINT0, on ? 0x700 : 0x10700);
}

/* Whether the vector has been raised and not yet delivered. */
static inline bool host_lapic_pending(u8 vector)
{
	return host_lapic[(LAPIC_IRR + vector / 32 * 0x10) / 4] >> (vector % 32) & 1;
}

/* Enables the calling CPU's LAPIC; its timer one-shot, unmasked and stopped. */
void host_lapic_init(void);

#endif
