/*
 * branch.c - off the recorded run, by the user's hand.
 *
 * Nobody is at a branch's console, and nothing of it is recorded.  Going back
 * ends it and leads to where it began.
 *
 *   1  leaving the run, and coming back to it
 *   2  along the branch
 */
#include "replay/timeline_impl.h"

/* --- 1  leaving the run, and coming back to it ---------------------------------------------- */

/* A branch's console has ended: time passes, nothing is typed. */
bool timeline_branch(struct timeline *t)
{
	bool at_end = timeline_at_end(t) || t->at_frontier, was_off = t->off_line;

	if (t->branched)
		return true;
	if (!frontier_hold(t))
		return false;
	t->branch_at_end = at_end;
	t->branched = t->off_line = true;
	t->branch_count = t->vm->now.count;
	if (!t->branch_at_end && !t->delivered && !was_off)
		checkpoint_take(t->cs); /* none: coming back takes longer */
	live_boundary_init(&t->branch, &t->port);
	t->vm->boundary = &t->branch.b;
	return true;
}

bool timeline_branched(const struct timeline *t)
{
	return t->branched;
}

struct travel branch_leave(struct timeline *t)
{
	t->branched = false;
	return settle(t, go_to(t, t->branch_at_end ? NO_STOP : t->branch_count), TRAVEL_ARRIVED);
}

/* --- 2  along the branch ---------------------------------------------------------------------- */

/*
 * There is no recorded run to compare with, but a branch has no inputs: it can
 * be repeated from where it stands.  So each part of it is run once for each
 * pass, and once more to where the first hit was.
 */
#define FIRST_PART_INSNS 65536UL /* each is twice as long as the one before ... */
#define PART_INSNS 20000000UL    /* ... up to this */

static bool to_begin_of_part(struct timeline *t, const struct live_boundary *then)
{
	t->branch = *then;
	if (!checkpoint_restore_machine(t->cs, &t->part))
		return true;
	timeline_fail(t, "the branch cannot be gone along any further: out of memory for the guest's RAM; go back");
	return false;
}

/* To a hit of the part, by its watch alone; or by two, where two lie at this count: the one met first it is. */
static enum stopped to_hit(struct timeline *t, struct scan *s)
{
	const struct watch *w = s->c->watches;
	const struct watch two[2] = { w[s->watch], w[s->twice ? s->other_watch : s->watch] };
	const struct conditions c = { .watches = two, .nwatches = s->twice ? 2 : 1 };
	struct scan again = { .c = &c, .forward = true, .low = s->count, .high = s->count + 1, .max_hits = NO_STOP,
			      .begun = s->begun, .begun_at = s->begun_at };
	struct scan_cursor at = { 0 };
	const struct live_boundary then = t->branch;
	enum stopped how = STOPPED_AT_COUNT;

	while (scan_next_pass(t->vm, &again, &at)) {
		how = scan_run_armed(t, &again, s->count + 1);
		if (again.found || t->interrupted || !to_begin_of_part(t, &then))
			break;
	}
	s->found = again.found;
	if (!again.found)
		return STOPPED_ON_WAY;
	if (again.watch)
		s->watch = s->other_watch;
	s->linear = again.linear;
	return how;
}

static enum stopped search_part(struct timeline *t, struct scan *s, u64 to)
{
	const struct live_boundary then = t->branch;
	enum stopped how = STOPPED_AT_COUNT;
	struct scan_cursor at = { 0 };
	unsigned npasses = 0;

	while (scan_next_pass(t->vm, s, &at)) {
		if (npasses++ && !to_begin_of_part(t, &then))
			return STOPPED_ON_WAY;
		how = scan_run_armed(t, s, s->found ? MIN(to, s->count + 1) : to);
		if (t->vm->watch_blind || t->interrupted)
			break;
	}
	if (t->interrupted && (npasses > 1 || at.watch < s->c->nwatches)) { /* not all of it has been looked at */
		s->found = false;
		to_begin_of_part(t, &then);
		return STOPPED_ON_WAY;
	}
	if (t->vm->watch_blind) {
		s->found = false;
		t->walked++;
		if (!to_begin_of_part(t, &then))
			return STOPPED_ON_WAY;
		how = scan_walk_to(t, s, to);
		if (!s->found || s->count == t->vm->now.count)
			return how;
		if (to_begin_of_part(t, &then)) /* before it, not behind */
			how = run_until(t, s->count);
		s->found = t->vm->now.count == s->count && !t->trouble[0];
		return s->found ? how : STOPPED_ON_WAY;
	}
	if (s->found && npasses > 1)
		return to_begin_of_part(t, &then) ? to_hit(t, s) : STOPPED_ON_WAY;
	return how;
}

static enum stopped search(struct timeline *t, struct scan *s)
{
	enum stopped how = STOPPED_AT_COUNT;
	u64 insns = FIRST_PART_INSNS;

	if (!s->c->nwatches)
		return run_until(t, NO_STOP);
	while (how == STOPPED_AT_COUNT && !s->found) {
		if (!checkpoint_fill(t->cs, &t->part)) {
			timeline_fail(t, "no memory to go along the branch; give more with --timeline-mem");
			return STOPPED_ON_WAY;
		}
		how = search_part(t, s, t->vm->now.count + insns);
		checkpoint_drop(t->cs, &t->part);
		insns = MIN(2 * insns, PART_INSNS);
	}
	return how;
}

struct travel branch_run(struct timeline *t, const struct conditions *c)
{
	struct scan s = scan_from_here(t, c, false);
	enum stopped how = timeline_at_end(t) ? STOPPED_AT_END : search(t, &s);
	struct travel r = settle(t, s.found ? STOPPED_AT_COUNT : how, TRAVEL_HIT);

	r.watch = s.watch;
	r.linear = s.linear;
	return r;
}
