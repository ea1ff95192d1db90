/*
 * cmd_run.h - running a live machine, kept as a recording or not.
 */
#ifndef TOOLS_CMD_RUN_H
#define TOOLS_CMD_RUN_H

#include "tools/session.h"

/*
 * Runs it to its end and says how that was.  Of s the caller has set the options and what is
 * special; conf holds session.conf so far, its mode at least.  kept_file: the recording is the
 * user's.
 */
enum status run_machine(struct session *s, const struct machine *m, struct buf *conf, bool recording, bool kept_file) must_check;

/* Says what a recording that is kept, -o, needs to be replayed. */
void recording_remarks(const struct options *o, const struct machine *m);

/* The machines of n options, which have names, side by side in one hypervisor, to the end of the last. */
enum status run_several(const struct options *o, unsigned n, bool recording) must_check;

#endif
