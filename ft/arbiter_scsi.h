/*
 * arbiter_scsi.h - the arbiter on a block of a shared SCSI disk.
 *
 * docs/ARBITER.md has the block's format, the invariants (S1 ...) and what was
 * found out about targets.  The word changes by COMPARE AND WRITE where the
 * target has it, else under a reservation of the whole unit; which, is written
 * in the block when it is formatted, so that both hosts do the same.
 */
#ifndef FT_ARBITER_SCSI_H
#define FT_ARBITER_SCSI_H

#include "ft/arbiter.h"
#include "ft/reserve.h"

#define FT_STORE_VERSION 1

enum ft_store_method { FT_STORE_COMPARE_AND_WRITE = 1, FT_STORE_RESERVATION = 2 };

struct ft_store_config {
	const struct scsi_port *port;
	u64 lba;
	u64 host;              /* a number no other host, and no other life of this one, has */
	u64 (*now_ns)(void *ctx);
	void *ctx;
	u64 patience_ns;       /* how long an attempt goes on without success */
};

struct ft_store {
	struct ft_arbiter arbiter; /* what the pair is given */
	struct ft_store_config config;

	/* The attempt. */
	unsigned step;
	enum ft_verdict verdict;
	bool formatting, overwrite;
	struct ft_word expected, desired;
	bool sent;             /* a command that changes the word has gone out: it may be carried out, now or later */
	u64 began_ns, until_ns;
	unsigned ntries;       /* in this attempt */

	/* What is known of the store. */
	bool sized;            /* its blocks are ours in size, and enough */
	enum ft_store_method method;
	struct ft_word current;
	const char *complaint; /* why it cannot be used; NULL */

	struct ft_scsi scsi;
	struct ft_reserve lock;
	u64 nkeys;             /* used so far */
	u8 seen[FT_BLOCK_BYTES];
	u8 out[2 * FT_BLOCK_BYTES]; /* to compare with, to write */
};

void ft_store_init(struct ft_store *s, const struct ft_store_config *c);

/*
 * Makes an empty store of the block, by an attempt like any other, polled
 * through s->arbiter: FT_SWAPPED, it is one now; FT_DIFFERS, it was one already.
 * overwrite: also when the block holds something else, or another's word.
 */
void ft_store_format(struct ft_store *s, bool overwrite);

/* Why the last attempt did not succeed, in words for an operator; NULL: nothing is known. */
const char *ft_store_complaint(const struct ft_store *s);

/* The block: for those who read one elsewhere. */
void ft_store_encode(enum ft_store_method method, const struct ft_word *w, u8 block[FT_BLOCK_BYTES]);
/* ERR_END: all zero.  ERR_UNSUPPORTED: something else.  ERR_VERSION.  ERR_DAMAGED. */
err_t ft_store_decode(const u8 block[FT_BLOCK_BYTES], enum ft_store_method *method, struct ft_word *w) must_check;

#endif
