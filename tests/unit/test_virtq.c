/*
 * test_virtq.c - split virtqueues: what drivers may do, and every lie they may tell.
 */
#include <criterion/criterion.h>

#include "tests/unit/virtio_driver.h"

#define RINGS 0x10000UL
#define DATA 0x100000UL
#define SIZE 16

enum { F_NEXT = 1, F_WRITE = 2, F_INDIRECT = 4 };

static struct vguest guest;
static struct virtq q;
static struct vring ring;
static struct virtq_chain *c;
static u64 features;

static void start(u64 wanted)
{
	features = wanted;
	vring_init(&ring, &guest, RINGS, SIZE, wanted & VIRTIO_F_RING_EVENT_IDX, wanted & VIRTIO_F_RING_INDIRECT_DESC);
	virtq_init(&q, &guest.mem, &features, SIZE);
	q.desc = ring.desc;
	q.avail = ring.avail;
	q.used = ring.used;
	cr_assert_eq(virtq_enable(&q), OK);
}

static void setup(void)
{
	vguest_init(&guest);
	c = &guest.room;
	start(VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_INDIRECT_DESC);
}

static void teardown(void)
{
	vguest_free(&guest);
}

TestSuite(virtq, .init = setup, .fini = teardown);

/* --- where rings may be --- */

static err_t enable_at(u16 size, u64 desc, u64 avail, u64 used)
{
	virtq_reset(&q);
	q.size = size;
	q.desc = desc;
	q.avail = avail;
	q.used = used;
	return virtq_enable(&q);
}

Test(virtq, rings_are_where_they_can_be)
{
	cr_assert_eq(enable_at(SIZE, RINGS, RINGS + 0x1000, RINGS + 0x2000), OK);
	cr_assert_eq(enable_at(1, RINGS, RINGS + 0x1000, RINGS + 0x2000), OK);
	cr_assert_eq(enable_at(0, RINGS, RINGS + 0x1000, RINGS + 0x2000), ERR_INVALID);
	cr_assert_eq(enable_at(12, RINGS, RINGS + 0x1000, RINGS + 0x2000), ERR_INVALID, "a power of two");
	cr_assert_eq(enable_at(32, RINGS, RINGS + 0x1000, RINGS + 0x2000), ERR_INVALID, "larger than offered");
	cr_assert_eq(enable_at(SIZE, RINGS + 8, RINGS + 0x1000, RINGS + 0x2000), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, RINGS + 0x1001, RINGS + 0x2000), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, RINGS + 0x1002, RINGS + 0x2002), ERR_INVALID);
	/* to the last byte of RAM and of what is below video memory */
	cr_assert_eq(enable_at(SIZE, VGUEST_MEMORY - 256, RINGS, RINGS + 0x2000), OK);
	cr_assert_eq(enable_at(SIZE, VGUEST_MEMORY - 240, RINGS, RINGS + 0x2000), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, VIDEO_START - 38, RINGS + 0x2000), OK);
	cr_assert_eq(enable_at(SIZE, RINGS, VIDEO_START - 36, RINGS + 0x2000), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, RINGS + 0x1000, VIDEO_START - 132), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, RINGS + 0x1000, VIDEO_START), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, RINGS + 0x1000, VIDEO_END), OK);
	cr_assert_eq(enable_at(SIZE, ~15UL, RINGS, RINGS + 0x2000), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, ~1UL, RINGS + 0x2000), ERR_INVALID);
	cr_assert_eq(enable_at(SIZE, RINGS, RINGS + 0x1000, ~3UL), ERR_INVALID);
	cr_assert(!q.enabled);
}

Test(virtq, a_queue_that_is_not_enabled_is_empty)
{
	u16 n;

	virtq_reset(&q);
	cr_assert(virtq_count(&q, &n) == OK && n == 0);
	cr_assert_eq(virtq_look(&q, 0, c), ERR_END);
	cr_assert_eq(virtq_chain_at(&q, 0, c), ERR_INVALID);
	cr_assert_eq(virtq_fill(&q, 0, 0, 0), ERR_INVALID);
	cr_assert_eq(virtq_want_kicks(&q, true), OK);
}

/* --- chains --- */

static const struct vbuffer three[] = { { DATA, 16, false }, { DATA + 0x1000, 100, true }, { DATA + 0x3000, 1, true } };

Test(virtq, a_chain_becomes_pieces)
{
	for (int indirect = 0; indirect < 2; indirect++) {
		start(indirect ? VIRTIO_F_RING_INDIRECT_DESC : 0);
		cr_assert_eq(virtq_look(&q, 0, c), ERR_END);
		cr_assert_geq(vring_add(&ring, three, 3), 0);
		cr_assert_eq(virtq_look(&q, 0, c), OK);
		cr_assert(c->nread == 1 && c->npieces == 3 && c->read_bytes == 16 && c->write_bytes == 101);
		cr_assert(c->piece[0].at == DATA && c->piece[0].size_bytes == 16);
		cr_assert(c->piece[1].at == DATA + 0x1000 && c->piece[2].size_bytes == 1);
		cr_assert_eq(c->piece[1].data, guestmem_peek(&guest.mem, GPA(DATA + 0x1000)));
		cr_assert_eq(virtq_look(&q, 1, c), ERR_END);
		virtq_take(&q, 1);
		cr_assert_eq(virtq_look(&q, 0, c), ERR_END);
		cr_assert_eq(virtq_chain_at(&q, 0, c), OK, "found again by its head");
		cr_assert_eq(c->write_bytes, 101);
	}
}

Test(virtq, several_wait_in_order)
{
	u16 n;

	for (unsigned i = 0; i < SIZE; i++) {
		struct vbuffer b = { DATA, i + 1, true };

		cr_assert_geq(vring_add(&ring, &b, 1), 0);
	}
	cr_assert(virtq_count(&q, &n) == OK && n == SIZE);
	for (u16 i = 0; i < SIZE; i++)
		cr_assert(virtq_look(&q, i, c) == OK && c->write_bytes == i + 1U);
	virtq_take(&q, 3);
	cr_assert(virtq_look(&q, 0, c) == OK && c->write_bytes == 4);
	cr_assert(virtq_count(&q, &n) == OK && n == SIZE - 3);
}

/* Chunks of guest memory need not lie together in the host's. */
Test(virtq, a_buffer_over_the_end_of_a_chunk_is_two_pieces)
{
	struct vbuffer b = { CHUNK_SIZE - 100, 300, true };

	vring_add(&ring, &b, 1);
	cr_assert_eq(virtq_look(&q, 0, c), OK);
	cr_assert(c->npieces == 2 && c->write_bytes == 300);
	cr_assert(c->piece[0].size_bytes == 100 && c->piece[1].size_bytes == 200 && c->piece[1].at == CHUNK_SIZE);
	cr_assert_eq(c->piece[1].data, guestmem_peek(&guest.mem, GPA(CHUNK_SIZE)));
}

Test(virtq, empty_buffers_are_nothing)
{
	struct vbuffer b[] = { { DATA, 0, false }, { ~0UL >> 8, 0, true }, { DATA, 5, true } };

	b[1].at = VGUEST_MEMORY;
	vring_add(&ring, b, 3);
	cr_assert(virtq_look(&q, 0, c) == OK && c->npieces == 1 && c->nread == 0 && c->write_bytes == 5);
}

/* --- lies: one descriptor table, changed field by field --- */

static void desc(unsigned i, u64 at, u32 len, u16 flags, u16 next)
{
	u64 d = ring.desc + 16UL * i;

	vguest_set_word(&guest, d, 8, at);
	vguest_set_word(&guest, d + 8, 4, len);
	vguest_set_word(&guest, d + 12, 2, flags);
	vguest_set_word(&guest, d + 14, 2, next);
}

static void table_entry(u64 table, unsigned i, u64 at, u32 len, u16 flags, u16 next)
{
	u64 d = table + 16UL * i;

	vguest_set_word(&guest, d, 8, at);
	vguest_set_word(&guest, d + 8, 4, len);
	vguest_set_word(&guest, d + 12, 2, flags);
	vguest_set_word(&guest, d + 14, 2, next);
}

static err_t offer(u16 head)
{
	vguest_set_word(&guest, ring.avail + 4, 2, head);
	vguest_set_word(&guest, ring.avail + 2, 2, 1);
	return virtq_look(&q, 0, c);
}

Test(virtq, heads_and_links_lie)
{
	desc(0, DATA, 8, 0, 0);
	cr_assert_eq(offer(0), OK);
	cr_assert_eq(offer(SIZE), ERR_INVALID);
	cr_assert_eq(offer(0xffff), ERR_INVALID);
	desc(0, DATA, 8, F_NEXT, SIZE);
	cr_assert_eq(offer(0), ERR_INVALID);
	desc(0, DATA, 8, F_NEXT, 0xffff);
	cr_assert_eq(offer(0), ERR_INVALID);
	desc(0, DATA, 8, F_NEXT, 0);
	cr_assert_eq(offer(0), ERR_INVALID, "a loop of one");
	for (u16 i = 0; i < SIZE; i++)
		desc(i, DATA, 8, F_NEXT, (u16)(i + 1));
	desc(SIZE - 1, DATA, 8, F_NEXT, 5);
	cr_assert_eq(offer(0), ERR_INVALID, "a loop at the end");
	desc(SIZE - 1, DATA, 8, 0, 5);
	cr_assert_eq(offer(0), OK, "all descriptors there are");
	cr_assert_eq(c->npieces, SIZE);
	for (u16 i = 0; i < SIZE; i++)
		desc(i, DATA, 0, F_NEXT, (u16)((i + 1) % SIZE));
	cr_assert_eq(offer(3), ERR_INVALID, "a loop of nothing");
	desc(0, DATA, 8, (u16)~(F_NEXT | F_WRITE | F_INDIRECT), 0);
	cr_assert_eq(offer(0), OK, "flags nobody knows");
}

Test(virtq, the_index_runs_away)
{
	u16 n;

	vguest_set_word(&guest, ring.avail + 2, 2, SIZE);
	cr_assert_eq(virtq_count(&q, &n), OK);
	vguest_set_word(&guest, ring.avail + 2, 2, SIZE + 1);
	cr_assert_eq(virtq_count(&q, &n), ERR_INVALID);
	cr_assert_eq(virtq_look(&q, 0, c), ERR_INVALID);
	vguest_set_word(&guest, ring.avail + 2, 2, 0xffff);
	cr_assert_eq(virtq_count(&q, &n), ERR_INVALID, "backwards");
}

Test(virtq, buffers_that_are_not_ram)
{
	static const struct { u64 at; u32 len; } cases[] = {
		{ VGUEST_MEMORY - 4, 5 }, { VGUEST_MEMORY, 1 }, { ~0UL, 1 }, { ~0UL - 0xfff, 0x2000 }, { 0xfee00000, 4 },
		{ VIDEO_START, 1 }, { VIDEO_START - 1, 2 }, { VIDEO_END - 1, 1 }, { VIDEO_END - 1, 2 },
		{ VIDEO_START - 1, VIDEO_END - VIDEO_START + 2 }, { DATA, 0xffffffff }, { 0x100000000, 16 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (u16 flags = 0; flags <= F_WRITE; flags += F_WRITE) {
			desc(0, cases[i].at, cases[i].len, flags, 0);
			cr_assert_eq(offer(0), ERR_INVALID, "case %zu", i);
		}
	desc(0, VGUEST_MEMORY - 4, 4, 0, 0);
	cr_assert_eq(offer(0), OK);
	desc(0, VIDEO_START - 1, 1, 0, 0);
	cr_assert_eq(offer(0), OK);
	desc(0, VIDEO_END, 1, 0, 0);
	cr_assert_eq(offer(0), OK);
}

Test(virtq, what_is_written_comes_last)
{
	desc(0, DATA, 8, F_NEXT | F_WRITE, 1);
	desc(1, DATA, 8, 0, 0);
	cr_assert_eq(offer(0), ERR_INVALID);
	desc(1, DATA, 8, F_WRITE, 0);
	cr_assert_eq(offer(0), OK);
}

#define TABLE (DATA + 0x8000)

Test(virtq, indirect_tables)
{
	table_entry(TABLE, 0, DATA, 8, F_NEXT, 2);
	table_entry(TABLE, 2, DATA, 8, F_NEXT | F_WRITE, 1);
	table_entry(TABLE, 1, DATA + 8, 8, F_WRITE, 0);
	desc(0, TABLE, 48, F_INDIRECT, 0);
	cr_assert_eq(offer(0), OK);
	cr_assert(c->nread == 1 && c->npieces == 3);
	desc(0, TABLE, 48, F_INDIRECT | F_WRITE, 0);
	cr_assert_eq(offer(0), OK, "the write flag of a table means nothing");
	/* [VIRTIO 2.7.5.3.2 Device Requirements: Indirect Descriptors]: a table may end a chain */
	desc(0, DATA + 0x100, 8, F_NEXT, 1);
	desc(1, TABLE, 48, F_INDIRECT, 0);
	cr_assert_eq(offer(0), OK);
	cr_assert(c->nread == 2 && c->npieces == 4 && c->piece[0].at == DATA + 0x100);
	/* a table may lie anywhere, over a page and a chunk */
	for (unsigned i = 0; i < 3; i++)
		table_entry(CHUNK_SIZE - 40, i, DATA, 8, i < 2 ? F_NEXT : 0, (u16)(i + 1));
	desc(0, CHUNK_SIZE - 40, 48, F_INDIRECT, 0);
	cr_assert_eq(offer(0), OK);
	cr_assert_eq(c->npieces, 3);
}

Test(virtq, indirect_tables_lie)
{
	static const u32 lengths[] = { 0, 8, 15, 17, 16 * (VIRTQ_MAX_TABLE + 1), 0xfffffff0 };

	table_entry(TABLE, 0, DATA, 8, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		desc(0, TABLE, lengths[i], F_INDIRECT, 0);
		cr_assert_eq(offer(0), ERR_INVALID, "%u bytes", lengths[i]);
	}
	desc(0, VGUEST_MEMORY - 16, 32, F_INDIRECT, 0);
	cr_assert_eq(offer(0), ERR_INVALID);
	desc(0, VIDEO_START, 16, F_INDIRECT, 0);
	cr_assert_eq(offer(0), ERR_INVALID);
	desc(0, TABLE, 16, F_INDIRECT | F_NEXT, 1);
	desc(1, DATA, 8, 0, 0);
	cr_assert_eq(offer(0), ERR_INVALID, "something behind it");
	desc(0, TABLE, 16, F_INDIRECT, 0);
	cr_assert_eq(offer(0), OK);
	table_entry(TABLE, 0, DATA, 8, F_NEXT, 1);
	cr_assert_eq(offer(0), ERR_INVALID, "out of the table");
	table_entry(TABLE, 0, DATA, 8, F_NEXT, 0);
	cr_assert_eq(offer(0), ERR_INVALID, "a loop");
	table_entry(TABLE, 0, TABLE + 16, 16, F_INDIRECT, 0);
	table_entry(TABLE, 1, DATA, 8, 0, 0);
	cr_assert_eq(offer(0), ERR_INVALID, "a table in a table");
	/* the descriptor table as its own indirect table */
	desc(0, ring.desc, 16 * SIZE, F_INDIRECT, 0);
	cr_assert_eq(offer(0), ERR_INVALID);
	start(0);
	table_entry(TABLE, 0, DATA, 8, 0, 0);
	desc(0, TABLE, 16, F_INDIRECT, 0);
	cr_assert_eq(offer(0), ERR_INVALID, "without the feature");
}

/* More than 2^32 bytes cannot be said in a used entry; more than the room's pieces no honest driver has. */
Test(virtq, sums_and_pieces_are_bounded)
{
	unsigned n = VIRTQ_MAX_TABLE;
	u64 big = CHUNK_SIZE * 3 / 2;

	for (unsigned i = 0; i < n; i++)
		table_entry(TABLE, i, CHUNK_SIZE - 8, 16, i + 1 < n ? F_NEXT : 0, (u16)(i + 1));
	desc(0, TABLE, 16 * n, F_INDIRECT, 0);
	cr_assert_eq(offer(0), OK);
	cr_assert_eq(c->npieces, VIRTQ_MAX_PIECES);
	table_entry(TABLE, 0, DATA, 16, F_NEXT, 1);
	desc(1, TABLE, 16 * n, F_INDIRECT, 0);
	for (u16 i = 2; i < 5; i++)
		desc(i, CHUNK_SIZE - 8, 16, F_NEXT, i == 4 ? 1 : (u16)(i + 1));
	cr_assert_eq(offer(2), ERR_INVALID, "one piece too many");
	/* 4 GiB and a little, in 3/2 chunks */
	for (unsigned i = 0; i < n; i++)
		table_entry(TABLE, i, DATA, (u32)big, i + 1 < n ? F_NEXT : 0, (u16)(i + 1));
	cr_assert_eq(offer(1), OK);
	cr_assert_eq(c->read_bytes, n * big);
	for (unsigned i = 0; i < n; i++)
		table_entry(TABLE, i, DATA, (u32)(VGUEST_MEMORY - DATA), i + 1 < n ? F_NEXT : 0, (u16)(i + 1));
	cr_assert_eq(offer(1), n * (VGUEST_MEMORY - DATA) > ~0U ? ERR_INVALID : OK);
}

Test(virtq, the_host_runs_out_of_memory)
{
	struct vbuffer b = { CHUNK_SIZE + 0x1000, 8, true };
	u64 features_of_other = 0;
	struct virtq other;

	vring_add(&ring, &b, 1);
	guest.chunks_left = 0;
	cr_assert_eq(virtq_look(&q, 0, c), ERR_NO_MEMORY, "no lie of the guest's");
	/* rings where nothing was ever touched */
	virtq_init(&other, &guest.mem, &features_of_other, SIZE);
	other.desc = other.avail = other.used = CHUNK_SIZE;
	other.avail += 0x1000;
	other.used += 0x2000;
	cr_assert_eq(virtq_enable(&other), OK);
	cr_assert_eq(virtq_look(&other, 0, c), ERR_NO_MEMORY);
	cr_assert_eq(virtq_publish(&other, 1), ERR_NO_MEMORY);
}

/* --- giving back --- */

Test(virtq, chains_are_given_back_and_shown_at_once)
{
	u16 heads[3], head;
	u32 written;

	for (unsigned i = 0; i < 3; i++)
		heads[i] = (u16)vring_add(&ring, three, 3);
	virtq_take(&q, 3);
	/* out of order */
	cr_assert_eq(virtq_fill(&q, 0, heads[2], 7), OK);
	cr_assert_eq(virtq_fill(&q, 1, heads[0], 8), OK);
	cr_assert(!vring_used(&ring, &head, &written));
	cr_assert_eq(virtq_publish(&q, 2), OK);
	cr_assert(vring_used(&ring, &head, &written) && head == heads[2] && written == 7);
	cr_assert(vring_used(&ring, &head, &written) && head == heads[0] && written == 8);
	cr_assert(!vring_used(&ring, &head, &written));
}

Test(virtq, indexes_wrap)
{
	u16 head, got;
	u32 written;

	for (unsigned i = 0; i < 70000; i++) {
		struct vbuffer b = { DATA + i % 64, 1 + i % 5, i & 1 };

		head = (u16)vring_add(&ring, &b, 1);
		cr_assert_eq(virtq_look(&q, 0, c), OK, "%u", i);
		cr_assert_eq(c->head, head);
		virtq_take(&q, 1);
		cr_assert_eq(virtq_fill(&q, 0, head, i), OK);
		cr_assert_eq(virtq_publish(&q, 1), OK);
		cr_assert(vring_used(&ring, &got, &written) && got == head && written == i);
	}
}

static void complete(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vbuffer b = { DATA, 1, true };
		int head = vring_add(&ring, &b, 1);

		cr_assert_geq(head, 0);
		virtq_take(&q, 1);
		cr_assert_eq(virtq_fill(&q, 0, (u16)head, 0), OK);
		cr_assert_eq(virtq_publish(&q, 1), OK);
	}
}

static bool signals(void)
{
	bool wanted;

	cr_assert_eq(virtq_signal(&q, &wanted), OK);
	return wanted;
}

static void used_event(u16 event)
{
	vguest_set_word(&guest, ring.avail + 4 + 2UL * SIZE, 2, event);
}

static void reap(void)
{
	u16 head, event = (u16)vguest_word(&guest, ring.avail + 4 + 2UL * SIZE, 2);
	u32 written;

	while (vring_used(&ring, &head, &written))
		;
	used_event(event);
}

Test(virtq, interrupts_by_event_index)
{
	cr_assert(!signals(), "nothing came back");
	used_event(0);
	complete(1);
	cr_assert(signals(), "entry 0 is waited for");
	cr_assert(!signals(), "once");
	complete(1);
	cr_assert(!signals(), "entry 1 is not");
	used_event(3);
	complete(1);
	cr_assert(!signals());
	complete(1);
	cr_assert(signals(), "entry 3");
	used_event(6);
	complete(5);
	cr_assert(signals(), "a batch over it");
	reap();
	for (unsigned round = 0; round < 0x10000 / 8 + 5; round++) {
		used_event((u16)(q.next_used + 5));
		complete(5);
		cr_assert(!signals());
		complete(3);
		cr_assert(signals(), "round %u", round);
		reap();
	}
}

Test(virtq, interrupts_by_flag)
{
	start(0);
	complete(1);
	cr_assert(signals());
	cr_assert(!signals());
	vring_want_interrupts(&ring, false);
	complete(1);
	cr_assert(!signals());
	vring_want_interrupts(&ring, true);
	cr_assert(!signals(), "what came back meanwhile is not told later");
	complete(1);
	cr_assert(signals());
}

Test(virtq, kicks_are_wanted_or_not)
{
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		start(event_idx ? VIRTIO_F_RING_EVENT_IDX : 0);
		for (unsigned round = 0; round < 30; round++) {
			struct vbuffer b = { DATA, 1, true };
			int head;

			cr_assert_eq(virtq_want_kicks(&q, round & 1), OK);
			for (int i = 0; i < 3; i++) {
				bool first = i == 0;

				head = vring_add(&ring, &b, 1);
				cr_assert_geq(head, 0);
				/* with the event index one kick is enough */
				cr_assert_eq(vring_kick_wanted(&ring), (round & 1) && (first || !event_idx));
				virtq_take(&q, 1);
				cr_assert_eq(virtq_fill(&q, 0, (u16)head, 0), OK);
				cr_assert_eq(virtq_publish(&q, 1), OK);
			}
			reap();
		}
	}
}

/* --- bytes --- */

static bool marked(u64 at)
{
	const struct chunk_info *k = guest.mem.chunk[at >> CHUNK_SHIFT];
	unsigned page = (at >> PAGE_SHIFT) % CHUNK_PAGES;

	return k->changed[page / 64] >> page % 64 & 1;
}

Test(virtq, bytes_in_order_and_marked)
{
	static const struct vbuffer b[] = {
		{ DATA, 5, false }, { DATA + 0x1000, 3, false }, { CHUNK_SIZE - 4, 8, true }, { DATA + 0x2ffe, 0x1004, true },
	};
	struct virtq_cursor at;
	u8 buf[8192], *p;
	u64 npages = 0;

	vguest_put(&guest, DATA, "hello", 5);
	vguest_put(&guest, DATA + 0x1000, "you", 3);
	vring_add(&ring, b, 4);
	cr_assert_eq(virtq_look(&q, 0, c), OK);
	guestmem_digest(&guest.mem, &npages);
	for (unsigned i = 0; i < 2; i++)
		memset(guest.mem.chunk[i]->changed, 0, sizeof(guest.mem.chunk[i]->changed));

	at = virtq_reader(c);
	cr_assert_eq(virtq_get(&at, buf, 7), 7);
	cr_assert_arr_eq(buf, "helloyo", 7);
	cr_assert_eq(virtq_get(&at, buf, 7), 1);
	cr_assert_eq(buf[0], 'u');
	cr_assert_eq(virtq_get(&at, buf, 7), 0);
	at = virtq_reader(c);
	cr_assert_eq(virtq_skip(&at, 6), 6);
	cr_assert_eq(virtq_span(&at, 100, &p), 2);
	cr_assert_arr_eq(p, "ou", 2);
	cr_assert_eq(virtq_skip(&at, 1), 0);
	for (u64 page = DATA; page < DATA + 0x6000; page += PAGE_SIZE)
		cr_assert(!marked(page), "reading marks nothing");

	at = virtq_writer(c);
	cr_assert_eq(virtq_skip(&at, 2), 2);
	memset(buf, 'w', sizeof(buf));
	cr_assert_eq(virtq_put(&at, buf, 3), 3);
	cr_assert(marked(CHUNK_SIZE - 1) && marked(CHUNK_SIZE) && !marked(DATA + 0x2ffe));
	cr_assert_eq(vguest_word(&guest, CHUNK_SIZE - 4, 2), 0);
	cr_assert_eq(vguest_word(&guest, CHUNK_SIZE - 2, 2), 0x7777);
	cr_assert_eq(vguest_word(&guest, CHUNK_SIZE, 2), 0x77);
	cr_assert_eq(virtq_skip(&at, 3), 3);
	cr_assert_eq(virtq_put(&at, buf, sizeof(buf)), 0x1004);
	cr_assert(marked(DATA + 0x2000) && marked(DATA + 0x3000) && marked(DATA + 0x4000) && !marked(DATA + 0x5000));
	cr_assert(!marked(DATA) && !marked(DATA + 0x1000));
}
