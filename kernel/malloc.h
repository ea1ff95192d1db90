/*
 * malloc.h - the C names liblz4.a links against.  Objects are aligned to 16
 * bytes and not cleared.  Whole pages are better taken from mm.h.
 */
#ifndef KERNEL_MALLOC_H
#define KERNEL_MALLOC_H

#include "kernel/base.h"

void *malloc(size_t size) must_check;
void *calloc(size_t n, size_t size) must_check;
void free(void *p);

#endif
