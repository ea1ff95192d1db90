/*
 * fakevcpu.h - a processor for tests: struct virt_ops without hardware.
 *
 * It executes a small set of real 32-bit instructions (fakevcpu.c lists them)
 * from guest memory, one at a time, and stops after exactly the budget.  It
 * reaches memory only through the second-level tables the paging code made,
 * so rights, dirty bits and paging exits are those of the code under test.
 * What touches a device exits, and the project's decoder and emulator see the
 * same bytes.
 *
 * Watch slots stop it as virt.h has it: EXEC before the instruction, the others
 * behind the one that loads or stores.  What the delivery of an interrupt or an
 * exception pushes hits none.
 *
 * Segmentation is flat and guest paging is off.  Faults and skipped
 * instructions count nothing, each iteration of a REP counts one.
 *
 * As in hardware, segments, control and the rest live in a control block that
 * only load and save reach.  After each run the parts of cpu_state that are
 * not current by virt.h's contract are poisoned: code that forgets to save
 * them computes nonsense.
 */
#ifndef TESTS_UNIT_FAKEVCPU_H
#define TESTS_UNIT_FAKEVCPU_H

#include "vmm/vm.h"

/* What hosts differ in; no run may depend on it. */
struct fake_host_quirks {
	bool says_length;   /* exits carry the instruction's length */
	bool tsc_exits;     /* RDTSC is left to EXIT_TSC */
	bool keeps_shadow;  /* a saved interrupt shadow is honoured at entry */
	bool watch_blind;   /* an armed entry stops at no watch, and says that it may have missed one */
	u32 watch_disturbs; /* every so many armed entries one moves the stack; 0: none does */
};

struct fake_vcpu {
	struct fake_host_quirks quirks;
	struct cpu_state block;  /* what the control block holds */
	u64 *pte[64];            /* where second-level entries are: cache by page number */
	u64 pte_page[64];
	u64 runs, paging_exits, irqs, exceptions, armed_runs;
	void (*trace)(struct vcpu *v, u64 count, int irq); /* before each instruction (irq -1) or delivery */
	/* At each load or store an instruction sets out to make; one that exits or faults has made none. */
	void (*reached)(struct vcpu *v, u32 at, unsigned n, bool write);
};

extern const struct virt_ops fake_ops;

static inline struct fake_vcpu *fake_of(const struct vcpu *v)
{
	return v->vendor;
}

/* Flat 32-bit protected mode at rip, stack at rsp, IDT at idt. */
void fake_start(struct vcpu *v, u32 rip, u32 rsp, u32 idt);

/* An interrupt gate (trap: IF stays as it is), 8 bytes. */
void fake_gate(u8 out[8], u32 handler, bool trap);

#endif
