/*
 * test_board_pci.c - the board with a bus: who answers, where messages and lines go, how frames
 * and disks' failures pass the boundary.  And that without devices there is no bus at all.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

static struct plan plan;
static struct world world;
static struct vm *vm;
static struct vcpu *v;
static struct disk disk;
static bool storage_fails;

static err_t base_read(void *ctx unused_arg, u64 sector, void *buf, u32 n)
{
	memset(buf, (int)sector + 1, n * DISK_SECTOR);
	return storage_fails ? ERR_IO : OK;
}

static err_t base_write(void *ctx unused_arg, u64 sector unused_arg, const void *buf unused_arg, u32 n unused_arg)
{
	return ERR_IO;
}

static err_t base_flush(void *ctx unused_arg)
{
	return OK;
}

/* What left by the wires. */
static struct { unsigned nic, n; u32 size; u8 first; } sent;

static void on_frame(void *ctx unused_arg, unsigned nic, const void *data, u32 size)
{
	sent.nic = nic;
	sent.n++;
	sent.size = size;
	sent.first = *(const u8 *)data;
}

static void make(unsigned ndisks, unsigned nnics)
{
	struct chunk_source none = { 0 };
	const struct disk_config c = { .nsectors = 100, .mode = DISK_RO, .base = { base_read, base_write, base_flush, NULL } };

	cr_assert_eq(disk_init(&disk, &c, &none), OK);
	plan_random(&plan, 1);
	plan.supply = 0;
	plan.ndisks = 0;
	plan.config.ndisks = ndisks;
	plan.config.nnics = nnics;
	plan.config.virtio_console = plan.config.rng = false;
	for (unsigned i = 0; i < ndisks; i++)
		plan.config.disk[i] = &disk;
	for (unsigned i = 0; i < nnics; i++)
		memcpy(plan.config.mac[i], (u8[]){ 0x52, 0x54, 0, 0x12, 0x34, (u8)i }, 6);
	world_live(&world, &plan);
	world.host.port.frame_write = on_frame;
	vm = world.vm;
	v = &vm->vcpu[0];
	memset(&sent, 0, sizeof(sent));
	storage_fails = false;
}

static void setup(void)
{
	make(2, 2);
}

static void teardown(void)
{
	world_free(&world);
}

TestSuite(board_pci, .init = setup, .fini = teardown);

static u32 in(u64 port, unsigned size_bytes)
{
	return (u32)board_read(v, IO_PORT, port, size_bytes);
}

static void out(u64 port, unsigned size_bytes, u32 value)
{
	board_write(v, IO_PORT, port, size_bytes, value);
}

static void mmio(u64 addr, u32 value)
{
	board_write(v, IO_MEMORY, addr, 4, value);
}

static u32 config(unsigned slot, unsigned reg)
{
	out(0xcf8, 4, 0x80000000 | slot << 11 | reg);
	return in(0xcfc, 4);
}

static void put(u64 at, u64 value, unsigned size_bytes)
{
	cr_assert_eq(guestmem_write(&vm->mem, GPA(at), &value, size_bytes), OK);
}

static void pass(u64 ns)
{
	vm->now.vtime_ns = vm->clock.now_ns += ns;
	vclock_run(&vm->clock);
}

static bool lapic_has(u8 vector)
{
	return v->lapic.irr[vector / 32] >> vector % 32 & 1;
}

/* The legacy ports of a slot: the shortest way to a device that works. */
static u64 ports(unsigned slot)
{
	return PCI_IO_BASE + slot * PCI_IO_SLOT;
}

#define RINGS 0x140000UL /* a queue each 64 KiB */
#define DATA 0x180000UL

/* No features, so no event index; queue i at RINGS + i * 64 KiB. */
static void start(unsigned slot)
{
	u64 p = ports(slot);

	for (u64 n = 8; n <= BLK_QUEUE_SIZE; n *= 2)
		put(RINGS + 16 * n + 2, 0, 2); /* nothing is left of another device's */
	for (u64 q = RINGS; q <= RINGS + 0x10000; q += 0x10000)
		put(q + 16 * NET_QUEUE_SIZE + 2, 0, 2);
	out(p + 18, 1, 0);
	out(p + 18, 1, 3);
	out(p + 4, 4, 0);
	for (u32 i = 0; i < 2; i++) {
		out(p + 14, 2, i);
		out(p + 8, 4, (u32)((RINGS + i * 0x10000) >> 12));
	}
	out(p + 18, 1, 7);
	cr_assert_eq(in(p + 18, 1), 7);
}

/* One descriptor, offered as number `nth` of queue q, whose size is n. */
static void offer(unsigned q, unsigned n, u16 nth, u64 at, u32 size, bool writes)
{
	u64 ring = RINGS + q * 0x10000;

	put(ring, at, 8);
	put(ring + 8, size, 4);
	put(ring + 12, writes ? 2 : 0, 2);
	put(ring + 16UL * n + 4 + 2UL * nth, 0, 2);
	put(ring + 16UL * n + 2, nth + 1U, 2);
}

/* --- who answers --- */

Test(board_pci, devices_have_slots_of_their_own)
{
	for (unsigned slot = 0; slot < 32; slot++) {
		u32 want = slot == 0 ? 0x00081b36 : slot == SLOT_DISK || slot == SLOT_DISK + 1 ? 0x10011af4 :
			   slot == SLOT_NIC || slot == SLOT_NIC + 1 ? 0x10001af4 : 0xffffffff;

		cr_assert_eq(config(slot, 0), want, "slot %u", slot);
	}
	cr_assert_eq(in(ports(SLOT_DISK + 1) + 20, 4), 100, "sectors");
	cr_assert_eq(in(ports(SLOT_NIC + 1) + 24, 2), 0x0134, "the second NIC's address");
	cr_assert_eq(in(ports(SLOT_NIC + 2) + 20, 4), 0xffffffff);
	cr_assert_eq(board_read(v, IO_MEMORY, PCI_MEM_BASE + SLOT_DISK * PCI_MEM_SLOT + 18, 2), 1, "queues");
	cr_assert_eq(board_read(v, IO_MEMORY, PCI_MEM_BASE, 4), 0xffffffff);
}

Test(board_pci, the_reset_register_stays_where_it_is)
{
	cr_assert_eq(in(0xcfa, 1), 0xff);
	out(0xcf9, 1, 6);
	cr_assert_eq(vm->outcome, VM_RESET);
}

/* BARs moved onto the board's own devices: those were there first. */
Test(board_pci, the_board_answers_before_the_bus)
{
	config(SLOT_NIC, 0x14);
	out(0xcfc, 4, LAPIC_DEFAULT_BASE);
	cr_assert_eq(board_read(v, IO_MEMORY, LAPIC_DEFAULT_BASE + 0x30, 4), LAPIC_VERSION);
	config(SLOT_NIC, 0x14);
	out(0xcfc, 4, IOAPIC_BASE);
	mmio(IOAPIC_BASE, 1);
	cr_assert_eq(board_read(v, IO_MEMORY, IOAPIC_BASE + 0x10, 4) & 0xff0000, 23 << 16);
	config(SLOT_NIC, 0x10);
	out(0xcfc, 4, 0x380);
	cr_assert_eq(in(0x380, 4), 1U << 5 | 1U << 15 | 1U << 16 | 7U << 27, "features");
	cr_assert_eq(in(0x3fd, 1) & 0x60, 0x60, "the UART");
}

Test(board_pci, without_devices_there_is_no_bus)
{
	u64 digest;
	static struct world other;

	teardown();
	make(0, 0);
	cr_assert_eq(config(0, 0), 0xffffffff);
	cr_assert_eq(in(0xcf8, 4), 0xffffffff);
	cr_assert_eq(in(PIC_ELCR_PORT + 1, 1), 0);
	cr_assert(!board_acpi(vm).pci);
	cr_assert_eq(board_input_room(&vm->board).deaf, 0);
	digest = vm_digest(vm);
	for (unsigned i = 0; i < 2; i++) {
		plan.config.ndisks = i;
		plan.config.disk[0] = &disk;
		plan.config.nnics = !i;
		world_live(&other, &plan);
		cr_assert_neq(vm_digest(other.vm), digest, "a bus is part of the machine");
		cr_assert(board_acpi(other.vm).pci);
		world_free(&other);
	}
}

Test(board_pci, more_than_there_is_room_for)
{
	static struct vm scratch;
	struct chunk_source none = { 0 };
	struct vm_config c = plan.config;

	c.ndisks = VM_MAX_DISKS + 1;
	cr_assert_eq(vm_create(&scratch, &c, &fake_ops, vm->boundary, &none), ERR_INVALID);
	c = plan.config;
	c.nnics = VM_MAX_NICS + 1;
	cr_assert_eq(vm_create(&scratch, &c, &fake_ops, vm->boundary, &none), ERR_INVALID);
}

Test(board_pci, all_there_can_be)
{
	static struct world full;
	u8 state[65536];
	struct state_walk w = state_save_to(state, sizeof(state));

	plan.config.ndisks = VM_MAX_DISKS;
	plan.config.nnics = VM_MAX_NICS;
	for (unsigned i = 0; i < VM_MAX_DISKS; i++)
		plan.config.disk[i] = &disk;
	plan.config.virtio_console = plan.config.rng = true;
	world_live(&full, &plan);
	for (unsigned i = 0; i < VM_MAX_DISKS; i++)
		full.vm->board.pci.disk[i].nwaiting = BLK_QUEUE_SIZE;
	vm_state_walk(full.vm, &w);
	cr_assert_eq(w.error, OK);
	cr_assert_leq(w.pos + 7 * 2048 + UART_QUEUE + VCONSOLE_QUEUE, CHECKPOINT_STATE_MAX, "with seven vCPUs more and typed text waiting, too: %zu",
		      w.pos);
	world_free(&full);
}

/* --- interrupts --- */

static void init_pic(void)
{
	static const struct { u16 port; u8 value; } icw[] = {
		{ 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(icw); i++)
		out(icw[i].port, 1, icw[i].value);
}

static void receive(unsigned nic)
{
	static const u8 frame[60];
	struct input in_frame = { .kind = INPUT_FRAME, .instance = (u16)nic, .data = frame, .size = sizeof(frame) };

	board_input(&vm->board, &in_frame);
}

Test(board_pci, a_line_is_a_level_at_both_controllers)
{
	for (unsigned nic = 0; nic < 2; nic++) {
		unsigned irq = (SLOT_NIC + nic) % 2 ? 11 : 10;

		if (nic) {
			teardown();
			setup();
		}
		cr_assert_eq(config(SLOT_NIC + nic, 0x3c) & 0xff, irq, "what the guest reads without ACPI");
		cr_assert_eq(board_acpi(vm).pci_irq[(SLOT_NIC + nic) % 2], irq, "and with it");
		cr_assert_eq(in(PIC_ELCR_PORT + 1, 1), 0x0c);
		init_pic();
		mmio(LAPIC_DEFAULT_BASE + 0xf0, 0x1ff);
		mmio(IOAPIC_BASE, 0x10 + 2 * irq);
		mmio(IOAPIC_BASE + 0x10, 0x60 | 1 << 15 | 1 << 13); /* level, active low */
		start(SLOT_NIC + nic);
		offer(0, NET_QUEUE_SIZE, 0, DATA, 2048, true);
		receive(nic);
		cr_assert(lapic_has(0x60));
		cr_assert_eq(pic_acknowledge(&vm->board.pic), 0x28 + irq - 8);
		out(0xa0, 1, 0x20);
		out(0x20, 1, 0x20);
		cr_assert(pic_has_interrupt(&vm->board.pic), "still asked for");
		cr_assert_eq(in(ports(SLOT_NIC + nic) + 19, 1), 1);
		cr_assert(!pic_has_interrupt(&vm->board.pic), "the ISR was read");
	}
}

Test(board_pci, a_message_reaches_the_local_apic)
{
	unsigned cap = config(SLOT_NIC, 0x34) & 0xff;
	u64 table = PCI_MEM_BASE + SLOT_NIC * PCI_MEM_SLOT + 0x1000;

	while (cap && (config(SLOT_NIC, cap & 0xfc) & 0xff) != 0x11)
		cap = config(SLOT_NIC, cap & 0xfc) >> 8 & 0xff;
	cr_assert_neq(cap, 0);
	mmio(LAPIC_DEFAULT_BASE + 0xf0, 0x1ff);
	config(SLOT_NIC, 4);
	out(0xcfc, 2, 7);
	config(SLOT_NIC, cap);
	out(0xcfe, 2, 0x8000);
	mmio(table, 0xfee00000);
	mmio(table + 8, 0x4061);
	mmio(table + 12, 0);
	start(SLOT_NIC);
	out(ports(SLOT_NIC) + 14, 2, 0);
	out(ports(SLOT_NIC) + 22, 2, 0);
	offer(0, NET_QUEUE_SIZE, 0, DATA, 2048, true);
	receive(0);
	cr_assert(lapic_has(0x61));
	/* another APIC's, by its id and by logical address: not ours */
	lapic_accept(&v->lapic, 0x61);
	mmio(LAPIC_DEFAULT_BASE + 0xb0, 0);
	mmio(table, 0xfee01000);
	offer(0, NET_QUEUE_SIZE, 1, DATA, 2048, true);
	receive(0);
	cr_assert(!lapic_has(0x61));
	mmio(LAPIC_DEFAULT_BASE + 0xd0, 4 << 24);
	mmio(table, 0xfee04004);
	offer(0, NET_QUEUE_SIZE, 2, DATA, 2048, true);
	receive(0);
	cr_assert(lapic_has(0x61), "flat logical address 4");
}

/* --- the boundary --- */

Test(board_pci, frames_leave_by_their_own_wire)
{
	for (unsigned nic = 0; nic < 2; nic++) {
		start(SLOT_NIC + nic);
		put(DATA + 10, 0x77 + nic, 1);
		offer(1, NET_QUEUE_SIZE, 0, DATA, 10 + 60, false);
		out(ports(SLOT_NIC + nic) + 16, 2, 1);
		cr_assert(sent.n == nic + 1 && sent.nic == nic && sent.size == 60 && sent.first == 0x77 + nic);
	}
	cr_assert_eq(vm->stats.output_bytes, 120);
}

Test(board_pci, what_can_be_received_is_said)
{
	struct input_room room = board_input_room(&vm->board);

	cr_assert(room.nics == 0 && room.deaf == 3);
	start(SLOT_NIC + 1);
	room = board_input_room(&vm->board);
	cr_assert(room.nics == 0 && room.deaf == 1);
	offer(0, NET_QUEUE_SIZE, 0, DATA, 2048, true);
	room = board_input_room(&vm->board);
	cr_assert(room.nics == 2 && room.deaf == 1);
	receive(0);
	receive(2);
	receive(65535);
	cr_assert_eq(board_input_room(&vm->board).nics, 2);
	receive(1);
	cr_assert_eq(board_input_room(&vm->board).nics, 0);
}

Test(board_pci, what_is_typed_goes_to_one_console)
{
	const struct input typed = { .kind = INPUT_CONSOLE, .data = (const u8 *)"ls", .size = 2 };

	teardown();
	make(0, 0);
	cr_assert_eq(config(SLOT_CONSOLE, 0), 0xffffffff);
	teardown();
	plan.config.virtio_console = true;
	world_live(&world, &plan);
	vm = world.vm;
	v = &vm->vcpu[0];
	cr_assert_eq(config(SLOT_CONSOLE, 0), 0x10031af4);
	cr_assert_eq(board_input_room(&vm->board).console, VCONSOLE_QUEUE);
	board_input(&vm->board, &typed);
	cr_assert_eq(board_input_room(&vm->board).console, VCONSOLE_QUEUE - 2);
	cr_assert_eq(uart_input_room(&vm->board.com1), UART_QUEUE);
	start(SLOT_CONSOLE);
	put(DATA, 'a', 1);
	offer(1, 64, 0, DATA, 1, false);
	out(ports(SLOT_CONSOLE) + 16, 2, 1);
	out(0x3f8, 1, 'b');
	cr_assert(world.host.output_size == 2 && !memcmp(world.host.output, "ab", 2));
}

Test(board_pci, random_numbers_come_from_the_seed)
{
	u64 first;

	teardown();
	make(0, 0);
	teardown();
	plan.config.rng = true;
	for (unsigned i = 0; i < 3; i++) {
		plan.config.seed = 7 + i % 2;
		world_live(&world, &plan);
		vm = world.vm;
		v = &vm->vcpu[0];
		cr_assert_eq(config(SLOT_RNG, 0), 0x10051af4);
		start(SLOT_RNG);
		offer(0, 8, 0, DATA, 8, true);
		out(ports(SLOT_RNG) + 16, 2, 0);
		if (!i)
			first = *(const u64 *)(const void *)guestmem_peek(&vm->mem, GPA(DATA));
		cr_assert_eq(*(const u64 *)(const void *)guestmem_peek(&vm->mem, GPA(DATA)) == first, i != 1);
		if (i < 2)
			world_free(&world);
	}
}

/* A request of one descriptor a piece, the legacy way. */
static u8 read_sector(unsigned which)
{
	u64 ring = RINGS;
	static const struct { u64 at; u32 size; u16 flags, next; } d[] = {
		{ DATA, 16, 1, 1 }, { DATA + 0x1000, 512, 3, 2 }, { DATA + 16, 1, 2, 0 },
	};
	u8 status = 0xee;

	start(SLOT_DISK + which);
	put(DATA, 0, 8);
	put(DATA + 8, 6, 8);
	for (u64 i = 0; i < 3; i++) {
		put(ring + 16 * i, d[i].at, 8);
		put(ring + 16 * i + 8, d[i].size, 4);
		put(ring + 16 * i + 12, d[i].flags, 2);
		put(ring + 16 * i + 14, d[i].next, 2);
	}
	put(ring + 16 * BLK_QUEUE_SIZE + 4, 0, 2);
	put(ring + 16 * BLK_QUEUE_SIZE + 2, 1, 2);
	out(ports(SLOT_DISK + which) + 16, 2, 0);
	pass(1000000);
	cr_assert_eq(guestmem_read(&vm->mem, GPA(DATA + 16), &status, 1), OK);
	return status;
}

Test(board_pci, disks_read)
{
	cr_assert_eq(read_sector(1), 0);
	cr_assert_eq(*guestmem_peek(&vm->mem, GPA(DATA + 0x1000)), 7);
	cr_assert_eq(vm->outcome, VM_RUNNING);
}

Test(board_pci, a_failure_of_the_host_is_the_guests_or_ends_it)
{
	storage_fails = true;
	world.host.port.report_errors = true;
	cr_assert_eq(read_sector(0), 1);
	cr_assert_eq(vm->outcome, VM_RUNNING);
	world.host.port.report_errors = false;
	read_sector(1);
	cr_assert_eq(vm->outcome, VM_HOST_FAILED);
	cr_assert_not_null(strstr(vm->stop_reason, "disk 1"));
}
