/*
 * arbiter_machine.c - a bare machine that does with SCSI what its console says: tests/system/arbiter.sh drives it.
 *
 * Linked on the substrate in place of the hypervisor.  A line is a command, a line the answer:
 *
 *   units                          how many disks there are, and where
 *   scsi UNIT CDB IN OUT...         sends one and waits; CDB and OUT in hex digits, OUT may end in *TIMES
 *   start NAME UNIT CDB IN OUT...   sends one; NAME is a letter
 *   poll NAME | wait NAME MS       asks, or waits, for its end
 *   abandon NAME
 *   store UNIT HOST MS             the arbiter on that disk, for that host, attempts of at most MS milliseconds
 *   format [over]                  makes a store of it
 *   race TERM MS...                 until the word has that term, tries to be the one who raises it
 *   fence UNIT HOST TERM           takes the reservation of a data disk
 *   burst UNIT BLOCK N BYTE        writes N blocks, one after the other is answered; fenced if `fence` was
 *   quit
 */
#include "ft/arbiter_scsi.h"
#include "ft/fence_scsi.h"
#include "kernel/bootinfo.h"
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/panic.h"
#include "kernel/serial.h"
#include "kernel/time.h"
#include "kernel/virtio_scsi.h"

#define WORDS 8
#define PATIENCE_MS 20000

static struct {
	char line[4096];
	char *word[WORDS];
	unsigned nwords;
	u8 out[SCSI_DATA_MAX], in[SCSI_DATA_MAX];
	struct {
		u64 ticket;
		const struct scsi_port *port;
	} named[26];
	struct ft_store store;
	struct ft_fence fence;
} machine;

static u64 now_ms(void)
{
	return rdtsc() / (host_tsc_hz() / 1000);
}

static void read_line(void)
{
	size_t n = 0;

	for (;;) {
		u8 c;

		if (!serial_read(&com1, &c, 1)) {
			cpu_wait(1000000000);
			continue;
		}
		if (c == '\n' || n + 1 == sizeof(machine.line))
			break;
		machine.line[n++] = (char)c;
	}
	machine.line[n] = '\0';
	machine.nwords = 0;
	for (char *p = machine.line; *p && machine.nwords < WORDS;) {
		while (*p == ' ')
			*p++ = '\0';
		if (*p)
			machine.word[machine.nwords++] = p;
		while (*p && *p != ' ')
			p++;
	}
}

static u64 number(const char *s)
{
	u64 n = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (u64)(*s - '0');
	return n;
}

static unsigned digit(char c)
{
	return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/* Hex digits into at most max bytes; "aa*512" is 512 times aa. */
static u32 hex(const char *s, u8 *to, u32 max)
{
	u32 n = 0, unit;
	u64 times;

	for (; n < max && digit(s[0]) < 16 && digit(s[1]) < 16; s += 2)
		to[n++] = (u8)(digit(s[0]) << 4 | digit(s[1]));
	unit = n;
	for (times = *s == '*' ? number(s + 1) : 1; times > 1 && n + unit <= max; times--, n += unit)
		memcpy(to + n, to, unit);
	return n;
}

static const struct scsi_port *port_of(const char *word)
{
	struct scsi_unit *u = scsi_open((unsigned)number(word));

	if (!u)
		panic("no unit %s", word);
	return scsi_unit_port(u);
}

static struct scsi_command command_of(char **w, unsigned nwords)
{
	struct scsi_command c = { .in_bytes = (u32)number(w[1]), .out = machine.out };

	c.cdb_size = (u8)hex(w[0], c.cdb, sizeof(c.cdb));
	if (nwords > 2)
		c.out_bytes = hex(w[2], machine.out, sizeof(machine.out));
	return c;
}

static void say(const struct scsi_reply *r)
{
	kprintf("%s status=%02x key=%x asc=%04x in=%u ", r->delivered ? "done" : "lost", r->status, r->sense_key,
		r->asc, r->in_bytes);
	for (u32 i = 0; i < MIN(r->in_bytes, 96); i++)
		kprintf("%02x", r->in[i]);
	kprintf("\n");
}

static void do_scsi(char **w, unsigned nwords)
{
	struct scsi_command c = command_of(w + 2, nwords - 2);
	struct scsi_reply r = { .in = machine.in };
	err_t err = scsi_command(port_of(w[1]), &c, &r, PATIENCE_MS * 1000000UL);

	if (err && !r.delivered)
		kprintf("error %d\n", err);
	else
		say(&r);
}

static void do_start(char **w, unsigned nwords)
{
	unsigned name = (unsigned)(w[1][0] - 'a') % 26;
	struct scsi_command c = command_of(w + 3, nwords - 3);
	err_t err;

	machine.named[name].port = port_of(w[2]);
	err = machine.named[name].port->start(machine.named[name].port->ctx, &c, &machine.named[name].ticket);
	kprintf("started %d\n", err);
}

static void do_poll(char **w, u64 wait_ms)
{
	unsigned name = (unsigned)(w[1][0] - 'a') % 26;
	const struct scsi_port *p = machine.named[name].port;
	struct scsi_reply r = { .in = machine.in };
	u64 end = now_ms() + wait_ms;

	while (!p->poll(p->ctx, machine.named[name].ticket, &r)) {
		if (now_ms() >= end) {
			kprintf("pending\n");
			return;
		}
		cpu_wait(1000000);
	}
	say(&r);
}

static void do_units(void)
{
	struct scsi_unit *u;
	unsigned n = 0;

	for (; (u = scsi_open(n)); n++)
		kprintf("unit %u: target %u lun %u, ", n, scsi_unit_target(u), scsi_unit_lun(u));
	kprintf("%u units\n", n);
}

/* --- the arbiter ------------------------------------------------------------------- */

#define PAIR 0x4711

static u64 now_ns(void *ctx unused_arg)
{
	return rdtsc() / (host_tsc_hz() / 1000000) * 1000;
}

static void do_store(char **w)
{
	const struct ft_store_config c = { .port = port_of(w[1]), .host = number(w[2]), .now_ns = now_ns,
					   .patience_ns = number(w[3]) * 1000000 };

	ft_store_init(&machine.store, &c);
	kprintf("store\n");
}

static enum ft_verdict attempt(struct ft_word *current)
{
	enum ft_verdict verdict;

	while ((verdict = machine.store.arbiter.poll(machine.store.arbiter.ctx, current)) == FT_ASKING)
		cpu_wait(100000);
	return verdict;
}

static const char *why(void)
{
	const char *s = ft_store_complaint(&machine.store);

	return s ? s : "";
}

static void do_format(bool over)
{
	static const char *const name[] = { "asking", "swapped", "differs", "unknown", "unreachable" };
	struct ft_word current;

	ft_store_format(&machine.store, over);
	kprintf("%s", name[attempt(&current)]);
	kprintf(" method %d %s\n", machine.store.method, why());
}

/* As a host of a pair would: an attempt whose fate is unknown is made again, the same, until it is known. */
static void do_race(u64 last, u64 pause_ms)
{
	struct ft_word current = { 0 }, desired = { 0 };
	struct ft_arbiter *a = &machine.store.arbiter;
	bool silent = false;

	while (current.term < last) {
		enum ft_verdict verdict;

		if (desired.term != current.term + 1)
			desired = (struct ft_word){ PAIR, current.term + 1, machine.store.config.host, { current.owner } };
		a->start(a->ctx, &current, &desired);
		verdict = attempt(&current);
		if (verdict == FT_SWAPPED || (verdict == FT_DIFFERS && ft_word_equal(&current, &desired))) {
			kprintf("won %lu\n", desired.term);
			current = desired;
			if (pause_ms)
				cpu_wait(pause_ms * 1000000);
		} else if (verdict != FT_DIFFERS) {
			/* *current is what was last read: no answer, so what was expected stays so. */
			current = machine.store.expected;
			if (!silent)
				kprintf("%s: %s\n", verdict == FT_UNKNOWN ? "unknown" : "unreachable", why());
		}
		silent = verdict == FT_UNKNOWN || verdict == FT_UNREACHABLE;
	}
	kprintf("over %lu\n", current.term);
}

static void do_fence(char **w)
{
	static const char *const name[] = { "taking", "held", "lost", "refused" };
	const struct ft_fence_config c = { port_of(w[1]), PAIR, number(w[2]), now_ns, NULL };
	enum ft_fence_state state;

	ft_fence_init(&machine.fence, &c);
	ft_fence_take(&machine.fence, number(w[3]));
	while ((state = ft_fence_poll(&machine.fence)) == FT_FENCE_TAKING)
		cpu_wait(100000);
	kprintf("%s %s\n", name[state], machine.fence.complaint ? machine.fence.complaint : "");
}

static void do_burst(char **w)
{
	const struct scsi_port *p = port_of(w[1]);
	u64 block = number(w[2]), n = number(w[3]), i;
	u8 byte;

	hex(w[4], &byte, 1);
	memset(machine.out, byte, FT_BLOCK_BYTES);
	for (i = 0; i < n; i++) {
		const struct scsi_command c = ft_scsi_write(block + i, machine.out, 1);
		struct scsi_reply r = { .in = machine.in };

		if (scsi_command(p, &c, &r, PATIENCE_MS * 1000000UL) || r.status != SCSI_GOOD) {
			kprintf("%lu written, then status=%02x key=%x asc=%04x\n", i, r.status, r.sense_key, r.asc);
			return;
		}
	}
	kprintf("%lu written\n", i);
}

static bool obey(char **w, unsigned n)
{
	if (n >= 4 && !strcmp(w[0], "scsi"))
		do_scsi(w, n);
	else if (n >= 5 && !strcmp(w[0], "start"))
		do_start(w, n);
	else if (n == 2 && !strcmp(w[0], "poll"))
		do_poll(w, 0);
	else if (n == 3 && !strcmp(w[0], "wait"))
		do_poll(w, number(w[2]));
	else if (n == 1 && !strcmp(w[0], "units"))
		do_units();
	else if (n == 4 && !strcmp(w[0], "store"))
		do_store(w);
	else if (n >= 1 && !strcmp(w[0], "format"))
		do_format(n > 1);
	else if (n >= 2 && !strcmp(w[0], "race"))
		do_race(number(w[1]), n > 2 ? number(w[2]) : 0);
	else if (n == 4 && !strcmp(w[0], "fence"))
		do_fence(w);
	else if (n == 5 && !strcmp(w[0], "burst"))
		do_burst(w);
	else if (n == 1 && !strcmp(w[0], "quit"))
		return false;
	else
		kprintf("what?\n");
	return true;
}

void hypervisor_main(const struct boot_info *bi unused_arg)
{
	console_select(&com1);
	serial_rx_irq_enable(&com1);
	kprintf("ready\n");
	do
		read_line();
	while (obey(machine.word, machine.nwords));
}
