/*
 * fork.c - the mode fork: out of a point of a recording, a live VM; or many, one
 * after the other, from one image.  See session.h.
 *
 *   session.conf: fork_at=COUNT                 the point
 *                 new_jitter=NS, new_seed=N     of the fork's timers [vmm/vclock.h]
 *                 child=1                       it is recorded, on the disk "child"
 *                 fork_count=N                  many: seeds from new_seed on, without a
 *                                               terminal; the bundle's file "input" is typed
 *                 timeline_mib=N                many: memory for images
 */
#include "kernel/bundle.h"
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/mm.h"
#include "kernel/panic.h"
#include "replay/checkpoint.h"
#include "session/session.h"

struct typist {
	const u8 *text;
	size_t size, at;
	struct session *s;
};

struct forks {
	struct session *s;
	struct replay_boundary parent;
	struct checkpoints checkpoints;
	struct host_port port;      /* of many: the typist, and nobody who reads */
	struct typist typist;
	struct live_boundary live;
};

/* --- to the point ------------------------------------------------------------------ */

static u64 pause_here(struct vm *vm, void *ctx unused_arg)
{
	vm->pause = true;
	return NO_STOP;
}

static void go_to_point(struct forks *f)
{
	struct session *s = f->s;
	struct vm *vm;
	u64 at = session_number(s->session, "fork_at", 0);

	session_open_recording(s);
	replay_boundary_init_line(&f->parent, &s->port, &s->line);
	f->parent.show_from = NO_STOP;
	session_make_vm(s, &f->parent.b);
	vm = s->vm;
	session_leave_at(s, &f->parent);
	replay_follow(&f->parent, vm);
	session_resume(s, &f->parent);
	vm_add_stop(vm, at, pause_here, NULL);
	vm_run(vm);
	if (f->parent.diverged.found)
		session_fail("the replay diverged before the point; look at it with reprise replay");
	if (vm->outcome != VM_RUNNING)
		session_fail("the recorded run ends before the point, or at it; give an earlier one");
	vm->pause = false;
	/* What left the recorded run later has no part in this one. */
	if (f->parent.fork)
		f->parent.fork->at = NO_STOP;
	if (f->parent.left)
		f->parent.left->at = NO_STOP;
	control_printf("forked insns=%lu vtime_ns=%lu sequence=%lu digest=%016lx\n", vm->now.count, vm->now.vtime_ns,
		       vm->now.sequence, vm_digest(vm));
}

static void set_timers(struct forks *f, u64 seed)
{
	vclock_set_jitter(&f->s->vm->clock, session_number(f->s->session, "new_jitter", 0), seed);
}

/* --- one, on the terminal -------------------------------------------------------------- */

static enum vm_outcome run_one(struct forks *f)
{
	struct session *s = f->s;

	if (session_number(s->session, "child", 0)) {
		s->vm->boundary = session_start_recording(s, "child", &s->port);
		s->boundary.record.stage = s->line.n;
	} else {
		live_boundary_init(&f->live, &s->port);
		s->vm->boundary = &f->live.b;
	}
	set_timers(f, session_number(s->session, "new_seed", 0));
	return vm_run(s->vm);
}

/* --- many -------------------------------------------------------------------------------- */

static size_t type(void *ctx, void *buf, size_t n)
{
	struct typist *t = ctx;

	n = MIN(n, t->size - t->at);
	memcpy(buf, t->text + t->at, n);
	t->at += n;
	return n;
}

static bool typed_all(void *ctx)
{
	struct typist *t = ctx;
	return t->at == t->size;
}

static void unread(void *ctx unused_arg, const void *data unused_arg, size_t n unused_arg)
{
}

static bool wants_to_leave(void *ctx)
{
	struct typist *t = ctx;

	session_listen(t->s);
	return t->s->quit;
}

static u64 no_wait(void *ctx unused_arg, u64 max_ns)
{
	return max_ns;
}

static void no_progress(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
}

static u64 pages_changed(struct vm *vm)
{
	u64 n = 0;

	for (unsigned j = 0; j < vm_nmemories(vm); j++) {
		const struct guest_memory *m = vm_memory(vm, j);

		for (unsigned i = 0; i < m->nchunks; i++)
			for (unsigned k = 0; m->chunk[i] && k < CHUNK_PAGES / 64; k++)
				n += (u64)__builtin_popcountl(m->chunk[i]->changed[k]);
	}
	return n;
}

/* The n-th, from 0: back to the point, run to its end, and kept: all of them are there at once, sharing what they have alike. */
static void run_nth(struct forks *f, unsigned n, const struct checkpoint *point, struct memory_image *kept)
{
	struct session *s = f->s;
	struct vm *vm = s->vm;
	u64 seed = session_number(s->session, "new_seed", 0) + n, start = rdtsc(), ready, digest, pages, free_before;
	struct checkpoints *cs = &f->checkpoints;

	control_printf("forking n=%u\n", n + 1);
	if (checkpoint_restore_machine(cs, point))
		session_fail("out of memory for the forks; give more with --timeline-mem");
	f->typist.at = 0;
	live_boundary_init(&f->live, &f->port);
	vm->boundary = &f->live.b;
	set_timers(f, seed);
	ready = rdtsc();
	control_printf("forked n=%u\n", n + 1);
	vm_run(vm);
	digest = vm_digest(vm);
	pages = pages_changed(vm);
	free_before = cs->pool.nfree;
	if (images_take(cs, kept))
		session_fail("out of memory for the forks; give more with --timeline-mem");
	control_printf("fork n=%u seed=%lu outcome=%s guest_exit=%u insns=%lu vtime_ns=%lu digest=%016lx fork_insns=%lu "
		       "pages_written=%lu frames_own=%lu\n", n + 1, seed, session_outcome_name(vm->outcome), vm->guest_exit,
		       vm->now.count, vm->now.vtime_ns, digest, ready - start, pages, free_before - cs->pool.nfree);
}

static void run_many(struct forks *f, unsigned count)
{
	struct session *s = f->s;
	u64 pool_bytes = MIB(session_number(s->session, "timeline_mib", 256));
	void *pool = page_alloc(pool_bytes / PAGE_SIZE);
	unsigned each = vm_nmemories(s->vm);
	struct memory_image *kept = session_memory(sizeof(*kept) * each * count);
	struct checkpoint *point;

	if (!pool || checkpoints_init(&f->checkpoints, s->vm, &f->parent, pool, pool_bytes))
		session_fail("out of memory for images; give less with --timeline-mem");
	point = checkpoint_take(&f->checkpoints);
	if (!point)
		session_fail("out of memory for the point's image; give more with --timeline-mem");
	f->typist.s = s;
	if (bundle_find(s->bundle.data, s->bundle.size, "input", &f->typist.text, &f->typist.size))
		f->typist.size = 0;
	f->port = (struct host_port){ .console_read = type, .console_write = unread, .ended = typed_all,
				      .quit = wants_to_leave, .wait = no_wait, .progress = no_progress, .ctx = &f->typist };
	for (unsigned n = 0; n < count && !s->quit; n++)
		run_nth(f, n, point, &kept[n * each]);
	control_printf("# images of the point and %u forks: %lu of %lu KiB\n", count,
		       (u64)(f->checkpoints.pool.npages - f->checkpoints.pool.nfree) * 4, (u64)f->checkpoints.pool.npages * 4);
}

noreturn_fn void session_fork(struct session *s)
{
	struct forks *f = session_memory(sizeof(*f));
	unsigned count = (unsigned)session_number(s->session, "fork_count", 1);
	enum vm_outcome outcome = VM_QUIT;

	f->s = s;
	go_to_point(f);
	if (count > 1)
		run_many(f, count);
	else
		outcome = run_one(f);
	session_end_recording(s, outcome);
	session_flush_output(s);
	session_say_end(&s->end);
	console_flush();
	machine_exit(0);
}
