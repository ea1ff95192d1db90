/*
 * decode_tables.h - the opcode maps, between decode.c and decode_tables.c.
 *
 * Nothing else includes this.
 */
#ifndef VMM_DECODE_TABLES_H
#define VMM_DECODE_TABLES_H

#include "vmm/decode.h"

/*
 * How an opcode's operands are encoded, destination first.  The letters are
 * those of [APM3 Appendix A]: E is ModRM r/m, G ModRM reg, A the accumulator,
 * I an immediate of the operand's size (at most 4 bytes), Ib one byte, O an
 * absolute offset, S a segment register, C and D a control or debug register
 * in ModRM reg, R a register in r/m.
 */
enum form {
	FORM_NONE,
	FORM_Ib,
	FORM_A_I, FORM_A_O, FORM_O_A,
	FORM_A_Ib, FORM_Ib_A, FORM_A_DX, FORM_DX_A,
	FORM_STRING,      /* registers by the opcode; a segment override counts */

	FORM_FIRST_MODRM,
	FORM_E = FORM_FIRST_MODRM,
	FORM_E_G, FORM_G_E,
	FORM_E_I, FORM_E_Ib, FORM_E_1, FORM_E_CL,
	FORM_E_Ub,        /* a count or bit number: one byte, not sign-extended */
	FORM_E_G_Ub, FORM_E_G_CL, FORM_G_E_I, FORM_G_E_Ib,
	FORM_G_Eb, FORM_G_Ew, FORM_G_Ed,
	FORM_Ew,          /* two bytes whatever the operand size */
	FORM_Emw,         /* two bytes in memory, the operand size in a register */
	FORM_E_S,         /* E as in Emw */
	FORM_S_E,
	FORM_Epair,       /* CMPXCHG8B, CMPXCHG16B */
	FORM_Etable,      /* LGDT and its kin: limit and base */
	FORM_Enone,       /* an address, no access */
	FORM_R_C, FORM_C_R, FORM_R_D, FORM_D_R,
};

enum {
	F_BYTE = 1 << 0,   /* operand size is one byte */
	F_NO64 = 1 << 1,   /* #UD in 64-bit mode */
	F_D64 = 1 << 2,    /* 64-bit mode: operand size is 8, or 2 with 66 */
	F_MAX4 = 1 << 3,   /* operand size is at most 4: REX.W has no effect */
	F_MIN4 = 1 << 4,   /* operand size is at least 4: 66 has no effect */
	F_LOCK = 1 << 5,   /* LOCK is legal on a memory destination */
	F_MEM = 1 << 6,    /* the register form is #UD */
	F_READ = 1 << 7,   /* E is only read, although it comes first */
	F_WRITE = 1 << 8,  /* E is only written */
	F_GROUP = 1 << 9,  /* op is an enum group: ModRM reg selects */
	F_NOREP = 1 << 10, /* another instruction with F2 or F3 */
	F_NP = 1 << 11,    /* another instruction, or none, with 66, F2 or F3 */
	F_F3 = 1 << 12,    /* known only with F3 */
	F_UD = 1 << 13,    /* an encoding that raises #UD for good */
	F_COND = 1 << 14,  /* the low four opcode bits are a condition */
	F_ONLY64 = 1 << 15, /* #UD outside 64-bit mode */
};

struct opcode {
	u8 op;     /* enum insn_op; with F_GROUP enum group; INSN_NONE: unknown */
	u8 form;   /* in a group member, FORM_NONE keeps the opcode's own */
	u16 flags; /* a group member's are added to the opcode's */
};

enum group {
	GROUP_NONE, GROUP_ALU, GROUP_SHIFT, GROUP_UNARY, GROUP_INCDEC, GROUP_INCDEC_PUSH, GROUP_POP,
	GROUP_MOV, GROUP_BIT, GROUP_CMPXCHG, GROUP_LDT, GROUP_GDT, GROUP_FLUSH,
	NGROUP,
};

extern const struct opcode opcodes_1byte[256];
extern const struct opcode opcodes_0f[256];
extern const struct opcode opcode_groups[NGROUP][8];

/* 0F 01 with a register ModRM: most whole bytes are instructions of their own. */
struct opcode opcode_0f01(u8 modrm);

/* 0F 38 xx: MOVBE only. */
struct opcode opcode_0f38(u8 byte);

#endif
