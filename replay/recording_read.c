/*
 * recording_read.c - the reading half of a recording.
 *
 * Reads through a window over the medium, one verified chunk at a time.
 * Changes only the reader.  Nothing it is fed is trusted before its checksum
 * matches, and nothing even then: a length, a count or an LZ4 block that
 * makes no sense is damage, never a read or write out of bounds.
 */
#include "kernel/xxh.h"
#include "replay/recording_format.h"

static err_t stop(struct rec_reader *r, enum rec_stop why)
{
	r->stop = why;
	switch (why) {
	case REC_STOP_NONE:
		break;
	case REC_STOP_COMPLETE:
	case REC_STOP_CUT:
		return ERR_END;
	case REC_STOP_DAMAGED:
		return ERR_DAMAGED;
	case REC_STOP_VERSION:
		return ERR_VERSION;
	case REC_STOP_IO:
		return ERR_IO;
	}
	return OK;
}

/* ---- the window ---- */

/*
 * The bytes at r->end: *p and how many of at most `want` there are.  Reads
 * from the sector that holds r->end, as much as the window takes.
 */
static err_t look(struct rec_reader *r, u32 want, const u8 **p, u32 *have)
{
	u64 left = r->medium.size - r->end;

	want = (u32)MIN((u64)want, left);
	if (r->end < r->window_offset || r->end + want > r->window_offset + r->window_fill) {
		u64 from = r->end / REC_SECTOR * REC_SECTOR;
		size_t n = (size_t)MIN((u64)REC_WINDOW, r->medium.size - from);

		r->window_fill = 0;
		if (r->medium.read(r->medium.ctx, from, r->window, n))
			return stop(r, REC_STOP_IO);
		r->window_offset = from;
		r->window_fill = (u32)n;
	}
	*p = r->window + (r->end - r->window_offset);
	*have = want;
	return OK;
}

/* ---- chunks ---- */

/* A zero where a chunk would begin: the end, if the writer's zeros follow (W3). */
static err_t at_zero(struct rec_reader *r)
{
	u32 rest = REC_SECTOR - (u32)(r->end % REC_SECTOR), have;
	const u8 *p;
	err_t e = look(r, rest, &p, &have);

	if (e)
		return e;
	for (u32 i = 0; i < have; i++)
		if (p[i])
			return stop(r, REC_STOP_DAMAGED);
	return stop(r, REC_STOP_CUT);
}

/*
 * Who is killed amid a write has written its first sectors: then there is the beginning of a chunk, and from a
 * sector's boundary on the zeros that were there before, as far as the end of its checksum and behind.
 */
static bool is_torn(const struct rec_reader *r, const u8 *p, u32 have, u32 total)
{
	u32 written = have;

	while (written && !p[written - 1])
		written--;
	return ALIGN_UP(r->end + written, REC_SECTOR) < r->end + total;
}

/* Finds the chunk at r->end in the window and checks it; *stored is its payload. */
static err_t take_chunk(struct rec_reader *r, struct rec_chunk *c, const u8 **stored, u32 *stored_size)
{
	const u8 *p;
	u32 have, n, k;
	u64 size, expanded = 0, sum;
	err_t e = look(r, REC_CHUNK_MAX, &p, &have);

	if (e)
		return e;
	if (!have)
		return stop(r, REC_STOP_CUT);
	if (!p[0])
		return at_zero(r);

	k = get_varint(p + 1, have - 1, &size);
	if (!k || size > REC_PAYLOAD_MAX)
		return stop(r, REC_STOP_DAMAGED);
	n = 1 + k;
	if (p[0] & REC_FLAG_LZ4) {
		k = get_varint(p + n, have - n, &expanded);
		if (!k || expanded > REC_PAYLOAD_MAX)
			return stop(r, REC_STOP_DAMAGED);
		n += k;
	}
	if (size + 8 > have - n)
		return stop(r, REC_STOP_DAMAGED);
	sum = XXH64(p, n + size, r->chain);
	if (sum != read_bytes_le(p + n + size, 8))
		return stop(r, is_torn(r, p, have, n + (u32)size + 8) ? REC_STOP_CUT : REC_STOP_DAMAGED);
	r->chain = sum;

	*stored = p + n;
	*stored_size = (u32)size;
	*c = (struct rec_chunk){
		.type = p[0] & REC_TYPE_MASK,
		.skippable = p[0] & REC_FLAG_SKIPPABLE,
		.lz4 = p[0] & REC_FLAG_LZ4,
		.offset = r->end,
		.total_bytes = n + (u32)size + 8,
		.payload = p + n,
		.size = p[0] & REC_FLAG_LZ4 ? (u32)expanded : (u32)size,
	};
	return p[0] & REC_FLAG_RESERVED ? stop(r, REC_STOP_VERSION) : OK;
}

static bool parse_end(struct rec_reader *r)
{
	struct rec_cursor c = { r->chunk.payload, r->chunk.payload + r->chunk.size, OK };

	for (r->nends = 0; c.p < c.end; r->nends++) {
		struct rec_end *t = &r->ends[r->nends];
		const u8 *digest, *reason;
		u64 reason_size;

		if (r->nends == REC_MAX_VMS)
			return false;
		t->vm = (u32)rec_get(&c, REC_MAX_VMS - 1);
		t->outcome = (enum vm_outcome)rec_get(&c, 255);
		t->guest_exit = (u32)rec_get(&c, 0xffffffff);
		t->insns = rec_get(&c, ~0UL);
		t->vtime_ns = rec_get(&c, ~0UL);
		t->exits = rec_get(&c, ~0UL);
		t->inputs = rec_get(&c, ~0UL);
		t->input_bytes = rec_get(&c, ~0UL);
		digest = rec_get_bytes(&c, 8);
		reason_size = rec_get(&c, REC_NAME_MAX);
		reason = rec_get_bytes(&c, reason_size);
		if (c.error)
			return false;
		t->digest = read_bytes_le(digest, 8);
		memcpy(t->reason, reason, reason_size);
		t->reason[reason_size] = 0;
	}
	return true;
}

static err_t decode_event(struct rec_reader *r, struct rec_event *ev);

/* Tries every event of an EVENTS chunk, so that none is given out of a chunk that has a bad one. */
static err_t check_events(struct rec_reader *r)
{
	struct rec_base saved[REC_MAX_VMS];
	struct rec_event ev;
	err_t e;

	memcpy(saved, r->base, sizeof(saved));
	r->pos = 0;
	do
		e = decode_event(r, &ev);
	while (!e);
	memcpy(r->base, saved, sizeof(saved));
	r->pos = 0;
	return e == ERR_END ? OK : e;
}

/* The rules a chunk of a known type must keep. */
static err_t check_chunk(struct rec_reader *r)
{
	if (!r->started != (r->chunk.type == REC_HEAD))
		return ERR_DAMAGED;
	r->started = true;
	switch (r->chunk.type) {
	case REC_HEAD:
	case REC_HOST:
	case REC_IMAGE:
		return OK;
	case REC_EVENTS:
		return check_events(r);
	case REC_END:
		return parse_end(r) ? OK : ERR_DAMAGED;
	case REC_DISK:
		return rec_disk_sectors(&r->chunk, &(struct rec_sectors){ 0 });
	default:
		return r->chunk.skippable ? OK : ERR_VERSION;
	}
}

err_t rec_next_chunk(struct rec_reader *r)
{
	const u8 *stored;
	u32 stored_size;
	u64 chain = r->chain;
	err_t e;

	if (r->stop)
		return stop(r, r->stop);
	if (r->chunk.type == REC_END)
		return stop(r, REC_STOP_COMPLETE);
	r->chunk_chain = chain;
	e = take_chunk(r, &r->chunk, &stored, &stored_size);
	if (!e && r->chunk.lz4) {
		e = rec_lz4_expand(stored, stored_size, r->expanded, r->chunk.size);
		r->chunk.payload = r->expanded;
	}
	if (!e)
		e = check_chunk(r);
	if (e) {
		/* end and chain stay where the intact part ends */
		r->chain = chain;
		r->chunk.type = 0;
		r->chunk.size = 0;
		return r->stop ? e : stop(r, e == ERR_VERSION ? REC_STOP_VERSION : REC_STOP_DAMAGED);
	}
	r->end += r->chunk.total_bytes;
	return OK;
}

static void init(struct rec_reader *r, const struct rec_medium *m)
{
	memset(r, 0, sizeof(*r));
	r->medium = *m;
}

err_t rec_reader_open(struct rec_reader *r, const struct rec_medium *m)
{
	const u8 *p;
	u32 have;
	err_t e;

	init(r, m);
	e = look(r, REC_FILE_HEADER_BYTES, &p, &have);
	if (e)
		return e;
	if (have < 8 || memcmp(p, REC_MAGIC, 8)) {
		stop(r, REC_STOP_DAMAGED);
		return ERR_INVALID;
	}
	if (have < REC_FILE_HEADER_BYTES || XXH64(p, 24, 0) != read_bytes_le(p + 24, 8))
		return stop(r, REC_STOP_DAMAGED);
	if (read_bytes_le(p + 8, 8) != REC_VERSION)
		return stop(r, REC_STOP_VERSION);
	r->nonce = read_bytes_le(p + 16, 8);
	r->chain = read_bytes_le(p + 24, 8);
	r->end = REC_FILE_HEADER_BYTES;
	e = rec_next_chunk(r);
	/* Without HEAD there is no recording, however its absence came about. */
	return e == ERR_END ? stop(r, REC_STOP_DAMAGED) : e;
}

err_t rec_reader_open_at(struct rec_reader *r, const struct rec_medium *m, u64 offset, u64 chain)
{
	init(r, m);
	if (offset < REC_FILE_HEADER_BYTES || offset > m->size) {
		stop(r, REC_STOP_DAMAGED);
		return ERR_INVALID;
	}
	r->end = offset;
	r->chain = chain;
	r->started = true;
	return OK;
}

/* ---- events ---- */

static err_t decode_event(struct rec_reader *r, struct rec_event *ev)
{
	u32 left = r->chunk.size - r->pos, used;
	err_t e = rec_event_decode(r->base, r->chunk.payload + r->pos, left, ev, &used);

	if (e)
		return e == ERR_END && left ? ERR_DAMAGED : e; /* an event never spans two chunks */
	if (ev->kind < REC_INPUT || ev->kind > REC_MARK)
		return ERR_VERSION;
	r->pos += used;
	return OK;
}

err_t rec_chunk_event(struct rec_reader *r, struct rec_event *ev)
{
	return r->chunk.type == REC_EVENTS ? decode_event(r, ev) : ERR_END;
}

/* Past a row of checkpoints that was verified before. */
static void jump(struct rec_reader *r)
{
	for (unsigned i = 0; i < MIN(r->nskips, (unsigned)REC_SKIPS); i++)
		if (r->skip[i].from == r->end && r->skip[i].from_chain == r->chain) {
			r->end = r->skip[i].to;
			r->chain = r->skip[i].to_chain;
			return;
		}
}

/* The chunk just read is a checkpoint's: the row it belongs to is longer by it. */
static void note_skip(struct rec_reader *r)
{
	struct rec_skip *last = &r->skip[(r->nskips - 1) % REC_SKIPS];

	if (!r->nskips || last->to != r->chunk.offset) {
		last = &r->skip[r->nskips++ % REC_SKIPS];
		last->from = r->chunk.offset;
		last->from_chain = r->chunk_chain;
	}
	last->to = r->end;
	last->to_chain = r->chain;
}

err_t rec_next_event(struct rec_reader *r, struct rec_event *ev)
{
	for (;;) {
		err_t e = rec_chunk_event(r, ev);

		if (e != ERR_END)
			return e;
		jump(r);
		e = rec_next_chunk(r);
		if (e)
			return e;
		if (r->chunk.type == REC_CHECKPOINT)
			note_skip(r);
	}
}

void rec_tell(const struct rec_reader *r, struct rec_place *at)
{
	at->inside = r->chunk.type == REC_EVENTS;
	at->offset = at->inside ? r->chunk.offset : r->end;
	at->chain = at->inside ? r->chunk_chain : r->chain;
	at->pos = at->inside ? r->pos : 0;
	memcpy(at->base, r->base, sizeof(at->base));
}

err_t rec_seek(struct rec_reader *r, const struct rec_place *at)
{
	if (!at->inside || r->chunk.type != REC_EVENTS || r->chunk.offset != at->offset) {
		r->stop = REC_STOP_NONE;
		r->window_fill = 0; /* the file may have grown since */
		r->nends = 0;
		r->chunk.type = 0;
		r->chunk.size = 0;
		r->end = at->offset;
		r->chain = at->chain;
		if (at->inside) {
			err_t e = rec_next_chunk(r);

			if (e)
				return e;
		}
	}
	r->pos = at->pos;
	memcpy(r->base, at->base, sizeof(r->base));
	return OK;
}

/* ---- payloads of other chunks ---- */

err_t rec_disk_sectors(const struct rec_chunk *c, struct rec_sectors *s)
{
	struct rec_cursor at = { c->payload, c->payload + c->size, OK };

	s->disk = (unsigned)rec_get(&at, REC_MAX_DISKS - 1);
	s->sector = rec_get(&at, ~0UL);
	s->data = at.p;
	s->size = (u32)(at.end - at.p);
	return at.error || s->size % REC_DISK_SECTOR ? ERR_DAMAGED : OK;
}

err_t rec_image_part(const struct rec_chunk *chunk, struct rec_image_part *part)
{
	struct rec_cursor c = { chunk->payload, chunk->payload + chunk->size, OK };
	u64 role_size = rec_get(&c, REC_NAME_MAX);
	const u8 *role = rec_get_bytes(&c, role_size);

	part->offset = rec_get(&c, ~0UL);
	if (c.error)
		return ERR_DAMAGED;
	memcpy(part->role, role, role_size);
	part->role[role_size] = 0;
	part->data = c.p;
	part->size = (u32)(c.end - c.p);
	return OK;
}
