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
