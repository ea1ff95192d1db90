/*
 * fpu.c - saving and restoring x87/SSE, and what user-space objects expect.
 * See fpu.h.
 */
#include "kernel/fpu.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"

/*
 * FXSAVE holds XMM0-15 as long as EFER.FFXSR is 0 [APM2 11.4.4]: with it set,
 * at CPL 0, the XMM registers are silently left out.  boot.S leaves it 0.
 * Upper YMM halves are no concern: legacy SSE instructions do not touch them.
 */
void fpu_enter(void)
{
	struct cpu *c = this_cpu();

	if (c->fpu_depth++)
		panic("fpu_enter inside fpu_enter");
	__asm__ volatile("fxsaveq %0" : "=m"(c->fpu_area));
}

void fpu_leave(void)
{
	struct cpu *c = this_cpu();

	if (c->fpu_depth-- != 1)
		panic("fpu_leave without fpu_enter");
	__asm__ volatile("fxrstorq %0" : : "m"(c->fpu_area));
}

/* Called by liblz4.a when the canary at %fs:0x28 was overwritten. */
noreturn_fn void __stack_chk_fail(void);
noreturn_fn void __stack_chk_fail(void)
{
	panic("stack smashed");
}

void fpu_clear(void *p, size_t size)
{
	u8 *at = p;

	fpu_enter();
	__asm__ volatile("xorps %%xmm0, %%xmm0" : : : "memory");
	for (u8 *end = at + size; at != end; at += 256)
		__asm__ volatile("movaps %%xmm0, (%0)\n\tmovaps %%xmm0, 16(%0)\n\tmovaps %%xmm0, 32(%0)\n\t"
				 "movaps %%xmm0, 48(%0)\n\tmovaps %%xmm0, 64(%0)\n\tmovaps %%xmm0, 80(%0)\n\t"
				 "movaps %%xmm0, 96(%0)\n\tmovaps %%xmm0, 112(%0)\n\tmovaps %%xmm0, 128(%0)\n\t"
				 "movaps %%xmm0, 144(%0)\n\tmovaps %%xmm0, 160(%0)\n\tmovaps %%xmm0, 176(%0)\n\t"
				 "movaps %%xmm0, 192(%0)\n\tmovaps %%xmm0, 208(%0)\n\tmovaps %%xmm0, 224(%0)\n\t"
				 "movaps %%xmm0, 240(%0)" : : "r"(at) : "memory");
	fpu_leave();
}
