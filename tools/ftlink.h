/*
 * ftlink.h - a host's end of the link of a pair: a UDP socket that QEMU gets as the wire of a
 * network adapter.
 *
 * It is connected: only the peer's datagrams come in.  Which of the two adapters' addresses
 * is ours follows from the two ends' addresses, the same on both hosts, unless something
 * between them changes addresses.
 */
#ifndef TOOLS_FTLINK_H
#define TOOLS_FTLINK_H

#include "tools/tool.h"

struct ftlink {
	int fd;
	char side;             /* 'a': the lower address; 'b' */
	unsigned datagram_bytes; /* of an Ethernet frame's payload that gets to the peer in one piece */
	char here[80], peer[80]; /* ADDRESS:PORT, for people */
};

/* listen: [HOST:]PORT, NULL: the peer's port.  side: 0, or what the operator says.  Complains. */
enum status ftlink_open(struct ftlink *l, const char *peer, const char *listen, char side) must_check;

/* The adapter's address. */
const char *ftlink_mac(const struct ftlink *l);

#endif
