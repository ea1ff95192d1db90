/*
 * virt.h - what hardware virtualisation must do for the vCPU loop.
 *
 * svm/ implements it, vmx/ will, and the tests have a scripted one.  The rest
 * of Reprise sees only this.
 */
#ifndef VMM_VIRT_H
#define VMM_VIRT_H

#include "kernel/base.h"
#include "vmm/exit.h"

struct vcpu;

/*
 * A place at which a guest stops: the debugger's, held in the processor's
 * debug registers while the guest runs.  The guest sees its own values there.
 */
#define WATCH_SLOTS 4
enum watch_slot_kind { SLOT_EXEC = 0, SLOT_WRITE = 1, SLOT_ACCESS = 3 }; /* as DR7 has them [APM2 13.1.1.4] */
struct watch_slot {
	enum watch_slot_kind kind;
	u64 linear;     /* a multiple of size_bytes */
	u8 size_bytes;  /* 1, 2, 4, 8; EXEC: 1 */
};

/* Parts of a cpu_state. */
enum {
	PART_SEGMENTS = 1, /* segment and table registers */
	PART_CONTROL = 2,  /* CRs, EFER, PAT, TSC_AUX, CPL */
	PART_REST = 4,     /* debug registers, syscall MSRs, x87 and SSE */
	PART_ALL = 7,
};

struct virt_ops {
	const char *name;

	/* Gives vcpu->vendor its control block. */
	err_t (*create)(struct vcpu *v);

	/* cpu_state -> control block, the parts named; and back. */
	void (*load)(struct vcpu *v, unsigned parts);
	void (*save)(struct vcpu *v, unsigned parts);

	/*
	 * Runs the guest until an exit, at most `budget` instructions (>= 1).
	 * Takes gpr, rip, rflags from v->cpu and leaves them, with the interrupt
	 * shadow, CPL, CS, the control registers and EFER, current there.  Delivers v->exception first; offers
	 * v->irq_vector (-1: none), taken as soon as the guest allows it.  Stops
	 * at the watch slots of v->watch_armed with EXIT_WATCH: EXEC before the
	 * instruction, the others behind it.
	 */
	void (*run)(struct vcpu *v, u64 budget, struct exit *out);

	/*
	 * x87's pointers to the last instruction and its operand are kept where
	 * they cannot be saved: FNSTENV shows them, FXSAVE may not, and nothing
	 * loads them (QEMU; of real processors see [APM2 11.4.4.3 Saving and
	 * Restoring Media and x87 Processor State]).  So they are set to 0, the
	 * rest of x87 and SSE stays; and: are they 0.
	 */
	void (*clear_x87_pointers)(struct vcpu *v);
	bool (*x87_pointers_clear)(struct vcpu *v);

	/* Second-level page-table entries in the vendor's format [paging.h]. */
	u64 (*pte_leaf)(hpa_t at, unsigned rights);
	u64 (*pte_table)(hpa_t at);
	unsigned (*pte_rights)(u64 pte); /* 0: not present */
	u64 pte_accessed; /* bit the hardware sets in every entry it walks through */
	u64 pte_dirty;  /* bit the hardware sets on a write; 0: it does not */
};

/* Rights of a second-level mapping. */
enum { MAP_READ = 1, MAP_WRITE = 2, MAP_EXEC = 4 };

#endif
