/*
 * exit.h - why a vCPU stopped running, in neutral terms.
 *
 * Vendor code turns its raw exit into this; exits.c dispatches it.  What has
 * no neutral meaning is EXIT_UNKNOWN and stops that VM, never the host.
 */
#ifndef VMM_EXIT_H
#define VMM_EXIT_H

#include "kernel/base.h"

enum exit_reason {
	EXIT_STOP,        /* the armed instruction was reached (or a host interrupt came first) */
	EXIT_PORT,        /* IN, OUT, INS, OUTS */
	EXIT_MSR,         /* RDMSR, WRMSR */
	EXIT_CPUID,
	EXIT_HLT,
	EXIT_DR7,         /* MOV to DR7 */
	EXIT_CR0,         /* MOV to CR0, LMSW: a change of more than TS and MP */
	EXIT_CR3,         /* MOV to CR3 that the processor refused */
	EXIT_CR4,         /* MOV to CR4 */
	EXIT_CR8,         /* MOV to CR8: the task priority */
	EXIT_EXCEPTION,   /* an exception in the wake of an injected one, not delivered yet */
	EXIT_WATCH,       /* a watch slot's place was reached; or a #DB of the guest's own */
	EXIT_DEBUG_REG,   /* the guest reached for its debug registers while watches are in them */
	EXIT_PAGING,      /* guest-physical access the second-level tables do not allow */
	EXIT_TSC,         /* RDTSC(P), on hosts where it must exit */
	EXIT_HYPERCALL,   /* VMMCALL */
	EXIT_UNDEFINED,   /* an instruction this machine does not have: becomes #UD */
	EXIT_TRIPLE_FAULT,
	EXIT_TASK_SWITCH,
	EXIT_CACHE,       /* INVD, WBINVD: nothing to do */
	EXIT_BAD_STATE,   /* the processor refused the guest's state */
	EXIT_UNKNOWN,
	NEXIT,
};

/* Name for reports and statistics, e.g. "port". */
const char *exit_reason_name(enum exit_reason r);

/* Filled by vendor code; of the union only what belongs to the reason. */
struct exit {
	enum exit_reason reason;
	u64 retired;     /* instructions the guest completed since entry */
	bool irq_taken;  /* the offered interrupt was delivered */
	bool in_delivery; /* the exit cut the delivery of an interrupt or exception short */
	bool blind;      /* watch slots were armed, but this entry may have missed or miscounted something */
	u8 insn_bytes;   /* length of the exiting instruction; 0: the vendor did not say */
	u64 raw_code;    /* vendor's own, for reports only */
	union {
		struct {
			u16 port;
			u8 size_bytes;
			bool in, string;
		} port;
		struct {
			bool write;
		} msr;
		struct {
			u8 vector;
			bool has_error;
			u32 error;
			u64 cr2; /* of a page fault; the register still has its old value.  Others: 0, or what goes there */
		} exception;
		struct {
			gpa_t gpa;
			bool write, fetch, table_walk;
		} paging;
		struct {
			u8 slots;     /* bits: watch slots that were hit */
			bool guest;   /* a debug exception for the guest, too: */
			u64 dr6;      /*   bits it finds in DR6 */
		} watch;
	};
};

#endif
