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

#endif
