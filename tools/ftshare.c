/*
 * ftshare.c - disks that both of the demo's hosts share.  See ftshare.h.
 */
#include <stdlib.h>

#include "tools/ftshare.h"
#include "tools/scsiunit.h"

#define OPTION "--disk"

static enum status add(struct ftshare *s, const struct options *o, const char *arg, int at, bool joined)
{
	struct share_file *f = &s->file[s->nfiles];
	struct disk_option d;
	enum status st = disk_option_parse(&d, arg);

	if (st || !disk_option_shared(&d))
		return st;
	s->any = true;
	if (o->alone)
		return complain(ST_USAGE, OPTION " %s,shared: given together with --alone; one host shares nothing, give the file with ,rw", d.path);
	if (unit_is_iscsi(d.path))
		return ST_OK;
	if (o->arbiter && strcmp(o->arbiter, "tgt"))
		return complain(ST_USAGE, OPTION " %s,shared: both hosts reach it by a target, which --arbiter %s is not; give --arbiter tgt",
				d.path, o->arbiter);
	if (s->nfiles == MAX_DISKS)
		return complain(ST_USAGE, OPTION " %s: a machine has at most %d disks; leave some out", arg, MAX_DISKS);
	*f = (struct share_file){ .option = d, .at = at, .joined = joined };
	st = image_open(&f->image, f->option.path, true);
	s->nfiles += !st;
	return st;
}

enum status ftshare_find(struct ftshare *s, const struct options *o)
{
	const size_t prefix = sizeof(OPTION) - 1;
	enum status st = ST_OK;

	*s = (struct ftshare){ .operand = o->operands, .noperands = o->noperands };
	for (int i = 0; i < o->noperands && !st; i++) {
		const char *word = o->operands[i];

		if (!strcmp(word, OPTION) && i + 1 < o->noperands) {
			i++;
			st = add(s, o, o->operands[i], i, false);
		} else if (!strncmp(word, OPTION "=", prefix + 1)) {
			st = add(s, o, word + prefix + 1, i, true);
		}
	}
	return st;
}

void ftshare_name(struct ftshare *s, const char *target)
{
	for (unsigned i = 0; i < s->nfiles; i++) {
		const struct share_file *f = &s->file[i];
		struct buf b = { 0 };

		buf_printf(&b, "%s%s/%u,shared", f->joined ? OPTION "=" : "", target, SHARE_LUN + i);
		if (f->option.room_bytes)
			buf_printf(&b, ",room=%llu", (unsigned long long)f->option.room_bytes);
		buf_add(&b, "", 1);
		s->operand[f->at] = (char *)b.data; /* it lives as long as the program */
	}
}
