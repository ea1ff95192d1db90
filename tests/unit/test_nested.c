/*
 * test_nested.c - nested paging: which rights a page has after which access,
 * that no page is ever both writable and executable but for one instruction,
 * and that every instruction gets done.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

enum { R = MAP_READ, RW = MAP_READ | MAP_WRITE, RX = MAP_READ | MAP_EXEC, RWX = MAP_READ | MAP_WRITE | MAP_EXEC };

#define PAGE 0x123000UL
#define OTHER 0x124000UL

static struct plan plan;
static struct world world;
static struct vm *vm;

static void setup(void)
{
	plan_random(&plan, 1);
	plan.config.mem_bytes = WORLD_MEM;
	world_live(&world, &plan);
	vm = world.vm;
}

static void teardown(void)
{
	world_free(&world);
}

TestSuite(nested, .init = setup, .fini = teardown);

static u64 *entry_at(u64 gpa)
{
	u64 *table = vm->paging.root;

	for (int shift = 39; shift > 12; shift -= 9) {
		if (!table[gpa >> shift & 511])
			return NULL;
		table = (u64 *)(table[gpa >> shift & 511] & 0x000ffffffffff000UL);
	}
	return &table[gpa >> 12 & 511];
}

static unsigned rights(u64 gpa)
{
	u64 *e = entry_at(gpa);
	return e ? vm->virt->pte_rights(*e) : 0;
}

enum kind { READ, WRITE, FETCH };

static enum paging_verdict fault(u64 gpa, enum kind k)
{
	struct exit e = { .reason = EXIT_PAGING, .paging = { .gpa = GPA(gpa), .write = k == WRITE, .fetch = k == FETCH } };

	return vm->paging.ops->fault(&vm->vcpu[0], &e);
}

static void expect(u64 gpa, enum kind k, enum paging_verdict verdict, unsigned after)
{
	enum paging_verdict got = fault(gpa, k);

	cr_assert_eq(got, verdict, "verdict %d, not %d", got, verdict);
	cr_assert_eq(rights(gpa), after, "rights %u, not %u", rights(gpa), after);
}

/* Whether the page has both rights for the present instruction. */
static bool steps(u64 gpa)
{
	for (unsigned i = 0; i < vm->paging.nstepping; i++)
		if (vm->paging.stepping[i].v == gpa)
			return true;
	return false;
}

static void next_instruction(void)
{
	vm->now.count++;
}

/* --- the state machine --- */

Test(nested, a_first_touch_maps_the_chunk_readable_and_writable)
{
	expect(PAGE, READ, PAGING_RETRY, RW);
	cr_assert_eq(rights(0x100000), RW);
	cr_assert_eq(rights(0x1ff000), RW);
	cr_assert_eq(rights(0x9f000), RW);
	cr_assert_eq(rights(0xa0000), 0, "video memory is mapped");
	cr_assert_eq(rights(0xbf000), 0, "video memory is mapped");
	cr_assert_eq(rights(0xc0000), RW);
	cr_assert_eq(rights(0x200000), 0, "the next chunk is mapped");
}

Test(nested, one_by_one_only_what_is_touched)
{
	vm->paging.variant = PAGING_ONE_BY_ONE;
	expect(PAGE, READ, PAGING_RETRY, RW);
	cr_assert_eq(rights(OTHER), 0);
	expect(OTHER, FETCH, PAGING_RETRY, RX);
	cr_assert_eq(rights(PAGE), RW);
}

Test(nested, a_fetch_takes_the_store_away_and_a_store_the_fetch)
{
	expect(PAGE, FETCH, PAGING_RETRY, RX);
	next_instruction();
	expect(PAGE, WRITE, PAGING_RETRY, RW);
	next_instruction();
	expect(PAGE, FETCH, PAGING_RETRY, RX);
	next_instruction();
	expect(PAGE, WRITE, PAGING_RETRY, RW);
}

Test(nested, a_store_into_its_own_page_gets_both_for_one_instruction)
{
	expect(PAGE, FETCH, PAGING_RETRY, RX);
	next_instruction();
	expect(PAGE, WRITE, PAGING_RETRY, RW);
	expect(PAGE, FETCH, PAGING_STEP, RWX);
	cr_assert(steps(PAGE));
	next_instruction();
	vm->paging.ops->step_done(vm);
	cr_assert_eq(rights(PAGE), RX);
	cr_assert(!steps(PAGE) && !vm->paging.nstepping);
}

/* Only the page that was turned for this very instruction. */
Test(nested, other_pages_or_other_counts_get_no_such_step)
{
	expect(PAGE, FETCH, PAGING_RETRY, RX);
	expect(OTHER, FETCH, PAGING_RETRY, RX);
	next_instruction();
	expect(PAGE, WRITE, PAGING_RETRY, RW);
	next_instruction();
	expect(PAGE, FETCH, PAGING_RETRY, RX); /* it was for the instruction before */
	expect(PAGE, WRITE, PAGING_RETRY, RW);
	expect(OTHER, WRITE, PAGING_RETRY, RW);
	expect(PAGE, FETCH, PAGING_RETRY, RX); /* the last turned is the other */
}

Test(nested, a_host_that_executes_what_was_stored_needs_none_of_it)
{
	vm->paging.coherent_code = true;
	expect(PAGE, WRITE, PAGING_RETRY, RWX);
	cr_assert_eq(rights(OTHER), RWX);
	expect(0x200000, FETCH, PAGING_RETRY, RWX);
}

Test(nested, what_is_no_ram_is_emulated)
{
	expect(0xa0000, READ, PAGING_EMULATE, 0);
	expect(WORLD_MEM, WRITE, PAGING_EMULATE, 0);
	expect(0xfee00080, WRITE, PAGING_EMULATE, 0);
	expect(~0UL & PAGE_MASK, FETCH, PAGING_EMULATE, 0);
}

/* A fault for what is allowed would come again for ever. */
Test(nested, a_fault_without_a_reason_is_no_memory_trouble)
{
	fault(PAGE, READ);
	cr_assert_eq(fault(PAGE, WRITE), PAGING_BROKEN);
	fault(PAGE, FETCH);
	cr_assert_eq(fault(PAGE, FETCH), PAGING_BROKEN);
	cr_assert_eq(fault(PAGE, READ), PAGING_BROKEN);
}

Test(nested, without_host_memory_it_fails)
{
	for (unsigned n = 0; n < 6; n++) {
		world.pages_left = n;
		cr_assert_eq(fault(0x210000, WRITE), PAGING_FAILED, "with %u pages", n);
	}
	world.pages_left = ~0UL;
	expect(0x210000, WRITE, PAGING_RETRY, RW);
}

/* --- dirtiness --- */

/* As the hardware does on a store. */
static void store(u64 gpa, u8 value)
{
	u64 *e = entry_at(gpa);

	cr_assert(e && vm->virt->pte_rights(*e) & MAP_WRITE);
	*e |= vm->virt->pte_dirty;
	*((u8 *)(*e & 0x000ffffffffff000UL) + gpa % PAGE_SIZE) = value;
}

static u64 memory_digest(void)
{
	u64 n = 0;

	vm->paging.ops->harvest_dirty(vm);
	return guestmem_digest(&vm->mem, &n);
}

Test(nested, what_the_guest_stores_is_in_the_digest)
{
	u64 before, after;

	fault(PAGE, WRITE);
	before = memory_digest();
	store(PAGE + 5, 7);
	after = memory_digest();
	cr_assert_neq(before, after);
	store(PAGE + 5, 0);
	cr_assert_eq(memory_digest(), before);
}

Test(nested, harvesting_clears_the_dirty_bits)
{
	u64 n = 0;

	fault(PAGE, WRITE);
	store(PAGE, 1);
	memory_digest();
	cr_assert(!(*entry_at(PAGE) & vm->virt->pte_dirty));
	vm->paging.ops->harvest_dirty(vm);
	guestmem_digest(&vm->mem, &n);
	cr_assert_eq(n, 0, "a page not stored to is hashed again");
}

/* A changed entry loses its dirty bit: what it said must not be lost with it. */
Test(nested, turning_a_page_keeps_that_it_is_dirty)
{
	u64 before;

	fault(PAGE, WRITE);
	before = memory_digest();
	store(PAGE, 1);
	expect(PAGE, FETCH, PAGING_RETRY, RX);
	cr_assert_neq(memory_digest(), before);
}

Test(nested, a_store_of_a_stepped_instruction_is_in_the_digest)
{
	u64 before;

	fault(PAGE, FETCH);
	before = memory_digest();
	fault(PAGE, WRITE);
	cr_assert_eq(fault(PAGE, FETCH), PAGING_STEP);
	store(PAGE, 1);
	vm->paging.ops->step_done(vm);
	cr_assert_neq(memory_digest(), before);
}

/* --- every instruction gets done --- */

struct insn_pages {
	u64 fetch[2], write[2]; /* 0: none */
};

/* Runs one instruction as hardware would: fetch first, then the stores; returns the first page refused. */
static bool try_once(const struct insn_pages *i, u64 *gpa, enum kind *k)
{
	for (unsigned n = 0; n < 4; n++) {
		u64 page = n < 2 ? i->fetch[n] : i->write[n - 2];

		*k = n < 2 ? FETCH : WRITE;
		*gpa = page;
		if (page && !(rights(page) & (n < 2 ? MAP_EXEC : MAP_WRITE)))
			return false;
	}
	return true;
}

static void no_page_has_both(void)
{
	for (u64 gpa = 0x100000; gpa < 0x110000; gpa += PAGE_SIZE)
		cr_assert(rights(gpa) != RWX || steps(gpa), "0x%lx is writable and executable", gpa);
}

/* The loop's part: one entry, and what follows.  Entries it took; 0: it never got done. */
static unsigned execute(const struct insn_pages *i)
{
	for (unsigned entries = 1; entries < 100; entries++) {
		bool finished;
		enum kind k;
		u64 gpa;

		no_page_has_both();
		finished = try_once(i, &gpa, &k);
		if (finished) {
			vm->paging.ops->step_done(vm);
			no_page_has_both();
			cr_assert_eq(vm->paging.nstepping, 0);
			next_instruction();
			return entries;
		}
		cr_assert_leq(fault(gpa, k), PAGING_STEP);
	}
	return 0;
}

Test(nested, every_mixture_of_fetches_and_stores_gets_done)
{
	for (u64 seed = 1; seed <= 60; seed++) {
		struct rng r = rng_of(seed);

		vm->paging.variant = seed & 1 ? PAGING_NORMAL : PAGING_ONE_BY_ONE;
		for (int n = 0; n < 300; n++) {
			struct insn_pages i = { 0 };

			i.fetch[0] = 0x100000 + PAGE_SIZE * rng_below(&r, 8);
			if (rng_chance(&r, 30))
				i.fetch[1] = i.fetch[0] + PAGE_SIZE;
			if (rng_chance(&r, 60))
				i.write[0] = 0x100000 + PAGE_SIZE * rng_below(&r, 8);
			if (i.write[0] && rng_chance(&r, 30))
				i.write[1] = i.write[0] + PAGE_SIZE;
			cr_assert(execute(&i), "seed %lu: fetch 0x%lx 0x%lx, store 0x%lx 0x%lx never gets done", seed, i.fetch[0],
				  i.fetch[1], i.write[0], i.write[1]);
		}
		teardown();
		setup();
	}
}

/* The worst of them: it lies in two pages and stores into both. */
Test(nested, an_instruction_may_store_into_both_pages_it_lies_in)
{
	struct insn_pages i = { { 0x100000, 0x101000 }, { 0x100000, 0x101000 } };

	cr_assert(execute(&i));
	cr_assert_eq(rights(0x100000), RX);
	cr_assert_eq(rights(0x101000), RX);
}

/* While it has both rights somewhere, whatever else it touches is given at once: no round can begin. */
Test(nested, what_a_stepped_instruction_touches_is_taken_back_behind_it)
{
	vm->paging.variant = PAGING_ONE_BY_ONE;
	fault(PAGE, FETCH);
	next_instruction();
	fault(PAGE, WRITE);
	cr_assert_eq(fault(PAGE, FETCH), PAGING_STEP);
	cr_assert_eq(fault(OTHER, READ), PAGING_STEP);
	cr_assert(steps(PAGE) && steps(OTHER));
	vm->paging.ops->step_done(vm);
	cr_assert_neq(rights(PAGE), RWX);
	cr_assert_neq(rights(OTHER), RWX);
}

Test(nested, no_instruction_touches_pages_without_end)
{
	enum paging_verdict got = PAGING_STEP;

	fault(PAGE, FETCH);
	fault(PAGE, WRITE);
	fault(PAGE, FETCH);
	for (u64 i = 0; i < PAGING_MAX_STEP && got == PAGING_STEP; i++)
		got = fault(0x200000 + i * PAGE_SIZE, READ);
	cr_assert_eq(got, PAGING_BROKEN);
}
