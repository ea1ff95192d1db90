/*
 * mutate.c - deliberate bugs, one an invariant at least.
 *
 * The linker sends calls of a function named in WRAP here first (--wrap): with the
 * mutation's number chosen it does wrong, else what it should.  So nothing in ft/
 * knows of them.  Each must be noticed, by whichever check.
 */
#include "kernel/xxh.h"
#include "tests/sim/sim.h"

unsigned mutation;

enum {
	NONE,
	GAP_HANDED_OUT, TAKEN_TWICE,
	INPUT_NOT_SHIPPED, INPUT_NOT_RECORDED,
	MARK_TOO_FAR,
	RUNS_AHEAD, ANSWERS_AHEAD, NAPS_TOO_LONG,
	NOT_ACKNOWLEDGED, MARK_NOT_AWAITED, FORETOLD_BEHIND_INPUTS, FORETOLD_BEHIND_ANSWERS,
	LEASE_IGNORED,
	OUTPUT_LOST, OUTPUT_OVERTAKES,
	NOT_SAID_AGAIN,
	UNKNOWN_IS_WON, UNREACHABLE_IS_WON,
	LOSER_TAKES_BACK, LOSER_GOES_ON,
	NOT_MUTE, FORGIVES_TOO_EARLY,
	LOG_NOT_FINISHED,
	GUARDS_TOO_LATE, ENLISTS_TOO_EARLY, FORGETS_WHAT_LEFT,
	DIGEST_IGNORED, PAGES_LEFT_OUT,
	NEVER_WAITS, HOLDS_TOO_MUCH,
	DAMAGE_TAKEN, OTHER_SESSION_TAKEN,
	NEVER_SUSPECTS, NEVER_WELCOMES, ALWAYS_REFUSED, NEVER_CLAIMS, PARTS_AT_WILL,
	WRITES_TOO_EARLY, NEVER_TAKES, NOT_WRITTEN_AGAIN, OVERTAKES_A_WRITE,
};

const struct mutant mutants[] = {
	{ "I1", "bytes behind a gap are handed out" },
	{ "I1", "what was received is taken a second time" },
	{ "I2", "an input is not in the log" },
	{ "I2", "an input is not in the recording" },
	{ "I3", "a mark says more than is true" },
	{ "I4", "a secondary does not wait for marks" },
	{ "I4", "a secondary does not wait for the primary's answers" },
	{ "I4", "a secondary naps for longer than the primary" },
	{ "I5", "an output does not wait for an acknowledgement" },
	{ "I5", "an output waits for the inputs, not for its mark" },
	{ "I5", "an output has the last mark's place, though inputs were asked for since" },
	{ "I5", "an output has the last mark's place, though an answer was asked for since" },
	{ "I6", "the lease is ignored" },
	{ "I7", "every now and then an output is dropped" },
	{ "I7", "an output overtakes another" },
	{ "I8", "who takes over says nothing again" },
	{ "I9", "an attempt of unknown fate is taken for won" },
	{ "I9", "a store that cannot be reached is taken for won" },
	{ "I10", "the loser asks again until it is live" },
	{ "I10", "the loser goes on" },
	{ "I11", "a secondary that asks the store goes on acknowledging" },
	{ "I11", "a secondary whose attempt may be made forgives" },
	{ "I12", "who takes over leaves the rest of the log" },
	{ "I13", "outputs are held back only when the store has answered" },
	{ "I13", "the word names a host whose copy is not whole" },
	{ "I13", "the word names a host that has not acknowledged all that left before" },
	{ "I14", "digests that differ are taken for equal" },
	{ "I14", "pages changed at the last are not copied, and the copy is taken for whole" },
	{ "I15", "the primary waits for nobody" },
	{ "I15", "outputs are held without a bound" },
	{ "I16", "a damaged datagram is taken" },
	{ "I16", "a datagram of another session is taken" },
	{ "I17", "silence is never suspected" },
	{ "I17", "nobody is welcome" },
	{ "I17", "who joins is refused for want of room, and tries again" },
	{ "I17", "a secondary that hears nothing ends" },
	{ "I17", "a primary parts without a reason, seldom" },
	{ "D2", "a write does not wait until the secondary has executed it" },
	{ "D4", "who goes live does not take the disk from the other" },
	{ "D5", "a write that may not have been performed counts as one that was" },
	{ "I7, D5", "what is behind a write does not wait for it" },
};
const unsigned nmutants = ARRAY_SIZE(mutants);

#define WRAP(name, type, ...)                                                                                          \
	type __real_##name(__VA_ARGS__);                                                                               \
	type __wrap_##name(__VA_ARGS__);                                                                               \
	type __wrap_##name(__VA_ARGS__)

/* ---- the rules ---- */

WRAP(ft_known, bool, const struct ft_pair *p, const struct execpoint *now)
{
	return __real_ft_known(p, now) || (mutation == RUNS_AHEAD && !p->tail);
}

WRAP(ft_answer_known, bool, const struct ft_pair *p, const struct execpoint *now)
{
	return __real_ft_answer_known(p, now) || (mutation == ANSWERS_AHEAD && !p->tail);
}

WRAP(ft_naps, bool, const struct ft_pair *p, u64 deadline_ns)
{
	return __real_ft_naps(p, deadline_ns) ||
	       (mutation == NAPS_TOO_LONG && ft_follows(p) && __real_ft_naps(p, deadline_ns - MIN(deadline_ns, FT_NAP_NS)));
}

WRAP(ft_acknowledged, bool, const struct ft_pair *p, u64 position)
{
	return __real_ft_acknowledged(p, position) || mutation == NOT_ACKNOWLEDGED;
}

WRAP(ft_foretold, bool, const struct ft_pair *p)
{
	const struct ft_ship *s = &p->ship;

	return __real_ft_foretold(p) ||
	       (mutation == FORETOLD_BEHIND_INPUTS && s->marked_to && (!s->asked_any || p->asked <= s->told_asked)) ||
	       (mutation == FORETOLD_BEHIND_ANSWERS && s->started && !ft_point_before(&s->marked, &p->settled));
}

WRAP(ft_lease_holds, bool, const struct ft_pair *p, u64 now_ns)
{
	return __real_ft_lease_holds(p, now_ns) || mutation == LEASE_IGNORED;
}

WRAP(ft_has_made, bool, const struct ft_pair *p, u64 unit)
{
	return __real_ft_has_made(p, unit) || mutation == WRITES_TOO_EARLY;
}

WRAP(ft_won, bool, enum ft_verdict v, const struct ft_word *current, const struct ft_word *desired)
{
	return __real_ft_won(v, current, desired) || (mutation == UNKNOWN_IS_WON && v == FT_UNKNOWN) ||
	       (mutation == UNREACHABLE_IS_WON && v == FT_UNREACHABLE);
}

WRAP(ft_named, bool, const struct ft_word *w, u64 id)
{
	return __real_ft_named(w, id) || mutation == LOSER_TAKES_BACK;
}

WRAP(ft_mute, bool, enum ft_role role)
{
	return __real_ft_mute(role) && mutation != NOT_MUTE;
}

WRAP(ft_never_made, bool, const struct ft_claim *c, enum ft_verdict v)
{
	return __real_ft_never_made(c, v) || mutation == FORGIVES_TOO_EARLY;
}

WRAP(ft_holds_back, bool, enum ft_role role)
{
	return __real_ft_holds_back(role) && !(mutation == GUARDS_TOO_LATE && role < FT_PRIMARY);
}

WRAP(ft_may_enlist, bool, const struct ft_pair *p)
{
	return __real_ft_may_enlist(p) || (mutation == ENLISTS_TOO_EARLY && p->role == FT_GUARDED) ||
	       (mutation == FORGETS_WHAT_LEFT && p->role == FT_GUARDED && p->ship.loaded);
}

static bool loading;

/* A copy's digest is compared once it is whole, and again at each epoch: what the first hides the second shows. */
WRAP(ft_copy_take, void, struct ft_pair *p, const struct ft_record *rec)
{
	loading = true;
	__real_ft_copy_take(p, rec);
	loading = false;
}

WRAP(ft_digests_agree, bool, u64 a, u64 b)
{
	return __real_ft_digests_agree(a, b) || mutation == DIGEST_IGNORED || (mutation == PAGES_LEFT_OUT && loading);
}

WRAP(ft_must_wait, bool, const struct ft_pair *p)
{
	return __real_ft_must_wait(p) && mutation != NEVER_WAITS;
}

WRAP(ft_of_session, bool, const struct ft_pair *p, u32 session, u64 from)
{
	return __real_ft_of_session(p, session, from) || (mutation == OTHER_SESSION_TAKEN && p->session);
}

WRAP(ft_silent, bool, u64 since_ns, u64 now_ns, u64 detect_ns)
{
	return __real_ft_silent(since_ns, now_ns, detect_ns) && mutation != NEVER_SUSPECTS;
}

/* ---- and what carries them out ---- */

WRAP(ft_receiver_put, bool, struct ft_receiver *r, u32 wire_offset, const u8 *data, u32 n)
{
	bool fresh = __real_ft_receiver_put(r, wire_offset, data, n);

	if (mutation == GAP_HANDED_OUT && r->npieces) {
		r->end = r->piece[--r->npieces].to;
		r->npieces = 0;
	}
	if (mutation == TAKEN_TWICE && !fresh && n && n < 100)
		return __real_ft_receiver_put(r, (u32)r->end, data, n);
	return fresh;
}

WRAP(ft_ship_event, bool, struct ft_pair *p, const struct rec_event *ev)
{
	if (mutation == INPUT_NOT_SHIPPED && ev->kind == REC_INPUT && p->now.sequence % 8 == 7)
		return true;
	return __real_ft_ship_event(p, ev);
}

WRAP(rec_put_input, err_t, struct rec_writer *w, u32 vm, const struct execpoint *at, const struct input *in)
{
	if (mutation == INPUT_NOT_RECORDED && at->sequence % 8 == 7)
		return OK;
	return __real_rec_put_input(w, vm, at, in);
}

static u64 before_mark;

WRAP(ft_log_progress, bool, struct ft_log_writer *w, u64 count, u64 vtime_ns)
{
	before_mark = w->to->end;
	return __real_ft_log_progress(w, count, vtime_ns + (mutation == MARK_TOO_FAR ? 3 * MS : 0));
}

WRAP(ft_held_place, void, struct ft_held *h, u64 position)
{
	if (mutation == MARK_NOT_AWAITED && position > before_mark && position < before_mark + 40)
		position = before_mark;
	__real_ft_held_place(h, position);
}

WRAP(ft_held_take, void, struct ft_held *h, u32 units)
{
	struct ft_held_front f;

	__real_ft_held_take(h, units);
	if (mutation == OUTPUT_LOST && units == 1 && h->fill && ft_held_front(h, &f) && f.position != FT_NO_POSITION)
		__real_ft_held_take(h, f.units);
}

WRAP(ft_held_put, bool, struct ft_held *h, const struct output *out)
{
	u32 bound = h->bound;
	bool done;

	if (mutation == HOLDS_TOO_MUCH)
		h->bound = ~0U;
	done = __real_ft_held_put(h, out);
	h->bound = bound;
	return done;
}

/* One that was made later leaves at once while others wait. */
WRAP(ft_ship_send, void, struct ft_pair *p, u64 now_ns)
{
	struct ft_held_front f;

	if (mutation == OUTPUT_OVERTAKES && p->held.nunplaced > 1 && ft_held_front(&p->held, &f) && f.out.kind == OUTPUT_CONSOLE)
		__real_ft_held_take(&p->held, f.units);
	__real_ft_ship_send(p, now_ns);
}

WRAP(pair_stop, void, struct ft_pair *p, enum vm_outcome outcome, const char *fmt, ...)
{
	if (mutation == LOSER_GOES_ON && p->role == FT_PARTING)
		pair_go_on_alone(p);
	else
		__real_pair_stop(p, outcome, "%s", fmt);
}

WRAP(pair_take_over, void, struct ft_pair *p)
{
	__real_pair_take_over(p);
	if (mutation == LOG_NOT_FINISHED)
		p->tail = false;
}

WRAP(ft_release_all, void, struct ft_pair *p)
{
	if (mutation == NOT_SAID_AGAIN && p->tail)
		ft_held_clear(&p->held);
	__real_ft_release_all(p);
}

WRAP(ft_take_disks, void, struct ft_pair *p)
{
	if (mutation == NOT_WRITTEN_AGAIN)
		for (u32 n = p->outlet.nwriting; n; n--)
			__real_ft_held_take(&p->held, 1), p->ship.released++;
	if (mutation == NEVER_TAKES)
		p->outlet = (struct ft_outlet){ 0 };
	else
		__real_ft_take_disks(p);
}

WRAP(ft_waits_its_turn, bool, const struct ft_pair *p, const struct output *out)
{
	return __real_ft_waits_its_turn(p, out) && (mutation != OVERTAKES_A_WRITE || out->kind == OUTPUT_DISK);
}

WRAP(pair_welcome, void, struct ft_pair *p, const struct ft_hello *h, u64 from)
{
	if (mutation != NEVER_WELCOMES)
		__real_pair_welcome(p, h, from);
}

WRAP(ft_encode, u32, const struct ft_message *m, u64 key, u8 *buf)
{
	struct ft_message small = *m;

	if (mutation != ALWAYS_REFUSED || m->kind != FT_HELLO)
		return __real_ft_encode(m, key, buf);
	small.hello.held_room = 0;
	return __real_ft_encode(&small, key, buf);
}

WRAP(pair_claim, void, struct ft_pair *p, const char *why)
{
	if (mutation == NEVER_CLAIMS)
		__real_pair_stop(p, VM_QUIT, "the primary is %s", why);
	else
		__real_pair_claim(p, why);
}

/* Nobody is the worse for it, until the primary crashes. */
WRAP(ft_ship_timers, void, struct ft_pair *p, u64 now_ns)
{
	if (mutation == PARTS_AT_WILL && p->role == FT_PRIMARY && now_ns % 997 == 0)
		p->ship.silent = true;
	__real_ft_ship_timers(p, now_ns);
}

WRAP(ft_copy_stand, void, struct ft_pair *p, const struct execpoint *now)
{
	struct machine *m = p->env->machine->ctx;

	if (mutation == PAGES_LEFT_OUT && p->role == FT_COPYING && p->copy.ready)
		m->dirty = 0, m->to_give = 0;
	__real_ft_copy_stand(p, now);
}

WRAP(ft_decode, bool, struct ft_message *m, u64 key, const u8 *buf, u32 size)
{
	u8 mended[FT_DATAGRAM_MAX];
	u32 own = size >= FT_HEADER_BYTES ? (u32)read_bytes_le(buf + 4, 2) : 0;

	if (mutation != DAMAGE_TAKEN || own < FT_HEADER_BYTES || own > size)
		return __real_ft_decode(m, key, buf, size);
	memcpy(mended, buf, own);
	write_bytes_le(mended, 4, XXH64(mended + 4, own - 4, key));
	if (!__real_ft_decode(m, key, mended, own))
		return false;
	if (m->kind == FT_DATA)
		m->data.data = buf + (m->data.data - mended);
	return true;
}
