/*
 * fuzz_recording.c - feeds the recording reader files it did not expect.
 *
 * Each input is read twice: as it is, and with the checksums made right
 * again, so that the parsers behind them are reached, those of stored
 * checkpoints included.  Beyond "no sanitizer
 * report" it checks that points never run backwards, that what is reported
 * intact lies inside the file, and that a second reading says the same.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined.
 * Without: gcc -DSTANDALONE -fsanitize=address,undefined; the program
 * mutates a valid sample as many times as its argument says (default 100000,
 * second argument: seed).
 */
#include "kernel/xxh.h"
#include "replay/recording_format.h"
#include "replay/stored.h"
#include "tests/fuzz/fuzz.h"

struct mem {
	u8 *data;
	size_t size;
};

static err_t mem_read(void *ctx, u64 offset, void *buf, size_t n)
{
	const struct mem *m = ctx;

	CHECK(offset <= m->size && n <= m->size - offset);
	memcpy(buf, m->data + offset, n);
	return OK;
}

static err_t mem_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	struct mem *m = ctx;

	if (offset + n > m->size)
		return ERR_IO;
	memcpy(m->data + offset, buf, n);
	return OK;
}

static err_t mem_flush(void *ctx)
{
	(void)ctx;
	return OK;
}

static struct rec_reader r;

/* Reads everything there is; a digest of all that was said. */
static u64 read_all(struct mem *m)
{
	const struct rec_medium med = { mem_read, mem_write, mem_flush, m, m->size, NULL };
	struct execpoint last[REC_MAX_VMS] = { { 0, 0, 0 } };
	u64 said = 0;
	err_t e = rec_reader_open(&r, &med);

	while (!e) {
		struct rec_image_part part;
		struct rec_event ev;

		said = XXH64(r.chunk.payload, r.chunk.size, said);
		if (r.chunk.type == REC_IMAGE && !rec_image_part(&r.chunk, &part))
			said = XXH64(part.data, part.size, said);
		while (!rec_chunk_event(&r, &ev)) {
			CHECK(ev.vm < REC_MAX_VMS);
			CHECK(ev.at.count >= last[ev.vm].count && ev.at.vtime_ns >= last[ev.vm].vtime_ns);
			last[ev.vm] = ev.at;
			said = XXH64(&ev.at, sizeof(ev.at), said + ev.kind);
			if (ev.kind == REC_INPUT)
				said = XXH64(ev.input.data, ev.input.size, said);
			if (ev.kind == REC_MARK)
				said = XXH64(ev.name, ev.name_size, said);
		}
		CHECK(r.stop == REC_STOP_NONE); /* a chunk given out has no bad event */
		CHECK(r.end <= m->size);
		e = rec_next_chunk(&r);
	}
	CHECK(r.stop != REC_STOP_NONE && r.stop != REC_STOP_IO);
	CHECK(r.end <= m->size);
	return XXH64(r.ends, r.nends * sizeof(r.ends[0]), said + r.stop);
}

/* ---- stored checkpoints: every byte that is given out must be there ---- */

static u64 stored_sum;
static unsigned long stored_points;

static err_t take_begin(void *ctx, const struct stored_point *p)
{
	(void)ctx;
	stored_sum += p->at.count + p->digest;
	return OK;
}

static err_t take_page(void *ctx, u64 frame, const u8 *data)
{
	(void)ctx;
	stored_sum = XXH64(data, PAGE_SIZE, stored_sum + frame);
	return OK;
}

static err_t take_state(void *ctx, const u8 *data, u32 size)
{
	(void)ctx;
	CHECK(size < REC_PART_MAX);
	stored_sum = XXH64(data, size, stored_sum);
	stored_points++;
	return OK;
}

static void read_stored(struct mem *m)
{
	const struct rec_medium med = { mem_read, mem_write, mem_flush, m, m->size, NULL };
	const struct stored_sink sink = { take_begin, take_page, take_state, NULL };
	err_t e;

	if (rec_reader_open(&r, &med))
		return;
	e = stored_load(&r, ~0UL, true, &sink); /* through all there are */
	CHECK(e == OK || e == ERR_END || e == ERR_DAMAGED || e == ERR_VERSION);
}

/* Makes the checksums right for whatever chunk lengths stand there. */
static void mend_checksums(struct mem *m)
{
	u64 chain, size, expanded;
	size_t at = REC_FILE_HEADER_BYTES;

	if (m->size < at)
		return;
	memcpy(m->data, REC_MAGIC, 8);
	write_bytes_le(m->data + 8, 8, REC_VERSION);
	chain = XXH64(m->data, 24, 0);
	write_bytes_le(m->data + 24, 8, chain);
	while (at < m->size) {
		u32 left = (u32)(m->size - at);
		u32 n = 1, k = get_varint(m->data + at + 1, left - 1, &size);

		if (!k)
			return;
		n += k;
		if (m->data[at] & REC_FLAG_LZ4) {
			k = get_varint(m->data + at + n, left - n, &expanded);
			if (!k)
				return;
			n += k;
		}
		if (left - n < 8 || size > left - n - 8)
			return;
		chain = XXH64(m->data + at, n + size, chain);
		write_bytes_le(m->data + at + n + size, 8, chain);
		at += n + size + 8;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	/* Exactly sized, so that the sanitizer sees a byte read behind the file. */
	struct mem m = { malloc(size ? size : 1), size };
	u64 said;

	memcpy(m.data, data, size);
	said = read_all(&m);
	CHECK(said == read_all(&m));
	mend_checksums(&m);
	read_stored(&m);
	read_all(&m);
	free(m.data);
	return 0;
}

#ifdef STANDALONE

/* A checkpoint of two pages, its parts as the writer has them. */
static void put_stored(struct rec_writer *w, bool full, u64 count)
{
	static u8 part[2 * (VARINT_MAX + PAGE_SIZE) + 1];
	u32 n = 0;

	part[n++] = STORED_BEGIN;
	n += put_varint(part + n, full ? STORED_FULL : 0);
	for (unsigned i = 0; i < 7; i++)
		n += put_varint(part + n, count * (i < 2));
	write_bytes_le(part + n, 8, rnd());
	CHECK(!rec_put_chunk(w, REC_CHECKPOINT | REC_SKIPPABLE, part, n + 8));
	part[0] = STORED_PAGES;
	n = 1;
	for (unsigned i = 0; i < 2; i++) {
		n += put_varint(part + n, i * 1000);
		memset(part + n, (int)i + 1, PAGE_SIZE);
		n += PAGE_SIZE;
	}
	CHECK(!rec_put_chunk(w, REC_CHECKPOINT | REC_SKIPPABLE, part, n));
	part[0] = STORED_STATE;
	CHECK(!rec_put_chunk(w, REC_CHECKPOINT | REC_SKIPPABLE, part, 50));
}

static size_t sample(u8 *buf, size_t size)
{
	static struct rec_writer w;
	static const char text[] = "machine=1\nmem_bytes=268435456\nncpus=1\nappend=console=ttyS0 console=ttyS0\n";
	struct mem m = { buf, size };
	const struct rec_medium med = { mem_read, mem_write, mem_flush, &m, size, NULL };
	const struct rec_end end = { .outcome = VM_POWERED_OFF, .insns = 12345, .reason = "done" };
	struct execpoint at = { 0, 0, 0 };
	u8 part[300];
	u32 n = rec_image_head(part, "kernel", 0);

	memset(part + n, 7, sizeof(part) - n);
	CHECK(!rec_create(&w, &med, 1, text, sizeof(text) - 1));
	CHECK(!rec_put_chunk(&w, REC_IMAGE, part, sizeof(part)));
	CHECK(!rec_put_chunk(&w, REC_HOST, "counter=icount\n", 15));
	for (unsigned i = 0; i < 8; i++) {
		struct input in = { INPUT_CONSOLE, 0, (const u8 *)"echo hello hello hello hello\n", 1 + i * 4 };

		at.count += 1000003 * i;
		at.vtime_ns += 1000003 * i + i % 3 * 777;
		CHECK(!rec_put_input(&w, i % 2 * 3, &at, &in));
		at.sequence++;
		CHECK(!rec_put_digest(&w, 0, &at, rnd()));
		CHECK(!rec_put_mark(&w, 0, &at, "here"));
		CHECK(!rec_commit(&w, i % 2));
		if (i == 2 || i == 5)
			put_stored(&w, i == 2, at.count);
	}
	CHECK(!rec_put_end(&w, &end, 1));
	return w.end;
}

static size_t mutate(u8 *p, size_t size, size_t room)
{
	for (unsigned k = 1 + rnd() % 4; k; k--) {
		size_t at = rnd() % size, n = 1 + rnd() % 16;

		switch (rnd() % 6) {
		case 0:
			p[at] ^= (u8)(1 << rnd() % 8);
			break;
		case 1:
			p[at] = (u8)rnd();
			break;
		case 2:
			p[at] = rnd() % 2 ? 0xff : 0x80;
			break;
		case 3: /* remove */
			n = MIN(n, size - at);
			memmove(p + at, p + at + n, size - at - n);
			size = MAX(size - n, (size_t)1);
			break;
		case 4: /* repeat */
			n = MIN(MIN(n, size - at), room - size);
			memmove(p + at + n, p + at, size - at);
			size += n;
			break;
		case 5: /* copy from elsewhere */
			n = MIN(n, size - at);
			memmove(p + at, p + rnd() % (size - n + 1), n);
			break;
		}
	}
	return size;
}

int main(int argc, char **argv)
{
	unsigned long runs = fuzz_runs(argc, argv);
	static u8 good[32768], bad[32768];
	unsigned long complete = 0;
	size_t good_size;

	good_size = sample(good, sizeof(good));
	LLVMFuzzerTestOneInput(good, good_size);
	CHECK(r.stop == REC_STOP_COMPLETE);
	CHECK(stored_points == 2);
	for (unsigned long i = 0; i < runs; i++) {
		memcpy(bad, good, good_size);
		LLVMFuzzerTestOneInput(bad, mutate(bad, good_size, sizeof(bad)));
		complete += r.stop == REC_STOP_COMPLETE;
	}
	printf("fuzz_recording: %lu files read, %lu of them complete once their checksums were mended, %lu checkpoints in them\n",
	       runs, complete, stored_points);
	return 0;
}

#endif
