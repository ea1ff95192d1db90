/*
 * test_virtio_net.c - an interface as its driver sees it: frames out and in, how few exits that
 * takes, and what becomes of frames that do not fit.
 */
#include "tests/unit/device_check.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/dev/virtio_net.h"

#define SLOT 9
#define RINGS 0x10000UL
#define TX_DATA 0x100000UL /* 2 KiB for each descriptor */
#define RX_DATA 0x200000UL
#define MERGE BIT(15)
#define ALL (~0UL)

struct rig {
	struct vguest g;
	struct virtio_net net;
	struct vdriver d;
	unsigned nsent;
	u8 last[2048];
	u32 last_size;
	u64 nbytes;
	unsigned npackets;
	u8 packet[PACKET_MAX];
	u32 packet_size;
};

static void on_frame(void *ctx, const void *data, size_t size)
{
	struct rig *r = ctx;

	cr_assert_leq(size, sizeof(r->last));
	r->nsent++;
	r->nbytes += size;
	r->last_size = (u32)size;
	memcpy(r->last, data, size);
}

static const u8 mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void on_packet(void *ctx, const void *data, size_t size)
{
	struct rig *r = ctx;

	cr_assert_leq(size, sizeof(r->packet));
	r->npackets++;
	r->packet_size = (u32)size;
	memcpy(r->packet, data, size);
}

static void rig_init(struct rig *r, bool offload)
{
	memset(r, 0, sizeof(*r));
	vguest_init(&r->g);
	virtio_net_init(&r->net, &r->g.env, SLOT, mac, offload, (struct net_outlets){ { on_frame, r }, { on_packet, r } });
	cr_assert(vdriver_find(&r->d, &r->g, SLOT));
}

static struct rig rig;
static struct vring *rx, *tx;
static u32 header;

static void start(u64 features, bool legacy)
{
	cr_assert(vdriver_start(&rig.d, features, legacy, true, RINGS));
	header = rig.d.features & (VIRTIO_F_VERSION_1 | MERGE) ? 12 : 10;
}

static void setup(void)
{
	rig_init(&rig, false);
	rx = &rig.d.ring[NET_RX];
	tx = &rig.d.ring[NET_TX];
	start(ALL, false);
}

static void teardown(void)
{
	vguest_free(&rig.g);
}

TestSuite(virtio_net, .init = setup, .fini = teardown);

static u8 pattern(u32 frame, u32 at)
{
	return (u8)(frame * 7 + at);
}

/* Puts a frame of this size in the ring, in `pieces` descriptors. */
static int offer(u32 number, u32 size, unsigned pieces)
{
	u64 at = TX_DATA + 2048UL * (number % 256);
	struct vbuffer b[8];
	u8 bytes[2048] = { 0 };
	u32 all = header + size, done = 0;

	for (u32 i = 0; i < size; i++)
		bytes[header + i] = pattern(number, i);
	vguest_put(&rig.g, at, bytes, all);
	for (unsigned i = 0; i < pieces; i++) {
		u32 n = i + 1 == pieces ? all - done : all / pieces;

		b[i] = (struct vbuffer){ at + done, n, false };
		done += n;
	}
	return vring_add(tx, b, pieces);
}

static bool last_is(u32 number, u32 size)
{
	if (rig.last_size != size)
		return false;
	for (u32 i = 0; i < size; i++)
		if (rig.last[i] != pattern(number, i))
			return false;
	return true;
}

static unsigned reap(struct vring *r)
{
	unsigned n = 0;
	u16 head;
	u32 written;

	while (vring_used(r, &head, &written))
		n++;
	return n;
}

/* --- sending --- */

Test(virtio_net, what_it_says_it_is)
{
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0, 4), 0x10001af4);
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0x2e, 2), 1);
	for (int legacy = 0; legacy < 2; legacy++) {
		start(ALL, legacy);
		cr_assert_eq(vdriver_offered(&rig.d, legacy) & 0xffffff, BIT(5) | BIT(15) | BIT(16), "no offloads");
		cr_assert_eq(vdriver_read_config(&rig.d, 0, 4), 0x12005452);
		cr_assert_eq(vdriver_read_config(&rig.d, 4, 2), 0x5634);
		cr_assert_eq(vdriver_read_config(&rig.d, 6, 2), 1, "link up");
	}
}

Test(virtio_net, frames_leave)
{
	static const u64 features[] = { ALL, ALL & ~MERGE, ALL & ~BIT(29), ALL & ~BIT(28) };

	for (unsigned legacy = 0; legacy < 2; legacy++)
		for (unsigned f = 0; f < ARRAY_SIZE(features); f++) {
			start(features[f], legacy);
			cr_assert_eq(header, legacy && !(features[f] & MERGE) ? 10U : 12U);
			for (u32 i = 0; i < 600; i++) {
				u32 size = NET_FRAME_MIN + i * 37 % (NET_FRAME_MAX - NET_FRAME_MIN + 1);

				rig.nsent = 0;
				cr_assert_geq(offer(i, size, 1 + i % 5), 0);
				vdriver_kick(&rig.d, NET_TX);
				cr_assert_eq(rig.nsent, 1);
				cr_assert(last_is(i, size), "frame %u", i);
				cr_assert_eq(reap(tx), 1);
				vguest_run(&rig.g, 1000000);
			}
		}
}

Test(virtio_net, the_longest_the_shortest_and_others)
{
	offer(1, NET_FRAME_MAX, 1);
	offer(2, NET_FRAME_MIN, 1);
	offer(3, NET_FRAME_MAX + 1, 1);
	offer(4, NET_FRAME_MIN - 1, 2);
	offer(5, 0, 1);
	vdriver_kick(&rig.d, NET_TX);
	cr_assert_eq(rig.nsent, 2);
	cr_assert_eq(rig.net.nlost_tx, 3);
	cr_assert_eq(reap(tx), 5, "the driver gets them all back");
	cr_assert_not(vdriver_status(&rig.d) & VIRTIO_NEEDS_RESET);
}

/* A header may lie by itself, as drivers from before 1.0 send it, or with the frame, or be cut. */
Test(virtio_net, headers_lie_anywhere)
{
	const struct vbuffer apart[] = { { TX_DATA, 12, false }, { TX_DATA + 12, 64, false } };
	const struct vbuffer cut[] = { { TX_DATA, 5, false }, { TX_DATA + 5, 71, false } };
	u8 bytes[76] = { 0 };

	for (u32 i = 0; i < 64; i++)
		bytes[12 + i] = pattern(3, i);
	bytes[0] = 1; /* asks for a checksum that was never offered: not looked at */
	vguest_put(&rig.g, TX_DATA, bytes, sizeof(bytes));
	vring_add(tx, apart, 2);
	vdriver_kick(&rig.d, NET_TX);
	cr_assert(last_is(3, 64));
	rig.last_size = 0;
	vring_add(tx, cut, 2);
	vdriver_kick(&rig.d, NET_TX);
	cr_assert(last_is(3, 64));
}

/* --- how few exits --- */

/* Now and then a frame: each is heard at once, and nothing is looked at in between. */
Test(virtio_net, a_frame_now_and_then_is_one_kick)
{
	unsigned nkicks = 0;

	for (u32 i = 0; i < 100; i++) {
		vguest_run(&rig.g, NET_BUSY_NS);
		offer(i, 100, 1);
		nkicks += vdriver_kick_if_wanted(&rig.d, NET_TX);
		cr_assert_eq(rig.nsent, i + 1);
		cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
		reap(tx);
	}
	cr_assert_eq(nkicks, 100);
}

static void send_in_bulk(void)
{
	unsigned nkicks = 0, nlooks = 0;

	rig.nsent = 0;
	vguest_run(&rig.g, 1000000);
	rig.g.nmessages[NET_TX] = 0;
	for (u32 i = 0; i < 1000; i++) {
		u64 next = vclock_next(&rig.g.clock);

		cr_assert_geq(offer(i, 1514, 2), 0, "the ring is full at %u", i);
		nkicks += vdriver_kick_if_wanted(&rig.d, NET_TX);
		vguest_run(&rig.g, 5000);
		nlooks += next != VTIMER_NEVER && vclock_next(&rig.g.clock) != next;
		reap(tx);
	}
	cr_assert_lt(nkicks, 5);
	cr_assert_lt(nlooks, 105, "one in 50 us");
	cr_assert_lt(rig.g.nmessages[NET_TX], 105);
	vguest_run(&rig.g, NET_POLL_NS);
	cr_assert_eq(rig.nsent, 1000);
	cr_assert(last_is(999, 1514));
	/* nothing for a while: it stops looking, and hears again */
	vguest_run(&rig.g, NET_POLL_NS);
	cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
	reap(tx);
	offer(1, 100, 1);
	cr_assert(vdriver_kick_if_wanted(&rig.d, NET_TX));
	cr_assert(last_is(1, 100));
	reap(tx);
}

Test(virtio_net, bulk_is_few_kicks)
{
	for (unsigned i = 0; i < 8; i++) {
		start(i & 1 ? ALL : ALL & ~VIRTIO_F_RING_EVENT_IDX, i & 2);
		send_in_bulk();
		send_in_bulk();
	}
}

/* --- receiving --- */

static void post(u32 size, unsigned n)
{
	while (n--) {
		struct vbuffer b = { RX_DATA + 2048UL * rx->free_head, size, true };

		cr_assert_geq(vring_add(rx, &b, 1), 0);
	}
}

static void arrive(u32 number, u32 size)
{
	u8 frame[NET_FRAME_MAX + 8];

	for (u32 i = 0; i < size; i++)
		frame[i] = pattern(number, i);
	virtio_net_ops.input(&rig.net, frame, size);
}

/* Takes one frame back, of as many buffers as its header says; its size, checked against the pattern. */
static u32 receive(u32 number, unsigned *nbuffers)
{
	u32 size = 0, written;
	u16 head;

	*nbuffers = 1;
	for (unsigned i = 0; i < *nbuffers; i++) {
		u64 at;
		u32 skip = i ? 0 : header;

		cr_assert(vring_used(rx, &head, &written), "buffer %u of %u", i, *nbuffers);
		at = RX_DATA + 2048UL * head;
		if (!i && header == 12)
			*nbuffers = (u32)vguest_word(&rig.g, at + 10, 2);
		for (u32 k = 0; !i && k < 10; k++)
			cr_assert_eq(vguest_word(&rig.g, at + k, 1), 0);
		for (u32 k = skip; k < written; k++, size++)
			cr_assert_eq(vguest_word(&rig.g, at + k, 1), pattern(number, size));
	}
	return size;
}

Test(virtio_net, frames_arrive)
{
	static const u64 features[] = { ALL, ALL & ~MERGE, ALL & ~BIT(29) };
	unsigned n;

	for (unsigned legacy = 0; legacy < 2; legacy++)
		for (unsigned f = 0; f < ARRAY_SIZE(features); f++) {
			start(features[f], legacy);
			for (u32 i = 0; i < 600; i++) {
				u32 size = NET_FRAME_MIN + i * 41 % (NET_FRAME_MAX - NET_FRAME_MIN + 1);

				post(1530, 1);
				cr_assert(virtio_net_can_receive(&rig.net));
				arrive(i, size);
				cr_assert_eq(receive(i, &n), size);
				cr_assert_eq(n, 1);
				cr_assert_not(virtio_net_can_receive(&rig.net));
			}
		}
	cr_assert_eq(rig.net.nlost_rx, 0);
}

Test(virtio_net, frames_are_merged_from_small_buffers)
{
	unsigned n;

	post(100, 40);
	for (u32 i = 0; i < 4; i++)
		arrive(i, 300 + 100 * i);
	for (u32 i = 0; i < 4; i++) {
		cr_assert_eq(receive(i, &n), 300 + 100 * i);
		cr_assert_eq(n, 4 + i);
	}
	/* to the last byte of the last buffer */
	arrive(9, 88);
	arrive(10, 89);
	cr_assert_eq(receive(9, &n), 88);
	cr_assert_eq(n, 1);
	cr_assert_eq(receive(10, &n), 89);
	cr_assert_eq(n, 2);
}

Test(virtio_net, a_frame_that_does_not_fit_is_lost_whole)
{
	unsigned n;
	u16 head;
	u32 written;

	post(100, 5);
	arrive(1, 489);
	cr_assert_eq(rig.net.nlost_rx, 1);
	cr_assert_not(vring_used(rx, &head, &written));
	cr_assert_eq(vguest_word(&rig.g, RX_DATA + 12, 8), 0, "nothing is half delivered");
	cr_assert_eq(rig.g.nmessages[NET_RX], 0);
	arrive(2, 488);
	cr_assert_eq(receive(2, &n), 488);
	cr_assert_eq(n, 5);
	arrive(3, 100);
	cr_assert_eq(rig.net.nlost_rx, 2, "no buffers at all");
	/* buffers that are not merged must hold it all */
	start(ALL & ~MERGE, false);
	post(100, 5);
	arrive(4, 89);
	cr_assert_eq(rig.net.nlost_rx, 3);
	arrive(5, 88);
	cr_assert_eq(receive(5, &n), 88);
}

Test(virtio_net, frames_that_are_none)
{
	post(1600, 4);
	arrive(1, NET_FRAME_MIN - 1);
	arrive(1, NET_FRAME_MAX + 1);
	cr_assert_eq(rig.net.nlost_rx, 2);
	arrive(1, NET_FRAME_MAX);
	cr_assert_eq(rig.net.nlost_rx, 2);
}

Test(virtio_net, one_interrupt_for_a_batch)
{
	unsigned n;

	post(1530, 64);
	vring_want_interrupts(rx, true);
	for (u32 i = 0; i < 32; i++)
		arrive(i, 100);
	cr_assert_eq(rig.g.nmessages[NET_RX], 1);
	for (u32 i = 0; i < 32; i++)
		receive(i, &n);
	arrive(40, 100);
	cr_assert_eq(rig.g.nmessages[NET_RX], 2);
	/* a driver that polls hears nothing */
	receive(40, &n);
	vring_want_interrupts(rx, false);
	arrive(41, 100);
	cr_assert_eq(rig.g.nmessages[NET_RX], 2);
}

/* A driver that posts buffers need not say so: whoever brings a frame looks. */
Test(virtio_net, buffers_are_posted_without_kicks)
{
	unsigned nkicks = 0, n;

	for (u32 i = 0; i < 70000; i++) {
		post(1530, 1);
		nkicks += vdriver_kick_if_wanted(&rig.d, NET_RX);
		arrive(i, 64);
		receive(i, &n);
	}
	cr_assert_leq(nkicks, 2);
}

/* --- who hears --- */

Test(virtio_net, deaf_or_not)
{
	cr_assert_not(virtio_net_deaf(&rig.net));
	cr_assert_not(virtio_net_can_receive(&rig.net), "no buffers yet: held outside");
	post(1530, 1);
	cr_assert(virtio_net_can_receive(&rig.net));
	vguest_set_config(&rig.g, SLOT, 4, 2, 3);
	cr_assert(virtio_net_deaf(&rig.net) && !virtio_net_can_receive(&rig.net));
	vguest_set_config(&rig.g, SLOT, 4, 2, 7);
	cr_assert_not(virtio_net_deaf(&rig.net));
	vdriver_reset(&rig.d);
	cr_assert(virtio_net_deaf(&rig.net));
	arrive(1, 100);
	cr_assert_eq(rig.net.nlost_rx, 1);
}

Test(virtio_net, the_cable_is_pulled)
{
	for (int legacy = 0; legacy < 2; legacy++) {
		start(ALL, legacy);
		rig.nsent = 0;
		rig.g.nmessages[2] = 0;
		post(1530, 2);
		virtio_net_set_link(&rig.net, true);
		cr_assert_eq(rig.g.nmessages[2], 0, "nothing changed");
		virtio_net_set_link(&rig.net, false);
		cr_assert_eq(rig.g.nmessages[2], 1);
		cr_assert_eq(vdriver_read_config(&rig.d, 6, 2), 0);
		cr_assert(virtio_net_deaf(&rig.net) && !virtio_net_can_receive(&rig.net));
		offer(1, 100, 1);
		vdriver_kick(&rig.d, NET_TX);
		cr_assert_eq(rig.nsent, 0);
		cr_assert_eq(reap(tx), 1, "lost, as on a wire that is cut");
		virtio_net_set_link(&rig.net, true);
		cr_assert_eq(vdriver_read_config(&rig.d, 6, 2), 1);
		offer(2, 100, 1);
		vdriver_kick(&rig.d, NET_TX);
		cr_assert_eq(rig.nsent, 1);
	}
}

/* --- liars --- */

static bool broken(void)
{
	return vdriver_status(&rig.d) & VIRTIO_NEEDS_RESET;
}

Test(virtio_net, chains_too_short_for_a_header)
{
	const struct vbuffer shorter = { TX_DATA, 11, false };
	const struct vbuffer to_read = { RX_DATA, 2000, false };

	vring_add(tx, &shorter, 1);
	vdriver_kick(&rig.d, NET_TX);
	cr_assert(broken());
	cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
	start(ALL, false);
	post(11, 8);
	arrive(1, 50);
	cr_assert(broken());
	start(ALL, false);
	vring_add(rx, &to_read, 1);
	arrive(1, 50);
	cr_assert(broken(), "a buffer it may not write to");
	start(ALL, false);
	post(1530, 1);
	arrive(1, 50);
	cr_assert_not(broken());
}

/* The question whether there is room changes nothing; the frame that comes finds the lie out. */
Test(virtio_net, an_index_that_lies)
{
	vguest_set_word(&rig.g, rx->avail + 2, 2, 0x4000);
	cr_assert(virtio_net_can_receive(&rig.net));
	cr_assert_not(broken());
	arrive(1, 100);
	cr_assert(broken());
	cr_assert_eq(rig.net.nlost_rx, 1);
	cr_assert(virtio_net_deaf(&rig.net));
}

/* Buffers that lie on the rings themselves: the second look finds other chains than the first. */
Test(virtio_net, buffers_on_the_rings)
{
	struct vbuffer b[3] = { { rx->desc, 64, true }, { rx->desc + 64, 64, true }, { rx->avail, 1400, true } };

	for (unsigned i = 0; i < 3; i++)
		vring_add(rx, &b[i], 1);
	arrive(1, 1000);
	cr_assert(broken(), "the frame has overwritten what is to say where the rest of it goes");
	cr_assert(virtio_net_deaf(&rig.net));
	for (u32 i = 0; i < 10; i++)
		arrive(i, 200);
	cr_assert_eq(rig.net.nlost_rx, 10, "and none of these is looked for buffers");
}

Test(virtio_net, a_reset_stops_looking)
{
	for (u32 i = 0; i < 3; i++) {
		offer(i, 100, 1);
		vdriver_kick(&rig.d, NET_TX);
	}
	cr_assert_neq(vclock_next(&rig.g.clock), VTIMER_NEVER);
	vdriver_reset(&rig.d);
	cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
}

/* --- state --- */

static u64 poke(void *dev, u64 random)
{
	struct virtio_net *n = dev;

	pci_ops.write(n->v.env.pci, IO_PORT, 0xcf8, 4, 0x80000000 | SLOT << 11 | (random >> 8 & 0xfc));
	if (random & 1)
		pci_ops.write(n->v.env.pci, IO_PORT, 0xcfc, 4, (random >> 8 & 0xfc) == 4 ? 7 : random >> 32);
	if (random & 2)
		virtio_net_set_link(n, random & 4);
	return pci_ops.read(n->v.env.pci, IO_PORT, 0xcfc, 4) << 2 | virtio_net_deaf(n) << 1 | virtio_net_can_receive(n);
}

Test(virtio_net, state)
{
	static const struct fuzz_range ranges[] = {
		{ IO_MEMORY, PCI_MEM_BASE + SLOT * PCI_MEM_SLOT, 64 }, { IO_PORT, PCI_IO_BASE + SLOT * PCI_IO_SLOT, 24 },
		{ IO_MEMORY, PCI_MEM_BASE + SLOT * PCI_MEM_SLOT + 0x200, 16 },
	};
	static const struct device_fuzz fuzz = { &virtio_net_ops, ranges, ARRAY_SIZE(ranges), 100000, poke };
	static struct rig other;
	const struct virtio_net *n = &rig.net;
	const struct pci_function *f = &n->v.fn;
	size_t seen = sizeof(f->config) + sizeof(f->intx) + sizeof(f->pending) + sizeof(f->vector);

	vdriver_reset(&rig.d);
	seen += 2 * (2 + 1 + 3 * 8 + 3 * 2 + 2) + 2 + 8 + 4 + 4 + 2 + 3 + 8 + 1 + sizeof(n->poll.deadline_ns);
	check_device_visits_all(&virtio_net_ops, &rig.net, sizeof(rig.net), sizeof(rig.net) - seen);
	rig_init(&other, false);
	check_device_fuzz(&fuzz, &rig.net, &rig.g.clock, &other.net, &other.g.clock, 5, 10000);
	start(ALL, false);
	check_device_damage(&fuzz, &rig.net, &other.net, &other.g.clock, 6, 3000);
	vguest_free(&other.g);
}

Test(virtio_net, state_in_the_middle_of_traffic)
{
	static struct rig other;
	struct saved_device s;
	u64 n = 0;

	post(300, 50);
	virtio_net_set_link(&rig.net, false);
	virtio_net_set_link(&rig.net, true);
	for (u32 i = 0; i < 20; i++) {
		offer(i, 500, 2);
		vdriver_kick_if_wanted(&rig.d, NET_TX);
		arrive(i, 400);
	}
	cr_assert_neq(vclock_next(&rig.g.clock), VTIMER_NEVER, "it is looking by itself");
	rig_init(&other, false);
	s = device_save(&virtio_net_ops, &rig.net);
	other.g.clock.now_ns = rig.g.clock.now_ns;
	device_load(&virtio_net_ops, &other.net, &s);
	free(s.bytes);
	check_device_roundtrip(&virtio_net_ops, &rig.net, &other.net);
	vguest_copy_memory(&other.g, &rig.g);
	rig.nsent = 0;
	for (u32 i = 0; i < 10; i++) {
		u8 frame[200] = { (u8)i };

		virtio_net_ops.input(&rig.net, frame, 200);
		virtio_net_ops.input(&other.net, frame, 200);
		vguest_run(&rig.g, 20000);
		vguest_run(&other.g, 20000);
		check_device_same(&virtio_net_ops, &rig.net, &other.net);
	}
	cr_assert_eq(other.nsent, rig.nsent);
	cr_assert_gt(other.nsent, 10);
	cr_assert_eq(guestmem_digest(&rig.g.mem, &n), guestmem_digest(&other.g.mem, &n));
	vguest_free(&other.g);
}

/* What was loaded shows in the configuration space, too. */
Test(virtio_net, state_carries_the_link)
{
	static struct rig other;
	struct saved_device s;

	rig_init(&other, false);
	virtio_net_set_link(&rig.net, false);
	s = device_save(&virtio_net_ops, &rig.net);
	device_load(&virtio_net_ops, &other.net, &s);
	free(s.bytes);
	cr_assert_eq(vdriver_read_config(&other.d, 6, 2), 0);
	vguest_free(&other.g);
}

/* --- packets --- */

#define CSUM BIT(0)
#define GUEST_CSUM BIT(1)
#define GUEST_ECN BIT(9)
#define TSO4 BIT(11)
#define OFFLOADS (CSUM | GUEST_CSUM | BIT(7) | BIT(8) | GUEST_ECN | TSO4 | BIT(12) | BIT(13))

static void setup_packets(void)
{
	rig_init(&rig, true);
	rx = &rig.d.ring[NET_RX];
	tx = &rig.d.ring[NET_TX];
	start(ALL, false);
}

TestSuite(virtio_net_packets, .init = setup_packets, .fini = teardown);

struct virtio_header {
	u8 flags, kind;
	u16 length, segment, csum_start, csum_offset;
};

/* A frame of that size behind that header, in pieces of 8 KiB. */
static void send_with(struct virtio_header h, u32 number, u32 size)
{
	static u8 bytes[12 + PACKET_FRAME_MAX + 8];
	struct vbuffer b[9];
	u32 all = header + size;
	unsigned n = 0;

	memset(bytes, 0xff, header); /* what a driver has in fields that are the device's is nobody's business */
	memcpy(bytes, &h, sizeof(h));
	for (u32 i = 0; i < size; i++)
		bytes[header + i] = pattern(number, i);
	vguest_put(&rig.g, TX_DATA, bytes, all);
	for (u32 done = 0; done < all; done += b[n++].size_bytes)
		b[n] = (struct vbuffer){ TX_DATA + done, MIN(8192U, all - done), false };
	rig.nsent = rig.npackets = 0;
	cr_assert_geq(vring_add(tx, b, n), 0);
	vdriver_kick(&rig.d, NET_TX);
	vguest_run(&rig.g, 1000000);
	cr_assert_eq(reap(tx), 1);
}

Test(virtio_net_packets, are_offered_to_both_kinds_of_driver)
{
	for (int legacy = 0; legacy < 2; legacy++) {
		start(ALL, legacy);
		cr_assert_eq(vdriver_offered(&rig.d, legacy) & 0xffffff, BIT(5) | BIT(15) | BIT(16) | OFFLOADS);
	}
}

/* As they are, with a header of 12 bytes whatever the driver's was. */
Test(virtio_net_packets, leave_with_their_header)
{
	static const struct virtio_header cut = { 1, PACKET_TCP4 | PACKET_ECN, 54, 1448, 34, 16 };

	for (unsigned how = 0; how < 3; how++) {
		start(how ? ALL & ~MERGE : ALL, how == 2);
		cr_assert_eq(header, how == 2 ? 10U : 12U);
		send_with(cut, 3, PACKET_FRAME_MAX);
		cr_assert(rig.nsent == 0 && rig.npackets == 1);
		cr_assert_eq(rig.packet_size, PACKET_MAX);
		cr_assert(!memcmp(rig.packet, &cut, 10) && !rig.packet[10] && !rig.packet[11]);
		for (u32 i = 0; i < PACKET_FRAME_MAX; i++)
			cr_assert_eq(rig.packet[12 + i], pattern(3, i));
		send_with((struct virtio_header){ 1, 0, 0, 0, 34, 6 }, 4, 80);
		cr_assert(rig.nsent == 0 && rig.npackets == 1 && rig.packet_size == 92);
	}
}

Test(virtio_net_packets, with_nothing_left_to_do_are_frames)
{
	send_with((struct virtio_header){ 0, 0, 54, 9, 9, 9 }, 5, 200);
	cr_assert(rig.nsent == 1 && rig.npackets == 0 && last_is(5, 200));
	send_with((struct virtio_header){ PACKET_CSUM_VALID, 0, 0, 0, 0, 0 }, 6, 200);
	cr_assert(rig.nsent == 1 && rig.npackets == 0 && last_is(6, 200), "what is valid is nothing to be done");
}

Test(virtio_net_packets, that_make_no_sense_are_lost)
{
	static const struct virtio_header bad[] = {
		{ 1, 0, 0, 0, 199, 0 }, { 1, 0, 0, 0, 100, 99 }, { 1, 0, 0, 0, 0xffff, 0xffff }, /* no room for a checksum */
		{ 0, PACKET_TCP4, 54, 100, 0, 0 },          /* cut without one */
		{ 1, PACKET_TCP4, 54, 0, 34, 16 },          /* into nothing */
		{ 1, 3, 54, 100, 34, 16 }, { 1, 5, 54, 100, 34, 16 }, { 1, PACKET_ECN, 54, 100, 34, 16 }, /* kinds nobody offered */
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		send_with(bad[i], 1, 200);
		cr_assert(rig.nsent == 0 && rig.npackets == 0, "header %zu", i);
		cr_assert_eq(rig.net.nlost_tx, i + 1);
	}
	send_with((struct virtio_header){ 1, 0, 0, 0, 34, 16 }, 1, NET_FRAME_MAX + 1);
	send_with((struct virtio_header){ 1, PACKET_TCP4, 0, 1448, 34, 16 }, 1, PACKET_FRAME_MAX + 1);
	cr_assert(rig.npackets == 0 && rig.net.nlost_tx == ARRAY_SIZE(bad) + 2, "too long");
	cr_assert_not(vdriver_status(&rig.d) & VIRTIO_NEEDS_RESET);
}

/* Of what was not agreed nothing is done, and without checksums no header is looked at. */
Test(virtio_net_packets, only_as_agreed)
{
	start(ALL & ~TSO4, false);
	send_with((struct virtio_header){ 1, PACKET_TCP4, 54, 100, 34, 16 }, 1, 300);
	cr_assert(rig.nsent == 0 && rig.npackets == 0 && rig.net.nlost_tx == 1);
	send_with((struct virtio_header){ 1, PACKET_TCP6, 54, 100, 34, 16 }, 1, 300);
	cr_assert_eq(rig.npackets, 1);
	start(ALL & ~(CSUM | TSO4 | BIT(12) | BIT(13)), false);
	send_with((struct virtio_header){ 1, PACKET_TCP4, 54, 100, 34, 16 }, 2, 300);
	cr_assert(rig.nsent == 1 && rig.npackets == 0 && last_is(2, 300));
}

static void packet_arrives(struct virtio_header h, u32 number, u32 size)
{
	static u8 packet[PACKET_MAX + 1];

	memset(packet, 0, PACKET_HEADER);
	memcpy(packet, &h, sizeof(h));
	for (u32 i = 0; i < size; i++)
		packet[PACKET_HEADER + i] = pattern(number, i);
	virtio_net_receive_packet(&rig.net, packet, PACKET_HEADER + size);
}

Test(virtio_net_packets, arrive_with_their_header)
{
	const struct virtio_header h = { 1, PACKET_TCP4, 54, 1448, 34, 16 };
	u16 head;
	u32 written;

	post(1530, NET_PACKET_BUFFERS - 1);
	cr_assert(!virtio_net_takes_packets(&rig.net) && virtio_net_can_receive(&rig.net), "as frames, meanwhile");
	post(1530, 1);
	cr_assert(virtio_net_takes_packets(&rig.net));
	packet_arrives(h, 7, PACKET_FRAME_MAX);
	cr_assert_eq(rig.net.nlost_rx, 0);
	cr_assert(vring_used(rx, &head, &written));
	cr_assert_eq(vguest_word(&rig.g, RX_DATA + 2048UL * head, 8), 1 | PACKET_TCP4 << 8 | 54 << 16 | 1448UL << 32 | 34UL << 48);
	cr_assert_eq(vguest_word(&rig.g, RX_DATA + 2048UL * head + 8, 2), 16);
	cr_assert_eq(vguest_word(&rig.g, RX_DATA + 2048UL * head + 10, 2), (PACKET_MAX + 1529) / 1530, "of how many buffers");
	for (u32 done = written - 12, at = 12;; done += written, at = 0) {
		for (u32 i = at; i < written; i++)
			cr_assert_eq(vguest_word(&rig.g, RX_DATA + 2048UL * head + i, 1), pattern(7, done - (written - at) + i - at));
		if (!vring_used(rx, &head, &written))
			break;
	}
	packet_arrives(h, 8, PACKET_FRAME_MAX);
	cr_assert_eq(rig.net.nlost_rx, 1, "too few buffers");
}

Test(virtio_net_packets, arrive_only_where_they_are_welcome)
{
	const struct virtio_header h = { 1, 0, 0, 0, 34, 16 };

	post(1530, 100);
	packet_arrives(h, 1, NET_FRAME_MIN - 1);
	packet_arrives(h, 1, PACKET_FRAME_MAX + 1);
	cr_assert_eq(rig.net.nlost_rx, 2);
	for (unsigned i = 0; i < 2; i++) {
		start(ALL & ~(i ? GUEST_CSUM : GUEST_ECN), false);
		post(1530, 100);
		cr_assert_not(virtio_net_takes_packets(&rig.net));
		packet_arrives(h, 1, 100);
		cr_assert_eq(rig.net.nlost_rx, 3 + i);
	}
	/* buffers that are not merged hold any packet each, or lose it */
	start(ALL & ~MERGE, false);
	post(100, 1);
	cr_assert(virtio_net_takes_packets(&rig.net));
	packet_arrives(h, 1, 80);
	packet_arrives(h, 1, 80);
	cr_assert_eq(rig.net.nlost_rx, 5);
}
