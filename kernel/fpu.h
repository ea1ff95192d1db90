/*
 * fpu.h - borrowing the x87/SSE registers from the guest.
 *
 * The hypervisor is built without them, so outside fpu_enter..fpu_leave they
 * hold the guest's.  Needed around every call into liblz4.a, which moves data
 * through XMM registers: forgotten, the guest finds foreign bytes in XMM0.
 */
#ifndef KERNEL_FPU_H
#define KERNEL_FPU_H

#include "kernel/base.h"

/* Saves them; does not nest. */
void fpu_enter(void);

/* Puts them back. */
void fpu_leave(void);

/* Zeros size bytes, a multiple of 256, at p, 16-aligned: 0.07 instructions a byte, memset takes 0.18. */
void fpu_clear(void *p, size_t size);

#endif
