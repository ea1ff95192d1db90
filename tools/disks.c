/*
 * disks.c - the guest's disks as files of the host.  See disks.h.
 *
 *   1  opening and locking
 *   2  digests
 *   3  from the command line
 *   4  from a recording
 *   5  to the hypervisor
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "kernel/xxh.h"
#include "tools/disks.h"
#include "tools/scsiunit.h"
#include "vmm/disk.h"

/* --- 1  opening and locking --------------------------------------------------------- */

/* QEMU locks single bytes of an image: the first of these while it writes, the second while nobody else may. */
enum { QEMU_WRITES = 101, QEMU_LETS_NOBODY_WRITE = 201 };

static bool locked_by_qemu(int fd, off_t byte)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

/*
 * One writer, or any number of readers.  The lock is the open file's, which QEMU
 * gets, and not of the kind that QEMU takes itself; on NFS it would be.
 */
static bool lock(int fd, bool write)
{
	struct statfs fs;

	if (locked_by_qemu(fd, QEMU_WRITES) || (write && locked_by_qemu(fd, QEMU_LETS_NOBODY_WRITE)))
		return false;
	if (!fstatfs(fd, &fs) && fs.f_type == NFS_SUPER_MAGIC)
		return true;
	return !flock(fd, (write ? LOCK_EX : LOCK_SH) | LOCK_NB) || errno != EWOULDBLOCK;
}

/* A file that begins so is no disk's contents, but another format's. */
static bool is_qcow(int fd)
{
	char magic[4];

	return pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) && !memcmp(magic, "QFI\xfb", sizeof(magic));
}

void image_close(struct machine_disk *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* False: *why says why it is not open. */
static bool open_disk(struct machine_disk *d, const char *path, bool write, struct buf *why)
{
	off_t size = -1;
	struct stat st;

	*d = (struct machine_disk){ .path = path, .written = write };
	d->fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (d->fd >= 0 && !fstat(d->fd, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		size = lseek(d->fd, 0, SEEK_END);
	d->size = (u64)MAX(size, 0);
	if (d->fd < 0)
		buf_printf(why, "%s: %s; give a disk image that can be %s: --disk FILE[,ro|cow|rw][,room=SIZE]", path, strerror(errno),
			   write ? "written" : "read");
	else if (size < 0)
		buf_printf(why, "%s: neither a file nor a block device; give a disk image", path);
	else if (!lock(d->fd, write))
		buf_printf(why, "%s: in use, another run %s it; wait for its end, or give a copy", path, write ? "has" : "may write");
	else if (is_qcow(d->fd))
		buf_printf(why, "%s: a qcow2 image; make a raw one of it: qemu-img convert -O raw", path);
	else if (!size)
		buf_printf(why, "%s: empty; make it as large as the disk is to be: truncate -s 1G", path);
	else if (d->size % DISK_SECTOR)
		buf_printf(why, "%s: %llu bytes are no whole number of sectors of 512; round it up: truncate -s %llu", path,
			   (unsigned long long)d->size, (unsigned long long)ALIGN_UP(d->size, (u64)DISK_SECTOR));
	if (why->size)
		image_close(d);
	return !why->size;
}

/* The complaint that a buffer holds. */
static enum status complain_of(struct buf *why)
{
	enum status st = complain(ST_USAGE, "%.*s", (int)why->size, (const char *)why->data);

	buf_free(why);
	return st;
}

enum status image_open(struct machine_disk *d, const char *path, bool write)
{
	struct buf why = { 0 };

	return open_disk(d, path, write, &why) ? ST_OK : complain_of(&why);
}

/* --- 2  digests ------------------------------------------------------------------------ */

#define QUIET_MS 500  /* a digest sooner done than that shows no progress */
#define SHOW_MS 200

static void show(const char *path, u64 done, u64 size)
{
	char text[PATH_MAX + 64], bytes[32];
	int n = snprintf(text, sizeof(text), "\r\033[K%3u%%  of %s read for its digest: %s", (unsigned)(done / (size / 100 + 1)),
			 human_bytes(size, bytes), path);

	write_all(STDERR_FILENO, text, (size_t)n);
}

/* XXH64 of all its bytes, holes included. */
static enum status digest_disk(const struct machine_disk *d, bool quiet, u64 *digest)
{
	const size_t step = 1 << 20;
	u8 *buf = need(malloc(step));
	u64 next_ms = host_ms() + QUIET_MS, done = 0;
	bool shows = !quiet && isatty(STDERR_FILENO), shown = false;
	XXH64_state_t state;
	ssize_t n = 1;

	XXH64_reset(&state, 0);
	posix_fadvise(d->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	while (done < d->size && (n = pread(d->fd, buf, MIN(step, d->size - done), (off_t)done)) > 0) {
		XXH64_update(&state, buf, (size_t)n);
		done += (u64)n;
		if (shows && host_ms() >= next_ms) {
			show(d->path, done, d->size);
			shown = true;
			next_ms = host_ms() + SHOW_MS;
		}
	}
	if (shown)
		write_all(STDERR_FILENO, "\r\033[K", 4);
	free(buf);
	*digest = XXH64_digest(&state);
	if (n > 0)
		return ST_OK;
	return complain(ST_HOST, "%s: %s after %llu bytes; check the disk it lies on", d->path, n ? strerror(errno) : "ends",
			(unsigned long long)done);
}

/* --- 3  from the command line ------------------------------------------------------------ */

#define DEFAULT_ROOM GIB(1)

static enum status describe(const struct machine_disk *d, const struct disk_option *want, unsigned n, const u64 *digest, struct buf *head)
{
	char absolute[PATH_MAX];

	if (!realpath(d->path, absolute) || strchr(absolute, '\n'))
		return complain(ST_USAGE, "%s: no name a recording can keep; rename it", d->path);
	buf_printf(head, "disk%u=%s\ndisk%u_size=%llu\n", n, absolute, n, (unsigned long long)d->size);
	if (digest)
		buf_printf(head, "disk%u_xxh64=" ID_FMT "\n", n, (unsigned long long)*digest);
	buf_printf(head, "disk%u_mode=%s\n", n, want->mode);
	if (d->room_bytes)
		buf_printf(head, "disk%u_room_bytes=%llu\n", n, (unsigned long long)d->room_bytes);
	return ST_OK;
}

static enum status add(struct machine_disks *d, const struct disk_option *want, bool digests, bool quiet, struct buf *head)
{
	struct machine_disk *disk = &d->disk[d->n];
	bool ro = !strcmp(want->mode, "ro"), rw = !strcmp(want->mode, "rw");
	enum status st = image_open(disk, want->path, rw);
	u64 digest = 0;

	if (st)
		return st;
	d->n++;
	if (!ro && disk->size > DISK_MAX_SECTORS * DISK_SECTOR)
		return complain(ST_USAGE, "%s: more than 128 GiB, of which no writes can be kept; give it with ,ro", want->path);
	if (!ro)
		disk->room_bytes = want->room_bytes ? want->room_bytes : MIN(ALIGN_UP(disk->size, (u64)CHUNK_SIZE), DEFAULT_ROOM);
	if (digests)
		st = digest_disk(disk, quiet, &digest);
	return st ? st : describe(disk, want, d->n - 1, digests ? &digest : NULL, head);
}

/*
 * A unit says itself how large it is, and what is on it changes.  The target's name is what the hosts
 * compare, for the URL may lead there in another way.
 */
static enum status add_shared(struct machine_disks *d, const struct disk_option *want, struct buf *head)
{
	u64 room = want->room_bytes ? want->room_bytes : DEFAULT_ROOM;
	struct unit_name name;
	unsigned n = d->n++;

	d->disk[n] = (struct machine_disk){ .path = want->path, .fd = -1, .shared = true, .room_bytes = room };
	if (!unit_parse(&name, want->path))
		return complain(ST_USAGE, "--disk %s: not understood; give " UNIT_FORM ",shared", want->path);
	buf_printf(head, "disk%u=%s\ndisk%u_target=%.*s/%llu\ndisk%u_size=0\ndisk%u_mode=shared\ndisk%u_room_bytes=%llu\n", n, want->path, n,
		   name.target_size, name.target, strtoull(name.lun, NULL, 10), n, n, n, (unsigned long long)room);
	return ST_OK;
}

enum status disks_from_options(struct machine_disks *d, const struct options *o, bool digests, struct buf *head)
{
	enum status st = ST_OK;

	*d = (struct machine_disks){ 0 };
	for (unsigned i = 0; i < o->ndisks && !st; i++)
		st = disk_option_shared(&o->disk[i]) ? add_shared(d, &o->disk[i], head) : add(d, &o->disk[i], digests, o->quiet, head);
	if (st)
		disks_close(d);
	return st;
}

/* --- 4  from a recording ---------------------------------------------------------------------- */

/* What HEAD says of disk n. */
struct wanted {
	unsigned n;
	char path[PATH_MAX];
	bool rw;
	u64 size, digest, room_bytes;
};

static bool head_get(const struct buf *head, unsigned n, const char *key, char *value, size_t size)
{
	char name[32];

	snprintf(name, sizeof(name), "disk%u%s", n, key);
	return conf_get((const char *)head->data, head->size, name, value, size);
}

static u64 head_number(const struct buf *head, unsigned n, const char *key)
{
	char name[32];

	snprintf(name, sizeof(name), "disk%u%s", n, key);
	return conf_u64((const char *)head->data, head->size, name, 0);
}

bool disks_described(const struct buf *head, unsigned n)
{
	char size[32];

	return head_get(head, n, "_size", size, sizeof(size));
}

static void read_wanted(const struct buf *head, unsigned n, struct wanted *w)
{
	char value[64];

	*w = (struct wanted){ .n = n, .size = head_number(head, n, "_size"), .room_bytes = head_number(head, n, "_room_bytes") };
	if (!head_get(head, n, "", w->path, sizeof(w->path)))
		w->path[0] = 0;
	w->rw = head_get(head, n, "_mode", value, sizeof(value)) && !strcmp(value, "rw");
	w->digest = head_get(head, n, "_xxh64", value, sizeof(value)) ? strtoull(value, NULL, 16) : 0;
}

/* Opens path if it is the wanted one.  ST_USAGE: it is not, and *why says what it is, if it is there at all. */
static enum status try_disk(struct machine_disk *d, const struct wanted *w, const char *path, const struct summary *s, bool quiet,
			    struct buf *why)
{
	enum status st = ST_OK;
	u64 digest = 0;

	if (access(path, F_OK) || !open_disk(d, path, false, why))
		return ST_USAGE;
	if (d->size == w->size)
		st = digest_disk(d, quiet, &digest);
	if (st || (d->size == w->size && digest == w->digest))
		return st;
	if (d->size != w->size)
		buf_printf(why, "%s: %llu bytes, but %s was recorded with a disk %u of %llu", path, (unsigned long long)d->size, s->path,
			   w->n, (unsigned long long)w->size);
	else
		buf_printf(why, "%s: digest " ID_FMT ", but %s was recorded with disk %u " ID_FMT, path, (unsigned long long)digest, s->path,
			   w->n, (unsigned long long)w->digest);
	buf_printf(why, "; give that one with --disk %u=FILE%s", w->n, w->rw ? " (a copy from before that run, which has written to it)" : "");
	image_close(d);
	return ST_USAGE;
}

static enum status find(struct machine_disks *d, unsigned n, const struct summary *s, const struct options *o)
{
	struct machine_disk *disk = &d->disk[n];
	struct wanted w;
	char beside[2 * PATH_MAX], name[PATH_MAX], dir[PATH_MAX];
	const char *candidates[2] = { w.path, beside };
	struct buf first = { 0 }, why = { 0 };
	enum status st = ST_USAGE;
	unsigned ncandidates = 2;

	disk->fd = -1;
	read_wanted(&s->head, n, &w);
	snprintf(name, sizeof(name), "%s", w.path);
	snprintf(dir, sizeof(dir), "%s", s->path);
	snprintf(beside, sizeof(beside), "%s/%s", dirname(dir), basename(name));
	if (o->disk_at[n])
		candidates[0] = o->disk_at[n];
	if (o->disk_at[n] || same_names(w.path, beside))
		ncandidates = 1; /* a large one is not to be read twice */
	for (unsigned i = 0; i < ncandidates && st == ST_USAGE; i++) {
		st = try_disk(disk, &w, candidates[i], s, o->quiet, first.size ? &why : &first);
		buf_free(&why);
	}
	if (!st) {
		disk->path = need(strdup(disk->path)); /* it lives as long as the program */
		disk->room_bytes = w.room_bytes;
		d->n = n + 1;
	} else if (st == ST_USAGE && first.size) {
		return complain_of(&first);
	} else if (st == ST_USAGE) {
		st = complain(ST_USAGE, "%s: disk %u of %s is not there; give it with --disk %u=FILE", o->disk_at[n] ? o->disk_at[n] : w.path, n,
			      s->path, n);
	} else {
		image_close(disk); /* it cannot be read */
	}
	buf_free(&first);
	return st;
}

/* Nobody's but ours, and gone with us; -1: errno says why. */
static int temporary_file(void)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/reprise-disk-XXXXXX", tmp_dir());
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

_Static_assert(REC_MAX_DISKS == MAX_DISKS, "as many as a recording can speak of");

/* What the machine read of a disk that it shared, into a file of that size; all else of it is zeros, and nobody asks. */
static enum status fill(int fd, unsigned n, const struct summary *s)
{
	struct rec_reader *r = need(malloc(sizeof(*r)));
	struct rec_sectors part;
	int in = s->fd;
	const struct rec_medium medium = fd_medium(&in, s->intact_bytes);
	enum status st = ST_OK;

	if (rec_reader_open(r, &medium))
		r->stop = REC_STOP_IO; /* it was read before */
	while (!st && !r->stop && !rec_next_chunk(r)) {
		if (r->chunk.type != REC_DISK || rec_disk_sectors(&r->chunk, &part) || part.disk != n || !part.size)
			continue;
		if (part.sector > s->nsectors[n] || part.size / DISK_SECTOR > s->nsectors[n] - part.sector)
			st = complain(ST_DAMAGED, "%s: sectors of disk %u lie behind its end", s->path, n);
		else if (pwrite(fd, part.data, part.size, (off_t)(part.sector * DISK_SECTOR)) != (ssize_t)part.size)
			st = complain(ST_HOST, "a temporary file for disk %u: %s; make room, or set TMPDIR", n, strerror(errno));
	}
	if (!st && r->stop == REC_STOP_IO)
		st = complain(ST_HOST, "%s: cannot be read: %s; check the disk", s->path, strerror(errno));
	free(r);
	return st;
}

/* A shared disk is wherever its target is, and another by now: what is known of it is in the recording. */
static enum status restore(struct machine_disks *d, unsigned n, const struct summary *s, const struct options *o)
{
	struct machine_disk *disk = &d->disk[n];

	*disk = (struct machine_disk){ .path = "a shared disk", .fd = -1, .size = s->nsectors[n] * DISK_SECTOR,
				       .room_bytes = head_number(&s->head, n, "_room_bytes") };
	d->n = n + 1;
	if (o->disk_at[n])
		return complain(ST_USAGE, "--disk %u=%s: the hosts shared that disk, and what they read of it is in %s; leave it out", n,
				o->disk_at[n], s->path);
	if (!disk->size || s->nsectors[n] > DISK_MAX_SECTORS)
		return complain(ST_DAMAGED, "%s: it does not say how large disk %u was; it ends before its machine began", s->path, n);
	disk->fd = temporary_file();
	if (disk->fd < 0 || ftruncate(disk->fd, (off_t)disk->size))
		return complain(ST_HOST, "a temporary file for disk %u: %s; make room, or set TMPDIR", n, strerror(errno));
	return fill(disk->fd, n, s);
}

bool disks_shared(const struct buf *head, unsigned n)
{
	char mode[8];

	return head_get(head, n, "_mode", mode, sizeof(mode)) && !strcmp(mode, "shared");
}

bool disks_any_shared(const struct buf *head)
{
	for (unsigned n = 0; disks_described(head, n); n++)
		if (disks_shared(head, n))
			return true;
	return false;
}

enum status disks_from_recording(struct machine_disks *d, const struct summary *s, const struct options *o)
{
	enum status st = ST_OK;
	unsigned n;

	*d = (struct machine_disks){ 0 };
	for (n = 0; n < MAX_DISKS; n++)
		if (o->disk_at[n] && !disks_described(&s->head, n))
			return complain(ST_USAGE, "--disk %u=%s: %s was recorded without a disk %u; leave it out", n, o->disk_at[n], s->path, n);
	for (n = 0; n < MAX_DISKS && disks_described(&s->head, n) && !st; n++)
		st = disks_shared(&s->head, n) ? restore(d, n, s, o) : find(d, n, s, o);
	if (st)
		disks_close(d);
	return st;
}

/* --- 5  to the hypervisor ------------------------------------------------------------------------ */

enum status disks_not(const struct machine_disks *d, const char *option, const char *path)
{
	for (unsigned i = 0; i < d->n; i++)
		if (same_file(d->disk[i].fd, path))
			return complain(ST_USAGE, "%s %s: disk %u of the machine; give another name", option, path, i);
	return ST_OK;
}

void disks_plug(const struct machine_disks *d, const char *prefix, struct qemu_disk disk[QEMU_MAX_DISKS], unsigned *ndisks)
{
	for (unsigned i = 0; i < d->n; i++) {
		struct qemu_disk *q;

		if (d->disk[i].shared)
			continue;
		q = &disk[(*ndisks)++];
		*q = (struct qemu_disk){ .fd = d->disk[i].fd, .readonly = !d->disk[i].written, .durable = d->disk[i].written };
		snprintf(q->serial, sizeof(q->serial), "%sdisk%u", prefix, i);
	}
}

enum status disks_plug_shared(const struct machine_disks *d, char side, struct qemu_unit unit[QEMU_MAX_UNITS], unsigned *nunits,
			      struct buf *conf)
{
	enum status st = ST_OK;

	for (unsigned i = 0; i < d->n && !st; i++) {
		struct qemu_unit *u = &unit[*nunits];

		if (!d->disk[i].shared)
			continue;
		snprintf(u->name, sizeof(u->name), "shared%u", i);
		st = unit_iscsi(u, "--disk", d->disk[i].path, side);
		buf_printf(conf, "shared%u_unit=%u\n", i, (*nunits)++);
	}
	return st;
}

u64 disks_memory(const struct machine_disks *d)
{
	u64 bytes = 0;

	for (unsigned i = 0; i < d->n; i++) {
		u64 nchunks = d->disk[i].room_bytes / CHUNK_SIZE;

		bytes += nchunks ? (nchunks + 1) * (CHUNK_SIZE + ALIGN_UP(sizeof(struct chunk_info), PAGE_SIZE)) : 0;
	}
	return bytes;
}

void disks_close(struct machine_disks *d)
{
	for (unsigned i = 0; i < d->n; i++)
		image_close(&d->disk[i]);
	d->n = 0;
}
