/*
 * test_pit.c - the 8254 as its datasheet's tables and timing diagrams tell it.
 *
 * Times are in ticks of its clock: at(rig, n) is the first instant at which n
 * ticks have passed since the rig's start.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/pit.h"

struct rig {
	struct vclock clock;
	struct pit pit;
	bool irq0;
	unsigned nrises;
	u64 first_rise_ns, last_rise_ns;
	u64 start_tick;
};

static void set_irq0(void *ctx, unsigned pin, bool level)
{
	struct rig *r = ctx;

	cr_assert_eq(pin, 0);
	if (level && !r->irq0) {
		if (!r->nrises++)
			r->first_rise_ns = r->clock.now_ns;
		r->last_rise_ns = r->clock.now_ns;
	}
	r->irq0 = level;
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->start_tick = 1000;
	r->clock.now_ns = pit_ns_of_tick(r->start_tick);
	pit_init(&r->pit, &r->clock, (struct irq_line){ .set = set_irq0, .ctx = r });
}

static void at(struct rig *r, u64 tick)
{
	check_run_clock(&r->clock, pit_ns_of_tick(r->start_tick + tick));
}

static void out8(struct rig *r, unsigned port, u8 value)
{
	pit_ops.write(&r->pit, IO_PORT, port, 1, value);
}

static u8 in8(struct rig *r, unsigned port)
{
	return (u8)pit_ops.read(&r->pit, IO_PORT, port, 1);
}

static void program(struct rig *r, unsigned channel, unsigned mode, u16 count)
{
	out8(r, 0x43, (u8)(channel << 6 | 3 << 4 | mode << 1));
	out8(r, 0x40 + channel, (u8)count);
	out8(r, 0x40 + channel, (u8)(count >> 8));
}

static u16 counter(struct rig *r, unsigned channel)
{
	u8 low;

	out8(r, 0x43, (u8)(channel << 6)); /* counter latch */
	low = in8(r, 0x40 + channel);
	return (u16)(low | in8(r, 0x40 + channel) << 8);
}

static u8 status(struct rig *r, unsigned channel)
{
	out8(r, 0x43, (u8)(0xe0 | 2 << channel)); /* read-back, status only */
	return in8(r, 0x40 + channel);
}

static bool out_of(struct rig *r, unsigned channel)
{
	return status(r, channel) >> 7;
}

Test(pit, conversion_is_exact_and_monotonic)
{
	u64 seed = 88172645463325252UL;

	/* 25 years and a bit, where a float or a 64-bit product would have gone wrong */
	for (unsigned i = 0; i < 200000; i++) {
		u64 tick = check_random(&seed) % (PIT_HZ * 800000000UL), ns = pit_ns_of_tick(tick);

		cr_assert_eq(pit_ticks_at(ns), tick);
		if (ns)
			cr_assert_eq(pit_ticks_at(ns - 1), tick - 1);
	}
	cr_assert_eq(pit_ticks_at(1000000000UL * 86400 * 30), PIT_HZ * 86400 * 30);
	for (u64 tick = 1; tick < PIT_HZ + 3; tick++)
		if (pit_ticks_at(pit_ns_of_tick(tick)) != tick || pit_ticks_at(pit_ns_of_tick(tick) - 1) != tick - 1)
			cr_assert_fail("tick %lu", tick);
	cr_assert_eq(pit_ns_of_tick(~0UL), VTIMER_NEVER);
}

Test(pit, mode0_rises_at_terminal_count)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 0, 4);
	cr_assert_not(r.irq0);
	cr_assert_eq(status(&r, 0), 0x70); /* OUT low, null count, word, mode 0 */
	at(&r, 1); /* loaded by the clock after the write */
	cr_assert_eq(counter(&r, 0), 4);
	cr_assert_eq(status(&r, 0), 0x30);
	at(&r, 4);
	cr_assert_eq(counter(&r, 0), 1);
	cr_assert_not(r.irq0);
	check_run_clock(&r.clock, pit_ns_of_tick(r.start_tick + 5) - 1);
	cr_assert_eq(counter(&r, 0), 1);
	cr_assert_eq(r.nrises, 0);
	at(&r, 5); /* N + 1 after the write: fires at the instant the counter reads 0 */
	cr_assert_eq(counter(&r, 0), 0);
	cr_assert_eq(r.nrises, 1);
	cr_assert_eq(r.first_rise_ns, pit_ns_of_tick(r.start_tick + 5));
	at(&r, 6); /* goes on from the top */
	cr_assert_eq(counter(&r, 0), 0xffff);
	cr_assert(out_of(&r, 0));
	at(&r, 200000);
	cr_assert_eq(r.nrises, 1);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
}

Test(pit, mode0_first_byte_stops_second_starts)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 0, 10);
	at(&r, 4);
	cr_assert_eq(counter(&r, 0), 7);
	out8(&r, 0x40, 20);
	at(&r, 100);
	cr_assert_eq(counter(&r, 0), 7);
	cr_assert_eq(r.nrises, 0);
	out8(&r, 0x40, 0);
	at(&r, 121);
	cr_assert_eq(r.nrises, 1);
	cr_assert_eq(r.last_rise_ns, pit_ns_of_tick(r.start_tick + 121));
	/* a new count over a finished one lowers OUT, and it rises again */
	out8(&r, 0x40, 3);
	cr_assert_not(r.irq0);
	out8(&r, 0x40, 0);
	at(&r, 125);
	cr_assert_eq(r.nrises, 2);
}

Test(pit, mode2_is_periodic_and_never_drifts)
{
	struct rig r;
	unsigned before;

	rig_init(&r);
	program(&r, 0, 2, 11932); /* HZ=100 */
	cr_assert(r.irq0); /* OUT goes high with the control word, and that is a rise */
	before = r.nrises;
	at(&r, 1);
	cr_assert_eq(counter(&r, 0), 11932);
	at(&r, 11932);
	cr_assert_eq(counter(&r, 0), 1);
	cr_assert_not(out_of(&r, 0)); /* low for one tick, at 1 */
	cr_assert_eq(r.nrises, before);
	at(&r, 11933);
	cr_assert_eq(counter(&r, 0), 11932);
	cr_assert(out_of(&r, 0));
	cr_assert_eq(r.nrises, before + 1);
	at(&r, 1 + 11932UL * 100 * 3600); /* an hour */
	cr_assert_eq(r.nrises, before + 100 * 3600);
	cr_assert_eq(r.last_rise_ns, r.clock.now_ns);
	cr_assert_eq(counter(&r, 0), 11932);
}

Test(pit, mode2_new_count_waits_for_the_cycle)
{
	struct rig r;
	unsigned before;

	rig_init(&r);
	program(&r, 0, 2, 100);
	before = r.nrises;
	at(&r, 41);
	out8(&r, 0x40, 10);
	out8(&r, 0x40, 0);
	cr_assert_eq(status(&r, 0) & 0x40, 0x40);
	cr_assert_eq(counter(&r, 0), 60);
	at(&r, 100);
	cr_assert_eq(r.nrises, before);
	at(&r, 101);
	cr_assert_eq(r.nrises, before + 1);
	cr_assert_eq(counter(&r, 0), 10);
	cr_assert_eq(status(&r, 0) & 0x40, 0);
	at(&r, 111);
	cr_assert_eq(r.nrises, before + 2);
}

Test(pit, mode3_halves)
{
	static const u16 even[] = { 6, 4, 2, 6, 4, 2 }, odd[] = { 4, 2, 0, 4, 2 };
	struct rig r;

	rig_init(&r);
	program(&r, 1, 3, 6);
	for (unsigned i = 0; i < 18; i++) {
		at(&r, 1 + i);
		cr_assert_eq(counter(&r, 1), even[i % 6], "tick %u", i);
		cr_assert_eq(out_of(&r, 1), i % 6 < 3, "tick %u", i);
	}
	rig_init(&r);
	program(&r, 1, 3, 5); /* high for 3, low for 2 */
	for (unsigned i = 0; i < 15; i++) {
		at(&r, 1 + i);
		cr_assert_eq(counter(&r, 1), odd[i % 5], "tick %u", i);
		cr_assert_eq(out_of(&r, 1), i % 5 < 3, "tick %u", i);
	}
}

Test(pit, mode3_new_count_waits_for_the_half_cycle)
{
	struct rig r;
	unsigned before;

	rig_init(&r);
	program(&r, 0, 3, 100);
	before = r.nrises;
	at(&r, 11); /* in the high half, which ends at 51 */
	out8(&r, 0x40, 20);
	out8(&r, 0x40, 0);
	at(&r, 50);
	cr_assert(out_of(&r, 0));
	at(&r, 51); /* the new low half: 10 ticks */
	cr_assert_not(out_of(&r, 0));
	cr_assert_eq(counter(&r, 0), 20);
	cr_assert_eq(r.nrises, before);
	at(&r, 61);
	cr_assert(out_of(&r, 0));
	cr_assert_eq(r.nrises, before + 1);
	cr_assert_eq(r.last_rise_ns, pit_ns_of_tick(r.start_tick + 61));
	at(&r, 75); /* now in the low half 71..80: the load is also the rise */
	out8(&r, 0x40, 8);
	out8(&r, 0x40, 0);
	at(&r, 81);
	cr_assert_eq(r.nrises, before + 2);
	at(&r, 88);
	cr_assert_eq(r.nrises, before + 2);
	cr_assert_not(out_of(&r, 0));
	at(&r, 89);
	cr_assert_eq(r.nrises, before + 3);
	at(&r, 93); /* on the very boundary: the half-cycle that just began runs to its end, at 97 */
	out8(&r, 0x40, 100);
	out8(&r, 0x40, 0);
	at(&r, 96);
	cr_assert_eq(counter(&r, 0), 2);
	at(&r, 97);
	cr_assert_eq(counter(&r, 0), 100);
	cr_assert_eq(r.nrises, before + 4);
}

Test(pit, mode4_strobes_once)
{
	struct rig r;
	unsigned before;

	rig_init(&r);
	program(&r, 0, 4, 3); /* Linux's one-shot mode */
	before = r.nrises;
	at(&r, 4);
	cr_assert_eq(counter(&r, 0), 0);
	cr_assert_not(out_of(&r, 0));
	cr_assert_eq(r.nrises, before);
	at(&r, 5);
	cr_assert_eq(r.nrises, before + 1);
	cr_assert(out_of(&r, 0));
	at(&r, 100000);
	cr_assert_eq(r.nrises, before + 1);
	out8(&r, 0x40, 9); /* a new count starts it again */
	out8(&r, 0x40, 0);
	at(&r, 100011);
	cr_assert_eq(r.nrises, before + 2);
	cr_assert_eq(r.last_rise_ns, pit_ns_of_tick(r.start_tick + 100011));
}

Test(pit, modes_1_and_5_wait_for_the_gate)
{
	struct rig r;

	rig_init(&r);
	program(&r, 2, 3, 4);
	out8(&r, 0x43, 0xb2); /* mode 1, and no count yet: a trigger starts nothing */
	out8(&r, 0x61, 1);
	at(&r, 2);
	cr_assert(out_of(&r, 2));
	out8(&r, 0x61, 0);
	program(&r, 2, 1, 4);
	at(&r, 50);
	cr_assert(out_of(&r, 2));
	out8(&r, 0x61, 1);
	at(&r, 51);
	cr_assert_not(out_of(&r, 2));
	cr_assert_eq(counter(&r, 2), 4);
	at(&r, 53);
	out8(&r, 0x61, 0); /* the level means nothing */
	out8(&r, 0x61, 1); /* another rise starts it over */
	at(&r, 57);
	cr_assert_not(out_of(&r, 2));
	at(&r, 58);
	cr_assert(out_of(&r, 2));

	program(&r, 2, 5, 4);
	out8(&r, 0x61, 0);
	out8(&r, 0x61, 1);
	at(&r, 62);
	cr_assert(out_of(&r, 2));
	at(&r, 63); /* one tick low at the end */
	cr_assert_not(out_of(&r, 2));
	at(&r, 64);
	cr_assert(out_of(&r, 2));
}

Test(pit, gate_of_channel_2_holds_and_restarts)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x61, 1);
	program(&r, 2, 0, 100); /* how kernels calibrate: poll port 61h bit 5 */
	at(&r, 41);
	out8(&r, 0x61, 0);
	at(&r, 1000);
	cr_assert_eq(counter(&r, 2), 60);
	out8(&r, 0x61, 1);
	at(&r, 1059);
	cr_assert_eq(in8(&r, 0x61) & 0x21, 0x01);
	at(&r, 1060);
	cr_assert_eq(in8(&r, 0x61) & 0x21, 0x21);

	program(&r, 2, 0, 3);
	at(&r, 1062); /* nothing else touches the channel between the count and the poll */
	cr_assert_eq(in8(&r, 0x61) & 0x20, 0);
	at(&r, 1064);
	cr_assert_eq(in8(&r, 0x61) & 0x20, 0x20);
	program(&r, 2, 2, 100);
	at(&r, 1070);
	out8(&r, 0x42, 50); /* nor between two counts: the second waits for the cycle */
	out8(&r, 0x42, 0);
	cr_assert_eq(counter(&r, 2), 95);

	r.start_tick += 10;
	program(&r, 2, 2, 10);
	at(&r, 1064);
	cr_assert_eq(counter(&r, 2), 7);
	out8(&r, 0x61, 0);
	cr_assert(out_of(&r, 2));
	at(&r, 1100);
	cr_assert_eq(counter(&r, 2), 7);
	out8(&r, 0x61, 1); /* a rise starts the cycle again, a tick later */
	at(&r, 1101);
	cr_assert_eq(counter(&r, 2), 10);
}

Test(pit, gate_low_at_the_count_still_loads_it)
{
	struct rig r;

	rig_init(&r); /* GATE 2 is low from reset */
	program(&r, 2, 0, 5);
	at(&r, 100);
	cr_assert_eq(counter(&r, 2), 5);
	out8(&r, 0x61, 1);
	at(&r, 104);
	cr_assert_not(out_of(&r, 2));
	at(&r, 105); /* N ticks: no extra one to load */
	cr_assert(out_of(&r, 2));
}

Test(pit, bcd)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x43, 0x31); /* channel 0, word, mode 0, BCD */
	out8(&r, 0x40, 0x00);
	out8(&r, 0x40, 0x10); /* 1000 */
	at(&r, 2);
	cr_assert_eq(counter(&r, 0), 0x0999);
	at(&r, 1001);
	cr_assert_eq(r.nrises, 1);
	at(&r, 1002);
	cr_assert_eq(counter(&r, 0), 0x9999);
	out8(&r, 0x40, 0);
	out8(&r, 0x40, 0); /* 0 is 10000 */
	at(&r, 1003);
	cr_assert_eq(counter(&r, 0), 0);
	at(&r, 1004);
	cr_assert_eq(counter(&r, 0), 0x9999);
	at(&r, 1003 + 10000);
	cr_assert_eq(r.nrises, 2);
	out8(&r, 0x40, 0x34);
	out8(&r, 0x40, 0x12);
	at(&r, 1003 + 10001);
	cr_assert_eq(counter(&r, 0), 0x1234);
	at(&r, 1003 + 10001 + 1234);
	cr_assert_eq(r.nrises, 3);
	cr_assert_eq(r.last_rise_ns, r.clock.now_ns);
}

Test(pit, count_0_is_65536)
{
	struct rig r;
	unsigned before;

	rig_init(&r);
	program(&r, 0, 3, 0);
	before = r.nrises;
	at(&r, 65536);
	cr_assert_eq(r.nrises, before);
	at(&r, 65537);
	cr_assert_eq(r.nrises, before + 1);
	cr_assert_eq(counter(&r, 0), 0);
}

Test(pit, byte_access)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x43, 0x90); /* channel 2, LSB, mode 0 */
	out8(&r, 0x61, 1);
	out8(&r, 0x42, 200);
	at(&r, 11);
	cr_assert_eq(in8(&r, 0x42), 190);
	cr_assert_eq(in8(&r, 0x42), 190);
	out8(&r, 0x43, 0xa0); /* MSB */
	out8(&r, 0x42, 3);
	at(&r, 12);
	cr_assert_eq(in8(&r, 0x42), 3);
	at(&r, 13);
	cr_assert_eq(in8(&r, 0x42), 2);
	out8(&r, 0x43, 0x10); /* channel 0, LSB, mode 0 */
	out8(&r, 0x40, 5);
	at(&r, 20);
	cr_assert_eq(r.nrises, 1);
	out8(&r, 0x40, 7); /* a whole count in one byte: OUT low at once */
	cr_assert_not(r.irq0);
	at(&r, 28);
	cr_assert_eq(r.nrises, 2);
}

Test(pit, wide_accesses_are_one_for_each_port)
{
	struct rig r;

	rig_init(&r);
	pit_ops.write(&r.pit, IO_PORT, 0x42, 2, 0x9005); /* nothing yet; then channel 2, LSB, mode 0 */
	pit_ops.write(&r.pit, IO_MEMORY, 0x42, 1, 9);
	pit_ops.write(&r.pit, IO_PORT, 0x42, 1, 6);
	at(&r, 1);
	cr_assert_eq(pit_ops.read(&r.pit, IO_PORT, 0x42, 2) & 0xffff, 0xff06);
	cr_assert_eq(pit_ops.read(&r.pit, IO_MEMORY, 0x42, 1), ~0UL);
}

Test(pit, latch_holds_until_read)
{
	struct rig r;
	u8 low;

	rig_init(&r);
	program(&r, 0, 2, 0x1234);
	at(&r, 1);
	out8(&r, 0x43, 0x00);
	at(&r, 0x101);
	out8(&r, 0x43, 0x00); /* ignored: the first is not read yet */
	low = in8(&r, 0x40);
	at(&r, 0x201);
	cr_assert_eq(low | in8(&r, 0x40) << 8, 0x1234);
	low = in8(&r, 0x40);
	cr_assert_eq(low | in8(&r, 0x40) << 8, 0x1034); /* live again */
}

Test(pit, read_back_gives_status_before_count)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x61, 1);
	program(&r, 0, 2, 500);
	program(&r, 2, 3, 600);
	at(&r, 1);
	out8(&r, 0x43, 0xca); /* both, channels 0 and 2 */
	at(&r, 50);
	cr_assert_eq(in8(&r, 0x40), 0xb4);
	cr_assert_eq(in8(&r, 0x40), 500 & 0xff);
	cr_assert_eq(in8(&r, 0x40), 500 >> 8);
	cr_assert_eq(in8(&r, 0x42), 0xb6);
	cr_assert_eq(in8(&r, 0x42), 600 & 0xff);
	cr_assert_eq(in8(&r, 0x42), 600 >> 8);
	cr_assert_eq(in8(&r, 0x43), 0xff); /* the control word has no read */
	out8(&r, 0x43, 0xc2); /* channel 0 alone */
	at(&r, 60);
	cr_assert_eq(in8(&r, 0x42), (600 - 2 * 59) & 0xff, "channel 2 reads live");
	in8(&r, 0x42);
	cr_assert_eq(in8(&r, 0x40), 0xb4);
	in8(&r, 0x40);
	in8(&r, 0x40);
	out8(&r, 0x43, 0xe8);
	at(&r, 1 + 310);
	out8(&r, 0x43, 0xe8); /* ignored: the first status is not read yet */
	cr_assert_eq(in8(&r, 0x42), 0xb6);
	cr_assert_eq(status(&r, 2), 0x36);
	out8(&r, 0x43, 0xc8);
	out8(&r, 0x43, 0xa0); /* a control word (MSB, mode 0) drops what was latched */
	out8(&r, 0x42, 2);
	at(&r, 400);
	cr_assert_eq(in8(&r, 0x42), (512 - 88) >> 8);
}

Test(pit, status_returns_the_mode_as_written)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 7, 10); /* acts as mode 3 */
	at(&r, 3);
	cr_assert_eq(status(&r, 0), 0xbe);
	cr_assert_eq(counter(&r, 0), 6);
}

Test(pit, count_of_1_in_a_periodic_mode_does_not_hang)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 2, 1);
	at(&r, 1001);
	cr_assert_eq(r.nrises, 1 + 500);
	program(&r, 0, 3, 1);
	at(&r, 2000);
	cr_assert_lt(r.nrises, 2000);
}

Test(pit, control_word_makes_an_edge_only_if_out_was_low)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 2, 100);
	cr_assert_eq(r.nrises, 1);
	program(&r, 0, 2, 100); /* OUT was high and stays */
	cr_assert_eq(r.nrises, 1);
	at(&r, 100); /* the last tick of the cycle: OUT is low */
	program(&r, 0, 4, 100);
	cr_assert_eq(r.nrises, 2);
	out8(&r, 0x43, 0x30); /* mode 0: low, and no interrupt until a count runs out */
	cr_assert_not(r.irq0);
	at(&r, 10000);
	cr_assert_eq(r.nrises, 2);
}

Test(pit, port_b)
{
	struct rig r;
	u8 first;

	rig_init(&r);
	out8(&r, 0x61, 0xff);
	cr_assert_eq(in8(&r, 0x61) & 0xcf, 0x0f);
	out8(&r, 0x61, 0x00);
	cr_assert_eq(in8(&r, 0x61) & 0xcf, 0x00);
	first = in8(&r, 0x61) & 0x10; /* refresh: toggles once in 18 ticks */
	at(&r, 18);
	cr_assert_neq(in8(&r, 0x61) & 0x10, first);
	at(&r, 36);
	cr_assert_eq(in8(&r, 0x61) & 0x10, first);
}

/* An access at the very instant of an edge, before the loop has run its timers. */
Test(pit, edge_due_now_comes_before_the_access)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 2, 4);
	cr_assert_eq(r.nrises, 1);
	r.clock.now_ns = pit_ns_of_tick(r.start_tick + 5);
	out8(&r, 0x43, 0x34);
	cr_assert_eq(r.nrises, 2);
	vclock_run(&r.clock);
	cr_assert_eq(r.nrises, 2);
}

Test(pit, reset_stops_and_lowers)
{
	struct rig r;

	rig_init(&r);
	program(&r, 0, 2, 100);
	out8(&r, 0x61, 3);
	pit_ops.reset(&r.pit);
	cr_assert_not(r.irq0);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	cr_assert_eq(in8(&r, 0x61) & 0xef, 0);
}

static void scramble(struct rig *r)
{
	rig_init(r);
	program(r, 0, 3, 777);
	program(r, 1, 4, 55);
	out8(r, 0x61, 0x0f);
	program(r, 2, 5, 9999);
	out8(r, 0x43, 0xce);
	out8(r, 0x42, 1);
}

Test(pit, state_in_the_middle_of_things)
{
	struct rig r, twin;

	for (unsigned mode = 0; mode < 6; mode++) {
		rig_init(&r);
		for (unsigned channel = 0; channel < 3; channel++)
			program(&r, channel, mode, (u16)(300 + mode));
		scramble(&twin);
		check_device_roundtrip(&pit_ops, &r.pit, &twin.pit); /* count not loaded yet */
		at(&r, 123);
		out8(&r, 0x61, 1);
		out8(&r, 0x40, 0x21); /* half a count */
		out8(&r, 0x43, 0x80); /* a latch, */
		in8(&r, 0x42);        /* half read */
		scramble(&twin);
		check_device_roundtrip(&pit_ops, &r.pit, &twin.pit);
		twin.clock.now_ns = r.clock.now_ns;
		out8(&r, 0x40, 0x01);
		out8(&twin, 0x40, 0x01);
		r.nrises = twin.nrises = 0;
		at(&r, 5000);
		at(&twin, 5000);
		cr_assert_eq(r.nrises, twin.nrises);
		cr_assert_eq(in8(&r, 0x42), in8(&twin, 0x42));
		cr_assert_eq(counter(&r, 0), counter(&twin, 0));
	}
}

Test(pit, state_is_complete_and_checked)
{
	size_t wiring = sizeof(struct vclock *) + sizeof(struct irq_line) + sizeof(struct vtimer) - sizeof(u64);
	struct rig r, twin;
	struct saved_device s;
	struct state_walk w;

	rig_init(&r);
	check_device_visits_all(&pit_ops, &r.pit, sizeof(r.pit), wiring + 3 * 1 + 7 /* padding */);
	program(&r, 0, 2, 100);
	at(&r, 10);
	counter(&r, 0);
	r.pit.channel[0].count = 0; /* would divide by zero at the next read */
	s = device_save(&pit_ops, &r.pit);
	w = state_load_from(s.bytes, s.size);
	rig_init(&twin);
	device_walk(&pit_ops, &twin.pit, &w);
	cr_assert_eq(w.error, ERR_DAMAGED);
	free(s.bytes);
}

Test(pit, fuzz)
{
	static const struct fuzz_range ranges[] = {
		{ IO_PORT, 0x40, 4 }, { IO_PORT, 0x40, 4 }, { IO_PORT, 0x61, 1 }, { IO_PORT, 0x3e, 8 },
		{ IO_MEMORY, 0x40, 4 },
	};
	struct device_fuzz f = {
		.ops = &pit_ops, .ranges = ranges, .nranges = ARRAY_SIZE(ranges), .max_step_ns = 200000,
	};
	struct rig r, twin;

	for (u64 seed = 1; seed <= 8; seed++) {
		rig_init(&r);
		scramble(&twin);
		check_device_fuzz(&f, &r.pit, &r.clock, &twin.pit, &twin.clock, seed * 0x9e3779b97f4a7c15UL, 6000);
		check_device_damage(&f, &r.pit, &twin.pit, &twin.clock, seed, 200);
	}
}
