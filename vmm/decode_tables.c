/*
 * decode_tables.c - the opcode maps [APM3 Appendix A, Opcode and Operand
 * Encodings], as far as vmm/decode.h promises them.
 *
 * Constant data and two small lookups.  An entry left out is INSN_NONE, an
 * instruction we do not know, unless F_UD says that nobody does.
 */
#include "vmm/decode_tables.h"

/* The six encodings of the ALU instructions at 8 * n; L is F_LOCK or F_READ (CMP). */
#define ALU(base, o, l) \
	[(base) + 0] = { o, FORM_E_G, F_BYTE | (l) }, [(base) + 1] = { o, FORM_E_G, (l) }, \
	[(base) + 2] = { o, FORM_G_E, F_BYTE }, [(base) + 3] = { o, FORM_G_E, 0 }, \
	[(base) + 4] = { o, FORM_A_I, F_BYTE }, [(base) + 5] = { o, FORM_A_I, 0 }

/* Byte form at an even opcode, full size at the next. */
#define PAIR(base, o, f, fl) \
	[(base) + 0] = { o, f, F_BYTE | (fl) }, [(base) + 1] = { o, f, (fl) }

const struct opcode opcodes_1byte[256] = {
	ALU(0x00, INSN_ADD, F_LOCK),
	ALU(0x08, INSN_OR, F_LOCK),
	ALU(0x10, INSN_ADC, F_LOCK),
	ALU(0x18, INSN_SBB, F_LOCK),
	ALU(0x20, INSN_AND, F_LOCK),
	ALU(0x28, INSN_SUB, F_LOCK),
	ALU(0x30, INSN_XOR, F_LOCK),
	ALU(0x38, INSN_CMP, F_READ),
	[0x63] = { INSN_MOVSX, FORM_G_Ed, 0 }, /* outside 64-bit mode ARPL: see decode.c */
	[0x69] = { INSN_IMUL_TRUNC, FORM_G_E_I, 0 },
	[0x6b] = { INSN_IMUL_TRUNC, FORM_G_E_Ib, 0 },
	PAIR(0x6c, INSN_INS, FORM_STRING, F_MAX4),
	PAIR(0x6e, INSN_OUTS, FORM_STRING, F_MAX4),
	[0x80] = { GROUP_ALU, FORM_E_I, F_GROUP | F_BYTE },
	[0x81] = { GROUP_ALU, FORM_E_I, F_GROUP },
	[0x82] = { GROUP_ALU, FORM_E_I, F_GROUP | F_BYTE | F_NO64 },
	[0x83] = { GROUP_ALU, FORM_E_Ib, F_GROUP },
	PAIR(0x84, INSN_TEST, FORM_E_G, F_READ),
	PAIR(0x86, INSN_XCHG, FORM_E_G, F_LOCK),
	PAIR(0x88, INSN_MOV, FORM_E_G, F_WRITE),
	PAIR(0x8a, INSN_MOV, FORM_G_E, 0),
	[0x8c] = { INSN_MOV_FROM_SREG, FORM_E_S, F_WRITE },
	[0x8e] = { INSN_MOV_TO_SREG, FORM_S_E, 0 },
	[0x8f] = { GROUP_POP, FORM_E, F_GROUP | F_D64 },
	[0x90] = { INSN_NOP, FORM_NONE, 0 }, /* F3: PAUSE; REX.B: XCHG.  See decode.c */
	[0x9c] = { INSN_PUSHF, FORM_NONE, F_D64 },
	[0x9d] = { INSN_POPF, FORM_NONE, F_D64 },
	PAIR(0xa0, INSN_MOV, FORM_A_O, 0),
	PAIR(0xa2, INSN_MOV, FORM_O_A, F_WRITE),
	PAIR(0xa4, INSN_MOVS, FORM_STRING, 0),
	PAIR(0xa6, INSN_CMPS, FORM_STRING, 0),
	PAIR(0xaa, INSN_STOS, FORM_STRING, 0),
	PAIR(0xac, INSN_LODS, FORM_STRING, 0),
	PAIR(0xae, INSN_SCAS, FORM_STRING, 0),
	PAIR(0xc0, GROUP_SHIFT, FORM_E_Ub, F_GROUP),
	PAIR(0xc6, GROUP_MOV, FORM_E_I, F_GROUP | F_WRITE),
	[0xcc] = { INSN_INT3, FORM_NONE, 0 },
	[0xcd] = { INSN_INT, FORM_Ib, 0 },
	[0xce] = { INSN_INTO, FORM_NONE, F_NO64 },
	[0xcf] = { INSN_IRET, FORM_NONE, 0 },
	PAIR(0xd0, GROUP_SHIFT, FORM_E_1, F_GROUP),
	PAIR(0xd2, GROUP_SHIFT, FORM_E_CL, F_GROUP),
	PAIR(0xe4, INSN_IN, FORM_A_Ib, F_MAX4),
	PAIR(0xe6, INSN_OUT, FORM_Ib_A, F_MAX4),
	PAIR(0xec, INSN_IN, FORM_A_DX, F_MAX4),
	PAIR(0xee, INSN_OUT, FORM_DX_A, F_MAX4),
	[0xf1] = { INSN_INT1, FORM_NONE, 0 },
	[0xf4] = { INSN_HLT, FORM_NONE, 0 },
	PAIR(0xf6, GROUP_UNARY, FORM_E, F_GROUP),
	[0xfa] = { INSN_CLI, FORM_NONE, 0 },
	[0xfb] = { INSN_STI, FORM_NONE, 0 },
	[0xfe] = { GROUP_INCDEC, FORM_E, F_GROUP | F_BYTE },
	[0xff] = { GROUP_INCDEC_PUSH, FORM_E, F_GROUP },
};

#define COND4(base, o, f, fl) \
	[(base) + 0] = { o, f, (fl) | F_COND }, [(base) + 1] = { o, f, (fl) | F_COND }, \
	[(base) + 2] = { o, f, (fl) | F_COND }, [(base) + 3] = { o, f, (fl) | F_COND }
#define COND16(base, o, f, fl) \
	COND4(base, o, f, fl), COND4((base) + 4, o, f, fl), \
	COND4((base) + 8, o, f, fl), COND4((base) + 12, o, f, fl)

const struct opcode opcodes_0f[256] = {
	[0x00] = { GROUP_LDT, FORM_Ew, F_GROUP },
	[0x01] = { GROUP_GDT, FORM_Enone, F_GROUP }, /* register forms: opcode_0f01 */
	[0x06] = { INSN_CLTS, FORM_NONE, 0 },
	[0x08] = { INSN_INVD, FORM_NONE, 0 },
	[0x09] = { INSN_WBINVD, FORM_NONE, 0 }, /* with F3 WBNOINVD, the same to a guest */
	[0x0b] = { INSN_NONE, FORM_NONE, F_UD }, /* UD2 */
	[0x20] = { INSN_MOV_FROM_CR, FORM_R_C, 0 },
	[0x21] = { INSN_MOV_FROM_DR, FORM_R_D, 0 },
	[0x22] = { INSN_MOV_TO_CR, FORM_C_R, 0 },
	[0x23] = { INSN_MOV_TO_DR, FORM_D_R, 0 },
	[0x30] = { INSN_WRMSR, FORM_NONE, 0 },
	[0x31] = { INSN_RDTSC, FORM_NONE, 0 },
	[0x32] = { INSN_RDMSR, FORM_NONE, 0 },
	[0x33] = { INSN_RDPMC, FORM_NONE, 0 },
	COND16(0x40, INSN_CMOVCC, FORM_G_E, 0),
	COND16(0x90, INSN_SETCC, FORM_E, F_BYTE | F_WRITE),
	[0xa2] = { INSN_CPUID, FORM_NONE, 0 },
	[0xa3] = { INSN_BT, FORM_E_G, F_READ },
	[0xa4] = { INSN_SHLD, FORM_E_G_Ub, 0 },
	[0xa5] = { INSN_SHLD, FORM_E_G_CL, 0 },
	[0xaa] = { INSN_RSM, FORM_NONE, 0 },
	[0xab] = { INSN_BTS, FORM_E_G, F_LOCK },
	[0xac] = { INSN_SHRD, FORM_E_G_Ub, 0 },
	[0xad] = { INSN_SHRD, FORM_E_G_CL, 0 },
	[0xae] = { GROUP_FLUSH, FORM_E, F_GROUP | F_NOREP },
	[0xaf] = { INSN_IMUL_TRUNC, FORM_G_E, 0 },
	PAIR(0xb0, INSN_CMPXCHG, FORM_E_G, F_LOCK),
	[0xb3] = { INSN_BTR, FORM_E_G, F_LOCK },
	[0xb6] = { INSN_MOVZX, FORM_G_Eb, 0 },
	[0xb7] = { INSN_MOVZX, FORM_G_Ew, 0 },
	[0xb8] = { INSN_POPCNT, FORM_G_E, F_F3 },
	[0xba] = { GROUP_BIT, FORM_E_Ub, F_GROUP },
	[0xbb] = { INSN_BTC, FORM_E_G, F_LOCK },
	[0xbc] = { INSN_BSF, FORM_G_E, F_NOREP },
	[0xbd] = { INSN_BSR, FORM_G_E, F_NOREP },
	[0xbe] = { INSN_MOVSX, FORM_G_Eb, 0 },
	[0xbf] = { INSN_MOVSX, FORM_G_Ew, 0 },
	PAIR(0xc0, INSN_XADD, FORM_E_G, F_LOCK),
	[0xc3] = { INSN_MOV, FORM_E_G, F_WRITE | F_MEM | F_MIN4 | F_NP }, /* MOVNTI */
	[0xc7] = { GROUP_CMPXCHG, FORM_Epair, F_GROUP },
};

const struct opcode opcode_groups[NGROUP][8] = {
	[GROUP_ALU] = {
		{ INSN_ADD, 0, F_LOCK }, { INSN_OR, 0, F_LOCK }, { INSN_ADC, 0, F_LOCK },
		{ INSN_SBB, 0, F_LOCK }, { INSN_AND, 0, F_LOCK }, { INSN_SUB, 0, F_LOCK },
		{ INSN_XOR, 0, F_LOCK }, { INSN_CMP, 0, F_READ },
	},
	[GROUP_SHIFT] = {
		{ INSN_ROL, 0, 0 }, { INSN_ROR, 0, 0 }, { INSN_RCL, 0, 0 }, { INSN_RCR, 0, 0 },
		{ INSN_SHL, 0, 0 }, { INSN_SHR, 0, 0 },
		{ INSN_SHL, 0, 0 }, /* the alias that was never taken back */
		{ INSN_SAR, 0, 0 },
	},
	[GROUP_UNARY] = {
		{ INSN_TEST, FORM_E_I, F_READ }, { INSN_TEST, FORM_E_I, F_READ }, /* /1: alias */
		{ INSN_NOT, 0, F_LOCK }, { INSN_NEG, 0, F_LOCK },
		{ INSN_MUL, 0, F_READ }, { INSN_IMUL, 0, F_READ },
		{ INSN_DIV, 0, F_READ }, { INSN_IDIV, 0, F_READ },
	},
	[GROUP_INCDEC] = {
		{ INSN_INC, 0, F_LOCK }, { INSN_DEC, 0, F_LOCK }, { 0, 0, F_UD }, { 0, 0, F_UD },
		{ 0, 0, F_UD }, { 0, 0, F_UD }, { 0, 0, F_UD }, { 0, 0, F_UD },
	},
	[GROUP_INCDEC_PUSH] = {
		[0] = { INSN_INC, 0, F_LOCK }, [1] = { INSN_DEC, 0, F_LOCK },
		[6] = { INSN_PUSH, 0, F_READ | F_D64 }, [7] = { 0, 0, F_UD },
	},
	[GROUP_POP] = { [0] = { INSN_POP, 0, F_WRITE } }, /* the rest: XOP */
	[GROUP_MOV] = {
		{ INSN_MOV, 0, 0 }, { 0, 0, F_UD }, { 0, 0, F_UD }, { 0, 0, F_UD },
		{ 0, 0, F_UD }, { 0, 0, F_UD }, { 0, 0, F_UD }, { 0, 0, 0 }, /* XABORT, XBEGIN */
	},
	[GROUP_BIT] = {
		{ 0, 0, F_UD }, { 0, 0, F_UD }, { 0, 0, F_UD }, { 0, 0, F_UD },
		{ INSN_BT, 0, F_READ }, { INSN_BTS, 0, F_LOCK }, { INSN_BTR, 0, F_LOCK },
		{ INSN_BTC, 0, F_LOCK },
	},
	[GROUP_CMPXCHG] = { [1] = { INSN_CMPXCHG_PAIR, 0, F_LOCK | F_MEM } },
	[GROUP_LDT] = {
		{ INSN_SLDT, FORM_Emw, F_WRITE }, { INSN_STR, FORM_Emw, F_WRITE },
		{ INSN_LLDT, 0, F_READ }, { INSN_LTR, 0, F_READ },
		{ INSN_VERR, 0, F_READ }, { INSN_VERW, 0, F_READ },
		{ 0, 0, F_UD }, { 0, 0, F_UD },
	},
	[GROUP_GDT] = {
		[0] = { INSN_SGDT, FORM_Etable, F_WRITE }, [1] = { INSN_SIDT, FORM_Etable, F_WRITE },
		[2] = { INSN_LGDT, FORM_Etable, F_READ }, [3] = { INSN_LIDT, FORM_Etable, F_READ },
		[4] = { INSN_SMSW, FORM_Emw, F_WRITE }, [6] = { INSN_LMSW, FORM_Ew, F_READ },
		[7] = { INSN_INVLPG, 0, 0 },
	},
	/* Memory forms only: CLFLUSH is 0F AE /7, CLFLUSHOPT 66 0F AE /7, CLWB 66 0F AE /6. */
	[GROUP_FLUSH] = {
		[6] = { INSN_CLFLUSH, FORM_Enone, 0 }, [7] = { INSN_CLFLUSH, FORM_Enone, 0 },
	},
};

struct opcode opcode_0f01(u8 modrm)
{
	static const struct { u8 modrm, op; } known[] = {
		{ 0xc1, INSN_VMCALL }, { 0xc8, INSN_MONITOR }, { 0xc9, INSN_MWAIT },
		{ 0xd0, INSN_XGETBV }, { 0xd1, INSN_XSETBV },
		{ 0xd8, INSN_VMRUN }, { 0xd9, INSN_VMMCALL }, { 0xda, INSN_VMLOAD },
		{ 0xdb, INSN_VMSAVE }, { 0xdc, INSN_STGI }, { 0xdd, INSN_CLGI },
		{ 0xde, INSN_SKINIT }, { 0xdf, INSN_INVLPGA },
		{ 0xf8, INSN_SWAPGS }, { 0xf9, INSN_RDTSCP },
	};
	unsigned reg = modrm >> 3 & 7;

	if (reg == 4 || reg == 6)
		return opcode_groups[GROUP_GDT][reg];
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].modrm == modrm)
			return (struct opcode){ known[i].op, FORM_NONE, modrm == 0xf8 ? F_ONLY64 : 0 };
	return (struct opcode){ 0 };
}

struct opcode opcode_0f38(u8 byte)
{
	/* With F2 both are CRC32. */
	if (byte == 0xf0)
		return (struct opcode){ INSN_MOVBE, FORM_G_E, F_MEM | F_NOREP };
	if (byte == 0xf1)
		return (struct opcode){ INSN_MOVBE, FORM_E_G, F_MEM | F_WRITE | F_NOREP };
	return (struct opcode){ 0 };
}
