/*
 * test_ft_pair.c - single steps of a host that the simulation cannot tell from slower ways to the same
 * end: a partner that began anew, being given up, and how much leaves at once.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ft/pair.h"

enum { PARTNER_AT = 7, PARTNER = 0x22, SESSION = 5, ANOTHER = 0x33 };

static struct ft_pair *p;
static u64 now_ns;
static u8 in[FT_DATAGRAM_MAX], sent[FT_DATAGRAM_MAX];
static u32 in_size;
static unsigned byes, asks, written;
static bool typed;   /* something waits for the guest's console */
static bool answers; /* the partner does, to whatever it is asked, and has nothing new to say */

static unsigned looks; /* at the clock */

static u64 clock_ns(void *ctx unused_arg)
{
	looks++;
	return now_ns;
}

static u8 *room_for_one(void *ctx unused_arg)
{
	return sent;
}

static void send(void *ctx unused_arg, u64 to unused_arg, u32 size)
{
	struct ft_message m;

	cr_assert(ft_decode(&m, 0, sent, size));
	asks += m.kind == FT_DATA && m.flags & FT_ASK;
	byes += m.kind == FT_BYE && m.bye == FT_GIVEN_UP;
}

static const u8 *receive(void *ctx unused_arg, u64 *from, u32 *size)
{
	const struct ft_message ack = { .kind = FT_ACK, .session = SESSION, .ack = { .offset = (u32)p->ship.tx.acked, .room = 100 } };

	*from = PARTNER_AT;
	if (answers && asks) {
		asks = 0;
		in_size = ft_encode(&ack, 0, in);
	}
	*size = in_size;
	in_size = 0;
	return *size ? in : NULL;
}

static bool waits(void *ctx unused_arg)
{
	return in_size;
}

static u64 new_id(void *ctx unused_arg)
{
	return 0x11;
}

static void nothing(void *ctx unused_arg)
{
}

static void say(void *ctx unused_arg, const char *line unused_arg)
{
}

static void write_console(void *ctx unused_arg, const void *data unused_arg, size_t n)
{
	written += (unsigned)n;
}

static enum ft_verdict differs(void *ctx unused_arg, struct ft_word *current)
{
	*current = (struct ft_word){ .term = 9, .owner = PARTNER, .member = { PARTNER, 0 } };
	return FT_DIFFERS;
}

static void start(void *ctx unused_arg, const struct ft_word *expected unused_arg, const struct ft_word *desired unused_arg)
{
}

static bool all_is_heard; /* of the log, in a wait */

static u64 wait_ns(void *ctx unused_arg, u64 ns)
{
	if (all_is_heard) {
		p->ship.tx.acked = p->ship.tx.sent = p->ship.tx.end;
		p->ship.npushes = 0;
	}
	now_ns += ns;
	return ns;
}

static bool stays(void *ctx unused_arg)
{
	return false;
}

static size_t read_console(void *ctx unused_arg, void *data, size_t room unused_arg)
{
	const bool some = typed;

	typed = false;
	*(char *)data = 'x';
	return some;
}

static bool leaves;

static bool quits(void *ctx unused_arg)
{
	return leaves;
}

static void progress(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
}

static const struct host_port host = { .console_write = write_console, .console_read = read_console, .wait = wait_ns, .quit = quits,
				       .ended = stays, .progress = progress };
static const struct ft_arbiter arbiter = { start, differs, NULL };
static const struct ft_machine machine = { .copy_begin = nothing, .copy_end = nothing };
static const struct ft_env env = { .now_ns = clock_ns, .room = room_for_one, .send = send, .receive = receive, .waits = waits, .new_id = new_id, .disregard = nothing, .announce = nothing,
				   .say = say, .host = &host, .arbiter = &arbiter, .machine = &machine };
static u8 log_ring[65536], ring[65536 + FT_RECORD_MAX], state[64];
static _Alignas(8) u8 held[4 * FT_HELD_SEAM(FT_OUTPUT_MAX)];

/* A host in a session with PARTNER. */
static void be(enum ft_role role)
{
	const struct ft_memory m = { log_ring, sizeof(log_ring), ring, 65536, held, sizeof(held), state, sizeof(state) };
	const struct ft_config c = { .timers = ft_default_timers, .datagram_bytes = 1500, .poll_insns = 1000, .epoch_insns = 4000, .max_lag_insns = 100000 };

	p = calloc(1, sizeof(*p));
	now_ns = 1000000000;
	byes = asks = written = 0;
	answers = typed = leaves = all_is_heard = false;
	ft_init(p, &c, &env, &m);
	p->role = role;
	p->session = SESSION;
	p->other = PARTNER;
	p->other_at = PARTNER_AT;
	ft_ship_begin(p, 65536, sizeof(held));
	ft_follow_begin(p);
	p->ship.started = role != FT_COPYING;
}

static void hear(const struct ft_message *m)
{
	in_size = ft_encode(m, 0, in);
	ft_pump(p);
}

static void hear_hello(u64 id)
{
	/* Of another link version: nobody to welcome. */
	hear(&(struct ft_message){ .kind = FT_HELLO, .hello = { .version = FT_LINK_VERSION + 1, .id = id } });
}

static void teardown(void)
{
	free(p);
}

TestSuite(ft_pair, .fini = teardown);

Test(ft_pair, a_partner_that_began_anew_is_given_up)
{
	static const struct { enum ft_role before, after; } ways[] = {
		{ FT_COPYING, FT_ALONE }, { FT_GUARDED, FT_ALONE }, { FT_PRIMARY, FT_PARTING },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		be(ways[i].before);
		hear_hello(ANOTHER);
		cr_assert_eq(p->role, ways[i].before, "one HELLO may be from a life before");
		hear_hello(PARTNER);
		hear_hello(ANOTHER);
		cr_assert_eq(p->role, ways[i].after, "%s", ft_role_name(p->role));
		cr_assert_eq(byes > 0, ways[i].after == FT_ALONE, "who is given up is told so");
		free(p);
	}
	be(FT_ALONE);
}

Test(ft_pair, who_is_given_up_may_join_again)
{
	be(FT_SECONDARY);
	hear(&(struct ft_message){ .kind = FT_BYE, .session = SESSION, .bye = FT_GIVEN_UP });
	cr_assert_eq(p->role, FT_STOPPED);
	cr_assert(p->s.may_join && p->s.outcome == VM_QUIT);
}

Test(ft_pair, who_is_out_may_join_again)
{
	be(FT_SECONDARY);
	p->follow.loaded = true;
	pair_claim(p, "silent");
	for (unsigned i = 0; i < 3; i++)
		ft_pump(p);
	cr_assert_eq(p->role, FT_STOPPED);
	cr_assert(p->s.may_join);
}

/* The link is served in between: a slow network must not make this host silent. */
Test(ft_pair, outputs_leave_in_portions)
{
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 };

	be(FT_GUARDED);
	for (unsigned i = 0; i < 100; i++) {
		cr_assert(ft_held_put(&p->held, &out));
		ft_held_place(&p->held, 0);
	}
	ft_release(p);
	cr_assert_eq(written, 64);
	cr_assert_eq(ft_ship_due(p), 0, "the rest at once");
	ft_release(p);
	cr_assert_eq(written, 100);
}

/* A host looks at its clock and is frozen: what it was about to let out may have been said by another since (I6). */
Test(ft_pair, who_was_frozen_lets_nothing_out)
{
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 };

	be(FT_PRIMARY);
	cr_assert(ft_held_put(&p->held, &out) && ft_held_put(&p->held, &out));
	p->ship.tx.end = p->ship.tx.acked = 5;
	p->ship.tx.acked_sent_ns = now_ns;
	ft_held_place(&p->held, 5);
	ft_look(p);
	now_ns += ft_default_timers.lease_ns;
	ft_release(p);
	cr_assert_eq(written, 0);
}

/* A poll interval takes as long as the other waits for a sign of life: the guest is stopped more often, until it does not. */
Test(ft_pair, a_slow_guest_is_stopped_more_often)
{
	const u64 ms = 1000000;

	be(FT_PRIMARY);
	p->let_go_ns = now_ns;
	now_ns += 30 * ms;
	p->now.count = 700;
	ft_pump(p);
	cr_assert_eq(p->b.ask_within_insns, 0);
	now_ns += 30 * ms;
	p->now.count = 1000;
	ft_pump(p);
	cr_assert_eq(p->b.ask_within_insns, 1000 / FT_LOOKS);
	ft_begin_interval(p);
	cr_assert_neq(p->b.ask_within_insns, 0, "it was slow to the end");
	now_ns += 10 * ms;
	p->now.count = 2000;
	ft_pump(p);
	ft_begin_interval(p);
	cr_assert_eq(p->b.ask_within_insns, 0);
}

/* Until the copy is whole outputs go; then they wait, and the word waits for what has gone. */
Test(ft_pair, what_left_during_a_copy_is_acknowledged_before_the_word_names_the_other)
{
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 };

	be(FT_GUARDED);
	cr_assert(ft_held_put(&p->held, &out));
	ft_release(p);
	cr_assert_eq(written, 0, "it has no place in the log yet");
	p->ship.tx.end = 5;
	ft_held_place(&p->held, 5);
	ft_release(p);
	cr_assert_eq(written, 1);
	p->ship.loaded = true;
	cr_assert(!ft_may_enlist(p), "its mark is on the way");
	cr_assert(ft_held_put(&p->held, &out));
	ft_held_place(&p->held, 9);
	ft_release(p);
	cr_assert_eq(written, 1, "from now on they wait");
	p->ship.tx.acked = 5;
	cr_assert(ft_may_enlist(p));
}

/* Marks of an idle machine have gone on with time; its end is behind them, not where it halted. */
Test(ft_pair, who_leaves_an_idle_machine_ends_it)
{
	const struct ft_end end = { .outcome = VM_QUIT };

	be(FT_PRIMARY);
	p->ship.log.base.count = 5;
	p->ship.log.base.vtime_ns = 200;
	ft_ship_end(p, &(struct execpoint){ .count = 5, .vtime_ns = 150 }, &end);
	cr_assert(p->ship.ended);
	cr_assert_eq(p->ship.log.base.vtime_ns, 200);
}

/* While the other's copy is not whole outputs leave without it: a datagram for each would be many. */
Test(ft_pair, nobody_is_asked_about_what_leaves_freely)
{
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 };

	be(FT_GUARDED);
	for (unsigned i = 0; i < 100; i++) {
		p->open = (struct ft_point){ i + 1, i + 1 };
		cr_assert(ft_held_put(&p->held, &out));
		ft_ship_send(p, now_ns);
		ft_release(p);
	}
	cr_assert(written == 100 && asks <= FT_PUSHES, "%u left, %u asked", written, asks);
}

/* ---- what is foretold ---- */

static const struct input_room room = { .console = 64 };
static struct input got;

static bool enters(u64 count, u64 vtime_ns)
{
	return p->b.ops->next_input(&p->b, &(struct execpoint){ .count = count, .vtime_ns = vtime_ns }, &room, &got);
}

static void say_at(u64 count, u64 vtime_ns)
{
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 };

	p->b.ops->output(&p->b, &(struct execpoint){ .count = count, .vtime_ns = vtime_ns }, &out);
}

static u64 idles(u64 count, u64 vtime_ns, u64 deadline_ns)
{
	return p->b.ops->idle(&p->b, &(struct execpoint){ .count = count, .vtime_ns = vtime_ns }, &room, deadline_ns);
}

static u64 last_position(void)
{
	struct ft_held_front f;

	cr_assert(ft_held_front(&p->held, &f));
	while (ft_held_behind(&p->held, &f))
		;
	return f.position;
}

/* A request enters, and the answer is made while the other acknowledges it: no mark of its own, no wait. */
Test(ft_pair, what_the_log_foretells_waits_for_no_mark)
{
	u64 mark;

	be(FT_PRIMARY);
	typed = true;
	cr_assert(enters(10, 10));
	cr_assert_eq(asks, 0, "more may enter here");
	cr_assert(!enters(10, 10));
	cr_assert_eq(asks, 1, "the other hears of it before the guest runs on");
	mark = p->ship.tx.end;
	say_at(12, 12);
	cr_assert(last_position() == mark && p->ship.tx.end == mark && asks == 1);
	p->ship.tx.acked = mark;
	p->ship.tx.acked_sent_ns = now_ns;
	ft_pump(p);
	cr_assert_eq(written, 1);
	say_at(13, 13);
	ft_pump(p);
	cr_assert_eq(written, 2, "acknowledged already");
}

/* Asked at a point behind the mark, for an input or an answer: what comes of it is not in the log yet. */
Test(ft_pair, what_the_machine_has_asked_for_since_is_not_foretold)
{
	const struct execpoint question = { .count = 30, .vtime_ns = 30 };
	u64 mark;

	be(FT_PRIMARY);
	cr_assert(!enters(10, 10));
	say_at(11, 11);
	mark = last_position();
	say_at(12, 12);
	cr_assert_eq(last_position(), mark, "one mark is enough for all that it says before it asks again");
	cr_assert(!enters(20, 20));
	say_at(21, 21);
	cr_assert_gt(last_position(), mark);
	mark = last_position();
	cr_assert_eq(p->b.ops->answer(&p->b, &question, INPUT_DISK, 0, OK), OK);
	say_at(30, 30);
	cr_assert_gt(last_position(), mark, "at the question's very point");
	mark = last_position();
	say_at(31, 31);
	cr_assert_eq(last_position(), mark);
	cr_assert_eq(idles(32, 32, 10000000), 10000000);
	say_at(32, 10000000);
	cr_assert_gt(last_position(), mark, "a timer's, before it has asked behind its rest");
}

/* A device is ready in a moment: the machine does not ask until then, and what it says then is foretold, too. */
Test(ft_pair, for_a_moment_nobody_is_asked)
{
	u64 mark, began;

	be(FT_PRIMARY);
	cr_assert(!enters(10, 1000));
	say_at(11, 1001);
	mark = last_position();
	typed = true;
	began = now_ns;
	cr_assert_eq(idles(12, 1002, 100000), 100000);
	say_at(12, 100000);
	cr_assert(!enters(12, 100000) && typed);
	say_at(13, 100001);
	cr_assert(last_position() == mark && now_ns == began, "nor has it waited");
	cr_assert_eq(idles(14, 100002, 300000), 100002, "a little more, and it is asked: something has come");
	cr_assert(enters(14, 100002));
	cr_assert(!enters(14, 100002));
	began = now_ns;
	cr_assert_eq(idles(15, 100003, 9000000), 9000000);
	cr_assert_eq(now_ns - began, 9000000 - 100003 + (100000 - 1002), "and what it has not waited before it waits now");
}

/* Who joins cannot know when the machine was asked last: neither host naps before it is asked again. */
Test(ft_pair, nobody_naps_behind_a_copy)
{
	const struct ft_start start = { .at = { .count = 10, .vtime_ns = 1000 } };

	be(FT_COPYING);
	cr_assert(!enters(10, 1000) && ft_naps(p, 2000));
	pair_guard(p, &start);
	cr_assert(!ft_naps(p, 2000));
	free(p);
	be(FT_LOADING);
	pair_follow(p, &start);
	cr_assert(!ft_naps(p, 2000));
}

/* ---- exits ---- */

static enum vm_outcome polled(u64 count)
{
	return p->b.ops->poll(&p->b, &(struct execpoint){ .count = count, .vtime_ns = count });
}

/* At an exit the clock is dear, and whether something has come is not. */
Test(ft_pair, the_link_is_looked_at_when_something_has_come)
{
	const struct ft_message ack = { .kind = FT_ACK, .session = SESSION, .ack = { .room = 100 } };

	be(FT_PRIMARY);
	looks = 0;
	cr_assert_eq(polled(1), VM_RUNNING);
	cr_assert_eq(looks, 0);
	in_size = ft_encode(&ack, 0, in);
	cr_assert_eq(polled(2), VM_RUNNING);
	cr_assert(looks > 0 && !in_size);
	looks = 0;
	for (unsigned i = 1; i < FT_PASSED_BY; i++)
		cr_assert_eq(polled(2 + 1000 / FT_LOOKS - 1), VM_RUNNING);
	cr_assert_eq(looks, 0);
	polled(2 + 1000 / FT_LOOKS - 1);
	cr_assert_gt(looks, 0, "after so many exits");
	looks = 0;
	polled(2 + 2 * (1000 / FT_LOOKS));
	cr_assert_gt(looks, 0, "after so many instructions");
	looks = 0;
	polled(1000);
	cr_assert_gt(looks, 0, "at a poll point");
	leaves = true;
	cr_assert_eq(idles(1001, 5000000, VTIMER_NEVER), VTIMER_NEVER);
	cr_assert_eq(polled(1001), VM_QUIT, "who idles no more asks why");
}

/* ---- ends ---- */

#define WAITS 3
static unsigned nwaits;

/* The operator leaves in the third. */
static u64 wait_as_long_as_told(void *ctx unused_arg, u64 ns)
{
	now_ns += MIN(ns, 1000UL);
	leaves = ++nwaits == WAITS;
	return ns;
}

/* An operator left the primary; this machine has come further, and nobody makes room for what it says there. */
Test(ft_pair, what_is_made_behind_the_end_is_not_waited_for, .timeout = 20)
{
	be(FT_SECONDARY);
	p->follow.ended = true;
	p->follow.end.outcome = VM_QUIT;
	p->follow.end_at.count = 5;
	p->held.bound = 0;
	p->b.ops->output(&p->b, &(struct execpoint){ .count = 9 }, &(struct output){ .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 });
	cr_assert(p->role == FT_SECONDARY && p->made == 1);
}

Test(ft_pair, a_machine_that_goes_on_behind_its_end_is_another, .timeout = 20)
{
	be(FT_SECONDARY);
	p->follow.ended = true;
	p->follow.end.outcome = VM_POWERED_OFF;
	p->follow.end_at.count = 5;
	cr_assert(!enters(9, 0));
	cr_assert(p->role == FT_STOPPED && p->s.outcome == VM_DIVERGED);
}

/* The log has no room for the failure yet; marks that are written meanwhile must not say that all is answered. */
Test(ft_pair, an_answer_counts_when_it_is_in_the_log, .timeout = 20)
{
	const struct execpoint now = { .count = 30, .vtime_ns = 30 };
	const struct output out = { .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 };
	struct host_port failing = host;

	be(FT_PRIMARY);
	failing.report_errors = true;
	p->live.host = &failing;
	cr_assert(ft_held_put(&p->held, &out));
	p->ship.tx.end = sizeof(log_ring) - 4;
	all_is_heard = true;
	cr_assert_eq(p->b.ops->answer(&p->b, &now, INPUT_DISK, 0, ERR_IO), ERR_IO);
	cr_assert(!p->held.nunplaced && p->asked == 1, "marks were written");
	cr_assert_eq(p->ship.told_asked, 0);
}

/* What the host answered at the end's very point is known when the end is: no failure is written before it. */
Test(ft_pair, the_last_answer_is_known, .timeout = 20)
{
	be(FT_SECONDARY);
	p->follow.ended = true;
	p->follow.end.outcome = VM_POWERED_OFF;
	p->follow.end_at.count = 5;
	cr_assert_eq(p->b.ops->answer(&p->b, &p->follow.end_at, INPUT_DISK, 0, OK), OK);
	cr_assert(p->role == FT_SECONDARY);
}

/* A secondary at the end of what it has been told: its operator is not kept waiting for more, and the next poll ends it. */
Test(ft_pair, who_leaves_waits_for_no_more_of_the_log, .timeout = 20)
{
	const struct execpoint now = { .count = 30, .vtime_ns = 30 };
	struct host_port leaving = host;

	leaving.wait = wait_as_long_as_told;
	for (unsigned i = 0; i < 2; i++) {
		be(FT_SECONDARY);
		p->env = &(struct ft_env){ .now_ns = clock_ns, .room = room_for_one, .send = send, .receive = receive, .waits = waits,
					   .new_id = new_id, .disregard = nothing, .announce = nothing, .say = say, .host = &leaving,
					   .arbiter = &arbiter, .machine = &machine };
		nwaits = 0;
		if (i)
			cr_assert_eq(p->b.ops->answer(&p->b, &now, INPUT_DISK, 0, ERR_IO), OK);
		else
			cr_assert(!enters(now.count, now.vtime_ns));
		cr_assert(nwaits == WAITS && p->role == FT_SECONDARY, "waits for the log until its operator leaves");
		cr_assert_eq(polled(now.count), VM_QUIT);
		free(p);
	}
	be(FT_SECONDARY);
}

/* ---- shared disks ---- */

static struct ft_write last;
static u8 last_data[FT_WRITE_MAX];
static unsigned nwrites, ntakes, nreturns;
static enum ft_disk_answer disk_answer;

static void take_disks(void *ctx unused_arg, u64 term unused_arg)
{
	ntakes++;
	disk_answer = FT_DISK_BUSY;
}

static void write_disk(void *ctx unused_arg, const struct ft_write *w)
{
	last = *w;
	memcpy(last_data, w->data, w->size);
	nwrites++;
	disk_answer = FT_DISK_BUSY;
}

static enum ft_disk_answer poll_disk(void *ctx unused_arg)
{
	return disk_answer;
}

static const char *complaint(void *ctx unused_arg)
{
	return "it is made of wood";
}

static void give_back(void *ctx unused_arg)
{
	nreturns++;
}

static const struct ft_disks disks = { take_disks, write_disk, poll_disk, give_back, complaint, NULL };
static struct ft_env sharing;

/* A primary that has taken its disks, and is told that much is acknowledged. */
static void be_sharing(enum ft_role role)
{
	be(role);
	sharing = env;
	sharing.disks = &disks;
	p->env = &sharing;
	p->word.term = 3;
	nwrites = ntakes = nreturns = 0;
	ft_take_disks(p);
	disk_answer = FT_DISK_DONE;
	p->ship.tx.end = p->ship.tx.acked = 1000;
	p->ship.tx.acked_sent_ns = now_ns;
}

static void wrote(u64 sector, u8 what, u32 nsectors)
{
	u8 data[FT_OUTPUT_MAX];

	memset(data, what, sizeof(data));
	cr_assert(ft_held_put(&p->held, &(struct output){ .kind = OUTPUT_DISK, .data = data, .size = nsectors * 512, .sector = sector }));
	ft_held_place(&p->held, 1);
}

static void said(void)
{
	cr_assert(ft_held_put(&p->held, &(struct output){ .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 }));
	ft_held_place(&p->held, 1);
}

/* Sectors that follow each other go in one write, what is behind them after it, and nothing before the other made it. */
Test(ft_pair, writes_leave_when_the_other_has_made_them)
{
	be_sharing(FT_PRIMARY);
	said();
	wrote(10, 'a', 2);
	wrote(12, 'b', 1);
	wrote(12, 'c', 1);
	said();
	ft_release(p);
	cr_assert(written == 1 && nwrites == 0, "the other may read there still");
	p->ship.other_made = 3;
	ft_release(p);
	cr_assert(nwrites == 1 && last.sector == 10 && last.size == 3 * 512 && last.disk == 0);
	cr_assert(last_data[0] == 'a' && last_data[1023] == 'a' && last_data[1024] == 'b');
	ft_release(p);
	cr_assert(nwrites == 1 && p->ship.released == 1 && ft_ship_due(p) <= now_ns + FT_DISK_LOOK_NS);
	p->ship.other_made = 5;
	disk_answer = FT_DISK_DONE;
	ft_release(p);
	cr_assert(nwrites == 2 && last.sector == 12 && last_data[0] == 'c' && p->ship.released == 3 && written == 1);
	disk_answer = FT_DISK_DONE;
	ft_release(p);
	cr_assert(p->ship.released == 5 && written == 2 && !p->held.fill);
}

Test(ft_pair, what_may_not_have_been_written_is_written_again)
{
	be_sharing(FT_ALONE);
	wrote(1, 'a', 1);
	said();
	ft_release(p);
	cr_assert(nwrites == 1 && ntakes == 1);
	disk_answer = FT_DISK_AGAIN;
	ft_release(p);
	cr_assert(ntakes == 1 && written == 0, "not at once, for ever");
	now_ns += p->c.timers.retry_ns;
	ft_pump(p);
	cr_assert(ntakes == 2 && nwrites == 1);
	disk_answer = FT_DISK_DONE;
	ft_pump(p);
	cr_assert(nwrites == 2 && written == 0);
	disk_answer = FT_DISK_DONE;
	ft_pump(p);
	cr_assert(nwrites == 2 && written == 1 && !p->held.fill);
}

Test(ft_pair, who_has_lost_the_disks_is_out)
{
	static const struct { enum ft_disk_answer answer; enum vm_outcome outcome; bool may_join; } ends[] = {
		{ FT_DISK_LOST, VM_QUIT, true }, { FT_DISK_REFUSED, VM_HOST_FAILED, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		be_sharing(FT_PRIMARY);
		wrote(1, 'a', 1);
		disk_answer = ends[i].answer;
		ft_release(p);
		cr_assert(p->role == FT_STOPPED && p->s.outcome == ends[i].outcome && p->s.may_join == ends[i].may_join, "%s", p->s.reason);
		cr_assert(nwrites == 0 && !p->held.fill);
		free(p);
	}
	be(FT_ALONE);
}

/* A device waits for its disk: it has half of what it reads in memory, unnoted, so no copy begins there. */
Test(ft_pair, nobody_joins_amid_a_read)
{
	const struct ft_message m = { .kind = FT_HELLO, .hello = { .version = FT_LINK_VERSION, .id = ANOTHER, .log_room = 65536,
								  .held_room = sizeof(held) } };

	be(FT_ALONE);
	p->session = 0;
	in_size = ft_encode(&m, 0, in);
	cr_assert(ft_meanwhile(p, 1000) && p->role == FT_ALONE);
	hear(&m);
	cr_assert_eq(p->role, FT_COPYING, "behind it");
}

/* A machine is left to a host that has just said that it is there; what it said before may be its last word. */
Test(ft_pair, a_machine_is_left_to_nobody_who_does_not_answer)
{
	be(FT_PRIMARY);
	p->ship.heard_ns = now_ns;
	ft_give_up(p, "no disk");
	ft_give_up(p, "no disk");
	cr_assert_eq(p->role, FT_PRIMARY, "heard just now, but asked nothing");
	ft_pump(p);
	cr_assert_eq(asks, 1);
	p->ship.tx.acked = p->ship.tx.end;
	now_ns += ft_default_timers.detect_ns;
	ft_look(p);
	ft_give_up(p, "no disk");
	cr_assert_eq(p->role, FT_PRIMARY, "that was long ago");
	p->ship.tx.acked = p->ship.tx.end;
	ft_give_up(p, "no disk");
	cr_assert(p->role == FT_STOPPED && p->s.may_join);
}

/* A host that joined has not moved on for long: it had its copy to take in. */
Test(ft_pair, who_has_just_joined_has_its_time)
{
	be(FT_GUARDED);
	p->ship.waited_for = true;
	p->ship.moved_ns = now_ns;
	now_ns += 2 * ft_default_timers.mute_ns;
	ft_look(p);
	pair_enlist(p);
	ft_ship_timers(p, now_ns);
	cr_assert(p->role == FT_ENLISTING && !p->ship.silent);
}

/* A write waits until the other has made it; one that never comes to it is not in step, and is given up. */
Test(ft_pair, who_never_makes_a_write_is_not_waited_for, .timeout = 20)
{
	be_sharing(FT_PRIMARY);
	answers = true;
	wrote(1, 'a', 1);
	p->held.bound = p->held.cost;
	p->b.ops->output(&p->b, &(struct execpoint){ .count = 9, .vtime_ns = 9 }, &(struct output){ .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 });
	cr_assert(nwrites == 0 && now_ns < 3000000000UL);
	cr_assert(p->role == FT_STOPPED, "the test's store has another word");
}

/* Somebody has a later term than the first, and nobody can have won one: the reservation is older than the pair. */
Test(ft_pair, who_has_just_founded_the_pair_has_lost_nothing)
{
	be_sharing(FT_ALONE);
	p->word.term = 1;
	wrote(1, 'a', 1);
	disk_answer = FT_DISK_LOST;
	ft_release(p);
	cr_assert(p->role == FT_STOPPED && p->s.outcome == VM_HOST_FAILED && !p->s.may_join);
	cr_assert(strstr(p->s.reason, "earlier run"));
	free(p);
	be_sharing(FT_ENLISTING); /* its partner may have */
	p->word.term = 1;
	wrote(1, 'a', 1);
	disk_answer = FT_DISK_LOST;
	ft_release(p);
	cr_assert(p->role == FT_STOPPED && p->s.outcome == VM_QUIT && p->s.may_join);
}

Test(ft_pair, who_ends_a_machine_gives_the_disks_back)
{
	static const struct { enum ft_role role; enum vm_outcome outcome; unsigned returns; } ends[] = {
		{ FT_ALONE, VM_POWERED_OFF, 1 }, { FT_ALONE, VM_QUIT, 1 }, { FT_ALONE, VM_HOST_FAILED, 0 }, { FT_SECONDARY, VM_QUIT, 0 },
	};
	const struct execpoint now = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		be_sharing(ends[i].role);
		p->outlet.busy = false;
		cr_assert_eq(ft_finish(p, ends[i].outcome, 0, &now, 0), ends[i].outcome);
		cr_assert_eq(nreturns, ends[i].returns, "%u", i);
		free(p);
	}
	be(FT_ALONE);
}

/* It may be ahead of what is counted here: an output that waits for room has been made there. */
Test(ft_pair, the_other_may_be_ahead_by_what_waits_for_room)
{
	struct ft_message m = { .kind = FT_ACK, .session = SESSION, .ack = { .offset = 1000, .room = 1, .made = 7 } };

	be_sharing(FT_PRIMARY);
	p->made = 6;
	hear(&m);
	cr_assert_eq(p->ship.other_made, 7);
	m.ack.made = 4;
	hear(&m);
	cr_assert_eq(p->ship.other_made, 7, "an answer that was late");
}
