/*
 * test_boundary.c - live, record and replay are one machine: properties over
 * random programs, random input and random hosts (fakeworld.h).
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

/* Too big for a stack; one test a process. */
static struct plan plan;
static struct world a, b;

#define MEDIUM_SIZE (1 << 20)

static void same(const struct world *x, const struct world *y, const char *what)
{
	const char *why = world_difference(x, y);

	cr_assert_null(why, "%s: %s", what, why);
}

static void record(struct world *w, struct world_medium *m)
{
	world_record(w, &plan, m);
	world_run(w);
}

static void replay(struct world *w, struct world_medium *m, u64 perturb_seed)
{
	world_replay(w, &plan, m);
	world_perturb(w, perturb_seed);
	world_run(w);
}

/* Every host must give the same run. */
static void other_host(struct plan *p, u64 seed)
{
	struct rng r = rng_of(seed + 77);

	p->quirks = (struct fake_host_quirks){ rng_chance(&r, 50), rng_chance(&r, 50), rng_chance(&r, 50) };
}

Test(boundary, a_live_run_repeats_itself)
{
	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		plan_random(&plan, seed);
		world_live(&a, &plan);
		world_run(&a);
		world_live(&b, &plan);
		world_run(&b);
		same(&a, &b, "two live runs");
		world_free(&a);
		world_free(&b);
	}
}

Test(boundary, a_replay_is_the_recorded_run)
{
	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);

		plan_random(&plan, seed);
		record(&a, &m);
		other_host(&plan, seed);
		replay(&b, &m, 0);
		same(&a, &b, "recorded and replayed");
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
}

Test(boundary, a_perturbed_replay_is_the_recorded_run)
{
	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);

		plan_random(&plan, seed);
		record(&a, &m);
		for (u64 i = 1; i <= 2; i++) {
			other_host(&plan, seed + i);
			replay(&b, &m, seed * 10 + i);
			same(&a, &b, "recorded and replayed under disturbance");
			world_free(&b);
		}
		world_free(&a);
		medium_free(&m);
	}
}
