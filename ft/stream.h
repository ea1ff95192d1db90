/*
 * stream.h - the log as a byte stream: both ends of it [docs/LINK.md 7].
 *
 *   sender     acked <= sent <= end: what is not acknowledged is kept
 *   receiver   taken <= end: bytes come out once, in order, without a gap (I1)
 *
 * Offsets are 64 bits here, the low 32 of them on the wire.
 */
#ifndef FT_STREAM_H
#define FT_STREAM_H

#include "kernel/base.h"

#define FT_SENT_NOTES 32
#define FT_PIECES 8

/* ---- the sending end ---- */

struct ft_sender {
	u8 *ring;
	u32 size;            /* of the ring, a power of two */
	u32 part;            /* bytes that a datagram carries */
	u64 acked, sent, end;
	u64 limit;           /* the receiver has room up to here */
	u64 again, again_to; /* to be sent once more */
	u64 ever_sent;       /* high-water mark of sent */
	u32 window;          /* bytes that may be in flight */
	u32 slow_start_to;
	u64 recover;         /* a loss before this offset is the same loss */
	/* When the bytes up to `end` were first sent, the oldest first. */
	struct ft_sent_note {
		u64 end, at_ns;
	} note[FT_SENT_NOTES];
	unsigned nnotes;
	u64 acked_sent_ns;   /* when the newest acknowledged byte was first sent */
};

void ft_sender_init(struct ft_sender *s, u8 *ring, u32 size, u32 receiver_room, u32 part);

static inline u32 ft_sender_room(const struct ft_sender *s)
{
	return s->size - (u32)(s->end - s->acked);
}

/* Appends; there must be room. */
void ft_sender_put(struct ft_sender *s, const void *data, u32 n);

/*
 * The next bytes to send, at most max, to out; *offset is where they belong.
 * 0: nothing may be sent now.
 */
u32 ft_sender_next(struct ft_sender *s, u8 *out, u32 max, u64 now_ns, u64 *offset);

/* Bytes that ft_sender_next would give. */
u32 ft_sender_ready(const struct ft_sender *s);

/* More is written than may be in flight: only an answer lets it go. */
bool ft_sender_stuck(const struct ft_sender *s);

struct ft_stream_ack {
	u32 offset;          /* as on the wire */
	u32 room;            /* bytes behind it */
	bool hole;
	u32 hole_end;
};
/* True: it acknowledges something new.  What cannot be is ignored. */
bool ft_sender_ack(struct ft_sender *s, const struct ft_stream_ack *a);

/* An answer is overdue: the first unacknowledged bytes go again.  False: all is acknowledged. */
bool ft_sender_overdue(struct ft_sender *s);

/* ---- the receiving end ---- */

struct ft_receiver {
	u8 *ring;            /* size + spare bytes; the spare ones repeat the beginning */
	u32 size, spare;     /* size: a power of two; a record of up to spare bytes is seen in one piece */
	u64 taken, end;
	struct ft_piece {
		u64 from, to;
	} piece[FT_PIECES];  /* beyond end, in order, with gaps between them */
	unsigned npieces;
};

void ft_receiver_init(struct ft_receiver *r, u8 *ring, u32 size, u32 spare);

/* Bytes from a datagram.  True: some were not there before. */
bool ft_receiver_put(struct ft_receiver *r, u32 wire_offset, const u8 *data, u32 n);

/* The bytes at an offset between taken and end, in one piece; *n: how many there are, at least MIN(end - offset, spare). */
const u8 *ft_receiver_at(const struct ft_receiver *r, u64 offset, u32 *n);

static inline u32 ft_receiver_room(const struct ft_receiver *r)
{
	return r->size - (u32)(r->end - r->taken);
}

#endif
