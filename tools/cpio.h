/*
 * cpio.h - writing newc cpio archives [cpio(5), New ASCII Format], the form
 * Linux takes as initramfs and our kernel takes as bundle.
 *
 * The same contents give the same bytes: names in byte order, no clock, no
 * owner, inode numbers counted from 1.
 */
#ifndef TOOLS_CPIO_H
#define TOOLS_CPIO_H

#include "tools/tool.h"

/* Adds one regular file. */
void cpio_file(struct buf *out, const char *name, const void *data, size_t size);

/* Ends the archive; nothing may follow. */
void cpio_end(struct buf *out);

/*
 * A whole directory as an archive, its own path stripped.  Kept: permission
 * bits, symbolic links, device nodes, FIFOs.  Not kept: times, owners (all
 * become root), hard links (become copies).  Complains and returns false if
 * something cannot be read or is of no kind an archive can hold.
 */
bool cpio_directory(struct buf *out, const char *dir) must_check;

#endif
