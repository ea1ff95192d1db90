/*
 * test_turns.c - who gets the CPU: shares, sleepers, equals.
 */
#include <criterion/criterion.h>

#include "session/turns.h"

static struct turns t;

static void setup(void)
{
	t = (struct turns){ 0 };
}
TestSuite(turns, .init = setup);

/* A turn of so many ticks for who is next. */
static unsigned run(u64 ticks)
{
	int n = turns_next(&t);

	cr_assert_geq(n, 0);
	turns_charge(&t, (unsigned)n, ticks);
	return (unsigned)n;
}

static void add(u64 share)
{
	turns_want(&t, turns_add(&t, share), true);
}

Test(turns, nobody)
{
	cr_assert_eq(turns_next(&t), -1);
	turns_add(&t, 100);
	cr_assert_eq(turns_next(&t), -1);
}

Test(turns, equals_alternate)
{
	add(SHARE_DEFAULT);
	add(SHARE_DEFAULT);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(run(1000), i % 2);
}

/* Never further from its share than a turn of each. */
Test(turns, in_proportion)
{
	static const u64 share[] = { 1, 100, 250, 1000 };
	const u64 turn = 1000000;
	u64 all = 0, sum = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(share); i++) {
		add(share[i]);
		sum += share[i];
	}
	for (unsigned i = 0; i < 20000; i++) {
		u64 ticks = turn / 2 + (i * 7919UL) % (turn / 2);

		run(ticks);
		all += ticks;
		for (unsigned k = 0; k < t.n; k++) {
			double due = (double)all * (double)share[k] / (double)sum;

			cr_assert_lt((double)t.of[k].used, due + 2 * (double)turn, "%u", k);
			cr_assert_gt((double)t.of[k].used, due - 2 * (double)turn, "%u", k);
		}
	}
}

/* It is next as soon as it wakes, and has not saved up a minute's turns. */
Test(turns, a_sleeper)
{
	unsigned of_it = 0;

	add(SHARE_DEFAULT);
	add(SHARE_DEFAULT);
	turns_want(&t, 1, false);
	for (unsigned i = 0; i < 60000; i++)
		cr_assert_eq(run(1000000), 0);
	turns_want(&t, 1, true);
	cr_assert_eq(run(1000), 1);
	for (unsigned i = 0; i < 1000; i++)
		of_it += run(1000000);
	cr_assert(of_it >= 499 && of_it <= 501, "%u", of_it);
}

/* Waking for a moment again and again wins no more than a share. */
Test(turns, a_nervous_sleeper)
{
	add(SHARE_DEFAULT);
	add(SHARE_DEFAULT);
	for (unsigned i = 0; i < 10000; i++) {
		turns_want(&t, 1, i % 3);
		run(1000000);
	}
	cr_assert(t.of[1].used <= t.of[0].used + 2000000, "%lu %lu", t.of[0].used, t.of[1].used);
}
