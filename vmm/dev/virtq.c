/*
 * virtq.c - split virtqueues.  See virtq.h.
 *
 * Reads and changes: the rings in guest memory, through guestmem.h only, and the
 * queue's own positions.  Never: an interrupt, or what is in a buffer.
 *
 *   1  rings     2  chains     3  giving back, and who tells whom     4  bytes     5  state
 */
#include "vmm/dev/virtq.h"

/* Offsets [VIRTIO 2.7.6 The Virtqueue Available Ring; VIRTIO 2.7.8 The Virtqueue Used Ring]. */
enum {
	FLAGS_AT = 0, IDX_AT = 2, RING_AT = 4,
	AVAIL_ENTRY = 2, USED_ENTRY = 8, DESC_SIZE = 16, EVENT_SIZE = 2,
	AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1,
};
/* [VIRTIO 2.7.5 The Virtqueue Descriptor Table] */
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

/* --- 1  rings ----------------------------------------------------------------- */

static bool is_ram(const struct guest_memory *m, u64 at, u64 size_bytes)
{
	if (at > m->size_bytes || size_bytes > m->size_bytes - at)
		return false;
	return at >= VIDEO_END || at + size_bytes <= VIDEO_START;
}

static err_t load16(const struct virtq *q, u64 at, u16 *value)
{
	return guestmem_read(q->mem, GPA(at), value, sizeof(*value));
}

static err_t store16(struct virtq *q, u64 at, u16 value)
{
	return guestmem_write(q->mem, GPA(at), &value, sizeof(value));
}

static bool has(const struct virtq *q, u64 feature)
{
	return *q->features & feature;
}

/* Behind the available ring: the driver's wish; behind the used ring: the device's. */
static u64 used_event_at(const struct virtq *q)
{
	return q->avail + RING_AT + AVAIL_ENTRY * q->size;
}

static u64 avail_event_at(const struct virtq *q)
{
	return q->used + RING_AT + USED_ENTRY * q->size;
}

/* [VIRTIO 2.7 Split Virtqueues] tells alignments and sizes. */
static bool layout_holds(const struct virtq *q)
{
	return q->size && q->size <= q->max_size && !(q->size & (q->size - 1)) &&
	       q->desc % 16 == 0 && q->avail % 2 == 0 && q->used % 4 == 0 &&
	       is_ram(q->mem, q->desc, DESC_SIZE * q->size) &&
	       is_ram(q->mem, q->avail, RING_AT + AVAIL_ENTRY * q->size + EVENT_SIZE) &&
	       is_ram(q->mem, q->used, RING_AT + USED_ENTRY * q->size + EVENT_SIZE);
}

void virtq_init(struct virtq *q, struct guest_memory *mem, const u64 *features, u16 max_size)
{
	if (max_size > VIRTQ_MAX_SIZE)
		__builtin_trap();
	*q = (struct virtq){ .mem = mem, .features = features, .max_size = max_size };
	virtq_reset(q);
}

void virtq_reset(struct virtq *q)
{
	q->size = q->max_size;
	q->enabled = 0;
	q->desc = q->avail = q->used = 0;
	q->next_avail = q->next_used = q->signalled = 0;
}

err_t virtq_enable(struct virtq *q)
{
	if (!layout_holds(q))
		return ERR_INVALID;
	q->enabled = 1;
	return OK;
}

/* --- 2  chains ------------------------------------------------------------------- */

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};
_Static_assert(sizeof(struct desc) == DESC_SIZE, "as it lies in memory");

static err_t add_buffer(struct virtq_chain *c, const struct desc *d)
{
	bool writes = d->flags & DESC_WRITE;
	u32 *sum = writes ? &c->write_bytes : &c->read_bytes;
	u64 at = d->addr, left = d->len;

	if (!is_ram(c->mem, at, left) || left > ~0U - *sum)
		return ERR_INVALID;
	if (!writes && c->npieces > c->nread)
		return ERR_INVALID; /* what the device reads comes first [VIRTIO 2.7.4.2 Driver Requirements: Message Framing] */
	*sum += d->len;
	while (left) {
		u32 n = (u32)MIN(left, CHUNK_SIZE - at % CHUNK_SIZE);
		struct chunk_info *chunk = guestmem_touch(c->mem, GPA(at));

		if (!chunk)
			return ERR_NO_MEMORY;
		if (c->npieces == VIRTQ_MAX_PIECES)
			return ERR_INVALID;
		c->piece[c->npieces++] = (struct virtq_piece){ chunk->data + at % CHUNK_SIZE, at, n };
		c->nread += !writes;
		at += n;
		left -= n;
	}
	return OK;
}

/* A descriptor that is a table of others [VIRTIO 2.7.5.3 Indirect Descriptors]: no table within, nothing behind it. */
static bool table_holds(const struct virtq *q, const struct desc *d)
{
	return has(q, VIRTIO_F_RING_INDIRECT_DESC) && !(d->flags & DESC_NEXT) && d->len && d->len % DESC_SIZE == 0 &&
	       d->len / DESC_SIZE <= VIRTQ_MAX_TABLE && is_ram(q->mem, d->addr, d->len);
}

/*
 * A chain longer than its table has come to a descriptor twice: a loop.  So each
 * table is gone through at most once, and there are two.
 */
static err_t walk(const struct virtq *q, u16 head, struct virtq_chain *c)
{
	u64 table = q->desc;
	u32 n = q->size, steps = 0, i = head;
	bool nested = false;
	struct desc d;
	err_t err;

	for (;;) {
		if (i >= n || steps++ == n)
			return ERR_INVALID;
		err = guestmem_read(q->mem, GPA(table + i * DESC_SIZE), &d, sizeof(d));
		if (err)
			return err;
		if (d.flags & DESC_INDIRECT) {
			if (nested || !table_holds(q, &d))
				return ERR_INVALID;
			nested = true;
			table = d.addr;
			n = d.len / DESC_SIZE;
			steps = i = 0;
			continue;
		}
		err = add_buffer(c, &d);
		if (err || !(d.flags & DESC_NEXT))
			return err;
		i = d.next;
	}
}

err_t virtq_chain_at(const struct virtq *q, u16 head, struct virtq_chain *c)
{
	c->mem = q->mem;
	c->head = head;
	c->nread = c->npieces = 0;
	c->read_bytes = c->write_bytes = 0;
	return q->enabled ? walk(q, head, c) : ERR_INVALID;
}

err_t virtq_count(const struct virtq *q, u16 *n)
{
	u16 idx;
	err_t err;

	*n = 0;
	if (!q->enabled)
		return OK;
	err = load16(q, q->avail + IDX_AT, &idx);
	if (err)
		return err;
	if ((u16)(idx - q->next_avail) > q->size)
		return ERR_INVALID; /* more than there are descriptors for */
	*n = idx - q->next_avail;
	return OK;
}

err_t virtq_look(const struct virtq *q, u16 n, struct virtq_chain *c)
{
	u16 count, head;
	err_t err = virtq_count(q, &count);

	if (err)
		return err;
	if (n >= count)
		return ERR_END;
	err = load16(q, q->avail + RING_AT + AVAIL_ENTRY * ((q->next_avail + n) % q->size), &head);
	return err ? err : virtq_chain_at(q, head, c);
}

void virtq_take(struct virtq *q, u16 n)
{
	q->next_avail += n;
}

/* --- 3  giving back, and who tells whom ---------------------------------------------- */

err_t virtq_fill(struct virtq *q, u16 nth, u16 head, u32 written)
{
	const u32 entry[2] = { head, written };

	if (!q->enabled)
		return ERR_INVALID;
	return guestmem_write(q->mem, GPA(q->used + RING_AT + USED_ENTRY * ((u16)(q->next_used + nth) % q->size)), entry,
			      sizeof(entry));
}

err_t virtq_publish(struct virtq *q, u16 n)
{
	q->next_used += n;
	return store16(q, q->used + IDX_AT, q->next_used);
}

/* [VIRTIO 2.7.7 Used Buffer Notification Suppression] */
err_t virtq_signal(struct virtq *q, bool *wanted)
{
	u16 old = q->signalled, event, flags;
	err_t err;

	*wanted = false;
	q->signalled = q->next_used;
	if (old == q->next_used)
		return OK;
	if (has(q, VIRTIO_F_RING_EVENT_IDX)) {
		err = load16(q, used_event_at(q), &event);
		/* The driver waits for the entry at `event`: is it among those from old on? */
		*wanted = !err && (u16)(q->next_used - event - 1) < (u16)(q->next_used - old);
		return err;
	}
	err = load16(q, q->avail + FLAGS_AT, &flags);
	*wanted = !err && !(flags & AVAIL_NO_INTERRUPT);
	return err;
}

/*
 * [VIRTIO 2.7.10 Available Buffer Notification Suppression].  With the event
 * index "no kicks" is an entry just passed: it comes again after 65,535 others,
 * and the one kick then does no harm.
 */
err_t virtq_want_kicks(struct virtq *q, bool wanted)
{
	if (!q->enabled)
		return OK;
	if (has(q, VIRTIO_F_RING_EVENT_IDX))
		return store16(q, avail_event_at(q), (u16)(q->next_avail - !wanted));
	return store16(q, q->used + FLAGS_AT, wanted ? 0 : USED_NO_NOTIFY);
}

/* --- 4  bytes ---------------------------------------------------------------------------- */

struct virtq_cursor virtq_reader(const struct virtq_chain *c)
{
	return (struct virtq_cursor){ .c = c, .piece = 0, .end = c->nread };
}

struct virtq_cursor virtq_writer(const struct virtq_chain *c)
{
	return (struct virtq_cursor){ .c = c, .piece = c->nread, .end = c->npieces, .writes = true };
}

u32 virtq_span(struct virtq_cursor *at, u32 max, u8 **data)
{
	const struct virtq_piece *p = &at->c->piece[at->piece];
	u64 from;
	u32 n;

	if (at->piece == at->end || !max)
		return 0;
	from = p->at + at->offset;
	n = MIN(p->size_bytes - at->offset, max);
	*data = p->data + at->offset;
	at->offset += n;
	if (at->offset == p->size_bytes) {
		at->piece++;
		at->offset = 0;
	}
	for (u64 page = from & PAGE_MASK; at->writes && page < from + n; page += PAGE_SIZE)
		guestmem_mark(at->c->mem, GPA(page));
	return n;
}

/* As virtq_span does, but without marking: nothing is written. */
u32 virtq_skip(struct virtq_cursor *at, u32 n)
{
	u32 left = n;

	while (left && at->piece < at->end) {
		u32 size = at->c->piece[at->piece].size_bytes - at->offset, step = MIN(size, left);

		left -= step;
		at->offset = step == size ? 0 : at->offset + step;
		at->piece += step == size;
	}
	return n - left;
}

u32 virtq_get(struct virtq_cursor *at, void *buf, u32 n)
{
	u32 got = 0, step;
	u8 *data;

	for (; (step = virtq_span(at, n - got, &data)); got += step)
		memcpy((u8 *)buf + got, data, step);
	return got;
}

u32 virtq_put(struct virtq_cursor *at, const void *buf, u32 n)
{
	u32 put = 0, step;
	u8 *data;

	for (; (step = virtq_span(at, n - put, &data)); put += step)
		memcpy(data, (const u8 *)buf + put, step);
	return put;
}

/* --- 5  state ------------------------------------------------------------------------------ */

void virtq_state(struct virtq *q, struct state_walk *w)
{
	STATE(w, q, size);
	STATE(w, q, enabled);
	STATE(w, q, desc);
	STATE(w, q, avail);
	STATE(w, q, used);
	STATE(w, q, next_avail);
	STATE(w, q, next_used);
	STATE(w, q, signalled);
	if (w->mode == STATE_LOAD && q->enabled && !layout_holds(q)) {
		virtq_reset(q);
		w->error = w->error ? w->error : ERR_DAMAGED;
	}
}
