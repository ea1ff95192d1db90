/*
 * disks.h - the guest's disks as files of the host: from the command line or from
 * a recording, opened, locked and known by their digests [docs/RECORDING.md 4].
 */
#ifndef TOOLS_DISKS_H
#define TOOLS_DISKS_H

#include "tools/options.h"
#include "tools/qemu.h"
#include "tools/recfile.h"

/* An open disk of a machine. */
struct machine_disk {
	const char *path;      /* for messages */
	int fd;
	bool written;          /* rw, and not a replay's: somebody will write it */
	bool shared;           /* no file: path is the URL of a unit, fd -1, size 0, for it is not known */
	u64 size, room_bytes;
};

struct machine_disks {
	struct machine_disk disk[MAX_DISKS];
	unsigned n;
};

/* An image that is none of a machine's yet, opened and locked; closed with image_close. */
enum status image_open(struct machine_disk *d, const char *path, bool write) must_check;
void image_close(struct machine_disk *d);

/*
 * Opens and locks what the options name and describes it in head.  digests: for
 * a recording, which is to know them; reading a large file takes a while.
 */
enum status disks_from_options(struct machine_disks *d, const struct options *o, bool digests, struct buf *head) must_check;

/*
 * The disks of a recording: from the options, where they were when it was made,
 * or beside it; only what has the recorded digest.  They are only read.  Of shared ones a temporary
 * file with what the recording has of them.
 */
enum status disks_from_recording(struct machine_disks *d, const struct summary *s, const struct options *o) must_check;

/* Whether HEAD has disk n. */
bool disks_described(const struct buf *head, unsigned n);
/* ... and the machine shared it: what the recorded run has read of it is in the recording, and no more is known. */
bool disks_shared(const struct buf *head, unsigned n);
bool disks_any_shared(const struct buf *head);

/* A complaint if path, where the option has something written, is one of them. */
enum status disks_not(const struct machine_disks *d, const char *option, const char *path) must_check;

/* As disks of the hypervisor's, with names that begin with prefix; and the memory it needs for what is written to them. */
void disks_plug(const struct machine_disks *d, const char *prefix, struct qemu_disk disk[QEMU_MAX_DISKS], unsigned *ndisks);
/* The shared ones, as units for host side of a pair; conf is told which is which.  Disk N's is sharedN. */
enum status disks_plug_shared(const struct machine_disks *d, char side, struct qemu_unit unit[QEMU_MAX_UNITS], unsigned *nunits,
			      struct buf *conf) must_check;
u64 disks_memory(const struct machine_disks *d);

void disks_close(struct machine_disks *d);

#endif
