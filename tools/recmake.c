/*
 * recmake.c - a recording's file, before and after the run that fills it.  See
 * recmake.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/pack.h"
#include "tools/recmake.h"

/* ---- before the run: file header, HEAD, packed images ---- */

enum status recmake_begin(const struct machine *m, const struct options *o, int *fd, struct buf *conf)
{
	struct rec_writer *w = need(malloc(sizeof(*w)));
	struct rec_medium medium;
	u64 room, nonce;
	err_t e;

	*fd = recfile_create(o->output, o->force, &room);
	if (*fd < 0) {
		free(w);
		return ST_USAGE;
	}
	if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
		nonce = host_ms() ^ (u64)getpid() << 40;
	medium = fd_medium(fd, room);
	e = rec_create(w, &medium, nonce, (const char *)m->head.data, m->head.size);
	for (unsigned i = 0; i < 2 && o->pack && !e; i++)
		if (m->present[i])
			e = pack_image(w, image_roles[i], &m->image[i]);
	if (!e && o->sync)
		e = rec_commit(w, true);
	buf_printf(conf, "append_offset=%llu\nappend_chain=0x%016llx\nsync=%d\ncheckpoint_every=%llu\n", (unsigned long long)w->end,
		   (unsigned long long)w->chain, o->sync, (unsigned long long)o->checkpoint_every);
	free(w);
	if (!e)
		return ST_OK;
	unlink(o->output);
	return complain(ST_HOST, "%s: cannot be written: %s; make room on the disk", o->output, strerror(errno));
}

/* ---- and after it ---- */

enum status recmake_finish(const struct options *o, int fd, const struct session *s, u64 *bytes)
{
	struct summary sum;
	char text[300];
	enum status st = summarise(&sum, o->output);

	if (st)
		return st;
	*bytes = sum.intact_bytes;
	if (ftruncate(fd, (off_t)sum.intact_bytes) || (o->sync && fsync(fd)))
		st = complain(ST_HOST, "%s: %s; check the disk", o->output, strerror(errno));
	else if (!sum.ended && !sum.last.count && s->failure[0] && !(s->ready && WIFSIGNALED(s->qemu_status)))
		unlink(o->output); /* the machine never started; one that was killed did, however early that was */
	else if (summary_trouble(&sum, text, sizeof(text)))
		remark("%s: %s; 'reprise replay %s' runs that much", o->output, text, o->output);
	summary_free(&sum);
	return st;
}
