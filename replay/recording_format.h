/*
 * recording_format.h - what the writer and the reader of recordings share,
 * and nobody else needs [docs/RECORDING.md 3 and 6].
 */
#ifndef REPLAY_RECORDING_FORMAT_H
#define REPLAY_RECORDING_FORMAT_H

#include "replay/recording.h"
#include "replay/varint.h"

#define REC_MAGIC "REPRISE" /* with its NUL: 8 bytes */

#define REC_LZ4_WORTH 48    /* smaller payloads are digests mostly: not worth a try */
#define VARINT_PART_MAX 3   /* bytes a varint up to REC_PAYLOAD_MAX takes */

/* The first byte of a chunk. */
enum {
	REC_TYPE_MASK = 0x1f,
	REC_FLAG_LZ4 = 0x20,
	REC_FLAG_RESERVED = 0x40,
	REC_FLAG_SKIPPABLE = REC_SKIPPABLE,
};

/* The first byte of an event. */
enum {
	REC_EV_KIND_MASK = 0x0f,
	REC_EV_IDLE = 0x10,
	REC_EV_PLACE = 0x20,
	REC_EV_SEQUENCE = 0x40,
	REC_EV_RESERVED = 0x80,
};

/* The longest start of an event: tag, VM, vCPU, count, idle, sequence. */
#define REC_EVENT_HEAD_MAX (1 + 5 * VARINT_MAX)

/* The point the next event's deltas start from. */
static inline void rec_base_advance(struct rec_base *b, const struct execpoint *at, unsigned kind)
{
	b->count = at->count;
	b->vtime_ns = at->vtime_ns;
	b->sequence = at->sequence + (kind == REC_INPUT);
}

/* ---- one event [recording_event.c] ---- */

/* An event in bytes: these, and behind them an input's data or a mark's name where they lie. */
struct rec_encoded {
	u8 bytes[REC_EVENT_HEAD_MAX + 3 * VARINT_MAX];
	u32 size;
	const void *data;
	u32 data_size;
};

/*
 * The base advances if, and only if, all is good.  ERR_INVALID: the point lies
 * before the base, or there is too much data.
 */
err_t rec_event_encode(struct rec_base *b, const struct rec_event *ev, struct rec_encoded *out) must_check;

/* The start of an event alone, at most REC_EVENT_HEAD_MAX bytes; 0: the point lies before the base. */
u32 rec_head_encode(struct rec_base *b, unsigned kind, u32 vm, const struct execpoint *at, u8 *out) must_check;

/*
 * The event that p[0..size) begins with; bases[REC_MAX_VMS].  ERR_END: the bytes
 * end before it does; ERR_DAMAGED, ERR_VERSION: it makes no sense.  Of kinds
 * that recordings do not have the start alone is decoded.
 */
err_t rec_event_decode(struct rec_base *bases, const u8 *p, u32 size, struct rec_event *ev, u32 *used) must_check;

/* Reading field after field: the first error stays, and what is read after it is 0. */
struct rec_cursor {
	const u8 *p, *end;
	err_t error;      /* ERR_END: the bytes end too early; ERR_DAMAGED */
};
u64 rec_get(struct rec_cursor *c, u64 max);                       /* a varint of at most max */
const u8 *rec_get_bytes(struct rec_cursor *c, u64 n);

#endif
