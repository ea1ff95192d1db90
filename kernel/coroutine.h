/*
 * coroutine.h - several flows of control on one CPU, each with its own stack.
 *
 * They hand the CPU to each other where they choose, and nowhere else: what one
 * does between two switches, the others see whole.  Interrupts are off at a switch,
 * as they are everywhere but in a wait and in a guest; x87 and SSE registers are not
 * kept here, they are a guest's.
 */
#ifndef KERNEL_COROUTINE_H
#define KERNEL_COROUTINE_H

#define COROUTINES 8               /* beside the boot stack's */
#define COROUTINE_STACK 0x10000    /* bytes, above an unmapped page */

#ifndef __ASSEMBLY__
#include "kernel/base.h"

struct coroutine {
	u64 sp;                    /* while it does not run: its stack, the kept registers on top */
};

/* On the stack of that number, below COROUTINES and nobody else's, fn(ctx) begins at the first switch.  It never returns. */
void coroutine_init(struct coroutine *c, unsigned stack, void (*fn)(void *ctx), void *ctx);

/* Keeps what runs now in `from`, and goes on with `to`; returns when somebody switches to `from`. */
void coroutine_switch(struct coroutine *from, struct coroutine *to);
#endif

#endif
