/*
 * faketarget.h - a SCSI target in memory, with everything that can go wrong on the way to it.
 *
 * A command is sent, accepted (reservations are looked at then), carried out, and
 * answered: each by a call of the test's, or all at once in `instant` mode.  A
 * connection can be lost at each step: the initiator then makes another and sends again
 * what was not answered, while the old copy may be on its way still.
 */
#ifndef TESTS_UNIT_FAKETARGET_H
#define TESTS_UNIT_FAKETARGET_H

#include "kernel/scsi.h"
#include "tests/unit/fakeworld.h"

enum { FAKE_BLOCKS = 8, FAKE_COMMANDS = 96, FAKE_REGISTRATIONS = 1024, FAKE_BLOCK_BYTES = 512 };

struct fake_target;

/* A host's way to the target: an initiator with its session. */
struct fake_way {
	struct scsi_port port;
	struct fake_target *target;
	u64 nexus;
	u16 attention;       /* pending; 0: none */
};

enum fake_stage { FAKE_FREE, FAKE_SENT, FAKE_QUEUED, FAKE_DONE, FAKE_ANSWERED };

struct fake_command {
	enum fake_stage stage;
	struct fake_way *way;   /* NULL: nobody hears the answer */
	u64 nexus, ticket, order;
	struct scsi_command c;
	u8 out[2 * FAKE_BLOCK_BYTES], in[FAKE_BLOCK_BYTES];
	struct scsi_reply reply;
};

struct fake_target {
	/* What it can do. */
	bool has_compare, has_reserve, has_abort, persists, keeps_nexus;
	bool unordered;         /* carries out what it has accepted in any order */
	bool instant;
	u32 block_bytes, nblocks;
	u8 lose_answer_of;      /* an operation code: done, and the answer lost, once */

	u8 block[FAKE_BLOCKS][FAKE_BLOCK_BYTES];
	struct { u64 nexus, key; } registered[FAKE_REGISTRATIONS];
	unsigned nregistered;
	u64 holder;             /* a nexus; 0: no reservation */
	u64 holder_key;

	u64 nexuses, orders;
	struct fake_command command[FAKE_COMMANDS];
	void (*on_write)(void *ctx, u64 lba, const u8 *before, const u8 *after);
	void *ctx;
	u64 ncommands[256];     /* by operation code */
};

void fake_target_init(struct fake_target *t);
void fake_way_init(struct fake_way *w, struct fake_target *t);

/* Something happens to a command drawn at random: accepted, carried out, answered.  False: there is none. */
bool fake_target_step(struct fake_target *t, struct rng *r);
void fake_way_lose(struct fake_way *w, struct rng *r);
/* Its host is gone: what it sent goes on without it. */
void fake_way_drop(struct fake_way *w);
void fake_target_restart(struct fake_target *t, struct fake_way *const *ways, unsigned n, struct rng *r);

#endif
