/*
 * operand.h - the recording a command is about.
 */
#ifndef TOOLS_OPERAND_H
#define TOOLS_OPERAND_H

#include "tools/options.h"
#include "tools/recfile.h"

/* Parses the options, insists on one recording and reads it.  ST_OK: summary_free it. */
enum status operand_open(struct options *o, struct summary *s, unsigned groups, int argc, char **argv) must_check;

/*
 * For commands that have shown what is intact: says on standard error what
 * is not.  ST_DAMAGED if that is more than a missing end.
 */
enum status operand_close(struct summary *s) must_check;

#endif
