/*
 * bundle.h - named files in a boot module: a newc cpio archive [cpio(5), New
 * ASCII Format].  Portable.  Works in place, copies nothing, trusts nothing.
 */
#ifndef KERNEL_BUNDLE_H
#define KERNEL_BUNDLE_H

#include "kernel/base.h"

/*
 * The file called name (a leading "./" in the archive is ignored); the first
 * of several.  *data points into the archive.  ERR_END: no such file;
 * ERR_DAMAGED: not a newc archive, or one that is cut.
 */
err_t bundle_find(const u8 *cpio, size_t size, const char *name, const u8 **data,
		  size_t *size_bytes) must_check;

/*
 * Visits the files one after another: start with *pos = 0.  ERR_END after
 * the last.  *name is terminated and points into the archive.
 */
err_t bundle_next(const u8 *cpio, size_t size, size_t *pos, const char **name, const u8 **data,
		  size_t *size_bytes) must_check;

#endif
