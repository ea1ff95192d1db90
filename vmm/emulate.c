/*
 * emulate.c - executes one decoded instruction.  See emulate.h for the invariants.
 *
 * Map: one function per family of instructions, then the dispatch.  Each
 * reads its operands (emulate_operand.c), computes into locals, writes memory,
 * and only then, when nothing can fail any more, registers and flags (E1).
 * Strings and ports are in emulate_string.c.
 */
#include "vmm/emulate_alu.h"
#include "vmm/emulate_impl.h"

static enum emu_result finish_flags(struct emu *e, u64 flags)
{
	e->s->rflags = flags;
	return emu_done(e);
}

/* --- arithmetic --- */

static enum emu_result binary(struct emu *e)
{
	const struct insn *in = e->in;
	u64 a, b, v, flags = e->s->rflags;
	enum emu_result r = emu_load_two(e, &a, &b);

	if (r)
		return r;
	v = alu_binary(in->op, a, b, in->opsize_bytes, &flags);
	if (in->op == INSN_CMP || in->op == INSN_TEST)
		return finish_flags(e, flags);
	return emu_finish(e, v, flags);
}

static enum emu_result unary(struct emu *e)
{
	u64 a, flags = e->s->rflags;
	enum emu_result r = emu_load(e, 0, &a);

	if (r)
		return r;
	a = alu_unary(e->in->op, a, e->in->opsize_bytes, &flags);
	return emu_finish(e, a, flags);
}

static enum emu_result shift(struct emu *e)
{
	u64 a, count, flags = e->s->rflags;
	enum emu_result r = emu_load_two(e, &a, &count);

	if (r)
		return r;
	a = alu_shift(e->in->op, a, (unsigned)count, e->in->opsize_bytes, &flags);
	return emu_finish(e, a, flags);
}

static enum emu_result shift_double(struct emu *e)
{
	u64 a, b, count, flags = e->s->rflags;
	enum emu_result r = emu_load_two(e, &a, &b);

	if (r || (r = emu_load(e, 2, &count)))
		return r;
	a = alu_shift_double(e->in->op, a, b, (unsigned)count, e->in->opsize_bytes, &flags);
	return emu_finish(e, a, flags);
}

/*
 * A bit number in a register reaches beyond the operand in both directions,
 * in steps of the operand's size [APM3 BT]; an immediate one does not.
 */
static enum emu_result bit_op(struct emu *e)
{
	const struct insn *in = e->in;
	unsigned size = in->opsize_bytes;
	u64 a, bit, flags = e->s->rflags;
	enum emu_result r = emu_load(e, 1, &bit);

	if (!r && in->operand[0].kind == OPND_MEM && in->operand[1].kind == OPND_REG) {
		s64 number = (s64)(bit << (64 - 8 * size)) >> (64 - 8 * size);

		r = emu_prepare(e, (u64)((number >> 3) & -(s64)size));
	}
	if (r || (r = emu_load(e, 0, &a)))
		return r;
	a = alu_bit(in->op, a, (unsigned)bit, size, &flags);
	return in->op == INSN_BT ? finish_flags(e, flags) : emu_finish(e, a, flags);
}

static enum emu_result scan(struct emu *e)
{
	const struct insn *in = e->in;
	u64 dst, src, flags = e->s->rflags;
	enum emu_result r = emu_load_two(e, &dst, &src);

	if (r)
		return r;
	dst = alu_scan(in->op, src, dst, in->opsize_bytes, &flags);
	/* A zero source leaves all of the destination alone, its upper half too [APM3 BSF]. */
	if (src == 0 && in->op != INSN_POPCNT)
		return finish_flags(e, flags);
	return emu_finish(e, dst, flags);
}

/* rDX:rAX, for bytes AH:AL. */
static struct alu_wide get_wide(const struct cpu_state *s, unsigned size)
{
	if (size == 1)
		return (struct alu_wide){ s->gpr[RAX] & 0xff, s->gpr[RAX] >> 8 & 0xff };
	return (struct alu_wide){ emu_get_gpr(s, RAX, size), emu_get_gpr(s, RDX, size) };
}

static void set_wide(struct cpu_state *s, unsigned size, struct alu_wide w)
{
	if (size == 1) {
		emu_set_gpr(s, RAX, 2, w.hi << 8 | w.lo);
	} else {
		emu_set_gpr(s, RAX, size, w.lo);
		emu_set_gpr(s, RDX, size, w.hi);
	}
}

static enum emu_result multiply(struct emu *e)
{
	unsigned size = e->in->opsize_bytes;
	u64 b, flags = e->s->rflags;
	enum emu_result r = emu_load(e, 0, &b);

	if (r)
		return r;
	set_wide(e->s, size, alu_multiply(e->in->op == INSN_IMUL, emu_get_gpr(e->s, RAX, size), b,
					  size, &flags));
	return finish_flags(e, flags);
}

static enum emu_result multiply_trunc(struct emu *e)
{
	unsigned last = e->in->noperands - 1U;
	u64 a, b, flags = e->s->rflags;
	enum emu_result r = emu_load(e, last - 1, &a);

	if (r || (r = emu_load(e, last, &b)))
		return r;
	a = alu_multiply(true, a, b, e->in->opsize_bytes, &flags).lo;
	return emu_finish(e, a, flags);
}

static enum emu_result divide(struct emu *e)
{
	unsigned size = e->in->opsize_bytes;
	struct alu_wide n = get_wide(e->s, size);
	u64 divisor;
	enum emu_result r = emu_load(e, 0, &divisor);

	if (r)
		return r;
	if (!alu_divide(e->in->op == INSN_IDIV, &n, divisor, size))
		return EMU_DE;
	set_wide(e->s, size, n);
	return emu_done(e);
}

/* --- moves --- */

static enum emu_result move(struct emu *e)
{
	const struct insn *in = e->in;
	u64 v;
	enum emu_result r = emu_load(e, 1, &v);

	if (r)
		return r;
	if (in->op == INSN_MOVSX) {
		unsigned unused_bits = 64 - 8 * in->operand[1].size_bytes;

		v = (u64)((s64)(v << unused_bits) >> unused_bits);
	} else if (in->op == INSN_MOVBE) {
		v = __builtin_bswap64(v) >> (64 - 8 * in->opsize_bytes);
	}
	return emu_finish(e, v, e->s->rflags);
}

/* A false CMOVcc reads its source and clears the upper half all the same [APM3 CMOVcc]. */
static enum emu_result conditional_move(struct emu *e)
{
	u64 dst, src;
	enum emu_result r = emu_load_two(e, &dst, &src);

	if (r)
		return r;
	return emu_finish(e, alu_condition(e->in->cond, e->s->rflags) ? src : dst, e->s->rflags);
}

static enum emu_result exchange(struct emu *e)
{
	u64 a, b;
	enum emu_result r = emu_load_two(e, &a, &b);

	if (r || (r = emu_store(e, 0, b)))
		return r;
	emu_set_reg(e->s, &e->in->operand[1], a);
	return emu_done(e);
}

/* With both operands the same register the sum is what stays. */
static enum emu_result exchange_add(struct emu *e)
{
	const struct insn_operand *src = &e->in->operand[1];
	bool to_mem = e->in->operand[0].kind == OPND_MEM;
	u64 a, b, sum, flags = e->s->rflags;
	enum emu_result r = emu_load_two(e, &a, &b);

	if (r)
		return r;
	sum = alu_binary(INSN_ADD, a, b, e->in->opsize_bytes, &flags);
	if (to_mem && (r = emu_store(e, 0, sum)))
		return r;
	emu_set_reg(e->s, src, a);
	if (!to_mem)
		emu_set_reg(e->s, &e->in->operand[0], sum);
	return finish_flags(e, flags);
}

/* Memory is written either way, with its old value if the comparison fails [APM3 CMPXCHG]. */
static enum emu_result compare_exchange(struct emu *e)
{
	const struct insn *in = e->in;
	unsigned size = in->opsize_bytes;
	u64 old, new, flags = e->s->rflags;
	bool equal, to_mem = in->operand[0].kind == OPND_MEM;
	enum emu_result r = emu_load_two(e, &old, &new);

	if (r)
		return r;
	alu_binary(INSN_CMP, emu_get_gpr(e->s, RAX, size), old, size, &flags);
	equal = flags & RFLAGS_ZF;
	if (to_mem && (r = emu_store(e, 0, equal ? new : old)))
		return r;
	if (!equal)
		emu_set_gpr(e->s, RAX, size, old);
	else if (!to_mem)
		emu_set_reg(e->s, &in->operand[0], new);
	return finish_flags(e, flags);
}

/* CMPXCHG8B in one access, CMPXCHG16B in two, which lie in one page: it must be aligned. */
static enum emu_result read_pair(struct emu *e, unsigned half, struct alu_wide *v)
{
	enum emu_result r = e->ops->read(e->ctx, e->addr, 8, EMU_READ | EMU_WRITE, &v->lo);

	if (half == 8)
		return r ? r : e->ops->read(e->ctx, GVA(e->addr.v + 8), 8, EMU_READ | EMU_WRITE, &v->hi);
	v->hi = v->lo >> 32;
	v->lo &= 0xffffffff;
	return r;
}

static enum emu_result write_pair(struct emu *e, unsigned half, struct alu_wide v)
{
	enum emu_result r;

	if (half == 4)
		return e->ops->write(e->ctx, e->addr, 8, v.hi << 32 | v.lo);
	r = e->ops->write(e->ctx, e->addr, 8, v.lo);
	return r ? r : e->ops->write(e->ctx, GVA(e->addr.v + 8), 8, v.hi);
}

static enum emu_result compare_exchange_pair(struct emu *e)
{
	unsigned half = e->in->operand[0].size_bytes / 2;
	struct cpu_state *s = e->s;
	struct alu_wide old, new = { emu_get_gpr(s, RBX, half), emu_get_gpr(s, RCX, half) };
	enum emu_result r;
	bool equal;

	if (half == 8 && e->addr.v & 15)
		return EMU_GP;
	if ((r = read_pair(e, half, &old)))
		return r;
	equal = old.lo == emu_get_gpr(s, RAX, half) && old.hi == emu_get_gpr(s, RDX, half);
	if ((r = write_pair(e, half, equal ? new : old)))
		return r;
	if (!equal) {
		emu_set_gpr(s, RAX, half, old.lo);
		emu_set_gpr(s, RDX, half, old.hi);
	}
	return finish_flags(e, (s->rflags & ~(u64)RFLAGS_ZF) | (equal ? RFLAGS_ZF : 0));
}

/* --- stack --- */

/* [APM2 4.7.3, the D/B bit of a stack segment] */
static unsigned stack_addrsize(const struct cpu_state *s)
{
	if (cpu_code_bits(s) == 64)
		return 8;
	return s->seg[SEG_SS].attrib & SEG_ATTR_DB ? 4 : 2;
}

/* The faults of the source come before those of the stack, and both before the access (E3). */
static enum emu_result push(struct emu *e)
{
	unsigned size = e->in->opsize_bytes, width = stack_addrsize(e->s);
	u64 sp = (e->s->gpr[RSP] - size) & size_mask(width), v;
	gva_t top;
	enum emu_result r = EMU_OK;

	if (insn_has_mem(e->in))
		r = e->ops->check(e->ctx, e->addr, size, EMU_READ);
	if (r || (r = emu_segment(e->s, SEG_SS, sp, size, EMU_WRITE, &top)) ||
	    (r = e->ops->check(e->ctx, top, size, EMU_WRITE)) || (r = emu_load(e, 0, &v)) ||
	    (r = e->ops->write(e->ctx, top, size, v)))
		return r;
	emu_set_gpr(e->s, RSP, width, sp);
	return emu_done(e);
}

/* An address relative to rSP uses its value after the pop [APM3 POP]. */
static enum emu_result pop(struct emu *e)
{
	struct cpu_state *s = e->s;
	unsigned size = e->in->opsize_bytes, width = stack_addrsize(s);
	u64 sp = s->gpr[RSP] & size_mask(width), v;
	u64 next = (sp + size) & size_mask(width);
	bool relative = e->in->operand[0].kind == OPND_MEM && e->in->mem.base == RSP;
	gva_t top;
	enum emu_result r = emu_segment(s, SEG_SS, sp, size, EMU_READ, &top);

	if (r || (r = e->ops->read(e->ctx, top, size, EMU_READ, &v)) ||
	    (r = emu_prepare(e, relative ? next - sp : 0)))
		return r;
	if (e->in->operand[0].kind == OPND_MEM) {
		if ((r = emu_store(e, 0, v)))
			return r;
		emu_set_gpr(s, RSP, width, next);
	} else {
		emu_set_gpr(s, RSP, width, next); /* POP rSP: the popped value is what stays */
		emu_set_reg(s, &e->in->operand[0], v);
	}
	return emu_done(e);
}

/*
 * Not emulated.  But QEMU reads what IRET pops with the kernel's rights, whoever executes it: in ring 3 it may come
 * here for a stack that is none of the user's, and then gives the fault that hardware gives.
 */
static enum emu_result iret(struct emu *e)
{
	unsigned size = e->in->opsize_bytes;
	gva_t top;
	enum emu_result r = emu_segment(e->s, SEG_SS, e->s->gpr[RSP] & size_mask(stack_addrsize(e->s)), size, EMU_READ, &top);

	if (r || (r = e->ops->check(e->ctx, top, size, EMU_READ)))
		return r;
	return EMU_UNSUPPORTED;
}

/* --- dispatch --- */

static enum emu_result execute(struct emu *e)
{
	switch ((enum insn_op)e->in->op) {
	case INSN_ADD: case INSN_OR: case INSN_ADC: case INSN_SBB: case INSN_AND: case INSN_SUB:
	case INSN_XOR: case INSN_CMP: case INSN_TEST:
		return binary(e);
	case INSN_NOT: case INSN_NEG: case INSN_INC: case INSN_DEC:
		return unary(e);
	case INSN_ROL: case INSN_ROR: case INSN_RCL: case INSN_RCR:
	case INSN_SHL: case INSN_SHR: case INSN_SAR:
		return shift(e);
	case INSN_SHLD: case INSN_SHRD:
		return shift_double(e);
	case INSN_BT: case INSN_BTS: case INSN_BTR: case INSN_BTC:
		return bit_op(e);
	case INSN_BSF: case INSN_BSR: case INSN_POPCNT:
		return scan(e);
	case INSN_MUL: case INSN_IMUL:
		return multiply(e);
	case INSN_IMUL_TRUNC:
		return multiply_trunc(e);
	case INSN_DIV: case INSN_IDIV:
		return divide(e);
	case INSN_MOV: case INSN_MOVZX: case INSN_MOVSX: case INSN_MOVBE: case INSN_MOV_FROM_SREG:
		return move(e);
	case INSN_SETCC:
		return emu_finish(e, alu_condition(e->in->cond, e->s->rflags), e->s->rflags);
	case INSN_CMOVCC:
		return conditional_move(e);
	case INSN_XCHG:
		return exchange(e);
	case INSN_XADD:
		return exchange_add(e);
	case INSN_CMPXCHG:
		return compare_exchange(e);
	case INSN_CMPXCHG_PAIR:
		return compare_exchange_pair(e);
	case INSN_PUSH:
		return push(e);
	case INSN_POP:
		return pop(e);
	case INSN_IN:
		return emu_port_in(e);
	case INSN_OUT:
		return emu_port_out(e);
	case INSN_CLFLUSH:
		return emu_done(e); /* guest memory is coherent without */
	case INSN_MOVS: case INSN_CMPS: case INSN_STOS: case INSN_LODS: case INSN_SCAS:
	case INSN_INS: case INSN_OUTS:
		return emu_string(e);
	default:
		return EMU_UNSUPPORTED;
	}
}

/* BT with a register and POP find their own address. */
static bool address_is_special(const struct insn *in)
{
	return in->op == INSN_POP ||
	       (in->op >= INSN_BT && in->op <= INSN_BTC && in->operand[1].kind == OPND_REG);
}

enum emu_result emulate(struct cpu_state *s, const struct insn *in, const struct emu_ops *ops,
			void *ctx)
{
	struct emu e = { .s = s, .in = in, .ops = ops, .ctx = ctx };
	enum emu_result r;

	if (in->op == INSN_IRET)
		return iret(&e);
	if (in->op > INSN_OUT)
		return EMU_UNSUPPORTED;
	if (!address_is_special(in) && (r = emu_prepare(&e, 0)))
		return r;
	return execute(&e);
}
