/*
 * checkpoint.h - states of a replayed run, kept in bounded memory.
 *
 * A checkpoint is all of a VM at one point: its state walk, an image of each of
 * its memories, and how far the recording had been read.  Neighbours share the pages
 * that did not change between them.  When the memory or the table is full the
 * one least missed goes: what is dropped can be recomputed from the one before.
 */
#ifndef REPLAY_CHECKPOINT_H
#define REPLAY_CHECKPOINT_H

#include "replay/boundaries.h"
#include "vmm/image.h"
#include "vmm/vm.h"

#define MAX_CHECKPOINTS 192
#define CHECKPOINT_STATE_MAX 49152  /* a state walk, of all vCPUs */

struct checkpoint {
	struct execpoint at;
	u64 digest;
	bool kept;             /* never dropped: the first, and those the user asked for */
	struct memory_image memory[VM_MAX_MEMORIES];
	u32 state[CHECKPOINT_STATE_MAX / PAGE_SIZE];
	u32 state_bytes;
	struct replay_place place;
};

struct checkpoints {
	struct vm *vm;
	struct replay_boundary *replay;
	struct record_boundary *recording;          /* of a run that still goes on; NULL */
	struct page_pool pool;
	struct image_keeper keeper[VM_MAX_MEMORIES]; /* one a memory */
	struct checkpoint *sorted[MAX_CHECKPOINTS]; /* by count; no two at one */
	struct checkpoint *unused[MAX_CHECKPOINTS];
	unsigned n, nunused;
	u64 taken, dropped, restored;               /* for reports */
	/* Where the run ends, once it is known: a checkpoint outside the table. */
	struct checkpoint end;
	bool has_end;
	enum vm_outcome end_outcome;
	u32 end_guest_exit;
	u8 scratch[CHECKPOINT_STATE_MAX];
	struct checkpoint store[MAX_CHECKPOINTS];
};

/* For a VM that has all its disks.  memory: size_bytes for the pool, the caller's.  ERR_INVALID: fewer than a MiB. */
err_t checkpoints_init(struct checkpoints *cs, struct vm *vm, struct replay_boundary *replay, void *memory,
		       u64 size_bytes) must_check;

/*
 * The machine as it stands at a stop, pausing [run.c]; the one that is there
 * already, if so.  Others may be dropped for it.  NULL: no memory all the same.
 */
struct checkpoint *checkpoint_take(struct checkpoints *cs);

/*
 * The same where a VM has ended, or where its run has come to so far: cs->end.
 * False: no memory.  Going back there, a VM that had ended has ended again.
 */
bool checkpoint_take_end(struct checkpoints *cs);

/*
 * The same into a checkpoint outside the table, empty before; and empties it.
 * False: no memory, though others were dropped for it; it is empty.
 */
bool checkpoint_fill(struct checkpoints *cs, struct checkpoint *c) must_check;
void checkpoint_drop(struct checkpoints *cs, struct checkpoint *c);

/* A checkpoint from elsewhere [stored.h]: its parts, then into the table.  NULL: no memory. */
struct checkpoint *checkpoint_new(struct checkpoints *cs);
err_t checkpoint_put_state(struct checkpoints *cs, struct checkpoint *c, const u8 *data, u32 size) must_check;
void checkpoint_insert(struct checkpoints *cs, struct checkpoint *c);
void checkpoint_forget(struct checkpoints *cs, struct checkpoint *c);
/* Drops the one least missed; false: there is none that may go. */
bool checkpoints_drop_one(struct checkpoints *cs);

/* A state walk's bytes into a VM, which stands there then and runs on. */
err_t checkpoint_load_state(struct vm *vm, const u8 *data, u32 size) must_check;

/* The machine stands there again; what is behind its boundary is the caller's affair. */
err_t checkpoint_restore_machine(struct checkpoints *cs, const struct checkpoint *c) must_check;

/* The machine stands there again and runs on as it did. */
err_t checkpoint_restore(struct checkpoints *cs, const struct checkpoint *c) must_check;

/*
 * An image of each memory of the VM, and what image.h has for one of them; im,
 * to and from are arrays of vm_nmemories().
 */
err_t images_take(struct checkpoints *cs, struct memory_image *im) must_check;
err_t images_restore(struct checkpoints *cs, const struct memory_image *im) must_check;
void images_copy(struct checkpoints *cs, struct memory_image *to, const struct memory_image *from);
void images_drop(struct checkpoints *cs, struct memory_image *im);

/* The last at or before a count, NULL: none; and the first behind it. */
struct checkpoint *checkpoint_before(struct checkpoints *cs, u64 count);
struct checkpoint *checkpoint_behind(struct checkpoints *cs, u64 count);

#endif
