/*
 * timeline.c - journeys along a recorded run.  See timeline.h.
 *
 * Everything is made of two things: back to a checkpoint, and forward to a
 * count.  Checkpoints are taken on new ground every `spacing` instructions, and
 * closer and closer together before each place the user goes to, so that steps
 * back from there are short.
 *
 *   1  forward and back
 *   2  going to a point
 *   3  running to a condition
 *   4  the surroundings
 *   5  the inputs around here
 */
#include <stdarg.h>

#include "kernel/kfmt.h"
#include "replay/timeline_impl.h"

void timeline_fail(struct timeline *t, const char *fmt, ...)
{
	va_list ap;

	if (t->trouble[0])
		return;
	va_start(ap, fmt);
	kvsnprintf(t->trouble, sizeof(t->trouble), fmt, ap);
	va_end(ap);
}

/* --- 1  forward and back --------------------------------------------------------- */

/* The VM's stop for us: at the target, or one instruction behind where the user asked to stop. */
static u64 arrived(struct vm *vm, void *ctx)
{
	struct timeline *t = ctx;

	if (vm->now.count < t->target && !t->interrupted)
		return t->target;
	vm->pause = true;
	return NO_STOP;
}

enum stopped run_until(struct timeline *t, u64 count)
{
	struct vm *vm = t->vm;

	t->target = count;
	t->stop->at = count;
	vm->pause = false;
	vm_run(vm);
	t->stop->at = NO_STOP;
	if (vm->outcome != VM_RUNNING)
		return STOPPED_AT_END;
	return vm->now.count >= count && !t->interrupted ? STOPPED_AT_COUNT : STOPPED_ON_WAY;
}

bool go_back(struct timeline *t, const struct checkpoint *c)
{
	err_t err;

	if (!frontier_hold(t))
		return false;
	err = c ? checkpoint_restore(t->cs, c) : ERR_INVALID;
	t->vm->boundary = &t->replay->b;
	if (err) {
		t->off_line = true; /* neither there nor where it was: the next journey begins by going back, too */
		timeline_fail(t, "checkpoint: cannot be restored: %s",
			      err == ERR_NO_MEMORY ? "out of memory for the guest's RAM" : "the recording cannot be read");
	}
	return !err;
}

/* How far before a place the user goes to checkpoints are left for the way back. */
static const u64 ladder[] = { 16000000, 2000000, 256000, 32000, 4000, 512 };

/* The next count at which a checkpoint is due on the way to `to`. */
static u64 next_rung(const struct timeline *t, u64 to)
{
	u64 now = t->vm->now.count, next = (now / t->spacing + 1) * t->spacing;

	for (unsigned i = 0; to != NO_STOP && i < ARRAY_SIZE(ladder); i++)
		if (to > ladder[i] && to - ladder[i] > now)
			next = MIN(next, to - ladder[i]);
	return MIN(next, to);
}

/* How an exact run ended is known from now on; and if it did not end well, nothing is. */
static void note_end(struct timeline *t)
{
	struct vm *vm = t->vm;

	if (vm->outcome == VM_DIVERGED || vm->outcome == VM_HOST_FAILED) {
		timeline_fail(t, "%s at instruction %lu: %s",
			      vm->outcome == VM_DIVERGED ? "the replay diverged" : "the host failed", vm->now.count,
			      t->replay->diverged.found ? t->replay->diverged.what : vm->stop_reason);
		return;
	}
	t->end_known = true;
	t->end_count = vm->now.count;
	t->end_digest = vm_digest(vm);
	checkpoint_take_end(t->cs); /* if not: going to the end takes longer */
}

enum stopped travel_to(struct timeline *t, u64 count)
{
	enum stopped how = STOPPED_AT_COUNT;

	while (how == STOPPED_AT_COUNT && t->vm->now.count < count) {
		u64 rung = next_rung(t, count);

		how = run_until(t, rung);
		if (how == STOPPED_AT_COUNT && rung != count)
			checkpoint_take(t->cs); /* none: the way back is longer */
	}
	if (how == STOPPED_AT_END && !t->branched)
		note_end(t);
	return how;
}

/* --- 2  going to a point ------------------------------------------------------------ */

bool timeline_at_end(const struct timeline *t)
{
	return t->vm->outcome != VM_RUNNING;
}

/* Where the run begins: at 0, or where the machine came from another host. */
static u64 begin_count(const struct timeline *t)
{
	return t->cs->sorted[0]->at.count;
}

enum stopped go_to(struct timeline *t, u64 count)
{
	struct vm *vm = t->vm;
	struct checkpoint *c;
	bool ahead;

	count = MAX(count, begin_count(t));
	ahead = !timeline_at_end(t) && vm->now.count <= count && !t->off_line && !t->at_frontier;

	if (t->recording && (count > frontier_count(t) || (count == frontier_count(t) && !t->mid_idle)))
		return frontier_go(t);
	if (!frontier_hold(t)) /* others may be dropped for it */
		return STOPPED_ON_WAY;
	c = count == NO_STOP && t->cs->has_end ? &t->cs->end : checkpoint_before(t->cs, count);
	if (!ahead || c->at.count > vm->now.count) {
		if (!go_back(t, c))
			return STOPPED_ON_WAY;
		t->off_line = false;
	}
	return travel_to(t, count);
}

struct travel settle(struct timeline *t, enum stopped how, enum travel_end end)
{
	struct travel r = { .end = end };

	for (unsigned i = 0; i < t->vm->config.ncpus; i++)
		t->vm->virt->save(&t->vm->vcpu[i], PART_ALL);
	if (t->trouble[0])
		r.end = TRAVEL_FAILED;
	else if (how == STOPPED_ON_WAY)
		r.end = TRAVEL_INTERRUPTED;
	else if (how == STOPPED_AT_END)
		r.end = TRAVEL_END;
	return r;
}

/* A journey begins.  True: from behind a delivery, where no stop stands. */
static bool set_out(struct timeline *t)
{
	bool delivered = t->delivered;

	t->interrupted = t->delivered = false;
	t->trouble[0] = 0;
	if (t->replay->error == ERR_IO) /* perhaps it can be read again: from a checkpoint on */
		t->off_line = true;
	return delivered;
}

struct travel timeline_goto(struct timeline *t, u64 count)
{
	set_out(t);
	t->branched = false;
	return settle(t, go_to(t, count), TRAVEL_ARRIVED);
}

struct travel timeline_goto_end(struct timeline *t)
{
	return timeline_goto(t, NO_STOP);
}

struct travel timeline_step(struct timeline *t, bool forward)
{
	u64 now = t->vm->now.count;
	bool delivered = set_out(t);

	if (forward && timeline_at_end(t))
		return settle(t, STOPPED_AT_END, TRAVEL_END);
	if (forward)
		return settle(t, t->branched ? run_until(t, now + 1) : t->at_frontier ? frontier_run(t, now + 1) : go_to(t, now + 1),
			      TRAVEL_ARRIVED);
	if (t->branched)
		return branch_leave(t);
	if (delivered)
		return settle(t, go_to(t, now), TRAVEL_ARRIVED);
	if (now == begin_count(t))
		return settle(t, STOPPED_AT_COUNT, TRAVEL_BEGIN);
	return settle(t, go_to(t, now - 1), TRAVEL_ARRIVED);
}

err_t timeline_keep(struct timeline *t)
{
	bool nowhere = t->branched || t->off_line || t->delivered || timeline_at_end(t) || (t->at_frontier && t->mid_idle);
	struct checkpoint *c = nowhere ? NULL : checkpoint_take(t->cs);

	if (!c)
		return nowhere ? ERR_INVALID : ERR_NO_MEMORY;
	c->kept = true;
	return OK;
}

void timeline_warm(struct timeline *t)
{
	bool at_end = timeline_at_end(t), was_kept;
	u64 here = t->vm->now.count, rung = ladder[ARRAY_SIZE(ladder) - 1], from;
	const struct checkpoint *before = here ? checkpoint_before(t->cs, here - 1) : NULL;
	struct checkpoint *back;

	if (t->branched || t->delivered || t->at_frontier || t->off_line || !before || here - before->at.count <= rung)
		return;
	from = before->at.count;
	back = !at_end ? checkpoint_take(t->cs) : t->cs->has_end ? &t->cs->end : NULL;
	if (!back)
		return;
	was_kept = back->kept;
	back->kept = true; /* what is taken on the way must not take its place */
	set_out(t);
	go_to(t, from);
	travel_to(t, here);
	t->interrupted = false;
	t->off_line = true;
	settle(t, go_to(t, at_end ? NO_STOP : here), TRAVEL_ARRIVED);
	back->kept = was_kept;
}

/* --- 3  running to a condition --------------------------------------------------------- */

#define CROWD 512            /* hits in a stretch, after which its second half is looked at first */
#define CROWDED_INSNS 8192   /* a stretch this short is looked at to its end */

struct travel arrive(struct timeline *t, const struct scan *s)
{
	enum stopped how = go_to(t, s->count);
	u64 rip = linear_rip(&t->vm->vcpu[0]);
	/* The instruction itself is met before its handler, and coming back behind it. */
	bool other = s->twice && (s->linear == rip) != s->forward;
	u64 linear = other ? s->other_linear : s->linear;
	unsigned watch = other ? s->other_watch : s->watch;
	struct travel r;

	if (how == STOPPED_AT_COUNT && s->c->watches[watch].kind == WATCH_EXEC && rip != linear)
		enter_handler(t, linear);
	r = settle(t, how, TRAVEL_HIT);
	if (r.end == TRAVEL_END) /* the hit was the run's last instruction */
		r.end = TRAVEL_HIT;
	r.watch = watch;
	r.linear = linear;
	return r;
}

struct scan scan_from_here(const struct timeline *t, const struct conditions *c, bool delivered)
{
	u64 here = t->vm->now.count;

	return (struct scan){ .c = c, .forward = true, .low = here + delivered, .high = NO_STOP, .max_hits = NO_STOP,
			      .begun = here, .begun_at = linear_rip(&t->vm->vcpu[0]) };
}

static struct travel run_back(struct timeline *t, const struct conditions *c)
{
	bool at_end = timeline_at_end(t);
	u64 here = t->vm->now.count, to = at_end ? NO_STOP : here, known = at_end ? t->end_digest : 0;
	struct scan s = { .c = c, .high = at_end ? NO_STOP : here };
	struct checkpoint *from;
	u64 crowded = NO_STOP; /* where a stretch begins that is too crowded, and cannot be divided */

	if (t->at_frontier && t->mid_idle) { /* to where a stop at this count stands */
		if (go_to(t, here) != STOPPED_AT_COUNT)
			return settle(t, STOPPED_ON_WAY, TRAVEL_INTERRUPTED);
	}
	if (!at_end) {
		known = vm_digest(t->vm);
		checkpoint_take(t->cs);
	}
	while ((from = checkpoint_before(t->cs, to - 1))) {
		u64 low = from->at.count, insns = (to == NO_STOP ? t->end_count : to) - low;

		s.max_hits = insns > CROWDED_INSNS && low != crowded ? CROWD : NO_STOP;
		t->off_line = true;
		if (!scan_stretch(t, &s, low, to, &known))
			break;
		if (s.crowded) {
			s.found = false;
			t->off_line = false;
			if (!go_back(t, checkpoint_before(t->cs, low)) || travel_to(t, low + insns / 2) == STOPPED_ON_WAY)
				break;
			if (!checkpoint_take(t->cs))
				crowded = low;
			continue;
		}
		if (s.found)
			return arrive(t, &s);
		from = checkpoint_before(t->cs, low); /* may have been dropped meanwhile for others */
		to = low;
		known = from->digest;
		if (from->at.count != low && go_to(t, low) == STOPPED_AT_COUNT)
			known = vm_digest(t->vm);
		if (low == begin_count(t))
			return settle(t, go_to(t, low), TRAVEL_BEGIN);
	}
	/* Interrupted: somewhere on the way, but on the line. */
	t->interrupted = false;
	go_to(t, to == NO_STOP ? here : to);
	return settle(t, STOPPED_ON_WAY, TRAVEL_INTERRUPTED);
}

/* Forward, to where the next digest is known or will be: a checkpoint, or the end of an epoch. */
static u64 next_milestone(const struct timeline *t, const struct checkpoint *known)
{
	u64 epoch = t->vm->config.epoch_insns, now = t->vm->now.count;

	return known ? known->at.count : (now / epoch + 1) * epoch;
}

static struct travel run_ahead(struct timeline *t, const struct conditions *c, bool delivered)
{
	struct scan s = scan_from_here(t, c, delivered);

	while (!timeline_at_end(t) && !t->at_frontier) {
		struct checkpoint *from = checkpoint_take(t->cs), *ahead;
		u64 start = t->vm->now.count, to, known = 0;

		if (!from) {
			timeline_fail(t, "no memory for a checkpoint; give more with --timeline-mem");
			break;
		}
		ahead = checkpoint_behind(t->cs, start);
		if (ahead)
			known = ahead->digest;
		to = next_milestone(t, ahead);
		if (t->recording)
			to = MIN(to, frontier_count(t));
		t->off_line = true;
		if (!scan_stretch(t, &s, start, to, ahead ? &known : NULL)) {
			t->interrupted = false;
			return settle(t, go_to(t, start) == STOPPED_AT_COUNT ? STOPPED_ON_WAY : STOPPED_AT_END, TRAVEL_INTERRUPTED);
		}
		if (s.found)
			return arrive(t, &s);
		/* The fork has done what the run does, or a walk has: it is the run. */
		t->off_line = false;
		if (timeline_at_end(t))
			note_end(t);
		else if (t->recording && to == frontier_count(t))
			frontier_go(t);
	}
	if (t->at_frontier && !t->trouble[0])
		return frontier_search(t, &s);
	return settle(t, STOPPED_AT_END, TRAVEL_END);
}

/*
 * Back from behind a delivery: the instruction it came before, if that is looked
 * for and was begun (a fault's; before an interrupt's nothing was).
 */
static bool meets_instruction(struct timeline *t, const struct conditions *c, struct travel *r)
{
	u64 here = t->vm->now.count, rip = linear_rip(&t->vm->vcpu[0]);
	unsigned i = 0;
	bool begun;

	while (i < c->nwatches && (c->watches[i].kind != WATCH_EXEC || c->watches[i].at != rip))
		i++;
	if (i == c->nwatches)
		return false;
	begun = executes(t, rip);
	*r = settle(t, go_to(t, here), TRAVEL_HIT);
	for (; begun && r->end == TRAVEL_HIT && i < c->nwatches; i++)
		if (c->watches[i].kind == WATCH_EXEC && c->watches[i].at == rip && (!c->holds || c->holds(c->ctx, i))) {
			r->watch = i;
			r->linear = rip;
			return true;
		}
	return r->end != TRAVEL_HIT;
}

struct travel timeline_run(struct timeline *t, bool forward, const struct conditions *c)
{
	bool delivered = set_out(t);
	struct travel r;

	if ((delivered || t->off_line) && !t->branched && !t->at_frontier && !timeline_at_end(t))
		go_to(t, t->vm->now.count); /* from a place where no stop stands, or a journey that failed */
	if (t->trouble[0])
		return settle(t, STOPPED_ON_WAY, TRAVEL_FAILED);
	if (t->branched)
		return forward ? branch_run(t, c) : branch_leave(t);
	if (!c->nwatches && !(forward && t->recording))
		return forward ? settle(t, go_to(t, NO_STOP), TRAVEL_END) : settle(t, go_to(t, 0), TRAVEL_BEGIN);
	if (!c->nwatches && go_to(t, NO_STOP) == STOPPED_ON_WAY)
		return settle(t, STOPPED_ON_WAY, TRAVEL_INTERRUPTED);
	if (!forward && delivered && meets_instruction(t, c, &r))
		return r;
	if (!forward && t->vm->now.count == begin_count(t))
		return settle(t, STOPPED_AT_COUNT, TRAVEL_BEGIN);
	return forward ? run_ahead(t, c, delivered) : run_back(t, c);
}

/* --- 4  the surroundings ------------------------------------------------------------------ */

static size_t nothing_typed(void *ctx unused_arg, void *buf unused_arg, size_t n unused_arg)
{
	return 0;
}

/* What was said then was shown then. */
static void said_before(void *ctx unused_arg, const void *data unused_arg, size_t n unused_arg)
{
}

static bool ended(void *ctx unused_arg)
{
	return true;
}

/*
 * Asked at poll points and now and then between: not a place to stop at, so we stop at the next
 * instruction.  A halted guest may never come to it; where the line is no recorded one, it stops as it is.
 */
bool look_up(void *ctx)
{
	struct timeline *t = ctx;

	if (!t->interrupted && t->host.wants_stop(t->host.ctx)) {
		t->interrupted = true;
		t->stop->at = MIN(t->stop->at, t->vm->now.count + 1);
	}
	if (t->interrupted && t->off_line && t->vm->vcpu[0].cpu.halted)
		t->vm->pause = true;
	return false;
}

static u64 no_wait(void *ctx unused_arg, u64 max_ns)
{
	return max_ns;
}

static void show_progress(void *ctx, const struct execpoint *now)
{
	struct timeline *t = ctx;

	t->host.progress(t->host.ctx, now);
}

#define SPACING 50000000UL

void timeline_prepare(struct timeline *t, const struct timeline_host *host)
{
	*t = (struct timeline){ .host = *host, .spacing = SPACING };
	t->port = (struct host_port){ .console_read = nothing_typed, .console_write = said_before,
				      .ended = ended, .quit = look_up, .wait = no_wait,
				      .progress = show_progress, .ctx = t };
	frontier_prepare(t);
}

err_t timeline_init(struct timeline *t, struct vm *vm, struct replay_boundary *replay, struct checkpoints *cs)
{
	struct checkpoint *first;

	t->vm = vm;
	t->replay = replay;
	t->cs = cs;
	t->stop = vm_add_stop(vm, NO_STOP, arrived, t);
	if (run_until(t, vm->now.count) != STOPPED_AT_COUNT)
		return ERR_INVALID;
	first = checkpoint_take(cs);
	if (!first)
		return ERR_NO_MEMORY;
	first->kept = true;
	return OK;
}

err_t timeline_init_live(struct timeline *t, struct vm *vm, struct record_boundary *recording,
			 struct replay_boundary *replay, struct checkpoints *cs)
{
	t->recording = cs->recording = recording;
	t->at_frontier = true;
	return timeline_init(t, vm, replay, cs);
}

struct vm *timeline_vm(struct timeline *t)
{
	return t->vm;
}

const char *timeline_trouble(const struct timeline *t)
{
	return t->trouble;
}

void timeline_describe(struct timeline *t, void (*print)(void *ctx, const char *line), void *ctx)
{
	const struct checkpoints *cs = t->cs;
	char line[160];

	ksnprintf(line, sizeof(line), "checkpoints: %u of %u, from instruction %lu to %lu", cs->n, MAX_CHECKPOINTS,
		  cs->sorted[0]->at.count, cs->sorted[cs->n - 1]->at.count);
	print(ctx, line);
	ksnprintf(line, sizeof(line), "memory: %lu KiB of %lu in use", (u64)(cs->pool.npages - cs->pool.nfree) * 4,
		  (u64)cs->pool.npages * 4);
	print(ctx, line);
	ksnprintf(line, sizeof(line), "taken: %lu, dropped: %lu, gone back to: %lu, stretches walked: %lu", cs->taken,
		  cs->dropped, cs->restored, t->walked);
	print(ctx, line);
}

/* --- 5  the inputs around here ------------------------------------------------------------- */

/* What was typed as text, a frame in hexadecimal digits: the beginning of it. */
static void print_input(const struct rec_event *ev, char mark, void (*print)(void *ctx, const char *line), void *ctx)
{
	enum { SHOWN = 40, LONGEST = 4 }; /* bytes; what one of them takes */
	static const char *const kinds[] = { [INPUT_CONSOLE] = "console", [INPUT_FRAME] = "frame", [INPUT_DISK] = "disk error",
					     [INPUT_PACKET] = "packet" };
	bool text = ev->input.kind == INPUT_CONSOLE;
	char line[128 + SHOWN * LONGEST];
	int n = ksnprintf(line, 128, "%c %lu  vtime %lu ns  %s, %u byte%s: ", mark, ev->at.count, ev->at.vtime_ns,
			  ev->input.kind < ARRAY_SIZE(kinds) && kinds[ev->input.kind] ? kinds[ev->input.kind] : "input", ev->input.size,
			  ev->input.size == 1 ? "" : "s");

	for (u32 i = 0; i < ev->input.size && i < SHOWN; i++) {
		u8 c = ev->input.data[i];
		const char *fmt = !text ? "%02x" : c >= ' ' && c < 0x7f ? "%c" : "\\x%02x";

		n += ksnprintf(line + n, LONGEST + 1, fmt, c);
	}
	print(ctx, line);
}

/* From the beginning of the recording: inputs `first` to `last`, counted from 0; returns how many lie at or before here. */
static u64 list_inputs(struct timeline *t, u64 first, u64 last, void (*print)(void *ctx, const char *line), void *ctx)
{
	struct lineage *line = &t->replay->line;
	u64 n = 0, past = 0, here = t->branched ? t->branch_count : t->vm->now.count;
	struct rec_event ev;

	if (lineage_seek(line, &t->cs->sorted[0]->place.at))
		return 0;
	while (!lineage_next_event(line, &ev)) {
		if (ev.kind != REC_INPUT || ev.vm)
			continue;
		past += ev.at.count <= here;
		if (n >= first && n <= last && print)
			print_input(&ev, ev.at.count <= here ? ' ' : '>', print, ctx);
		n++;
	}
	return past;
}

void timeline_inputs(struct timeline *t, unsigned n, void (*print)(void *ctx, const char *line), void *ctx)
{
	struct replay_place here;
	u64 past;

	replay_tell(t->replay, &here);
	past = list_inputs(t, 1, 0, NULL, NULL);
	list_inputs(t, past > n ? past - n : 0, past + n - 1, print, ctx);
	if (replay_seek(t->replay, t->vm, &here))
		timeline_fail(t, "the recording cannot be read");
}
