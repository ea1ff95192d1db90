/*
 * virtio_blk.h - a disk for the guest [VIRTIO 5.2 Block Device], over a struct
 * disk.
 *
 * Time.  A request completes at a virtual instant computed when it is submitted,
 * whatever the host's storage does:
 *
 *   max(submission + BLK_ACCESS_NS, completion of the one before it) + size / 2 GB/s
 *
 * as if the disk found many places at once and had one channel for the data.
 * Requests complete in the order of submission, no two at one instant.  Data
 * move at the completion, straight between the disk and the guest's buffers.
 *
 * Errors.  What is a function of the run (sectors beyond the end, a write to a
 * read-only disk, no room for what is written) the guest sees as an I/O error.
 * What may be otherwise in another run of the same recording - the host's
 * storage failed - is the board's to answer, once for each request.  A read that
 * failed leaves zeros, so that it leaves the same in every run.
 *
 * State: which chains are outstanding, by their heads, and when each is due.
 */
#ifndef VMM_DEV_VIRTIO_BLK_H
#define VMM_DEV_VIRTIO_BLK_H

#include "vmm/dev/virtio.h"
#include "vmm/disk.h"

#define BLK_ACCESS_NS 50000UL
#define BLK_BYTES_PER_US 2000UL
#define BLK_QUEUE_SIZE 128U
#define BLK_SEG_MAX 126U            /* data segments of a request: two descriptors are header and status */
#define BLK_SIZE_MAX MIB(1)         /* of a segment */
#define DISK_ID_SIZE 20U

struct blk_board {
	/* What the guest is to see of what the host's storage did, OK or ERR_IO. */
	err_t (*answer)(void *ctx, unsigned disk, err_t host);
	/* To a disk that is shared these sectors were written.  data: valid during the call. */
	void (*wrote)(void *ctx, unsigned disk, u64 sector, const void *data, u32 nsectors);
	void *ctx;
};

struct blk_request {
	u64 due_ns;
	u16 head;
};

struct virtio_blk {
	struct virtio v;
	struct disk *disk;
	unsigned index;
	struct blk_board board;
	u8 config[60];

	struct vtimer timer;            /* at the first one's instant */
	struct blk_request waiting[BLK_QUEUE_SIZE]; /* a ring: nwaiting from first on */
	u32 first;                      /* moves as it likes: never visible */
	u32 nwaiting;
};

extern const struct device_ops virtio_blk_ops;

/* index: which disk of the machine, for its answers and its serial number.  board.wrote: only if the disk is shared. */
void virtio_blk_init(struct virtio_blk *b, const struct virtio_env *env, unsigned slot, unsigned index, struct disk *disk,
		     struct blk_board board);

#endif
