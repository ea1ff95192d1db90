/*
 * test_ft_held.c - the queue of outputs: its bound, its seam, and where in the log each one waits for.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ft/held.h"

#define SIZE (3 * FT_HELD_SEAM(FT_OUTPUT_MAX))

static u64 ring[SIZE / 8];
static struct ft_held h;
#define LONGEST (FT_OUTPUT_MAX / 4 * 5) /* where a machine has more than frames of a wire */

static u8 data[LONGEST + 1];

static void setup(void)
{
	ft_held_init(&h, (u8 *)ring, sizeof(ring), FT_OUTPUT_MAX);
	for (u32 i = 0; i < sizeof(data); i++)
		data[i] = (u8)(i * 7);
}
TestSuite(ft_held, .init = setup);

static bool put(enum output_kind kind, u32 size)
{
	return ft_held_put(&h, &(struct output){ .kind = kind, .instance = 2, .data = data, .size = size });
}

static struct ft_held_front front(void)
{
	struct ft_held_front f;

	cr_assert(ft_held_front(&h, &f));
	return f;
}

Test(ft_held, positions)
{
	cr_assert(put(OUTPUT_FRAME, 60));
	cr_assert(put(OUTPUT_FRAME, 61));
	cr_assert_eq(front().position, FT_NO_POSITION);
	ft_held_place(&h, 100);
	cr_assert(put(OUTPUT_FRAME, 62));
	ft_held_place(&h, 200);
	ft_held_place(&h, 300); /* nobody is left to be placed */
	for (u32 i = 0; i < 3; i++) {
		const struct ft_held_front f = front();

		cr_assert(f.position == (i < 2 ? 100U : 200U) && f.out.size == 60 + i && f.out.instance == 2 && f.units == 1);
		cr_assert_arr_eq((const u8 *)f.out.data, data, f.out.size);
		ft_held_take(&h, 1);
	}
	cr_assert_not(ft_held_front(&h, &(struct ft_held_front){ 0 }));
	cr_assert(!h.cost && !h.fill && !h.nunplaced);
}

Test(ft_held, console_bytes_go_together_until_placed)
{
	cr_assert(put(OUTPUT_CONSOLE, 3) && put(OUTPUT_CONSOLE, 4));
	cr_assert(front().units == 7 && h.cost == 2 * FT_HELD_COST(4), "and cost as if they did not");
	ft_held_place(&h, 10);
	cr_assert(put(OUTPUT_CONSOLE, 5));
	cr_assert_eq(front().units, 7, "what has a position keeps its size");
	ft_held_take(&h, 2);
	cr_assert(front().units == 5 && *(const u8 *)front().out.data == data[2]);
	ft_held_take(&h, 5);
	cr_assert(front().units == 5 && front().position == FT_NO_POSITION);
	ft_held_clear(&h);
	cr_assert_not(ft_held_front(&h, &(struct ft_held_front){ 0 }));
}

Test(ft_held, bound)
{
	u32 n = 0;

	cr_assert_not(put(OUTPUT_FRAME, FT_OUTPUT_MAX + 1));
	cr_assert_eq(h.bound, SIZE - FT_HELD_SEAM(FT_OUTPUT_MAX));
	while (put(OUTPUT_FRAME, 100))
		n++;
	cr_assert_eq(n, h.bound / FT_HELD_COST(100));
	cr_assert(put(OUTPUT_CONSOLE, 1) || h.bound - h.cost < FT_HELD_COST(1));
	ft_held_take(&h, 1);
	cr_assert(put(OUTPUT_FRAME, 100), "what has gone makes room");
	h.bound = 0;
	cr_assert_not(put(OUTPUT_CONSOLE, 1));
}

/*
 * Any sizes up to the longest, for long: within the bound there is always room, wherever the ring's end
 * is, and what comes out is what went in.
 */
static void check_seam(u32 longest)
{
	static struct { enum output_kind kind; u32 size; } model[4096];
	u64 in = 0, out = 0, seed = 7, cost = 0, gone = 0, n;

	ft_held_init(&h, (u8 *)ring, sizeof(ring), longest);
	cr_assert_not(put(OUTPUT_FRAME, longest + 1));
	while (out < 20000) {
		unsigned dice = (unsigned)((seed = seed * 6364136223846793005UL + 1442695040888963407UL) >> 33);
		enum output_kind kind = dice % 4 ? OUTPUT_FRAME : OUTPUT_CONSOLE;
		u32 size = 1 + dice / 8 % (dice / 4 % 4 ? 90 : kind == OUTPUT_FRAME ? longest : FT_OUTPUT_MAX);

		if (dice / 64 % 2) {
			bool fits = cost + FT_HELD_COST(size) <= h.bound;

			cr_assert_eq(put(kind, size), fits, "output %lu of %u bytes", in, size);
			ft_held_place(&h, ++in); /* entries stay apart */
			if (!fits) {
				in--;
				continue;
			}
			model[in % 4096].kind = kind;
			model[in % 4096].size = size;
			cost += FT_HELD_COST(size);
		} else if (in > out) {
			const struct ft_held_front f = front();
			u32 all = model[(out + 1) % 4096].size, some = 1 + dice % f.units;

			cr_assert(f.position == out + 1 && f.out.kind == model[(out + 1) % 4096].kind && f.out.size == all - gone);
			cr_assert_arr_eq((const u8 *)f.out.data, data + gone, f.out.size);
			for (struct ft_held_front b = (n = out + 1, f); ft_held_behind(&h, &b);) {
				n++;
				cr_assert(b.position == n && b.out.kind == model[n % 4096].kind && b.out.size == model[n % 4096].size);
			}
			cr_assert_eq(n, in, "all of them are behind the first");
			ft_held_take(&h, some);
			gone = some < f.units ? gone + some : 0;
			if (gone)
				continue;
			out++;
			cost -= FT_HELD_COST(all);
		}
		cr_assert_eq(h.cost, cost);
	}
}

Test(ft_held, seam)
{
	check_seam(FT_OUTPUT_MAX);
}

Test(ft_held, seam_of_longer_ones)
{
	check_seam(LONGEST);
}
