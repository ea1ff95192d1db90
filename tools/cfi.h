/*
 * cfi.h - call frame information: what an ELF file says on how to get from a
 * function's registers to its caller's [DWARF5 6.4 Call Frame Information].
 *
 * A compiler leaves it in .eh_frame, or with -g in .debug_frame, whose entries
 * differ in form and are not indexed.  Both are read into one table; an entry
 * is handed out in the form of .eh_frame, moved to where the code lies in the
 * guest, so that a library that knows nothing of either can use it.
 */
#ifndef TOOLS_CFI_H
#define TOOLS_CFI_H

#include "tools/elfsym.h"
#include "tools/tool.h"

struct cfi_entry {
	u64 start, end;         /* of the code, as linked */
	const u8 *record;       /* the entry (FDE) in the section */
	const struct cfi_source *in;
};

struct cfi_source {
	const u8 *data;
	u64 address, size;
	bool is_eh;
};

struct cfi {
	struct cfi_source source[2];
	struct cfi_entry *list; /* by start */
	size_t n, room;
};

/* The file stays.  A file without any, or with nonsense, is one with few or no entries.  cfi_free is due. */
void cfi_read(struct cfi *c, const struct elf *e);
void cfi_free(struct cfi *c);

/* Is there an entry for this address, as linked? */
bool cfi_covers(const struct cfi *c, u64 at);
/*
 * The entry for it as bytes of .eh_frame added to `out`: the common part, then
 * the entry, which begins at *entry_at of out.  offset: by how much the code
 * was moved.  False: there is none.
 */
bool cfi_extract(const struct cfi *c, u64 at, u64 offset, struct buf *out, size_t *entry_at) must_check;

#endif
