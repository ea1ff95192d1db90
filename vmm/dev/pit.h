/*
 * pit.h - the 8254 interval timer, and port 61h that gates its channel 2.
 *
 * Channel 0's OUT is the ISA timer interrupt, channel 1 once refreshed DRAM,
 * channel 2 drives the speaker and is what kernels calibrate against.
 * Counting is never simulated: a channel keeps the tick at which its counting
 * element was loaded, and everything else is arithmetic on the tick of now.
 * Ticks are those of one 1.193182 MHz clock that has run since virtual time 0.
 */
#ifndef VMM_DEV_PIT_H
#define VMM_DEV_PIT_H

#include "vmm/dev/device.h"

#define PIT_HZ 1193182UL

enum { PIT_PORT = 0x40, PIT_NPORTS = 4, PIT_PORT_B = 0x61 };

struct pit_channel {
	u64 load_tick;     /* the counting element held `count` at this tick */
	u64 load_at;       /* the tick at which it takes count_reg; PIT_NEVER if none is due */
	u64 stop_tick;     /* while `stopped`, time stands still here */
	u32 count_reg;     /* last count written, 1..65536; 0: none since the control word */
	u32 count;         /* the count being counted */
	u16 idle_value;    /* what the counter reads while nothing is loaded */
	u16 latch;
	u8 control;        /* bits 5-0 of the control word: access, mode, BCD */
	u8 gate;
	u8 loaded;         /* the counting element is in use */
	u8 stopped;        /* GATE holds it still */
	u8 null_count;     /* the count register is newer than the counting element */
	u8 count_latched;
	u8 status_latched;
	u8 status;
	u8 read_msb;       /* 16-bit access: the next byte is the high one */
	u8 write_msb;
	u8 write_lsb;
};

struct pit {
	struct vclock *clock;
	struct irq_line irq0;
	struct vtimer timer;  /* the next rising edge of channel 0's OUT */
	struct pit_channel channel[3];
	u8 port_b;            /* port 61h bits 3-0 */
};

extern const struct device_ops pit_ops;

/* irq0 follows channel 0's OUT as far as edges go: every rise is a low-to-high change. */
void pit_init(struct pit *p, struct vclock *clock, struct irq_line irq0);

/* Ticks that have passed at an instant, and the first instant at which so many have. */
u64 pit_ticks_at(u64 now_ns);
u64 pit_ns_of_tick(u64 tick);

#endif
