/*
 * ship.c - the live side of a session: the log that is written, sent and
 * acknowledged.
 *
 *   1  beginning     2  what is written     3  what the other says
 *   4  timers     5  sending
 *
 * The order of one output is in docs/LINK.md 6; where it leaves is outlet.c.
 */
#include "ft/pair.h"

#define FIRST_TIMEOUT_NS 20000000
#define LEAST_TIMEOUT_NS 10000000
#define MOST_TIMEOUT_NS 50000000
#define DATAGRAMS_AT_ONCE 160 /* of the 256 that a NIC keeps for a host that does not look */

/* --- 1  beginning ----------------------------------------------------------------- */

void ft_ship_begin(struct ft_pair *p, u32 other_room, u32 other_held)
{
	struct ft_ship *s = &p->ship;
	u64 now = ft_now(p);

	memset(s, 0, sizeof(*s));
	ft_sender_init(&s->tx, p->m.log, p->m.log_bytes, other_room, p->c.datagram_bytes - FT_DATA_HEADER_BYTES);
	s->log.to = &s->tx;
	s->heard_ns = s->beat_ns = s->mark_ns = now;
	s->timeout_ns = FIRST_TIMEOUT_NS;
	/* What is held here must have room there (I15). */
	p->held.bound = MIN(p->held.size - FT_HELD_SEAM(p->held.longest), other_held);
}

/* --- 2  what is written --------------------------------------------------------------- */

void ft_close(struct ft_pair *p, u64 count, u64 vtime_ns)
{
	const struct ft_point at = { count, vtime_ns };

	if (ft_point_before(&p->open, &at))
		p->open = at;
}

/* Nothing new is closed, or an event there says so: what lies before an event is known. */
static bool mark_moved(const struct ft_pair *p)
{
	const struct ft_point event = { p->ship.log.base.count, p->ship.log.base.vtime_ns };

	return ft_point_before(&p->ship.marked, &p->open) && ft_point_before(&event, &p->open);
}

/* An output made at the very point of a question: that the other knows its answer must be said (I4). */
static bool question_unsaid(const struct ft_pair *p)
{
	const struct ft_ship *s = &p->ship;

	return s->asked_any && p->asked > s->told_asked && p->held.nunplaced &&
	       !ft_closed(p, s->asked_at.count, s->asked_at.vtime_ns + 1);
}

/*
 * All that is true now: what left, what was answered, what is closed.  Outputs
 * made so far have their position behind it.  Without room nothing is written,
 * and they wait: room comes with the next acknowledgement.
 */
static void write_marks(struct ft_pair *p, bool alive)
{
	struct ft_ship *s = &p->ship;
	bool good = true;

	if (!ft_log_has_room(&s->log, 4 * FT_SMALL_RECORD_MAX))
		return;
	if (s->started && s->told_released != s->released) {
		good = ft_log_number(&s->log, FT_RELEASED, s->released - s->told_released);
		s->told_released = s->released;
	}
	if (s->started && question_unsaid(p)) {
		good &= ft_log_number(&s->log, FT_ANSWERED, p->asked - s->told_asked);
		s->told_asked = p->asked;
		s->marked_to = s->tx.end;
	}
	if (s->started && !s->ended && mark_moved(p)) {
		good &= ft_log_progress(&s->log, p->open.count, p->open.vtime_ns - 1);
		s->marked = p->open;
		s->marked_to = s->tx.end;
	} else if (alive) {
		good &= ft_log_pad(&s->log);
	}
	if (s->started)
		ft_held_place(&p->held, s->tx.end);
	if (!good)
		pair_stop(p, VM_HOST_FAILED, "the log could not be written"); /* a point before the last: never */
	s->entered = false;
	s->flush_to = s->tx.end;
}

/* What it has heard of late may be older than its last word. */
bool ft_answers(struct ft_pair *p)
{
	struct ft_ship *s = &p->ship;

	if (!s->sounded_ns || ft_silent(s->sounded_ns, ft_now(p), p->c.timers.detect_ns)) {
		write_marks(p, true);
		s->sounded = s->ask_to = s->tx.end;
		s->sounded_ns = ft_now(p);
		return false;
	}
	return ft_acknowledged(p, s->sounded);
}

void ft_wait_for_other(struct ft_pair *p)
{
	if (!p->ship.waited_for)
		p->ship.moved_ns = ft_now(p);
	p->ship.waited_for = true;
	ft_wait(p, FT_LONG);
}

bool ft_ship_event(struct ft_pair *p, const struct rec_event *ev)
{
	bool done = false;

	while (!done && ft_holds_back(p->role)) {
		done = ft_log_event(&p->ship.log, ev);
		if (done)
			break;
		if (ft_log_has_room(&p->ship.log, FT_RECORD_MAX)) {
			pair_stop(p, VM_HOST_FAILED, "the log could not be written"); /* a point before the last: never */
			break;
		}
		if (!p->ship.waited_for) /* then each beat asks */
			p->ship.flush_to = p->ship.ask_to = p->ship.tx.end;
		ft_wait_for_other(p);
	}
	p->ship.waited_for = false;
	return done;
}

void ft_ship_end(struct ft_pair *p, const struct execpoint *now, const struct ft_end *end)
{
	const struct rec_base *last = &p->ship.log.base;
	struct execpoint at = *now;

	while (ft_holds_back(p->role)) {
		write_marks(p, false); /* of the last outputs, too */
		/* One that was left while it idled: its marks have gone on, it has not. */
		if (last->count == at.count)
			at.vtime_ns = MAX(at.vtime_ns, last->vtime_ns);
		if (!p->held.nunplaced && ft_log_end(&p->ship.log, &at, end)) {
			p->ship.ended = true;
			break;
		}
		ft_wait(p, FT_LONG);
	}
	p->ship.flush_to = p->ship.ask_to = p->ship.tx.end;
}

/* What waits is acknowledged, but the lease is over: something new must be acknowledged. */
static bool lease_is_over(const struct ft_pair *p, u64 now_ns)
{
	struct ft_held_front f;

	return ft_holds_back(p->role) && ft_held_front(&p->held, &f) && ft_acknowledged(p, f.position) &&
	       !ft_lease_holds(p, now_ns);
}

/* --- 3  what the other says ------------------------------------------------------------- */

static void measure_round_trip(struct ft_ship *s, u64 now_ns)
{
	u64 took = now_ns - s->ask_sent_ns;

	if (s->ask_sent_ns)
		s->round_trip_ns = s->round_trip_ns ? (7 * s->round_trip_ns + took) / 8 : took;
	s->ask_sent_ns = 0;
	if (s->round_trip_ns)
		s->timeout_ns = MIN(MAX(4 * s->round_trip_ns, (u64)LEAST_TIMEOUT_NS), (u64)MOST_TIMEOUT_NS);
}

static void forget_pushes(struct ft_ship *s)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < s->npushes; i++)
		if (s->push[i] > s->tx.acked)
			s->push[kept++] = s->push[i];
	s->npushes = kept;
}

/* Counts go on for more than 32 bits; the other is within 2^31 of here, and may be a poll interval ahead. */
static void note_executed(struct ft_pair *p, u32 low, u64 now_ns)
{
	u64 count = p->now.count + (u64)(s32)(low - (u32)p->now.count);

	if (count <= p->ship.executed || count > p->now.count + p->c.poll_insns)
		return;
	p->ship.executed = count;
	p->ship.moved_ns = now_ns;
}

/* It may have made one already that waits here for room, and is not counted yet. */
static void note_made(struct ft_pair *p, u32 low)
{
	u64 made = p->made + (u64)(s64)(s32)(low - (u32)p->made);

	p->ship.other_made = MAX(p->ship.other_made, made);
}

void ft_ship_ack(struct ft_pair *p, const struct ft_message *m, u64 now_ns)
{
	struct ft_ship *s = &p->ship;
	const struct ft_stream_ack a = { .offset = m->ack.offset, .room = m->ack.room * FT_ROOM_UNIT,
					 .hole = m->flags & FT_HOLE, .hole_end = m->ack.hole_end };
	bool fresh = ft_sender_ack(&s->tx, &a);

	if (!fresh && m->ack.offset != (u32)s->tx.acked)
		return; /* an old one, late */
	s->heard_ns = now_ns;
	s->silent = false;
	if (s->started) {
		note_executed(p, m->ack.executed, now_ns);
		note_made(p, m->ack.made);
	}
	s->loaded |= m->flags & FT_LOADED && s->started;
	s->answer_wanted |= m->flags & FT_ASK;
	if (fresh)
		measure_round_trip(s, now_ns);
	forget_pushes(s);
	/* An answer that acknowledges nothing new does not put off what is under way: that may be lost. */
	if (fresh || s->tx.acked == s->tx.sent) {
		s->unanswered_ns = s->npushes ? now_ns : 0;
		s->resend_ns = now_ns + s->timeout_ns;
	} else if (s->unanswered_ns) {
		s->unanswered_ns = now_ns;
	}
}

/* --- 4  timers -------------------------------------------------------------------------- */

static void suspect(struct ft_pair *p, const char *why)
{
	p->ship.silent = true;
	if (p->role == FT_COPYING || p->role == FT_GUARDED)
		pair_drop(p, why);
	else if (p->role == FT_PRIMARY)
		pair_part(p, why);
	/* enlisting: the store's answer first; parting: asked already */
}

/* A host that joins is busy with its copy, and no output waits for it: there is time. */
static u64 patience_ns(const struct ft_pair *p)
{
	return p->role == FT_COPYING || p->role == FT_GUARDED ? p->c.timers.join_ns : p->c.timers.detect_ns;
}

void ft_ship_timers(struct ft_pair *p, u64 now_ns)
{
	struct ft_ship *s = &p->ship;

	if (s->silent || (s->unanswered_ns && ft_silent(s->unanswered_ns, now_ns, patience_ns(p))))
		suspect(p, "silent");
	else if (s->waited_for && p->role != FT_GUARDED && ft_silent(s->moved_ns, now_ns, p->c.timers.mute_ns))
		suspect(p, "not keeping up");
	if (p->role == FT_GUARDED && now_ns - p->role_ns > p->c.timers.load_ns)
		pair_drop(p, "its copy is not whole in time");
	if (!ft_ships(p->role))
		return;
	if (ft_may_enlist(p))
		pair_enlist(p);
	if (s->unanswered_ns && now_ns >= s->resend_ns) {
		s->timeout_ns = MIN(2 * s->timeout_ns, (u64)MOST_TIMEOUT_NS);
		s->resend_ns = now_ns + s->timeout_ns;
		s->ask_sent_ns = 0; /* whatever comes answers either */
		if (ft_sender_overdue(&s->tx))
			p->s.resent_bytes += s->tx.again_to - s->tx.again;
		s->ask_to = MAX(s->flush_to, 1UL);
	}
}

/* Whole datagrams, or what must go now: a batch has its bound. */
static bool more_is_ready(const struct ft_ship *s)
{
	u32 n = ft_sender_ready(&s->tx);

	return n && (s->tx.again < s->tx.again_to || s->tx.sent < s->flush_to || n >= s->tx.part);
}

u64 ft_ship_due(const struct ft_pair *p)
{
	const struct ft_ship *s = &p->ship;
	u64 at = MIN(s->beat_ns, ft_release_due(p));

	if (s->unanswered_ns)
		at = MIN(at, MIN(s->resend_ns, s->unanswered_ns + patience_ns(p)));
	return more_is_ready(s) ? 0 : at;
}

/* --- 5  sending -------------------------------------------------------------------------- */

static void send_data(struct ft_pair *p, u32 n, u64 offset, bool ask, u64 now_ns)
{
	struct ft_ship *s = &p->ship;
	const struct ft_message m = { .kind = FT_DATA, .flags = ask ? FT_ASK : 0, .session = p->session,
				      .data = { (u32)offset, n, NULL } };

	s->beat_ns = now_ns + p->c.timers.beat_ns;
	if (ask) {
		s->ask_to = 0;
		if (!s->unanswered_ns) {
			s->unanswered_ns = now_ns;
			s->resend_ns = now_ns + s->timeout_ns;
		}
		if (!s->ask_sent_ns)
			s->ask_sent_ns = now_ns;
	}
	ft_send(p, &m, p->other_at);
}

/* The last of a full batch asks, too: the window opens while the next one is made. */
static void send_ready(struct ft_pair *p, u64 now_ns)
{
	struct ft_ship *s = &p->ship;
	u64 offset;
	u32 n;

	for (unsigned i = 1; i <= DATAGRAMS_AT_ONCE && more_is_ready(s); i++) {
		n = ft_sender_next(&s->tx, p->env->room(p->env->ctx) + FT_DATA_HEADER_BYTES, s->tx.part, now_ns, &offset);
		send_data(p, n, offset, (s->ask_to && offset + n >= s->ask_to) || ft_sender_stuck(&s->tx) ||
			  i == DATAGRAMS_AT_ONCE, now_ns);
	}
	if (s->ask_to) /* asked without anything to send, or the window is closed */
		send_data(p, 0, s->tx.sent, true, now_ns);
}

bool ft_beat_due(const struct ft_pair *p, u64 now_ns)
{
	return ft_ships(p->role) && (now_ns >= p->ship.beat_ns || p->ship.answer_wanted);
}

void ft_ship_send(struct ft_pair *p, u64 now_ns)
{
	struct ft_ship *s = &p->ship;
	bool beat = ft_beat_due(p, now_ns);
	bool push = s->started && (p->held.nunplaced || s->entered), asks = push && s->npushes < FT_PUSHES;
	bool mark = s->started && now_ns >= s->mark_ns && mark_moved(p);
	bool stale = !s->unanswered_ns && lease_is_over(p, now_ns);

	if (!ft_ships(p->role))
		return;
	if (beat || asks || (push && ft_leaves_freely(p)) || mark || stale) {
		write_marks(p, beat || stale);
		s->answer_wanted = false;
		s->mark_ns = now_ns + p->c.timers.mark_ns;
	}
	asks &= !s->npushes || s->push[s->npushes - 1] != s->tx.end; /* another output made at this point has */
	if (asks && !p->held.nunplaced && ft_holds_back(p->role))
		s->push[s->npushes++] = s->tx.end;
	if (asks || stale)
		s->ask_to = MAX(s->tx.end, 1UL);
	else if (beat && (s->waited_for || ft_must_wait(p) || now_ns - s->heard_ns >= p->c.timers.answer_ns * 5 / 4))
		s->ask_to = MAX(s->tx.end, 1UL);
	send_ready(p, now_ns);
}
