/*
 * disk.c - the guest's disks: which host disk each is made of, and what becomes
 * of what was written.  See session.h.
 *
 *   machine.conf: diskN_size=BYTES          there is a disk N
 *                 diskN_mode=ro|cow|rw|shared  rw: written when the recording is
 *                                           complete, or at once if nothing is recorded;
 *                                           shared: of a pair's hosts [ft_disk.c]; in a replay it is
 *                                           the host's, with what they read
 *                 diskN_room_bytes=BYTES    all but ro: for what is written
 *   The host's disk has the serial number diskN [session_name].
 */
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "session/ft.h"

/* --- the host's storage ----------------------------------------------------------- */

/* Whatever is wrong with it, it is the host that failed. */
static err_t base_read(void *ctx, u64 sector, void *buf, u32 nsectors)
{
	return blk_read(ctx, sector, buf, nsectors) ? ERR_IO : OK;
}

static err_t base_write(void *ctx, u64 sector, const void *buf, u32 nsectors)
{
	return blk_write(ctx, sector, buf, nsectors) ? ERR_IO : OK;
}

static err_t base_flush(void *ctx)
{
	return blk_flush(ctx) ? ERR_IO : OK;
}

/* --- plugging them in --------------------------------------------------------------- */

noreturn_fn static void fail(unsigned n, const char *what)
{
	char text[256];

	ksnprintf(text, sizeof(text), "disk %u: %s", n, what);
	session_fail(text);
}

/* diskN_KEY of machine.conf; false: it is not there. */
static bool get(const struct session *s, unsigned n, const char *key, char *value, size_t size)
{
	char name[32];

	ksnprintf(name, sizeof(name), "disk%u_%s", n, key);
	return conf_get(s->machine.data, s->machine.size, name, value, size);
}

static u64 get_number(const struct session *s, unsigned n, const char *key)
{
	char name[32];

	ksnprintf(name, sizeof(name), "disk%u_%s", n, key);
	return session_number(s->machine, name, 0);
}

static bool is_rw(const struct session *s, unsigned n)
{
	char mode[8];

	return get(s, n, "mode", mode, sizeof(mode)) && !strcmp(mode, "rw");
}

/* What nobody records cannot be wanted again as it was: it need not be kept apart. */
static enum disk_mode mode_of(const struct session *s, unsigned n)
{
	char mode[8];

	if (!get(s, n, "mode", mode, sizeof(mode)))
		fail(n, "machine.conf has no mode for it");
	if (!strcmp(mode, "ro"))
		return DISK_RO;
	if (!strcmp(mode, "shared"))
		return DISK_SHARED;
	return !strcmp(mode, "rw") && !strcmp(s->mode, "run") ? DISK_THROUGH : DISK_COW;
}

static struct disk_base base_of(const struct session *s, unsigned n, enum disk_mode mode)
{
	char name[16], serial[32];
	struct blk *b;

	ksnprintf(name, sizeof(name), "disk%u", n);
	session_name(s, name, serial, sizeof(serial));
	b = blk_find(serial);
	if (!b)
		fail(n, "the host has none with its serial number (-device virtio-blk-pci,serial=diskN); start the hypervisor with the reprise command");
	if (mode != DISK_SHARED && blk_sectors(b) * BLK_SECTOR_SIZE != get_number(s, n, "size"))
		fail(n, "the host's is of another size; start the hypervisor with the reprise command");
	if (mode == DISK_THROUGH && blk_readonly(b))
		fail(n, "the host's is read-only; give it with ,ro or ,cow");
	return (struct disk_base){ base_read, base_write, base_flush, b };
}

static struct disk *make_disk(struct session *s, unsigned n)
{
	struct disk *d = session_memory(sizeof(*d));
	const struct chunk_source chunks = session_chunks();
	struct disk_config c = { .nsectors = get_number(s, n, "size") / DISK_SECTOR, .mode = mode_of(s, n),
				 .room_bytes = get_number(s, n, "room_bytes") };
	err_t err;

	if (c.mode == DISK_SHARED && s->pair)
		c.base = session_share_disk(s->pair, n, &c.nsectors);
	else
		c.base = base_of(s, n, c.mode);
	if (c.mode == DISK_SHARED && !s->pair) /* a replay: what the machine read of it, and its size, are in the recording */
		c.nsectors = blk_sectors(c.base.ctx);
	err = disk_init(d, &c, &chunks);
	if (err == ERR_TOO_BIG)
		fail(n, "too big to be written to: at most 128 GiB, with 3 GiB less 2 MiB of room");
	if (err)
		fail(n, "machine.conf has no room for what is written to it, or half a chunk of 2 MiB");
	return d;
}

void session_plug_disks(struct session *s, struct vm_config *c)
{
	char size[32];

	for (unsigned n = 0; n < VM_MAX_DISKS && get(s, n, "size", size, sizeof(size)); n++)
		c->disk[c->ndisks++] = make_disk(s, n);
}

/* --- when the run is over --------------------------------------------------------------- */

void session_report_disks(struct session *s)
{
	for (unsigned n = 0; n < s->vm->ndisks; n++) {
		const struct disk *d = s->vm->disk[n];

		if (d->refused)
			control_printf("remark disk %u: %lu writes failed in the guest, all %lu MiB of room were used; give more: --disk FILE,room=%luM\n",
				       n, d->refused, d->config.room_bytes >> 20, MIN(2 * d->config.room_bytes, DISK_MAX_ROOM) >> 20);
	}
}

struct commit {
	unsigned n;
	u64 last;
};

#define PROGRESS_TICKS 70000000UL /* as port.c's */

static void say_progress(void *ctx, u64 done, u64 all)
{
	struct commit *c = ctx;
	u64 t = rdtsc();

	if (done && done != all && t - c->last < PROGRESS_TICKS)
		return;
	c->last = t;
	control_printf("commit disk=%u done=%lu all=%lu\n", c->n, done, all);
}

bool session_commits(const struct session *s)
{
	for (unsigned n = 0; n < s->vm->ndisks; n++)
		if (is_rw(s, n) && s->vm->disk[n]->config.mode == DISK_COW)
			return true;
	return false;
}

/* A recording that is not whole must not be all that knows what the disk was like before. */
void session_commit_disks(struct session *s)
{
	for (unsigned n = 0; n < s->vm->ndisks && s->end.outcome != VM_HOST_FAILED; n++) {
		struct disk *d = s->vm->disk[n];
		struct commit c = { .n = n };

		if (!is_rw(s, n) || d->config.mode != DISK_COW)
			continue;
		say_progress(&c, 0, disk_written(d));
		if (!disk_commit(d, say_progress, &c))
			continue;
		s->end.outcome = VM_HOST_FAILED;
		ksnprintf(s->end.reason, sizeof(s->end.reason), "disk %u could not be written: its file system is full or failing; the recording is complete", n);
	}
}
