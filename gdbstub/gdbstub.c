/*
 * gdbstub.c - the stub over the real timeline.  See gdbstub.h.
 */
#include "gdbstub/stub.h"

static const struct timeline_ops real = {
	.step = timeline_step,
	.run = timeline_run,
	.go = timeline_goto,
	.go_end = timeline_goto_end,
	.branch = timeline_branch,
	.branched = timeline_branched,
	.keep = timeline_keep,
	.vm = timeline_vm,
	.at_end = timeline_at_end,
	.trouble = timeline_trouble,
	.describe = timeline_describe,
	.inputs = timeline_inputs,
};

void gdb_init(struct gdb *g, struct timeline *t, const struct gdb_link *link, enum gdb_arch arch)
{
	gdb_init_over(g, t, &real, link, arch);
}
