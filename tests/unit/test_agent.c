/*
 * test_agent.c - agent expressions: each opcode, and code that lies.
 */
#include <criterion/criterion.h>

#include "gdbstub/agent.h"

static bool reg(void *ctx, unsigned n, u64 *value)
{
	(void)ctx;
	*value = 0x1000 + n;
	return n < 0x300;
}

/* Memory: the byte at an address is the address's low byte; nothing is there above 64 KiB. */
static bool memory(void *ctx, u64 at, u8 *buf, unsigned n)
{
	(void)ctx;
	for (unsigned i = 0; i < n; i++)
		buf[i] = (u8)(at + i);
	return at + n <= 0x10000;
}

static const struct agent_machine machine = { reg, memory, NULL };

#define EVAL(code, value) agent_eval((const u8 *)(code), sizeof(code) - 1, &machine, value)
#define C8(n) "\x22" n
#define END "\x27"

struct expression {
	const char *name, *code;
	size_t size;
	u64 value;
};
#define IS(name, code, value) { name, code END, sizeof(code END) - 1, value }

static const struct expression expressions[] = {
	IS("add", C8("\x02") C8("\x03") "\x02", 5),
	IS("sub", C8("\x02") C8("\x03") "\x03", ~0UL),
	IS("mul", C8("\xff") C8("\xff") "\x04", 65025),
	IS("div_signed", "\x22\xf9\x16\x08" C8("\x02") "\x05", -3UL), /* -7 / 2 */
	IS("div_unsigned", C8("\x07") C8("\x02") "\x06", 3),
	IS("rem_signed", "\x22\xf9\x16\x08" C8("\x02") "\x07", -1UL),
	IS("rem_unsigned", C8("\x07") C8("\x04") "\x08", 3),
	IS("-2^63 / -1", C8("\x01") C8("\x3f") "\x09" "\x22\xff\x16\x08" "\x05", 1UL << 63),
	IS("-2^63 % -1", C8("\x01") C8("\x3f") "\x09" "\x22\xff\x16\x08" "\x07", 0),
	IS("lsh", C8("\x01") C8("\x3f") "\x09", 1UL << 63),
	IS("lsh 64", C8("\x01") C8("\x40") "\x09", 0),
	IS("rsh_signed", "\x22\xf0\x16\x08" C8("\x02") "\x0a", -4UL),
	IS("rsh_signed 200", "\x22\xf0\x16\x08" C8("\xc8") "\x0a", ~0UL),
	IS("rsh_unsigned", "\x22\xf0\x16\x08" C8("\x3c") "\x0b", 15),
	IS("log_not 5", C8("\x05") "\x0e", 0),
	IS("log_not 0", C8("\x00") "\x0e", 1),
	IS("bit_and", C8("\x0c") C8("\x0a") "\x0f", 8),
	IS("bit_or", C8("\x0c") C8("\x0a") "\x10", 14),
	IS("bit_xor", C8("\x0c") C8("\x0a") "\x11", 6),
	IS("bit_not", C8("\x00") "\x12", ~0UL),
	IS("equal", C8("\x0c") C8("\x0c") "\x13", 1),
	IS("less_signed", "\x22\xff\x16\x08" C8("\x00") "\x14", 1),
	IS("less_unsigned", "\x22\xff\x16\x08" C8("\x00") "\x15", 0),
	IS("ext 64", C8("\x80") "\x16\x40", 0x80),
	IS("zero_ext", "\x23\x12\x34\x2a\x08", 0x34),
	IS("ref8", "\x23\x01\xfe\x17", 0xfe),
	IS("ref16", "\x23\x01\x02\x18", 0x0302),
	IS("ref32", "\x23\x01\x02\x19", 0x05040302),
	IS("ref64", "\x23\x01\x02\x1a", 0x0908070605040302UL),
	IS("const16", "\x23\x12\x34", 0x1234),
	IS("const32", "\x24\x12\x34\x56\x78", 0x12345678),
	IS("const64", "\x25\x12\x34\x56\x78\x9a\xbc\xde\xf0", 0x123456789abcdef0UL),
	IS("reg", "\x26\x01\x02", 0x1102),
	IS("dup", C8("\x05") "\x28\x02", 10),
	IS("pop", C8("\x05") C8("\x06") "\x29", 5),
	IS("swap", C8("\x05") C8("\x06") "\x2b\x03", 1),
	IS("pick", C8("\x05") C8("\x06") C8("\x07") "\x32\x02", 5),
	IS("rot", C8("\x01") C8("\x02") C8("\x03") "\x33" "\x29", 1), /* 3 1 2: below the top is 1 */
	IS("if_goto taken", C8("\x01") "\x20\x00\x08" C8("\x07") END C8("\x09"), 9),
	IS("if_goto not taken", C8("\x00") "\x20\x00\x08" C8("\x07") END C8("\x09"), 7),
	IS("goto", "\x21\x00\x06" C8("\x07") END C8("\x09"), 9),
	/* i = 5; do s = s + i; while (--i): 15 */
	IS("a loop", C8("\x00") C8("\x05") "\x28\x33\x02\x2b" C8("\x01") "\x03\x28\x20\x00\x04\x29", 15),
};

Test(agent, each_opcode_does_what_the_manual_says)
{
	for (unsigned i = 0; i < ARRAY_SIZE(expressions); i++) {
		const struct expression *e = &expressions[i];
		u64 value = 0x5a5a;

		cr_expect_eq(agent_eval((const u8 *)e->code, e->size, &machine, &value), OK, "%s", e->name);
		cr_expect_eq(value, e->value, "%s: 0x%lx", e->name, value);
	}
}

Test(agent, bad_code_is_an_error)
{
	u64 value;

	cr_expect(EVAL("", &value));
	cr_expect(EVAL("\x27", &value), "nothing on the stack");
	cr_expect(EVAL("\x22\x01", &value), "no end");
	cr_expect(EVAL("\x22", &value), "no operand");
	cr_expect(EVAL("\x25\x01\x02\x03\x04\x05\x06\x07", &value));
	cr_expect(EVAL("\x22\x01\x02\x27", &value), "add of one");
	cr_expect(EVAL("\x22\x01\x2b\x27", &value), "swap of one");
	cr_expect(EVAL("\x22\x01\x22\x01\x33\x27", &value), "rot of two");
	cr_expect(EVAL("\x22\x01\x32\x01\x27", &value), "pick too deep");
	cr_expect(EVAL("\x22\x01\x22\x00\x05\x27", &value), "division by zero");
	cr_expect(EVAL("\x22\x01\x22\x00\x08\x27", &value), "remainder by zero");
	cr_expect(EVAL("\x24\x00\x01\x00\x00\x17\x27", &value), "not readable");
	cr_expect(EVAL("\x26\x03\x00\x27", &value), "no such register");
	cr_expect(EVAL("\x21\x00\x00", &value), "for ever");
	cr_expect(EVAL("\x21\x00\x03", &value), "a jump to behind the end");
	cr_expect(EVAL("\x22\x01\x28\x21\x00\x02", &value), "a stack without end");
	cr_expect(EVAL("\x01\x27", &value));
	cr_expect(EVAL("\x22\x01\x30\x00\x00\x27", &value), "tracing");
	cr_expect(EVAL("\x00", &value));
	cr_expect(EVAL("\xff", &value));
}
