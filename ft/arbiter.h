/*
 * arbiter.h - who may be live: a word on shared storage, and how to ask for it.
 *
 * An arbiter is anything with an atomic compare-and-swap of 64 bytes that both
 * hosts reach and that outlives each of them: a block of a SCSI disk (COMPARE
 * AND WRITE, or a persistent reservation around a read and a write), a
 * service.  What the results mean is docs/LINK.md 4; an implementation must
 * say `unknown` whenever it is not certain.
 */
#ifndef FT_ARBITER_H
#define FT_ARBITER_H

#include "kernel/base.h"

#define FT_WORD_BYTES 64

/* What the store holds.  All zero: nothing yet. */
struct ft_word {
	u64 pair;        /* which pair's it is */
	u64 term;        /* one more at each change */
	u64 owner;       /* the member that is live */
	u64 member[2];   /* 0: none */
};

enum ft_verdict {
	FT_ASKING,       /* no result yet */
	FT_SWAPPED,      /* the word was the expected one, and is the desired one now */
	FT_DIFFERS,      /* it was another, which is in *current; nothing changed */
	FT_UNKNOWN,      /* the attempt may have been made, or may be made yet */
	FT_UNREACHABLE,  /* it was not made and never will be */
};

struct ft_arbiter {
	/* Begins an attempt; only when the last one has had its result. */
	void (*start)(void *ctx, const struct ft_word *expected, const struct ft_word *desired);
	/* How the attempt stands; after any other answer than FT_ASKING it is over. */
	enum ft_verdict (*poll)(void *ctx, struct ft_word *current);
	void *ctx;
};

static inline bool ft_word_equal(const struct ft_word *a, const struct ft_word *b)
{
	return a->pair == b->pair && a->term == b->term && a->owner == b->owner && a->member[0] == b->member[0] &&
	       a->member[1] == b->member[1];
}

/* To the store's bytes and back.  ERR_DAMAGED: these are no word. */
void ft_word_encode(const struct ft_word *w, u8 out[FT_WORD_BYTES]);
err_t ft_word_decode(const u8 in[FT_WORD_BYTES], struct ft_word *w) must_check;

#endif
