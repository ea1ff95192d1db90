/*
 * cpustate.c - a vCPU at reset, and the walk over it.
 */
#include "vmm/cpustate.h"

void cpu_state_reset(struct cpu_state *s)
{
	memset(s, 0, sizeof(*s));
	s->rip = 0xfff0;
	s->rflags = RFLAGS_RESERVED1;
	for (int i = 0; i < NSEG; i++)
		s->seg[i] = (struct segment){ .limit = 0xffff, .attrib = 0x93 };
	s->seg[SEG_CS] = (struct segment){ .selector = 0xf000, .base = 0xffff0000, .limit = 0xffff, .attrib = 0x9b };
	s->seg[SEG_LDTR].attrib = 0x82;
	s->seg[SEG_TR].attrib = 0x8b;
	s->gdtr.limit = s->idtr.limit = 0xffff;
	s->cr0 = CR0_CD | CR0_NW | CR0_ET;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->pat = 0x0007040600070406UL;
	s->misc_enable = 1; /* fast strings, as Linux expects to find it */
	s->gpr[RDX] = 0x600; /* family, model, stepping: CPUID tells the rest */
	/* FXSAVE image after RESET: control word, MXCSR and its mask [APM2 Table 14-1, Initial Processor State] */
	s->fx[0] = 0x40;
	write_bytes_le(s->fx + 24, 4, 0x1f80);
	write_bytes_le(s->fx + 28, 4, 0xffff);
}

/*
 * BT and its kin leave OF and AF undefined [APM3 BT], and TCG computes them from what
 * the same translated block holds before: so where the guest was stopped decides what
 * they are, until the next instruction that sets them.  No digest holds them; else two
 * ways to one point would seem to lead to different machines.
 */
static void walk_flags(struct state_walk *w, u64 *rflags)
{
	u64 defined = *rflags & ~(u64)(RFLAGS_OF | RFLAGS_AF);
	bool all = w->mode != STATE_DIGEST || w->all_flags;

	state_field(w, "rflags", all ? rflags : &defined, 8);
}

void cpu_state_walk(struct cpu_state *s, struct state_walk *w)
{
	static const char *const gpr[NGPR] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					       "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	static const char *const seg[NSEG][4] = {
		{ "es", "es.attrib", "es.limit", "es.base" }, { "cs", "cs.attrib", "cs.limit", "cs.base" },
		{ "ss", "ss.attrib", "ss.limit", "ss.base" }, { "ds", "ds.attrib", "ds.limit", "ds.base" },
		{ "fs", "fs.attrib", "fs.limit", "fs.base" }, { "gs", "gs.attrib", "gs.limit", "gs.base" },
		{ "ldtr", "ldtr.attrib", "ldtr.limit", "ldtr.base" }, { "tr", "tr.attrib", "tr.limit", "tr.base" },
	};

	state_section(w, "cpu", 1);
	for (int i = 0; i < NGPR; i++)
		state_field(w, gpr[i], &s->gpr[i], 8);
	STATE(w, s, rip);
	walk_flags(w, &s->rflags);
	STATE(w, s, interrupt_shadow);
	STATE(w, s, cpl);
	STATE(w, s, halted);
	for (int i = 0; i < NSEG; i++) {
		state_field(w, seg[i][0], &s->seg[i].selector, 2);
		state_field(w, seg[i][1], &s->seg[i].attrib, 2);
		state_field(w, seg[i][2], &s->seg[i].limit, 4);
		state_field(w, seg[i][3], &s->seg[i].base, 8);
	}
	state_field(w, "gdtr.base", &s->gdtr.base, 8);
	state_field(w, "gdtr.limit", &s->gdtr.limit, 4);
	state_field(w, "idtr.base", &s->idtr.base, 8);
	state_field(w, "idtr.limit", &s->idtr.limit, 4);
	STATE(w, s, cr0);
	STATE(w, s, cr2);
	STATE(w, s, cr3);
	STATE(w, s, cr4);
	STATE(w, s, cr8);
	STATE(w, s, efer);
	STATE(w, s, dr);
	STATE(w, s, dr6);
	STATE(w, s, dr7);
	STATE(w, s, star);
	STATE(w, s, lstar);
	STATE(w, s, cstar);
	STATE(w, s, sfmask);
	STATE(w, s, kernel_gs_base);
	STATE(w, s, sysenter_cs);
	STATE(w, s, sysenter_esp);
	STATE(w, s, sysenter_eip);
	STATE(w, s, pat);
	STATE(w, s, tsc_aux);
	STATE(w, s, misc_enable);
	STATE(w, s, tsc_adjust);
	STATE(w, s, mtrr_def_type);
	STATE(w, s, mtrr_fix);
	STATE(w, s, mtrr_var);
	STATE(w, s, fx);
}
