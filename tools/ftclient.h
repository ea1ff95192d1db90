/*
 * ftclient.h - the demo's client: numbered requests over one TCP connection, every answer checked.
 *
 * The server in the guest says "seqd 1"; then to each line "SEQ PAYLOAD" it answers "SEQ SUM", in
 * order, where SUM is 64-bit FNV-1a over every byte it was ever sent on this connection.  An answer
 * so speaks for the whole past: what a takeover lost, repeated or made up shows in each answer
 * after it.  (tests/net/seq.h is the server's side of the same.)
 *
 * Nothing connects again: the connection that broke is what the demo is about.
 */
#ifndef TOOLS_FTCLIENT_H
#define TOOLS_FTCLIENT_H

#include <poll.h>

#include "tools/tool.h"

#define CLIENT_DUE_MAX 4096 /* requests without an answer; then it waits */

enum client_state {
	CLIENT_IDLE,
	CLIENT_CONNECTING,  /* and greeting; tries again until somebody answers */
	CLIENT_SENDING,
	CLIENT_LEAVING,     /* all is asked; answers, and the server's end, are waited for */
	CLIENT_DONE,
};

struct client {
	enum client_state state;
	const char *address;
	unsigned port;
	u64 period_ns;         /* between two requests */
	u64 patience_ns;
	int fd;                /* -1: none */
	u64 seed, try_at_ns;
	u64 next_send_ns, heard_ns; /* when the newest answer came, or all were there */
	u64 sent, next;        /* of the requests that is answered next */
	u64 answered, repeated, contradicted, left_out; /* answered: rightly; left out: a later one was */
	u64 sum;               /* of all that was sent */
	struct { u64 sent_ns, sum; } due[CLIENT_DUE_MAX]; /* at number % CLIENT_DUE_MAX */
	u64 pause_ns, pause_from_ns; /* the longest wait since client_mark, and when it began */
	char broken[128];      /* empty: it is not */
	char out[8192], in[8192];
	size_t out_size, in_size;
};

/* rate: requests a second.  Without an answer for patience_ns the connection is broken. */
void client_init(struct client *c, const char *address, unsigned port, unsigned rate, u64 patience_ns, u64 seed);
void client_connect(struct client *c);
/* From here on pauses are measured anew; one that lasts counts from its beginning. */
void client_mark(struct client *c);
/* The longest wait for an answer that was due, since the mark; one that still lasts is in it. */
u64 client_pause_ns(const struct client *c, u64 now_ns);
void client_leave(struct client *c);
/* Requests without an answer. */
u64 client_lost(const struct client *c);

/* What it waits for, and until when at most: UINT64_MAX, for ever. */
struct pollfd client_watch(const struct client *c, u64 *until_ns);
void client_turn(struct client *c, short revents, u64 now_ns);
void client_close(struct client *c);

#endif
