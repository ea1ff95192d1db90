/*
 * test_cpuid.c - the processor the guest sees: every leaf, and above all what
 * must not be there: features the counter or replay cannot support.
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
	plan.config.ncpus = 1;
	world_live(&world, &plan);
	v = &world.vm->vcpu[0];
}

static void teardown(void)
{
	world_free(&world);
}

TestSuite(cpuid, .init = setup, .fini = teardown);

struct regs {
	u32 eax, ebx, ecx, edx;
};

static struct regs leaf(u32 index, u32 sub)
{
	u32 out[4] = { 0xaaaaaaaa, 0xaaaaaaaa, 0xaaaaaaaa, 0xaaaaaaaa };

	cpuid_read(v, index, sub, out);
	return (struct regs){ out[0], out[1], out[2], out[3] };
}

static bool is_zero(struct regs r)
{
	return !(r.eax | r.ebx | r.ecx | r.edx);
}

Test(cpuid, names)
{
	struct regs r = leaf(0, 0);
	char text[49] = "";

	cr_assert_eq(r.eax, 0x16);
	memcpy(text, &r.ebx, 4);
	memcpy(text + 4, &r.edx, 4);
	memcpy(text + 8, &r.ecx, 4);
	cr_assert_str_eq(text, "GenuineIntel");
	for (u32 i = 0; i < 3; i++) {
		r = leaf(0x80000002 + i, 0);
		memcpy(text + 16 * i, &r, 16);
	}
	cr_assert_str_eq(text, "Reprise virtual processor 1     ");
	r = leaf(0x40000000, 0);
	memset(text, 0, sizeof(text));
	memcpy(text, &r.ebx, 12);
	cr_assert_str_eq(text, "RepriseRepri");
	cr_assert_eq(r.eax, 0x40000010);
	cr_assert_eq(leaf(0x80000000, 0).eax, 0x80000008);
}

/* A bit of a leaf, and why it must be clear. */
static const struct {
	u32 leaf;
	char reg;
	unsigned bit;
	const char *what;
} forbidden[] = {
	{ 1, 'c', 3, "MONITOR" }, { 1, 'c', 13, "CMPXCHG16B: flags depend on stops" }, { 1, 'c', 17, "PCID" },
	{ 1, 'c', 26, "XSAVE" }, { 1, 'c', 27, "OSXSAVE" }, { 1, 'c', 28, "AVX" }, { 1, 'c', 29, "F16C" },
	{ 1, 'c', 30, "RDRAND" }, { 1, 'c', 12, "FMA" }, { 1, 'c', 5, "VMX" }, { 1, 'c', 15, "PDCM" },
	{ 1, 'c', 25, "AES" }, { 1, 'c', 1, "PCLMULQDQ" }, { 1, 'c', 22, "MOVBE" },
	{ 1, 'd', 1, "VME" }, { 1, 'd', 2, "DE" }, { 1, 'd', 7, "MCE" }, { 1, 'd', 11, "SYSENTER" }, { 1, 'd', 14, "MCA" },
	{ 1, 'd', 17, "PSE36" }, { 1, 'd', 18, "PSN" }, { 1, 'd', 21, "DS" }, { 1, 'd', 22, "ACPI" }, { 1, 'd', 28, "HTT" },
	{ 1, 'd', 29, "TM" },
	{ 7, 'b', 0, "FSGSBASE" }, { 7, 'b', 3, "BMI1" }, { 7, 'b', 4, "HLE" }, { 7, 'b', 5, "AVX2" }, { 7, 'b', 7, "SMEP" },
	{ 7, 'b', 8, "BMI2" }, { 7, 'b', 9, "ERMS" }, { 7, 'b', 10, "INVPCID" }, { 7, 'b', 11, "RTM" }, { 7, 'b', 16, "AVX512F" },
	{ 7, 'b', 18, "RDSEED" }, { 7, 'b', 19, "ADX" }, { 7, 'b', 20, "SMAP" }, { 7, 'b', 25, "PT" }, { 7, 'c', 2, "UMIP" },
	{ 7, 'c', 3, "PKU" }, { 7, 'c', 5, "WAITPKG" }, { 7, 'c', 16, "LA57" }, { 7, 'c', 22, "RDPID" }, { 7, 'd', 26, "IBRS" },
	{ 7, 'd', 29, "ARCH_CAPABILITIES" },
	{ 0x80000001, 'c', 2, "SVM" }, { 0x80000001, 'c', 6, "SSE4A" }, { 0x80000001, 'c', 10, "IBS" },
	{ 0x80000001, 'c', 11, "XOP" }, { 0x80000001, 'c', 16, "FMA4" }, { 0x80000001, 'c', 23, "PerfCtrExtCore" },
	{ 0x80000001, 'c', 28, "PerfCtrExtLLC" }, { 0x80000001, 'd', 22, "MmxExt" }, { 0x80000001, 'd', 25, "FFXSR" },
	{ 0x80000001, 'd', 26, "Page1GB" }, { 0x80000001, 'd', 30, "3DNowExt" }, { 0x80000001, 'd', 31, "3DNow" },
};

static u32 reg_of(struct regs r, char name)
{
	return name == 'a' ? r.eax : name == 'b' ? r.ebx : name == 'c' ? r.ecx : r.edx;
}

Test(cpuid, what_cannot_be_replayed_is_absent)
{
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		cr_assert(!(reg_of(leaf(forbidden[i].leaf, 0), forbidden[i].reg) >> forbidden[i].bit & 1), "leaf 0x%x e%cx.%u: %s",
			  forbidden[i].leaf, forbidden[i].reg, forbidden[i].bit, forbidden[i].what);
	cr_assert(is_zero(leaf(0xa, 0)), "performance counters");
	cr_assert(is_zero(leaf(0xd, 0)) && is_zero(leaf(0xd, 1)), "XSAVE areas");
	cr_assert(is_zero(leaf(5, 0)), "MWAIT");
	cr_assert(is_zero(leaf(7, 1)), "leaf 7.1");
}

/* Exactly these: another bit is another machine, and a new version of it. */
Test(cpuid, the_feature_words_are_those_of_version_1)
{
	struct regs r = leaf(1, 0);

	cr_assert_eq(r.eax, 0x00030661);
	cr_assert_eq(r.ebx, 0x00010800);
	cr_assert_eq(r.ecx, 0x81b80201, "ECX 0x%x", r.ecx);
	cr_assert_eq(r.edx, 0x0789b379, "EDX 0x%x", r.edx);
	r = leaf(7, 0);
	cr_assert(r.eax == 0 && r.ebx == 2 && r.ecx == 0 && r.edx == 0);
	r = leaf(0x80000001, 0);
	cr_assert(r.eax == 0 && r.ebx == 0 && r.ecx == 1 && r.edx == 0x28100800, "0x%x 0x%x", r.ecx, r.edx);
}

/* What a bit promises is there. */
Test(cpuid, promised_msrs_are_there)
{
	u64 value;
	u32 ecx = leaf(1, 0).ecx, edx = leaf(1, 0).edx;

	cr_assert(edx >> 12 & 1);
	cr_assert_eq(msr_read(v, 0xfe, &value), OK, "MTRR");
	cr_assert(edx >> 16 & 1);
	cr_assert_eq(msr_read(v, 0x277, &value), OK, "PAT");
	cr_assert(edx >> 9 & 1);
	cr_assert_eq(msr_read(v, 0x1b, &value), OK, "APIC");
	cr_assert(ecx >> 24 & 1);
	cr_assert_eq(msr_write(v, 0x6e0, 0), OK, "TSC deadline");
	cr_assert(ecx >> 21 & 1);
	cr_assert_eq(msr_write(v, 0x1b, 0xfee00d00), OK, "x2APIC");
	cr_assert(leaf(7, 0).ebx >> 1 & 1);
	cr_assert_eq(msr_write(v, 0x3b, 1), OK, "TSC_ADJUST");
	cr_assert(leaf(0x80000001, 0).edx >> 27 & 1);
	cr_assert_eq(msr_write(v, 0xc0000103, 1), OK, "RDTSCP");
	v->cpu.cr0 &= ~CR0_PG;
	cr_assert(leaf(0x80000001, 0).edx >> 20 & leaf(0x80000001, 0).edx >> 11 & leaf(0x80000001, 0).edx >> 29 & 1);
	cr_assert_eq(msr_write(v, 0xc0000080, EFER_NXE | EFER_SCE | EFER_LME), OK, "NX, SYSCALL, long mode");
}

Test(cpuid, one_tick_of_the_tsc_is_a_nanosecond)
{
	struct regs r = leaf(0x15, 0);

	cr_assert(r.eax && r.ebx);
	cr_assert_eq((u64)r.ecx * r.ebx / r.eax, 1000000000);
	cr_assert_eq(r.ecx, LAPIC_TIMER_HZ); /* the crystal is the APIC timer's clock */
	cr_assert_eq(leaf(0x16, 0).eax, 1000);
	cr_assert_eq(leaf(0x40000010, 0).eax, 1000000);
	cr_assert(leaf(0x80000007, 0).edx >> 8 & 1, "invariant");
	cr_assert(leaf(6, 0).eax >> 2 & 1, "ARAT");
}

/* 7Ch: L2, 1 MiB; 30h: L1 code, 32 KiB; 2Ch: L1 data, 32 KiB; 40h: no L3 [SDM2 CPUID, leaf 02h]. */
Test(cpuid, the_old_coding_of_the_caches_agrees)
{
	cr_assert_eq(leaf(2, 0).eax, 0x2c307c01);
	cr_assert_eq(leaf(2, 0).edx, 0x40);
}

Test(cpuid, caches_have_the_sizes_they_say)
{
	static const struct { u32 type, level, bytes; } want[] = { { 1, 1, 32768 }, { 2, 1, 32768 }, { 3, 2, 1048576 } };

	for (u32 i = 0; i < 3; i++) {
		struct regs r = leaf(4, i);
		u64 size = (u64)((r.ebx >> 22) + 1) * ((r.ebx >> 12 & 0x3ff) + 1) * ((r.ebx & 0xfff) + 1) * (r.ecx + 1);

		cr_assert(r.eax == (want[i].type | want[i].level << 5 | 1 << 8) && size == want[i].bytes, "cache %u: %lu", i,
			  size);
	}
	cr_assert(is_zero(leaf(4, 3)), "the list ends");
	cr_assert_eq(leaf(0x80000006, 0).ecx >> 16, 1024);
	/* The old coding [SDM2 CPUID, leaf 2]: 2Ch L1d and 30h L1i of 32 KiB, 7Ch L2 of 1 MiB, 40h no L3. */
	cr_assert(leaf(2, 0).eax == 0x2c307c01 && !leaf(2, 0).ebx && !leaf(2, 0).ecx && leaf(2, 0).edx == 0x40);
}

Test(cpuid, addresses_are_as_wide_as_the_apic_base_allows)
{
	cr_assert_eq(leaf(0x80000008, 0).eax, 48 << 8 | LAPIC_PHYS_BITS);
}

Test(cpuid, topology_names_this_vcpu)
{
	struct vcpu *third = &world.vm->vcpu[2];
	u32 out[4];

	world.vm->config.ncpus = 4;
	third->vm = world.vm;
	third->index = 2;
	cpuid_read(third, 1, 0, out);
	cr_assert_eq(out[1] >> 24, 2);
	cr_assert_eq(out[1] >> 16 & 0xff, 4);
	cpuid_read(third, 0xb, 0, out);
	cr_assert(out[0] == 0 && out[1] == 1 && out[2] == (1 << 8 | 0) && out[3] == 2);
	cpuid_read(third, 0xb, 1, out);
	cr_assert(out[1] == 4 && out[2] == (2 << 8 | 1) && out[3] == 2);
	cr_assert_geq(1U << out[0], 4);
	cpuid_read(third, 0xb, 2, out); /* invalid: only ECX 7:0 and EDX [SDM2 CPUID, leaf 0Bh] */
	cr_assert(out[0] == 0 && out[1] == 0 && out[2] == 2 && out[3] == 2);
	world.vm->config.ncpus = 1;
}

Test(cpuid, all_other_leaves_are_zero)
{
	static const u32 used[] = { 0, 1, 2, 4, 6, 7, 0xb, 0x15, 0x16 };

	for (u32 i = 0; i < 0x400; i++) {
		bool there = false;

		for (size_t k = 0; k < ARRAY_SIZE(used); k++)
			there |= used[k] == i;
		cr_assert(there || is_zero(leaf(i, 0)), "leaf 0x%x", i);
		cr_assert(is_zero(leaf(0x80000009 + i, 0)), "leaf 0x%x", 0x80000009 + i);
		cr_assert(is_zero(leaf(0x40000011 + i, 0)), "leaf 0x%x", 0x40000011 + i);
		cr_assert(i < 1 || i > 15 || is_zero(leaf(0x40000000 + i, 0)));
		cr_assert(is_zero(leaf(0xc0000000 + i, 0)));
	}
}

/* Not the seed, nor the guest's state, nor time: the same machine always. */
Test(cpuid, it_is_a_constant)
{
	struct regs before[0x20], after;

	for (u32 i = 0; i < 0x20; i++)
		before[i] = leaf(i, 0);
	world.vm->config.seed = 99;
	world.vm->now.vtime_ns = 123456789;
	memset(v->cpu.gpr, 0x77, sizeof(v->cpu.gpr));
	v->cpu.cr4 = ~0UL;
	for (u32 i = 0; i < 0x20; i++) {
		after = leaf(i, 0);
		cr_assert(!memcmp(&after, &before[i], sizeof(after)), "leaf 0x%x", i);
	}
}
