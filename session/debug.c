/*
 * debug.c - the mode debug: a recording as a timeline, and GDB on the third
 * serial port; and the mode record with gdb=1, where the run still goes on.  See
 * session.h.
 *
 *   session.conf: gdb_wait=1                 record: until GDB says so, nothing runs
 *                 at=end|begin|crash|COUNT   where the session begins
 *                 arrived=1                  the run begins at its first stored checkpoint, resume_*
 *                 gdb_arch=x86-64|i386|i8086 what GDB is told; absent: as the vCPU runs
 *                 timeline_mib=N             memory for checkpoints
 *                 panic_linear, lstar_linear where the guest's panic function and
 *                                            its SYSCALL entry were linked
 */
#include "gdbstub/gdbstub.h"
#include "kernel/console.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "kernel/mm.h"
#include "kernel/panic.h"
#include "kernel/serial.h"
#include "kernel/time.h"
#include "replay/timeline_impl.h"
#include "session/session.h"

struct debugger {
	struct session *s;
	struct timeline timeline;
	struct checkpoints checkpoints;
	struct replay_boundary replay;
	struct stored_keeper keeper;
	struct gdb *gdb;
	bool serving;
	bool live;             /* the run goes on */
	bool warming;          /* the user is thinking, and we use the time */
	u64 warmed;            /* the count where that was last done, plus 1 */
	bool unattended;       /* ... and is going on while no GDB is there */
	bool started;          /* a GDB was there, or none is waited for */
};

/* --- the third serial port ------------------------------------------------------- */

static size_t link_read(void *ctx unused_arg, void *buf, size_t n)
{
	return serial_read(&com3, buf, n);
}

static void link_write(void *ctx unused_arg, const void *data, size_t n)
{
	serial_write(&com3, data, n);
}

#define LISTEN_NS 20000000UL /* COM3 shares its interrupt with COM1, and a wake-up may be lost */

/* Without a GDB a live run is one like any other. */
static void run_unattended(struct debugger *d)
{
	const struct conditions none = { 0 };
	struct travel r;

	if (timeline_branched(&d->timeline)) /* the branch is gone with who made it */
		timeline_goto_end(&d->timeline);
	d->unattended = true;
	r = timeline_run(&d->timeline, true, &none);
	d->unattended = false;
	if (r.end == TRAVEL_END || r.end == TRAVEL_FAILED)
		d->s->quit = true;
}

#define THINKS 5 /* times LISTEN_NS without a word: GDB itself is not so slow */

static void use_the_time(struct debugger *d)
{
	u64 here = d->s->vm->now.count + 1;

	if (d->warmed == here)
		return;
	d->warming = true;
	timeline_warm(&d->timeline);
	d->warming = false;
	d->warmed = here;
}

static void link_wait(void *ctx)
{
	struct debugger *d = ctx;

	session_listen(d->s);
	d->started |= gdb_attached(d->gdb);
	if (d->live && d->started && !gdb_attached(d->gdb) && !d->s->quit && !d->s->detached && !serial_rx_ready(&com3))
		run_unattended(d);
	for (unsigned n = 0; !d->s->quit && !d->s->detached && !serial_rx_ready(&com3); n++) {
		cpu_wait(LISTEN_NS);
		session_listen(d->s);
		if (n == THINKS)
			use_the_time(d);
	}
}

static bool client_gone(void *ctx)
{
	struct debugger *d = ctx;

	session_listen(d->s);
	return d->s->detached;
}

/* Nothing of the old client may reach the next one, nor the other way round. */
static void client_forgotten(void *ctx)
{
	struct debugger *d = ctx;
	char rest[64];

	while (serial_read(&com3, rest, sizeof(rest)))
		;
	serial_flush(&com3);
	d->s->detached = false;
	control_printf("detached\n");
}

static bool link_quit(void *ctx)
{
	struct debugger *d = ctx;

	session_listen(d->s);
	return d->s->quit;
}

/* --- what the timeline wants ------------------------------------------------------ */

static bool wants_stop(void *ctx)
{
	struct debugger *d = ctx;

	session_listen(d->s);
	if (d->unattended || d->warming)
		return d->s->quit || d->s->detached || serial_rx_ready(&com3);
	return d->s->quit || (d->serving && gdb_wants_stop(d->gdb));
}

/* A live run is over: the recording gets its END, and is one like any other from now on. */
static void run_ended(void *ctx)
{
	struct debugger *d = ctx;

	session_end_recording(d->s, d->s->vm->outcome);
}

static void progress(void *ctx, const struct execpoint *now)
{
	struct debugger *d = ctx;

	if (!d->serving)
		d->s->port.progress(d->s->port.ctx, now);
}

/* --- where it begins ----------------------------------------------------------------- */

static enum gdb_arch arch_of(const struct session *s)
{
	char name[16];

	if (!conf_get(s->session.data, s->session.size, "gdb_arch", name, sizeof(name)))
		return GDB_BY_MODE;
	return !strcmp(name, "i386") ? GDB_I386 : !strcmp(name, "i8086") ? GDB_I8086 : GDB_X86_64;
}

/* The guest's panic function was called, if it ever was: there; else where the run ended. */
static struct travel go_to_crash(struct debugger *d)
{
	struct text conf = d->s->session;
	u64 panic = session_number(conf, "panic_linear", 0), lstar = session_number(conf, "lstar_linear", 0);
	struct travel r = timeline_goto_end(&d->timeline);
	struct watch entry = { .kind = WATCH_EXEC, .size_bytes = 1 };
	struct conditions c = { .watches = &entry, .nwatches = 1 };
	enum vm_outcome how = d->s->vm->outcome;

	if (!panic || how == VM_TRIPLE_FAULT || how == VM_UNHANDLED || how == VM_DEBUG_EXIT || how == VM_POWERED_OFF)
		return r;
	if (lstar && d->s->vm->vcpu[0].cpu.lstar)
		panic += d->s->vm->vcpu[0].cpu.lstar - lstar;
	entry.at = panic;
	r = timeline_run(&d->timeline, false, &c);
	return r.end == TRAVEL_HIT ? r : timeline_goto_end(&d->timeline);
}

static void begin(struct debugger *d)
{
	struct vm *vm = d->s->vm;
	char where[32];
	struct travel r;

	if (d->live)
		r = (struct travel){ .end = TRAVEL_ARRIVED };
	else if (!conf_get(d->s->session.data, d->s->session.size, "at", where, sizeof(where)) || !strcmp(where, "end"))
		r = timeline_goto_end(&d->timeline);
	else if (!strcmp(where, "crash"))
		r = go_to_crash(d);
	else if (!strcmp(where, "begin"))
		r = timeline_goto(&d->timeline, 0);
	else
		r = timeline_goto(&d->timeline, session_number(d->s->session, "at", 0));
	if (r.end == TRAVEL_FAILED)
		session_fail(timeline_trouble(&d->timeline));
	control_printf("debugging insns=%lu vtime_ns=%lu rip=0x%lx cr3=0x%lx lstar=0x%lx bits=%u end=%d\n", vm->now.count,
		       vm->now.vtime_ns, vm->vcpu[0].cpu.rip, vm->vcpu[0].cpu.cr3, vm->vcpu[0].cpu.lstar,
		       cpu_code_bits(&vm->vcpu[0].cpu), timeline_at_end(&d->timeline));
}

/* The recording's reader at the beginning of the run, whether it was recorded or is going to be. */
static void open_line(struct debugger *d)
{
	struct session *s = d->s;

	if (d->live)
		session_start_recording(s, "recording", &d->timeline.live_port);
	session_open_recording(s);
	replay_boundary_init_line(&d->replay, &d->timeline.port, &s->line);
}

static void make_timeline(struct debugger *d)
{
	struct session *s = d->s;
	const struct timeline_host host = { wants_stop, progress, &s->port, run_ended, d };
	err_t err;
	u64 pool_bytes = MIB(session_number(s->session, "timeline_mib", 256));
	void *pool = page_alloc(pool_bytes / PAGE_SIZE);

	if (!pool)
		session_fail("out of memory for checkpoints; give less with --timeline-mem");
	timeline_prepare(&d->timeline, &host);
	open_line(d);
	session_make_vm(s, d->live ? &s->boundary.record.b : &d->replay.b);
	session_leave_at(s, &d->replay);
	replay_follow(&d->replay, s->vm);
	if (session_number(s->session, "arrived", 0)) /* there the run begins */
		session_resume(s, &d->replay);
	err = checkpoints_init(&d->checkpoints, s->vm, &d->replay, pool, pool_bytes);
	if (!err && d->live)
		err = timeline_init_live(&d->timeline, s->vm, &s->boundary.record, &d->replay, &d->checkpoints);
	else if (!err)
		err = timeline_init(&d->timeline, s->vm, &d->replay, &d->checkpoints);
	if (err)
		session_fail("out of memory for checkpoints; give more with --timeline-mem");
}

/* What was stored while recording saves running there.  It is believed when it has the digest it was stored with. */
static void load_stored(struct debugger *d)
{
	struct session *s = d->s;
	struct checkpoints *cs = &d->checkpoints;
	struct stored_sink sink = stored_keep(&d->keeper, cs, s->reader);
	u64 count = session_number(s->session, "resume_insns", 0);
	bool end = session_number(s->session, "resume_end", 0);
	struct checkpoint *c;
	err_t err;

	if (!session_seek_stored(s))
		return;
	d->keeper.stage = s->line.n - 1;
	err = stored_load(s->reader, count, end, &sink);
	stored_forget(&d->keeper);
	if (err == ERR_NO_MEMORY && go_back(&d->timeline, checkpoint_before(cs, 0)))
		return; /* more than there is room for: as if there were none */
	if (err)
		session_fail("the stored checkpoints cannot be read");
	if (end) {
		cs->end_outcome = (enum vm_outcome)session_number(s->session, "end_outcome", VM_POWERED_OFF);
		cs->end_guest_exit = (u32)session_number(s->session, "end_guest_exit", 0);
	}
	c = end ? &cs->end : checkpoint_before(cs, count);
	if (!go_back(&d->timeline, c) || vm_digest(s->vm) != c->digest)
		session_fail("the stored checkpoints are not of this machine; debug a copy without: reprise pack");
	d->timeline.end_known = end;
	d->timeline.end_count = c->at.count;
	d->timeline.end_digest = c->digest;
}

/*
 * Not before: a way back reads what the disks' images held before the run.  The
 * machine may stand anywhere.
 */
static void commit(struct debugger *d)
{
	struct session *s = d->s;

	if (!session_commits(s) || s->end.outcome == VM_HOST_FAILED)
		return;
	if (!d->timeline.at_frontier)
		timeline_goto_end(&d->timeline);
	if (d->timeline.at_frontier || timeline_at_end(&d->timeline)) {
		session_commit_disks(s);
		return;
	}
	s->end.outcome = VM_HOST_FAILED;
	ksnprintf(s->end.reason, sizeof(s->end.reason), "its disks were not written: the debugger was left on its way; the recording is complete");
}

noreturn_fn void session_debug(struct session *s)
{
	struct debugger *d = session_memory(sizeof(*d));
	const struct gdb_link link = { link_read, link_write, link_wait, client_gone, client_forgotten, link_quit, d };

	if (!com3.present)
		session_fail("there is no third serial port for the debugger; start the hypervisor with the reprise command");
	serial_rx_irq_enable(&com3);
	d->s = s;
	d->live = !strcmp(s->mode, "record");
	d->started = d->live && !session_number(s->session, "gdb_wait", 0);
	make_timeline(d);
	d->gdb = session_memory(gdb_size());
	gdb_init(d->gdb, &d->timeline, &link, arch_of(s));
	if (!d->live && !session_number(s->session, "arrived", 0))
		load_stored(d);
	begin(d);
	d->serving = true;
	if (!s->quit)
		gdb_serve(d->gdb);
	serial_flush(&com3);
	if (d->live && d->timeline.recording) { /* left where it has come to */
		timeline_goto_end(&d->timeline);
		if (d->timeline.at_frontier)
			session_end_recording(s, VM_QUIT);
		else /* no END is better than a false one: the recording counts as cut */
			s->end = (struct rec_end){ .outcome = VM_HOST_FAILED, .insns = s->vm->now.count };
	}
	session_flush_output(s);
	if (d->live) {
		commit(d);
		session_report_disks(s);
		session_say_end(&s->end);
	} else {
		control_printf("end outcome=quit guest_exit=0 insns=%lu vtime_ns=%lu exits=0 inputs=0 input_bytes=0 "
			       "digest=0 reason=\"the debugger left\"\n", s->vm->now.count, s->vm->now.vtime_ns);
	}
	console_flush();
	machine_exit(0);
}
