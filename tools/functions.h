/*
 * functions.h - which function of an ELF file an address lies in.
 */
#ifndef TOOLS_FUNCTIONS_H
#define TOOLS_FUNCTIONS_H

#include "tools/elfsym.h"

struct function {
	const char *name;   /* in the file */
	u64 at, size;       /* size: 0 where the file does not say */
	unsigned rank;      /* among names of one address the highest is shown */
};

struct functions {
	struct function *list;  /* by address, each address once */
	size_t n, room;
	u64 first, last;        /* the code lies between them; `last` is behind it */
};

/* The file stays, for the names lie in it.  functions_free is due. */
void functions_read(struct functions *f, const struct elf *e);
void functions_free(struct functions *f);

/* The function an address lies in, as far as can be known; NULL: none. */
const struct function *function_at(const struct functions *f, u64 at);
/* The first of that name that has this offset; NULL: none. */
const struct function *function_named(const struct functions *f, const char *name, u64 offset);

static inline bool is_code(const struct functions *f, u64 at)
{
	return at >= f->first && at < f->last;
}

#endif
