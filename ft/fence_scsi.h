/*
 * fence_scsi.h - who may write to a shared disk: a reservation that the disk itself holds against the loser.
 *
 * The arbiter says who is live; a host that was frozen has not heard it, and
 * may thaw with a write on its way.  So a host that has won takes the disk's
 * reservation before its first write (docs/ARBITER.md, F1: no write by the
 * loser after the winner's first).
 *
 * The reservation's key holds the term the host has won, so that it is only ever
 * taken from a host of an earlier term: a late loser finds a later one, and
 * knows that it is out.
 */
#ifndef FT_FENCE_SCSI_H
#define FT_FENCE_SCSI_H

#include "ft/reserve.h"

enum ft_fence_state {
	FT_FENCE_TAKING,
	FT_FENCE_HELD,    /* this host may write, nobody else can */
	FT_FENCE_LOST,    /* a host of a later term has it: this one must never write again */
	FT_FENCE_REFUSED, /* the disk cannot be fenced, or is not ours: ft_fence.complaint */
};

struct ft_fence_config {
	const struct scsi_port *port; /* the same nexus the writes go by: a reservation is held by that */
	u64 pair;
	u64 host;              /* as in ft_store_config */
	u64 (*now_ns)(void *ctx);
	void *ctx;
};

struct ft_fence {
	struct ft_fence_config config;
	u64 term;
	unsigned step;
	enum ft_fence_state state;
	const char *complaint; /* why it takes so long, or was refused; NULL */
	u64 until_ns;
	unsigned ntries;
	u8 nkeys;
	struct ft_scsi scsi;
	struct ft_reserve reserve;
};

void ft_fence_init(struct ft_fence *f, const struct ft_fence_config *c);

/*
 * Begins taking the reservation for the term this host has won.  Also after a
 * write was answered by RESERVATION CONFLICT or UNIT ATTENTION: either this host is
 * out, or it has only lost its connection.  Then, once it is held again, what was not answered
 * with GOOD is written again, in order.  term: below 2^32.
 */
void ft_fence_take(struct ft_fence *f, u64 term);

/* It goes on until it has one of the other states; an unreachable disk is waited for. */
enum ft_fence_state ft_fence_poll(struct ft_fence *f);

/*
 * Gives the reservation back, so that another pair finds the disk free: by a host that holds it and will not
 * write any more.  Of one that somebody has taken since it gives nothing.  ft_fence_poll says `taking` until
 * the answer has come, whichever, and `refused` then.
 */
void ft_fence_release(struct ft_fence *f);

/* Whether the target aborts the loser's commands and keeps the reservation when it is restarted. */
bool ft_fence_aborts(const struct ft_fence *f);
bool ft_fence_persists(const struct ft_fence *f);

#endif
