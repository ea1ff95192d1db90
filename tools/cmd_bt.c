/*
 * cmd_bt.c - `reprise bt`: each vCPU's stack at a point of a recording; and
 * the hypervisor's own, out of what it said when it panicked.
 *
 * The hypervisor is started in its debug mode.  When it has travelled to the
 * point, a child of ours is its debugger: it asks over the relay [gdbrelay.h],
 * walks and prints, while this process goes on with the session's loop.
 *
 * Map: the child; the session; a panic; the command.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bisect.h"
#include "tools/gdbrelay.h"
#include "tools/lines.h"
#include "tools/line.h"
#include "tools/operand.h"
#include "tools/panictext.h"
#include "tools/qemu.h"
#include "tools/rsp.h"
#include "tools/stackprint.h"
#include "tools/symbols.h"
#include "tools/unwind.h"

#define PATIENCE_MS 30000
#define VCPUS_MAX 64
#define CHILD_LOST 64 /* its exit status: the hypervisor went, of which the session knows more */
#define LOST_MS 500

struct bt {
	struct options o;
	struct summary sum;
	struct machine m;
	struct symbols symbols;
	struct gdbrelay relay;
	struct buf state;       /* the hypervisor's lines on the machine: shown when there is no stack */
	bool began;
};

/* ---- the child ---- */

static bool read_guest(void *ctx, u64 at, void *buf, size_t n)
{
	return rsp_read(ctx, at, buf, n);
}

static u64 register_at(const u8 *g, size_t size, size_t at, size_t bytes)
{
	u64 v = 0;

	if (at + bytes <= size)
		memcpy(&v, g + at, bytes);
	return v;
}

/* In the order of gdbstub/regs.c. */
static void take_registers(struct unwind_regs *regs, const u8 *g, size_t size, bool is_64)
{
	static const u8 order64[] = {
		DW_RAX, DW_RBX, DW_RCX, DW_RDX, DW_RSI, DW_RDI, DW_RBP, DW_RSP, DW_R8, DW_R9, DW_R10, DW_R11, DW_R12, DW_R13, DW_R14,
		DW_R15, DW_RIP,
	}, order32[] = { DW_RAX, DW_RCX, DW_RDX, DW_RBX, DW_RSP, DW_RBP, DW_RSI, DW_RDI, DW_RIP };
	const u8 *order = is_64 ? order64 : order32;
	size_t n = is_64 ? ARRAY_SIZE(order64) : ARRAY_SIZE(order32), bytes = is_64 ? 8 : 4;

	*regs = (struct unwind_regs){ 0 };
	for (size_t i = 0; i < n; i++)
		regs->r[order[i]] = register_at(g, size, i * bytes, bytes);
	regs->cs = (u16)register_at(g, size, n * bytes + 4, 4); /* behind EFLAGS */
}

static void print_vcpu(const struct bt *b, unsigned vcpu, u64 insns, const struct unwinder *u, const struct frame *frames, size_t n,
		       enum unwind_end end)
{
	struct stack_line lines[FRAMES_MAX];
	u64 places[FRAMES_MAX];
	char *sources[FRAMES_MAX] = { NULL };

	for (size_t i = 0; i < n; i++) {
		const struct frame *f = &frames[i];
		const struct function *found = function_at(u->functions, frame_place(f) - u->offset);

		places[i] = frame_place(f) - u->offset;
		lines[i] = (struct stack_line){
			.pc = f->pc, .sp = f->sp, .function = found ? found->name : NULL,
			.offset = found ? f->pc - u->offset - found->at : 0, .how = frame_how_name(f->how),
			.interrupted = f->how == FRAME_INTERRUPTED, .user = f->is_user,
		};
	}
	if (*b->symbols.path)
		lines_find(b->symbols.path, places, n, sources);
	for (size_t i = 0; i < n; i++)
		lines[i].source = lines[i].function ? sources[i] : NULL;
	if (b->o.json) {
		printf("%s{\"vcpu\": %u, \"instructions\": %llu, \"end\": \"%s\", \"frames\": ", vcpu ? ",\n " : "[", vcpu,
		       (unsigned long long)insns, unwind_end_name(end));
		stack_print_json(stdout, lines, n);
		putchar('}');
	} else {
		printf("%svCPU %u at instruction %llu\n", vcpu ? "\n" : "", vcpu, (unsigned long long)insns);
		stack_print(stdout, lines, n);
		if (end == UNWIND_MAX)
			printf(" ...\n");
	}
	for (size_t i = 0; i < n; i++)
		free(sources[i]);
}

/* False: r tells why. */
static bool walk_all(const struct bt *b, struct rsp *r, u64 insns, u64 offset)
{
	const struct elf *e = &b->symbols.elf;
	struct functions functions;
	struct cfi cfi;
	const struct unwinder u = {
		.functions = &functions, .cfi = &cfi, .offset = offset, .is_64 = e->is_64, .is_linux = b->symbols.has_entry,
		.read = read_guest, .ctx = r,
	};
	struct frame frames[FRAMES_MAX];
	struct unwind_regs regs;
	u64 ids[VCPUS_MAX];
	size_t nvcpus, n, size;
	u8 g[2048];

	functions_read(&functions, e);
	cfi_read(&cfi, e);
	if (!rsp_threads(r, ids, VCPUS_MAX, &nvcpus))
		return false;
	for (unsigned i = 0; i < nvcpus && rsp_registers(r, ids[i], g, sizeof(g), &size); i++) {
		enum unwind_end end;

		take_registers(&regs, g, size, e->is_64);
		end = unwind(&u, &regs, frames, &n);
		if (r->end == RSP_GOOD)
			print_vcpu(b, i, insns, &u, frames, n, end);
	}
	if (b->o.json)
		printf("]\n");
	cfi_free(&cfi);
	functions_free(&functions);
	return r->end == RSP_GOOD;
}

static noreturn_fn void child(const struct bt *b, int fd, pid_t parent, u64 insns, u64 offset)
{
	struct rsp *r = need(calloc(1, sizeof(*r)));
	enum status st = ST_OK;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!rsp_open(r, fd, PATIENCE_MS) || !walk_all(b, r, insns, offset)) {
		if (r->end == RSP_CLOSED) {
			/* That QEMU has ended the session is to see before that we have: it then tells why. */
			poll(NULL, 0, LOST_MS);
			_exit(CHILD_LOST);
		}
		st = complain(ST_HOST, "bt: the hypervisor %s; see what it says with --verbose", rsp_end_text(r->end));
	}
	if (fflush(stdout))
		st = complain(ST_HOST, "standard output: %s; give it more room", strerror(errno));
	_exit((int)st);
}

/* ---- the session ---- */

static u64 debugging_value(const struct session *s, const char *key)
{
	char value[64];

	return control_get(s->debugging_line, key, value, sizeof(value)) ? strtoull(value, NULL, 0) : 0;
}

static bool on_debugging(void *ctx, struct session *s)
{
	struct bt *b = ctx;
	u64 insns = debugging_value(s, "insns"), offset = symbols_offset(&b->symbols, debugging_value(s, "lstar"));
	pid_t parent = getpid();
	int ends[2];

	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		remark("bt: no connection to itself: %s; close some programs", strerror(errno));
		return false;
	}
	s->child = fork();
	if (!s->child) {
		close(ends[0]); /* or it would not see the other side go */
		child(b, ends[1], parent, insns, offset);
	}
	close(ends[1]);
	if (s->child < 0)
		remark("bt: cannot be started: %s; close some programs", strerror(errno));
	gdbrelay_give(&b->relay, ends[0]);
	b->began = s->child > 0;
	return b->began;
}

static void on_state(void *ctx, const char *line)
{
	struct bt *b = ctx;

	buf_printf(&b->state, "%s\n", line);
}

static enum status judge(const struct bt *b, const struct session *s)
{
	int how = s->child_status;
	bool lost = !b->began || (WIFEXITED(how) && WEXITSTATUS(how) == CHILD_LOST);

	if (lost)
		write_all(STDERR_FILENO, b->state.data, b->state.size);
	if (s->diverged)
		return complain(ST_DIVERGED, "%s", s->divergence);
	if (s->failure[0] || s->timed_out || (s->ended && s->end.outcome == VM_HOST_FAILED))
		return session_close(s, NULL, 0);
	if (!lost)
		return WIFEXITED(how) ? (enum status)WEXITSTATUS(how) : complain(ST_HOST, "bt: left before it was done; nothing is known");
	if (s->ended && s->end.outcome == VM_DIVERGED)
		return complain(ST_DIVERGED, "bt: the run diverged: %s; look closer with 'reprise replay --bisect'", s->end.reason);
	if (s->quit && !b->began)
		return complain(ST_HOST, "bt: left on the way; nothing is known");
	return complain(ST_HOST, "bt: the run ended (%s%s%s) %s; look at it with 'reprise replay'", outcome_name(s->end.outcome),
			s->end.reason[0] ? ": " : "", s->end.reason, b->began ? "too early" : "before the point asked for");
}

/*
 * The kernel that was recorded is its own symbols if it is an ELF file.  It
 * may be packed: addr2line gets it as an open file.
 */
static enum status own_symbols(struct bt *b)
{
	const struct buf *kernel = &b->m.image[0];
	const char *trouble = b->m.present[0] ? symbols_of(&b->symbols, kernel->data, kernel->size) : "no kernel";
	int fd;

	if (trouble)
		return complain(ST_USAGE, "bt: the recorded kernel holds no symbols; give its ELF file (Linux's vmlinux) with --symbols");
	fd = memfd_create("kernel", MFD_CLOEXEC);
	if (fd >= 0 && write_all(fd, kernel->data, kernel->size))
		snprintf(b->symbols.path, sizeof(b->symbols.path), "/proc/%d/fd/%d", (int)getpid(), fd);
	return ST_OK;
}

static void describe(const struct bt *b, struct buf *conf)
{
	const char *more = getenv("REPRISE_SESSION"); /* as for replay */

	if (b->o.at)
		buf_printf(conf, "at=%s\n", b->o.at);
	else
		buf_printf(conf, "at=%llu\n", (unsigned long long)b->o.at_insns);
	buf_printf(conf, "timeline_mib=%llu\n", (unsigned long long)(b->o.timeline_bytes / MIB(1)));
	symbols_describe(&b->symbols, conf);
	buf_printf(conf, "%s", more ? more : "");
	buf_add(conf, "", 1);
}

static enum status run(struct bt *b)
{
	struct session s = {
		.muted = true, .timeline_bytes = b->o.timeline_bytes, .relay = &b->relay, .on_debugging = on_debugging,
		.on_debugging_ctx = b, .on_state = on_state, .on_state_ctx = b, .total_insns = b->o.at ? 0 : b->o.at_insns,
	};
	struct buf conf = { 0 };
	enum status st = ST_OK;

	gdbrelay_init(&b->relay);
	if (!b->o.symbols)
		st = own_symbols(b);
	if (!st) {
		describe(b, &conf);
		st = replay_pass(&s, &b->m, &b->sum, &b->o, false, (const char *)conf.data) ? judge(b, &s) : ST_HOST;
	}
	gdbrelay_close(&b->relay);
	buf_free(&conf);
	buf_free(&b->state);
	return st;
}

static enum status recording(struct bt *b, int argc, char **argv)
{
	const struct summary *sum = &b->sum;
	char text[300];
	enum status st = operand_open(&b->o, &b->sum, OPT_BT | OPT_IMAGES | OPT_JSON | OPT_RUN, argc, argv);

	if (st)
		return st;
	st = line_open(&b->sum);
	if (!st)
		st = line_holds_point(sum, &b->o);
	if (!st && b->o.symbols)
		st = symbols_open(&b->symbols, "--symbols", b->o.symbols);
	if (!st) {
		st = machine_from_recording(&b->m, sum, &b->o);
		if (!st) {
			if (summary_trouble(sum, text, sizeof(text)))
				remark("%s: %s", sum->path, text);
			st = run(b);
			machine_free(&b->m);
		}
	}
	symbols_close(&b->symbols);
	summary_free(&b->sum);
	return st;
}

/* ---- a panic ---- */

/*
 * Where a line of a backtrace is.  An address is believed if some function lies
 * as far below it as the line says, and one of that name is known.
 */
static u64 panic_place(const struct functions *functions, const struct panic_frame *f, bool *other_build)
{
	const struct function *at = f->address ? function_at(functions, f->address) : NULL;
	const struct function *named = *f->name ? function_named(functions, f->name, f->offset) : NULL;

	if (f->address && (!*f->name || (at && named && at->at + f->offset == f->address)))
		return f->address;
	if (f->address || !named)
		*other_build = true;
	return named ? named->at + f->offset : f->address;
}

static void print_panic(const struct panic_text *p, const struct symbols *symbols, bool json)
{
	struct stack_line lines[PANIC_FRAMES];
	u64 places[PANIC_FRAMES];
	char *sources[PANIC_FRAMES];
	struct functions functions;
	bool other_build = false;

	functions_read(&functions, &symbols->elf);
	for (size_t i = 0; i < p->n; i++) {
		const struct function *found;

		places[i] = panic_place(&functions, &p->frames[i], &other_build);
		found = function_at(&functions, places[i]);
		lines[i] = (struct stack_line){ .pc = places[i], .function = *p->frames[i].name ? p->frames[i].name : NULL,
						.offset = p->frames[i].offset };
		if (!lines[i].function && found) {
			lines[i].function = found->name;
			lines[i].offset = places[i] - found->at;
		}
	}
	lines_find(symbols->path, places, p->n, sources);
	for (size_t i = 0; i < p->n; i++)
		lines[i].source = sources[i];
	if (json) {
		fputs("{\"panic\": ", stdout);
		json_string(stdout, p->message, strlen(p->message));
		fputs(", \"frames\": ", stdout);
		stack_print_json(stdout, lines, p->n);
		puts("}");
	} else {
		printf("panic: %s\n", p->message);
		stack_print(stdout, lines, p->n);
		if (p->is_cut)
			printf(" ...\n");
	}
	fflush(stdout);
	if (other_build)
		remark("%s: not the build that panicked; give that one with --symbols", symbols->path);
	for (size_t i = 0; i < p->n; i++)
		free(sources[i]);
	functions_free(&functions);
}

static enum status panicked(const struct options *o, struct symbols *symbols)
{
	bool from_stdin = !strcmp(o->panic, "-");
	const char *hypervisor = o->symbols;
	struct panic_text p;
	char path[4096];
	size_t size;
	u8 *text;
	bool good;
	enum status st;

	if (o->noperands)
		return complain(ST_USAGE, "%s: a recording, but --panic reads no recording; leave one of them out", o->operands[0]);
	text = load_file(from_stdin ? "/dev/stdin" : o->panic, "give what the hypervisor said", &size);
	if (!text)
		return ST_USAGE;
	good = panic_parse(&p, (const char *)text, size);
	free(text);
	if (!good)
		return complain(ST_USAGE, "--panic %s: holds no backtrace of the hypervisor; copy what --verbose shows, from \"panic:\" on",
				o->panic);
	if (!hypervisor)
		hypervisor = qemu_hypervisor(path);
	st = hypervisor ? symbols_open(symbols, o->symbols ? "--symbols" : "the hypervisor", hypervisor) : ST_HOST;
	if (!st)
		print_panic(&p, symbols, o->json);
	symbols_close(symbols);
	return st;
}

/* ---- the command ---- */

static enum status bt(int argc, char **argv)
{
	struct bt *b = need(calloc(1, sizeof(*b)));
	enum status st = options_parse(&b->o, OPT_BT | OPT_IMAGES | OPT_JSON | OPT_RUN, argc, argv);

	if (!st)
		st = b->o.panic ? panicked(&b->o, &b->symbols) : recording(b, argc, argv);
	free(b);
	return st;
}

const struct command cmd_bt = {
	.name = "bt",
	.summary = "the stacks at a point of a recorded run, or of a panic",
	.help = "reprise bt [OPTIONS] FILE\n"
		"reprise bt --panic FILE [--symbols ELF] [--json]\n\n"
		"Replays a recording to a point and prints each vCPU's stack there, the innermost\n"
		"function first, through interrupts and exceptions: <interrupt> stands where one came.\n"
		"The kernel's symbols and its call frame information (.eh_frame or, with -g,\n"
		".debug_frame) lead the way, else frame pointers; of a 32-bit kernel frame pointers\n"
		"alone.  Lines of source are shown where addr2line of binutils is installed.\n\n"
		"  --at end            where: at the run's end (the default),\n"
		"       start            before its first instruction,\n"
		"       crash            where it began to fail: at panic(), or at its last instruction,\n"
		"       N                after N instructions, 500M\n"
		"  --symbols ELF       the guest kernel's symbols, Linux's vmlinux; where the kernel\n"
		"                      was put (KASLR) is found out.  Without it: the kernel that was\n"
		"                      recorded, if it is an ELF file with symbols\n"
		"  --json              an array of vCPUs with their frames, for programs\n"
		"  --timeline-mem SIZE memory for checkpoints on the way (default 768M)\n"
		"  --panic FILE        no recording: what the hypervisor said when it panicked, with\n"
		"                      whatever else stands in that file; - is standard input.\n"
		"                      --symbols then is another build of the hypervisor\n\n"
		"  reprise bt a.rpl --symbols vmlinux --at crash\n"
		"  reprise run -v --kernel bzImage 2>&1 | reprise bt --panic -\n\n"
		HELP_IMAGES
		HELP_RUN,
	.run = bt,
};
