/*
 * gdb.h - the gdb that `reprise debug` starts: found, told, given the terminal.
 */
#ifndef TOOLS_GDB_H
#define TOOLS_GDB_H

#include <sys/types.h>
#include <termios.h>

#include "tools/tool.h"

struct gdb {
	char program[4096], commands[4096]; /* what is run, and tools/reprise.gdb */
	char **args;                        /* the user's own, up to NULL */
	bool terminal;                      /* standard input was one, in this state */
	struct termios before;
};

/* Finds it: the one given, $REPRISE_GDB, gdb or gdb-multiarch of the PATH.  ST_OK or a complaint. */
enum status gdb_find(struct gdb *g, const char *given, char **args) must_check;

/* Starts it in our own process group, on our terminal.  Commands before and behind connecting, or NULL.  -1 after a complaint. */
pid_t gdb_start(struct gdb *g, const char *before, const char *address, const char *behind) must_check;

/* It has ended so: puts the terminal back if it could not. */
void gdb_bury(const struct gdb *g, int wait_status);
/* What that means: ST_OK or a complaint. */
enum status gdb_judge(const struct gdb *g, int wait_status) must_check;

#endif
