/*
 * vswitch.c - where a frame goes.  See vswitch.h.
 *
 * Reads and changes: the switch and its ports.  Never a clock: the caller says what time it is.
 */
#include "session/vswitch.h"

#define GROUP 1UL                  /* the first bit on the wire of an address: a group's [802.3 3.2.3] */
#define RESERVED 0x0000c28001UL    /* 01-80-C2-00-00-0X, the X left out [802.1D-2004 Table 7-10] */
#define RESERVED_MASK 0xf0ffffffffffUL

/* The first byte on the wire is the lowest. */
static u64 address_at(const u8 *bytes)
{
	u64 a = 0;

	for (unsigned i = 6; i--;)
		a = a << 8 | bytes[i];
	return a;
}

static bool is_single(u64 address)
{
	return address && !(address & GROUP);
}

/* The port whose device has the address; NULL: none. */
static struct vswitch_port *owner(const struct vswitch *sw, u64 address)
{
	for (unsigned i = 0; i < sw->nports; i++)
		if (sw->port[i]->address == address)
			return sw->port[i];
	return NULL;
}

/* The station of a port with that address; 0: one that is free.  NULL: none. */
static struct vswitch_station *station(struct vswitch_port *p, u64 address)
{
	for (unsigned i = 0; i < VSWITCH_STATIONS; i++)
		if (p->station[i].address == address)
			return &p->station[i];
	return NULL;
}

static struct vswitch_station *oldest(struct vswitch_port *p)
{
	struct vswitch_station *s = &p->station[0];

	for (unsigned i = 1; i < VSWITCH_STATIONS; i++)
		if (p->station[i].heard_ns < s->heard_ns)
			s = &p->station[i];
	return s;
}

/* The sender, nobody's device, is behind this port and no other. */
static void learn(struct vswitch_port *p, u64 address, u64 now_ns)
{
	struct vswitch_station *s = station(p, address);

	for (unsigned i = 0; !s && i < p->sw->nports; i++) {
		struct vswitch_station *elsewhere = station(p->sw->port[i], address);

		if (elsewhere)
			*elsewhere = (struct vswitch_station){ 0 };
	}
	if (!s)
		s = station(p, 0);
	if (!s)
		s = oldest(p);
	*s = (struct vswitch_station){ address, now_ns };
}

/* The port a single device is behind; NULL: not known. */
static struct vswitch_port *way_to(const struct vswitch *sw, u64 address, u64 now_ns)
{
	struct vswitch_port *p = owner(sw, address);

	for (unsigned i = 0; !p && i < sw->nports; i++) {
		const struct vswitch_station *s = station(sw->port[i], address);

		if (s && now_ns - s->heard_ns < VSWITCH_AGE_NS)
			p = sw->port[i];
	}
	return p;
}

static void leave(struct vswitch_port *p, const u8 *frame, u32 size)
{
	struct vswitch_slot *slot;

	if (p->deliver) {
		p->deliver(p->ctx, frame, size);
	} else if (p->put - p->got == VSWITCH_QUEUE) {
		p->stats.lost++;
		return;
	} else {
		slot = &p->queue[p->put++ % VSWITCH_QUEUE];
		memcpy(slot->frame, frame, size);
		slot->size = (u16)size;
	}
	p->stats.out++;
}

/* --- the interface -------------------------------------------------------------------- */

err_t vswitch_plug(struct vswitch *sw, struct vswitch_port *p, const u8 *mac)
{
	u64 address = mac ? address_at(mac) : 0;

	if (sw->nports == VSWITCH_PORTS)
		return ERR_TOO_BIG;
	if (mac && (!is_single(address) || owner(sw, address)))
		return ERR_INVALID;
	/* It may have been behind another port until now. */
	for (unsigned i = 0; mac && i < sw->nports; i++) {
		struct vswitch_station *s = station(sw->port[i], address);

		if (s)
			*s = (struct vswitch_station){ 0 };
	}
	p->sw = sw;
	p->address = address;
	sw->port[sw->nports++] = p;
	return OK;
}

void vswitch_unplug(struct vswitch_port *p)
{
	struct vswitch *sw = p->sw;
	unsigned i = 0;

	if (!sw)
		return;
	while (sw->port[i] != p)
		i++;
	sw->port[i] = sw->port[--sw->nports];
	p->sw = NULL;
	p->got = p->put;
	memset(p->station, 0, sizeof(p->station));
}

void vswitch_send(struct vswitch_port *p, const u8 *frame, u32 size, u64 now_ns)
{
	struct vswitch *sw = p->sw;
	struct vswitch_port *holder, *to = NULL;
	u64 receiver, sender;

	if (!sw)
		return;
	if (size < VSWITCH_FRAME_MIN || size > VSWITCH_FRAME_MAX) {
		p->stats.refused++;
		return;
	}
	receiver = address_at(frame);
	sender = address_at(frame + 6);
	holder = is_single(sender) ? owner(sw, sender) : p;
	if (holder && holder != p) {
		p->stats.refused++;
		return;
	}
	p->stats.in++;
	if (!holder)
		learn(p, sender, now_ns);
	if ((receiver & RESERVED_MASK) == RESERVED)
		return;
	if (is_single(receiver))
		to = way_to(sw, receiver, now_ns);
	for (unsigned i = 0; i < sw->nports; i++)
		if (sw->port[i] != p && (!to || sw->port[i] == to))
			leave(sw->port[i], frame, size);
}

const u8 *vswitch_peek(const struct vswitch_port *p, u32 *size)
{
	const struct vswitch_slot *slot = &p->queue[p->got % VSWITCH_QUEUE];

	if (p->put == p->got)
		return NULL;
	*size = slot->size;
	return slot->frame;
}

void vswitch_done(struct vswitch_port *p)
{
	if (p->put != p->got)
		p->got++;
}
