/*
 * client.c - who talks to the machine: asks, waits, asks again, and remembers.
 *
 * A request is answered when its reply has come; every reply to a request is
 * the same for ever, and what it says follows from all requests answered before.
 * So a lost request, one done twice, and two histories all show.
 */
#include "tests/sim/sim.h"

static u64 payload_of(unsigned i, u32 seq)
{
	return chain_next(sim.seed * NCLIENTS + i, seq, 0x5eed);
}

static void ask(unsigned i)
{
	struct client *c = &sim.client[i];
	const struct request r = { .client = (u8)i, .seq = c->seq, .payload = c->payload };

	c->waits = true;
	c->sent_ns = sim.now;
	lan_from_client(i, &r, sizeof(r));
	sched_add(sim.now + c->patience_ns, EV_CLIENT, i, ++c->gen, NULL);
	c->patience_ns = MIN(2 * c->patience_ns, 160 * MS);
}

static void next(unsigned i)
{
	struct client *c = &sim.client[i];

	c->seq++;
	c->payload = payload_of(i, c->seq);
	c->patience_ns = 40 * MS;
	c->waits = false;
	sched_add(sim.now + rng_below(&sim.rng, sim.sc.think_max), EV_CLIENT, i, ++c->gen, NULL);
}

void clients_start(void)
{
	memset(sim.client, 0, sizeof(sim.client));
	for (unsigned i = 0; i < sim.sc.nclients; i++)
		next(i);
}

void client_event(const struct event *e)
{
	if (e->arg == sim.client[e->who].gen)
		ask(e->who);
}

void client_receive(unsigned i, const struct packet *p)
{
	struct client *c = &sim.client[i];
	const struct reply *r = (const void *)p->data;
	u64 expected = chain_next(c->chain, c->seq, c->payload);

	if (r->seq < c->seq) {
		c->repeats++;
		if (r->seq + 1 == c->seq && r->chain != c->chain)
			check_fail("client %u: two replies to request %u", i, r->seq);
		return;
	}
	if (r->seq > c->seq || !c->waits) {
		check_fail("client %u: a reply to request %u, which it has not made", i, r->seq);
		return;
	}
	if (r->chain != expected) {
		check_fail("client %u: the reply to request %u does not follow from those before", i, r->seq);
		return;
	}
	TRACE("client", i, "request %u answered after %lu us", r->seq, (sim.now - c->sent_ns) / US);
	c->chain = expected;
	c->done++;
	next(i);
}
