/*
 * test_virtio.c - what all virtio devices do alike, with a device that does
 * nothing but give chains back: finding it, agreeing on features, both faces,
 * interrupts, and being broken.
 */
#include "tests/unit/device_check.h"
#include "tests/unit/virtio_driver.h"

#define SLOT 4
#define RINGS 0x10000UL
#define DATA 0x100000UL
#define F_OWN BIT(3) /* the device's own feature */

/* Writes a byte to what it may write, and gives it back. */
struct echo {
	struct virtio v;
	u8 config[8];
	unsigned nkicks[2], nresumes, nresets;
};

static void look_at(struct echo *e, unsigned queue)
{
	struct virtq_chain *c;
	struct virtq_cursor at;

	while (virtio_look(&e->v, queue, 0, &c)) {
		u8 byte = 'e';

		virtio_take(&e->v, queue, 1);
		at = virtq_writer(c);
		if (!virtio_done(&e->v, queue, c->head, virtq_put(&at, &byte, 1)))
			return;
	}
	virtio_signal(&e->v, queue);
}

static void echo_kick(void *dev, unsigned queue)
{
	struct echo *e = dev;

	e->nkicks[queue]++;
	look_at(e, queue);
}

static void echo_resume(void *dev)
{
	struct echo *e = dev;

	e->nresumes++;
	look_at(e, 0);
	look_at(e, 1);
}

static void echo_forget(void *dev)
{
	((struct echo *)dev)->nresets++;
}

static u64 echo_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	return virtio_read(&((struct echo *)dev)->v, space, addr, size_bytes);
}

static void echo_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	virtio_write(&((struct echo *)dev)->v, space, addr, size_bytes, value);
}

static void echo_reset(void *dev)
{
	virtio_reset(&((struct echo *)dev)->v);
}

static void echo_state(void *dev, struct state_walk *w)
{
	virtio_state(&((struct echo *)dev)->v, w);
}

static const struct device_ops echo_ops = {
	.name = "echo", .version = 1, .read = echo_read, .write = echo_write, .reset = echo_reset,
	.input = device_no_input, .state = echo_state,
};

static const struct virtio_class echo_class = {
	.type = VIRTIO_CONSOLE, .transitional_id = 0x1003, .class_code = 0x078000, .nqueues = 2, .queue_size = 64,
	.config_size = 6, .ops = &echo_ops, .kick = echo_kick, .resume = echo_resume, .reset = echo_forget,
};

static void echo_init(struct echo *e, struct vguest *g)
{
	memset(e, 0, sizeof(*e));
	memcpy(e->config, "config", 6);
	virtio_init(&e->v, &echo_class, e, &g->env, SLOT, F_OWN, e->config);
}

static struct vguest guest;
static struct echo echo;
static struct vdriver d;

#define ALL (~0UL)

static void setup(void)
{
	vguest_init(&guest);
	echo_init(&echo, &guest);
	cr_assert(vdriver_find(&d, &guest, SLOT));
}

static void teardown(void)
{
	vguest_free(&guest);
}

TestSuite(virtio, .init = setup, .fini = teardown);

static int add(unsigned queue)
{
	static const struct vbuffer b[] = { { DATA, 4, false }, { DATA + 16, 4, true } };

	return vring_add(&d.ring[queue], b, 2);
}

static bool came_back(unsigned queue)
{
	u16 head;
	u32 written;

	return vring_used(&d.ring[queue], &head, &written) && written == 1;
}

/* --- finding it --- */

Test(virtio, identity)
{
	cr_assert_eq(vguest_config(&guest, SLOT, 0, 4), 0x10031af4);
	cr_assert_eq(vguest_config(&guest, SLOT, 8, 4), 0x07800000, "revision 0: transitional");
	cr_assert_eq(vguest_config(&guest, SLOT, 0x2c, 4), 0x00031af4, "the subsystem tells old drivers what it is");
	cr_assert_eq(vguest_config(&guest, SLOT, 0x3d, 1), 1);
}

Test(virtio, notify_is_a_port_first)
{
	unsigned first = 0;

	for (unsigned cap = vguest_config(&guest, SLOT, 0x34, 1); cap; cap = vguest_config(&guest, SLOT, cap + 1, 1))
		if (!first && vguest_config(&guest, SLOT, cap, 1) == 9 && vguest_config(&guest, SLOT, cap + 3, 1) == 2)
			first = cap;
	cr_assert_eq(vguest_config(&guest, SLOT, 0x10 + 4 * vguest_config(&guest, SLOT, first + 4, 1), 4) & 1, 1);
}

Test(virtio, features_are_offered_in_words)
{
	cr_assert_eq(vdriver_offered(&d, false), F_OWN | BIT(28) | BIT(29) | BIT(32));
	cr_assert_eq(vdriver_offered(&d, true), F_OWN | BIT(27) | BIT(28) | BIT(29));
	vguest_store(&guest, d.common, 4, 2);
	cr_assert_eq(vguest_load(&guest, d.common + 4, 4), 0);
	cr_assert_eq(vguest_load(&guest, d.common, 4), 2);
}

Test(virtio, structures_read_in_any_size)
{
	cr_assert_eq(vguest_load(&guest, d.common + 18, 2), 2, "queues");
	cr_assert_eq(vguest_load(&guest, d.common + 16, 2), 0xffff);
	vguest_store(&guest, d.common + 22, 2, 1);
	cr_assert_eq(vguest_load(&guest, d.common + 24, 2), 64);
	cr_assert_eq(vguest_load(&guest, d.common + 24, 4), 0xffff0040);
	cr_assert_eq(vguest_load(&guest, d.common + 30, 2), 1);
	vguest_store(&guest, d.common + 22, 2, 2);
	cr_assert_eq(vguest_load(&guest, d.common + 24, 2), 0, "no such queue");
	cr_assert_eq(vguest_load(&guest, d.common + 60, 8), ~0UL);
	cr_assert_eq(vguest_load(&guest, d.config, 4), 0x666e6f63);
	cr_assert_eq(vguest_load(&guest, d.config + 4, 2), 0x6769);
	cr_assert_eq(vguest_load(&guest, d.config + 4, 4), 0xffffffff, "more than there is");
	vguest_store(&guest, d.config, 4, 0);
	cr_assert_eq(vguest_load(&guest, d.config, 1), 'c');
}

/* --- agreeing --- */

static void modern_status(u8 status)
{
	vguest_store(&guest, d.common + 20, 1, status);
}

static void modern_features(u64 features)
{
	for (u32 i = 0; i < 2; i++) {
		vguest_store(&guest, d.common + 8, 4, i);
		vguest_store(&guest, d.common + 12, 4, features >> 32 * i);
	}
}

static bool agree(u64 features)
{
	modern_status(0);
	modern_status(3);
	modern_features(features);
	modern_status(11);
	return vdriver_status(&d) & VIRTIO_FEATURES_OK;
}

Test(virtio, features_are_agreed_on)
{
	cr_assert(agree(BIT(32)));
	cr_assert(agree(BIT(32) | F_OWN | BIT(28)));
	modern_features(BIT(32));
	cr_assert_eq(echo.v.features, BIT(32) | F_OWN | BIT(28), "agreed is agreed");
	cr_assert_not(agree(F_OWN), "without VERSION_1 it is no modern driver");
	cr_assert_not(agree(BIT(32) | BIT(4)));
	cr_assert_not(agree(BIT(32) | BIT(33)));
	cr_assert_not(agree(BIT(32) | BIT(63)));
	vguest_store(&guest, d.common + 8, 4, 2);
	vguest_store(&guest, d.common + 12, 4, ~0U);
	cr_assert_eq(echo.v.features, BIT(32) | BIT(63));
}

Test(virtio, status_bits_only_come)
{
	cr_assert_eq(vdriver_status(&d), 0);
	modern_status(1);
	modern_status(2);
	cr_assert_eq(vdriver_status(&d), 3);
	modern_status(VIRTIO_NEEDS_RESET | 3);
	cr_assert_eq(vdriver_status(&d), 3, "the device's own");
	modern_status(0x80);
	cr_assert_eq(vdriver_status(&d), 0x83);
	modern_status(0);
	cr_assert_eq(vdriver_status(&d), 0);
}

/* --- both faces, with and without messages --- */

static void drive(bool legacy, bool msix)
{
	unsigned line = SLOT % PCI_NLINES;

	cr_assert(vdriver_start(&d, ALL, legacy, msix, RINGS));
	cr_assert_eq(d.nqueues, 2);
	cr_assert_eq(vdriver_status(&d), legacy ? 7 : 15);
	cr_assert_eq(vdriver_read_config(&d, 1, 1), 'o');
	for (unsigned i = 0; i < 500; i++) {
		unsigned queue = i % 2, before = guest.nmessages[queue];

		cr_assert_geq(add(queue), 0);
		cr_assert(vdriver_kick_if_wanted(&d, queue) || d.ring[queue].event_idx);
		if (!came_back(queue)) {
			vdriver_kick(&d, queue);
			cr_assert(came_back(queue));
		}
		cr_assert_eq(vguest_word(&guest, DATA + 16, 1), 'e');
		if (msix) {
			cr_assert_eq(guest.nmessages[queue], before + 1);
			cr_assert_not(guest.level[line]);
			continue;
		}
		cr_assert(guest.level[line]);
		cr_assert_eq(legacy ? vguest_in(&guest, d.legacy_port + 19, 1) : vguest_load(&guest, d.isr, 1), 1);
		cr_assert_not(guest.level[line], "reading the ISR status takes it back");
	}
}

Test(virtio, modern_with_messages)
{
	drive(false, true);
}

Test(virtio, modern_with_a_line)
{
	drive(false, false);
}

Test(virtio, legacy_with_messages)
{
	drive(true, true);
}

Test(virtio, legacy_with_a_line)
{
	drive(true, false);
}

/* The queues are the same thing from either face. */
Test(virtio, one_face_after_the_other)
{
	for (int i = 0; i < 6; i++) {
		drive(i & 1, i & 2);
		cr_assert_eq(echo.nresets, 2U + (unsigned)i, "each begins with a reset");
	}
}

Test(virtio, kicks_by_memory)
{
	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	add(1);
	vguest_store(&guest, d.notify[1] + d.notify_each, 2, 1);
	cr_assert(came_back(1));
}

Test(virtio, kicks_nobody_hears)
{
	vdriver_kick(&d, 0);
	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	echo.nkicks[0] = echo.nkicks[1] = 0;
	vguest_out(&guest, d.legacy_port + 16, 2, 2);
	vguest_out(&guest, d.legacy_port + 16, 2, 0xffff);
	vguest_store(&guest, d.notify[1] + 8, 2, 0);
	vdriver_reset(&d);
	vdriver_kick(&d, 0);
	cr_assert(!echo.nkicks[0] && !echo.nkicks[1]);
}

Test(virtio, legacy_queues)
{
	vguest_set_config(&guest, SLOT, 4, 2, 3);
	vguest_out(&guest, d.legacy_port + 14, 2, 1);
	cr_assert_eq(vguest_in(&guest, d.legacy_port + 12, 2), 64);
	cr_assert_eq(vguest_in(&guest, d.legacy_port + 8, 4), 0);
	vguest_out(&guest, d.legacy_port + 8, 4, 0x20);
	cr_assert_eq(vguest_in(&guest, d.legacy_port + 8, 4), 0x20);
	cr_assert_eq(echo.v.queue[1].desc, 0x20000);
	cr_assert_eq(echo.v.queue[1].avail, 0x20400);
	cr_assert_eq(echo.v.queue[1].used, 0x21000);
	vguest_out(&guest, d.legacy_port + 8, 4, 0);
	cr_assert_eq(vguest_in(&guest, d.legacy_port + 8, 4), 0);
	cr_assert(!echo.v.queue[1].enabled);
	vguest_out(&guest, d.legacy_port + 14, 2, 2);
	cr_assert_eq(vguest_in(&guest, d.legacy_port + 12, 2), 0);
	vguest_out(&guest, d.legacy_port + 8, 4, 0x20);
	cr_assert_eq(vguest_in(&guest, d.legacy_port + 8, 4), 0);
	cr_assert_eq(vdriver_status(&d), 0);
	vguest_out(&guest, d.legacy_port + 14, 2, 0);
	vguest_out(&guest, d.legacy_port + 8, 4, 0xffffffff);
	cr_assert_eq(vdriver_status(&d), VIRTIO_NEEDS_RESET, "no RAM there");
}

/* --- the bus --- */

/* [VIRTIO 4.1.4.9 PCI configuration access capability] */
Test(virtio, through_configuration_space)
{
	unsigned cap = vguest_config(&guest, SLOT, 0x34, 1);

	while (cap && !(vguest_config(&guest, SLOT, cap, 1) == 9 && vguest_config(&guest, SLOT, cap + 3, 1) == 5))
		cap = vguest_config(&guest, SLOT, cap + 1, 1);
	cr_assert_neq(cap, 0);
	cr_assert_eq(vguest_config(&guest, SLOT, cap + 16, 4), 0xffffffff, "nothing is described yet");
	vguest_set_config(&guest, SLOT, 4, 2, 0); /* it is there for who cannot reach the BARs */
	vguest_set_config(&guest, SLOT, cap + 4, 1, 1);
	vguest_set_config(&guest, SLOT, cap + 8, 4, 20);
	vguest_set_config(&guest, SLOT, cap + 12, 4, 1);
	vguest_set_config(&guest, SLOT, cap + 16, 1, 3);
	cr_assert_eq(vguest_config(&guest, SLOT, cap + 16, 1), 3);
	cr_assert_eq(echo.v.status, 3);
	vguest_set_config(&guest, SLOT, cap + 8, 4, 18);
	vguest_set_config(&guest, SLOT, cap + 12, 4, 2);
	cr_assert_eq(vguest_config(&guest, SLOT, cap + 16, 2), 2);
	static const struct { u32 bar, offset, size; } lies[] = {
		{ 3, 0, 4 }, { 255, 0, 4 }, { 1, 0x2000, 4 }, { 1, 0xfffffffc, 4 }, { 1, 2, 4 }, { 1, 0, 3 }, { 1, 0, 8 },
		{ 1, 0, 0 }, { 2, 8, 1 }, { 0, 0x80, 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		vguest_set_config(&guest, SLOT, cap + 4, 1, lies[i].bar);
		vguest_set_config(&guest, SLOT, cap + 8, 4, lies[i].offset);
		vguest_set_config(&guest, SLOT, cap + 12, 4, lies[i].size);
		cr_assert_eq(vguest_config(&guest, SLOT, cap + 16, 4), 0xffffffff, "lie %zu", i);
		vguest_set_config(&guest, SLOT, cap + 16, 4, 0);
	}
	cr_assert_eq(echo.v.status, 3);
}

Test(virtio, bars_that_moved)
{
	vguest_set_config(&guest, SLOT, 0x14, 4, 0xe0000000);
	vguest_set_config(&guest, SLOT, 0x10, 4, 0x2000);
	vguest_set_config(&guest, SLOT, 0x18, 4, 0x3000);
	cr_assert(vdriver_find(&d, &guest, SLOT));
	cr_assert(d.common == 0xe0000000 && d.legacy_port == 0x2000 && d.notify[0] == 0x3000);
	drive(false, true);
	drive(true, false);
}

Test(virtio, a_device_kept_off_the_bus_waits)
{
	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	vguest_set_config(&guest, SLOT, 4, 2, 3);
	add(0);
	vdriver_kick(&d, 0);
	cr_assert_not(came_back(0));
	vguest_set_config(&guest, SLOT, 4, 2, 7);
	cr_assert(came_back(0), "and goes on where it may");
	/* a legacy driver need not say that it may */
	cr_assert(vdriver_start(&d, ALL, true, true, RINGS));
	cr_assert_eq(vguest_config(&guest, SLOT, 4, 2), 7);
}

Test(virtio, chains_from_before_the_driver_was_ready)
{
	unsigned before;

	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	vdriver_reset(&d);
	before = echo.nresumes;
	cr_assert(agree(BIT(32)));
	modern_status(15);
	cr_assert_eq(echo.nresumes, before + 1);
	modern_status(15);
	cr_assert_eq(echo.nresumes, before + 1);
}

/* --- being broken --- */

static void lie(void)
{
	vguest_set_word(&guest, d.ring[0].avail + 2, 2, 0x8000);
	vdriver_kick(&d, 0);
}

Test(virtio, a_liar_gets_a_broken_device)
{
	for (int legacy = 0; legacy < 2; legacy++) {
		unsigned config_messages;

		cr_assert(vdriver_start(&d, ALL, legacy, true, RINGS));
		config_messages = guest.nmessages[2];
		lie();
		cr_assert(vdriver_status(&d) & VIRTIO_NEEDS_RESET);
		cr_assert_eq(guest.nmessages[2], config_messages + 1);
		add(1);
		vdriver_kick(&d, 1);
		cr_assert_not(came_back(1), "the whole device is broken");
		lie();
		cr_assert_eq(guest.nmessages[2], config_messages + 1, "said once");
		drive(legacy, true); /* and a reset mends it */
	}
}

Test(virtio, a_broken_device_says_so_by_its_line)
{
	cr_assert(vdriver_start(&d, ALL, false, false, RINGS));
	lie();
	cr_assert(guest.level[SLOT % PCI_NLINES]);
	cr_assert_eq(vguest_load(&guest, d.isr, 1), VIRTIO_NEEDS_RESET ? 2 : 0);
}

Test(virtio, rings_that_cannot_be)
{
	cr_assert(agree(BIT(32)));
	vguest_store(&guest, d.common + 22, 2, 0);
	vguest_store(&guest, d.common + 24, 2, 48);
	vguest_store(&guest, d.common + 28, 2, 1);
	cr_assert(vdriver_status(&d) & VIRTIO_NEEDS_RESET);
	cr_assert_eq(vguest_load(&guest, d.common + 28, 2), 0);
	cr_assert(agree(BIT(32)));
	vguest_store(&guest, d.common + 32, 8, VGUEST_MEMORY);
	vguest_store(&guest, d.common + 28, 2, 1);
	cr_assert(vdriver_status(&d) & VIRTIO_NEEDS_RESET);
}

/* Fields are written whole; an enabled queue stays where it is. */
Test(virtio, odd_writes_change_nothing)
{
	u64 before[8], after[8];

	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	vguest_store(&guest, d.common + 22, 2, 0);
	for (unsigned i = 0; i < 8; i++)
		before[i] = vguest_load(&guest, d.common + 8 * i, 8);
	for (unsigned at = 0; at < 64; at++) {
		static const u8 natural[] = { 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 2, 0, 2, 0, 1, 1, 2, 0 };

		for (unsigned size = 1; size <= 8; size *= 2)
			if (at >= 24 ? at != 26 || size != 2 : natural[at] != size)
				vguest_store(&guest, d.common + at, size, 0x1111111111111111);
	}
	vguest_store(&guest, d.common + 28, 2, 0);
	for (unsigned i = 0; i < 8; i++) {
		after[i] = vguest_load(&guest, d.common + 8 * i, 8);
		cr_assert_eq(after[i], before[i], "at %u: %#lx, was %#lx", 8 * i, after[i], before[i]);
	}
}

Test(virtio, vectors_there_are_none_of)
{
	vguest_store(&guest, d.common + 16, 2, 2);
	cr_assert_eq(vguest_load(&guest, d.common + 16, 2), 2);
	vguest_store(&guest, d.common + 16, 2, 3);
	cr_assert_eq(vguest_load(&guest, d.common + 16, 2), 0xffff);
	vguest_store(&guest, d.common + 22, 2, 1);
	vguest_store(&guest, d.common + 26, 2, 1);
	cr_assert_eq(vguest_load(&guest, d.common + 26, 2), 1);
	vguest_store(&guest, d.common + 26, 2, 100);
	cr_assert_eq(vguest_load(&guest, d.common + 26, 2), 0xffff);
}

Test(virtio, the_host_without_memory_stops_the_machine)
{
	static const struct vbuffer far = { CHUNK_SIZE + 0x3000, 8, true };

	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	vring_add(&d.ring[0], &far, 1);
	guest.chunks_left = 0;
	vdriver_kick(&d, 0);
	cr_assert_eq(guest.nrequests, 1);
	cr_assert_not(vdriver_status(&d) & VIRTIO_NEEDS_RESET, "the guest did nothing wrong");
}

Test(virtio, configuration_changes)
{
	u64 before = vguest_load(&guest, d.common + 21, 1);

	virtio_config_changed(&echo.v);
	cr_assert_eq(vguest_load(&guest, d.common + 21, 1), before + 1);
	cr_assert_eq(guest.nall_messages, 0);
	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	virtio_config_changed(&echo.v);
	cr_assert_eq(guest.nmessages[2], 1);
}

/* --- state --- */

static u64 poke(void *dev, u64 random)
{
	struct echo *e = dev;

	pci_ops.write(e->v.env.pci, IO_PORT, 0xcf8, 4, 0x80000000 | SLOT << 11 | (random >> 8 & 0xfc));
	if (random & 1)
		pci_ops.write(e->v.env.pci, IO_PORT, 0xcfc, 4, (random >> 8 & 0xfc) == 4 ? 7 : random >> 32);
	return pci_ops.read(e->v.env.pci, IO_PORT, 0xcfc, 4);
}

Test(virtio, state)
{
	static const struct fuzz_range ranges[] = {
		{ IO_MEMORY, PCI_MEM_BASE + SLOT * PCI_MEM_SLOT, 0x2000 }, { IO_MEMORY, PCI_MEM_BASE + SLOT * PCI_MEM_SLOT, 64 },
		{ IO_PORT, PCI_IO_BASE + SLOT * PCI_IO_SLOT, 0x100 }, { IO_PORT, PCI_IO_BASE + SLOT * PCI_IO_SLOT, 24 },
	};
	static const struct device_fuzz fuzz = { &echo_ops, ranges, ARRAY_SIZE(ranges), 1000, poke };
	static struct vguest other;
	static struct echo twin;
	const struct pci_function *f = &echo.v.fn;
	const struct virtq *q = &echo.v.queue[0];
	size_t seen = sizeof(f->config) + sizeof(f->intx) + sizeof(f->pending) + sizeof(f->vector);

	seen += 2 * (sizeof(q->size) + sizeof(q->enabled) + 3 * 8 + 3 * 2) + 2 * 2 + 2 + 8 + 4 + 4 + 2 + 3;
	check_device_visits_all(&echo_ops, &echo, sizeof(echo), sizeof(echo) - seen);
	vguest_init(&other);
	echo_init(&twin, &other);
	check_device_fuzz(&fuzz, &echo, &guest.clock, &twin, &other.clock, 5, 20000);
	check_device_damage(&fuzz, &echo, &twin, &other.clock, 6, 2000);
	vguest_free(&other);
}

/* A machine that goes on from a saved state does what the saved one does. */
Test(virtio, state_in_the_middle_of_traffic)
{
	static struct vguest other;
	static struct echo twin;
	struct saved_device s;

	vguest_init(&other);
	echo_init(&twin, &other);
	drive(false, true);
	add(0);
	add(0);
	s = device_save(&echo_ops, &echo);
	device_load(&echo_ops, &twin, &s);
	free(s.bytes);
	vguest_copy_memory(&other, &guest);
	vdriver_kick(&d, 0);
	vguest_out(&other, d.notify[0], 2, 0);
	check_device_same(&echo_ops, &echo, &twin);
	u64 n = 0;
	cr_assert_eq(guestmem_digest(&guest.mem, &n), guestmem_digest(&other.mem, &n));
	cr_assert_eq(other.nall_messages, 1);
	vguest_free(&other);
}

Test(virtio, rings_of_a_damaged_state_are_refused)
{
	struct saved_device s;
	struct state_walk w;

	cr_assert(vdriver_start(&d, ALL, false, true, RINGS));
	echo.v.queue[1].avail = VGUEST_MEMORY;
	s = device_save(&echo_ops, &echo);
	w = state_load_from(s.bytes, s.size);
	device_walk(&echo_ops, &echo, &w);
	cr_assert_eq(w.error, ERR_DAMAGED);
	cr_assert(!echo.v.queue[1].enabled);
	free(s.bytes);
}
