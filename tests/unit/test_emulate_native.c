/*
 * test_emulate_native.c - the emulator against the CPU the tests run on.
 *
 * Random 64-bit-mode instructions with random operands are run
 * twice, once by the CPU in a trampoline that loads all registers and flags,
 * once by emulate() on a copy of the same memory.  Registers, memory, defined
 * flags, rip and faults must agree.  That also settles what a disassembler
 * could only claim about lengths and sizes.
 *
 * On every sample the invariants of emulate.h are checked as well: E1 by
 * letting each callback fail in turn, E2 by counting accesses.
 */
#include <cpuid.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "vmm/emulate.h"

#define ARITH (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define DATA_BYTES 16384U
#define CODE_BYTES 4096U
#define GUARD_BYTES 4096U

static u64 xorshift(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Numbers arithmetic is likely to get wrong, among any others. */
static u64 operand_value(u64 *seed)
{
	static const u64 edge[] = {
		0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff,
	};
	u64 r = xorshift(seed);

	return r & 1 ? xorshift(seed) : edge[(r >> 8) % ARRAY_SIZE(edge)] + (r >> 32 & 1);
}

/* --- memory for emulate() --- */

struct memory {
	u64 base;             /* linear address of data[0] */
	u8 data[DATA_BYTES];
	unsigned reads, writes, checks, ports, calls;
	unsigned fail_at;     /* this call (counted from 1) fails; 0: none */
	enum emu_result failure;
	bool write_seen_first;
	u64 last_intent, port_value;
	u64 fault_at;         /* the first byte that is not there */
};

static enum emu_result enter(struct memory *m, gva_t a, unsigned size)
{
	if (++m->calls == m->fail_at)
		return m->failure;
	if (a.v - m->base <= DATA_BYTES - size)
		return EMU_OK;
	m->fault_at = a.v - m->base < DATA_BYTES ? m->base + DATA_BYTES : a.v;
	return EMU_FAULT;
}

static enum emu_result mem_read(void *ctx, gva_t a, unsigned size, unsigned intent, u64 *v)
{
	struct memory *m = ctx;
	enum emu_result r = enter(m, a, size);

	*v = ~0UL; /* what lies above size must not matter */
	if (r)
		return r;
	m->reads++;
	m->last_intent = intent;
	memcpy(v, m->data + (a.v - m->base), size);
	return EMU_OK;
}

static enum emu_result mem_write(void *ctx, gva_t a, unsigned size, u64 v)
{
	struct memory *m = ctx;
	enum emu_result r = enter(m, a, size);

	if (r)
		return r;
	m->write_seen_first |= m->reads == 0;
	m->writes++;
	memcpy(m->data + (a.v - m->base), &v, size);
	return EMU_OK;
}

static enum emu_result mem_check(void *ctx, gva_t a, unsigned size, unsigned access)
{
	struct memory *m = ctx;

	(void)access;
	m->checks++;
	return enter(m, a, size);
}

static enum emu_result port_in(void *ctx, u16 port, unsigned size, u64 *v)
{
	struct memory *m = ctx;

	(void)size;
	if (++m->calls == m->fail_at)
		return m->failure;
	m->ports++;
	*v = 0xa1b2c3d4e5f60000 + port;
	return EMU_OK;
}

static enum emu_result port_out(void *ctx, u16 port, unsigned size, u64 v)
{
	struct memory *m = ctx;

	(void)port; (void)size;
	if (++m->calls == m->fail_at)
		return m->failure;
	m->ports++;
	m->port_value = v;
	return EMU_OK;
}

static const struct emu_ops memory_ops = {
	.read = mem_read, .write = mem_write, .check = mem_check, .in = port_in, .out = port_out,
};

static struct cpu_state state_64(void)
{
	struct cpu_state s = { .cr0 = CR0_PE | CR0_PG, .efer = EFER_LME | EFER_LMA, .rflags = 0x202 };

	s.seg[SEG_CS].attrib = SEG_ATTR_L | SEG_ATTR_P | SEG_ATTR_S | 0xb;
	return s;
}

/* --- the CPU --- */

struct slots {
	u64 gpr[NGPR];
	u64 rflags;
	u64 host_rsp;
};

static struct native {
	u8 *code, *insn;    /* the trampoline; where the instruction goes */
	struct slots *slots;
	u8 *data;
	u64 fs_base, gs_base;
	volatile long vector;   /* the exception it raised, -1 if none */
	volatile u64 fault_at;  /* with #PF */
	u8 *volatile leave; /* the trampoline's second half */
} cpu;

static u8 *emit(u8 *p, const void *bytes, size_t n)
{
	memcpy(p, bytes, n);
	return p + n;
}

/* An instruction with a rip-relative operand that ends in its displacement. */
static u8 *emit_rip(u8 *p, const void *opcode, size_t n, const void *target)
{
	s32 disp;

	p = emit(p, opcode, n);
	disp = (s32)((const u8 *)target - (p + 4));
	return emit(p, &disp, 4);
}

static u8 *emit_mov(u8 *p, u8 opcode, unsigned reg, const void *slot)
{
	u8 b[3] = { (u8)(0x48 | (reg >> 3) << 2), opcode, (u8)(5 | (reg & 7) << 3) };

	return emit_rip(p, b, 3, slot);
}

static void emit_enter(void)
{
	u8 *p = emit(cpu.code, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", 10); /* push rbx, rbp, r12-r15 */

	p = emit_mov(p, 0x89, RSP, &cpu.slots->host_rsp);
	p = emit_rip(p, "\xff\x35", 2, &cpu.slots->rflags);
	p = emit(p, "\x9d", 1);
	for (unsigned r = 0; r < NGPR; r++)
		p = emit_mov(p, 0x8b, r, &cpu.slots->gpr[r]);
	cpu.insn = p;
}

static void emit_insn_and_leave(const u8 *insn, unsigned length)
{
	u8 *p = emit(cpu.insn, insn, length);

	cpu.leave = p;
	for (unsigned r = 0; r < NGPR; r++)
		p = emit_mov(p, 0x89, r, &cpu.slots->gpr[r]);
	p = emit_mov(p, 0x8b, RSP, &cpu.slots->host_rsp);
	p = emit(p, "\x9c", 1);
	p = emit_rip(p, "\x8f\x05", 2, &cpu.slots->rflags);
	p = emit(p, "\xfc\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3", 12); /* cld, pops, ret */
	cr_assert_lt(p, cpu.code + CODE_BYTES);
}

static void on_signal(int sig, siginfo_t *info, void *uctx)
{
	ucontext_t *u = uctx;
	u8 *rip = (u8 *)u->uc_mcontext.gregs[REG_RIP];

	(void)sig;
	(void)info;
	if (rip != cpu.insn)
		_exit(99); /* not the instruction under test */
	cpu.vector = u->uc_mcontext.gregs[REG_TRAPNO];
	cpu.fault_at = (u64)u->uc_mcontext.gregs[REG_CR2];
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)cpu.leave;
}

static void native_init(void)
{
	static u8 stack[65536];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	u8 *p = mmap(NULL, CODE_BYTES + GUARD_BYTES + DATA_BYTES + GUARD_BYTES,
		     PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	cpu.code = p;
	cpu.slots = (struct slots *)(void *)(p + CODE_BYTES - sizeof(struct slots));
	cpu.data = p + CODE_BYTES + GUARD_BYTES;
	mprotect(p + CODE_BYTES, GUARD_BYTES, PROT_NONE);
	mprotect(cpu.data + DATA_BYTES, GUARD_BYTES, PROT_NONE);
	sigaltstack(&alt, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	cpu.gs_base = (u64)cpu.data + 0x123456789;
	syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, cpu.gs_base);
	syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &cpu.fs_base);
	emit_enter();
}

/* Runs the instruction; the exception it raised, -1 if none. */
__attribute__((no_sanitize("address"))) static long native_run(const u8 *insn, unsigned length, struct slots *io)
{
	*cpu.slots = *io;
	emit_insn_and_leave(insn, length);
	cpu.vector = -1;
	((void (*)(void))(uintptr_t)cpu.code)();
	*io = *cpu.slots;
	return cpu.vector;
}

/* --- random instructions --- */

enum imm { NO_IMM, IMM8, IMMZ };

enum {
	T_BYTE = 1,    /* opcode | 1 is the full-size form */
	T_BITS = 2,    /* a bit number in the register */
	T_STRING = 4,
	T_DIVIDE = 8,
	T_F3 = 16,     /* mandatory */
	T_OFFSET = 32, /* an absolute address */
	T_STACK = 64,
	T_ALIGN16 = 128,
	T_COND = 256,   /* sixteen opcodes */
};

struct template {
	u8 escape;     /* 0, 0x0f, 0x38 (0F 38) */
	u8 opcode;
	s8 digit;      /* ModRM reg, -1: any register, -2: no ModRM */
	u8 imm;
	u16 flags;
	u32 undefined; /* RFLAGS the manual leaves undefined */
};

#define LOGIC RFLAGS_AF
#define SHIFT (RFLAGS_AF | RFLAGS_OF) /* OF: unless the count is 1, see undefined_flags */
#define MULT (RFLAGS_SF | RFLAGS_ZF | RFLAGS_AF | RFLAGS_PF)
#define BITS (RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF)

static const struct template templates[] = {
	{ 0, 0x00, -1, NO_IMM, T_BYTE, 0 }, { 0, 0x02, -1, NO_IMM, T_BYTE, 0 },
	{ 0, 0x08, -1, NO_IMM, T_BYTE, LOGIC }, { 0, 0x0a, -1, NO_IMM, T_BYTE, LOGIC },
	{ 0, 0x10, -1, NO_IMM, T_BYTE, 0 }, { 0, 0x12, -1, NO_IMM, T_BYTE, 0 },
	{ 0, 0x18, -1, NO_IMM, T_BYTE, 0 }, { 0, 0x1a, -1, NO_IMM, T_BYTE, 0 },
	{ 0, 0x20, -1, NO_IMM, T_BYTE, LOGIC }, { 0, 0x22, -1, NO_IMM, T_BYTE, LOGIC },
	{ 0, 0x28, -1, NO_IMM, T_BYTE, 0 }, { 0, 0x2a, -1, NO_IMM, T_BYTE, 0 },
	{ 0, 0x30, -1, NO_IMM, T_BYTE, LOGIC }, { 0, 0x32, -1, NO_IMM, T_BYTE, LOGIC },
	{ 0, 0x38, -1, NO_IMM, T_BYTE, 0 }, { 0, 0x3a, -1, NO_IMM, T_BYTE, 0 },
	{ 0, 0x84, -1, NO_IMM, T_BYTE, LOGIC },
	{ 0, 0x80, 0, IMM8, 0, 0 }, { 0, 0x80, 1, IMM8, 0, LOGIC }, { 0, 0x80, 3, IMM8, 0, 0 },
	{ 0, 0x81, 0, IMMZ, 0, 0 }, { 0, 0x81, 2, IMMZ, 0, 0 }, { 0, 0x81, 4, IMMZ, 0, LOGIC },
	{ 0, 0x81, 5, IMMZ, 0, 0 }, { 0, 0x81, 7, IMMZ, 0, 0 }, { 0, 0x83, 0, IMM8, 0, 0 },
	{ 0, 0x83, 1, IMM8, 0, LOGIC }, { 0, 0x83, 6, IMM8, 0, LOGIC }, { 0, 0x83, 7, IMM8, 0, 0 },
	{ 0, 0x04, -2, IMM8, 0, 0 }, { 0, 0x15, -2, IMMZ, 0, 0 }, { 0, 0x3d, -2, IMMZ, 0, 0 },
	{ 0, 0xf6, 0, IMM8, 0, LOGIC }, { 0, 0xf7, 0, IMMZ, 0, LOGIC }, { 0, 0xf7, 1, IMMZ, 0, LOGIC },
	{ 0, 0xf6, 2, NO_IMM, T_BYTE, 0 }, { 0, 0xf6, 3, NO_IMM, T_BYTE, 0 },
	{ 0, 0xf6, 4, NO_IMM, T_BYTE, MULT }, { 0, 0xf6, 5, NO_IMM, T_BYTE, MULT },
	{ 0, 0xf6, 6, NO_IMM, T_BYTE | T_DIVIDE, ARITH },
	{ 0, 0xf6, 7, NO_IMM, T_BYTE | T_DIVIDE, ARITH },
	{ 0, 0xfe, 0, NO_IMM, T_BYTE, 0 }, { 0, 0xfe, 1, NO_IMM, T_BYTE, 0 },
	{ 0, 0xc0, 0, IMM8, T_BYTE, 0 }, { 0, 0xc0, 1, IMM8, T_BYTE, 0 },
	{ 0, 0xc0, 2, IMM8, T_BYTE, 0 }, { 0, 0xc0, 3, IMM8, T_BYTE, 0 },
	{ 0, 0xc0, 4, IMM8, T_BYTE, SHIFT }, { 0, 0xc0, 5, IMM8, T_BYTE, SHIFT },
	{ 0, 0xc0, 6, IMM8, T_BYTE, SHIFT }, { 0, 0xc0, 7, IMM8, T_BYTE, SHIFT },
	{ 0, 0xd0, 0, NO_IMM, T_BYTE, 0 }, { 0, 0xd0, 2, NO_IMM, T_BYTE, 0 },
	{ 0, 0xd0, 3, NO_IMM, T_BYTE, 0 }, { 0, 0xd0, 4, NO_IMM, T_BYTE, SHIFT },
	{ 0, 0xd0, 5, NO_IMM, T_BYTE, SHIFT }, { 0, 0xd0, 7, NO_IMM, T_BYTE, SHIFT },
	{ 0, 0xd2, 0, NO_IMM, T_BYTE, 0 }, { 0, 0xd2, 1, NO_IMM, T_BYTE, 0 },
	{ 0, 0xd2, 2, NO_IMM, T_BYTE, 0 }, { 0, 0xd2, 3, NO_IMM, T_BYTE, 0 },
	{ 0, 0xd2, 4, NO_IMM, T_BYTE, SHIFT }, { 0, 0xd2, 5, NO_IMM, T_BYTE, SHIFT },
	{ 0, 0xd2, 7, NO_IMM, T_BYTE, SHIFT },
	{ 0x0f, 0xa4, -1, IMM8, 0, SHIFT }, { 0x0f, 0xa5, -1, NO_IMM, 0, SHIFT },
	{ 0x0f, 0xac, -1, IMM8, 0, SHIFT }, { 0x0f, 0xad, -1, NO_IMM, 0, SHIFT },
	{ 0, 0x69, -1, IMMZ, 0, MULT }, { 0, 0x6b, -1, IMM8, 0, MULT }, { 0x0f, 0xaf, -1, NO_IMM, 0, MULT },
	{ 0x0f, 0xa3, -1, NO_IMM, T_BITS, BITS }, { 0x0f, 0xab, -1, NO_IMM, T_BITS, BITS },
	{ 0x0f, 0xb3, -1, NO_IMM, T_BITS, BITS }, { 0x0f, 0xbb, -1, NO_IMM, T_BITS, BITS },
	{ 0x0f, 0xba, 4, IMM8, 0, BITS }, { 0x0f, 0xba, 5, IMM8, 0, BITS },
	{ 0x0f, 0xba, 6, IMM8, 0, BITS }, { 0x0f, 0xba, 7, IMM8, 0, BITS },
	{ 0x0f, 0xbc, -1, NO_IMM, 0, ARITH & ~RFLAGS_ZF }, { 0x0f, 0xbd, -1, NO_IMM, 0, ARITH & ~RFLAGS_ZF },
	{ 0x0f, 0xb8, -1, NO_IMM, T_F3, 0 },
	{ 0, 0x88, -1, NO_IMM, T_BYTE, 0 }, { 0, 0x8a, -1, NO_IMM, T_BYTE, 0 },
	{ 0, 0xc6, 0, IMM8, 0, 0 }, { 0, 0xc7, 0, IMMZ, 0, 0 }, { 0, 0x8c, -1, NO_IMM, 0, 0 },
	{ 0, 0x63, -1, NO_IMM, 0, 0 }, { 0x0f, 0xb6, -1, NO_IMM, T_BYTE, 0 },
	{ 0x0f, 0xbe, -1, NO_IMM, T_BYTE, 0 }, { 0x0f, 0xc3, -1, NO_IMM, 0, 0 },
	{ 0x38, 0xf0, -1, NO_IMM, 0, 0 }, { 0x38, 0xf1, -1, NO_IMM, 0, 0 },
	{ 0, 0x86, -1, NO_IMM, T_BYTE, 0 }, { 0x0f, 0xc0, -1, NO_IMM, T_BYTE, 0 },
	{ 0x0f, 0xb0, -1, NO_IMM, T_BYTE, 0 }, { 0x0f, 0xc7, 1, NO_IMM, T_ALIGN16, 0 },
	{ 0x0f, 0x40, -1, NO_IMM, T_COND, 0 }, { 0x0f, 0x90, 0, NO_IMM, T_COND, 0 },
	{ 0, 0xa0, -2, NO_IMM, T_OFFSET | T_BYTE, 0 }, { 0, 0xa2, -2, NO_IMM, T_OFFSET | T_BYTE, 0 },
	{ 0, 0xff, 6, NO_IMM, T_STACK, 0 }, { 0, 0x8f, 0, NO_IMM, T_STACK, 0 },
	{ 0, 0xa4, -2, NO_IMM, T_STRING | T_BYTE, 0 }, { 0, 0xa6, -2, NO_IMM, T_STRING | T_BYTE, 0 },
	{ 0, 0xaa, -2, NO_IMM, T_STRING | T_BYTE, 0 }, { 0, 0xac, -2, NO_IMM, T_STRING | T_BYTE, 0 },
	{ 0, 0xae, -2, NO_IMM, T_STRING | T_BYTE, 0 },
};

struct sample {
	const struct template *t;
	u8 bytes[16];
	unsigned imm_bytes; /* at the end */
	struct insn in;
	err_t err;
	struct cpu_state s;
	struct memory m;
};

/* Prefixes, among them useless ones; REX last. */
static unsigned make_prefixes(const struct template *t, u64 *seed, u8 *p)
{
	static const u8 any[] = { 0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf2, 0xf3, 0x48, 0xf0 };
	u64 r = xorshift(seed);
	unsigned n = 0;

	for (unsigned i = 0; i < (r & 7) % 5; i++) {
		u8 b = any[xorshift(seed) % ARRAY_SIZE(any)];

		if (b != 0xf0 || xorshift(seed) & 1)
			p[n++] = b;
	}
	if (t->flags & T_F3)
		p[n++] = 0xf3;
	if (r >> 8 & 1)
		p[n++] = 0x40 | (r >> 16 & 15);
	return n;
}

static void make_bytes(struct sample *x, u64 *seed)
{
	const struct template *t = x->t;
	unsigned n = make_prefixes(t, seed, x->bytes);
	u64 r = xorshift(seed);
	u8 opcode = t->opcode;

	if (t->flags & T_BYTE)
		opcode |= r & 1;
	if (t->flags & T_COND)
		opcode |= r & 15;
	if (t->escape)
		x->bytes[n++] = 0x0f;
	if (t->escape == 0x38)
		x->bytes[n++] = 0x38;
	x->bytes[n++] = opcode;
	while (n < sizeof(x->bytes)) {
		x->bytes[n++] = (u8)(r >> 8);
		r = xorshift(seed);
	}
	if (t->digit >= 0) {
		u8 *modrm = x->bytes + (t->escape == 0x38) + !!t->escape + 1;

		while (modrm[-1] != opcode || (t->escape && modrm[-2] != (t->escape == 0x38 ? 0x38 : 0x0f)))
			modrm++;
		*modrm = (u8)((*modrm & 0xc7) | t->digit << 3);
	}
	x->err = insn_decode(x->bytes, sizeof(x->bytes), 64, &x->in);
	x->imm_bytes = t->imm == IMM8 ? 1 : t->imm == IMMZ ? MIN(x->in.opsize_bytes, 4U) : 0;
}

/*
 * Mostly in the middle of the data, away from its ends by what BT can reach;
 * sometimes across an end, into pages that are not there.
 */
static u64 target(const struct sample *x, u64 *seed)
{
	u64 r = xorshift(seed), a = x->m.base + 5000 + (r >> 8) % 6000;

	if ((r & 15) == 0 || (x->t->flags & (T_STRING | T_STACK) && (r & 3) == 0))
		a = x->m.base + (r & 16 ? DATA_BYTES : 0) + (r >> 5 & 15) - 8;
	if (x->t->flags & T_ALIGN16 && r & 0xe0)
		a &= ~15UL;
	/* No locked access across cache lines: some hosts punish those (split lock detection). */
	return x->in.lock || x->in.op == INSN_XCHG ? a & ~7UL : a;
}

/* Bends a register or the displacement so that the operand lies in the data; false: impossible. */
static bool aim(struct sample *x, u64 *seed)
{
	const struct insn_mem *m = &x->in.mem;
	u64 delta;

	if (m->base != INSN_NO_REG && m->base == m->index)
		return false;
	if (m->base == INSN_NO_REG && m->index != INSN_NO_REG)
		x->s.gpr[m->index] &= 0xffff;
	delta = target(x, seed) - emu_linear(&x->s, &x->in).v;
	if (m->base != INSN_NO_REG) {
		x->s.gpr[m->base] += delta;
	} else {
		unsigned n = x->t->flags & T_OFFSET ? x->in.addrsize_bytes : 4;
		u64 disp = m->disp + delta;
		u8 *p = x->bytes + x->in.length - x->imm_bytes - n;

		if (n == 4 && (u64)(s64)(s32)disp != disp)
			return false;
		write_bytes_le(p, n, disp);
		x->err = insn_decode(x->bytes, sizeof(x->bytes), 64, &x->in);
	}
	/* With 67 the sum wraps at 4 GiB before an FS or GS base is added. */
	if (emu_linear(&x->s, &x->in).v - x->m.base + 8 > DATA_BYTES + 16)
		return false;
	if (m->base != INSN_NO_REG && (xorshift(seed) & 63) == 0)
		x->s.gpr[m->base] ^= 1UL << 50; /* not canonical */
	return true;
}

static bool aim_string(struct sample *x, u64 *seed)
{
	u64 src = target(x, seed);
	bool narrow = x->in.addrsize_bytes == 4;

	if (x->in.mem.seg == SEG_FS || x->in.mem.seg == SEG_GS) {
		src -= x->s.seg[x->in.mem.seg].base;
		if (narrow && src >> 32)
			return false;
	}
	x->s.gpr[RSI] = src;
	x->s.gpr[RDI] = target(x, seed);
	x->s.gpr[RCX] = xorshift(seed) % 40;
	if (narrow && xorshift(seed) & 1) {
		x->s.gpr[RSI] += 0x1234500000000;
		x->s.gpr[RDI] += 0xabcd00000000;
		x->s.gpr[RCX] += 0xffff00000000;
	}
	x->s.rflags |= xorshift(seed) & RFLAGS_DF;
	/* Comparisons that go on for a while. */
	if (xorshift(seed) & 1)
		memset(x->m.data, 0x5a, sizeof(x->m.data));
	return true;
}

static bool is_shift(const struct insn *in)
{
	return in->op >= INSN_ROL && in->op <= INSN_SHRD;
}

static unsigned shift_count(const struct sample *x)
{
	const struct insn *in = &x->in;
	u64 count = in->noperands && in->operand[in->noperands - 1].kind == OPND_IMM ? in->imm : x->s.gpr[RCX];

	return count & (in->opsize_bytes == 8 ? 63 : 31);
}

static bool make_operands(struct sample *x, u64 *seed)
{
	const struct insn *in = &x->in;
	unsigned bits_reg = in->operand[1].reg;

	if (x->t->flags & T_STRING)
		return aim_string(x, seed);
	if (x->t->flags & T_DIVIDE && xorshift(seed) & 3)
		x->s.gpr[RDX] = xorshift(seed) % 9 - 4;
	if (x->t->flags & T_STACK)
		x->s.gpr[RSP] = target(x, seed);
	if (x->t->flags & T_BITS)
		x->s.gpr[bits_reg] = xorshift(seed) % 30000 - 15000;
	if (insn_has_mem(in) && !aim(x, seed))
		return false;
	if (x->t->opcode == 0xc7 && x->t->escape == 0x0f && insn_has_mem(in) && xorshift(seed) & 1) {
		/* Let it compare equal. */
		u64 at = emu_linear(&x->s, in).v - x->m.base;

		if (at > DATA_BYTES - 16)
			return true;
		memcpy(&x->s.gpr[RAX], x->m.data + at, 8);
		memcpy(&x->s.gpr[RDX], x->m.data + at + in->operand[0].size_bytes / 2, 8);
		if (emu_linear(&x->s, in).v - x->m.base != at)
			return false; /* rAX or rDX was the base */
	}
	/* SHLD and SHRD of 16 bits by more are undefined, result and all. */
	if ((in->op == INSN_SHLD || in->op == INSN_SHRD) && shift_count(x) > 8U * in->opsize_bytes)
		return false;
	return !(x->t->flags & T_BITS && insn_has_mem(in) && (in->mem.base == bits_reg || in->mem.index == bits_reg));
}

static bool make_sample(struct sample *x, const struct template *t, u64 *seed)
{
	x->t = t;
	x->s = state_64();
	for (unsigned i = 0; i < NGPR; i++)
		x->s.gpr[i] = operand_value(seed);
	x->s.rflags |= xorshift(seed) & ARITH;
	x->s.rip = (u64)cpu.insn;
	x->s.interrupt_shadow = 1;
	x->s.seg[SEG_FS].base = cpu.fs_base;
	x->s.seg[SEG_GS].base = cpu.gs_base;
	__asm__("mov %%cs, %0" : "=rm"(x->s.seg[SEG_CS].selector));
	__asm__("mov %%ss, %0" : "=rm"(x->s.seg[SEG_SS].selector));
	__asm__("mov %%ds, %0" : "=rm"(x->s.seg[SEG_DS].selector));
	__asm__("mov %%es, %0" : "=rm"(x->s.seg[SEG_ES].selector));
	__asm__("mov %%fs, %0" : "=rm"(x->s.seg[SEG_FS].selector));
	__asm__("mov %%gs, %0" : "=rm"(x->s.seg[SEG_GS].selector));
	memset(&x->m, 0, offsetof(struct memory, data));
	memset((u8 *)&x->m + offsetof(struct memory, reads), 0, sizeof(x->m) - offsetof(struct memory, reads));
	x->m.base = (u64)cpu.data;
	for (unsigned i = 0; i < DATA_BYTES; i += 8) {
		u64 v = operand_value(seed);

		memcpy(x->m.data + i, &v, 8);
	}
	make_bytes(x, seed);
	return x->err ? x->err == ERR_INVALID : make_operands(x, seed);
}

static u64 undefined_flags(const struct sample *x, const struct insn *in)
{
	u64 u = x->t->undefined;
	unsigned count = shift_count(x);

	if (!is_shift(in))
		return u;
	if (count == 0)
		return 0;
	if (count == 1)
		return u & ~(u64)RFLAGS_OF;
	u |= RFLAGS_OF;
	/* SHL, SHR, SHLD, SHRD by more than the operand has. */
	if (in->op >= INSN_SHL && count >= 8U * in->opsize_bytes)
		u |= RFLAGS_CF;
	return u;
}

/* --- comparing --- */

static void describe(const struct sample *x, char *text, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < MAX(x->in.length, 4); i++)
		n += (size_t)snprintf(text + n, size - n, "%02x ", x->bytes[i]);
	snprintf(text + n, size - n, "op %u opsize %u rax %lx rcx %lx rdx %lx rflags %lx", x->in.op,
		 x->in.opsize_bytes, x->s.gpr[RAX], x->s.gpr[RCX], x->s.gpr[RDX], x->s.rflags);
}

static enum emu_result emulate_all(struct cpu_state *s, const struct insn *in, struct memory *m)
{
	enum emu_result r;

	do {
		r = emulate(s, in, &memory_ops, m);
	} while (r == EMU_REPEAT);
	return r;
}

static long vector_of(enum emu_result r)
{
	switch (r) {
	case EMU_DONE: return -1;
	case EMU_DE: return VEC_DE;
	case EMU_SS: return VEC_SS;
	case EMU_GP: return VEC_GP;
	case EMU_FAULT: return VEC_PF;
	default: return -2;
	}
}

/*
 * A repeated string instruction with 32-bit addresses that faults at once: whether the registers it counts in
 * are zero-extended all the same differs from one processor to the next.
 */
static bool may_be_extended(const struct sample *x, long vector, unsigned reg)
{
	return vector == VEC_PF && (x->in.rep || x->in.repne) && x->in.addrsize_bytes == 4 && (reg == RCX || reg == RSI || reg == RDI);
}

static void compare(const struct sample *x)
{
	struct sample after = *x;
	struct slots io = { .rflags = x->s.rflags };
	u64 undefined;
	char text[256];
	long vector;

	describe(x, text, sizeof(text));
	memcpy(io.gpr, x->s.gpr, sizeof(io.gpr));
	memcpy(cpu.data, x->m.data, DATA_BYTES);
	vector = native_run(x->bytes, x->err ? INSN_MAX_LENGTH : x->in.length, &io);
	if (x->err) {
		cr_assert_eq(vector, x->in.vector, "%s refused, CPU says %ld", text, vector);
		return;
	}
	cr_assert_eq(vector_of(emulate_all(&after.s, &x->in, &after.m)), vector, "%s CPU says %ld", text, vector);
	/* Which side of CMPS faults first differs between makers. */
	if (vector == VEC_PF && x->in.op != INSN_CMPS)
		cr_assert_eq(after.m.fault_at >> PAGE_SHIFT, cpu.fault_at >> PAGE_SHIFT, "%s faults at %lx, CPU at %lx",
			     text, after.m.fault_at, cpu.fault_at);
	/* BSF and BSR of zero: what becomes of the upper half, likewise. */
	if ((x->in.op == INSN_BSF || x->in.op == INSN_BSR) && x->in.opsize_bytes == 4)
		io.gpr[x->in.operand[0].reg] = (after.s.gpr[x->in.operand[0].reg] & ~0xffffffffUL) |
					       (u32)io.gpr[x->in.operand[0].reg];
	for (unsigned i = 0; i < NGPR; i++)
		if (may_be_extended(x, vector, i) && io.gpr[i] == (u32)io.gpr[i])
			cr_assert_eq((u32)after.s.gpr[i], io.gpr[i], "%s gpr %u is %lx, CPU %lx", text, i, after.s.gpr[i], io.gpr[i]);
		else
			cr_assert_eq(after.s.gpr[i], io.gpr[i], "%s gpr %u is %lx, CPU %lx", text, i, after.s.gpr[i], io.gpr[i]);
	cr_assert_arr_eq(after.m.data, cpu.data, DATA_BYTES, "%s memory", text);
	if (vector != -1)
		return;
	undefined = undefined_flags(x, &x->in);
	cr_assert_eq((after.s.rflags ^ io.rflags) & ~undefined, 0, "%s flags %lx, CPU %lx", text, after.s.rflags, io.rflags);
	cr_assert_eq(after.s.rip, x->s.rip + x->in.length, "%s rip", text);
	cr_assert_eq(after.s.interrupt_shadow, 0, "%s shadow", text);
}

/* E1: every callback fails in turn.  E2: how often memory was touched. */
static void check_invariants(const struct sample *x)
{
	struct sample y;
	unsigned calls;
	char text[256];

	if (x->err)
		return;
	describe(x, text, sizeof(text));
	memcpy(&y, x, sizeof(y));
	if (emulate(&y.s, &x->in, &memory_ops, &y.m) > EMU_REPEAT)
		return;
	calls = y.m.calls;
	if (!(x->t->flags & (T_STRING | T_STACK | T_ALIGN16))) {
		cr_assert_eq(y.m.reads, x->in.mem_access & MEM_READ ? 1 : 0, "%s reads %u", text, y.m.reads);
		cr_assert_eq(y.m.writes, x->in.mem_access & MEM_WRITE ? 1 : 0, "%s writes %u", text, y.m.writes);
		cr_assert(!y.m.reads || y.m.last_intent == x->in.mem_access, "%s intent", text);
		cr_assert(!(y.m.reads && y.m.write_seen_first), "%s order", text);
	}
	for (unsigned k = 1; k <= calls; k++) {
		memcpy(&y, x, sizeof(y));
		y.m.fail_at = k;
		y.m.failure = EMU_STOP;
		cr_assert_eq(emulate(&y.s, &x->in, &memory_ops, &y.m), EMU_STOP, "%s call %u", text, k);
		cr_assert_eq(memcmp(&y.s, &x->s, sizeof(y.s)), 0, "%s call %u changed the state", text, k);
		if (x->in.op != INSN_CMPXCHG_PAIR)
			cr_assert_arr_eq(y.m.data, x->m.data, DATA_BYTES, "%s call %u wrote", text, k);
	}
}

/* MOVBE and POPCNT are younger than x86-64. */
static bool host_has(const struct template *t)
{
	unsigned a, b, c = 0, d;

	__get_cpuid(1, &a, &b, &c, &d);
	return (t->escape != 0x38 || c & bit_MOVBE) && (!(t->flags & T_F3) || c & bit_POPCNT);
}

Test(emulate_native, random_instructions)
{
	u64 seed = 0x2545f4914f6cdd1d;
	struct sample x;
	unsigned n[2] = { 0, 0 };

	native_init();
	for (unsigned i = 0; i < 400; i++)
		for (unsigned t = 0; t < ARRAY_SIZE(templates); t++) {
			if (!host_has(&templates[t]) || !make_sample(&x, &templates[t], &seed))
				continue;
			compare(&x);
			check_invariants(&x);
			n[x.err ? 1 : 0]++;
		}
	/* The generator has not dried up. */
	cr_assert_gt(n[0], 20000);
	cr_assert_gt(n[1], 2000);
}
