/*
 * decode.h - x86 instruction bytes to a description of one instruction.
 *
 * Used where an exit leaves the work to us: a nested page fault on device
 * memory (no decode assists on our default host), and exits that come without
 * a next RIP, which only the instruction's length gives.  So two kinds of
 * instruction are known: integer instructions with a memory operand, which
 * vmm/emulate.c can execute, and intercepted ones, for which op, operands and
 * length are enough.
 *
 * Reads the bytes it is given and nothing else: no registers, no CPUID.
 * Everything it does not know is ERR_UNSUPPORTED, never a guess: x87, MMX,
 * SSE, everything VEX, EVEX or XOP, far and near branches through memory,
 * LDS..LGS, BOUND, ARPL, LAR, LSL, XLAT, and F3 0F BC/BD (TZCNT or BSF, LZCNT
 * or BSR, depending on CPUID).
 */
#ifndef VMM_DECODE_H
#define VMM_DECODE_H

#include "kernel/base.h"
#include "vmm/cpustate.h"

#define INSN_MAX_LENGTH 15

enum insn_op {
	INSN_NONE,

	/* Executed by vmm/emulate.c.  The first eight in the order of the ModRM.reg field. */
	INSN_ADD, INSN_OR, INSN_ADC, INSN_SBB, INSN_AND, INSN_SUB, INSN_XOR, INSN_CMP, INSN_TEST,
	INSN_NOT, INSN_NEG, INSN_INC, INSN_DEC,
	INSN_ROL, INSN_ROR, INSN_RCL, INSN_RCR, INSN_SHL, INSN_SHR, INSN_SAR, INSN_SHLD, INSN_SHRD,
	INSN_MUL, INSN_IMUL,      /* one operand: rDX:rAX = rAX * E */
	INSN_IMUL_TRUNC,          /* two or three operands */
	INSN_DIV, INSN_IDIV,
	INSN_BT, INSN_BTS, INSN_BTR, INSN_BTC, INSN_BSF, INSN_BSR, INSN_POPCNT,
	INSN_MOV,                 /* MOVNTI too */
	INSN_MOVZX, INSN_MOVSX,   /* MOVSXD too; the operands have their own sizes */
	INSN_MOVBE, INSN_XCHG, INSN_XADD, INSN_CMPXCHG,
	INSN_CMPXCHG_PAIR,        /* CMPXCHG8B, CMPXCHG16B by the operand's size */
	INSN_SETCC, INSN_CMOVCC,
	INSN_PUSH, INSN_POP,      /* of a ModRM operand */
	INSN_MOV_FROM_SREG,
	INSN_CLFLUSH,             /* CLFLUSHOPT and CLWB too */
	INSN_MOVS, INSN_CMPS, INSN_STOS, INSN_LODS, INSN_SCAS, INSN_INS, INSN_OUTS,
	INSN_IN, INSN_OUT,

	/* Only decoded. */
	INSN_NOP, INSN_PAUSE, INSN_HLT, INSN_CPUID, INSN_RDMSR, INSN_WRMSR,
	INSN_RDTSC, INSN_RDTSCP, INSN_RDPMC,
	INSN_INT3, INSN_INT, INSN_INTO, INSN_INT1, INSN_IRET, INSN_PUSHF, INSN_POPF,
	INSN_CLI, INSN_STI, INSN_CLTS, INSN_INVD, INSN_WBINVD, INSN_RSM,
	INSN_INVLPG, INSN_INVLPGA, INSN_MONITOR, INSN_MWAIT, INSN_XGETBV, INSN_XSETBV, INSN_SWAPGS,
	INSN_VMCALL, INSN_VMMCALL, INSN_VMRUN, INSN_VMLOAD, INSN_VMSAVE, INSN_STGI, INSN_CLGI,
	INSN_SKINIT,
	INSN_MOV_TO_SREG, INSN_MOV_FROM_CR, INSN_MOV_TO_CR, INSN_MOV_FROM_DR, INSN_MOV_TO_DR,
	INSN_SMSW, INSN_LMSW, INSN_SGDT, INSN_SIDT, INSN_LGDT, INSN_LIDT,
	INSN_SLDT, INSN_STR, INSN_LLDT, INSN_LTR, INSN_VERR, INSN_VERW,
	NINSN,
};

#define INSN_NO_REG 0xff

enum insn_operand_kind {
	OPND_NONE, OPND_REG, OPND_MEM, OPND_IMM, OPND_SREG, OPND_CR, OPND_DR,
};

struct insn_operand {
	u8 kind;
	u8 reg;         /* OPND_REG: enum gpr; OPND_SREG: enum segreg; CR and DR: the number */
	u8 high_byte;   /* OPND_REG: AH, CH, DH or BH; reg is then RAX..RBX */
	u8 size_bytes;  /* 0: no access of its own (INVLPG) */
};

struct insn_mem {
	u8 base;          /* enum gpr or INSN_NO_REG */
	u8 index;         /* likewise */
	u8 scale;         /* 1, 2, 4, 8 */
	u8 seg;           /* the segment in effect, override or default */
	u8 rip_relative;  /* to the address of the next instruction */
	u64 disp;         /* sign-extended; an absolute 64-bit offset is not */
};

/* What an instruction does to its memory operand.  Not set for string instructions. */
enum { MEM_READ = 1, MEM_WRITE = 2 };

struct insn {
	u8 length;
	u8 op;             /* enum insn_op */
	u8 code_bits;      /* as given: 16, 32, 64 */
	u8 opsize_bytes;   /* of the operation: 1, 2, 4, 8 */
	u8 addrsize_bytes; /* 2, 4, 8 */
	u8 rep, repne;     /* F3, F2; the last one counts, so never both */
	u8 lock;
	u8 cond;           /* SETcc, CMOVcc: the low four opcode bits */
	u8 noperands;
	u8 mem_access;     /* MEM_READ, MEM_WRITE: of the OPND_MEM operand */
	u8 vector;         /* with ERR_INVALID: the exception the bytes raise, VEC_UD or VEC_GP */
	struct insn_operand operand[3]; /* the destination first */
	struct insn_mem mem; /* with an OPND_MEM; string instructions: seg, of the rSI side */
	u64 imm;             /* sign-extended to 64 bits as the instruction does; INT n, IN, OUT: 0..255 */
};

/*
 * Decodes the instruction at bytes[0], of which nbytes can be read; more than
 * INSN_MAX_LENGTH are never looked at.  Answers
 *   OK               out is complete
 *   ERR_END          the instruction goes on past nbytes: fetch more
 *   ERR_INVALID      raises out->vector (error code 0 if #GP)
 *   ERR_UNSUPPORTED  not known here
 */
err_t insn_decode(const u8 *bytes, size_t nbytes, unsigned code_bits, struct insn *out) must_check;

/* The memory operand of in is there: in->mem is valid. */
static inline bool insn_has_mem(const struct insn *in)
{
	return in->operand[0].kind == OPND_MEM || in->operand[1].kind == OPND_MEM;
}

#endif
