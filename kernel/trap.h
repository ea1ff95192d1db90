/*
 * trap.h - exceptions and interrupts of the host.
 *
 * Every exception is a bug of ours and a panic, but for the instructions in
 * the exception table (rdmsr_safe).  Interrupts run on a stack of their own,
 * because the code they interrupt may be built with a red zone (liblz4.a).
 */
#ifndef KERNEL_TRAP_H
#define KERNEL_TRAP_H

#include "kernel/base.h"

/*
 * Debug exceptions taken so far: breakpoints of a guest that fired in the
 * hypervisor.  The trap disarms them all and goes on.
 */
u64 trap_stray_debug(void);

/* As entry.S pushes it. */
struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8;
	u64 rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

/* Fills the IDT and loads it. */
void trap_init(void);

/*
 * fn runs with interrupts off whenever the vector (20h-FEh) is delivered; NULL
 * ignores it silently.  EOI is given after it, where the vector needs one.
 */
void trap_set_irq_handler(u8 vector, void (*fn)(void));

/* Takes the interrupts that are pending now; on return they are off. */
static inline void trap_drain(void)
{
	/* STI holds interrupts for one instruction, the NOP; they are taken before CLI. */
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

#endif
