/*
 * percpu.h - what belongs to one host CPU, reached through %gs.
 *
 * FS and GS base both point at the struct: %gs:0 is its own address, and
 * %fs:0x28 is where code compiled for user space (liblz4.a) looks for the
 * stack protector's canary.  #VMEXIT restores neither base: the vendor's
 * entry code reloads them (VMLOAD) before it returns to C.
 */
#ifndef KERNEL_PERCPU_H
#define KERNEL_PERCPU_H

#include "kernel/base.h"

/* Selectors in every CPU's GDT. */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_TSS 0x18

/* Interrupt stacks: slot in the TSS, 1-based as in a gate. */
enum { IST_DF = 1, IST_NMI, IST_MC, IST_IRQ, NIST = IST_IRQ };

/* [APM2 12.2.5 64-Bit Task State Segment] */
struct packed_struct tss {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3;
	u16 iomap_base;
};

struct cpu {
	struct cpu *self;         /* offset 0: this_cpu() */
	u64 id;                   /* 0 is the boot CPU */
	u64 reserved[3];
	u64 stack_canary;         /* offset 28h, fixed by the ABI of liblz4.a */
	u64 irqs;                 /* host interrupts taken since boot */
	u64 unexpected_irqs;      /* of those, with no handler */
	u64 wakeups;              /* of those, that end a cpu_wait early */
	u64 fpu_depth;            /* 1 between fpu_enter and fpu_leave */
	u64 gdt[5];
	struct tss tss;
	u8 fpu_area[512] aligned_to(16); /* the guest's x87/SSE while the host uses SSE */
};

_Static_assert(offsetof(struct cpu, stack_canary) == 0x28, "stack_canary is at %fs:0x28");

static inline struct cpu *this_cpu(void)
{
	struct cpu *c;

	__asm__("mov %%gs:0, %0" : "=r"(c));
	return c;
}

/* Loads GDT, TSS, FS and GS of the calling CPU.  Once per CPU, first thing. */
void cpu_init(void);

#endif
