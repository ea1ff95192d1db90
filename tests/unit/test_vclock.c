/*
 * test_vclock.c - timers fire when they are due, or late as a seed says, in one order, and the next
 * deadline is always known.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

static struct vclock clk;

struct t {
	struct vtimer timer;
	char name;
	u64 again_ns;        /* re-armed so much after its deadline, `times` times */
	unsigned times;
	struct t *cancels, *arms;
	u64 deadline_ns;
};

static char fired[256];
static unsigned nfired;

static void fire(void *owner)
{
	struct t *t = owner;

	cr_assert_eq(t->timer.deadline_ns, VTIMER_NEVER, "fired while still armed");
	cr_assert_lt(nfired, sizeof(fired) - 1);
	fired[nfired++] = t->name;
	if (t->times) {
		t->times--;
		t->deadline_ns += t->again_ns;
		vtimer_arm(&t->timer, t->deadline_ns);
	}
	if (t->cancels)
		vtimer_cancel(&t->cancels->timer);
	if (t->arms)
		vtimer_arm(&t->arms->timer, clk.now_ns);
}

static void add(struct t *t, char name, u64 deadline_ns)
{
	t->name = name;
	t->deadline_ns = deadline_ns;
	vtimer_add(&clk, &t->timer, fire, t);
	cr_assert_eq(t->timer.deadline_ns, VTIMER_NEVER, "armed when added");
	vtimer_arm(&t->timer, deadline_ns);
}

static void run_at(u64 now_ns, const char *want)
{
	clk.now_ns = now_ns;
	vclock_run(&clk);
	fired[nfired] = 0;
	cr_assert_str_eq(fired, want, "at %lu: '%s', not '%s'", now_ns, fired, want);
	nfired = 0;
}

Test(vclock, without_timers_the_next_one_is_never)
{
	cr_assert_eq(vclock_next(&clk), VTIMER_NEVER);
	run_at(~0UL, "");
}

Test(vclock, fires_at_its_deadline_and_not_before)
{
	struct t a = { 0 };

	add(&a, 'a', 100);
	cr_assert_eq(vclock_next(&clk), 100);
	run_at(99, "");
	run_at(100, "a");
	run_at(101, "");
	cr_assert_eq(vclock_next(&clk), VTIMER_NEVER);
}

Test(vclock, earliest_first_and_equal_ones_in_the_order_added)
{
	struct t a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	add(&a, 'a', 300);
	add(&b, 'b', 100);
	add(&c, 'c', 300);
	add(&d, 'd', 200);
	vtimer_arm(&a.timer, 300); /* arming again is no new place in the order */
	run_at(1000, "bdac");
}

Test(vclock, one_armed_for_the_past_fires_at_the_next_run)
{
	struct t a = { 0 };

	clk.now_ns = 500;
	add(&a, 'a', 3);
	cr_assert_eq(vclock_next(&clk), 3);
	run_at(500, "a");
}

Test(vclock, one_that_arms_itself_for_now_fires_again_in_its_turn)
{
	struct t a = { .again_ns = 10, .times = 3 }, b = { 0 };

	add(&a, 'a', 100);
	add(&b, 'b', 115);
	run_at(125, "aaba"); /* 100, 110, 115, 120 */
	run_at(129, "");
	run_at(130, "a");
}

Test(vclock, firing_may_cancel_and_arm_others)
{
	struct t a = { 0 }, b = { 0 }, c = { 0 };

	add(&a, 'a', 10);
	add(&b, 'b', 10);
	add(&c, 'c', VTIMER_NEVER);
	a.cancels = &b;
	a.arms = &c;
	run_at(10, "ac");
	cr_assert_eq(vclock_next(&clk), VTIMER_NEVER);
}

Test(vclock, a_cancelled_timer_is_not_the_next)
{
	struct t a = { 0 }, b = { 0 };

	add(&a, 'a', 10);
	add(&b, 'b', 20);
	cr_assert_eq(vclock_next(&clk), 10);
	vtimer_cancel(&a.timer);
	cr_assert_eq(vclock_next(&clk), 20);
	vtimer_arm(&b.timer, 15);
	cr_assert_eq(vclock_next(&clk), 15);
	run_at(14, "");
	run_at(15, "b");
}

/* A deadline loaded from a saved state counts at once. */
Test(vclock, a_loaded_deadline_is_known)
{
	struct t a = { 0 }, b = { 0 };
	u8 bytes[8];
	struct state_walk w = state_save_to(bytes, sizeof(bytes));

	add(&a, 'a', 10);
	vtimer_state(&a.timer, &w, "timer");
	vtimer_cancel(&a.timer);
	add(&b, 'b', 20);
	cr_assert_eq(vclock_next(&clk), 20);
	w = state_load_from(bytes, sizeof(bytes));
	vtimer_state(&a.timer, &w, "timer");
	cr_assert_eq(vclock_next(&clk), 10);
	run_at(10, "a");
}

/* Against the plainest model: scan for the earliest, the first added of equals. */
Test(vclock, agrees_with_a_plain_scan_over_random_timers)
{
	static struct t t[VCLOCK_MAX_TIMERS];
	struct rng r = rng_of(1);
	u64 now = 0;

	for (unsigned i = 0; i < VCLOCK_MAX_TIMERS; i++)
		add(&t[i], (char)('A' + i), VTIMER_NEVER);
	for (int step = 0; step < 20000; step++) {
		u64 next = VTIMER_NEVER;
		char want[64];
		unsigned n = 0;

		for (u64 k = rng_below(&r, 4); k; k--)
			vtimer_arm(&t[rng_below(&r, VCLOCK_MAX_TIMERS)].timer, now + rng_below(&r, 50));
		if (rng_chance(&r, 20))
			vtimer_cancel(&t[rng_below(&r, VCLOCK_MAX_TIMERS)].timer);
		now += rng_below(&r, 20);
		for (u64 at = 0; at <= now; at = next) {
			unsigned first = 0;

			next = VTIMER_NEVER;
			for (unsigned i = VCLOCK_MAX_TIMERS; i--;)
				if (t[i].timer.deadline_ns <= next) {
					next = t[i].timer.deadline_ns;
					first = i;
				}
			if (next > now)
				break;
			want[n++] = t[first].name;
			t[first].deadline_ns = t[first].timer.deadline_ns;
			t[first].timer.deadline_ns = VTIMER_NEVER; /* out of the model's way ... */
		}
		want[n] = 0;
		for (unsigned i = 0; i < n; i++) { /* ... and back */
			struct t *x = &t[(unsigned)(want[i] - 'A')];
			vtimer_arm(&x->timer, x->deadline_ns);
		}
		cr_assert_eq(vclock_next(&clk), n ? t[(unsigned)(want[0] - 'A')].deadline_ns : next);
		run_at(now, want);
	}
}

/* ---- late on purpose ---- */

/* When the only armed timer, number i of n, fires under a jitter. */
static u64 fires_at(unsigned i, unsigned n, u64 deadline_ns, u64 jitter_ns, u64 seed)
{
	static struct t t[VCLOCK_MAX_TIMERS];
	u64 at;

	clk = (struct vclock){ 0 };
	for (unsigned k = 0; k < n; k++)
		add(&t[k], (char)('a' + k % 26), k == i ? deadline_ns : VTIMER_NEVER);
	vclock_set_jitter(&clk, jitter_ns, seed);
	at = vclock_next(&clk);
	nfired = 0;
	if (at != VTIMER_NEVER) {
		clk.now_ns = at - (at > 0);
		vclock_run(&clk);
		cr_assert(!nfired || !at, "fired before %lu", at);
		clk.now_ns = at;
		vclock_run(&clk);
		cr_assert_eq(nfired, 1, "did not fire at %lu, when it was said to", at);
		nfired = 0;
	}
	return at;
}

Test(vclock, late_timers_are_never_early_and_at_most_so_late)
{
	struct rng r = rng_of(3);
	u64 late = 0, latest = 0;

	for (int n = 0; n < 20000; n++) {
		u64 deadline = rng_next(&r) >> rng_below(&r, 50), jitter = 1 + (rng_next(&r) >> (20 + rng_below(&r, 36))), seed = rng_next(&r);
		unsigned i = (unsigned)rng_below(&r, VCLOCK_MAX_TIMERS);
		u64 at = fires_at(i, VCLOCK_MAX_TIMERS, deadline, jitter, seed);

		cr_assert(at >= deadline && at - deadline <= jitter, "due at %lu, fires at %lu, jitter %lu", deadline, at, jitter);
		cr_assert_eq(at, fires_at(i, VCLOCK_MAX_TIMERS, deadline, jitter, seed), "another time, another instant");
		late += at != deadline;
		latest = MAX(latest, (at - deadline) * 100 / jitter);
	}
	cr_assert(late > 5000 && latest > 95, "%lu of 20000 were late, the latest by %lu %% of the jitter", late, latest);
}

/* A guest may arm a timer for the end of time: late by a little it is still there. */
Test(vclock, late_timers_at_the_end_of_time_do_not_come_round)
{
	for (u64 before = 1; before < 2000; before++)
		for (u64 seed = 0; seed < 4; seed++) {
			u64 deadline = VTIMER_NEVER - before, at = fires_at(0, 1, deadline, 1000, seed);

			cr_assert(at >= deadline && at < VTIMER_NEVER, "due at %lu, fires at %lu", deadline, at);
		}
}

Test(vclock, without_jitter_a_seed_changes_nothing)
{
	struct rng r = rng_of(4);

	for (int n = 0; n < 2000; n++) {
		u64 deadline = rng_next(&r) >> rng_below(&r, 50);
		cr_assert_eq(fires_at(0, 3, deadline, 0, rng_next(&r)), deadline);
	}
	cr_assert_eq(fires_at(0, 3, VTIMER_NEVER, 1000, 5), VTIMER_NEVER, "one that is not armed stays so");
}

Test(vclock, another_seed_timer_or_deadline_is_another_lateness)
{
	unsigned same[3] = { 0 };

	for (u64 n = 0; n < 1000; n++) {
		u64 late = fires_at(1, 4, 1000000 + n, 1000000, n) - (1000000 + n);

		same[0] += late == fires_at(1, 4, 1000000 + n, 1000000, n + 1) - (1000000 + n);
		same[1] += late == fires_at(2, 4, 1000000 + n, 1000000, n) - (1000000 + n);
		same[2] += late == fires_at(1, 4, 1000001 + n, 1000000, n) - (1000001 + n);
	}
	cr_assert(same[0] < 10 && same[1] < 10 && same[2] < 10, "of 1000, alike by seed %u, by timer %u, by deadline %u", same[0],
		  same[1], same[2]);
}

/* A change of the jitter counts at once, as a fork needs it. */
Test(vclock, a_jitter_set_between_two_looks_counts)
{
	struct t a = { 0 };
	u64 late;

	add(&a, 'a', 1000);
	cr_assert_eq(vclock_next(&clk), 1000);
	for (u64 seed = 1; ; seed++) {
		cr_assert_lt(seed, 100, "nothing changes");
		vclock_set_jitter(&clk, 500, seed);
		late = vclock_next(&clk);
		if (late != 1000)
			break;
	}
	run_at(late - 1, "");
	vclock_set_jitter(&clk, 0, 0);
	cr_assert_eq(vclock_next(&clk), 1000);
	run_at(late - 1, "a");
}

/* In the order of when they fire; of equal ones the first added: jitter or not, one rule. */
Test(vclock, late_timers_fire_in_the_order_of_when_they_do)
{
	static struct t t[VCLOCK_MAX_TIMERS];
	struct rng r = rng_of(6);

	for (unsigned i = 0; i < 26; i++)
		add(&t[i], (char)('a' + i), VTIMER_NEVER);
	for (int round = 0; round < 3000; round++) {
		u64 due[26], seed = rng_next(&r), jitter = rng_below(&r, 40);
		char want[27];
		bool done[26] = { false };

		for (unsigned i = 0; i < 26; i++) {
			u64 deadline = rng_below(&r, 60);

			/* Alone, to see when it fires. */
			vclock_set_jitter(&clk, jitter, seed);
			vtimer_arm(&t[i].timer, deadline);
			due[i] = vclock_next(&clk);
			vtimer_cancel(&t[i].timer);
			t[i].deadline_ns = deadline;
		}
		for (unsigned n = 0; n < 26; n++) {
			unsigned first = 26;

			for (unsigned i = 26; i--;)
				if (!done[i] && (first == 26 || due[i] <= due[first]))
					first = i;
			done[first] = true;
			want[n] = (char)('a' + first);
		}
		want[26] = 0;
		for (unsigned i = 0; i < 26; i++)
			vtimer_arm(&t[i].timer, t[i].deadline_ns);
		run_at(1000, want);
	}
}
