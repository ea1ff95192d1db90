/*
 * emulate_string.c - string instructions, one iteration a call, and port I/O.
 *
 * Here two operands of one instruction can both be memory, or memory and a
 * port: the part where invariant E3 of emulate.h matters most.
 */
#include "vmm/emulate_alu.h"
#include "vmm/emulate_impl.h"

/* --- strings [APM3 1.2.6 Repeat Prefixes] --- */

struct string {
	gva_t src, dst; /* linear rSI and rDI, where used */
	u64 value;      /* to be written, or the rSI side of a comparison */
	u64 flags;
};

/* One side: segmentation and, where another operand is to follow, check (E3). */
static enum emu_result string_side(struct emu *e, unsigned seg, unsigned reg, unsigned access,
				   bool check, gva_t *addr)
{
	const struct insn *in = e->in;
	unsigned size = in->opsize_bytes;
	enum emu_result r;

	if (!access)
		return EMU_OK;
	r = emu_segment(e->s, seg, emu_get_gpr(e->s, reg, in->addrsize_bytes), size, access, addr);
	return r || !check ? r : e->ops->check(e->ctx, *addr, size, access);
}

/*
 * Which side's fault is reported when both would: rSI's for MOVS, rDI's for
 * CMPS.  The manual leaves it open; AMD processors and QEMU do this.
 */
static enum emu_result string_prepare(struct emu *e, struct string *t, unsigned src, unsigned dst)
{
	bool check = (src && dst) || e->in->op == INSN_INS, dst_first = e->in->op == INSN_CMPS;
	enum emu_result r = EMU_OK;

	if (dst_first)
		r = string_side(e, SEG_ES, RDI, dst, check, &t->dst);
	if (!r)
		r = string_side(e, e->in->mem.seg, RSI, src, check, &t->src);
	if (!r && !dst_first)
		r = string_side(e, SEG_ES, RDI, dst, check, &t->dst);
	return r;
}

static enum emu_result string_access(struct emu *e, struct string *t, unsigned src, unsigned dst)
{
	unsigned size = e->in->opsize_bytes;
	u16 port = (u16)e->s->gpr[RDX];
	u64 other = 0;
	enum emu_result r = EMU_OK;

	if (dst == EMU_READ)
		r = e->ops->read(e->ctx, t->dst, size, EMU_READ, &other);
	if (r)
		return r;
	if (src)
		r = e->ops->read(e->ctx, t->src, size, EMU_READ, &t->value);
	else if (e->in->op == INSN_INS)
		r = e->ops->in(e->ctx, port, size, &t->value);
	else
		t->value = emu_get_gpr(e->s, RAX, size);
	if (r)
		return r;
	t->value &= size_mask(size);
	if (e->in->op == INSN_OUTS)
		return e->ops->out(e->ctx, port, size, t->value);
	if (dst == EMU_WRITE)
		return e->ops->write(e->ctx, t->dst, size, t->value);
	if (dst == EMU_READ)
		alu_binary(INSN_CMP, t->value, other & size_mask(size), size, &t->flags);
	return EMU_OK;
}

static void string_step(struct emu *e, unsigned reg)
{
	unsigned width = e->in->addrsize_bytes;
	u64 step = e->in->opsize_bytes;

	emu_set_gpr(e->s, reg, width, e->s->gpr[reg] + (e->s->rflags & RFLAGS_DF ? -step : step));
}

/* Counts down; true: this was the last iteration. */
static bool string_last(struct emu *e, u64 flags)
{
	const struct insn *in = e->in;
	unsigned width = in->addrsize_bytes;
	bool compares = in->op == INSN_CMPS || in->op == INSN_SCAS;

	if (!in->rep && !in->repne)
		return true;
	emu_set_gpr(e->s, RCX, width, e->s->gpr[RCX] - 1);
	if (emu_get_gpr(e->s, RCX, width) == 0)
		return true;
	return compares && !(flags & RFLAGS_ZF) == !!in->rep;
}

enum emu_result emu_string(struct emu *e)
{
	static const u8 roles[][2] = { /* access to the rSI side, to the rDI side */
		[INSN_MOVS - INSN_MOVS] = { EMU_READ, EMU_WRITE },
		[INSN_CMPS - INSN_MOVS] = { EMU_READ, EMU_READ },
		[INSN_STOS - INSN_MOVS] = { 0, EMU_WRITE },
		[INSN_LODS - INSN_MOVS] = { EMU_READ, 0 },
		[INSN_SCAS - INSN_MOVS] = { 0, EMU_READ },
		[INSN_INS - INSN_MOVS] = { 0, EMU_WRITE },
		[INSN_OUTS - INSN_MOVS] = { EMU_READ, 0 },
	};
	const struct insn *in = e->in;
	unsigned src = roles[in->op - INSN_MOVS][0], dst = roles[in->op - INSN_MOVS][1];
	struct string t = { .flags = e->s->rflags };
	enum emu_result r;

	if ((in->rep || in->repne) && emu_get_gpr(e->s, RCX, in->addrsize_bytes) == 0)
		return emu_done(e);
	if ((r = string_prepare(e, &t, src, dst)) || (r = string_access(e, &t, src, dst)))
		return r;
	if (src)
		string_step(e, RSI);
	if (dst)
		string_step(e, RDI);
	if (in->op == INSN_LODS)
		emu_set_gpr(e->s, RAX, in->opsize_bytes, t.value);
	e->s->rflags = t.flags;
	if (string_last(e, t.flags))
		return emu_done(e);
	/* Interrupts may come in now; RF stays, or a code breakpoint would hit again. */
	e->s->interrupt_shadow = 0;
	return EMU_REPEAT;
}

/* --- ports --- */

enum emu_result emu_port_in(struct emu *e)
{
	u64 port, v;
	enum emu_result r = emu_load(e, 1, &port);

	if (r || (r = e->ops->in(e->ctx, (u16)port, e->in->opsize_bytes, &v)))
		return r;
	return emu_finish(e, v, e->s->rflags);
}

enum emu_result emu_port_out(struct emu *e)
{
	u64 port, v;
	enum emu_result r = emu_load_two(e, &port, &v);

	if (r || (r = e->ops->out(e->ctx, (u16)port, e->in->opsize_bytes, v)))
		return r;
	return emu_done(e);
}

