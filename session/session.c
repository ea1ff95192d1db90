/*
 * session.c - what the hypervisor was booted to do: run, record, replay, debug
 * or fork one VM.  See session.h.
 *
 *   1  the modes
 *   2  how it ended
 */
#include "kernel/console.h"
#include "kernel/counter.h"
#include "kernel/cpu.h"
#include "kernel/floatprobe.h"
#include "kernel/kconf.h"
#include "kernel/kfmt.h"
#include "kernel/panic.h"
#include "session/group.h"
#include "vmm/svm/svm.h"

noreturn_fn void session_fail(const char *what)
{
	control_printf("error %s\n", what);
	console_flush();
	machine_exit(1);
}

/* --- 1  the modes ----------------------------------------------------------------- */

static err_t medium_read(void *ctx, u64 offset, void *buf, size_t n)
{
	return blk_read(ctx, offset / REC_SECTOR, buf, (n + REC_SECTOR - 1) / REC_SECTOR);
}

static err_t medium_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	return blk_write_behind(ctx, offset / REC_SECTOR, buf, n / REC_SECTOR);
}

static err_t medium_flush(void *ctx)
{
	return blk_flush(ctx);
}

static bool medium_busy(void *ctx)
{
	return blk_busy(ctx);
}

struct rec_medium session_medium(const struct session *s, const char *name)
{
	char serial[32];
	struct blk *disk;

	session_name(s, name, serial, sizeof(serial));
	disk = blk_find(serial);
	if (!disk)
		session_fail("a disk of the recording is missing (-device virtio-blk-pci,serial=recording); start the hypervisor with the reprise command");
	return (struct rec_medium){ medium_read, medium_write, medium_flush, disk, blk_sectors(disk) * REC_SECTOR, medium_busy };
}

extern const u8 __build_id[]; /* kernel/reprise.ld */

/* The first bytes of the linker's build ID: the same sources and compiler give the same. */
u64 session_build_id(void)
{
	u64 id = 0;

	for (unsigned i = 0; i < 8; i++)
		id = id << 8 | __build_id[16 + i];
	return id;
}

struct boundary *session_start_recording(struct session *s, const char *disk, const struct host_port *port)
{
	struct rec_medium m = session_medium(s, disk);
	char host[256];
	int n;

	s->writer = session_memory(sizeof(*s->writer));
	n = ksnprintf(host, sizeof(host), "counter=%s\nhost_probe=%016lx\nbuild=%016lx\n", host_counter()->kind,
		      s->float_probe, session_build_id());
	if (s->line.n) /* a fork: here it leaves its parent */
		n += ksnprintf(host + n, sizeof(host) - (size_t)n, "parent_point=%lu:%lu:%lu\n", s->vm->now.count,
			       s->vm->now.vtime_ns, s->vm->now.sequence);
	if (rec_writer_open(s->writer, &m, session_number(s->session, "append_offset", 0), session_number(s->session, "append_chain", 0)) ||
	    rec_put_chunk(s->writer, REC_HOST, host, (size_t)n))
		session_fail("the recording cannot be written");
	record_boundary_init(&s->boundary.record, port, s->writer, 0, session_number(s->session, "sync", 0));
	return &s->boundary.record.b;
}

static struct rec_reader *open_reader(struct session *s, const char *disk, u64 offset, u64 chain)
{
	struct rec_medium m = session_medium(s, disk);
	struct rec_reader *r = session_memory(sizeof(*r));

	if (rec_reader_open_at(r, &m, offset, chain))
		session_fail("the recording cannot be read");
	if (!lineage_add(&s->line, r, 0, 0))
		session_fail("a fork of a fork of a fork of ...: too many generations");
	return r;
}

/* parentN_KEY of session.conf. */
static u64 parent_number(struct session *s, unsigned n, const char *key, u64 fallback)
{
	char name[32];

	ksnprintf(name, sizeof(name), "parent%u_%s", n, key);
	return session_number(s->session, name, fallback);
}

/* The recordings a fork's run has behind it, the oldest first. */
static void open_parents(struct session *s)
{
	char disk[16];

	for (unsigned n = 0; n < session_number(s->session, "parents", 0); n++) {
		struct lineage_stage *stage;
		struct execpoint until;

		ksnprintf(disk, sizeof(disk), "parent%u", n);
		open_reader(s, disk, parent_number(s, n, "offset", 0), parent_number(s, n, "chain", 0));
		stage = &s->line.stage[s->line.n - 1];
		stage->jitter_ns = parent_number(s, n, "jitter", 0);
		stage->seed = parent_number(s, n, "seed", 0);
		until = (struct execpoint){ parent_number(s, n, "until", 0), parent_number(s, n, "vtime", 0),
					    parent_number(s, n, "sequence", 0) };
		lineage_fork_at(&s->line, &until);
	}
}

void session_open_recording(struct session *s)
{
	struct lineage_stage *own;

	open_parents(s);
	/* A recording that is being made is read from where its making began. */
	s->reader = open_reader(s, "recording", session_number(s->session, "run_offset", session_number(s->session, "append_offset", 0)),
				session_number(s->session, "run_chain", session_number(s->session, "append_chain", 0)));
	own = &s->line.stage[s->line.n - 1];
	own->jitter_ns = session_number(s->session, "jitter", 0);
	own->seed = session_number(s->session, "fork_seed", 0);
}

void session_leave_at(struct session *s, struct replay_boundary *p)
{
	u64 insns = session_number(s->session, "left_insns", NO_STOP);

	if (insns != NO_STOP)
		replay_leave_at(p, s->vm, insns, session_number(s->session, "left_vtime", 0));
}

static void start_storing(struct session *s)
{
	u64 every = session_number(s->session, "checkpoint_every", 0);

	if (!every)
		return;
	s->stored = session_memory(sizeof(*s->stored));
	stored_start(s->stored, s->vm, s->writer, every);
}

bool session_seek_stored(struct session *s)
{
	struct rec_place at = { .offset = session_number(s->session, "resume_offset", 0),
				.chain = session_number(s->session, "resume_chain", 0) };

	if (!at.offset)
		return false;
	if (rec_seek(s->reader, &at))
		session_fail("the stored checkpoint cannot be read");
	return true;
}

/* --- a replay that begins at a stored checkpoint: straight into the VM --- */

static err_t into_vm_begin(void *ctx, const struct stored_point *p)
{
	struct session *s = ctx;

	if (p->full) /* perhaps not the first */
		session_clear_guest(s);
	s->resumed = *p;
	return OK;
}

static err_t into_vm_page(void *ctx, u64 number, const u8 *data)
{
	struct session *s = ctx;
	struct guest_memory *m = stored_memory(s->vm, number);

	return m ? guestmem_write(m, GPA(stored_frame(number) << PAGE_SHIFT), data, PAGE_SIZE) : ERR_DAMAGED;
}

/* Only the last one's: the ones before it are there for their pages. */
static err_t into_vm_state(void *ctx, const u8 *data, u32 size)
{
	struct session *s = ctx;

	return s->resumed.at.count == session_number(s->session, "resume_insns", 0) ? checkpoint_load_state(s->vm, data, size) : OK;
}

void session_resume(struct session *s, struct replay_boundary *p)
{
	const struct stored_sink sink = { into_vm_begin, into_vm_page, into_vm_state, s };
	struct replay_place place = { 0 };

	if (!session_seek_stored(s))
		return;
	if (stored_load(s->reader, session_number(s->session, "resume_insns", 0), false, &sink))
		session_fail("the stored checkpoint cannot be read");
	place.at.at = s->line.n - 1;
	rec_tell(s->reader, &place.at.place);
	place.epochs = s->resumed.epochs;
	if (replay_seek(p, s->vm, &place) || vm_digest(s->vm) != s->resumed.digest)
		session_fail("the stored checkpoint is not of this machine; replay without --from");
}

static struct boundary *start_replay(struct session *s)
{
	session_open_recording(s);
	replay_boundary_init_line(&s->boundary.replay, &s->port, &s->line);
	s->boundary.replay.show_from = session_number(s->session, "from", 0);
	session_tap_frames(s, &s->boundary.replay);
	return &s->boundary.replay.b;
}

static struct boundary *start_live(struct session *s)
{
	live_boundary_init(&s->boundary.live, &s->port);
	return &s->boundary.live.b;
}

static struct boundary *boundary_for_mode(struct session *s)
{
	if (!strcmp(s->mode, "record"))
		return session_start_recording(s, "recording", &s->port);
	return !strcmp(s->mode, "replay") ? start_replay(s) : start_live(s);
}

void session_prepare(struct session *s)
{
	struct boundary *boundary = boundary_for_mode(s);
	u64 start = rdtsc();

	session_make_vm(s, boundary);
	kprintf("guest loaded in %lu instructions\n", rdtsc() - start);
	if (s->writer)
		start_storing(s);
	if (s->reader) {
		session_leave_at(s, &s->boundary.replay);
		replay_follow(&s->boundary.replay, s->vm);
		session_resume(s, &s->boundary.replay);
	}
}

/* --- 2  how it ended ------------------------------------------------------------------------ */

const char *session_outcome_name(enum vm_outcome o)
{
	static const char *const names[] = {
		[VM_RUNNING] = "running", [VM_POWERED_OFF] = "poweroff", [VM_DEBUG_EXIT] = "debug-exit",
		[VM_RESET] = "reset", [VM_TRIPLE_FAULT] = "triple-fault", [VM_STUCK] = "stuck",
		[VM_UNHANDLED] = "unhandled", [VM_LIMIT] = "limit", [VM_DIVERGED] = "diverged",
		[VM_RECORDING_END] = "recording-end", [VM_QUIT] = "quit", [VM_HOST_FAILED] = "host-failed",
	};
	return names[o];
}

static u64 total_exits(const struct vm *vm)
{
	u64 n = 0;

	for (unsigned i = 0; i < NEXIT; i++)
		n += vm->stats.exits[i];
	return n;
}

/* Figures of the counter itself: what the hypervisor spent, exit by exit; and what the disks refused. */
void session_report(struct session *s, u64 total_host)
{
	const struct vm *vm = s->vm;
	const struct vm_stats *t = &vm->stats;

	control_printf("stat host_insns %lu\n", total_host);
	control_printf("stat guest_insns %lu\n", t->guest_insns);
	control_printf("stat digest_insns %lu\n", t->digest_insns);
	control_printf("stat digest_pages %lu\n", t->digest_pages);
	control_printf("stat epochs %lu\n", t->epochs);
	control_printf("stat idle_jumps %lu\n", t->idle_jumps);
	control_printf("stat output_bytes %lu\n", t->output_bytes);
	for (unsigned i = 0; i < NEXIT; i++)
		if (t->exits[i])
			control_printf("stat exit.%s %lu %lu\n", exit_reason_name((enum exit_reason)i), t->exits[i],
				       t->host_insns[i]);
	for (unsigned i = 0; i < vm->config.nnics; i++)
		control_printf("stat nic%u.lost %lu %lu\n", i, vm->board.pci.nic[i].nlost_rx, vm->board.pci.nic[i].nlost_tx);
	if (s->group)
		group_report(s);
	if (!s->reader) /* of a replay nothing can be changed */
		session_report_disks(s);
}

static bool broken(enum vm_outcome o)
{
	return o == VM_TRIPLE_FAULT || o == VM_UNHANDLED || o == VM_STUCK;
}

void session_end_recording(struct session *s, enum vm_outcome outcome)
{
	struct vm *vm = s->vm;

	s->end = (struct rec_end){ .outcome = outcome, .guest_exit = vm->guest_exit, .insns = vm->now.count,
				  .vtime_ns = vm->now.vtime_ns, .exits = total_exits(vm), .inputs = vm->stats.inputs,
				  .input_bytes = vm->stats.input_bytes, .digest = vm_digest(vm) };
	ksnprintf(s->end.reason, sizeof(s->end.reason), "%s", vm->stop_reason);
	if (!s->writer)
		return;
	record_boundary_finish(&s->boundary.record, &vm->now);
	session_flush_output(s);
	if (s->stored && outcome != VM_HOST_FAILED)
		stored_end(s->stored);
	if (outcome != VM_HOST_FAILED && rec_put_end(s->writer, &s->end, 1))
		s->end.outcome = VM_HOST_FAILED;
	if (blk_settle(s->writer->medium.ctx) || s->writer->error) {
		s->end.outcome = VM_HOST_FAILED;
		ksnprintf(s->end.reason, sizeof(s->end.reason), "the recording could not be written: disk full or failing");
	}
}

void session_say_end(const struct rec_end *e)
{
	control_printf("end outcome=%s guest_exit=%u insns=%lu vtime_ns=%lu exits=%lu inputs=%lu input_bytes=%lu "
		       "digest=%016lx reason=\"%s\"\n",
		       session_outcome_name(e->outcome), e->guest_exit, e->insns, e->vtime_ns, e->exits, e->inputs,
		       e->input_bytes, e->digest, e->reason);
}

/* What a replay came to, against what is recorded. */
static void check_replay(struct session *s)
{
	struct replay_boundary *p = &s->boundary.replay;
	struct divergence *d = &p->diverged;

	replay_check_end(p, s->end.outcome, s->end.guest_exit, &s->vm->now, s->end.digest);
	if (!d->found)
		return;
	s->end.outcome = VM_DIVERGED;
	control_printf("diverged epoch=%lu insns=%lu vtime_ns=%lu expected=%016lx got=%016lx what=\"%s\"\n", d->epoch,
		       d->at.count, d->at.vtime_ns, d->expected, d->got, d->what);
}

void session_play(struct session *s)
{
	u64 start = rdtsc();
	enum vm_outcome outcome = vm_run(s->vm);
	u64 host_insns = s->group ? group_used(s) : rdtsc() - start;

	session_end_recording(s, outcome);
	session_flush_output(s);
	session_end_frames(s);
	if (s->reader)
		check_replay(s);
	if (broken(s->end.outcome))
		inspect_print_state(s->vm, control_printf);
	if (s->writer)
		session_commit_disks(s);
	session_report(s, host_insns);
	session_say_end(&s->end);
}

/* SVM on, counter calibrated; without an exact counter only an unrecorded run is possible. */
static void prepare_host(struct session *s)
{
	struct counter *c = host_counter();
	const char *why;

	if (svm_enable(&why))
		session_fail(why);
	if (selftest_run(&svm_ops, &s->quirks))
		session_fail(c->refusal);
	s->float_probe = float_probe();
}

void hypervisor_main(const struct boot_info *bi)
{
	static struct session session; /* boot area: one a boot */
	struct session *s = &session;

	s->boot = bi;
	if (!bi->nmodules)
		session_fail("no bundle was loaded with the hypervisor; start it with the reprise command");
	s->bundle = (struct blob){ bi->modules[0].data, bi->modules[0].size_bytes };
	s->session = session_text(s, "session.conf");
	s->machine = session_text(s, "machine.conf"); /* of several none has that name */
	if (!conf_get(s->session.data, s->session.size, "mode", s->mode, sizeof(s->mode)))
		session_fail("the bundle has no session.conf with a mode; start the hypervisor with the reprise command");
	prepare_host(s);
	session_port_init(s);
	session_net_init(s, !strcmp(s->mode, "run") || !strcmp(s->mode, "record") || !strcmp(s->mode, "ft"));
	control_printf("ready boot_insns=%lu selftest=ok counter=%s entry_cost=%lu stop_cost=%lu tsc_lead=%lu "
		       "shadow_lost=%d stale_code=%d host_probe=%016lx build=%016lx\n",
		       rdtsc() - bi->entry_tsc, host_counter()->kind, host_counter()->entry_cost,
		       host_counter()->stop_cost, host_counter()->tsc_lead, s->quirks.shadow_lost,
		       s->quirks.stale_code, s->float_probe, session_build_id());
	if (!strcmp(s->mode, "selftest")) {
		control_printf("end outcome=poweroff guest_exit=0 insns=0 vtime_ns=0 exits=0 inputs=0 input_bytes=0 "
			       "digest=0 reason=\"\"\n");
		console_flush();
		machine_exit(0);
	}
	if (!strcmp(s->mode, "debug") || session_number(s->session, "gdb", 0))
		session_debug(s);
	if (!strcmp(s->mode, "fork"))
		session_fork(s);
	if (!strcmp(s->mode, "ft"))
		session_ft(s);
	if (session_number(s->session, "machines", 0))
		session_several(s);
	session_prepare(s);
	session_play(s);
	console_flush();
	machine_exit(0);
}
