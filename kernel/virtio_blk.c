/*
 * virtio_blk.c - block requests over virtio.  See virtio_blk.h.
 * [VIRTIO 5.2 Block Device]
 */
#include "kernel/mm.h"
#include "kernel/virtio.h"
#include "kernel/virtio_blk.h"

#define BLK_MAX 24
#define QUEUE_SIZE 64
#define MAX_SECTORS 2048U /* a request: 1 MiB */

enum { DEVICE_ID_MODERN = 0x1042, DEVICE_ID_TRANSITIONAL = 0x1001 };

#define F_RO BIT(5)
#define F_FLUSH BIT(9)

/* Request types and status [VIRTIO 5.2.6]. */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8 };
enum { S_OK = 0 };

struct blk {
	struct virtio v;
	struct virtio_ring q;
	u64 nsectors;
	char id[BLK_ID_SIZE + 1];
	/* Read and written by the device. */
	struct {
		u32 type, reserved;
		u64 sector;
	} header;
	volatile u8 status;
	/* A write that is not waited for. */
	u8 *kept;       /* its bytes; NULL: there was none yet */
	int behind;     /* its number; -1: none is under way */
	bool failed;    /* one did */
};

static struct {
	bool scanned;
	unsigned n;
	struct blk disks[BLK_MAX];
} blks;

static int submit(struct blk *b, u32 type, u64 sector, const void *buf, size_t size_bytes)
{
	const struct virtio_buffer parts[3] = {
		{ &b->header, sizeof(b->header), false },
		{ buf, (u32)size_bytes, type != T_OUT },
		{ (const void *)&b->status, 1, true },
	};
	const struct virtio_buffer no_data[2] = { parts[0], parts[2] };

	b->header.type = type;
	b->header.sector = sector;
	b->status = 0xff;
	return size_bytes ? ring_submit(&b->q, parts, 3) : ring_submit(&b->q, no_data, 2);
}

static err_t wait(struct blk *b, int number)
{
	err_t err = number < 0 ? ERR_IO : ring_wait(&b->q, number);

	return err ? err : b->status == S_OK ? OK : ERR_IO;
}

/* A failure stays: whoever looks next may not be who wrote. */
err_t blk_settle(struct blk *b)
{
	if (b->behind >= 0 && wait(b, b->behind))
		b->failed = true;
	b->behind = -1;
	return b->failed ? ERR_IO : OK;
}

bool blk_busy(const struct blk *b)
{
	return b->behind >= 0 && ring_completed(&b->q) == b->q.taken;
}

static err_t request(struct blk *b, u32 type, u64 sector, const void *buf, size_t size_bytes)
{
	if (blk_settle(b) && type != T_IN)
		return ERR_IO;
	return wait(b, submit(b, type, sector, buf, size_bytes));
}

static err_t transfer(struct blk *b, u32 type, u64 sector, const void *buf, size_t nsectors)
{
	const u8 *p = buf;

	if (sector > b->nsectors || nsectors > b->nsectors - sector)
		return ERR_INVALID;
	while (nsectors) {
		size_t n = MIN(nsectors, MAX_SECTORS);
		err_t err = request(b, type, sector, p, n * BLK_SECTOR_SIZE);

		if (err)
			return err;
		sector += n;
		p += n * BLK_SECTOR_SIZE;
		nsectors -= n;
	}
	return OK;
}

err_t blk_read(struct blk *b, u64 sector, void *buf, size_t nsectors)
{
	return transfer(b, T_IN, sector, buf, nsectors);
}

err_t blk_write(struct blk *b, u64 sector, const void *buf, size_t nsectors)
{
	if (blk_readonly(b))
		return ERR_UNSUPPORTED;
	return transfer(b, T_OUT, sector, buf, nsectors);
}

err_t blk_write_behind(struct blk *b, u64 sector, const void *buf, size_t nsectors)
{
	err_t err = blk_settle(b);

	if (err)
		return err;
	if (!b->kept)
		b->kept = page_alloc(BLK_BEHIND / PAGE_SIZE);
	if (!b->kept || nsectors > BLK_BEHIND / BLK_SECTOR_SIZE || blk_readonly(b) || sector > b->nsectors ||
	    nsectors > b->nsectors - sector)
		return blk_write(b, sector, buf, nsectors);
	memcpy(b->kept, buf, nsectors * BLK_SECTOR_SIZE);
	b->behind = submit(b, T_OUT, sector, b->kept, nsectors * BLK_SECTOR_SIZE);
	return b->behind < 0 ? ERR_IO : OK;
}

err_t blk_flush(struct blk *b)
{
	/* A device without the feature writes through [VIRTIO 5.2.6.2]. */
	return b->v.features & F_FLUSH ? request(b, T_FLUSH, 0, NULL, 0) : blk_settle(b);
}

u64 blk_sectors(const struct blk *b)
{
	return b->nsectors;
}

bool blk_readonly(const struct blk *b)
{
	return b->v.features & F_RO;
}

const char *blk_id(const struct blk *b)
{
	return b->id;
}

static bool probe(void *ctx unused_arg, const struct pci_device *d)
{
	struct blk *b = &blks.disks[blks.n];
	const volatile u32 *capacity;

	if (d->vendor != VIRTIO_VENDOR ||
	    (d->device != DEVICE_ID_MODERN && d->device != DEVICE_ID_TRANSITIONAL))
		return true;
	if (virtio_open(&b->v, d, F_RO | F_FLUSH) || !b->v.config ||
	    ring_init(&b->v, &b->q, 0, QUEUE_SIZE, RING_NO_VECTOR))
		return true;
	virtio_start(&b->v);
	b->behind = -1;
	capacity = (const volatile u32 *)b->v.config;
	b->nsectors = capacity[0] | (u64)capacity[1] << 32;
	/* Not terminated when all twenty bytes are used; an id is optional. */
	if (request(b, T_GET_ID, 0, b->id, BLK_ID_SIZE))
		b->id[0] = '\0';
	return ++blks.n < BLK_MAX;
}

struct blk *blk_open(unsigned index)
{
	if (!blks.scanned) {
		blks.scanned = true;
		pci_scan(probe, NULL);
	}
	return index < blks.n ? &blks.disks[index] : NULL;
}

struct blk *blk_find(const char *id)
{
	struct blk *b;

	for (unsigned i = 0; (b = blk_open(i)); i++)
		if (!strcmp(b->id, id))
			return b;
	return NULL;
}
