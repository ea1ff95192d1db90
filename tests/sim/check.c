/*
 * check.c - the invariants, seen from outside.
 *
 * The machine numbers its outputs.  Whatever number leaves a host is remembered
 * with its contents: no number ever has two, none is left out, and a host that is
 * live, or that makes that output later, has the same.
 */
#include <stdarg.h>
#include <stdio.h>

#include "kernel/xxh.h"
#include "tests/sim/sim.h"

#define MAX_OUTPUTS 8192

static struct {
	u64 hash[MAX_OUTPUTS];     /* of what left, 0: nothing yet */
	u64 n;                     /* numbers below this have left */
	struct host *live;         /* went live last */
	u64 live_life;
	enum lost lost;            /* how the last that had the machine ended */
	bool protected;            /* a host that is gone knew itself protected; the word may say so behind its back */
	u64 calm_ns, answered[NCLIENTS];
	u64 disk_term;             /* of the last write to the shared disk */
	u64 sectors, calm_sectors; /* written there; and when the calm began */
	bool crashed;              /* a host has */
} seen;

void check_reset(void)
{
	memset(seen.hash, 0, sizeof(seen.hash[0]) * MIN(seen.n + 64, (u64)MAX_OUTPUTS));
	memset((u8 *)&seen + sizeof(seen.hash), 0, sizeof(seen) - sizeof(seen.hash));
}

void check_fail(const char *fmt, ...)
{
	va_list ap;

	if (sim.failed || sim.over)
		return;
	va_start(ap, fmt);
	vsnprintf(sim.why, sizeof(sim.why), fmt, ap);
	va_end(ap);
	sim.failed = true;
	TRACE("check", 0, "FAILS: %s", sim.why);
}

static u64 hash_of(const void *data, u32 size)
{
	u64 h = XXH64(data, size, 1);

	return h ? h : 1;
}

/* As the word has it, not ft_named, which is under test. */
static bool is_member(const struct ft_word *w, const struct host *h)
{
	return w->member[0] == h->pair.me || w->member[1] == h->pair.me;
}

/* What a host reads that is out of the pair, and does not know it yet, the live one may have written since. */
static bool reads_what_it_should_not(const struct host *h)
{
	struct ft_word w;

	store_word(&w);
	return sim.sc.shares && !is_member(&w, h);
}

/* I4, I12: what a host makes is what has left, where something has. */
void check_made(struct host *h, const void *data, u32 size)
{
	const struct stamp *s = data;
	bool out_of_date = ft_is_live(h->pair.role) && h != seen.live; /* and does not know it yet: it runs on, and lets nothing out */

	if (h->spoilt || h->pair.role == FT_STOPPED || out_of_date || reads_what_it_should_not(h) || s->number >= MAX_OUTPUTS)
		return;
	if (s->number < seen.n && seen.hash[s->number] != hash_of(data, size))
		check_fail("I5: host %u makes another output %u than the one that left", h->id, s->number);
}

/* I5 to I8, I10 */
void check_release(struct host *h, const void *data, u32 size)
{
	const struct stamp *s = data;
	u64 hash = hash_of(data, size);
	struct ft_word w;

	if (size < sizeof(*s)) {
		check_fail("I7: host %u lets go of a part of an output", h->id);
		return;
	}
	TRACE("host", h->id, "output %u leaves", s->number);
	if (h != seen.live || h->lives != seen.live_life)
		check_fail("I6, I10: output %u leaves host %u, but host %u is live", s->number, h->id,
			   seen.live ? seen.live->id : 99);
	else if (s->number > seen.n)
		check_fail("I7, I8: output %u leaves host %u, but %lu has not left", s->number, h->id, seen.n);
	store_word(&w);
	if (!ft_named(&w, h->pair.me))
		check_fail("I10: output %u leaves host %u, which the word does not name", s->number, h->id);
	if (s->number >= MAX_OUTPUTS)
		return;
	if (s->number < seen.n && seen.hash[s->number] != hash)
		check_fail("I5: two outputs %u", s->number);
	seen.hash[s->number] = hash;
	seen.n = MAX(seen.n, s->number + 1UL);
}

/*
 * D1, D4.  A host that has lost may have a write under way still, that was right when it left: so it is not
 * asked who is live, but who has written since.
 */
void check_written(struct host *h, u64 term, const void *data, u32 size)
{
	const struct stamp *s = data;
	u64 hash = hash_of(data, size);

	if (term < seen.disk_term)
		check_fail("D4: host %u, of term %lu, writes output %u behind a host of term %lu", h->id, term, s->number, seen.disk_term);
	else if (s->number > seen.n)
		check_fail("D1, I7: host %u writes output %u, but %lu has not left", h->id, s->number, seen.n);
	else if (s->number < MIN(seen.n, (u64)MAX_OUTPUTS) && seen.hash[s->number] != hash)
		check_fail("D1: two outputs %u", s->number);
	seen.disk_term = term;
	seen.sectors++;
	if (s->number >= MAX_OUTPUTS)
		return;
	seen.hash[s->number] = hash;
	seen.n = MAX(seen.n, s->number + 1UL);
}

/* I5, D5: the world waits for it, here or on the other host; who is told to leave meanwhile leaves it to that one. */
void check_all_said(struct host *h)
{
	if (!h->spoilt && !h->leaves && h->machine.s.outputs > seen.n)
		check_fail("I5: host %u ends a machine that made %lu outputs, and %lu have left", h->id, h->machine.s.outputs, seen.n);
}

/* D5, D6: false: something is on its way still. */
static bool disk_is_right(void)
{
	const struct host *h = seen.live;

	if (!sim.sc.shares || !h || !host_live(h) || h->pair.tail)
		return true;
	if (h->pair.held.fill)
		return false;
	for (unsigned i = 0; i < DISK_SECTORS; i++)
		if (h->machine.s.written >> i & 1 && h->machine.s.over[i] != shared_value(i))
			check_fail("D5, D6: sector %u is not what host %u has written there", i, h->id);
	return true;
}

/* I9, I10, I14 */
void check_live(struct host *h)
{
	struct ft_word w;

	store_word(&w);
	if (w.owner != h->pair.me)
		check_fail("I9: host %u goes live, and the store says otherwise", h->id);
	if (h->spoilt && h->pair.epochs > h->spoilt_epoch && !h->pair.follow.own)
		check_fail("I14: host %u goes live with a spoilt machine", h->id);
	else if (h->spoilt)
		sim.over = true; /* nobody could know yet: from here on there is nothing to hold it to */
	seen.live = h;
	seen.live_life = h->lives;
}

/* All that a datagram may change; what is counted and when something was said lies elsewhere. */
static u64 state_of(const struct ft_pair *p)
{
	u64 h = XXH64(&p->role, offsetof(struct ft_pair, hello_ns) - offsetof(struct ft_pair, role), 1);

	return h ? h : 1;
}

/* Damaged, or said in a session that is not this host's, or not by its partner. */
static bool is_stranger(const struct ft_pair *p, const struct packet *d)
{
	unsigned kind = d->data[6] & 15;

	return d->damaged || (kind >= FT_DATA && (!p->session || (u32)read_bytes_le(d->data + 7, 4) != p->session ||
						  d->from != p->other_at));
}

/* I16 */
void check_taken(struct host *h, const struct packet *p)
{
	h->before_stranger = is_stranger(&h->pair, p) ? state_of(&h->pair) : 0;
}

void check_stranger(struct host *h)
{
	if (h->before_stranger && h->before_stranger != state_of(&h->pair))
		check_fail("I16: host %u heeds a datagram that is damaged, or of another session", h->id);
	h->before_stranger = 0;
}

/* The most of 40,000 seeds was 109. */
#define SENDS_MS 50
#define SENDS_ENOUGH 250

/* I17: two hosts that answer each other's answers get nowhere. */
void check_sent(struct host *h)
{
	if (sim.now >= h->sends_since + SENDS_MS * MS) {
		h->sends_since = sim.now;
		h->sends_then = h->sends;
	}
	if (h->sends - h->sends_then > SENDS_ENOUGH)
		check_fail("I17: host %u has sent %u datagrams within %u ms", h->id, SENDS_ENOUGH, SENDS_MS);
}

/* I5, I13, I15 */
void check_host(struct host *h)
{
	struct ft_pair *p = &h->pair;
	bool ahead = host_live(h) && !p->tail && h->life.began;

	/* A live host behind the tail has made all that ever left. */
	if (ahead && h == seen.live && h->machine.s.outputs < seen.n)
		check_fail("I5: host %u is live and has made %lu outputs, but %lu have left", h->id, h->machine.s.outputs,
			   seen.n);
	if (p->role == FT_STOPPED && (!strncmp(p->s.reason, "the log could", 13) || strstr(p->s.reason, "makes no sense")))
		check_fail("I1, I3: host %u: %s", h->id, p->s.reason);
	if (p->s.divergence.found && !sim.flipped && !reads_what_it_should_not(h))
		check_fail("I4: host %u: %s, instruction %lu, and no machine was spoilt", h->id, p->s.divergence.what,
			   p->s.divergence.at.count);
	if (p->held.cost > p->held.bound)
		check_fail("I15: host %u holds %u, its bound is %u", h->id, p->held.cost, p->held.bound);
	if (ft_holds_back(p->role) && p->now.count > p->ship.executed + p->c.max_lag_insns + MACHINE_POLL)
		check_fail("I15: host %u is %lu instructions ahead", h->id, p->now.count - p->ship.executed);
	if (sim.sc.slow_disk_only && !sim.sc.load_ns && sim.sc.power_off_after == ~0UL && (p->role == FT_PARTING || p->role == FT_CLAIMING))
		check_fail("I17: host %u takes the other for dead, whose disk is slow", h->id);
	if (p->role == FT_PRIMARY && p->other_at < NHOSTS) {
		const struct host *o = &sim.host[p->other_at];

		if (o->state == HOST_UP && o->pair.me == p->other && o->pair.role == FT_LOADING)
			check_fail("I13: host %u is protected by host %u, whose copy is not whole", h->id, o->id);
	}
}

/* ---- recordings -------------------------------------------------------------------- */

static struct rec_reader reader;
static struct replay_boundary replay;
static struct machine again;

static err_t med_read(void *ctx, u64 offset, void *buf, size_t n)
{
	const struct host *h = ctx;

	memcpy(buf, h->recording + offset, n);
	return OK;
}

static size_t no_console(void *ctx unused_arg, void *buf unused_arg, size_t n unused_arg)
{
	return 0;
}

static void no_output(void *ctx unused_arg, const void *data unused_arg, size_t n unused_arg)
{
}

static bool no(void *ctx unused_arg)
{
	return false;
}

static void no_progress(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
}

static u64 no_wait(void *ctx unused_arg, u64 max_ns)
{
	return max_ns;
}

/* I2: from the same beginning, the recording's inputs lead to the same digests and the same end. */
void check_life(struct host *h)
{
	const struct host_port port = { .console_read = no_console, .console_write = no_output, .ended = no, .quit = no,
					.wait = no_wait, .progress = no_progress };
	const struct rec_medium m = { .read = med_read, .ctx = h, .size = h->life.recording_bytes };
	struct execpoint now;
	enum vm_outcome o;
	err_t e;

	if (!h->life.written || h->spoilt || sim.failed)
		return;
	h->life.written = false;
	e = rec_reader_open(&reader, &m);
	if (e) {
		check_fail("I2: host %u: its recording does not open: %d", h->id, e);
		return;
	}
	replay_boundary_init(&replay, &port, &reader);
	again = h->life.start;
	again.host = NULL;
	again.replay_until = machine_now(&h->machine).vtime_ns + 1000 * MS;
	again.boundary = &replay.b;
	o = machine_run(&again);
	now = machine_now(&again);
	replay_check_end(&replay, o, 0, &now, machine_digest(&again));
	if (replay.diverged.found || o == VM_DIVERGED)
		check_fail("I2: host %u: its recording replays otherwise: %s, at %lu", h->id,
			   replay.diverged.what ? replay.diverged.what : "?", replay.diverged.at.count);
}

/* ---- progress ---------------------------------------------------------------------- */

void check_calm_begins(void)
{
	seen.calm_ns = sim.now;
	seen.calm_sectors = seen.sectors;
	for (unsigned i = 0; i < NCLIENTS; i++)
		seen.answered[i] = sim.client[i].done;
}

/* A primary, and a secondary that the word names beside it. */
static bool is_protected(void)
{
	struct ft_word w;

	store_word(&w);
	for (unsigned i = 0; i < NHOSTS; i++) {
		const struct host *h = &sim.host[i];

		if (h->state == HOST_UP && h->pair.role == FT_PRIMARY && ft_named(&w, h->pair.me) &&
		    ft_named(&w, h->pair.other) && h->pair.other_at < NHOSTS &&
		    sim.host[h->pair.other_at].pair.me == h->pair.other)
			return true;
	}
	return false;
}

/* Another host that has the machine, whether it runs or not, and that the word names. */
static bool somebody_has_it(const struct host *but)
{
	struct ft_word w;

	store_word(&w);
	for (unsigned i = 0; i < NHOSTS; i++) {
		const struct host *h = &sim.host[i];

		if (h != but && h->state == HOST_UP && is_member(&w, h) && h->life.began)
			return true;
	}
	return false;
}

/* Why a member that has the machine may end, if it has not crashed. */
static enum lost how_it_ended(const struct host *h)
{
	const struct ft_follow *f = &h->pair.follow;

	if (h->life.outcome == VM_POWERED_OFF)
		return LOST_BY_ITSELF;
	if (h->leaves || (f->ended && f->end.outcome == VM_QUIT))
		return LOST_LEFT;
	return sim.flipped && h->life.outcome == VM_DIVERGED ? LOST_SPOILT : NEVER_BEGAN;
}

static bool leaves_it(const struct host *h)
{
	return !strncmp(h->pair.s.reason, "left to the other host", 22);
}

/*
 * I17: a machine is lost only if it ended, was ended, or if all that had it crashed.  So no
 * member that has it ends otherwise, whatever befell the other.
 */
void check_gone(struct host *h, bool crashed)
{
	struct ft_word w;

	store_word(&w);
	seen.protected |= h->pair.s.joins || h->pair.s.takeovers;
	seen.crashed |= crashed;
	if (!h->life.began || !is_member(&w, h))
		return;
	if (!crashed && h->pair.s.may_join && (h->life.told_out || leaves_it(h))) {
		/*
		 * It found itself out, and was taken in behind its back: by an attempt of somebody who may have crashed since.
		 * Or it left its machine to a partner, who may have.
		 */
		if (somebody_has_it(h))
			return;
		if (!seen.crashed)
			check_fail("I17: nobody has the machine any more, and nobody crashed");
		seen.lost = LOST_CRASHED;
		return;
	}
	if (crashed && (seen.lost == LOST_BY_ITSELF || seen.lost == LOST_LEFT))
		return; /* the machine had come to its end; this member had yet to follow it there */
	seen.lost = crashed ? LOST_CRASHED : how_it_ended(h);
	if (seen.lost == NEVER_BEGAN)
		check_fail("I17: host %u, which has the machine, ends: %d, %s", h->id, h->life.outcome, h->pair.s.reason);
}

/* ... and if one fault only befell the pair, nobody had been protected before. */
static void check_lost(void)
{
	if (seen.lost == LOST_CRASHED && sim.sc.single && !sim.flipped && seen.protected)
		check_fail("I17: a protected machine is lost, and one host crashed");
	sim.ends[seen.lost]++;
}

#define CALM_ENOUGH (4000 * MS)
#define REPLIES_ENOUGH 3

/* I17: with nothing in the way, clients are served and the machine is protected before long. */
bool check_progress(void)
{
	const bool late = sim.now > seen.calm_ns + CALM_ENOUGH;
	bool served = true;

	for (unsigned i = 0; i < sim.sc.nclients; i++)
		served = served && sim.client[i].done >= seen.answered[i] + REPLIES_ENOUGH;
	/* Where writes take long one may always be on its way: then it must be another one. */
	if (served && is_protected() && (disk_is_right() || (late && seen.sectors > seen.calm_sectors)))
		return true;
	if (!somebody_has_it(NULL)) {
		check_lost();
		return true; /* nothing can be asked any more */
	}
	if (late)
		check_fail("I17: %s", served ? "not protected, though a second host is there" : "clients are not served");
	return false;
}
