/*
 * fuzz_gdbstub.c - feeds the stub bytes no GDB would send, over a timeline by
 * script.
 *
 * Each input is given twice: as it is, and cut at its 0xff bytes into packets
 * with the right frames, so that what is behind the checksum is reached.
 * Beyond "no sanitizer report" it checks that every answer is a well-formed
 * frame, that each good packet has an answer, that the tables stay in their
 * bounds, and that a plain question is still answered behind it all.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined.
 * Without: gcc -DSTANDALONE -fsanitize=address,undefined; the program
 * mutates sample sessions as many times as its argument says (default 100000,
 * second argument: seed).
 */
#include "tests/fuzz/fuzz.h"

/* The fuzzers are linked with the code under test, not with the unit tests. */
#include "tests/unit/faketimeline.c"

struct client {
	const u8 *data;
	size_t size, pos;
	bool quit;
	unsigned nasked;          /* whether to stop, since something last came */
	unsigned state;           /* of what comes back: 0 between, 1 in a body, 2 and 3 in the checksum */
	u8 sum, given;
	unsigned nanswers;
	u8 last[64];
	size_t nlast;
};

static size_t link_read(void *ctx, void *buf, size_t n)
{
	struct client *c = ctx;

	n = MIN(n, c->size - c->pos);
	memcpy(buf, c->data + c->pos, n);
	c->pos += n;
	return n;
}

static u8 digit_of(u8 c)
{
	CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
	return (u8)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void receive(struct client *c, u8 byte)
{
	switch (c->state) {
	case 0:
		CHECK(byte == '+' || byte == '-' || byte == '$');
		c->sum = 0;
		c->nlast = 0;
		c->state = byte == '$';
		break;
	case 1:
		CHECK(byte != '$');
		if (byte == '#') {
			c->state = 2;
			break;
		}
		c->sum = (u8)(c->sum + byte);
		if (c->nlast < sizeof(c->last))
			c->last[c->nlast++] = byte;
		break;
	case 2:
		c->given = (u8)(digit_of(byte) << 4);
		c->state = 3;
		break;
	default:
		CHECK((c->given | digit_of(byte)) == c->sum);
		c->nanswers++;
		c->state = 0;
		break;
	}
}

static void link_write(void *ctx, const void *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		receive(ctx, ((const u8 *)data)[i]);
}

static void link_wait(void *ctx)
{
	struct client *c = ctx;

	c->quit = c->pos == c->size;
}

static bool link_gone(void *ctx)
{
	(void)ctx;
	return false;
}

static void link_forgotten(void *ctx)
{
	(void)ctx;
}

/* A journey or search without end: the user would interrupt it. */
static bool link_quit(void *ctx)
{
	struct client *c = ctx;

	return c->quit || ++c->nasked > 100;
}

static struct timeline *t;
static struct gdb *g;
static unsigned narch;

static void serve(struct client *c)
{
	const struct gdb_link link = { link_read, link_write, link_wait, link_gone, link_forgotten, link_quit, c };

	g->io.link = link;
	gdb_serve(g);
	CHECK(!c->state);
	CHECK(g->npoints <= MAX_POINTS && g->code_size <= POINT_CODE_BYTES);
	CHECK(g->vcpu < t->vm->config.ncpus);
	CHECK(g->nsaid <= sizeof(g->said) && g->io.size <= PACKET_BYTES && g->io.nraw <= sizeof(g->io.raw));
	for (unsigned i = 0; i < g->npoints; i++)
		CHECK(g->point[i].code_at + g->point[i].code_size <= g->code_size);
}

static void start(void)
{
	struct client nobody = { .data = NULL };
	const struct gdb_link link = { link_read, link_write, link_wait, link_gone, link_forgotten, link_quit, &nobody };

	if (!t) {
		t = fake_line_new();
		t->vm->config.ncpus = 2;
		t->vm->vcpu[1].cpu = t->base;
		g = malloc(gdb_size());
	}
	t->fail = NULL;
	fake_line_stand(t, 3);
	memset(g, 0, gdb_size());
	gdb_init_over(g, t, &fake_timeline_ops, &link, (enum gdb_arch)(narch++ % 4));
}

static void ask_at_the_end(void)
{
	static const u8 words[] = "####$qSupported#37$qAttached#8f";
	struct client c = { .data = words, .size = sizeof(words) - 1 };

	if (g->killed)
		return;
	g->io.nraw = 0;
	serve(&c);
	CHECK(c.nanswers == 2 && c.nlast == 1 && c.last[0] == '1');
}

static void raw(const u8 *data, size_t size)
{
	struct client c = { .data = data, .size = size };

	start();
	serve(&c);
	ask_at_the_end();
}

static void framed(const u8 *data, size_t size)
{
	start();
	for (size_t i = 0; i < size && !g->killed; i++) {
		struct client c = { .data = NULL };
		u8 *p = malloc(size + 5), sum = 0;
		char tail[4];
		size_t n = 0;

		p[n++] = '$';
		for (; i < size && data[i] != 0xff; i++) {
			p[n] = data[i] == '$' || data[i] == '#' ? '.' : data[i];
			sum = (u8)(sum + p[n++]);
		}
		snprintf(tail, sizeof(tail), "#%02x", sum);
		memcpy(p + n, tail, 3);
		c.data = p;
		c.size = n + 3;
		serve(&c);
		CHECK(c.nanswers || g->killed);
		free(p);
	}
	ask_at_the_end();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	raw(data, size);
	framed(data, size);
	return 0;
}

#ifdef STANDALONE

/* What a session is made of; monitor commands are written in words. */
static const char *const samples[] = {
	"qSupported:swbreak+;hwbreak+", "QStartNoAckMode", "Hg1", "Hg2", "Hc-1", "?", "T1", "qC", "g", "p8", "p28",
	"P3=01020304", "P0=11", "P8=00200000", "G00000000", "m8000,4", "mfffffffffffffffe,4", "m0,4000", "M8000,2:0102",
	"X8000,2:a}", "Z0,1008,1", "Z1,1010,1;X7,26000022021327", "Z0,1004,1;X8,2380001922071327X2,2227",
	"Z2,8000,4", "Z3,8000,4", "Z4,8010,1", "Z2,7000,2000", "z0,1008,1", "z2,8000,4", "vCont?", "vCont;c",
	"vCont;s:1;c", "vCont;r1000,1010:1", "c", "s", "C05", "bs", "bc", "qXfer:features:read:target.xml:0,3fff",
	"qXfer:features:read:target.xml:7ff,33", "qXfer:threads:read::0,100", "qXfer:memory-map:read::0,100",
	"qSearch:memory:7000;2000;ab", "qSearch:memory:7f00;2000;\x07", "qCRC:0,2000", "qfThreadInfo",
	"Qqemu.PhyMemMode:1", "qqemu.PhyMemMode", "D", "k", "vKill;1",
	"monitor help", "monitor goto 5", "monitor goto +3", "monitor goto end", "monitor who-wrote 0x8000 16",
	"monitor when 0x8010 1", "monitor translate 0x8000", "monitor xp 0x8000 32", "monitor phys on", "monitor state",
	"monitor state pic", "monitor cpu", "monitor digest", "monitor inputs 3", "monitor checkpoint", "monitor where",
};

static size_t session(u8 *buf, size_t room)
{
	size_t n = 0;

	for (unsigned k = 1 + rnd() % 12; k; k--) {
		const char *s = samples[rnd() % ARRAY_SIZE(samples)];

		if (n + 2 * strlen(s) + 16 > room)
			break;
		if (!strncmp(s, "monitor ", 8)) {
			n += (size_t)sprintf((char *)buf + n, "qRcmd,");
			for (s += 8; *s; s++)
				n += (size_t)sprintf((char *)buf + n, "%02x", (u8)*s);
		} else {
			memcpy(buf + n, s, strlen(s));
			n += strlen(s);
		}
		buf[n++] = 0xff;
	}
	return n;
}

static size_t mutate(u8 *p, size_t size, size_t room)
{
	static const char telling[] = ";:,#$}+-\x03\xff" "XZmMc0f=";

	for (unsigned k = rnd() % 4; k; k--) {
		size_t at = rnd() % size, n = 1 + rnd() % 16;

		switch (rnd() % 5) {
		case 0:
			p[at] ^= (u8)(1 << rnd() % 8);
			break;
		case 1:
			p[at] = (u8)telling[rnd() % (sizeof(telling) - 1)];
			break;
		case 2: /* remove */
			n = MIN(n, size - at);
			memmove(p + at, p + at + n, size - at - n);
			size = MAX(size - n, (size_t)1);
			break;
		case 3: /* repeat */
			n = MIN(MIN(n, size - at), room - size);
			memmove(p + at + n, p + at, size - at);
			size += n;
			break;
		case 4: /* a digit */
			p[at] = (u8)"0123456789abcdef"[rnd() % 16];
			break;
		}
	}
	return size;
}

int main(int argc, char **argv)
{
	unsigned long runs = fuzz_runs(argc, argv);
	static u8 buf[4096];

	for (unsigned long i = 0; i < runs; i++) {
		size_t size = session(buf, sizeof(buf) - 64);

		LLVMFuzzerTestOneInput(buf, mutate(buf, size, sizeof(buf)));
	}
	printf("fuzz_gdbstub: %lu sessions, %lu instructions travelled\n", runs, t ? t->travelled : 0);
	return 0;
}

#endif
