/*
 * ioapic.h - the I/O APIC: 24 pins, each with a redirection entry that says
 * what message its interrupt becomes.
 *
 * Version 20h, so with an EOI register [82093AA 3.0; ICH9 datasheet, EOIR].
 */
#ifndef VMM_DEV_IOAPIC_H
#define VMM_DEV_IOAPIC_H

#include "vmm/dev/apicbus.h"
#include "vmm/dev/device.h"

#define IOAPIC_BASE 0xfec00000UL
#define IOAPIC_NPINS 24

struct ioapic {
	void (*send)(void *ctx, const struct apic_message *m);
	void *ctx;
	u8 default_id;  /* wiring: the ID after reset */
	u8 id;
	u8 select;      /* IOREGSEL */
	u32 lines;      /* bit per pin: asserted */
	u64 entry[IOAPIC_NPINS];
};

extern const struct device_ops ioapic_ops;

/* The clock is not used: an I/O APIC has no timing.  send: lapic_route with source -1. */
void ioapic_init(struct ioapic *io, struct vclock *clock, u8 id,
		 void (*send)(void *ctx, const struct apic_message *m), void *ctx);

/*
 * level: the line is asserted, whichever voltage that is.  The polarity bit
 * therefore only reads back: a guest told by the board's tables that a line is
 * active-low sets it, and means the same assertion.
 */
void ioapic_set_line(struct ioapic *io, unsigned pin, bool level);

static inline bool ioapic_line(const struct ioapic *io, unsigned pin)
{
	return io->lines >> pin & 1;
}

/* A LAPIC ends a level-triggered interrupt; a pin still asserted asks again at once. */
void ioapic_eoi(struct ioapic *io, u8 vector);

#endif
