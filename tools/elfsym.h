/*
 * elfsym.h - a symbol's value in an ELF file for x86.
 */
#ifndef TOOLS_ELFSYM_H
#define TOOLS_ELFSYM_H

#include "kernel/base.h"

struct elf {
	const u8 *data;     /* the file; the caller's, and read again at every question */
	size_t size;
	bool is_64;
	u64 sections;       /* where the section headers lie, and how many there are */
	u64 nsections;
};

/* Takes a look at a file.  NULL: e is ready; else what is wrong with it, with a mend behind "; ". */
const char *elf_open(struct elf *e, const u8 *data, size_t size) must_check;

/* The value of a defined symbol; a global one goes before a local one.  False: there is none. */
bool elf_symbol(const struct elf *e, const char *name, u64 *value) must_check;

#endif
