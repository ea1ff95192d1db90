/*
 * ftarbiter.h - the store that says which host of a pair is live, as the command line names it.
 *
 * What the store holds is a word of ARBITER_WORD bytes, all zero at first; what it can do is to
 * compare and swap it at one stroke.  A logical unit is the hypervisor's to ask, through QEMU
 * [docs/ARBITER.md].  A file is ours: over the control channel come
 *     arbiter n=N op=swap expected=HEX desired=HEX
 * with whole words, and the answer to each is one line with its number,
 *     arbiter n=N result=RESULT [word=HEX]
 *   swapped
 *   differs         word is what the file holds
 *   unreachable     certainly not done, nor will it be
 *   unknown         it may have been done
 */
#ifndef TOOLS_FTARBITER_H
#define TOOLS_FTARBITER_H

#include "tools/qemu.h"

#define ARBITER_WORD 64

enum arbiter_kind {
	ARBITER_FILE,
	ARBITER_SCSI,
};

struct arbiter {
	enum arbiter_kind kind;
	const char *path;      /* of the file */
	struct qemu_unit unit; /* the logical unit */
};

/*
 * iscsi://HOST[:PORT]/TARGET/LUN, scsi:DEVICE, file:PATH.  A file that is not there is made.
 * side, 'a' or 'b', is who asks.
 */
enum status arbiter_open(struct arbiter *a, const char *url, char side) must_check;

const char *arbiter_kind_name(const struct arbiter *a);

/* Answers a line that is for it; false: it is not. */
bool arbiter_line(const struct arbiter *a, const char *line, struct buf *answers);

#endif
