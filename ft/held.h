/*
 * held.h - outputs that have been made and may not leave yet.
 *
 * The live host holds them until the other has the log (output commit, I5);
 * the other withholds its own until it is known that they left (I8).  A queue:
 * they leave in the order they were made (I7).
 *
 * Units number outputs alike on both hosts: a console byte is one, a frame is
 * one, a write to a disk is one.  Console bytes may be put together in one entry, and differently on the
 * two sides; what an entry costs is therefore counted as if they were not, and
 * what one side can hold the other can, too (I15).
 */
#ifndef FT_HELD_H
#define FT_HELD_H

#include "vmm/boundary.h"

#define FT_NO_POSITION (~0UL)
/* What an output of n bytes costs; and the most that the ring's own seams can cost besides. */
#define FT_HELD_COST(n) (48 + ALIGN_UP((u32)(n), 8U))
#define FT_HELD_SEAM (2 * FT_HELD_COST(FT_OUTPUT_MAX))
#define FT_OUTPUT_MAX 2048

struct ft_held {
	u8 *ring;
	u32 size;            /* of the ring, a multiple of 8 */
	u32 first, fill;     /* where the first entry is; bytes behind it in use */
	u32 last;            /* where the last entry is; only if fill */
	u32 unplaced;        /* where the first entry without a position is; only if nunplaced */
	u32 nunplaced;
	u32 cost;            /* of all that is held */
	u32 bound;           /* on cost; at most size - FT_HELD_SEAM */
};

/* The first in the queue. */
struct ft_held_front {
	u64 position;        /* in the log, up to which the other must have it; FT_NO_POSITION: none yet */
	struct output out;   /* data: in the ring, until it is taken */
	u32 units;
	u32 next;            /* for ft_held_behind */
};

void ft_held_init(struct ft_held *h, u8 *ring, u32 size);

static inline u32 ft_units(const struct output *out)
{
	return out->kind == OUTPUT_CONSOLE ? out->size : 1;
}

/* At most FT_OUTPUT_MAX bytes, without a position.  False: at the bound. */
bool ft_held_put(struct ft_held *h, const struct output *out) must_check;

/* All that has no position gets this one. */
void ft_held_place(struct ft_held *h, u64 position);

/* False: nothing is held. */
bool ft_held_front(const struct ft_held *h, struct ft_held_front *f) must_check;

/* The one behind *f, in its place.  False: *f was the last. */
bool ft_held_behind(const struct ft_held *h, struct ft_held_front *f) must_check;

/* The first goes: its first `units`, all of them or some console bytes. */
void ft_held_take(struct ft_held *h, u32 units);

void ft_held_clear(struct ft_held *h);

#endif
