/*
 * net.c - the link between the hosts, and the clients' network.
 *
 * Both lose, repeat, delay, reorder and damage what they carry, as the seed
 * says.  The clients' network is a switch: what is for the machine goes to the
 * host that last spoke for it.
 */
#include <stdlib.h>

#include "tests/sim/sim.h"

/* ---- packets: a free list ---- */

static struct packet *unused, *slabs[64];
static unsigned nslabs;
#define SLAB 256

static void thread(struct packet *slab)
{
	for (unsigned i = 0; i < SLAB; i++) {
		slab[i].next = unused;
		unused = &slab[i];
	}
}

void packets_reset(void)
{
	unused = NULL;
	for (unsigned i = 0; i < nslabs; i++)
		thread(slabs[i]);
}

struct packet *packet_new(const void *data, u32 size)
{
	struct packet *p;

	if (!unused) {
		if (nslabs == ARRAY_SIZE(slabs))
			abort();
		slabs[nslabs] = malloc(SLAB * sizeof(struct packet));
		if (!slabs[nslabs])
			abort();
		thread(slabs[nslabs++]);
	}
	p = unused;
	unused = p->next;
	p->size = size;
	p->damaged = false;
	memcpy(p->data, data, size);
	return p;
}

void packet_free(struct packet *p)
{
	p->next = unused;
	unused = p;
}

/* ---- the link ---- */

static u64 travel_time(const struct link_quality *q)
{
	u64 ns = rng_between(&sim.rng, q->delay_min, q->delay_max);

	return q->late && rng_chance(&sim.rng, q->late) ? ns + rng_below(&sim.rng, q->late_max) : ns;
}

static void damage(struct packet *p, const void *data, u32 size)
{
	for (u64 n = 1 + rng_below(&sim.rng, 3); n; n--)
		p->data[rng_below(&sim.rng, p->size)] ^= (u8)(1 << rng_below(&sim.rng, 8));
	if (rng_chance(&sim.rng, 100))
		p->size = 1 + (u32)rng_below(&sim.rng, p->size);
	p->damaged = p->size != size || memcmp(p->data, data, size);
}

static void arrive_after(struct host *from, unsigned to, const void *data, u32 size, u64 ns)
{
	const struct link_quality *q = &sim.sc.link[from->id][to];
	struct packet *p = packet_new(data, size);

	p->from = from->id;
	if (q->corrupt && rng_chance(&sim.rng, q->corrupt))
		damage(p, data, size);
	sched_add(sim.now + ns, EV_DATAGRAM, to, 0, p);
}

static void carry(struct host *from, unsigned to, const void *data, u32 size)
{
	const struct link_quality *q = &sim.sc.link[from->id][to];
	unsigned copies = 1;

	if (sim.sc.blocked[from->id][to] || (q->loss && rng_chance(&sim.rng, q->loss))) {
		TRACE("net", to, "lost");
		return;
	}
	if (q->dup && rng_chance(&sim.rng, q->dup))
		copies++;
	while (copies--)
		arrive_after(from, to, data, size, travel_time(q));
	if (q->echo && rng_chance(&sim.rng, q->echo))
		arrive_after(from, to, data, size, rng_below(&sim.rng, q->echo_max));
}

void net_send(struct host *from, u64 to, const void *data, u32 size)
{
	bool last = ++from->sends == from->crash_at_send;

	if (last && from->crash_before)
		host_crash(from, "before a message");
	check_sent(from);
	if (sim.trace)
		trace_message("sends", from->id, to, data, size);
	for (unsigned i = 0; i < NHOSTS; i++)
		if (i != from->id && (to == FT_EVERYBODY || to == i))
			carry(from, i, data, size);
	if (last)
		host_crash(from, "behind a message");
}

void net_arrive(struct host *h, struct packet *p)
{
	if (h->state != HOST_UP || h->nic_n == NIC_DEPTH) {
		packet_free(p);
		return;
	}
	h->nic[(h->nic_first + h->nic_n++) % NIC_DEPTH] = p;
	host_kick(h);
}

/* ---- the clients' network ---- */

void lan_from_host(struct host *h, const void *data, u32 size)
{
	const struct reply *r = data;

	sim.lan_port = h->id;
	if (rng_chance(&sim.rng, sim.sc.lan.loss) || size < offsetof(struct reply, bulk) || r->client >= NCLIENTS)
		return;
	for (unsigned copies = rng_chance(&sim.rng, sim.sc.lan.dup) ? 2 : 1; copies; copies--)
		sched_add(sim.now + travel_time(&sim.sc.lan), EV_TO_CLIENT, r->client, 0, packet_new(data, size));
}

void lan_from_client(unsigned client unused_arg, const void *data, u32 size)
{
	if (rng_chance(&sim.rng, sim.sc.lan.loss))
		return;
	for (unsigned copies = rng_chance(&sim.rng, sim.sc.lan.dup) ? 2 : 1; copies; copies--)
		sched_add(sim.now + travel_time(&sim.sc.lan), EV_TO_GUEST, 0, 0, packet_new(data, size));
}

static void to_nic(struct host *h, struct packet *p)
{
	if (h->state != HOST_UP || h->guest_n == GUEST_NIC_DEPTH) {
		packet_free(p);
		return;
	}
	h->guest_nic[(h->guest_first + h->guest_n++) % GUEST_NIC_DEPTH] = p;
	host_kick(h);
}

/* Where the guest was heard last; everywhere, if that cable has gone dead, or the network is a hub. */
void lan_to_guest(struct packet *p)
{
	const bool everywhere = sim.sc.hub || sim.host[sim.lan_port].state != HOST_UP;

	for (unsigned i = 0; i < NHOSTS; i++)
		if (i != sim.lan_port && everywhere)
			to_nic(&sim.host[i], packet_new(p->data, p->size));
	to_nic(&sim.host[sim.lan_port], p);
}
