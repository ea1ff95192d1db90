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
#define VARINT_PART_MAX 3   /* bytes a varint up to REC_PART_MAX takes */

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
static inline void rec_base_advance(struct rec_base *b, const struct execpoint *at, enum rec_event_kind kind)
{
	b->count = at->count;
	b->vtime_ns = at->vtime_ns;
	b->sequence = at->sequence + (kind == REC_INPUT);
}

#endif
