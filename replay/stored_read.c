/*
 * stored_read.c - taking stored checkpoints out of a recording.  See stored.h.
 *
 * Nothing of a chunk is trusted: a length that makes no sense is damage.
 */
#include "replay/recording_format.h"
#include "replay/stored.h"

struct bytes {
	const u8 *at, *end;
};

static bool get_number(struct bytes *b, u64 *v)
{
	u32 n = get_varint(b->at, (u32)(b->end - b->at), v);

	b->at += n;
	return n;
}

static bool parse_begin(struct bytes b, struct stored_point *p)
{
	u64 flags;

	if (!get_number(&b, &flags) || !get_number(&b, &p->at.count) || !get_number(&b, &p->at.vtime_ns) ||
	    !get_number(&b, &p->at.sequence) || !get_number(&b, &p->base.count) || !get_number(&b, &p->base.vtime_ns) ||
	    !get_number(&b, &p->base.sequence) || !get_number(&b, &p->epochs) || b.end - b.at < 8)
		return false;
	p->full = flags & STORED_FULL;
	p->end = flags & STORED_AT_END;
	p->digest = read_bytes_le(b.at, 8);
	return true;
}

unsigned stored_parse(const struct rec_chunk *c, struct stored_point *p)
{
	struct bytes b = { c->payload + 1, c->payload + c->size };

	if (c->type != REC_CHECKPOINT || !c->size || c->payload[0] < STORED_BEGIN || c->payload[0] > STORED_STATE)
		return 0;
	if (c->payload[0] == STORED_BEGIN && !parse_begin(b, p))
		return 0;
	return c->payload[0];
}

static err_t give_pages(const struct rec_chunk *c, const struct stored_sink *sink)
{
	struct bytes b = { c->payload + 1, c->payload + c->size };
	err_t err = OK;
	u64 number;

	while (!err && b.at < b.end) {
		if (!get_number(&b, &number) || b.end - b.at < (s64)PAGE_SIZE)
			return ERR_DAMAGED;
		err = sink->page(sink->ctx, number, b.at);
		b.at += PAGE_SIZE;
	}
	return err;
}

err_t stored_load(struct rec_reader *r, u64 count, bool end, const struct stored_sink *sink)
{
	struct stored_point p = { 0 };
	bool begun = false, any = false;
	err_t err;

	while (!(err = rec_next_chunk(r))) {
		switch (stored_parse(&r->chunk, &p)) {
		case STORED_BEGIN:
			if (!any && !p.full)
				return ERR_DAMAGED;
			begun = any = true;
			err = sink->begin(sink->ctx, &p);
			break;
		case STORED_PAGES:
			err = begun ? give_pages(&r->chunk, sink) : ERR_DAMAGED;
			break;
		case STORED_STATE:
			if (!begun)
				return ERR_DAMAGED;
			begun = false;
			r->base[0] = p.base;
			err = sink->state(sink->ctx, r->chunk.payload + 1, r->chunk.size - 1);
			if (!err && p.at.count == count && p.end == end)
				return OK;
			break;
		default:
			break; /* events on the way */
		}
		if (err)
			return err;
	}
	return err;
}
