/*
 * recmake.h - a recording's file, before and after the run that fills it.
 */
#ifndef TOOLS_RECMAKE_H
#define TOOLS_RECMAKE_H

#include "tools/machine.h"
#include "tools/session.h"

/* Makes o->output, writes what comes before the run and adds to conf where the hypervisor goes on. */
enum status recmake_begin(const struct machine *m, const struct options *o, int *fd, struct buf *conf) must_check;

/*
 * Cuts the file to what is intact, *bytes of it, and says what that is if the
 * machine did not come to an end.
 */
enum status recmake_finish(const struct options *o, int fd, const struct session *s, u64 *bytes) must_check;

#endif
