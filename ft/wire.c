/*
 * wire.c - datagrams, to bytes and back.  See wire.h.
 *
 * Touches nothing but what it is given.  Bytes may come from anybody: every
 * length is checked before it is used, and a message of another size than its
 * kind has is none.
 */
#include "ft/wire.h"
#include "kernel/xxh.h"

/* Fields one after the other. */
struct fields {
	u8 *p;
};

static void put(struct fields *f, unsigned size_bytes, u64 v)
{
	write_bytes_le(f->p, size_bytes, v);
	f->p += size_bytes;
}

struct parse {
	const u8 *p, *end;
	bool short_of;      /* the message ends before the field */
};

static u64 get(struct parse *f, unsigned size_bytes)
{
	u64 v;

	if ((size_t)(f->end - f->p) < size_bytes) {
		f->short_of = true;
		return 0;
	}
	v = read_bytes_le(f->p, size_bytes);
	f->p += size_bytes;
	return v;
}

static u32 check(const u8 *buf, u32 size, u64 key)
{
	return (u32)XXH64(buf + 4, size - 4, key);
}

static void put_hello(struct fields *f, const struct ft_hello *h)
{
	put(f, 2, h->version);
	put(f, 8, h->id);
	put(f, 8, h->build);
	put(f, 8, h->probe);
	put(f, 8, h->head);
	put(f, 4, h->log_room);
	put(f, 4, h->held_room);
}

static void get_hello(struct parse *f, struct ft_hello *h)
{
	h->version = (u16)get(f, 2);
	h->id = get(f, 8);
	h->build = get(f, 8);
	h->probe = get(f, 8);
	h->head = get(f, 8);
	h->log_room = (u32)get(f, 4);
	h->held_room = (u32)get(f, 4);
}

static void put_ack(struct fields *f, const struct ft_ack *a, u8 flags)
{
	put(f, 4, a->offset);
	put(f, 2, a->room);
	put(f, 4, a->executed);
	put(f, 4, a->made);
	if (flags & FT_HOLE)
		put(f, 4, a->hole_end);
}

static void get_ack(struct parse *f, struct ft_ack *a, u8 flags)
{
	a->offset = (u32)get(f, 4);
	a->room = (u16)get(f, 2);
	a->executed = (u32)get(f, 4);
	a->made = (u32)get(f, 4);
	a->hole_end = flags & FT_HOLE ? (u32)get(f, 4) : 0;
}

u32 ft_encode(const struct ft_message *m, u64 key, u8 *buf)
{
	struct fields f = { buf + FT_HEADER_BYTES };
	u32 size;

	switch (m->kind) {
	case FT_HELLO:
		put_hello(&f, &m->hello);
		break;
	case FT_WELCOME:
		put(&f, 8, m->welcome.seeker);
		put(&f, 8, m->welcome.id);
		put(&f, 8, m->welcome.term);
		break;
	case FT_REFUSE:
		put(&f, 8, m->refuse.seeker);
		put(&f, 1, m->refuse.reason);
		put(&f, 8, m->refuse.mine);
		put(&f, 8, m->refuse.yours);
		break;
	case FT_DATA:
		put(&f, 4, m->data.offset);
		if (m->data.data)
			memcpy(f.p, m->data.data, m->data.size);
		f.p += m->data.size;
		break;
	case FT_ACK:
		put_ack(&f, &m->ack, m->flags);
		break;
	case FT_DIVERGED:
		put(&f, 8, m->diverged.epoch);
		put(&f, 8, m->diverged.count);
		put(&f, 8, m->diverged.vtime_ns);
		put(&f, 8, m->diverged.expected);
		put(&f, 8, m->diverged.got);
		break;
	case FT_BYE:
		put(&f, 1, m->bye);
		break;
	case FT_OVER:
		put(&f, 8, m->over);
		break;
	}
	size = (u32)(f.p - buf);
	write_bytes_le(buf + 4, 2, size);
	buf[6] = (u8)(m->kind | m->flags);
	write_bytes_le(buf + 7, 4, m->session);
	write_bytes_le(buf, 4, check(buf, size, key));
	return size;
}

/* Flags a kind may have. */
static u8 flags_of(unsigned kind)
{
	return kind == FT_DATA ? FT_ASK : kind == FT_ACK ? FT_ASK | FT_LOADED | FT_HOLE : 0;
}

static bool decode_fields(struct ft_message *m, struct parse *f)
{
	switch (m->kind) {
	case FT_HELLO:
		get_hello(f, &m->hello);
		break;
	case FT_WELCOME:
		m->welcome.seeker = get(f, 8);
		m->welcome.id = get(f, 8);
		m->welcome.term = get(f, 8);
		break;
	case FT_REFUSE:
		m->refuse.seeker = get(f, 8);
		m->refuse.reason = (u8)get(f, 1);
		m->refuse.mine = get(f, 8);
		m->refuse.yours = get(f, 8);
		break;
	case FT_DATA:
		m->data.offset = (u32)get(f, 4);
		m->data.data = f->p;
		m->data.size = (u32)(f->end - f->p);
		f->p = f->end;
		break;
	case FT_ACK:
		get_ack(f, &m->ack, m->flags);
		break;
	case FT_DIVERGED:
		m->diverged.epoch = get(f, 8);
		m->diverged.count = get(f, 8);
		m->diverged.vtime_ns = get(f, 8);
		m->diverged.expected = get(f, 8);
		m->diverged.got = get(f, 8);
		break;
	case FT_BYE:
		m->bye = (u8)get(f, 1);
		break;
	case FT_OVER:
		m->over = get(f, 8);
		break;
	default:
		return false;
	}
	return !f->short_of && f->p == f->end;
}

bool ft_decode(struct ft_message *m, u64 key, const u8 *buf, u32 size)
{
	struct parse f;
	u32 own;

	if (size < FT_HEADER_BYTES)
		return false;
	own = (u32)read_bytes_le(buf + 4, 2);
	if (own < FT_HEADER_BYTES || own > FT_DATAGRAM_MAX || own > size || read_bytes_le(buf, 4) != check(buf, own, key))
		return false;
	memset(m, 0, sizeof(*m));
	m->kind = (enum ft_kind)(buf[6] & 0x0f);
	m->flags = buf[6] & 0xf0;
	m->session = (u32)read_bytes_le(buf + 7, 4);
	if (m->flags & ~flags_of(m->kind))
		return false;
	f = (struct parse){ buf + FT_HEADER_BYTES, buf + own, false };
	return decode_fields(m, &f);
}
