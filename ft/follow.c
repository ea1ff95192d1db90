/*
 * follow.c - the other side of a session: the log that is received and executed.
 *
 *   1  beginning     2  what has come     3  what the machine executes
 *   4  outputs     5  answers and timers
 *
 * Two readers go over the same bytes: `ahead` over all that has come, for what
 * is true at once (marks, what left); `exec` over what the machine has come to.
 * Bytes are given back to the stream when `exec` is behind them.
 */
#include "ft/pair.h"

#define HOLE_EVERY_NS 10000000

/* --- 1  beginning ----------------------------------------------------------------- */

void ft_follow_begin(struct ft_pair *p)
{
	struct ft_follow *f = &p->follow;

	memset(f, 0, sizeof(*f));
	ft_receiver_init(&f->rx, p->m.ring, p->m.ring_bytes, FT_RECORD_MAX);
	f->heard_ns = f->began_ns = f->ack_ns = ft_now(p);
	f->told_limit = p->m.ring_bytes;
}

/* --- 2  what has come --------------------------------------------------------------- */

/* Withheld outputs that are known to have left go. */
static void drop_left(struct ft_pair *p)
{
	struct ft_follow *f = &p->follow;
	struct ft_held_front front;

	while (ft_already_left(p, f->dropped) && ft_held_front(&p->held, &front)) {
		u32 units = (u32)MIN(f->known_released - f->dropped, (u64)front.units);

		ft_held_take(&p->held, units);
		f->dropped += units;
	}
}

static void take_record(struct ft_pair *p, const struct ft_record *rec)
{
	struct ft_follow *f = &p->follow;

	switch (rec->kind) {
	case FT_PROGRESS:
		ft_close(p, rec->ev.at.count, rec->ev.at.vtime_ns + 1);
		break;
	case FT_RELEASED:
		f->known_released += rec->n;
		drop_left(p);
		break;
	case FT_ANSWERED:
		f->known_asked += rec->n;
		break;
	case FT_END:
		f->ended = true;
		f->end_at = rec->ev.at;
		f->end = rec->end;
		ft_close(p, rec->ev.at.count, rec->ev.at.vtime_ns);
		break;
	case FT_PAGE:
	case FT_STATE:
	case FT_START:
		ft_copy_take(p, rec);
		break;
	default: /* events: the machine comes to them */
		break;
	}
}

/* While a copy is received nothing is executed: what was read is done with. */
static void read_ahead(struct ft_pair *p)
{
	struct ft_follow *f = &p->follow;
	struct ft_record rec;
	err_t e = OK;

	while (p->role == FT_LOADING || p->role == FT_SECONDARY) {
		e = ft_log_read(&f->ahead, &f->rx, &rec);
		if (e)
			break;
		take_record(p, &rec);
		if (!f->exec.started) {
			f->exec = f->ahead;
			f->rx.taken = f->ahead.at;
		}
	}
	if (e && e != ERR_END) {
		ft_send_bye(p, FT_HOST_FAILED);
		pair_stop(p, VM_HOST_FAILED, "the primary's log makes no sense at byte %lu", f->ahead.at);
	}
}

void ft_follow_data(struct ft_pair *p, const struct ft_message *m, u64 now_ns)
{
	struct ft_follow *f = &p->follow;
	u64 before = f->rx.end;
	bool full = !ft_receiver_room(&f->rx), fresh;

	if (ft_mute(p->role)) {
		f->heard_mute |= (s32)(m->data.offset + m->data.size - (u32)f->rx.end) > 0;
		return;
	}
	fresh = ft_receiver_put(&f->rx, m->data.offset, m->data.data, m->data.size);
	/* With no room for anything new, whatever comes is a sign of life. */
	if (fresh || full) {
		f->heard_ns = now_ns;
		f->probed = false;
		p->env->disregard(p->env->ctx);
	}
	f->ack_due |= m->flags & FT_ASK;
	if (f->rx.end != before)
		read_ahead(p);
}

/* --- 3  what the machine executes ------------------------------------------------------ */

void ft_diverged(struct ft_pair *p, const char *what, const struct execpoint *at, u64 epoch, u64 expected, u64 got)
{
	const struct ft_message m = { .kind = FT_DIVERGED, .session = p->session, .diverged = {
		.epoch = epoch, .count = at->count, .vtime_ns = at->vtime_ns, .expected = expected, .got = got } };

	p->follow.diverged = true;
	p->s.divergence = (struct divergence){ .found = true, .epoch = epoch, .at = *at, .expected = expected, .got = got,
					       .what = what };
	for (unsigned i = 0; i < 3 && p->session; i++) /* may be lost: then silence says the same, later */
		ft_send(p, &m, p->other_at);
	/* A primary that has gone on without this host writes, and what was read here then is none of this run's. */
	p->s.may_join = p->env->disks && p->c.on_divergence == FT_REPROTECT;
	pair_stop(p, VM_DIVERGED, "not the primary's run: %s, epoch %lu, instruction %lu", what, epoch, at->count);
}

static bool same_point(const struct execpoint *a, const struct execpoint *b)
{
	return a->count == b->count && a->vtime_ns == b->vtime_ns;
}

static bool before(const struct execpoint *a, const struct execpoint *b)
{
	const struct ft_point x = ft_point_of(a), y = ft_point_of(b);

	return ft_point_before(&x, &y);
}

/* The log's digest has come for one of our own that was there first. */
static void settle_digest(struct ft_pair *p)
{
	struct ft_follow *f = &p->follow;

	if (!f->own || !f->have)
		return;
	if (f->ev.kind != REC_DIGEST || !same_point(&f->ev.at, &f->own_at))
		ft_diverged(p, "an epoch ended that the log does not have", &f->own_at, f->own_epoch, 0, f->own_digest);
	else if (!ft_digests_agree(f->ev.digest, f->own_digest))
		ft_diverged(p, "the digest differs", &f->own_at, f->own_epoch, f->ev.digest, f->own_digest);
	f->own = false;
	f->have = false;
}

/* On to the next event: what was handed out last has been used by now. */
static void refill(struct ft_pair *p)
{
	struct ft_follow *f = &p->follow;
	struct ft_record rec;

	while (!f->have) {
		f->rx.taken = f->exec.at;
		if (ft_log_read(&f->exec, &f->rx, &rec))
			return; /* not there yet; nonsense was found by `ahead` */
		if (rec.kind != REC_INPUT && rec.kind != REC_DIGEST)
			continue;
		f->ev = rec.ev;
		f->have = true;
		settle_digest(p);
	}
}

static bool is_answer(const struct rec_event *ev)
{
	return ev->kind == REC_INPUT && ev->input.kind == INPUT_DISK;
}

/* Through next_input, that is. */
static bool enters(const struct rec_event *ev)
{
	return ev->kind == REC_INPUT && !is_answer(ev);
}

/*
 * An event whose point lies behind the machine was missed.  So was one ahead if
 * time has come to it before the count has, by a machine that idles where it should
 * not: count and time grow together.
 */
static bool missed(struct ft_pair *p, const struct execpoint *now)
{
	struct ft_follow *f = &p->follow;
	struct ft_point ahead = f->have ? ft_point_of(&f->ev.at) : p->open;
	bool passed = f->have && before(&f->ev.at, now);

	if (!passed && !(ahead.count > now->count && ahead.vtime_ns <= now->vtime_ns))
		return false;
	ft_diverged(p, "an event's point was passed", now, 0, 0, 0);
	return true;
}

/* Where the operator left the primary's run; this machine may have come a little further by then. */
bool ft_follow_left(const struct ft_pair *p, const struct execpoint *now)
{
	const struct ft_follow *f = &p->follow;

	return f->ended && f->end.outcome == VM_QUIT && !before(now, &f->end_at);
}

enum ft_answer ft_follow_input(struct ft_pair *p, const struct execpoint *now, struct input *in)
{
	struct ft_follow *f = &p->follow;

	refill(p);
	if (p->role == FT_STOPPED || missed(p, now))
		return FT_NOTHING;
	if (f->have && same_point(&f->ev.at, now) && enters(&f->ev)) {
		if (f->ev.at.sequence != now->sequence) {
			ft_diverged(p, "an input's place among others differs", now, 0, f->ev.at.sequence, now->sequence);
			return FT_NOTHING;
		}
		*in = f->ev.input;
		f->have = false;
		return FT_SOMETHING;
	}
	return ft_known(p, now) || ft_follow_left(p, now) ? FT_NOTHING : FT_NOT_KNOWN;
}

enum ft_answer ft_follow_idle(struct ft_pair *p, const struct execpoint *now, u64 deadline_ns, u64 *to)
{
	struct ft_follow *f = &p->follow;

	refill(p);
	if (p->role == FT_STOPPED || missed(p, now) || (!f->have && ft_follow_left(p, now))) {
		*to = VTIMER_NEVER;
		return FT_SOMETHING;
	}
	*to = deadline_ns;
	if (f->have) {
		if (f->ev.at.count == now->count && f->ev.at.vtime_ns < deadline_ns) {
			*to = f->ev.at.vtime_ns;
			if (!enters(&f->ev)) /* no epoch ends and nobody asks while the machine idles */
				ft_diverged(p, "the machine idles where it should not", now, 0, 0, 0);
		}
		return FT_SOMETHING;
	}
	if (f->ended && f->end_at.count == now->count && f->end_at.vtime_ns < deadline_ns) {
		*to = f->end_at.vtime_ns > now->vtime_ns ? f->end_at.vtime_ns : VTIMER_NEVER;
		return FT_SOMETHING;
	}
	return deadline_ns && ft_closed(p, now->count, deadline_ns - 1) ? FT_SOMETHING : FT_NOT_KNOWN;
}

enum ft_answer ft_follow_answer(struct ft_pair *p, const struct execpoint *now, enum input_kind kind, u16 instance)
{
	struct ft_follow *f = &p->follow;

	refill(p);
	if (p->role == FT_STOPPED || missed(p, now))
		return FT_NOTHING;
	if (f->have && same_point(&f->ev.at, now) && is_answer(&f->ev) && f->ev.input.kind == kind &&
	    f->ev.input.instance == instance && f->ev.at.sequence == now->sequence) {
		f->have = false;
		return FT_SOMETHING;
	}
	return ft_answer_known(p, now) || ft_follow_left(p, now) ? FT_NOTHING : FT_NOT_KNOWN;
}

/* Compared at once if the log's digest is there, else when it comes: the machine need not wait for it. */
void ft_follow_epoch(struct ft_pair *p, const struct execpoint *now, u64 digest)
{
	struct ft_follow *f = &p->follow;

	refill(p);
	if (p->role == FT_STOPPED || missed(p, now))
		return;
	if (f->own) { /* its digest would lie before the mark that let us come here */
		ft_diverged(p, "an epoch ended that the log does not have", &f->own_at, f->own_epoch, 0, f->own_digest);
		return;
	}
	f->own = true;
	f->own_at = *now;
	f->own_digest = digest;
	f->own_epoch = p->epochs;
	settle_digest(p);
}

/* --- 4  outputs --------------------------------------------------------------------------- */

/*
 * Of an output being made, from *unit on, what is known to have left the primary before is cut
 * off: false if that is all of it.  Console bytes may have left in part.
 */
bool ft_rest_of_output(struct ft_pair *p, struct output *out, u64 *unit)
{
	for (; ft_already_left(p, *unit); ++*unit) {
		p->follow.dropped = MAX(p->follow.dropped, *unit + 1);
		if (out->kind != OUTPUT_CONSOLE || out->size <= 1)
			return false;
		out->data = (const u8 *)out->data + 1;
		out->size--;
	}
	return true;
}

/* Entries stay apart, as held.h has it. */
bool ft_withhold(struct ft_pair *p, const struct output *out)
{
	if (!ft_held_put(&p->held, out))
		return false;
	ft_held_place(&p->held, 0);
	/* The primary's waits for it (D2). */
	p->follow.ack_due |= out->kind == OUTPUT_DISK;
	return true;
}

/* --- 5  answers and timers ------------------------------------------------------------------ */

static bool hole_is_news(const struct ft_follow *f, u64 now_ns)
{
	return f->rx.npieces && (f->told_hole != f->rx.end || now_ns >= f->ack_ns + HOLE_EVERY_NS);
}

static bool answer_is_due(const struct ft_pair *p, u64 now_ns)
{
	const struct ft_follow *f = &p->follow;
	u32 quarter = f->rx.size / 4;

	if (f->ack_due || hole_is_news(f, now_ns) || f->rx.end - f->told_end >= quarter ||
	    f->rx.taken + f->rx.size - f->told_limit >= quarter)
		return true;
	if (p->now.count - f->told_executed >= p->c.max_lag_insns / 4 && p->now.count > f->told_executed)
		return true;
	return now_ns >= f->ack_ns + p->c.timers.answer_ns && f->rx.end != f->told_end;
}

static void answer(struct ft_pair *p, u8 flags, u64 now_ns)
{
	struct ft_follow *f = &p->follow;
	struct ft_message m = { .kind = FT_ACK, .flags = flags, .session = p->session, .ack = {
		.offset = (u32)f->rx.end, .room = (u16)MIN(ft_receiver_room(&f->rx) / FT_ROOM_UNIT, 0xffffU),
		.executed = (u32)p->now.count, .made = (u32)p->made } };

	if (f->loaded)
		m.flags |= FT_LOADED;
	if (f->rx.npieces) {
		m.flags |= FT_HOLE;
		m.ack.hole_end = (u32)f->rx.piece[0].from;
		f->told_hole = f->rx.end;
	}
	f->ack_due = false;
	f->ack_ns = now_ns;
	f->told_end = f->rx.end;
	f->told_limit = f->rx.taken + f->rx.size;
	f->told_executed = p->now.count;
	ft_send(p, &m, p->other_at);
}

void ft_follow_send(struct ft_pair *p, u64 now_ns)
{
	if (!ft_mute(p->role) && answer_is_due(p, now_ns))
		answer(p, 0, now_ns);
}

void ft_follow_timers(struct ft_pair *p, u64 now_ns)
{
	struct ft_follow *f = &p->follow;

	if (p->role == FT_LOADING && (ft_silent(f->heard_ns, now_ns, p->c.timers.join_ns) ||
				      ft_silent(f->began_ns, now_ns, p->c.timers.load_ns)))
		pair_seek(p, "the live host is silent");
	if (p->role != FT_SECONDARY || f->done)
		return;
	if (ft_silent(f->heard_ns, now_ns, p->c.timers.detect_ns) && ft_may_claim(p)) {
		pair_claim(p, "silent");
	} else if (!f->probed && ft_silent(f->heard_ns, now_ns, p->c.timers.detect_ns * 2 / 3)) {
		f->probed = true;
		answer(p, FT_ASK, now_ns);
	}
}

u64 ft_follow_due(const struct ft_pair *p)
{
	const struct ft_follow *f = &p->follow;
	u64 detect = p->c.timers.detect_ns, at = f->heard_ns + (f->probed ? detect : detect * 2 / 3);

	if (p->role == FT_LOADING)
		at = MIN(f->heard_ns + p->c.timers.join_ns, f->began_ns + p->c.timers.load_ns);
	if (p->role == FT_CLAIMING || f->done)
		return ~0UL; /* the store answers; or nothing is awaited */
	if (f->ack_due)
		return 0;
	if (f->rx.end != f->told_end)
		at = MIN(at, f->ack_ns + p->c.timers.answer_ns);
	return at;
}
