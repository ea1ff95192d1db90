/*
 * irqs.c - interrupt controllers: who interrupts whom, and when.
 *
 *   1  PIT through the 8259s and through the IOAPIC
 *   2  LAPIC timer: one-shot, periodic, TSC deadline
 *   3  self-IPIs: priorities, nesting, TPR by memory and by CR8
 *
 * The checksum is over the sequence of (vector, RDTSC).
 */
#include "guest.h"

const char guest_name[] = "irqs";

#define TICKS 250      /* of each timer */
#define IPI_ROUNDS 2000
#define PIC_BASE 0x20
#define PIT_PIN 2      /* where a PC's IOAPIC has the PIT */

static volatile u64 count[256];
static volatile u64 depth, deepest, order;

static void seen(const struct frame *f)
{
	count[f->vector]++;
	mix(f->vector);
	mix(rdtsc());
}

/* --- 1  the PIT ------------------------------------------------------------ */

static void on_pic(struct frame *f)
{
	seen(f);
	outb(0x20, 0x0b); /* read the in-service register */
	check(inb(0x20) & 1 << (f->vector - PIC_BASE));
	pic_eoi((unsigned)f->vector - PIC_BASE);
}

static void on_lapic(struct frame *f)
{
	seen(f);
	check(lapic_in_service((unsigned)f->vector));
	mix(lapic_read(LAPIC_PPR) | (u64)lapic_read(LAPIC_CURRENT) << 32);
	lapic_eoi();
}

static void wait_for(unsigned vector, u64 n)
{
	u64 x = 1;

	sti();
	while (count[vector] < n)
		x = x * 33 + 1;
	cli();
	mix(n);
	count[vector] = 0;
}

static void pit_by_pic(void)
{
	handlers[PIC_BASE] = on_pic;
	lapic_write(LAPIC_LINT0, 0x700); /* ExtINT */
	pic_init(PIC_BASE, 0xfffe);
	pit_periodic(11);
	wait_for(PIC_BASE, TICKS);
	pit_periodic(4); /* back to back */
	wait_for(PIC_BASE, TICKS);
	for (unsigned i = 0; i < 50; i++) {
		pit_once((u16)(1 + i % 9));
		wait_for(PIC_BASE, 1);
	}
	pit_stop();
	pic_init(PIC_BASE, 0xffff);
	lapic_write(LAPIC_LINT0, LVT_MASKED | 0x700);
}

static void pit_by_ioapic(void)
{
	static const u8 vectors[] = { 0x31, 0x92, 0xee };

	for (unsigned i = 0; i < COUNT(vectors); i++) {
		handlers[vectors[i]] = on_lapic;
		ioapic_route(PIT_PIN, vectors[i]);
		check((ioapic_read(0x10 + 2 * PIT_PIN) & 0xff) == vectors[i]);
		pit_periodic((u16)(5 + 3 * i));
		wait_for(vectors[i], TICKS);
		pit_stop();
		ioapic_route(PIT_PIN, LVT_MASKED);
	}
}

/* --- 2  the LAPIC timer --------------------------------------------------------- */

static void one_shot(unsigned divide, u32 initial)
{
	lapic_write(LAPIC_DIVIDE, divide);
	lapic_write(LAPIC_TIMER, TIMER_ONCE | 0x51);
	lapic_write(LAPIC_INITIAL, initial);
	wait_for(0x51, 1);
	check(lapic_read(LAPIC_CURRENT) == 0);
}

static void timer(void)
{
	static const u8 divides[] = { 0xb, 0, 1, 2, 3, 8, 9, 10 };

	handlers[0x51] = on_lapic;
	for (u32 i = 0; i < TICKS; i++)
		one_shot(divides[i % COUNT(divides)], 1 + i * i % 701);
	for (u32 period = 300; period < 1500; period += 250) {
		lapic_timer(TIMER_PERIODIC, 0x51, period);
		wait_for(0x51, TICKS);
		lapic_write(LAPIC_INITIAL, period / 2 + 150); /* again, without stopping it */
		wait_for(0x51, TICKS / 4);
		lapic_stop();
	}
	if (!has_tsc_deadline())
		return;
	lapic_write(LAPIC_TIMER, TIMER_DEADLINE | 0x51);
	for (u64 i = 0; i < TICKS; i++) {
		wrmsr(0x6e0, rdtsc() + 40 + i * i % 611);
		wait_for(0x51, 1);
		check(rdmsr(0x6e0) == 0);
	}
	wrmsr(0x6e0, 1); /* long past: at once */
	wait_for(0x51, 1);
	wrmsr(0x6e0, rdtsc() + 5000);
	wrmsr(0x6e0, 0); /* disarmed */
	lapic_stop();
}

/* --- 3  self-IPIs ------------------------------------------------------------------ */

/* Each handler sends one up, which must come in the middle, and one down, which must not. */
static void on_ipi(struct frame *f)
{
	unsigned v = (unsigned)f->vector;
	u64 up, down;

	seen(f);
	if (++depth > deepest)
		deepest = depth;
	sti();
	if (v <= 0xa1) {
		up = count[v + 0x20];
		ipi_self(v + 0x20);
		__asm__ volatile("nop; nop");
		check(count[v + 0x20] == up + 1);
		check(!lapic_in_service(v + 0x20));
	}
	if (v == 0xa1) {
		down = count[0x45];
		ipi_self(0x45);
		__asm__ volatile("nop; nop");
		check(count[0x45] == down && lapic_requested(0x45));
	}
	check(lapic_in_service(v));
	cli();
	depth--;
	lapic_eoi();
}

static void on_order(struct frame *f)
{
	seen(f);
	order = order << 8 | f->vector;
	lapic_eoi();
}

static void nested(void)
{
	for (unsigned v = 0x61; v <= 0xc1; v += 0x20)
		handlers[v] = on_ipi;
	handlers[0x45] = on_order;
	sti();
	ipi_self(0x61);
	__asm__ volatile("nop; nop");
	cli();
	check(depth == 0 && deepest == 4);
}

/* Several at once: the highest first, whatever order they were sent in. */
static void by_priority(u64 round)
{
	static const u8 vectors[] = { 0x46, 0x83, 0x55, 0xd4, 0x82, 0x62 };

	order = 0;
	for (unsigned i = 0; i < COUNT(vectors); i++) {
		unsigned v = vectors[(i + round) % COUNT(vectors)];

		handlers[v] = on_order;
		ipi_self(v);
	}
	ipi_self(0x83); /* once pending, not twice */
	sti();
	__asm__ volatile("nop; nop");
	cli();
	check(order == 0xd48382625546);
}

/* The task priority holds a class back, by CR8 or by the register. */
static void task_priority(u64 round)
{
	order = 0;
	handlers[0x64] = handlers[0x74] = on_order;
	if (round % 2)
		write_cr8(7);
	else
		lapic_write(LAPIC_TPR, 0x70);
	check(read_cr8() == 7 && lapic_read(LAPIC_TPR) == 0x70);
	sti();
	ipi_self(0x64);
	ipi_self(0x74);
	__asm__ volatile("nop; nop");
	check(order == 0);
	write_cr8(6);
	__asm__ volatile("nop; nop");
	check(order == 0x74);
	if (round % 3)
		write_cr8(5);
	else
		lapic_write(LAPIC_TPR, 0x5f);
	__asm__ volatile("nop; nop");
	check(order == 0x7464);
	write_cr8(0);
	cli();
}

/* Lost and stolen: a pending one withdrawn by an EOI of another, several in service. */
static void eoi_order(void)
{
	order = 0;
	write_cr8(0);
	ipi_self(0x62);
	ipi_self(0x46);
	check(lapic_requested(0x62) && lapic_requested(0x46));
	lapic_eoi(); /* nothing in service: nothing happens */
	check(lapic_requested(0x62) && lapic_requested(0x46));
	sti();
	__asm__ volatile("nop; nop");
	cli();
	check(order == 0x6246);
}

void guest_main(void)
{
	pit_by_pic();
	pit_by_ioapic();
	timer();
	for (u64 i = 0; i < IPI_ROUNDS; i++) {
		if (i % 10 == 0)
			nested();
		by_priority(i);
		task_priority(i);
		eoi_order();
	}
}
