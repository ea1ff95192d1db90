/*
 * steady.c - time for QEMU: one that only counts how often it is asked, and one that is real.
 *
 * A shared object of its own (steady.so) that the QEMU which hosts the
 * hypervisor is started with, by LD_PRELOAD.  QEMU sizes its software TLB in
 * windows of 100 ms of the time of day, which it asks for at every flush
 * (QEMU 7.2, accel/tcg/cputlb.c, tlb_mmu_resize_locked).  A guest can tell the
 * sizes apart: it clears an accessed bit without a flush, as Linux does when
 * it ages pages, and whether the bit comes back depends on which translations
 * are still held.  So that time must be a function of the run alone: here it
 * is the number of flushes so far.  One count a thread, so that nobody else's
 * questions move the processor's; and none by the RTC (-rtc clock=rt).
 *
 * The hypervisor wants to know real time, too, and QEMU has no clock for it: all
 * stand still or crawl while instructions are counted.  But its RTC's
 * registers are made of a time by gmtime_r, whenever one is read (hw/rtc/mc146818rtc.c,
 * rtc_update_time).  So that RTC has another time here, which is cheap to read: all in
 * the register of seconds, in binary.  Of each four readings the first tells
 * the lowest 7 of 28 bits of milliseconds, with bit 7 set, the next three tell the others
 * as of then.  A day of the week that is none says so.
 * No guest sees it: theirs is vmm/dev/rtc.c.  Its reader is kernel/realtime.c.
 */
#include <sys/time.h>
#include <time.h>

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

struct tm *gmtime_r(const time_t *restrict at unused_arg, struct tm *restrict tm)
{
	static unsigned part;
	static u64 ms;
	struct timespec now;

	if (!part) {
		clock_gettime(CLOCK_BOOTTIME, &now); /* a host that slept was away for as long */
		ms = (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
	}
	*tm = (struct tm){ .tm_sec = (int)(ms >> 7 * part & 0x7f) | (part ? 0 : 0x80), .tm_mday = 1, .tm_year = 100,
			   .tm_wday = 98 /* the register has one more */ };
	part = (part + 1) % 4;
	return tm;
}
