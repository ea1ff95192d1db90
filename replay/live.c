/*
 * live.c - the boundary of an unrecorded VM.
 *
 * Reads and changes: the host port.  An idle VM follows real time while
 * somebody may still type, and never runs ahead of it; once the console has
 * ended it skips from timer to timer.
 */
#include "replay/boundaries.h"

#define NEVER_WOKEN (~0UL)

static struct live_boundary *live_of(struct boundary *b)
{
	return container_of(b, struct live_boundary, b);
}

/* True if there is something to hand out. */
static bool have_input(struct live_boundary *l)
{
	if (l->taken) {
		l->taken = false;
		l->fill = 0;
	}
	if (!l->fill)
		l->fill = (u32)l->host->console_read(l->host->ctx, l->buf, sizeof(l->buf));
	return l->fill;
}

static bool live_next_input(struct boundary *b, const struct execpoint *now unused_arg, u32 max_size, struct input *in)
{
	struct live_boundary *l = live_of(b);

	if (!have_input(l))
		return false;
	if (l->fill > max_size)
		return false; /* the machine has room again when the guest has read some */
	*in = (struct input){ .kind = INPUT_CONSOLE, .data = l->buf, .size = l->fill };
	l->taken = true;
	l->woken_at = NEVER_WOKEN;
	return true;
}

static u64 live_idle(struct boundary *b, const struct execpoint *now, u64 deadline_ns)
{
	struct live_boundary *l = live_of(b);
	u64 at = now->vtime_ns;

	for (;;) {
		u64 left = deadline_ns - at, waited;

		/*
		 * Once a count: if the machine has no room for it, a guest
		 * that stays halted makes none, and time must go on.
		 */
		if (have_input(l) && l->woken_at != now->count) {
			l->woken_at = now->count;
			return at;
		}
		if (l->host->quit(l->host->ctx))
			return VTIMER_NEVER;
		if (l->host->pause && l->host->pause(l->host->ctx))
			return at;
		if (l->host->console_ended(l->host->ctx))
			return deadline_ns;
		if (!left)
			return at;
		waited = l->host->wait(l->host->ctx, MIN(left, 1000000000UL));
		at += MIN(waited, left);
	}
}

static void live_output(struct boundary *b, const struct execpoint *now unused_arg, const void *data, size_t size)
{
	struct live_boundary *l = live_of(b);
	l->host->console_write(l->host->ctx, data, size);
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
	.epoch = live_epoch,
	.poll = live_poll,
};

void live_boundary_init(struct live_boundary *l, const struct host_port *host)
{
	*l = (struct live_boundary){ .b.ops = &live_ops, .host = host, .woken_at = NEVER_WOKEN };
}
