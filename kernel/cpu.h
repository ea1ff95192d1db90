/*
 * cpu.h - the instructions C has no words for, and the bits they speak of.
 *
 * Inline assembly only: no state, no policy.  What must happen in one
 * straight line around VMRUN lives in the vendor's own assembly instead.
 */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include "kernel/base.h"

/* MSRs of the host side [APM2 A.1 MSR cross-reference]. */
#define MSR_HOST_APIC_BASE 0x1bU
#define MSR_EFER 0xc0000080U
#define MSR_FS_BASE 0xc0000100U
#define MSR_GS_BASE 0xc0000101U
#define MSR_KERNEL_GS_BASE 0xc0000102U

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid_regs r;

	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

/* On QEMU's own processor emulation. */
static inline bool cpu_is_tcg(void)
{
	struct cpuid_regs r = cpuid(0x40000000, 0);

	return (cpuid(1, 0).ecx & BIT(31)) && r.ebx == 0x54474354 && r.ecx == 0x43544743 &&
	       r.edx == 0x47435447; /* "TCGTCGTCGTCG" */
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

/* For an MSR this processor may lack: ERR_UNSUPPORTED instead of #GP. */
err_t rdmsr_safe(u32 msr, u64 *value) must_check;
err_t wrmsr_safe(u32 msr, u64 value) must_check;

#define CPU_CR_ACCESS(n)                                                       \
	static inline u64 read_cr##n(void)                                     \
	{                                                                      \
		u64 v;                                                         \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory"); \
		return v;                                                      \
	}                                                                      \
	static inline void write_cr##n(u64 v)                                  \
	{                                                                      \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory");     \
	}
CPU_CR_ACCESS(0)
CPU_CR_ACCESS(2)
CPU_CR_ACCESS(3)
CPU_CR_ACCESS(4)
CPU_CR_ACCESS(8)
#undef CPU_CR_ACCESS

#define CPU_DR_ACCESS(n)                                          \
	static inline u64 read_dr##n(void)                        \
	{                                                         \
		u64 v;                                            \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(v)); \
		return v;                                         \
	}                                                         \
	static inline void write_dr##n(u64 v)                     \
	{                                                         \
		__asm__ volatile("mov %0, %%dr" #n : : "r"(v));   \
	}
CPU_DR_ACCESS(0)
CPU_DR_ACCESS(1)
CPU_DR_ACCESS(2)
CPU_DR_ACCESS(3)
CPU_DR_ACCESS(6)
CPU_DR_ACCESS(7)
#undef CPU_DR_ACCESS

#define CPU_PORT_ACCESS(letter, type)                                                      \
	static inline type in##letter(u16 port)                                            \
	{                                                                                  \
		type v;                                                                    \
		__asm__ volatile("in" #letter " %1, %0" : "=a"(v) : "Nd"(port));           \
		return v;                                                                  \
	}                                                                                  \
	static inline void out##letter(u16 port, type v)                                   \
	{                                                                                  \
		__asm__ volatile("out" #letter " %0, %1" : : "a"(v), "Nd"(port) : "memory"); \
	}
CPU_PORT_ACCESS(b, u8)
CPU_PORT_ACCESS(w, u16)
CPU_PORT_ACCESS(l, u32)
#undef CPU_PORT_ACCESS

static inline void cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static inline void sti(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline bool interrupts_on(void)
{
	u64 flags;

	__asm__ volatile("pushf; pop %0" : "=r"(flags));
	return flags & BIT(9);
}

static inline void invlpg(const void *p)
{
	__asm__ volatile("invlpg (%0)" : : "r"(p) : "memory");
}

/* The operand of LGDT and LIDT [APM2 4.6.2 Global Descriptor-Table Register]. */
struct packed_struct table_operand {
	u16 limit;
	u64 base;
};

static inline void lgdt(const struct table_operand *t)
{
	__asm__ volatile("lgdt %0" : : "m"(*t) : "memory");
}

static inline void lidt(const struct table_operand *t)
{
	__asm__ volatile("lidt %0" : : "m"(*t) : "memory");
}

static inline void ltr(u16 selector)
{
	__asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

#endif
