/*
 * storm.c - every timer of the machine at a high rate at once, over a loop of
 * work that must come out the same as without them.
 */
#include "guest.h"

const char guest_name[] = "storm";

#define TOTAL 15000 /* interrupts of all timers */
enum { LAPIC_VECTOR = 0xf0, PIT_VECTOR = 0x30, RTC_VECTOR = 0x78 };

static volatile u64 lapic_ticks, pit_ticks, rtc_ticks, total;

static void seen(const struct frame *f)
{
	total++;
	mix(rdtsc() ^ f->vector << 56);
	mix(f->rip);
}

static void on_lapic(struct frame *f)
{
	lapic_ticks++;
	seen(f);
	lapic_eoi();
}

static void on_pit(struct frame *f)
{
	pit_ticks++;
	seen(f);
	outb(0x43, 0x00); /* latch and read channel 0 */
	mix(inb(0x40));
	mix(inb(0x40));
	lapic_eoi();
}

static void on_rtc(struct frame *f)
{
	rtc_ticks++;
	seen(f);
	mix(rtc_read(0x0c)); /* or there is no next one */
	lapic_eoi();
}

/* A sieve: primes below n. */
static u64 work(u8 *map, u64 n)
{
	u64 primes = 0;

	for (u64 i = 0; i < n; i++)
		map[i] = 1;
	for (u64 i = 2; i < n; i++) {
		if (!map[i])
			continue;
		primes++;
		for (u64 j = i * i; j < n; j += i)
			map[j] = 0;
	}
	return primes;
}

void guest_main(void)
{
	u8 *map = (u8 *)0x1000000;
	u64 rounds = 0;

	handlers[LAPIC_VECTOR] = on_lapic;
	handlers[PIT_VECTOR] = on_pit;
	handlers[RTC_VECTOR] = on_rtc;
	ioapic_route(2, PIT_VECTOR);
	ioapic_route(8, RTC_VECTOR);
	pit_periodic(5);          /* 4.2 us */
	rtc_write(0x0a, 0x23);    /* 8192 Hz */
	rtc_write(0x0b, rtc_read(0x0b) | 0x40);
	rtc_read(0x0c);
	lapic_timer(TIMER_PERIODIC, LAPIC_VECTOR, 997);
	sti();
	while (total < TOTAL || rtc_ticks < 8) {
		check(work(map, 10000) == 1229);
		rounds++;
	}
	cli();
	lapic_stop();
	pit_stop();
	rtc_write(0x0b, rtc_read(0x0b) & ~0x40);
	check(lapic_ticks > pit_ticks && pit_ticks > rtc_ticks && rtc_ticks > 1);
	mix(lapic_ticks);
	mix(pit_ticks);
	mix(rtc_ticks);
	mix(rounds);
}
