/*
 * recording_event.c - one event, to bytes and back [docs/RECORDING.md 6].
 *
 * The one codec of events: recordings are made of them, and so is the log that
 * a fault-tolerant pair ships [docs/LINK.md 6].  Touches what it is given and
 * nothing else; bytes may come from anybody.
 */
#include "replay/recording_format.h"

/* ---- encoding ---- */

u32 rec_head_encode(struct rec_base *b, unsigned kind, u32 vm, const struct execpoint *at, u8 *out)
{
	u64 dcount = at->count - b->count, dvtime = at->vtime_ns - b->vtime_ns;
	u64 idle = dvtime - dcount, dsequence = at->sequence - b->sequence;
	u32 n = 1;

	if (at->count < b->count || at->vtime_ns < b->vtime_ns)
		return 0;
	if ((dvtime < dcount) != (idle >> 63)) /* a leap of more than 2^63 ns */
		return 0;
	out[0] = (u8)kind;
	if (vm) {
		out[0] |= REC_EV_PLACE;
		n += put_varint(out + n, vm);
		n += put_varint(out + n, 0); /* vCPU */
	}
	n += put_varint(out + n, dcount);
	if (idle) {
		out[0] |= REC_EV_IDLE;
		n += put_varint(out + n, zigzag(idle));
	}
	if (dsequence) {
		out[0] |= REC_EV_SEQUENCE;
		n += put_varint(out + n, zigzag(dsequence));
	}
	rec_base_advance(b, at, kind);
	return n;
}

static void put_data(struct rec_encoded *out, const void *data, u32 size)
{
	out->size += put_varint(out->bytes + out->size, size);
	out->data = data;
	out->data_size = size;
}

err_t rec_event_encode(struct rec_base *b, const struct rec_event *ev, struct rec_encoded *out)
{
	if (ev->kind == REC_INPUT ? ev->input.size > REC_INPUT_MAX : ev->kind == REC_MARK && ev->name_size > REC_NAME_MAX)
		return ERR_INVALID;
	out->data = NULL;
	out->data_size = 0;
	out->size = rec_head_encode(b, ev->kind, ev->vm, &ev->at, out->bytes);
	if (!out->size)
		return ERR_INVALID;
	switch (ev->kind) {
	case REC_INPUT:
		out->size += put_varint(out->bytes + out->size, ev->input.kind);
		out->size += put_varint(out->bytes + out->size, ev->input.instance);
		put_data(out, ev->input.data, ev->input.size);
		break;
	case REC_DIGEST:
		write_bytes_le(out->bytes + out->size, 8, ev->digest);
		out->size += 8;
		break;
	case REC_MARK:
		put_data(out, ev->name, ev->name_size);
		break;
	}
	return OK;
}

/* ---- decoding ---- */

u64 rec_get(struct rec_cursor *c, u64 max)
{
	u32 left = (u32)(c->end - c->p), n;
	u64 v;

	if (c->error)
		return 0;
	n = get_varint(c->p, left, &v);
	if (n && v <= max) {
		c->p += n;
		return v;
	}
	/* Cut short, or nonsense? */
	c->error = n || left >= VARINT_MAX ? ERR_DAMAGED : ERR_END;
	for (u32 i = 0; i < left && c->error == ERR_END; i++)
		if (!(c->p[i] & 0x80))
			c->error = ERR_DAMAGED;
	return 0;
}

const u8 *rec_get_bytes(struct rec_cursor *c, u64 n)
{
	const u8 *at = c->p;

	if (!c->error && n > (u64)(c->end - c->p))
		c->error = ERR_END;
	if (c->error)
		return NULL;
	c->p += n;
	return at;
}

/* The event's place and point; the base of its VM is left as it is. */
static void get_head(struct rec_cursor *c, const struct rec_base *bases, u8 tag, struct rec_event *ev)
{
	const struct rec_base *b;
	u64 dcount, idle = 0, dvtime, dsequence = 0;

	if (tag & REC_EV_PLACE) {
		ev->vm = (u32)rec_get(c, REC_MAX_VMS - 1);
		rec_get(c, 0); /* vCPU */
	}
	dcount = rec_get(c, ~0UL);
	if (tag & REC_EV_IDLE)
		idle = unzigzag(rec_get(c, ~0UL));
	if (tag & REC_EV_SEQUENCE)
		dsequence = unzigzag(rec_get(c, ~0UL));
	if (c->error)
		return;
	b = &bases[ev->vm];
	dvtime = dcount + idle;
	ev->at.count = b->count + dcount;
	ev->at.vtime_ns = b->vtime_ns + dvtime;
	ev->at.sequence = b->sequence + dsequence;
	if ((dvtime < dcount) != (idle >> 63) /* time would run backwards, or wrap */ ||
	    ev->at.count < b->count || ev->at.vtime_ns < b->vtime_ns)
		c->error = ERR_DAMAGED;
}

static void get_body(struct rec_cursor *c, struct rec_event *ev)
{
	const u8 *p;

	switch (ev->kind) {
	case REC_INPUT:
		ev->input.kind = (enum input_kind)rec_get(c, 0xffff);
		ev->input.instance = (u16)rec_get(c, 0xffff);
		ev->input.size = (u32)rec_get(c, REC_INPUT_MAX);
		ev->input.data = rec_get_bytes(c, ev->input.size);
		if (!c->error && !ev->input.kind)
			c->error = ERR_DAMAGED;
		break;
	case REC_DIGEST:
		p = rec_get_bytes(c, 8);
		if (p)
			ev->digest = read_bytes_le(p, 8);
		break;
	case REC_MARK:
		ev->name_size = (u32)rec_get(c, REC_NAME_MAX);
		ev->name = (const char *)rec_get_bytes(c, ev->name_size);
		break;
	default: /* a head is all it has; who knows the kind goes on from here */
		break;
	}
}

err_t rec_event_decode(struct rec_base *bases, const u8 *p, u32 size, struct rec_event *ev, u32 *used)
{
	struct rec_cursor c = { p, p + size, OK };

	memset(ev, 0, sizeof(*ev));
	if (!size)
		return ERR_END;
	if (*p & REC_EV_RESERVED)
		return ERR_VERSION;
	c.p++;
	ev->kind = (enum rec_event_kind)(*p & REC_EV_KIND_MASK);
	get_head(&c, bases, *p, ev);
	get_body(&c, ev);
	if (c.error)
		return c.error;
	rec_base_advance(&bases[ev->vm], &ev->at, ev->kind);
	*used = (u32)(c.p - p);
	return OK;
}
