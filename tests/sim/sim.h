/*
 * sim.h - two or three hosts of a pair, a network, a store and clients, all in
 * virtual time: what docs/LINK.md promises, under everything that can go wrong.
 *
 *   sim.c       seeds, and the command line
 *   scenario.c  what goes wrong in a seed, drawn from its number
 *   sched.c     events in virtual time, hosts as coroutines
 *   net.c       the link between hosts, and the clients' network
 *   store.c     the arbiter
 *   shared.c    the disk they share
 *   host.c      a host: ft/ with everything around it
 *   machine.c   the machine it runs
 *   client.c    who talks to the machine
 *   check.c     the invariants
 *   mutate.c    deliberate bugs, one an invariant
 *
 * Everything is drawn from the seed, so that one seed is one run, for ever.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "ft/pair.h"

#define MS 1000000UL
#define US 1000UL

#define NHOSTS 3
#define NCLIENTS 2
#define STORE_ADDRESS 100 /* in traces */

/* ---- random numbers: xorshift, as in the unit tests ---- */

struct rng {
	u64 state;
};
struct rng rng_of(u64 seed);
u64 rng_next(struct rng *r);
static inline u64 rng_below(struct rng *r, u64 n)
{
	return n ? rng_next(r) % n : 0;
}
static inline bool rng_chance(struct rng *r, unsigned permille)
{
	return rng_below(r, 1000) < permille;
}
/* From a to b. */
static inline u64 rng_between(struct rng *r, u64 a, u64 b)
{
	return a + rng_below(r, b - a + 1);
}

/* ---- the machine [machine.c] ---- */

#define DISK_SECTORS 24
#define MACHINE_PAGES 6
#define MACHINE_QUEUE 4
#define MACHINE_INSN_NS 1000     /* virtual nanoseconds an instruction takes */
#define MACHINE_POLL 2000
#define MACHINE_EPOCH 40000

/* A client's request, and the machine's answer: frames. */
struct request {
	u8 client, pad[3];
	u32 seq;
	u64 payload;
};

/* Every output begins so: its number among all the machine made, and what it was made of. */
struct stamp {
	u32 number;
	u32 hash;
};

struct reply {
	struct stamp stamp;
	u8 client, pad[3];
	u32 seq;
	u64 chain;      /* what all of the client's requests so far come to */
	u8 bulk[240];   /* some replies are longer */
};

/* Everything that makes the machine what it is, but pages.  No padding: it is copied and hashed as it is. */
struct machine_state {
	u64 count, idle_ns, sequence;
	u64 next_poll, next_epoch;
	u64 hash;                        /* of all that ever happened to it */
	u64 timer_ns, ticks;
	u64 work_left;                   /* instructions; 0: nothing to do */
	u64 limit;                       /* requests until it ends by itself; ~0 */
	u64 outputs;                     /* made so far */
	u64 served;
	struct request queue[MACHINE_QUEUE];
	u64 nqueue;
	struct {
		u64 seq, chain;
	} client[NCLIENTS];
	u64 written;                     /* sectors of the shared disk, and what it wrote there */
	u64 over[DISK_SECTORS];
};

struct machine {
	struct machine_state s;
	u8 page[MACHINE_PAGES][PAGE_SIZE];
	u64 page_sum[MACHINE_PAGES];
	u32 stale;                       /* pages whose sum is not known */
	u32 dirty, to_give;              /* pre-copy */
	bool copying;
	struct boundary *boundary;
	struct host *host;               /* NULL: a replay */
	enum vm_outcome outcome;
	u64 insn_ns;                     /* host time an instruction takes */
	u64 replay_until;                /* virtual time at which a replay has gone astray */
};

void machine_power_on(struct machine *m, u64 seed, u64 limit);
enum vm_outcome machine_run(struct machine *m);
u64 machine_digest(struct machine *m);
void machine_flip(struct machine *m); /* a bit of its memory that nothing it does depends on */
struct execpoint machine_now(const struct machine *m);
u64 chain_next(u64 chain, u32 seq, u64 payload);
extern const struct ft_machine machine_hooks; /* ctx: struct machine */

/* ---- hosts [host.c] ---- */

/* A walk over all of a machine: a host that does it does nothing else meanwhile. */
void host_walk(struct machine *m);

enum host_state { HOST_DOWN, HOST_UP, HOST_ENDED };

#define NIC_DEPTH 120          /* less than half of what a host takes at once [check_stranger] */
#define GUEST_NIC_DEPTH 16
#define LOG_BYTES 16384
#define RING_BYTES 16384
#define HELD_BYTES 16384
#define RECORDING_BYTES (192 * 1024)

struct packet;

/* One life of a host: from power-on to its end. */
struct life {
	u64 number;
	bool records, began, written;
	bool told_out;               /* the store has said so: its word did not name this host then */
	struct machine start;        /* the machine as this life got it */
	struct machine end;          /* and as it left it */
	bool ended;
	enum vm_outcome outcome;
	u32 recording_bytes;
};

struct host {
	unsigned id;
	enum host_state state;
	bool frozen, founds;
	struct coroutine {
		u8 *stack;
		void *sp;
		bool alive;
		void *fake_stack;    /* AddressSanitizer's */
	} co;
	u64 wake_gen, wake_at;       /* waiting until then */
	bool waiting, interruptible, pending;
	s64 clock_offset;
	s64 drift_ppm;

	struct ft_env env;
	struct ft_memory mem;
	struct host_port port;
	struct ft_arbiter arbiter;
	struct ft_machine hooks;
	struct ft_disks disks;
	struct ft_pair pair;
	struct machine machine;
	struct rec_writer *writer;
	u8 *recording;
	struct life life;
	u64 lives;

	u8 in[FT_DATAGRAM_MAX], out[FT_DATAGRAM_MAX]; /* the last that was received, the next to be sent */
	struct packet *nic[NIC_DEPTH];
	unsigned nic_first, nic_n;
	struct packet *guest_nic[GUEST_NIC_DEPTH];
	unsigned guest_first, guest_n;

	struct {
		u64 term, way, asked;
		enum ft_disk_answer answer;
	} disk;

	/* What is to go wrong here. */
	u64 sends;                   /* datagrams of this life */
	u64 sends_since, sends_then; /* a while ago, and how many then */
	u64 crash_at_send;           /* 0: none; after this many */
	bool crash_before;           /* ... before the last leaves */
	u64 disk_ns;                 /* a write takes up to so long */
	u64 disk_until_ns;           /* the last one lasts until then */
	unsigned storage_fails;      /* permille of questions */
	unsigned hiccups;            /* permille of looks before which the host is somewhere else for a while */
	bool flip;                   /* a bit of the machine will flip */
	bool spoilt;                 /* it has */
	u64 spoilt_epoch;
	u64 before_stranger;         /* its state before a datagram that is to change nothing; 0: none */
	bool leaves;                 /* its operator ends it */
	u8 buf_log[LOG_BYTES], buf_ring[RING_BYTES + FT_RECORD_MAX], buf_state[4096];
	u8 buf_held[HELD_BYTES] aligned_to(8);
};

void host_start(struct host *h, bool founds);
void host_crash(struct host *h, const char *why);
void host_freeze(struct host *h);
void host_thaw(struct host *h);
bool host_live(const struct host *h); /* in a role that takes its own inputs */

/* ---- scheduling [sched.c] ---- */

enum event_kind {
	EV_WAKE, EV_DATAGRAM, EV_TO_GUEST, EV_TO_CLIENT, EV_CLIENT, EV_STORE, EV_STORE_LATE, EV_FAULT, EV_RESTART, EV_CHECK,
	EV_DISK,
};

struct event {
	u64 at, order;
	enum event_kind kind;
	u32 who;
	u64 arg;
	struct packet *packet;
};

void sched_reset(void);
void sched_add(u64 at, enum event_kind kind, u32 who, u64 arg, struct packet *packet);
bool sched_next(struct event *e);

/* For code that runs on a host: time passes.  sleep: nothing wakes it early. Returns what passed on the host's clock. */
u64 host_sleep(struct host *h, u64 ns, bool interruptible);
void host_kick(struct host *h);              /* something has come for it */
void host_wake(struct host *h, u64 gen);     /* an EV_WAKE */
void co_start(struct host *h, void (*entry)(struct host *h));
noreturn_fn void co_exit(struct host *h);    /* the running host is no more */
u64 host_clock(const struct host *h);

/* ---- the networks [net.c] ---- */

struct packet {
	struct packet *next;
	u32 size;
	bool damaged;
	u64 from;
	u8 data[FT_DATAGRAM_MAX];
};
struct packet *packet_new(const void *data, u32 size);
void packet_free(struct packet *p);
void packets_reset(void);

struct link_quality {
	unsigned loss, dup, corrupt, late;   /* permille */
	u64 delay_min, delay_max, late_max;
	unsigned echo;                       /* permille that come once more, long after */
	u64 echo_max;
};

void net_send(struct host *from, u64 to, const void *data, u32 size);
void net_arrive(struct host *h, struct packet *p);
void lan_from_host(struct host *h, const void *data, u32 size);
void lan_from_client(unsigned client, const void *data, u32 size);
void lan_to_guest(struct packet *p);

/* ---- the store [store.c] ---- */

void store_reset(void);
void store_start(void *ctx, const struct ft_word *expected, const struct ft_word *desired);
enum ft_verdict store_poll(void *ctx, struct ft_word *current);
void store_event(const struct event *e);
void store_word(struct ft_word *w);

/* ---- the shared disk [shared.c] ---- */

void shared_reset(void);
void shared_take(void *ctx, u64 term);
void shared_write(void *ctx, const struct ft_write *w);
enum ft_disk_answer shared_poll(void *ctx);
void shared_give_back(void *ctx);
const char *shared_complaint(void *ctx);
void shared_event(const struct event *e);
u64 shared_value(unsigned sector);
/* What a sector looks like: an output's data.  Returns its size. */
u32 shared_content(u8 *out, struct stamp stamp, u64 value);

/* ---- clients [client.c] ---- */

struct client {
	u32 seq;
	u64 chain, payload;
	u64 sent_ns, next_ns, patience_ns;
	u64 gen;
	u64 done;          /* requests answered */
	u64 repeats;
	bool waits;
};
void clients_start(void);
void client_event(const struct event *e);
void client_receive(unsigned client, const struct packet *p);

/* ---- the invariants [check.c] ---- */

void check_reset(void);
void check_fail(const char *fmt, ...) printf_like(1, 2);
/* A host of this life is live from now on. */
void check_live(struct host *h);
/* An output leaves: the machine's `number`-th. */
void check_release(struct host *h, const void *data, u32 size);
/* The disk has performed a write of a host that won this term. */
void check_written(struct host *h, u64 term, const void *data, u32 size);
/* The machine has ended by itself. */
void check_all_said(struct host *h);
/* A machine made an output, released or not. */
void check_made(struct host *h, const void *data, u32 size);
/* A datagram is about to be taken; and the host is done with it. */
void check_taken(struct host *h, const struct packet *p);
void check_stranger(struct host *h);
/* A datagram is about to be sent. */
void check_sent(struct host *h);
/* Now and then, when a host waits. */
void check_host(struct host *h);
/* A host is about to be no more: crashed, or ended. */
void check_gone(struct host *h, bool crashed);
/* When a life is over, or the seed is: its recording replays. */
void check_life(struct host *h);
/* Everything works and has for a while: is all well?  True: so it is. */
bool check_progress(void);
void check_calm_begins(void);

/* ---- what goes wrong [scenario.c] ---- */

enum fault {
	FAULT_CRASH, FAULT_FREEZE, FAULT_THAW, FAULT_PARTITION, FAULT_HEAL, FAULT_STORE_DOWN, FAULT_STORE_UP, FAULT_SLOW_STORE,
	FAULT_SLOW_DISK, FAULT_FLIP, FAULT_BURST, FAULT_BURST_ENDS, FAULT_SPARE, FAULT_CALM, FAULT_LEAVE,
	FAULT_DOUBT, FAULT_DOUBT_ENDS, FAULT_DISK_DOWN, FAULT_DISK_UP,
};

struct scenario {
	struct link_quality link[NHOSTS][NHOSTS], lan;
	bool hub;                   /* the clients' network brings all frames everywhere */
	bool blocked[NHOSTS][NHOSTS];
	unsigned store_unreachable, store_unknown;  /* permille */
	bool store_down;
	u64 store_min, store_max;
	bool shares;                /* a disk */
	bool disk_down;
	unsigned disk_late;         /* permille of commands whose answer is lost, or that come late */
	u64 disk_max;
	unsigned nclients;
	u64 think_max;
	u64 power_off_after;        /* requests; ~0 */
	u32 held_bytes;             /* for outputs */
	u32 datagram_bytes[NHOSTS];
	u64 load_ns;                /* clearing, loading or digesting a whole machine takes up to so long */
	bool records;
	bool single;                /* one fault at most */
	bool slow_disk_only;        /* ... and that a recording's slow disk, which is no reason to part */
	enum ft_policy policy;
	u64 restart_ns;
	bool calm;
};
void scenario_make(u64 seed);
void scenario_event(const struct event *e);

/* How a machine came to its end. */
enum lost { NEVER_BEGAN, LOST_BY_ITSELF, LOST_LEFT, LOST_CRASHED, LOST_SPOILT, LOST_WAYS };

/* ---- all of it [sim.c] ---- */

struct sim {
	u64 seed, now;
	struct rng rng;             /* of everything that happens */
	struct scenario sc;
	struct host host[NHOSTS];
	struct client client[NCLIENTS];
	struct host *running;       /* the host whose code runs; NULL: the scheduler */
	bool trace, failed, over;
	bool flipped;               /* some host's machine was spoilt */
	u64 events;
	u64 takeovers, ends[LOST_WAYS];
	u64 lan_port;               /* the host to which the clients' network sends */
	char why[256];
};
extern struct sim sim;

void say(const char *who, unsigned id, const char *fmt, ...) printf_like(3, 4);
#define TRACE(...) do { if (sim.trace) say(__VA_ARGS__); } while (0)
void trace_message(const char *verb, unsigned host, u64 peer, const void *data, u32 size);

/* ---- deliberate bugs [mutate.c] ---- */

extern unsigned mutation;       /* 0: none */
struct mutant {
	const char *invariant, *what;
};
extern const struct mutant mutants[];
extern const unsigned nmutants;

#endif
