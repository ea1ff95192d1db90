/*
 * test_i8042.c - the keyboard controller with no keyboard.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/i8042.h"

struct rig {
	struct vclock clock;
	struct i8042 kbc;
	bool level[16];
	unsigned nresets;
};

static void rig_set(void *ctx, unsigned pin, bool level)
{
	struct rig *r = ctx;

	cr_assert(pin == 1 || pin == 12);
	r->level[pin] = level;
}

static void rig_ask(void *ctx, enum machine_request what, u32 value unused_arg)
{
	struct rig *r = ctx;

	cr_assert_eq(what, MACHINE_RESET);
	r->nresets++;
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	i8042_init(&r->kbc, &r->clock, (struct irq_line){ rig_set, r, 1 }, (struct irq_line){ rig_set, r, 12 },
		   (struct machine_control){ rig_ask, r });
}

static u8 in(struct rig *r, u16 port)
{
	return (u8)i8042_ops.read(&r->kbc, IO_PORT, port, 1);
}

static void out(struct rig *r, u16 port, u8 value)
{
	i8042_ops.write(&r->kbc, IO_PORT, port, 1, value);
}

Test(i8042, answers_tests)
{
	static const struct { u8 cmd, answer; } cases[] = {
		{ 0xaa, 0x55 }, { 0xab, 0x00 }, { 0xa9, 0x00 }, { 0xc0, 0x80 }, { 0xe0, 0x00 },
	};
	struct rig r;

	rig_init(&r);
	cr_assert_eq(in(&r, 0x64), 0x14, "empty, unlocked, system flag, last write was data");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		out(&r, 0x64, cases[i].cmd);
		cr_assert_eq(in(&r, 0x64), 0x1d, "command %02x", cases[i].cmd);
		cr_assert_eq(in(&r, 0x60), cases[i].answer, "command %02x", cases[i].cmd);
		cr_assert_eq(in(&r, 0x64), 0x1c);
	}
}

Test(i8042, command_byte)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x64, 0x20);
	cr_assert_eq(in(&r, 0x60), 0x45);
	out(&r, 0x64, 0x60);
	out(&r, 0x60, 0x03);
	cr_assert_eq(in(&r, 0x64), 0x10, "the system flag follows, nothing is in the buffer");
	out(&r, 0x64, 0x20);
	cr_assert_eq(in(&r, 0x60), 0x03);
	out(&r, 0x64, 0xaa);
	cr_assert_eq(in(&r, 0x64) & 0x04, 0x04, "the self test sets it");
	in(&r, 0x60);
	out(&r, 0x64, 0xad);
	out(&r, 0x64, 0xa7);
	out(&r, 0x64, 0x20);
	cr_assert_eq(in(&r, 0x60), 0x37);
	out(&r, 0x64, 0xae);
	out(&r, 0x64, 0xa8);
	out(&r, 0x64, 0x20);
	cr_assert_eq(in(&r, 0x60), 0x07);
	out(&r, 0x64, 0x65);
	out(&r, 0x60, 0x99);
	out(&r, 0x64, 0x25);
	cr_assert_eq(in(&r, 0x60), 0x99, "controller RAM");
}

Test(i8042, absent_devices_time_out)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x64, 0xad);
	out(&r, 0x60, 0xff); /* keyboard reset */
	cr_assert_eq(in(&r, 0x64) & 0x61, 0x41);
	cr_assert(r.level[1]);
	cr_assert_eq(in(&r, 0x60), 0xfe);
	cr_assert_not(r.level[1]);
	out(&r, 0x64, 0x20);
	cr_assert_eq(in(&r, 0x64) & 0x41, 0x01, "the next byte is a good one");
	cr_assert_eq(in(&r, 0x60), 0x45, "sending enabled the keyboard");
	out(&r, 0x64, 0x60);
	out(&r, 0x60, 0x47);
	out(&r, 0x64, 0xd4);
	out(&r, 0x60, 0xf4); /* mouse enable */
	cr_assert_eq(in(&r, 0x64) & 0x61, 0x61);
	cr_assert(r.level[12]);
	cr_assert_not(r.level[1]);
	cr_assert_eq(in(&r, 0x60), 0xfe);
	cr_assert_not(r.level[12]);
}

Test(i8042, loops_back_buffers)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x64, 0xd2);
	out(&r, 0x60, 0x1c);
	cr_assert(r.level[1]);
	cr_assert_eq(in(&r, 0x64) & 0x21, 0x01);
	cr_assert_eq(in(&r, 0x60), 0x1c);
	out(&r, 0x64, 0xd3);
	out(&r, 0x60, 0x5a);
	cr_assert_not(r.level[12], "IRQ 12 is not enabled");
	cr_assert_eq(in(&r, 0x64) & 0x21, 0x21);
	cr_assert_eq(in(&r, 0x60), 0x5a);
	out(&r, 0x64, 0xd2);
	out(&r, 0x64, 0x20); /* a new command takes the place of one that waits for its byte */
	out(&r, 0x60, 0xed);
	cr_assert_eq(in(&r, 0x60), 0xfe);
}

Test(i8042, output_port_and_a20)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x64, 0xd0);
	cr_assert_eq(in(&r, 0x60), 0xc3, "read while the buffer was empty");
	out(&r, 0x64, 0xd1);
	out(&r, 0x60, 0xdd); /* A20 off */
	cr_assert_eq(r.nresets, 0);
	out(&r, 0x64, 0xd0);
	cr_assert_eq(in(&r, 0x60), 0xcd);
	out(&r, 0x64, 0xaa);
	out(&r, 0x64, 0xd0);
	cr_assert_eq(in(&r, 0x60), 0xdd, "bit 4: the buffer was full");
	cr_assert_eq(in(&r, 0x92), 0x02);
	out(&r, 0x92, 0x00);
	cr_assert_eq(in(&r, 0x92), 0x00);
	cr_assert_eq(r.nresets, 0);
}

Test(i8042, resets)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0x64, 0xff);
	out(&r, 0x64, 0xfd);
	cr_assert_eq(r.nresets, 0);
	out(&r, 0x64, 0xfe);
	cr_assert_eq(r.nresets, 1);
	out(&r, 0x64, 0xf0);
	cr_assert_eq(r.nresets, 2);
	out(&r, 0x92, 0x03);
	cr_assert_eq(r.nresets, 3);
	cr_assert_eq(in(&r, 0x92), 0x02);
	out(&r, 0x64, 0xd1);
	out(&r, 0x60, 0xde);
	cr_assert_eq(r.nresets, 4);
}

Test(i8042, reset_and_roundtrip)
{
	struct rig r, fresh;

	rig_init(&r);
	rig_init(&fresh);
	out(&r, 0x64, 0x7f);
	out(&r, 0x60, 0x12);
	out(&r, 0x64, 0xd1);
	out(&r, 0x60, 0x01);
	out(&r, 0x92, 0x40);
	out(&r, 0x60, 0xf0);
	out(&r, 0x64, 0xd3);
	check_device_roundtrip(&i8042_ops, &r.kbc, &fresh.kbc);
	out(&fresh, 0x60, 0x77);
	cr_assert_eq(in(&fresh, 0x64) & 0x20, 0x20, "the pending command came along");
	rig_init(&fresh);
	i8042_ops.reset(&r.kbc);
	cr_assert_not(r.level[1]);
	check_device_same(&i8042_ops, &r.kbc, &fresh.kbc);
}

static u64 fuzz_other(void *dev, u64 random)
{
	i8042_ops.write(dev, IO_PORT, 0x64, 1, random);
	return i8042_ops.read(dev, IO_PORT, 0x60, 1);
}

Test(i8042, fuzz)
{
	static const struct fuzz_range ranges[] = { { IO_PORT, 0x60, 5 }, { IO_PORT, 0x92, 1 } };
	static const struct device_fuzz fuzz = { &i8042_ops, ranges, ARRAY_SIZE(ranges), 1000, fuzz_other };

	for (u64 seed = 1; seed <= 4; seed++) {
		struct rig r, twin;

		rig_init(&r);
		rig_init(&twin);
		out(&twin, 0x64, 0x60);
		out(&twin, 0x60, 0xff);
		check_device_fuzz(&fuzz, &r.kbc, &r.clock, &twin.kbc, &twin.clock, seed, 10000);
	}
}
