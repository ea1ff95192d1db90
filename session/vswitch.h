/*
 * vswitch.h - an Ethernet switch between the VMs of one hypervisor, and the host's network.
 *
 * A learning bridge [802.1D-2004 7.7 The Forwarding Process, 7.8 The Learning Process],
 * without spanning tree: it has no loops, and what begins with 01-80-C2-00-00-0 goes no
 * further.  A frame is copied once for each port it leaves by, into that port's own queue; a
 * full queue loses frames, and nobody waits for anybody.
 *
 * What a guest sends is anything.  It can fill its own share of every table and nobody
 * else's: a port remembers VSWITCH_STATIONS addresses behind it and forgets its own oldest;
 * the address of a port's device is that port's, whoever claims to be it.  A learned one goes
 * to who spoke last with it, as on any bridge.
 *
 * Host time and order of arrival are no part of a guest's run: a frame enters one as an
 * input, stamped by its boundary.
 */
#ifndef SESSION_VSWITCH_H
#define SESSION_VSWITCH_H

#include "kernel/base.h"

#define VSWITCH_PORTS 33           /* 8 VMs with 4 NICs each, and the host's network */
#define VSWITCH_QUEUE 256U         /* frames that wait at a port, a power of two */
#define VSWITCH_STATIONS 32        /* behind a port, beside its device */
#define VSWITCH_AGE_NS 300000000000UL /* unheard for so long a station is forgotten [802.1D-2004 Table 7-5] */

enum { VSWITCH_FRAME_MIN = 14, VSWITCH_FRAME_MAX = 1518 }; /* bytes, without FCS */

struct vswitch_slot {
	u16 size;
	u8 frame[VSWITCH_FRAME_MAX];
};

struct vswitch_station {
	u64 address;               /* 0: free */
	u64 heard_ns;
};

struct vswitch_port {
	struct vswitch *sw;        /* NULL: not plugged in */
	u64 address;               /* of its device; 0: it has none of its own */
	/* A frame that leaves by it; NULL: it is queued.  It must not call the switch. */
	void (*deliver)(void *ctx, const u8 *frame, u32 size);
	void *ctx;
	struct vswitch_slot *queue; /* VSWITCH_QUEUE of them, the caller's */
	u32 put, got;              /* frames ever put into the queue, and taken */
	struct vswitch_station station[VSWITCH_STATIONS];
	struct {
		u64 in, out;       /* frames that came in by it, and left */
		u64 lost;          /* that did not leave: its queue was full */
		u64 refused;       /* that came in: too short or long, or with another port's address as sender */
	} stats;
};

/* All zeros: no ports. */
struct vswitch {
	struct vswitch_port *port[VSWITCH_PORTS];
	unsigned nports;
};

/*
 * Plugs in a port whose deliver, ctx and queue are set and all else is 0, or as unplugging left it; mac is its device's
 * address, NULL for none.  ERR_TOO_BIG: all VSWITCH_PORTS are taken; ERR_INVALID: the address is
 * another port's, or no single device's.
 */
err_t vswitch_plug(struct vswitch *sw, struct vswitch_port *p, const u8 *mac) must_check;

/* Its frames are gone, and so is what was known of it.  Of one that is not plugged in, nothing. */
void vswitch_unplug(struct vswitch_port *p);

/* A frame of any size and content comes in by a port; now_ns only ever grows. */
void vswitch_send(struct vswitch_port *p, const u8 *frame, u32 size, u64 now_ns);

/* The oldest frame in the port's queue, NULL for none; it stays where it is until vswitch_done, which takes it away. */
const u8 *vswitch_peek(const struct vswitch_port *p, u32 *size);
void vswitch_done(struct vswitch_port *p);

#endif
