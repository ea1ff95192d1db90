/*
 * realtime.c - real time by QEMU's RTC, or the TSC.  See realtime.h.
 *
 * The RTC's registers are worked out when they are read, so this costs nothing in
 * between, and no interrupt.  tools/steady.c has it count milliseconds
 * where a clock has seconds, and a day of the week no clock has as the sign of it.
 */
#include "kernel/cpu.h"
#include "kernel/realtime.h"
#include "kernel/time.h"

enum { RTC_INDEX = 0x70, RTC_DATA = 0x71 };
enum { SECONDS = 0, MINUTES = 2, HOURS = 4, WEEKDAY = 6, DAY = 7 }; /* [MC146818A datasheet, Address Map] */
enum { IN_MILLISECONDS = 0x99 };

#define CYCLE_MS (28 * 86400UL) /* its months have 28 days */

static struct {
	bool rtc;
	u64 last;   /* what the RTC, or the TSC, said when it was last asked */
	u64 ns;
} realtime;

static u8 rtc_read(u8 reg)
{
	outb(RTC_INDEX, reg);
	return inb(RTC_DATA);
}

static u64 rtc_number(u8 reg)
{
	u8 bcd = rtc_read(reg);

	return bcd / 16 * 10UL + bcd % 16;
}

/* What changes 60 ms apart or more, in units of that. */
static u64 rtc_minutes(void)
{
	u64 day = rtc_number(DAY) - 1, hour = rtc_number(HOURS);

	return (day * 24 + hour) * 60 + rtc_number(MINUTES);
}

/* Each register is as of its own reading: together they are a time only if the greater ones have stayed. */
static u64 rtc_ms(void)
{
	u64 minutes = rtc_minutes(), before, ms;

	do {
		before = minutes;
		ms = before * 60 + rtc_number(SECONDS);
		minutes = rtc_minutes();
	} while (minutes != before);
	return ms;
}

/* Remainders are kept: a call that comes too soon to count leaves last as it was. */
static u64 tsc_advance(void)
{
	u64 hz = host_tsc_hz(), passed = rdtsc() - realtime.last;
	u64 ns = hz ? passed / hz * 1000000000UL + passed % hz * 1000000000UL / hz : 0;

	if (ns)
		realtime.last += passed;
	return ns;
}

void realtime_init(void)
{
	realtime.rtc = cpu_is_tcg() && rtc_read(WEEKDAY) == IN_MILLISECONDS;
	realtime.last = realtime.rtc ? rtc_ms() : rdtsc();
}

u64 host_realtime_ns(void)
{
	if (realtime.rtc) {
		u64 now = rtc_ms();

		realtime.ns += (now + CYCLE_MS - realtime.last) % CYCLE_MS * 1000000UL;
		realtime.last = now;
	} else {
		realtime.ns += tsc_advance();
	}
	return realtime.ns;
}

bool host_realtime_is_real(void)
{
	return realtime.rtc || !cpu_is_tcg();
}
