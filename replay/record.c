/*
 * record.c - the boundary of a VM being recorded: live, and written down.
 *
 * An input is queued in the recording before the guest sees it, and committed
 * no later than the next poll point or idle wait.  With --sync no output
 * leaves before everything that led to it is on the disk.
 *
 * A failing medium ends the VM: a recording with a gap would be a lie.
 */
#include "replay/boundaries.h"

static struct record_boundary *record_of(struct boundary *b)
{
	return container_of(b, struct record_boundary, b);
}

static void commit(struct record_boundary *r)
{
	if (!r->pending)
		return;
	r->pending = false;
	if (rec_commit(r->w, r->sync))
		return; /* sticks in the writer: poll reports it */
}

/*
 * Sync: output leaves when the recording holds, on the disk, that the run came
 * as far as where it was made.  A mark says so; without one a replay of the
 * cut recording would end at the last input or digest, before the output.  False:
 * it does not; the VM ends at its next poll, and the output is lost as what led to it is.
 */
static bool mark_output(struct record_boundary *r, const struct execpoint *now)
{
	r->pending = true;
	if (rec_put_mark(r->w, r->vm, now, "output"))
		return false;
	commit(r);
	return !r->w->error;
}

static void release(struct record_boundary *r, const struct execpoint *now)
{
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = r->held, .size = r->held_bytes };

	if (!r->held_bytes || !mark_output(r, now))
		return;
	r->live.b.ops->output(&r->live.b, now, &out);
	r->held_bytes = 0;
}

static bool record_next_input(struct boundary *b, const struct execpoint *now, const struct input_room *room,
			      struct input *in)
{
	struct record_boundary *r = record_of(b);

	if (!r->live.b.ops->next_input(&r->live.b, now, room, in))
		return false;
	r->pending = true;
	return rec_put_input(r->w, r->vm, now, in) == OK;
}

static u64 record_idle(struct boundary *b, const struct execpoint *now, const struct input_room *room, u64 deadline_ns)
{
	struct record_boundary *r = record_of(b);

	release(r, now);
	commit(r);
	if (r->w->error)
		return VTIMER_NEVER;
	return r->live.b.ops->idle(&r->live.b, now, room, deadline_ns);
}

/* Console bytes wait for the next poll point or wait, a frame brings its own commit. */
static void record_output(struct boundary *b, const struct execpoint *now, const struct output *out)
{
	struct record_boundary *r = record_of(b);
	const u8 *bytes = out->data;

	if (r->sync && out->kind == OUTPUT_CONSOLE) {
		for (u32 i = 0; i < out->size; i++) {
			if (r->held_bytes == sizeof(r->held))
				release(r, now);
			r->held[r->held_bytes++] = bytes[i];
		}
		return;
	}
	if (!r->sync || mark_output(r, now))
		r->live.b.ops->output(&r->live.b, now, out);
}

static err_t record_answer(struct boundary *b, const struct execpoint *now, enum input_kind kind, u16 instance, err_t host)
{
	struct record_boundary *r = record_of(b);
	const struct input in = { .kind = kind, .instance = instance, .data = r->held };
	err_t seen = r->live.b.ops->answer(&r->live.b, now, kind, instance, host);

	if (!seen)
		return OK;
	r->pending = true;
	return rec_put_input(r->w, r->vm, now, &in) ? OK : seen;
}

struct replay_place record_tell(struct record_boundary *r, const struct execpoint *now)
{
	struct replay_place at = { 0 };

	release(r, now);
	r->pending = true;
	commit(r);
	at.at.at = r->stage;
	at.at.place = (struct rec_place){ .offset = r->w->end, .chain = r->w->chain };
	memcpy(at.at.place.base, r->w->base, sizeof(at.at.place.base));
	return at;
}

void record_boundary_finish(struct record_boundary *r, const struct execpoint *now)
{
	release(r, now);
}

static enum vm_outcome record_poll(struct boundary *b, const struct execpoint *now)
{
	struct record_boundary *r = record_of(b);

	release(r, now);
	commit(r);
	if (r->w->error)
		return VM_HOST_FAILED;
	return r->live.b.ops->poll(&r->live.b, now);
}

static enum vm_outcome record_epoch(struct boundary *b, const struct execpoint *now, u64 digest)
{
	struct record_boundary *r = record_of(b);

	r->pending = true;
	if (rec_put_digest(r->w, r->vm, now, digest))
		return VM_HOST_FAILED;
	commit(r);
	return VM_RUNNING;
}

static const struct boundary_ops record_ops = {
	.name = "record",
	.wants_digests = true,
	.next_input = record_next_input,
	.idle = record_idle,
	.output = record_output,
	.answer = record_answer,
	.epoch = record_epoch,
	.poll = record_poll,
};

void record_boundary_init(struct record_boundary *r, const struct host_port *host, struct rec_writer *w, u32 vm,
			  bool sync)
{
	*r = (struct record_boundary){ .b.ops = &record_ops, .w = w, .vm = vm, .sync = sync,
					.pending = true /* what was written before the run, too */ };
	live_boundary_init(&r->live, host);
}
