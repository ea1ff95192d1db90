/*
 * stored.h - checkpoints within a recording [docs/RECORDING.md 9].
 *
 * Written while a VM is recorded, every so many instructions and at its end;
 * read by whoever wants to be in the middle of a long run at once.  A stored
 * checkpoint is no truth of its own: the run can always be computed from the
 * beginning, and what is loaded must have the digest it was stored with.
 */
#ifndef REPLAY_STORED_H
#define REPLAY_STORED_H

#include "replay/checkpoint.h"

/* The beginning of a stored checkpoint. */
struct stored_point {
	bool full;              /* its pages are all that are not zero; else those changed since the one before */
	bool end;               /* the VM had ended; how, END says */
	struct execpoint at;
	struct rec_base base;   /* where the next event's deltas start */
	u64 epochs;             /* digests before it */
	u64 digest;
};

/* ---- writing ---- */

struct stored_writer {
	struct vm *vm;
	struct rec_writer *w;
	u64 every;              /* instructions */
	u64 since_full;         /* pages written since the last full one */
	u64 written, pages;     /* for reports */
	u32 fill;
	u8 *part;               /* being built, where the writer needs it */
	u8 state[CHECKPOINT_STATE_MAX];
};

/* From now on vm leaves a checkpoint in w every so many instructions; errors stick in w. */
void stored_start(struct stored_writer *s, struct vm *vm, struct rec_writer *w, u64 every);

/* The last one, of a VM that has ended: before rec_put_end. */
void stored_end(struct stored_writer *s);

/*
 * A VM that comes from elsewhere and is recorded from there on: its pages as they arrive, then the point.
 * stored_arrive may be called again, when they did not all come; what was written before is nothing then.
 */
void stored_arrive(struct stored_writer *s, struct vm *vm, struct rec_writer *w);
void stored_page(struct stored_writer *s, u64 number, const u8 *data);
/* The VM stands where it will go on.  epochs: digests before it. */
void stored_arrived(struct stored_writer *s, u64 epochs);

/* ---- reading ---- */

/* The parts of a CHECKPOINT chunk, in file order: begin, pages, state. */
enum stored_part { STORED_BEGIN = 1, STORED_PAGES = 2, STORED_STATE = 3 };
enum { STORED_FULL = 1, STORED_AT_END = 2 }; /* BEGIN's flags */

/* Which part it is, 0: none that this version knows.  For BEGIN *p is filled. */
unsigned stored_parse(const struct rec_chunk *c, struct stored_point *p);

/*
 * A page's number: in its upper half which memory of the VM it is of [vm.h], in
 * the lower one which page of that.  NULL: the VM has no such memory.
 */
static inline u64 stored_number(unsigned memory, u64 frame)
{
	return (u64)memory << 32 | frame;
}

static inline struct guest_memory *stored_memory(struct vm *vm, u64 number)
{
	return number >> 32 < vm_nmemories(vm) ? vm_memory(vm, (unsigned)(number >> 32)) : NULL;
}

static inline u64 stored_frame(u64 number)
{
	return (u32)number;
}

/* Where the contents go.  A hook that fails ends the loading with its error. */
struct stored_sink {
	err_t (*begin)(void *ctx, const struct stored_point *p);
	err_t (*page)(void *ctx, u64 number, const u8 *data);
	/* The checkpoint is whole; the reader stands behind it. */
	err_t (*state)(void *ctx, const u8 *data, u32 size);
	void *ctx;
};

/*
 * Reads on from where r stands, through chunks of all kinds, up to the stored
 * checkpoint at `count` (the one of the VM's end if `end`), and gives all on
 * the way to the sink.  The first must be full.  ERR_DAMAGED where it makes no
 * sense, ERR_END if it is not there.
 */
err_t stored_load(struct rec_reader *r, u64 count, bool end, const struct stored_sink *sink) must_check;

/* The sink that keeps them all as checkpoints of cs; and the one that makes a VM stand there. */
struct stored_keeper {
	struct checkpoints *cs;
	struct rec_reader *r;
	unsigned stage;          /* r's in the lineage */
	struct stored_point point;
	struct memory_image image[VM_MAX_MEMORIES]; /* so far */
};
/* k is too big for a stack; when all is loaded, stored_forget gives back what it still holds. */
struct stored_sink stored_keep(struct stored_keeper *k, struct checkpoints *cs, struct rec_reader *r);
void stored_forget(struct stored_keeper *k);

#endif
