/*
 * recording_write.c - the writing half of a recording.
 *
 * Events gather in w->events; a commit turns them into one chunk and writes
 * it in whole sectors.  Changes only the writer and its medium.  Holds the
 * writing rules W1 to W5 of docs/RECORDING.md 10.
 */
#include "kernel/xxh.h"
#include "replay/recording_format.h"

static err_t fail(struct rec_writer *w, err_t e)
{
	if (!w->error)
		w->error = e;
	return w->error;
}

/* The bytes of the current sector that are already part of the recording. */
static u32 partial(const struct rec_writer *w)
{
	return (u32)(w->end % REC_SECTOR);
}

/*
 * n new bytes stand in stage behind the partial sector: write them.  At least
 * one zero follows them (W3), so a chunk that fills its last sector to the
 * brim is written with a sector of zeros behind.
 */
static err_t append_staged(struct rec_writer *w, u32 n)
{
	u32 used = partial(w) + n;
	u32 size = ALIGN_UP(used + 1, (u32)REC_SECTOR);
	u64 offset = w->end - partial(w);
	err_t e;

	if (offset > w->medium.size || size > w->medium.size - offset)
		return fail(w, ERR_TOO_BIG);
	memset(w->stage + used, 0, size - used);
	e = w->medium.write(w->medium.ctx, offset, w->stage, size);
	if (e)
		return fail(w, e);
	w->end += n;
	memmove(w->stage, w->stage + used - partial(w), partial(w));
	return OK;
}

/* Writes one chunk, compressed if that makes it smaller. */
static err_t write_chunk(struct rec_writer *w, u8 type, const void *payload, u32 size)
{
	u8 *chunk = w->stage + partial(w);
	u8 *p = chunk;
	u8 head[REC_CHUNK_HEADER_MAX];
	u32 head_size, stored;
	u64 sum;
	err_t e;

	if (w->error)
		return w->error;
	if (size > (type == REC_EVENTS ? REC_PAYLOAD_MAX : REC_PART_MAX))
		return fail(w, ERR_TOO_BIG);
	/* Compress straight behind the longest possible header, then close the gap. */
	stored = size < REC_LZ4_WORTH || (type & REC_TYPE_MASK) == REC_CHECKPOINT ? 0 : /* memory: compressing takes longer than writing */
		 rec_lz4_compress(w->lz4, payload, size, chunk + REC_CHUNK_HEADER_MAX, REC_PAYLOAD_MAX);
	head[0] = type;
	if (stored && stored + VARINT_PART_MAX < size) {
		head[0] |= REC_FLAG_LZ4;
		head_size = 1 + put_varint(head + 1, stored);
		head_size += put_varint(head + head_size, size);
		memmove(p + head_size, chunk + REC_CHUNK_HEADER_MAX, stored);
	} else {
		stored = size;
		head_size = 1 + put_varint(head + 1, stored);
		if (stored && payload != p + head_size) /* memory built in place is where it belongs */
			memmove(p + head_size, payload, stored);
	}
	memcpy(p, head, head_size);
	p += head_size + stored;
	sum = XXH64(chunk, (size_t)(p - chunk), w->chain);
	write_bytes_le(p, 8, sum);
	p += 8;
	e = append_staged(w, (u32)(p - chunk));
	if (e)
		return e;
	w->chain = sum;
	w->nchunks++;
	return OK;
}

static void init(struct rec_writer *w, const struct rec_medium *m)
{
	memset(w, 0, sizeof(*w));
	w->medium = *m;
}

err_t rec_create(struct rec_writer *w, const struct rec_medium *m, u64 nonce, const char *head,
		 size_t head_size)
{
	err_t e;

	init(w, m);
	memcpy(w->stage, REC_MAGIC, 8);
	write_bytes_le(w->stage + 8, 4, REC_VERSION);
	write_bytes_le(w->stage + 16, 8, nonce);
	w->chain = XXH64(w->stage, 24, 0);
	write_bytes_le(w->stage + 24, 8, w->chain);
	e = append_staged(w, REC_FILE_HEADER_BYTES);
	return e ? e : rec_put_chunk(w, REC_HEAD, head, head_size);
}

err_t rec_writer_open(struct rec_writer *w, const struct rec_medium *m, u64 append_offset, u64 chain)
{
	u32 n = (u32)(append_offset % REC_SECTOR);
	u8 sector[REC_SECTOR];
	err_t e;

	init(w, m);
	if (append_offset < REC_FILE_HEADER_BYTES || append_offset > m->size)
		return fail(w, ERR_INVALID);
	w->end = append_offset;
	w->chain = chain;
	if (!n)
		return OK;
	e = m->read(m->ctx, append_offset - n, sector, REC_SECTOR);
	if (e)
		return fail(w, e);
	/* The last chunk ends with its checksum: a wrong offset or chain would make an unreadable file. */
	if (n >= 8 && read_bytes_le(sector + n - 8, 8) != chain)
		return fail(w, ERR_MISMATCH);
	memcpy(w->stage, sector, n);
	return OK;
}

/* ---- events ---- */

/* Makes room for the event, so that it stays whole within a chunk, and queues it. */
static err_t put_event(struct rec_writer *w, const struct rec_event *ev)
{
	struct rec_encoded enc;
	err_t e;

	if (w->error)
		return w->error;
	if (ev->vm >= REC_MAX_VMS)
		return fail(w, ERR_INVALID);
	e = rec_event_encode(&w->base[ev->vm], ev, &enc);
	if (e)
		return fail(w, e);
	if (w->fill + enc.size + enc.data_size > REC_EVENT_BUFFER) {
		e = rec_commit(w, false);
		if (e)
			return e;
	}
	memcpy(w->events + w->fill, enc.bytes, enc.size);
	w->fill += enc.size;
	if (enc.data_size)
		memcpy(w->events + w->fill, enc.data, enc.data_size);
	w->fill += enc.data_size;
	w->nevents++;
	return OK;
}

err_t rec_put_input(struct rec_writer *w, u32 vm, const struct execpoint *at, const struct input *in)
{
	return put_event(w, &(struct rec_event){ .kind = REC_INPUT, .vm = vm, .at = *at, .input = *in });
}

err_t rec_put_digest(struct rec_writer *w, u32 vm, const struct execpoint *at, u64 digest)
{
	return put_event(w, &(struct rec_event){ .kind = REC_DIGEST, .vm = vm, .at = *at, .digest = digest });
}

err_t rec_put_mark(struct rec_writer *w, u32 vm, const struct execpoint *at, const char *name)
{
	size_t size = strlen(name);

	if (size > REC_NAME_MAX)
		return fail(w, ERR_INVALID);
	return put_event(w, &(struct rec_event){ .kind = REC_MARK, .vm = vm, .at = *at, .name = name,
						 .name_size = (u32)size });
}

bool rec_busy(const struct rec_writer *w)
{
	return w->medium.busy && w->medium.busy(w->medium.ctx);
}

bool rec_input_waits(const struct rec_writer *w, u32 size)
{
	return w->fill && w->fill + sizeof(((struct rec_encoded *)0)->bytes) + size > REC_EVENT_BUFFER && rec_busy(w);
}

err_t rec_commit(struct rec_writer *w, bool durable)
{
	err_t e;

	if (w->error)
		return w->error;
	if (w->fill) {
		e = write_chunk(w, REC_EVENTS, w->events, w->fill);
		if (e)
			return e;
		w->fill = 0;
	}
	if (durable) {
		e = w->medium.flush(w->medium.ctx);
		if (e)
			return fail(w, e);
	}
	return OK;
}

/* ---- other chunks ---- */

err_t rec_put_chunk(struct rec_writer *w, unsigned type, const void *payload, size_t size)
{
	err_t e = rec_commit(w, false);

	if (e)
		return e;
	if (size > REC_PART_MAX)
		return fail(w, ERR_TOO_BIG);
	return write_chunk(w, (u8)type, payload, (u32)size);
}

/* The header of a chunk of 16 KiB and more: its type and a varint of three bytes. */
#define BIG_CHUNK_HEADER 4

u8 *rec_chunk_space(struct rec_writer *w)
{
	return w->stage + partial(w) + BIG_CHUNK_HEADER;
}

u32 rec_image_head(u8 *buf, const char *role, u64 offset)
{
	u32 role_size = (u32)MIN(strlen(role), (size_t)REC_NAME_MAX);
	u32 n = put_varint(buf, role_size);

	memcpy(buf + n, role, role_size);
	n += role_size;
	return n + put_varint(buf + n, offset);
}

u32 rec_disk_head(u8 *buf, unsigned disk, u64 sector)
{
	u32 n = put_varint(buf, disk);

	return n + put_varint(buf + n, sector);
}

err_t rec_put_end(struct rec_writer *w, const struct rec_end *ends, unsigned n)
{
	u8 *p = w->events;
	err_t e = rec_commit(w, false);

	if (e)
		return e;
	_Static_assert(REC_MAX_VMS * (8 * VARINT_MAX + 8 + 2 + REC_NAME_MAX) <= REC_EVENT_BUFFER, "END fits");
	if (n > REC_MAX_VMS)
		return fail(w, ERR_INVALID);
	for (const struct rec_end *end = ends; end < ends + n; end++) {
		size_t reason_size = strlen(end->reason);

		p += put_varint(p, end->vm);
		p += put_varint(p, end->outcome);
		p += put_varint(p, end->guest_exit);
		p += put_varint(p, end->insns);
		p += put_varint(p, end->vtime_ns);
		p += put_varint(p, end->exits);
		p += put_varint(p, end->inputs);
		p += put_varint(p, end->input_bytes);
		write_bytes_le(p, 8, end->digest);
		p += 8;
		p += put_varint(p, reason_size);
		memcpy(p, end->reason, reason_size);
		p += reason_size;
	}
	e = write_chunk(w, REC_END, w->events, (u32)(p - w->events));
	return e ? e : rec_commit(w, true);
}
