/*
 * live.c - the boundary of an unrecorded VM.
 *
 * Reads and changes: the host port.  An idle VM follows real time while
 * something may still come from outside, and never runs ahead of it; once that
 * has ended it skips from timer to timer.
 */
#include "replay/boundaries.h"

#define NOT_TAKEN (~0U)

static struct live_boundary *live_of(struct boundary *b)
{
	return container_of(b, struct live_boundary, b);
}

/* What was handed out last has been used by now. */
static void let_go(struct live_boundary *l)
{
	if (l->taken) {
		l->taken = false;
		l->fill = 0;
	}
	if (l->taken_nic != NOT_TAKEN) {
		l->host->frame_done(l->host->ctx, l->taken_nic);
		l->taken_nic = NOT_TAKEN;
	}
}

static bool have_console(struct live_boundary *l, const struct input_room *room, struct input *in)
{
	if (!l->fill)
		l->fill = (u32)l->host->console_read(l->host->ctx, l->buf, sizeof(l->buf));
	if (!l->fill || l->fill > room->console)
		return false; /* the machine has room again when the guest has read some */
	*in = (struct input){ .kind = INPUT_CONSOLE, .data = l->buf, .size = l->fill };
	return true;
}

static bool have_packet(struct live_boundary *l, unsigned nic, struct input *in)
{
	*in = (struct input){ .kind = INPUT_PACKET, .instance = (u16)nic };
	in->data = l->host->packet_peek ? l->host->packet_peek(l->host->ctx, nic, &in->size) : NULL;
	return in->data;
}

/* A frame, or what it is to a NIC that takes packets.  Those for one that nobody drives go the way of all unheard frames. */
static bool have_frame(struct live_boundary *l, const struct input_room *room, struct input *in)
{
	for (u32 nics = l->host->frame_peek ? room->nics | room->deaf : 0; nics; nics &= nics - 1) {
		unsigned nic = (unsigned)__builtin_ctz(nics);
		const u8 *frame;
		u32 size;

		if (room->packets & room->nics & BIT(nic) && have_packet(l, nic, in))
			return true;
		while ((frame = l->host->frame_peek(l->host->ctx, nic, &size)) && (room->deaf >> nic & 1))
			l->host->frame_done(l->host->ctx, nic);
		if (frame) {
			*in = (struct input){ .kind = INPUT_FRAME, .instance = (u16)nic, .data = frame, .size = size };
			return true;
		}
	}
	return false;
}

static bool have_input(struct live_boundary *l, const struct input_room *room, struct input *in)
{
	let_go(l);
	return have_console(l, room, in) || have_frame(l, room, in);
}

bool live_has_input(struct live_boundary *l, const struct input_room *room)
{
	struct input in;

	return have_input(l, room, &in);
}

static bool live_next_input(struct boundary *b, const struct execpoint *now unused_arg, const struct input_room *room,
			    struct input *in)
{
	struct live_boundary *l = live_of(b);

	if (!have_input(l, room, in))
		return false;
	l->taken = in->kind == INPUT_CONSOLE;
	l->taken_nic = in->kind == INPUT_CONSOLE ? NOT_TAKEN : in->instance;
	return true;
}

static u64 live_idle(struct boundary *b, const struct execpoint *now, const struct input_room *room, u64 deadline_ns)
{
	struct live_boundary *l = live_of(b);
	u64 at = now->vtime_ns;
	struct input in;

	for (;;) {
		u64 left = deadline_ns - at, waited;

		if (have_input(l, room, &in))
			return at;
		if (l->host->quit(l->host->ctx))
			return VTIMER_NEVER;
		if (l->host->pause && l->host->pause(l->host->ctx))
			return at;
		if (l->host->ended(l->host->ctx))
			return deadline_ns;
		if (!left)
			return at;
		waited = l->host->wait(l->host->ctx, MIN(left, 1000000000UL));
		at += MIN(waited, left);
	}
}

static void live_output(struct boundary *b, const struct execpoint *now unused_arg, const struct output *out)
{
	host_port_output(live_of(b)->host, out);
}

static err_t live_answer(struct boundary *b, const struct execpoint *now unused_arg, enum input_kind kind unused_arg,
			 u16 instance unused_arg, err_t host)
{
	return live_of(b)->host->report_errors ? host : OK;
}

static enum vm_outcome live_epoch(struct boundary *b unused_arg, const struct execpoint *now unused_arg,
				  u64 digest unused_arg)
{
	return VM_RUNNING;
}

static enum vm_outcome live_poll(struct boundary *b, const struct execpoint *now)
{
	struct live_boundary *l = live_of(b);

	l->host->progress(l->host->ctx, now);
	return l->host->quit(l->host->ctx) ? VM_QUIT : VM_RUNNING;
}

static const struct boundary_ops live_ops = {
	.name = "live",
	.next_input = live_next_input,
	.idle = live_idle,
	.output = live_output,
	.answer = live_answer,
	.epoch = live_epoch,
	.poll = live_poll,
};

void live_boundary_init(struct live_boundary *l, const struct host_port *host)
{
	*l = (struct live_boundary){ .b.ops = &live_ops, .host = host, .taken_nic = NOT_TAKEN };
}
