/*
 * disk.c - reading and writing a guest's disk.  See disk.h.
 *
 * Reads and changes: one disk's overlay, and by its hooks its base.  Never: the
 * machine, whose devices decide what a guest sees of an error.
 *
 * The tables may have come out of a file, with a checkpoint [stored.h]: a slot
 * that cannot be is as good as none.
 *
 *   1  the tables     2  reading     3  writing     4  to the base
 */
#include "vmm/disk.h"

enum {
	REGION_SIZE = 2,                         /* bytes of the table for each region */
	COUNT_AT = DISK_MAX_REGIONS * REGION_SIZE,
	BITMAPS_AT = COUNT_AT + PAGE_SIZE,
	BITMAP_SIZE = DISK_REGION_SECTORS / 8,   /* of a slot; it lies within a page */
};
_Static_assert(BITMAPS_AT + GUEST_MAX_CHUNKS * BITMAP_SIZE <= CHUNK_SIZE, "the tables fit a chunk");

err_t disk_init(struct disk *d, const struct disk_config *c, const struct chunk_source *s)
{
	memset(d, 0, sizeof(*d));
	d->config = *c;
	if (!c->nsectors || !c->base.read || !c->base.write || !c->base.flush)
		return ERR_INVALID;
	if (c->mode != DISK_COW && c->mode != DISK_SHARED)
		return OK;
	if (!c->room_bytes || c->room_bytes % CHUNK_SIZE)
		return ERR_INVALID;
	if (c->nsectors > DISK_MAX_SECTORS || c->room_bytes > DISK_MAX_ROOM)
		return ERR_TOO_BIG;
	return guestmem_init_flat(&d->overlay, CHUNK_SIZE + c->room_bytes, s);
}

/* Whether these sectors are all the disk's. */
static bool within(const struct disk *d, u64 sector, u32 n)
{
	return sector <= d->config.nsectors && n <= d->config.nsectors - sector;
}

/* --- 1  the tables ------------------------------------------------------------------ */

#define NO_SLOT (~0U)

static unsigned nslots(const struct disk *d)
{
	return d->overlay.nchunks ? d->overlay.nchunks - 1 : 0;
}

/* NULL: nothing was written yet. */
static const u8 *tables(const struct disk *d)
{
	return d->overlay.chunk[0] ? d->overlay.chunk[0]->data : NULL;
}

static unsigned slot_of(const struct disk *d, u64 region)
{
	const u8 *t = tables(d);
	unsigned slot = t ? (unsigned)read_bytes_le(t + region * REGION_SIZE, REGION_SIZE) - 1 : NO_SLOT;

	return slot < nslots(d) ? slot : NO_SLOT;
}

static unsigned slots_given(const struct disk *d)
{
	const u8 *t = tables(d);
	u64 given = t ? read_bytes_le(t + COUNT_AT, 4) : 0;

	return (unsigned)MIN(given, nslots(d));
}

/* Where sector `first` of a slot's region is in the overlay, and where its bitmap is. */
static u64 place(unsigned slot, u32 first)
{
	return (1UL + slot) * CHUNK_SIZE + first * DISK_SECTOR;
}

static u64 bitmap_at(unsigned slot)
{
	return BITMAPS_AT + (u64)slot * BITMAP_SIZE;
}

/* How many bits from the first on, below end, are as it is; *set tells how that is. */
static u32 alike(const u64 *bits, u32 first, u32 end, bool *set)
{
	u64 flip = *set = bits[first / 64] >> first % 64 & 1;

	for (u32 i = first; i < end; i += 64 - i % 64) {
		u64 others = (bits[i / 64] ^ -flip) >> i % 64;

		if (others)
			return MIN(i + (u32)__builtin_ctzl(others), end) - first;
	}
	return end - first;
}

/* The next sectors of a read that are in one place. */
struct run {
	u32 n;
	bool here;  /* in the overlay, at `at` */
	u64 at;
};

/* At most n sectors, n > 0.  Those of the base may lie in many regions. */
static struct run next_run(const struct disk *d, u64 sector, u32 n)
{
	struct run r = { 0 };

	while (r.n < n) {
		u32 first = (u32)((sector + r.n) % DISK_REGION_SECTORS), most = MIN(n - r.n, (u32)DISK_REGION_SECTORS - first);
		unsigned slot = slot_of(d, (sector + r.n) / DISK_REGION_SECTORS);
		bool here = false;
		u32 len = most;

		if (slot != NO_SLOT)
			len = alike((const u64 *)(const void *)(tables(d) + bitmap_at(slot)), first, first + most, &here);
		if (here)
			return r.n ? r : (struct run){ len, true, place(slot, first) };
		r.n += len;
	}
	return r;
}

/* --- 2  reading ------------------------------------------------------------------------ */

err_t disk_read(struct disk *d, u64 sector, void *buf, u32 nsectors)
{
	const struct disk_base *b = &d->config.base;
	u8 *to = buf;

	if (!within(d, sector, nsectors))
		return ERR_INVALID;
	while (nsectors) {
		struct run r = next_run(d, sector, nsectors);
		err_t err = r.here ? guestmem_read(&d->overlay, GPA(r.at), to, r.n * DISK_SECTOR) : b->read(b->ctx, sector, to, r.n);

		if (err)
			return err;
		sector += r.n;
		to += r.n * DISK_SECTOR;
		nsectors -= r.n;
	}
	return OK;
}

/* --- 3  writing ------------------------------------------------------------------------- */

/* Whether all regions of a write have a slot or can get one. */
static bool has_room(const struct disk *d, u64 sector, u32 n)
{
	unsigned missing = 0, left = nslots(d) - slots_given(d);

	for (u64 at = sector; at < sector + n && missing <= left; at += DISK_REGION_SECTORS - at % DISK_REGION_SECTORS)
		missing += slot_of(d, at / DISK_REGION_SECTORS) == NO_SLOT;
	return missing <= left;
}

static err_t give_slot(struct disk *d, u64 region, unsigned *slot)
{
	unsigned given = slots_given(d);
	u8 number[4];
	err_t err;

	write_bytes_le(number, 4, given + 1);
	err = guestmem_write(&d->overlay, GPA(region * REGION_SIZE), number, REGION_SIZE);
	if (!err)
		err = guestmem_write(&d->overlay, GPA(COUNT_AT), number, 4);
	*slot = given;
	return err;
}

/* The slot's sectors from first on are the overlay's.  A page whose bits are all set already stays clean. */
static void set_bits(struct disk *d, unsigned slot, u32 first, u32 n)
{
	u64 *bits = (u64 *)(void *)(d->overlay.chunk[0]->data + bitmap_at(slot));
	bool changed = false;

	for (u32 i = first, end = first + n; i < end; i += 64 - i % 64) {
		u64 some = (end - i >= 64 ? ~0UL : BIT(end - i) - 1) << i % 64;

		changed |= (bits[i / 64] | some) != bits[i / 64];
		bits[i / 64] |= some;
	}
	if (changed)
		guestmem_mark(&d->overlay, GPA(bitmap_at(slot)));
}

/* Sectors of one region. */
static err_t put(struct disk *d, u64 sector, const u8 *from, u32 n)
{
	u32 first = (u32)(sector % DISK_REGION_SECTORS);
	unsigned slot = slot_of(d, sector / DISK_REGION_SECTORS);
	err_t err = slot == NO_SLOT ? give_slot(d, sector / DISK_REGION_SECTORS, &slot) : OK;

	if (!err)
		err = guestmem_write(&d->overlay, GPA(place(slot, first)), from, n * DISK_SECTOR);
	if (!err)
		set_bits(d, slot, first, n);
	return err;
}

err_t disk_write(struct disk *d, u64 sector, const void *buf, u32 nsectors)
{
	const struct disk_base *b = &d->config.base;
	const u8 *from = buf;
	err_t err = OK;

	if (!within(d, sector, nsectors))
		return ERR_INVALID;
	if (d->config.mode == DISK_RO)
		return ERR_UNSUPPORTED;
	if (d->config.mode == DISK_THROUGH)
		return nsectors ? b->write(b->ctx, sector, buf, nsectors) : OK;
	if (!has_room(d, sector, nsectors)) {
		d->refused++;
		return ERR_TOO_BIG;
	}
	while (nsectors && !err) {
		u32 n = MIN(nsectors, (u32)(DISK_REGION_SECTORS - sector % DISK_REGION_SECTORS));

		err = put(d, sector, from, n);
		sector += n;
		from += n * DISK_SECTOR;
		nsectors -= n;
	}
	return err;
}

err_t disk_flush(struct disk *d)
{
	return d->config.mode == DISK_THROUGH ? d->config.base.flush(d->config.base.ctx) : OK;
}

/* --- 4  to the base ----------------------------------------------------------------------- */

static u64 nregions(const struct disk *d)
{
	return tables(d) ? (d->config.nsectors + DISK_REGION_SECTORS - 1) / DISK_REGION_SECTORS : 0;
}

static u32 sectors_of(const struct disk *d, u64 region)
{
	return (u32)MIN(DISK_REGION_SECTORS, d->config.nsectors - region * DISK_REGION_SECTORS);
}

u64 disk_written(const struct disk *d)
{
	u64 n = 0;

	for (u64 region = 0; region < nregions(d); region++) {
		u64 sector = region * DISK_REGION_SECTORS;
		u32 left = slot_of(d, region) == NO_SLOT ? 0 : sectors_of(d, region);

		while (left) {
			struct run r = next_run(d, sector, left);

			n += r.here ? r.n : 0;
			sector += r.n;
			left -= r.n;
		}
	}
	return n;
}

err_t disk_commit(struct disk *d, void (*progress)(void *ctx, u64 done, u64 all), void *ctx)
{
	const struct disk_base *b = &d->config.base;
	u64 done = 0, all = disk_written(d);

	for (u64 region = 0; region < nregions(d); region++) {
		u64 sector = region * DISK_REGION_SECTORS;
		u32 left = slot_of(d, region) == NO_SLOT ? 0 : sectors_of(d, region);

		while (left) {
			struct run r = next_run(d, sector, left);
			struct chunk_info *c = r.here ? guestmem_touch(&d->overlay, GPA(r.at)) : NULL;

			if (r.here && !c)
				return ERR_NO_MEMORY;
			if (r.here && b->write(b->ctx, sector, c->data + r.at % CHUNK_SIZE, r.n))
				return ERR_IO;
			sector += r.n;
			left -= r.n;
			if (r.here)
				progress(ctx, done += r.n, all);
		}
	}
	return all ? b->flush(b->ctx) : OK;
}
