/*
 * gdbrelay.h - between one TCP client and the machine's third serial port,
 * where the hypervisor speaks GDB's remote protocol.
 *
 * Bytes are carried, never looked at.  A port has no end of a connection, so
 * the control channel says what the bytes cannot [session.h]:
 *   1  Nothing of a client is sent before the hypervisor said `debugging`:
 *      until then the address is ours, but nobody listens there.
 *   2  There is one client at a time.  Another one is closed at once.
 *   3  When it has gone, all it said is first taken by QEMU, then the
 *      hypervisor is told `detached`.  It empties its port and answers the
 *      same.
 *   4  In between, what the port says was for the client that has gone and is
 *      dropped, and no client is accepted.
 *
 *   CLOSED -open-> IDLE -accept-> SERVING -its end-> LEAVING -told-> FORGETTING
 *                   ^------------------ answered ------------------------'
 *
 * The session's loop [session.c] owns the port and calls watch and turn.
 */
#ifndef TOOLS_GDBRELAY_H
#define TOOLS_GDBRELAY_H

#include <poll.h>

#include "tools/tool.h"

enum relay_state {
	RELAY_CLOSED,
	RELAY_IDLE,
	RELAY_SERVING,
	RELAY_LEAVING,
	RELAY_FORGETTING,
};

/* A side is read only while its buffer is empty. */
struct relay_buffer {
	u8 data[4096];
	size_t at, size;
};

#define RELAY_NFDS 3
#define RELAY_NAME_MAX 80

struct gdbrelay {
	enum relay_state state;
	int listener, client;  /* -1: none */
	int serial;            /* our end of the port; -1: it is gone, or not yet there */
	bool remarks;          /* on clients that are refused */
	u64 left_ms;           /* LEAVING: since when */
	struct relay_buffer said, answer; /* by the client, by the hypervisor */
};

/*
 * HOST:PORT, :PORT or PORT; a HOST with colons stands in brackets.  No host
 * is this one alone, 127.0.0.1.
 */
bool gdbrelay_address(const char *where, char host[256], char port[8]) must_check;

/* Nothing open. */
void gdbrelay_init(struct gdbrelay *r);
/*
 * A client of our own, over a socket that becomes the relay's; nobody else can
 * come then.  The hypervisor is ready.
 */
void gdbrelay_give(struct gdbrelay *r, int client);
/* Makes the address ours.  False after a complaint.  Then gdbrelay_close is due. */
bool gdbrelay_bind(struct gdbrelay *r, const char *where) must_check;
/* The hypervisor is ready: clients may come to "HOST:PORT", name. */
bool gdbrelay_open(struct gdbrelay *r, char name[RELAY_NAME_MAX]) must_check;
void gdbrelay_close(struct gdbrelay *r);

/* What it waits for; poll passes over negative descriptors.  How long at most: -1, for ever. */
int gdbrelay_watch(const struct gdbrelay *r, struct pollfd fds[RELAY_NFDS]);
/* After a poll.  True: the hypervisor is to be told `detached`, now. */
bool gdbrelay_turn(struct gdbrelay *r, const struct pollfd fds[RELAY_NFDS]) must_check;
/* It has answered. */
void gdbrelay_forgotten(struct gdbrelay *r);

#endif
