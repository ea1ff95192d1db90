/*
 * ftplay.h - the demo's stage: two hosts as processes, the cable and the wire between them, the
 * client, and one loop that attends to all of it.
 *
 *   ftplay.c   the loop, the timeline on the terminal, the sequence of what happens
 *   fttraffic.c  the client's part
 *   fthosts.c  hosts: starting, hearing what they say, killing
 *   ftstore.c  the arbiter's store
 *
 * Everything it starts dies with it: each process asks the kernel for that, and is in a group that
 * is killed at the end.  Its files lie in one directory.
 */
#ifndef TOOLS_FTPLAY_H
#define TOOLS_FTPLAY_H

#include <signal.h>
#include <sys/types.h>

#include "tools/ftclient.h"
#include "tools/ftplain.h"
#include "tools/ftrelay.h"
#include "tools/ftshare.h"
#include "tools/ftverdict.h"
#include "tools/ftwire.h"
#include "tools/options.h"

#define SERVER_PORT 7 /* the guest's server of numbers */

struct demo_host {
	pid_t pid, qemu_pid;     /* 0: none, not known yet */
	pid_t orphan;            /* a QEMU that outlived its parent, and is about to end; it has the tap */
	unsigned life;           /* its number, of this run */
	int status;              /* of the process, as waitpid gives it, once pid is 0 */
	int talk_fd;             /* the status socket; -1: not connected */
	u64 connect_at_ns;
	struct buf heard;
	char socket[108], log[4096]; /* the log: what it said on standard error */
	int input_fd;            /* its standard input: nobody types, but somebody could */
	/* as it last said */
	char role[16], reason[256];
	u64 term, join_pause_us, pause_us, sent;
	bool protected;
	bool out;                /* of the pair: it was told so since it was started, or joined */
};

struct store {
	pid_t pid;               /* of tgtd; 0: none runs */
	char url[4200];          /* for --arbiter */
};

struct play {
	const struct options *o;
	char dir[3000];          /* of all files */
	bool keeps;              /* dir is the user's */
	const char *kernel, *initrd;
	struct demo_host host[2];
	struct cable cable;
	bool on_plain;           /* the network is plain's, and wire is not in use */
	struct plain plain;
	pid_t gateway;           /* of plain; 0: none runs */
	struct wire wire;
	u64 wire_rests_until_ns; /* what comes meanwhile is in its ring, with its time */
	struct client client;
	struct store store;
	struct ftshare share;
	struct facts facts;
	bool colours, stopped;   /* stopped: Ctrl-C, or so */
	bool traffic;            /* between the client's first request and its last */
	int signals;
	sigset_t before;         /* the mask as it was, for children */
	u64 start_ns, random;
	FILE *events;            /* the timeline for programs; NULL: not kept */
	int janitor_fd;          /* who cleans up after us has the other end */
	pid_t foreign;           /* the client that is a program; 0: none, or ended */
	int foreign_status;
	u64 link_bytes, link_from_ns, link_ns; /* while there was traffic */
	u64 join_pause_ns[EVENTS_MAX]; /* the client's longest wait while a new secondary joined */
};

/* One line of the timeline: what, in a colour if it is worth one, and the rest. */
enum shade { SHADE_PLAIN, SHADE_GOOD, SHADE_BAD, SHADE_BLOW };
void play_tell(struct play *p, enum shade shade, const char *what, const char *fmt, ...) printf_like(4, 5);
/* Frames that have come are those of the lives the hosts are in now: to be asked before one begins. */
void play_hear_wire(struct play *p);
/* Below below. */
u64 play_draw(struct play *p, u64 below);

/* Until it is so; false: not within so many seconds, or the play was stopped. */
bool play_until(struct play *p, bool (*so)(struct play *p), u64 seconds);
/* So many seconds, unless --patience says otherwise. */
u64 play_patience(const struct play *p, u64 seconds);
enum {
	READY_S = 300,   /* a boot, and a first copy, on a busy machine */
	TAKEOVER_S = 60, /* both unless --patience says otherwise */
	LEAVE_S = 5,     /* for a lost host to go by itself */
};

/* ---- fttraffic.c ---- */

/* The client has connected, or runs; false, after a word on it: nobody answers. */
bool traffic_start(struct play *p) must_check;
bool traffic_over(struct play *p);
/* It leaves, and what came of it is in p->facts.  in_order: what was asked will be answered, so it is waited for. */
void traffic_finish(struct play *p, bool in_order);

/* ---- fthosts.c ---- */

/* A process of the play's, in a group of its own, that dies with it; 0 after a complaint. */
pid_t play_spawn(struct play *p, char *const argv[], int in, int out, int err);
/* The same with nothing on its standard input, and its standard output in that file of p->dir; with errors its standard error, too. */
pid_t play_start(struct play *p, char *const argv[], const char *file, bool errors);
bool host_start(struct play *p, unsigned h, const char *as) must_check;
/* What it waits for; a descriptor of -1 if nothing. */
struct pollfd host_watch(const struct play *p, unsigned h, u64 *until_ns);
void host_turn(struct play *p, unsigned h, short revents);
/* The process has ended. */
void host_ended(struct play *p, unsigned h, int status);
void host_kill(struct play *p, unsigned h);
/* Politely. */
void host_stop(struct play *p, unsigned h);
bool host_alive(const struct play *p, unsigned h);
/* It says that it acts as the machine. */
bool host_live(const struct play *p, unsigned h);
void host_show_log(const struct play *p, unsigned h);

/* The gateway of the plain network. */
bool play_start_gateway(struct play *p) must_check;

/* ---- ftstore.c ---- */

/* kind: tgt, file; NULL: tgt if it is installed, else file. */
enum status store_open(struct play *p, const char *kind) must_check;
void store_close(struct play *p);

/* ---- ftplay.c ---- */

/* Until everybody that was started has ended; true: all of it came to pass. */
bool play_run(struct play *p) must_check;
void play_end(struct play *p);

#endif
