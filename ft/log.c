/*
 * log.c - records of the log, into the stream and out of it.  See log.h.
 *
 * Changes the stream it is given, and the bases of its deltas.
 */
#include "ft/log.h"

/* --- writing ------------------------------------------------------------------ */

static bool append(struct ft_log_writer *w, const u8 *head, u32 head_size, const void *data, u32 size)
{
	if (!ft_log_has_room(w, head_size + size))
		return false;
	ft_sender_put(w->to, head, head_size);
	if (size)
		ft_sender_put(w->to, data, size);
	return true;
}

bool ft_log_event(struct ft_log_writer *w, const struct rec_event *ev)
{
	struct rec_encoded enc;
	struct rec_base base = w->base;

	if (rec_event_encode(&base, ev, &enc) || !append(w, enc.bytes, enc.size, enc.data, enc.data_size))
		return false;
	w->base = base;
	return true;
}

static bool put_point(struct ft_log_writer *w, unsigned kind, const struct execpoint *at, const u8 *fields, u32 size)
{
	u8 head[REC_EVENT_HEAD_MAX];
	struct rec_base base = w->base;
	u32 n = rec_head_encode(&base, kind, 0, at, head);

	if (!n || !append(w, head, n, fields, size))
		return false;
	w->base = base;
	return true;
}

bool ft_log_progress(struct ft_log_writer *w, u64 count, u64 vtime_ns)
{
	return put_point(w, FT_PROGRESS, &(struct execpoint){ count, vtime_ns, w->base.sequence }, NULL, 0);
}

bool ft_log_number(struct ft_log_writer *w, enum ft_record_kind kind, u64 n)
{
	u8 buf[1 + VARINT_MAX] = { (u8)kind };

	return append(w, buf, 1 + put_varint(buf + 1, n), NULL, 0);
}

bool ft_log_pad(struct ft_log_writer *w)
{
	const u8 pad = FT_PAD;

	return append(w, &pad, 1, NULL, 0);
}

bool ft_log_page(struct ft_log_writer *w, const struct ft_page *page)
{
	u8 buf[1 + 3 * VARINT_MAX] = { FT_PAGE };
	u32 n = 1, size = page->data ? PAGE_SIZE : 0;

	n += put_varint(buf + n, page->space);
	n += put_varint(buf + n, page->number);
	n += put_varint(buf + n, size);
	return append(w, buf, n, page->data, size);
}

bool ft_log_state(struct ft_log_writer *w, const u8 *part, u32 size)
{
	u8 buf[1 + VARINT_MAX] = { FT_STATE };

	return append(w, buf, 1 + put_varint(buf + 1, size), part, size);
}

bool ft_log_start(struct ft_log_writer *w, const struct ft_start *s)
{
	u8 buf[1 + 6 * VARINT_MAX + 8] = { FT_START };
	u32 n = 1;

	n += put_varint(buf + n, s->at.count);
	n += put_varint(buf + n, s->at.vtime_ns);
	n += put_varint(buf + n, s->at.sequence);
	n += put_varint(buf + n, s->units);
	n += put_varint(buf + n, s->questions);
	n += put_varint(buf + n, s->epochs);
	write_bytes_le(buf + n, 8, s->digest);
	if (!append(w, buf, n + 8, NULL, 0))
		return false;
	w->base = (struct rec_base){ s->at.count, s->at.vtime_ns, s->at.sequence };
	return true;
}

bool ft_log_end(struct ft_log_writer *w, const struct execpoint *at, const struct ft_end *end)
{
	u8 buf[2 * VARINT_MAX + 8];
	u32 n = put_varint(buf, end->outcome);

	n += put_varint(buf + n, end->guest_exit);
	write_bytes_le(buf + n, 8, end->digest);
	return put_point(w, FT_END, &(struct execpoint){ at->count, at->vtime_ns, w->base.sequence }, buf, n + 8);
}

/* --- reading ------------------------------------------------------------------ */

static void read_page(struct rec_cursor *c, struct ft_page *page)
{
	u64 size;

	page->space = (u32)rec_get(c, 0xffffffff);
	page->number = rec_get(c, ~0UL);
	size = rec_get(c, PAGE_SIZE);
	if (size && size != PAGE_SIZE)
		c->error = ERR_DAMAGED;
	page->data = size ? rec_get_bytes(c, size) : NULL;
}

static void read_start(struct rec_cursor *c, struct ft_start *s)
{
	const u8 *digest;

	s->at.count = rec_get(c, ~0UL);
	s->at.vtime_ns = rec_get(c, ~0UL);
	s->at.sequence = rec_get(c, ~0UL);
	s->units = rec_get(c, ~0UL);
	s->questions = rec_get(c, ~0UL);
	s->epochs = rec_get(c, ~0UL);
	digest = rec_get_bytes(c, 8);
	s->digest = digest ? read_bytes_le(digest, 8) : 0;
}

static void read_end(struct rec_cursor *c, struct ft_end *end)
{
	const u8 *digest;

	end->outcome = (u32)rec_get(c, 255);
	end->guest_exit = (u32)rec_get(c, 0xffffffff);
	digest = rec_get_bytes(c, 8);
	end->digest = digest ? read_bytes_le(digest, 8) : 0;
}

/* The pair's own records that have no point. */
static void read_own(struct rec_cursor *c, struct ft_record *rec)
{
	switch (rec->kind) {
	case FT_RELEASED:
	case FT_ANSWERED:
		rec->n = rec_get(c, ~0UL);
		break;
	case FT_PAD:
		break;
	case FT_PAGE:
		read_page(c, &rec->page);
		break;
	case FT_STATE:
		rec->state_bytes = (u32)rec_get(c, FT_STATE_PART);
		rec->state = rec_get_bytes(c, rec->state_bytes);
		break;
	case FT_START:
		read_start(c, &rec->start);
		break;
	}
}

static bool has_point(unsigned kind)
{
	return (kind >= REC_INPUT && kind <= REC_MARK) || kind == FT_PROGRESS || kind == FT_END;
}

/* Pages and state come before START, what has a point behind it. */
static bool in_place(unsigned kind, bool started)
{
	if (kind == FT_PAD)
		return true;
	if (kind == FT_PAGE || kind == FT_STATE || kind == FT_START)
		return !started;
	return started && (has_point(kind) || kind == FT_RELEASED || kind == FT_ANSWERED);
}

static err_t read_pointed(struct ft_log_reader *r, struct rec_cursor *c, struct ft_record *rec)
{
	struct rec_base before = r->base[0];
	u32 used;
	err_t e = rec_event_decode(r->base, c->p, (u32)(c->end - c->p), &rec->ev, &used);

	if (e)
		return e;
	c->p += used;
	if (rec->ev.vm)
		c->error = ERR_DAMAGED; /* a pair runs one machine */
	if (rec->kind == FT_END)
		read_end(c, &rec->end);
	if (c->error)
		r->base[0] = before;
	return c->error;
}

err_t ft_log_read(struct ft_log_reader *r, const struct ft_receiver *from, struct ft_record *rec)
{
	struct rec_cursor c = { .error = OK };
	u32 size;
	err_t e;

	c.p = ft_receiver_at(from, r->at, &size);
	c.end = c.p + size;
	if (!size)
		return ERR_END;
	const u8 *begin = c.p;

	rec->kind = *c.p & REC_EV_KIND_MASK;
	if (!in_place(rec->kind, r->started))
		return ERR_DAMAGED;
	if (has_point(rec->kind)) {
		e = read_pointed(r, &c, rec);
	} else {
		if (*c.p++ != rec->kind)
			return ERR_DAMAGED; /* no flags */
		read_own(&c, rec);
		e = c.error;
	}
	if (e == ERR_END && size >= FT_RECORD_MAX)
		e = ERR_DAMAGED; /* no record is so long */
	if (e)
		return e;
	if (rec->kind == FT_START) {
		r->started = true;
		r->base[0] = (struct rec_base){ rec->start.at.count, rec->start.at.vtime_ns, rec->start.at.sequence };
	}
	r->at += (u64)(c.p - begin);
	return OK;
}
