/*
 * ft.h - one machine on two hosts: what the rest of the house sees of the pair.
 *
 * A host is a struct ft_pair: a boundary like the others, behind a VM that
 * cannot tell.  Its role changes [docs/LINK.md 4].  All happens within calls of
 * the VM's loop to the boundary and of the functions below: they may wait, with
 * host_port.wait, and while they do the link is served.  Nothing is called from
 * interrupts, nothing is allocated.
 *
 *   host that begins          host that joins
 *   ft_init                   ft_init
 *   ft_found                  ft_join: a machine has been loaded
 *   vm_run(boundary)          vm_run(boundary)
 *   ft_finish                 ft_finish
 */
#ifndef FT_FT_H
#define FT_FT_H

#include "ft/arbiter.h"
#include "ft/disks.h"
#include "ft/held.h"
#include "ft/log.h"
#include "ft/wire.h"
#include "replay/boundaries.h"

/* ---- what the pair needs of its host ---- */

#define FT_EVERYBODY (~0UL) /* an address: whoever listens */

/* Copying a machine, page by page; the live side and the other. None may be NULL. */
struct ft_machine {
	/* From now on changed pages are noted; those that are not zero are to be given first. */
	void (*copy_begin)(void *ctx);
	/* The next page of this round; false: there is none left.  Valid until the next call. */
	bool (*copy_next)(void *ctx, struct ft_page *page);
	/* A new round: what changed since it was given last.  Returns how many pages. */
	u64 (*copy_round)(void *ctx);
	void (*copy_end)(void *ctx);
	/* The machine stands: its state but for pages, valid until it runs on, and the digest of all of it. */
	err_t (*save)(void *ctx, const u8 **state, u32 *size, u64 *digest);

	void (*clear)(void *ctx);                                   /* all pages zero */
	err_t (*put_page)(void *ctx, const struct ft_page *page);
	/* All pages have come.  The machine stands there, and has this digest. */
	err_t (*load)(void *ctx, const u8 *state, u32 size, u64 *digest);
	void *ctx;
};

struct ft_env {
	/*
	 * Real time.  It never goes back, and it counts the time during which the
	 * host was stopped: I6 rests on that [docs/LINK.md 3].  A counter of
	 * instructions, or a virtual clock that stands still with the machine,
	 * will not do.
	 */
	u64 (*now_ns)(void *ctx);
	/*
	 * Datagrams, best effort.  Addresses are the host's; FT_EVERYBODY only for sending.  One is made where `room`
	 * says, FT_DATAGRAM_MAX bytes, the same until it is sent; and read where it has come, until the next is asked for.
	 */
	u8 *(*room)(void *ctx);
	void (*send)(void *ctx, u64 to, u32 size);
	const u8 *(*receive)(void *ctx, u64 *from, u32 *size); /* NULL: none is there; longer ones are lost */
	bool (*waits)(void *ctx);                   /* whether receive has one; costs next to nothing */
	u64 (*new_id)(void *ctx);                   /* never given before, to anybody: 64 random bits, not 0 */
	/* Throws away what has come for the guest until now: the live host is there, and has had it. */
	void (*disregard)(void *ctx);
	/* This host is live: tells the network where the guest is now. */
	void (*announce)(void *ctx);
	void (*say)(void *ctx, const char *line);   /* for the operator, without a newline */
	/*
	 * The guest's console and NICs.  wait must return, too, when a datagram has
	 * come or the arbiter has an answer.
	 */
	const struct host_port *host;
	const struct ft_arbiter *arbiter;
	const struct ft_machine *machine;
	const struct ft_disks *disks; /* NULL: the machine shares none */
	void *ctx;
};

struct ft_timers { /* [docs/LINK.md 8] */
	u64 beat_ns, mark_ns, answer_ns, detect_ns, lease_ns, hello_ns, retry_ns, load_ns, mute_ns, join_ns;
};
extern const struct ft_timers ft_default_timers;

enum ft_policy {
	FT_STOP_BOTH,        /* a digest that differs ends the machine on both hosts */
	FT_REPROTECT,        /* ... throws the secondary away */
};

struct ft_config {
	struct ft_timers timers;
	u64 pair;            /* the pair's number: in the store's word, and the key of its datagrams */
	u64 build, probe, head; /* what must be the same on both hosts: build ID, host probe, digest of HEAD */
	u32 datagram_bytes;  /* that the network carries in one piece, FT_DATAGRAM_MIN to _MAX */
	u64 poll_insns, epoch_insns;  /* the machine's */
	u32 longest;         /* frame or packet of the machine's, in bytes; 0: none is longer than a wire's frames */
	u64 max_lag_insns;   /* the guest waits when the other is so far behind */
	u32 final_pages;     /* so few left: the machine may stand for them */
	u32 max_rounds;      /* ... or after so many rounds */
	enum ft_policy on_divergence;
};

/* The caller's; sizes of log and ring are powers of two. */
struct ft_memory {
	u8 *log;             /* what the other has not acknowledged */
	u32 log_bytes;
	u8 *ring;            /* what was received: ring_bytes + FT_RECORD_MAX */
	u32 ring_bytes;
	u8 *held;            /* outputs, 8-aligned */
	u32 held_bytes;
	u8 *state;           /* a machine's state walk, while it is received */
	u32 state_bytes;
};

/* ---- what it tells ---- */

enum ft_role {
	FT_IDLE,             /* nothing begun */
	FT_FOUNDING, FT_ALONE, FT_COPYING, FT_GUARDED, FT_ENLISTING, FT_PRIMARY, FT_PARTING, /* live, but the first */
	FT_SEEKING, FT_LOADING, FT_SECONDARY, FT_CLAIMING,
	FT_STOPPED,
};
const char *ft_role_name(enum ft_role role);

struct ft_status {
	enum ft_role role;
	bool tail;               /* live, with some log left to execute */
	u64 term;
	u32 session;
	u64 lag_insns;           /* the secondary behind the primary, as far as this side knows */
	u32 held_bytes;          /* cost of outputs held or withheld */
	u64 heard_age_ns;        /* since the other was last heard */
	u64 takeovers;           /* by this host */
	u64 takeover_pause_ns;   /* the last: from when the primary was last heard to live */
	u64 epochs;              /* digests so far */
	u64 joins;               /* partners that were protected */
	u64 join_pause_ns;       /* the last: how long the machine stood */
	u64 join_rounds, join_pages;
	u64 sent_bytes, sent, received_bytes, received, refused; /* datagrams, with Ethernet headers */
	u64 resent_bytes;
	struct divergence divergence;
	enum vm_outcome outcome; /* of a stopped one */
	bool may_join;           /* ... because the machine lives elsewhere: ft_init and ft_join make it a partner again */
	char reason[120];
};

/* ---- what the house does ---- */

struct ft_pair;

void ft_init(struct ft_pair *p, const struct ft_config *c, const struct ft_env *env, const struct ft_memory *m);

/* What the machine executes on this host is recorded from here on; events must be able to follow. NULL: no more. */
void ft_record(struct ft_pair *p, struct rec_writer *w);

/* Begins a pair, in an empty store; waits until it is certain.  False: why is in the status. */
bool ft_found(struct ft_pair *p) must_check;

/* Waits for a live host to give this one its machine.  False: refused for good, or the operator left. */
bool ft_join(struct ft_pair *p) must_check;

struct boundary *ft_boundary(struct ft_pair *p);

/*
 * The VM has ended, by itself or because the boundary said so.  Sees to it that
 * the last outputs leave, here or on the other host.  Returns how it ended for the
 * world: another outcome if this host was out of the pair by then.  (What a
 * recording's END says is how vm_run ended; stopped from outside is VM_QUIT.)
 */
enum vm_outcome ft_finish(struct ft_pair *p, enum vm_outcome outcome, u32 guest_exit, const struct execpoint *now,
			  u64 digest);

/*
 * For a device of the machine that waits for the world outside: serves the link, for max_ns at most.
 * False: this host leaves, or is out of the pair, and need not wait any more.
 */
bool ft_meanwhile(struct ft_pair *p, u64 max_ns) must_check;

/*
 * The machine cannot go on here.  To be said again and again: if another host, asked now, says that it is there, this
 * one stops, and may join again; else nothing changes.
 */
void ft_give_up(struct ft_pair *p, const char *why);

void ft_status(const struct ft_pair *p, struct ft_status *s);

#endif
