/*
 * test_bt.c - `reprise bt`'s parts that need no QEMU: the remote protocol over
 * a socket, the text of a panic, call frame information, and walks: up this
 * very program's stack by its own .eh_frame, and up stacks made by hand.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/panictext.h"
#include "tools/rsp.h"
#include "tools/unwind.h"

/* ---- the remote protocol: the answers are there before the questions ---- */

struct peer {
	struct rsp rsp;
	int ends[2];
	u8 asked[8192];
	size_t n;
};

static struct peer *peer_with(const char *answers)
{
	struct peer *p = calloc(1, sizeof(*p));

	cr_assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, p->ends));
	cr_assert_eq(write(p->ends[1], answers, strlen(answers)), (ssize_t)strlen(answers));
	return p;
}

static void peer_free(struct peer *p)
{
	close(p->ends[0]);
	close(p->ends[1]);
	free(p);
}

/* What it was asked, from the beginning. */
static const char *asked(struct peer *p)
{
	ssize_t n = recv(p->ends[1], p->asked + p->n, sizeof(p->asked) - 1 - p->n, MSG_DONTWAIT);

	p->n += n > 0 ? (size_t)n : 0;
	p->asked[p->n] = 0;
	return (const char *)p->asked;
}

#define HELLO "+$PacketSize=1000#00$PacketSize=1000#f1$OK#9a"

Test(bt, rsp_opens)
{
	struct peer *p = peer_with(HELLO "$#00");

	cr_assert(rsp_open(&p->rsp, p->ends[0], 1000));
	cr_assert(p->rsp.no_ack);
	cr_assert(rsp_ask(&p->rsp, "?"));
	cr_assert_str_empty(p->rsp.packet);
	cr_assert_str_eq(asked(p), "$qSupported:swbreak+#8b-+$QStartNoAckMode#b0+$?#3f", "%s", asked(p));
	peer_free(p);
}

Test(bt, rsp_bodies)
{
	struct peer *p = peer_with(HELLO "$a0* b#3d$}\003}\004x#79");

	cr_assert(rsp_open(&p->rsp, p->ends[0], 1000));
	cr_assert(rsp_ask(&p->rsp, "x"));
	cr_assert_str_eq(p->rsp.packet, "a0000b");
	cr_assert(rsp_ask(&p->rsp, "x"));
	cr_assert_str_eq(p->rsp.packet, "#$x");
	peer_free(p);
}

Test(bt, rsp_threads)
{
	struct peer *p = peer_with(HELLO "$m1,2#fc$m1f#04$l#6c$#00$OK#9a$0102xx#b3");
	u8 g[8] = { 9, 9, 9, 9 };
	u64 ids[4];
	size_t n;

	cr_assert(rsp_open(&p->rsp, p->ends[0], 1000));
	cr_assert(rsp_threads(&p->rsp, ids, 4, &n));
	cr_assert(n == 3 && ids[0] == 1 && ids[1] == 2 && ids[2] == 0x1f);
	cr_assert(rsp_threads(&p->rsp, ids, 4, &n) && n == 1, "who knows of none has one");
	cr_assert(rsp_registers(&p->rsp, 0x1f, g, sizeof(g), &n));
	cr_assert(n == 3 && g[0] == 1 && g[1] == 2 && g[2] == 0 && g[3] == 9);
	cr_assert(strstr(asked(p), "$Hg1f#"));
	peer_free(p);
}

static enum rsp_end end_of(const char *answers, bool closes)
{
	struct peer *p = peer_with(answers);
	enum rsp_end end;
	u64 ids[2];
	size_t n;

	if (closes)
		shutdown(p->ends[1], SHUT_WR);
	cr_assert(!(rsp_open(&p->rsp, p->ends[0], 50) && rsp_threads(&p->rsp, ids, 2, &n)));
	cr_assert(!rsp_ask(&p->rsp, "?"), "nothing is asked after a failure");
	end = p->rsp.end;
	peer_free(p);
	return end;
}

Test(bt, rsp_fails)
{
	cr_assert_eq(end_of("", true), RSP_CLOSED);
	cr_assert_eq(end_of("", false), RSP_SILENT);
	cr_assert_eq(end_of(HELLO "$m1,2", true), RSP_CLOSED);
	cr_assert_eq(end_of(HELLO "$m1,2", false), RSP_SILENT);
	cr_assert_eq(end_of(HELLO "$m1#00", false), RSP_NONSENSE, "a wrong checksum, and none is asked for");
	cr_assert_eq(end_of(HELLO "$mx#e5", false), RSP_NONSENSE);
	cr_assert_eq(end_of(HELLO "$E01#a6", false), RSP_NONSENSE);
}

Test(bt, rsp_memory)
{
	struct peer *p = peer_with(HELLO);
	char line[2 * RSP_LINE + 8];
	unsigned sum = 0;
	u8 got[4];

	cr_assert(rsp_open(&p->rsp, p->ends[0], 50));
	strcpy(line, "$");
	for (unsigned i = 0; i < RSP_LINE; i++)
		sprintf(line + strlen(line), "%02x", i);
	for (const char *c = line + 1; *c; c++)
		sum += (u8)*c;
	sprintf(line + strlen(line), "#%02x", sum & 0xff);
	cr_assert(write(p->ends[1], line, strlen(line)) > 0 && write(p->ends[1], "$E14#aa", 7) == 7);
	cr_assert(rsp_read(&p->rsp, 0x1010, got, 4));
	cr_assert_arr_eq(got, ((u8[]){ 0x10, 0x11, 0x12, 0x13 }), 4);
	cr_assert(!rsp_read(&p->rsp, 0x10fe, got, 4), "half of it is not there");
	cr_assert(rsp_read(&p->rsp, 0x10fe, got, 2) && got[1] == 0xff, "the rest is remembered");
	cr_assert(!rsp_read(&p->rsp, 0x1100, got, 1), "and so is that");
	cr_assert(!rsp_read(&p->rsp, ~0UL, got, 4));
	cr_assert(strstr(asked(p), "$m1000,100#") && strstr(asked(p), "$m1100,100#"));
	cr_assert_eq(p->rsp.end, RSP_GOOD);
	peer_free(p);
}

/* ---- a panic ---- */

static struct panic_text panic_of(const char *text)
{
	struct panic_text p;

	cr_assert(panic_parse(&p, text, strlen(text)), "%s", text);
	return p;
}

Test(bt, panic_texts)
{
	struct panic_text p = panic_of("talk\n# panic: it broke, 42\r\n# rip 00 rflags 2\r\n# backtrace:\r\n"
				       "#     die.part.0+0x1f (0x10abcd)\r\n#     0x5\r\n#     main+0x10\r\n#     ...\r\nreprise: more\n");

	cr_assert_str_eq(p.message, "it broke, 42");
	cr_assert(p.n == 3 && p.is_cut);
	cr_assert(!strcmp(p.frames[0].name, "die.part.0") && p.frames[0].offset == 0x1f && p.frames[0].address == 0x10abcd);
	cr_assert(!p.frames[1].name[0] && p.frames[1].address == 5);
	cr_assert(!strcmp(p.frames[2].name, "main") && p.frames[2].offset == 0x10 && !p.frames[2].address);
	p = panic_of("[    1.5] panic: a\n[    1.6] backtrace:\n[    1.6]     f+0x1\nend");
	cr_assert(p.n == 1 && !p.is_cut && !strcmp(p.frames[0].name, "f"));
	p = panic_of("panic: a\nbacktrace:\n    f+0x1\n    f+0x2 (0x");
	cr_assert_eq(p.n, 1, "a line cut off ends it");
}

Test(bt, panic_texts_refused)
{
	static const char *const texts[] = {
		"", "\n", "panic: a", "panic: a\nbacktrace:\n", "backtrace:\n    f+0x1\n", "panic: a\nbacktrace:\nf+0x1\n",
		"panic: a\nbacktrace:\n    f\n", "panic: a\nbacktrace:\n    f+0x1 and more\n", "panic: a\nbacktrace:\n    +0x1\n",
	};
	struct panic_text p;
	char many[PANIC_FRAMES * 20 + 200] = "panic: a\nbacktrace:\n";

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		cr_assert(!panic_parse(&p, texts[i], strlen(texts[i])), "%s", texts[i]);
	for (unsigned i = 0; i < PANIC_FRAMES + 5; i++)
		strcat(many, "    f+0x1\n");
	cr_assert(panic_parse(&p, many, strlen(many)) && p.n == PANIC_FRAMES);
}

/* ---- this program ---- */

struct self {
	struct elf elf;
	struct functions functions;
	struct cfi cfi;
	struct unwinder u;
	int memory;
};

static int own_offset(struct dl_phdr_info *info, size_t size unused_arg, void *offset)
{
	*(u64 *)offset = info->dlpi_addr;
	return 1; /* the first is the program */
}

/* Not by memcpy: a sanitizer would see us reading what is no variable. */
static bool read_self(void *ctx, u64 at, void *buf, size_t n)
{
	struct self *s = ctx;

	return pread(s->memory, buf, n, (off_t)at) == (ssize_t)n;
}

static struct self *self_open(void)
{
	struct self *s = calloc(1, sizeof(*s));
	int fd = open("/proc/self/exe", O_RDONLY);
	struct stat st;
	void *data;

	cr_assert(fd >= 0 && !fstat(fd, &st));
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	cr_assert(data != MAP_FAILED && !elf_open(&s->elf, data, (size_t)st.st_size));
	functions_read(&s->functions, &s->elf);
	cfi_read(&s->cfi, &s->elf);
	s->memory = open("/proc/self/mem", O_RDONLY);
	s->u = (struct unwinder){ .functions = &s->functions, .cfi = &s->cfi, .is_64 = true, .read = read_self, .ctx = s };
	dl_iterate_phdr(own_offset, &s->u.offset);
	return s;
}

static void self_close(struct self *s)
{
	close(s->memory);
	munmap((void *)(uintptr_t)s->elf.data, s->elf.size);
	functions_free(&s->functions);
	cfi_free(&s->cfi);
	free(s);
}

static struct frame walked[FRAMES_MAX];
static size_t nwalked;

#define NOINLINE __attribute__((noinline, no_sanitize("address", "undefined")))

NOINLINE static int bt_inner(struct self *s, int n)
{
	struct unwind_regs regs = { .cs = 0x33 };
	u64 *r = regs.r;

	__asm__ volatile("lea 0(%%rip), %%rax; mov %%rax, 128(%0); mov %%rbx, 24(%0); mov %%rbp, 48(%0); mov %%rsp, 56(%0)\n\t"
			 "mov %%r12, 96(%0); mov %%r13, 104(%0); mov %%r14, 112(%0); mov %%r15, 120(%0)"
			 : : "r"(r) : "rax", "memory");
	unwind(&s->u, &regs, walked, &nwalked);
	return n + 1;
}

NOINLINE static int bt_middle(struct self *s, int n)
{
	volatile char room[100];

	room[n] = (char)n;
	return bt_inner(s, n) + room[n];
}

NOINLINE static int bt_outer(struct self *s, int n)
{
	return bt_middle(s, n * 2) * 3;
}

Test(bt, own_stack)
{
	static const char *const names[] = { "bt_inner", "bt_middle", "bt_outer" };
	struct self *s = self_open();

	cr_assert(bt_outer(s, 3));
	cr_assert_gt(nwalked, 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct function *f = function_at(&s->functions, frame_place(&walked[i]) - s->u.offset);

		cr_assert(f && !strcmp(f->name, names[i]), "frame %u: %s", i, f ? f->name : "none");
		cr_assert(!i || walked[i].how == FRAME_CFI);
	}
	self_close(s);
}

Test(bt, cfi_extract)
{
	struct self *s = self_open();
	u64 at = (u64)(uintptr_t)bt_inner - s->u.offset, start, size;
	struct buf b = { 0 };
	size_t entry;
	u32 back;

	cr_assert(cfi_covers(&s->cfi, at) && cfi_extract(&s->cfi, at, 0x1000, &b, &entry));
	cr_assert(entry % 8 == 0 && b.size % 8 == 0 && entry < b.size);
	memcpy(&back, b.data + entry + 4, 4);
	cr_assert_eq(back, entry + 4, "the way to the common part");
	memcpy(&start, b.data + entry + 8, 8);
	memcpy(&size, b.data + entry + 16, 8);
	cr_assert(start == at + 0x1000 && size && size < 4096);
	cr_assert(!cfi_covers(&s->cfi, 0) && !cfi_extract(&s->cfi, ~0UL, 0, &b, &entry));
	buf_free(&b);
	self_close(s);
}

/* Spoilt in any byte, or cut anywhere, a section does no harm. */
Test(bt, cfi_spoilt)
{
	struct self *s = self_open();
	struct elf_section frame = { 0 };
	u64 index = 0;
	u8 *copy = malloc(s->elf.size);
	struct elf e;

	while (elf_section(&s->elf, index, &frame) && strcmp(frame.name, ".eh_frame"))
		index++;
	cr_assert(frame.data && frame.size > 1000);
	memcpy(copy, s->elf.data, s->elf.size);
	for (u64 i = 0; i < 400; i++) {
		u8 *byte = copy + (frame.data - s->elf.data) + i;
		struct buf b = { 0 };
		size_t entry;
		struct cfi c;

		*byte ^= (u8)(1 + i * 37);
		cr_assert(!elf_open(&e, copy, s->elf.size));
		cfi_read(&c, &e);
		(void)!cfi_extract(&c, (u64)(uintptr_t)bt_inner - s->u.offset, 0, &b, &entry);
		buf_free(&b);
		cfi_free(&c);
		*byte ^= (u8)(1 + i * 37);
	}
	free(copy);
	self_close(s);
}

/* ---- stacks made by hand ---- */

#define CODE 0x100000UL
#define STACK 0x200000UL
#define WORDS 200

struct made {
	struct function list[4];
	struct functions functions;
	struct cfi cfi;
	u8 code[0x400];
	u64 stack[WORDS];
	struct unwinder u;
	struct unwind_regs regs;
	struct frame frames[FRAMES_MAX];
	size_t n;
};

static bool read_made(void *ctx, u64 at, void *buf, size_t n)
{
	struct made *m = ctx;

	if (at >= CODE && at + n <= CODE + sizeof(m->code))
		memcpy(buf, m->code + (at - CODE), n);
	else if (at >= STACK && at + n <= STACK + sizeof(m->stack))
		memcpy(buf, (u8 *)m->stack + (at - STACK), n);
	else
		return false;
	return true;
}

/* Four functions of 0x100 bytes. */
static struct made *make(u64 rip, u64 rsp, u64 rbp)
{
	struct made *m = calloc(1, sizeof(*m));

	for (unsigned i = 0; i < 4; i++)
		m->list[i] = (struct function){ .name = "f", .at = CODE + 0x100 * i, .size = 0x100 };
	m->functions = (struct functions){ .list = m->list, .n = 4, .first = CODE, .last = CODE + 0x400 };
	m->u = (struct unwinder){ .functions = &m->functions, .cfi = &m->cfi, .is_64 = true, .read = read_made, .ctx = m };
	m->regs = (struct unwind_regs){ .cs = 8 };
	m->regs.r[DW_RIP] = rip;
	m->regs.r[DW_RSP] = rsp;
	m->regs.r[DW_RBP] = rbp;
	return m;
}

static enum unwind_end walk(struct made *m)
{
	return unwind(&m->u, &m->regs, m->frames, &m->n);
}

static void interrupt_frame(struct made *m, unsigned word, u64 rip, u64 cs, u64 rsp, u64 ss)
{
	const u64 f[5] = { rip, cs, 0x246, rsp, ss };

	memcpy(&m->stack[word], f, sizeof(f));
}

Test(bt, frame_pointers)
{
	struct made *m = make(CODE + 0x20, STACK, STACK + 16);

	m->stack[2] = STACK + 64; /* rbp, return address */
	m->stack[3] = CODE + 0x120;
	m->stack[8] = 0;
	m->stack[9] = CODE + 0x230;
	cr_assert_eq(walk(m), UNWIND_TOP);
	cr_assert(m->n == 3 && m->frames[1].pc == CODE + 0x120 && m->frames[1].sp == STACK + 32);
	cr_assert(m->frames[1].how == FRAME_POINTER && m->frames[2].pc == CODE + 0x230);
	free(m);
}

Test(bt, frame_pointers_of_32_bits)
{
	struct made *m = make(CODE + 0x20, STACK, STACK + 8);
	u32 *stack = (u32 *)m->stack;

	m->u.is_64 = false;
	stack[2] = STACK + 32;
	stack[3] = CODE + 0x120;
	stack[9] = CODE + 0x230;
	walk(m);
	cr_assert(m->n == 3 && m->frames[2].pc == CODE + 0x230 && m->frames[2].sp == STACK + 40);
	free(m);
}

Test(bt, frame_pointers_in_a_circle)
{
	struct made *m = make(CODE + 0x20, STACK, STACK + 16);

	m->stack[2] = STACK + 16;
	m->stack[3] = CODE + 0x120;
	cr_assert_eq(walk(m), UNWIND_TOP);
	cr_assert_eq(m->n, 2);
	free(m);
}

Test(bt, first_instruction)
{
	struct made *m = make(CODE + 0x100, STACK, STACK + 64);

	m->stack[0] = CODE + 0x25; /* behind a call to where we are */
	memcpy(m->code + 0x20, "\xe8\xdb\x00\x00\x00", 5);
	walk(m);
	cr_assert(m->n == 2 && m->frames[1].pc == CODE + 0x25 && m->frames[1].how == FRAME_CALL);
	free(m);
}

Test(bt, interrupts)
{
	/* A handler; its stub's 17 words; what was interrupted, with a frame pointer. */
	struct made *m = make(CODE + 0x20, STACK, STACK + 8);

	m->stack[1] = STACK + 45 * 8; /* saved: the interrupted one's */
	m->stack[2] = CODE + 0x120;   /* in the stub */
	interrupt_frame(m, 20, CODE + 0x210, 8, STACK + 40 * 8, 0x10);
	m->stack[45] = 0;
	m->stack[46] = CODE + 0x330;
	walk(m);
	cr_assert_eq(m->n, 4, "%zu", m->n);
	cr_assert(m->frames[1].pc == CODE + 0x120 && m->frames[1].how == FRAME_POINTER);
	cr_assert(m->frames[2].pc == CODE + 0x210 && m->frames[2].how == FRAME_INTERRUPTED && m->frames[2].sp == STACK + 40 * 8);
	cr_assert(m->frames[3].pc == CODE + 0x330);
	m->stack[22] = 0x244; /* RFLAGS without its bit 1: not one */
	walk(m);
	cr_assert_leq(m->n, 3);
	for (size_t i = 0; i < m->n; i++)
		cr_assert_neq(m->frames[i].how, FRAME_INTERRUPTED);
	free(m);
}

Test(bt, interrupt_without_stub)
{
	/* The handler is entered by the processor itself, and has a frame pointer: first without, then with an error code. */
	for (unsigned error = 0; error < 2; error++) {
		struct made *m = make(CODE + 0x20, STACK, STACK + 8);

		m->stack[2] = 4;
		interrupt_frame(m, 2 + error, CODE + 0x210, 8, STACK + 20 * 8, 0);
		walk(m);
		cr_assert(m->n == 2 && m->frames[1].pc == CODE + 0x210 && m->frames[1].how == FRAME_INTERRUPTED);
		cr_assert_eq(m->frames[1].sp, STACK + 20 * 8);
		free(m);
	}
}

Test(bt, another_stack)
{
	/* f calls on another stack, whose top word is the pointer to its own; then one more call, and POP RSP. */
	struct made *m = make(CODE + 0x20, STACK, STACK + 8);

	m->stack[1] = STACK + 100 * 8;
	m->stack[2] = CODE + 0x120;
	m->stack[3] = STACK + 80 * 8; /* where RSP is behind the call */
	memcpy(m->code + 0x120, "\x48\x89\xdf\xe8\x01\x02\x03\x04\x5c", 9);
	interrupt_frame(m, 90, CODE + 0x210, 8, STACK + 95 * 8, 0);
	walk(m);
	cr_assert(m->n == 3 && m->frames[2].pc == CODE + 0x210 && m->frames[2].how == FRAME_INTERRUPTED);
	m->code[0x128] = 0x58; /* POP RAX: the word is just a word */
	walk(m);
	cr_assert_eq(m->n, 2);
	free(m);
}

Test(bt, programs)
{
	struct made *m = make(CODE + 0x20, STACK, 0);

	interrupt_frame(m, 1, 0x401000, 0x33, 0x7fff00000000, 0x2b);
	cr_assert_eq(walk(m), UNWIND_USER);
	cr_assert(m->n == 2 && m->frames[1].pc == 0x401000 && m->frames[1].is_user);
	m->regs.r[DW_RIP] = 0x401000;
	m->regs.cs = 0x33;
	cr_assert_eq(walk(m), UNWIND_USER);
	cr_assert(m->n == 1 && m->frames[0].is_user);
	free(m);
}

Test(bt, deep)
{
	struct made *m = make(CODE + 0x20, STACK, STACK);

	/* Interrupts that come upon each other for ever. */
	interrupt_frame(m, 1, CODE + 0x20, 8, STACK, 0);
	cr_assert_eq(walk(m), UNWIND_MAX);
	cr_assert_eq(m->n, FRAMES_MAX);
	free(m);
}
