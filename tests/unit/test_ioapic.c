/*
 * test_ioapic.c - the I/O APIC: its registers and the life of an interrupt.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/ioapic.h"

#define LOW(pin) (0x10 + 2 * (pin))
#define HIGH(pin) (0x11 + 2 * (pin))

enum { MASKED = 1 << 16, LEVEL = 1 << 15, REMOTE_IRR = 1 << 14, LOGICAL = 1 << 11 };

struct rig {
	struct vclock clock;
	struct ioapic io;
	unsigned nsent;
	struct apic_message last;
};

static void take(void *ctx, const struct apic_message *m)
{
	struct rig *r = ctx;

	r->nsent++;
	r->last = *m;
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	ioapic_init(&r->io, &r->clock, 1, take, r);
}

static void put(struct rig *r, u8 reg, u32 value)
{
	ioapic_ops.write(&r->io, IO_MEMORY, 0xfec00000, 4, reg);
	ioapic_ops.write(&r->io, IO_MEMORY, 0xfec00010, 4, value);
}

static u32 get(struct rig *r, u8 reg)
{
	ioapic_ops.write(&r->io, IO_MEMORY, 0xfec00000, 4, reg);
	return (u32)ioapic_ops.read(&r->io, IO_MEMORY, 0xfec00010, 4);
}

Test(ioapic, registers)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(get(&r, 0), 0x01000000);
	cr_assert_eq(get(&r, 1), 0x00170020); /* 24 entries, version 20h */
	put(&r, 0, 0xffffffff);
	cr_assert_eq(get(&r, 0), 0x0f000000);
	cr_assert_eq(get(&r, 2), 0x0f000000);
	put(&r, 1, 0);
	cr_assert_eq(get(&r, 1), 0x00170020);
	for (unsigned pin = 0; pin < 24; pin++) {
		cr_assert_eq(get(&r, (u8)LOW(pin)), MASKED);
		cr_assert_eq(get(&r, (u8)HIGH(pin)), 0);
	}
	put(&r, LOW(23), 0xffffffff);
	put(&r, HIGH(23), 0xffffffff);
	cr_assert_eq(get(&r, LOW(23)), 0x0001afff); /* status bits and reserved ones stay 0 */
	cr_assert_eq(get(&r, HIGH(23)), 0xff000000);
	cr_assert_eq(get(&r, 0x40), 0);
	cr_assert_eq(get(&r, 0x0f), 0);
	cr_assert_eq(get(&r, 0xff), 0);
	put(&r, 0x40, 0xffffffff);
	ioapic_ops.write(&r.io, IO_MEMORY, 0xfec00000, 1, 0x11);
	cr_assert_eq(ioapic_ops.read(&r.io, IO_MEMORY, 0xfec00000, 4), 0x11);
	cr_assert_eq(ioapic_ops.read(&r.io, IO_MEMORY, 0xfec00020, 4), 0);
}

Test(ioapic, an_edge_sends_once)
{
	struct rig r;

	rig_init(&r);
	put(&r, HIGH(4), 0x03000000);
	put(&r, LOW(4), LOGICAL | 0x100 | 0x34); /* lowest priority, vector 34h */
	ioapic_set_line(&r.io, 4, true);
	cr_assert_eq(r.nsent, 1);
	cr_assert_eq(r.last.dest, 3);
	cr_assert_eq(r.last.dest_mode, APIC_LOGICAL);
	cr_assert_eq(r.last.delivery_mode, APIC_LOWEST);
	cr_assert_eq(r.last.vector, 0x34);
	cr_assert_eq(r.last.trigger, APIC_EDGE);
	cr_assert_eq(r.last.shorthand, APIC_TO_DEST);
	ioapic_set_line(&r.io, 4, true);
	cr_assert_eq(r.nsent, 1);
	ioapic_set_line(&r.io, 4, false);
	ioapic_set_line(&r.io, 4, true);
	cr_assert_eq(r.nsent, 2);
	cr_assert_eq(get(&r, LOW(4)) & REMOTE_IRR, 0);
	ioapic_set_line(&r.io, 24, true);
	ioapic_set_line(&r.io, 1000, true);
	cr_assert_eq(r.nsent, 2);
}

Test(ioapic, an_edge_while_masked_is_lost)
{
	struct rig r;

	rig_init(&r);
	put(&r, LOW(2), MASKED | 0x30);
	ioapic_set_line(&r.io, 2, true);
	put(&r, LOW(2), 0x30);
	cr_assert_eq(r.nsent, 0);
	ioapic_set_line(&r.io, 2, false);
	ioapic_set_line(&r.io, 2, true);
	cr_assert_eq(r.nsent, 1);
}

Test(ioapic, a_level_sends_again_after_each_eoi)
{
	struct rig r;

	rig_init(&r);
	put(&r, LOW(16), LEVEL | 0x2000 | 0x51); /* active low: the assertion is what counts */
	ioapic_set_line(&r.io, 16, true);
	cr_assert_eq(r.nsent, 1);
	cr_assert_eq(r.last.trigger, APIC_LEVEL);
	cr_assert_eq(get(&r, LOW(16)), LEVEL | 0x2000 | REMOTE_IRR | 0x51);
	ioapic_set_line(&r.io, 16, false);
	ioapic_set_line(&r.io, 16, true);
	cr_assert_eq(r.nsent, 1, "held back by remote IRR");
	ioapic_eoi(&r.io, 0x50);
	cr_assert_eq(r.nsent, 1, "another vector's EOI");
	ioapic_eoi(&r.io, 0x51);
	cr_assert_eq(r.nsent, 2, "still asserted");
	ioapic_set_line(&r.io, 16, false);
	ioapic_eoi(&r.io, 0x51);
	cr_assert_eq(r.nsent, 2);
	cr_assert_eq(get(&r, LOW(16)) & REMOTE_IRR, 0);
	ioapic_set_line(&r.io, 16, true);
	cr_assert_eq(r.nsent, 3);
	ioapic_ops.write(&r.io, IO_MEMORY, 0xfec00040, 4, 0x51); /* the EOI register does the same */
	cr_assert_eq(r.nsent, 4);
	put(&r, LOW(17), LEVEL | 0x152); /* lowest priority */
	ioapic_set_line(&r.io, 17, true);
	cr_assert_eq(r.nsent, 5);
	put(&r, LOW(18), LEVEL | 0x453); /* NMI knows no EOI, and so no level */
	ioapic_set_line(&r.io, 18, true);
	cr_assert_eq(r.nsent, 5);
}

Test(ioapic, a_level_waits_for_unmasking)
{
	struct rig r;

	rig_init(&r);
	put(&r, LOW(9), LEVEL | MASKED | 0x61);
	ioapic_set_line(&r.io, 9, true);
	cr_assert_eq(r.nsent, 0);
	put(&r, LOW(9), LEVEL | 0x61);
	cr_assert_eq(r.nsent, 1);
	put(&r, LOW(9), LEVEL | MASKED | 0x61); /* how Linux handles it: mask, EOI, unmask */
	cr_assert_eq(get(&r, LOW(9)) & REMOTE_IRR, REMOTE_IRR);
	ioapic_eoi(&r.io, 0x61);
	cr_assert_eq(r.nsent, 1);
	put(&r, LOW(9), LEVEL | 0x61);
	cr_assert_eq(r.nsent, 2);
}

Test(ioapic, edge_forgets_remote_irr)
{
	struct rig r;

	rig_init(&r);
	put(&r, LOW(9), LEVEL | 0x61);
	ioapic_set_line(&r.io, 9, true);
	put(&r, LOW(9), MASKED | 0x61);
	cr_assert_eq(get(&r, LOW(9)), MASKED | 0x61);
	put(&r, LOW(9), LEVEL | 0x61);
	cr_assert_eq(r.nsent, 2);
}

Test(ioapic, two_pins_share_a_vector)
{
	struct rig r;

	rig_init(&r);
	put(&r, LOW(10), LEVEL | 0x71);
	put(&r, LOW(11), LEVEL | 0x71);
	ioapic_set_line(&r.io, 10, true);
	ioapic_set_line(&r.io, 11, true);
	cr_assert_eq(r.nsent, 2);
	ioapic_set_line(&r.io, 10, false);
	ioapic_eoi(&r.io, 0x71);
	cr_assert_eq(r.nsent, 3);
	cr_assert_eq(get(&r, LOW(10)) & REMOTE_IRR, 0);
	cr_assert_eq(get(&r, LOW(11)) & REMOTE_IRR, REMOTE_IRR);
}

Test(ioapic, broadcast_is_told_alike)
{
	struct rig r;

	rig_init(&r);
	put(&r, HIGH(1), 0xff000000);
	put(&r, LOW(1), 0x31);
	ioapic_set_line(&r.io, 1, true);
	cr_assert_eq(r.last.dest, APIC_BROADCAST);
}

Test(ioapic, partial_accesses)
{
	struct rig r;

	rig_init(&r);
	put(&r, LOW(3), 0x33);
	ioapic_ops.write(&r.io, IO_MEMORY, 0xfec00010, 1, 0x44); /* not a whole register */
	cr_assert_eq(get(&r, LOW(3)), 0x33);
	ioapic_ops.write(&r.io, IO_MEMORY, 0xfec00012, 4, 0x44);
	cr_assert_eq(get(&r, LOW(3)), 0x33);
	ioapic_ops.write(&r.io, IO_PORT, 0xfec00010, 4, 0x44);
	ioapic_ops.write(&r.io, IO_MEMORY, 0xfec01010, 4, 0x44);
	cr_assert_eq(get(&r, LOW(3)), 0x33);
	cr_assert_eq(ioapic_ops.read(&r.io, IO_PORT, 0xfec00010, 4), ~0UL);
}

static void scramble(struct rig *r)
{
	rig_init(r);
	for (unsigned pin = 0; pin < 24; pin++) {
		put(r, (u8)HIGH(pin), pin * 0x1010101);
		put(r, (u8)LOW(pin), pin * 0x111111);
		ioapic_set_line(&r->io, pin, pin & 1);
	}
	put(r, 0, 0x0a000000);
	get(r, 0x20);
}

Test(ioapic, state_in_the_middle_of_things)
{
	struct rig r, twin;

	rig_init(&r);
	check_device_visits_all(&ioapic_ops, &r.io, sizeof(r.io), 2 * sizeof(void *) + 1 /* default_id */ + 1 /* padding */);
	put(&r, LOW(16), LEVEL | 0x51);
	ioapic_set_line(&r.io, 16, true); /* remote IRR set */
	ioapic_set_line(&r.io, 5, true);
	scramble(&twin);
	check_device_roundtrip(&ioapic_ops, &r.io, &twin.io);
	twin.nsent = 0;
	ioapic_eoi(&twin.io, 0x51);
	cr_assert_eq(twin.nsent, 1);
	rig_init(&r);
	check_device_roundtrip(&ioapic_ops, &twin.io, &r.io);
	scramble(&twin);
	ioapic_ops.reset(&twin.io);
	rig_init(&r);
	check_device_same(&ioapic_ops, &r.io, &twin.io);
}

static u64 other(void *dev, u64 random)
{
	struct rig *r = container_of((struct ioapic *)dev, struct rig, io);

	r->nsent = 0;
	r->last = (struct apic_message){ 0 };
	if (random & 0x100)
		ioapic_eoi(dev, (u8)(random >> 12));
	else
		ioapic_set_line(dev, random & 31, random & 0x20);
	return (u64)r->nsent << 40 | (u64)r->last.dest << 8 | r->last.vector;
}

Test(ioapic, fuzz)
{
	static const struct fuzz_range ranges[] = {
		{ IO_MEMORY, 0xfec00000, 1 }, { IO_MEMORY, 0xfec00010, 1 }, { IO_MEMORY, 0xfec00010, 1 },
		{ IO_MEMORY, 0xfec00000, 0x1000 }, { IO_PORT, 0, 65536 },
	};
	struct device_fuzz f = {
		.ops = &ioapic_ops, .ranges = ranges, .nranges = ARRAY_SIZE(ranges), .max_step_ns = 10, .other = other,
	};
	struct rig r, twin;

	for (u64 seed = 1; seed <= 8; seed++) {
		rig_init(&r);
		scramble(&twin);
		check_device_fuzz(&f, &r.io, &r.clock, &twin.io, &twin.clock, seed * 0x9e3779b97f4a7c15UL, 6000);
		check_device_damage(&f, &r.io, &twin.io, &twin.clock, seed, 200);
	}
}
