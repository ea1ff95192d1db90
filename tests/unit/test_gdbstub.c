/*
 * test_gdbstub.c - the stub as GDB sees it: packets in, packets out, over a
 * timeline by script (faketimeline.h).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/faketimeline.h"

struct rig {
	struct timeline *t;
	struct gdb *g;
	char in[1 << 16], out[1 << 18], said[1 << 16];
	size_t nin, nread, nout;
	bool quit, gone;
	unsigned nforgotten;
	const char *while_travelling; /* arrives at the n-th question whether to stop */
	unsigned after;
};

static size_t link_read(void *ctx, void *buf, size_t n)
{
	struct rig *r = ctx;

	n = MIN(n, r->nin - r->nread);
	memcpy(buf, r->in + r->nread, n);
	r->nread += n;
	return n;
}

static void link_write(void *ctx, const void *data, size_t n)
{
	struct rig *r = ctx;

	cr_assert(r->nout + n < sizeof(r->out));
	memcpy(r->out + r->nout, data, n);
	r->nout += n;
	r->out[r->nout] = 0;
}

static void link_wait(void *ctx)
{
	((struct rig *)ctx)->quit = true; /* the script is over */
}

static bool link_gone(void *ctx)
{
	return ((struct rig *)ctx)->gone;
}

static void link_forgotten(void *ctx)
{
	struct rig *r = ctx;

	r->gone = false;
	r->nforgotten++;
}

static bool link_quit(void *ctx)
{
	return ((struct rig *)ctx)->quit;
}

static void feed(struct rig *r, const char *bytes, size_t n)
{
	cr_assert(r->nin + n <= sizeof(r->in));
	memcpy(r->in + r->nin, bytes, n);
	r->nin += n;
}

static bool wants_stop(void *ctx)
{
	struct rig *r = ctx;

	if (r->while_travelling && !r->after--) {
		feed(r, r->while_travelling, strlen(r->while_travelling));
		r->while_travelling = NULL;
	}
	return gdb_wants_stop(r->g);
}

static void start(struct rig *r, enum gdb_arch arch)
{
	const struct gdb_link link = { link_read, link_write, link_wait, link_gone, link_forgotten, link_quit, r };

	memset(r, 0, sizeof(*r));
	r->t = fake_line_new();
	r->t->wants_stop = wants_stop;
	r->t->ctx = r;
	r->g = calloc(1, gdb_size());
	gdb_init_over(r->g, r->t, &fake_timeline_ops, &link, arch);
}

static void end(struct rig *r)
{
	fake_line_free(r->t);
	free(r->g);
}

static void serve(struct rig *r)
{
	r->nout = 0;
	r->out[0] = 0;
	r->quit = false;
	gdb_serve(r->g);
}

static void frame(struct rig *r, const char *body, size_t n)
{
	u8 sum = 0;
	char tail[4];

	for (size_t i = 0; i < n; i++)
		sum = (u8)(sum + (u8)body[i]);
	snprintf(tail, sizeof(tail), "#%02x", sum);
	feed(r, "$", 1);
	feed(r, body, n);
	feed(r, tail, 3);
}

/* A packet as it was meant: runs are on the wire as a character, '*' and how often it is repeated, plus 29. */
static size_t expand(const char *from, size_t n, char *to)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		if (from[i] != '*') {
			to[out++] = from[i];
			continue;
		}
		cr_assert(i && i + 1 < n && from[i + 1] >= 29 + 3 && from[i + 1] <= 126 && from[i + 1] != '#' && from[i + 1] != '$',
			  "a run of %02x", from[i + 1]);
		for (int k = from[++i] - 29; k; k--, out++)
			to[out] = to[out - 1];
	}
	return out;
}

/* Takes the frames off what came out, checking sums; packets of words for the user go to r->said. */
static char *bodies(struct rig *r)
{
	static char text[1 << 18];
	size_t n = 0, nsaid = 0;

	for (size_t i = 0; i < r->nout; i++) {
		size_t from = i + 1;
		unsigned sum;
		u8 real = 0;

		if (r->out[i] != '$') {
			cr_assert(strchr("+-", r->out[i]), "between packets: %02x", r->out[i]);
			continue;
		}
		for (i = from; r->out[i] != '#'; i++)
			real = (u8)(real + (u8)r->out[i]);
		cr_assert_eq(sscanf(r->out + i, "#%02x", &sum), 1);
		cr_assert_eq(sum, real);
		if (r->out[from] == 'O' && r->out[from + 1] != 'K') {
			static char words[1 << 13];
			size_t nwords = expand(r->out + from, i - from, words);

			for (size_t k = 1; k < nwords; k += 2) {
				sscanf(words + k, "%02x", &sum);
				r->said[nsaid++] = (char)sum;
			}
		} else {
			if (n)
				text[n++] = '|';
			n += expand(r->out + from, i - from, text + n);
		}
		i += 2;
	}
	text[n] = 0;
	r->said[nsaid] = 0;
	return text;
}

static char *ask_bytes(struct rig *r, const char *body, size_t n)
{
	frame(r, body, n);
	serve(r);
	return bodies(r);
}

static char *ask(struct rig *r, const char *body)
{
	return ask_bytes(r, body, strlen(body));
}

#define EXPECT(rig, body, answer) cr_expect_str_eq(ask(rig, body), answer, "%s: %s", body, bodies(rig))

/* `monitor TEXT`: what it says. */
static const char *monitor(struct rig *r, const char *text)
{
	char body[600] = "qRcmd,";

	for (size_t i = 0; text[i]; i++)
		sprintf(body + 6 + 2 * i, "%02x", (u8)text[i]);
	cr_expect_eq(strncmp(ask(r, body), "OK", 2), 0, "%s", text);
	return r->said;
}

static void expect_said(struct rig *r, const char *part)
{
	cr_expect(strstr(r->said, part), "\"%s\" is not in: %s", part, r->said);
}

static struct rig r;

static void begin(void)
{
	start(&r, GDB_I386);
}

static void finish(void)
{
	end(&r);
}

TestSuite(gdbstub, .init = begin, .fini = finish);

/* ---- framing ---- */

Test(gdbstub, packets_are_acknowledged_until_that_is_given_up)
{
	frame(&r, "?", 1);
	serve(&r);
	cr_expect_str_eq(r.out, "+$T05thread:1;#d7", "%s", r.out);
	feed(&r, "+$QStartNoAckMode#b0", 20);
	serve(&r);
	cr_expect_str_eq(r.out, "+$OK#9a");
	feed(&r, "+$?#3f", 6);
	serve(&r);
	cr_expect_str_eq(r.out, "$T05thread:1;#d7");
}

Test(gdbstub, a_wrong_checksum_is_refused_and_a_lost_answer_sent_again)
{
	feed(&r, "$?#00", 5);
	serve(&r);
	cr_expect_str_eq(r.out, "-");
	feed(&r, "$?#3f", 5);
	serve(&r);
	feed(&r, "-", 1);
	serve(&r);
	cr_expect_str_eq(r.out, "$T05thread:1;#d7");
	feed(&r, "$?#zz", 5);
	serve(&r);
	cr_expect_str_eq(r.out, "-");
}

Test(gdbstub, a_packet_may_come_in_pieces_or_be_cut_by_another)
{
	feed(&r, "$qAtt", 5);
	serve(&r);
	cr_expect_str_eq(r.out, "");
	feed(&r, "ached#8f", 8);
	serve(&r);
	cr_expect_str_eq(r.out, "+$1#31");
	feed(&r, "$qAtt$?#3f", 10);
	serve(&r);
	cr_expect_str_eq(bodies(&r), "T05thread:1;");
}

/* What it looks like on the wire: '*' and a count, which is neither '#' nor '$'. */
Test(gdbstub, runs_are_short_on_the_wire)
{
	static const struct { const char *body, *answer, *wire; } all[] = {
		{ "m6000,1", "10", "$10#" },
		{ "m6000,2", "1000", "$1000#" },
		{ "m6000,3", "100000", "$10*!#" },
		{ "m6000,4", "10000000", "$10*\"0#" },     /* six repeats would be '#' */
		{ "m6100,5", "0100000000", "$010*\"00#" }, /* seven, '$' */
		{ "m6000,5", "1000000000", "$10*%#" },
	};
	static const u8 bytes[2] = { 0x10, 0x01 };
	char *answer;

	cr_assert(!guestmem_write(&r.t->vm->mem, GPA(0x6000), &bytes[0], 1) && !guestmem_write(&r.t->vm->mem, GPA(0x6100), &bytes[1], 1));
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		EXPECT(&r, all[i].body, all[i].answer);
		cr_expect(strstr(r.out, all[i].wire), "%s: %s", all[i].body, r.out);
	}
	answer = ask(&r, "m6000,3c"); /* 119 zeros: more than one count can say */
	cr_expect(strlen(answer) == 120 && strspn(answer + 1, "0") == 119 && strstr(r.out, "$10*~0*1#"), "%s", r.out);
}

Test(gdbstub, a_new_session_forgets_the_old)
{
	ask(&r, "QStartNoAckMode");
	EXPECT(&r, "Z0,1008,1", "OK");
	EXPECT(&r, "Qqemu.PhyMemMode:1", "OK");
	feed(&r, "+", 1);
	frame(&r, "qSupported:swbreak+", 19);
	serve(&r);
	cr_expect_eq(r.out[0], '+', "the acknowledgement is there again");
	cr_expect(strstr(r.out, "PacketSize=4000;QStartNoAckMode+;"));
	cr_expect(strstr(r.out, ";ConditionalBreakpoints+#"));
	cr_expect_eq(r.g->npoints, 0);
	EXPECT(&r, "qqemu.PhyMemMode", "0");
}

Test(gdbstub, a_client_that_goes_is_forgotten_once_its_packets_are_answered)
{
	EXPECT(&r, "Z0,1008,1", "OK");
	r.gone = true;
	EXPECT(&r, "qC", "QC1");
	cr_expect_eq(r.nforgotten, 1);
	cr_expect_eq(r.g->npoints, 0);
}

Test(gdbstub, unknown_packets_have_the_empty_answer)
{
	static const char *const unknown[] = { "vMustReplyEmpty", "QNonStop:0", "qTStatus", "!", "qSymbol::", "vAttach;1",
					       "R00", "jGetLoadedDynamicLibrariesInfos:", "i", "", "qXfer:auxv:read::0,10",
					       "gx", "QThreadEvents:1" };

	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		ask(&r, unknown[i]);
		cr_expect(strstr(r.out, "$#00"), "%s: %s", unknown[i], r.out);
	}
}

Test(gdbstub, a_packet_too_long_does_no_harm)
{
	static char big[3 * PACKET_BYTES];

	memset(big, 'x', sizeof(big));
	ask_bytes(&r, big, PACKET_BYTES + 1);
	cr_expect(strstr(r.out, "$#00"));
	r.nin = r.nread = 0;
	feed(&r, "$", 1);
	feed(&r, big, sizeof(big));
	serve(&r);
	EXPECT(&r, "qC", "QC1");
}

/* ---- threads ---- */

Test(gdbstub, each_vcpu_is_a_thread)
{
	r.t->vm->config.ncpus = 2;
	r.t->vm->vcpu[1].cpu.halted = 1;
	r.t->vm->vcpu[1].cpu.gpr[RAX] = 0x77;
	EXPECT(&r, "qC", "QC1");
	EXPECT(&r, "qfThreadInfo", "m1,2");
	EXPECT(&r, "qsThreadInfo", "l");
	EXPECT(&r, "Hg2", "OK");
	EXPECT(&r, "p0", "77000000");
	EXPECT(&r, "Hg0", "OK");
	EXPECT(&r, "qC", "QC2");
	EXPECT(&r, "Hg3", "E22");
	EXPECT(&r, "Hc-1", "OK");
	EXPECT(&r, "T2", "OK");
	EXPECT(&r, "T3", "E22");
	EXPECT(&r, "vCont?", "vCont;c;C;s;S;r");
	EXPECT(&r, "qAttached:1", "1");
	ask(&r, "qXfer:threads:read::0,1000");
	cr_expect(strstr(r.out, "<thread id=\"2\" core=\"1\" name=\"vCPU 1\">halted"), "%s", r.out);
}

/* ---- registers ---- */

/* Counts what p answers and what the description names; both must give the same bytes. */
static unsigned described(const char *xml, unsigned *nregs)
{
	unsigned bits, total = 0;

	for (*nregs = 0; (xml = strstr(xml, "<reg ")); (*nregs)++) {
		xml = strstr(xml, "bitsize=\"");
		sscanf(xml, "bitsize=\"%u\"", &bits);
		total += bits / 8;
	}
	return total;
}

static char *whole_xml(struct rig *rig, const char *object, unsigned piece)
{
	static char xml[1 << 15];
	size_t n = 0;
	char body[100];
	const char *part;

	do {
		snprintf(body, sizeof(body), "%s:%zx,%x", object, n, piece);
		part = ask(rig, body);
		cr_assert(*part == 'm' || *part == 'l', "%s", part);
		n += (size_t)snprintf(xml + n, sizeof(xml) - n, "%s", part + 1);
	} while (*part == 'm');
	return xml;
}

Test(gdbstub, the_description_is_of_the_registers_there_are)
{
	for (enum gdb_arch arch = GDB_X86_64; arch <= GDB_I8086; arch++) {
		unsigned nregs, nbytes;
		char body[16];
		char *xml;

		end(&r);
		start(&r, arch);
		xml = whole_xml(&r, "qXfer:features:read:target.xml", 0xffb);
		cr_expect(strstr(xml, arch == GDB_X86_64 ? ">i386:x86-64<" : arch == GDB_I386 ? ">i386<" : ">i8086<"));
		nbytes = described(xml, &nregs);
		cr_expect_str_eq(strrchr(xml, '<'), "</target>\n");
		cr_expect_eq(strlen(ask(&r, "g")), 2 * nbytes);
		snprintf(body, sizeof(body), "p%x", nregs - 1);
		cr_expect_neq(*ask(&r, body), 'E');
		snprintf(body, sizeof(body), "p%x", nregs);
		EXPECT(&r, body, "E22");
	}
}

Test(gdbstub, a_description_is_the_same_in_small_pieces)
{
	char *whole = strdup(whole_xml(&r, "qXfer:features:read:target.xml", 0x4000));

	r.nin = r.nread = 0;
	cr_expect_str_eq(whole_xml(&r, "qXfer:features:read:target.xml", 61), whole);
	free(whole);
	EXPECT(&r, "qXfer:features:read:target.xml:fffff,10", "l");
	EXPECT(&r, "qXfer:features:read:other.xml:0,10", "E00");
	EXPECT(&r, "qXfer:features:read:target.xml:x", "E00");
	cr_expect(strstr(whole_xml(&r, "qXfer:memory-map:read:", 0x800), "<memory type=\"ram\" start=\"0x0\""));
}

Test(gdbstub, registers_are_read_and_written)
{
	EXPECT(&r, "p8", "00100000");
	EXPECT(&r, "p3", "00000000");
	EXPECT(&r, "P3=78563412", "OK");
	cr_expect_eq(r.t->vm->vcpu[0].cpu.gpr[RBX], 0x12345678);
	EXPECT(&r, "P3=7856", "E22");
	EXPECT(&r, "P3=785634120", "E22");
	EXPECT(&r, "Pfff=00000000", "E22");
	EXPECT(&r, "P9=ffffffff", "OK");
	cr_expect_eq(r.t->vm->vcpu[0].cpu.rflags, (RFLAGS_DEFINED & ~(u64)RFLAGS_VM) | 2);
	cr_expect(r.t->branched);
}

Test(gdbstub, all_registers_written_as_they_were_read_are_no_change)
{
	char body[4096] = "G";

	strcpy(body + 1, ask(&r, "g"));
	EXPECT(&r, body, "OK");
	cr_expect_not(r.t->branched);
	memcpy(body + 1, "11000000", 8);
	EXPECT(&r, body, "OK");
	cr_expect(r.t->branched);
	cr_expect_eq(r.t->vm->vcpu[0].cpu.gpr[RAX], 0x11);
	EXPECT(&r, "G12", "E22");
}

Test(gdbstub, the_floating_point_registers_are_those_of_fxsave)
{
	struct cpu_state *s = &r.t->vm->vcpu[0].cpu;

	s->fx[3] = 7 << 3;  /* TOP 7: st0 is physical register 7 */
	s->fx[4] = 0xc0;    /* 6 and 7 are in use */
	memcpy(s->fx + 32, "\0\0\0\0\0\0\0\x80\xff\x3f", 10);  /* st0 1.0 */
	memset(s->fx + 32 + 7 * 16, 0, 10);                    /* st7, physical 6: 0.0 */
	s->fx[160 + 16] = 0x5a;                                /* xmm1 */
	EXPECT(&r, "p10", "0000000000000080ff3f");
	EXPECT(&r, "p1a", "ff1f0000"); /* ftag: 7 valid, 6 zero, the rest empty */
	EXPECT(&r, "P1a=fffc0000", "OK");
	cr_expect_eq(s->fx[4], 1 << 4 | 1 << 4, "%x", s->fx[4]);
	EXPECT(&r, "p21", "5a000000000000000000000000000000");
	EXPECT(&r, "P28=00000100", "E22"); /* MXCSR, a reserved bit */
	EXPECT(&r, "P28=801f0000", "OK");
}

Test(gdbstub, in_16_bit_code_the_program_counter_is_linear)
{
	end(&r);
	start(&r, GDB_BY_MODE);
	r.t->base.cr0 = CR0_ET;
	r.t->base.seg[SEG_CS] = (struct segment){ .selector = 0xf000, .base = 0xf0000, .limit = 0xffff, .attrib = 0x9b };
	fake_line_stand(r.t, 1);
	ask(&r, "qSupported");
	cr_expect_eq(r.g->arch, GDB_I8086);
	EXPECT(&r, "p8", "04100f00");
	EXPECT(&r, "Z0,f1008,1", "OK");
	EXPECT(&r, "c", "T05thread:1;swbreak:;");
	cr_expect_eq(r.t->vm->vcpu[0].cpu.rip, 0x1008);
	EXPECT(&r, "P8=00200f00", "OK");
	cr_expect_eq(r.t->vm->vcpu[0].cpu.rip, 0x2000);
	EXPECT(&r, "Pa=00120000", "OK"); /* CS in real mode: its base too */
	cr_expect_eq(r.t->vm->vcpu[0].cpu.seg[SEG_CS].base, 0x12000);
}

/* By its name in the description; the number is its place there. */
static unsigned number_of(struct rig *rig, const char *name)
{
	char wanted[40], *xml = whole_xml(rig, "qXfer:features:read:target.xml", 0x3fff), *at;
	unsigned n = 0;

	snprintf(wanted, sizeof(wanted), "<reg name=\"%s\"", name);
	at = strstr(xml, wanted);
	cr_assert(at, "%s", name);
	for (char *p = xml; (p = strstr(p, "<reg ")) != at; p++)
		n++;
	return n;
}

Test(gdbstub, system_registers_are_written_as_far_as_the_mode_stays)
{
	static const struct { const char *name, *value, *answer; } all[] = {
		{ "cr0", "1100000000000000", "OK" }, { "cr0", "1900000000000000", "OK" }, { "cr0", "1000000000000000", "E22" },
		{ "cr0", "1100008000000000", "E22" }, { "cr3", "0000010000000000", "OK" }, { "cr4", "0000000000000000", "OK" },
		{ "cr4", "2000000000000000", "E22" }, { "efer", "0005000000000000", "E22" }, { "ip", "0000000000000000", "E22" },
		{ "dr3", "0010000000000000", "E22" }, { "fs_base", "0010000000000000", "OK" }, { "st7", "01020304050607080910", "OK" },
	};
	char body[64];

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		snprintf(body, sizeof(body), "P%x=%s", number_of(&r, all[i].name), all[i].value);
		EXPECT(&r, body, all[i].answer);
		snprintf(body, sizeof(body), "p%x", number_of(&r, all[i].name));
		cr_expect(!strcmp(all[i].answer, "E22") || !strcmp(ask(&r, body), all[i].value), "%s", all[i].name);
	}
	cr_expect_eq(r.t->vm->vcpu[0].cpu.cr0, CR0_PE | CR0_ET | CR0_TS);
}

Test(gdbstub, writing_the_program_counter_wakes_a_halted_vcpu)
{
	r.t->vm->vcpu[0].cpu.halted = 1;
	EXPECT(&r, "P8=00100000", "OK");
	cr_expect_eq(r.t->vm->vcpu[0].cpu.halted, 1, "it was there already");
	r.t->vm->vcpu[0].exception.valid = true;
	EXPECT(&r, "P3=01000000", "OK");
	cr_expect(r.t->vm->vcpu[0].exception.valid);
	EXPECT(&r, "P8=00200000", "OK");
	cr_expect_eq(r.t->vm->vcpu[0].cpu.halted, 0);
	cr_expect_not(r.t->vm->vcpu[0].exception.valid);
}

/* ---- memory ---- */

Test(gdbstub, memory_is_read_as_far_as_it_goes)
{
	u8 *ram = r.t->vm->mem.chunk[0]->data;

	memcpy(ram + 0x5000, "\x01\x02\x03\x04", 4);
	EXPECT(&r, "m5000,4", "01020304");
	EXPECT(&r, "m5000,0", "");
	EXPECT(&r, "m1ffffe,4", "0000");
	EXPECT(&r, "m200000,4", "E14");
	EXPECT(&r, "ma0000,4", "E14"); /* video memory is a device */
	EXPECT(&r, "m9fffe,4", "0000");
	EXPECT(&r, "m5000", "E22");
	EXPECT(&r, "m5000,4x", "E22");
	cr_expect_eq(strlen(ask(&r, "m0,ffffffff")), PACKET_BYTES);
}

Test(gdbstub, memory_is_written_on_a_branch)
{
	u8 *ram = r.t->vm->mem.chunk[0]->data;

	EXPECT(&r, "X5000,0:", "OK");
	EXPECT(&r, "M5000,2:0000", "OK");
	cr_expect_not(r.t->branched, "nothing was changed");
	EXPECT(&r, "M5000,2:0a0b", "OK");
	cr_expect(r.t->branched);
	cr_expect_eq(r.t->nbranches, 1);
	cr_expect_arr_eq(ram + 0x5000, "\x0a\x0b", 2);
	cr_expect_str_eq(ask_bytes(&r, "X5002,4:\x03}\x03}\x04}\x5d", 15), "OK");
	cr_expect_arr_eq(ram + 0x5002, "\x03#$}", 4);
	cr_expect_eq(r.t->nbranches, 1);
	EXPECT(&r, "M1fffff,2:0102", "E14");
	cr_expect_eq(ram[0x1fffff], 0, "all or nothing");
	EXPECT(&r, "M5000,2:01", "E22");
	EXPECT(&r, "M5000,2:010203", "E22");
	EXPECT(&r, "X5000,2:a", "E22");
}

/* Four levels: 0xffff800000001000 is physical 0x6000, the page behind it is not there. */
static void map_high(struct timeline *t)
{
	u8 *ram = t->vm->mem.chunk[0]->data;

	write_bytes_le(ram + 0x10000 + 256 * 8, 8, 0x11003);
	write_bytes_le(ram + 0x11000, 8, 0x12003);
	write_bytes_le(ram + 0x12000, 8, 0x13003);
	write_bytes_le(ram + 0x13000 + 8, 8, 0x6003);
	t->base.cr0 |= CR0_PG;
	t->base.cr3 = 0x10000;
	t->base.cr4 |= CR4_PAE;
	t->base.efer |= EFER_LMA | EFER_LME;
	t->base.seg[SEG_CS].attrib |= SEG_ATTR_L;
	memcpy(ram + 0x6ffe, "ab", 2);
	fake_line_stand(t, 0);
}

Test(gdbstub, addresses_are_virtual_or_physical)
{
	map_high(r.t);
	EXPECT(&r, "mffff800000001ffe,4", "6162");
	EXPECT(&r, "mffff800000002000,1", "E14");
	EXPECT(&r, "m0000800000001ffe,1", "E14"); /* not canonical */
	EXPECT(&r, "Mffff800000001fff,2:0000", "E14");
	cr_expect_not(r.t->branched);
	EXPECT(&r, "Qqemu.PhyMemMode:1", "OK");
	EXPECT(&r, "qqemu.PhyMemMode", "1");
	EXPECT(&r, "m6ffe,2", "6162");
	EXPECT(&r, "Qqemu.PhyMemMode:2", "E22");
	expect_said(&r, "");
	monitor(&r, "phys off");
	expect_said(&r, "guest-virtual");
	EXPECT(&r, "m6ffe,2", "E14");
	monitor(&r, "translate 0xffff800000001ffe");
	expect_said(&r, "guest-physical 0x6ffe");
	monitor(&r, "translate 0");
	expect_said(&r, "not mapped");
	monitor(&r, "xp 0x6ffe 2");
	expect_said(&r, "0x6ffe: 61 62\n");
	ask(&r, "qSupported");
	r.g->wanted = GDB_BY_MODE;
	ask(&r, "qSupported");
	cr_expect_eq(r.g->arch, GDB_X86_64);
}

Test(gdbstub, searches_cross_pages_and_chunks)
{
	u8 *ram = r.t->vm->mem.chunk[0]->data;

	memcpy(ram + 0x7ffe, "need", 4);
	EXPECT(&r, "qSearch:memory:0;200000;need", "1,7ffe");
	EXPECT(&r, "qSearch:memory:7fff;100000;need", "0");
	EXPECT(&r, "qSearch:memory:7ffe;4;need", "1,7ffe");
	EXPECT(&r, "qSearch:memory:7ffe;3;need", "0");
	EXPECT(&r, "qSearch:memory:0;10;", "E22");
	memcpy(ram + 0x150000, "\x03#$", 3);
	cr_expect_str_eq(ask_bytes(&r, "qSearch:memory:80000;180000;\x03}\x03}\x04", 33), "1,150000"); /* over the hole of video */
	EXPECT(&r, "qSearch:memory:1fff00;ffffffffffff;need", "E04");
}

Test(gdbstub, crcs_are_those_of_gdb)
{
	memcpy(r.t->vm->mem.chunk[0]->data + 0x5000, "123456789", 9);
	EXPECT(&r, "qCRC:5000,9", "C376e6e7"); /* CRC-32/MPEG-2's check value is 0376e6e7 */
	EXPECT(&r, "qCRC:1fffff,2", "E14");
}

/* ---- moving ---- */

Test(gdbstub, steps_and_both_ends_of_history)
{
	EXPECT(&r, "bs", "T05thread:1;replaylog:begin;");
	EXPECT(&r, "bc", "T05thread:1;replaylog:begin;");
	EXPECT(&r, "vCont;s:1;c", "T05thread:1;");
	EXPECT(&r, "s", "T05thread:1;");
	EXPECT(&r, "S05", "T05thread:1;");
	EXPECT(&r, "p8", "0c100000");
	EXPECT(&r, "bs", "T05thread:1;");
	EXPECT(&r, "p0", "02000000");
	EXPECT(&r, "vCont;c", "T05thread:1;replaylog:end;");
	EXPECT(&r, "?", "T05thread:1;replaylog:end;");
	EXPECT(&r, "C05", "T05thread:1;replaylog:end;");
	EXPECT(&r, "vCont;x", "E22");
	EXPECT(&r, "vCont", "E22");
	EXPECT(&r, "c1000", "E22");
	EXPECT(&r, "bc", "T05thread:1;replaylog:begin;");
}

Test(gdbstub, a_range_is_stepped_through_at_once)
{
	EXPECT(&r, "vCont;r1000,1010:1", "T05thread:1;");
	EXPECT(&r, "p0", "04000000");
	EXPECT(&r, "Z0,1014,1", "OK");
	EXPECT(&r, "vCont;r1000,1028", "T05thread:1;swbreak:;");
	EXPECT(&r, "vCont;r1000", "E22");
	EXPECT(&r, "z0,1014,1", "OK");
	EXPECT(&r, "vCont;r1000,2000:1", "T05thread:1;");
	EXPECT(&r, "p8", "00900000");
	EXPECT(&r, "vCont;r1000,ffff:1", "T05thread:1;replaylog:end;");
}

Test(gdbstub, breakpoints_stop_both_ways)
{
	EXPECT(&r, "Z0,1008,1", "OK");
	EXPECT(&r, "Z0,1008,1", "OK");
	cr_expect_eq(r.g->npoints, 1);
	EXPECT(&r, "Z1,1010,1", "OK");
	EXPECT(&r, "vCont;c", "T05thread:1;swbreak:;");
	EXPECT(&r, "p0", "02000000");
	EXPECT(&r, "vCont;c", "T05thread:1;hwbreak:;");
	EXPECT(&r, "vCont;c", "T05thread:1;swbreak:;");
	EXPECT(&r, "p0", "0c000000");
	EXPECT(&r, "bc", "T05thread:1;hwbreak:;");
	EXPECT(&r, "z1,1010,1", "OK");
	EXPECT(&r, "bc", "T05thread:1;swbreak:;");
	EXPECT(&r, "bc", "T05thread:1;replaylog:begin;");
	EXPECT(&r, "z0,1008,1", "OK");
	EXPECT(&r, "z0,1008,1", "OK");
	cr_expect_eq(r.g->npoints, 0);
}

Test(gdbstub, watchpoints_stop_both_ways)
{
	EXPECT(&r, "Z2,8002,1", "OK");
	EXPECT(&r, "c", "T05thread:1;watch:8002;"); /* the store began at 8000 */
	EXPECT(&r, "p0", "04000000");
	EXPECT(&r, "m8000,4", "03000000");
	EXPECT(&r, "Z3,8000,4", "OK");
	EXPECT(&r, "c", "T05thread:1;rwatch:8000;");
	EXPECT(&r, "p0", "06000000");
	EXPECT(&r, "Z4,8010,1", "OK");
	EXPECT(&r, "c", "T05thread:1;awatch:8010;");
	EXPECT(&r, "bc", "T05thread:1;awatch:8010;");
	EXPECT(&r, "p0", "07000000");
	EXPECT(&r, "m8010,1", "00");
	EXPECT(&r, "bc", "T05thread:1;rwatch:8000;");
	EXPECT(&r, "bc", "T05thread:1;watch:8002;");
	EXPECT(&r, "p0", "03000000");
}

Test(gdbstub, a_step_that_stores_has_hit_the_watchpoint)
{
	EXPECT(&r, "Z2,8000,4", "OK");
	EXPECT(&r, "Z2,8010,1", "OK");
	for (unsigned i = 0; i < 3; i++)
		EXPECT(&r, "s", "T05thread:1;");
	EXPECT(&r, "s", "T05thread:1;watch:8000;");
	EXPECT(&r, "s", "T05thread:1;");
	EXPECT(&r, "vCont;r1000,2000", "T05thread:1;watch:8010;");
	EXPECT(&r, "bs", "T05thread:1;watch:8010;");
}

Test(gdbstub, points_are_many_but_not_without_end)
{
	char body[64];

	for (unsigned i = 0; i < MAX_POINTS; i++) {
		snprintf(body, sizeof(body), "Z0,%x,1", 0x10000 + i);
		EXPECT(&r, body, "OK");
	}
	EXPECT(&r, "Z0,9999,1", "E28");
	EXPECT(&r, "Z0,10000,1", "OK");
	EXPECT(&r, "z0,10000,1", "OK");
	EXPECT(&r, "Z0,1004,1", "OK");
	EXPECT(&r, "c", "T05thread:1;swbreak:;");
	EXPECT(&r, "Z2,8000,0", "E22");
	EXPECT(&r, "Z2,ffffffffffffffff,2", "E22");
	EXPECT(&r, "Z7,0,1", "E22");
	EXPECT(&r, "D", "OK");
	cr_expect_eq(r.g->npoints, 0);
}

/* reg 0 (EAX), const8 N, equal, end */
#define EAX_IS(n) "260000" "22" n "13" "27"

Test(gdbstub, conditions_are_evaluated_here)
{
	EXPECT(&r, "Z0,1008,1;X7," EAX_IS("16"), "OK");
	EXPECT(&r, "c", "T05thread:1;swbreak:;");
	EXPECT(&r, "p0", "16000000");
	EXPECT(&r, "Z0,1008,1;X7," EAX_IS("02") "X7," EAX_IS("0c"), "OK"); /* any of them */
	cr_expect_eq(r.g->code_size, 18);
	EXPECT(&r, "bc", "T05thread:1;swbreak:;");
	EXPECT(&r, "p0", "0c000000");
	EXPECT(&r, "bc", "T05thread:1;swbreak:;");
	EXPECT(&r, "bc", "T05thread:1;replaylog:begin;");
	/* the store of instruction 13: *(int *)0x8000 == 13 */
	EXPECT(&r, "Z2,8000,4;X8,2380001922" "0d1327", "OK");
	EXPECT(&r, "Z1,1000,1;X7," EAX_IS("ff"), "OK");
	EXPECT(&r, "z0,1008,1", "OK");
	EXPECT(&r, "c", "T05thread:1;watch:8000;");
	EXPECT(&r, "p0", "0e000000");
	EXPECT(&r, "c", "T05thread:1;replaylog:end;");
}

Test(gdbstub, what_cannot_be_evaluated_or_kept_counts_as_true)
{
	static char big[PACKET_BYTES];
	int n = snprintf(big, sizeof(big), "Z0,1004,1;X%x,", POINT_CODE_BYTES / 2 - 40);

	EXPECT(&r, "Z0,1008,1;X1,01", "OK"); /* floating point: not offered */
	EXPECT(&r, "c", "T05thread:1;swbreak:;");
	EXPECT(&r, "Z0,1008,1;X7,zz", "OK");
	EXPECT(&r, "Z0,100c,1;Xffffffff,00", "OK");
	cr_expect_eq(r.g->code_size, 0);
	EXPECT(&r, "c", "T05thread:1;swbreak:;");
	memset(big + n, '0', POINT_CODE_BYTES - 80);
	big[n + POINT_CODE_BYTES - 80] = 0;
	for (unsigned i = 0; i < 5; i++) { /* the third finds no room */
		big[6] = (char)('0' + i);
		EXPECT(&r, big, "OK");
		r.nin = r.nread = 0;
	}
	cr_expect_leq(r.g->code_size, POINT_CODE_BYTES);
	cr_expect_eq(r.g->point[r.g->npoints - 1].code_size, 0);
	cr_expect_eq(r.g->npoints, 7);
}

/* ---- interrupts ---- */

Test(gdbstub, an_interrupt_stops_a_journey)
{
	r.while_travelling = "\x03";
	r.after = 5;
	EXPECT(&r, "vCont;c", "T02thread:1;");
	EXPECT(&r, "p0", "05000000");
	EXPECT(&r, "c", "T05thread:1;replaylog:end;");
}

Test(gdbstub, an_interrupt_that_came_too_late_is_forgotten_one_sent_behind_is_not)
{
	feed(&r, "\x03", 1);
	EXPECT(&r, "c", "T05thread:1;replaylog:end;");
	frame(&r, "bc", 2);
	feed(&r, "\x03", 1);
	serve(&r);
	cr_expect_str_eq(bodies(&r), "T02thread:1;");
	EXPECT(&r, "bc", "T05thread:1;replaylog:begin;");
}

/* From a step, as from a condition that does not hold, GDB goes on by itself: see interrupted_before. */
Test(gdbstub, an_interrupt_between_two_steps_of_many_stops_the_second)
{
	EXPECT(&r, "s", "T05thread:1;");
	feed(&r, "\x03", 1);
	EXPECT(&r, "s", "T02thread:1;");
	EXPECT(&r, "s", "T05thread:1;");
	feed(&r, "\x03", 1);
	monitor(&r, "where"); /* its user was asked meanwhile */
	EXPECT(&r, "s", "T05thread:1;");
}

Test(gdbstub, packets_that_come_meanwhile_are_kept)
{
	r.while_travelling = "$qC#b4\x03";
	r.after = 3;
	EXPECT(&r, "c", "T02thread:1;|QC1");
	r.while_travelling = "$X5000,1:\x03#b7"; /* inside a packet it is no interrupt */
	r.after = 3;
	EXPECT(&r, "c", "T05thread:1;replaylog:end;|OK");
}

Test(gdbstub, a_client_that_goes_stops_the_journey)
{
	r.gone = true;
	EXPECT(&r, "c", "T02thread:1;");
	cr_expect_eq(r.nforgotten, 1);
}

/* ---- branches ---- */

Test(gdbstub, the_user_is_told_of_branches)
{
	EXPECT(&r, "s", "T05thread:1;");
	EXPECT(&r, "P3=01000000", "OK");
	EXPECT(&r, "P3=02000000", "OK");
	cr_expect_str_empty(r.said, "not while GDB expects an answer");
	EXPECT(&r, "s", "T05thread:1;");
	expect_said(&r, "left the recorded run at instruction 1;");
	EXPECT(&r, "s", "T05thread:1;");
	cr_expect_str_empty(r.said, "once is enough");
	EXPECT(&r, "bs", "T05thread:1;");
	expect_said(&r, "back on the recorded run, at instruction 1");
	EXPECT(&r, "p3", "00000000");
	EXPECT(&r, "P3=01000000", "OK");
	monitor(&r, "where");
	expect_said(&r, "left the recorded run at instruction 1;");
	expect_said(&r, "on a branch");
}

Test(gdbstub, who_comes_to_a_branch_is_told)
{
	EXPECT(&r, "P3=01000000", "OK");
	EXPECT(&r, "D", "OK");
	ask(&r, "qSupported");
	EXPECT(&r, "s", "T05thread:1;");
	expect_said(&r, "no recorded run but a branch");
}

Test(gdbstub, a_failure_is_told)
{
	r.t->fail = "the replay diverged";
	EXPECT(&r, "c", "T06thread:1;");
	expect_said(&r, "reprise: the replay diverged\n");
	monitor(&r, "goto 3");
	expect_said(&r, "failed: the replay diverged");
}

/* ---- the end ---- */

Test(gdbstub, killing_ends_the_service)
{
	frame(&r, "k", 1);
	serve(&r);
	cr_expect(r.g->killed);
	cr_expect_not(r.quit);
	end(&r);
	begin();
	EXPECT(&r, "vKill;1", "OK");
	cr_expect(r.g->killed);
}

/* ---- monitor ---- */

Test(gdbstub, monitor_lists_its_commands_and_names_what_is_wrong)
{
	monitor(&r, "help");
	expect_said(&r, "who-wrote  ADDR [LEN]");
	monitor(&r, "");
	expect_said(&r, "goto ");
	monitor(&r, "  frob 1");
	expect_said(&r, "frob: no such command; `monitor help' lists them\n");
	monitor(&r, "goto");
	expect_said(&r, "usage: monitor goto POINT");
	monitor(&r, "goto 1 2 3 4 5");
	expect_said(&r, "usage");
	monitor(&r, "goto 12x");
	expect_said(&r, "12x: not a point");
	monitor(&r, "goto 99999999999999999999");
	expect_said(&r, "not a point");
	monitor(&r, "translate zz");
	expect_said(&r, "zz: not a number");
	EXPECT(&r, "qRcmd,6", "E22");
	EXPECT(&r, "qRcmd,zz", "E22");
}

Test(gdbstub, monitor_goes_to_points)
{
	static const struct { const char *to; u64 count; } all[] = {
		{ "goto 7", 7 }, { "goto +3", 10 }, { "goto -0x4", 6 }, { "goto -100", 0 }, { "goto end", 40 },
		{ "goto begin", 0 }, { "goto 1K", 40 }, { "goto 0xa", 10 }, { "goto +18446744073709551615", 40 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		monitor(&r, all[i].to);
		cr_expect_eq(r.t->vm->now.count, all[i].count, "%s: %lu", all[i].to, r.t->vm->now.count);
		expect_said(&r, "maintenance flush register-cache");
	}
	monitor(&r, "where");
	expect_said(&r, "instruction 40, 0.000004000 s, the end of the run\nvCPU 0: rip 0x9000, 32-bit code, CPL 0");
	EXPECT(&r, "M5000,1:01", "OK");
	monitor(&r, "goto 3");
	expect_said(&r, "the branch is gone");
}

Test(gdbstub, monitor_finds_who_wrote)
{
	fake_line_stand(r.t, 25);
	monitor(&r, "who-wrote 0x8000 4");
	expect_said(&r, "instruction 23, 0.000002300 s: rip 0x100c (CR3 0x0) wrote 0x8000: 0x17, before 0xd\n");
	cr_expect_eq(r.t->vm->now.count, 25);
	monitor(&r, "who-wrote 0x7ff8 32");
	expect_said(&r, "instruction 23, ");
	monitor(&r, "when 0x8010 1"); /* written three times, with the same value */
	expect_said(&r, "different until instruction 7, 0.000000700 s: rip 0x101c (CR3 0x0) wrote 0x8010: 0x7, before 0x0\n");
	cr_expect_eq(r.t->vm->now.count, 25);
	monitor(&r, "who-wrote 0x9000");
	expect_said(&r, "no instruction before this point wrote there");
	monitor(&r, "who-wrote 0x8000 1000");
	expect_said(&r, "give 1 to 128");
	monitor(&r, "when 0x10000000");
	expect_said(&r, "not mapped");
	EXPECT(&r, "M5000,1:01", "OK");
	monitor(&r, "who-wrote 0x8000");
	expect_said(&r, "this is a branch");
	cr_expect(r.t->branched);
}

Test(gdbstub, monitor_comes_back_when_interrupted)
{
	fake_line_stand(r.t, 25);
	r.while_travelling = "$qC#b4\x03";
	r.after = 5;
	monitor(&r, "who-wrote 0x9000");
	expect_said(&r, "interrupted\n");
	cr_expect_null(strstr(r.said, "not back"));
	cr_expect_eq(r.t->vm->now.count, 25);
	cr_expect(strstr(r.out, "$QC1#"), "%s", r.out);
}

Test(gdbstub, monitor_comes_back_to_the_end)
{
	fake_line_stand(r.t, 40);
	monitor(&r, "who-wrote 0x8000");
	cr_expect_eq(r.t->vm->now.count, 40);
}

Test(gdbstub, monitor_shows_the_machine)
{
	static const char *const parts[] = { "cpu", "lapic", "ioapic", "pic", "pit", "uart", "rtc", "state vm", "state pending" };

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		monitor(&r, parts[i]);
		cr_expect(strstr(r.said, " 0x"), "%s: %s", parts[i], r.said);
	}
	monitor(&r, "cpu");
	expect_said(&r, "rip 0x1000\n");
	monitor(&r, "state");
	expect_said(&r, "vm cpu pending lapic ");
	monitor(&r, "state frob");
	expect_said(&r, "frob: not a part of the machine");
	monitor(&r, "digest");
	cr_expect_eq(strlen(r.said), 17);
	monitor(&r, "timeline");
	expect_said(&r, "a line by script\n");
	monitor(&r, "inputs 2");
	expect_said(&r, "an input\nan input\n");
	monitor(&r, "checkpoint");
	expect_said(&r, "kept");
	monitor(&r, "checkpoint");
	monitor(&r, "checkpoint");
	expect_said(&r, "no room");
	monitor(&r, "xp 0x1ffff8 16");
	expect_said(&r, " no RAM");
}
