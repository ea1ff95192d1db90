/*
 * test_decode.c - the instruction decoder against Capstone, and by hand.
 *
 * The generator makes plausible encodings from a fixed seed; whatever we
 * accept, Capstone must accept with the same length, operation and operands.  Where
 * Capstone 4 is wrong or says less than it could, quirk() names the case and
 * the manual; everything named there has a test by hand below.
 */
#include <capstone/capstone.h>
#include <criterion/criterion.h>

#include "vmm/decode.h"

#define NSAMPLES 400000

static u64 xorshift(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* --- the generator --- */

static const u8 known_1byte[] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x10, 0x11, 0x12,
	0x13, 0x18, 0x19, 0x1b, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x28, 0x29, 0x2a, 0x2b, 0x30,
	0x31, 0x32, 0x33, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x63, 0x69, 0x6b, 0x6c, 0x6d, 0x6e,
	0x6f, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8e,
	0x8f, 0x90, 0x9c, 0x9d, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac,
	0xad, 0xae, 0xaf, 0xc0, 0xc1, 0xc6, 0xc7, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3,
	0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf4, 0xf6, 0xf7, 0xfa, 0xfb, 0xfe,
	0xff,
};

static const u8 known_0f[] = {
	0x00, 0x01, 0x06, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0x33, 0x40, 0x47,
	0x4c, 0x90, 0x95, 0x9f, 0xa2, 0xa3, 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xb0,
	0xb1, 0xb3, 0xb6, 0xb7, 0xb8, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xc1, 0xc3, 0xc7,
};

static void generate(u64 *seed, unsigned bits, u8 out[24])
{
	static const u8 prefix[] = {
		0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x66, 0x67, 0x67, 0xf0, 0xf2, 0xf3, 0x48,
	};
	u64 r = xorshift(seed);
	unsigned n = 0, nprefix = (unsigned)(r & 7);

	for (unsigned i = 0; i < 24; i++)
		out[i] = (u8)(xorshift(seed) >> 24);
	for (unsigned i = 0; nprefix > 3 && i < nprefix - 3; i++)
		out[n++] = prefix[xorshift(seed) % (sizeof(prefix) - (bits != 64))];
	if (bits == 64 && (r >> 8 & 1))
		out[n++] = 0x40 | (r >> 16 & 0xf);
	switch (r >> 20 & 15) {
	case 0: break; /* anything */
	case 1: out[n] = 0x0f; break;
	case 2: out[n] = 0x0f; out[n + 1] = 0x38; out[n + 2] = 0xf0 | (r >> 24 & 1); break;
	case 3: out[n] = 0x0f; out[n + 1] = 0x01; out[n + 2] = 0xc0 | (r >> 24 & 0x3f); break;
	case 4: case 5: case 6: case 7:
		out[n] = 0x0f;
		out[n + 1] = known_0f[(r >> 24 & 0xffff) % sizeof(known_0f)];
		break;
	default: out[n] = known_1byte[(r >> 24 & 0xffff) % sizeof(known_1byte)];
	}
}

/* --- our names for what Capstone says --- */

/* Number of a general register and its size; size 0: not one.  AH..BH are 16..19. */
static unsigned gpr_of(unsigned reg, unsigned *size)
{
	static const u16 table[4][20] = {
		{ X86_REG_AL, X86_REG_CL, X86_REG_DL, X86_REG_BL, X86_REG_SPL, X86_REG_BPL,
		  X86_REG_SIL, X86_REG_DIL, X86_REG_R8B, X86_REG_R9B, X86_REG_R10B, X86_REG_R11B,
		  X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B, X86_REG_AH, X86_REG_CH,
		  X86_REG_DH, X86_REG_BH },
		{ X86_REG_AX, X86_REG_CX, X86_REG_DX, X86_REG_BX, X86_REG_SP, X86_REG_BP,
		  X86_REG_SI, X86_REG_DI, X86_REG_R8W, X86_REG_R9W, X86_REG_R10W, X86_REG_R11W,
		  X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W },
		{ X86_REG_EAX, X86_REG_ECX, X86_REG_EDX, X86_REG_EBX, X86_REG_ESP, X86_REG_EBP,
		  X86_REG_ESI, X86_REG_EDI, X86_REG_R8D, X86_REG_R9D, X86_REG_R10D, X86_REG_R11D,
		  X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D },
		{ X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP,
		  X86_REG_RSI, X86_REG_RDI, X86_REG_R8, X86_REG_R9, X86_REG_R10, X86_REG_R11,
		  X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15 },
	};

	for (unsigned s = 0; s < 4; s++)
		for (unsigned i = 0; reg && i < 20; i++)
			if (table[s][i] == reg) {
				*size = 1U << s;
				return i;
			}
	*size = 0;
	return INSN_NO_REG;
}

static unsigned seg_of(unsigned reg)
{
	switch (reg) {
	case X86_REG_ES: return SEG_ES;
	case X86_REG_CS: return SEG_CS;
	case X86_REG_SS: return SEG_SS;
	case X86_REG_DS: return SEG_DS;
	case X86_REG_FS: return SEG_FS;
	case X86_REG_GS: return SEG_GS;
	default: return NSEG;
	}
}

/* Where the numbers of two enums differ only by name; families the operands tell apart. */
static bool same_op(const struct insn *in, unsigned id)
{
	static const struct { u16 op, id; } same[] = {
		{ INSN_ADD, X86_INS_ADD }, { INSN_OR, X86_INS_OR }, { INSN_ADC, X86_INS_ADC },
		{ INSN_SBB, X86_INS_SBB }, { INSN_AND, X86_INS_AND }, { INSN_SUB, X86_INS_SUB },
		{ INSN_XOR, X86_INS_XOR }, { INSN_CMP, X86_INS_CMP }, { INSN_TEST, X86_INS_TEST },
		{ INSN_NOT, X86_INS_NOT }, { INSN_NEG, X86_INS_NEG }, { INSN_INC, X86_INS_INC },
		{ INSN_DEC, X86_INS_DEC }, { INSN_ROL, X86_INS_ROL }, { INSN_ROR, X86_INS_ROR },
		{ INSN_RCL, X86_INS_RCL }, { INSN_RCR, X86_INS_RCR }, { INSN_SHL, X86_INS_SHL },
		{ INSN_SHL, X86_INS_SAL }, { INSN_SHR, X86_INS_SHR }, { INSN_SAR, X86_INS_SAR },
		{ INSN_SHLD, X86_INS_SHLD }, { INSN_SHRD, X86_INS_SHRD }, { INSN_MUL, X86_INS_MUL },
		{ INSN_IMUL, X86_INS_IMUL }, { INSN_IMUL_TRUNC, X86_INS_IMUL },
		{ INSN_DIV, X86_INS_DIV }, { INSN_IDIV, X86_INS_IDIV }, { INSN_BT, X86_INS_BT },
		{ INSN_BTS, X86_INS_BTS }, { INSN_BTR, X86_INS_BTR }, { INSN_BTC, X86_INS_BTC },
		{ INSN_BSF, X86_INS_BSF }, { INSN_BSR, X86_INS_BSR },
		{ INSN_POPCNT, X86_INS_POPCNT }, { INSN_MOV, X86_INS_MOV },
		{ INSN_MOV, X86_INS_MOVABS }, { INSN_MOV, X86_INS_MOVNTI },
		{ INSN_MOVZX, X86_INS_MOVZX }, { INSN_MOVSX, X86_INS_MOVSX },
		{ INSN_MOVSX, X86_INS_MOVSXD }, { INSN_MOVBE, X86_INS_MOVBE },
		{ INSN_XCHG, X86_INS_XCHG }, { INSN_XADD, X86_INS_XADD },
		{ INSN_CMPXCHG, X86_INS_CMPXCHG }, { INSN_CMPXCHG_PAIR, X86_INS_CMPXCHG8B },
		{ INSN_CMPXCHG_PAIR, X86_INS_CMPXCHG16B }, { INSN_PUSH, X86_INS_PUSH },
		{ INSN_POP, X86_INS_POP }, { INSN_MOV_FROM_SREG, X86_INS_MOV },
		{ INSN_CLFLUSH, X86_INS_CLFLUSH }, { INSN_CLFLUSH, X86_INS_CLFLUSHOPT },
		{ INSN_CLFLUSH, X86_INS_CLWB },
		{ INSN_MOVS, X86_INS_MOVSB }, { INSN_MOVS, X86_INS_MOVSW },
		{ INSN_MOVS, X86_INS_MOVSD }, { INSN_MOVS, X86_INS_MOVSQ },
		{ INSN_CMPS, X86_INS_CMPSB }, { INSN_CMPS, X86_INS_CMPSW },
		{ INSN_CMPS, X86_INS_CMPSD }, { INSN_CMPS, X86_INS_CMPSQ },
		{ INSN_STOS, X86_INS_STOSB }, { INSN_STOS, X86_INS_STOSW },
		{ INSN_STOS, X86_INS_STOSD }, { INSN_STOS, X86_INS_STOSQ },
		{ INSN_LODS, X86_INS_LODSB }, { INSN_LODS, X86_INS_LODSW },
		{ INSN_LODS, X86_INS_LODSD }, { INSN_LODS, X86_INS_LODSQ },
		{ INSN_SCAS, X86_INS_SCASB }, { INSN_SCAS, X86_INS_SCASW },
		{ INSN_SCAS, X86_INS_SCASD }, { INSN_SCAS, X86_INS_SCASQ },
		{ INSN_INS, X86_INS_INSB }, { INSN_INS, X86_INS_INSW }, { INSN_INS, X86_INS_INSD },
		{ INSN_OUTS, X86_INS_OUTSB }, { INSN_OUTS, X86_INS_OUTSW },
		{ INSN_OUTS, X86_INS_OUTSD }, { INSN_IN, X86_INS_IN }, { INSN_OUT, X86_INS_OUT },
		{ INSN_NOP, X86_INS_NOP }, { INSN_PAUSE, X86_INS_PAUSE }, { INSN_HLT, X86_INS_HLT },
		{ INSN_CPUID, X86_INS_CPUID }, { INSN_RDMSR, X86_INS_RDMSR },
		{ INSN_WRMSR, X86_INS_WRMSR }, { INSN_RDTSC, X86_INS_RDTSC },
		{ INSN_RDTSCP, X86_INS_RDTSCP }, { INSN_RDPMC, X86_INS_RDPMC },
		{ INSN_INT3, X86_INS_INT3 }, { INSN_INT, X86_INS_INT }, { INSN_INTO, X86_INS_INTO },
		{ INSN_INT1, X86_INS_INT1 }, { INSN_IRET, X86_INS_IRET },
		{ INSN_IRET, X86_INS_IRETD }, { INSN_IRET, X86_INS_IRETQ },
		{ INSN_PUSHF, X86_INS_PUSHF }, { INSN_PUSHF, X86_INS_PUSHFD },
		{ INSN_PUSHF, X86_INS_PUSHFQ }, { INSN_POPF, X86_INS_POPF },
		{ INSN_POPF, X86_INS_POPFD }, { INSN_POPF, X86_INS_POPFQ },
		{ INSN_CLI, X86_INS_CLI }, { INSN_STI, X86_INS_STI }, { INSN_CLTS, X86_INS_CLTS },
		{ INSN_INVD, X86_INS_INVD }, { INSN_WBINVD, X86_INS_WBINVD },
		{ INSN_RSM, X86_INS_RSM }, { INSN_INVLPG, X86_INS_INVLPG },
		{ INSN_INVLPGA, X86_INS_INVLPGA }, { INSN_MONITOR, X86_INS_MONITOR },
		{ INSN_MWAIT, X86_INS_MWAIT }, { INSN_XGETBV, X86_INS_XGETBV },
		{ INSN_XSETBV, X86_INS_XSETBV }, { INSN_SWAPGS, X86_INS_SWAPGS },
		{ INSN_VMCALL, X86_INS_VMCALL }, { INSN_VMMCALL, X86_INS_VMMCALL },
		{ INSN_VMRUN, X86_INS_VMRUN }, { INSN_VMLOAD, X86_INS_VMLOAD },
		{ INSN_VMSAVE, X86_INS_VMSAVE }, { INSN_STGI, X86_INS_STGI },
		{ INSN_CLGI, X86_INS_CLGI }, { INSN_SKINIT, X86_INS_SKINIT },
		{ INSN_MOV_TO_SREG, X86_INS_MOV }, { INSN_MOV_FROM_CR, X86_INS_MOV },
		{ INSN_MOV_TO_CR, X86_INS_MOV }, { INSN_MOV_FROM_DR, X86_INS_MOV },
		{ INSN_MOV_TO_DR, X86_INS_MOV }, { INSN_SMSW, X86_INS_SMSW },
		{ INSN_LMSW, X86_INS_LMSW }, { INSN_SGDT, X86_INS_SGDT }, { INSN_SIDT, X86_INS_SIDT },
		{ INSN_LGDT, X86_INS_LGDT }, { INSN_LIDT, X86_INS_LIDT }, { INSN_SLDT, X86_INS_SLDT },
		{ INSN_STR, X86_INS_STR }, { INSN_LLDT, X86_INS_LLDT }, { INSN_LTR, X86_INS_LTR },
		{ INSN_VERR, X86_INS_VERR }, { INSN_VERW, X86_INS_VERW },
	};
	static const u16 setcc[16] = {
		X86_INS_SETO, X86_INS_SETNO, X86_INS_SETB, X86_INS_SETAE, X86_INS_SETE, X86_INS_SETNE,
		X86_INS_SETBE, X86_INS_SETA, X86_INS_SETS, X86_INS_SETNS, X86_INS_SETP, X86_INS_SETNP,
		X86_INS_SETL, X86_INS_SETGE, X86_INS_SETLE, X86_INS_SETG,
	};
	static const u16 cmovcc[16] = {
		X86_INS_CMOVO, X86_INS_CMOVNO, X86_INS_CMOVB, X86_INS_CMOVAE, X86_INS_CMOVE,
		X86_INS_CMOVNE, X86_INS_CMOVBE, X86_INS_CMOVA, X86_INS_CMOVS, X86_INS_CMOVNS,
		X86_INS_CMOVP, X86_INS_CMOVNP, X86_INS_CMOVL, X86_INS_CMOVGE, X86_INS_CMOVLE,
		X86_INS_CMOVG,
	};

	if (in->op == INSN_SETCC)
		return setcc[in->cond] == id;
	if (in->op == INSN_CMOVCC)
		return cmovcc[in->cond] == id;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (same[i].op == in->op && same[i].id == id)
			return true;
	return false;
}

/* --- comparison --- */

static bool is_string(const struct insn *in)
{
	return in->op >= INSN_MOVS && in->op <= INSN_OUTS;
}

static const cs_x86_op *mem_of(const cs_x86 *x)
{
	for (unsigned i = 0; i < x->op_count; i++)
		if (x->operands[i].type == X86_OP_MEM)
			return &x->operands[i];
	return NULL;
}

/* "" if the memory operands agree, else what does not. */
static const char *mem_differs(const struct insn *in, const cs_x86 *x)
{
	const cs_x86_op *o = mem_of(x);
	const struct insn_mem *m = &in->mem;
	unsigned size, base, index, seg;

	if (!insn_has_mem(in))
		return o && !is_string(in) ? "Capstone has a memory operand" : "";
	if (!o)
		return "Capstone has no memory operand";
	base = gpr_of(o->mem.base, &size);
	if (size && size != in->addrsize_bytes)
		return "address size";
	index = gpr_of(o->mem.index, &size);
	if (base != m->base)
		return "base";
	if (m->rip_relative != (o->mem.base == X86_REG_RIP || o->mem.base == X86_REG_EIP))
		return "RIP-relative";
	if (index != m->index || (index != INSN_NO_REG && (unsigned)o->mem.scale != m->scale))
		return "index or scale";
	if ((((u64)o->mem.disp ^ m->disp) & size_mask(in->addrsize_bytes)))
		return "displacement";
	seg = seg_of(o->mem.segment);
	if (seg == NSEG)
		seg = m->base == RSP || m->base == RBP ? SEG_SS : SEG_DS;
	return seg == m->seg ? "" : "segment";
}

static bool operand_is(const struct insn *in, const struct insn_operand *o, const cs_x86_op *c)
{
	unsigned size, reg;

	switch (o->kind) {
	case OPND_MEM:
		return c->type == X86_OP_MEM && (!o->size_bytes || c->size == o->size_bytes);
	case OPND_IMM:
		return c->type == X86_OP_IMM &&
		       !(((u64)c->imm ^ in->imm) & size_mask(o->size_bytes));
	case OPND_SREG: return c->type == X86_OP_REG && seg_of(c->reg) == o->reg;
	case OPND_CR: return c->type == X86_OP_REG && c->reg == (x86_reg)(X86_REG_CR0 + o->reg);
	case OPND_DR: return c->type == X86_OP_REG && c->reg == (x86_reg)(X86_REG_DR0 + o->reg);
	}
	reg = gpr_of(c->reg, &size);
	return c->type == X86_OP_REG && size == o->size_bytes &&
	       reg == (o->high_byte ? o->reg + 16U : o->reg);
}

/* Every operand of ours is one of Capstone's; the order is not the same for XCHG and TEST. */
static const char *operands_differ(const struct insn *in, const cs_x86 *x)
{
	for (unsigned i = 0; i < in->noperands; i++) {
		bool found = false;

		for (unsigned j = 0; j < x->op_count; j++)
			found |= operand_is(in, &in->operand[i], &x->operands[j]);
		if (!found)
			return i == 0 ? "operand 0" : i == 1 ? "operand 1" : "operand 2";
	}
	return "";
}

static bool has_prefix(const u8 *bytes, u8 prefix)
{
	for (unsigned i = 0; i < INSN_MAX_LENGTH; i++) {
		if (bytes[i] == prefix)
			return true;
		if (!bytes[i] || (!strchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", bytes[i]) &&
				  (bytes[i] & 0xf0) != 0x40))
			break;
	}
	return false;
}

static bool has_rex_w(const struct insn *in, const u8 *bytes)
{
	for (unsigned i = 0; i + 1U < in->length; i++)
		if ((bytes[i] & 0xf8) == 0x48)
			return true;
	return false;
}

/* The segment 64-bit mode uses: the last of 64 and 65, else the default. */
static unsigned segment_of(const struct insn *in, const u8 *bytes)
{
	unsigned seg = in->mem.base == RSP || in->mem.base == RBP ? SEG_SS : SEG_DS;

	for (unsigned i = 0; (bytes[i] && strchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", bytes[i])) ||
	     (bytes[i] & 0xf0) == 0x40; i++)
		if (bytes[i] == 0x64 || bytes[i] == 0x65)
			seg = bytes[i] == 0x64 ? SEG_FS : SEG_GS;
	return seg;
}

/*
 * Where Capstone 4 is wrong or answers another question, one case each.
 * Returns why, or NULL.  What rests on the CPU's word is also run natively in
 * test_emulate_native.c.
 */
static const char *quirk(const struct insn *in, const u8 *bytes, const cs_insn *cs, const char *what)
{
	bool rep = in->rep || in->repne, refused = !strcmp(what, "refused by Capstone");
	const cs_x86_op *m = refused ? NULL : mem_of(&cs->detail->x86);

	if (!strcmp(what, "segment") && in->code_bits == 64 && m && seg_of(m->mem.segment) < SEG_FS &&
	    in->mem.seg == segment_of(in, bytes))
		return "shows an override that 64-bit mode ignores [APM3 1.2.4]";
	if (!strncmp(what, "operand", 7) && has_prefix(bytes, 0x66) && rep)
		return "forgets 66 when F2 or F3 is there too";
	if (in->op == INSN_POPCNT && refused)
		return "wants F3 of POPCNT to be the only prefix and the operand size 4";
	if (in->op == INSN_PAUSE && (cs->id == X86_INS_NOP || cs->id == X86_INS_XCHG))
		return "wants F3 of PAUSE to be the only prefix";
	if (in->op == INSN_CLFLUSH &&
	    (cs->id == X86_INS_XSAVEOPT || cs->id == X86_INS_XSAVEOPT64) && has_prefix(bytes, 0x66))
		return "does not know CLWB [APM3 CLWB]";
	if (in->op == INSN_MOV_TO_SREG && !strcmp(what, "operand 1"))
		return "calls the 16-bit source a full register [APM3 MOV]";
	if ((in->op == INSN_MOV_TO_SREG || in->op == INSN_MOV_FROM_SREG) && refused && in->code_bits == 64)
		return "refuses REX.R, which a segment register ignores";
	if ((in->op == INSN_MOV_TO_CR || in->op == INSN_MOV_FROM_CR) && has_prefix(bytes, 0xf0))
		return "does not know LOCK MOV CR0 [APM3 MOV CRn]";
	if (in->op == INSN_MOVSX && in->code_bits == 64 && in->operand[0].size_bytes < 8 &&
	    !strcmp(what, "operand 0") && cs->id == X86_INS_MOVSXD)
		return "calls the destination 64-bit without REX.W [APM3 MOVSXD]";
	if (in->op == INSN_MOV && refused && has_prefix(bytes, 0x66) && rep && in->mem.base == INSN_NO_REG)
		return "does not know A0 to A3 with 66 and a superfluous F2 or F3";
	if ((in->op == INSN_IN || in->op == INSN_OUT || in->op == INSN_PUSH || in->op == INSN_POP) &&
	    in->code_bits == 64 && has_rex_w(in, bytes) && !strncmp(what, "operand", 7))
		return "takes REX.W for 66 where the operand size is not free";
	return NULL;
}

static const char *differs(const struct insn *in, const cs_insn *cs)
{
	const char *what;

	if (cs->size != in->length)
		return "length";
	if (!same_op(in, cs->id))
		return "operation";
	what = mem_differs(in, &cs->detail->x86);
	return *what ? what : operands_differ(in, &cs->detail->x86);
}

static void compare_mode(unsigned bits, cs_mode mode, u64 seed)
{
	unsigned accepted = 0, shown = 0;
	u8 bytes[24];
	cs_insn *cs;
	csh h;

	cr_assert_eq(cs_open(CS_ARCH_X86, mode, &h), CS_ERR_OK);
	cs_option(h, CS_OPT_DETAIL, CS_OPT_ON);
	cs = cs_malloc(h);
	for (unsigned i = 0; i < NSAMPLES; i++) {
		const u8 *code = bytes;
		size_t size = sizeof(bytes);
		u64 address = 0;
		struct insn in;
		const char *what;

		generate(&seed, bits, bytes);
		if (insn_decode(bytes, sizeof(bytes), bits, &in))
			continue;
		accepted++;
		what = cs_disasm_iter(h, &code, &size, &address, cs) ? differs(&in, cs) : "refused by Capstone";
		if (!*what || quirk(&in, bytes, cs, what))
			continue;
		if (shown++ < 20) {
			fprintf(stderr, "%u %s op %u: ", bits, what, in.op);
			for (unsigned k = 0; k < in.length; k++)
				fprintf(stderr, "%02x ", bytes[k]);
			fprintf(stderr, " | %s %s\n", cs->mnemonic, cs->op_str);
		}
	}
	cs_free(cs, 1);
	cs_close(&h);
	cr_expect_eq(shown, 0, "%u of %u differ", shown, accepted);
	cr_expect_gt(accepted, NSAMPLES / 4);
}

Test(decode, capstone_64) { compare_mode(64, CS_MODE_64, 0x9e3779b97f4a7c15); }
Test(decode, capstone_32) { compare_mode(32, CS_MODE_32, 0xbf58476d1ce4e5b9); }
Test(decode, capstone_16) { compare_mode(16, CS_MODE_16, 0x94d049bb133111eb); }

/* However many bytes there are: too few say so, more than enough change nothing. */
Test(decode, needs_exactly_its_length)
{
	u64 seed = 0x123456789abcdef1;
	u8 bytes[24];

	for (unsigned i = 0; i < 100000; i++) {
		unsigned bits = 16U << i % 3;
		struct insn whole, part;

		generate(&seed, bits, bytes);
		if (insn_decode(bytes, sizeof(bytes), bits, &whole))
			continue;
		for (unsigned n = 0; n < whole.length; n++)
			cr_assert_eq(insn_decode(bytes, n, bits, &part), ERR_END);
		cr_assert_eq(insn_decode(bytes, whole.length, bits, &part), OK);
		cr_assert_eq(memcmp(&whole, &part, sizeof(whole)), 0);
	}
}

/* --- by hand --- */

static struct insn decode_ok(unsigned bits, const char *bytes, size_t n)
{
	struct insn in;

	cr_assert_eq(insn_decode((const u8 *)bytes, n, bits, &in), OK, "%u: %02x %02x", bits, (u8)bytes[0], (u8)bytes[1]);
	cr_assert_eq(in.length, n, "length %u for %zu", in.length, n);
	return in;
}

static err_t verdict(unsigned bits, const char *bytes, size_t n, unsigned *vector)
{
	struct insn in;
	err_t err = insn_decode((const u8 *)bytes, n, bits, &in);

	*vector = in.vector;
	return err;
}

#define DECODE(bits, bytes) decode_ok(bits, bytes, sizeof(bytes) - 1)
#define REFUSED(bits, bytes, want_vector) do { \
	unsigned vector; \
	cr_assert_eq(verdict(bits, bytes, sizeof(bytes) - 1, &vector), ERR_INVALID); \
	cr_assert_eq(vector, (unsigned)(want_vector)); \
} while (0)
#define UNKNOWN(bits, bytes) do { \
	unsigned vector; \
	cr_assert_eq(verdict(bits, bytes, sizeof(bytes) - 1, &vector), ERR_UNSUPPORTED); \
} while (0)

Test(decode, fifteen_bytes_and_no_more)
{
	/* #GP, not #UD, and whatever follows need not be there. */
	DECODE(64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90");
	REFUSED(64, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", VEC_GP);
	REFUSED(32, "\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x88\x80", VEC_GP);
	REFUSED(16, "\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3\xf3", VEC_GP);
}

Test(decode, lock_wants_a_lockable_memory_destination)
{
	DECODE(64, "\xf0\x01\x03");             /* lock add [rbx], eax */
	REFUSED(64, "\xf0\x01\xc3", VEC_UD);    /* add ebx, eax */
	REFUSED(64, "\xf0\x03\x03", VEC_UD);    /* add eax, [rbx] */
	REFUSED(64, "\xf0\x39\x03", VEC_UD);    /* cmp */
	REFUSED(64, "\xf0\x83\x3b\x00", VEC_UD);
	REFUSED(64, "\xf0\x89\x03", VEC_UD);    /* mov */
	REFUSED(64, "\xf0\x0f\xa3\x03", VEC_UD); /* bt */
	DECODE(64, "\xf0\x0f\xab\x03");         /* bts */
	REFUSED(64, "\xf0\xf7\x03\0\0\0\0", VEC_UD); /* test */
	DECODE(64, "\xf0\xf7\x13");             /* not */
	REFUSED(64, "\xf0\xf7\x23", VEC_UD);    /* mul */
	REFUSED(64, "\xf0\xd1\x23", VEC_UD);    /* shl */
	DECODE(64, "\xf0\x86\x03");             /* xchg */
	DECODE(32, "\xf0\x0f\xc7\x0f");         /* cmpxchg8b */
	REFUSED(64, "\xf0\xf4", VEC_UD);        /* hlt */
}

Test(decode, lock_mov_cr0_is_cr8)
{
	struct insn in = DECODE(32, "\xf0\x0f\x22\xc1"); /* mov cr8, ecx */

	cr_assert(in.op == INSN_MOV_TO_CR && in.operand[0].kind == OPND_CR && in.operand[0].reg == 8);
	cr_assert(in.operand[1].kind == OPND_REG && in.operand[1].reg == RCX && in.operand[1].size_bytes == 4);
	in = DECODE(64, "\x44\x0f\x20\x03"); /* mov rbx, cr8: mod does not count */
	cr_assert(in.op == INSN_MOV_FROM_CR && in.operand[1].reg == 8 && in.operand[0].reg == RBX);
	cr_assert_eq(in.operand[0].size_bytes, 8);
	REFUSED(32, "\xf0\x0f\x22\xd9", VEC_UD); /* lock mov cr3 */
	REFUSED(32, "\x0f\x22\xc8", VEC_UD);     /* cr1 */
	REFUSED(64, "\x44\x0f\x23\xc0", VEC_UD); /* dr8 */
	DECODE(64, "\x0f\x21\xf8");              /* mov rax, dr7 */
}

Test(decode, rex_counts_only_before_the_opcode)
{
	cr_assert_eq(DECODE(64, "\x48\x89\x03").opsize_bytes, 8);
	cr_assert_eq(DECODE(64, "\x48\x2e\x89\x03").opsize_bytes, 4);
	cr_assert_eq(DECODE(64, "\x48\x40\x89\x03").opsize_bytes, 4);
	cr_assert_eq(DECODE(64, "\x66\x48\x89\x03").opsize_bytes, 8);
	cr_assert_eq(DECODE(64, "\x48\x66\x89\x03").opsize_bytes, 2);
}

Test(decode, byte_registers_with_and_without_rex)
{
	struct insn in = DECODE(64, "\x88\x23"); /* mov [rbx], ah */

	cr_assert(in.operand[1].reg == RAX && in.operand[1].high_byte);
	in = DECODE(64, "\x40\x88\x23"); /* mov [rbx], spl */
	cr_assert(in.operand[1].reg == RSP && !in.operand[1].high_byte);
}

Test(decode, ignored_segment_overrides_in_64_bit_mode)
{
	cr_assert_eq(DECODE(64, "\x36\x88\x03").mem.seg, SEG_DS);
	cr_assert_eq(DECODE(64, "\x3e\x88\x45\x00").mem.seg, SEG_SS);
	cr_assert_eq(DECODE(64, "\x64\x3e\x88\x03").mem.seg, SEG_FS);
	cr_assert_eq(DECODE(64, "\x64\x65\x88\x03").mem.seg, SEG_GS);
	cr_assert_eq(DECODE(64, "\x41\x88\x45\x00").mem.seg, SEG_DS); /* r13 is not rbp */
	cr_assert_eq(DECODE(32, "\x64\x3e\x88\x03").mem.seg, SEG_DS);
}

Test(decode, addressing_16)
{
	struct insn in = DECODE(16, "\x88\x43\xfe"); /* mov [bp+di-2], al */

	cr_assert(in.mem.base == RBP && in.mem.index == RDI && in.mem.scale == 1);
	cr_assert(in.mem.seg == SEG_SS && in.mem.disp == ~1UL && in.addrsize_bytes == 2);
	in = DECODE(32, "\x67\x88\x06\x34\x12"); /* mov [1234], al */
	cr_assert(in.mem.base == INSN_NO_REG && in.mem.seg == SEG_DS && in.mem.disp == 0x1234);
}

Test(decode, rip_relative_only_without_sib)
{
	cr_assert(DECODE(64, "\x88\x05\x10\0\0\0").mem.rip_relative);
	cr_assert_not(DECODE(64, "\x88\x04\x25\x10\0\0\0").mem.rip_relative);
	cr_assert_not(DECODE(32, "\x88\x05\x10\0\0\0").mem.rip_relative);
	cr_assert_eq(DECODE(64, "\x67\x88\x05\x10\0\0\0").addrsize_bytes, 4);
}

Test(decode, absolute_offset_is_not_sign_extended)
{
	cr_assert_eq(DECODE(64, "\x67\xa0\xff\xff\xff\xff").mem.disp, 0xffffffff);
	cr_assert_eq(DECODE(16, "\xa1\xfe\xff").mem.disp, 0xfffe);
	cr_assert_eq(DECODE(64, "\xa2\1\2\3\4\5\6\7\x88").mem.disp, 0x8807060504030201);
	cr_assert_eq(DECODE(64, "\x66\xf2\xa1\1\2\3\4\5\6\7\x88").opsize_bytes, 2);
}

Test(decode, where_capstone_is_no_judge)
{
	struct insn in = DECODE(64, "\x63\x03"); /* movsxd eax, [rbx] */

	cr_assert(in.operand[0].size_bytes == 4 && in.operand[1].size_bytes == 4);
	in = DECODE(64, "\x66\x63\x03"); /* AMD reads four bytes of which it keeps two */
	cr_assert(in.operand[0].size_bytes == 2 && in.operand[1].size_bytes == 4);
	in = DECODE(16, "\xf3\x0f\xb8\x07"); /* popcnt ax, [bx] */
	cr_assert(in.op == INSN_POPCNT && in.opsize_bytes == 2);
	cr_assert_eq(DECODE(64, "\x66\xf3\x49\x0f\xb8\x01").opsize_bytes, 8);
	cr_assert_eq(DECODE(64, "\xf3\x66\x90").op, INSN_PAUSE);
	cr_assert_eq(DECODE(64, "\xf3\x48\x90").op, INSN_PAUSE);
	cr_assert_eq(DECODE(64, "\x66\x0f\xae\x33").op, INSN_CLFLUSH); /* clwb */
	UNKNOWN(64, "\x0f\xae\x33"); /* xsaveopt */
	in = DECODE(64, "\x4c\x8c\xe8"); /* mov rax, gs: REX.R does not count */
	cr_assert(in.operand[1].kind == OPND_SREG && in.operand[1].reg == SEG_GS);
	cr_assert_eq(in.operand[0].size_bytes, 8);
	cr_assert_eq(DECODE(64, "\x8c\x2b").operand[0].size_bytes, 2);
	cr_assert_eq(DECODE(64, "\x48\xed").opsize_bytes, 4);
	cr_assert_eq(DECODE(64, "\x66\x48\xed").opsize_bytes, 4);
	cr_assert_eq(DECODE(64, "\x4a\xff\x33").opsize_bytes, 8);
	cr_assert_eq(DECODE(64, "\x66\xff\x33").opsize_bytes, 2);
	cr_assert_eq(DECODE(32, "\x66\xf3\x29\x03").opsize_bytes, 2);
}

Test(decode, undefined_encodings)
{
	REFUSED(64, "\x0f\x0b", VEC_UD);         /* ud2 */
	REFUSED(64, "\x82\x03\x01", VEC_UD);     /* the alias of 80 */
	DECODE(32, "\x82\x03\x01");
	REFUSED(64, "\xfe\x13", VEC_UD);
	REFUSED(64, "\xff\x3b", VEC_UD);
	REFUSED(64, "\x0f\xba\x03\x01", VEC_UD); /* 0F BA /0 */
	REFUSED(64, "\x0f\xc3\xc3", VEC_UD);     /* movnti to a register */
	REFUSED(64, "\x0f\x38\xf0\xc3", VEC_UD); /* movbe likewise */
	REFUSED(32, "\x0f\xc7\xc9", VEC_UD);     /* cmpxchg8b likewise */
	REFUSED(32, "\x8e\x0b", VEC_UD);         /* mov cs, [ebx] */
	REFUSED(32, "\x8c\x33", VEC_UD);         /* segment register 6 */
	REFUSED(32, "\x0f\x01\xf8", VEC_UD);     /* swapgs */
	REFUSED(64, "\xce", VEC_UD);             /* into */
}

Test(decode, unknown_instructions_are_said_to_be)
{
	UNKNOWN(64, "\x0f\x11\x03");             /* movups [rbx], xmm0 */
	UNKNOWN(64, "\xf3\x0f\x7f\x03");         /* movdqu */
	UNKNOWN(64, "\x66\x0f\xd6\x03");         /* movq */
	UNKNOWN(64, "\x66\x0f\xe7\x03");         /* movntdq */
	UNKNOWN(64, "\xdd\x1b");                 /* fstp [rbx] */
	UNKNOWN(64, "\xc5\xf8\x11\x03");         /* VEX, also where it could be LDS */
	UNKNOWN(32, "\xc5\xf8\x11\x03");
	UNKNOWN(32, "\xc5\x03");
	UNKNOWN(64, "\x62\xf1\x7c\x48\x11\x03"); /* EVEX */
	UNKNOWN(64, "\x8f\xe8\x78\xc0\xc0\x01"); /* XOP, not POP */
	UNKNOWN(64, "\xff\x13");                 /* call [rbx] */
	UNKNOWN(32, "\x63\x03");                 /* arpl */
	UNKNOWN(64, "\xf3\x0f\xbc\x03");         /* tzcnt */
	UNKNOWN(64, "\xf2\x0f\x38\xf0\x03");     /* crc32 */
	UNKNOWN(64, "\x66\x0f\xc3\x03");
	UNKNOWN(64, "\x41\x90");                 /* xchg r8d, eax */
}

Test(decode, what_is_done_to_memory)
{
	cr_assert_eq(DECODE(64, "\x01\x03").mem_access, MEM_READ | MEM_WRITE);
	cr_assert_eq(DECODE(64, "\x03\x03").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x39\x03").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x80\x3b\x01").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x85\x03").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x89\x03").mem_access, MEM_WRITE);
	cr_assert_eq(DECODE(64, "\xc6\x03\x01").mem_access, MEM_WRITE);
	cr_assert_eq(DECODE(64, "\xa0\0\0\0\0\0\0\0\0").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\xa2\0\0\0\0\0\0\0\0").mem_access, MEM_WRITE);
	cr_assert_eq(DECODE(64, "\x0f\xa3\x03").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x0f\xba\x2b\x01").mem_access, MEM_READ | MEM_WRITE);
	cr_assert_eq(DECODE(64, "\x0f\x94\x03").mem_access, MEM_WRITE);
	cr_assert_eq(DECODE(64, "\xff\x33").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x8f\x03").mem_access, MEM_WRITE);
	cr_assert_eq(DECODE(64, "\xf7\x33").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x69\x03\0\0\0\0").mem_access, MEM_READ);
	cr_assert_eq(DECODE(64, "\x0f\x01\x3b").mem_access, 0);         /* invlpg */
	cr_assert_eq(DECODE(64, "\x0f\x01\x1b").mem_access, MEM_READ);  /* lidt */
	cr_assert_eq(DECODE(64, "\x0f\x01\x1b").operand[0].size_bytes, 10);
	cr_assert_eq(DECODE(32, "\x0f\x01\x03").operand[0].size_bytes, 6); /* sgdt */
	cr_assert_eq(DECODE(64, "\x01\xc3").mem_access, 0);
}

Test(decode, intercepted_instructions)
{
	static const struct { const char *bytes; u8 n, op; } insns[] = {
		{ "\xf4", 1, INSN_HLT }, { "\x0f\xa2", 2, INSN_CPUID }, { "\x0f\x32", 2, INSN_RDMSR },
		{ "\x0f\x30", 2, INSN_WRMSR }, { "\x0f\x31", 2, INSN_RDTSC },
		{ "\x0f\x01\xf9", 3, INSN_RDTSCP }, { "\x0f\x33", 2, INSN_RDPMC }, { "\xcc", 1, INSN_INT3 },
		{ "\xcd\x80", 2, INSN_INT }, { "\xf1", 1, INSN_INT1 }, { "\x48\xcf", 2, INSN_IRET },
		{ "\x0f\x06", 2, INSN_CLTS }, { "\x0f\x08", 2, INSN_INVD }, { "\xf3\x0f\x09", 3, INSN_WBINVD },
		{ "\x0f\x01\xc8", 3, INSN_MONITOR }, { "\x0f\x01\xc9", 3, INSN_MWAIT },
		{ "\x0f\x01\xd1", 3, INSN_XSETBV }, { "\x0f\x01\xd9", 3, INSN_VMMCALL },
		{ "\x0f\x01\xc1", 3, INSN_VMCALL }, { "\x0f\x01\xd8", 3, INSN_VMRUN },
		{ "\x0f\x01\xdf", 3, INSN_INVLPGA }, { "\xf3\x90", 2, INSN_PAUSE },
		{ "\x65\x0f\x01\x7b\x10", 5, INSN_INVLPG }, { "\x0f\x01\xf0", 3, INSN_LMSW },
		{ "\x0f\x01\xe0", 3, INSN_SMSW }, { "\x0f\x01\x33", 3, INSN_LMSW }, { "\x9c", 1, INSN_PUSHF },
		{ "\x66\x9d", 2, INSN_POPF }, { "\x0f\xaa", 2, INSN_RSM },
	};
	struct insn in;

	for (size_t i = 0; i < ARRAY_SIZE(insns); i++) {
		in = decode_ok(64, insns[i].bytes, insns[i].n);
		cr_assert_eq(in.op, insns[i].op, "%zu", i);
	}
	in = DECODE(64, "\xcd\x80");
	cr_assert_eq(in.imm, 0x80, "an interrupt vector is not a signed byte");
	in = DECODE(64, "\x44\x0f\x20\xc0"); /* mov rax, cr8 */
	cr_assert(in.op == INSN_MOV_FROM_CR && in.operand[1].reg == 8);
}
