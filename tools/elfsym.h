/*
 * elfsym.h - symbols and sections of an ELF file for x86.
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
	u64 names;          /* the number of the section with their names */
};

/* Takes a look at a file.  NULL: e is ready; else what is wrong with it, with a mend behind "; ". */
const char *elf_open(struct elf *e, const u8 *data, size_t size) must_check;

/* The value of a defined symbol; a global one goes before a local one.  False: there is none. */
bool elf_symbol(const struct elf *e, const char *name, u64 *value) must_check;

/* Whether types and lines are in it, too (DWARF). */
bool elf_has_debug_info(const struct elf *e) must_check;

/* A symbol in code: a function, or a label of assembly. */
struct elf_symbol {
	const char *name;
	u64 value, size;    /* size: 0 where it is not known */
	bool is_function, is_global;
};

/* Tells of each of them, in the file's order. */
void elf_code_symbols(const struct elf *e, void (*take)(void *ctx, const struct elf_symbol *s), void *ctx);

struct elf_section {
	const char *name;
	const u8 *data;     /* size bytes; NULL: the file holds none, or packed ones */
	u64 address, size;
	bool is_code;
};

/* The section of that number; false: there are not so many. */
bool elf_section(const struct elf *e, u64 index, struct elf_section *s) must_check;

#endif
