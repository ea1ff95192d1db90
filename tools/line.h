/*
 * line.h - the line of a fork's run: its recording, its parent's, that one's
 * parent's ... [docs/RECORDING.md 4, replay/lineage.h].
 */
#ifndef TOOLS_LINE_H
#define TOOLS_LINE_H

#include "tools/options.h"
#include "tools/qemu.h"
#include "tools/recfile.h"

/* Finds and opens the parents of s, into s->line.  Otherwise a complaint was printed. */
enum status line_open(struct summary *s) must_check;

/* The same, for who needs the run from its beginning on: refuses one that begins at a checkpoint. */
enum status line_from_reset(struct summary *s) must_check;

/* A complaint if path, where the option has something written, is the recording or one of its parents. */
enum status line_not(const struct summary *s, const char *option, const char *path) must_check;

/* A complaint if the recording begins where its machine was to come to a host, and it never did. */
enum status line_has_machine(const struct summary *s) must_check;

/* The same, and if the point of --at is not within the recording's run. */
enum status line_holds_point(const struct summary *s, const struct options *o) must_check;

/* The parents as disks of the hypervisor's, and what it must be told about them. */
void line_disks(const struct line *l, struct qemu_disk disk[QEMU_MAX_DISKS], unsigned *ndisks);
void line_describe(const struct line *l, const struct summary *own, struct buf *conf);

#endif
