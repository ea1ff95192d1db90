/*
 * steady.c - the time of day for QEMU, by counting how often it is asked.
 *
 * A shared object of its own (steady.so) that the QEMU which hosts the
 * hypervisor is started with, by LD_PRELOAD.  QEMU sizes its software TLB in
 * windows of 100 ms of the time of day, which it asks for at every flush
 * (QEMU 7.2, accel/tcg/cputlb.c, tlb_mmu_resize_locked).  A guest can tell the
 * sizes apart: it clears an accessed bit without a flush, as Linux does when
 * it ages pages, and whether the bit comes back depends on which translations
 * are still held.  So that time must be a function of the run alone: here it
 * is the number of flushes so far.  What else QEMU asks the time of day for is
 * the date in its RTC, which the hypervisor does not read.
 *
 * One count a thread, so that nobody else's questions move the processor's.
 */
#include <sys/time.h>

#include "kernel/base.h"

/* So that a window is 2000 flushes: about what 100 ms hold when the guest exits often. */
#define US_A_CALL 50UL
#define US_A_SECOND 1000000UL

int gettimeofday(struct timeval *restrict tv, void *restrict tz unused_arg)
{
	static _Thread_local u64 us;

	us += US_A_CALL;
	tv->tv_sec = (time_t)(us / US_A_SECOND);
	tv->tv_usec = (suseconds_t)(us % US_A_SECOND);
	return 0;
}
