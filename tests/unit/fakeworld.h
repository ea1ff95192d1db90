/*
 * fakeworld.h - random programs, a scripted host and a medium in memory: all
 * that a VM needs to be run, recorded and replayed thousands of times.
 *
 * Everything is drawn from the plan's seed, so that a failing seed can be
 * named and run again alone (REPRISE_SIM_SEED=n, and REPRISE_SIM_RUNS=n for
 * more programs a test).
 */
#ifndef TESTS_UNIT_FAKEWORLD_H
#define TESTS_UNIT_FAKEWORLD_H

#include "replay/boundaries.h"
#include "replay/perturb.h"
#include "replay/timeline_impl.h"
#include "tests/unit/fakevcpu.h"

/* xorshift; never 0 */
struct rng {
	u64 state;
};
u64 rng_next(struct rng *r);
static inline u64 rng_below(struct rng *r, u64 n)
{
	return rng_next(r) % n;
}
static inline bool rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}
struct rng rng_of(u64 seed);

/* Where the generated programs keep things. */
enum {
	WORLD_IDT = 0x1000,
	WORLD_HANDLERS = 0x4000,
	WORLD_CODE = 0x10000,
	WORLD_STACK = 0x60000,
	WORLD_DATA = 0x80000,      /* to 0x98000; beyond 1 MiB more */
	WORLD_HIGH_DATA = 0x210000,
	WORLD_UNUSED = 0x9e000,    /* no program reaches this page */
	WORLD_DISK_LOG = 0x9e800,  /* within it */
	WORLD_MEM = 4 << 20,
};

/* Bytes of a guest program. */
struct program {
	u8 code[32768];
	u32 size;
	u8 handlers[8192];
	u32 handlers_size;
	u8 idt[2048];
};

/* ---- a medium in memory ---- */

struct world_medium {
	u8 *data, *durable;        /* durable: as of the last flush */
	u64 size;
	u64 high;                  /* bytes written to */
	u64 operations;
	u64 fail_at;               /* the n-th operation and all after it fail; 0: none */
	bool dirty;                /* written since the last flush */
	bool unreadable;           /* reads fail */
	const u64 *count;          /* the recorded VM's instructions ... */
	u64 failed_count;          /* ... when it first failed */
};
struct world_medium medium_new(u64 size);
void medium_free(struct world_medium *m);
struct rec_medium medium_ops(struct world_medium *m);

/* ---- a host by script ---- */

struct world_host {
	struct host_port port;
	struct rng rng;
	u32 supply;                /* bytes that will still be typed */
	unsigned arrival_percent;  /* at each look */
	unsigned burst;            /* bytes at once, at most */
	bool closes;               /* the console ends when the supply does */
	u64 patience;              /* waits until the operator quits */
	u64 quit_at_look;          /* 0: never */
	u64 looks, waits, waited_ns;
	u64 ended_at_look;         /* when `ended` first said so */
	u8 *output;                /* everything the guest said */
	u32 output_size, output_room;
	void (*on_output)(struct world_host *h); /* called after each */
	void (*on_look)(struct world_host *h);
	void *ctx;
};

/* ---- disks ---- */

#define WORLD_DISKS 2

/*
 * A disk, and a device as simple as can be: of each byte that the guest sends to
 * its serial port one sector is written and another read, into WORLD_DISK_LOG.
 * So what is on a disk shows in the machine.
 */
struct world_disk {
	struct disk d;
	u64 seed;
};

/* ---- one run ---- */

struct plan {
	u64 seed;
	struct vm_config config;
	struct program program;
	struct fake_host_quirks quirks;
	u32 supply;
	unsigned arrival_percent, burst;
	bool closes;
	u64 patience, quit_at_look;
	bool sync;
	unsigned ndisks;
	struct {
		u64 nsectors, room_bytes, seed; /* seed: of the base's contents */
	} disk[WORLD_DISKS];
};
void plan_random(struct plan *p, u64 seed);

struct world {
	struct plan plan;
	struct vm *vm;
	struct world_host host;
	struct live_boundary live;
	struct record_boundary record;
	struct replay_boundary replay;
	struct rec_writer *writer;
	struct rec_reader *reader;
	struct perturb perturb;
	struct world_disk disk[WORLD_DISKS];
	struct outlet wire;         /* behind the device that uses them */
	u64 disk_writes, disk_full; /* that it did; that had no room */
	struct world_medium *medium;
	void *pages[4096];          /* everything the VM was given */
	unsigned npages;
	void *chunks[16];
	unsigned nchunks;
	u64 pages_left;             /* of host memory: 0 makes the next request fail; ~0 plenty */
	u64 digest;                 /* at the end */
};

/* Makes the VM around a boundary and loads the plan's program. */
void world_live(struct world *w, const struct plan *p);
void world_record(struct world *w, const struct plan *p, struct world_medium *m);
void world_replay(struct world *w, const struct plan *p, struct world_medium *m);
/* Where the operator left the recorded run its replay leaves, too, as the tools tell each.  Another end: nothing. */
void world_leave_as(struct world *w, const struct world *recorded);
/*
 * A replay with a timeline over it, its pool of pool_bytes in the world's own
 * memory.  cs is big: static.  Returns what timeline_init does.
 */
err_t world_timeline(struct world *w, const struct plan *p, struct world_medium *m, struct timeline *t,
		     struct checkpoints *cs, const struct timeline_host *host, u64 pool_bytes);
/* Disturbs it: seed 0 does nothing. */
void world_perturb(struct world *w, u64 seed);

/* Runs to the end; a recording gets its END, a replay is compared with it. */
enum vm_outcome world_run(struct world *w);

/* Frees all but the medium. */
void world_free(struct world *w);

/* Same outcome, point, exit code, registers, memory and output; else a line on why, for a message. */
const char *world_difference(const struct world *a, const struct world *b);

/* Programs a property test runs: n, or what the environment asks for. */
u64 world_runs(u64 n);
u64 world_first_seed(void);

/* Loads a program text (not a plan's) at WORLD_CODE of a fresh VM. */
void world_load(struct world *w, const void *code, size_t size);

#endif
