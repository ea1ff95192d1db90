/*
 * kfmt.h - printf's formatting without a C library.  Portable.
 *
 * Understands %c %s %d %i %u %x %X %p %%, flags - and 0, width and precision
 * (numbers or *), lengths hh h l ll z.  No floating point.  What it does not
 * know it prints as it stands, so that a mistake is seen.
 */
#ifndef KERNEL_KFMT_H
#define KERNEL_KFMT_H

#include <stdarg.h>

#include "kernel/base.h"

/* Hands the formatted text to put, in pieces. */
void kvformat(void (*put)(void *ctx, const char *text, size_t size), void *ctx,
	      const char *fmt, va_list args);

/*
 * As snprintf: always terminates when size > 0, returns the length the whole
 * text has, which is >= size when it did not fit.
 */
size_t kvsnprintf(char *buf, size_t size, const char *fmt, va_list args);
size_t ksnprintf(char *buf, size_t size, const char *fmt, ...) printf_like(3, 4);

#endif
