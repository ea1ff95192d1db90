/*
 * held.c - the queue of outputs.  See held.h.
 *
 * Entries lie in a ring, each in one piece; where the next would not fit before
 * the end, a filler takes the rest.  Changes only its struct and its ring.
 */
#include "ft/held.h"

struct entry {
	u32 total;           /* bytes in the ring, this header included; a multiple of 8 */
	u16 instance;
	u8 kind;             /* enum output_kind; 0: a filler, of which only the first 8 bytes are there */
	u32 size;            /* of the data */
	u32 gone;            /* of it, console bytes that have left */
	u32 cost;
	u64 position;
	u64 sector;          /* of a disk's */
};
_Static_assert(sizeof(struct entry) == 40 && offsetof(struct entry, kind) < 8, "as the cost and fillers have it");

void ft_held_init(struct ft_held *h, u8 *ring, u32 size, u32 longest)
{
	*h = (struct ft_held){ .ring = ring, .size = size & ~7U, .longest = longest };
	h->bound = h->size - FT_HELD_SEAM(longest);
}

static struct entry *at(const struct ft_held *h, u32 offset)
{
	return (struct entry *)(void *)(h->ring + offset);
}

static u32 behind(const struct ft_held *h, u32 offset)
{
	u32 next = offset + at(h, offset)->total;

	return next == h->size ? 0 : next;
}

/* Where an entry of `total` bytes may be written; the end of the ring is filled up if it is too short for it. */
static bool make_room(struct ft_held *h, u32 total, u32 *where)
{
	u32 end = h->first + h->fill, wrapped = end >= h->size;
	u32 tail = h->size - (wrapped ? 0 : end);

	if (wrapped) {
		*where = end - h->size;
		return h->size - h->fill >= total;
	}
	*where = tail < total ? 0 : end;
	if (tail >= total)
		return true;
	if (h->first < total)
		return false;
	if (tail) {
		at(h, end)->total = tail;
		at(h, end)->kind = 0;
		h->fill += tail;
	}
	return true;
}

/* Console bytes go on in the last entry where that is possible. */
static bool extend(struct ft_held *h, const struct output *out)
{
	struct entry *e = h->nunplaced ? at(h, h->last) : NULL;
	u32 total;

	if (!e || out->kind != OUTPUT_CONSOLE || e->kind != OUTPUT_CONSOLE || e->instance != out->instance ||
	    e->size + out->size > FT_OUTPUT_MAX)
		return false;
	total = (u32)sizeof(*e) + ALIGN_UP(e->size + out->size, 8U);
	if (total - e->total > h->size - h->fill || h->last + total > h->size)
		return false;
	memcpy((u8 *)(e + 1) + e->size, out->data, out->size);
	h->fill += total - e->total;
	e->total = total;
	e->size += out->size;
	e->cost += FT_HELD_COST(out->size);
	return true;
}

bool ft_held_put(struct ft_held *h, const struct output *out)
{
	u32 total = (u32)sizeof(struct entry) + ALIGN_UP(out->size, 8U), where;
	struct entry *e;

	if (out->size > h->longest || h->cost + FT_HELD_COST(out->size) > h->bound)
		return false;
	if (!h->fill)
		h->first = 0;
	if (!extend(h, out)) {
		if (!make_room(h, total, &where))
			return false;
		e = at(h, where);
		*e = (struct entry){ .position = FT_NO_POSITION, .total = total, .size = out->size,
				     .cost = FT_HELD_COST(out->size), .instance = out->instance, .kind = (u8)out->kind,
				     .sector = out->sector };
		memcpy(e + 1, out->data, out->size);
		h->fill += total;
		h->last = where;
		if (!h->nunplaced++)
			h->unplaced = where;
	}
	h->cost += FT_HELD_COST(out->size);
	return true;
}

void ft_held_place(struct ft_held *h, u64 position)
{
	for (u32 where = h->unplaced; h->nunplaced; where = behind(h, where))
		if (at(h, where)->kind) {
			at(h, where)->position = position;
			h->nunplaced--;
		}
}

static void show(const struct ft_held *h, u32 where, struct ft_held_front *f)
{
	const struct entry *e = at(h, where);

	f->position = e->position;
	f->out = (struct output){ .kind = (enum output_kind)e->kind, .instance = e->instance,
				  .data = (const u8 *)(e + 1) + e->gone, .size = e->size - e->gone, .sector = e->sector };
	f->units = ft_units(&f->out);
	f->next = behind(h, where);
}

bool ft_held_front(const struct ft_held *h, struct ft_held_front *f)
{
	if (!h->fill)
		return false;
	show(h, h->first, f);
	return true;
}

bool ft_held_behind(const struct ft_held *h, struct ft_held_front *f)
{
	const u32 end = (h->first + h->fill) % h->size;

	if (f->next != end && !at(h, f->next)->kind)
		f->next = behind(h, f->next); /* a filler, which is never the last */
	if (f->next == end)
		return false;
	show(h, f->next, f);
	return true;
}

static void drop_first(struct ft_held *h)
{
	u32 next = behind(h, h->first);

	h->fill -= at(h, h->first)->total;
	h->first = next;
}

void ft_held_take(struct ft_held *h, u32 units)
{
	struct entry *e = at(h, h->first);
	bool placed = !h->nunplaced || h->unplaced != h->first;

	if (e->kind == OUTPUT_CONSOLE && units < e->size - e->gone) {
		e->gone += units;
		return;
	}
	h->cost -= e->cost;
	drop_first(h);
	while (h->fill && !at(h, h->first)->kind)
		drop_first(h);
	if (placed)
		return;
	h->nunplaced--;
	h->unplaced = h->first; /* where the first is unplaced, all are */
}

void ft_held_clear(struct ft_held *h)
{
	h->first = h->fill = h->nunplaced = h->cost = 0;
}
