/*
 * test_board.c - the wiring: which device answers where, which line reaches
 * which pin, and what leaves the machine.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

static struct plan plan;
static struct world world;
static struct vm *vm;
static struct vcpu *v;

static void setup(void)
{
	plan_random(&plan, 1);
	plan.supply = 0;
	world_live(&world, &plan);
	vm = world.vm;
	v = &vm->vcpu[0];
}

static void teardown(void)
{
	world_free(&world);
}

TestSuite(board, .init = setup, .fini = teardown);

static void outb(u16 port, u8 value)
{
	board_write(v, IO_PORT, port, 1, value);
}

static u8 inb(u16 port)
{
	return (u8)board_read(v, IO_PORT, port, 1);
}

static void mmio(u64 addr, u32 value)
{
	board_write(v, IO_MEMORY, addr, 4, value);
}

static void at_time(u64 vtime_ns)
{
	vm->now.vtime_ns = vm->clock.now_ns = vtime_ns;
	vclock_run(&vm->clock);
}

/* --- who answers where --- */

static bool claimed(u64 port)
{
	static const struct { u16 first, last; } ranges[] = {
		{ 0x20, 0x21 }, { 0x40, 0x43 }, { 0x60, 0x61 }, { 0x64, 0x64 }, { 0x70, 0x71 }, { 0x92, 0x92 },
		{ 0xa0, 0xa1 }, { 0xb2, 0xb3 }, { 0xf4, 0xf4 }, { 0x3f8, 0x3ff }, { 0x4d0, 0x4d1 }, { 0x600, 0x60b },
		{ 0xcf9, 0xcf9 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (port >= ranges[i].first && port <= ranges[i].last)
			return true;
	return false;
}

Test(board, nothing_answers_at_other_ports)
{
	u64 before = vm_digest(vm);

	for (u64 port = 0; port < 65536; port++) {
		if (claimed(port))
			continue;
		board_write(v, IO_PORT, port, 4, 0);
		for (unsigned n = 1; n <= 4; n *= 2)
			cr_assert_eq(board_read(v, IO_PORT, port, n), size_mask(n), "port 0x%lx", port);
	}
	cr_assert_eq(vm_digest(vm), before);
	cr_assert_eq(vm->outcome, VM_RUNNING);
}

/* A register of each device, written and read back, tells that it is the right one. */
Test(board, each_device_answers_at_its_ports)
{
	outb(0x21, 0x5a);
	cr_assert_eq(inb(0x21), 0x5a, "master PIC");
	outb(0xa1, 0xa5);
	cr_assert_eq(inb(0xa1), 0xa5, "slave PIC");
	cr_assert_eq(inb(0x21), 0x5a);
	outb(0x4d0, 0xff);
	cr_assert_eq(inb(0x4d0), 0xf8, "ELCR");
	outb(0x43, 0xe2); /* read back channel 0's status */
	cr_assert_neq(inb(0x40), 0xff, "PIT");
	outb(0x61, 3);
	cr_assert_eq(inb(0x61) & 3, 3, "port B");
	outb(0x70, 0x20);
	outb(0x71, 0x77);
	cr_assert_eq(inb(0x71), 0x77, "CMOS");
	outb(0x3ff, 0x42);
	cr_assert_eq(inb(0x3ff), 0x42, "UART scratch");
	cr_assert_eq(inb(0x64) & 0xc0, 0, "keyboard controller");
	board_write(v, IO_PORT, ACPIPM_PM1_EVT + 2, 2, 0x100);
	cr_assert_eq(board_read(v, IO_PORT, ACPIPM_PM1_EVT + 2, 2), 0x100, "PM1 enable");
	at_time(1000000000);
	cr_assert_eq(board_read(v, IO_PORT, ACPIPM_PM_TMR, 4) & 0xffffff, 3579545, "PM timer");
	outb(0x92, 2);
	cr_assert_eq(inb(0x92) & 2, 2, "port 92h");
}

/* Wider than the access, nothing of a value is seen. */
Test(board, values_are_cut_to_their_size)
{
	board_write(v, IO_PORT, 0x3ff, 1, 0xabcd42);
	cr_assert_eq(board_read(v, IO_PORT, 0x3ff, 1), 0x42);
	cr_assert_eq(board_read(v, IO_MEMORY, 0xd0000000, 8), ~0UL);
	cr_assert_eq(board_read(v, IO_MEMORY, 0xd0000000, 2), 0xffff);
}

Test(board, memory_windows)
{
	cr_assert_eq(board_read(v, IO_MEMORY, LAPIC_DEFAULT_BASE + 0x30, 4), LAPIC_VERSION);
	mmio(IOAPIC_BASE, 1);
	cr_assert_eq(board_read(v, IO_MEMORY, IOAPIC_BASE + 0x10, 4) & 0xff0000, 23 << 16);
	cr_assert_eq(board_read(v, IO_MEMORY, IOAPIC_BASE - 4, 4), 0xffffffff);
	cr_assert_eq(board_read(v, IO_MEMORY, IOAPIC_BASE + 0x1000, 4), 0xffffffff);
	cr_assert_eq(board_read(v, IO_MEMORY, LAPIC_DEFAULT_BASE + 0x1030, 4), 0xffffffff);
	cr_assert_eq(board_read(v, IO_MEMORY, 0xa0000, 4), 0xffffffff, "video memory");
}

Test(board, the_lapic_moves_with_its_base)
{
	cr_assert_eq(msr_write(v, MSR_APIC_BASE, 0xd0000900), OK);
	cr_assert_eq(board_read(v, IO_MEMORY, 0xd0000030, 4), LAPIC_VERSION);
	cr_assert_eq(board_read(v, IO_MEMORY, LAPIC_DEFAULT_BASE + 0x30, 4), 0xffffffff);
	cr_assert_eq(msr_write(v, MSR_APIC_BASE, 0xd0000100), OK); /* disabled */
	cr_assert_eq(board_read(v, IO_MEMORY, 0xd0000030, 4), 0xffffffff);
}

/* --- lines --- */

static void init_pic(void)
{
	static const struct { u16 port; u8 value; } icw[] = {
		{ 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(icw); i++)
		outb(icw[i].port, icw[i].value);
}

/* Redirects a pin to a vector of its own. */
static void redirect(unsigned pin)
{
	mmio(IOAPIC_BASE, 0x10 + 2 * pin);
	mmio(IOAPIC_BASE + 0x10, 0x60 + pin);
}

static bool lapic_has(u8 vector)
{
	return v->lapic.irr[vector / 32] >> vector % 32 & 1;
}

/* A device's line, raised by what raises it. */
static void raise_pit(void)
{
	outb(0x43, 0x34);
	outb(0x40, 10);
	outb(0x40, 0);
	at_time(vm->clock.now_ns + 1000000);
}

static void raise_uart(void)
{
	outb(0x3f9, 2); /* transmitter empty */
}

static void raise_rtc(void)
{
	outb(0x70, 0x0a);
	outb(0x71, 0x26);
	outb(0x70, 0x0b);
	outb(0x71, 0x42);
	at_time(vm->clock.now_ns + 1000000000);
}

static void raise_sci(void)
{
	board_write(v, IO_PORT, ACPIPM_PM1_EVT + 2, 2, 1);
	at_time(vm->clock.now_ns + 700000000000); /* bit 31 has changed */
}

static const struct {
	void (*raise)(void);
	unsigned irq, pin;
	const char *name;
} lines[] = {
	{ raise_pit, 0, 2, "PIT" }, { raise_uart, 4, 4, "UART" }, { raise_rtc, 8, 8, "RTC" }, { raise_sci, 9, 9, "SCI" },
};

Test(board, a_line_reaches_its_pic_input_and_its_ioapic_pin)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		if (i)
			setup();
		init_pic();
		mmio(LAPIC_DEFAULT_BASE + 0xf0, 0x1ff);
		for (unsigned pin = 0; pin < IOAPIC_NPINS; pin++)
			redirect(pin);
		cr_assert(!pic_has_interrupt(&vm->board.pic));
		lines[i].raise();
		cr_assert(pic_has_interrupt(&vm->board.pic), "%s", lines[i].name);
		cr_assert_eq(pic_pending_vector(&vm->board.pic), 0x20 + lines[i].irq, "%s", lines[i].name);
		for (unsigned pin = 0; pin < IOAPIC_NPINS; pin++)
			cr_assert_eq(lapic_has((u8)(0x60 + pin)), pin == lines[i].pin, "%s: pin %u", lines[i].name, pin);
		if (i + 1 < ARRAY_SIZE(lines))
			teardown();
	}
}

/* A line that stays up is one edge; down and up again is another. */
Test(board, every_rise_is_an_edge_for_both_controllers)
{
	struct irq_line *line = &vm->board.com1.irq;

	init_pic();
	mmio(LAPIC_DEFAULT_BASE + 0xf0, 0x1ff);
	redirect(4);
	for (int i = 0; i < 3; i++) {
		irq_set(line, true);
		irq_set(line, true);
		cr_assert_eq(pic_acknowledge(&vm->board.pic), 0x24);
		outb(0x20, 0x20);
		cr_assert(!pic_has_interrupt(&vm->board.pic), "a level became a second edge");
		cr_assert(lapic_has(0x64));
		lapic_accept(&v->lapic, 0x64);
		cr_assert(!lapic_has(0x64));
		mmio(LAPIC_DEFAULT_BASE + 0xb0, 0);
		irq_set(line, true);
		cr_assert(!lapic_has(0x64) && !pic_has_interrupt(&vm->board.pic));
		irq_set(line, false);
		irq_set(line, false);
	}
}

Test(board, the_end_of_a_level_interrupt_reaches_the_ioapic)
{
	mmio(LAPIC_DEFAULT_BASE + 0xf0, 0x1ff);
	mmio(IOAPIC_BASE, 0x10 + 2 * 9);
	mmio(IOAPIC_BASE + 0x10, 0x69 | 1 << 15); /* level */
	irq_set(&vm->board.acpipm.sci, true);
	cr_assert(lapic_has(0x69));
	lapic_accept(&v->lapic, 0x69);
	mmio(LAPIC_DEFAULT_BASE + 0xb0, 0);
	cr_assert(lapic_has(0x69), "still asserted: it comes again");
}

/* --- outside --- */

Test(board, what_the_uart_sends_leaves_by_the_boundary)
{
	outb(0x3f8, 'h');
	outb(0x3f8, 'i');
	cr_assert(world.host.output_size == 2 && !memcmp(world.host.output, "hi", 2));
	cr_assert_eq(vm->stats.output_bytes, 2);
}

Test(board, console_input_reaches_the_uart)
{
	struct input in = { .kind = INPUT_CONSOLE, .data = (const u8 *)"xyz", .size = 3 };

	cr_assert_eq(board_input_room(&vm->board).console, UART_QUEUE);
	board_input(&vm->board, &in);
	cr_assert_eq(board_input_room(&vm->board).console, UART_QUEUE - 3);
	for (unsigned i = 0; i < UART_POLLS; i++)
		inb(0x3fd);
	cr_assert_eq(inb(0x3fd) & 1, 1);
	cr_assert_eq(inb(0x3f8), 'x');
}

Test(board, requests_end_the_vm)
{
	static const struct { u16 port; unsigned size; u32 value; enum vm_outcome outcome; } cases[] = {
		{ 0x64, 1, 0xfe, VM_RESET }, { 0x92, 1, 1, VM_RESET }, { 0xcf9, 1, 6, VM_RESET },
		{ ACPIPM_PM1_CNT, 2, 0x2000, VM_POWERED_OFF }, { 0xf4, 1, 3, VM_DEBUG_EXIT }, { 0xf4, 4, 0x12345, VM_DEBUG_EXIT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (i)
			setup();
		board_write(v, IO_PORT, cases[i].port, cases[i].size, cases[i].value);
		cr_assert_eq(vm->outcome, cases[i].outcome, "case %zu: %d", i, vm->outcome);
		if (cases[i].outcome == VM_DEBUG_EXIT)
			cr_assert_eq(vm->guest_exit, cases[i].value);
		if (i + 1 < ARRAY_SIZE(cases))
			teardown();
	}
}

/* An NMI would have to be delivered: not yet, and never silently lost. */
Test(board, what_is_not_delivered_yet_ends_the_vm)
{
	mmio(LAPIC_DEFAULT_BASE + 0xf0, 0x1ff);
	mmio(LAPIC_DEFAULT_BASE + 0x300, 0x4400); /* NMI to APIC 0 */
	cr_assert_eq(vm->outcome, VM_UNHANDLED);
	cr_assert_not_null(strstr(vm->stop_reason, "NMI"));
}

Test(board, the_tables_describe_this_board)
{
	struct acpi_config c = board_acpi(vm);

	cr_assert_eq(c.ncpus, 1);
	cr_assert_eq(c.lapic_base, LAPIC_DEFAULT_BASE);
	cr_assert_eq(c.ioapic_base, IOAPIC_BASE);
	cr_assert_eq(c.sci_irq, 9);
	cr_assert_eq(board_read(v, IO_PORT, c.com1_port + 5U, 1) & 0x60, 0x60);
	outb((u16)c.reset_port, c.reset_value);
	cr_assert_eq(vm->outcome, VM_RESET);
}

/* A fresh machine is the same machine: two of one configuration have one digest. */
Test(board, a_machine_begins_the_same_always)
{
	static struct world other;
	u64 digest = vm_digest(vm);

	world_live(&other, &plan);
	cr_assert_eq(vm_digest(other.vm), digest);
	world_free(&other);
	plan.config.rtc_epoch_s += 86400;
	world_live(&other, &plan);
	cr_assert_neq(vm_digest(other.vm), digest, "the date is part of it");
	world_free(&other);
}

Test(board, a_configuration_that_cannot_be_is_refused)
{
	static struct vm scratch;
	struct vm_config good = plan.config, bad;
	struct chunk_source none = { 0 };

	for (int i = 0; i < 7; i++) {
		bad = good;
		if (i == 0)
			bad.ncpus = 0;
		if (i == 1)
			bad.ncpus = VM_MAX_VCPUS + 1;
		if (i == 2)
			bad.ns_per_insn = 0;
		if (i == 3)
			bad.poll_insns = 0;
		if (i == 4)
			bad.epoch_insns = 0;
		if (i == 5)
			bad.mem_bytes = 12345;
		if (i == 6)
			bad.mem_bytes = GIB(4);
		cr_assert_eq(vm_create(&scratch, &bad, &fake_ops, vm->boundary, &none), i == 6 ? ERR_TOO_BIG : ERR_INVALID,
			     "case %d", i);
	}
}
