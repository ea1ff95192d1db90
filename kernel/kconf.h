/*
 * kconf.h - reading "key=value" text, one pair a line.  Portable.
 *
 * Lines that begin with '#' and lines without '=' are skipped; a key is
 * compared whole, the value is everything after the first '=' up to the end
 * of the line.  Of several lines with one key the last counts, so that a
 * setting can be overridden by appending.
 */
#ifndef KERNEL_KCONF_H
#define KERNEL_KCONF_H

#include "kernel/base.h"

/* The value where it stands, not terminated; NULL when the key is absent. */
const char *conf_find(const char *text, size_t len, const char *key, size_t *value_len);

/*
 * Copies the value, terminated.  false, with buf empty, when the key is
 * absent or the value does not fit: a cut value is never handed out.
 */
bool conf_get(const char *text, size_t len, const char *key, char *buf, size_t size);

/* A number, decimal or 0x...; fallback when absent, not a number or over 64 bits. */
u64 conf_u64(const char *text, size_t len, const char *key, u64 fallback);

#endif
