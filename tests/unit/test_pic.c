/*
 * test_pic.c - the pair of 8259As as the datasheet tells them and a PC wires them.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/pic.h"

enum { EOI = 0x20, READ_IRR = 0x0a, READ_ISR = 0x0b, POLL = 0x0c, SET_SMM = 0x68, RESET_SMM = 0x48 };

struct rig {
	struct vclock clock;
	struct pic pic;
	bool intr;
};

static void set_intr(void *ctx, unsigned pin unused_arg, bool level)
{
	((struct rig *)ctx)->intr = level;
}

static void out8(struct rig *r, unsigned port, u8 value)
{
	pic_ops.write(&r->pic, IO_PORT, port, 1, value);
	cr_assert_eq(r->intr, pic_has_interrupt(&r->pic));
}

static u8 in8(struct rig *r, unsigned port)
{
	return (u8)pic_ops.read(&r->pic, IO_PORT, port, 1);
}

static void initialise(struct rig *r, u8 icw4_master)
{
	static const u8 base[] = { 0x20, 0x28 }, icw3[] = { 0x04, 0x02 };

	for (unsigned n = 0; n < 2; n++) {
		unsigned port = n ? 0xa0 : 0x20;

		out8(r, port, 0x11);
		out8(r, port + 1, base[n]);
		out8(r, port + 1, icw3[n]);
		out8(r, port + 1, n ? 0x01 : icw4_master);
	}
}

static void rig_new(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	pic_init(&r->pic, &r->clock, (struct irq_line){ .set = set_intr, .ctx = r });
}

static void rig_init(struct rig *r)
{
	rig_new(r);
	initialise(r, 0x01);
}

static void line(struct rig *r, unsigned irq, bool level)
{
	pic_set_line(&r->pic, irq, level);
	cr_assert_eq(r->intr, pic_has_interrupt(&r->pic));
}

static void pulse(struct rig *r, unsigned irq)
{
	line(r, irq, false);
	line(r, irq, true);
}

static u8 isr(struct rig *r, unsigned port)
{
	out8(r, port, READ_ISR);
	return in8(r, port);
}

static u8 irr(struct rig *r, unsigned port)
{
	out8(r, port, READ_IRR);
	return in8(r, port);
}

#define assert_takes(r, vector) do { \
	cr_assert(pic_has_interrupt(&(r)->pic)); \
	cr_assert_eq(pic_pending_vector(&(r)->pic), vector); \
	cr_assert_eq(pic_acknowledge(&(r)->pic), vector); \
	cr_assert_eq((r)->intr, pic_has_interrupt(&(r)->pic)); \
} while (0)

Test(pic, before_initialisation_everything_is_masked)
{
	struct rig r;

	rig_new(&r);
	for (unsigned irq = 0; irq < 16; irq++)
		line(&r, irq, true);
	cr_assert_not(r.intr);
	cr_assert_eq(in8(&r, 0x21), 0xff);
	cr_assert_eq(in8(&r, 0xa1), 0xff);
}

Test(pic, initialisation_sequence)
{
	struct rig r;

	rig_new(&r);
	out8(&r, 0x21, 0xa5); /* a mask, for the sequence has not begun */
	cr_assert_eq(in8(&r, 0x21), 0xa5);
	out8(&r, 0x20, 0x11);
	cr_assert_eq(in8(&r, 0x21), 0x00); /* ICW1 clears the mask */
	pulse(&r, 3);
	cr_assert_not(r.intr, "not ready until the last ICW");
	out8(&r, 0x21, 0x7b); /* only bits 7-3 count */
	out8(&r, 0x21, 0x04);
	out8(&r, 0x21, 0x01);
	assert_takes(&r, 0x7b);
	out8(&r, 0x21, 0x5a);
	cr_assert_eq(in8(&r, 0x21), 0x5a);

	out8(&r, 0x20, 0x10); /* no ICW4: two more words */
	out8(&r, 0x21, 0x30);
	out8(&r, 0x21, 0x04);
	out8(&r, 0x21, 0x42);
	cr_assert_eq(in8(&r, 0x21), 0x42);
	out8(&r, 0x20, 0x13); /* single: no ICW3 */
	out8(&r, 0x21, 0x40);
	out8(&r, 0x21, 0x01);
	out8(&r, 0x21, 0x43);
	cr_assert_eq(in8(&r, 0x21), 0x43);
}

Test(pic, icw1_wants_a_new_edge)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 4);
	cr_assert(r.intr);
	initialise(&r, 0x01);
	cr_assert_not(r.intr, "the edge before ICW1 is forgotten");
	line(&r, 4, true);
	cr_assert_not(r.intr, "the line is high, but has not risen");
	pulse(&r, 4);
	assert_takes(&r, 0x24);
}

Test(pic, priorities_and_eoi)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 5);
	pulse(&r, 3);
	cr_assert_eq(irr(&r, 0x20), 0x28);
	assert_takes(&r, 0x23);
	cr_assert_eq(irr(&r, 0x20), 0x20);
	cr_assert_eq(isr(&r, 0x20), 0x08);
	cr_assert_not(r.intr, "5 is below 3");
	pulse(&r, 1);
	assert_takes(&r, 0x21);
	cr_assert_eq(isr(&r, 0x20), 0x0a);
	out8(&r, 0x20, EOI); /* ends 1, the highest */
	cr_assert_eq(isr(&r, 0x20), 0x08);
	cr_assert_not(r.intr);
	out8(&r, 0x20, EOI);
	assert_takes(&r, 0x25);
	out8(&r, 0x20, 0x65); /* specific */
	cr_assert_eq(isr(&r, 0x20), 0);
	out8(&r, 0x20, EOI); /* nothing in service: nothing happens */
	cr_assert_not(r.intr);
}

Test(pic, mask)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x21, 0x10);
	pulse(&r, 4);
	cr_assert_not(r.intr);
	cr_assert_eq(irr(&r, 0x20), 0x10, "masked requests are still latched");
	out8(&r, 0x21, 0x00);
	assert_takes(&r, 0x24);
}

Test(pic, an_edge_interrupts_once)
{
	struct rig r;

	rig_init(&r);
	line(&r, 4, true);
	assert_takes(&r, 0x24);
	out8(&r, 0x20, EOI);
	line(&r, 4, true);
	cr_assert_not(r.intr);
	line(&r, 4, false);
	line(&r, 4, true);
	assert_takes(&r, 0x24);
}

Test(pic, level_interrupts_while_it_lasts)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x4d0, 0xff);
	out8(&r, 0x4d1, 0xff);
	cr_assert_eq(in8(&r, 0x4d0), 0xf8, "0-2 are always edge");
	cr_assert_eq(in8(&r, 0x4d1), 0xde, "8 and 13 are always edge");
	line(&r, 11, true);
	assert_takes(&r, 0x2b);
	cr_assert_eq(irr(&r, 0xa0), 0x08);
	cr_assert_not(r.intr);
	out8(&r, 0xa0, EOI);
	out8(&r, 0x20, EOI);
	assert_takes(&r, 0x2b);
	line(&r, 11, false);
	out8(&r, 0xa0, EOI);
	out8(&r, 0x20, EOI);
	cr_assert_not(r.intr);
	cr_assert_eq(irr(&r, 0xa0), 0);
}

Test(pic, elcr_takes_a_line_as_it_is)
{
	struct rig r;

	rig_init(&r);
	line(&r, 5, true);
	assert_takes(&r, 0x25);
	out8(&r, 0x20, EOI);
	out8(&r, 0x4d0, 0x20);
	assert_takes(&r, 0x25); /* still high: as a level, it asks again */
	out8(&r, 0x20, EOI);
	out8(&r, 0x4d0, 0x00);
	cr_assert_not(r.intr);
}

Test(pic, request_withdrawn_is_spurious)
{
	struct rig r;

	rig_init(&r);
	line(&r, 4, true);
	line(&r, 4, false);
	cr_assert_not(r.intr);
	cr_assert_eq(pic_acknowledge(&r.pic), 0x27); /* had INTA begun already */
	cr_assert_eq(isr(&r, 0x20), 0, "a spurious IRQ 7 is not in service");
}

Test(pic, cascade)
{
	struct rig r;

	rig_init(&r);
	line(&r, 2, true); /* not a device's to drive */
	cr_assert_not(r.intr);
	for (unsigned irq = 16; irq < 64; irq++)
		line(&r, irq, true);
	cr_assert_not(r.intr);
	pulse(&r, 14);
	cr_assert_eq(irr(&r, 0x20), 0x04);
	assert_takes(&r, 0x2e);
	cr_assert_eq(isr(&r, 0x20), 0x04);
	cr_assert_eq(isr(&r, 0xa0), 0x40);
	pulse(&r, 1);
	assert_takes(&r, 0x21); /* above the cascade */
	out8(&r, 0x20, EOI);
	pulse(&r, 3);
	cr_assert_not(r.intr, "below the cascade");
	pulse(&r, 8);
	cr_assert_not(r.intr, "the slave asks, but fully nested IR2 is in service");
	out8(&r, 0xa0, EOI);
	out8(&r, 0x20, EOI);
	assert_takes(&r, 0x28);
	out8(&r, 0xa0, EOI);
	out8(&r, 0x20, EOI);
	assert_takes(&r, 0x23);
}

Test(pic, slave_masked_at_the_master)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x21, 0x04);
	pulse(&r, 9);
	cr_assert_not(r.intr);
	out8(&r, 0x21, 0x00);
	assert_takes(&r, 0x29);
}

Test(pic, special_fully_nested)
{
	struct rig r;

	rig_new(&r);
	initialise(&r, 0x11);
	pulse(&r, 14);
	assert_takes(&r, 0x2e);
	pulse(&r, 15);
	cr_assert_not(r.intr, "15 is below 14 on the slave");
	pulse(&r, 3);
	cr_assert_not(r.intr, "3 is below the cascade");
	pulse(&r, 8);
	assert_takes(&r, 0x28); /* above 14: the slave interrupts itself */
	cr_assert_eq(isr(&r, 0xa0), 0x41);
}

Test(pic, aeoi_and_its_rotation)
{
	struct rig r;

	rig_new(&r);
	initialise(&r, 0x03);
	pulse(&r, 3);
	assert_takes(&r, 0x23);
	cr_assert_eq(isr(&r, 0x20), 0);
	pulse(&r, 3);
	pulse(&r, 5);
	out8(&r, 0x20, 0x80); /* rotate in AEOI */
	assert_takes(&r, 0x23);
	pulse(&r, 3);
	assert_takes(&r, 0x25); /* 3 is now the lowest */
	assert_takes(&r, 0x23);
	out8(&r, 0x20, 0x00);
	pulse(&r, 6);
	assert_takes(&r, 0x26);
	pulse(&r, 6);
	pulse(&r, 4);
	assert_takes(&r, 0x24); /* no more rotation: lowest is still 3 */
	out8(&r, 0x20, 0x10); /* ICW1 again, without ICW4: no AEOI, and 7 is the lowest */
	out8(&r, 0x21, 0x20);
	out8(&r, 0x21, 0x04);
	pulse(&r, 5);
	pulse(&r, 2);
	pulse(&r, 1);
	assert_takes(&r, 0x21);
	cr_assert_eq(isr(&r, 0x20), 0x02);
}

Test(pic, rotation)
{
	struct rig r;

	rig_init(&r);
	out8(&r, 0x20, 0xc4); /* set priority: 4 lowest, so 5 highest */
	pulse(&r, 0);
	pulse(&r, 4);
	pulse(&r, 5);
	assert_takes(&r, 0x25);
	out8(&r, 0x20, 0xa0); /* rotate on non-specific EOI: 5 lowest */
	cr_assert_eq(isr(&r, 0x20), 0);
	pulse(&r, 5);
	assert_takes(&r, 0x20);
	out8(&r, 0x20, 0xe0); /* rotate on specific EOI of 0 */
	assert_takes(&r, 0x24);
	out8(&r, 0x20, 0x64);
	assert_takes(&r, 0x25);
}

Test(pic, special_mask_mode)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 3);
	assert_takes(&r, 0x23);
	pulse(&r, 6);
	cr_assert_not(r.intr);
	out8(&r, 0x21, 0x08);
	cr_assert_not(r.intr);
	out8(&r, 0x20, SET_SMM); /* the masked 3 now holds back nothing */
	assert_takes(&r, 0x26);
	out8(&r, 0x20, EOI);
	cr_assert_eq(isr(&r, 0x20), 0x08, "EOI passes over the masked one");
	pulse(&r, 6);
	cr_assert(r.intr);
	out8(&r, 0x20, RESET_SMM);
	cr_assert_not(pic_has_interrupt(&r.pic));
	out8(&r, 0x20, 0x63);
	assert_takes(&r, 0x26);
	out8(&r, 0x20, SET_SMM);
	initialise(&r, 0x01); /* which ends it, and has reads give IRR */
	pulse(&r, 5);
	cr_assert_eq(in8(&r, 0x20), 0x20);
	assert_takes(&r, 0x25);
	out8(&r, 0x21, 0x20);
	pulse(&r, 6);
	cr_assert_not(r.intr);
}

Test(pic, reset_lowers_intr)
{
	struct rig r, other;

	rig_init(&r);
	pulse(&r, 5);
	cr_assert(r.intr);
	pic_ops.reset(&r.pic);
	cr_assert_not(r.intr);
	rig_new(&other);
	check_device_same(&pic_ops, &r.pic, &other.pic);
}

Test(pic, poll)
{
	struct rig r;

	rig_init(&r);
	pulse(&r, 5);
	out8(&r, 0x20, POLL);
	cr_assert_eq(in8(&r, 0x20), 0x85);
	cr_assert_not(r.intr);
	cr_assert_eq(isr(&r, 0x20), 0x20, "a poll acknowledges");
	out8(&r, 0x20, POLL);
	cr_assert_eq(in8(&r, 0x20) & 0x80, 0);
	out8(&r, 0x20, EOI);
	cr_assert_eq(isr(&r, 0x20), 0);
}

Test(pic, wide_accesses_are_one_for_each_port)
{
	struct rig r;

	rig_init(&r);
	pic_ops.write(&r.pic, IO_PORT, 0x20, 2, 0x5500 | READ_ISR);
	cr_assert_eq(in8(&r, 0x21), 0x55);
	pic_ops.write(&r.pic, IO_MEMORY, 0x21, 1, 0x66);
	cr_assert_eq(pic_ops.read(&r.pic, IO_PORT, 0x21, 2) & 0xffff, 0xff55);
}

static void scramble(struct rig *r)
{
	rig_init(r);
	out8(r, 0x4d0, 0xf8);
	for (unsigned irq = 0; irq < 16; irq++)
		line(r, irq, true);
	pic_acknowledge(&r->pic);
	out8(r, 0x20, 0xc2);
	out8(r, 0x20, 0x80);
	out8(r, 0x20, SET_SMM);
	out8(r, 0xa0, 0x11);
}

Test(pic, state_in_the_middle_of_things)
{
	struct rig r, twin;

	rig_new(&r);
	check_device_visits_all(&pic_ops, &r.pic, sizeof(r.pic), sizeof(struct irq_line) + 4 /* padding */);
	out8(&r, 0x20, 0x11);
	out8(&r, 0x21, 0x20); /* half initialised */
	scramble(&twin);
	check_device_roundtrip(&pic_ops, &r.pic, &twin.pic);
	rig_init(&r);
	pulse(&r, 12);
	pic_acknowledge(&r.pic);
	pulse(&r, 1);
	line(&r, 10, true);
	out8(&r, 0x20, POLL);
	scramble(&twin);
	check_device_roundtrip(&pic_ops, &r.pic, &twin.pic);
	cr_assert_eq(in8(&twin, 0x20), 0x81);
	scramble(&twin);
	check_device_roundtrip(&pic_ops, &twin.pic, &r.pic);
}

static u64 other(void *dev, u64 random)
{
	if (random & 0x100)
		return (u64)pic_has_interrupt(dev) << 8 | pic_acknowledge(dev);
	pic_set_line(dev, random & 15, random & 0x20);
	return pic_has_interrupt(dev);
}

Test(pic, fuzz)
{
	static const struct fuzz_range ranges[] = {
		{ IO_PORT, 0x20, 2 }, { IO_PORT, 0xa0, 2 }, { IO_PORT, 0x4d0, 2 }, { IO_PORT, 0x1e, 4 },
		{ IO_MEMORY, 0x20, 2 },
	};
	struct device_fuzz f = {
		.ops = &pic_ops, .ranges = ranges, .nranges = ARRAY_SIZE(ranges), .max_step_ns = 10, .other = other,
	};
	struct rig r, twin;

	for (u64 seed = 1; seed <= 8; seed++) {
		rig_init(&r);
		scramble(&twin);
		check_device_fuzz(&f, &r.pic, &r.clock, &twin.pic, &twin.clock, seed * 0x9e3779b97f4a7c15UL, 6000);
		check_device_damage(&f, &r.pic, &twin.pic, &twin.clock, seed, 200);
	}
}
