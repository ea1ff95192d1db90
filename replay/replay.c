/*
 * replay.c - the boundary of a VM that runs again from its recording.
 *
 * The next event is always held ready.  The VM asks at the same points it
 * asked at when it was recorded, so an event whose point is passed without
 * being asked for is a divergence, as a digest that differs is.
 *
 * Where a cut or damaged recording ends, so does the replay: what happened
 * after is not known, an input may have been among it.
 */
#include "replay/boundaries.h"
#include "vmm/vm.h"

static struct replay_boundary *replay_of(struct boundary *b)
{
	return container_of(b, struct replay_boundary, b);
}

static void advance(struct replay_boundary *p)
{
	lineage_tell(&p->line, &p->before);
	do {
		p->error = lineage_next_event(&p->line, &p->ev);
		p->have = p->error == OK;
	} while (p->have && p->ev.vm != 0);
}

const struct rec_end *replay_recorded_end(const struct replay_boundary *p)
{
	const struct rec_reader *r = lineage_last(&p->line);

	for (u32 i = 0; i < r->nends; i++)
		if (r->ends[i].vm == 0)
			return &r->ends[i];
	return NULL;
}

static void differ(struct replay_boundary *p, const struct execpoint *at, const char *what, u64 epoch, u64 expected,
		   u64 got)
{
	if (!p->diverged.found)
		p->diverged = (struct divergence){ .found = true, .what = what, .at = *at, .epoch = epoch,
						   .expected = expected, .got = got };
}

/*
 * On to the next event: an input handed out last time has been used by now.
 * Marks change nothing in the machine, but one still ahead says that the
 * recorded run came that far.
 */
static void refill(struct replay_boundary *p, const struct execpoint *now)
{
	while (p->error == OK && (!p->have || (p->ev.kind == REC_MARK && (p->ev.at.count < now->count ||
									 (p->ev.at.count == now->count &&
									  p->ev.at.vtime_ns <= now->vtime_ns)))))
		advance(p);
}

static bool replay_next_input(struct boundary *b, const struct execpoint *now, const struct input_room *room unused_arg,
			      struct input *in)
{
	struct replay_boundary *p = replay_of(b);
	struct execpoint at = *now;

	refill(p, now);
	if (!p->have || p->ev.kind != REC_INPUT)
		return false;
	at.sequence = p->ev.at.sequence;
	if (execpoint_cmp(&p->ev.at, &at) > 0)
		return false;
	if (execpoint_cmp(&p->ev.at, now) != 0 || p->ev.input.kind == INPUT_DISK) {
		differ(p, now, "an input's point was passed", 0, 0, 0);
		return false;
	}
	*in = p->ev.input; /* lives in the reader until the next question */
	p->have = false;
	if (p->tap && (in->kind == INPUT_FRAME || in->kind == INPUT_PACKET))
		p->tap->frame(p->tap->ctx, now, in->instance, false, in->kind == INPUT_PACKET, in->data, in->size);
	return true;
}

/* Whether the recorded run ended at this very point by a decision from outside. */
static bool operator_left(const struct replay_boundary *p, const struct execpoint *now)
{
	const struct rec_end *e = replay_recorded_end(p);

	return e && e->outcome == VM_QUIT && now->count >= e->insns && now->vtime_ns >= e->vtime_ns;
}

static u64 replay_idle(struct boundary *b, const struct execpoint *now, const struct input_room *room unused_arg,
		       u64 deadline_ns)
{
	struct replay_boundary *p = replay_of(b);
	const struct rec_end *e;

	refill(p, now);
	if (p->have && p->ev.kind == REC_INPUT && p->ev.at.count == now->count && p->ev.at.vtime_ns < now->vtime_ns)
		differ(p, now, "an input's point was passed", 0, 0, 0); /* time never runs backwards to it */
	if (p->diverged.found || p->error == ERR_IO)
		return VTIMER_NEVER;
	if (p->have)
		return p->ev.kind == REC_INPUT && p->ev.at.count == now->count && p->ev.at.vtime_ns < deadline_ns
			? p->ev.at.vtime_ns : deadline_ns;
	e = replay_recorded_end(p);
	if (!e && now->count <= p->known_to)
		return deadline_ns;
	if (!e || operator_left(p, now))
		return VTIMER_NEVER;
	if (e->outcome == VM_QUIT && e->insns == now->count && e->vtime_ns < deadline_ns)
		return e->vtime_ns;
	return deadline_ns;
}

static void replay_output(struct boundary *b, const struct execpoint *now, const struct output *out)
{
	struct replay_boundary *p = replay_of(b);

	if (p->tap && (out->kind == OUTPUT_FRAME || out->kind == OUTPUT_PACKET))
		p->tap->frame(p->tap->ctx, now, out->instance, true, out->kind == OUTPUT_PACKET, out->data, out->size);
	if (now->count >= p->show_from)
		host_port_output(p->host, out);
}

/* Only failures are recorded: what is not, was none, and may be none now. */
static err_t replay_answer(struct boundary *b, const struct execpoint *now, enum input_kind kind, u16 instance,
			   err_t host unused_arg)
{
	struct replay_boundary *p = replay_of(b);

	refill(p, now);
	if (!p->have || p->ev.kind != REC_INPUT || p->ev.input.kind != kind || p->ev.input.instance != instance ||
	    execpoint_cmp(&p->ev.at, now) != 0)
		return OK;
	p->have = false;
	return ERR_IO;
}

static enum vm_outcome replay_poll(struct boundary *b, const struct execpoint *now)
{
	struct replay_boundary *p = replay_of(b);

	p->host->progress(p->host->ctx, now);
	refill(p, now);
	if (p->have && p->ev.kind == REC_INPUT && p->ev.at.count < now->count)
		differ(p, now, "an input's point was passed", 0, 0, 0);
	if (p->diverged.found)
		return VM_DIVERGED;
	if (p->host->quit(p->host->ctx))
		return VM_QUIT;
	if (p->have)
		return VM_RUNNING;
	if (p->error == ERR_IO)
		return VM_HOST_FAILED;
	if (!replay_recorded_end(p))
		return now->count <= p->known_to ? VM_RUNNING : VM_RECORDING_END;
	return operator_left(p, now) ? VM_QUIT : VM_RUNNING;
}

static enum vm_outcome replay_epoch(struct boundary *b, const struct execpoint *now, u64 digest)
{
	struct replay_boundary *p = replay_of(b);

	refill(p, now);
	p->epochs++;
	if (p->have && p->ev.kind == REC_DIGEST && p->ev.at.count == now->count) {
		if (execpoint_cmp(&p->ev.at, now) != 0)
			differ(p, now, "the same instruction count, another virtual time", p->epochs, p->ev.digest, digest);
		else if (p->ev.digest != digest)
			differ(p, now, "the digest differs", p->epochs, p->ev.digest, digest);
		p->have = false;
		if (p->diverged.found)
			return VM_DIVERGED;
		return VM_RUNNING;
	}
	if (!p->have && !replay_recorded_end(p))
		return VM_RECORDING_END;
	differ(p, now, "an epoch ended that the recording does not have", p->epochs, 0, digest);
	return VM_DIVERGED;
}

static const struct boundary_ops replay_ops = {
	.name = "replay",
	.wants_digests = true,
	.next_input = replay_next_input,
	.idle = replay_idle,
	.output = replay_output,
	.answer = replay_answer,
	.epoch = replay_epoch,
	.poll = replay_poll,
};

void replay_boundary_init_line(struct replay_boundary *p, const struct host_port *host, const struct lineage *line)
{
	*p = (struct replay_boundary){ .b.ops = &replay_ops, .host = host, .line = *line };
	advance(p);
}

void replay_boundary_init(struct replay_boundary *p, const struct host_port *host, struct rec_reader *r)
{
	struct lineage line = { 0 };

	if (lineage_add(&line, r, 0, 0))
		replay_boundary_init_line(p, host, &line);
}

static u64 fork_here(struct vm *vm, void *ctx)
{
	struct replay_boundary *p = ctx;
	u64 next;

	if (vm->boundary != &p->b)
		return NO_STOP; /* a branch: another run */
	lineage_apply(&p->line, vm);
	next = lineage_next_fork(&p->line, vm);
	if (next > vm->now.count)
		return next;
	differ(p, &vm->now, "the point of a fork was not met", 0, 0, 0);
	vm_stop(vm, VM_DIVERGED, "%s", "");
	return NO_STOP;
}

void replay_follow(struct replay_boundary *p, struct vm *vm)
{
	lineage_apply(&p->line, vm);
	if (p->line.n > 1)
		p->fork = vm_add_stop(vm, lineage_next_fork(&p->line, vm), fork_here, p);
}

/*
 * A halted machine comes to the recorded time, and to what came last, by
 * idling, and is asked again; one that runs at that count has come too early.
 */
static u64 left_here(struct vm *vm, void *ctx)
{
	struct replay_boundary *p = ctx;

	if (vm->boundary != &p->b)
		return NO_STOP;
	refill(p, &vm->now);
	if (p->have && p->ev.kind == REC_INPUT && p->ev.at.count == vm->now.count && vm->vcpu[0].cpu.halted)
		return vm->now.count;
	if (vm->now.vtime_ns < p->left_vtime_ns) {
		if (vm->vcpu[0].cpu.halted)
			return vm->now.count;
		differ(p, &vm->now, "the run ended at another point", 0, 0, 0);
	}
	vm_stop(vm, VM_QUIT, "%s", "");
	return NO_STOP;
}

void replay_leave_at(struct replay_boundary *p, struct vm *vm, u64 insns, u64 vtime_ns)
{
	p->left_insns = insns;
	p->left_vtime_ns = vtime_ns;
	p->left = vm_add_stop(vm, insns, left_here, p);
}

void replay_tell(const struct replay_boundary *p, struct replay_place *at)
{
	at->ready = p->have || p->error;
	at->epochs = p->epochs;
	if (at->ready)
		at->at = p->before;
	else
		lineage_tell(&p->line, &at->at);
}

err_t replay_seek(struct replay_boundary *p, struct vm *vm, const struct replay_place *at)
{
	err_t e = lineage_seek(&p->line, &at->at);

	if (e)
		return e;
	p->have = false;
	p->error = OK;
	p->epochs = at->epochs;
	p->diverged = (struct divergence){ 0 };
	if (at->ready)
		advance(p);
	if (p->left)
		p->left->at = vm->now.count <= p->left_insns ? p->left_insns : NO_STOP;
	if (p->fork) {
		lineage_apply(&p->line, vm);
		p->fork->at = lineage_next_fork(&p->line, vm);
	}
	return p->error == ERR_IO ? ERR_IO : OK;
}

void replay_check_end(struct replay_boundary *p, enum vm_outcome outcome, u32 guest_exit,
		      const struct execpoint *now, u64 digest)
{
	const struct rec_end *e;

	if (p->diverged.found || outcome == VM_RECORDING_END || outcome == VM_HOST_FAILED)
		return;
	refill(p, now);
	e = replay_recorded_end(p);
	if (!e) {
		/* With nothing left the guest ended by itself before it was looked at again, as it did then. */
		if (outcome != VM_QUIT && p->have)
			differ(p, now, "the run ended before the recording did", 0, 0, digest);
		return;
	}
	if (outcome == VM_QUIT && (e->outcome != VM_QUIT || now->count < e->insns || now->vtime_ns < e->vtime_ns))
		return; /* the operator left the replay */
	if (e->outcome != outcome || e->guest_exit != guest_exit)
		differ(p, now, "the run ended in another way", 0, e->digest, digest);
	else if (e->insns != now->count || e->vtime_ns != now->vtime_ns)
		differ(p, now, "the run ended at another point", 0, e->digest, digest);
	else if (e->digest != digest)
		differ(p, now, "the digest at the end differs", 0, e->digest, digest);
}
