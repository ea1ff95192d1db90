/*
 * test_recording.c - the recording format keeps the promises of
 * docs/RECORDING.md section 1: round trip, cut anywhere, any bit flipped,
 * stale bytes behind, versions, the golden file.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/xxh.h"
#include "replay/recording.h"
#include "replay/recording_format.h"

/* ---- a medium in memory ---- */

struct mem {
	u8 *data;
	u64 size;
	unsigned writes, flushes;
	int fail_after; /* -1: never */
};

static err_t mem_read(void *ctx, u64 offset, void *buf, size_t n)
{
	struct mem *m = ctx;

	cr_assert(offset % REC_SECTOR == 0 && offset + n <= m->size);
	cr_assert(n % REC_SECTOR == 0 || offset + n == m->size);
	memcpy(buf, m->data + offset, n);
	return OK;
}

static err_t mem_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	struct mem *m = ctx;

	cr_assert(offset % REC_SECTOR == 0 && n % REC_SECTOR == 0);
	if (offset + n > m->size || (m->fail_after >= 0 && (int)m->writes >= m->fail_after))
		return ERR_IO;
	memcpy(m->data + offset, buf, n);
	m->writes++;
	return OK;
}

static err_t mem_flush(void *ctx)
{
	((struct mem *)ctx)->flushes++;
	return OK;
}

static struct rec_medium medium(struct mem *m)
{
	return (struct rec_medium){ mem_read, mem_write, mem_flush, m, m->size, NULL };
}

static struct mem mem_new(u64 size)
{
	return (struct mem){ .data = calloc(1, size), .size = size, .fail_after = -1 };
}

/* Writers and readers are too big for Criterion's stacks, and one of each is enough. */
static struct rec_writer w;
static struct rec_reader r;

static const char head[] = "machine=1\nmem_bytes=268435456\nncpus=1\nseed=42\nappend=console=ttyS0 quiet\n"
			   "kernel=/images/vmlinuz\nkernel_size=7\nkernel_xxh64=0123456789abcdef\n";
static const char host[] = "counter=icount\nhost_probe=00112233aabbccdd\n";

/* ---- random events ---- */

static u64 rng;

static u64 rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

struct model {
	struct rec_event ev[600];
	u8 *bytes[600];
	unsigned n;
};

static void model_free(struct model *m)
{
	for (unsigned i = 0; i < m->n; i++)
		free(m->bytes[i]);
	m->n = 0;
}

/* Points of every magnitude: standing still, one instruction, billions, idle jumps. */
static void random_event(struct model *m, struct execpoint at[REC_MAX_VMS])
{
	struct rec_event *ev = &m->ev[m->n];
	u32 size = rnd() % 5 ? (u32)(rnd() % 40) : (u32)(rnd() % REC_INPUT_MAX);

	memset(ev, 0, sizeof(*ev));
	ev->vm = rnd() % 3 ? 0 : (u32)(rnd() % REC_MAX_VMS);
	at[ev->vm].count += rnd() >> (20 + rnd() % 44);
	at[ev->vm].vtime_ns += rnd() >> (20 + rnd() % 44);
	if (rnd() % 10 == 0)
		at[ev->vm].sequence = rnd();
	ev->at = at[ev->vm];
	m->bytes[m->n] = malloc(size + 1);
	for (u32 i = 0; i < size; i++)
		m->bytes[m->n][i] = (u8)(rnd() % (m->n % 2 ? 4 : 256));
	switch (rnd() % 3) {
	case 0:
		ev->kind = REC_INPUT;
		ev->input = (struct input){ INPUT_CONSOLE, (u16)rnd(), m->bytes[m->n], size };
		at[ev->vm].sequence++;
		break;
	case 1:
		ev->kind = REC_DIGEST;
		ev->digest = rnd();
		break;
	default:
		ev->kind = REC_MARK;
		size %= REC_NAME_MAX + 1;
		for (u32 i = 0; i < size; i++)
			m->bytes[m->n][i] = 'a' + (u8)(rnd() % 26);
		m->bytes[m->n][size] = 0;
		ev->name = (char *)m->bytes[m->n];
		ev->name_size = size;
	}
	m->n++;
}

static void put(const struct rec_event *ev)
{
	switch (ev->kind) {
	case REC_INPUT:
		cr_assert(!rec_put_input(&w, ev->vm, &ev->at, &ev->input));
		break;
	case REC_DIGEST:
		cr_assert(!rec_put_digest(&w, ev->vm, &ev->at, ev->digest));
		break;
	case REC_MARK:
		cr_assert(!rec_put_mark(&w, ev->vm, &ev->at, ev->name));
		break;
	}
}

static bool same(const struct rec_event *a, const struct rec_event *b)
{
	return a->kind == b->kind && a->vm == b->vm && !execpoint_cmp(&a->at, &b->at) &&
	       a->digest == b->digest && a->input.kind == b->input.kind &&
	       a->input.instance == b->input.instance && a->input.size == b->input.size &&
	       !memcmp(a->input.size ? a->input.data : (const u8 *)"", b->input.size ? b->input.data : (const u8 *)"",
		       a->input.size) &&
	       a->name_size == b->name_size &&
	       !memcmp(a->name ? a->name : "", b->name ? b->name : "", a->name_size);
}

static const struct rec_end sample_end = {
	.outcome = VM_DEBUG_EXIT, .guest_exit = 7, .insns = 1000, .vtime_ns = 5000, .exits = 12,
	.inputs = 2, .input_bytes = 9, .digest = 0xfeedfacecafebeef, .reason = "asked to",
};

/* A small recording with everything in it; ends[] is where each chunk ends.  Returns how many. */
static unsigned small_sample(struct mem *m, u64 nonce, u64 ends[16])
{
	struct execpoint at = { 0, 0, 0 };
	const struct rec_medium med = medium(m);
	unsigned n = 0;
	u64 append, chain;
	u8 image[64];
	u32 k;

	cr_assert(!rec_create(&w, &med, nonce, head, sizeof(head) - 1));
	ends[n++] = w.end;
	k = rec_image_head(image, "kernel", 0);
	memcpy(image + k, "KERNEL!", 7);
	cr_assert(!rec_put_chunk(&w, REC_IMAGE, image, k + 7));
	ends[n++] = w.end;
	append = w.end;
	chain = w.chain;
	/* from here on, another writer: the hypervisor's */
	cr_assert(!rec_writer_open(&w, &med, append, chain));
	cr_assert(!rec_put_chunk(&w, REC_HOST, host, sizeof(host) - 1));
	ends[n++] = w.end;
	for (unsigned i = 0; i < 6; i++) {
		at.count += 50000000 + i;
		at.vtime_ns += 50000000 + i + (i & 1) * 12345678;
		cr_assert(!rec_put_digest(&w, 0, &at, XXH64(&i, sizeof(i), 0)));
		if (i == 2) {
			struct input in = { INPUT_CONSOLE, 0, (const u8 *)"ls\n", 3 };

			cr_assert(!rec_put_input(&w, 0, &at, &in));
			at.sequence++;
			cr_assert(!rec_put_mark(&w, 0, &at, "prompt"));
		}
		cr_assert(!rec_commit(&w, false));
		ends[n++] = w.end;
	}
	cr_assert(!rec_put_end(&w, &sample_end, 1));
	ends[n++] = w.end;
	return n;
}

/* Reads everything: how many events; *e is what ended it. */
static unsigned read_all(struct mem *m, err_t *e)
{
	const struct rec_medium med = medium(m);
	struct rec_event ev;
	unsigned n = 0;

	*e = rec_reader_open(&r, &med);
	while (!*e) {
		*e = rec_next_event(&r, &ev);
		if (!*e)
			n++;
	}
	return n;
}

/* ---- tests ---- */

Test(recording, round_trip_of_random_events)
{
	static struct model model;

	for (unsigned seed = 1; seed <= 30; seed++) {
		struct mem m = mem_new(16 << 20);
		const struct rec_medium med = medium(&m);
		struct execpoint at[REC_MAX_VMS] = { { 0 } };
		struct rec_event ev;
		unsigned n = (unsigned)(seed * 20);

		rng = seed * 0x9e3779b97f4a7c15;
		cr_assert(!rec_create(&w, &med, seed, head, sizeof(head) - 1));
		for (unsigned i = 0; i < n; i++) {
			random_event(&model, at);
			put(&model.ev[i]);
			if (rnd() % 4 == 0)
				cr_assert(!rec_commit(&w, rnd() % 2));
		}
		cr_assert(!rec_put_end(&w, &sample_end, 1));
		cr_assert(!rec_reader_open(&r, &med));
		cr_assert_eq(r.nonce, seed);
		cr_assert_eq(r.chunk.type, REC_HEAD);
		cr_assert(r.chunk.size == sizeof(head) - 1 && !memcmp(r.chunk.payload, head, r.chunk.size));
		for (unsigned i = 0; i < n; i++) {
			cr_assert(!rec_next_event(&r, &ev));
			cr_assert(same(&ev, &model.ev[i]), "seed %u event %u", seed, i);
		}
		cr_assert_eq(rec_next_event(&r, &ev), ERR_END);
		cr_assert_eq(r.stop, REC_STOP_COMPLETE);
		cr_assert_eq(r.end, w.end);
		cr_assert_eq(rec_next_event(&r, &ev), ERR_END);
		cr_assert_eq(r.nends, 1);
		cr_assert(!memcmp(&r.ends[0].insns, &sample_end.insns, 6 * 8));
		cr_assert(r.ends[0].outcome == VM_DEBUG_EXIT && r.ends[0].guest_exit == 7);
		cr_assert_str_eq(r.ends[0].reason, "asked to");
		model_free(&model);
		free(m.data);
	}
}

Test(recording, cut_at_every_byte_leaves_the_intact_chunks)
{
	struct mem m = mem_new(8192);
	u64 ends[16];
	unsigned nchunks = small_sample(&m, 1, ends), full;
	u64 size = ends[nchunks - 1];
	err_t e;

	full = read_all(&m, &e);
	cr_assert_eq(full, 8);
	/* File cut short, and sectors never written (zeros): both ways a recording loses its tail. */
	for (unsigned zeros = 0; zeros < 2; zeros++)
		for (u64 cut = 0; cut < size; cut++) {
			struct mem c = mem_new(8192);
			unsigned intact = 0;

			memcpy(c.data, m.data, cut);
			/* at its exact size, so that the sanitizer sees a read behind it */
			if (!zeros)
				c.data = realloc(c.data, cut ? cut : 1);
			c.size = zeros ? 8192 : cut;
			while (intact < nchunks && ends[intact] <= cut)
				intact++;
			/* A chunk whose lost last bytes were zeros is not cut at all. */
			if (zeros && intact < nchunks &&
			    !memcmp(c.data + cut, m.data + cut, ends[intact] - cut))
				intact++;
			read_all(&c, &e);
			if (!intact) {
				cr_assert(e == ERR_DAMAGED || (e == ERR_INVALID && cut < 8), "cut %lu: %d", cut, e);
			} else {
				cr_assert(e == ERR_END || e == ERR_DAMAGED);
				cr_assert_eq(r.end, ends[intact - 1], "cut %lu", cut);
				cr_assert_eq(r.stop == REC_STOP_COMPLETE, intact == nchunks);
				if (cut == ends[intact - 1])
					cr_assert_eq(r.stop, REC_STOP_CUT);
			}
			free(c.data);
		}
	free(m.data);
}

Test(recording, no_flipped_bit_passes)
{
	struct mem m = mem_new(4096);
	u64 ends[16];
	unsigned nchunks = small_sample(&m, 1, ends);

	for (u64 bit = 0; bit < ends[nchunks - 1] * 8; bit++) {
		unsigned intact = 0;
		err_t e;

		m.data[bit / 8] ^= (u8)(1 << bit % 8);
		while (ends[intact] <= bit / 8)
			intact++;
		read_all(&m, &e);
		cr_assert_neq(r.stop, REC_STOP_COMPLETE, "bit %lu", bit);
		if (intact)
			cr_assert_eq(r.end, ends[intact - 1], "bit %lu", bit);
		else
			cr_assert(e == ERR_DAMAGED || (e == ERR_INVALID && bit < 64), "bit %lu: %d", bit, e);
		m.data[bit / 8] ^= (u8)(1 << bit % 8);
	}
	free(m.data);
}

/* ---- back to a place ---- */

enum tail { TAIL_END, TAIL_CUT, TAIL_DAMAGED };

/* A recording of random events in chunks of random length, with other chunks between; returns its bytes. */
static u64 record_events(struct mem *m, struct model *model, unsigned n, enum tail tail)
{
	const struct rec_medium med = medium(m);
	struct execpoint at[REC_MAX_VMS] = { { 0 } };

	cr_assert(!rec_create(&w, &med, n, head, sizeof(head) - 1));
	for (unsigned i = 0; i < n; i++) {
		random_event(model, at);
		put(&model->ev[i]);
		if (rnd() % 5 == 0)
			cr_assert(!rec_commit(&w, false));
		if (rnd() % 40 == 0)
			cr_assert(!rec_put_chunk(&w, REC_HOST, host, sizeof(host) - 1));
	}
	cr_assert(!rec_commit(&w, true));
	if (tail == TAIL_END)
		cr_assert(!rec_put_end(&w, &sample_end, 1));
	if (tail == TAIL_DAMAGED)
		memset(m->data + w.end, 0xee, 20);
	return w.end;
}

/* From a place on: the same events and the same end as the first time; at most `most` of them. */
static void goes_on_from(const struct model *model, unsigned from, unsigned most, err_t end, unsigned seed)
{
	struct rec_event ev;

	for (unsigned i = from; i < MIN(model->n, from + most); i++) {
		cr_assert(!rec_next_event(&r, &ev), "seed %u: event %u of %u", seed, i, model->n);
		cr_assert(same(&ev, &model->ev[i]), "seed %u: event %u from %u", seed, i, from);
	}
	if (from + most <= model->n)
		return;
	cr_assert_eq(rec_next_event(&r, &ev), end, "seed %u", seed);
	cr_assert_eq(r.end, w.end);
	cr_assert_eq(r.nends, end == ERR_END && r.stop == REC_STOP_COMPLETE);
	cr_assert(!r.nends || r.ends[0].insns == sample_end.insns);
	cr_assert_eq(rec_next_event(&r, &ev), end, "seed %u: the end is no end", seed);
}

Test(recording, seeking_back_goes_on_with_the_same_events)
{
	static struct model model;
	static struct rec_place places[ARRAY_SIZE(model.ev) + 2];
	static const err_t ends[] = { [TAIL_END] = ERR_END, [TAIL_CUT] = ERR_END, [TAIL_DAMAGED] = ERR_DAMAGED };

	for (unsigned seed = 1; seed <= 40; seed++) {
		struct mem m = mem_new(16 << 20);
		const struct rec_medium med = medium(&m);
		enum tail tail = (enum tail)(seed % 3);
		unsigned n = 1 + seed * 11 % 500, nplaces = n + 2;
		struct rec_event ev;

		rng = seed * 0x9e3779b97f4a7c15;
		record_events(&m, &model, n, tail);
		cr_assert(!rec_reader_open(&r, &med));
		/* the last place is behind the end, or at the damage */
		for (unsigned i = 0; i < nplaces; i++) {
			rec_tell(&r, &places[i]);
			cr_assert_eq(rec_next_event(&r, &ev), i < n ? OK : ends[tail], "seed %u event %u", seed, i);
		}
		for (unsigned i = 0; i < 60; i++) {
			unsigned to = (unsigned)(rnd() % nplaces);

			cr_assert(!rec_seek(&r, &places[to]), "seed %u: place %u of %u", seed, to, n);
			goes_on_from(&model, MIN(to, n), rnd() % 3 ? (unsigned)(rnd() % 30) : ~0U / 2, ends[tail], seed);
		}
		model_free(&model);
		free(m.data);
	}
}

/* A medium that fails, and one that is well again. */

static bool unreadable;

static err_t mem_read_maybe(void *ctx, u64 offset, void *buf, size_t n)
{
	return unreadable ? ERR_IO : mem_read(ctx, offset, buf, n);
}

Test(recording, a_seek_on_a_failing_medium_fails_and_leaves_the_reader_fit_for_the_next)
{
	static struct model model;
	struct mem m = mem_new(16 << 20);
	struct rec_medium med = medium(&m);
	struct rec_place first, later = { 0 };
	struct rec_event ev;
	unsigned n = 300;

	rng = 77;
	record_events(&m, &model, n, TAIL_END);
	med.read = mem_read_maybe;
	cr_assert(!rec_reader_open(&r, &med));
	cr_assert(!rec_next_event(&r, &ev));
	rec_tell(&r, &first);
	cr_assert_gt(w.end, 2 * REC_WINDOW, "too small to leave the window");
	for (unsigned i = 1; i < n; i++) {
		cr_assert(!rec_next_event(&r, &ev));
		if (i == n - 2)
			rec_tell(&r, &later);
	}
	unreadable = true;
	cr_assert_eq(rec_seek(&r, &first), ERR_IO);
	cr_assert_eq(r.stop, REC_STOP_IO);
	cr_assert_eq(rec_next_event(&r, &ev), ERR_IO);
	unreadable = false;
	cr_assert(!rec_seek(&r, &later));
	goes_on_from(&model, n - 1, ~0U / 2, ERR_END, 0);
	cr_assert(!rec_seek(&r, &first));
	goes_on_from(&model, 1, ~0U / 2, ERR_END, 0);
	model_free(&model);
	free(m.data);
}

Test(recording, an_older_longer_recording_behind_is_not_read)
{
	struct mem m = mem_new(8192);
	u64 ends[16], older[16];
	unsigned n = small_sample(&m, 1, older);
	const struct rec_medium med = medium(&m);
	struct rec_event ev;
	struct execpoint at = { 50000000, 50000000, 0 };
	unsigned zero = 0;

	/* The same run recorded again in the same place, with and without another nonce. */
	cr_assert(!rec_create(&w, &med, 2, head, sizeof(head) - 1));
	ends[0] = w.end;
	cr_assert_eq(ends[0], older[0]);
	cr_assert(!rec_put_digest(&w, 0, &at, XXH64(&zero, sizeof(zero), 0)));
	cr_assert(!rec_commit(&w, false));
	cr_assert(!rec_reader_open(&r, &med));
	cr_assert(!rec_next_event(&r, &ev));
	cr_assert_eq(rec_next_event(&r, &ev), ERR_END);
	cr_assert_eq(r.stop, REC_STOP_CUT);
	cr_assert_eq(r.end, w.end);
	cr_assert_lt(r.end, older[n - 1]);

	/* Old chunks that follow exactly where the new one ends do not continue it: another chain. */
	small_sample(&m, 1, older);
	u8 *tail = malloc(older[n - 1] - older[0]);
	memcpy(tail, m.data + older[0], older[n - 1] - older[0]);
	cr_assert(!rec_create(&w, &med, 2, head, sizeof(head) - 1));
	memcpy(m.data + ends[0], tail, older[n - 1] - older[0]);
	cr_assert(!rec_reader_open(&r, &med));
	cr_assert_eq(rec_next_event(&r, &ev), ERR_DAMAGED);
	cr_assert_eq(r.end, ends[0]);
	free(tail);
	free(m.data);
}

Test(recording, a_zero_follows_a_chunk_that_fills_its_sector)
{
	/* W3: find a text length that makes HEAD end on a sector's last byte. */
	char text[REC_SECTOR];
	bool met = false;

	rng = 5;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)(rnd() >> 30);
	for (unsigned n = 300; n < 500; n++) {
		struct mem m = mem_new(4096);
		const struct rec_medium med = medium(&m);
		err_t e;

		memset(m.data, 0xa5, m.size);
		cr_assert(!rec_create(&w, &med, 1, text, n));
		met |= w.end == REC_SECTOR;
		read_all(&m, &e);
		cr_assert_eq(e, ERR_END, "%u", n);
		cr_assert_eq(r.stop, REC_STOP_CUT);
		cr_assert_eq(r.end, w.end);
		free(m.data);
	}
	cr_assert(met);
}

Test(recording, a_zero_with_something_behind_it_is_damage)
{
	struct mem m = mem_new(4096);
	u64 ends[16];
	err_t e;

	/* A chunk that lost its first byte is no clean end; zeros to the end of the sector are. */
	small_sample(&m, 1, ends);
	m.data[ends[3]] = 0;
	read_all(&m, &e);
	cr_assert(e == ERR_DAMAGED && r.end == ends[3]);
	memset(m.data + ends[3], 0, REC_SECTOR - ends[3]);
	read_all(&m, &e);
	cr_assert(e == ERR_END && r.stop == REC_STOP_CUT && r.end == ends[3]);
	free(m.data);
}

Test(recording, versions)
{
	struct mem m = mem_new(4096);
	u64 ends[16];
	err_t e;

	small_sample(&m, 1, ends);
	m.data[8] = 2;
	read_all(&m, &e);
	cr_assert_eq(e, ERR_DAMAGED, "a flipped version bit is damage, not a version");
	write_bytes_le(m.data + 24, 8, XXH64(m.data, 24, 0));
	read_all(&m, &e);
	cr_assert_eq(e, ERR_VERSION);
	cr_assert_eq(r.stop, REC_STOP_VERSION);
	memset(m.data, 0, 8);
	read_all(&m, &e);
	cr_assert_eq(e, ERR_INVALID);
	free(m.data);
}

Test(recording, unknown_chunks_are_passed_over_only_if_marked)
{
	struct mem m = mem_new(4096);
	const struct rec_medium med = medium(&m);
	err_t e;

	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	cr_assert(!rec_put_chunk(&w, 9 | REC_FLAG_SKIPPABLE, "later", 5));
	cr_assert(!rec_put_end(&w, &sample_end, 1));
	read_all(&m, &e);
	cr_assert(e == ERR_END && r.stop == REC_STOP_COMPLETE);
	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	u64 at = w.end;
	cr_assert(!rec_put_chunk(&w, 9, "later", 5));
	read_all(&m, &e);
	cr_assert_eq(e, ERR_VERSION);
	cr_assert_eq(r.end, at);
	free(m.data);
}

/* A valid checksum does not make nonsense valid: every one of these is written by our own writer. */
Test(recording, senseless_contents_are_damage)
{
	static const struct {
		u8 type;
		const char *bytes;
		u32 size;
		err_t want;
	} cases[] = {
		{ REC_EVENTS, "\x02\x05" "1234567", 9, ERR_DAMAGED },        /* digest one byte short */
		{ REC_EVENTS, "\x01\x05\x01\x00\x05xxxx", 9, ERR_DAMAGED },   /* input longer than the chunk */
		{ REC_EVENTS, "\x01\x05\x00\x00\x00", 5, ERR_DAMAGED },       /* input of no sort */
		{ REC_EVENTS, "\x01\x05\x01\x00\xc1\x80\x04", 7, ERR_DAMAGED }, /* over REC_INPUT_MAX */
		{ REC_EVENTS, "\x12\x05\x0b" "12345678", 11, ERR_DAMAGED },   /* time runs backwards */
		{ REC_EVENTS, "\x22\x10\x00\x05" "12345678", 12, ERR_DAMAGED }, /* VM 16 */
		{ REC_EVENTS, "\x22\x00\x01\x05" "12345678", 12, ERR_DAMAGED }, /* vCPU 1 */
		{ REC_EVENTS, "\x02", 1, ERR_DAMAGED },
		{ REC_EVENTS, "\x02\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02" "12345678", 19, ERR_DAMAGED },
		{ REC_EVENTS, "\x02\x05" "12345678\x02", 11, ERR_DAMAGED },   /* the good one before it is not given out */
		{ REC_EVENTS, "\x00\x05", 2, ERR_VERSION },
		{ REC_EVENTS, "\x0f\x05", 2, ERR_VERSION },
		{ REC_EVENTS, "\x82\x05" "12345678", 10, ERR_VERSION },
		{ REC_END, "\x00\x01\x00", 3, ERR_DAMAGED },
		{ REC_END, "\x10\x01\x00\x00\x00\x00\x00\x00" "12345678\x00", 17, ERR_DAMAGED },
		{ REC_END, "\x00\x01\x00\x00\x00\x00\x00\x00" "12345678\x05xx", 19, ERR_DAMAGED },
		{ REC_HEAD, "machine=1\n", 10, ERR_DAMAGED },
		{ REC_DISK, "\x08\x00", 2, ERR_DAMAGED },                     /* disk 8 */
		{ REC_DISK, "\x00", 1, ERR_DAMAGED },
		{ REC_DISK, "\x00\x05" "12345678", 10, ERR_DAMAGED },         /* no whole sector */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mem m = mem_new(4096);
		const struct rec_medium med = medium(&m);
		err_t e;
		u64 chain;
		u64 at;

		cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
		at = w.end;
		chain = w.chain;
		cr_assert(!rec_put_chunk(&w, cases[i].type, cases[i].bytes, cases[i].size));
		cr_assert_eq(read_all(&m, &e), 0, "case %u", i);
		cr_assert_eq(e, cases[i].want, "case %u: %d", i, e);
		cr_assert_eq(r.end, at);
		cr_assert_eq(r.chain, chain, "end and chain are where the intact part ends");
		free(m.data);
	}
}

Test(recording, the_writer_refuses_what_cannot_be_read_back)
{
	struct mem m = mem_new(4096);
	const struct rec_medium med = medium(&m);
	struct execpoint at = { 10, 10, 0 }, before = { 9, 10, 0 }, earlier = { 10, 9, 0 };
	static u8 big[REC_INPUT_MAX + 1];
	struct input in = { INPUT_CONSOLE, 0, big, sizeof(big) };

	for (unsigned i = 0; i < 4; i++) {
		cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
		cr_assert(!rec_put_digest(&w, 0, &at, 1));
		switch (i) {
		case 0: cr_assert_eq(rec_put_digest(&w, 0, &before, 1), ERR_INVALID); break;
		case 1: cr_assert_eq(rec_put_digest(&w, 0, &earlier, 1), ERR_INVALID); break;
		case 2: cr_assert_eq(rec_put_input(&w, 0, &at, &in), ERR_INVALID); break;
		case 3: cr_assert_eq(rec_put_digest(&w, REC_MAX_VMS, &at, 1), ERR_INVALID); break;
		}
		cr_assert_eq(rec_commit(&w, false), ERR_INVALID, "errors stick");
		cr_assert_eq(rec_put_end(&w, &sample_end, 1), ERR_INVALID);
	}
	free(m.data);
}

Test(recording, a_full_or_failing_medium_is_an_error_that_sticks)
{
	struct mem m = mem_new(1024);
	const struct rec_medium med = medium(&m);
	struct execpoint at = { 0, 0, 0 };
	u64 intact = 0;
	err_t e = OK;

	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	while (!e) {
		intact = w.end;
		at.count++;
		at.vtime_ns++;
		e = rec_put_digest(&w, 0, &at, at.count);
		if (!e)
			e = rec_commit(&w, false);
	}
	cr_assert_eq(e, ERR_TOO_BIG);
	cr_assert_eq(rec_put_digest(&w, 0, &at, 1), ERR_TOO_BIG);
	cr_assert_eq(read_all(&m, &e), at.count - 1);
	cr_assert_eq(r.end, intact);
	cr_assert_eq(r.stop, REC_STOP_CUT);

	m.fail_after = (int)m.writes + 1;
	cr_assert(!rec_create(&w, &med, 1, "", 0) || w.error == ERR_IO);
	m.fail_after = 0;
	at = (struct execpoint){ 1, 1, 0 };
	cr_assert(rec_put_digest(&w, 0, &at, 1) == ERR_IO || rec_commit(&w, false) == ERR_IO);
	free(m.data);
}

Test(recording, opening_for_append_with_a_wrong_chain_is_refused)
{
	struct mem m = mem_new(4096);
	const struct rec_medium med = medium(&m);
	u64 end, chain;

	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	end = w.end;
	chain = w.chain;
	cr_assert_eq(rec_writer_open(&w, &med, end, chain ^ 1), ERR_MISMATCH);
	cr_assert_eq(rec_writer_open(&w, &med, end + 1, chain), ERR_MISMATCH);
	cr_assert_eq(rec_writer_open(&w, &med, 4097, chain), ERR_INVALID);
	cr_assert_eq(rec_writer_open(&w, &med, 8, chain), ERR_INVALID);
	cr_assert_eq(rec_writer_open(&w, &med, end, chain), OK);
	free(m.data);
}

/* kill -9 amid a write leaves its first sectors: that is cut, not damage; anything else that is not a chunk is damage. */
Test(recording, a_torn_write_is_a_cut)
{
	static u8 bytes[5000];
	struct mem m = mem_new(1 << 20);
	const struct rec_medium med = medium(&m);
	struct execpoint at = { 5, 5, 0 };
	u64 intact, end;
	err_t e;

	rng = 7;
	for (u32 i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)rnd();
	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	cr_assert(!rec_put_digest(&w, 0, &at, 77) && !rec_commit(&w, false));
	intact = w.end;
	cr_assert(!rec_put_input(&w, 0, &at, &(struct input){ INPUT_FRAME, 0, bytes, sizeof(bytes) }) && !rec_commit(&w, false));
	end = w.end;
	cr_assert_gt(end, intact + sizeof(bytes), "not compressed");
	for (u64 cut = ALIGN_UP(intact + 1, (u64)REC_SECTOR); cut < end; cut += REC_SECTOR) {
		u8 rest[8192];

		memcpy(rest, m.data + cut, end - cut);
		memset(m.data + cut, 0, end - cut);
		cr_assert_eq(read_all(&m, &e), 1, "the digest before it");
		cr_assert_eq(r.stop, REC_STOP_CUT, "cut at %lu of %lu", cut, end);
		cr_assert_eq(r.end, intact);
		m.data[end + 600] = 1;
		cr_assert_eq(read_all(&m, &e), 1);
		cr_assert_eq(r.stop, REC_STOP_DAMAGED, "something is behind it");
		m.data[end + 600] = 0;
		m.data[end - 1] = 1;
		cr_assert_eq(read_all(&m, &e), 1);
		cr_assert_eq(r.stop, REC_STOP_DAMAGED, "its end is there");
		memcpy(m.data + cut, rest, end - cut);
	}
	free(m.data);
}

/* An input as long as any, between others: events are read on behind it. */
Test(recording, the_longest_input_is_alone_in_its_chunk)
{
	static u8 longest[REC_INPUT_MAX];
	struct mem m = mem_new(1 << 20);
	const struct rec_medium med = medium(&m);
	struct execpoint at = { 5, 5, 0 };
	struct rec_event ev;

	rng = 8;
	for (u32 i = 0; i < sizeof(longest); i++)
		longest[i] = (u8)rnd();
	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	for (unsigned i = 0; i < 6; i++, at.sequence++)
		cr_assert(!rec_put_input(&w, 0, &at, &(struct input){ INPUT_PACKET, 0, longest, i % 3 == 1 ? REC_INPUT_MAX : 10 }));
	cr_assert_eq(w.nchunks, 5, "HEAD, ten bytes, the long one, ten and ten, the long one; ten are still to be written");
	cr_assert(!rec_put_end(&w, &sample_end, 1));
	cr_assert(!rec_reader_open(&r, &med));
	for (unsigned i = 0; i < 6; i++) {
		cr_assert(!rec_next_event(&r, &ev));
		cr_assert(ev.input.size == (i % 3 == 1 ? REC_INPUT_MAX : 10) && !memcmp(ev.input.data, longest, ev.input.size));
	}
	cr_assert_eq(rec_next_event(&r, &ev), ERR_END);
	cr_assert_eq(r.stop, REC_STOP_COMPLETE);
	free(m.data);
}

Test(recording, sectors_of_a_shared_disk)
{
	static u8 part[REC_DISK_HEAD_MAX + 1024];
	struct mem m = mem_new(1 << 20);
	const struct rec_medium med = medium(&m);
	struct execpoint at = { 5, 5, 0 };
	struct rec_sectors got;
	struct rec_event ev;
	u32 k;

	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	cr_assert(!rec_put_chunk(&w, REC_DISK, part, rec_disk_head(part, 7, 1UL << 40)));
	cr_assert(!rec_put_digest(&w, 0, &at, 77));
	k = rec_disk_head(part, 3, 123456789);
	memset(part + k, 0xab, 1024);
	cr_assert(!rec_put_chunk(&w, REC_DISK, part, k + 1024));
	cr_assert(!rec_put_end(&w, &sample_end, 1));

	cr_assert(!rec_reader_open(&r, &med) && !rec_next_chunk(&r));
	cr_assert(r.chunk.type == REC_DISK && !rec_disk_sectors(&r.chunk, &got));
	cr_assert(got.disk == 7 && got.sector == 1UL << 40 && got.size == 0);
	cr_assert(!rec_next_chunk(&r) && !rec_next_chunk(&r));
	cr_assert(r.chunk.type == REC_DISK && !rec_disk_sectors(&r.chunk, &got));
	cr_assert(got.disk == 3 && got.sector == 123456789 && got.size == 1024 && got.data[0] == 0xab && got.data[1023] == 0xab);
	cr_assert(!rec_reader_open(&r, &med) && !rec_next_event(&r, &ev));
	cr_assert_eq(ev.digest, 77, "who wants events passes over them");
	cr_assert_eq(rec_next_event(&r, &ev), ERR_END);
	cr_assert_eq(r.stop, REC_STOP_COMPLETE);
	free(m.data);
}

Test(recording, images_come_back_part_by_part_and_events_can_be_read_behind_them)
{
	struct mem m = mem_new(4 << 20);
	const struct rec_medium med = medium(&m);
	static u8 image[200000], back[200000], part[REC_PART_MAX];
	struct execpoint at = { 5, 5, 0 };
	struct rec_event ev;
	struct rec_image_part got;
	u64 end, chain;

	rng = 99;
	for (unsigned i = 0; i < sizeof(image); i++)
		image[i] = (u8)(i < 100000 ? rnd() : i / 1000);
	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	for (u64 off = 0; off < sizeof(image);) {
		u32 k = rec_image_head(part, "initrd", off);
		u32 n = (u32)MIN((u64)REC_PART_MAX - k, sizeof(image) - off);

		memcpy(part + k, image + off, n);
		cr_assert(!rec_put_chunk(&w, REC_IMAGE, part, k + n));
		off += n;
	}
	cr_assert(w.end < 150000, "the even half is compressed: %lu", w.end);
	cr_assert(!rec_put_digest(&w, 0, &at, 77));
	cr_assert(!rec_put_end(&w, &sample_end, 1));

	cr_assert(!rec_reader_open(&r, &med));
	do {
		end = r.end;
		chain = r.chain;
		cr_assert(!rec_next_chunk(&r));
		if (r.chunk.type == REC_IMAGE) {
			cr_assert(!rec_image_part(&r.chunk, &got));
			cr_assert_str_eq(got.role, "initrd");
			memcpy(back + got.offset, got.data, got.size);
		}
	} while (r.chunk.type == REC_IMAGE);
	cr_assert(!memcmp(back, image, sizeof(image)));

	cr_assert(!rec_reader_open_at(&r, &med, end, chain));
	cr_assert(!rec_next_event(&r, &ev));
	cr_assert_eq(ev.digest, 77);
	cr_assert_eq(rec_next_event(&r, &ev), ERR_END);
	cr_assert_eq(r.stop, REC_STOP_COMPLETE);
	cr_assert(!rec_reader_open_at(&r, &med, end, chain ^ 1));
	cr_assert_eq(rec_next_event(&r, &ev), ERR_DAMAGED);
	free(m.data);
}

Test(recording, small_enough)
{
	struct mem m = mem_new(1 << 16);
	const struct rec_medium med = medium(&m);
	struct execpoint at = { 0, 0, 0 };
	u64 before;

	cr_assert(!rec_create(&w, &med, 1, head, sizeof(head) - 1));
	before = w.end;
	/* an epoch of 2^26 instructions each, idle time in between, committed one by one */
	for (unsigned i = 0; i < 100; i++) {
		at.count += 1 << 26;
		at.vtime_ns += (1 << 26) + 3999999;
		cr_assert(!rec_put_digest(&w, 0, &at, i * 0x9e3779b97f4a7c15));
		cr_assert(!rec_commit(&w, false));
	}
	cr_assert_leq(w.end - before, 100 * 32, "%lu bytes a digest", (w.end - before) / 100);
	cr_assert_eq(m.flushes, 0);
	cr_assert(!rec_commit(&w, true));
	cr_assert_eq(m.flushes, 1);
	free(m.data);
}

Test(recording, varints)
{
	static const u64 v[] = { 0, 1, 127, 128, 16383, 16384, 0xffffffff, 1UL << 63, ~0UL };
	u8 buf[VARINT_MAX + 1];
	u64 got;

	for (unsigned i = 0; i < ARRAY_SIZE(v); i++) {
		u32 n = put_varint(buf, v[i]);

		cr_assert(get_varint(buf, n, &got) == n && got == v[i]);
		cr_assert_eq(get_varint(buf, n - 1, &got), 0);
		cr_assert_eq(unzigzag(zigzag(v[i])), v[i]);
	}
	cr_assert_eq(zigzag(~0UL), 1);
	cr_assert_eq(zigzag(1), 2);
	memset(buf, 0x80, sizeof(buf));
	cr_assert_eq(get_varint(buf, sizeof(buf), &got), 0);
}

/*
 * Golden files: bytes an earlier build wrote.  To make one for a new version:
 * REPRISE_GOLDEN_WRITE=1 build/unit/unit --filter 'recording/golden*'
 */
#define GOLDEN "tests/golden/recording-v1.rpl"
#define GOLDEN_DISK "tests/golden/recording-v1-disk.rpl"

/* What is in the file, which is what this build has just written. */
static struct mem golden(const char *path, const struct mem *written, u64 bytes)
{
	struct mem g = mem_new(4096);
	FILE *f;

	if (getenv("REPRISE_GOLDEN_WRITE")) {
		f = fopen(path, "wb");
		cr_assert(f && fwrite(written->data, 1, bytes, f) == bytes && !fclose(f));
	}
	f = fopen(path, "rb");
	cr_assert_not_null(f, "run from the top of the tree");
	g.size = fread(g.data, 1, g.size, f);
	fclose(f);
	cr_assert_eq(g.size, bytes);
	cr_assert(!memcmp(g.data, written->data, bytes), "the writer writes other bytes than version 1's");
	return g;
}

/* Since chunks of type 7: sectors of a shared disk. */
Test(recording, golden_file_with_a_shared_disk)
{
	static u8 part[REC_DISK_HEAD_MAX + REC_DISK_SECTOR];
	struct mem m = mem_new(4096), g;
	const struct rec_medium to = medium(&m);
	struct execpoint at = { 150000003, 162345681, 0 };
	struct rec_sectors got;
	u32 k;

	cr_assert(!rec_create(&w, &to, 0x0123456789abcdef, head, sizeof(head) - 1));
	cr_assert(!rec_put_chunk(&w, REC_HOST, host, sizeof(host) - 1));
	cr_assert(!rec_put_chunk(&w, REC_DISK, part, rec_disk_head(part, 1, 131072)));
	k = rec_disk_head(part, 1, 131071);
	for (u32 i = 0; i < REC_DISK_SECTOR; i++)
		part[k + i] = (u8)(i * i >> 3 ^ i);
	cr_assert(!rec_put_chunk(&w, REC_DISK, part, k + REC_DISK_SECTOR));
	cr_assert(!rec_put_digest(&w, 0, &at, 77) && !rec_put_end(&w, &sample_end, 1));
	g = golden(GOLDEN_DISK, &m, w.end);

	const struct rec_medium med = medium(&g);
	cr_assert(!rec_reader_open(&r, &med) && !rec_next_chunk(&r) && r.chunk.type == REC_HOST);
	cr_assert(!rec_next_chunk(&r) && !rec_disk_sectors(&r.chunk, &got));
	cr_assert(got.disk == 1 && got.sector == 131072 && got.size == 0);
	cr_assert(!rec_next_chunk(&r) && !rec_disk_sectors(&r.chunk, &got));
	cr_assert(got.disk == 1 && got.sector == 131071 && got.size == REC_DISK_SECTOR && !memcmp(got.data, part + k, got.size));
	free(m.data);
	free(g.data);
}

Test(recording, golden_file)
{
	struct mem m = mem_new(4096), g;
	u64 ends[16];
	unsigned n = small_sample(&m, 0x0123456789abcdef, ends);
	struct rec_event ev;

	g = golden(GOLDEN, &m, ends[n - 1]);
	const struct rec_medium med = medium(&g);
	cr_assert(!rec_reader_open(&r, &med));
	cr_assert(!rec_next_event(&r, &ev));
	cr_assert(ev.kind == REC_DIGEST && ev.at.count == 50000000 && ev.at.vtime_ns == 50000000);
	for (unsigned i = 0; i < 3; i++)
		cr_assert(!rec_next_event(&r, &ev));
	cr_assert(ev.kind == REC_INPUT && ev.input.size == 3 && !memcmp(ev.input.data, "ls\n", 3));
	cr_assert(ev.at.count == 150000003 && ev.at.vtime_ns == 162345681 && ev.at.sequence == 0);
	cr_assert(!rec_next_event(&r, &ev));
	cr_assert(ev.kind == REC_MARK && !memcmp(ev.name, "prompt", 6) && ev.at.sequence == 1);
	while (!rec_next_event(&r, &ev))
		;
	cr_assert_eq(r.stop, REC_STOP_COMPLETE);
	cr_assert_eq(r.ends[0].digest, 0xfeedfacecafebeef);
	free(m.data);
	free(g.data);
}
