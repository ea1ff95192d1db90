/*
 * emulate_operand.c - how the emulator reaches registers and memory.
 *
 * Partial-register rules, effective addresses, segmentation with its checks,
 * and operand access through the callbacks.  Changes the cpu_state only where
 * a register is the destination and when an instruction retires.
 */
#include "vmm/emulate_impl.h"

/* --- registers --- */

u64 emu_get_gpr(const struct cpu_state *s, unsigned reg, unsigned size_bytes)
{
	return s->gpr[reg] & size_mask(size_bytes);
}

/* Results of 32-bit operations are zero-extended, of shorter ones merged [APM1 3.1.2]. */
void emu_set_gpr(struct cpu_state *s, unsigned reg, unsigned size_bytes, u64 value)
{
	u64 keep = size_bytes >= 4 ? 0 : ~size_mask(size_bytes);

	s->gpr[reg] = (s->gpr[reg] & keep) | (value & size_mask(size_bytes));
}

u64 emu_get_reg(const struct cpu_state *s, const struct insn_operand *o)
{
	if (o->high_byte)
		return s->gpr[o->reg] >> 8 & 0xff;
	return emu_get_gpr(s, o->reg, o->size_bytes);
}

void emu_set_reg(struct cpu_state *s, const struct insn_operand *o, u64 value)
{
	if (o->high_byte)
		s->gpr[o->reg] = (s->gpr[o->reg] & ~0xff00UL) | (value & 0xff) << 8;
	else
		emu_set_gpr(s, o->reg, o->size_bytes, value);
}

/* --- addresses --- */

u64 emu_offset(const struct cpu_state *s, const struct insn *in)
{
	const struct insn_mem *m = &in->mem;
	u64 v = m->disp;

	if (m->rip_relative)
		v += s->rip + in->length;
	if (m->base != INSN_NO_REG)
		v += s->gpr[m->base];
	if (m->index != INSN_NO_REG)
		v += s->gpr[m->index] * m->scale;
	return v & size_mask(in->addrsize_bytes);
}

static u64 to_linear(const struct cpu_state *s, unsigned seg, u64 offset)
{
	if (cpu_code_bits(s) != 64)
		return (s->seg[seg].base + offset) & 0xffffffff;
	return seg == SEG_FS || seg == SEG_GS ? s->seg[seg].base + offset : offset;
}

gva_t emu_linear(const struct cpu_state *s, const struct insn *in)
{
	return GVA(to_linear(s, in->mem.seg, emu_offset(s, in)));
}

static bool canonical(u64 addr)
{
	return (u64)((s64)(addr << 16) >> 16) == addr;
}

/* [APM2 4.12.1 Determining Limit Violations] */
static bool in_limit(const struct segment *g, u64 offset, unsigned size_bytes, bool expand_down)
{
	u64 last = offset + size_bytes - 1;

	if (expand_down)
		return offset > g->limit && last <= (g->attrib & SEG_ATTR_DB ? 0xffffffffUL : 0xffffUL);
	return last <= g->limit;
}

/*
 * [APM2 4.13.1 Type Checks in Legacy and Compatibility Modes].  Real and
 * virtual-8086 mode have limits but no types: there a write through CS is legal.
 */
static bool segment_allows(const struct cpu_state *s, const struct segment *g, u64 offset,
			   unsigned size_bytes, unsigned access)
{
	enum { CODE = 8, EXPAND_DOWN = 4, READ_WRITE = 2 };
	bool typed = (s->cr0 & CR0_PE) && !(s->rflags & RFLAGS_VM);
	unsigned type = g->attrib & SEG_ATTR_TYPE;

	if (!typed)
		return in_limit(g, offset, size_bytes, false);
	if (!(g->attrib & SEG_ATTR_P))
		return false; /* a null selector */
	if (access & EMU_WRITE && (type & (CODE | READ_WRITE)) != READ_WRITE)
		return false;
	if (access & EMU_READ && (type & (CODE | READ_WRITE)) == CODE)
		return false;
	return in_limit(g, offset, size_bytes, (type & (CODE | EXPAND_DOWN)) == EXPAND_DOWN);
}

enum emu_result emu_segment(const struct cpu_state *s, unsigned seg, u64 offset,
			    unsigned size_bytes, unsigned access, gva_t *linear)
{
	unsigned span = MAX(size_bytes, 1U); /* an address without an access: size 0 */
	u64 addr = to_linear(s, seg, offset), last = addr + span - 1;
	bool good;

	/* [APM2 5.3.1 Canonical Address Form]; limits do not exist in 64-bit mode. */
	if (cpu_code_bits(s) == 64)
		good = canonical(addr) && canonical(last);
	else
		good = segment_allows(s, &s->seg[seg], offset, span, access);
	if (!good)
		return seg == SEG_SS ? EMU_SS : EMU_GP;
	*linear = GVA(addr);
	return EMU_OK;
}

static const struct insn_operand *mem_operand(const struct insn *in)
{
	return &in->operand[in->operand[0].kind != OPND_MEM];
}

enum emu_result emu_prepare(struct emu *e, u64 displacement)
{
	const struct insn *in = e->in;
	u64 offset = (emu_offset(e->s, in) + displacement) & size_mask(in->addrsize_bytes);

	if (!insn_has_mem(in))
		return EMU_OK;
	return emu_segment(e->s, in->mem.seg, offset, mem_operand(in)->size_bytes,
			   in->mem_access, &e->addr);
}

/* --- operands --- */

enum emu_result emu_load(struct emu *e, unsigned n, u64 *v)
{
	const struct insn_operand *o = &e->in->operand[n];
	enum emu_result r;

	switch (o->kind) {
	case OPND_MEM:
		r = e->ops->read(e->ctx, e->addr, o->size_bytes, e->in->mem_access, v);
		*v = r ? 0 : *v & size_mask(o->size_bytes);
		return r;
	case OPND_IMM:
		*v = e->in->imm & size_mask(o->size_bytes);
		return EMU_OK;
	case OPND_SREG:
		*v = e->s->seg[o->reg].selector;
		return EMU_OK;
	default:
		*v = emu_get_reg(e->s, o);
		return EMU_OK;
	}
}

enum emu_result emu_store(struct emu *e, unsigned n, u64 v)
{
	const struct insn_operand *o = &e->in->operand[n];

	if (o->kind == OPND_MEM)
		return e->ops->write(e->ctx, e->addr, o->size_bytes, v & size_mask(o->size_bytes));
	emu_set_reg(e->s, o, v);
	return EMU_OK;
}

enum emu_result emu_load_two(struct emu *e, u64 *a, u64 *b)
{
	enum emu_result r = emu_load(e, 0, a);

	return r ? r : emu_load(e, 1, b);
}

enum emu_result emu_finish(struct emu *e, u64 result, u64 flags)
{
	enum emu_result r = emu_store(e, 0, result);

	if (r)
		return r;
	e->s->rflags = flags;
	return emu_done(e);
}

