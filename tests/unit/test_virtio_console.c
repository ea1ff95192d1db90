/*
 * test_virtio_console.c - a console as its driver sees it, and bytes that are there before the driver is.
 */
#include "tests/unit/device_check.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/dev/virtio_console.h"

#define SLOT 13
#define RINGS 0x10000UL
#define DATA 0x100000UL
#define ALL (~0UL)

struct rig {
	struct vguest g;
	struct virtio_console con;
	struct vdriver d;
	u8 sent[8192];
	size_t nsent;
};

static void on_bytes(void *ctx, const void *data, size_t size)
{
	struct rig *r = ctx;

	cr_assert_leq(r->nsent + size, sizeof(r->sent));
	memcpy(r->sent + r->nsent, data, size);
	r->nsent += size;
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	vguest_init(&r->g);
	virtio_console_init(&r->con, &r->g.env, SLOT, (struct outlet){ on_bytes, r });
	cr_assert(vdriver_find(&r->d, &r->g, SLOT));
}

static struct rig rig;
static struct vring *rx, *tx;

static void start(bool legacy)
{
	cr_assert(vdriver_start(&rig.d, ALL, legacy, true, RINGS));
}

static void setup(void)
{
	rig_init(&rig);
	rx = &rig.d.ring[VCONSOLE_RX];
	tx = &rig.d.ring[VCONSOLE_TX];
}

static void teardown(void)
{
	vguest_free(&rig.g);
}

TestSuite(virtio_console, .init = setup, .fini = teardown);

static void type(const char *text)
{
	virtio_console_ops.input(&rig.con, text, strlen(text));
}

static void post(u32 size, unsigned n)
{
	while (n--) {
		struct vbuffer b = { DATA + 4096UL * rx->free_head, size, true };

		cr_assert_geq(vring_add(rx, &b, 1), 0);
	}
}

/* The driver gives its first buffers, tells, and is soon done with setting itself up. */
static void listen(u32 size, unsigned n)
{
	post(size, n);
	cr_assert(vdriver_kick_if_wanted(&rig.d, VCONSOLE_RX), "the first buffer is heard of");
	vguest_run(&rig.g, VCONSOLE_GATE_NS);
}

/* Everything the driver has got, as text. */
static const char *got(void)
{
	static char text[16384];
	size_t n = 0;
	u16 head;
	u32 written;

	while (vring_used(rx, &head, &written)) {
		cr_assert(vguest_get(&rig.g, DATA + 4096UL * head, text + n, written));
		n += written;
	}
	text[n] = 0;
	return text;
}

static void say(const char *text, unsigned pieces)
{
	u64 at = DATA + 0x80000;
	u32 size = (u32)strlen(text), each = size / pieces;
	struct vbuffer b[8];
	u16 head;
	u32 written;

	vguest_put(&rig.g, at, text, size);
	for (unsigned i = 0; i < pieces; i++)
		b[i] = (struct vbuffer){ at + i * each, i + 1 == pieces ? size - i * each : each, false };
	cr_assert_geq(vring_add(tx, b, pieces), 0);
	cr_assert(vdriver_kick_if_wanted(&rig.d, VCONSOLE_TX));
	cr_assert(vring_used(tx, &head, &written), "a driver that spins for it gets it back at once");
}

Test(virtio_console, what_it_says_it_is)
{
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0, 4), 0x10031af4);
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0x2e, 2), 3);
	cr_assert_eq(vdriver_offered(&rig.d, false) & 0xffffff, 0, "no size, no ports, no emergency writes");
}

Test(virtio_console, sends)
{
	for (int legacy = 0; legacy < 2; legacy++) {
		start(legacy);
		rig.nsent = 0;
		say("hello ", 1);
		say("world", 3);
		cr_assert(rig.nsent == 11 && !memcmp(rig.sent, "hello world", 11));
	}
}

Test(virtio_console, receives)
{
	for (int legacy = 0; legacy < 2; legacy++) {
		start(legacy);
		listen(64, 4);
		rig.g.nmessages[VCONSOLE_RX] = 0;
		type("ls\n");
		cr_assert_eq(rig.g.nmessages[VCONSOLE_RX], 1);
		cr_assert_str_eq(got(), "ls\n");
		type("a");
		type("b");
		cr_assert_str_eq(got(), "ab");
		cr_assert_eq(virtio_console_input_room(&rig.con), VCONSOLE_QUEUE);
	}
}

/* A script piped in is there before anybody listens, and nothing of it is lost. */
Test(virtio_console, bytes_wait_for_the_driver)
{
	type("before ");
	cr_assert_eq(virtio_console_input_room(&rig.con), VCONSOLE_QUEUE - 7);
	start(false);
	cr_assert_str_eq(got(), "");
	vdriver_reset(&rig.d);
	start(false);
	listen(3, 1);
	cr_assert_str_eq(got(), "bef");
	type("after");
	post(64, 1);
	cr_assert(vdriver_kick_if_wanted(&rig.d, VCONSOLE_RX), "wanted while bytes wait");
	cr_assert_str_eq(got(), "ore after");
	post(64, 1);
	cr_assert_not(vdriver_kick_if_wanted(&rig.d, VCONSOLE_RX), "and only then");
	type("x");
	cr_assert_str_eq(got(), "x");
}

/* Linux throws away what comes before it has set itself up: nothing does. */
Test(virtio_console, not_before_the_driver_is_ready_for_it)
{
	for (int legacy = 0; legacy < 2; legacy++) {
		type("early");
		start(legacy);
		vguest_run(&rig.g, 1000000000);
		post(64, 2);
		rig.g.nmessages[VCONSOLE_RX] = 0;
		vdriver_kick(&rig.d, VCONSOLE_RX);
		vguest_run(&rig.g, VCONSOLE_GATE_NS - 1);
		type(" typed");
		vdriver_kick(&rig.d, VCONSOLE_RX);
		cr_assert_eq(rig.g.nmessages[VCONSOLE_RX], 0);
		vguest_run(&rig.g, 1);
		cr_assert_eq(rig.g.nmessages[VCONSOLE_RX], 1);
		cr_assert_str_eq(got(), "early typed");
		cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
		type("!");
		cr_assert_str_eq(got(), "!", "at once from then on");
	}
}

Test(virtio_console, an_endless_queue)
{
	char block[VCONSOLE_QUEUE + 1];
	u8 next_in = 0, next_out = 0;

	start(false);
	listen(1, 1);
	type("-");
	cr_assert_str_eq(got(), "-");
	for (unsigned round = 0; round < 50; round++) {
		u32 room = virtio_console_input_room(&rig.con), n = 0;
		u16 head;
		u32 written;

		for (u32 i = 0; i < room; i++)
			block[i] = (char)next_in++;
		virtio_console_ops.input(&rig.con, block, room);
		for (unsigned i = 0; i < 7; i++) {
			post(61 + i, 1);
			vdriver_kick_if_wanted(&rig.d, VCONSOLE_RX);
		}
		while (vring_used(rx, &head, &written))
			for (u32 i = 0; i < written; i++, n++)
				cr_assert_eq(vguest_word(&rig.g, DATA + 4096UL * head + i, 1), next_out++);
		cr_assert_eq(n, 7 * 64U);
		cr_assert_eq(virtio_console_input_room(&rig.con), n);
	}
	virtio_console_ops.input(&rig.con, block, sizeof(block));
	cr_assert_eq(virtio_console_input_room(&rig.con), 0, "more than there is room for is lost");
}

Test(virtio_console, liars)
{
	static const struct vbuffer to_read = { DATA, 8, false };
	static struct vbuffer big[8];

	start(false);
	vring_add(rx, &to_read, 1);
	vdriver_kick(&rig.d, VCONSOLE_RX);
	vguest_run(&rig.g, VCONSOLE_GATE_NS);
	type("x");
	cr_assert(vdriver_status(&rig.d) & VIRTIO_NEEDS_RESET);
	start(false);
	listen(8, 1);
	cr_assert_str_eq(got(), "x", "it waited for a better driver");
	for (unsigned i = 0; i < 8; i++)
		big[i] = (struct vbuffer){ DATA, VCONSOLE_MAX_BYTES / 8 + 1, false };
	vring_add(tx, big, 8);
	vdriver_kick(&rig.d, VCONSOLE_TX);
	cr_assert(vdriver_status(&rig.d) & VIRTIO_NEEDS_RESET);
	cr_assert_eq(rig.nsent, 0);
}

static u64 poke(void *dev, u64 random)
{
	struct virtio_console *c = dev;

	pci_ops.write(c->v.env.pci, IO_PORT, 0xcf8, 4, 0x80000000 | SLOT << 11 | (random >> 8 & 0xfc));
	if (random & 1)
		pci_ops.write(c->v.env.pci, IO_PORT, 0xcfc, 4, (random >> 8 & 0xfc) == 4 ? 7 : random >> 32);
	if (random & 2)
		virtio_console_ops.input(c, &random, 1 + random % 8);
	return pci_ops.read(c->v.env.pci, IO_PORT, 0xcfc, 4) << 13 | virtio_console_input_room(c);
}

Test(virtio_console, state)
{
	static const struct fuzz_range ranges[] = {
		{ IO_MEMORY, PCI_MEM_BASE + SLOT * PCI_MEM_SLOT, 64 }, { IO_PORT, PCI_IO_BASE + SLOT * PCI_IO_SLOT, 24 },
	};
	static const struct device_fuzz fuzz = { &virtio_console_ops, ranges, ARRAY_SIZE(ranges), 10000000, poke };
	static struct rig other;
	const struct pci_function *f = &rig.con.v.fn;
	size_t seen = sizeof(f->config) + sizeof(f->intx) + sizeof(f->pending) + sizeof(f->vector);

	seen += 2 * (2 + 1 + 3 * 8 + 3 * 2 + 2) + 2 + 8 + 4 + 4 + 2 + 3 + sizeof(rig.con.queue_len) + 8 + sizeof(rig.con.gate.deadline_ns);
	check_device_visits_all(&virtio_console_ops, &rig.con, sizeof(rig.con), sizeof(rig.con) - seen);
	rig_init(&other);
	start(false);
	type("waiting");
	rig.con.queue_start += 3;
	rig.con.queue_len -= 3;
	check_device_roundtrip(&virtio_console_ops, &rig.con, &other.con);
	vdriver_reset(&rig.d);
	check_device_fuzz(&fuzz, &rig.con, &rig.g.clock, &other.con, &other.g.clock, 5, 10000);
	check_device_damage(&fuzz, &rig.con, &other.con, &other.g.clock, 6, 3000);
	vguest_free(&other.g);
}
