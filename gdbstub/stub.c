/*
 * stub.c - sessions, and the packets that neither move the machine nor set
 * points: queries, threads, registers, memory [GDB Manual E.2 Packets, E.4
 * General Query Packets].
 *
 * A packet that is not in the table is answered by an empty one, by which GDB
 * knows that it is not understood.
 */
#include "gdbstub/stub.h"
#include "kernel/kfmt.h"

/* ---- words for the user ---- */

void gdb_flush(struct gdb *g)
{
	if (!g->may_say || !g->nsaid)
		return;
	packet_begin(&g->io);
	packet_text(&g->io, "O");
	packet_hex(&g->io, g->said, g->nsaid);
	packet_send(&g->io);
	g->nsaid = 0;
}

static void say_part(void *ctx, const char *text, size_t n)
{
	struct gdb *g = ctx;
	size_t part;

	for (; n; text += part, n -= part) {
		if (g->nsaid == sizeof(g->said))
			gdb_flush(g);
		part = MIN(n, sizeof(g->said) - g->nsaid);
		if (!part)
			return; /* may not be said yet, and more than is kept */
		memcpy(g->said + g->nsaid, text, part);
		g->nsaid += part;
	}
}

void gdb_say(struct gdb *g, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	kvformat(say_part, g, fmt, ap);
	va_end(ap);
}

bool gdb_leave_line(struct gdb *g)
{
	if (g->line->branched(g->t))
		return true;
	if (!g->line->branch(g->t)) {
		gdb_say(g, "reprise: %s\n", g->line->trouble(g->t));
		return false;
	}
	gdb_say(g, "reprise: left the recorded run at instruction %lu; going back throws this branch away\n",
		gdb_vm(g)->now.count);
	return true;
}

/* ---- sessions ---- */

static void new_session(struct gdb *g)
{
	points_clear(g);
	g->vcpu = 0;
	g->io.interrupt_left = g->goes_on = false;
	g->physical = false;
	g->may_say = false;
	g->nsaid = 0;
	g->arch = g->wanted == GDB_BY_MODE ? regs_arch(&gdb_vcpu(g)->cpu) : g->wanted;
	ksnprintf(g->stop, sizeof(g->stop), "T05thread:1;");
}

void gdb_init_over(struct gdb *g, struct timeline *t, const struct timeline_ops *line, const struct gdb_link *link,
		   enum gdb_arch arch)
{
	g->t = t;
	g->line = line;
	g->io.link = *link;
	g->wanted = arch;
	new_session(g);
}

size_t gdb_size(void)
{
	return sizeof(struct gdb);
}

bool gdb_wants_stop(struct gdb *g)
{
	const struct gdb_link *l = &g->io.link;

	packet_fill(&g->io);
	return packet_interrupted(&g->io) || l->client_gone(l->ctx) || l->quit(l->ctx);
}

static void supported(struct gdb *g, const char *args unused_arg)
{
	new_session(g);
	g->attached = true;
	if (g->line->branched(g->t))
		gdb_say(g, "reprise: this is no recorded run but a branch of one; going back throws it away\n");
	packet_reply(&g->io, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;"
			      "qXfer:memory-map:read+;vContSupported+;swbreak+;hwbreak+;ReverseStep+;"
			      "ReverseContinue+;ConditionalBreakpoints+", PACKET_BYTES);
}

static void no_ack_mode(struct gdb *g, const char *args unused_arg)
{
	packet_reply(&g->io, "OK");
	g->io.no_ack = true;
}

static void detach(struct gdb *g, const char *args unused_arg)
{
	g->attached = false;
	packet_reply(&g->io, "OK");
	new_session(g);
}

static void kill_machine(struct gdb *g, const char *args unused_arg)
{
	if (g->io.in[0] == 'v') /* k has no answer */
		packet_reply(&g->io, "OK");
	g->killed = true;
}

static void why_stopped(struct gdb *g, const char *args unused_arg)
{
	packet_reply(&g->io, "%s", g->stop);
}

/* ---- threads ---- */

/* -1 and 0 mean all and any: the one at hand.  pPID. is of the multiprocess extensions, which are not offered. */
static bool choose_thread(struct gdb *g, const char *s, bool keep)
{
	u64 id;

	if (take(&s, "-1"))
		return true;
	if (!take_hex(&s, &id) || id > gdb_vm(g)->config.ncpus)
		return false;
	if (id && keep)
		g->vcpu = (unsigned)id - 1;
	return true;
}

static void set_thread(struct gdb *g, const char *args)
{
	/* Hc says what c, s, bs and bc are for: the machine, always. */
	bool good = (*args == 'g' || *args == 'c') && choose_thread(g, args + 1, *args == 'g');

	packet_reply(&g->io, good ? "OK" : "E22");
}

static void thread_alive(struct gdb *g, const char *args)
{
	packet_reply(&g->io, choose_thread(g, args, false) ? "OK" : "E22");
}

static void current_thread(struct gdb *g, const char *args unused_arg)
{
	packet_reply(&g->io, "QC%x", g->vcpu + 1);
}

static void first_threads(struct gdb *g, const char *args unused_arg)
{
	packet_begin(&g->io);
	for (unsigned i = 0; i < gdb_vm(g)->config.ncpus; i++) { /* VM_MAX_VCPUS: one digit each */
		packet_text(&g->io, i ? "," : "m");
		packet_text(&g->io, (const char[2]){ (char)('1' + i) });
	}
	packet_send(&g->io);
}

/* ---- qXfer: texts in pieces ---- */

/* A window onto a text that is made anew for each piece. */
struct window {
	struct packets *io;
	u64 skip, left;
	bool more;
};

static void put(void *ctx, const char *text, size_t n)
{
	struct window *w = ctx;
	size_t skip = MIN(w->skip, n), part = MIN(w->left, n - skip);

	packet_binary(w->io, text + skip, part);
	w->skip -= skip;
	w->left -= part;
	w->more |= skip + part < n;
}

static void printf_like(2, 3) put_line(struct window *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	kvformat(put, w, fmt, ap);
	va_end(ap);
}

/* ANNEX:OFFSET,LENGTH has been read up to the annex. */
static bool open_window(struct gdb *g, const char *s, struct window *w)
{
	*w = (struct window){ .io = &g->io };
	if (!take(&s, ":") || !take_hex(&s, &w->skip) || !take(&s, ",") || !take_hex(&s, &w->left)) {
		packet_reply(&g->io, "E00");
		return false;
	}
	w->left = MIN(w->left, (u64)PACKET_BYTES - 1);
	packet_begin(&g->io);
	packet_text(&g->io, "l"); /* the last piece, unless there turns out to be more */
	return true;
}

static void close_window(struct window *w)
{
	if (w->more)
		w->io->out[1] = 'm';
	packet_send(w->io);
}

static void read_features(struct gdb *g, const char *args)
{
	struct window w;

	if (!take(&args, "target.xml")) {
		packet_reply(&g->io, "E00");
	} else if (open_window(g, args, &w)) {
		regs_describe(g->arch, put, &w);
		close_window(&w);
	}
}

static void read_threads(struct gdb *g, const char *args)
{
	struct window w;

	if (!open_window(g, args, &w))
		return;
	put_line(&w, "<?xml version=\"1.0\"?>\n<threads>\n");
	for (unsigned i = 0; i < gdb_vm(g)->config.ncpus; i++) {
		const struct cpu_state *s = &gdb_vm(g)->vcpu[i].cpu;

		put_line(&w, "<thread id=\"%x\" core=\"%u\" name=\"vCPU %u\">%s, %u-bit code, CPL %u</thread>\n", i + 1, i, i,
			 s->halted ? "halted" : "running", cpu_code_bits(s), s->cpl);
	}
	put_line(&w, "</threads>\n");
	close_window(&w);
}

/* All of it: GDB refuses to read outside of what it is told, and what is mapped changes from one moment to the next. */
static void read_memory_map(struct gdb *g, const char *args)
{
	struct window w;

	if (!open_window(g, args, &w))
		return;
	put_line(&w, "<?xml version=\"1.0\"?>\n<memory-map>\n"
		     "<memory type=\"ram\" start=\"0x0\" length=\"0x8000000000000000\"/>\n"
		     "<memory type=\"ram\" start=\"0x8000000000000000\" length=\"0x8000000000000000\"/>\n</memory-map>\n");
	close_window(&w);
}

/* ---- registers ---- */

static void read_registers(struct gdb *g, const char *args unused_arg)
{
	u8 buf[REG_MAX_BYTES];
	unsigned size;

	packet_begin(&g->io);
	for (unsigned n = 0; (size = regs_read(&gdb_vcpu(g)->cpu, g->arch, n, buf)); n++)
		packet_hex(&g->io, buf, size);
	packet_send(&g->io);
}

static void read_register(struct gdb *g, const char *args)
{
	u8 buf[REG_MAX_BYTES];
	unsigned size;
	u64 n;

	if (!take_hex(&args, &n) || *args || n > 0xffff || !(size = regs_read(&gdb_vcpu(g)->cpu, g->arch, (unsigned)n, buf))) {
		packet_reply(&g->io, "E22");
		return;
	}
	packet_begin(&g->io);
	packet_hex(&g->io, buf, size);
	packet_send(&g->io);
}

/*
 * What is there already is no change, and must not throw the recorded run away.
 * pass_over: nor is it an error if the register is not for writing.
 */
static bool write_one(struct gdb *g, unsigned n, const u8 *value, bool pass_over)
{
	struct cpu_state trial = gdb_vcpu(g)->cpu;
	u8 old[REG_MAX_BYTES];
	unsigned size = regs_read(&trial, g->arch, n, old);

	if (size && !memcmp(old, value, size))
		return true;
	if (!regs_write(&trial, g->arch, n, value))
		return pass_over;
	if (!gdb_leave_line(g))
		return false;
	/* An exception on its way belongs to the instruction that is now not gone on with. */
	if (regs_pc(&trial) != regs_pc(&gdb_vcpu(g)->cpu))
		gdb_vcpu(g)->exception.valid = false;
	regs_write(&gdb_vcpu(g)->cpu, g->arch, n, value);
	gdb_vm(g)->virt->load(gdb_vcpu(g), PART_ALL);
	return true;
}

static void write_register(struct gdb *g, const char *args)
{
	u8 value[REG_MAX_BYTES] = { 0 }, old[REG_MAX_BYTES];
	u64 n;
	bool good = take_hex(&args, &n) && n <= 0xffff && take(&args, "=") &&
		    take_bytes(&args, value, regs_read(&gdb_vcpu(g)->cpu, g->arch, (unsigned)n, old)) && !*args &&
		    write_one(g, (unsigned)n, value, false);

	packet_reply(&g->io, good ? "OK" : "E22");
}

/* Those that are not for writing are passed over: GDB sends them all, as it got them. */
static void write_registers(struct gdb *g, const char *args)
{
	u8 value[REG_MAX_BYTES], old[REG_MAX_BYTES];
	unsigned size;
	bool good = true;

	for (unsigned n = 0; good && *args && (size = regs_read(&gdb_vcpu(g)->cpu, g->arch, n, old)); n++) {
		memset(value, 0, sizeof(value));
		good = take_bytes(&args, value, size) && write_one(g, n, value, true);
	}
	packet_reply(&g->io, good ? "OK" : "E22");
}

/* ---- memory ---- */

static bool take_range(const char **s, u64 *at, u64 *n)
{
	return take_hex(s, at) && take(s, ",") && take_hex(s, n);
}

static void read_memory(struct gdb *g, const char *args)
{
	u64 at, n;
	size_t have;

	if (!take_range(&args, &at, &n) || *args) {
		packet_reply(&g->io, "E22");
		return;
	}
	n = MIN(n, sizeof(g->chunk));
	have = memory_read(g, g->physical, at, g->chunk, n);
	if (n && !have) {
		packet_reply(&g->io, "E14");
		return;
	}
	packet_begin(&g->io);
	packet_hex(&g->io, g->chunk, have);
	packet_send(&g->io);
}

/* M in hexadecimal, X in binary, which packet_next has freed of its escapes. */
static void write_memory(struct gdb *g, const char *args)
{
	u64 at, n;
	bool good = take_range(&args, &at, &n) && take(&args, ":");
	const u8 *data = (const u8 *)args;

	if (good && g->io.in[0] == 'M') {
		good = n <= sizeof(g->chunk) && take_bytes(&args, g->chunk, n) && !*args;
		data = g->chunk;
	} else if (good) {
		good = n == (size_t)(g->io.in + g->io.size - args);
	}
	packet_reply(&g->io, !good ? "E22" : memory_write(g, at, data, n) ? "OK" : "E14");
}

static void set_physical(struct gdb *g, const char *args)
{
	if (strcmp(args, "0") && strcmp(args, "1")) {
		packet_reply(&g->io, "E22");
		return;
	}
	g->physical = *args == '1';
	packet_reply(&g->io, "OK");
}

static void tell_physical(struct gdb *g, const char *args unused_arg)
{
	packet_reply(&g->io, g->physical ? "1" : "0");
}

/* ---- the rest, and the table ---- */

static void say_attached(struct gdb *g, const char *args unused_arg)
{
	packet_reply(&g->io, "1"); /* we were there before GDB: on leaving it detaches, and does not kill */
}

static void no_more_threads(struct gdb *g, const char *args unused_arg)
{
	packet_reply(&g->io, "l");
}

static void say_vcont(struct gdb *g, const char *args unused_arg)
{
	packet_reply(&g->io, "vCont;c;C;s;S;r");
}

static void run_command(struct gdb *g, const char *args)
{
	char line[256];
	size_t n = strlen(args) / 2;

	if (n >= sizeof(line) || strlen(args) % 2 || !take_bytes(&args, (u8 *)line, n)) {
		packet_reply(&g->io, "E22");
		return;
	}
	line[n] = 0;
	g->io.interrupt_left = false; /* the user was at the prompt meanwhile */
	g->may_say = true;
	monitor_command(g, line);
	gdb_flush(g);
	g->may_say = false;
	packet_reply(&g->io, "OK");
}

static const struct {
	const char *name;
	bool whole; /* nothing may follow */
	void (*answer)(struct gdb *g, const char *args);
} known[] = {
	{ "qSupported", false, supported },
	{ "QStartNoAckMode", true, no_ack_mode },
	{ "?", true, why_stopped },
	{ "H", false, set_thread },
	{ "T", false, thread_alive },
	{ "qC", true, current_thread },
	{ "qAttached", false, say_attached },
	{ "qfThreadInfo", true, first_threads },
	{ "qsThreadInfo", true, no_more_threads },
	{ "qXfer:features:read:", false, read_features },
	{ "qXfer:threads:read:", false, read_threads },
	{ "qXfer:memory-map:read:", false, read_memory_map },
	{ "vCont?", true, say_vcont },
	{ "vCont", false, travel_vcont },
	{ "c", false, travel_resume },
	{ "C", false, travel_resume },
	{ "s", false, travel_resume },
	{ "S", false, travel_resume },
	{ "bs", true, travel_back },
	{ "bc", true, travel_back },
	{ "g", true, read_registers },
	{ "G", false, write_registers },
	{ "p", false, read_register },
	{ "P", false, write_register },
	{ "m", false, read_memory },
	{ "M", false, write_memory },
	{ "X", false, write_memory },
	{ "qSearch:memory:", false, memory_search },
	{ "qCRC:", false, memory_crc },
	{ "Z", false, points_insert },
	{ "z", false, points_remove },
	{ "qRcmd,", false, run_command },
	{ "Qqemu.PhyMemMode:", false, set_physical },
	{ "qqemu.PhyMemMode", true, tell_physical },
	{ "D", false, detach },
	{ "k", true, kill_machine },
	{ "vKill", false, kill_machine },
};

static void answer(struct gdb *g)
{
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		const char *args = g->io.in;

		if (take(&args, known[i].name) && !(known[i].whole && *args)) {
			known[i].answer(g, args);
			return;
		}
	}
	packet_begin(&g->io);
	packet_send(&g->io);
}

bool gdb_attached(const struct gdb *g)
{
	return g->attached;
}

void gdb_serve(struct gdb *g)
{
	const struct gdb_link *l = &g->io.link;

	while (!g->killed && !l->quit(l->ctx)) {
		if (packet_next(&g->io)) {
			answer(g);
		} else if (l->client_gone(l->ctx)) {
			g->io.nraw = 0;
			g->io.no_ack = false;
			g->attached = false;
			new_session(g);
			l->client_forgotten(l->ctx);
		} else {
			l->wait(l->ctx);
		}
	}
}
