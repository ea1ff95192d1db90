/*
 * run.c - the vCPU loop: a VM's whole life, from point to point.
 *
 * Each turn of the loop does, in this order and nowhere else [docs/TIME.md]:
 *
 *   1  timers due at this point fire
 *   2  at a poll point, or woken from idleness: inputs enter
 *   3  stops asked for from above look; at an epoch's end: the digest
 *   4  a halted vCPU wakes, or virtual time jumps
 *   5  the highest pending interrupt is offered
 *   6  the guest runs to the next point where any of this can change
 *   7  the exit is handled
 *
 * Reads and changes: one struct vm.  Must never touch a host clock: where the
 * guest stops is decided by counts and virtual time only.
 */
#include "vmm/vm.h"

#define VTIME_MAX (1UL << 62)
/*
 * A guest that exits at every instruction takes minutes to a poll point: the operator is heard before, and
 * so is a pair's other host, which takes one for dead that says nothing for 150 ms.  So many exits, and what
 * the guest did between them, have taken 92 ms on a busy computer.
 */
#ifndef MAX_UNASKED_EXITS /* the unit tests' guests are short */
#define MAX_UNASKED_EXITS 128
#endif
/* Entries in which nothing retires: a page fault of ours for each page an instruction touches, never so many. */
#define MAX_STALLED 1000

static void set_now(struct vm *vm, u64 count)
{
	if (count != vm->now.count)
		vm->stalled = 0;
	vm->now.count = count;
	vm->now.vtime_ns = count * vm->config.ns_per_insn + vm->idle_ns;
	vm->clock.now_ns = vm->now.vtime_ns;
}

void vcpu_count_one(struct vcpu *v)
{
	v->vm->stats.guest_insns++;
	set_now(v->vm, v->vm->now.count + 1);
}

void vcpu_retire(struct vcpu *v, unsigned insn_bytes)
{
	cpu_retire(&v->cpu, insn_bytes);
	vcpu_count_one(v);
}

/* Everything the boundary has for this very point enters the machine. */
static void take_inputs(struct vm *vm)
{
	struct input_room room;
	struct input in;

	while (room = board_input_room(&vm->board), vm->boundary->ops->next_input(vm->boundary, &vm->now, &room, &in)) {
		vm->now.sequence++;
		vm->stats.inputs++;
		vm->stats.input_bytes += in.size;
		board_input(&vm->board, &in);
	}
}

/*
 * Where a machine may be left and gone on with elsewhere (a stored checkpoint, a
 * pair's copy, another VM's turn), nothing of it may be where it cannot be saved.
 */
static void clear_unsaved(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.ncpus && vm->config.x87_cleared; i++)
		vm->virt->clear_x87_pointers(&vm->vcpu[i]);
}

static void note_asked(struct vm *vm)
{
	vm->asked_at = vm->now.count;
	vm->unasked_exits = 0;
}

/* How far the guest may run unasked; NO_STOP: to the next poll point. */
static u64 insns_unasked(const struct vm *vm)
{
	u64 within = vm->boundary->ask_within_insns, since = vm->now.count - vm->asked_at;

	return !within ? NO_STOP : within > since ? within - since : 0;
}

/* The guest has exited: whether the boundary is asked, since it is no trouble now. */
static bool asks_here(struct vm *vm)
{
	return ++vm->unasked_exits >= MAX_UNASKED_EXITS || vm->boundary->ask_at_exits || !insns_unasked(vm);
}

static void poll(struct vm *vm)
{
	enum vm_outcome o;

	clear_unsaved(vm);
	vm->next_poll = (vm->now.count / vm->config.poll_insns + 1) * vm->config.poll_insns;
	note_asked(vm);
	take_inputs(vm);
	o = vm->boundary->ops->poll(vm->boundary, &vm->now);
	if (o != VM_RUNNING)
		vm_stop(vm, o, "%s", "");
}

/*
 * Between poll points the boundary may end the run, too, but not just here: the
 * last exit may have left an instruction half done, which a replay that stops
 * at this count has not begun.  One instruction on, both have done the same.
 * Where a cut recording ends is asked at poll points alone: they are the same
 * from wherever a replay begins, and these are not.
 */
static void ask_boundary(struct vm *vm)
{
	note_asked(vm);
	if (vm->leave_at != NO_STOP)
		return;
	vm->leave_as = vm->boundary->ops->poll(vm->boundary, &vm->now);
	if (vm->leave_as != VM_RUNNING && vm->leave_as != VM_RECORDING_END)
		vm->leave_at = vm->now.count + 1;
}

static void end_epoch(struct vm *vm)
{
	u64 before = vm->host_counter(), digest;
	enum vm_outcome o;

	vm->next_epoch = (vm->now.count / vm->config.epoch_insns + 1) * vm->config.epoch_insns;
	if (!vm->boundary->ops->wants_digests)
		return;
	digest = vm_digest(vm);
	vm->stats.digest_insns += vm->host_counter() - before;
	vm->stats.epochs++;
	o = vm->boundary->ops->epoch(vm->boundary, &vm->now, digest);
	if (o != VM_RUNNING)
		vm_stop(vm, o, "%s", "");
}

/* The interrupt the vCPU would take next, if its flags allow: left in v->irq_vector. */
static void offer_interrupt(struct vcpu *v)
{
	struct pic *pic = &v->vm->board.pic;

	v->irq_vector = -1;
	v->irq_from_pic = lapic_extint_enabled(&v->lapic) && pic_has_interrupt(pic);
	v->irq_vector = v->irq_from_pic ? pic_pending_vector(pic) : lapic_pending_vector(&v->lapic);
}

static void accept_interrupt(struct vcpu *v)
{
	if (v->irq_from_pic)
		pic_acknowledge(&v->vm->board.pic);
	else
		lapic_accept(&v->lapic, (u8)v->irq_vector);
}

/*
 * Whether a second interrupt would be pending once the offered one is taken:
 * the PIC's next in automatic-EOI or special mask mode, or the LAPIC's beside
 * the PIC's.  Hosts take one an entry, so the vCPU then goes one instruction
 * at a time: else the second would enter wherever the next exit happens to be.
 * (Behind a vector of its own the LAPIC holds back the rest until an EOI,
 * which exits.)
 */
static bool another_waits(const struct vcpu *v)
{
	struct pic after;

	if (v->irq_vector < 0 || !v->irq_from_pic)
		return false;
	after = v->vm->board.pic;
	pic_acknowledge(&after);
	return pic_has_interrupt(&after) || lapic_pending_vector(&v->lapic) >= 0;
}

/*
 * No vCPU can run: virtual time jumps to the next timer, or to the input that
 * comes first.  With neither, the VM is over.
 */
static void idle(struct vm *vm)
{
	u64 deadline = vclock_next(&vm->clock), to;
	const struct input_room room = board_input_room(&vm->board);

	clear_unsaved(vm);
	if (deadline > VTIME_MAX)
		deadline = VTIMER_NEVER; /* 146 years away: nobody waits for it */
	if (vm->config.limit_vtime_ns < deadline)
		deadline = vm->config.limit_vtime_ns;
	to = vm->boundary->ops->idle(vm->boundary, &vm->now, &room, deadline);
	if (to == VTIMER_NEVER) {
		enum vm_outcome o = vm->boundary->ops->poll(vm->boundary, &vm->now);
		if (o != VM_RUNNING)
			vm_stop(vm, o, "%s", "");
		else
			vm_stop(vm, VM_STUCK, "halted, no timer armed and no input to come");
		return;
	}
	vm->idle_ns += to - vm->now.vtime_ns;
	vm->stats.idle_jumps++;
	set_now(vm, vm->now.count);
	vclock_run(&vm->clock);
	take_inputs(vm);
}

/* Instructions from now until virtual time reaches t. */
static u64 insns_until(const struct vm *vm, u64 t)
{
	u64 ns = t > vm->now.vtime_ns ? t - vm->now.vtime_ns : 0;
	return ns / vm->config.ns_per_insn + (ns % vm->config.ns_per_insn != 0);
}

/* How far the guest may run before the loop must look again; 0: it must look now. */
static u64 budget(struct vm *vm)
{
	u64 stop = MIN(MIN(vm->next_poll, vm->next_epoch), MIN(vm->config.limit_insns, vm->leave_at));
	u64 t = MIN(vclock_next(&vm->clock), vm->config.limit_vtime_ns), left;

	for (unsigned i = 0; i < vm->nstops; i++)
		stop = MIN(stop, vm->stops[i].at);
	left = MIN(stop - vm->now.count, insns_unasked(vm));
	if (t != VTIMER_NEVER)
		left = MIN(left, insns_until(vm, t));
	return left;
}

static bool at_limit(struct vm *vm)
{
	if (vm->now.count >= vm->config.limit_insns)
		vm_stop(vm, VM_LIMIT, "instruction limit of %lu reached", vm->config.limit_insns);
	else if (vm->now.vtime_ns >= vm->config.limit_vtime_ns)
		vm_stop(vm, VM_LIMIT, "virtual time limit of %lu ns reached", vm->config.limit_vtime_ns);
	return vm->outcome != VM_RUNNING;
}

/*
 * Which watches this entry has.  One that has stopped the guest before an
 * instruction lets it pass now; and where the guest reaches for the debug
 * registers itself it has them for that instruction.
 */
static void arm_watches(struct vcpu *v, u64 *n)
{
	u64 count = v->vm->now.count;

	v->watch_armed = 0;
	if (!v->nwatches)
		return;
	if (count == v->watch_past || count == v->watch_off)
		*n = 1;
	for (unsigned i = 0; i < v->nwatches && count != v->watch_off; i++)
		if (v->watch[i].kind != SLOT_EXEC || count != v->watch_past || v->watch[i].linear != v->watch_past_at)
			v->watch_armed |= 1U << i;
}

/*
 * Tells who watches.  The instruction that an EXEC slot stopped has not been
 * executed yet; and what the emulator reached counts only when it was done.
 */
static void report_watches(struct vcpu *v, const struct exit *e, bool done)
{
	unsigned slots = (done ? v->watch_touched : 0) | (e->reason == EXIT_WATCH ? e->watch.slots : 0);

	v->watch_touched = 0;
	if (!slots)
		return;
	for (unsigned i = 0; i < v->nwatches; i++)
		if (slots >> i & 1 && v->watch[i].kind == SLOT_EXEC) {
			v->watch_past = v->vm->now.count;
			v->watch_past_at = v->watch[i].linear;
		}
	v->vm->watch_hit(v, slots, v->vm->watch_ctx);
}

/* Runs one vCPU to its next exit, for at most n instructions, and accounts for it. */
static void enter(struct vcpu *v, u64 n, struct exit *e)
{
	struct vm *vm = v->vm;
	bool shadow = v->cpu.interrupt_shadow && !v->exception.valid; /* delivery ends it */
	bool in_shadow = shadow && v->irq_vector >= 0 && !vm->host_keeps_shadow;
	u64 rip = v->cpu.rip;
	bool another;

	/*
	 * Hosts do not all honour a saved interrupt shadow at entry, so it is
	 * kept here: nothing is offered until one more instruction has retired.
	 */
	if (in_shadow)
		v->irq_vector = -1;
	another = another_waits(v);
	if (in_shadow || another)
		n = 1;
	v->cpu.cr8 = lapic_cr8(&v->lapic);
	arm_watches(v, &n);
	vm->virt->run(v, n, e);
	vm->watch_blind |= e->blind;
	vm->stats.guest_insns += e->retired;
	set_now(vm, vm->now.count + e->retired);
	if (e->irq_taken) {
		vm->stats.irqs++;
		accept_interrupt(v);
	}
	/* What was delivered leaves no trace: whether a fault cut its delivery short is not the run's. */
	if (!v->exception.valid)
		v->exception = (struct pending_exception){ 0 };
	/*
	 * An exit before the first instruction (a second-level fault) must not
	 * end the shadow, nor let a second interrupt in before the first one's
	 * handler has begun: a run without that exit does neither.
	 */
	if (!e->retired && ((another && e->irq_taken) || (shadow && v->cpu.rip == rip)))
		v->cpu.interrupt_shadow = 1;
	/* Of instructions that follow each other only the first casts a shadow (STI; MOV SS), exit between them or not. */
	if (shadow && !vm->host_keeps_shadow && e->retired == 1)
		v->cpu.interrupt_shadow = 0;
}

/* A turn with the guest stopped in HLT: wakes it or lets time pass.  True if it may run. */
static bool may_run(struct vcpu *v)
{
	if (!v->cpu.halted)
		return true;
	if (v->irq_vector >= 0 && (v->cpu.rflags & RFLAGS_IF)) {
		v->cpu.halted = 0;
		return true;
	}
	if (!(v->cpu.rflags & RFLAGS_IF))
		vm_stop(v->vm, VM_STUCK, "halted with interrupts disabled at rip 0x%lx", v->cpu.rip);
	else
		idle(v->vm);
	return false;
}

/* Runs the vCPU to the next point that matters. */
static void turn(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct exit e;
	u64 start, n;

	vclock_run(&vm->clock);
	if (vm->now.count >= vm->next_poll)
		poll(vm);
	else if (asks_here(vm))
		ask_boundary(vm);
	if (vm->now.count >= vm->leave_at)
		vm_stop(vm, vm->leave_as, "%s", "");
	for (unsigned i = 0; i < vm->nstops; i++)
		if (vm->now.count >= vm->stops[i].at)
			vm->stops[i].at = vm->stops[i].hit(vm, vm->stops[i].ctx);
	if (vm->outcome == VM_RUNNING && vm->now.count >= vm->next_epoch)
		end_epoch(vm);
	if (vm->outcome != VM_RUNNING || at_limit(vm) || vm->pause)
		return;
	offer_interrupt(v);
	if (!may_run(v))
		return;
	n = budget(vm);
	if (!n)
		return; /* an input armed a timer for this very instant */

	if (++vm->stalled > MAX_STALLED) {
		vm_stop(vm, VM_UNHANDLED, "no instruction completes at rip 0x%lx", v->cpu.rip);
		return;
	}
	start = vm->host_counter();
	if (vm->paging.nstepping) {
		v->irq_vector = -1;
		n = 1;
	}
	enter(v, n, &e);
	if (vm->paging.nstepping && e.reason != EXIT_PAGING)
		vm->paging.ops->step_done(vm);
	n = vm->now.count;
	exit_dispatch(v, &e);
	if (v->nwatches)
		report_watches(v, &e, vm->now.count != n);
	vm->stats.exits[e.reason]++;
	vm->stats.host_insns[e.reason] += vm->host_counter() - start - e.retired;
}

enum vm_outcome vm_run(struct vm *vm)
{
	while (vm->outcome == VM_RUNNING && !vm->pause)
		turn(&vm->vcpu[0]); /* one vCPU now; a schedule in instructions picks among several */
	return vm->outcome;
}
