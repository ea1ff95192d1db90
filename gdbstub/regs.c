/*
 * regs.c - the register files and their descriptions.  See regs.h.
 *
 * One table serves p, P, g, G and target.xml: an architecture is a list of
 * features, a feature a list of rows, a row one register or several of the
 * same kind.  GDB numbers them in the order described.
 *
 * GDB knows nothing of segmentation.  So the program counter it sees is the
 * linear address, CS base + IP, where breakpoints and the disassembler want
 * it; the two differ in 16-bit code mostly.  The offset itself is shown as
 * `ip`.  The stack pointer stays what it is: GDB only compares it, and in real
 * mode `x/8xh $ss_base + $esp` shows the stack.
 */
#include "gdbstub/regs.h"
#include "kernel/kfmt.h"

enum rule {
	PLAIN,
	PC,         /* linear */
	FLAGS,      /* only bits that are flags */
	SELECTOR,   /* in real and virtual-8086 mode the base follows */
	TAGS,       /* FXSAVE keeps one bit a register, GDB knows two [APM2 11.4.4] */
	MXCSR_BITS, /* a reserved bit would make FXRSTOR fault, in the hypervisor */
	CR0,        /* only bits that leave the mode as it is */
	FIXED,      /* decides how the processor runs, or is shown twice: not for writing from outside */
};

/* One register, or n with a number behind the name, `stride` bytes from one to the next. */
struct row {
	const char *name, *type;
	u16 shown_bytes;
	u16 at, size_bytes;   /* in struct cpu_state */
	u8 rule, n, stride;
};

#define AT(field) offsetof(struct cpu_state, field), sizeof(((struct cpu_state *)0)->field)
#define FX(at, size) offsetof(struct cpu_state, fx) + (at), (size)

/* What instructions use. */
#define REG(name, type, bytes, field, rule) { name, type, bytes, AT(field), rule, 1, 0 }
#define GPR64(name, r) REG(name, "int64", 8, gpr[r], PLAIN)
#define GPR32(name, r) REG(name, "int32", 4, gpr[r], PLAIN)
#define SELECTORS \
	REG("cs", "int32", 4, seg[SEG_CS].selector, SELECTOR), REG("ss", "int32", 4, seg[SEG_SS].selector, SELECTOR), \
	REG("ds", "int32", 4, seg[SEG_DS].selector, SELECTOR), REG("es", "int32", 4, seg[SEG_ES].selector, SELECTOR), \
	REG("fs", "int32", 4, seg[SEG_FS].selector, SELECTOR), REG("gs", "int32", 4, seg[SEG_GS].selector, SELECTOR)

/* The FXSAVE image [APM2 11.4.4]. */
#define X87(name, at, size, rule) { name, "int", 4, FX(at, size), rule, 1, 0 }
#define FLOATS \
	{ "st", "i387_ext", 10, FX(32, 10), PLAIN, 8, 16 }, \
	X87("fctrl", 0, 2, PLAIN), X87("fstat", 2, 2, PLAIN), X87("ftag", 4, 1, TAGS), X87("fiseg", 12, 2, PLAIN), \
	X87("fioff", 8, 4, PLAIN), X87("foseg", 20, 2, PLAIN), X87("fooff", 16, 4, PLAIN), X87("fop", 6, 2, PLAIN)
#define XMM(n) { "xmm", "vec128", 16, FX(160, 16), PLAIN, n, 16 }
#define MXCSR { "mxcsr", "int", 4, FX(24, 4), MXCSR_BITS, 1, 0 }

static const struct row core64[] = {
	GPR64("rax", RAX), GPR64("rbx", RBX), GPR64("rcx", RCX), GPR64("rdx", RDX), GPR64("rsi", RSI),
	GPR64("rdi", RDI), REG("rbp", "data_ptr", 8, gpr[RBP], PLAIN), REG("rsp", "data_ptr", 8, gpr[RSP], PLAIN),
	GPR64("r8", R8), GPR64("r9", R9), GPR64("r10", R10), GPR64("r11", R11), GPR64("r12", R12),
	GPR64("r13", R13), GPR64("r14", R14), GPR64("r15", R15), REG("rip", "code_ptr", 8, rip, PC),
	REG("eflags", "i386_eflags", 4, rflags, FLAGS), SELECTORS, FLOATS,
};

static const struct row core32[] = {
	GPR32("eax", RAX), GPR32("ecx", RCX), GPR32("edx", RDX), GPR32("ebx", RBX),
	REG("esp", "data_ptr", 4, gpr[RSP], PLAIN), REG("ebp", "data_ptr", 4, gpr[RBP], PLAIN),
	GPR32("esi", RSI), GPR32("edi", RDI), REG("eip", "code_ptr", 4, rip, PC),
	REG("eflags", "i386_eflags", 4, rflags, FLAGS), SELECTORS, FLOATS,
};

static const struct row sse64[] = { XMM(16), MXCSR };
static const struct row sse32[] = { XMM(8), MXCSR };

/*
 * GDB saves all registers around a call it makes, and writes those back that
 * the call has changed: so what a kernel changes on its way is for writing.
 */
#define SYS(name, bytes, field, rule) { name, bytes == 8 ? "uint64" : "uint32", bytes, AT(field), rule, 1, 0 }
#define SEGMENT(name, s) \
	SYS(name "_base", 8, seg[s].base, PLAIN), SYS(name "_limit", 4, seg[s].limit, PLAIN)

static const struct row segments[] = {
	REG("fs_base", "int", 8, seg[SEG_FS].base, PLAIN), REG("gs_base", "int", 8, seg[SEG_GS].base, PLAIN),
};

static const struct row control[] = {
	SYS("ip", 8, rip, FIXED),
	SYS("cr0", 8, cr0, CR0), SYS("cr2", 8, cr2, PLAIN), SYS("cr3", 8, cr3, PLAIN), SYS("cr4", 8, cr4, FIXED),
	SYS("cr8", 8, cr8, FIXED), SYS("efer", 8, efer, FIXED),
	SEGMENT("cs", SEG_CS), SEGMENT("ss", SEG_SS), SEGMENT("ds", SEG_DS), SEGMENT("es", SEG_ES),
	SYS("fs_limit", 4, seg[SEG_FS].limit, PLAIN), SYS("gs_limit", 4, seg[SEG_GS].limit, PLAIN),
	SYS("ldtr", 4, seg[SEG_LDTR].selector, FIXED), SEGMENT("ldtr", SEG_LDTR),
	SYS("tr", 4, seg[SEG_TR].selector, FIXED), SEGMENT("tr", SEG_TR),
	SYS("gdtr_base", 8, gdtr.base, FIXED), SYS("gdtr_limit", 4, gdtr.limit, FIXED),
	SYS("idtr_base", 8, idtr.base, FIXED), SYS("idtr_limit", 4, idtr.limit, FIXED),
	{ "dr", "uint64", 8, offsetof(struct cpu_state, dr), 8, FIXED, 4, 8 },
	SYS("dr6", 8, dr6, FIXED), SYS("dr7", 8, dr7, FIXED),
	SYS("kernel_gs_base", 8, kernel_gs_base, PLAIN),
};

static const struct row bases32[] = {
	SYS("fs_base", 8, seg[SEG_FS].base, PLAIN), SYS("gs_base", 8, seg[SEG_GS].base, PLAIN),
};

static const char eflags_type[] =
	"<flags id=\"i386_eflags\" size=\"4\">"
	"<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
	"<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
	"<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
	"<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
	"<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
	"<field name=\"IOPL\" start=\"12\" end=\"13\"/>"
	"<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
	"<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
	"<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
	"<field name=\"ID\" start=\"21\" end=\"21\"/></flags>\n";

static const char vector_types[] =
	"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
	"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
	"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
	"<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
	"<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
	"<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
	"<field name=\"uint128\" type=\"uint128\"/></union>\n";

struct feature {
	const char *name, *types;
	const struct row *rows;
	unsigned nrows;
};

#define FEATURE(name, types, rows) { name, types, rows, ARRAY_SIZE(rows) }
#define MAX_FEATURES 4

static const struct feature features64[MAX_FEATURES] = {
	FEATURE("org.gnu.gdb.i386.core", eflags_type, core64), FEATURE("org.gnu.gdb.i386.sse", vector_types, sse64),
	FEATURE("org.gnu.gdb.i386.segments", "", segments), FEATURE("org.reprise.control", "", control),
};

static const struct feature features32[MAX_FEATURES] = {
	FEATURE("org.gnu.gdb.i386.core", eflags_type, core32), FEATURE("org.gnu.gdb.i386.sse", vector_types, sse32),
	FEATURE("org.reprise.control", "", control), FEATURE("org.reprise.bases", "", bases32),
};

static const struct feature *features_of(enum gdb_arch arch)
{
	return arch == GDB_X86_64 ? features64 : features32;
}

enum gdb_arch regs_arch(const struct cpu_state *s)
{
	/* Compatibility mode is a visit: its kernel, and its symbols, are of 64 bits. */
	if (s->efer & EFER_LMA)
		return GDB_X86_64;
	return cpu_code_bits(s) == 32 ? GDB_I386 : GDB_I8086;
}

/* ---- values ---- */

static bool segments_shift(const struct cpu_state *s)
{
	return !(s->cr0 & CR0_PE) || (s->rflags & RFLAGS_VM);
}

u64 regs_pc(const struct cpu_state *s)
{
	/* 64-bit code ignores CS's base [APM2 4.8.1]. */
	if (cpu_code_bits(s) == 64)
		return s->rip;
	return (u32)(s->seg[SEG_CS].base + s->rip);
}

/* Register n's row, and where in struct cpu_state it is. */
static const struct row *find(enum gdb_arch arch, unsigned n, size_t *at)
{
	const struct feature *features = features_of(arch);

	for (unsigned i = 0; i < MAX_FEATURES; i++)
		for (unsigned k = 0; k < features[i].nrows; k++) {
			const struct row *r = &features[i].rows[k];

			if (n < r->n) {
				*at = r->at + n * r->stride;
				return r;
			}
			n -= r->n;
		}
	return NULL;
}

/* The tag word as FSTENV would store it: valid 0, zero 1, special 2, empty 3 [APM2 11.4.4]. */
static u16 full_tags(const u8 *fx)
{
	unsigned top = fx[3] >> 3 & 7, tags = 0;

	for (unsigned i = 0; i < 8; i++) {
		const u8 *st = fx + 32 + 16 * ((i - top) & 7);
		unsigned exponent = (unsigned)read_bytes_le(st + 8, 2) & 0x7fff, tag;
		u64 fraction = read_bytes_le(st, 8);

		if (!(fx[4] >> i & 1))
			tag = 3;
		else if (!exponent && !fraction)
			tag = 1;
		else
			tag = exponent && exponent != 0x7fff && fraction >> 63 ? 0 : 2;
		tags |= tag << (2 * i);
	}
	return (u16)tags;
}

unsigned regs_read(const struct cpu_state *s, enum gdb_arch arch, unsigned n, u8 buf[REG_MAX_BYTES])
{
	size_t at;
	const struct row *r = find(arch, n, &at);

	if (!r)
		return 0;
	memset(buf, 0, REG_MAX_BYTES);
	if (r->rule == PC)
		write_bytes_le(buf, 8, regs_pc(s));
	else if (r->rule == TAGS)
		write_bytes_le(buf, 2, full_tags(s->fx));
	else
		memcpy(buf, (const u8 *)s + at, r->size_bytes);
	return r->shown_bytes;
}

static void write_pc(struct cpu_state *s, u64 pc)
{
	s->rip = cpu_code_bits(s) == 64 ? pc : (u32)(pc - s->seg[SEG_CS].base);
	/* Who is sent elsewhere is no longer waiting: an idle kernel can so be made to call a function. */
	s->halted = 0;
	s->interrupt_shadow = 0;
}

bool regs_write(struct cpu_state *s, enum gdb_arch arch, unsigned n, const u8 buf[REG_MAX_BYTES])
{
	size_t at;
	const struct row *r = find(arch, n, &at);
	u64 value = read_bytes_le(buf, 8);

	if (!r || r->rule == FIXED)
		return false;
	value &= size_mask(MIN(r->shown_bytes, 8U));
	switch (r->rule) {
	case PC:
		write_pc(s, value);
		break;
	case FLAGS: /* VM would be a change of mode, half of one */
		s->rflags = (value & RFLAGS_DEFINED & ~(u64)RFLAGS_VM) | RFLAGS_RESERVED1 | (s->rflags & RFLAGS_VM);
		break;
	case TAGS:
		s->fx[4] = 0;
		for (unsigned i = 0; i < 8; i++)
			s->fx[4] |= (u8)(((value >> (2 * i) & 3) != 3) << i);
		break;
	case SELECTOR:
		memcpy((u8 *)s + at, buf, 2);
		if (segments_shift(s))
			((struct segment *)(void *)((u8 *)s + at))->base = (value & 0xffff) << 4;
		break;
	case CR0:
		if ((value ^ s->cr0) & ~(u64)(CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM))
			return false;
		s->cr0 = value;
		break;
	case MXCSR_BITS:
		if (value >> 16)
			return false;
		write_bytes_le((u8 *)s + at, 4, value);
		break;
	default:
		/* In the 32-bit files a register's upper half is not GDB's to clear. */
		memcpy((u8 *)s + at, buf, MIN(r->shown_bytes, r->size_bytes));
		break;
	}
	return true;
}

/* ---- descriptions ---- */

struct text {
	void (*put)(void *ctx, const char *text, size_t n);
	void *ctx;
};

static void printf_like(2, 3) say(const struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	kvformat(t->put, t->ctx, fmt, ap);
	va_end(ap);
}

static void describe_row(const struct text *t, const struct row *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		say(t, "<reg name=\"%s", r->name);
		if (r->n > 1)
			say(t, "%u", i);
		say(t, "\" bitsize=\"%u\" type=\"%s\"/>\n", r->shown_bytes * 8, r->type);
	}
}

void regs_describe(enum gdb_arch arch, void (*put)(void *ctx, const char *text, size_t n), void *ctx)
{
	const struct text t = { put, ctx };
	const struct feature *features = features_of(arch);

	say(&t, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">"
		"<architecture>%s</architecture><osabi>none</osabi>\n",
	    arch == GDB_X86_64 ? "i386:x86-64" : arch == GDB_I386 ? "i386" : "i8086");
	for (unsigned i = 0; i < MAX_FEATURES; i++) {
		say(&t, "<feature name=\"%s\">\n%s", features[i].name, features[i].types);
		for (unsigned k = 0; k < features[i].nrows; k++)
			describe_row(&t, &features[i].rows[k]);
		say(&t, "</feature>\n");
	}
	say(&t, "</target>\n");
}
