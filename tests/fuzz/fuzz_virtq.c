/*
 * fuzz_virtq.c - a guest that lies to its virtio devices: about every field of
 * its rings and indirect tables, in configuration space, BARs and registers.
 *
 * An input is a program: each byte an action, the next ones what it wants to
 * know.  A driver that keeps to the standard [virtio_driver.c] starts the
 * devices and sends requests, so that lies meet devices in the middle of
 * their work.  Beyond "no sanitizer report":
 *   1. a guest that did not lie is served: no device breaks, all requests come
 *      back, what is read is what was written, each frame sent left;
 *   2. a device that is broken, or reset, sends nothing and takes nothing;
 *   3. save, load and save again give the same bytes, at any moment;
 *   4. the same input gives the same machine, to the last byte of memory;
 *   5. what a device writes it marks: the digest knows of every change.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined.
 * Without: gcc -DSTANDALONE -fsanitize=address,undefined; the program
 * makes up as many inputs as its argument says (default 100000, second
 * argument: seed).
 *
 *   1  the machine     2  bytes of the input     3  honest work     4  lies     5  an input
 */
#include "tests/fuzz/fuzz.h"

/* The fuzzers are linked with the code under test, not with the unit tests. */
#include "tests/unit/virtio_driver.c"
#include "session/segment.h"
#include "vmm/dev/virtio_blk.h"
#include "vmm/dev/virtio_console.h"
#include "vmm/dev/virtio_net.h"
#include "vmm/dev/virtio_rng.h"

/* --- 1  the machine ---------------------------------------------------------------- */

enum { BLK, NET, CONSOLE, RNG, NDEVICES };
#define NSECTORS 256U
#define RINGS(i) ((i) < 2 ? 0x10000UL + (i) * 2 * VRING_BYTES : 0x300000UL + (i) * 2 * VRING_BYTES)
#define DATA 0x180000UL                              /* buffers: over the end of a chunk */
#define DATA_SIZE 0x100000UL
#define HEADERS 0x170000UL

struct machine {
	struct vguest g;
	struct virtio_blk blk;
	struct virtio_net net;
	struct virtio_console console;
	struct virtio_rng rng;
	struct disk disk;
	struct vdriver d[NDEVICES];
	bool started[NDEVICES];
	u8 storage[NSECTORS * DISK_SECTOR], model[NSECTORS * DISK_SECTOR];
	unsigned nframes, nbytes, nanswers;  /* that left, in this input */
	unsigned noffered;                   /* frames, by an honest driver */
	bool storage_fails, honest, moved;   /* moved: BARs may be elsewhere than the drivers think */
	const u8 *data;
	size_t size;
};
static struct machine *m;
static struct vdriver found[NDEVICES]; /* drivers of a machine at power-on */

/* Of the whole run, to show that it goes deep. */
static struct { u64 actions, starts, done, broken, frames_in, frames_out, packets_in, packets_out, honest; } total;

static const struct { const struct device_ops *ops; unsigned slot; size_t offset; } devices[NDEVICES] = {
	{ &virtio_blk_ops, 1, offsetof(struct machine, blk) }, { &virtio_net_ops, 9, offsetof(struct machine, net) },
	{ &virtio_console_ops, 13, offsetof(struct machine, console) }, { &virtio_rng_ops, 14, offsetof(struct machine, rng) },
};

static void *device(unsigned i)
{
	return (u8 *)m + devices[i].offset;
}

/* Each begins with what they share. */
static struct virtio *common_of(unsigned i)
{
	return device(i);
}
_Static_assert(!offsetof(struct virtio_blk, v) && !offsetof(struct virtio_net, v) && !offsetof(struct virtio_console, v) &&
	       !offsetof(struct virtio_rng, v), "so");

static err_t base_read(void *ctx unused_arg, u64 sector, void *buf, u32 n)
{
	CHECK(sector + n <= NSECTORS);
	if (m->storage_fails)
		return ERR_IO;
	memcpy(buf, m->storage + sector * DISK_SECTOR, n * DISK_SECTOR);
	return OK;
}

static err_t base_write(void *ctx unused_arg, u64 sector, const void *buf, u32 n)
{
	CHECK(sector + n <= NSECTORS);
	if (m->storage_fails)
		return ERR_IO;
	memcpy(m->storage + sector * DISK_SECTOR, buf, n * DISK_SECTOR);
	return OK;
}

static err_t base_flush(void *ctx unused_arg)
{
	return m->storage_fails ? ERR_IO : OK;
}

static err_t on_question(void *ctx unused_arg, unsigned disk, err_t host)
{
	CHECK(disk == 0 && (host == OK || host == ERR_IO));
	m->nanswers++;
	return host;
}

static void on_frame(void *ctx unused_arg, const void *data, size_t size)
{
	volatile u8 sum = 0;

	CHECK(size >= NET_FRAME_MIN && size <= NET_FRAME_MAX);
	for (size_t i = 0; i < size; i++) /* all of it can be read */
		sum = (u8)(sum + ((const u8 *)data)[i]);
	m->nframes++;
	total.frames_out++;
}

/* What makes sense to the device need not to whoever is to cut it; in no case is a frame longer than one. */
static void on_packet(void *ctx unused_arg, const void *data, size_t size)
{
	struct segments s;
	u8 frame[SEGMENT_FRAME_MAX];
	u32 n;

	CHECK(size >= PACKET_HEADER + NET_FRAME_MIN && size <= PACKET_MAX);
	CHECK(packet_makes_sense(data, (u32)size - PACKET_HEADER) && !packet_is_plain(data));
	if (segments_begin(&s, data, (u32)size))
		while ((n = segments_next(&s, frame)))
			CHECK(n <= SEGMENT_FRAME_MAX);
	m->nframes++;
	total.packets_out++;
}

static void on_bytes(void *ctx unused_arg, const void *data, size_t size)
{
	volatile u8 last = ((const u8 *)data)[size - 1];

	(void)last;
	m->nbytes += (unsigned)size;
}

static void make_machine(void)
{
	static const u8 mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
	const struct disk_config c = { .nsectors = NSECTORS, .mode = DISK_THROUGH, .base = { base_read, base_write, base_flush, NULL } };

	m = calloc(1, sizeof(*m));
	CHECK(m);
	vguest_init(&m->g);
	CHECK(!disk_init(&m->disk, &c, &m->g.mem.source));
	virtio_blk_init(&m->blk, &m->g.env, devices[BLK].slot, 0, &m->disk, (struct blk_board){ on_question, NULL, NULL });
	virtio_net_init(&m->net, &m->g.env, devices[NET].slot, mac, true, (struct net_outlets){ { on_frame, NULL }, { on_packet, NULL } });
	virtio_console_init(&m->console, &m->g.env, devices[CONSOLE].slot, (struct outlet){ on_bytes, NULL });
	virtio_rng_init(&m->rng, &m->g.env, devices[RNG].slot, 1);
	for (unsigned i = 0; i < NDEVICES; i++)
		CHECK(vdriver_find(&found[i], &m->g, devices[i].slot));
}

/* As at power-on. */
static void begin(const u8 *data, size_t size)
{
	pci_ops.reset(&m->g.pci);
	for (unsigned i = 0; i < NDEVICES; i++)
		devices[i].ops->reset(device(i));
	vguest_clear_memory(&m->g);
	m->g.clock.now_ns = 0;
	m->g.clock.known = false;
	m->g.nrequests = 0;
	memset(m->started, 0, sizeof(m->started));
	memset(m->storage, 0x11, sizeof(m->storage));
	memset(m->model, 0x11, sizeof(m->model));
	m->nframes = m->nbytes = m->nanswers = m->noffered = 0;
	m->storage_fails = m->moved = false;
	m->data = data;
	m->size = size;
}

/* --- 2  bytes of the input ------------------------------------------------------------ */

static u8 byte(void)
{
	if (!m->size)
		return 0;
	m->size--;
	return *m->data++;
}

static u32 word(void)
{
	u32 low = byte();

	return low | (u32)byte() << 8;
}

/* Numbers that are likely to matter. */
static u64 number(void)
{
	static const u64 near[] = { 0, 1, 2, 15, 16, 17, 255, 256, 512, 4096, 0x7fff, 0x8000, 0xffff, 0x10000, VIDEO_START, VIDEO_END,
				    CHUNK_SIZE, VGUEST_MEMORY, 0x7fffffff, 0xffffffff, 0x100000000, 0xfee00000, ~0UL };
	u8 how = byte();

	switch (how % 4) {
	case 0:
		return near[how / 4 % ARRAY_SIZE(near)];
	case 1:
		return near[how / 4 % ARRAY_SIZE(near)] - 1 - byte() % 16;
	case 2:
		return word();
	default:
		return DATA + (word() << 4) % DATA_SIZE;
	}
}

/* --- 3  honest work ----------------------------------------------------------------------- */

static void start(unsigned i)
{
	u8 how = byte();
	struct vdriver *d = &m->d[i];
	u64 wanted = ~0UL;

	if (m->moved) {
		m->started[i] = false;
		if (!vdriver_find(d, &m->g, devices[i].slot))
			return; /* its capabilities point into BARs that are switched off or the like */
	}
	if (how & 4)
		wanted &= ~VIRTIO_F_RING_EVENT_IDX;
	if (how & 8)
		wanted &= ~VIRTIO_F_RING_INDIRECT_DESC;
	if (how & 16)
		wanted &= ~(BIT(15) | BIT(9)); /* merged buffers, flush */
	d->queue_limit = how & 32 ? 16 : 8;
	m->started[i] = vdriver_start(d, wanted, how & 1, how & 2, RINGS(i));
	m->started[i] &= d->nqueues == common_of(i)->class->nqueues;
	total.starts++;
	if (i == NET) /* what waited is forgotten */
		m->noffered = m->nframes + (unsigned)m->net.nlost_tx;
	if (m->honest)
		CHECK(m->started[i]);
}

static bool reap(unsigned i, unsigned queue, u16 *head, u32 *written)
{
	bool back = vring_used(&m->d[i].ring[queue], head, written);

	total.done += back;
	return back;
}

static void reap_all(unsigned i, unsigned queue)
{
	u16 head;
	u32 written;

	for (unsigned n = 0; n < VIRTQ_MAX_SIZE && reap(i, queue, &head, &written); n++)
		;
}

/* The data of a request, cut as the input says; the last buffer takes what is left. */
static unsigned cut(struct vbuffer *b, unsigned max, u64 at, u32 size, bool device_writes)
{
	unsigned n = 0;

	while (size) {
		u32 some = 1 + word() % 2048, each = n + 1 == max ? size : MIN(size, some);

		b[n++] = (struct vbuffer){ at, each, device_writes };
		at += each;
		size -= each;
	}
	return n;
}

static void fill_memory(u64 at, u32 size, u8 seed)
{
	u8 bytes[512];

	for (u32 done = 0; done < size; done += sizeof(bytes)) {
		for (u32 i = 0; i < sizeof(bytes); i++)
			bytes[i] = (u8)(seed + i + done / sizeof(bytes));
		(void)vguest_put(&m->g, at + done, bytes, MIN((u32)sizeof(bytes), size - done));
	}
}

static bool blk_result(u32 type, u64 sector, u32 size, u64 at, u8 status)
{
	static u8 got[4096];

	if (type > 1)
		return status == (type == 4 || type == 8 ? 0 : 2);
	if (size % DISK_SECTOR || sector + size / DISK_SECTOR > NSECTORS)
		return status == 1;
	if (status)
		return false;
	if (type == 1)
		return vguest_get(&m->g, at, m->model + sector * DISK_SECTOR, size);
	return vguest_get(&m->g, at, got, size) && !memcmp(got, m->model + sector * DISK_SECTOR, size);
}

/* A request to the disk; half of the time nothing else happens until it is done. */
static void use_blk(void)
{
	static const u32 types[] = { 0, 1, 0, 1, 0, 1, 4, 8, 3 };
	u8 how = byte(), status = 0xee;
	u32 type = types[how % ARRAY_SIZE(types)], size = (1 + how / 16 % 8) * 512, written;
	u64 sector = byte(), at = DATA + word() * 16;
	struct vring *r = &m->d[BLK].ring[0];
	u64 header = HEADERS + 64UL * (r->free_head % 64);
	struct vbuffer b[8] = { { header, 16, false } };
	unsigned n;
	u16 head;

	size -= sector % 16 == 15; /* now and then no whole sectors */
	reap_all(BLK, 0);
	vguest_set_word(&m->g, header, 8, type);
	vguest_set_word(&m->g, header + 8, 8, sector);
	vguest_set_word(&m->g, header + 16, 1, status);
	if (type == 1)
		fill_memory(at, size, how);
	n = 1 + (type < 2 ? cut(b + 1, 5, at, size, type == 0) : 0);
	b[n++] = (struct vbuffer){ header + 16, 1, true };
	if (vring_add(r, b, n) < 0)
		return;
	vdriver_kick_if_wanted(&m->d[BLK], 0);
	if (!m->honest && how & 1)
		return;
	vguest_run(&m->g, 1000000);
	if (!m->honest)
		return;
	CHECK(reap(BLK, 0, &head, &written));
	vguest_get(&m->g, header + 16, &status, 1);
	CHECK(blk_result(type, sector, size, at, status));
}

/* The headers of something that could be cut, but for a byte perhaps. */
static void put_packet(u64 at)
{
	u8 p[12 + 54] = { 1, byte() & 1 ? 1 : byte(), 54, 0, byte(), byte() % 8, 34, 0, 16, 0, 0, 0 };

	p[12 + 12] = 8, p[12 + 14] = 0x45, p[12 + 23] = 6, p[12 + 46] = 0x50;
	if (byte() & 1)
		p[byte() % sizeof(p)] = byte();
	vguest_put(&m->g, at, p, sizeof(p));
}

static void use_net(void)
{
	u8 how = byte();
	u32 size = how & 1 ? NET_FRAME_MIN + word() % (NET_FRAME_MAX - NET_FRAME_MIN + 1) : word() % 2000;
	u64 at = DATA + word() * 16UL;
	struct vbuffer b[6];
	unsigned n;

	size += m->d[NET].features & (VIRTIO_F_VERSION_1 | BIT(15)) ? 12 : 10;
	reap_all(NET, NET_TX);
	reap_all(NET, NET_RX);
	if (how & 2) {
		if (how & 8)
			put_packet(at);
		n = cut(b, 4, at, size, false);
		if (vring_add(&m->d[NET].ring[NET_TX], b, n) < 0)
			return;
		m->noffered++;
		vdriver_kick_if_wanted(&m->d[NET], NET_TX);
		return;
	}
	b[0] = (struct vbuffer){ at, size, true };
	(void)vring_add(&m->d[NET].ring[NET_RX], b, 1);
	if (how & 4)
		vdriver_kick_if_wanted(&m->d[NET], NET_RX);
}

static void use_console(void)
{
	u8 how = byte();
	struct vbuffer b[6];
	unsigned queue = how & 1, n = cut(b, 3, DATA + word() * 16, 1 + how % 64, queue == VCONSOLE_RX);

	reap_all(CONSOLE, queue);
	if (vring_add(&m->d[CONSOLE].ring[queue], b, n) >= 0)
		vdriver_kick_if_wanted(&m->d[CONSOLE], queue);
}

static void use_rng(void)
{
	struct vbuffer b[4];
	u32 size = 1 + word() % 6000, written;
	unsigned n = cut(b, 4, DATA + word() * 16, size, true);
	u16 head;

	reap_all(RNG, 0);
	if (vring_add(&m->d[RNG].ring[0], b, n) < 0)
		return;
	vdriver_kick_if_wanted(&m->d[RNG], 0);
	if (m->honest)
		CHECK(reap(RNG, 0, &head, &written) && written == MIN(size, RNG_MAX_BYTES));
}

static void use(unsigned i)
{
	static void (*const uses[NDEVICES])(void) = { use_blk, use_net, use_console, use_rng };

	if (m->started[i])
		uses[i]();
}

/* Something arrives, if anybody hears; a boundary asks before, a lie may come without. */
static void arrive(void)
{
	static u8 bytes[PACKET_MAX + 100];
	u8 how = byte();
	u32 size = how & 1 ? word() % 2048 : 60;

	if (how & 2) {
		virtio_console_ops.input(&m->console, bytes, MIN(size, virtio_console_input_room(&m->console)));
	} else if (how & 8 && (virtio_net_takes_packets(&m->net) || how & 4)) {
		virtio_net_receive_packet(&m->net, bytes, how & 16 ? word() % sizeof(bytes) : size);
		total.packets_in++;
	} else if (virtio_net_can_receive(&m->net) || how & 4) {
		virtio_net_ops.input(&m->net, bytes, size);
		total.frames_in++;
	}
}

/* --- 4  lies -------------------------------------------------------------------------------- */

/* A field of a ring, or of an indirect table. */
static void lie_in_memory(unsigned i)
{
	u8 what = byte();
	struct vring *r = &m->d[i].ring[what % m->d[i].nqueues];
	u64 nth = r->size ? byte() % r->size : 0, desc = what & 2 ? r->desc + 16 * nth : r->tables + 16UL * (byte() + VRING_TABLE * nth);

	switch (what / 4 % 12) {
	case 0:
		vguest_set_word(&m->g, desc, 8, number());
		break;
	case 1:
		vguest_set_word(&m->g, desc + 8, 4, number());
		break;
	case 2:
		vguest_set_word(&m->g, desc + 12, 2, byte() % 8);
		break;
	case 3:
		vguest_set_word(&m->g, desc + 14, 2, number());
		break;
	case 4:
		vguest_set_word(&m->g, r->avail + 2, 2, number());
		break;
	case 5:
		vguest_set_word(&m->g, r->avail + 2, 2, r->next_avail + byte() % 4U);
		break;
	case 6:
		vguest_set_word(&m->g, r->avail + 4 + 2 * nth, 2, byte() % 20);
		break;
	case 7:
		vguest_set_word(&m->g, r->avail + (byte() & 1 ? 0 : 4 + 2UL * r->size), 2, number());
		break;
	case 8:
		vguest_set_word(&m->g, r->used + word() % 64, 4, number());
		break;
	case 9: /* a table where tables should not be */
		vguest_set_word(&m->g, desc, 8, r->desc + 16UL * (byte() % 16));
		vguest_set_word(&m->g, desc + 8, 4, 16U * (byte() % 18));
		vguest_set_word(&m->g, desc + 12, 2, 4 | byte() % 4);
		break;
	case 10: /* what a request says */
		vguest_set_word(&m->g, HEADERS + word() % 1024, 4, number());
		break;
	default: /* buffers on the rings themselves */
		vguest_set_word(&m->g, desc, 8, r->desc + word() % 0x3000);
		break;
	}
	if (what & 128)
		vdriver_kick(&m->d[i], (unsigned)(r - m->d[i].ring));
}

/* As many pieces as a table can have, and descriptors in front of it; or a loop. */
static void long_chain(unsigned i)
{
	u8 how = byte();
	unsigned n = byte() + 1U, queue = how % m->d[i].nqueues;
	struct vring *r = &m->d[i].ring[queue];
	u64 table = HEADERS + 0x8000;
	struct vbuffer b = { CHUNK_SIZE - 1 - byte() % 16U, byte() % 64U, how & 2 }, whole = { table, 16 * n, false };

	if (!r->size)
		return;
	for (unsigned k = 0; k < n; k++)
		put_desc(r, table + 16UL * k, &b, k + 1 < n || how & 128, (u16)((k + 1) % n));
	n = how / 8 % r->size;
	for (unsigned k = 0; k < n; k++)
		put_desc(r, r->desc + 16UL * k, &b, 1, (u16)(k + 1));
	put_desc(r, r->desc + 16UL * n, &whole, 4, 0);
	vguest_set_word(&m->g, r->avail + 4 + 2UL * (r->next_avail % r->size), 2, 0);
	vguest_set_word(&m->g, r->avail + 2, 2, ++r->next_avail);
	if (how & 4)
		virtio_net_ops.input(&m->net, m->storage, 1500);
	vdriver_kick(&m->d[i], queue);
}

/* Any access to any register. */
static void lie_in_registers(unsigned i)
{
	static const u32 bar_sizes[3] = { 0x80, 0x2000, 8 };
	u8 how = byte();
	unsigned bar = how % 3, size = 1U << how / 4 % 4;
	bool ports;
	u64 at, value;

	at = bar_at(&m->d[i], bar, &ports) + (how & 64 && bar == 1 ? byte() % 64U : word() % bar_sizes[bar]);
	if (how & 128) {
		if (ports)
			(void)vguest_in(&m->g, at & 0xffff, MIN(size, 4U));
		else
			(void)vguest_load(&m->g, at, size);
		return;
	}
	value = number();
	if (ports)
		vguest_out(&m->g, at & 0xffff, MIN(size, 4U), value);
	else
		vguest_store(&m->g, at, size, value);
}

static void lie_in_config_space(unsigned i)
{
	u8 how = byte();
	unsigned reg = how & 1 ? byte() : 4U * (byte() % 16), size = 1U << how / 2 % 3;

	m->moved = true;
	if (how & 64)
		(void)vguest_config(&m->g, devices[i].slot, reg, size);
	else
		vguest_set_config(&m->g, devices[i].slot, reg, size, (u32)number());
}

/* Rule 3: into itself, by way of a buffer. */
static void save_and_load(unsigned i)
{
	static u8 before[16384], after[16384];
	struct state_walk w = state_save_to(before, sizeof(before));
	size_t size;

	devices[i].ops->state(device(i), &w);
	CHECK(!w.error);
	size = w.pos;
	w = state_load_from(before, size);
	devices[i].ops->state(device(i), &w);
	CHECK(!w.error && w.pos == size);
	w = state_save_to(after, sizeof(after));
	devices[i].ops->state(device(i), &w);
	CHECK(!w.error && w.pos == size && !memcmp(before, after, size));
}

/* A damaged state: taken or refused, and what it leaves is still a device. */
static void damage_state(unsigned i)
{
	static u8 bytes[16384];
	struct state_walk w = state_save_to(bytes, sizeof(bytes));

	devices[i].ops->state(device(i), &w);
	bytes[word() % w.pos] = byte();
	w = state_load_from(bytes, w.pos);
	devices[i].ops->state(device(i), &w);
}

/* --- 5  an input ------------------------------------------------------------------------------ */

static void act(u8 action)
{
	unsigned i = action / 32 % NDEVICES;

	switch (action % 32) {
	case 0:
		start(i);
		break;
	case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8: case 9:
		use(i);
		break;
	case 10: case 11: case 12:
		vguest_run(&m->g, word() * 4UL);
		break;
	case 13: case 14:
		arrive();
		break;
	case 15:
		save_and_load(i);
		break;
	case 16:
		vdriver_kick(&m->d[i], byte() % 4);
		break;
	case 17:
		if (m->started[i])
			vring_want_interrupts(&m->d[i].ring[byte() % m->d[i].nqueues], byte() & 1);
		break;
	case 18:
		virtio_net_set_link(&m->net, byte() & 1);
		break;
	case 19:
		vdriver_reset(&m->d[i]);
		m->started[i] = false;
		break;
	case 20:
		m->storage_fails = !m->honest && byte() & 1;
		break;
	case 21:
		if (!m->honest && m->started[i])
			long_chain(i);
		break;
	case 22: case 23: case 24: case 25:
		if (!m->honest && m->started[i])
			lie_in_memory(i);
		break;
	case 26: case 27: case 28:
		if (!m->honest)
			lie_in_registers(i);
		break;
	case 29:
		if (!m->honest)
			lie_in_config_space(i);
		break;
	case 30:
		if (!m->honest && byte() % 8 == 0)
			damage_state(i);
		break;
	default:
		if (m->started[i])
			vguest_store(&m->g, m->d[i].notify[1] + m->d[i].notify_each * (byte() % 3U), 2, 0);
		break;
	}
}

/* As the standard and PCI have it, not as the device does. */
static bool may_work(const struct virtio *v)
{
	return v->status & VIRTIO_DRIVER_OK && !(v->status & (VIRTIO_NEEDS_RESET | VIRTIO_FAILED)) && v->fn.config[4] & PCI_COMMAND_MASTER;
}

/* Rule 2: kicked, and given time and frames, they do nothing at all. */
static void check_idle_devices(void)
{
	unsigned nframes = m->nframes, nbytes = m->nbytes, nanswers = m->nanswers;
	bool idle[NDEVICES];

	for (unsigned i = 0; i < NDEVICES; i++) {
		idle[i] = !may_work(common_of(i));
		total.broken += !!(common_of(i)->status & VIRTIO_NEEDS_RESET);
		for (unsigned queue = 0; idle[i] && queue < 2; queue++)
			vdriver_kick(&m->d[i], queue);
	}
	vguest_run(&m->g, 10000000);
	CHECK(!m->g.nrequests); /* the host has memory: what is not RAM must be found out before it is asked for */
	CHECK(!idle[NET] || m->nframes == nframes);
	CHECK(!idle[CONSOLE] || m->nbytes == nbytes);
	CHECK(!idle[BLK] || m->nanswers == nanswers);
	for (unsigned i = 0; m->honest && i < NDEVICES; i++)
		CHECK(!(common_of(i)->status & VIRTIO_NEEDS_RESET));
	if (m->honest && m->started[NET])
		CHECK(m->nframes + m->net.nlost_tx == m->noffered);
}

/* Rule 5: what was hashed before is still true where nothing is marked. */
static void check_marks(void)
{
	u64 n = 0;

	(void)guestmem_digest(&m->g.mem, &n);
	for (unsigned i = 0; i < m->g.mem.nchunks; i++) {
		struct chunk_info *c = m->g.mem.chunk[i];

		for (unsigned page = 0; c && page < CHUNK_PAGES; page++)
			CHECK(c->hash[page] == guestmem_page_term(&m->g.mem, c->data + page * PAGE_SIZE, i * CHUNK_PAGES + page));
	}
}

/* The machine at its end, to the last byte. */
static u64 digest(void)
{
	struct state_walk w = state_digest();
	u64 n = 0;

	for (unsigned i = 0; i < NDEVICES; i++)
		devices[i].ops->state(device(i), &w);
	pci_ops.state(&m->g.pci, &w);
	return w.digest ^ guestmem_digest(&m->g.mem, &n);
}

static void run(const u8 *data, size_t size)
{
	for (unsigned i = 0; i < NDEVICES; i++)
		m->d[i] = found[i];

	begin(data, size);
	m->net.nlost_tx = 0;
	m->honest = byte() & 1;
	total.honest += m->honest;
	while (m->size) {
		act(byte());
		total.actions++;
	}
	check_idle_devices();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static unsigned nth;
	u64 first;

	if (!m)
		make_machine();
	run(data, size);
	if (++nth % 16 == 0) {
		first = digest();
		run(data, size);
		CHECK(digest() == first); /* rule 4 */
	}
	if (nth % 256 == 0)
		check_marks();
	return 0;
}

#ifdef STANDALONE

/* Devices are started first, mostly; then anything. */
static size_t make_up(u8 *buf, size_t room)
{
	size_t size = 20 + rnd() % (room - 20), n = 1;

	for (size_t i = 0; i < size; i++)
		buf[i] = (u8)rnd();
	for (u32 k = rnd() % 6, first = rnd(); k; k--) {
		buf[n] = (u8)((first + k) % NDEVICES * 32);
		n += 2;
	}
	return size;
}

int main(int argc, char **argv)
{
	unsigned long runs = fuzz_runs(argc, argv);
	static u8 buf[240];

	for (unsigned long i = 0; i < runs; i++)
		LLVMFuzzerTestOneInput(buf, make_up(buf, sizeof(buf)));
	printf("fuzz_virtq: %lu guests, %lu honest; %lu actions, %lu starts, %lu requests done, %lu devices broken, "
	       "%lu frames in, %lu out, %lu packets in, %lu out\n", runs, total.honest, total.actions, total.starts, total.done, total.broken,
	       total.frames_in, total.frames_out, total.packets_in, total.packets_out);
	return 0;
}

#endif
