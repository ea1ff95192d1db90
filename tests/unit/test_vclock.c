/*
 * test_vclock.c - timers fire when they are due, in one order, and the next
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
