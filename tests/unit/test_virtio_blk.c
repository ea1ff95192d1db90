/*
 * test_virtio_blk.c - a disk as its driver sees it: what is read and written, when, and what
 * becomes of errors, of the host's and the guest's.
 */
#include "tests/unit/device_check.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/dev/virtio_blk.h"

#define SLOT 1
#define RINGS 0x10000UL
#define HEADER 0x80000UL    /* and status, 64 bytes a request */
#define DATA 0x100000UL
#define NSECTORS 8192UL /* two regions of the overlay */
#define FLUSH BIT(9)
#define ALL (~0UL)

enum { IN = 0, OUT = 1, T_FLUSH = 4, GET_ID = 8 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

/* A machine with one disk, whose storage fails as it is told. */
struct rig {
	struct vguest g;
	struct disk disk;
	struct virtio_blk blk;
	struct vdriver d;
	u8 *storage;
	unsigned nreads, nwrites, nflushes, nasked;
	bool broken_storage;
	err_t host_said;     /* what the last question was about */
	bool hide_errors;    /* answer OK whatever the host says */
	bool pretend_error;  /* answer ERR_IO whatever the host says */
	unsigned ntold;      /* sectors that a shared disk's writes were told of */
	u64 told_from;       /* the first of them */
	u8 told[16 * DISK_SECTOR];
};

static err_t base_read(void *ctx, u64 sector, void *buf, u32 n)
{
	struct rig *r = ctx;

	cr_assert(sector + n <= NSECTORS);
	r->nreads++;
	if (r->broken_storage) {
		memset(buf, 0xbb, n * DISK_SECTOR / 2); /* half of it came */
		return ERR_IO;
	}
	memcpy(buf, r->storage + sector * DISK_SECTOR, n * DISK_SECTOR);
	return OK;
}

static err_t base_write(void *ctx, u64 sector, const void *buf, u32 n)
{
	struct rig *r = ctx;

	r->nwrites++;
	if (r->broken_storage)
		return ERR_IO;
	memcpy(r->storage + sector * DISK_SECTOR, buf, n * DISK_SECTOR);
	return OK;
}

static err_t base_flush(void *ctx)
{
	struct rig *r = ctx;

	r->nflushes++;
	return r->broken_storage ? ERR_IO : OK;
}

static err_t on_question(void *ctx, unsigned disk, err_t host)
{
	struct rig *r = ctx;

	cr_assert_eq(disk, 5);
	r->nasked++;
	r->host_said = host;
	if (r->pretend_error)
		return ERR_IO;
	return r->hide_errors ? OK : host;
}

static void on_wrote(void *ctx, unsigned disk, u64 sector, const void *data, u32 n)
{
	struct rig *r = ctx;

	cr_assert(disk == 5 && n && r->ntold + n <= 16);
	cr_assert(!r->ntold || sector == r->told_from + r->ntold, "in their order");
	if (!r->ntold)
		r->told_from = sector;
	memcpy(r->told + r->ntold * DISK_SECTOR, data, n * DISK_SECTOR);
	r->ntold += n;
}

static void rig_init(struct rig *r, enum disk_mode mode)
{
	struct disk_config c = { .nsectors = NSECTORS, .mode = mode, .room_bytes = 2 * CHUNK_SIZE,
				 .base = { base_read, base_write, base_flush, r } };

	memset(r, 0, sizeof(*r));
	vguest_init(&r->g);
	r->storage = malloc(NSECTORS * DISK_SECTOR);
	cr_assert_not_null(r->storage);
	for (u64 i = 0; i < NSECTORS * DISK_SECTOR; i++)
		r->storage[i] = (u8)(i / DISK_SECTOR + i);
	cr_assert_eq(disk_init(&r->disk, &c, &r->g.mem.source), OK);
	virtio_blk_init(&r->blk, &r->g.env, SLOT, 5, &r->disk, (struct blk_board){ on_question, on_wrote, r });
	cr_assert(vdriver_find(&r->d, &r->g, SLOT));
}

static void rig_free(struct rig *r)
{
	for (unsigned i = 0; i < r->disk.overlay.nchunks; i++)
		if (r->disk.overlay.chunk[i]) {
			free(r->disk.overlay.chunk[i]->data);
			free(r->disk.overlay.chunk[i]);
		}
	free(r->storage);
	vguest_free(&r->g);
}

static struct rig rig;

static void setup(void)
{
	rig_init(&rig, DISK_COW);
	cr_assert(vdriver_start(&rig.d, ALL, false, true, RINGS));
}

static void teardown(void)
{
	rig_free(&rig);
}

static void again(enum disk_mode mode, u64 features, bool legacy)
{
	rig_free(&rig);
	rig_init(&rig, mode);
	cr_assert(vdriver_start(&rig.d, features, legacy, true, RINGS));
}

TestSuite(virtio_blk, .init = setup, .fini = teardown);

/* A request with its data cut into pieces of these sizes; its head. */
static int request_in(struct rig *r, u32 type, u64 sector, u64 data, const u32 *sizes, unsigned n)
{
	u16 slot = r->d.ring[0].free_head;
	u64 header = HEADER + 64UL * slot;
	struct vbuffer b[VIRTQ_MAX_SIZE];

	vguest_set_word(&r->g, header, 8, type);
	vguest_set_word(&r->g, header + 8, 8, sector);
	vguest_set_word(&r->g, header + 16, 1, 0xee);
	b[0] = (struct vbuffer){ header, 16, false };
	for (unsigned i = 0; i < n; data += sizes[i++])
		b[1 + i] = (struct vbuffer){ data, sizes[i], type != OUT };
	b[1 + n] = (struct vbuffer){ header + 16, 1, true };
	return vring_add(&r->d.ring[0], b, n + 2);
}

static int submit(struct rig *r, u32 type, u64 sector, u64 data, u32 size)
{
	int head = request_in(r, type, sector, data, &size, size != 0);

	cr_assert_geq(head, 0);
	vdriver_kick_if_wanted(&r->d, 0);
	return head;
}

static u8 status_of(struct rig *r, int head)
{
	return (u8)vguest_word(&r->g, HEADER + 64UL * (u64)head + 16, 1);
}

/* Submits, waits, takes back: the status, and what was written. */
static u8 finish(struct rig *r, int head, u32 *written)
{
	u32 n;
	u16 got;

	cr_assert_geq(head, 0);
	vdriver_kick_if_wanted(&r->d, 0);
	vguest_run(&r->g, 1000000000);
	cr_assert(vring_used(&r->d.ring[0], &got, &n), "nothing came back");
	cr_assert_eq(got, head);
	if (written)
		*written = n;
	return status_of(r, head);
}

static u8 run(struct rig *r, u32 type, u64 sector, u64 data, u32 size, u32 *written)
{
	return finish(r, request_in(r, type, sector, data, &size, size != 0), written);
}

static bool same(struct rig *r, u64 at, const void *want, u64 size)
{
	u8 *got = malloc(size);
	bool equal;

	cr_assert(vguest_get(&r->g, at, got, size));
	equal = !memcmp(got, want, size);
	free(got);
	return equal;
}

/* --- reading and writing --- */

Test(virtio_blk, what_it_says_it_is)
{
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0, 4), 0x10011af4);
	cr_assert_eq(vguest_config(&rig.g, SLOT, 0x2e, 2), 2);
	for (int legacy = 0; legacy < 2; legacy++) {
		again(DISK_COW, ALL, legacy);
		cr_assert_eq(vdriver_read_config(&rig.d, 0, 4), NSECTORS);
		cr_assert_eq(vdriver_read_config(&rig.d, 4, 4), 0);
		cr_assert_eq(vdriver_read_config(&rig.d, 8, 4), BLK_SIZE_MAX);
		cr_assert_eq(vdriver_read_config(&rig.d, 12, 4), BLK_SEG_MAX);
		cr_assert_eq(vdriver_read_config(&rig.d, 20, 4), 512);
		cr_assert_eq(vdriver_offered(&rig.d, legacy) & 0x7fff, BIT(1) | BIT(2) | BIT(6) | BIT(9));
	}
	again(DISK_RO, ALL, false);
	cr_assert_eq(vdriver_offered(&rig.d, false) & 0x7fff, BIT(1) | BIT(2) | BIT(5) | BIT(6) | BIT(9));
}

Test(virtio_blk, reads_what_is_there)
{
	u32 written;

	cr_assert_eq(run(&rig, IN, 7, DATA, 2048, &written), S_OK);
	cr_assert_eq(written, 2049);
	cr_assert(same(&rig, DATA, rig.storage + 7 * 512, 2048));
	cr_assert_eq(vguest_word(&rig.g, DATA + 2048, 8), 0);
	cr_assert_eq(rig.nreads, 1, "in one piece");
	cr_assert_eq(rig.g.nmessages[0], 1);
	cr_assert_eq(run(&rig, IN, NSECTORS - 1, DATA, 512, NULL), S_OK);
	cr_assert_eq(run(&rig, IN, NSECTORS, DATA, 0, &written), S_OK, "nothing, at the very end");
	cr_assert_eq(written, 1);
}

Test(virtio_blk, writes_stay_in_the_overlay)
{
	u8 text[1024];
	u32 written;

	memset(text, 't', sizeof(text));
	vguest_put(&rig.g, DATA, text, sizeof(text));
	cr_assert_eq(run(&rig, OUT, 100, DATA, 1024, &written), S_OK);
	cr_assert_eq(written, 1);
	cr_assert_eq(run(&rig, IN, 99, DATA + 0x2000, 2048, NULL), S_OK);
	cr_assert(same(&rig, DATA + 0x2000, rig.storage + 99 * 512, 512));
	cr_assert(same(&rig, DATA + 0x2200, text, 1024));
	cr_assert(same(&rig, DATA + 0x2600, rig.storage + 102 * 512, 512));
	cr_assert_eq(rig.nwrites, 0);
}

/* Any legal cut of the same bytes into descriptors is the same request [VIRTIO 2.7.4 Message Framing]. */
/* What is written to a shared disk lies in the overlay, and leaves the machine once, as whole sectors. */
Test(virtio_blk, a_shared_disks_writes_are_outputs)
{
	static const u32 cut[] = { 100, 1436, 512 };
	u8 want[4 * DISK_SECTOR];

	again(DISK_SHARED, ALL, false);
	for (u32 i = 0; i < sizeof(want); i++)
		want[i] = (u8)(i * 7 + 3);
	vguest_put(&rig.g, DATA, want, sizeof(want));
	cr_assert_eq(finish(&rig, request_in(&rig, OUT, 40, DATA, cut, 3), NULL), S_OK);
	cr_assert(rig.ntold == 4 && rig.told_from == 40 && rig.nwrites == 0, "%u from %lu", rig.ntold, rig.told_from);
	cr_assert_arr_eq(rig.told, want, sizeof(want));
	cr_assert_eq(disk_written(&rig.disk), 4);
	cr_assert_eq(run(&rig, IN, 40, DATA + 0x10000, sizeof(want), NULL), S_OK);
	cr_assert(same(&rig, DATA + 0x10000, want, sizeof(want)) && rig.nreads == 0 && rig.ntold == 4);
	cr_assert_eq(run(&rig, T_FLUSH, 0, 0, 0, NULL), S_OK);
	cr_assert_eq(run(&rig, OUT, NSECTORS, DATA, DISK_SECTOR, NULL), S_IOERR);
	cr_assert(rig.ntold == 4 && rig.nflushes == 0, "what was not written is not told");
}

Test(virtio_blk, cuts_do_not_matter)
{
	u64 seed = 12345;
	u8 *model = malloc(NSECTORS * DISK_SECTOR);

	memcpy(model, rig.storage, NSECTORS * DISK_SECTOR);
	for (unsigned round = 0; round < 3000; round++) {
		u32 nsectors = 1 + (u32)(check_random(&seed) % 16), left = nsectors * 512, sizes[14];
		u64 sector = check_random(&seed) % (NSECTORS - nsectors);
		u64 at = DATA + check_random(&seed) % 0x100000;
		bool out = check_random(&seed) & 1;
		unsigned n = 0;

		if (round % 8 == 0)
			at = CHUNK_SIZE - 700; /* two pieces of host memory */
		while (left) {
			u32 cut = n == 13 ? left : 1 + (u32)(check_random(&seed) % MIN(left, 3000U));

			sizes[n++] = cut;
			left -= cut;
		}
		for (u32 i = 0; out && i < nsectors * 512; i += 8)
			vguest_set_word(&rig.g, at + i, 8, check_random(&seed));
		cr_assert_eq(finish(&rig, request_in(&rig, out ? OUT : IN, sector, at, sizes, n), NULL), S_OK);
		if (out)
			cr_assert(vguest_get(&rig.g, at, model + sector * 512, nsectors * 512));
		else
			cr_assert(same(&rig, at, model + sector * 512, nsectors * 512), "round %u", round);
	}
	free(model);
}

/* Header and status in one descriptor with data: drivers may. */
Test(virtio_blk, header_and_data_in_one_descriptor)
{
	const struct vbuffer out[] = { { HEADER, 16 + 512, false }, { HEADER + 0x1000, 1, true } };
	const struct vbuffer in[] = { { HEADER, 9, false }, { HEADER + 9, 7, false }, { HEADER + 0x2000, 513, true } };
	u8 text[512];
	u16 head;
	u32 n;

	memset(text, 'x', sizeof(text));
	vguest_set_word(&rig.g, HEADER, 8, OUT);
	vguest_set_word(&rig.g, HEADER + 8, 8, 3);
	vguest_put(&rig.g, HEADER + 16, text, 512);
	vring_add(&rig.d.ring[0], out, 2);
	vdriver_kick(&rig.d, 0);
	vguest_run(&rig.g, 1000000);
	cr_assert(vring_used(&rig.d.ring[0], &head, &n) && n == 1);
	vguest_set_word(&rig.g, HEADER, 8, IN);
	vguest_set_word(&rig.g, HEADER + 0x2200, 1, 0xee);
	vring_add(&rig.d.ring[0], in, 3);
	vdriver_kick(&rig.d, 0);
	vguest_run(&rig.g, 1000000);
	cr_assert(vring_used(&rig.d.ring[0], &head, &n) && n == 513);
	cr_assert(same(&rig, HEADER + 0x2000, text, 512));
	cr_assert_eq(vguest_word(&rig.g, HEADER + 0x2200, 1), S_OK);
}

Test(virtio_blk, its_serial_number)
{
	u32 written;

	cr_assert_eq(run(&rig, GET_ID, 0, DATA, 20, &written), S_OK);
	cr_assert_eq(written, 21);
	cr_assert(same(&rig, DATA, "reprise-disk5\0\0\0\0\0\0\0", 20));
	vguest_set_word(&rig.g, DATA + 4, 4, 0);
	cr_assert_eq(run(&rig, GET_ID, 0, DATA, 4, &written), S_OK);
	cr_assert_eq(written, 5);
	cr_assert_eq(vguest_word(&rig.g, DATA + 4, 4), 0, "no more than there is room for");
}

Test(virtio_blk, flushes)
{
	cr_assert_eq(run(&rig, T_FLUSH, 0, DATA, 0, NULL), S_OK);
	cr_assert_eq(rig.nflushes, 0, "an overlay has nothing to flush");
	again(DISK_THROUGH, ALL, false);
	cr_assert_eq(run(&rig, OUT, 4, DATA, 512, NULL), S_OK);
	cr_assert(rig.nwrites == 1 && rig.nflushes == 0);
	cr_assert_eq(run(&rig, T_FLUSH, 0, DATA, 0, NULL), S_OK);
	cr_assert_eq(rig.nflushes, 1);
	again(DISK_THROUGH, ALL & ~FLUSH, false);
	cr_assert_eq(run(&rig, OUT, 4, DATA, 512, NULL), S_OK);
	cr_assert_eq(rig.nflushes, 1, "a driver that cannot flush writes through");
}

/* --- time --- */

static u64 transfer_ns(u64 bytes)
{
	return 1 + bytes * 1000 / BLK_BYTES_PER_US;
}

Test(virtio_blk, completes_at_its_instant)
{
	int head;

	rig.g.clock.now_ns = 777;
	head = submit(&rig, IN, 0, DATA, 4096);
	cr_assert_eq(vclock_next(&rig.g.clock), 777 + BLK_ACCESS_NS + transfer_ns(4096));
	vguest_run(&rig.g, BLK_ACCESS_NS + transfer_ns(4096) - 1);
	cr_assert_eq(status_of(&rig, head), 0xee);
	cr_assert_eq(vguest_word(&rig.g, DATA + 8, 8), 0, "nothing has come yet");
	cr_assert_eq(rig.nreads, 0);
	vguest_run(&rig.g, 1);
	cr_assert_eq(status_of(&rig, head), S_OK);
	cr_assert_neq(vguest_word(&rig.g, DATA + 8, 8), 0);
	cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
}

/* Many at once: one access, then one transfer after the other. */
Test(virtio_blk, transfers_queue_up)
{
	int heads[4];
	u64 at = BLK_ACCESS_NS;

	for (unsigned i = 0; i < 4; i++)
		heads[i] = submit(&rig, IN, i * 8, DATA + 0x1000 * i, 4096);
	for (unsigned i = 0; i < 4; i++) {
		at += transfer_ns(4096);
		cr_assert_eq(vclock_next(&rig.g.clock), at);
		vguest_run(&rig.g, at - rig.g.clock.now_ns);
		for (unsigned k = 0; k < 4; k++)
			cr_assert_eq(status_of(&rig, heads[k]), k <= i ? S_OK : 0xee);
	}
	/* a later one has an access of its own */
	vguest_run(&rig.g, 1000);
	submit(&rig, IN, 0, DATA, 512);
	cr_assert_eq(vclock_next(&rig.g.clock), at + 1000 + BLK_ACCESS_NS + transfer_ns(512));
}

Test(virtio_blk, what_is_written_is_what_lies_there_at_the_completion)
{
	int head;
	u16 got;
	u32 n;

	vguest_set_word(&rig.g, DATA, 8, 0x1111);
	head = submit(&rig, OUT, 9, DATA, 512);
	vguest_set_word(&rig.g, DATA, 8, 0x2222);
	vguest_run(&rig.g, 1000000);
	cr_assert(vring_used(&rig.d.ring[0], &got, &n) && got == head);
	cr_assert_eq(status_of(&rig, head), S_OK);
	cr_assert_eq(run(&rig, IN, 9, DATA + 0x1000, 512, NULL), S_OK);
	cr_assert_eq(vguest_word(&rig.g, DATA + 0x1000, 8), 0x2222);
}

/* With timers that come late several are due: still one an instant, so that an answer has a point of its own. */
static u64 asked_at[64];

static err_t note_instant(void *ctx, unsigned disk unused_arg, err_t host)
{
	struct rig *r = ctx;

	asked_at[r->nasked++] = r->g.clock.now_ns;
	return host;
}

Test(virtio_blk, no_two_at_one_instant)
{
	rig.blk.board.answer = note_instant;
	vclock_set_jitter(&rig.g.clock, 50000, 3);
	for (unsigned i = 0; i < 40; i++)
		submit(&rig, IN, i, DATA, 512);
	vguest_run(&rig.g, 1000000000);
	cr_assert_eq(rig.nasked, 40);
	for (unsigned i = 1; i < 40; i++)
		cr_assert_gt(asked_at[i], asked_at[i - 1]);
	/* the loop looks at 1000, and all are due: as a machine of 1 us an instruction would find it */
	rig.nasked = 0;
	vclock_set_jitter(&rig.g.clock, 0, 0);
	for (unsigned i = 0; i < 40; i++)
		submit(&rig, IN, i, DATA, 512);
	rig.g.clock.now_ns += 1000000;
	vclock_run(&rig.g.clock);
	cr_assert_eq(rig.nasked, 1);
}

/* --- errors --- */

Test(virtio_blk, beyond_the_end)
{
	static const struct { u64 sector; u32 size; } cases[] = {
		{ NSECTORS, 512 }, { NSECTORS - 1, 1024 }, { ~0UL, 512 }, { ~0UL - 1, 2048 }, { 1UL << 55, 512 }, { NSECTORS + 1, 0 },
		{ 0, 511 }, { 0, 513 }, { 0, 1 },
	};

	vguest_set_word(&rig.g, DATA, 8, 0x1234);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (u32 type = IN; type <= OUT; type++) {
			u32 written;

			cr_assert_eq(run(&rig, type, cases[i].sector, DATA, cases[i].size, &written), S_IOERR, "case %zu", i);
			cr_assert_eq(written, 1);
		}
	cr_assert_eq(vguest_word(&rig.g, DATA, 8), 0x1234, "untouched");
	cr_assert_eq(rig.nasked, 0, "the host has no part in it");
	cr_assert_eq(run(&rig, IN, 0, DATA, 512, NULL), S_OK, "and the disk goes on");
}

/* More than any driver may ask at once, over and over the same memory. */
Test(virtio_blk, too_much_at_once)
{
	static struct vbuffer b[BLK_QUEUE_SIZE] = { { HEADER, 16, false } };

	vguest_set_word(&rig.g, HEADER, 8, IN);
	for (unsigned i = 1; i < BLK_QUEUE_SIZE - 1; i++)
		b[i] = (struct vbuffer){ DATA, MIB(2), true };
	b[BLK_QUEUE_SIZE - 1] = (struct vbuffer){ HEADER + 16, 1, true };
	cr_assert_geq(vring_add(&rig.d.ring[0], b, BLK_QUEUE_SIZE), 0);
	vdriver_kick(&rig.d, 0);
	vguest_run(&rig.g, 1000000000);
	cr_assert_eq(vguest_word(&rig.g, HEADER + 16, 1), S_IOERR);
	cr_assert_eq(rig.nreads, 0);
}

Test(virtio_blk, read_only)
{
	again(DISK_RO, ALL, false);
	cr_assert_eq(run(&rig, OUT, 0, DATA, 512, NULL), S_IOERR);
	cr_assert_eq(rig.nasked, 0);
	cr_assert_eq(run(&rig, IN, 0, DATA, 512, NULL), S_OK);
	cr_assert_eq(run(&rig, T_FLUSH, 0, DATA, 0, NULL), S_OK);
}

Test(virtio_blk, the_overlay_is_full)
{
	rig.disk.overlay.nchunks--; /* of the two regions one has room */
	cr_assert_eq(run(&rig, OUT, 0, DATA, 512, NULL), S_OK);
	cr_assert_eq(run(&rig, OUT, DISK_REGION_SECTORS - 1, DATA, 512, NULL), S_OK);
	rig.nasked = 0;
	cr_assert_eq(run(&rig, OUT, DISK_REGION_SECTORS, DATA, 512, NULL), S_IOERR);
	cr_assert_eq(rig.nasked, 0, "the same in every run");
	cr_assert_eq(run(&rig, OUT, 5, DATA, 512, NULL), S_OK);
	rig.disk.overlay.nchunks++;
}

Test(virtio_blk, requests_nobody_knows)
{
	static const u32 types[] = { 2, 3, 5, 11, 13, 0x80000000, 0xffffffff };
	u32 written;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		cr_assert_eq(run(&rig, types[i], 0, DATA, 512, &written), S_UNSUPP);
		cr_assert_eq(written, 1);
	}
	cr_assert_eq(rig.nasked, 0);
}

Test(virtio_blk, the_hosts_failure_is_answered)
{
	u8 zeros[4096] = { 0 };

	cr_assert_eq(run(&rig, IN, 0, DATA, 4096, NULL), S_OK);
	cr_assert(rig.nasked == 1 && rig.host_said == OK);
	rig.broken_storage = true;
	cr_assert_eq(run(&rig, IN, 0, DATA, 4096, NULL), S_IOERR);
	cr_assert(rig.nasked == 2 && rig.host_said == ERR_IO);
	cr_assert(same(&rig, DATA, zeros, 4096), "whatever had come of it is gone");
	/* in the replay the host may be well, and the answer is what it was */
	rig.broken_storage = false;
	rig.pretend_error = true;
	vguest_set_word(&rig.g, DATA, 8, 7);
	cr_assert_eq(run(&rig, IN, 0, DATA, 4096, NULL), S_IOERR);
	cr_assert(same(&rig, DATA, zeros, 4096));
	cr_assert_eq(run(&rig, OUT, 0, DATA, 4096, NULL), S_IOERR);
	cr_assert_eq(run(&rig, T_FLUSH, 0, DATA, 0, NULL), S_IOERR);
	cr_assert_eq(rig.nasked, 5);
	cr_assert_eq(run(&rig, GET_ID, 0, DATA, 20, NULL), S_OK);
	cr_assert_eq(rig.nasked, 5);
	rig.pretend_error = false;
	rig.broken_storage = rig.hide_errors = true;
	cr_assert_eq(run(&rig, IN, 0, DATA, 512, NULL), S_OK, "the board will have stopped the machine");
	rig.broken_storage = false;
	again(DISK_THROUGH, ALL, false);
	rig.broken_storage = true;
	cr_assert_eq(run(&rig, OUT, 0, DATA, 512, NULL), S_IOERR);
	cr_assert_eq(run(&rig, T_FLUSH, 0, DATA, 0, NULL), S_IOERR);
}

Test(virtio_blk, the_host_without_memory)
{
	submit(&rig, OUT, 0, DATA, 512);
	rig.g.chunks_left = 0; /* none for the overlay */
	vguest_run(&rig.g, 1000000);
	cr_assert_eq(rig.g.nrequests, 1);
}

/* --- liars --- */

static bool broken(void)
{
	return vdriver_status(&rig.d) & VIRTIO_NEEDS_RESET;
}

Test(virtio_blk, without_header_or_status)
{
	static const struct vbuffer cases[][2] = {
		{ { HEADER, 15, false }, { HEADER + 16, 1, true } },
		{ { HEADER, 16, false }, { HEADER + 16, 0, true } },
		{ { HEADER, 0, false }, { HEADER + 16, 513, true } },
		{ { HEADER, 100, true }, { HEADER + 100, 1, true } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_assert(vdriver_start(&rig.d, ALL, false, true, RINGS));
		vring_add(&rig.d.ring[0], cases[i], 2);
		vdriver_kick(&rig.d, 0);
		cr_assert(broken(), "case %zu", i);
		cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
	}
	cr_assert(vdriver_start(&rig.d, ALL, false, true, RINGS));
	cr_assert_eq(run(&rig, IN, 0, DATA, 512, NULL), S_OK);
}

Test(virtio_blk, more_outstanding_than_descriptors)
{
	const struct vring *ring = &rig.d.ring[0];

	submit(&rig, IN, 0, DATA, 512);
	for (u16 idx = 2; idx < BLK_QUEUE_SIZE + 1 && !broken(); idx++) {
		vguest_set_word(&rig.g, ring->avail + 2, 2, idx); /* the ring's zeros: head 0 again and again */
		vdriver_kick(&rig.d, 0);
	}
	cr_assert_not(broken());
	cr_assert_eq(rig.blk.nwaiting, BLK_QUEUE_SIZE);
	vguest_set_word(&rig.g, ring->avail + 2, 2, BLK_QUEUE_SIZE + 1);
	vdriver_kick(&rig.d, 0);
	cr_assert(broken());
	vguest_run(&rig.g, 1000000000);
	cr_assert_eq(rig.nreads, 0, "a broken disk does nothing");
}

/* The chain is checked again at its completion. */
Test(virtio_blk, a_chain_that_changes_while_it_waits)
{
	int head = submit(&rig, IN, 0, DATA, 512);
	u64 table = vguest_word(&rig.g, rig.d.ring[0].desc + 16UL * (u64)head, 8);

	vguest_set_word(&rig.g, table + 16, 8, VGUEST_MEMORY);
	vguest_run(&rig.g, 1000000);
	cr_assert(broken());
	cr_assert_eq(rig.g.nmessages[1], 1, "told by the configuration vector");
	vguest_run(&rig.g, 1000000000);
	cr_assert(vdriver_start(&rig.d, ALL, false, true, RINGS));
	head = submit(&rig, IN, 0, DATA, 512);
	table = vguest_word(&rig.g, rig.d.ring[0].desc + 16UL * (u64)head, 8);
	vguest_set_word(&rig.g, table + 8, 4, 3); /* a shorter header */
	vguest_run(&rig.g, 1000000);
	cr_assert(broken());
	cr_assert(vdriver_start(&rig.d, ALL, false, true, RINGS));
	/* another sector, another type: as good as any */
	head = submit(&rig, IN, 0, DATA, 512);
	vguest_set_word(&rig.g, HEADER + 64UL * (u64)head + 8, 8, 9);
	vguest_run(&rig.g, 1000000);
	cr_assert_eq(status_of(&rig, head), S_OK);
	cr_assert(same(&rig, DATA, rig.storage + 9 * 512, 512));
}

Test(virtio_blk, a_reset_forgets)
{
	int head = submit(&rig, IN, 0, DATA, 512);

	vdriver_reset(&rig.d);
	cr_assert_eq(vclock_next(&rig.g.clock), VTIMER_NEVER);
	vguest_run(&rig.g, 1000000);
	cr_assert_eq(status_of(&rig, head), 0xee);
	cr_assert_eq(rig.nreads, 0);
	cr_assert(vdriver_start(&rig.d, ALL, false, true, RINGS));
	cr_assert_eq(run(&rig, IN, 0, DATA, 512, NULL), S_OK);
}

Test(virtio_blk, kept_off_the_bus_it_waits)
{
	int head = submit(&rig, IN, 0, DATA, 512), other;

	vguest_set_config(&rig.g, SLOT, 4, 2, 3);
	vguest_run(&rig.g, 1000000);
	cr_assert_eq(status_of(&rig, head), 0xee);
	other = submit(&rig, IN, 1, DATA, 512);
	vguest_set_config(&rig.g, SLOT, 4, 2, 7);
	vguest_run(&rig.g, 0);
	cr_assert_eq(status_of(&rig, head), S_OK, "what was due at once");
	vguest_run(&rig.g, 1000000);
	cr_assert_eq(status_of(&rig, other), S_OK);
}

/* --- state --- */

static u64 poke(void *dev, u64 random)
{
	struct virtio_blk *b = dev;

	pci_ops.write(b->v.env.pci, IO_PORT, 0xcf8, 4, 0x80000000 | SLOT << 11 | (random >> 8 & 0xfc));
	if (random & 1)
		pci_ops.write(b->v.env.pci, IO_PORT, 0xcfc, 4, (random >> 8 & 0xfc) == 4 ? 7 : random >> 32);
	return pci_ops.read(b->v.env.pci, IO_PORT, 0xcfc, 4);
}

Test(virtio_blk, state)
{
	static const struct fuzz_range ranges[] = {
		{ IO_MEMORY, PCI_MEM_BASE + SLOT * PCI_MEM_SLOT, 64 }, { IO_PORT, PCI_IO_BASE + SLOT * PCI_IO_SLOT, 24 },
	};
	static const struct device_fuzz fuzz = { &virtio_blk_ops, ranges, ARRAY_SIZE(ranges), 100000, poke };
	static struct rig other;
	const struct virtio_blk *b = &rig.blk;
	const struct pci_function *f = &b->v.fn;
	size_t seen = sizeof(f->config) + sizeof(f->intx) + sizeof(f->pending) + sizeof(f->vector);

	vdriver_reset(&rig.d);
	seen += 2 + 1 + 3 * 8 + 3 * 2 + 2 + 2 + 8 + 4 + 4 + 2 + 3 + sizeof(b->nwaiting) + sizeof(b->timer.deadline_ns);
	check_device_visits_all(&virtio_blk_ops, &rig.blk, sizeof(rig.blk), sizeof(rig.blk) - seen);
	rig_init(&other, DISK_COW);
	check_device_fuzz(&fuzz, &rig.blk, &rig.g.clock, &other.blk, &other.g.clock, 5, 10000);
	cr_assert(vdriver_start(&rig.d, ALL, false, true, RINGS));
	for (unsigned i = 0; i < 5; i++)
		submit(&rig, IN, i, DATA, 512);
	check_device_damage(&fuzz, &rig.blk, &other.blk, &other.g.clock, 6, 3000);
	rig_free(&other);
}

/* Saved with requests outstanding, and gone on with elsewhere. */
Test(virtio_blk, state_with_requests_outstanding)
{
	static struct rig other;
	struct saved_device s;
	u64 n = 0;

	for (unsigned i = 0; i < 10; i++)
		run(&rig, OUT, i, DATA + i * 512, 512, NULL); /* so that the ring does not begin at its beginning */
	for (unsigned i = 0; i < 20; i++)
		submit(&rig, i & 1 ? OUT : IN, i, DATA + 0x1000 + i * 512, 512);
	vguest_run(&rig.g, BLK_ACCESS_NS + 3 * transfer_ns(512));
	cr_assert_eq(rig.blk.nwaiting, 17);
	rig_init(&other, DISK_COW);
	s = device_save(&virtio_blk_ops, &rig.blk);
	other.g.clock.now_ns = rig.g.clock.now_ns;
	device_load(&virtio_blk_ops, &other.blk, &s);
	free(s.bytes);
	check_device_roundtrip(&virtio_blk_ops, &rig.blk, &other.blk);
	vguest_copy_memory(&other.g, &rig.g);
	for (unsigned i = 0; i < rig.disk.overlay.nchunks; i++)
		if (rig.disk.overlay.chunk[i])
			cr_assert_eq(guestmem_write(&other.disk.overlay, GPA(i * CHUNK_SIZE), rig.disk.overlay.chunk[i]->data,
						    CHUNK_SIZE), OK);
	for (unsigned i = 0; i < 40; i++) {
		vguest_run(&rig.g, 1000);
		vguest_run(&other.g, 1000);
		check_device_same(&virtio_blk_ops, &rig.blk, &other.blk);
	}
	cr_assert_eq(rig.blk.nwaiting, 0);
	cr_assert_eq(guestmem_digest(&rig.g.mem, &n), guestmem_digest(&other.g.mem, &n));
	cr_assert_eq(guestmem_digest(&rig.disk.overlay, &n), guestmem_digest(&other.disk.overlay, &n));
	rig_free(&other);
}

Test(virtio_blk, too_many_in_a_damaged_state)
{
	struct saved_device s;
	struct state_walk w;

	rig.blk.nwaiting = BLK_QUEUE_SIZE;
	s = device_save(&virtio_blk_ops, &rig.blk);
	w = state_load_from(s.bytes, s.size);
	device_walk(&virtio_blk_ops, &rig.blk, &w);
	cr_assert_eq(w.error, OK);
	for (size_t i = 0; i + 4 <= s.size; i++)
		if (read_bytes_le(s.bytes + i, 4) == BLK_QUEUE_SIZE && i + 4 + BLK_QUEUE_SIZE * 10 + 8 == s.size)
			s.bytes[i]++;
	w = state_load_from(s.bytes, s.size);
	device_walk(&virtio_blk_ops, &rig.blk, &w);
	cr_assert_eq(w.error, ERR_DAMAGED);
	cr_assert_eq(rig.blk.nwaiting, 0);
	free(s.bytes);
}
