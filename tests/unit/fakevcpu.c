/*
 * fakevcpu.c - the processor of fakevcpu.h.
 *
 *   1  memory through the second-level tables
 *   2  interrupts and exceptions
 *   3  the instructions
 *   4  the hooks
 *
 * Instructions: NOP; INC, DEC, PUSH, POP reg; MOV reg, imm; ADD, SUB, XOR, MOV
 * between registers; ADD, MOV to, MOV from [disp32] or [reg + disp32]; MOV
 * [disp32], imm; IMUL, ROL by a constant; DIV reg; REP MOVSB; JMP, JZ, JNZ,
 * LOOP, CALL, RET; ADD [esp + n], imm and ADD reg, imm8; PUSHF, POPF, IRET,
 * INT n, STI, CLI, MOV SS; and those that exit: IN, OUT, INS, OUTS, HLT,
 * CPUID, RDTSC, RDMSR, WRMSR, WBINVD, VMMCALL.  All else is #UD.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/fakevcpu.h"

/* How one instruction ended. */
enum step {
	STEP_DONE,   /* counts */
	STEP_EXIT,   /* f->out says why; nothing has changed */
	STEP_FAULT,  /* an exception: f->vector; nothing has changed */
};

/* One run. */
struct fake {
	struct vcpu *v;
	struct fake_vcpu *b;
	struct cpu_state *s;
	struct exit *out;
	u64 entry_vtime;
	u8 vector;
	bool shadow, new_shadow;
	bool stepping;       /* within an instruction, not a delivery */
	unsigned touched;    /* watch slots this instruction has reached */
};

/* --- 1  memory ------------------------------------------------------------- */

enum { PTE_R = 1, PTE_W = 2, PTE_X = 4, PTE_D = 0x40, PTE_TABLE = 0x200 };

static u64 fake_pte_leaf(hpa_t at, unsigned rights)
{
	return at.v | PTE_R | (rights & MAP_WRITE ? PTE_W : 0) | (rights & MAP_EXEC ? PTE_X : 0);
}

static u64 fake_pte_table(hpa_t at)
{
	return at.v | PTE_TABLE;
}

static unsigned fake_pte_rights(u64 pte)
{
	if (!(pte & PTE_R))
		return 0;
	return MAP_READ | (pte & PTE_W ? MAP_WRITE : 0) | (pte & PTE_X ? MAP_EXEC : 0);
}

static u64 *table_of(u64 entry)
{
	return (u64 *)(entry & 0x000ffffffffff000UL);
}

/* The last-level entry of a page; NULL: no table reaches there. */
static u64 *find_pte(struct fake *f, u64 gpa)
{
	u64 page = gpa >> PAGE_SHIFT, slot = page % ARRAY_SIZE(f->b->pte), *table = f->v->vm->paging.root;

	if (f->b->pte[slot] && f->b->pte_page[slot] == page)
		return f->b->pte[slot];
	for (int shift = 39; shift > 12; shift -= 9) {
		u64 entry = table[gpa >> shift & 511];

		if (!entry)
			return NULL;
		table = table_of(entry);
	}
	f->b->pte_page[slot] = page;
	f->b->pte[slot] = &table[page & 511];
	return f->b->pte[slot];
}

static void paging_exit(struct fake *f, u64 gpa, unsigned right)
{
	f->out->reason = EXIT_PAGING;
	f->out->paging.gpa = GPA(gpa);
	f->out->paging.write = right == MAP_WRITE;
	f->out->paging.fetch = right == MAP_EXEC;
	f->b->paging_exits++;
}

/* One byte's place in host memory, or NULL and an exit. */
static u8 *reach(struct fake *f, u64 gpa, unsigned right)
{
	u64 *pte = find_pte(f, gpa);

	if (!pte || !(fake_pte_rights(*pte) & right)) {
		paging_exit(f, gpa, right);
		return NULL;
	}
	if (right == MAP_WRITE)
		*pte |= PTE_D;
	return (u8 *)table_of(*pte) + gpa % PAGE_SIZE;
}

/* Armed slots, but those for instructions, that an access touches.  Linear addresses are physical ones here. */
static unsigned slots_at(const struct vcpu *v, u64 at, unsigned n, bool write)
{
	unsigned slots = 0;

	for (unsigned i = 0; i < v->nwatches; i++) {
		const struct watch_slot *w = &v->watch[i];
		bool of_interest = w->kind == SLOT_ACCESS || (w->kind == SLOT_WRITE && write);

		if (v->watch_armed >> i & 1 && of_interest && at < w->linear + w->size_bytes && w->linear < at + n)
			slots |= 1U << i;
	}
	return slots;
}

static unsigned exec_slots(const struct vcpu *v)
{
	unsigned slots = 0;

	for (unsigned i = 0; i < v->nwatches; i++)
		if (v->watch_armed >> i & 1 && v->watch[i].kind == SLOT_EXEC && v->watch[i].linear == v->cpu.rip)
			slots |= 1U << i;
	return slots;
}

static void tell_reached(struct fake *f, u32 at, unsigned n, bool write)
{
	if (f->stepping && f->b->reached)
		f->b->reached(f->v, at, n, write);
}

/* n bytes that may lie on two pages: both are checked before anything is done. */
static bool access(struct fake *f, u32 at, void *buf, unsigned n, unsigned right)
{
	unsigned head = (unsigned)MIN((u64)n, PAGE_SIZE - at % PAGE_SIZE);
	u8 *first, *second;

	if (right != MAP_EXEC)
		tell_reached(f, at, n, right == MAP_WRITE);
	first = second = reach(f, at, right);
	if (first && head < n)
		second = reach(f, (u32)(at + head), right);
	if (!first || !second)
		return false;
	if (f->stepping && right != MAP_EXEC)
		f->touched |= slots_at(f->v, at, n, right == MAP_WRITE);
	if (right == MAP_WRITE) {
		memcpy(first, buf, head);
		memcpy(second, (u8 *)buf + head, n - head);
	} else {
		memcpy(buf, first, head);
		memcpy((u8 *)buf + head, second, n - head);
	}
	return true;
}

static bool load32(struct fake *f, u32 at, u32 *value)
{
	return access(f, at, value, 4, MAP_READ);
}

static bool store32(struct fake *f, u32 at, u32 value)
{
	return access(f, at, &value, 4, MAP_WRITE);
}

/* --- 2  interrupts and exceptions ---------------------------------------------- */

void fake_gate(u8 out[8], u32 handler, bool trap)
{
	write_bytes_le(out, 2, handler);
	write_bytes_le(out + 2, 2, 8);
	out[4] = 0;
	out[5] = trap ? 0x8f : 0x8e;
	write_bytes_le(out + 6, 2, handler >> 16);
}

/* Through the IDT; false: an exit, and nothing has changed. */
static bool deliver(struct fake *f, unsigned vector, bool has_error, u32 error)
{
	struct cpu_state *s = f->s;
	u32 frame[4] = { error, (u32)s->rip, 8, (u32)s->rflags }, size = has_error ? 16 : 12;
	u32 sp = (u32)s->gpr[RSP] - size;
	u8 gate[8];

	f->out->in_delivery = true; /* of whatever exit stops us here */
	if (!access(f, (u32)f->b->block.idtr.base + vector * 8, gate, 8, MAP_READ))
		return false;
	if (!(gate[5] & 0x80)) {
		f->out->reason = EXIT_TRIPLE_FAULT;
		return false;
	}
	if (!access(f, sp, &frame[!has_error], size, MAP_WRITE))
		return false;
	s->gpr[RSP] = sp;
	s->rip = read_bytes_le(gate, 2) | read_bytes_le(gate + 6, 2) << 16;
	if (!(gate[5] & 1))
		s->rflags &= ~(u64)RFLAGS_IF;
	f->shadow = false;
	f->out->in_delivery = false;
	return true;
}

static bool deliver_exception(struct fake *f, struct pending_exception p)
{
	p.valid = true;
	if (deliver(f, p.vector, p.has_error, p.error)) {
		f->b->exceptions++;
		return true;
	}
	if (f->out->reason == EXIT_PAGING)
		f->v->exception = p; /* cut short: once more at the next entry */
	return false;
}

/* --- 3  the instructions ---------------------------------------------------------- */

static enum step fault(struct fake *f, u8 vector)
{
	f->vector = vector;
	return STEP_FAULT;
}

static enum step leave(struct fake *f, enum exit_reason reason, unsigned length)
{
	f->out->reason = reason;
	f->out->insn_bytes = f->b->quirks.says_length ? (u8)length : 0;
	return STEP_EXIT;
}

static enum step done(struct fake *f, unsigned length)
{
	f->s->rip = (u32)(f->s->rip + length);
	return STEP_DONE;
}

/* The instruction's bytes, as they are asked for: a short one never faults for what follows it. */
static bool byte(struct fake *f, unsigned n, u8 *value)
{
	return access(f, (u32)f->s->rip + n, value, 1, MAP_EXEC);
}

static bool imm32(struct fake *f, unsigned n, u32 *value)
{
	return access(f, (u32)f->s->rip + n, value, 4, MAP_EXEC);
}

static u32 reg(const struct fake *f, unsigned r)
{
	return (u32)f->s->gpr[r];
}

static void set_reg(struct fake *f, unsigned r, u32 value)
{
	f->s->gpr[r] = value;
}

static void set_flags(struct fake *f, u32 result, bool carry)
{
	f->s->rflags = (f->s->rflags & ~(u64)(RFLAGS_ZF | RFLAGS_SF | RFLAGS_CF)) | (result ? 0 : RFLAGS_ZF) |
		       (result >> 31 ? RFLAGS_SF : 0) | (carry ? RFLAGS_CF : 0);
}

static u32 add(struct fake *f, u32 a, u32 b)
{
	set_flags(f, a + b, a + b < a);
	return a + b;
}

/* Opcodes 01, 29, 31, 89, 8B with ModRM: registers, [disp32], [reg + disp32]. */
static enum step modrm_op(struct fake *f, u8 op)
{
	u8 modrm;
	u32 disp, at, old;

	if (!byte(f, 1, &modrm))
		return STEP_EXIT;
	unsigned r = modrm >> 3 & 7, rm = modrm & 7, mod = modrm >> 6;

	if (mod == 3) {
		u32 a = reg(f, rm), b = reg(f, r);

		if (op == 0x8b) {
			set_reg(f, r, a);
			return done(f, 2);
		}
		set_reg(f, rm, op == 0x89 ? b : op == 0x01 ? a + b : op == 0x29 ? a - b : a ^ b);
		if (op != 0x89)
			set_flags(f, reg(f, rm), op == 0x01 ? a + b < a : op == 0x29 && a < b);
		return done(f, 2);
	}
	if (!(mod == 0 && rm == 5) && !(mod == 2 && rm != 4))
		return fault(f, VEC_UD);
	if (!imm32(f, 2, &disp))
		return STEP_EXIT;
	at = disp + (mod == 2 ? reg(f, rm) : 0);
	switch (op) {
	case 0x8b:
		if (!load32(f, at, &old))
			return STEP_EXIT;
		set_reg(f, r, old);
		return done(f, 6);
	case 0x89:
		return store32(f, at, reg(f, r)) ? done(f, 6) : STEP_EXIT;
	case 0x01:
		if (!load32(f, at, &old) || !store32(f, at, old + reg(f, r)))
			return STEP_EXIT;
		add(f, old, reg(f, r));
		return done(f, 6);
	}
	return fault(f, VEC_UD);
}

static enum step push(struct fake *f, u32 value, unsigned length)
{
	if (!store32(f, reg(f, RSP) - 4, value))
		return STEP_EXIT;
	set_reg(f, RSP, reg(f, RSP) - 4);
	return done(f, length);
}

static enum step jump(struct fake *f, bool taken, unsigned length)
{
	u8 rel;

	if (!byte(f, 1, &rel))
		return STEP_EXIT;
	return done(f, length + (taken ? (u32)(s8)rel : 0));
}

static enum step port(struct fake *f, bool in, u32 number, unsigned size_bytes, unsigned length)
{
	f->out->port.port = (u16)number;
	f->out->port.size_bytes = (u8)size_bytes;
	f->out->port.in = in;
	return leave(f, EXIT_PORT, length);
}

static enum step string_port(struct fake *f, bool in)
{
	if (reg(f, RCX))
		tell_reached(f, reg(f, in ? RDI : RSI), 1, in);
	f->out->port.string = true;
	return port(f, in, reg(f, RDX), 1, 0);
}

/* One iteration: the last one, or RCX 0, goes on to the next instruction. */
static enum step rep_movsb(struct fake *f)
{
	u8 v;

	if (!reg(f, RCX))
		return done(f, 2);
	if (!access(f, reg(f, RSI), &v, 1, MAP_READ) || !access(f, reg(f, RDI), &v, 1, MAP_WRITE))
		return STEP_EXIT;
	set_reg(f, RSI, reg(f, RSI) + 1);
	set_reg(f, RDI, reg(f, RDI) + 1);
	set_reg(f, RCX, reg(f, RCX) - 1);
	return reg(f, RCX) ? STEP_DONE : done(f, 2);
}

static enum step popf_iret(struct fake *f, bool iret)
{
	u32 rip = (u32)f->s->rip + 1, flags, sp = reg(f, RSP);

	if ((iret && !load32(f, sp, &rip)) || !load32(f, sp + (iret ? 8 : 0), &flags))
		return STEP_EXIT;
	f->s->rip = rip;
	f->s->rflags = (flags & (RFLAGS_CF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_IF)) | RFLAGS_RESERVED1;
	set_reg(f, RSP, sp + (iret ? 12 : 4));
	return STEP_DONE;
}

static enum step two_byte(struct fake *f)
{
	u8 op, third;
	u64 tsc;

	if (!byte(f, 1, &op))
		return STEP_EXIT;
	switch (op) {
	case 0xa2:
		return leave(f, EXIT_CPUID, 2);
	case 0x30:
	case 0x32:
		f->out->msr.write = op == 0x30;
		return leave(f, EXIT_MSR, 2);
	case 0x09:
		return leave(f, EXIT_CACHE, 2);
	case 0x31:
		if (f->b->quirks.tsc_exits)
			return leave(f, EXIT_TSC, 2);
		tsc = f->entry_vtime + f->out->retired * f->v->vm->config.ns_per_insn + f->s->tsc_adjust;
		set_reg(f, RAX, (u32)tsc);
		set_reg(f, RDX, (u32)(tsc >> 32));
		return done(f, 2);
	case 0x01:
		if (!byte(f, 2, &third))
			return STEP_EXIT;
		return third == 0xd9 ? leave(f, EXIT_HYPERCALL, 3) : fault(f, VEC_UD);
	}
	return fault(f, VEC_UD);
}

/* Those with an immediate: registers, [disp32], [esp + disp8]. */
static enum step immediate(struct fake *f, u8 op)
{
	u8 modrm, b[3];
	u32 imm, at, old;

	if (!byte(f, 1, &modrm))
		return STEP_EXIT;
	unsigned rm = modrm & 7, r = modrm >> 3 & 7;

	if (op == 0xc7 && modrm == 0x05)
		return imm32(f, 2, &at) && imm32(f, 6, &imm) && store32(f, at, imm) ? done(f, 10) : STEP_EXIT;
	if (op == 0x83 && modrm == 0x44) { /* ADD [esp + disp8], imm8 */
		if (!byte(f, 2, &b[0]) || !byte(f, 3, &b[1]) || !byte(f, 4, &b[2]))
			return STEP_EXIT;
		at = reg(f, RSP) + (u32)(s8)b[1];
		if (!load32(f, at, &old) || !store32(f, at, old + (u32)(s8)b[2]))
			return STEP_EXIT;
		add(f, old, (u32)(s8)b[2]);
		return done(f, 5);
	}
	if (modrm >> 6 != 3)
		return fault(f, VEC_UD);
	if (op == 0x69) {
		if (!imm32(f, 2, &imm))
			return STEP_EXIT;
		set_reg(f, r, reg(f, rm) * imm);
		return done(f, 6);
	}
	if (!byte(f, 2, &b[0]))
		return STEP_EXIT;
	if (op == 0xc1 && r == 0) { /* ROL */
		set_reg(f, rm, reg(f, rm) << (b[0] & 31) | reg(f, rm) >> (-b[0] & 31));
		return done(f, 3);
	}
	if (op == 0x83 && r == 0) {
		set_reg(f, rm, add(f, reg(f, rm), (u32)(s8)b[0]));
		return done(f, 3);
	}
	return fault(f, VEC_UD);
}

/* F7 /6: DIV. */
static enum step divide(struct fake *f)
{
	u64 a = (u64)reg(f, RDX) << 32 | reg(f, RAX), d;
	u8 modrm;

	if (!byte(f, 1, &modrm))
		return STEP_EXIT;
	if ((modrm & 0xf8) != 0xf0)
		return fault(f, VEC_UD);
	d = reg(f, modrm & 7);
	if (!d || a / d >> 32)
		return fault(f, VEC_DE);
	set_reg(f, RAX, (u32)(a / d));
	set_reg(f, RDX, (u32)(a % d));
	return done(f, 2);
}

static enum step with_rep(struct fake *f)
{
	u8 op;

	if (!byte(f, 1, &op))
		return STEP_EXIT;
	switch (op) {
	case 0xa4:
		return rep_movsb(f);
	case 0x6c:
	case 0x6e:
		return string_port(f, op == 0x6c);
	}
	return fault(f, VEC_UD);
}

/* The opcodes that carry a register in their low three bits. */
static enum step by_register(struct fake *f, u8 op)
{
	unsigned r = op & 7;
	u32 v;

	switch (op & 0xf8) {
	case 0x40:
		v = reg(f, r) + 1;
		set_flags(f, v, f->s->rflags & RFLAGS_CF);
		set_reg(f, r, v);
		return done(f, 1);
	case 0x48:
		v = reg(f, r) - 1;
		set_flags(f, v, f->s->rflags & RFLAGS_CF);
		set_reg(f, r, v);
		return done(f, 1);
	case 0x50:
		return push(f, reg(f, r), 1);
	case 0x58:
		if (!load32(f, reg(f, RSP), &v))
			return STEP_EXIT;
		set_reg(f, RSP, reg(f, RSP) + 4);
		set_reg(f, r, v);
		return done(f, 1);
	default: /* B8 */
		if (!imm32(f, 1, &v))
			return STEP_EXIT;
		set_reg(f, r, v);
		return done(f, 5);
	}
}

static enum step control(struct fake *f, u8 op)
{
	u8 b;
	u32 v, sp = reg(f, RSP);

	switch (op) {
	case 0xeb:
		return jump(f, true, 2);
	case 0x74:
		return jump(f, f->s->rflags & RFLAGS_ZF, 2);
	case 0x75:
		return jump(f, !(f->s->rflags & RFLAGS_ZF), 2);
	case 0xe2:
		if (!byte(f, 1, &b))
			return STEP_EXIT;
		set_reg(f, RCX, reg(f, RCX) - 1);
		return jump(f, reg(f, RCX), 2);
	case 0xe9:
		return imm32(f, 1, &v) ? done(f, 5 + v) : STEP_EXIT;
	case 0xe8:
		if (!imm32(f, 1, &v) || !store32(f, sp - 4, (u32)f->s->rip + 5))
			return STEP_EXIT;
		set_reg(f, RSP, sp - 4);
		return done(f, 5 + v);
	case 0xc3:
		if (!load32(f, sp, &v))
			return STEP_EXIT;
		set_reg(f, RSP, sp + 4);
		f->s->rip = v;
		return STEP_DONE;
	case 0xcd: /* the frame's RIP is behind it */
		if (!byte(f, 1, &b))
			return STEP_EXIT;
		f->s->rip = (u32)f->s->rip + 2;
		if (deliver(f, b, false, 0))
			return STEP_DONE;
		f->s->rip = (u32)f->s->rip - 2;
		return STEP_EXIT;
	}
	return fault(f, VEC_UD);
}

static enum step step(struct fake *f)
{
	u8 op, b;

	f->new_shadow = false;
	if (!byte(f, 0, &op))
		return STEP_EXIT;
	switch (op) {
	case 0x40 ... 0x5f:
	case 0xb8 ... 0xbf:
		return by_register(f, op);
	case 0x01:
	case 0x29:
	case 0x31:
	case 0x89:
	case 0x8b:
		return modrm_op(f, op);
	case 0x69:
	case 0x83:
	case 0xc1:
	case 0xc7:
		return immediate(f, op);
	case 0x90:
		return done(f, 1);
	case 0x8e: /* MOV SS, AX */
		f->new_shadow = true;
		return done(f, 2);
	case 0xfb:
		f->new_shadow = !(f->s->rflags & RFLAGS_IF);
		f->s->rflags |= RFLAGS_IF;
		return done(f, 1);
	case 0xfa:
		f->s->rflags &= ~(u64)RFLAGS_IF;
		return done(f, 1);
	case 0xf4:
		return leave(f, EXIT_HLT, 1);
	case 0x9c:
		return push(f, (u32)f->s->rflags, 1);
	case 0x9d:
	case 0xcf:
		return popf_iret(f, op == 0xcf);
	case 0xf7:
		return divide(f);
	case 0xe4 ... 0xe7: /* AL, EAX with a port in the instruction */
		return byte(f, 1, &b) ? port(f, !(op & 2), b, op & 1 ? 4 : 1, 2) : STEP_EXIT;
	case 0xec ... 0xef:
		return port(f, !(op & 2), reg(f, RDX), op & 1 ? 4 : 1, 1);
	case 0xf3:
		return with_rep(f);
	case 0x0f:
		return two_byte(f);
	default:
		return control(f, op);
	}
}

/* --- 4  the hooks ------------------------------------------------------------------- */

static err_t fake_create(struct vcpu *v)
{
	struct fake_vcpu *b = calloc(1, sizeof(*b));

	if (!b)
		return ERR_NO_MEMORY;
	b->quirks = (struct fake_host_quirks){ .says_length = true };
	v->vendor = b;
	fake_ops.load(v, PART_ALL);
	return OK;
}

static void copy_segments(struct cpu_state *to, const struct cpu_state *from)
{
	memcpy(to->seg, from->seg, sizeof(to->seg));
	to->gdtr = from->gdtr;
	to->idtr = from->idtr;
}

static void copy_control(struct cpu_state *to, const struct cpu_state *from)
{
	to->cpl = from->cpl;
	to->efer = from->efer;
	to->cr0 = from->cr0;
	to->cr2 = from->cr2;
	to->cr3 = from->cr3;
	to->cr4 = from->cr4;
}

static void copy_rest(struct cpu_state *to, const struct cpu_state *from)
{
	memcpy(to->dr, from->dr, sizeof(to->dr));
	to->dr6 = from->dr6;
	to->dr7 = from->dr7;
	to->star = from->star;
	to->lstar = from->lstar;
	to->cstar = from->cstar;
	to->sfmask = from->sfmask;
	to->kernel_gs_base = from->kernel_gs_base;
	to->sysenter_cs = from->sysenter_cs;
	to->sysenter_esp = from->sysenter_esp;
	to->sysenter_eip = from->sysenter_eip;
	memcpy(to->fx, from->fx, sizeof(to->fx));
}

static void copy_parts(struct cpu_state *to, const struct cpu_state *from, unsigned parts)
{
	if (parts & PART_SEGMENTS)
		copy_segments(to, from);
	if (parts & PART_CONTROL)
		copy_control(to, from);
	if (parts & PART_REST)
		copy_rest(to, from);
}

static void fake_load(struct vcpu *v, unsigned parts)
{
	copy_parts(&fake_of(v)->block, &v->cpu, parts);
}

static void fake_save(struct vcpu *v, unsigned parts)
{
	copy_parts(&v->cpu, &fake_of(v)->block, parts);
}

/* What the contract does not promise to be current is nonsense until it is saved. */
static void poison(struct vcpu *v, u64 runs)
{
	struct segment cs = v->cpu.seg[SEG_CS];

	memset(v->cpu.seg, 0xa5 ^ (int)(runs & 0x1f), sizeof(v->cpu.seg));
	v->cpu.seg[SEG_CS] = cs;
	v->cpu.idtr.base = v->cpu.gdtr.base = 0xbad + runs;
	v->cpu.star = v->cpu.lstar = v->cpu.dr6 = v->cpu.dr7 = v->cpu.dr[0] = 0xbad00 + runs;
	v->cpu.fx[0] = v->cpu.fx[511] = (u8)(0xbd + runs);
}

static void stop_at_watch(struct fake *f, unsigned slots)
{
	f->out->reason = EXIT_WATCH;
	f->out->watch.slots = (u8)slots;
}

/* Instructions until one exits, a watch stops them or the budget is used up. */
static void execute(struct fake *f, u64 budget)
{
	struct vcpu *v = f->v;

	while (f->out->retired < budget) {
		u64 count = v->vm->now.count + f->out->retired;

		if (v->irq_vector >= 0 && !f->out->irq_taken && (f->s->rflags & RFLAGS_IF) && !f->shadow) {
			if (!deliver(f, (unsigned)v->irq_vector, false, 0))
				return;
			f->out->irq_taken = true;
			f->b->irqs++;
			if (f->b->trace)
				f->b->trace(v, count, v->irq_vector);
		}
		if (f->b->trace)
			f->b->trace(v, count, -1);
		if (exec_slots(v)) {
			stop_at_watch(f, exec_slots(v));
			return;
		}
		f->touched = 0;
		f->stepping = true;
		enum step how = step(f);
		f->stepping = false;
		switch (how) {
		case STEP_DONE:
			f->out->retired++;
			f->shadow = f->new_shadow && !f->shadow; /* of two in a row only the first casts one */
			if (f->touched) {
				stop_at_watch(f, f->touched);
				return;
			}
			break;
		case STEP_EXIT:
			return;
		case STEP_FAULT:
			if (!deliver_exception(f, (struct pending_exception){ .vector = f->vector }))
				return;
			break;
		}
	}
	f->out->reason = EXIT_STOP;
}

/* What hosts get wrong with their debug registers in use. */
static void watch_quirks(struct vcpu *v, struct exit *out)
{
	struct fake_vcpu *b = fake_of(v);

	if (!v->watch_armed)
		return;
	b->armed_runs++;
	if (b->quirks.watch_disturbs && b->armed_runs % b->quirks.watch_disturbs == 0)
		v->cpu.gpr[RSP] = (u32)(v->cpu.gpr[RSP] - 4);
	if (b->quirks.watch_blind) {
		v->watch_armed = 0;
		out->blind = true;
	}
}

static void fake_run(struct vcpu *v, u64 budget, struct exit *out)
{
	struct fake_vcpu *b = fake_of(v);
	struct fake f = { .v = v, .b = b, .s = &v->cpu, .out = out, .entry_vtime = v->vm->now.vtime_ns,
			  .shadow = b->quirks.keeps_shadow && v->cpu.interrupt_shadow };
	struct pending_exception p = v->exception;

	if (!budget) {
		fprintf(stderr, "fake vCPU: run without a budget\n");
		abort();
	}
	*out = (struct exit){ 0 };
	watch_quirks(v, out);
	v->exception.valid = false;
	if (p.valid)
		b->block.cr2 = v->cpu.cr2;
	if (!p.valid || deliver_exception(&f, p))
		execute(&f, budget);
	v->cpu.interrupt_shadow = f.shadow;
	copy_control(&v->cpu, &b->block);
	v->cpu.seg[SEG_CS] = b->block.seg[SEG_CS];
	poison(v, ++b->runs);
}

void fake_start(struct vcpu *v, u32 rip, u32 rsp, u32 idt)
{
	struct cpu_state *s = &v->cpu;

	for (unsigned i = 0; i < NSEG; i++)
		s->seg[i] = (struct segment){ .selector = 16, .limit = 0xffffffff,
					      .attrib = 0x93 | SEG_ATTR_DB | SEG_ATTR_G };
	s->seg[SEG_CS].selector = 8;
	s->seg[SEG_CS].attrib = 0x9b | SEG_ATTR_DB | SEG_ATTR_G;
	s->cr0 = CR0_PE | CR0_ET;
	s->rip = rip;
	s->gpr[RSP] = rsp;
	s->idtr = (struct table_reg){ .base = idt, .limit = 0x7ff };
	fake_load(v, PART_ALL);
}

const struct virt_ops fake_ops = {
	.name = "fake",
	.create = fake_create,
	.load = fake_load,
	.save = fake_save,
	.run = fake_run,
	.pte_leaf = fake_pte_leaf,
	.pte_table = fake_pte_table,
	.pte_rights = fake_pte_rights,
	.pte_dirty = PTE_D,
};
