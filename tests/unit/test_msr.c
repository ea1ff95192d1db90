/*
 * test_msr.c - which MSRs there are, what they hold, and what they refuse.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

static struct plan plan;
static struct world world;
static struct vcpu *v;

static void setup(void)
{
	plan_random(&plan, 1);
	world_live(&world, &plan);
	v = &world.vm->vcpu[0];
}

static void teardown(void)
{
	world_free(&world);
}

TestSuite(msr, .init = setup, .fini = teardown);

static u64 rd(u32 index)
{
	u64 value = 0x5555;

	cr_assert_eq(msr_read(v, index, &value), OK, "MSR 0x%x cannot be read", index);
	return value;
}

static void wr(u32 index, u64 value)
{
	cr_assert_eq(msr_write(v, index, value), OK, "MSR 0x%x: 0x%lx is refused", index, value);
}

static void refuses(u32 index, u64 value)
{
	cr_assert_eq(msr_write(v, index, value), ERR_INVALID, "MSR 0x%x takes 0x%lx", index, value);
}

static void at_time(u64 vtime_ns)
{
	world.vm->now.vtime_ns = world.vm->clock.now_ns = vtime_ns;
}

/* All there are, and no other in the three ranges where software looks.  Those the processor switches are not ours. */
static bool known(u32 i)
{
	static const u32 plain[] = { 0x10, 0x17, 0x1b, 0x3b, 0x8b, 0xfe, 0x179, 0x17a, 0x1a0, 0x277, 0x2ff, 0x6e0,
				     0xc0000080, 0xc0000103,
				     0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };

	for (size_t k = 0; k < ARRAY_SIZE(plain); k++)
		if (plain[k] == i)
			return true;
	return i >= 0x200 && i <= 0x20f;
}

Test(msr, there_are_these_and_no_others)
{
	static const struct { u32 first, last; } ranges[] = {
		{ 0, 0x1fff }, { 0x40000000, 0x400000ff }, { 0x4b564d00, 0x4b564dff }, { 0xc0000000, 0xc0001fff },
		{ 0xc0010000, 0xc0011fff },
	};
	u64 value;

	for (size_t r = 0; r < ARRAY_SIZE(ranges); r++)
		for (u32 i = ranges[r].first; i <= ranges[r].last; i++)
			cr_assert_eq(msr_read(v, i, &value), known(i) ? OK : ERR_INVALID, "MSR 0x%x", i);
}

/* Once it is an x2APIC its registers are MSRs. */
Test(msr, the_x2apic_registers_appear_with_it)
{
	u64 value;

	cr_assert_eq(msr_read(v, 0x802, &value), ERR_INVALID);
	wr(0x1b, rd(0x1b) | 1 << 10);
	cr_assert_eq(rd(0x803), LAPIC_VERSION);
	wr(0x808, 0x30);
	cr_assert_eq(rd(0x808), 0x30);
	cr_assert_eq(lapic_cr8(&v->lapic), 3);
}

Test(msr, at_reset)
{
	static const struct { u32 index; u64 value; } reset[] = {
		{ 0x17, 0 }, { 0x3b, 0 }, { 0x8b, 0 }, { 0xfe, 0x108 }, { 0x179, 0 }, { 0x17a, 0 }, { 0x1a0, 1 },
		{ 0x200, 0 }, { 0x20f, 0 }, { 0x250, 0 }, { 0x26f, 0 }, { 0x277, 0x0007040600070406 }, { 0x2ff, 0 },
		{ 0x6e0, 0 }, { 0x1b, 0xfee00900 }, { 0xc0000080, 0 }, { 0xc0000103, 0 },
	};

	v->cpu.efer = 0;
	for (size_t i = 0; i < ARRAY_SIZE(reset); i++)
		cr_assert_eq(rd(reset[i].index), reset[i].value, "MSR 0x%x is 0x%lx", reset[i].index, rd(reset[i].index));
}

Test(msr, what_is_only_stored_is_given_back)
{
	static const u32 stored[] = { 0x1a0, 0x200, 0x201, 0x20e, 0x20f, 0x250, 0x258, 0x259, 0x268, 0x26f, 0x2ff };

	for (size_t i = 0; i < ARRAY_SIZE(stored); i++)
		wr(stored[i], 0x0606060600000000 + i);
	for (size_t i = 0; i < ARRAY_SIZE(stored); i++)
		cr_assert_eq(rd(stored[i]), 0x0606060600000000 + i, "MSR 0x%x", stored[i]);
}

Test(msr, what_is_read_only_refuses)
{
	refuses(0xfe, 0);
	refuses(0x17, 0);
	refuses(0x179, 0);
	refuses(0xdead, 0);
	wr(0x8b, 0);
	wr(0x17a, 0);
}

/* --- the TSC --- */

Test(msr, the_tsc_is_virtual_time_plus_what_was_written)
{
	at_time(1000);
	cr_assert_eq(rd(0x10), 1000);
	wr(0x10, 5000);
	cr_assert_eq(rd(0x10), 5000);
	cr_assert_eq(rd(0x3b), 4000); /* TSC_ADJUST moves with it [SDM3 17.17.3] */
	at_time(1500);
	cr_assert_eq(rd(0x10), 5500);
	wr(0x3b, (u64)-500);
	cr_assert_eq(rd(0x10), 1000);
	wr(0x3b, 0);
	cr_assert_eq(rd(0x10), 1500);
	wr(0x10, 0);
	cr_assert_eq(rd(0x3b), (u64)-1500);
}

/* An armed deadline is one in the guest's TSC: it stays there when the TSC is moved. */
Test(msr, a_tsc_deadline_follows_the_tsc)
{
	at_time(1000);
	board_write(v, IO_MEMORY, LAPIC_DEFAULT_BASE + 0xf0, 4, 0x1ff);
	board_write(v, IO_MEMORY, LAPIC_DEFAULT_BASE + 0x320, 4, 0x40041);
	wr(0x6e0, 9000);
	cr_assert_eq(vclock_next(&world.vm->clock), 9000);
	wr(0x3b, 2000);
	cr_assert_eq(vclock_next(&world.vm->clock), 7000);
	wr(0x10, 1000);
	cr_assert_eq(vclock_next(&world.vm->clock), 9000);
	cr_assert_eq(rd(0x6e0), 9000);
	wr(0x6e0, 0);
	cr_assert_eq(vclock_next(&world.vm->clock), VTIMER_NEVER);
}

Test(msr, tsc_aux_has_32_bits)
{
	wr(0xc0000103, 0xffffffff);
	cr_assert_eq(rd(0xc0000103), 0xffffffff);
	refuses(0xc0000103, 0x100000000);
	cr_assert_eq(rd(0xc0000103), 0xffffffff);
}

/* --- EFER [APM2 3.1.7] --- */

Test(msr, efer_takes_sce_lme_nxe_and_nothing_else)
{
	u64 good = EFER_SCE | EFER_LME | EFER_NXE;

	v->cpu.cr0 &= ~CR0_PG;
	for (unsigned i = 0; i < 64; i++) {
		if (BIT(i) & (good | EFER_LMA))
			wr(0xc0000080, BIT(i));
		else
			refuses(0xc0000080, BIT(i));
	}
	wr(0xc0000080, good);
	cr_assert_eq(rd(0xc0000080), good);
	wr(0xc0000080, 0);
	cr_assert_eq(rd(0xc0000080), 0);
}

Test(msr, efer_lma_follows_paging_and_not_what_is_written)
{
	v->cpu.cr0 &= ~CR0_PG;
	wr(0xc0000080, EFER_LMA);
	cr_assert_eq(rd(0xc0000080), 0);
	v->cpu.efer = EFER_LME | EFER_LMA;
	wr(0xc0000080, EFER_LME);
	cr_assert_eq(rd(0xc0000080), EFER_LME | EFER_LMA);
}

Test(msr, efer_lme_cannot_change_under_paging)
{
	v->cpu.cr0 |= CR0_PG;
	v->cpu.efer = 0;
	refuses(0xc0000080, EFER_LME);
	wr(0xc0000080, EFER_NXE);
	v->cpu.efer = EFER_LME | EFER_LMA;
	refuses(0xc0000080, EFER_LMA);
	wr(0xc0000080, EFER_LME | EFER_LMA | EFER_SCE);
	cr_assert_eq(rd(0xc0000080), EFER_LME | EFER_LMA | EFER_SCE);
}

/* --- PAT [APM2 7.8.2] --- */

Test(msr, pat_takes_memory_types_and_nothing_else)
{
	for (unsigned entry = 0; entry < 8; entry++)
		for (unsigned type = 0; type < 256; type++) {
			u64 value = 0x0606060606060606 & ~(0xffUL << 8 * entry);

			value |= (u64)type << 8 * entry;
			if (type == 0 || type == 1 || (type >= 4 && type <= 7)) {
				wr(0x277, value);
				cr_assert_eq(rd(0x277), value);
			} else {
				refuses(0x277, value);
			}
		}
}

/* A refused write changes nothing, digests included. */
Test(msr, a_refusal_changes_nothing)
{
	u64 before = vm_digest(world.vm);

	refuses(0x277, 0xff);
	refuses(0xc0000080, BIT(12));
	refuses(0xc0000103, BIT(40));
	refuses(0xdead, 1);
	cr_assert_eq(vm_digest(world.vm), before);
}
