/*
 * cpustate.h - the architectural state of one vCPU, in neutral terms.
 *
 * Vendor code (svm/, vmx/) keeps most of this in its own control block while
 * the guest runs; gpr, rip, rflags and the interrupt shadow are current here
 * after every exit, the rest after virt_ops.save and before virt_ops.load.
 * Field names are the manual's [APM2 Appendix B].
 */
#ifndef VMM_CPUSTATE_H
#define VMM_CPUSTATE_H

#include "kernel/base.h"
#include "vmm/state.h"

/* In the encoding order of ModRM and REX. */
enum gpr {
	RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI,
	R8, R9, R10, R11, R12, R13, R14, R15,
	NGPR,
};

/* In the encoding order of segment-register operands. */
enum segreg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, NSEG };

/* Bits of segment.attrib: descriptor bits 40-47 and 52-55 packed [APM2 15.5.1]. */
enum {
	SEG_ATTR_TYPE = 0xf,
	SEG_ATTR_S = 1 << 4,
	SEG_ATTR_DPL_SHIFT = 5,
	SEG_ATTR_P = 1 << 7,
	SEG_ATTR_AVL = 1 << 8,
	SEG_ATTR_L = 1 << 9,
	SEG_ATTR_DB = 1 << 10,
	SEG_ATTR_G = 1 << 11,
};

struct segment {
	u16 selector;
	u16 attrib;
	u32 limit;  /* in bytes, expanded */
	u64 base;
};

struct table_reg {
	u64 base;
	u32 limit;
	u32 pad;
};

/* Bits of RFLAGS, CR0, CR4, EFER that more than one file needs. */
enum {
	RFLAGS_CF = 1 << 0, RFLAGS_RESERVED1 = 1 << 1, RFLAGS_PF = 1 << 2, RFLAGS_AF = 1 << 4,
	RFLAGS_ZF = 1 << 6, RFLAGS_SF = 1 << 7, RFLAGS_TF = 1 << 8, RFLAGS_IF = 1 << 9,
	RFLAGS_DF = 1 << 10, RFLAGS_OF = 1 << 11, RFLAGS_RF = 1 << 16, RFLAGS_VM = 1 << 17,
};
#define RFLAGS_DEFINED 0x3f7fd5UL /* the bits that are flags; all others read 0, but bit 1 */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define LMSW_BITS (CR0_PE | CR0_MP | CR0_EM | CR0_TS)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_PGE BIT(7)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)
#define EFER_SVME BIT(12)

/* Exception vectors [APM2 8.2]. */
enum {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_UD = 6, VEC_NM = 7, VEC_DF = 8,
	VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16, VEC_AC = 17,
	VEC_MC = 18, VEC_XF = 19,
};

struct cpu_state {
	u64 gpr[NGPR];
	u64 rip;
	u64 rflags;
	u8 interrupt_shadow; /* after STI or MOV SS: hold interrupts for one instruction */
	u8 cpl;
	u8 halted;           /* in HLT, waiting for an interrupt */
	u8 pad[5];

	struct segment seg[NSEG];
	struct table_reg gdtr, idtr;
	u64 cr0, cr2, cr3, cr4, cr8;
	u64 efer;
	u64 dr[4], dr6, dr7;
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, tsc_aux, misc_enable;
	u64 tsc_adjust;      /* guest TSC = vtime_ns + tsc_adjust */
	u64 mtrr_def_type, mtrr_fix[11], mtrr_var[16];
	u8 fx[512] aligned_to(16); /* FXSAVE image, reserved bytes zero */
};

/* Reset state [APM2 14.1.3 Processor Initialization State]. */
void cpu_state_reset(struct cpu_state *s);

/* Visits every field above, section "cpu". */
void cpu_state_walk(struct cpu_state *s, struct state_walk *w);

/* The width of code at CS:rip: 16, 32 or 64. */
static inline unsigned cpu_code_bits(const struct cpu_state *s)
{
	if ((s->efer & EFER_LMA) && (s->seg[SEG_CS].attrib & SEG_ATTR_L))
		return 64;
	return (s->seg[SEG_CS].attrib & SEG_ATTR_DB) ? 32 : 16;
}

/* Past an instruction: RIP moves on, RF and the interrupt shadow end. */
static inline void cpu_retire(struct cpu_state *s, unsigned insn_bytes)
{
	s->rip += insn_bytes;
	if (cpu_code_bits(s) != 64)
		s->rip &= 0xffffffff;
	s->rflags &= ~(u64)RFLAGS_RF;
	s->interrupt_shadow = 0;
}

#endif
