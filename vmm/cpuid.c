/*
 * cpuid.c - the processor the guest sees: "reprise-1", the same on every host.
 *
 * Nothing is passed through.  Left out because the counter or replay cannot
 * support it, or a host may lack it: RDRAND, RDSEED, TSX, XSAVE and AVX,
 * MONITOR/MWAIT, performance counters, PCID, SMAP, 1 GiB pages; and
 * CMPXCHG16B, after which QEMU 7.2's flags depend on where the guest was
 * stopped [docs/CAVEATS.md].
 *
 * The vendor is Intel's because that is where operating systems look for the
 * TSC frequency in leaves 15h and 16h instead of measuring it; the model is an
 * in-order Atom because this processor does not speculate, so that no guest
 * wastes instructions on mitigations.  SYSENTER is absent: its behaviour in
 * compatibility mode differs between the vendors of the hosts.
 *
 * A recording names the model's version: any change here is a new one.
 * [SDM2 CPUID; APM3 Appendix E]
 */
#include "vmm/vm.h"

#define TSC_HZ 1000000000U /* one tick a nanosecond of virtual time */

enum {
	/* leaf 1 EDX */
	D_FPU = 1 << 0, D_PSE = 1 << 3, D_TSC = 1 << 4, D_MSR = 1 << 5, D_PAE = 1 << 6, D_CX8 = 1 << 8,
	D_APIC = 1 << 9, D_MTRR = 1 << 12, D_PGE = 1 << 13, D_CMOV = 1 << 15, D_PAT = 1 << 16,
	D_CLFLUSH = 1 << 19, D_MMX = 1 << 23, D_FXSR = 1 << 24, D_SSE = 1 << 25, D_SSE2 = 1 << 26,
	/* leaf 1 ECX */
	C_SSE3 = 1 << 0, C_SSSE3 = 1 << 9, C_SSE41 = 1 << 19, C_SSE42 = 1 << 20,
	C_X2APIC = 1 << 21, C_POPCNT = 1 << 23, C_TSC_DEADLINE = 1 << 24,
	/* leaf 8000_0001h */
	ED_SYSCALL = 1 << 11, ED_NX = 1 << 20, ED_RDTSCP = 1 << 27, ED_LM = 1 << 29,
	EC_LAHF = 1 << 0,
};
#define C_HYPERVISOR (1U << 31)

static void put_text(u32 out[4], const char *text16)
{
	memcpy(out, text16, 16);
}

static void basic(const struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	u32 id = v->index, n = v->vm->config.ncpus;

	switch (leaf) {
	case 0: /* "GenuineIntel" */
		out[0] = 0x16;
		out[1] = 0x756e6547;
		out[3] = 0x49656e69;
		out[2] = 0x6c65746e;
		break;
	case 1: /* family 6, model 36h, stepping 1 */
		out[0] = 0x00030661;
		out[1] = id << 24 | n << 16 | (64 / 8) << 8;
		out[2] = C_SSE3 | C_SSSE3 | C_SSE41 | C_SSE42 | C_X2APIC | C_POPCNT | C_TSC_DEADLINE |
			 C_HYPERVISOR;
		out[3] = D_FPU | D_PSE | D_TSC | D_MSR | D_PAE | D_CX8 | D_APIC | D_MTRR | D_PGE | D_CMOV | D_PAT |
			 D_CLFLUSH | D_MMX | D_FXSR | D_SSE | D_SSE2;
		break;
	case 2: /* the caches of leaf 4 in the old coding, which C libraries ask first, at every exec */
		out[0] = 0x2c307c01;
		out[3] = 0x40;
		break;
	case 4: /* one level of cache each, so that nobody divides by zero: 32 KiB L1d, L1i, 1 MiB L2 */
		if (sub < 3) {
			static const u32 type[3] = { 1 | 1 << 5, 2 | 1 << 5, 3 | 2 << 5 };
			out[0] = type[sub] | 1 << 8;
			out[1] = 63 | 7 << 22;
			out[2] = sub == 2 ? 2047 : 63;
		}
		break;
	case 6: /* ARAT: the APIC timer never stops */
		out[0] = 1 << 2;
		break;
	case 7: /* IA32_TSC_ADJUST */
		if (sub == 0)
			out[1] = 1 << 1;
		break;
	case 0xb: /* one thread a core, n cores */
		out[0] = sub == 1 ? 8 : 0;
		out[1] = sub == 0 ? 1 : sub == 1 ? n : 0;
		out[2] = sub | (sub == 0 ? 1 << 8 : sub == 1 ? 2 << 8 : 0);
		out[3] = id;
		break;
	case 0x15: /* TSC = crystal * 1 / 1 */
		out[0] = out[1] = 1;
		out[2] = TSC_HZ;
		break;
	case 0x16:
		out[0] = out[1] = TSC_HZ / 1000000;
		out[2] = 100;
		break;
	}
}

static void extended(u32 leaf, u32 out[4])
{
	switch (leaf) {
	case 0x80000000:
		out[0] = 0x80000008;
		break;
	case 0x80000001:
		out[2] = EC_LAHF;
		out[3] = ED_SYSCALL | ED_NX | ED_RDTSCP | ED_LM;
		break;
	case 0x80000002:
		put_text(out, "Reprise virtual ");
		break;
	case 0x80000003:
		put_text(out, "processor 1     ");
		break;
	case 0x80000006: /* L2: 1 MiB, 64-byte lines, 8-way */
		out[2] = 1024 << 16 | 6 << 12 | 64;
		break;
	case 0x80000007: /* invariant TSC */
		out[3] = 1 << 8;
		break;
	case 0x80000008: /* 48 bits virtual */
		out[0] = 48 << 8 | CPUID_PHYS_BITS;
		break;
	}
}

void cpuid_read(const struct vcpu *v, u32 leaf, u32 subleaf, u32 out[4])
{
	memset(out, 0, 16);
	if (leaf == 0x40000000) { /* "RepriseReprise" cut to twelve: RepriseRepri */
		out[0] = 0x40000010;
		out[1] = 0x72706552;
		out[2] = 0x52657369;
		out[3] = 0x69727065;
	} else if (leaf == 0x40000010) { /* TSC and APIC bus frequency in kHz, as VMware defined it */
		out[0] = out[1] = TSC_HZ / 1000;
	} else if (leaf >= 0x80000000) {
		extended(leaf, out);
	} else {
		basic(v, leaf, subleaf, out);
	}
}
