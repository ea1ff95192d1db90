/*
 * coroutine.c - the first frame of a coroutine.  See coroutine.h; switching is
 * coroutine_switch.S's.
 */
#include "kernel/coroutine.h"
#include "kernel/panic.h"

extern u8 coroutine_stacks[];
extern const u8 coroutine_begin[];

/* As coroutine_switch leaves it. */
struct frame {
	u64 r15, r14, r13, r12, rbp, rbx, rip;
	u64 none[2]; /* what is called from behind RIP finds the stack as the ABI has it: 16-aligned before the call */
};

void coroutine_init(struct coroutine *c, unsigned stack, void (*fn)(void *ctx), void *ctx)
{
	struct frame *f;

	if (stack >= COROUTINES)
		panic("coroutine: no stack of number %u", stack);
	f = (struct frame *)(coroutine_stacks + (stack + 1) * (PAGE_SIZE + COROUTINE_STACK)) - 1;
	*f = (struct frame){ .r13 = (u64)ctx, .r12 = (u64)fn, .rip = (u64)coroutine_begin };
	c->sp = (u64)f;
}
