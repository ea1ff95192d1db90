/*
 * rules.c - the decisions that the invariants hang on [docs/LINK.md 3].
 *
 * Each is a function of its own, called from elsewhere, and changes nothing: so
 * that one can read them together, and that the tests can break them one at a
 * time and see that it is noticed (tests/sim/mutate.c).
 */
#include "ft/pair.h"

/* I5, I13: another host is, or may become, a member. */
bool ft_holds_back(enum ft_role role)
{
	return role >= FT_GUARDED && role <= FT_PARTING;
}

/* I5 */
bool ft_acknowledged(const struct ft_pair *p, u64 position)
{
	return position != FT_NO_POSITION && p->ship.tx.acked >= position;
}

/*
 * I5: the log up to the last mark is enough to make the output that is made now.  The machine has asked for
 * nothing since: neither what enters, nor what a device wants to know.
 */
bool ft_foretold(const struct ft_pair *p)
{
	const struct ft_ship *s = &p->ship;
	const struct ft_point question = { s->asked_at.count, s->asked_at.vtime_ns + 1 };

	return s->started && !ft_point_before(&s->marked, &p->settled) &&
	       (!s->asked_any || p->asked <= s->told_asked || ft_point_before(&question, &s->marked));
}

/*
 * A machine that waits for a device for a moment goes on asleep, on both hosts alike: nothing enters, whatever
 * comes.  So what it says then is foretold, too.
 */
bool ft_naps(const struct ft_pair *p, u64 deadline_ns)
{
	return p->settled.count != ~0UL && deadline_ns < p->settled.vtime_ns + FT_NAP_NS;
}

/* I13: the other's copy is not whole, so the word will not name it before it has acknowledged what leaves now. */
bool ft_leaves_freely(const struct ft_pair *p)
{
	return p->role == FT_GUARDED && !p->ship.loaded;
}

/* D2: the other has executed all reads before this write, since it has come to the write itself. */
bool ft_has_made(const struct ft_pair *p, u64 unit)
{
	return unit < p->ship.other_made;
}

/* I6: a host that is only guarded against is not named by the word yet, and cannot go live. */
bool ft_lease_holds(const struct ft_pair *p, u64 now_ns)
{
	return p->role == FT_GUARDED || now_ns < p->ship.tx.acked_sent_ns + p->c.timers.lease_ns;
}

/* I3: no input may enter here any more. */
bool ft_closed(const struct ft_pair *p, u64 count, u64 vtime_ns)
{
	const struct ft_point at = { count, vtime_ns };

	return ft_point_before(&at, &p->open);
}

/* I4: what enters at this point is known; nothing does, if no event is ready for it. */
bool ft_known(const struct ft_pair *p, const struct execpoint *now)
{
	return ft_closed(p, now->count, now->vtime_ns) || p->follow.have;
}

/* I4: so is what the host's answer to the last question was: closed is a point behind it, or it is written, or all is. */
bool ft_answer_known(const struct ft_pair *p, const struct execpoint *now)
{
	return ft_closed(p, now->count, now->vtime_ns + 1) || p->follow.have || p->asked < p->follow.known_asked ||
	       p->follow.ended;
}

/* I8: this unit of output is known to have left the primary. */
bool ft_already_left(const struct ft_pair *p, u64 unit)
{
	return unit < p->follow.known_released;
}

/* I9 */
bool ft_won(enum ft_verdict v, const struct ft_word *current, const struct ft_word *desired)
{
	return v == FT_SWAPPED || (v == FT_DIFFERS && ft_word_equal(current, desired));
}

/* I10 */
bool ft_named(const struct ft_word *w, u64 id)
{
	return id && (w->member[0] == id || w->member[1] == id);
}

/* I11 */
bool ft_mute(enum ft_role role)
{
	return role == FT_CLAIMING;
}

/* I9, I11: no attempt of this claim was made or can be made yet. */
bool ft_never_made(const struct ft_claim *c, enum ft_verdict v)
{
	return v == FT_UNREACHABLE && !c->unknown;
}

/* I12: all of the log is executed, what comes now is not known from it. */
bool ft_log_is_over(const struct ft_pair *p)
{
	return !p->follow.have;
}

/* I13 */
bool ft_may_enlist(const struct ft_pair *p)
{
	return p->role == FT_GUARDED && p->ship.loaded && p->ship.tx.acked >= p->ship.left_to;
}

/* I14 */
bool ft_may_claim(const struct ft_pair *p)
{
	return p->role == FT_SECONDARY && p->follow.loaded && !p->follow.diverged;
}

/* I14 */
bool ft_digests_agree(u64 a, u64 b)
{
	return a == b;
}

/* I15 */
bool ft_must_wait(const struct ft_pair *p)
{
	if (!ft_holds_back(p->role))
		return false;
	return !ft_log_has_room(&p->ship.log, FT_LOG_RESERVE / 2) ||
	       p->now.count > p->ship.executed + p->c.max_lag_insns;
}

/* I16 */
bool ft_of_session(const struct ft_pair *p, u32 session, u64 from)
{
	return p->session && session == p->session && from == p->other_at;
}

/* I17 */
bool ft_silent(u64 since_ns, u64 now_ns, u64 detect_ns)
{
	return now_ns >= since_ns + detect_ns;
}
