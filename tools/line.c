/*
 * line.c - finding a fork's parents, and telling the hypervisor of them.  See
 * line.h.
 */
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/kconf.h"
#include "tools/line.h"

static bool head_get(const struct summary *s, const char *key, char *value, size_t size)
{
	return conf_get((const char *)s->head.data, s->head.size, key, value, size);
}

static u64 head_number(const struct summary *s, const char *key)
{
	return conf_u64((const char *)s->head.data, s->head.size, key, 0);
}

/* A recording at path whose id is the wanted one; NULL: there is none. */
static struct summary *try_parent(const char *path, u64 id)
{
	struct summary *p;
	struct stat st;
	char *name;

	if (stat(path, &st) || !S_ISREG(st.st_mode) || access(path, R_OK))
		return NULL;
	p = need(malloc(sizeof(*p)));
	name = need(strdup(path)); /* the summary keeps pointing to it: it lives as long as the program */
	if (summarise(p, name)) {
		free(p);
		return NULL;
	}
	if (p->nonce == id)
		return p;
	summary_free(p);
	free(p);
	return NULL;
}

/* Where it was when the fork was made, or beside the fork. */
static struct summary *find_parent(const struct summary *s, u64 id)
{
	char path[PATH_MAX] = "", dir[PATH_MAX], name[PATH_MAX], beside[2 * PATH_MAX];
	struct summary *p;

	head_get(s, "parent_file", path, sizeof(path));
	p = path[0] ? try_parent(path, id) : NULL;
	if (p)
		return p;
	snprintf(dir, sizeof(dir), "%s", s->path);
	snprintf(name, sizeof(name), "%s", path);
	snprintf(beside, sizeof(beside), "%s/%s", dirname(dir), basename(name));
	return try_parent(beside, id);
}

/* A part of the point at which `child` forked, count:vtime:sequence, as its HOST says. */
static u64 fork_point(const struct summary *child, unsigned part)
{
	char text[96] = "";
	char *at = text;
	u64 v = 0;

	conf_get((const char *)child->host.data, child->host.size, "parent_point", text, sizeof(text));
	for (unsigned k = 0; k <= part; k++) {
		v = strtoull(at, &at, 10);
		at += *at == ':';
	}
	return v;
}

/* Whether all that it recorded before a count is there to be read: the next event is, or the end, or it began later. */
static bool reaches(const struct summary *p, u64 count)
{
	return p->ended || p->last.count >= count || fork_point(p, 0) >= count;
}

enum status line_open(struct summary *s)
{
	const struct summary *youngest = s;
	char id[32], path[PATH_MAX];
	struct line *l = &s->line;

	while (head_get(youngest, "parent", id, sizeof(id))) {
		struct summary *p;

		if (!conf_get((const char *)youngest->host.data, youngest->host.size, "parent_point", path, sizeof(path)))
			return complain(ST_DAMAGED, "%s: a fork that was cut before it began; nothing of it can be replayed", youngest->path);
		if (l->n == LINEAGE_MAX - 1)
			return complain(ST_USAGE, "%s: a fork of a fork ..., more than %d generations; fork an older one", s->path, LINEAGE_MAX - 1);
		p = find_parent(youngest, strtoull(id, NULL, 16));
		if (!p) {
			if (!head_get(youngest, "parent_file", path, sizeof(path)))
				strcpy(path, "unknown");
			return complain(ST_USAGE, "%s: its parent, recording %s, is not at %s nor beside it; put it there", youngest->path, id, path);
		}
		if (!reaches(p, fork_point(youngest, 0)))
			return complain(ST_DAMAGED, "%s: its parent %s is intact for %llu instructions only, and it forked after %llu; find an undamaged copy",
					youngest->path, p->path, (unsigned long long)p->last.count, (unsigned long long)fork_point(youngest, 0));
		memmove(&l->parent[1], &l->parent[0], l->n * sizeof(l->parent[0]));
		l->parent[0] = p;
		l->n++;
		youngest = p;
	}
	return ST_OK;
}

enum status line_not(const struct summary *s, const char *option, const char *path)
{
	bool found = same_file(s->fd, path);

	for (unsigned i = 0; i < s->line.n; i++)
		found |= same_file(s->line.parent[i]->fd, path);
	return found ? complain(ST_USAGE, "%s %s: the recording itself, or one it came from; give another name", option, path) : ST_OK;
}

void line_disks(const struct line *l, struct qemu_disk disk[QEMU_MAX_DISKS], unsigned *ndisks)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct qemu_disk *d = &disk[(*ndisks)++];

		d->fd = l->parent[i]->fd;
		d->readonly = true;
		snprintf(d->serial, sizeof(d->serial), "parent%u", i);
	}
}

static void describe_until(const struct summary *child, unsigned i, struct buf *conf)
{
	buf_printf(conf, "parent%u_until=%llu\nparent%u_vtime=%llu\nparent%u_sequence=%llu\n", i,
		   (unsigned long long)fork_point(child, 0), i, (unsigned long long)fork_point(child, 1), i,
		   (unsigned long long)fork_point(child, 2));
}

void line_describe(const struct line *l, const struct summary *own, struct buf *conf)
{
	buf_printf(conf, "parents=%u\njitter=%llu\nfork_seed=%llu\n", l->n, (unsigned long long)head_number(own, "jitter_ns"),
		   (unsigned long long)head_number(own, "fork_seed"));
	for (unsigned i = 0; i < l->n; i++) {
		const struct summary *p = l->parent[i];

		buf_printf(conf, "parent%u_offset=%llu\nparent%u_chain=0x%016llx\nparent%u_jitter=%llu\nparent%u_seed=%llu\n", i,
			   (unsigned long long)p->run_offset, i, (unsigned long long)p->run_chain, i,
			   (unsigned long long)head_number(p, "jitter_ns"), i, (unsigned long long)head_number(p, "fork_seed"));
		describe_until(i + 1 < l->n ? l->parent[i + 1] : own, i, conf);
	}
}

enum status line_has_machine(const struct summary *s)
{
	if (!s->arrived || summary_begin(s))
		return ST_OK;
	return complain(ST_DAMAGED, "%s: no machine came to this host: there is nothing to replay", s->path);
}

enum status line_holds_point(const struct summary *s, const struct options *o)
{
	const struct stored_place *begin = s->arrived ? summary_begin(s) : NULL;
	enum status st = line_has_machine(s);

	if (st)
		return st;
	if (!o->at && s->ended && o->at_insns > s->end.insns)
		return complain(ST_USAGE, "--at %llu: %s ends after %llu instructions; give a point within, or end",
				(unsigned long long)o->at_insns, s->path, (unsigned long long)s->end.insns);
	if (!o->at && begin && o->at_insns < begin->count)
		return complain(ST_USAGE, "--at %llu: %s begins at %llu instructions, where the machine came to that host; give a point behind, or start",
				(unsigned long long)o->at_insns, s->path, (unsigned long long)begin->count);
	return ST_OK;
}

enum status line_from_reset(struct summary *s)
{
	enum status st = line_open(s);

	return st || !s->arrived ? st : complain(ST_USAGE, "%s: begins in the middle of a run, as a secondary's does; "
						 "replay, debug, bt, log, info and verify take it, this command does not", s->path);
}
