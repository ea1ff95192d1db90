/*
 * test_pci.c - the bus as a guest's enumeration sees it: configuration space,
 * BARs that are sized and moved, lines that are shared, messages that are masked.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/pci.h"

enum { SLOT_A = 3, SLOT_B = 5, SLOT_C = 4 };
enum { MSIX_PAGE = 0x1000 };

/* A device that remembers what it was asked. */
struct thing {
	struct pci_function fn;
	struct pci *bus;
	unsigned ncommands;
	unsigned window_offset, window_size;
	u64 window_value;
};

struct rig {
	struct pci pci;
	struct vclock clock;
	struct thing a, b, c;
	bool level[PCI_NLINES];
	unsigned nmessages;
	u64 last_address;
	u32 last_data;
};

static u64 thing_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes unused_arg)
{
	struct thing *t = dev;
	u32 offset;
	int bar = pci_bar_of(&t->fn, space, addr, &offset);

	if (bar < 0)
		return ~0UL;
	if (bar == 1 && offset >= MSIX_PAGE)
		return pci_msix_read(&t->fn, offset - MSIX_PAGE);
	return (u64)bar << 16 | offset;
}

static void thing_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct thing *t = dev;
	u32 offset;

	if (pci_bar_of(&t->fn, space, addr, &offset) == 1 && offset >= MSIX_PAGE)
		pci_msix_write(&t->fn, offset - MSIX_PAGE, size_bytes, value);
}

static void thing_reset(void *dev)
{
	pci_function_reset(&((struct thing *)dev)->fn);
}

static void thing_state(void *dev, struct state_walk *w)
{
	pci_function_state(&((struct thing *)dev)->fn, w);
}

static const struct device_ops thing_ops = {
	.name = "thing", .version = 1, .read = thing_read, .write = thing_write, .reset = thing_reset,
	.input = device_no_input, .state = thing_state,
};

static void thing_command(struct pci_function *f)
{
	container_of(f, struct thing, fn)->ncommands++;
}

static u64 thing_window_read(struct pci_function *f, unsigned offset, unsigned size_bytes)
{
	struct thing *t = container_of(f, struct thing, fn);

	t->window_offset = offset;
	t->window_size = size_bytes;
	return 0x44332211 >> 8 * offset;
}

static void thing_window_write(struct pci_function *f, unsigned offset, unsigned size_bytes, u64 value)
{
	struct thing *t = container_of(f, struct thing, fn);

	t->window_offset = offset;
	t->window_size = size_bytes;
	t->window_value = value;
}

static const struct pci_hooks thing_hooks = { thing_command, thing_window_read, thing_window_write };

static void on_line(void *ctx, unsigned pin, bool level)
{
	((struct rig *)ctx)->level[pin] = level;
}

static void on_message(void *ctx, u64 addr, u32 data)
{
	struct rig *r = ctx;

	r->nmessages++;
	r->last_address = addr;
	r->last_data = data;
}

static void add_thing(struct rig *r, struct thing *t, unsigned slot)
{
	static const struct pci_identity id = {
		.vendor = 0x1af4, .device = 0x1001, .subsystem_vendor = 0x1af4, .subsystem = 2, .class_code = 0x010203,
		.revision = 7, .interrupts = true,
	};
	static const u8 vendor_body[] = { 18, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	u8 at;

	pci_add(&r->pci, slot, &t->fn, &id, &thing_ops, &thing_hooks, t);
	pci_add_bar(&t->fn, 0, IO_PORT, 0x40);
	pci_add_bar(&t->fn, 1, IO_MEMORY, 0x2000);
	pci_add_bar(&t->fn, 3, IO_PORT, 8);
	at = pci_add_capability(&t->fn, PCI_CAP_VENDOR, vendor_body, sizeof(vendor_body));
	t->fn.window = (u8)(at + 12);
	pci_add_msix(&t->fn, 1, MSIX_PAGE, 3);
}

static void rig_init(struct rig *r)
{
	struct pci_env env = { .msi = on_message, .ctx = r, .irq = { 10, 11 } };

	memset(r, 0, sizeof(*r));
	env.line[0] = (struct irq_line){ on_line, r, 0 };
	env.line[1] = (struct irq_line){ on_line, r, 1 };
	pci_init(&r->pci, &env);
	add_thing(r, &r->a, SLOT_A);
	add_thing(r, &r->b, SLOT_B);
	add_thing(r, &r->c, SLOT_C);
}

static u32 in(struct rig *r, u16 port, unsigned size_bytes)
{
	return (u32)(pci_ops.read(&r->pci, IO_PORT, port, size_bytes) & size_mask(size_bytes));
}

static void out(struct rig *r, u16 port, unsigned size_bytes, u32 value)
{
	pci_ops.write(&r->pci, IO_PORT, port, size_bytes, value);
}

static void point(struct rig *r, unsigned slot, unsigned reg)
{
	out(r, 0xcf8, 4, 0x80000000 | slot << 11 | (reg & ~3U));
}

static u32 cfg(struct rig *r, unsigned slot, unsigned reg, unsigned size_bytes)
{
	point(r, slot, reg);
	return in(r, (u16)(0xcfc + reg % 4), size_bytes);
}

static void set(struct rig *r, unsigned slot, unsigned reg, unsigned size_bytes, u32 value)
{
	point(r, slot, reg);
	out(r, (u16)(0xcfc + reg % 4), size_bytes, value);
}

/* --- configuration mechanism 1 --- */

Test(pci, what_guests_probe_for_is_there)
{
	struct rig r;

	rig_init(&r);
	/* Linux's check of mechanism 1 */
	out(&r, 0xcfb, 1, 1);
	out(&r, 0xcf8, 4, 0x80000000);
	cr_assert_eq(in(&r, 0xcf8, 4), 0x80000000);
	cr_assert_eq(cfg(&r, 0, 0, 4), 0x00081b36);
	cr_assert_eq(cfg(&r, 0, 8, 4), 0x06000000, "a host bridge");
	cr_assert_eq(cfg(&r, 0, 0x3c, 4), 0, "without an interrupt");
	cr_assert_eq(cfg(&r, 0, 4, 4), 0);
}

Test(pci, config_address_takes_dwords)
{
	struct rig r;

	rig_init(&r);
	out(&r, 0xcf8, 4, 0xffffffff);
	cr_assert_eq(in(&r, 0xcf8, 4), 0x80fffffc);
	out(&r, 0xcf8, 4, 0x80001800);
	out(&r, 0xcf8, 1, 4);
	out(&r, 0xcf8, 2, 4);
	out(&r, 0xcfb, 1, 0);
	cr_assert_eq(in(&r, 0xcf8, 4), 0x80001800);
	cr_assert_eq(in(&r, 0xcf8, 1), 0xff);
	cr_assert_eq(in(&r, 0xcfa, 2), 0xffff);
}

Test(pci, every_size_at_every_offset)
{
	struct rig r;

	rig_init(&r);
	point(&r, SLOT_A, 0);
	cr_assert_eq(in(&r, 0xcfc, 4), 0x10011af4);
	cr_assert_eq(in(&r, 0xcfc, 2), 0x1af4);
	cr_assert_eq(in(&r, 0xcfd, 2), 0x011a);
	cr_assert_eq(in(&r, 0xcfe, 2), 0x1001);
	cr_assert_eq(in(&r, 0xcfd, 1), 0x1a);
	cr_assert_eq(in(&r, 0xcff, 1), 0x10);
	/* what lies behind the dword is not there */
	cr_assert_eq(in(&r, 0xcfe, 4), 0xffff1001);
	cr_assert_eq(in(&r, 0xcff, 2), 0xff10);
	cr_assert_eq(in(&r, 0xcfd, 4), 0xffff011a);
	set(&r, SLOT_A, 0x3c, 1, 5);
	cr_assert_eq(cfg(&r, SLOT_A, 0x3c, 1), 5);
	set(&r, SLOT_A, 0x3c, 4, 0x12345609);
	cr_assert_eq(cfg(&r, SLOT_A, 0x3c, 4), 0x00000109, "only the line can be written");
	point(&r, SLOT_A, 0x3c);
	out(&r, 0xcff, 4, 0xffffffff);
	cr_assert_eq(cfg(&r, SLOT_A, 0x3c, 4), 0x00000109);
}

Test(pci, nothing_is_where_no_function_is)
{
	struct rig r;

	rig_init(&r);
	for (unsigned slot = 0; slot < 32; slot++) {
		bool there = slot == 0 || slot == SLOT_A || slot == SLOT_B || slot == SLOT_C;

		cr_assert_eq(cfg(&r, slot, 0, 4) != 0xffffffff, there, "slot %u", slot);
		for (unsigned fn = 1; fn < 8; fn++) {
			out(&r, 0xcf8, 4, 0x80000000 | slot << 11 | fn << 8);
			cr_assert_eq(in(&r, 0xcfc, 4), 0xffffffff);
		}
	}
	out(&r, 0xcf8, 4, 0x80010000 | SLOT_A << 11);
	cr_assert_eq(in(&r, 0xcfc, 4), 0xffffffff, "bus 1");
	out(&r, 0xcf8, 4, SLOT_A << 11);
	cr_assert_eq(in(&r, 0xcfc, 4), 0xffffffff, "not enabled");
	out(&r, 0xcfc, 4, 0);
}

Test(pci, identity_and_what_can_be_written_of_it)
{
	struct rig r;

	rig_init(&r);
	for (unsigned reg = 0; reg < 256; reg += 4)
		if (reg != 4 && (reg < 0x10 || reg > 0x27) && reg != 0x3c && reg / 4 != r.a.fn.window / 4U &&
		    reg / 4 != r.a.fn.msix / 4U) {
			u32 before = cfg(&r, SLOT_A, reg, 4);

			set(&r, SLOT_A, reg, 4, ~before);
			cr_assert_eq(cfg(&r, SLOT_A, reg, 4), before, "register %#x", reg);
		}
	cr_assert_eq(cfg(&r, SLOT_A, 8, 4), 0x01020307);
	cr_assert_eq(cfg(&r, SLOT_A, 0x2c, 4), 0x00021af4);
	cr_assert_eq(cfg(&r, SLOT_A, 0x0e, 1), 0, "one function, header type 0");
	cr_assert_eq(cfg(&r, SLOT_A, 4, 2), 3, "decoded, as firmware leaves it");
	set(&r, SLOT_A, 4, 4, 0xffffffff);
	cr_assert_eq(cfg(&r, SLOT_A, 4, 4), 0x00100547);
	cr_assert_eq(r.a.ncommands, 1);
	cr_assert_eq(cfg(&r, SLOT_A, 0x3d, 1), 1, "INTA");
	cr_assert_eq(cfg(&r, SLOT_A, 0x3c, 1), 11);
	cr_assert_eq(cfg(&r, SLOT_C, 0x3c, 1), 10);
}

Test(pci, capabilities_in_the_order_they_were_added)
{
	struct rig r;
	u32 at;

	rig_init(&r);
	at = cfg(&r, SLOT_A, 0x34, 1);
	cr_assert_eq(cfg(&r, SLOT_A, at, 1), 0x09);
	cr_assert_eq(cfg(&r, SLOT_A, at + 2, 2), 0x5512);
	at = cfg(&r, SLOT_A, at + 1, 1);
	cr_assert_eq(cfg(&r, SLOT_A, at, 1), 0x11);
	cr_assert_eq(cfg(&r, SLOT_A, at + 1, 1), 0, "the last");
	cr_assert_eq(cfg(&r, SLOT_A, at + 2, 2), 2, "three vectors");
	cr_assert_eq(cfg(&r, SLOT_A, at + 4, 4), 0x1001);
	cr_assert_eq(cfg(&r, SLOT_A, at + 8, 4), 0x1801);
}

Test(pci, the_window_is_the_devices)
{
	struct rig r;
	unsigned at;

	rig_init(&r);
	at = r.a.fn.window;
	cr_assert_eq(cfg(&r, SLOT_A, at, 4), 0x44332211);
	cr_assert_eq(cfg(&r, SLOT_A, at + 2, 2), 0x4433);
	cr_assert(r.a.window_offset == 2 && r.a.window_size == 2);
	set(&r, SLOT_A, at + 1, 1, 0xab);
	cr_assert(r.a.window_offset == 1 && r.a.window_size == 1 && r.a.window_value == 0xab);
}

/* --- BARs --- */

static bool claims(struct rig *r, enum io_space space, u64 addr, const struct thing *t)
{
	const struct device_ops *ops = NULL;
	void *dev = pci_find(&r->pci, space, addr, &ops);

	cr_assert(!dev || ops == &thing_ops);
	return dev == t;
}

Test(pci, bars_tell_their_size)
{
	static const struct { unsigned reg; u32 size; u32 type; } bars[] = {
		{ 0x10, 0x40, 1 }, { 0x14, 0x2000, 0 }, { 0x1c, 8, 1 },
	};
	struct rig r;

	rig_init(&r);
	for (size_t i = 0; i < ARRAY_SIZE(bars); i++) {
		u32 before = cfg(&r, SLOT_A, bars[i].reg, 4);

		set(&r, SLOT_A, bars[i].reg, 4, 0xffffffff);
		cr_assert_eq(cfg(&r, SLOT_A, bars[i].reg, 4), (0 - bars[i].size) | bars[i].type);
		set(&r, SLOT_A, bars[i].reg, 4, before);
		cr_assert_eq(cfg(&r, SLOT_A, bars[i].reg, 4), before);
		cr_assert_eq(before & (bars[i].size - 1), bars[i].type, "placed at a multiple of its size");
	}
	set(&r, SLOT_A, 0x18, 4, 0xffffffff);
	cr_assert_eq(cfg(&r, SLOT_A, 0x18, 4), 0, "no BAR 2");
}

Test(pci, bars_are_placed_and_decoded_from_the_start)
{
	struct rig r;
	u32 offset;

	rig_init(&r);
	cr_assert_eq(cfg(&r, SLOT_A, 0x10, 4), 0xc301);
	cr_assert_eq(cfg(&r, SLOT_A, 0x14, 4), 0xc0030000);
	cr_assert_eq(cfg(&r, SLOT_A, 0x1c, 4), 0xc341);
	cr_assert(claims(&r, IO_PORT, 0xc300, &r.a) && claims(&r, IO_PORT, 0xc33f, &r.a));
	cr_assert(claims(&r, IO_PORT, 0xc340, &r.a) && claims(&r, IO_PORT, 0xc347, &r.a));
	cr_assert(claims(&r, IO_PORT, 0xc348, NULL) && claims(&r, IO_PORT, 0xc2ff, NULL));
	cr_assert(claims(&r, IO_MEMORY, 0xc0031fff, &r.a) && claims(&r, IO_MEMORY, 0xc0032000, NULL));
	cr_assert(claims(&r, IO_MEMORY, 0xc300, NULL), "a port is no address");
	cr_assert(claims(&r, IO_PORT, 0xc500, &r.b) && claims(&r, IO_MEMORY, 0xc0040000, &r.c));
	cr_assert_eq(pci_bar_of(&r.a.fn, IO_PORT, 0xc345, &offset), 3);
	cr_assert_eq(offset, 5);
	cr_assert_eq(pci_bar_of(&r.a.fn, IO_PORT, 0xc348, &offset), -1);
	cr_assert_eq(pci_bar_of(&r.a.fn, IO_PORT, 0xc500, &offset), -1);
}

Test(pci, bars_move_and_are_switched_off)
{
	struct rig r;

	rig_init(&r);
	set(&r, SLOT_A, 0x14, 4, 0xd0000000);
	cr_assert(claims(&r, IO_MEMORY, 0xd0001000, &r.a) && claims(&r, IO_MEMORY, 0xc0030000, NULL));
	set(&r, SLOT_A, 0x10, 2, 0x2000);
	cr_assert(claims(&r, IO_PORT, 0x2001, &r.a) && claims(&r, IO_PORT, 0xc300, NULL));
	set(&r, SLOT_A, 4, 2, 1);
	cr_assert(claims(&r, IO_MEMORY, 0xd0001000, NULL) && claims(&r, IO_PORT, 0x2001, &r.a));
	set(&r, SLOT_A, 4, 1, 2);
	cr_assert(claims(&r, IO_MEMORY, 0xd0001000, &r.a) && claims(&r, IO_PORT, 0x2001, NULL));
	set(&r, SLOT_A, 0x14, 4, 0);
	cr_assert(claims(&r, IO_MEMORY, 0, NULL) && claims(&r, IO_MEMORY, 0x1000, NULL), "at 0 it is parked");
	/* at the very top, and off the end of ports */
	set(&r, SLOT_A, 0x14, 4, 0xffffe000);
	cr_assert(claims(&r, IO_MEMORY, 0xffffffff, &r.a) && claims(&r, IO_MEMORY, 0x100000000, NULL));
	set(&r, SLOT_A, 4, 1, 3);
	set(&r, SLOT_A, 0x10, 4, 0xffffffff);
	for (u64 port = 0; port < 0x10000; port += 0x20)
		cr_assert(!claims(&r, IO_PORT, port, &r.a) || (port >= 0xc340 && port < 0xc348));
}

Test(pci, the_lower_slot_answers_where_two_claim)
{
	struct rig r;

	rig_init(&r);
	set(&r, SLOT_B, 0x14, 4, 0xc0040000);
	cr_assert(claims(&r, IO_MEMORY, 0xc0040000, &r.c));
	set(&r, SLOT_C, 0x14, 4, 0xc8000000);
	cr_assert(claims(&r, IO_MEMORY, 0xc0040000, &r.b));
}

/* --- interrupts --- */

Test(pci, slots_share_two_lines)
{
	struct rig r;

	rig_init(&r);
	pci_set_intx(&r.a.fn, true);
	cr_assert(r.level[1] && !r.level[0]);
	pci_set_intx(&r.b.fn, true);
	pci_set_intx(&r.a.fn, false);
	cr_assert(r.level[1], "the other still asks");
	cr_assert_eq(cfg(&r, SLOT_A, 6, 1) & 8, 0);
	cr_assert_eq(cfg(&r, SLOT_B, 6, 1) & 8, 8);
	cr_assert_eq(cfg(&r, SLOT_B, 4, 4) >> 16 & 8, 8);
	set(&r, SLOT_B, 4, 2, 0x403);
	cr_assert(!r.level[1]);
	cr_assert_eq(cfg(&r, SLOT_B, 6, 2), 0x18, "Interrupt Status shows what Interrupt Disable hides");
	set(&r, SLOT_B, 4, 2, 3);
	cr_assert(r.level[1]);
	pci_set_intx(&r.c.fn, true);
	cr_assert(r.level[0]);
	thing_ops.reset(&r.b);
	thing_ops.reset(&r.c);
	cr_assert(!r.level[0] && !r.level[1]);
}

enum { MEM_A = 0xc0030000, TABLE = MEM_A + MSIX_PAGE, PENDING = TABLE + 0x800 };

static void mem(struct rig *r, u64 addr, unsigned size_bytes, u64 value)
{
	const struct device_ops *ops;
	void *dev = pci_find(&r->pci, IO_MEMORY, addr, &ops);

	cr_assert_not_null(dev);
	ops->write(dev, IO_MEMORY, addr, size_bytes, value);
}

static u32 memr(struct rig *r, u64 addr)
{
	const struct device_ops *ops;
	void *dev = pci_find(&r->pci, IO_MEMORY, addr, &ops);

	return (u32)ops->read(dev, IO_MEMORY, addr, 4);
}

static void vector(struct rig *r, unsigned n, u64 address, u32 data)
{
	mem(r, TABLE + 16 * n, 8, address);
	mem(r, TABLE + 16 * n + 8, 4, data);
	mem(r, TABLE + 16 * n + 12, 4, 0);
}

static void msix(struct rig *r, u16 control)
{
	set(r, SLOT_A, r->a.fn.msix + 2U, 2, control);
}

Test(pci, messages)
{
	struct rig r;

	rig_init(&r);
	set(&r, SLOT_A, 4, 2, 7);
	cr_assert_eq(memr(&r, TABLE + 12), 1, "masked at first");
	vector(&r, 1, 0xfee01004, 0x4041);
	pci_msix_send(&r.a.fn, 1);
	cr_assert_eq(r.nmessages, 0, "not enabled");
	msix(&r, 0x8000);
	cr_assert_eq(r.nmessages, 0, "nor kept");
	pci_msix_send(&r.a.fn, 1);
	cr_assert(r.nmessages == 1 && r.last_address == 0xfee01004 && r.last_data == 0x4041);
	pci_msix_send(&r.a.fn, 3);
	pci_msix_send(&r.a.fn, 0xffff);
	cr_assert_eq(r.nmessages, 1, "vectors there are none of");
}

Test(pci, messages_go_to_local_apics_only)
{
	static const u64 nowhere[] = { 0x1000, 0xfed00000, 0xfef00000, 0x1fee00000, 0 };
	struct rig r;

	rig_init(&r);
	set(&r, SLOT_A, 4, 2, 7);
	msix(&r, 0x8000);
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		vector(&r, 0, nowhere[i], 0x41);
		pci_msix_send(&r.a.fn, 0);
	}
	cr_assert_eq(r.nmessages, 0);
}

Test(pci, masked_messages_wait)
{
	struct rig r;

	rig_init(&r);
	set(&r, SLOT_A, 4, 2, 7);
	msix(&r, 0x8000);
	vector(&r, 0, 0xfee00000, 0x50);
	vector(&r, 2, 0xfee00000, 0x52);
	mem(&r, TABLE + 12, 4, 1);
	pci_msix_send(&r.a.fn, 0);
	pci_msix_send(&r.a.fn, 0);
	cr_assert_eq(r.nmessages, 0);
	cr_assert_eq(memr(&r, PENDING), 1);
	mem(&r, PENDING, 4, 0xffffffff);
	cr_assert_eq(memr(&r, PENDING), 1, "read-only");
	mem(&r, TABLE + 12, 4, 0);
	cr_assert(r.nmessages == 1 && r.last_data == 0x50, "once, when unmasked");
	cr_assert_eq(memr(&r, PENDING), 0);
	/* the function's own mask */
	msix(&r, 0xc000);
	pci_msix_send(&r.a.fn, 2);
	cr_assert_eq(memr(&r, PENDING), 4);
	mem(&r, TABLE + 44, 4, 1);
	msix(&r, 0x8000);
	cr_assert_eq(r.nmessages, 1, "still masked by itself");
	mem(&r, TABLE + 44, 4, 0);
	cr_assert(r.nmessages == 2 && r.last_data == 0x52);
	/* a function that may not master the bus */
	set(&r, SLOT_A, 4, 2, 3);
	pci_msix_send(&r.a.fn, 2);
	cr_assert_eq(r.nmessages, 2);
	set(&r, SLOT_A, 4, 2, 7);
	cr_assert_eq(r.nmessages, 3);
}

Test(pci, the_table_takes_dwords_and_qwords)
{
	struct rig r;

	rig_init(&r);
	mem(&r, TABLE, 4, 0xfee01237);
	cr_assert_eq(memr(&r, TABLE), 0xfee01234, "the low bits are zero");
	mem(&r, TABLE, 1, 0);
	mem(&r, TABLE, 2, 0);
	mem(&r, TABLE + 2, 4, 0);
	mem(&r, TABLE + 4, 8, 0);
	cr_assert_eq(memr(&r, TABLE), 0xfee01234);
	mem(&r, TABLE + 8, 8, 0xffffffff00000077UL);
	cr_assert_eq(memr(&r, TABLE + 8), 0x77);
	cr_assert_eq(memr(&r, TABLE + 12), 1);
	cr_assert_eq(memr(&r, TABLE + 48), 0, "a fourth vector there is not");
	mem(&r, TABLE + 48, 4, 5);
	cr_assert_eq(memr(&r, TABLE + 48), 0);
	cr_assert_eq(memr(&r, TABLE + 0xffc), 0);
}

/* --- state --- */

static u64 poke(void *dev, u64 random)
{
	struct thing *t = dev;
	unsigned reg = (unsigned)(random >> 8) & 0xfc;
	unsigned slot = random & 0x80 ? t->fn.slot : SLOT_A;

	pci_ops.write(t->bus, IO_PORT, 0xcf8, 4, 0x80000000 | slot << 11 | reg); /* not this device's state */
	switch (random % 4) {
	case 0:
		pci_set_intx(&t->fn, random >> 20 & 1);
		break;
	case 1:
		pci_msix_send(&t->fn, (unsigned)(random >> 20) % 5);
		break;
	default:
		pci_ops.write(t->bus, IO_PORT, 0xcfc, 4, reg == 4 ? 7 : random >> 32);
	}
	return pci_ops.read(t->bus, IO_PORT, 0xcfc, 4);
}

Test(pci, state)
{
	static const struct fuzz_range ranges[] = { { IO_MEMORY, MEM_A, 0x2000 }, { IO_PORT, 0xc300, 0x100 } };
	static const struct device_fuzz fuzz = { &thing_ops, ranges, ARRAY_SIZE(ranges), 1000, poke };
	struct rig r, twin;
	struct pci_function *f;
	size_t except = sizeof(struct thing);

	rig_init(&r);
	rig_init(&twin);
	r.a.bus = &r.pci;
	twin.a.bus = &twin.pci;
	f = &r.a.fn;
	except -= sizeof(f->config) + sizeof(f->intx) + sizeof(f->pending) + sizeof(f->vector);
	check_device_visits_all(&thing_ops, &r.a, sizeof(struct thing), except);
	check_device_fuzz(&fuzz, &r.a, &r.clock, &twin.a, &twin.clock, 77, 20000);
	check_device_damage(&fuzz, &r.a, &twin.a, &twin.clock, 78, 2000);
}

Test(pci, state_of_the_bus)
{
	struct rig r, twin;

	rig_init(&r);
	rig_init(&twin);
	point(&r, SLOT_B, 0x10);
	check_device_roundtrip(&pci_ops, &r.pci, &twin.pci);
	cr_assert_eq(in(&twin, 0xcfc, 4), 0xc501);
}

/* A state in which something is written that no guest can write is another machine's. */
Test(pci, state_of_another_function_is_refused)
{
	struct rig r, other;
	struct saved_device s;
	struct state_walk w;

	rig_init(&r);
	rig_init(&other);
	other.b.fn.config[8] = 9;
	s = device_save(&thing_ops, &r.b);
	w = state_load_from(s.bytes, s.size);
	device_walk(&thing_ops, &other.b, &w);
	cr_assert_eq(w.error, ERR_MISMATCH);
	cr_assert_eq(cfg(&other, SLOT_B, 8, 1), 9);
	free(s.bytes);
}

/* Where BARs are, is known again after a state was loaded. */
Test(pci, state_moves_what_is_decoded)
{
	struct rig r, other;
	struct saved_device s;

	rig_init(&r);
	rig_init(&other);
	set(&r, SLOT_A, 0x14, 4, 0xd0000000);
	cr_assert(claims(&other, IO_MEMORY, MEM_A, &other.a));
	s = device_save(&thing_ops, &r.a);
	device_load(&thing_ops, &other.a, &s);
	cr_assert(claims(&other, IO_MEMORY, 0xd0000000, &other.a) && claims(&other, IO_MEMORY, MEM_A, NULL));
	free(s.bytes);
}
