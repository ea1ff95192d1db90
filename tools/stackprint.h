/*
 * stackprint.h - a stack for people, and as JSON for programs.
 */
#ifndef TOOLS_STACKPRINT_H
#define TOOLS_STACKPRINT_H

#include "tools/tool.h"

struct stack_line {
	u64 pc;
	u64 sp;                 /* 0: not known */
	const char *function;   /* NULL: not known */
	u64 offset;             /* in it */
	const char *source;     /* "file.c:12", or NULL */
	const char *how;        /* how it was found; NULL: not for JSON */
	bool interrupted;       /* something came upon it here; it called nobody */
	bool user;              /* of a program */
};

void stack_print(FILE *f, const struct stack_line *lines, size_t n);
/* The array of frames alone. */
void stack_print_json(FILE *f, const struct stack_line *lines, size_t n);

#endif
