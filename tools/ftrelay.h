/*
 * ftrelay.h - the cable between the two hosts of the demo: it counts, and can be cut.
 *
 *     host a  <-- UDP -->  port[0] | relay | port[1]  <-- UDP -->  host b
 *
 * What comes from a host's own address at its port goes to the other host from the other port.
 * With faults, datagrams are lost, repeated, or held until one has overtaken them, as a seed
 * says: of so many thousand.  A straight cable has no relay: each host is told where the other is.
 */
#ifndef TOOLS_FTRELAY_H
#define TOOLS_FTRELAY_H

#include <netinet/in.h>
#include <poll.h>

#include "tools/tool.h"

#define CABLE_NFDS 2

struct cable_faults {
	unsigned lose, duplicate, reorder; /* of a thousand */
	u64 seed;
};

struct cable_way {
	u64 datagrams, bytes;  /* that came in: Ethernet frames, without what carries them */
	u64 lost, strangers;
	u16 held_size;         /* one that is to be overtaken; 0: none */
	u8 held[65536];
};

struct cable {
	int fd[2];
	struct sockaddr_in host[2], own[2]; /* where a host is, and where it finds the other's end of the cable */
	bool cut;
	struct cable_faults faults;
	u64 random;
	struct cable_way way[2]; /* what comes from host a, from host b */
};

/* A socket of that type on a port of 127.0.0.1 that is free, which *a names; -1: none.  Closed, the port is free for somebody else. */
int loopback_bind(int type, struct sockaddr_in *a);

/* Complains.  faults NULL: a straight one. */
enum status cable_open(struct cable *c, const struct cable_faults *faults) must_check;
static inline bool cable_straight(const struct cable *c)
{
	return c->fd[0] < 0;
}
void cable_watch(const struct cable *c, struct pollfd fds[CABLE_NFDS]);
void cable_turn(struct cable *c, const struct pollfd fds[CABLE_NFDS]);
void cable_close(struct cable *c);

#endif
