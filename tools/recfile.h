/*
 * recfile.h - recordings as files of the host: making one, and reading one
 * from end to end into a summary.
 */
#ifndef TOOLS_RECFILE_H
#define TOOLS_RECFILE_H

#include "replay/recording.h"
#include "replay/stored.h"
#include "tools/tool.h"

/* A recording while it grows: sparse, of this size at most; truncated when it is done. */
#define RECFILE_ROOM GIB(16)

struct rec_medium fd_medium(int *fd, u64 size);

/*
 * Creates a file for a recording, readable and writable, of RECFILE_ROOM
 * apparent bytes (less where the file system cannot: *size tells).  An
 * existing file is refused unless force.  -1 after a complaint.
 */
int recfile_create(const char *path, bool force, u64 *size);

/* A checkpoint stored in a recording, and where reading begins for it: at the full one it builds on. */
struct stored_place {
	u64 offset, chain;
	u64 count;
	bool end;
};

/* Everything a command wants to know of a recording. */
struct summary;

/* The recordings a fork's run has behind it, the oldest first [line.h]. */
struct line {
	struct summary *parent[LINEAGE_MAX];
	unsigned n;
};

struct summary {
	const char *path;
	int fd;
	u64 file_size;              /* as the file system says; a cut recording's may be RECFILE_ROOM */
	enum rec_stop stop;
	u64 intact_bytes;           /* the recording's own size */
	u64 nonce;
	u64 run_offset, run_chain;  /* behind HEAD and images: where the hypervisor begins */
	struct buf head, host;
	struct buf image[2];        /* packed images, in the order of image_roles */
	bool packed[2];
	u64 inputs, input_bytes, digests, marks;
	struct execpoint last;      /* of the last event of VM 0 */
	u64 last_digest;
	bool ended;                 /* end is valid */
	struct rec_end end;
	struct line line;           /* filled by line_open */
	u64 nsectors[REC_MAX_DISKS]; /* of a disk that was shared; 0: it is not known, or there is none */
	struct buf stored;          /* of struct stored_place, in file order */
	struct stored_place full;   /* the last full one's */
	struct stored_point begun;  /* the one being read */
	bool arrived;               /* the machine came from elsewhere: the run begins at the first checkpoint */
};

/* Where a run that begins at a checkpoint does so; NULL: it is not there. */
const struct stored_place *summary_begin(const struct summary *s);

/* The last stored checkpoint at or before a count, NULL: none.  at_end: the one of the end will do, and is best. */
const struct stored_place *summary_stored(const struct summary *s, u64 count, bool at_end);

extern const char *const image_roles[2]; /* "kernel", "initrd" */

/*
 * Reads a recording.  ST_OK: s holds what is intact, and s->stop says
 * whether that is all of it; summary_free closes it.  Otherwise a complaint
 * was printed and nothing of the file is of use.
 */
enum status summarise(struct summary *s, const char *path) must_check;
void summary_free(struct summary *s);

/* In words, where and why reading stopped, NULL for a complete recording.  In buf. */
const char *summary_trouble(const struct summary *s, char *buf, size_t size);

/* A recording's id as people see it. */
#define ID_FMT "%016llx"

#endif
