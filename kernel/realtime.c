/*
 * realtime.c - real time by QEMU's RTC, or the TSC.  See realtime.h.
 *
 * The RTC's registers are worked out when they are read, so this costs nothing in
 * between, and no interrupt.  tools/steady.c has the register of seconds tell
 * milliseconds, 7 bits at a reading, and a day of the week no clock has as the sign of it.
 * Nobody else uses the RTC: the index stays where it is.
 */
#include "kernel/cpu.h"
#include "kernel/realtime.h"
#include "kernel/time.h"

enum { RTC_INDEX = 0x70, RTC_DATA = 0x71 };
enum { SECONDS = 0, WEEKDAY = 6, REGISTER_B = 11, BINARY = 0x04 }; /* [MC146818A datasheet, Address Map] */
enum { IN_MILLISECONDS = 99 };
enum { PARTS = 4, PART_BITS = 7, FIRST_PART = 0x80 };

#define CYCLE_MS (1UL << PARTS * PART_BITS) /* three days */

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

/* All parts are as of the first one's reading; before it may be some that nobody has read. */
static u64 rtc_ms(void)
{
	u8 part;
	u64 ms;

	do
		part = inb(RTC_DATA);
	while (!(part & FIRST_PART));
	ms = part & ~FIRST_PART;
	for (unsigned i = 1; i < PARTS; i++)
		ms |= (u64)inb(RTC_DATA) << i * PART_BITS;
	return ms;
}

static bool rtc_tells_ms(void)
{
	outb(RTC_INDEX, REGISTER_B);
	outb(RTC_DATA, inb(RTC_DATA) | BINARY);
	if (rtc_read(WEEKDAY) != IN_MILLISECONDS)
		return false;
	outb(RTC_INDEX, SECONDS);
	return true;
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
	realtime.rtc = cpu_is_tcg() && rtc_tells_ms();
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
