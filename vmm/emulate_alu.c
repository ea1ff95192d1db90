/*
 * emulate_alu.c - integer arithmetic with its flags.  See emulate_alu.h.
 *
 * Portable C: no compiler helper for 128-bit division, which the hypervisor
 * does not link.  [APM1 3.3 Instruction Summary], [APM3 chapter 3] for each
 * instruction's flags.
 */
#include "vmm/emulate_alu.h"

static bool msb(u64 v, unsigned size_bytes)
{
	return v >> (8 * size_bytes - 1) & 1;
}

static u64 sign_extend(u64 v, unsigned size_bytes)
{
	unsigned unused_bits = 64 - 8 * size_bytes;

	return (u64)((s64)(v << unused_bits) >> unused_bits);
}

static void set_flags(u64 *flags, u64 which, u64 to)
{
	*flags = (*flags & ~which) | (to & which);
}

/* PF looks at the low byte only. */
static u64 flags_szp(u64 r, unsigned size_bytes)
{
	u64 f = 0;

	if (!__builtin_parity((unsigned)(r & 0xff)))
		f |= RFLAGS_PF;
	if (r == 0)
		f |= RFLAGS_ZF;
	if (msb(r, size_bytes))
		f |= RFLAGS_SF;
	return f;
}

static u64 add(u64 a, u64 b, unsigned carry, unsigned size, u64 *flags)
{
	u64 r = (a + b + carry) & size_mask(size), f = flags_szp(r, size);

	if (msb((a & b) | ((a | b) & ~r), size))
		f |= RFLAGS_CF;
	if ((a ^ b ^ r) & 0x10)
		f |= RFLAGS_AF;
	if (msb((a ^ r) & (b ^ r), size))
		f |= RFLAGS_OF;
	set_flags(flags, RFLAGS_ARITH, f);
	return r;
}

static u64 subtract(u64 a, u64 b, unsigned borrow, unsigned size, u64 *flags)
{
	u64 r = (a - b - borrow) & size_mask(size), f = flags_szp(r, size);

	if (msb((~a & b) | ((~a | b) & r), size))
		f |= RFLAGS_CF;
	if ((a ^ b ^ r) & 0x10)
		f |= RFLAGS_AF;
	if (msb((a ^ b) & (a ^ r), size))
		f |= RFLAGS_OF;
	set_flags(flags, RFLAGS_ARITH, f);
	return r;
}

static u64 logic(u64 r, unsigned size, u64 *flags)
{
	set_flags(flags, RFLAGS_ARITH, flags_szp(r, size));
	return r;
}

u64 alu_binary(enum insn_op op, u64 a, u64 b, unsigned size_bytes, u64 *flags)
{
	unsigned carry = *flags & RFLAGS_CF;

	switch (op) {
	case INSN_ADD: return add(a, b, 0, size_bytes, flags);
	case INSN_ADC: return add(a, b, carry, size_bytes, flags);
	case INSN_SUB:
	case INSN_CMP: return subtract(a, b, 0, size_bytes, flags);
	case INSN_SBB: return subtract(a, b, carry, size_bytes, flags);
	case INSN_OR: return logic(a | b, size_bytes, flags);
	case INSN_XOR: return logic(a ^ b, size_bytes, flags);
	default: return logic(a & b, size_bytes, flags); /* AND, TEST */
	}
}

u64 alu_unary(enum insn_op op, u64 a, unsigned size_bytes, u64 *flags)
{
	u64 carry = *flags & RFLAGS_CF, r;

	switch (op) {
	case INSN_NOT:
		return ~a & size_mask(size_bytes);
	case INSN_NEG:
		return subtract(0, a, 0, size_bytes, flags);
	case INSN_INC:
		r = add(a, 1, 0, size_bytes, flags);
		break;
	default: /* DEC */
		r = subtract(a, 1, 0, size_bytes, flags);
		break;
	}
	set_flags(flags, RFLAGS_CF, carry);
	return r;
}

static u64 flags_cf_of(bool cf, bool of)
{
	return (cf ? RFLAGS_CF : 0) | (of ? RFLAGS_OF : 0);
}

static u64 rotate(enum insn_op op, u64 a, unsigned count, unsigned size, u64 *flags)
{
	unsigned bits = 8 * size, n = count % bits;
	bool cf, of;

	if (op == INSN_ROR)
		n = (bits - n) % bits;
	if (n)
		a = (a << n | a >> (bits - n)) & size_mask(size);
	if (op == INSN_ROL) {
		cf = a & 1;
		of = msb(a, size) != cf;
	} else {
		cf = msb(a, size);
		of = cf != (a >> (bits - 2) & 1);
	}
	set_flags(flags, RFLAGS_CF | RFLAGS_OF, flags_cf_of(cf, of));
	return a;
}

/* Through carry: a rotation of one bit more than the size. */
static u64 rotate_carry(enum insn_op op, u64 a, unsigned count, unsigned size, u64 *flags)
{
	unsigned bits = 8 * size;
	u64 before = a;
	bool cf = *flags & RFLAGS_CF;

	count %= bits + 1;
	if (count == 0)
		return a;
	for (unsigned i = 0; i < count; i++) {
		bool in = cf;

		if (op == INSN_RCL) {
			cf = msb(a, size);
			a = (a << 1 | in) & size_mask(size);
		} else {
			cf = a & 1;
			a = a >> 1 | (u64)in << (bits - 1);
		}
	}
	set_flags(flags, RFLAGS_CF | RFLAGS_OF, flags_cf_of(cf, msb(before ^ a, size)));
	return a;
}

static unsigned masked_count(unsigned count, unsigned size)
{
	return count & (size == 8 ? 63 : 31);
}

u64 alu_shift(enum insn_op op, u64 a, unsigned count, unsigned size_bytes, u64 *flags)
{
	u64 last, r; /* last: one step before the end */

	count = masked_count(count, size_bytes);
	if (count == 0)
		return a;
	if (op == INSN_ROL || op == INSN_ROR)
		return rotate(op, a, count, size_bytes, flags);
	if (op == INSN_RCL || op == INSN_RCR)
		return rotate_carry(op, a, count, size_bytes, flags);

	if (op == INSN_SHL) {
		last = a << (count - 1) & size_mask(size_bytes);
		r = last << 1 & size_mask(size_bytes);
	} else {
		if (op == INSN_SAR)
			a = sign_extend(a, size_bytes);
		last = op == INSN_SAR ? (u64)((s64)a >> (count - 1)) : a >> (count - 1);
		r = (op == INSN_SAR ? (u64)((s64)last >> 1) : last >> 1) & size_mask(size_bytes);
		last &= size_mask(size_bytes);
	}
	set_flags(flags, RFLAGS_ARITH, flags_szp(r, size_bytes) |
		  flags_cf_of(op == INSN_SHL ? msb(last, size_bytes) : last & 1,
			      msb(last ^ r, size_bytes)));
	return r;
}

u64 alu_shift_double(enum insn_op op, u64 a, u64 b, unsigned count, unsigned size_bytes, u64 *flags)
{
	unsigned bits = 8 * size_bytes;
	u64 first = a, last = a;
	bool cf = false;

	count = masked_count(count, size_bytes);
	if (count == 0)
		return a;
	for (unsigned i = 0; i < count; i++) {
		/* A count above 16 on 16 bits is undefined: a comes round after b. */
		u64 from = i < bits ? b : first;
		unsigned n = i < bits ? i : i - bits;

		last = a;
		if (op == INSN_SHLD) {
			cf = msb(a, size_bytes);
			a = (a << 1 | (from >> (bits - 1 - n) & 1)) & size_mask(size_bytes);
		} else {
			cf = a & 1;
			a = a >> 1 | (from >> n & 1) << (bits - 1);
		}
	}
	set_flags(flags, RFLAGS_ARITH, flags_szp(a, size_bytes) |
		  flags_cf_of(cf, msb(last ^ a, size_bytes)));
	return a;
}

u64 alu_bit(enum insn_op op, u64 a, unsigned bit, unsigned size_bytes, u64 *flags)
{
	u64 mask = 1UL << (bit & (8 * size_bytes - 1));

	set_flags(flags, RFLAGS_CF, a & mask ? RFLAGS_CF : 0);
	switch (op) {
	case INSN_BTS: return a | mask;
	case INSN_BTR: return a & ~mask;
	case INSN_BTC: return a ^ mask;
	default: return a;
	}
}

u64 alu_scan(enum insn_op op, u64 src, u64 dst, unsigned size_bytes, u64 *flags)
{
	if (op == INSN_POPCNT) {
		unsigned n = 0;

		for (u64 v = src; v; v &= v - 1)
			n++;
		set_flags(flags, RFLAGS_ARITH, src ? 0 : RFLAGS_ZF);
		return n;
	}
	logic(src, size_bytes, flags);
	if (src == 0)
		return dst;
	return (u64)(op == INSN_BSF ? __builtin_ctzl(src) : 63 - __builtin_clzl(src));
}

struct alu_wide alu_multiply(bool is_signed, u64 a, u64 b, unsigned size_bytes, u64 *flags)
{
	unsigned __int128 p;
	struct alu_wide r;
	bool overflow;

	if (is_signed)
		p = (unsigned __int128)((__int128)(s64)sign_extend(a, size_bytes) *
					(s64)sign_extend(b, size_bytes));
	else
		p = (unsigned __int128)a * b;
	r.lo = (u64)p & size_mask(size_bytes);
	r.hi = (u64)(p >> (8 * size_bytes)) & size_mask(size_bytes);
	overflow = r.hi != (is_signed && msb(r.lo, size_bytes) ? size_mask(size_bytes) : 0);
	set_flags(flags, RFLAGS_ARITH, flags_szp(r.lo, size_bytes) | flags_cf_of(overflow, overflow));
	return r;
}

/* Long division of hi:lo, by hand; false if the quotient needs more than size bytes. */
static bool divide_unsigned(struct alu_wide *n, u64 divisor, unsigned size)
{
	u64 rest = n->hi, quotient = 0;

	if (rest >= divisor) /* zero included */
		return false;
	for (int i = (int)(8 * size) - 1; i >= 0; i--) {
		bool carry = rest >> 63;

		rest = rest << 1 | (n->lo >> i & 1);
		if (carry || rest >= divisor) {
			rest -= divisor;
			quotient |= 1UL << i;
		}
	}
	n->lo = quotient;
	n->hi = rest;
	return true;
}

static void negate_wide(struct alu_wide *n, unsigned size)
{
	n->lo = -n->lo & size_mask(size);
	n->hi = (~n->hi + (n->lo == 0)) & size_mask(size);
}

/* Signed: the remainder has the sign of the dividend [APM3 IDIV]. */
bool alu_divide(bool is_signed, struct alu_wide *n, u64 divisor, unsigned size_bytes)
{
	struct alu_wide w = *n;
	bool minus_n = is_signed && msb(w.hi, size_bytes);
	bool minus_d = is_signed && msb(divisor, size_bytes);
	u64 limit = 1UL << (8 * size_bytes - 1);

	if (minus_n)
		negate_wide(&w, size_bytes);
	if (minus_d)
		divisor = -divisor & size_mask(size_bytes);
	if (!divide_unsigned(&w, divisor, size_bytes))
		return false;
	if (is_signed && w.lo >= limit + (minus_n != minus_d))
		return false;
	n->lo = (minus_n != minus_d ? -w.lo : w.lo) & size_mask(size_bytes);
	n->hi = (minus_n ? -w.hi : w.hi) & size_mask(size_bytes);
	return true;
}

bool alu_condition(unsigned cond, u64 flags)
{
	bool cf = flags & RFLAGS_CF, zf = flags & RFLAGS_ZF, sf = flags & RFLAGS_SF;
	bool of = flags & RFLAGS_OF, yes;

	switch (cond >> 1) {
	case 0: yes = of; break;
	case 1: yes = cf; break;
	case 2: yes = zf; break;
	case 3: yes = cf || zf; break;
	case 4: yes = sf; break;
	case 5: yes = flags & RFLAGS_PF; break;
	case 6: yes = sf != of; break;
	default: yes = zf || sf != of; break;
	}
	return yes != (cond & 1);
}
