/*
 * time.h - how fast the host's clocks run, and waiting by them.
 *
 * Host time only: nothing read here may reach a guest.
 */
#ifndef KERNEL_TIME_H
#define KERNEL_TIME_H

#include "kernel/base.h"

/* Finds both frequencies; takes 0.25 ms on QEMU, 50 ms on unknown hardware. */
void time_init(void);

u64 host_tsc_hz(void);
/* Ticks a second of the LAPIC timer at divide by 1. */
u64 host_lapic_hz(void);

/* Nanoseconds by the TSC since it began to run: so much host time has passed between two readings. */
u64 host_ns(void);

/*
 * Sleeps until max_ns have passed, a byte can be read from a port with
 * serial_rx_irq_enable, a frame has arrived at an open NIC, or another interrupt
 * came; may wake without a reason.  A frame that was there before ends one wait,
 * not the next: who has no use for it yet can still sleep.
 * Called and returns with interrupts off and the LAPIC timer stopped.
 */
void cpu_wait(u64 max_ns);

#endif
