/*
 * frames.c - writing and reading a replay's frames.  See frames.h.
 */
#include "replay/frames.h"

static const u8 magic[16] = { 'R', 'P', 'F', 'R', 'A', 'M', 'E', 'S', 1 };

enum { TYPE_FRAME = 1, TYPE_END = 2, HEAD = 24 };

/* ---- writing ---- */

static void write_out(struct frames_writer *w, u32 size)
{
	if (!w->error && size > w->medium.size - w->written)
		w->error = ERR_TOO_BIG;
	if (!w->error)
		w->error = w->medium.write(w->medium.ctx, w->written, w->buf, size);
	w->written += size;
	w->fill = 0;
}

static void add(struct frames_writer *w, const void *data, u32 size)
{
	const u8 *p = data;

	while (size && !w->error) {
		u32 step = MIN(size, FRAMES_BUFFER - w->fill);

		memcpy(w->buf + w->fill, p, step);
		w->fill += step;
		p += step;
		size -= step;
		if (w->fill == FRAMES_BUFFER)
			write_out(w, FRAMES_BUFFER);
	}
}

static void add_head(struct frames_writer *w, u8 type, bool sent, const struct frame_record *f)
{
	u8 head[HEAD] = { type, sent };

	write_bytes_le(head + 2, 2, f->nic);
	write_bytes_le(head + 4, 4, f->size);
	write_bytes_le(head + 8, 8, f->insns);
	write_bytes_le(head + 16, 8, f->vtime_ns);
	add(w, head, HEAD);
}

void frames_begin(struct frames_writer *w, const struct rec_medium *m)
{
	w->medium = *m;
	w->error = OK;
	w->written = 0;
	w->fill = 0;
	add(w, magic, sizeof(magic));
}

void frames_put(struct frames_writer *w, const struct frame_record *f)
{
	if (f->size > FRAME_RECORD_MAX)
		w->error = w->error ? w->error : ERR_TOO_BIG;
	add_head(w, TYPE_FRAME, f->sent, f);
	add(w, f->data, f->size);
}

err_t frames_end(struct frames_writer *w, const struct execpoint *now)
{
	const struct frame_record end = { .insns = now->count, .vtime_ns = now->vtime_ns };
	u32 size;

	add_head(w, TYPE_END, false, &end);
	size = ALIGN_UP(w->fill, (u32)REC_SECTOR);
	memset(w->buf + w->fill, 0, size - w->fill);
	if (size)
		write_out(w, size);
	return w->error ? w->error : w->medium.flush(w->medium.ctx);
}

/* ---- reading ---- */

/* n bytes at w->at, of at most a record's size. */
static err_t have(struct frames_reader *r, u32 n)
{
	while (r->fill - r->at < n) {
		u64 left = r->medium.size - r->read;
		u32 room, keep = r->fill - r->at;
		err_t e;

		memmove(r->buf, r->buf + r->at, keep);
		r->at = 0;
		r->fill = keep;
		room = (FRAMES_BUFFER - keep) & ~((u32)REC_SECTOR - 1);
		room = (u32)MIN(left, (u64)room);
		if (!room)
			return ERR_DAMAGED;
		e = r->medium.read(r->medium.ctx, r->read, r->buf + keep, room);
		if (e)
			return e;
		r->read += room;
		r->fill += room;
	}
	return OK;
}

err_t frames_open(struct frames_reader *r, const struct rec_medium *m)
{
	err_t e;

	r->medium = *m;
	r->read = 0;
	r->at = r->fill = 0;
	e = have(r, sizeof(magic));
	if (e)
		return e == ERR_IO ? ERR_IO : ERR_INVALID;
	r->at = sizeof(magic);
	return memcmp(r->buf, magic, sizeof(magic)) ? ERR_INVALID : OK;
}

err_t frames_next(struct frames_reader *r, struct frame_record *f)
{
	const u8 *head;
	err_t e = have(r, HEAD);

	if (e)
		return e;
	head = r->buf + r->at;
	*f = (struct frame_record){ .sent = head[1], .nic = (u16)read_bytes_le(head + 2, 2),
				    .size = (u32)read_bytes_le(head + 4, 4), .insns = read_bytes_le(head + 8, 8),
				    .vtime_ns = read_bytes_le(head + 16, 8) };
	if (head[0] == TYPE_END && !f->size)
		return ERR_END;
	if (head[0] != TYPE_FRAME || head[1] > 1 || f->size > FRAME_RECORD_MAX)
		return ERR_DAMAGED;
	e = have(r, HEAD + f->size); /* may move what is in the buffer */
	f->data = r->buf + r->at + HEAD;
	r->at += e ? 0 : HEAD + f->size;
	return e;
}
