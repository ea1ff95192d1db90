/*
 * test_walk.c - guest page tables of two, three and four levels, all rights
 * at all levels, large pages, and the error code of each refusal.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

enum { P = 1, W = 2, U = 4, PS = 0x80 };
#define NX BIT(63)

static struct plan plan;
static struct world world;
static struct vcpu *v;

static void setup(void)
{
	plan_random(&plan, 1);
	plan.config.mem_bytes = WORLD_MEM;
	world_live(&world, &plan);
	v = &world.vm->vcpu[0];
	v->cpu.cr0 |= CR0_PG | CR0_WP;
	v->cpu.cr3 = 0x100000;
}

static void teardown(void)
{
	world_free(&world);
}

TestSuite(walk, .init = setup, .fini = teardown);

enum mode { TWO, THREE, FOUR };

static void set_mode(enum mode m, bool nxe)
{
	v->cpu.cr4 = m == TWO ? CR4_PSE : CR4_PAE;
	v->cpu.efer = (m == FOUR ? EFER_LME | EFER_LMA : 0) | (nxe ? EFER_NXE : 0);
}

static const unsigned nlevels[] = { 2, 3, 4 };

static void entry(u64 table, u64 index, enum mode m, u64 value)
{
	unsigned n = m == TWO ? 4 : 8;

	cr_assert_eq(guestmem_write(&world.vm->mem, GPA(table + index * n), &value, n), OK);
}

static unsigned shift_of(enum mode m, unsigned level)
{
	return 12 + (m == TWO ? 10 : 9) * (level - 1);
}

#define TARGET 0x2a5000UL /* a 4 KiB page */

/* One path of tables for `at`; flags[level] of each entry; the page of `leaf_level` at `target`. */
static void map(enum mode m, u64 at, const u64 flags[5], unsigned leaf_level, u64 target)
{
	u64 table = 0x100000;

	for (unsigned level = nlevels[m]; level >= leaf_level; level--) {
		u64 index = at >> shift_of(m, level) & (m == TWO ? 1023 : 511), next = table + 0x1000;

		entry(table, index, m, (level == leaf_level ? target | (leaf_level > 1 ? PS : 0) : next) | flags[level]);
		table = next;
	}
}

static struct walk_result go(u64 at, bool write, bool fetch, bool user)
{
	return paging_walk(v, GVA(at), (write ? WALK_WRITE : 0) | (fetch ? WALK_FETCH : 0) | (user ? WALK_USER : 0));
}

static void maps_to(u64 at, u64 gpa)
{
	struct walk_result r = go(at, false, false, false);

	cr_assert(r.ok, "0x%lx: refused, error 0x%x", at, r.error);
	cr_assert_eq(r.gpa.v, gpa, "0x%lx: 0x%lx, not 0x%lx", at, r.gpa.v, gpa);
}

static const u64 all_rights[5] = { 0, P | W | U, P | W | U, P | W | U, P | W | U };
static const u64 pae_rights[5] = { 0, P | W | U, P | W | U, P, P | W | U };

static const u64 *rights_for(enum mode m)
{
	return m == THREE ? pae_rights : all_rights;
}

Test(walk, without_paging_linear_is_physical_32_bits_wide)
{
	v->cpu.cr0 &= ~CR0_PG;
	maps_to(0x12345678, 0x12345678);
	maps_to(0x112345678, 0x12345678);
}

Test(walk, every_level_takes_its_bits_of_the_address)
{
	static const u64 at[] = { 0x12345abc, 0xc0de7abc, 0xffff8123456789abUL };

	for (unsigned m = TWO; m <= FOUR; m++) {
		set_mode((enum mode)m, true);
		map((enum mode)m, at[m], rights_for((enum mode)m), 1, TARGET);
		maps_to(at[m], TARGET | (at[m] & 0xfff));
		cr_assert(!go(at[m] + 0x1000, false, false, false).ok, "the page behind is not mapped");
		for (unsigned level = 1; level <= nlevels[m]; level++)
			cr_assert(!go(at[m] ^ BIT(shift_of((enum mode)m, level)), false, false, false).ok, "mode %u level %u", m,
				  level);
	}
}

Test(walk, large_pages_keep_the_lower_bits_of_the_address)
{
	/* The bits below the page's size are not its address (bit 12 is PAT there). */
	set_mode(TWO, false);
	map(TWO, 0x40c00000, all_rights, 2, 0x0c400000 | BIT(12));
	maps_to(0x40ffedcb, 0x0c7fedcb);
	set_mode(THREE, false);
	map(THREE, 0x40c00000, pae_rights, 2, 0x0c600000 | BIT(12));
	maps_to(0x40dfedcb, 0x0c7fedcb);
	set_mode(FOUR, false);
	map(FOUR, 0x7f1240c00000, all_rights, 2, 0x10c600000);
	maps_to(0x7f1240dfedcb, 0x10c7fedcb);
}

Test(walk, without_pse_the_large_bit_means_nothing_in_32_bit_tables)
{
	u64 flags[5] = { 0, P | W | U, P | W | U | PS };

	set_mode(TWO, false);
	v->cpu.cr4 = 0;
	map(TWO, 0x40c00000, flags, 1, TARGET);
	maps_to(0x40c00123, TARGET | 0x123);
	v->cpu.cr4 = CR4_PSE;
	maps_to(0x40c00123, 0x123); /* now it is a page at 100000h & ~3fffffh */
}

Test(walk, cr3_gives_the_table_and_its_other_bits_do_not_matter)
{
	set_mode(FOUR, false);
	map(FOUR, 0x1000, all_rights, 1, TARGET);
	v->cpu.cr3 |= 0x18; /* PWT, PCD */
	maps_to(0x1000, TARGET);
	set_mode(TWO, false);
	map(TWO, 0x1000, all_rights, 1, TARGET);
	v->cpu.cr3 |= 0xabcd00000000; /* the upper half is not there */
	v->cpu.cr3 &= 0xffffffff;
	maps_to(0x1000, TARGET);
	/* PAE: four entries, aligned to 32 bytes */
	set_mode(THREE, false);
	v->cpu.cr3 = 0x100020;
	entry(0x100020, 0, THREE, 0x101000 | P);
	entry(0x101000, 0, THREE, 0x102000 | P | W | U);
	entry(0x102000, 1, THREE, TARGET | P | W | U);
	maps_to(0x1000, TARGET);
}

Test(walk, a_table_that_is_no_ram_is_as_one_not_present)
{
	struct walk_result r;

	set_mode(FOUR, true);
	v->cpu.cr3 = 0xfee00000;
	r = go(0x1000, true, false, true);
	cr_assert(!r.ok && r.error == 6);
	v->cpu.cr3 = 0x100000;
	entry(0x100000, 0, FOUR, 0xa0000 | P | W | U);
	cr_assert(!go(0x1000, false, false, false).ok);
	v->cpu.cr3 = 0x000ffffffffff000;
	cr_assert(!go(0x1000, false, false, false).ok);
}

/* What the access needs, the entries give; else the error code says what it was [APM2 8.4.2]. */
static void check_access(enum mode m, const u64 flags[5], unsigned leaf, unsigned access)
{
	bool write = access & 1, fetch = access & 2, user = access & 4, wp = v->cpu.cr0 & CR0_WP;
	bool nxe = v->cpu.efer & EFER_NXE, w = true, u = true, nx = false, present = true, good;
	unsigned error;
	struct walk_result r;

	for (unsigned level = leaf; level <= nlevels[m]; level++) {
		present &= !!(flags[level] & P);
		if (m == THREE && level == 3)
			continue;
		w &= !!(flags[level] & W);
		u &= !!(flags[level] & U);
		nx |= m != TWO && (flags[level] & NX);
	}
	good = present && !(user && !u) && !(write && !w && (user || wp)) && !(fetch && nx && nxe);
	error = (present ? 1 : 0) | (write ? 2 : 0) | (user ? 4 : 0) | (fetch && nxe && m != TWO ? 16 : 0);
	r = go(0x1234, write, fetch, user);
	cr_assert_eq(r.ok, good, "mode %u leaf %u flags %lx %lx %lx %lx access %u wp %d nxe %d: %s", m, leaf, flags[1],
		     flags[2], flags[3], flags[4], access, wp, nxe, r.ok ? "allowed" : "refused");
	if (!good)
		cr_assert_eq(r.error, error, "mode %u flags %lx %lx %lx %lx access %u: error 0x%x, not 0x%x", m, flags[1],
			     flags[2], flags[3], flags[4], access, r.error, error);
}

static void check_rights(enum mode m, unsigned leaf)
{
	unsigned n = nlevels[m], bits = 4 * (n - leaf + 1);

	for (unsigned combination = 0; combination < 1U << bits; combination++) {
		u64 flags[5] = { 0 };

		for (unsigned level = leaf; level <= n; level++) {
			unsigned f = combination >> 4 * (level - leaf) & 15;

			flags[level] = (f & 1 ? 0 : P) | (f & 2 ? W : 0) | (f & 4 ? U : 0) | (f & 8 && m != TWO ? NX : 0);
			if (m == THREE && level == 3)
				flags[level] &= P;
		}
		/* Of those with several levels absent a sample will do. */
		if (m == FOUR && combination % 7 && (combination & 0x1111) & ((combination & 0x1111) - 1))
			continue;
		map(m, 0x1234, flags, leaf, leaf == 1 ? TARGET : 0x400000);
		for (unsigned access = 0; access < 8; access++)
			if ((access & 3) != 3) /* no access stores and fetches */
				check_access(m, flags, leaf, access);
	}
}

Test(walk, rights_are_those_of_all_levels_together)
{
	for (unsigned i = 0; i < 4; i++) {
		v->cpu.cr0 = (v->cpu.cr0 & ~CR0_WP) | (i & 1 ? CR0_WP : 0);
		set_mode(TWO, i & 2);
		check_rights(TWO, 1);
		check_rights(TWO, 2);
		set_mode(THREE, i & 2);
		check_rights(THREE, 1);
		check_rights(THREE, 2);
		set_mode(FOUR, i & 2);
		if (i == 0 || i == 3)
			check_rights(FOUR, 1);
		check_rights(FOUR, 2);
	}
}

/* It only reads: the hardware has set the accessed bits when it tried. */
Test(walk, tables_are_not_written)
{
	u64 before, after;

	set_mode(FOUR, true);
	map(FOUR, 0x1234, all_rights, 1, TARGET);
	before = vm_digest(world.vm);
	go(0x1234, true, false, true);
	after = vm_digest(world.vm);
	cr_assert_eq(before, after);
}

static u64 read_back(u64 at, enum mode m)
{
	u64 value = 0;

	cr_assert_eq(guestmem_read(&world.vm->mem, GPA(at), &value, m == TWO ? 4 : 8), OK);
	return value;
}

enum { A = 0x20, D = 0x40 };

/* What the processor does to the tables when it walks them itself. */
Test(walk, marks_what_it_reaches_when_asked)
{
	static const u64 flags[5] = { 0, P | W | U, P | W | U, P | W | U, P | W | U };

	for (enum mode m = TWO; m <= FOUR; m++) {
		u64 at = 0x401000, table = 0x100000;
		unsigned levels = nlevels[m];

		set_mode(m, false);
		map(m, at, flags, 1, TARGET);
		cr_assert(paging_walk(v, GVA(at), WALK_WRITE).ok);
		for (unsigned level = levels; level; level--, table += 0x1000)
			cr_assert_eq(read_back(table + (at >> shift_of(m, level) & (m == TWO ? 1023 : 511)) * (m == TWO ? 4 : 8), m) &
				     (A | D), 0, "marked unasked");
		for (unsigned write = 0; write < 2; write++) {
			cr_assert(paging_walk(v, GVA(at), WALK_MARK | (write ? WALK_WRITE : 0)).ok);
			table = 0x100000;
			for (unsigned level = levels; level; level--, table += 0x1000) {
				u64 got = read_back(table + (at >> shift_of(m, level) & (m == TWO ? 1023 : 511)) *
							    (m == TWO ? 4 : 8), m) & (A | D);
				u64 want = m == THREE && level == 3 ? 0 : A | (level == 1 && write ? D : 0);

				cr_assert_eq(got, want, "mode %d level %u write %u: %lx, not %lx", m, level, write, got, want);
			}
		}
	}
}

Test(walk, a_refused_access_marks_nothing)
{
	static const u64 flags[5] = { 0, P | U, P | W | U, P | W | U, P | W | U };
	u64 at = 0x401000;

	set_mode(FOUR, false);
	map(FOUR, at, flags, 1, TARGET);
	cr_assert(!paging_walk(v, GVA(at), WALK_MARK | WALK_WRITE).ok);
	cr_assert_eq(read_back(0x103000 + 8, FOUR) & (A | D), 0);
}
