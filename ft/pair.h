/*
 * pair.h - the inside of a pair, for the rooms of ft/ only.
 *
 *   pair.c      roles, and a function for each way from one to another
 *   rules.c     the decisions that the invariants of docs/LINK.md 3 hang on
 *   claim.c     asking the store
 *   link.c      datagrams and timers: the pump
 *   ship.c      the live side: the log that is written
 *   outlet.c    its outputs, which leave when they may
 *   follow.c    the other side: the log that is executed
 *   copy.c      a machine's copy, given and received
 *   boundary.c  what the VM's loop calls
 */
#ifndef FT_PAIR_H
#define FT_PAIR_H

#include "ft/ft.h"

#define FT_LOOKS 32                       /* at the clock, in a poll interval, as exits come, or the guest is stopped for it */
#define FT_PASSED_BY 128                  /* ... or after so many exits */
#define FT_NAP_NS 200000UL                /* behind the last point at which it asked the machine idles without asking */
#define FT_PUSHES 4                       /* outputs' marks in flight; the next share one */
#define FT_LOG_RESERVE (16 * FT_SMALL_RECORD_MAX) /* room in the log that inputs leave free */

/* A point at which the VM may ask. */
struct ft_point {
	u64 count, vtime_ns;
};

static inline bool ft_point_before(const struct ft_point *a, const struct ft_point *b)
{
	return a->count != b->count ? a->count < b->count : a->vtime_ns < b->vtime_ns;
}

static inline struct ft_point ft_point_of(const struct execpoint *at)
{
	return (struct ft_point){ at->count, at->vtime_ns };
}

/* Asking the store [claim.c]. */
struct ft_claim {
	bool open;                /* somebody waits for its outcome */
	bool started;             /* the arbiter is at it */
	bool unknown;             /* an attempt's fate is not known (I9) */
	struct ft_word expected, desired;
	u64 again_ns;             /* not before */
};

/* The live side's half of a session [ship.c]. */
struct ft_ship {
	struct ft_sender tx;
	struct ft_log_writer log;
	bool started;             /* START is written: marks and events may follow */
	bool ended;               /* END is */
	struct ft_point marked;   /* what the last mark said: first point that was open */
	u64 marked_to;            /* its end, or that of the last ANSWERED */
	bool entered;             /* inputs that are not closed behind yet */
	u64 released;             /* units that left */
	u64 left_to;              /* the greatest position among them */
	u64 told_released, told_asked;
	bool asked_any;           /* a question was asked, at ... */
	struct ft_point asked_at;
	u64 push[FT_PUSHES];      /* positions whose answer is awaited */
	unsigned npushes;
	u64 flush_to, ask_to;     /* the log up to here goes at once; with ASK */
	bool answer_wanted;       /* the other asked for a sign of life */
	u64 beat_ns, mark_ns;     /* when due */
	u64 unanswered_ns;        /* an answer is awaited since; 0: none is */
	u64 resend_ns, timeout_ns, round_trip_ns; /* when due; the present timeout; smoothed */
	u64 ask_sent_ns;          /* for the round trip; 0 */
	u64 heard_ns;
	u64 sounded, sounded_ns;  /* the other is asked whether it is there: up to where it must acknowledge; since; 0 */
	bool loaded;              /* the other's copy is whole */
	bool silent;              /* the other is suspected */
	u64 executed;             /* count up to which it has executed */
	u64 other_made;           /* units of output it is known to have made */
	u64 moved_ns;             /* when it last did */
	bool waited_for;          /* the guest waits for that */
};

#define FT_DISK_LOOK_NS 200000UL /* it wakes nobody */

/* The way of a shared disk's writes [outlet.c]. */
struct ft_outlet {
	bool busy;                /* the disks are being taken, or written */
	u32 nwriting;             /* so many of the first that are held are under way; 0: none */
	bool again;               /* they are to be taken anew, at look_ns */
	u64 look_ns;              /* when there may be an answer */
};

/* The other side's half [follow.c]. */
struct ft_follow {
	struct ft_receiver rx;
	struct ft_log_reader ahead;   /* reads all that has come: marks */
	struct ft_log_reader exec;    /* reads what the machine executes */
	bool have;                    /* ev is ready: INPUT or DIGEST */
	struct rec_event ev;
	u64 known_released, known_asked;
	u64 dropped;                  /* units that have left this side's queue */
	bool own;                     /* a digest of this side waits for the log's */
	struct execpoint own_at;
	u64 own_digest, own_epoch;
	bool ended;                   /* END was read */
	struct execpoint end_at;
	struct ft_end end;
	bool done;                    /* the primary said that all is over */
	bool diverged;
	bool loaded;
	u32 state_fill;
	u64 heard_ns, began_ns;
	bool probed;
	bool heard_mute;              /* something new came while mute */
	bool ack_due;
	u64 ack_ns;                   /* when the last was sent */
	u64 told_end, told_limit, told_hole, told_executed;
};

/* Pre-copy, the live side's [copy.c]. */
struct ft_copy {
	bool ready;                   /* little is left: the machine may stand */
	u64 stand_ns;                 /* while something is on its way to a disk: not before */
	u64 rounds, pages;
};

struct ft_pair {
	struct boundary b;
	struct live_boundary live;
	const struct ft_env *env;
	struct ft_config c;
	struct ft_memory m;

	u64 now_ns;                   /* ft_now */
	enum ft_role role;
	u64 role_ns;                  /* since when */
	bool tail;                    /* live, and some of the log is left to execute */
	u64 me, other, other_at;
	u64 anew;                     /* who has said HELLO from the partner's address; 0: nobody */
	u32 session, sessions;        /* sessions: begun here so far */
	struct ft_word word;          /* what the store holds, as far as this host knows */
	struct ft_claim claim;

	/* The machine. */
	struct execpoint now;         /* where it was last seen */
	struct ft_point open;         /* the first point that is not closed (I3) */
	struct ft_point settled;      /* once all before it is closed, what the machine does until it asks again is known */
	bool napping;                 /* it idles without having asked, and does not ask when it goes on */
	u64 ahead_ns;                 /* what it idled so, and this host has not waited yet */
	u64 made;                     /* units of output made */
	unsigned unserved;            /* outputs since the link was looked at [ft_pump] */
	u64 looked_at;                /* count at which it last was */
	unsigned passed_by;           /* exits since, at which it was not */
	u64 let_go_ns;                /* when the guest was last let go on */
	u64 ran_ns;                   /* how long it has run since the last poll point */
	u64 asked;                    /* questions whose answer is in the log, or was */
	u64 epochs;
	bool amid;                    /* a device is at work: what it puts into memory is not noted as changed yet */
	struct ft_held held;          /* held (live) or withheld (the other) */
	struct rec_writer *w;         /* this host's recording; NULL */
	bool commit_due;

	struct ft_ship ship;
	struct ft_outlet outlet;
	struct ft_follow follow;
	struct ft_copy copy;
	u64 hello_ns, over_ns;        /* when due, not before */

	struct ft_status s;
	u8 sectors[FT_WRITE_MAX];     /* of a write that is begun */
};

static inline struct ft_pair *ft_pair_of(struct boundary *b)
{
	return container_of(b, struct ft_pair, b);
}

/* Real time as of the last look at the clock: asking it costs more than all the rest of a turn [link.c]. */
static inline u64 ft_now(const struct ft_pair *p)
{
	return p->now_ns;
}

static inline void ft_look(struct ft_pair *p)
{
	p->now_ns = p->env->now_ns(p->env->ctx);
}

/* The machine asks: no mark is enough for what it does next. */
static inline void ft_ask(struct ft_pair *p)
{
	p->settled = (struct ft_point){ ~0UL, ~0UL };
}

/* --- rules.c -------------------------------------------------------------------- */

bool ft_holds_back(enum ft_role role);                                       /* I5, I13 */
bool ft_acknowledged(const struct ft_pair *p, u64 position);                 /* I5 */
bool ft_foretold(const struct ft_pair *p);                                   /* I5 */
bool ft_naps(const struct ft_pair *p, u64 deadline_ns);                      /* I4, I5 */
bool ft_leaves_freely(const struct ft_pair *p);                              /* I13 */
bool ft_has_made(const struct ft_pair *p, u64 unit);                         /* D2 */
bool ft_lease_holds(const struct ft_pair *p, u64 now_ns);                    /* I6 */
bool ft_closed(const struct ft_pair *p, u64 count, u64 vtime_ns);            /* I3 */
bool ft_known(const struct ft_pair *p, const struct execpoint *now);         /* I4 */
bool ft_answer_known(const struct ft_pair *p, const struct execpoint *now);  /* I4 */
bool ft_already_left(const struct ft_pair *p, u64 unit);                     /* I8 */
bool ft_won(enum ft_verdict v, const struct ft_word *current, const struct ft_word *desired); /* I9 */
bool ft_named(const struct ft_word *w, u64 id);                              /* I10 */
bool ft_mute(enum ft_role role);                                             /* I11 */
bool ft_never_made(const struct ft_claim *c, enum ft_verdict v);             /* I9, I11 */
bool ft_log_is_over(const struct ft_pair *p);                                /* I12 */
bool ft_may_enlist(const struct ft_pair *p);                                 /* I13 */
bool ft_may_claim(const struct ft_pair *p);                                  /* I14 */
bool ft_digests_agree(u64 a, u64 b);                                         /* I14 */
bool ft_must_wait(const struct ft_pair *p);                                  /* I15 */
bool ft_of_session(const struct ft_pair *p, u32 session, u64 from);          /* I16 */
bool ft_silent(u64 since_ns, u64 now_ns, u64 detect_ns);                     /* I17 */

/* Live: takes its own inputs, unless it is in the tail. */
static inline bool ft_is_live(enum ft_role r)
{
	return r >= FT_ALONE && r <= FT_PARTING;
}

/* Has the other half of a session: something is sent to another host. */
static inline bool ft_ships(enum ft_role r)
{
	return r >= FT_COPYING && r <= FT_PARTING;
}

/* Executes a log. */
static inline bool ft_follows(const struct ft_pair *p)
{
	return p->role == FT_SECONDARY || p->role == FT_CLAIMING || p->tail;
}

/* --- pair.c: the transitions of docs/LINK.md 4 ---------------------------------- */

void pair_found(struct ft_pair *p);
void pair_founded(struct ft_pair *p);
void pair_welcome(struct ft_pair *p, const struct ft_hello *h, u64 from);
void pair_guard(struct ft_pair *p, const struct ft_start *start);
void pair_enlist(struct ft_pair *p);
void pair_protect(struct ft_pair *p);
void pair_drop(struct ft_pair *p, const char *why);
void pair_part(struct ft_pair *p, const char *why);
void pair_reunite(struct ft_pair *p);
void pair_go_on_alone(struct ft_pair *p);
void pair_seek(struct ft_pair *p, const char *why);
void pair_load(struct ft_pair *p, const struct ft_welcome *w, u32 session, u64 from);
void pair_follow(struct ft_pair *p, const struct ft_start *start);
void pair_claim(struct ft_pair *p, const char *why);
void pair_forgive(struct ft_pair *p);
void pair_take_over(struct ft_pair *p);
void pair_stop(struct ft_pair *p, enum vm_outcome outcome, const char *fmt, ...) printf_like(3, 4);
void pair_say(struct ft_pair *p, const char *fmt, ...) printf_like(2, 3);

extern const struct boundary_ops ft_boundary_ops; /* boundary.c */

/* --- claim.c -------------------------------------------------------------------- */

void ft_claim_open(struct ft_pair *p, const struct ft_word *expected, const struct ft_word *desired);
/* A word one term behind w, owned by me, with one other member or none (0). */
struct ft_word ft_next_word(const struct ft_pair *p, const struct ft_word *w, u64 other);
void ft_claim_step(struct ft_pair *p, u64 now_ns);
/* This host is live: before its first write nobody else may write to the shared disks any more (D4). */
void ft_take_disks(struct ft_pair *p);

/* --- link.c --------------------------------------------------------------------- */

/* Serves the link, the store and the timers once; ft_pump looks at the clock before. */
void ft_serve(struct ft_pair *p);
/* The same for a moment of the guest's time, as of the last look at the clock. */
void ft_serve_amid(struct ft_pair *p);
void ft_pump(struct ft_pair *p);
/* The time until now was not the guest's. */
void ft_let_go(struct ft_pair *p);
/* At a poll point, served: the next interval's time is taken. */
void ft_begin_interval(struct ft_pair *p);
/* Waits for max_ns at most, or for something to do, and looks at the clock.  Returns the time that passed. */
u64 ft_sleep(struct ft_pair *p, u64 max_ns);
/* The same, and serves. */
u64 ft_wait(struct ft_pair *p, u64 max_ns);
void ft_send(struct ft_pair *p, const struct ft_message *m, u64 to);
void ft_send_bye(struct ft_pair *p, enum ft_bye why);
#define FT_LONG (1000000000UL)

/* --- outlet.c ------------------------------------------------------------------- */

/* Outputs that may leave, leave; looks after what is under way to a disk. */
void ft_release(struct ft_pair *p);
/* All that is held, but for writes and what is behind them: nobody else is, or may become, a member. */
void ft_release_all(struct ft_pair *p);
/* What is held waits until the other host has executed as much (D2). */
bool ft_waits_for_other(const struct ft_pair *p);
/* When ft_release has something to do next. */
u64 ft_release_due(const struct ft_pair *p);
/* Of a live host that need not hold back: whether this output goes the way of those held all the same. */
bool ft_waits_its_turn(const struct ft_pair *p, const struct output *out);
/* --- ship.c --------------------------------------------------------------------- */

void ft_ship_begin(struct ft_pair *p, u32 other_room, u32 other_held);
void ft_ship_ack(struct ft_pair *p, const struct ft_message *m, u64 now_ns);
void ft_ship_timers(struct ft_pair *p, u64 now_ns);
void ft_ship_send(struct ft_pair *p, u64 now_ns);
u64 ft_ship_due(const struct ft_pair *p);
/* The next ft_ship_send says that this host is there: an idle machine closes the time up to now before. */
bool ft_beat_due(const struct ft_pair *p, u64 now_ns);
/* All before (count, vtime_ns) is closed. */
void ft_close(struct ft_pair *p, u64 count, u64 vtime_ns);
/* An event into the log of a live host with a partner; waits for room.  False: there is no partner any more. */
bool ft_ship_event(struct ft_pair *p, const struct rec_event *ev);
/* The guest cannot go on before the other has: waits once.  The caller clears ship.waited_for when it can. */
void ft_wait_for_other(struct ft_pair *p);
/* Whether the other has answered what it was asked a moment ago; asks it. */
bool ft_answers(struct ft_pair *p);
/* The log is over: END. */
void ft_ship_end(struct ft_pair *p, const struct execpoint *now, const struct ft_end *end);

/* --- follow.c ------------------------------------------------------------------- */

void ft_follow_begin(struct ft_pair *p);
void ft_follow_data(struct ft_pair *p, const struct ft_message *m, u64 now_ns);
void ft_follow_timers(struct ft_pair *p, u64 now_ns);
void ft_follow_send(struct ft_pair *p, u64 now_ns);
u64 ft_follow_due(const struct ft_pair *p);

enum ft_answer { FT_NOTHING, FT_SOMETHING, FT_NOT_KNOWN };
enum ft_answer ft_follow_input(struct ft_pair *p, const struct execpoint *now, struct input *in);
enum ft_answer ft_follow_idle(struct ft_pair *p, const struct execpoint *now, u64 deadline_ns, u64 *to);
enum ft_answer ft_follow_answer(struct ft_pair *p, const struct execpoint *now, enum input_kind kind, u16 instance);
void ft_follow_epoch(struct ft_pair *p, const struct execpoint *now, u64 digest);
bool ft_follow_left(const struct ft_pair *p, const struct execpoint *now); /* the operator of the primary left here */
bool ft_rest_of_output(struct ft_pair *p, struct output *out, u64 *unit);
bool ft_withhold(struct ft_pair *p, const struct output *out); /* false: no room now */
void ft_diverged(struct ft_pair *p, const char *what, const struct execpoint *at, u64 epoch, u64 expected, u64 got);

/* --- copy.c --------------------------------------------------------------------- */

/* Some pages, if a copy is being given and there is room. */
void ft_copy_step(struct ft_pair *p);
/* The machine stands here, between two instructions: the last of its copy may be given. */
void ft_copy_stand(struct ft_pair *p, const struct execpoint *now);
/* A record of a copy being received. */
void ft_copy_take(struct ft_pair *p, const struct ft_record *rec);

#endif
