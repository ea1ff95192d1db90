/*
 * virtio_blk.h - the host's disks: virtio block devices.
 *
 * Each call but blk_write_behind returns when the device has done it; a write is on
 * the medium only after blk_flush.  Buffers are ordinary host memory.
 */
#ifndef KERNEL_VIRTIO_BLK_H
#define KERNEL_VIRTIO_BLK_H

#include "kernel/base.h"

#define BLK_SECTOR_SIZE 512UL
#define BLK_ID_SIZE 20

struct blk;

/* The index-th disk in bus order; NULL when there is none or it does not answer. */
struct blk *blk_open(unsigned index);

/* The disk whose serial number (-device virtio-blk-pci,serial=...) is id; NULL if none. */
struct blk *blk_find(const char *id);

err_t blk_read(struct blk *b, u64 sector, void *buf, size_t nsectors) must_check;
err_t blk_write(struct blk *b, u64 sector, const void *buf, size_t nsectors) must_check;
err_t blk_flush(struct blk *b) must_check;

/*
 * A write that is done by the time of the next call for this disk: one is under way at
 * a time, so they are done in order.  More than BLK_BEHIND bytes are waited for at once.  If
 * one fails, so do all later writes and flushes, and blk_settle, which waits for the last.
 */
#define BLK_BEHIND KIB(128)
err_t blk_write_behind(struct blk *b, u64 sector, const void *buf, size_t nsectors) must_check;
err_t blk_settle(struct blk *b) must_check;
/* The last one is still under way: another would wait for it. */
bool blk_busy(const struct blk *b);

u64 blk_sectors(const struct blk *b);
bool blk_readonly(const struct blk *b);
const char *blk_id(const struct blk *b);

#endif
