/*
 * disks.h - disks that both hosts share, and how what the machine writes gets there.
 *
 * What the results mean is docs/LINK.md 10 (D1 to D7).  One thing is under way at
 * a time: taking the disks, or a write.  An implementation must say `again`
 * whenever it is not certain that a write was performed, or that nobody else can
 * write; and after `again` nothing is written before the disks were taken anew.
 * What the machine reads comes another way; who waits for that serves the link: ft_meanwhile.
 */
#ifndef FT_DISKS_H
#define FT_DISKS_H

#include "kernel/base.h"

#define FT_WRITE_MAX 65536U /* bytes of one write */

struct ft_write {
	u16 disk;
	u64 sector;          /* the first */
	const void *data;
	u32 size;            /* bytes: whole sectors, at most FT_WRITE_MAX */
};

enum ft_disk_answer {
	FT_DISK_BUSY,        /* no result yet */
	FT_DISK_DONE,        /* the disks are this host's alone; or the write is on the medium */
	FT_DISK_AGAIN,       /* take them again, then write again: it may or may not have been done */
	FT_DISK_LOST,        /* a host that has won a later term has them: this one must not write any more */
	FT_DISK_REFUSED,     /* they cannot be taken, or written; `complaint` says why */
};

struct ft_disks {
	/* Begins to take all of them, for the term this host has won.  Whatever was under way is forgotten. */
	void (*take)(void *ctx, u64 term);
	/* Begins a write.  Its data stays as it is until the answer. */
	void (*write)(void *ctx, const struct ft_write *w);
	/* How what was begun last stands; after any other answer than FT_DISK_BUSY it is over. */
	enum ft_disk_answer (*poll)(void *ctx);
	/* This host writes no more: the next pair finds the disks free.  Waits for that, but not for long. */
	void (*give_back)(void *ctx);
	const char *(*complaint)(void *ctx);
	void *ctx;
};

#endif
