/*
 * test_rtc.c - the date against the C library's, and the clock's interrupts.
 */
#include <time.h>

#include "tests/unit/device_check.h"
#include "vmm/dev/rtc.h"

#define SECOND 1000000000UL
#define EPOCH 1700000000UL /* 2023-11-14 22:13:20, a Tuesday */

enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 0x04, B_24H = 0x02 };

struct rig {
	struct vclock clock;
	struct rtc rtc;
	bool level;
	unsigned nrises;
};

static void rig_set(void *ctx, unsigned pin, bool level)
{
	struct rig *r = ctx;

	cr_assert_eq(pin, 8);
	r->nrises += level && !r->level;
	r->level = level;
}

static void rig_init_at(struct rig *r, u64 epoch, u64 mem)
{
	memset(r, 0, sizeof(*r));
	rtc_init(&r->rtc, &r->clock, (struct irq_line){ rig_set, r, 8 }, epoch, mem);
}

static void rig_init(struct rig *r)
{
	rig_init_at(r, EPOCH, MIB(256));
}

static u8 in(struct rig *r, u8 reg)
{
	rtc_ops.write(&r->rtc, IO_PORT, 0x70, 1, reg);
	return (u8)rtc_ops.read(&r->rtc, IO_PORT, 0x71, 1);
}

static void out(struct rig *r, u8 reg, u8 value)
{
	rtc_ops.write(&r->rtc, IO_PORT, 0x70, 1, reg);
	rtc_ops.write(&r->rtc, IO_PORT, 0x71, 1, value);
}

static int bcd(u8 v)
{
	cr_assert((v & 15) < 10 && v >> 4 < 10, "%02x is no BCD", v);
	return (v >> 4) * 10 + (v & 15);
}

/* The clock's registers hold t: in the mode of register B. */
static void expect_date(struct rig *r, time_t t)
{
	bool binary = in(r, 11) & B_BINARY, h24 = in(r, 11) & B_24H;
	struct tm tm;
	u8 raw[10];
	u8 century;
	int hour;

	gmtime_r(&t, &tm);
	for (u8 i = 0; i < 10; i++)
		raw[i] = in(r, i);
	century = in(r, 0x32);
#define VALUE(x) (binary ? (int)(x) : bcd((u8)(x)))
	cr_assert_eq(VALUE(raw[0]), tm.tm_sec, "t=%ld", t);
	cr_assert_eq(VALUE(raw[2]), tm.tm_min, "t=%ld", t);
	hour = h24 ? VALUE(raw[4]) : VALUE(raw[4] & 0x7f) % 12 + (raw[4] & 0x80 ? 12 : 0);
	cr_assert(h24 || (VALUE(raw[4] & 0x7f) >= 1 && VALUE(raw[4] & 0x7f) <= 12), "t=%ld", t);
	cr_assert_eq(hour, tm.tm_hour, "t=%ld", t);
	cr_assert_eq(VALUE(raw[6]), tm.tm_wday + 1, "t=%ld", t);
	cr_assert_eq(VALUE(raw[7]), tm.tm_mday, "t=%ld", t);
	cr_assert_eq(VALUE(raw[8]), tm.tm_mon + 1, "t=%ld", t);
	cr_assert_eq(VALUE(raw[9]), (tm.tm_year + 1900) % 100, "t=%ld", t);
	cr_assert_eq(VALUE(century), (tm.tm_year + 1900) / 100, "t=%ld", t);
#undef VALUE
}

Test(rtc, date_agrees_with_gmtime)
{
	u64 seed = 42;

	/* every day of 1890 to 2410, at a different second of it; then random seconds up to 9999 */
	for (s64 day = -29220; day < 161000; day++) {
		struct rig r;
		s64 t = day * 86400 + (s64)(check_random(&seed) % 86400);

		rig_init_at(&r, (u64)t, MIB(64));
		expect_date(&r, t);
	}
	for (int i = 0; i < 20000; i++) {
		struct rig r;
		s64 t = (s64)(check_random(&seed) % 253402300800UL);

		rig_init_at(&r, (u64)t, MIB(64));
		out(&r, 11, (u8)(check_random(&seed) & (B_BINARY | B_24H)));
		expect_date(&r, t);
	}
}

Test(rtc, follows_virtual_time)
{
	struct rig r;

	rig_init(&r);
	r.clock.now_ns = SECOND - 1;
	expect_date(&r, EPOCH);
	r.clock.now_ns = SECOND;
	expect_date(&r, EPOCH + 1);
	r.clock.now_ns = 400UL * 86400 * SECOND;
	expect_date(&r, EPOCH + 400 * 86400);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER, "nothing enabled, nothing to wake for");
}

Test(rtc, modes)
{
	struct rig r;

	rig_init(&r); /* 22:13:20 */
	cr_assert_eq(in(&r, 4), 0x22);
	out(&r, 11, B_24H | B_BINARY);
	cr_assert_eq(in(&r, 4), 22);
	out(&r, 11, B_BINARY);
	cr_assert_eq(in(&r, 4), 10 | 0x80);
	out(&r, 11, 0);
	cr_assert_eq(in(&r, 4), 0x10 | 0x80);
	expect_date(&r, EPOCH);
	r.clock.now_ns = 2 * 3600 * SECOND;
	cr_assert_eq(in(&r, 4), 0x12, "midnight is 12 AM");
	r.clock.now_ns = 14 * 3600 * SECOND;
	cr_assert_eq(in(&r, 4), 0x92, "noon is 12 PM");
}

Test(rtc, update_in_progress)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(in(&r, 10), 0x26);
	r.clock.now_ns = SECOND - 244001;
	cr_assert_eq(in(&r, 10), 0x26);
	r.clock.now_ns = SECOND - 244000;
	cr_assert_eq(in(&r, 10), 0xa6);
	expect_date(&r, EPOCH);
	out(&r, 11, B_24H | B_SET);
	cr_assert_eq(in(&r, 10), 0x26, "SET holds updates off");
	out(&r, 11, B_24H);
	r.clock.now_ns = SECOND;
	cr_assert_eq(in(&r, 10), 0x26);
	expect_date(&r, EPOCH + 1);
}

/* As Linux sets it: SET, divider in reset, fields, then both back. */
static void set_date(struct rig *r, time_t t)
{
	u8 b = in(r, 11), a = in(r, 10) & 0x7f;
	struct tm tm;

	gmtime_r(&t, &tm);
	out(r, 11, b | B_SET);
	out(r, 10, a | 0x70);
	out(r, 9, (u8)((tm.tm_year % 100 / 10 << 4) | tm.tm_year % 10));
	out(r, 8, (u8)((tm.tm_mon + 1) / 10 << 4 | (tm.tm_mon + 1) % 10));
	out(r, 7, (u8)(tm.tm_mday / 10 << 4 | tm.tm_mday % 10));
	out(r, 6, (u8)(tm.tm_wday + 1));
	out(r, 4, (u8)(tm.tm_hour / 10 << 4 | tm.tm_hour % 10));
	out(r, 2, (u8)(tm.tm_min / 10 << 4 | tm.tm_min % 10));
	out(r, 0, (u8)(tm.tm_sec / 10 << 4 | tm.tm_sec % 10));
	out(r, 0x32, 0x20);
	r->clock.now_ns += 7 * SECOND + 123456; /* however long the guest takes */
	out(r, 11, b);
	out(r, 10, a);
}

Test(rtc, guest_sets_the_date)
{
	struct rig r;
	u64 t0;

	rig_init(&r);
	r.clock.now_ns = 3 * SECOND / 4;
	set_date(&r, 1709251199); /* 2024-02-29 23:59:59 */
	t0 = r.clock.now_ns;
	expect_date(&r, 1709251199);
	r.clock.now_ns = t0 + SECOND / 2 - 1;
	expect_date(&r, 1709251199);
	r.clock.now_ns = t0 + SECOND / 2;
	expect_date(&r, 1709251200);
	r.clock.now_ns = t0 + SECOND / 2 + SECOND;
	expect_date(&r, 1709251201);
}

Test(rtc, writes_while_running_and_out_of_range)
{
	struct rig r;

	rig_init(&r);
	out(&r, 4, 0x09);
	cr_assert_eq(in(&r, 4), 0x09);
	cr_assert_eq(in(&r, 2), 0x13);
	cr_assert_eq(in(&r, 6), 0x03);
	out(&r, 7, 0x15); /* the weekday counts for itself */
	cr_assert_eq(in(&r, 7), 0x15);
	cr_assert_eq(in(&r, 6), 0x03);
	r.clock.now_ns = 86400 * SECOND;
	cr_assert_eq(in(&r, 7), 0x16);
	cr_assert_eq(in(&r, 6), 0x04);
	out(&r, 6, 0x01);
	cr_assert_eq(in(&r, 6), 0x01);
	/* held, bytes are bytes; let go, they make the nearest date there is */
	out(&r, 11, B_24H | B_SET);
	out(&r, 8, 0x02);
	out(&r, 7, 0x31);
	cr_assert_eq(in(&r, 7), 0x31);
	out(&r, 11, B_24H);
	cr_assert_eq(in(&r, 8), 0x03);
	cr_assert_eq(in(&r, 7), 0x03);
}

Test(rtc, set_stops_the_clock)
{
	struct rig r;

	rig_init(&r);
	r.clock.now_ns = SECOND / 3;
	out(&r, 11, B_24H | B_SET | B_UIE);
	cr_assert_eq(in(&r, 11), B_24H | B_SET, "SET clears UIE");
	r.clock.now_ns = 10 * SECOND;
	expect_date(&r, EPOCH);
	cr_assert_eq(in(&r, 12), 0x40, "no update; the divider and its periodic flag go on");
	out(&r, 11, B_24H);
	expect_date(&r, EPOCH);
	r.clock.now_ns = 11 * SECOND;
	expect_date(&r, EPOCH + 1);
}

Test(rtc, update_interrupt)
{
	struct rig r;

	rig_init(&r);
	r.clock.now_ns = SECOND / 4;
	in(&r, 12);
	out(&r, 11, B_24H | B_UIE);
	cr_assert_eq(vclock_next(&r.clock), SECOND);
	check_run_clock(&r.clock, SECOND - 1);
	cr_assert_not(r.level);
	check_run_clock(&r.clock, SECOND);
	cr_assert(r.level);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER, "nothing new until register C is read");
	cr_assert_eq(in(&r, 12) & 0xb0, 0x90);
	cr_assert_not(r.level);
	cr_assert_eq(in(&r, 12), 0);
	cr_assert_eq(vclock_next(&r.clock), 2 * SECOND);
	check_run_clock(&r.clock, 10 * SECOND);
	cr_assert_eq(r.nrises, 2);
}

Test(rtc, flags_by_polling)
{
	struct rig r;

	rig_init(&r);
	out(&r, 1, 0x23); /* alarm at 22:13:23 */
	out(&r, 3, 0x13);
	out(&r, 5, 0x22);
	cr_assert_eq(in(&r, 12), 0);
	r.clock.now_ns = 3 * SECOND - 1;
	cr_assert_eq(in(&r, 12), 0x50);
	r.clock.now_ns = 3 * SECOND;
	cr_assert_eq(in(&r, 12), 0x70);
	cr_assert_eq(in(&r, 12), 0);
	r.clock.now_ns = 5 * 86400 * SECOND;
	cr_assert_eq(in(&r, 12), 0x70, "days later, in one look");
	cr_assert_not(r.level);
}

Test(rtc, alarm_interrupt)
{
	static const struct { u8 b, second, minute, hour; u64 in_s; } cases[] = {
		/* from 22:13:20 */
		{ B_24H, 0x21, 0x13, 0x22, 1 },
		{ B_24H, 0x20, 0x13, 0x22, 86400 },
		{ B_24H, 0xff, 0xff, 0xff, 1 },
		{ B_24H, 0x05, 0xc0, 0xc0, 45 },
		{ B_24H, 0x00, 0x00, 0xff, 2800 },
		{ B_24H, 0xff, 0x13, 0x22, 1 },
		{ B_24H, 0xff, 0x13, 0x05, 25180 }, /* 05:13:00 */
		{ B_24H, 0x00, 0x30, 0x07, 33400 },
		{ B_24H | B_BINARY, 0, 30, 7, 33400 },
		{ 0, 0x00, 0x30, 0x07, 33400 },
		{ 0, 0x00, 0x30, 0x92, 51400 },     /* 12:30 PM */
		{ 0, 0x00, 0x30, 0x12, 8200 },      /* 12:30 AM */
		{ B_24H, 0x3a, 0xff, 0xff, 0 },     /* no BCD: never */
		{ B_24H, 0x60, 0xff, 0xff, 0 },
		{ B_24H, 0x00, 0x00, 0x24, 0 },
		{ 0, 0x00, 0x00, 0x13, 0 },         /* no such hour on a 12-hour clock */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;
		u64 at = cases[i].in_s * SECOND;

		rig_init(&r);
		out(&r, 1, cases[i].second);
		out(&r, 3, cases[i].minute);
		out(&r, 5, cases[i].hour);
		out(&r, 11, cases[i].b | B_AIE);
		if (!at) {
			cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER, "case %zu", i);
			r.clock.now_ns = 3 * 86400 * SECOND;
			cr_assert_eq(in(&r, 12) & 0x20, 0, "case %zu", i);
			continue;
		}
		cr_assert_eq(vclock_next(&r.clock), at, "case %zu: %lu, not %lu", i, vclock_next(&r.clock), at);
		check_run_clock(&r.clock, at - 1);
		cr_assert_not(r.level);
		check_run_clock(&r.clock, at);
		cr_assert(r.level);
		cr_assert_eq(in(&r, 12) & 0xa0, 0xa0);
		cr_assert_not(r.level);
	}
}

Test(rtc, periodic_interrupt)
{
	static const struct { u8 rate; unsigned hz; } cases[] = {
		{ 1, 256 }, { 2, 128 }, { 3, 8192 }, { 6, 1024 }, { 10, 64 }, { 15, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;
		unsigned n = 0;

		rig_init(&r);
		out(&r, 10, 0x20 | cases[i].rate);
		out(&r, 11, B_24H | B_PIE);
		while (vclock_next(&r.clock) <= SECOND) {
			check_run_clock(&r.clock, vclock_next(&r.clock));
			cr_assert(r.level);
			cr_assert_eq(in(&r, 12) & 0xc0, 0xc0);
			n++;
		}
		cr_assert_eq(n, cases[i].hz);
		cr_assert_eq(r.clock.now_ns, SECOND, "the last one ends the second exactly");
		out(&r, 10, 0x20);
		cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
		out(&r, 10, 0x70 | cases[i].rate);
		cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER, "the divider is held");
	}
}

Test(rtc, cmos_memory_sizes)
{
	static const struct { u64 mem; u16 ext_kib, high_64kib; } cases[] = {
		{ MIB(8), 7168, 0 }, { MIB(16), 15360, 0 }, { MIB(256), 65535, 3840 }, { GIB(3), 65535, 48896 },
		{ MIB(1), 0, 0 }, { GIB(64), 65535, 65535 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;
		int sum = 0;

		rig_init_at(&r, EPOCH, cases[i].mem);
		cr_assert_eq(in(&r, 0x15) | in(&r, 0x16) << 8, 640);
		cr_assert_eq(in(&r, 0x17) | in(&r, 0x18) << 8, cases[i].ext_kib);
		cr_assert_eq(in(&r, 0x30) | in(&r, 0x31) << 8, cases[i].ext_kib);
		cr_assert_eq(in(&r, 0x34) | in(&r, 0x35) << 8, cases[i].high_64kib);
		for (u8 a = 0x10; a < 0x2e; a++)
			sum += in(&r, a);
		cr_assert_eq(in(&r, 0x2e) << 8 | in(&r, 0x2f), sum);
		cr_assert_eq(in(&r, 13), 0x80);
	}
}

Test(rtc, nvram_and_reset)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x0f, 0x0a);
	out(&r, 0x8f & 0x7f, 0x0a);
	rtc_ops.write(&r.rtc, IO_PORT, 0x70, 1, 0x80 | 0x0f);
	cr_assert_eq(rtc_ops.read(&r.rtc, IO_PORT, 0x71, 1) & 0xff, 0x0a, "bit 7 of the index is NMI's");
	cr_assert_eq(rtc_ops.read(&r.rtc, IO_PORT, 0x70, 1) & 0xff, 0xff);
	rtc_ops.write(&r.rtc, IO_PORT, 0x70, 2, 0x5a7f);
	cr_assert_eq(in(&r, 0x7f), 0x5a);
	out(&r, 13, 0);
	cr_assert_eq(in(&r, 13), 0x80);
	set_date(&r, 1709251199);
	out(&r, 11, B_24H | B_UIE | B_AIE | B_PIE);
	check_run_clock(&r.clock, r.clock.now_ns + SECOND);
	cr_assert(r.level);
	rtc_ops.reset(&r.rtc);
	cr_assert_not(r.level);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	cr_assert_eq(in(&r, 11), B_24H);
	cr_assert_eq(in(&r, 12), 0);
	cr_assert_eq(in(&r, 0x0f), 0x0a, "the battery keeps RAM");
	expect_date(&r, 1709251200);
}

Test(rtc, state_roundtrip)
{
	struct rig r, fresh;

	rig_init(&r);
	rig_init_at(&fresh, 5, MIB(32));
	r.clock.now_ns = 5 * SECOND + 12345;
	set_date(&r, 1709251199);
	out(&r, 1, 0x11);
	out(&r, 11, B_UIE | B_AIE);
	fresh.clock.now_ns = r.clock.now_ns;
	check_device_roundtrip(&rtc_ops, &r.rtc, &fresh.rtc);
	cr_assert_eq(vclock_next(&r.clock), vclock_next(&fresh.clock));
	for (u8 i = 0; i < 128; i++)
		cr_assert_eq(in(&r, i), in(&fresh, i), "register %02x", i);
}

Test(rtc, fuzz)
{
	static const struct fuzz_range range = { IO_PORT, 0x70, 2 };
	static const struct device_fuzz fuzz = { &rtc_ops, &range, 1, 20000000000UL, NULL };

	for (u64 seed = 1; seed <= 6; seed++) {
		struct rig r, twin;

		rig_init(&r);
		rig_init_at(&twin, 99, MIB(16));
		out(&twin, 11, B_PIE);
		check_device_fuzz(&fuzz, &r.rtc, &r.clock, &twin.rtc, &twin.clock, seed, 10000);
	}
}

/* Registers at random (the fuzz above rarely hits the index), then time passes: every flag when due. */
static u64 poke(void *dev, u64 random)
{
	static const u8 regs[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 0x32 };

	rtc_ops.write(dev, IO_PORT, 0x70, 1, regs[random % ARRAY_SIZE(regs)]);
	if (random & 0x100)
		rtc_ops.write(dev, IO_PORT, 0x71, 1, random >> 16);
	return rtc_ops.read(dev, IO_PORT, 0x71, 1);
}

Test(rtc, fuzz_registers)
{
	static const struct fuzz_range range = { IO_PORT, 0x71, 1 };
	static const struct device_fuzz fuzz = { &rtc_ops, &range, 1, 3000000000UL, poke };

	for (u64 seed = 1; seed <= 6; seed++) {
		struct rig r, twin;

		rig_init(&r);
		rig_init_at(&twin, 99, MIB(16));
		check_device_fuzz(&fuzz, &r.rtc, &r.clock, &twin.rtc, &twin.clock, seed, 10000);
	}
}
