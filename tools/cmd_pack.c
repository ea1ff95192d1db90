/*
 * cmd_pack.c - `reprise pack`: a copy of a recording with its images inside.
 *
 * Chunks keep their contents and order; IMAGE chunks go in behind HEAD, so
 * every checksum after them is made anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "tools/line.h"
#include "tools/machine.h"
#include "tools/operand.h"
#include "tools/pack.h"

err_t pack_image(struct rec_writer *w, const char *role, const struct buf *image)
{
	u8 *part = need(malloc(REC_PART_MAX));
	err_t e = OK;

	for (u64 at = 0; at < image->size && !e;) {
		u32 head = rec_image_head(part, role, at);
		size_t n = (size_t)MIN((u64)(REC_PART_MAX - head), image->size - at);

		memcpy(part + head, image->data + at, n);
		e = rec_put_chunk(w, REC_IMAGE, part, head + n);
		at += n;
	}
	free(part);
	return e;
}

/* Everything behind HEAD and images, as it is, but for stored checkpoints. */
static err_t copy_run(struct rec_writer *w, struct rec_reader *r, const struct summary *s, int *fd)
{
	const struct rec_medium medium = fd_medium(fd, s->file_size);
	err_t e = rec_reader_open_at(r, &medium, s->run_offset, s->run_chain);

	while (!e && !rec_next_chunk(r))
		if (r->chunk.type != REC_CHECKPOINT) /* another machine's hypervisor may be of another build */
			e = rec_put_chunk(w, r->chunk.type | (r->chunk.skippable ? REC_SKIPPABLE : 0), r->chunk.payload, r->chunk.size);
	return e;
}

static void say_packed(const struct summary *s, const char *path, const char *bytes)
{
	unsigned ndisks = 0;

	for (unsigned n = 0; disks_described(&s->head, n); n++)
		ndisks += !disks_shared(&s->head, n);
	if (ndisks)
		remark("%s: %s, opens on any machine that has its %u disk%s: they are not packed; say where they are with --disk N=FILE", path,
		       bytes, ndisks, ndisks == 1 ? "" : "s");
	else
		remark("%s: %s, opens on any machine", path, bytes);
}

static enum status write_packed(const struct summary *s, const struct machine *m, int fd, u64 room, const char *path)
{
	struct rec_writer *w = need(malloc(sizeof(*w)));
	struct rec_reader *r = need(malloc(sizeof(*r)));
	const struct rec_medium medium = fd_medium(&fd, room);
	int in = s->fd;
	char bytes[32];
	err_t e;

	/* The same run, so the same nonce: it is still this recording. */
	e = rec_create(w, &medium, s->nonce, (const char *)m->head.data, m->head.size);
	for (unsigned i = 0; i < 2 && !e; i++)
		if (m->present[i])
			e = pack_image(w, image_roles[i], &m->image[i]);
	if (!e)
		e = copy_run(w, r, s, &in);
	if (!e && (ftruncate(fd, (off_t)w->end) || fsync(fd)))
		e = ERR_IO;
	if (!e)
		say_packed(s, path, human_bytes(w->end, bytes));
	free(w);
	free(r);
	if (!e)
		return ST_OK;
	unlink(path);
	return complain(ST_HOST, "%s: cannot be written: %s; make room on the disk", path, strerror(errno));
}

static enum status pack_summary(const struct summary *s, const struct options *o)
{
	struct machine m;
	char parent[32];
	enum status st;
	u64 room;
	int fd;

	if (conf_get((const char *)s->head.data, s->head.size, "parent", parent, sizeof(parent)))
		return complain(ST_USAGE, "%s: a fork, its images are those of recording %s, where it began; pack that one", s->path, parent);
	for (unsigned i = 0; i < MAX_DISKS; i++)
		if (o->disk_at[i])
			return complain(ST_USAGE, "--disk %u=%s: disks are not packed; leave it out", i, o->disk_at[i]);
	st = line_not(s, "-o", o->output);
	if (!st)
		st = machine_images(&m, s, o);
	if (st)
		return st;
	st = machine_not(&m, "-o", o->output);
	fd = st ? -1 : recfile_create(o->output, o->force, &room);
	st = fd < 0 ? ST_USAGE : write_packed(s, &m, fd, room, o->output);
	if (fd >= 0)
		close(fd);
	machine_free(&m);
	return st;
}

static enum status pack(int argc, char **argv)
{
	struct options o;
	struct summary s;
	enum status st = operand_open(&o, &s, OPT_OUTPUT | OPT_IMAGES, argc, argv);

	if (st)
		return st;
	if (!o.output) {
		summary_free(&s);
		return complain(ST_USAGE, "-o: missing; say where to put the packed recording: -o FILE");
	}
	st = pack_summary(&s, &o);
	if (!st)
		return operand_close(&s); /* what is intact was packed */
	summary_free(&s);
	return st;
}

const struct command cmd_pack = {
	.name = "pack",
	.summary = "embed the images, so that a recording opens on another machine",
	.help = "reprise pack FILE -o FILE\n\n"
		"Copies a recording and puts the kernel and the initial RAM disk into the copy, so\n"
		"that it replays anywhere.  Their digests must be the recorded ones.  Stored checkpoints\n"
		"are left out: they are large, and of use to the build that made them only.  Of a fork,\n"
		"pack its oldest parent: the images are that one's.  Disks are not packed: whoever\n"
		"replays the copy needs their images, as they were.\n\n"
		"  -o, --output FILE   the packed recording; an existing file is refused\n"
		"  --force             unless this is given\n"
		"  --kernel FILE, --initrd FILE, --root DIR   the images are here now\n",
	.run = pack,
};
