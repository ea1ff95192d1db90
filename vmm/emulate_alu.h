/*
 * emulate_alu.h - integer arithmetic with its flags, no state but its arguments.
 *
 * Operands are numbers below 2^(8 * size_bytes), size_bytes 1, 2, 4 or 8, and
 * so are results.  *flags is RFLAGS: only arithmetic flags change.  Flags the
 * manual leaves undefined come out as QEMU computes them, whose guests these
 * mostly are.
 */
#ifndef VMM_EMULATE_ALU_H
#define VMM_EMULATE_ALU_H

#include "vmm/decode.h"

#define RFLAGS_ARITH (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* ADD to TEST in enum insn_op; for CMP and TEST the result is of no use. */
u64 alu_binary(enum insn_op op, u64 a, u64 b, unsigned size_bytes, u64 *flags);

/* NOT, NEG, INC, DEC. */
u64 alu_unary(enum insn_op op, u64 a, unsigned size_bytes, u64 *flags);

/* ROL to SAR.  A count that masks to 0 changes no flag. */
u64 alu_shift(enum insn_op op, u64 a, unsigned count, unsigned size_bytes, u64 *flags);

/* SHLD, SHRD: bits come in from b. */
u64 alu_shift_double(enum insn_op op, u64 a, u64 b, unsigned count, unsigned size_bytes, u64 *flags);

/* BT, BTS, BTR, BTC of bit number modulo the size. */
u64 alu_bit(enum insn_op op, u64 a, unsigned bit, unsigned size_bytes, u64 *flags);

/* BSF, BSR: dst is the result for a zero source.  POPCNT. */
u64 alu_scan(enum insn_op op, u64 src, u64 dst, unsigned size_bytes, u64 *flags);

struct alu_wide {
	u64 lo, hi; /* each below 2^(8 * size_bytes) */
};

struct alu_wide alu_multiply(bool is_signed, u64 a, u64 b, unsigned size_bytes, u64 *flags);

/* n becomes {quotient, remainder}; false: #DE, by zero or too big. */
bool alu_divide(bool is_signed, struct alu_wide *n, u64 divisor, unsigned size_bytes) must_check;

/* The condition in the low four bits of Jcc, SETcc, CMOVcc [APM3 SETcc]. */
bool alu_condition(unsigned cond, u64 flags);

#endif
