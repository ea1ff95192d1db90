/*
 * segment.h - does what a packet's sender has left to others [kernel/netpacket.h]: fills in the
 * checksum, and cuts a long TCP segment into frames as a network card would.
 *
 * For whoever takes nothing but frames: a host device without offloads, a switch, a guest
 * that has not agreed to more.  What comes of a packet depends on its bytes alone.
 */
#ifndef SESSION_SEGMENT_H
#define SESSION_SEGMENT_H

#include "kernel/netpacket.h"

#define SEGMENT_FRAME_MAX 1518U /* a frame with a VLAN tag; packets that are to be cut into longer ones are nobody's */
#define SEGMENT_MIN 64U         /* nor are those into less payload than that: nobody's guest keeps a host busy with crumbs */

struct segments {
	const u8 *frame;         /* the packet's, the caller's until the last was made */
	u32 size;
	u32 ip, tcp;             /* where those headers begin; tcp 0: it is not cut */
	u32 head;                /* bytes of all headers */
	u32 payload;             /* in each frame but the last */
	u32 at;                  /* of the payload done: from head on */
	u32 csum_start, csum_at; /* not cut: csum_at 0: nothing to fill in */
	bool over;
};

/* False: it asks for what cannot be done, and is lost. */
bool segments_begin(struct segments *s, const u8 *packet, u32 size) must_check;

/* The next frame into buf, SEGMENT_FRAME_MAX bytes.  Returns its size; 0: there is none. */
u32 segments_next(struct segments *s, u8 *buf);

#endif
