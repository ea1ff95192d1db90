/*
 * realtime.h - how much real time has passed, also while a guest was busy.
 *
 * Under -icount the TSC counts instructions, and falls behind a clock on the wall two
 * or three times while a guest computes.  Who waits for another machine must know
 * better.  Host time only: nothing read here may reach a guest.
 */
#ifndef KERNEL_REALTIME_H
#define KERNEL_REALTIME_H

#include "kernel/base.h"

/* Finds a clock: QEMU's RTC if it shows milliseconds [steady.c], else the TSC. */
void realtime_init(void);

/*
 * Nanoseconds since realtime_init, never backwards.  In QEMU exact to a millisecond and
 * 0.6 us a call; asked less often than every three days it loses whole such spans.
 * A QEMU without steady.so has only its TSC, which is too slow then.
 */
u64 host_realtime_ns(void);

/* Whether it is right while a guest is busy. */
bool host_realtime_is_real(void);

#endif
