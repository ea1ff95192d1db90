/*
 * symbols.h - the guest kernel's own symbols, and where it was put (KASLR).
 */
#ifndef TOOLS_SYMBOLS_H
#define TOOLS_SYMBOLS_H

#include <limits.h>

#include "tools/elfsym.h"
#include "tools/tool.h"

struct symbols {
	char path[PATH_MAX];
	struct elf elf;
	bool is_mapped;
	bool has_entry, has_panic, has_modules; /* has_modules: Linux's list of them */
	u64 entry, panic;       /* entry_SYSCALL_64 and panic, as linked */
};

/* Opens an ELF file; `option` is what named it, for complaints.  ST_OK: symbols_close is due. */
enum status symbols_open(struct symbols *s, const char *option, const char *path) must_check;
/* The same of a file in memory, which stays the caller's.  NULL, or what is wrong with it. */
const char *symbols_of(struct symbols *s, const u8 *data, size_t size) must_check;
/* Also of one that was never opened. */
void symbols_close(struct symbols *s);

/*
 * Where the guest's kernel lies, less where it was linked to.  Its LSTAR
 * tells, once it has set it: that is entry_SYSCALL_64.
 */
u64 symbols_offset(const struct symbols *s, u64 lstar);

/* Lines of session.conf that tell the hypervisor of them [session.h]. */
void symbols_describe(const struct symbols *s, struct buf *conf);

#endif
