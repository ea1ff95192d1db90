/*
 * hlt.c - HLT woken by every kind of timer, and by the console.
 *
 *   1  the timers
 *   2  bytes from COM1 by IRQ 4 between LAPIC timer ticks, each echoed with
 *      its RDTSC; q or ^D ends it
 *
 * With the word "batch" part 2 ends after some ticks if nothing was typed.
 * "tick=N" sets its tick in microseconds.
 */
#include "guest.h"

const char guest_name[] = "hlt";

#define WAKES 500 /* by each timer */
#define BATCH_TICKS 400
enum { TIMER = 0x40, PIT_VECTOR = 0x48, RTC_VECTOR = 0x50, COM1_VECTOR = 0x58 };
#define COM1 0x3f8

static volatile u64 ticks, typed;
static volatile bool quit;

static void on_tick(struct frame *f)
{
	ticks++;
	mix(rdtsc() ^ f->vector << 56);
	mix(f->rip);
	lapic_eoi();
}

static void on_rtc(struct frame *f)
{
	on_tick(f);
	mix(rtc_read(0x0c));
}

/* --- 1  timers ----------------------------------------------------------- */

static void sleep(u64 n)
{
	u64 until = ticks + n, halts = 0;

	while (ticks < until) {
		sti_hlt();
		halts++;
	}
	mix(halts);
}

static void timers(void)
{
	handlers[TIMER] = handlers[PIT_VECTOR] = on_tick;
	handlers[RTC_VECTOR] = on_rtc;
	for (u32 i = 0; i < WAKES; i++) {
		lapic_timer(TIMER_ONCE, TIMER, 1 + i * i * 31 % 20011);
		sleep(1);
	}
	lapic_timer(TIMER_PERIODIC, TIMER, 7001);
	sleep(WAKES);
	lapic_stop();
	for (u64 i = 0; has_tsc_deadline() && i < WAKES; i++) {
		lapic_write(LAPIC_TIMER, TIMER_DEADLINE | TIMER);
		wrmsr(0x6e0, rdtsc() + i * 37 % 9001);
		sleep(1);
	}
	lapic_stop();
	ioapic_route(2, PIT_VECTOR);
	pit_periodic(31);
	sleep(WAKES);
	pit_stop();
	ioapic_route(8, RTC_VECTOR);
	rtc_write(0x0a, 0x26);
	rtc_write(0x0b, rtc_read(0x0b) | 0x40);
	rtc_read(0x0c);
	sleep(WAKES / 50);
	rtc_write(0x0b, rtc_read(0x0b) & ~0x40);
}

/* --- 2  console ------------------------------------------------------------ */

static void echo(u8 c)
{
	u64 now = rdtsc();

	typed++;
	mix(now << 8 | c);
	if (c >= ' ' && c < 127)
		put_char((char)c);
	else
		say("<%x>", (u64)c);
	say(" %u\n", now);
	if (c == 'q' || c == 4)
		quit = true;
}

static void on_com1(struct frame *f)
{
	u8 iir = inb(COM1 + 2);

	mix(rdtsc() ^ f->rip << 32 ^ (u64)iir << 24);
	while (inb(COM1 + 5) & 1)
		echo(inb(COM1));
	lapic_eoi();
}

static void console(void)
{
	bool batch = arg_word("batch");
	u64 end = ticks + BATCH_TICKS;

	handlers[COM1_VECTOR] = on_com1;
	ioapic_route(4, COM1_VECTOR);
	outb(COM1 + 4, 0x0b); /* OUT2 lets the line through */
	outb(COM1 + 1, 1);    /* received data */
	lapic_timer(TIMER_PERIODIC, TIMER, (u32)arg_number("tick", 50) * 1000);
	while (!quit && !(batch && ticks >= end))
		sti_hlt();
	lapic_stop();
	outb(COM1 + 1, 0);
}

void guest_main(void)
{
	timers();
	console();
	check(ticks > 2 * WAKES);
	mix(ticks);
	mix(typed);
}
