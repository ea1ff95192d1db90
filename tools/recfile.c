/*
 * recfile.c - recordings as files of the host.  See recfile.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "tools/recfile.h"

const char *const image_roles[2] = { "kernel", "initrd" };

/* ---- a file as a medium ---- */

static err_t fd_transfer(int fd, bool write, u8 *p, size_t n, u64 offset)
{
	while (n) {
		ssize_t k = write ? pwrite(fd, p, n, (off_t)offset) : pread(fd, p, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return ERR_IO;
		p += k;
		offset += (u64)k;
		n -= (size_t)k;
	}
	return OK;
}

static err_t fd_read(void *ctx, u64 offset, void *buf, size_t n)
{
	return fd_transfer(*(int *)ctx, false, buf, n, offset);
}

static err_t fd_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	return fd_transfer(*(int *)ctx, true, (u8 *)(uintptr_t)buf, n, offset);
}

static err_t fd_flush(void *ctx)
{
	return fdatasync(*(int *)ctx) && errno != EINVAL && errno != EROFS ? ERR_IO : OK;
}

struct rec_medium fd_medium(int *fd, u64 size)
{
	return (struct rec_medium){ fd_read, fd_write, fd_flush, fd, size, NULL };
}

int recfile_create(const char *path, bool force, u64 *size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), 0666);
	struct stat st;

	if (fd < 0 && errno == EEXIST) {
		remark("%s: exists already; give another name, or --force to lose what it holds", path);
		return -1;
	}
	if (fd < 0) {
		remark("%s: %s; give -o a place that can be written", path, strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		remark("%s: not a regular file; give -o one", path);
		close(fd);
		return -1;
	}
	/* File systems with a smaller largest file say EFBIG. */
	for (*size = RECFILE_ROOM; *size >= MIB(64); *size /= 4)
		if (!ftruncate(fd, (off_t)*size))
			return fd;
	remark("%s: %s; put the recording on a file system with sparse files", path, strerror(errno));
	close(fd);
	unlink(path);
	return -1;
}

/* ---- reading one from end to end ---- */

static bool add_image_part(struct summary *s, const struct rec_chunk *c)
{
	struct rec_image_part part;

	if (rec_image_part(c, &part))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		if (strcmp(part.role, image_roles[i]))
			continue;
		if (part.offset != s->image[i].size)
			return false;
		buf_add(&s->image[i], part.data, part.size);
		s->packed[i] = true;
	}
	return true;
}

static void add_event(struct summary *s, const struct rec_event *ev)
{
	switch (ev->kind) {
	case REC_INPUT:
		s->inputs++;
		s->input_bytes += ev->input.size;
		break;
	case REC_DIGEST:
		s->digests++;
		if (!ev->vm)
			s->last_digest = ev->digest;
		break;
	case REC_MARK:
		s->marks++;
		break;
	}
	if (!ev->vm)
		s->last = ev->at;
}

static void add_stored(struct summary *s, const struct rec_reader *r)
{
	switch (stored_parse(&r->chunk, &s->begun)) {
	case STORED_BEGIN:
		if (s->begun.full) {
			s->full.offset = r->chunk.offset;
			s->full.chain = r->chunk_chain;
		}
		break;
	case STORED_STATE:
		if (s->full.offset) {
			s->full.count = s->begun.at.count;
			s->full.end = s->begun.end;
			buf_add(&s->stored, &s->full, sizeof(s->full));
		}
		break;
	}
}

const struct stored_place *summary_begin(const struct summary *s)
{
	return s->stored.size ? (const void *)s->stored.data : NULL;
}

const struct stored_place *summary_stored(const struct summary *s, u64 count, bool at_end)
{
	const struct stored_place *list = (const void *)s->stored.data, *best = NULL;

	for (size_t i = 0; i < s->stored.size / sizeof(*list); i++)
		if (list[i].count <= count && (!list[i].end || at_end))
			best = &list[i];
	return best;
}

static void add_chunk(struct summary *s, struct rec_reader *r)
{
	struct rec_sectors sectors;
	struct rec_event ev;

	switch (r->chunk.type) {
	case REC_IMAGE:
		/* An image whose parts do not fit together is as good as none: its digest will say so. */
		if (!add_image_part(s, &r->chunk))
			s->packed[0] = s->packed[1] = false;
		s->run_offset = r->end;
		s->run_chain = r->chain;
		break;
	case REC_HOST:
		s->host.size = 0;
		buf_add(&s->host, r->chunk.payload, r->chunk.size);
		break;
	case REC_CHECKPOINT:
		add_stored(s, r);
		break;
	case REC_EVENTS:
		while (!rec_chunk_event(r, &ev))
			add_event(s, &ev);
		break;
	case REC_DISK:
		if (!rec_disk_sectors(&r->chunk, &sectors) && !sectors.size)
			s->nsectors[sectors.disk] = sectors.sector;
		break;
	case REC_END:
		for (unsigned i = 0; i < r->nends; i++)
			if (!r->ends[i].vm) {
				s->end = r->ends[i];
				s->ended = true;
			}
		break;
	}
}

static enum status unreadable(const char *path, err_t e)
{
	switch (e) {
	case ERR_INVALID:
		return complain(ST_DAMAGED, "%s: not a recording, or its first bytes are lost; nothing can be read of it", path);
	case ERR_VERSION:
		return complain(ST_DAMAGED, "%s: a later version of the format than %d; read it with a newer reprise", path,
				REC_VERSION);
	case ERR_DAMAGED:
		return complain(ST_DAMAGED, "%s: the description of the machine is damaged; nothing of it can be replayed", path);
	default:
		return complain(ST_HOST, "%s: cannot be read: %s; check the disk", path, strerror(errno));
	}
}

/* A directory opens, too.  Sets errno. */
static bool is_directory(int fd)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISDIR(st.st_mode))
		return false;
	errno = EISDIR;
	return true;
}

enum status summarise(struct summary *s, const char *path)
{
	struct rec_reader *r = need(malloc(sizeof(*r)));
	struct rec_medium medium;
	char begins[16];
	off_t size;
	err_t e;

	*s = (struct summary){ .path = path };
	s->fd = open(path, O_RDONLY | O_CLOEXEC);
	size = s->fd < 0 || is_directory(s->fd) ? -1 : lseek(s->fd, 0, SEEK_END);
	if (size < 0) {
		enum status st = complain(ST_USAGE, "%s: %s; give the file of a recording", path, strerror(errno));

		free(r);
		summary_free(s);
		return st;
	}
	s->file_size = (u64)size;
	medium = fd_medium(&s->fd, s->file_size);
	e = rec_reader_open(r, &medium);
	if (e) {
		free(r);
		summary_free(s);
		return unreadable(path, e);
	}
	s->nonce = r->nonce;
	buf_add(&s->head, r->chunk.payload, r->chunk.size);
	s->arrived = conf_get((const char *)s->head.data, s->head.size, "begins", begins, sizeof(begins));
	s->run_offset = r->end;
	s->run_chain = r->chain;
	while (!rec_next_chunk(r))
		add_chunk(s, r);
	s->stop = r->stop;
	s->intact_bytes = r->end;
	free(r);
	return s->stop == REC_STOP_IO ? unreadable(path, ERR_IO) : ST_OK;
}

void summary_free(struct summary *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	buf_free(&s->head);
	buf_free(&s->host);
	buf_free(&s->stored);
	for (unsigned i = 0; i < s->line.n; i++) {
		summary_free(s->line.parent[i]);
		free(s->line.parent[i]);
	}
	s->line.n = 0;
	buf_free(&s->image[0]);
	buf_free(&s->image[1]);
}

const char *summary_trouble(const struct summary *s, char *buf, size_t size)
{
	char count[32];
	const char *why = "?";

	switch (s->stop) {
	case REC_STOP_COMPLETE:
		return NULL;
	case REC_STOP_CUT:
		why = "cut off, its machine did not come to an end";
		break;
	case REC_STOP_VERSION:
		why = "goes on in a way only a newer reprise reads";
		break;
	case REC_STOP_DAMAGED:
	case REC_STOP_IO:
	case REC_STOP_NONE:
		why = "damaged";
		break;
	}
	snprintf(buf, size, "%s at byte %llu; intact before it: %s instructions, %llu input%s, %llu digest%s", why,
		 (unsigned long long)s->intact_bytes, with_commas(s->last.count, count), (unsigned long long)s->inputs,
		 s->inputs == 1 ? "" : "s", (unsigned long long)s->digests, s->digests == 1 ? "" : "s");
	return buf;
}
