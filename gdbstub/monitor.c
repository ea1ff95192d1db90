/*
 * monitor.c - what GDB has no command for: `monitor NAME ARGUMENTS`.
 *
 * Commands that look elsewhere in the run come back to where the user was.
 * `goto` stays there, under GDB's feet: the protocol has no way to tell it,
 * so the user is told how to.
 *
 *   1  words and numbers    2  moving    3  who wrote    4  state    5  the table
 */
#include "gdbstub/stub.h"
#include "kernel/kfmt.h"

#define MAX_WORDS 4

/* ---- 1  words and numbers ---- */

/* Decimal or 0x..., with K, M, G behind it when a count is meant. */
static bool number(const char *s, u64 *value)
{
	u64 unit = 1;

	*value = 0;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		s += 2;
		return take_hex(&s, value) && !*s;
	}
	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, (u64)(*s - '0'), value))
			return false;
	if (*s)
		unit = *s == 'K' ? 1000 : *s == 'M' ? 1000000 : *s == 'G' ? 1000000000 : 0;
	return unit && !(*s && s[1]) && !__builtin_mul_overflow(*value, unit, value);
}

/* The number at word[i], or what stands for it when it is not given. */
static bool argument(struct gdb *g, char **word, unsigned i, u64 fallback, u64 *value)
{
	*value = fallback;
	if (!word[i] || number(word[i], value))
		return true;
	gdb_say(g, "%s: not a number; give it in decimal or as 0x...\n", word[i]);
	return false;
}

static void print_line(void *ctx, const char *line)
{
	gdb_say(ctx, "%s\n", line);
}

static void say_point(struct gdb *g)
{
	const struct execpoint *now = &gdb_vm(g)->now;

	gdb_say(g, "instruction %lu, %lu.%09lu s", now->count, now->vtime_ns / 1000000000, now->vtime_ns % 1000000000);
}

static void where(struct gdb *g, char **word unused_arg)
{
	const struct vm *vm = gdb_vm(g);

	say_point(g);
	gdb_say(g, "%s%s\n", g->line->at_end(g->t) ? ", the end of the run" : "",
		g->line->branched(g->t) ? ", on a branch" : "");
	for (unsigned i = 0; i < vm->config.ncpus; i++) {
		const struct cpu_state *s = &vm->vcpu[i].cpu;

		gdb_say(g, "vCPU %u: rip 0x%lx, %u-bit code, CPL %u, CR3 0x%lx, paging %s%s\n", i, s->rip, cpu_code_bits(s),
			s->cpl, s->cr3, s->cr0 & CR0_PG ? "on" : "off", s->halted ? ", halted" : "");
	}
	if (g->line->at_end(g->t) && vm->stop_reason[0])
		gdb_say(g, "ended: %s\n", vm->stop_reason);
}

/* ---- 2  moving ---- */

static void say_failed(struct gdb *g, const struct travel *r)
{
	if (r->end == TRAVEL_INTERRUPTED) {
		packet_drop_interrupts(&g->io); /* it was for this journey, and not for the one back */
		gdb_say(g, "interrupted\n");
	} else {
		gdb_say(g, "failed: %s\n", g->line->trouble(g->t));
	}
}

static bool failed(const struct travel *r)
{
	return r->end == TRAVEL_INTERRUPTED || r->end == TRAVEL_FAILED;
}

/* POINT: a count, +N, -N, start or begin, end.  False when it is none of them. */
static bool take_point(struct gdb *g, const char *s, u64 *count)
{
	u64 now = gdb_vm(g)->now.count;

	if (!strcmp(s, "start") || !strcmp(s, "begin")) {
		*count = 0;
		return true;
	}
	if (!number(*s == '+' || *s == '-' ? s + 1 : s, count))
		return false;
	if (*s == '-')
		*count = now - MIN(*count, now);
	else if (*s == '+' && __builtin_add_overflow(now, *count, count))
		*count = ~0UL;
	return true;
}

static void go(struct gdb *g, char **word)
{
	bool was_branched = g->line->branched(g->t);
	struct travel r;
	u64 count = 0;

	if (!strcmp(word[1], "end")) {
		r = g->line->go_end(g->t);
	} else if (take_point(g, word[1], &count)) {
		r = g->line->go(g->t, count);
	} else {
		gdb_say(g, "%s: not a point; give a count of instructions (1500000, 1500K), +N, -N, start or end\n", word[1]);
		return;
	}
	if (failed(&r))
		say_failed(g, &r);
	if (was_branched && !g->line->branched(g->t))
		gdb_say(g, "back on the recorded run; the branch is gone\n");
	where(g, word);
	gdb_say(g, "GDB still shows the registers of before: type `maintenance flush register-cache'\n");
}

struct place {
	u64 count, vtime_ns, pc;
	bool end;
};

static struct place here(const struct gdb *g)
{
	return (struct place){ gdb_vm(g)->now.count, gdb_vm(g)->now.vtime_ns, regs_pc(&gdb_vcpu(g)->cpu), g->line->at_end(g->t) };
}

static void go_back_to(struct gdb *g, const struct place *p)
{
	struct travel r = p->end ? g->line->go_end(g->t) : g->line->go(g->t, p->count);

	if (failed(&r)) {
		say_failed(g, &r);
		gdb_say(g, "not back where you were, at instruction %lu: type `maintenance flush register-cache'\n", p->count);
	} else if (regs_pc(&gdb_vcpu(g)->cpu) != p->pc || gdb_vm(g)->now.vtime_ns != p->vtime_ns) {
		gdb_say(g, "back at instruction %lu, before the interrupt or the wait there: type `maintenance flush register-cache'\n", p->count);
	}
}

static void checkpoint(struct gdb *g, char **word unused_arg)
{
	if (g->line->branched(g->t))
		gdb_say(g, "no checkpoint is kept on a branch: it is no recorded run; `monitor goto' leads back\n");
	else if (g->line->keep(g->t))
		gdb_say(g, "no room for another checkpoint: all that may be kept are\n");
	else
		gdb_say(g, "kept: going back to here is now quick\n");
}

static void timeline(struct gdb *g, char **word unused_arg)
{
	g->line->describe(g->t, print_line, g);
}

static void inputs(struct gdb *g, char **word)
{
	u64 n;

	if (argument(g, word, 1, 10, &n))
		g->line->inputs(g->t, (unsigned)MIN(n, 1000UL), print_line, g);
}

/* ---- 3  who wrote ---- */

#define MAX_HUNTED 128 /* bytes: watches of 8 each */

struct hunt {
	u64 at;
	unsigned size_bytes, nwatches;
	struct watch watches[MAX_HUNTED / 8];
	struct place from;
	struct travel r; /* of the last journey */
};

static bool start_hunt(struct gdb *g, char **word, struct hunt *h)
{
	u64 size;

	*h = (struct hunt){ .from = here(g) };
	if (!argument(g, word, 1, 0, &h->at) || !argument(g, word, 2, 8, &size))
		return false;
	if (!size || size > MAX_HUNTED || h->at + (size - 1) < h->at) {
		gdb_say(g, "%lu bytes: give 1 to %u\n", size, MAX_HUNTED);
		return false;
	}
	if (g->line->branched(g->t)) {
		gdb_say(g, "this is a branch, and looking back would throw it away; `monitor goto' leads to the recorded run\n");
		return false;
	}
	h->size_bytes = (unsigned)size;
	for (u64 done = 0; done < size; done += 8)
		h->watches[h->nwatches++] = (struct watch){ WATCH_WRITE, h->at + done, MIN(size - done, 8UL) };
	return true;
}

/* To before the last store into the bytes hunted; false: there is none, and the user has been told. */
static bool one_store_back(struct gdb *g, struct hunt *h)
{
	const struct conditions c = { .watches = h->watches, .nwatches = h->nwatches };

	h->r = g->line->run(g->t, false, &c);
	if (h->r.end == TRAVEL_HIT)
		return true;
	if (h->r.end == TRAVEL_BEGIN)
		gdb_say(g, "0x%lx: no instruction before this point wrote there; the machine began so, or a device did\n", h->at);
	else
		say_failed(g, &h->r);
	return false;
}

static u64 value_of(struct gdb *g, const struct watch *w, bool *readable)
{
	u8 buf[8];

	*readable = memory_read(g, false, w->at, buf, w->size_bytes) == w->size_bytes;
	return *readable ? read_bytes_le(buf, (unsigned)w->size_bytes) : 0;
}

/* The machine stands before the store. */
static void say_store(struct gdb *g, struct hunt *h)
{
	const struct watch *w = &h->watches[h->r.watch];
	u64 rip = gdb_vcpu(g)->cpu.rip, cr3 = gdb_vcpu(g)->cpu.cr3, old, new;
	bool had, has;
	struct travel r;

	say_point(g);
	old = value_of(g, w, &had);
	r = g->line->step(g->t, true);
	new = value_of(g, w, &has);
	/* Another address space may have had something else there: CR3 tells. */
	gdb_say(g, ": rip 0x%lx (CR3 0x%lx) wrote 0x%lx: ", rip, cr3, w->at);
	if (failed(&r) || !has)
		gdb_say(g, "what it wrote cannot be read\n");
	else if (!had)
		gdb_say(g, "now 0x%lx, what was there cannot be read\n", new);
	else
		gdb_say(g, "0x%lx, before 0x%lx\n", new, old);
}

static void who_wrote(struct gdb *g, char **word)
{
	struct hunt h;

	if (!start_hunt(g, word, &h))
		return;
	if (one_store_back(g, &h))
		say_store(g, &h);
	go_back_to(g, &h.from);
}

/* A digest would do; but the bytes are few. */
static bool differs(struct gdb *g, const struct hunt *h, const u8 *now)
{
	u8 then[MAX_HUNTED];

	return memory_read(g, false, h->at, then, h->size_bytes) != h->size_bytes || memcmp(then, now, h->size_bytes);
}

static void when(struct gdb *g, char **word)
{
	struct hunt h;
	u8 now[MAX_HUNTED];

	if (!start_hunt(g, word, &h))
		return;
	if (memory_read(g, false, h.at, now, h.size_bytes) != h.size_bytes) {
		gdb_say(g, "0x%lx: not mapped here\n", h.at);
	} else {
		bool found;

		while ((found = one_store_back(g, &h)) && !differs(g, &h, now))
			;
		if (found) {
			gdb_say(g, "different until ");
			say_store(g, &h);
		}
	}
	go_back_to(g, &h.from);
}

/* ---- 4  state ---- */

static void translate(struct gdb *g, char **word)
{
	struct walk_result w;
	u64 at;

	if (!argument(g, word, 1, 0, &at))
		return;
	w = memory_walk(g, at);
	if (w.ok)
		gdb_say(g, "0x%lx -> guest-physical 0x%lx%s\n", at, w.gpa.v,
			guestmem_is_ram(&gdb_vm(g)->mem, w.gpa) ? "" : ", which is no RAM");
	else
		gdb_say(g, "0x%lx: not mapped\n", at);
}

static void examine(struct gdb *g, char **word)
{
	u64 at, n;
	u8 row[16];

	if (!argument(g, word, 1, 0, &at) || !argument(g, word, 2, 64, &n))
		return;
	for (u64 done = 0; done < MIN(n, KIB(4)); done += sizeof(row)) {
		size_t want = MIN(n - done, sizeof(row)), have = memory_read(g, true, at + done, row, want);

		gdb_say(g, "0x%lx:", at + done);
		for (size_t i = 0; i < have; i++)
			gdb_say(g, " %02x", row[i]);
		gdb_say(g, "%s\n", have < want ? " no RAM" : "");
		if (have < want)
			return;
	}
}

static void physical(struct gdb *g, char **word)
{
	if (word[1] && strcmp(word[1], "on") && strcmp(word[1], "off")) {
		gdb_say(g, "%s: give on or off\n", word[1]);
		return;
	}
	if (word[1])
		g->physical = !strcmp(word[1], "on");
	gdb_say(g, "addresses are guest-%s\n", g->physical ? "physical" : "virtual");
}

static void digest(struct gdb *g, char **word unused_arg)
{
	gdb_say(g, "%016lx\n", vm_digest(gdb_vm(g)));
}

struct dump {
	struct gdb *g;
	const char *wanted;  /* section; NULL: only their names */
	bool found;
};

static void dump_field(void *ctx, const char *section, const char *field, const void *data, size_t size)
{
	struct dump *d = ctx;
	bool opens = !strcmp(field, "section");

	if (!d->wanted && opens)
		gdb_say(d->g, "%s ", section);
	if (!d->wanted || strcmp(section, d->wanted))
		return;
	d->found = true;
	if (opens)
		return;
	if (size <= 8) {
		gdb_say(d->g, "%s 0x%lx\n", field, read_bytes_le(data, (unsigned)size));
		return;
	}
	for (size_t i = 0; i < size; i += 8) {
		u64 v = read_bytes_le((const u8 *)data + i, (unsigned)MIN(size - i, 8UL));

		if (v)
			gdb_say(d->g, "%s[%lu] 0x%lx\n", field, i, v);
	}
}

static void dump_section(struct gdb *g, const char *name)
{
	struct dump d = { .g = g, .wanted = name };
	struct state_walk w = { .mode = STATE_VISIT, .visit = dump_field, .visit_ctx = &d };

	vm_state_walk(gdb_vm(g), &w);
	if (!name)
		gdb_say(g, "\n");
	else if (!d.found)
		gdb_say(g, "%s: not a part of the machine; `monitor state' lists them\n", name);
}

static void state(struct gdb *g, char **word)
{
	dump_section(g, word[1]);
}

static void device(struct gdb *g, char **word)
{
	dump_section(g, word[0]);
}

/* ---- 5  the table ---- */

static void help(struct gdb *g, char **word);

static const struct command {
	const char *name, *arguments, *what;
	unsigned nneeded;
	void (*run)(struct gdb *g, char **word);
} commands[] = {
	{ "help", "", "this list", 0, help },
	{ "where", "", "the point of the run, and how the vCPUs stand there", 0, where },
	{ "goto", "POINT", "to a count of instructions (K, M, G), +N, -N, start or end", 1, go },
	{ "who-wrote", "ADDR [LEN]", "the last store into these bytes before now", 1, who_wrote },
	{ "when", "ADDR [LEN]", "the store that gave these bytes their value of now", 1, when },
	{ "inputs", "[N]", "recorded inputs around this point", 0, inputs },
	{ "checkpoint", "", "keeps this point, to come back to it quickly", 0, checkpoint },
	{ "timeline", "", "the run, its checkpoints and what travelling costs", 0, timeline },
	{ "translate", "ADDR", "guest-virtual to guest-physical", 1, translate },
	{ "xp", "ADDR [LEN]", "bytes of guest-physical memory", 1, examine },
	{ "phys", "[on|off]", "whether GDB's addresses are guest-physical", 0, physical },
	{ "state", "[PART]", "a part of the machine, field by field; alone: the parts", 0, state },
	{ "cpu", "", "the state of the vCPUs", 0, device },
	{ "lapic", "", "the same of the local APIC", 0, device },
	{ "ioapic", "", "of the I/O APIC", 0, device },
	{ "pic", "", "of the 8259 pair", 0, device },
	{ "pit", "", "of the 8254", 0, device },
	{ "uart", "", "of the serial port", 0, device },
	{ "rtc", "", "of the clock and its RAM", 0, device },
	{ "digest", "", "of the whole machine at this point", 0, digest },
};

static void help(struct gdb *g, char **word unused_arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
		gdb_say(g, "%-10s %-11s %s\n", commands[i].name, commands[i].arguments, commands[i].what);
}

/* Cuts the line at its blanks; words not given are NULL.  Returns how many there are. */
static unsigned split(char *line, char *word[MAX_WORDS + 1])
{
	unsigned n = 0;

	memset(word, 0, (MAX_WORDS + 1) * sizeof(word[0]));
	while (n <= MAX_WORDS) {
		while (*line == ' ' || *line == '\t')
			*line++ = 0;
		if (!*line)
			break;
		word[n++] = line;
		while (*line && *line != ' ' && *line != '\t')
			line++;
	}
	return n;
}

void monitor_command(struct gdb *g, char *line)
{
	char *word[MAX_WORDS + 1];
	unsigned n = split(line, word);

	if (!n) {
		help(g, word);
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (strcmp(word[0], c->name))
			continue;
		if (n > MAX_WORDS || n < 1 + c->nneeded)
			gdb_say(g, "usage: monitor %s %s\n", c->name, c->arguments);
		else
			c->run(g, word);
		return;
	}
	gdb_say(g, "%s: no such command; `monitor help' lists them\n", word[0]);
}
