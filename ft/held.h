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
/* What an output of n bytes costs; and the most that the ring's own seams can cost besides, where none is longer than n. */
#define FT_HELD_COST(n) (48 + ALIGN_UP((u32)(n), 8U))
#define FT_HELD_SEAM(n) (2 * FT_HELD_COST(n))
#define FT_OUTPUT_MAX 2048U /* of console bytes, or a write's */

struct ft_held {
	u8 *ring;
	u32 size;            /* of the ring, a multiple of 8 */
	u32 first, fill;     /* where the first entry is; bytes behind it in use */
	u32 last;            /* where the last entry is; only if fill */
	u32 unplaced;        /* where the first entry without a position is; only if nunplaced */
	u32 nunplaced;
	u32 cost;            /* of all that is held */
	u32 bound;           /* on cost; at most size - FT_HELD_SEAM(longest) */
	u32 longest;         /* output, in bytes */
};

/* The first in the queue. */
struct ft_held_front {
	u64 position;        /* in the log, up to which the other must have it; FT_NO_POSITION: none yet */
	struct output out;   /* data: in the ring, until it is taken */
	u32 units;
	u32 next;            /* for ft_held_behind */
};

/* longest: at least FT_OUTPUT_MAX, the same on both hosts. */
void ft_held_init(struct ft_held *h, u8 *ring, u32 size, u32 longest);

static inline u32 ft_units(const struct output *out)
{
	return out->kind == OUTPUT_CONSOLE ? out->size : 1;
}

/* At most `longest` bytes, without a position.  False: at the bound. */
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
