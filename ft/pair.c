/*
 * pair.c - the roles of a host, and the ways from one to another [docs/LINK.md 4].
 *
 *   1  beginnings     2  alone, and the way to a secondary
 *   3  a secondary's life     4  the end     5  what it tells
 *
 * One function a transition, named as in docs/LINK.md; each asserts nothing
 * about why it is called, and leaves the pair whole.  Nothing else changes role.
 */
#include "ft/pair.h"
#include "kernel/kfmt.h"
#include "kernel/xxh.h"

#define FINISH_NS 2000000000UL /* the host command gives us three seconds [tools/session.c] */

const struct ft_timers ft_default_timers = {
	.beat_ns = 50000000, .mark_ns = 10000000, .answer_ns = 200000000, .detect_ns = 150000000, .lease_ns = 112500000,
	.hello_ns = 200000000, .retry_ns = 20000000, .load_ns = 10000000000, .mute_ns = 1000000000,
	.join_ns = 3000000000,
};

/* --- 1  beginnings ------------------------------------------------------------------ */

void ft_init(struct ft_pair *p, const struct ft_config *c, const struct ft_env *env, const struct ft_memory *m)
{
	memset(p, 0, sizeof(*p));
	p->env = env;
	p->b.ops = &ft_boundary_ops;
	p->b.ask_at_exits = true;
	p->c = *c;
	p->m = *m;
	p->me = env->new_id(env->ctx);
	ft_look(p);
	ft_ask(p);
	live_boundary_init(&p->live, env->host);
	ft_held_init(&p->held, m->held, m->held_bytes, MAX(p->c.longest, FT_OUTPUT_MAX));
}

void ft_record(struct ft_pair *p, struct rec_writer *w)
{
	p->w = w;
	p->commit_due = w; /* what was written before the run, too */
}

void pair_say(struct ft_pair *p, const char *fmt, ...)
{
	char line[160];
	va_list ap;

	va_start(ap, fmt);
	kvsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	p->env->say(p->env->ctx, line);
}

static void become(struct ft_pair *p, enum ft_role role)
{
	p->role = role;
	p->role_ns = ft_now(p);
	p->claim.open = false;
}

/* The session is over; nobody is the other any more. */
static void part_company(struct ft_pair *p)
{
	p->session = 0;
	p->other = p->other_at = 0;
	p->ship.started = false;
}

void pair_found(struct ft_pair *p)
{
	const struct ft_word nothing = { 0 };
	struct ft_word mine = { .pair = p->c.pair, .term = 1, .owner = p->me, .member = { p->me, 0 } };

	become(p, FT_FOUNDING);
	p->claim.unknown = false;
	ft_claim_open(p, &nothing, &mine);
}

void pair_founded(struct ft_pair *p)
{
	become(p, FT_ALONE);
	ft_take_disks(p);
	pair_say(p, "live, term %lu", p->word.term);
}

bool ft_found(struct ft_pair *p)
{
	pair_found(p);
	while (p->role == FT_FOUNDING && !p->env->host->quit(p->env->host->ctx))
		ft_wait(p, FT_LONG);
	return p->role == FT_ALONE;
}

/* --- 2  alone, and the way to a secondary ------------------------------------------- */

/* A number that no session between any two hosts of this pair has had lately. */
static u32 new_session(struct ft_pair *p, u64 other)
{
	const u64 seed[4] = { p->me, other, p->word.term, ++p->sessions };
	u32 n = (u32)XXH64(seed, sizeof(seed), p->c.pair);

	return n ? n : 1;
}

void pair_welcome(struct ft_pair *p, const struct ft_hello *h, u64 from)
{
	become(p, FT_COPYING);
	p->other = h->id;
	p->other_at = from;
	p->session = new_session(p, h->id);
	ft_ship_begin(p, h->log_room, h->held_room);
	p->copy = (struct ft_copy){ 0 };
	p->s.join_rounds = p->s.join_pages = 0;
	p->env->machine->copy_begin(p->env->machine->ctx);
	pair_say(p, "a host joins: copying the machine");
}

/* From here on the other has what it takes to make our outputs; so each has its place in the log (I13). */
void pair_guard(struct ft_pair *p, const struct ft_start *start)
{
	p->env->machine->copy_end(p->env->machine->ctx);
	become(p, FT_GUARDED);
	p->ship.started = true;
	ft_ask(p); /* the other does not know when it was asked last */
	p->ship.released = p->ship.told_released = start->units;
	p->ship.told_asked = start->questions;
	p->ship.executed = start->at.count;
	p->ship.other_made = start->units;
	p->ship.marked = ft_point_of(&start->at);
}

void pair_enlist(struct ft_pair *p)
{
	struct ft_word both = ft_next_word(p, &p->word, p->other);

	become(p, FT_ENLISTING);
	p->claim.unknown = false;
	p->ship.moved_ns = p->role_ns; /* while it took its copy in it could not */
	ft_claim_open(p, &p->word, &both);
}

void pair_protect(struct ft_pair *p)
{
	become(p, FT_PRIMARY);
	p->s.joins++;
	pair_say(p, "protected, term %lu; the machine stood for %lu us", p->word.term, p->s.join_pause_ns / 1000);
}

void pair_drop(struct ft_pair *p, const char *why)
{
	if (p->role == FT_COPYING)
		p->env->machine->copy_end(p->env->machine->ctx);
	ft_send_bye(p, FT_GIVEN_UP);
	become(p, FT_ALONE);
	part_company(p);
	pair_say(p, "the host that joined is given up: %s", why);
	ft_release_all(p);
}

/*
 * Enlisting may end here, too, when it is not known whether the word names the
 * other: then `unknown` stays, and there is no way back.
 */
void pair_part(struct ft_pair *p, const char *why)
{
	bool named_perhaps = p->role == FT_ENLISTING;
	const struct ft_word from = named_perhaps ? p->claim.desired : p->word;
	struct ft_word mine = ft_next_word(p, &from, 0);

	if (!named_perhaps)
		p->claim.unknown = false;
	become(p, FT_PARTING);
	p->ship.silent = true;
	pair_say(p, "the secondary is %s: asking the store to go on alone", why);
	ft_claim_open(p, &from, &mine);
}

void pair_reunite(struct ft_pair *p)
{
	become(p, FT_PRIMARY);
	p->ship.silent = false;
	pair_say(p, "the secondary is heard again");
}

void pair_go_on_alone(struct ft_pair *p)
{
	become(p, FT_ALONE);
	part_company(p);
	pair_say(p, "unprotected, term %lu", p->word.term);
	ft_release_all(p);
}

/* --- 3  a secondary's life ----------------------------------------------------------- */

void pair_seek(struct ft_pair *p, const char *why)
{
	become(p, FT_SEEKING);
	part_company(p);
	p->me = p->env->new_id(p->env->ctx); /* another life */
	p->hello_ns = p->role_ns;
	if (why)
		pair_say(p, "seeking again: %s", why);
}

void pair_load(struct ft_pair *p, const struct ft_welcome *w, u32 session, u64 from)
{
	become(p, FT_LOADING);
	p->session = session;
	p->other = w->id;
	p->other_at = from;
	p->word = (struct ft_word){ .pair = p->c.pair, .term = w->term, .owner = w->id, .member = { w->id, p->me } };
	p->env->machine->clear(p->env->machine->ctx);
	ft_look(p); /* that has taken a while */
	ft_follow_begin(p);
}

void pair_follow(struct ft_pair *p, const struct ft_start *start)
{
	become(p, FT_SECONDARY);
	p->follow.loaded = true;
	p->now = start->at;
	p->open = ft_point_of(&start->at);
	ft_ask(p);
	p->made = p->follow.known_released = p->follow.dropped = start->units;
	p->asked = p->follow.known_asked = start->questions;
	p->epochs = start->epochs;
	p->follow.told_executed = start->at.count;
	ft_held_clear(&p->held);
	pair_say(p, "the machine is here, term %lu", p->word.term);
}

bool ft_join(struct ft_pair *p)
{
	const struct host_port *host = p->env->host;

	pair_seek(p, NULL);
	while ((p->role == FT_SEEKING || p->role == FT_LOADING) && !host->quit(host->ctx))
		ft_wait(p, FT_LONG);
	return p->role == FT_SECONDARY || p->role == FT_CLAIMING;
}

void pair_claim(struct ft_pair *p, const char *why)
{
	struct ft_word mine = ft_next_word(p, &p->word, 0);

	become(p, FT_CLAIMING);
	p->follow.heard_mute = false;
	p->claim.unknown = false;
	pair_say(p, "the primary is %s: asking the store to go live", why);
	ft_claim_open(p, &p->word, &mine);
}

void pair_forgive(struct ft_pair *p)
{
	become(p, FT_SECONDARY);
	p->follow.heard_ns = p->role_ns;
	p->follow.probed = false;
	pair_say(p, "the primary is heard again");
}

/* The log is what has come so far.  What may be unsaid is said again, before anything new (I8). */
void pair_take_over(struct ft_pair *p)
{
	become(p, FT_ALONE);
	part_company(p);
	p->tail = true;
	p->s.takeovers++;
	p->s.takeover_pause_ns = p->role_ns - p->follow.heard_ns;
	p->env->announce(p->env->ctx);
	ft_take_disks(p);
	pair_say(p, "live, term %lu, %lu us after the primary was last heard", p->word.term, p->s.takeover_pause_ns / 1000);
	ft_release_all(p);
}

/* --- 4  the end ------------------------------------------------------------------------ */

void pair_stop(struct ft_pair *p, enum vm_outcome outcome, const char *fmt, ...)
{
	va_list ap;

	if (p->role == FT_STOPPED)
		return; /* the first reason is kept */
	if (p->role == FT_COPYING)
		p->env->machine->copy_end(p->env->machine->ctx);
	become(p, FT_STOPPED);
	p->tail = false;
	ft_held_clear(&p->held);
	p->outlet = (struct ft_outlet){ 0 };
	p->s.outcome = outcome;
	va_start(ap, fmt);
	kvsnprintf(p->s.reason, sizeof(p->s.reason), fmt, ap);
	va_end(ap);
	p->env->say(p->env->ctx, p->s.reason);
}

void ft_give_up(struct ft_pair *p, const char *why)
{
	if (p->role != FT_PRIMARY || !ft_answers(p))
		return;
	p->s.may_join = true;
	pair_stop(p, VM_QUIT, "left to the other host: %s", why);
}

/* A machine that ended by itself while its outputs were withheld: they leave on the other host, or here. */
static void finish_following(struct ft_pair *p, u32 outcome, u32 guest_exit, const struct execpoint *now, u64 digest)
{
	struct ft_follow *f = &p->follow;

	while (ft_follows(p) && !p->tail && !(f->ended && f->known_released >= p->made) && !f->done &&
	       !p->env->host->quit(p->env->host->ctx))
		ft_wait(p, FT_LONG);
	if (f->ended && p->role != FT_STOPPED &&
	    (f->end.outcome != outcome || f->end.guest_exit != guest_exit || !ft_digests_agree(f->end.digest, digest)))
		ft_diverged(p, "the machine ended otherwise", now, 0, f->end.digest, digest);
	p->tail = false;
}

static void finish_shipping(struct ft_pair *p, u32 outcome, u32 guest_exit, const struct execpoint *now, u64 digest)
{
	const struct ft_end end = { .outcome = outcome, .guest_exit = guest_exit, .digest = digest };
	struct ft_held_front front;

	ft_close(p, now->count, now->vtime_ns);
	ft_ship_end(p, now, &end);
	while (ft_holds_back(p->role) && (ft_held_front(&p->held, &front) || p->ship.told_released != p->ship.released ||
					  p->ship.tx.acked != p->ship.tx.end))
		ft_wait(p, FT_LONG);
}

/* Perhaps somebody joins meanwhile, for nothing. */
static bool goes_on_alone(const struct ft_pair *p)
{
	return ft_is_live(p->role) && !ft_holds_back(p->role);
}

/* What is still on its way to a disk.  An operator who leaves does not wait for one that is out of reach for ever. */
static void finish_alone(struct ft_pair *p)
{
	struct ft_held_front front;
	const u64 until_ns = ft_now(p) + FINISH_NS;

	while (goes_on_alone(p) && ft_held_front(&p->held, &front) &&
	       (ft_now(p) < until_ns || !p->env->host->quit(p->env->host->ctx)))
		ft_wait(p, FT_LONG);
	if (goes_on_alone(p) && ft_held_front(&p->held, &front))
		pair_say(p, "left with %u bytes that did not get to a shared disk in time", p->held.cost);
}

enum vm_outcome ft_finish(struct ft_pair *p, enum vm_outcome outcome, u32 guest_exit, const struct execpoint *now,
			  u64 digest)
{
	bool by_itself = outcome != VM_QUIT && outcome != VM_HOST_FAILED && outcome != VM_DIVERGED, last;

	if (ft_follows(p) && by_itself)
		finish_following(p, outcome, guest_exit, now, digest);
	else if (ft_holds_back(p->role) && (by_itself || outcome == VM_QUIT))
		finish_shipping(p, outcome, guest_exit, now, digest);
	if (by_itself || outcome == VM_QUIT)
		finish_alone(p);
	if (p->role == FT_STOPPED)
		return p->s.outcome;
	last = p->env->disks && ft_is_live(p->role) && !p->outlet.busy && (by_itself || outcome == VM_QUIT);
	if (p->session)
		ft_send_bye(p, outcome == VM_HOST_FAILED ? FT_HOST_FAILED : outcome == VM_DIVERGED ? FT_DIGESTS_DIFFER :
			       ft_is_live(p->role) && ft_holds_back(p->role) ? FT_ENDED : FT_LEAVING);
	become(p, FT_STOPPED);
	if (last)
		p->env->disks->give_back(p->env->disks->ctx);
	return outcome;
}

/* --- 5  what it tells ------------------------------------------------------------------ */

struct boundary *ft_boundary(struct ft_pair *p)
{
	return &p->b;
}

const char *ft_role_name(enum ft_role role)
{
	static const char *const names[] = {
		[FT_IDLE] = "idle", [FT_FOUNDING] = "founding", [FT_ALONE] = "alone", [FT_COPYING] = "copying",
		[FT_GUARDED] = "guarded", [FT_ENLISTING] = "enlisting", [FT_PRIMARY] = "primary",
		[FT_PARTING] = "parting", [FT_SEEKING] = "seeking", [FT_LOADING] = "loading",
		[FT_SECONDARY] = "secondary", [FT_CLAIMING] = "claiming", [FT_STOPPED] = "stopped",
	};

	return names[role];
}

void ft_status(const struct ft_pair *p, struct ft_status *s)
{
	const u64 now = ft_now(p);
	u64 heard = ft_ships(p->role) ? p->ship.heard_ns : p->follow.heard_ns;

	*s = p->s;
	s->role = p->role;
	s->tail = p->tail;
	s->term = p->word.term;
	s->session = p->session;
	s->epochs = p->epochs;
	s->held_bytes = p->held.cost;
	s->heard_age_ns = p->session ? now - heard : 0;
	if (ft_holds_back(p->role))
		s->lag_insns = p->now.count - MIN(p->now.count, p->ship.executed);
	else if (ft_follows(p))
		s->lag_insns = p->open.count - MIN(p->open.count, p->now.count);
}
