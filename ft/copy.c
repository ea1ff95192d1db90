/*
 * copy.c - a running machine's copy: given by the live host, received by the other.
 *
 * Pages go in rounds while the machine runs: first all that are not zero, then
 * those changed meanwhile, until few are left.  Then the machine stands for the
 * rest and its state, and START begins the log of what it does from there.
 * Reads the machine through struct ft_machine; changes the log.
 */
#include "ft/pair.h"

/* With more than that under way the machine does not stand yet: from START on its outputs wait for all of it. */
#define STAND_BACKLOG (64 * PAGE_SIZE)
#define DRAIN_NS 100000000UL
#define DRAIN_AGAIN_NS 1000000000UL

/* --- giving ------------------------------------------------------------------------- */

static bool page_fits(const struct ft_pair *p)
{
	return ft_log_has_room(&p->ship.log, PAGE_SIZE + FT_SMALL_RECORD_MAX);
}

void ft_copy_step(struct ft_pair *p)
{
	const struct ft_machine *m = p->env->machine;
	struct ft_page page;

	while (p->role == FT_COPYING && !p->copy.ready && page_fits(p)) {
		if (m->copy_next(m->ctx, &page)) {
			p->s.join_pages++;
			if (!ft_log_page(&p->ship.log, &page))
				return;
			continue;
		}
		p->copy.rounds++;
		p->copy.ready = m->copy_round(m->ctx) <= p->c.final_pages || p->copy.rounds >= p->c.max_rounds;
	}
}

/* Room for a record; false: the other is given up meanwhile. */
static bool wait_for_room(struct ft_pair *p)
{
	while (p->role == FT_COPYING && !page_fits(p)) {
		p->ship.flush_to = p->ship.tx.end;
		if (!p->ship.unanswered_ns)
			p->ship.ask_to = p->ship.tx.end;
		ft_wait(p, FT_LONG);
	}
	return p->role == FT_COPYING;
}

static bool give_pages(struct ft_pair *p)
{
	const struct ft_machine *m = p->env->machine;
	struct ft_page page;

	while (m->copy_next(m->ctx, &page)) {
		p->s.join_pages++;
		if (!wait_for_room(p) || !ft_log_page(&p->ship.log, &page))
			return false;
	}
	return true;
}

static bool give_state(struct ft_pair *p, struct ft_start *start)
{
	const struct ft_machine *m = p->env->machine;
	const u8 *state;
	u32 size;

	if (m->save(m->ctx, &state, &size, &start->digest)) {
		pair_drop(p, "the machine's state could not be saved");
		return false;
	}
	for (u32 at = 0; at < size; at += FT_STATE_PART)
		if (!wait_for_room(p) || !ft_log_state(&p->ship.log, state + at, MIN(size - at, (u32)FT_STATE_PART)))
			return false;
	return wait_for_room(p) && ft_log_start(&p->ship.log, start);
}

/*
 * What is still on its way to a shared disk was written before the other's time: it would not write it
 * again (D7).  A disk that does not answer must not make the machine stand: later, then.
 */
static bool writes_are_done(struct ft_pair *p, u64 now_ns)
{
	if (p->held.fill && now_ns < p->copy.stand_ns)
		return false;
	for (u32 left = ~0U; p->role == FT_COPYING && p->held.fill && ft_now(p) < now_ns + DRAIN_NS; ft_wait(p, DRAIN_NS / 8))
		if (p->held.cost < left) { /* it goes on */
			left = p->held.cost;
			now_ns = ft_now(p);
		}
	p->copy.stand_ns = ft_now(p) + DRAIN_AGAIN_NS;
	if (p->held.fill)
		p->copy.ready = false; /* what changes until then goes in another round */
	return p->role == FT_COPYING && !p->held.fill;
}

void ft_copy_stand(struct ft_pair *p, const struct execpoint *now)
{
	struct ft_start start = { .at = *now, .units = p->made, .questions = p->asked, .epochs = p->epochs };
	u64 began;

	if (p->role != FT_COPYING || !p->copy.ready || p->ship.tx.end - p->ship.tx.acked > STAND_BACKLOG)
		return;
	ft_look(p);
	began = ft_now(p);
	if (!writes_are_done(p, began))
		return;
	/* What was not given of the last round, and what changed since it began. */
	if (!give_pages(p) || p->role != FT_COPYING)
		return;
	p->env->machine->copy_round(p->env->machine->ctx);
	if (!give_pages(p) || p->role != FT_COPYING || !give_state(p, &start))
		return;
	pair_guard(p, &start);
	p->s.join_rounds = p->copy.rounds;
	ft_look(p);
	p->s.join_pause_ns = ft_now(p) - began;
	p->ship.flush_to = p->ship.ask_to = p->ship.tx.end;
}

/* --- receiving ---------------------------------------------------------------------- */

static void give_up(struct ft_pair *p, const char *why)
{
	ft_send_bye(p, FT_LOAD_FAILED);
	pair_seek(p, why);
}

static void take_state(struct ft_pair *p, const u8 *part, u32 size)
{
	struct ft_follow *f = &p->follow;

	if (size > p->m.state_bytes - f->state_fill) {
		give_up(p, "the machine's state is too big");
		return;
	}
	memcpy(p->m.state + f->state_fill, part, size);
	f->state_fill += size;
}

static void take_start(struct ft_pair *p, const struct ft_start *start)
{
	const struct ft_machine *m = p->env->machine;
	u64 digest = 0;
	err_t err = m->load(m->ctx, p->m.state, p->follow.state_fill, &digest);

	ft_look(p); /* that has taken a while */
	if (err)
		give_up(p, "the machine's state could not be loaded");
	else if (!ft_digests_agree(digest, start->digest))
		give_up(p, "the copy's digest differs");
	else
		pair_follow(p, start);
}

void ft_copy_take(struct ft_pair *p, const struct ft_record *rec)
{
	const struct ft_machine *m = p->env->machine;

	if (p->role != FT_LOADING)
		return;
	if (rec->kind == FT_STATE)
		take_state(p, rec->state, rec->state_bytes);
	else if (rec->kind == FT_START)
		take_start(p, &rec->start);
	else if (m->put_page(m->ctx, &rec->page))
		give_up(p, "a page has no place here");
}
