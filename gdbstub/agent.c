/*
 * agent.c - the evaluator of agent expressions.  See agent.h.
 *
 * Code comes from the other end of the link: every access to code and stack
 * is checked, and a run has an end.  Numbers are of 64 bits; operands in the
 * code are big-endian [GDB Manual F.2 Bytecode Descriptions].
 */
#include "gdbstub/agent.h"

#define AGENT_STACK 64
#define AGENT_STEPS 10000 /* backward jumps are allowed: the bound on loops */

enum {
	OP_ADD = 0x02, OP_SUB, OP_MUL, OP_DIV_SIGNED, OP_DIV_UNSIGNED, OP_REM_SIGNED, OP_REM_UNSIGNED,
	OP_LSH, OP_RSH_SIGNED, OP_RSH_UNSIGNED,
	OP_LOG_NOT = 0x0e, OP_BIT_AND, OP_BIT_OR, OP_BIT_XOR, OP_BIT_NOT, OP_EQUAL, OP_LESS_SIGNED,
	OP_LESS_UNSIGNED, OP_EXT, OP_REF8, OP_REF16, OP_REF32, OP_REF64,
	OP_IF_GOTO = 0x20, OP_GOTO, OP_CONST8, OP_CONST16, OP_CONST32, OP_CONST64, OP_REG, OP_END, OP_DUP,
	OP_POP, OP_ZERO_EXT, OP_SWAP,
	OP_PICK = 0x32, OP_ROT,
};

struct agent {
	const u8 *code;
	size_t size, pc;
	const struct agent_machine *m;
	u64 stack[AGENT_STACK];
	unsigned depth;
	bool bad;
};

static u64 operand(struct agent *a, unsigned n)
{
	u64 v = 0;

	if (a->size - a->pc < n) {
		a->bad = true;
		return 0;
	}
	while (n--)
		v = v << 8 | a->code[a->pc++];
	return v;
}

static void push(struct agent *a, u64 v)
{
	if (a->depth == AGENT_STACK)
		a->bad = true;
	else
		a->stack[a->depth++] = v;
}

static u64 pop(struct agent *a)
{
	if (!a->depth) {
		a->bad = true;
		return 0;
	}
	return a->stack[--a->depth];
}

/* The n-th from the top, 0 being the top; NULL where the stack is not that deep. */
static u64 *pick(struct agent *a, u64 n)
{
	if (n >= a->depth) {
		a->bad = true;
		return NULL;
	}
	return &a->stack[a->depth - 1 - n];
}

/* C leaves both division by zero and the quotient -2^63 / -1 undefined; the second wraps here. */
static u64 divide(struct agent *a, unsigned op, u64 x, u64 y)
{
	bool remainder = op == OP_REM_SIGNED || op == OP_REM_UNSIGNED;

	if (!y) {
		a->bad = true;
		return 0;
	}
	if (op == OP_DIV_UNSIGNED || op == OP_REM_UNSIGNED)
		return remainder ? x % y : x / y;
	if (y == ~0UL)
		return remainder ? 0 : -x;
	return (u64)(remainder ? (s64)x % (s64)y : (s64)x / (s64)y);
}

/* Shifting by 64 or more, undefined in C, shifts everything out. */
static u64 shift(unsigned op, u64 x, u64 n)
{
	if (op == OP_RSH_SIGNED)
		return (u64)((s64)x >> MIN(n, 63UL));
	if (n > 63)
		return 0;
	return op == OP_LSH ? x << n : x >> n;
}

static u64 binary(struct agent *a, unsigned op, u64 x, u64 y)
{
	switch (op) {
	case OP_ADD:
		return x + y;
	case OP_SUB:
		return x - y;
	case OP_MUL:
		return x * y;
	case OP_LSH:
	case OP_RSH_SIGNED:
	case OP_RSH_UNSIGNED:
		return shift(op, x, y);
	case OP_BIT_AND:
		return x & y;
	case OP_BIT_OR:
		return x | y;
	case OP_BIT_XOR:
		return x ^ y;
	case OP_EQUAL:
		return x == y;
	case OP_LESS_SIGNED:
		return (s64)x < (s64)y;
	case OP_LESS_UNSIGNED:
		return x < y;
	default:
		return divide(a, op, x, y);
	}
}

/* The low `bits` bits of x, the rest zero or copies of the topmost. */
static u64 extend(u64 x, u64 bits, bool with_sign)
{
	u64 low;

	if (!bits || bits >= 64)
		return x;
	low = x & (BIT(bits) - 1);
	return with_sign && low >> (bits - 1) ? low | ~(BIT(bits) - 1) : low;
}

static void reference(struct agent *a, unsigned n)
{
	u8 buf[8];
	u64 at = pop(a);

	if (a->bad || !a->m->memory(a->m->ctx, at, buf, n))
		a->bad = true;
	else
		push(a, read_bytes_le(buf, n));
}

static void jump(struct agent *a, bool taken)
{
	u64 to = operand(a, 2);

	if (taken)
		a->pc = to;
	if (a->pc >= a->size)
		a->bad = true;
}

/* Those that move values about. */
static void stack_op(struct agent *a, unsigned op)
{
	u64 *p, v;

	switch (op) {
	case OP_DUP:
	case OP_PICK:
		p = pick(a, op == OP_PICK ? operand(a, 1) : 0);
		if (p)
			push(a, *p);
		break;
	case OP_POP:
		pop(a);
		break;
	case OP_SWAP:
	case OP_ROT: /* a b => b a;  a b c => c a b */
		p = pick(a, op == OP_ROT ? 2 : 1);
		if (!p)
			break;
		v = a->stack[a->depth - 1];
		memmove(p + 1, p, (op == OP_ROT ? 2 : 1) * sizeof(*p));
		*p = v;
		break;
	}
}

static void other_op(struct agent *a, unsigned op)
{
	u64 v, n;

	switch (op) {
	case OP_LOG_NOT:
		push(a, !pop(a));
		break;
	case OP_BIT_NOT:
		push(a, ~pop(a));
		break;
	case OP_EXT:
	case OP_ZERO_EXT:
		n = operand(a, 1);
		push(a, extend(pop(a), n, op == OP_EXT));
		break;
	case OP_REF8 ... OP_REF64:
		reference(a, 1U << (op - OP_REF8));
		break;
	case OP_IF_GOTO:
		jump(a, pop(a));
		break;
	case OP_GOTO:
		jump(a, true);
		break;
	case OP_CONST8 ... OP_CONST64:
		push(a, operand(a, 1U << (op - OP_CONST8)));
		break;
	case OP_REG:
		n = operand(a, 2);
		if (a->bad || !a->m->reg(a->m->ctx, (unsigned)n, &v))
			a->bad = true;
		else
			push(a, v);
		break;
	default: /* floating point, tracing, state variables: not in what was offered */
		a->bad = true;
		break;
	}
}

err_t agent_eval(const u8 *code, size_t size, const struct agent_machine *m, u64 *value)
{
	struct agent a = { .code = code, .size = size, .m = m };

	for (unsigned steps = 0; steps < AGENT_STEPS && a.pc < size && !a.bad; steps++) {
		unsigned op = a.code[a.pc++];
		u64 x, y;

		switch (op) {
		case OP_END:
			*value = pop(&a);
			return a.bad ? ERR_INVALID : OK;
		case OP_ADD ... OP_RSH_UNSIGNED:
		case OP_BIT_AND ... OP_BIT_XOR:
		case OP_EQUAL ... OP_LESS_UNSIGNED:
			y = pop(&a);
			x = pop(&a);
			push(&a, binary(&a, op, x, y));
			break;
		case OP_DUP:
		case OP_POP:
		case OP_SWAP:
		case OP_PICK:
		case OP_ROT:
			stack_op(&a, op);
			break;
		default:
			other_op(&a, op);
			break;
		}
	}
	return ERR_INVALID;
}
