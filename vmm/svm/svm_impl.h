/*
 * svm_impl.h - what svm.c and debugregs.c share.
 */
#ifndef VMM_SVM_SVM_IMPL_H
#define VMM_SVM_SVM_IMPL_H

#include "vmm/svm/vmcb.h"
#include "vmm/vm.h"

/* What entry.S reads and writes. */
struct svm_entry {
	u64 *gpr;
	u64 vmcb, host_vmcb;
	u64 tsc_want;      /* the guest's TSC at its first instruction, less tsc_lead */
	u64 arm_ticks;
	volatile u32 *timer; /* the host LAPIC's initial count */
	u64 before, after; /* host TSC around the guest */
};
_Static_assert(offsetof(struct svm_entry, tsc_want) == 24, "entry.S: E_TSC_WANT");
_Static_assert(offsetof(struct svm_entry, arm_ticks) == 32, "entry.S: E_ARM_TICKS");
_Static_assert(offsetof(struct svm_entry, after) == 56, "entry.S: E_AFTER");

struct svm_vcpu {
	struct vmcb *vmcb;
	struct svm_entry entry;
	u64 watch_dr6;     /* what DR6 said of the watches of the last entry */
	bool watch_blind;
};

void svm_enter(struct svm_entry *e);

#define INTERCEPT_DR7 (1 << 7)

/* Enters the guest with the debug registers it has, or those of the debugger's watches [debugregs.c]. */
void svm_enter_with_debug(struct vcpu *v, struct svm_vcpu *s);

/* A debug exception while watches are armed: theirs, the guest's own single step, or both. */
void svm_decode_debug(const struct svm_vcpu *s, struct exit *out);

#endif
