/*
 * disk.h - a guest's disk: a base image, and over it what the guest has written.
 *
 * The base is the host's storage, and never changes while a machine runs on it
 * (but for DISK_THROUGH); the recording names it by its digest.  What is
 * written goes into the overlay, which is a memory like the guest's RAM
 * [guestmem.h]: digests, images and checkpoints treat it as they treat RAM, and
 * a disk has no other state.
 *
 * The overlay is laid out like a small file system.  The disk is regions of
 * 2 MiB.  The first write into a region gives it a slot, the next free one:
 *
 *   chunk 0       tables, integers little-endian:
 *     0           u16 for each region: its slot + 1; 0: it has none
 *     128 KiB     u32: slots given
 *     132 KiB     for each slot 4096 bits: bit n, the region's sector n is here
 *   chunk 1 + i   the sectors of slot i, where they lie in the region
 *
 * A sector whose bit is set is the overlay's, every other one the base's.
 *
 * Errors: ERR_INVALID sectors that are not the disk's; ERR_UNSUPPORTED a write
 * to a disk that is read-only; ERR_TOO_BIG no slot is left for a write, and
 * nothing of it was done: a function of the run; ERR_IO the base failed, in
 * this run perhaps and in another not: the caller asks its boundary what the
 * guest is to see, and what of a read is in the buffer then says nothing;
 * ERR_NO_MEMORY the host is out of memory, the machine must stop.
 */
#ifndef VMM_DISK_H
#define VMM_DISK_H

#include "vmm/guestmem.h"

#define DISK_SECTOR 512UL
#define DISK_REGION_SECTORS (CHUNK_SIZE / DISK_SECTOR)
#define DISK_MAX_REGIONS 65536UL
#define DISK_MAX_SECTORS (DISK_MAX_REGIONS * DISK_REGION_SECTORS)  /* with an overlay: 128 GiB */
#define DISK_MAX_ROOM ((GUEST_MAX_CHUNKS - 1UL) * CHUNK_SIZE)      /* 3 GiB less the tables */

/* The host's storage, of sectors.  None of the hooks may be missing. */
struct disk_base {
	err_t (*read)(void *ctx, u64 sector, void *buf, u32 nsectors);
	err_t (*write)(void *ctx, u64 sector, const void *buf, u32 nsectors);
	err_t (*flush)(void *ctx);
	void *ctx;
};

enum disk_mode {
	DISK_RO,      /* the base alone; writes are refused */
	DISK_COW,     /* writes go to the overlay */
	DISK_SHARED,  /* ... and are outputs of the machine, too: its device says so [virtio_blk.h] */
	DISK_THROUGH, /* writes go to the base: for runs that nobody will want to repeat */
};

struct disk_config {
	u64 nsectors;
	enum disk_mode mode;
	u64 room_bytes;           /* COW, SHARED: for what is written, a multiple of 2 MiB, at most DISK_MAX_ROOM */
	struct disk_base base;
};

struct disk {
	struct disk_config config;
	struct guest_memory overlay; /* of no bytes, but for COW and SHARED */
	u64 refused;                 /* for reports: writes that had no room.  Never saved */
};

/* ERR_INVALID: no sectors, no room, or half a chunk of it.  ERR_TOO_BIG: more of either than an overlay can have. */
err_t disk_init(struct disk *d, const struct disk_config *c, const struct chunk_source *s) must_check;

/* Straight between buf and where the sectors are, with as few calls of the base as there are runs of its sectors. */
err_t disk_read(struct disk *d, u64 sector, void *buf, u32 nsectors) must_check;
err_t disk_write(struct disk *d, u64 sector, const void *buf, u32 nsectors) must_check;

/* What was written is on the base's medium: THROUGH.  An overlay is memory, and has nothing to flush. */
err_t disk_flush(struct disk *d) must_check;

/* Sectors that the overlay holds. */
u64 disk_written(const struct disk *d);

/*
 * Writes what the overlay holds to the base, in the disk's order, and flushes it.
 * The overlay stays as it is; doing it again does the same.  progress is told
 * after each write how many of how many sectors are done.
 */
err_t disk_commit(struct disk *d, void (*progress)(void *ctx, u64 done, u64 all), void *ctx) must_check;

#endif
