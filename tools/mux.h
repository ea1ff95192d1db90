/*
 * mux.h - the consoles of several machines on one terminal, or in one pipe.
 *
 * From the hypervisor and to it the bytes come marked [tools/session.h].  Shown, each line begins
 * with its machine's name.  In a pipe every line is whole, up to 8 KiB; on a terminal the machine that has the
 * keyboard is shown as it prints, prompts and all, and another's line waits for its end.
 */
#ifndef TOOLS_MUX_H
#define TOOLS_MUX_H

#include "tools/tool.h"

#define MUX_MAX 8

struct mux {
	unsigned n;
	const char *name[MUX_MAX];
	bool terminal;         /* what is shown goes to one */
	unsigned keyboard;     /* whose it is */
	unsigned from;         /* whose the bytes that come are */
	bool marked;           /* the last of them was a lone FFh */
	int open;              /* whose line stands unfinished where it is shown; -1: nobody's */
	struct buf line[MUX_MAX]; /* of each what is not shown yet */
	struct buf shown;      /* to be shown; the caller takes it from here */
};

/* name, terminal and keyboard are set, all else is 0. */
void mux_start(struct mux *m);

/* Bytes that came from the hypervisor: shown grows by what is to be seen of them. */
void mux_take(struct mux *m, const u8 *bytes, size_t size);

/* All is over: lines that were not ended are shown, too. */
void mux_finish(struct mux *m);

/* Bytes typed for the machine that has the keyboard, marked, are added to out; who changes keyboard calls mux_point. */
void mux_type(const u8 *bytes, size_t size, struct buf *out);
void mux_point(const struct mux *m, struct buf *out);

void mux_free(struct mux *m);

#endif
