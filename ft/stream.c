/*
 * stream.c - a reliable byte stream over datagrams.  See stream.h.
 *
 *   1  offsets     2  the sender     3  the receiver
 *
 * Changes only its two structs and their rings.  What comes from the wire is
 * checked against what can be: an acknowledgement of what was never sent,
 * bytes beyond the room that was given, are nothing.
 */
#include "ft/stream.h"
#include "ft/wire.h"

/* --- 1  offsets ------------------------------------------------------------------- */

/* The offset with these low 32 bits that lies nearest to `near`; false: it would be negative. */
static bool widen(u32 wire, u64 near, u64 *offset)
{
	s64 delta = (s32)(wire - (u32)near);

	*offset = near + (u64)delta;
	return delta >= 0 || near >= (u64)-delta;
}

static void ring_in(u8 *ring, u32 size, u64 offset, const u8 *data, u32 n)
{
	u32 at = (u32)offset & (size - 1), first = MIN(n, size - at);

	memcpy(ring + at, data, first);
	memcpy(ring, data + first, n - first);
}

static void ring_out(const u8 *ring, u32 size, u64 offset, u8 *out, u32 n)
{
	u32 at = (u32)offset & (size - 1), first = MIN(n, size - at);

	memcpy(out, ring + at, first);
	memcpy(out + first, ring, n - first);
}

/* --- 2  the sender ---------------------------------------------------------------- */

#define LEAST_WINDOW 8U /* datagrams */

void ft_sender_init(struct ft_sender *s, u8 *ring, u32 size, u32 receiver_room, u32 part)
{
	*s = (struct ft_sender){ .ring = ring, .size = size, .part = part, .limit = receiver_room,
				 .window = 2 * LEAST_WINDOW * part, .slow_start_to = ~0U };
}

void ft_sender_put(struct ft_sender *s, const void *data, u32 n)
{
	ring_in(s->ring, s->size, s->end, data, n);
	s->end += n;
}

/* How far new bytes may go. */
static u64 send_limit(const struct ft_sender *s)
{
	return MIN(MIN(s->end, s->limit), s->acked + s->window);
}

u32 ft_sender_ready(const struct ft_sender *s)
{
	u64 limit = send_limit(s);

	return (u32)(s->again_to - s->again) + (limit > s->sent ? (u32)(limit - s->sent) : 0);
}

/*
 * Notes when bytes were first sent.  When the table is full the last note grows:
 * its time is then too early for what was added, which only shortens a lease (I6).
 */
static void note_sent(struct ft_sender *s, u64 now_ns)
{
	if (s->sent <= s->ever_sent)
		return;
	s->ever_sent = s->sent;
	if (s->nnotes == FT_SENT_NOTES)
		s->note[s->nnotes - 1].end = s->sent;
	else
		s->note[s->nnotes++] = (struct ft_sent_note){ s->sent, now_ns };
}

u32 ft_sender_next(struct ft_sender *s, u8 *out, u32 max, u64 now_ns, u64 *offset)
{
	u64 limit = send_limit(s);
	u32 n;

	if (s->again < s->again_to) {
		n = (u32)MIN(s->again_to - s->again, (u64)max);
		*offset = s->again;
		s->again += n;
	} else {
		n = limit > s->sent ? (u32)MIN(limit - s->sent, (u64)max) : 0;
		*offset = s->sent;
		s->sent += n;
		note_sent(s, now_ns);
	}
	ring_out(s->ring, s->size, *offset, out, n);
	return n;
}

bool ft_sender_stuck(const struct ft_sender *s)
{
	return s->sent < s->end && s->sent >= send_limit(s);
}

static void forget_notes(struct ft_sender *s)
{
	unsigned gone = 0;

	while (gone < s->nnotes && s->note[gone].end <= s->acked)
		s->acked_sent_ns = s->note[gone++].at_ns;
	/* A note acknowledged in part: its time holds for that part, too. */
	if (gone < s->nnotes && s->acked > (gone ? s->note[gone - 1].end : 0))
		s->acked_sent_ns = MAX(s->acked_sent_ns, s->note[gone].at_ns);
	memmove(s->note, s->note + gone, (s->nnotes - gone) * sizeof(s->note[0]));
	s->nnotes -= gone;
}

/* Less in flight: once for all losses among what was in flight together. */
static void slow_down(struct ft_sender *s)
{
	if (s->acked < s->recover)
		return;
	s->recover = s->sent;
	s->window = MAX(s->window / 2, LEAST_WINDOW * s->part);
	s->slow_start_to = s->window;
}

static void speed_up(struct ft_sender *s, u32 n)
{
	if (s->window < s->slow_start_to)
		s->window += n;
	else
		s->window += MAX((u32)((u64)n * s->part / s->window), 1U);
	s->window = MIN(s->window, s->size);
}

bool ft_sender_ack(struct ft_sender *s, const struct ft_stream_ack *a)
{
	u64 offset, hole_end;
	bool fresh;

	if (!widen(a->offset, s->acked, &offset) || offset > s->sent || offset < s->acked)
		return false;
	fresh = offset > s->acked;
	if (fresh) {
		speed_up(s, (u32)(offset - s->acked));
		s->acked = offset;
		forget_notes(s);
		s->again = MAX(s->again, s->acked);
		s->again_to = MAX(s->again_to, s->again);
	}
	s->limit = MAX(s->limit, offset + a->room);
	if (a->hole && widen(a->hole_end, s->acked, &hole_end) && hole_end > s->acked && hole_end <= s->sent) {
		slow_down(s);
		s->again = s->acked;
		s->again_to = hole_end;
	}
	return fresh;
}

bool ft_sender_overdue(struct ft_sender *s)
{
	if (s->acked == s->sent)
		return false;
	slow_down(s);
	s->again = s->acked;
	s->again_to = MIN(s->sent, s->acked + s->part);
	return true;
}

/* --- 3  the receiver -------------------------------------------------------------- */

void ft_receiver_init(struct ft_receiver *r, u8 *ring, u32 size, u32 spare)
{
	*r = (struct ft_receiver){ .ring = ring, .size = size, .spare = spare };
}

/* The bytes [from, to) are kept; the spare bytes behind the ring repeat its beginning. */
static void keep(struct ft_receiver *r, u64 from, u64 to, const u8 *data)
{
	u32 n = (u32)(to - from), at = (u32)from & (r->size - 1), first = MIN(n, r->size - at);

	memcpy(r->ring + at, data, first);
	if (at < r->spare)
		memcpy(r->ring + r->size + at, data, MIN(first, r->spare - at));
	memcpy(r->ring, data + first, n - first);
	memcpy(r->ring + r->size, data + first, MIN(n - first, r->spare));
}

static void remove_pieces(struct ft_receiver *r, unsigned first, unsigned n)
{
	memmove(r->piece + first, r->piece + first + n, (r->npieces - first - n) * sizeof(r->piece[0]));
	r->npieces -= n;
}

/* A piece beyond a gap joins those it touches.  False: it is there already, or there are too many. */
static bool keep_piece(struct ft_receiver *r, u64 from, u64 to, const u8 *data)
{
	struct ft_piece all = { from, to };
	unsigned first = 0, n = 0;

	while (first < r->npieces && r->piece[first].to < from)
		first++;
	while (first + n < r->npieces && r->piece[first + n].from <= to) {
		const struct ft_piece *p = &r->piece[first + n++];

		if (p->from <= from && p->to >= to)
			return false;
		all.from = MIN(all.from, p->from);
		all.to = MAX(all.to, p->to);
	}
	if (!n && r->npieces == FT_PIECES)
		return false;
	keep(r, from, to, data);
	if (n)
		remove_pieces(r, first + 1, n - 1);
	else {
		memmove(r->piece + first + 1, r->piece + first, (r->npieces - first) * sizeof(r->piece[0]));
		r->npieces++;
	}
	r->piece[first] = all;
	return true;
}

bool ft_receiver_put(struct ft_receiver *r, u32 wire_offset, const u8 *data, u32 n)
{
	u64 from, to, limit = r->taken + r->size;

	if (!widen(wire_offset, r->end, &from))
		return false;
	to = MIN(from + n, limit);
	if (from < r->end) {
		data += MIN(r->end - from, (u64)n);
		from = r->end;
	}
	if (from >= to)
		return false;
	if (from > r->end)
		return keep_piece(r, from, to, data);
	keep(r, from, to, data);
	r->end = to;
	while (r->npieces && r->piece[0].from <= r->end) {
		r->end = MAX(r->end, r->piece[0].to);
		remove_pieces(r, 0, 1);
	}
	return true;
}

const u8 *ft_receiver_at(const struct ft_receiver *r, u64 offset, u32 *n)
{
	u32 at = (u32)offset & (r->size - 1);

	*n = (u32)MIN(r->end - offset, (u64)(r->size + r->spare - at));
	return r->ring + at;
}
