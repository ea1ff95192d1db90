/*
 * ftstatus.h - what a host of a pair tells whoever asks: `reprise ft status`, the demo, scripts.
 *
 * A UNIX socket.  Who connects gets a block: lines "key: value", then an empty line; and another
 * block at every change, for as long as he stays.  Nothing is read from him.  One who reads
 * slowly misses blocks, never parts of them.  Keys: side, pid, qemu_pid, pair, here, peer, arbiter,
 * then those of the hypervisor's `ft` lines [session.h] as it says them, role and state first.
 */
#ifndef TOOLS_FTSTATUS_H
#define TOOLS_FTSTATUS_H

#include <poll.h>

#include "tools/tool.h"

#define STATUS_CLIENTS 8
#define STATUS_NFDS (1 + STATUS_CLIENTS)
#define STATUS_PREFIX "reprise-ft-" /* of the socket's name, where none is given */

struct status_client {
	int fd;            /* -1: a free place */
	unsigned edition;  /* of the block it has, or is getting */
	struct buf block;
	size_t sent;
};

struct ftstatus {
	char path[108];
	int listener;      /* -1: closed */
	unsigned edition;
	struct buf block;  /* the newest */
	struct status_client client[STATUS_CLIENTS];
};

/* The directory for sockets nobody named: $XDG_RUNTIME_DIR or /tmp. */
const char *ftstatus_directory(void);

/* path NULL: one of this process.  Complains. */
enum status ftstatus_open(struct ftstatus *s, const char *path) must_check;
/* A new block: head's lines, then the pairs of an `ft` line behind that word. */
void ftstatus_set(struct ftstatus *s, const struct buf *head, const char *pairs);
unsigned ftstatus_watch(const struct ftstatus *s, struct pollfd fds[STATUS_NFDS]);
void ftstatus_turn(struct ftstatus *s, const struct pollfd *fds, unsigned nfds);
void ftstatus_close(struct ftstatus *s);

/* ---- the other end ---- */

/* A connection, non-blocking; -1 with errno. */
int ftstatus_connect(const char *path);
/* Takes the first whole block out of what has come, as a string without its empty line; false: there is none yet. */
bool ftstatus_block(struct buf *heard, struct buf *block) must_check;
/* The value of a key of a block, of its last line of that name; false: it has none. */
bool ftstatus_get(const char *block, const char *key, char *value, size_t size);

#endif
