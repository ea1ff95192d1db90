/*
 * vmcb.h - the virtual machine control block, as the processor defines it.
 * [APM2 Appendix B, Layout of VMCB]
 */
#ifndef VMM_SVM_VMCB_H
#define VMM_SVM_VMCB_H

#include "kernel/base.h"

struct vmcb_segment {
	u16 selector, attrib;
	u32 limit;
	u64 base;
} packed_struct;

/* Control area [APM2 Table B-1]. */
struct vmcb_control {
	u16 intercept_cr_read, intercept_cr_write;  /* 000h */
	u16 intercept_dr_read, intercept_dr_write;
	u32 intercept_exceptions;                   /* 008h */
	u32 intercept1, intercept2;                 /* 00ch, 010h */
	u8 reserved1[0x40 - 0x14];
	u64 iopm_base_pa, msrpm_base_pa;            /* 040h */
	u64 tsc_offset;                             /* 050h */
	u32 asid;
	u8 tlb_control, reserved2[3];
	u64 int_ctl;                                /* 060h: V_TPR, V_IRQ, V_INTR_PRIO, vector */
	u64 interrupt_shadow;                       /* 068h */
	u64 exitcode, exitinfo1, exitinfo2;         /* 070h */
	u64 exitintinfo;                            /* 088h */
	u64 np_enable;                              /* 090h */
	u64 avic_apic_bar, ghcb;
	u64 eventinj;                               /* 0a8h */
	u64 n_cr3;                                  /* 0b0h */
	u64 lbr_enable;
	u32 vmcb_clean, reserved3;                  /* 0c0h */
	u64 nrip;                                   /* 0c8h */
	u8 fetched_count, fetched[15];              /* 0d0h: decode assists */
	u8 reserved4[0x400 - 0xe0];
} packed_struct;

/* State save area [APM2 Table B-2]. */
struct vmcb_save {
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved1[0xcb - 0xa0];
	u8 cpl;                                     /* 4cbh */
	u32 reserved2;
	u64 efer;                                   /* 4d0h */
	u8 reserved3[0x148 - 0xd8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;   /* 548h */
	u8 reserved4[0x1d8 - 0x180];
	u64 rsp;                                    /* 5d8h */
	u64 s_cet, ssp, isst;
	u64 rax;                                    /* 5f8h */
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 cr2;                                    /* 640h */
	u8 reserved5[0x268 - 0x248];
	u64 g_pat;                                  /* 668h */
	u8 reserved6[0xc00 - 0x270];
} packed_struct;

struct vmcb {
	struct vmcb_control c;
	struct vmcb_save s;
} packed_struct;

_Static_assert(offsetof(struct vmcb, c.int_ctl) == 0x60, "VMCB layout");
_Static_assert(offsetof(struct vmcb, c.eventinj) == 0xa8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, c.fetched) == 0xd1, "VMCB layout");
_Static_assert(offsetof(struct vmcb, s.cpl) == 0x4cb, "VMCB layout");
_Static_assert(offsetof(struct vmcb, s.cr4) == 0x548, "VMCB layout");
_Static_assert(offsetof(struct vmcb, s.rsp) == 0x5d8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, s.rax) == 0x5f8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, s.cr2) == 0x640, "VMCB layout");
_Static_assert(offsetof(struct vmcb, s.g_pat) == 0x668, "VMCB layout");
_Static_assert(sizeof(struct vmcb) == 4096, "VMCB layout");

/* intercept1, offset 00ch */
enum {
	INTERCEPT_INTR = 1 << 0, INTERCEPT_NMI = 1 << 1, INTERCEPT_SMI = 1 << 2, INTERCEPT_INIT = 1 << 3,
	INTERCEPT_VINTR = 1 << 4, INTERCEPT_CR0_SELECTIVE = 1 << 5, INTERCEPT_RDPMC = 1 << 15, INTERCEPT_RDTSC = 1 << 14, INTERCEPT_CPUID = 1 << 18,
	INTERCEPT_INVD = 1 << 22, INTERCEPT_HLT = 1 << 24, INTERCEPT_INVLPGA = 1 << 26, INTERCEPT_IOIO = 1 << 27, INTERCEPT_MSR = 1 << 28,
	INTERCEPT_TASK_SWITCH = 1 << 29, INTERCEPT_FERR = 1 << 30,
};
#define INTERCEPT_SHUTDOWN (1U << 31)
/* intercept2, offset 010h */
enum {
	INTERCEPT_VMRUN = 1 << 0, INTERCEPT_VMMCALL = 1 << 1, INTERCEPT_VMLOAD = 1 << 2, INTERCEPT_VMSAVE = 1 << 3,
	INTERCEPT_STGI = 1 << 4, INTERCEPT_CLGI = 1 << 5, INTERCEPT_SKINIT = 1 << 6, INTERCEPT_RDTSCP = 1 << 7,
	INTERCEPT_WBINVD = 1 << 9, INTERCEPT_MONITOR = 1 << 10, INTERCEPT_MWAIT = 1 << 11, INTERCEPT_XSETBV = 1 << 13,
};

/* int_ctl [APM2 15.21.1 VIRQ and 15.21.4 Injecting Virtual Interrupts] */
#define V_IRQ BIT(8)
#define V_INTR_PRIO_SHIFT 16
#define V_IGN_TPR BIT(20)
#define V_INTR_MASKING BIT(24)
#define V_VECTOR_SHIFT 32

/* eventinj and exitintinfo [APM2 15.20 Event Injection] */
#define EVENT_VALID BIT(31)
#define EVENT_HAS_ERROR BIT(11)
enum { EVENT_INTR = 0, EVENT_NMI = 2, EVENT_EXCEPTION = 3, EVENT_SOFTWARE = 4 };
#define EVENT_TYPE(e) (((e) >> 8) & 7)
#define EVENT_VECTOR(e) ((u8)(e))

/* Exit codes [APM2 Appendix C]. */
#define VMEXIT_INVALID 0xffffffffU
enum {
	VMEXIT_CR4_WRITE = 0x14, VMEXIT_CR8_WRITE = 0x18, VMEXIT_DR0_READ = 0x20, VMEXIT_DR7_WRITE = 0x37, VMEXIT_INVLPGA = 0x7a, VMEXIT_EXCP0 = 0x40, VMEXIT_INTR = 0x60, VMEXIT_NMI = 0x61, VMEXIT_SMI = 0x62, VMEXIT_INIT = 0x63,
	VMEXIT_VINTR = 0x64, VMEXIT_CR0_SELECTIVE = 0x65, VMEXIT_RDTSC = 0x6e, VMEXIT_RDPMC = 0x6f, VMEXIT_CPUID = 0x72, VMEXIT_INVD = 0x76,
	VMEXIT_HLT = 0x78, VMEXIT_IOIO = 0x7b, VMEXIT_MSR = 0x7c, VMEXIT_TASK_SWITCH = 0x7d, VMEXIT_SHUTDOWN = 0x7f,
	VMEXIT_VMRUN = 0x80, VMEXIT_VMMCALL = 0x81, VMEXIT_VMLOAD = 0x82, VMEXIT_SKINIT = 0x86, VMEXIT_RDTSCP = 0x87,
	VMEXIT_WBINVD = 0x89, VMEXIT_MONITOR = 0x8a, VMEXIT_MWAIT = 0x8b, VMEXIT_XSETBV = 0x8d, VMEXIT_NPF = 0x400,
};

#endif
