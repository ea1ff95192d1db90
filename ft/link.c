/*
 * link.c - the pump: datagrams in, the store, timers, outputs, datagrams out.
 *
 *   1  sending     2  who speaks     3  kinds     4  the pump
 *
 * All that a host does without being asked by its VM begins here.  A datagram
 * that is not in the session, or not from the partner, changes nothing (I16).
 */
#include "ft/pair.h"

#define ETHERNET_HEADER_BYTES 14
#define PUMP_DATAGRAMS 256       /* taken in one pump, so that timers are served, too */
#define OVER_EVERY_NS 10000000
#define LEAST_WAIT_NS 20000
#define SLOW_PART 4              /* of detect_ns, for a poll interval */
#define BYES 3                   /* they may be lost, and nobody answers them */

/* --- 1  sending ------------------------------------------------------------------ */

void ft_send(struct ft_pair *p, const struct ft_message *m, u64 to)
{
	u32 size = ft_encode(m, p->c.pair, p->env->room(p->env->ctx));

	p->s.sent++;
	p->s.sent_bytes += size + ETHERNET_HEADER_BYTES;
	p->env->send(p->env->ctx, to, size);
}

void ft_send_bye(struct ft_pair *p, enum ft_bye why)
{
	const struct ft_message m = { .kind = FT_BYE, .session = p->session, .bye = why };

	for (unsigned i = 0; i < BYES; i++)
		ft_send(p, &m, p->other_at);
}

static void say_hello(struct ft_pair *p, u64 now_ns)
{
	const struct ft_message m = { .kind = FT_HELLO, .hello = {
		.version = FT_LINK_VERSION, .id = p->me, .build = p->c.build, .probe = p->c.probe, .head = p->c.head,
		.log_room = p->m.ring_bytes, .held_room = p->held.bound } };

	p->hello_ns = now_ns + p->c.timers.hello_ns;
	ft_send(p, &m, FT_EVERYBODY);
}

static void say_welcome(struct ft_pair *p)
{
	const struct ft_message m = { .kind = FT_WELCOME, .session = p->session, .welcome = {
		.seeker = p->other, .id = p->me, .term = p->word.term + 1 } };

	ft_send(p, &m, p->other_at);
}

static void refuse(struct ft_pair *p, u64 seeker, u64 to, enum ft_refusal reason, u64 mine, u64 yours)
{
	const struct ft_message m = { .kind = FT_REFUSE, .refuse = {
		.seeker = seeker, .reason = (u8)reason, .mine = mine, .yours = yours } };

	ft_send(p, &m, to);
}

/* --- 2  who speaks ----------------------------------------------------------------- */

/* Whether the two can run one machine; if not, both say why. */
static bool alike(struct ft_pair *p, const struct ft_hello *h, u64 from)
{
	const struct { enum ft_refusal reason; u64 mine, yours; } must[] = {
		{ FT_OTHER_LINK, FT_LINK_VERSION, h->version },
		{ FT_OTHER_BUILD, p->c.build, h->build },
		{ FT_OTHER_PROBE, p->c.probe, h->probe },
		{ FT_OTHER_MACHINE, p->c.head, h->head },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(must); i++)
		if (must[i].mine != must[i].yours) {
			refuse(p, h->id, from, must[i].reason, must[i].mine, must[i].yours);
			return false;
		}
	if (h->log_room < 2 * p->c.datagram_bytes || h->held_room < FT_HELD_SEAM(p->held.longest)) {
		refuse(p, h->id, from, FT_NO_ROOM, 2 * p->c.datagram_bytes, h->log_room);
		return false;
	}
	return true;
}

static const char *refusal(unsigned reason)
{
	static const char *const what[] = {
		[FT_OTHER_LINK] = "link version", [FT_OTHER_BUILD] = "build", [FT_OTHER_PROBE] = "host probe",
		[FT_OTHER_MACHINE] = "machine", [FT_NO_ROOM] = "room",
	};

	return reason && reason < ARRAY_SIZE(what) ? what[reason] : "reason unknown to this host";
}

/*
 * Where the partner was somebody else says HELLO: it has begun anew, and need not be waited for.  Two of
 * them: one may have been on its way for long, from a life before.
 */
static void begun_anew(struct ft_pair *p, u64 id)
{
	if (p->anew != id) {
		p->anew = id;
		return;
	}
	p->anew = 0;
	if (p->role == FT_COPYING || p->role == FT_GUARDED)
		pair_drop(p, "it began anew");
	else if (p->role == FT_PRIMARY)
		pair_part(p, "beginning anew");
	else
		p->ship.silent = true;
}

static void take_hello(struct ft_pair *p, const struct ft_hello *h, u64 from)
{
	if (ft_ships(p->role) && p->role != FT_PARTING && from == p->other_at && h->id != p->other)
		begun_anew(p, h->id);
	if (p->role == FT_COPYING && h->id == p->other && from == p->other_at)
		say_welcome(p); /* the first was lost */
	else if (p->role == FT_ALONE && !p->tail && !p->amid && h->id && h->id != p->me && alike(p, h, from)) {
		pair_welcome(p, h, from);
		say_welcome(p);
	}
}

static void take_refuse(struct ft_pair *p, const struct ft_refuse *r)
{
	if (p->role == FT_SEEKING && r->seeker == p->me)
		pair_stop(p, VM_HOST_FAILED, "refused by the live host: its %s is %lx, this host's %lx",
			  refusal(r->reason), r->mine, r->yours);
}

/* Somebody speaks in a session that is not ours: a host that does not know yet that it is out. */
static void say_over(struct ft_pair *p, u32 session, u64 to, u64 now_ns)
{
	const struct ft_message m = { .kind = FT_OVER, .session = session, .over = p->word.term };

	if (!ft_is_live(p->role) || now_ns < p->over_ns)
		return;
	p->over_ns = now_ns + OVER_EVERY_NS;
	ft_send(p, &m, to);
}

/* --- 3  kinds ---------------------------------------------------------------------- */

/* A live host that is told so asks the store; a secondary waits for silence: it may be told wrongly (I6). */
static void take_over_notice(struct ft_pair *p)
{
	if (p->role == FT_PRIMARY)
		pair_part(p, "in another session");
	else if (p->role == FT_LOADING)
		pair_seek(p, "the session is over");
}

/* The word never named this host: it has a machine, but no part in the pair. */
static void given_up(struct ft_pair *p)
{
	p->s.may_join = true;
	pair_stop(p, VM_QUIT, "given up by the live host before the pair was made");
}

static void take_bye(struct ft_pair *p, u8 why)
{
	if (p->role == FT_COPYING || p->role == FT_GUARDED)
		pair_drop(p, "it leaves");
	else if (p->role == FT_ENLISTING)
		p->ship.silent = true; /* the store's answer first */
	else if (p->role == FT_PRIMARY)
		pair_part(p, "leaving");
	else if (p->role == FT_LOADING)
		pair_seek(p, "the live host leaves");
	else if (p->role != FT_SECONDARY)
		return;
	else if (why == FT_ENDED)
		p->follow.done = true;
	else if (why == FT_DIGESTS_DIFFER)
		pair_stop(p, VM_DIVERGED, "the primary stopped because the digests differ");
	else if (why == FT_GIVEN_UP)
		given_up(p);
	else if (ft_may_claim(p))
		pair_claim(p, "leaving");
}

static void take_diverged(struct ft_pair *p, const struct ft_diverged *d)
{
	if (p->role != FT_PRIMARY && p->role != FT_ENLISTING && p->role != FT_GUARDED)
		return;
	p->s.divergence = (struct divergence){ .found = true, .what = "the secondary's digest differs", .epoch = d->epoch,
					       .at = { .count = d->count, .vtime_ns = d->vtime_ns },
					       .expected = d->expected, .got = d->got };
	if (p->c.on_divergence == FT_STOP_BOTH) {
		ft_send_bye(p, FT_DIGESTS_DIFFER);
		pair_stop(p, VM_DIVERGED, "the digests differ at epoch %lu, instruction %lu", d->epoch, d->count);
		return;
	}
	pair_say(p, "the secondary's digest differs at epoch %lu, instruction %lu", d->epoch, d->count);
	if (p->role == FT_PRIMARY)
		pair_part(p, "another machine");
	else if (p->role == FT_GUARDED)
		pair_drop(p, "its digest differs");
	else
		p->ship.silent = true;
}

static void take_in_session(struct ft_pair *p, const struct ft_message *m, u64 now_ns)
{
	switch (m->kind) {
	case FT_DATA:
		if (p->role == FT_LOADING || p->role == FT_SECONDARY || p->role == FT_CLAIMING)
			ft_follow_data(p, m, now_ns);
		break;
	case FT_ACK:
		if (ft_ships(p->role))
			ft_ship_ack(p, m, now_ns);
		break;
	case FT_DIVERGED:
		take_diverged(p, &m->diverged);
		break;
	case FT_BYE:
		take_bye(p, m->bye);
		break;
	case FT_OVER:
		take_over_notice(p);
		break;
	default:
		break;
	}
}

static void take(struct ft_pair *p, const struct ft_message *m, u64 from, u64 now_ns)
{
	if (m->kind == FT_HELLO)
		take_hello(p, &m->hello, from);
	else if (m->kind == FT_REFUSE)
		take_refuse(p, &m->refuse);
	else if (m->kind == FT_WELCOME) {
		if (p->role == FT_SEEKING && m->welcome.seeker == p->me && m->session)
			pair_load(p, &m->welcome, m->session, from);
	} else if (ft_of_session(p, m->session, from))
		take_in_session(p, m, now_ns);
	else if (m->kind == FT_DATA || m->kind == FT_ACK)
		say_over(p, m->session, from, now_ns);
}

/* --- 4  the pump ------------------------------------------------------------------- */

static void receive(struct ft_pair *p)
{
	struct ft_message m;
	const u8 *arrived;
	u64 from;
	u32 size;

	for (unsigned i = 0; i < PUMP_DATAGRAMS; i++) {
		arrived = p->env->receive(p->env->ctx, &from, &size);
		if (!arrived)
			return;
		p->s.received++;
		p->s.received_bytes += size + ETHERNET_HEADER_BYTES;
		if (ft_decode(&m, p->c.pair, arrived, size))
			take(p, &m, from, ft_now(p));
		else
			p->s.refused++;
	}
}

void ft_serve(struct ft_pair *p)
{
	const enum ft_role before = p->role;
	u64 now;

	receive(p);
	if (p->role != before || p->role == FT_LOADING)
		ft_look(p); /* taking a machine in lasts */
	now = ft_now(p);
	ft_claim_step(p, now);
	if (ft_ships(p->role)) {
		ft_ship_timers(p, now);
		ft_release(p);
		ft_ship_send(p, now);
	} else if (p->role == FT_ALONE) {
		ft_release(p);
	} else if (p->role == FT_LOADING || p->role == FT_SECONDARY || p->role == FT_CLAIMING) {
		ft_follow_timers(p, now);
		if (p->session)
			ft_follow_send(p, now);
	} else if (p->role == FT_SEEKING && now >= p->hello_ns) {
		say_hello(p, now);
	}
	p->let_go_ns = ft_now(p);
}

void ft_serve_amid(struct ft_pair *p)
{
	const u64 let_go_ns = p->let_go_ns;

	ft_serve(p);
	p->let_go_ns = let_go_ns;
}

/*
 * A computer that is busy with other things may take as long for a poll interval as the other host waits for
 * a sign of life.  Then the guest is stopped more often; else it is not: each stop costs it all of QEMU's
 * translations.
 */
static bool slow(const struct ft_pair *p)
{
	return p->session && p->ran_ns > p->c.timers.detect_ns / SLOW_PART;
}

void ft_let_go(struct ft_pair *p)
{
	ft_look(p);
	p->let_go_ns = ft_now(p);
}

void ft_begin_interval(struct ft_pair *p)
{
	if (!slow(p))
		p->b.ask_within_insns = 0;
	p->ran_ns = 0;
}

void ft_pump(struct ft_pair *p)
{
	ft_look(p);
	p->unserved = p->passed_by = 0;
	p->looked_at = p->now.count;
	p->ran_ns += ft_now(p) - p->let_go_ns;
	if (slow(p))
		p->b.ask_within_insns = MAX(p->c.poll_insns / FT_LOOKS, 1UL);
	ft_serve(p);
}

/* When something is to be done next. */
static u64 due(const struct ft_pair *p)
{
	u64 at = p->claim.started || p->claim.open ? p->claim.again_ns : ~0UL;

	if (ft_ships(p->role))
		return MIN(at, ft_ship_due(p));
	if (p->role == FT_ALONE)
		return MIN(at, ft_release_due(p));
	if (p->role == FT_LOADING || p->role == FT_SECONDARY || p->role == FT_CLAIMING)
		return MIN(at, ft_follow_due(p));
	if (p->role == FT_SEEKING)
		return MIN(at, p->hello_ns);
	return at;
}

u64 ft_sleep(struct ft_pair *p, u64 max_ns)
{
	const struct host_port *host = p->env->host;
	u64 now = ft_now(p), at = due(p), ns = at > now ? at - now : 0;

	ns = host->wait(host->ctx, MIN(max_ns, MAX(ns, (u64)LEAST_WAIT_NS)));
	ft_let_go(p);
	return ns;
}

bool ft_meanwhile(struct ft_pair *p, u64 max_ns)
{
	p->amid = true;
	ft_wait(p, max_ns);
	p->amid = false;
	return p->role != FT_STOPPED && !p->env->host->quit(p->env->host->ctx);
}

u64 ft_wait(struct ft_pair *p, u64 max_ns)
{
	u64 ns = ft_sleep(p, max_ns);

	ft_serve(p);
	return ns;
}
