/*
 * frontier.c - the end of a run that still goes on.
 *
 * A VM that is recorded while it is debugged has a past, which is a recording
 * like any other, and a frontier, where it runs on: with the host's console and
 * clock, each input written down before the guest sees it.  Leaving the frontier
 * keeps it as a checkpoint; coming back the VM is live again.
 *
 * Nothing may disturb the live run, so it runs without watches, a little at a
 * time, and what it has just done is scanned in the past.  A hit is therefore a
 * point of the past: the frontier is up to QUANTUM instructions ahead of it.
 */
#include "replay/timeline_impl.h"

#define QUANTUM 20000000UL

u64 frontier_count(const struct timeline *t)
{
	return t->at_frontier ? t->vm->now.count : t->cs->end.at.count;
}

bool frontier_hold(struct timeline *t)
{
	if (!t->at_frontier)
		return true;
	t->stats = t->vm->stats;
	if (!checkpoint_take_end(t->cs)) { /* the machine stays where it is, live */
		timeline_fail(t, "no memory to keep where the machine stands; give more with --timeline-mem");
		t->off_line = false;
		return false;
	}
	t->at_frontier = false;
	t->end_known = true;
	t->end_count = t->cs->end.at.count;
	t->end_digest = t->cs->end.digest;
	t->replay->known_to = t->end_count;
	return true;
}

enum stopped frontier_go(struct timeline *t)
{
	if (t->at_frontier)
		return STOPPED_AT_COUNT;
	if (!go_back(t, &t->cs->end))
		return STOPPED_ON_WAY;
	t->off_line = false;
	t->at_frontier = true;
	t->vm->boundary = &t->recording->b;
	t->vm->stats = t->stats;
	return STOPPED_AT_COUNT;
}

/* The run is over: all of it is recorded now. */
static void note_live_end(struct timeline *t)
{
	t->host.ended(t->host.ctx);
	if (!frontier_hold(t)) { /* all is recorded: going to the end takes longer */
		t->at_frontier = false;
		t->trouble[0] = 0;
	}
	t->recording = t->cs->recording = NULL;
}

enum stopped frontier_run(struct timeline *t, u64 count)
{
	enum stopped how = STOPPED_AT_COUNT;

	while (how == STOPPED_AT_COUNT && t->vm->now.count < count) {
		u64 now = t->vm->now.count, rung = MIN((now / t->spacing + 1) * t->spacing, count);

		t->mid_idle = false;
		how = run_until(t, rung);
		t->unseen |= t->vm->now.count != now || how == STOPPED_AT_END;
		t->mid_idle |= how == STOPPED_ON_WAY && t->vm->vcpu[0].cpu.halted;
		if (how == STOPPED_AT_COUNT && rung != count)
			checkpoint_take(t->cs);
	}
	if (how == STOPPED_AT_END)
		note_live_end(t);
	return how;
}

/*
 * Scans from `from` to the frontier, which was at `begin` before.  True: the
 * search is over, *r says how.  Otherwise the machine is at the frontier again.
 */
static bool search_past(struct timeline *t, struct scan *s, u64 from, u64 begin, struct travel *r)
{
	bool ended = !t->recording;
	u64 to = ended ? NO_STOP : frontier_count(t), known;
	bool look = t->unseen && from < frontier_count(t);

	t->unseen = false;
	if (!look)
		return false;
	if (!frontier_hold(t)) {
		*r = settle(t, STOPPED_ON_WAY, TRAVEL_INTERRUPTED);
		return true;
	}
	known = t->end_digest;
	t->off_line = true;
	if (t->interrupted || !scan_stretch(t, s, from, to, ended || !t->mid_idle ? &known : NULL)) {
		/* Not looked at yet: the user stands where that begins, and the next journey looks. */
		t->interrupted = false;
		go_to(t, t->trouble[0] ? NO_STOP : MAX(from, begin));
		*r = settle(t, STOPPED_ON_WAY, TRAVEL_INTERRUPTED);
		return true;
	}
	if (s->found)
		*r = arrive(t, s);
	else
		go_to(t, NO_STOP);
	return s->found;
}

struct travel frontier_search(struct timeline *t, struct scan *s)
{
	bool watching = s->c->nwatches;
	struct travel r;

	for (;;) {
		const struct checkpoint *c0 = t->mid_idle ? NULL : checkpoint_take(t->cs);
		u64 begin = t->vm->now.count, from = (c0 ? c0 : checkpoint_before(t->cs, begin))->at.count;
		enum stopped how;

		t->unseen = false;
		t->searching = watching;
		how = frontier_run(t, watching ? begin + QUANTUM : NO_STOP);
		t->searching = false;
		if (watching && search_past(t, s, from, begin, &r))
			return r;
		if (how == STOPPED_AT_END || t->interrupted || t->trouble[0])
			return settle(t, how, TRAVEL_ARRIVED);
	}
}

/* --- the live run's surroundings: the host's own, and the user's wish to stop ------------ */

static size_t console_read(void *ctx, void *buf, size_t n)
{
	struct timeline *t = ctx;
	return t->host.live->console_read(t->host.live->ctx, buf, n);
}

static void console_write(void *ctx, const void *data, size_t n)
{
	struct timeline *t = ctx;
	t->host.live->console_write(t->host.live->ctx, data, n);
}

static const u8 *frame_peek(void *ctx, unsigned nic, u32 *size)
{
	struct timeline *t = ctx;
	return t->host.live->frame_peek(t->host.live->ctx, nic, size);
}

static void frame_done(void *ctx, unsigned nic)
{
	struct timeline *t = ctx;
	t->host.live->frame_done(t->host.live->ctx, nic);
}

static void frame_write(void *ctx, unsigned nic, const void *data, u32 size)
{
	struct timeline *t = ctx;
	t->host.live->frame_write(t->host.live->ctx, nic, data, size);
}

static const u8 *packet_peek(void *ctx, unsigned nic, u32 *size)
{
	struct timeline *t = ctx;
	const struct host_port *live = t->host.live;

	return live->packet_peek ? live->packet_peek(live->ctx, nic, size) : NULL;
}

static void packet_write(void *ctx, unsigned nic, const u8 *data, u32 size)
{
	struct timeline *t = ctx;
	const struct host_port *live = t->host.live;

	if (live->packet_write)
		live->packet_write(live->ctx, nic, data, size);
}

static bool ended(void *ctx)
{
	struct timeline *t = ctx;
	return t->host.live->ended(t->host.live->ctx);
}

/* Waiting for the console is a good time to look at what has run, and the only one for a user who wants to stop. */
static bool pause_in_idle(void *ctx)
{
	struct timeline *t = ctx;

	look_up(t);
	if (t->interrupted || (t->searching && t->vm->now.count != t->idle_seen)) {
		t->idle_seen = t->vm->now.count;
		t->mid_idle = true;
		t->vm->pause = true;
	}
	return t->vm->pause;
}

static u64 wait(void *ctx, u64 max_ns)
{
	struct timeline *t = ctx;
	return t->host.live->wait(t->host.live->ctx, max_ns);
}

static void progress(void *ctx, const struct execpoint *now)
{
	struct timeline *t = ctx;
	t->host.live->progress(t->host.live->ctx, now);
}

void frontier_prepare(struct timeline *t)
{
	t->live_port = (struct host_port){ .console_read = console_read, .console_write = console_write,
					   .ended = ended, .quit = look_up, .pause = pause_in_idle,
					   .wait = wait, .progress = progress, .ctx = t };
	if (!t->host.live)
		return; /* a recording: nothing of it is live */
	t->live_port.report_errors = t->host.live->report_errors;
	if (t->host.live->frame_peek) {
		t->live_port.frame_peek = frame_peek;
		t->live_port.frame_done = frame_done;
		t->live_port.frame_write = frame_write;
		t->live_port.packet_peek = packet_peek;
		t->live_port.packet_write = packet_write;
	}
}
