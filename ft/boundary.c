/*
 * boundary.c - what the VM's loop calls on a host of a pair.
 *
 *   1  inputs     2  idling     3  outputs     4  answers, digests, stops
 *
 * Each hook asks in its turn: is there a log to execute (I4)?  If not, or if all
 * of it is executed and this host is live (I12), the host's own world answers, and
 * what it says goes into the log before the guest sees it (I2).  A hook may wait;
 * the role may change meanwhile, so it looks again.
 */
#include "ft/pair.h"

#define OUTPUTS_UNSERVED 16
#define RECORDING_LOOK_NS 1000000 /* it wakes nobody */
#define RECORDING_PATIENCE_NS 60000000000UL

/* Where the machine is; nothing enters before (I3). */
static void arrive(struct ft_pair *p, const struct execpoint *now)
{
	p->now = *now;
	if (!ft_follows(p))
		ft_close(p, now->count, now->vtime_ns);
}

/*
 * The log says nothing about this point.  A live host goes on by itself from here
 * (I12); another waits.
 */
static void at_frontier(struct ft_pair *p)
{
	const struct ft_follow *f = &p->follow;

	if (f->ended && !f->have && f->end.outcome != VM_QUIT) {
		ft_diverged(p, "the machine did not end where the primary's did", &p->now, p->epochs, 0, 0);
		return;
	}
	if (p->tail && ft_log_is_over(p)) {
		p->tail = false;
		p->follow.own = false;
		if (p->w && p->w->error == OK && rec_put_mark(p->w, 0, &p->now, "takeover"))
			return; /* sticks in the writer: poll reports it */
		return;
	}
	ft_wait(p, FT_LONG);
}

/* The operator does, while more of the log is awaited: the next poll says so. */
static bool leaves_here(struct ft_pair *p)
{
	if (!p->env->host->quit(p->env->host->ctx))
		return false;
	p->passed_by = FT_PASSED_BY;
	return true;
}

/* --- recording: what this host executes -------------------------------------------- */

/* The medium may take its time, for a file system has other things to do, too: the link is served meanwhile. */
static void wait_for_medium(struct ft_pair *p, u32 size)
{
	const u64 until_ns = ft_now(p) + RECORDING_PATIENCE_NS; /* then the writer fails, and the machine goes elsewhere */

	while (p->w && rec_input_waits(p->w, size) && p->role != FT_STOPPED && ft_now(p) < until_ns)
		ft_wait(p, RECORDING_LOOK_NS);
	p->commit_due = p->w;
}

static void record_input(struct ft_pair *p, const struct execpoint *now, const struct input *in)
{
	wait_for_medium(p, in->size);
	if (p->w && rec_put_input(p->w, 0, now, in))
		return; /* sticks in the writer: poll reports it */
}

static void record_digest(struct ft_pair *p, const struct execpoint *now, u64 digest)
{
	wait_for_medium(p, sizeof(digest));
	if (p->w && rec_put_digest(p->w, 0, now, digest))
		return; /* the same */
}

/* Not while the last is still being written: this host would be silent for as long as that takes. */
static void commit(struct ft_pair *p)
{
	if (!p->commit_due || rec_busy(p->w))
		return;
	p->commit_due = false;
	if (rec_commit(p->w, false))
		return; /* the same */
}

static bool recording_failed(const struct ft_pair *p)
{
	return p->w && p->w->error;
}

/* --- 1  inputs ------------------------------------------------------------------------ */

/* An input, which is no longer than an output can be, must have room in the log, too. */
static bool can_take(const struct ft_pair *p)
{
	return !ft_holds_back(p->role) || ft_log_has_room(&p->ship.log, p->held.longest + FT_LOG_RESERVE);
}

/*
 * Nothing more enters here: what the machine does until it asks again is settled.  If something has entered, the
 * other hears of it now, while the guest is at work on it: what comes of that can leave as soon as it is made.
 */
static void settle(struct ft_pair *p, const struct execpoint *now)
{
	p->settled = (struct ft_point){ now->count, now->vtime_ns + 1 };
	if (ft_follows(p))
		return;
	ft_close(p, now->count, now->vtime_ns + 1);
	if (!p->ship.entered)
		return;
	ft_look(p);
	ft_ship_send(p, ft_now(p));
}

/* The host's own input at this point, written down before the guest sees it. */
static bool own_input(struct ft_pair *p, const struct execpoint *now, const struct input_room *room, struct input *in)
{
	const struct rec_event none = { .kind = REC_INPUT };
	struct rec_event ev = none;

	if (ft_closed(p, now->count, now->vtime_ns) || !can_take(p) ||
	    !p->live.b.ops->next_input(&p->live.b, now, room, in))
		return false;
	ev.at = *now;
	ev.input = *in;
	record_input(p, now, in);
	p->ship.entered = ft_ship_event(p, &ev);
	return true;
}

/* The log's, or this host's own where the log ends. */
static bool find_input(struct ft_pair *p, const struct execpoint *now, const struct input_room *room, struct input *in)
{
	while (ft_follows(p)) {
		enum ft_answer a = ft_follow_input(p, now, in);

		if (a == FT_SOMETHING)
			record_input(p, now, in);
		if (a != FT_NOT_KNOWN)
			return a == FT_SOMETHING;
		if (leaves_here(p))
			return false;
		at_frontier(p);
	}
	return p->role != FT_STOPPED && own_input(p, now, room, in);
}

static bool pair_next_input(struct boundary *b, const struct execpoint *now, const struct input_room *room,
			    struct input *in)
{
	struct ft_pair *p = ft_pair_of(b);
	bool found;

	arrive(p, now);
	if (p->napping) {
		p->napping = false;
		return false;
	}
	ft_ask(p);
	found = find_input(p, now, room, in);
	if (!found)
		settle(p, now);
	return found;
}

/* --- 2  idling -------------------------------------------------------------------------- */

/* As live.c idles, and the link is served meanwhile. */
static u64 own_idle(struct ft_pair *p, const struct execpoint *now, const struct input_room *room, u64 deadline_ns)
{
	const struct host_port *host = p->env->host;
	u64 at = now->vtime_ns, left, waited, late;

	/* A host that has just taken over goes on from its frontier, not from where it halted. */
	if (p->open.count == now->count && p->open.vtime_ns > at)
		at = MIN(p->open.vtime_ns - 1, deadline_ns);
	ft_look(p);
	while (ft_is_live(p->role)) {
		bool closed = ft_closed(p, now->count, at);

		left = deadline_ns - at;
		if (can_take(p) && live_has_input(&p->live, room))
			return closed ? MIN(at + 1, deadline_ns) : at;
		if (host->quit(host->ctx))
			break;
		if (host->ended(host->ctx))
			return deadline_ns;
		if (!left)
			return at;
		if (ft_beat_due(p, ft_now(p)))
			ft_close(p, now->count, at + 1);
		commit(p);
		ft_serve(p);
		ft_copy_step(p);
		ft_copy_stand(p, &(struct execpoint){ now->count, now->vtime_ns, now->sequence });
		waited = ft_sleep(p, MIN(left + p->ahead_ns, p->commit_due ? RECORDING_LOOK_NS : FT_LONG));
		late = MIN(waited, p->ahead_ns);
		p->ahead_ns -= late;
		at += MIN(waited - late, left);
	}
	return VTIMER_NEVER;
}

static u64 idle(struct ft_pair *p, const struct execpoint *now, const struct input_room *room, u64 deadline_ns)
{
	u64 to;

	arrive(p, now);
	if (ft_naps(p, deadline_ns)) {
		p->napping = true;
		if (!ft_follows(p))
			p->ahead_ns = MIN(p->ahead_ns + deadline_ns - now->vtime_ns, FT_NAP_NS);
		return deadline_ns;
	}
	ft_ask(p);
	commit(p);
	while (ft_follows(p) && !recording_failed(p) && !p->env->host->quit(p->env->host->ctx)) {
		if (ft_follow_idle(p, now, deadline_ns, &to) != FT_NOT_KNOWN)
			return to;
		at_frontier(p);
	}
	if (ft_follows(p) || recording_failed(p) || p->role == FT_STOPPED)
		return VTIMER_NEVER;
	return own_idle(p, now, room, deadline_ns);
}

static u64 pair_idle(struct boundary *b, const struct execpoint *now, const struct input_room *room, u64 deadline_ns)
{
	struct ft_pair *p = ft_pair_of(b);
	u64 to = idle(p, now, room, deadline_ns);

	if (to == VTIMER_NEVER)
		p->passed_by = FT_PASSED_BY; /* the next poll asks why */
	return to;
}

/* --- 3  outputs -------------------------------------------------------------------------- */

/* A write may wait for the other's, which is none if that one is not in step (D2): then it is no partner. */
static void wait_for_room(struct ft_pair *p)
{
	if (ft_waits_for_other(p)) {
		ft_wait_for_other(p);
		return;
	}
	p->ship.waited_for = false;
	ft_wait(p, FT_LONG);
}

/*
 * Withheld, held, or gone, as the role has it at that moment: one that has to wait
 * for room looks again.  What a secondary makes may have left the primary already.
 */
static void put_out(struct ft_pair *p, struct output out)
{
	u32 units = ft_units(&out);
	u64 unit = p->made;
	bool done = false;

	while (!done && p->role != FT_STOPPED) {
		if (ft_follows(p) && !ft_rest_of_output(p, &out, &unit))
			break;
		if (ft_holds_back(p->role) || (ft_is_live(p->role) && ft_waits_its_turn(p, &out))) {
			done = ft_held_put(&p->held, &out);
			if (done && ft_foretold(p))
				ft_held_place(&p->held, p->ship.marked_to);
		} else if (ft_is_live(p->role)) {
			host_port_output(p->env->host, &out);
			done = true;
		} else {
			done = ft_withhold(p, &out);
		}
		/* What is made behind the end is said by nobody, and room for it comes no more. */
		if (!done && ft_follows(p) && ft_follow_left(p, &p->now))
			break;
		if (!done)
			wait_for_room(p);
	}
	p->ship.waited_for = false;
	p->made += units;
	if (ft_holds_back(p->role) && ++p->unserved >= OUTPUTS_UNSERVED)
		ft_pump(p); /* a poll point may be far: acknowledgements are heard, the other hears from here */
	else if (ft_holds_back(p->role) && out.kind != OUTPUT_CONSOLE && ft_foretold(p))
		ft_serve_amid(p); /* perhaps it is acknowledged */
	else if (ft_holds_back(p->role))
		ft_ship_send(p, ft_now(p)); /* its mark, at once if few are under way */
}

/* In pieces that can be held; a frame or packet is one. */
static void pair_output(struct boundary *b, const struct execpoint *now, const struct output *out)
{
	const u32 most = out->kind == OUTPUT_CONSOLE ? FT_OUTPUT_MAX / 2 : out->kind == OUTPUT_DISK ? FT_OUTPUT_MAX : out->size;
	struct ft_pair *p = ft_pair_of(b);
	struct output piece = *out;
	u32 left = out->size;

	arrive(p, now);
	do {
		piece.size = MIN(left, most);
		put_out(p, piece);
		left -= piece.size;
		piece.data = (const u8 *)piece.data + piece.size;
		piece.sector += piece.size / 512;
	} while (left);
}

/* --- 4  answers, digests, stops ------------------------------------------------------------ */

static err_t own_answer(struct ft_pair *p, const struct execpoint *now, enum input_kind kind, u16 instance, err_t host)
{
	err_t seen = p->live.b.ops->answer(&p->live.b, now, kind, instance, host);
	const struct input in = { .kind = kind, .instance = instance, .data = p->live.buf };
	const struct rec_event ev = { .kind = REC_INPUT, .at = *now, .input = in };

	p->ship.asked_any = true;
	p->ship.asked_at = ft_point_of(now);
	if (!seen)
		return OK;
	record_input(p, now, &in);
	ft_ship_event(p, &ev);
	return seen;
}

static err_t find_answer(struct ft_pair *p, const struct execpoint *now, enum input_kind kind, u16 instance, err_t host)
{
	while (ft_follows(p)) {
		enum ft_answer a = ft_follow_answer(p, now, kind, instance);

		if (a == FT_SOMETHING)
			record_input(p, now, &(struct input){ .kind = kind, .instance = instance, .data = p->live.buf });
		if (a != FT_NOT_KNOWN)
			return a == FT_SOMETHING ? ERR_IO : OK;
		if (leaves_here(p))
			return OK;
		at_frontier(p);
	}
	return p->role == FT_STOPPED ? OK : own_answer(p, now, kind, instance, host);
}

/* It counts once its answer is in the log: ANSWERED may be written while this waits. */
static err_t pair_answer(struct boundary *b, const struct execpoint *now, enum input_kind kind, u16 instance, err_t host)
{
	struct ft_pair *p = ft_pair_of(b);
	err_t seen;

	arrive(p, now);
	seen = find_answer(p, now, kind, instance, host);
	p->asked++;
	return seen;
}

static enum vm_outcome outcome(struct ft_pair *p, const struct execpoint *now)
{
	if (p->role == FT_STOPPED)
		return p->s.outcome;
	if (recording_failed(p))
		return VM_HOST_FAILED;
	if (ft_follows(p) && ft_follow_left(p, now))
		return VM_QUIT;
	return p->env->host->quit(p->env->host->ctx) ? VM_QUIT : VM_RUNNING;
}

/* A decision to leave waits for the next poll: a replay leaves only there [replay.c]. */
static enum vm_outcome pair_epoch(struct boundary *b, const struct execpoint *now, u64 digest)
{
	struct ft_pair *p = ft_pair_of(b);
	const struct rec_event ev = { .kind = REC_DIGEST, .at = *now, .digest = digest };
	enum vm_outcome o;

	arrive(p, now);
	p->epochs++;
	ft_let_go(p); /* the digest took a while */
	record_digest(p, now, digest);
	commit(p);
	if (ft_follows(p))
		ft_follow_epoch(p, now, digest);
	else
		ft_ship_event(p, &ev);
	ft_copy_stand(p, now);
	o = outcome(p, now);
	return o == VM_QUIT ? VM_RUNNING : o;
}

/* Only here is the machine between two instructions; the loop asks at other times, too [vmm/run.c]. */
static bool at_poll_point(const struct ft_pair *p, const struct execpoint *now)
{
	return now->count % p->c.poll_insns == 0;
}

/* Asked at each exit: if nothing has come, the clock is looked at now and then only. */
static bool passes_by(struct ft_pair *p, const struct execpoint *now)
{
	return p->role != FT_STOPPED && !at_poll_point(p, now) && ++p->passed_by < FT_PASSED_BY && !p->env->waits(p->env->ctx) &&
	       now->count - p->looked_at < p->c.poll_insns / FT_LOOKS;
}

static enum vm_outcome pair_poll(struct boundary *b, const struct execpoint *now)
{
	struct ft_pair *p = ft_pair_of(b);

	if (passes_by(p, now))
		return VM_RUNNING;
	arrive(p, now);
	commit(p);
	p->env->host->progress(p->env->host->ctx, now);
	ft_pump(p);
	if (at_poll_point(p, now))
		ft_begin_interval(p);
	ft_copy_step(p);
	while (ft_must_wait(p) && outcome(p, now) == VM_RUNNING)
		ft_wait_for_other(p);
	p->ship.waited_for = false;
	/* At an epoch's end its digest comes first: pair_epoch is called at this same point. */
	if (at_poll_point(p, now) && now->count % p->c.epoch_insns)
		ft_copy_stand(p, now);
	return outcome(p, now);
}

const struct boundary_ops ft_boundary_ops = {
	.name = "ft",
	.wants_digests = true,
	.next_input = pair_next_input,
	.idle = pair_idle,
	.output = pair_output,
	.answer = pair_answer,
	.epoch = pair_epoch,
	.poll = pair_poll,
};
