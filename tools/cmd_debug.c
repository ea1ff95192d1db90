/*
 * cmd_debug.c - `reprise debug`: a recording under GDB, forwards and
 * backwards.  Starts the hypervisor in its debug mode, and when it has
 * travelled to the point asked for, gdb; or lets debuggers connect.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tools/bisect.h"
#include "tools/gdb.h"
#include "tools/gdbrelay.h"
#include "tools/line.h"
#include "tools/modules.h"
#include "tools/operand.h"
#include "tools/symbols.h"

struct debug {
	struct options o;
	struct summary sum;
	struct gdbrelay relay;
	struct gdb gdb;
	struct symbols symbols; /* of --symbols */
	struct modules modules; /* and of the guest's modules */
	struct buf state;       /* the hypervisor's last words on the machine, for when the terminal is ours again */
	bool began, had_gdb;
};

/* ---- symbols ---- */

/* The commands for gdb; symbol-file splits its line into words as a shell would. */
static void symbols_command(const struct symbols *s, u64 offset, struct buf *command)
{
	buf_printf(command, "symbol-file ");
	for (const char *p = s->path; *p; p++)
		buf_printf(command, strchr(" \t'\"\\", *p) ? "\\%c" : "%c", *p);
	if (offset)
		buf_printf(command, " -o 0x%llx", (unsigned long long)offset);
	buf_add(command, "", 1);
}

/* Which are loaded gdb reads from the guest: once the kernel's place is known, and by its debug information. */
static void modules_command(const struct debug *d, u64 lstar, struct buf *command)
{
	bool readable = (lstar || !d->symbols.has_entry) && d->symbols.has_modules && elf_has_debug_info(&d->symbols.elf);

	buf_printf(command, "%s \"%s\"", readable ? "modules" : "set $reprise_modules =", d->modules.dir);
	buf_add(command, "", 1);
}

/* ---- the session's events ---- */

static u64 debugging_value(const struct session *s, const char *key)
{
	char value[64];

	return control_get(s->debugging_line, key, value, sizeof(value)) ? strtoull(value, NULL, 0) : 0;
}

static void say_what_to_try(const struct session *s, const struct debug *d)
{
	char insns[32], time[32];

	if (d->o.quiet || !isatty(STDIN_FILENO))
		return;
	remark("%s: at %s instructions, %s virtual%s", d->sum.path, human_count(debugging_value(s, "insns"), insns),
	       human_ns(debugging_value(s, "vtime_ns"), time), debugging_value(s, "end") ? ", its end" : "");
	fputs("Try  back 100   reverse-continue   whowrote VARIABLE   goto 500M   where-am-i   inputs\n"
	      "and  bt, break FUNCTION, watch VARIABLE; help user-defined says more.  quit leaves.\n", stderr);
}

static bool serve(struct debug *d, const char *address, const char *symbols, const char *modules)
{
	printf("listening %s\n", address);
	if (fflush(stdout))
		return false; /* who started us has gone */
	if (symbols && !d->o.quiet)
		remark("in gdb: %s", symbols);
	if (modules && !d->o.quiet)
		remark("and, connected, with reprise.gdb: %s", modules);
	return true;
}

static bool on_debugging(void *ctx, struct session *s)
{
	struct debug *d = ctx;
	struct buf command = { 0 }, behind = { 0 };
	char address[RELAY_NAME_MAX];
	const char *symbols = NULL;
	bool good;

	if (!gdbrelay_open(&d->relay, address))
		return false;
	d->relay.remarks = d->o.listen; /* else the terminal is gdb's */
	d->began = true;
	if (d->o.symbols) {
		symbols_command(&d->symbols, symbols_offset(&d->symbols, debugging_value(s, "lstar")), &command);
		symbols = (const char *)command.data;
	}
	if (d->modules.n)
		modules_command(d, debugging_value(s, "lstar"), &behind);
	if (d->o.listen) {
		good = serve(d, address, symbols, (const char *)behind.data);
	} else {
		say_what_to_try(s, d);
		s->child = gdb_start(&d->gdb, symbols, address, (const char *)behind.data);
		good = d->had_gdb = s->child > 0;
	}
	buf_free(&command);
	buf_free(&behind);
	return good;
}

static void on_state(void *ctx, const char *line)
{
	struct debug *d = ctx;

	if (d->had_gdb)
		buf_printf(&d->state, "%s\n", line);
	else
		fprintf(stderr, "%s\n", line);
}

/* ---- from the options to the end ---- */

static void describe(const struct debug *d, struct buf *conf)
{
	const char *more = getenv("REPRISE_SESSION"); /* as for replay */

	if (d->o.at)
		buf_printf(conf, "at=%s\n", d->o.at);
	else
		buf_printf(conf, "at=%llu\n", (unsigned long long)d->o.at_insns);
	buf_printf(conf, "timeline_mib=%llu\n", (unsigned long long)(d->o.timeline_bytes / MIB(1)));
	if (d->o.symbols)
		symbols_describe(&d->symbols, conf);
	buf_printf(conf, "%s", more ? more : "");
	buf_add(conf, "", 1);
}

/* gdb's word counts last: it ends badly because something else did. */
static enum status judge(struct debug *d, const struct session *s)
{
	bool diverged = s->ended && s->end.outcome == VM_DIVERGED;

	if (d->had_gdb)
		gdb_bury(&d->gdb, s->child_status);
	write_all(STDERR_FILENO, d->state.data, d->state.size);
	if (s->diverged)
		return s->muted ? complain(ST_DIVERGED, "%s", s->divergence) : ST_DIVERGED;
	if (s->failure[0] || s->timed_out || (s->ended && s->end.outcome == VM_HOST_FAILED))
		return session_close(s, NULL, 0);
	if (d->began && !diverged)
		return d->had_gdb ? gdb_judge(&d->gdb, s->child_status) : ST_OK;
	if (s->quit && !diverged)
		return complain(ST_HOST, "debug: left on the way; no debugger was started");
	return complain(diverged ? ST_DIVERGED : ST_HOST, "debug: the run ended (%s%s%s)%s; look at it with 'reprise replay'",
			outcome_name(s->end.outcome), s->end.reason[0] ? ": " : "", s->end.reason,
			d->began ? "" : " before the point asked for");
}

static enum status run(struct debug *d)
{
	struct session s = {
		.muted = !d->o.console, .console_on_stderr = d->o.console, .timeline_bytes = d->o.timeline_bytes, .relay = &d->relay,
		.on_debugging = on_debugging, .on_debugging_ctx = d, .on_state = on_state, .on_state_ctx = d,
		.total_insns = d->o.at ? 0 : d->o.at_insns,
	};
	struct buf conf = { 0 };
	struct machine m;
	enum status st = machine_from_recording(&m, &d->sum, &d->o);

	if (st)
		return st;
	describe(d, &conf);
	st = replay_pass(&s, &m, &d->sum, &d->o, false, (const char *)conf.data) ? judge(d, &s) : ST_HOST;
	buf_free(&conf);
	buf_free(&d->state);
	machine_free(&m);
	return st;
}

static enum status open_symbols(struct debug *d)
{
	enum status st = symbols_open(&d->symbols, "--symbols", d->o.symbols);
	char guess[PATH_MAX];

	if (st)
		return st;
	if (strchr(d->symbols.path, '\n'))
		return complain(ST_USAGE, "--symbols %s: no name gdb can be told; rename it", d->o.symbols);
	if (d->o.modules)
		return modules_open(&d->modules, d->o.modules);
	return d->symbols.has_modules && modules_guess(d->symbols.path, guess) ? modules_open(&d->modules, guess) : ST_OK;
}

/* What can be found wrong before anything is started. */
static enum status prepare(struct debug *d, char **gdb_args)
{
	const struct summary *sum = &d->sum;
	char text[300];
	enum status st;

	if (d->o.listen && *gdb_args)
		return complain(ST_USAGE, "%s: for gdb, but with --listen none is started; leave out what is behind --", *gdb_args);
	st = line_holds_point(sum, &d->o);
	if (st)
		return st;
	if (d->o.symbols) {
		st = open_symbols(d);
		if (st)
			return st;
	}
	if (!d->o.listen) {
		st = gdb_find(&d->gdb, d->o.gdb, gdb_args);
		if (st)
			return st;
	}
	if (summary_trouble(sum, text, sizeof(text)))
		remark("%s: %s", sum->path, text);
	return gdbrelay_bind(&d->relay, d->o.listen ? d->o.listen : "127.0.0.1:0") ? ST_OK : ST_USAGE;
}

static enum status debug(int argc, char **argv)
{
	struct debug *d = need(calloc(1, sizeof(*d)));
	int ours = 1;
	enum status st;

	while (ours < argc && strcmp(argv[ours], "--"))
		ours++;
	st = operand_open(&d->o, &d->sum, OPT_DEBUG | OPT_IMAGES | OPT_RUN, ours, argv);
	if (!st)
		st = line_open(&d->sum);
	if (!st) {
		st = prepare(d, argv + MIN(ours + 1, argc)); /* argv ends with NULL */
		if (!st) {
			st = run(d);
			gdbrelay_close(&d->relay);
		}
		symbols_close(&d->symbols);
		modules_close(&d->modules);
		summary_free(&d->sum);
	}
	free(d);
	return st;
}

const struct command cmd_debug = {
	.name = "debug",
	.summary = "look at a recorded run with GDB, forwards and backwards",
	.help = "reprise debug [OPTIONS] FILE [-- GDB-ARGUMENTS]\n\n"
		"Replays a recording to a point, its end, and starts gdb on the machine as it is there.\n"
		"gdb's own commands work, and those that go backwards: reverse-stepi, reverse-continue\n"
		"to a breakpoint or watchpoint.  Nothing that is done there changes the recording.\n\n"
		"  --at end            where gdb finds the machine: at the run's end (the default),\n"
		"       start            before its first instruction,\n"
		"       crash            where it began to fail: at panic(), given --symbols, or at\n"
		"                        its last instruction,\n"
		"       N                after N instructions, 500M\n"
		"  --symbols ELF       the guest kernel's symbols, Linux's vmlinux; where the kernel\n"
		"                      was put (KASLR) is found out\n"
		"  --modules DIR       where its modules' .ko files are, with --symbols (default: found\n"
		"                      beside it, as Debian and kernel builds lay them out)\n"
		"  --gdb PROGRAM       another gdb\n"
		"  --listen ADDRESS    start no gdb, let debuggers connect, one after the other, until\n"
		"                      Ctrl-C: HOST:PORT, :PORT or PORT, on 127.0.0.1 without a host.\n"
		"                      Prints \"listening HOST:PORT\"; port 0 is any that is free\n"
		"  --timeline-mem SIZE memory for checkpoints, which make going back fast (default 768M)\n"
		"  --console           the guest's output, on standard error; else it is not shown\n"
		"\nCommands of gdb there; its 'help COMMAND' says more:\n"
		"  back N              N instructions back\n"
		"  whowrote VARIABLE   what wrote a variable last; or: whowrote ADDRESS SIZE\n"
		"  goto POINT          to a point: 500M, start, end\n"
		"  where-am-i, inputs  the point; the recorded inputs\n"
		"  modules             symbols of the Linux modules loaded at this point\n\n"
		"  reprise debug a.rpl -- -batch -ex reverse-stepi -ex 'info registers rip'\n\n"
		HELP_IMAGES
		HELP_RUN,
	.run = debug,
};
