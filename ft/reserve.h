/*
 * reserve.h - taking a logical unit's persistent reservation from whoever has it.
 *
 * Write Exclusive: whose registration holds it writes, all others only read.
 * (Registrants Only would let any registered host write: a loser that registers
 * again, as one must after a lost connection, would be let in.)  Taking it is
 * atomic in the target: PREEMPT names the key it takes from, and fails when
 * that key is there no more.
 */
#ifndef FT_RESERVE_H
#define FT_RESERVE_H

#include "ft/scsi.h"

enum ft_reserve_state {
	FT_RESERVE_ASKING,
	FT_RESERVE_HELD,      /* by this key, and what others write from now on is refused */
	FT_RESERVE_FORBIDDEN, /* `may_take` said so; *holder tells by whom it is held */
	FT_RESERVE_AGAIN,     /* somebody was faster, or the way to the unit was lost: begin again */
	FT_RESERVE_REFUSED,   /* the unit has no persistent reservations */
};

struct ft_reserve {
	struct ft_scsi *scsi;
	u64 key, holder;
	bool (*may_take)(void *ctx, u64 holder); /* is it right to take it from that key? */
	void *ctx;
	bool persist;         /* ask for one that outlives the target's power; false once refused */
	bool abort;           /* ask that the loser's commands be aborted; false once refused */
	bool aborted;         /* the last taking did so */
	unsigned step;
	u8 out[FT_PR_PARAMETERS];
};

/* key: of this attempt, never used before.  Only when scsi has nothing outstanding. */
void ft_reserve_begin(struct ft_reserve *r, u64 key);

enum ft_reserve_state ft_reserve_poll(struct ft_reserve *r);

#endif
