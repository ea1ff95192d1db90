/*
 * test_capture.c - frames on their way from a replay to Wireshark: the hypervisor's file, and the
 * pcapng made of it, read back here by the letter of its specification.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"
#include "tools/capture.h"
#include "tools/pcapng.h"

static struct frames_writer w;
static struct frames_reader r;

/* Frame n of many, the same for writer and checker. */
static struct frame_record made(u64 n, u8 data[FRAME_RECORD_MAX])
{
	struct rng g = rng_of(n + 1);
	struct frame_record f = { .sent = rng_chance(&g, 50), .nic = (u16)rng_below(&g, 4), .insns = n * 1000000007, .data = data };

	f.vtime_ns = f.insns * 3;
	f.size = (u32)(rng_chance(&g, 5) ? FRAME_RECORD_MAX - rng_below(&g, 3) : rng_below(&g, 1519));
	for (u32 i = 0; i < f.size; i++)
		data[i] = (u8)(n + i * 7);
	return f;
}

static void write_made(struct world_medium *m, u64 n)
{
	static u8 data[FRAME_RECORD_MAX];
	const struct rec_medium medium = medium_ops(m);

	frames_begin(&w, &medium);
	for (u64 i = 0; i < n; i++) {
		struct frame_record f = made(i, data);

		frames_put(&w, &f);
	}
}

static void same_frame(const struct frame_record *a, const struct frame_record *b)
{
	cr_assert(a->sent == b->sent && a->nic == b->nic && a->size == b->size && a->insns == b->insns && a->vtime_ns == b->vtime_ns);
	cr_assert_arr_eq(a->data, b->data, a->size);
}

Test(capture, all_frames_come_back)
{
	static const u64 counts[] = { 0, 1, 2, 50, 1000 };
	static u8 data[FRAME_RECORD_MAX];

	for (unsigned k = 0; k < ARRAY_SIZE(counts); k++) {
		struct world_medium m = medium_new(MIB(8));
		const struct rec_medium medium = medium_ops(&m);
		struct frame_record f;

		write_made(&m, counts[k]);
		cr_assert_eq(frames_end(&w, &(struct execpoint){ .count = 9 }), OK);
		cr_assert(!m.dirty, "flushed");
		cr_assert_eq(frames_open(&r, &medium), OK);
		for (u64 i = 0; i < counts[k]; i++) {
			struct frame_record expected = made(i, data);

			cr_assert_eq(frames_next(&r, &f), OK);
			same_frame(&f, &expected);
		}
		cr_assert_eq(frames_next(&r, &f), ERR_END);
		medium_free(&m);
	}
}

Test(capture, what_was_not_finished_says_so)
{
	struct world_medium m = medium_new(MIB(4)), small = medium_new(FRAMES_BUFFER);
	const struct rec_medium medium = medium_ops(&m), short_one = medium_ops(&small);
	struct frame_record f, big = { .size = FRAME_RECORD_MAX + 1, .data = m.data };
	u64 n = 0;
	err_t e;

	/* The hypervisor died: what it had written is there, and no more is claimed. */
	write_made(&m, 1000);
	cr_assert_eq(frames_open(&r, &medium), OK);
	while (!(e = frames_next(&r, &f)))
		n++;
	cr_assert_eq(e, ERR_DAMAGED);
	cr_assert(n > 500 && n < 1000);
	/* No room. */
	write_made(&small, 1000);
	cr_assert_eq(frames_end(&w, &(struct execpoint){ 0 }), ERR_TOO_BIG);
	cr_assert_eq(frames_open(&r, &short_one), OK);
	while (!(e = frames_next(&r, &f)))
		;
	cr_assert_eq(e, ERR_DAMAGED);
	/* A medium that fails. */
	m.operations = 0;
	m.fail_at = 2;
	write_made(&m, 1000);
	cr_assert_eq(frames_end(&w, &(struct execpoint){ 0 }), ERR_IO);
	m.fail_at = 0;
	m.unreadable = true;
	cr_assert_eq(frames_open(&r, &medium), ERR_IO);
	m.unreadable = false;
	/* No frame is as big as that. */
	frames_begin(&w, &medium);
	frames_put(&w, &big);
	cr_assert_eq(frames_end(&w, &(struct execpoint){ 0 }), ERR_TOO_BIG);
	medium_free(&m);
	medium_free(&small);
}

Test(capture, nothing_of_it_is_believed)
{
	struct world_medium m = medium_new(KIB(256));
	const struct rec_medium medium = medium_ops(&m);
	struct rec_medium empty = medium;
	struct rng g = rng_of(world_first_seed() + 99);
	struct frame_record f;

	empty.size = 0;
	cr_assert_eq(frames_open(&r, &empty), ERR_INVALID);
	cr_assert_eq(frames_open(&r, &medium), ERR_INVALID, "zeros");
	for (u64 n = world_runs(2000); n; n--) {
		write_made(&m, 20);
		cr_assert_eq(frames_end(&w, &(struct execpoint){ 0 }), OK);
		for (u64 k = 1 + rng_below(&g, 8); k; k--)
			m.data[rng_chance(&g, 50) ? 16 + rng_below(&g, 60) : rng_below(&g, m.high)] = (u8)rng_next(&g);
		if (frames_open(&r, &medium))
			continue;
		while (!frames_next(&r, &f))
			cr_assert(f.size <= FRAME_RECORD_MAX && f.data >= r.buf && f.data + f.size <= r.buf + sizeof(r.buf));
	}
	medium_free(&m);
}

/* ---- pcapng ---- */

static const char head[] = "machine=3\nrtc_epoch_s=1735689600\nnic0_mac=52:54:00:12:34:56\nnic2_mac=02:00:00:00:00:0a\nnic3_mac=no\n";

Test(capture, the_machine_is_read_from_HEAD)
{
	struct capture_machine m;

	cr_assert(capture_describe(&m, head, strlen(head)));
	cr_assert_eq(m.start_ns, 1735689600000000000);
	cr_assert(m.there[0] && !m.there[1] && m.there[2] && !m.there[3]);
	cr_assert_arr_eq(m.mac[2], "\2\0\0\0\0\n", 6);
	cr_assert(!capture_describe(&m, "nic1_mac=52:54:00:12:34\n", 24), "five bytes are none");
	cr_assert(!capture_describe(&m, "nic1_mac=52:54:00:12:34:56:7\n", 29), "nor seven");
	cr_assert(!capture_describe(&m, "machine=1\n", 10));
}

struct pcap {
	u8 *data;
	size_t size, at;
};

static u32 u32_at(const u8 *p)
{
	return (u32)read_bytes_le(p, 4);
}

/* The next block's body; its length at both ends agrees and is a multiple of 4. */
static const u8 *block(struct pcap *p, u32 *type, u32 *size)
{
	const u8 *b = p->data + p->at;
	u32 total = u32_at(b + 4);

	cr_assert(p->size - p->at >= 12);
	*type = u32_at(b);
	cr_assert(total >= 12 && total % 4 == 0 && total <= p->size - p->at);
	cr_assert_eq(u32_at(b + total - 4), total);
	*size = total - 12;
	p->at += total;
	return b + 8;
}

/* An option's value in a block's rest; NULL: it has none. */
static const u8 *option(const u8 *o, const u8 *end, unsigned code, u32 *size)
{
	const u8 *found = NULL;

	for (;;) {
		u32 n = (u32)read_bytes_le(o + 2, 2);

		cr_assert(end - o >= 4 + (long)ALIGN_UP(n, 4U));
		if (!read_bytes_le(o, 2)) {
			cr_assert(!n && o + 4 == end, "the end of options is the block's");
			return found;
		}
		if (read_bytes_le(o, 2) == code) {
			cr_assert_null(found);
			found = o + 4;
			*size = n;
		}
		o += 4 + ALIGN_UP(n, 4U);
	}
}

static struct pcap convert(struct world_medium *m, const struct capture_machine *cm, struct capture_counts *n, err_t expected)
{
	const struct rec_medium medium = medium_ops(m);
	struct pcap p = { 0 };
	FILE *f = open_memstream((char **)&p.data, &p.size);

	cr_assert_eq(frames_open(&r, &medium), OK);
	cr_assert_eq(capture_convert(cm, &r, f, n), expected);
	fclose(f);
	return p;
}

static void check_section(struct pcap *p)
{
	u32 type, size, n;
	const u8 *b = block(p, &type, &size), *o;

	cr_assert_eq(type, 0x0a0d0d0a);
	cr_assert_eq(u32_at(b), 0x1a2b3c4d);
	cr_assert_eq(u32_at(b + 4), 1, "version 1.0");
	cr_assert_eq(read_bytes_le(b + 8, 8), ~0UL);
	o = option(b + 16, b + size, 4, &n);
	cr_assert(o && n == 7 && !memcmp(o, "reprise", 7));
	o = option(b + 16, b + size, 1, &n);
	cr_assert(o && n == 5 && !memcmp(o, "hello", 5));
}

static void check_interface(struct pcap *p, const char *name, const u8 *mac)
{
	u32 type, size, n;
	const u8 *b = block(p, &type, &size), *o;

	cr_assert_eq(type, 1);
	cr_assert_eq(u32_at(b), 1, "Ethernet");
	cr_assert_eq(u32_at(b + 4), 0, "no limit");
	o = option(b + 8, b + size, 2, &n);
	cr_assert(o && n == strlen(name) && !memcmp(o, name, n));
	o = option(b + 8, b + size, 6, &n);
	cr_assert(o && n == 6 && !memcmp(o, mac, 6));
	o = option(b + 8, b + size, 9, &n);
	cr_assert(o && n == 1 && *o == 9, "nanoseconds");
}

static void check_packet(struct pcap *p, u32 interface, u64 ns, const struct frame_record *f)
{
	u32 type, size, n;
	const u8 *b = block(p, &type, &size), *o, *options = b + 20 + ALIGN_UP(f->size, 4U);
	char comment[64];

	cr_assert_eq(type, 6);
	cr_assert_eq(u32_at(b), interface);
	cr_assert_eq((u64)u32_at(b + 4) << 32 | u32_at(b + 8), ns);
	cr_assert(u32_at(b + 12) == f->size && u32_at(b + 16) == f->size);
	cr_assert_arr_eq(b + 20, f->data, f->size);
	for (const u8 *q = b + 20 + f->size; q < options; q++)
		cr_assert_eq(*q, 0);
	o = option(options, b + size, 2, &n);
	cr_assert(o && n == 4 && u32_at(o) == (f->sent ? 2U : 1U));
	snprintf(comment, sizeof(comment), "after %llu instructions", (unsigned long long)f->insns);
	o = option(options, b + size, 1, &n);
	cr_assert(o && n == strlen(comment) && !memcmp(o, comment, n));
}

Test(capture, pcapng_by_the_letter)
{
	static u8 data[FRAME_RECORD_MAX];
	struct world_medium m = medium_new(MIB(8));
	struct capture_machine cm;
	struct capture_counts n;
	struct pcap p;
	u64 sent = 0;

	cr_assert(capture_describe(&cm, head, strlen(head)));
	cm.there[1] = cm.there[3] = true;
	cm.mac[1][5] = 1;
	cm.mac[3][5] = 3;
	strcpy(cm.comment, "hello");
	write_made(&m, 300);
	cr_assert_eq(frames_end(&w, &(struct execpoint){ 0 }), OK);
	p = convert(&m, &cm, &n, OK);
	check_section(&p);
	check_interface(&p, "nic0", (const u8 *)"RT\0\x12\x34\x56");
	check_interface(&p, "nic1", (const u8 *)"\0\0\0\0\0\1");
	check_interface(&p, "nic2", (const u8 *)"\2\0\0\0\0\n");
	check_interface(&p, "nic3", (const u8 *)"\0\0\0\0\0\3");
	for (u64 i = 0; i < 300; i++) {
		struct frame_record f = made(i, data);

		sent += f.sent;
		check_packet(&p, f.nic, 1735689600000000000 + f.vtime_ns, &f);
	}
	cr_assert_eq(p.at, p.size);
	cr_assert(n.sent == sent && n.received == 300 - sent);
	free(p.data);
	medium_free(&m);
}

/* Numbers of interfaces have no gaps, those of NICs may. */
Test(capture, interfaces_are_numbered_as_they_come)
{
	struct world_medium m = medium_new(MIB(1));
	const struct rec_medium medium = medium_ops(&m);
	const struct frame_record f = { .nic = 2, .size = 3, .insns = 5, .vtime_ns = 7, .data = (const u8 *)"abc" };
	struct frame_record none = f;
	struct capture_machine cm;
	struct capture_counts n;
	struct pcap p;

	cr_assert(capture_describe(&cm, head, strlen(head)));
	strcpy(cm.comment, "hello");
	frames_begin(&w, &medium);
	frames_put(&w, &f);
	cr_assert_eq(frames_end(&w, &(struct execpoint){ 0 }), OK);
	p = convert(&m, &cm, &n, OK);
	check_section(&p);
	check_interface(&p, "nic0", cm.mac[0]);
	check_interface(&p, "nic2", cm.mac[2]);
	check_packet(&p, 1, 1735689600000000007, &f);
	cr_assert_eq(p.at, p.size);
	free(p.data);

	/* A frame of a NIC that the machine does not have. */
	none.nic = 1;
	frames_begin(&w, &medium);
	frames_put(&w, &f);
	frames_put(&w, &none);
	cr_assert_eq(frames_end(&w, &(struct execpoint){ 0 }), OK);
	p = convert(&m, &cm, &n, ERR_DAMAGED);
	cr_assert_eq(n.received, 1);
	free(p.data);
	medium_free(&m);
}
