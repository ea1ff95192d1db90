/*
 * test_acpipm.c - power-off, reset, the PM timer and its interrupt.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/acpipm.h"

struct rig {
	struct vclock clock;
	struct acpipm pm;
	bool level;
	unsigned nasked;
	enum machine_request what;
};

static void rig_set(void *ctx, unsigned pin, bool level)
{
	struct rig *r = ctx;

	cr_assert_eq(pin, 9);
	r->level = level;
}

static void rig_ask(void *ctx, enum machine_request what, u32 value unused_arg)
{
	struct rig *r = ctx;

	r->nasked++;
	r->what = what;
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	acpipm_init(&r->pm, &r->clock, (struct irq_line){ rig_set, r, 9 }, (struct machine_control){ rig_ask, r });
}

static u32 in(struct rig *r, u16 port, unsigned size_bytes)
{
	return (u32)(acpipm_ops.read(&r->pm, IO_PORT, port, size_bytes) & size_mask(size_bytes));
}

static void out(struct rig *r, u16 port, unsigned size_bytes, u32 value)
{
	acpipm_ops.write(&r->pm, IO_PORT, port, size_bytes, value);
}

Test(acpipm, power_off)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x604, 2, 0x3400); /* SLP_TYP 5: no such state here */
	cr_assert_eq(r.nasked, 0);
	out(&r, 0x604, 2, 0x0001);
	cr_assert_eq(r.nasked, 0);
	out(&r, 0x604, 2, 0x2000);
	cr_assert_eq(r.nasked, 1);
	cr_assert_eq(r.what, MACHINE_POWER_OFF);
	cr_assert_eq(in(&r, 0x604, 2), 0x0001, "SLP_EN reads 0, SCI_EN stays");

	rig_init(&r);
	out(&r, 0x605, 1, 0x20);
	cr_assert_eq(r.nasked, 1, "the high byte alone does it too");
	cr_assert_eq(r.what, MACHINE_POWER_OFF);
}

Test(acpipm, acpi_mode)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(in(&r, 0x604, 2) & 1, 1);
	out(&r, 0x604, 2, 0);
	cr_assert_eq(in(&r, 0x604, 2) & 1, 1, "not by writing PM1_CNT");
	out(&r, 0xb2, 1, ACPIPM_CMD_DISABLE);
	cr_assert_eq(in(&r, 0x604, 2) & 1, 0);
	cr_assert_eq(in(&r, 0xb2, 1), ACPIPM_CMD_DISABLE);
	out(&r, 0xb2, 1, 0x55);
	cr_assert_eq(in(&r, 0x604, 2) & 1, 0);
	out(&r, 0xb2, 1, ACPIPM_CMD_ENABLE);
	cr_assert_eq(in(&r, 0x604, 2) & 1, 1);
}

Test(acpipm, reset_register)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0xcf9, 1, 0x02);
	cr_assert_eq(r.nasked, 0);
	cr_assert_eq(in(&r, 0xcf9, 1), 0x02);
	out(&r, 0xcf9, 1, ACPIPM_RESET_VALUE);
	cr_assert_eq(r.nasked, 1);
	cr_assert_eq(r.what, MACHINE_RESET);
	out(&r, 0xcf9, 1, ACPIPM_RESET_VALUE);
	cr_assert_eq(r.nasked, 1, "only the rising edge");
}

Test(acpipm, timer_rate)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(in(&r, 0x608, 4), 0);
	r.clock.now_ns = 1000000000;
	cr_assert_eq(in(&r, 0x608, 4), 3579545);
	r.clock.now_ns = 279; /* one tick is 279.36 ns */
	cr_assert_eq(in(&r, 0x608, 4), 0);
	r.clock.now_ns = 280;
	cr_assert_eq(in(&r, 0x608, 4), 1);
	r.clock.now_ns = 1200UL * 1000000000; /* 4295454000 ticks: once around 2^32 */
	cr_assert_eq(in(&r, 0x608, 4), 4295454000UL - 4294967296UL);
	cr_assert_eq(in(&r, 0x608, 2), (4295454000UL - 4294967296UL) & 0xffff);
	cr_assert_eq(in(&r, 0x60b, 1), 0);
	r.clock.now_ns = 3650UL * 86400 * 1000000000; /* ten years: no overflow inside */
	cr_assert_eq(in(&r, 0x608, 4), (u32)(3650UL * 86400 * 3579545));
	out(&r, 0x608, 4, 0);
	cr_assert_eq(in(&r, 0x608, 4), (u32)(3650UL * 86400 * 3579545), "read-only");
}

/* 2^31 / 3579545 Hz, in ns, rounded up */
#define HALF_TURN_NS 599932015941UL

Test(acpipm, overflow_is_seen_without_a_timer)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER, "nothing keeps an idle machine awake");
	r.clock.now_ns = HALF_TURN_NS - 1;
	cr_assert_eq(in(&r, 0x608, 4), 0x7fffffff);
	cr_assert_eq(in(&r, 0x600, 2), 0);
	r.clock.now_ns = HALF_TURN_NS;
	cr_assert_eq(in(&r, 0x608, 4), 0x80000000);
	cr_assert_eq(in(&r, 0x600, 2), 1);
	out(&r, 0x600, 2, 0xfffe);
	cr_assert_eq(in(&r, 0x600, 2), 1, "a zero leaves it");
	out(&r, 0x600, 2, 1);
	cr_assert_eq(in(&r, 0x600, 2), 0);
	r.clock.now_ns = 2 * HALF_TURN_NS + 1000000;
	out(&r, 0x600, 2, 1);
	cr_assert_eq(in(&r, 0x600, 2), 0, "one that came unseen can be cleared blindly");
}

Test(acpipm, overflow_interrupt)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x602, 2, 0xffff);
	cr_assert_eq(in(&r, 0x602, 2), 0x0721, "only what exists can be enabled");
	cr_assert_eq(vclock_next(&r.clock), HALF_TURN_NS);
	check_run_clock(&r.clock, HALF_TURN_NS - 1);
	cr_assert_not(r.level);
	check_run_clock(&r.clock, HALF_TURN_NS);
	cr_assert(r.level);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	out(&r, 0xb2, 1, ACPIPM_CMD_DISABLE);
	cr_assert_not(r.level, "no SCI in legacy mode");
	out(&r, 0xb2, 1, ACPIPM_CMD_ENABLE);
	cr_assert(r.level);
	out(&r, 0x600, 1, 1);
	cr_assert_not(r.level);
	cr_assert_neq(vclock_next(&r.clock), VTIMER_NEVER, "armed for the next");
	out(&r, 0x602, 2, 0);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
}

Test(acpipm, reset_and_roundtrip)
{
	struct rig r, fresh;

	rig_init(&r);
	rig_init(&fresh);
	r.clock.now_ns = fresh.clock.now_ns = HALF_TURN_NS + 5;
	out(&r, 0x602, 2, 0x0101);
	out(&r, 0x604, 2, 0x0402);
	out(&r, 0xb2, 2, 0x77f0);
	out(&r, 0xcf9, 1, 0x0a);
	out(&fresh, 0xb2, 2, 0x1234);
	check_device_roundtrip(&acpipm_ops, &r.pm, &fresh.pm);
	cr_assert_eq(in(&fresh, 0xb3, 1), 0x77);
	out(&r, 0xb2, 1, ACPIPM_CMD_ENABLE);
	cr_assert(r.level);
	acpipm_ops.reset(&r.pm);
	cr_assert_not(r.level);
	cr_assert_eq(in(&r, 0x600, 4), 0);
	cr_assert_eq(in(&r, 0x604, 2), 1);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
}

Test(acpipm, fuzz)
{
	static const struct fuzz_range ranges[] = {
		{ IO_PORT, 0x600, 12 }, { IO_PORT, 0xb2, 2 }, { IO_PORT, 0xcf9, 1 },
	};
	static const struct device_fuzz fuzz = { &acpipm_ops, ranges, ARRAY_SIZE(ranges), 400000000000UL, NULL };

	for (u64 seed = 1; seed <= 4; seed++) {
		struct rig r, twin;

		rig_init(&r);
		rig_init(&twin);
		out(&twin, 0x602, 2, 0x0721);
		check_device_fuzz(&fuzz, &r.pm, &r.clock, &twin.pm, &twin.clock, seed, 10000);
	}
}
