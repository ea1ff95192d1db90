/*
 * apicbus.h - what I/O APICs and local APICs say to each other.
 *
 * One struct stands for a system-bus interrupt message and for an MSI alike.
 * Field values are those of the ICR and of a redirection entry
 * [SDM3 10.6.1 Interrupt Command Register].
 */
#ifndef VMM_DEV_APICBUS_H
#define VMM_DEV_APICBUS_H

#include "kernel/base.h"

enum apic_delivery {
	APIC_FIXED = 0,
	APIC_LOWEST = 1,
	APIC_SMI = 2,
	APIC_NMI = 4,
	APIC_INIT = 5,
	APIC_STARTUP = 6,
	APIC_EXTINT = 7,
};

enum apic_dest_mode { APIC_PHYSICAL = 0, APIC_LOGICAL = 1 };
enum apic_trigger { APIC_EDGE = 0, APIC_LEVEL = 1 };

enum apic_shorthand {
	APIC_TO_DEST = 0,
	APIC_TO_SELF = 1,
	APIC_TO_ALL = 2,
	APIC_TO_OTHERS = 3,
};

/* FFh of an 8-bit destination and FFFFFFFFh of x2APIC's both become this one. */
#define APIC_BROADCAST 0xffffffffU

struct apic_message {
	u32 dest;
	u8 dest_mode;
	u8 delivery_mode;
	u8 vector;
	u8 trigger;
	u8 level;      /* 0 only in an INIT level de-assert */
	u8 shorthand;
};

/* What an 8-bit destination field (xAPIC, I/O APIC, MSI) means. */
static inline u32 apic_dest8(u8 dest)
{
	return dest == 0xff ? APIC_BROADCAST : dest;
}

#endif
