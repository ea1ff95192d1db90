/*
 * lapic.h - a vCPU's local APIC: xAPIC by memory, x2APIC by MSR, and its timer.
 *
 * The vCPU loop asks lapic_pending_vector before every entry and says
 * lapic_accept when the guest takes the vector.  Everything else reaches the
 * LAPIC as an access, a message or a timer, and leaves by struct lapic_env.
 *
 * The timer's bus clock is 1 GHz: one tick at divide-by-1 is one nanosecond of
 * virtual time; CPUID 15h says so to the guest.  The guest's TSC is virtual
 * time plus tsc_adjust, so one TSC tick is a nanosecond too.
 *
 * Not here: SMIs (there is no SMM to enter), CMCI, and ExtINT messages from the
 * I/O APIC (this board wires the PIC to LINT0).
 */
#ifndef VMM_DEV_LAPIC_H
#define VMM_DEV_LAPIC_H

#include "vmm/dev/apicbus.h"
#include "vmm/dev/device.h"

#define LAPIC_DEFAULT_BASE 0xfee00000UL
#define LAPIC_VERSION 0x00050014U  /* integrated, six LVT entries, no EOI-broadcast suppression */
#define LAPIC_TIMER_HZ 1000000000UL

/* Width of a guest-physical address, as CPUID 80000008h tells it: higher bits of APIC_BASE fault. */
#define LAPIC_PHYS_BITS 40

enum {
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC_FIRST = 0x800,
	MSR_X2APIC_LAST = 0x83f,
};

enum lapic_cpu_event { LAPIC_EVENT_NMI, LAPIC_EVENT_INIT, LAPIC_EVENT_STARTUP };

struct lapic_env {
	/* An IPI leaves: see lapic_route.  Never APIC_TO_SELF, which stays inside. */
	void (*send)(void *ctx, const struct apic_message *m);
	/* The end of a level-triggered interrupt, for the I/O APICs. */
	void (*eoi)(void *ctx, u8 vector);
	/* For the core: NMI, INIT, STARTUP (vector: the page to start at). */
	void (*cpu_event)(void *ctx, enum lapic_cpu_event event, u8 vector);
	void *ctx;
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PMC, LVT_LINT0, LVT_LINT1, LVT_ERROR, NLVT };

struct lapic {
	struct vclock *clock;
	struct lapic_env env;
	u32 apic_id;           /* wiring, as is bsp */
	bool bsp;
	struct vtimer timer;

	u64 apic_base;         /* IA32_APIC_BASE */
	u64 icr;
	u32 tpr, svr, ldr, dfr;
	u32 esr, esr_pending;  /* as read; logged since the last write */
	u32 lvt[NLVT];
	u32 irr[8], isr[8], tmr[8];

	u32 timer_initial;
	u32 timer_divide;      /* the register; lapic_timer.c decodes it */
	u32 timer_count;       /* current count at timer_start_ns; 0: not running */
	u64 timer_start_ns;
	u64 tsc_deadline;      /* 0: not armed */
	u64 tsc_adjust;

	/* Derived: which words of irr and isr are not 0.  Rebuilt after a load. */
	u8 irr_words, isr_words;
};

extern const struct device_ops lapic_ops;

void lapic_init(struct lapic *l, struct vclock *clock, u32 apic_id, bool bsp, const struct lapic_env *env);

/* Whether a physical address is this LAPIC's register page, by its own IA32_APIC_BASE. */
bool lapic_claims(const struct lapic *l, gpa_t addr);

/* ERR_INVALID: the instruction gets #GP(0).  MSRs 1Bh, 6E0h and 800h-83Fh. */
must_check err_t lapic_read_msr(struct lapic *l, u32 msr, u64 *value);
must_check err_t lapic_write_msr(struct lapic *l, u32 msr, u64 value);

/* The vector the CPU would take now, -1 if none is above the processor priority. */
int lapic_pending_vector(const struct lapic *l);

/* The CPU takes the vector lapic_pending_vector gave. */
void lapic_accept(struct lapic *l, u8 vector);

/* Whether the PIC's INT reaches the CPU: LINT0 in ExtINT mode, or no APIC at all. */
bool lapic_extint_enabled(const struct lapic *l);

static inline u8 lapic_cr8(const struct lapic *l)
{
	return (u8)(l->tpr >> 4);
}

void lapic_set_tpr_from_cr8(struct lapic *l, u8 cr8);

/* The guest's TSC is now virtual time + adjust: an armed TSC deadline moves with it. */
void lapic_set_tsc_adjust(struct lapic *l, u64 adjust);

/* As firmware leaves a boot processor: enabled, PIC through LINT0, NMI on LINT1. */
void lapic_set_virtual_wire(struct lapic *l);

/* Whether a message is for this LAPIC; false for APIC_TO_OTHERS, which needs the source: lapic_route. */
bool lapic_matches(const struct lapic *l, const struct apic_message *m);

/* Takes a message that is for this LAPIC. */
void lapic_deliver(struct lapic *l, const struct apic_message *m);

/*
 * Gives a message to those of n LAPICs it is for.  source is the sending
 * LAPIC's index, or -1 for an I/O APIC.  Lowest priority goes to the first
 * with the lowest processor priority: a rule, so that replay agrees.
 */
void lapic_route(struct lapic *const *lapics, unsigned n, int source, const struct apic_message *m);

#endif
