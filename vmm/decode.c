/*
 * decode.c - one x86 instruction from its bytes [APM3 1.2 Instruction Encoding].
 *
 * Parts, in the order of the bytes: prefixes, opcode (maps in
 * decode_tables.c), ModRM with SIB and displacement, immediate; then the
 * operands are put together and what the hardware refuses is refused.
 *
 * A fetch past the end latches the verdict in d->err and yields zero; every
 * part looks at the latch before it believes what it read.
 */
#include "vmm/decode_tables.h"

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

struct decoder {
	const u8 *bytes;
	size_t nbytes;
	unsigned pos;
	err_t err;
	struct insn *in;
	struct opcode opc;
	u8 rex;              /* the whole byte, 0 if there is none */
	u8 opsize_prefix;    /* 66 */
	u8 seg_override;     /* enum segreg, INSN_NO_REG if none */
	u8 byte;             /* the opcode's last byte */
	u8 modrm;
};

static u8 peek(struct decoder *d)
{
	if (d->err)
		return 0;
	/* One byte too many is #GP, even where the next page is absent [APM2 8.2.14]. */
	if (d->pos >= INSN_MAX_LENGTH) {
		d->in->vector = VEC_GP;
		d->err = ERR_INVALID;
		return 0;
	}
	if (d->pos >= d->nbytes) {
		d->err = ERR_END;
		return 0;
	}
	return d->bytes[d->pos];
}

static u8 fetch(struct decoder *d)
{
	u8 byte = peek(d);

	d->pos++;
	return byte;
}

static u64 fetch_signed(struct decoder *d, unsigned size_bytes)
{
	u64 v = 0;

	for (unsigned i = 0; i < size_bytes; i++)
		v |= (u64)fetch(d) << (8 * i);
	switch (size_bytes) {
	case 1: return (u64)(s8)v;
	case 2: return (u64)(s16)v;
	case 4: return (u64)(s32)v;
	default: return v;
	}
}

static err_t undefined_opcode(struct decoder *d)
{
	d->in->vector = VEC_UD;
	return ERR_INVALID;
}

static bool is_64(const struct decoder *d)
{
	return d->in->code_bits == 64;
}

/*
 * In 64-bit mode an ES, CS, SS or DS override is ignored, and does not cancel
 * an FS or GS one before it [APM3 1.2.4 Segment-Override Prefixes].
 */
static void segment_prefix(struct decoder *d, unsigned seg)
{
	if (!is_64(d) || seg == SEG_FS || seg == SEG_GS)
		d->seg_override = (u8)seg;
}

/* Takes one legacy prefix; false: the byte is none. */
static bool legacy_prefix(struct decoder *d, u8 byte)
{
	struct insn *in = d->in;

	switch (byte) {
	case 0x26: segment_prefix(d, SEG_ES); break;
	case 0x2e: segment_prefix(d, SEG_CS); break;
	case 0x36: segment_prefix(d, SEG_SS); break;
	case 0x3e: segment_prefix(d, SEG_DS); break;
	case 0x64: segment_prefix(d, SEG_FS); break;
	case 0x65: segment_prefix(d, SEG_GS); break;
	case 0x66: d->opsize_prefix = 1; break;
	case 0x67: in->addrsize_bytes = in->code_bits == 32 ? 2 : 4; break;
	case 0xf0: in->lock = 1; break;
	case 0xf2: in->repne = 1; in->rep = 0; break;
	case 0xf3: in->rep = 1; in->repne = 0; break;
	default: return false;
	}
	return true;
}

static err_t prefixes(struct decoder *d)
{
	d->in->addrsize_bytes = d->in->code_bits / 8;
	for (;;) {
		u8 byte = peek(d);

		if (d->err)
			return d->err;
		if (is_64(d) && (byte & 0xf0) == 0x40)
			d->rex = byte;
		else if (legacy_prefix(d, byte))
			d->rex = 0; /* counts only right before the opcode [APM3 1.2.7] */
		else
			return OK;
		d->pos++;
	}
}

/*
 * C4, C5 and 62 begin VEX and EVEX in 64-bit mode; elsewhere only where the
 * old LES, LDS or BOUND would have a register operand, which those refuse
 * [APM3 1.2.8].  None of the five is known here: the maps leave them out, and
 * so need not tell them apart.
 */
static err_t opcode(struct decoder *d)
{
	d->byte = fetch(d);
	if (d->err)
		return d->err;
	d->opc = opcodes_1byte[d->byte];
	if (d->byte == 0x63 && !is_64(d))
		return ERR_UNSUPPORTED; /* ARPL */
	if (d->byte == 0x90) {
		if (d->rex & REX_B)
			return ERR_UNSUPPORTED; /* XCHG r8, rAX */
		if (d->in->rep)
			d->opc.op = INSN_PAUSE;
	}
	if (d->byte != 0x0f)
		return d->err;

	d->byte = fetch(d);
	d->opc = opcodes_0f[d->byte];
	if (d->byte == 0x38) {
		d->byte = fetch(d);
		d->opc = opcode_0f38(d->byte);
	}
	return d->err;
}

/* Picks the instruction where ModRM is part of the opcode. */
static void group(struct decoder *d)
{
	struct opcode *o = &d->opc;
	const struct opcode *member;
	bool is_reg = d->modrm >= 0xc0;

	if (!(o->flags & F_GROUP))
		return;
	if (o->op == GROUP_GDT && is_reg) {
		*o = opcode_0f01(d->modrm);
		return;
	}
	/* 0F AE: the register forms are fences and others; without 66, /6 is XSAVEOPT. */
	if (o->op == GROUP_FLUSH && (is_reg || ((d->modrm >> 3 & 7) == 6 && !d->opsize_prefix))) {
		*o = (struct opcode){ 0 };
		return;
	}
	member = &opcode_groups[o->op][d->modrm >> 3 & 7];
	o->op = member->op;
	o->flags |= member->flags;
	if (member->form)
		o->form = member->form;
}

/* [APM3 1.2.2 Operand-Size Override Prefix] */
static void operand_size(struct decoder *d)
{
	unsigned fl = d->opc.flags, size;

	if (fl & F_BYTE)
		size = 1;
	else if (d->rex & REX_W)
		size = fl & F_MAX4 ? 4 : 8;
	else if (is_64(d))
		size = d->opsize_prefix ? 2 : fl & F_D64 ? 8 : 4;
	else
		size = (d->in->code_bits == 16) != d->opsize_prefix ? 2 : 4;
	if (fl & F_MIN4 && size < 4)
		size = 4;
	d->in->opsize_bytes = (u8)size;
}

/* [APM3 1.4.1 ModRM Byte Format, 16-bit addressing] */
static void address_16(struct decoder *d)
{
	static const u8 base[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
	static const u8 index[4] = { RSI, RDI, RSI, RDI };
	struct insn_mem *m = &d->in->mem;
	unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

	if (mod == 0 && rm == 6) {
		m->disp = fetch_signed(d, 2);
		return;
	}
	m->base = base[rm];
	if (rm < 4)
		m->index = index[rm];
	if (m->base == RBP)
		m->seg = SEG_SS;
	m->disp = fetch_signed(d, mod);
}

/* [APM3 1.4.2 SIB Byte Format], [APM3 1.7 RIP-Relative Addressing] */
static void address_32(struct decoder *d)
{
	struct insn_mem *m = &d->in->mem;
	unsigned mod = d->modrm >> 6, base = d->modrm & 7;
	bool has_sib = base == 4;

	if (has_sib) {
		u8 sib = fetch(d);
		unsigned index = (sib >> 3 & 7) | (d->rex & REX_X ? 8 : 0);

		base = sib & 7;
		m->scale = (u8)(1 << (sib >> 6));
		if (index != RSP)
			m->index = (u8)index;
	}
	if (mod == 0 && base == 5) {
		m->rip_relative = is_64(d) && !has_sib;
		m->disp = fetch_signed(d, 4);
		return;
	}
	/* The stack segment goes with rSP and rBP, not with R12 and R13. */
	base |= d->rex & REX_B ? 8 : 0;
	m->base = (u8)base;
	if (base == RSP || base == RBP)
		m->seg = SEG_SS;
	m->disp = fetch_signed(d, mod == 2 ? 4 : mod);
}

static void clear_mem(struct decoder *d)
{
	d->in->mem = (struct insn_mem){
		.base = INSN_NO_REG, .index = INSN_NO_REG, .scale = 1, .seg = SEG_DS,
	};
}

static void apply_override(struct decoder *d)
{
	if (d->seg_override != INSN_NO_REG)
		d->in->mem.seg = d->seg_override;
}

/* MOV to or from CRn and DRn takes mod for 3 whatever it says [APM3 MOV CRn]. */
static bool rm_is_reg(const struct decoder *d)
{
	return d->modrm >= 0xc0 || (d->opc.form >= FORM_R_C && d->opc.form <= FORM_D_R);
}

static err_t modrm(struct decoder *d)
{
	if (d->opc.form < FORM_FIRST_MODRM)
		return OK;
	d->modrm = fetch(d);
	if (d->err)
		return d->err;
	group(d);
	if (d->opc.form < FORM_FIRST_MODRM || rm_is_reg(d) || d->opc.flags & F_UD || !d->opc.op)
		return OK;
	if (d->in->addrsize_bytes == 2)
		address_16(d);
	else
		address_32(d);
	apply_override(d);
	return d->err;
}

/* --- operands --- */

static struct insn_operand *add(struct decoder *d, unsigned kind, unsigned reg, unsigned size)
{
	struct insn_operand *o = &d->in->operand[d->in->noperands++];

	*o = (struct insn_operand){ .kind = (u8)kind, .reg = (u8)reg, .size_bytes = (u8)size };
	return o;
}

/* Without REX, byte registers 4 to 7 are AH, CH, DH and BH. */
static void add_gpr(struct decoder *d, unsigned reg, unsigned size)
{
	struct insn_operand *o = add(d, OPND_REG, reg, size);

	if (size == 1 && !d->rex && reg >= 4) {
		o->reg = (u8)(reg - 4);
		o->high_byte = 1;
	}
}

static unsigned reg_field(const struct decoder *d)
{
	return (d->modrm >> 3 & 7) | (d->rex & REX_R ? 8 : 0);
}

static void add_reg(struct decoder *d, unsigned size)
{
	add_gpr(d, reg_field(d), size);
}

static void add_rm(struct decoder *d, unsigned reg_size, unsigned mem_size)
{
	if (rm_is_reg(d))
		add_gpr(d, (d->modrm & 7) | (d->rex & REX_B ? 8 : 0), reg_size);
	else
		add(d, OPND_MEM, 0, mem_size);
}

static void add_offset(struct decoder *d, unsigned size)
{
	unsigned n = d->in->addrsize_bytes;

	d->in->mem.disp = fetch_signed(d, n) & size_mask(n);
	apply_override(d);
	add(d, OPND_MEM, 0, size);
}

static void add_imm(struct decoder *d, unsigned encoded_bytes, unsigned size)
{
	d->in->imm = fetch_signed(d, encoded_bytes);
	add(d, OPND_IMM, 0, size);
}

/* A port, an interrupt vector, a count: a byte that is not sign-extended. */
static void add_number(struct decoder *d)
{
	add_imm(d, 1, 1);
	d->in->imm &= 0xff;
}

static err_t operands_with_modrm(struct decoder *d)
{
	unsigned size = d->in->opsize_bytes, imm = MIN(size, 4U), special = is_64(d) ? 8 : 4;

	switch (d->opc.form) {
	case FORM_E: add_rm(d, size, size); break;
	case FORM_E_G: add_rm(d, size, size); add_reg(d, size); break;
	case FORM_G_E: add_reg(d, size); add_rm(d, size, size); break;
	case FORM_E_I: add_rm(d, size, size); add_imm(d, imm, size); break;
	case FORM_E_Ib: add_rm(d, size, size); add_imm(d, 1, size); break;
	case FORM_E_Ub: add_rm(d, size, size); add_number(d); break;
	case FORM_E_1: add_rm(d, size, size); add(d, OPND_IMM, 0, 1); d->in->imm = 1; break;
	case FORM_E_CL: add_rm(d, size, size); add(d, OPND_REG, RCX, 1); break;
	case FORM_E_G_Ub: add_rm(d, size, size); add_reg(d, size); add_number(d); break;
	case FORM_E_G_CL:
		add_rm(d, size, size); add_reg(d, size); add(d, OPND_REG, RCX, 1);
		break;
	case FORM_G_E_I: add_reg(d, size); add_rm(d, size, size); add_imm(d, imm, size); break;
	case FORM_G_E_Ib: add_reg(d, size); add_rm(d, size, size); add_imm(d, 1, size); break;
	case FORM_G_Eb: add_reg(d, size); add_rm(d, 1, 1); break;
	case FORM_G_Ew: add_reg(d, size); add_rm(d, 2, 2); break;
	case FORM_G_Ed: add_reg(d, size); add_rm(d, 4, 4); break; /* with 66 too, as AMD and QEMU do */
	case FORM_Ew: add_rm(d, 2, 2); break;
	case FORM_Emw: add_rm(d, size, 2); break;
	case FORM_E_S:
		if ((d->modrm >> 3 & 7) > SEG_GS)
			return undefined_opcode(d);
		add_rm(d, size, 2);
		add(d, OPND_SREG, d->modrm >> 3 & 7, 2);
		break;
	case FORM_S_E:
		/* CS is loaded by far transfers only. */
		if ((d->modrm >> 3 & 7) > SEG_GS || (d->modrm >> 3 & 7) == SEG_CS)
			return undefined_opcode(d);
		add(d, OPND_SREG, d->modrm >> 3 & 7, 2);
		add_rm(d, 2, 2);
		break;
	case FORM_Epair: add_rm(d, 0, size == 8 ? 16 : 8); break;
	case FORM_Etable: add_rm(d, 0, special + 2); break;
	case FORM_Enone: add_rm(d, 0, 0); break;
	case FORM_C_R: add(d, OPND_CR, reg_field(d), special); add_rm(d, special, 0); break;
	case FORM_R_C: add_rm(d, special, 0); add(d, OPND_CR, reg_field(d), special); break;
	case FORM_D_R: add(d, OPND_DR, reg_field(d), special); add_rm(d, special, 0); break;
	case FORM_R_D: add_rm(d, special, 0); add(d, OPND_DR, reg_field(d), special); break;
	}
	return d->err;
}

static err_t operands(struct decoder *d)
{
	unsigned size = d->in->opsize_bytes;

	switch (d->opc.form) {
	case FORM_NONE: break;
	case FORM_Ib: add_number(d); break;
	case FORM_A_I: add(d, OPND_REG, RAX, size); add_imm(d, MIN(size, 4U), size); break;
	case FORM_A_O: add(d, OPND_REG, RAX, size); add_offset(d, size); break;
	case FORM_O_A: add_offset(d, size); add(d, OPND_REG, RAX, size); break;
	case FORM_A_Ib: add(d, OPND_REG, RAX, size); add_number(d); break;
	case FORM_Ib_A: add_number(d); add(d, OPND_REG, RAX, size); break;
	case FORM_A_DX: add(d, OPND_REG, RAX, size); add(d, OPND_REG, RDX, 2); break;
	case FORM_DX_A: add(d, OPND_REG, RDX, 2); add(d, OPND_REG, RAX, size); break;
	case FORM_STRING: apply_override(d); break;
	default: return operands_with_modrm(d);
	}
	return d->err;
}

/* CR0, 2, 3, 4 and 8 exist; of the debug registers 0 to 7 (4 and 5 are the caller's, CR4.DE). */
static err_t check_special(struct decoder *d)
{
	struct insn_operand *o = &d->in->operand[d->opc.form == FORM_R_C || d->opc.form == FORM_R_D];

	if (d->opc.form < FORM_R_C || d->opc.form > FORM_D_R)
		return OK;
	if (o->kind == OPND_DR)
		return o->reg > 7 ? undefined_opcode(d) : OK;
	/* LOCK MOV CR0 is how CR8 is reached outside 64-bit mode [APM3 MOV CRn]. */
	if (d->in->lock) {
		if (o->reg != 0)
			return undefined_opcode(d);
		o->reg = 8;
		d->in->lock = 0;
	}
	return (1U << o->reg & 0x11d) ? OK : undefined_opcode(d);
}

static err_t check_legal(struct decoder *d)
{
	struct insn *in = d->in;
	unsigned fl = d->opc.flags;
	err_t err = check_special(d);

	if (err)
		return err;
	if (in->lock && !(fl & F_LOCK && in->operand[0].kind == OPND_MEM))
		return undefined_opcode(d);
	if (fl & F_MEM && !insn_has_mem(in))
		return undefined_opcode(d);
	return OK;
}

static u8 access_of(const struct decoder *d)
{
	const struct insn *in = d->in;

	if (!insn_has_mem(in) || d->opc.form == FORM_Enone)
		return 0;
	if (in->operand[0].kind != OPND_MEM || d->opc.flags & F_READ)
		return MEM_READ;
	return d->opc.flags & F_WRITE ? MEM_WRITE : MEM_READ | MEM_WRITE;
}

/* Known, in this mode and with these prefixes? */
static err_t check_known(struct decoder *d)
{
	unsigned fl = d->opc.flags;
	bool rep = d->in->rep || d->in->repne;

	if (fl & F_UD)
		return undefined_opcode(d);
	if (d->opc.op == INSN_NONE)
		return ERR_UNSUPPORTED;
	if (fl & (is_64(d) ? F_NO64 : F_ONLY64))
		return undefined_opcode(d);
	if ((fl & (F_NOREP | F_NP) && rep) || (fl & F_NP && d->opsize_prefix) ||
	    (fl & F_F3 && !d->in->rep))
		return ERR_UNSUPPORTED;
	return OK;
}

static err_t decode(struct decoder *d)
{
	err_t err;

	if ((err = prefixes(d)) || (err = opcode(d)) || (err = modrm(d)) || (err = check_known(d)))
		return err;
	operand_size(d);
	if ((err = operands(d)) || (err = check_legal(d)))
		return err;
	d->in->op = d->opc.op;
	d->in->length = (u8)d->pos;
	d->in->mem_access = access_of(d);
	if (d->opc.flags & F_COND)
		d->in->cond = d->byte & 0xf;
	return OK;
}

err_t insn_decode(const u8 *bytes, size_t nbytes, unsigned code_bits, struct insn *out)
{
	struct decoder d = {
		.bytes = bytes, .nbytes = nbytes, .in = out, .seg_override = INSN_NO_REG,
	};

	memset(out, 0, sizeof(*out));
	out->code_bits = (u8)code_bits;
	clear_mem(&d);
	return decode(&d);
}
