/*
 * boundaries.h - the implementations of the input boundary.
 *
 *   live     inputs come from the host, output goes there
 *   record   live, and every input is in the recording before the guest sees it
 *   replay   inputs come from the recording, each digest is checked
 *
 * Each is a struct that begins with struct boundary; the caller owns it.
 */
#ifndef REPLAY_BOUNDARIES_H
#define REPLAY_BOUNDARIES_H

#include "replay/hostport.h"
#include "replay/lineage.h"
#include "replay/recording.h"
#include "vmm/boundary.h"

/* How far a replay has read, to come back to. */
struct replay_place {
	struct lineage_place at;
	bool ready;            /* the event behind `at` was held ready */
	u64 epochs;
};

struct live_boundary {
	struct boundary b;
	const struct host_port *host;
	u8 buf[1024];       /* one input's bytes */
	u32 fill;           /* bytes in buf that are not yet the guest's */
	bool taken;         /* buf was handed out by the last next_input */
	unsigned taken_nic; /* ... or this NIC's frame; ~0: none */
};
void live_boundary_init(struct live_boundary *l, const struct host_port *host);
/* Something is there that next_input would hand out now: for a boundary that idles in its own way. */
bool live_has_input(struct live_boundary *l, const struct input_room *room);

struct record_boundary {
	struct boundary b;
	struct live_boundary live;
	struct rec_writer *w;
	u32 vm;
	unsigned stage;     /* recordings that the run has behind it: a fork's parents */
	bool sync;          /* output waits until what led to it is on the disk */
	bool pending;       /* events queued since the last commit */
	u8 held[1024];      /* sync: output not yet let go */
	u32 held_bytes;
};
void record_boundary_init(struct record_boundary *r, const struct host_port *host, struct rec_writer *w, u32 vm,
			  bool sync);

/*
 * Where a replay of what is recorded so far would stand, were it here: what was
 * queued is written.  Errors stick in w.
 */
struct replay_place record_tell(struct record_boundary *r, const struct execpoint *now);

/* After the VM ended: lets go what --sync still holds back. */
void record_boundary_finish(struct record_boundary *r, const struct execpoint *now);

/* Where and how a replay first differed. */
struct divergence {
	bool found;
	u64 epoch;             /* number of the digest, from 1; 0: not at a digest */
	struct execpoint at;
	u64 expected, got;     /* digests */
	const char *what;      /* in words */
};

/* Sees a replay's frames and packets as they pass: received ones when they enter, sent ones when they leave. */
struct frame_tap {
	void (*frame)(void *ctx, const struct execpoint *at, unsigned nic, bool sent, bool packet, const u8 *data, u32 size);
	void *ctx;
};

struct replay_boundary {
	struct boundary b;
	const struct host_port *host;
	const struct frame_tap *tap; /* NULL: nobody looks */
	struct lineage line;
	struct rec_event ev;   /* the next one, when have is set */
	bool have;
	err_t error;           /* ERR_END: no more events; else why the recording cannot be read on */
	u64 epochs;
	u64 show_from;         /* no output before this count */
	u64 known_to;          /* a run that goes on: up to this count nothing else has entered than what is recorded */
	u64 left_insns, left_vtime_ns; /* where the operator left the recorded run; NO_STOP: nowhere special */
	struct vm_stop *left;
	struct vm_stop *fork;    /* where the next recording of the line begins */
	struct lineage_place before; /* where `ev`, or the end, was read */
	struct divergence diverged;
};

void replay_boundary_init(struct replay_boundary *p, const struct host_port *host, struct rec_reader *r);
/* The same for a run made of several recordings. */
void replay_boundary_init_line(struct replay_boundary *p, const struct host_port *host, const struct lineage *line);

/* To be called once for a run of several recordings, with the VM that will run it. */
void replay_follow(struct replay_boundary *p, struct vm *vm);

/*
 * A checkpoint's part of a replay; and back to it, with vm->now restored
 * before.  ERR_IO and such: the recording can no longer be read.
 */
void replay_tell(const struct replay_boundary *p, struct replay_place *at);
err_t replay_seek(struct replay_boundary *p, struct vm *vm, const struct replay_place *at) must_check;

/* The recorded end of the VM, NULL if the recording was cut. */
const struct rec_end *replay_recorded_end(const struct replay_boundary *p);

/* The recorded run was left by its operator at this point, which need not be a poll point: leave it there. */
void replay_leave_at(struct replay_boundary *p, struct vm *vm, u64 insns, u64 vtime_ns);

/* After the VM ended: compares outcome, point and digest with the recorded end. */
void replay_check_end(struct replay_boundary *p, enum vm_outcome outcome, u32 guest_exit,
		      const struct execpoint *now, u64 digest);

#endif
