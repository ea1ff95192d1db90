/*
 * tsc.c - the time stamp counter, read at every instruction of a loop.
 *
 * Where on_reprise() the counter moves by one an instruction, whatever the
 * instruction is and however many exits it makes; anywhere it never goes back.
 */
#include "guest.h"

const char guest_name[] = "tsc";

#define ROUNDS 2000
#define MSR_TSC 0x10
#define MSR_TSC_ADJUST 0x3b

static bool exact;
static u64 resume;

/*
 * Ticks between two RDTSCs with `insn` between them.  RBX is the LAPIC's page,
 * RCX a harmless MSR, RSI and RDI are memory, RDX an unused port.
 */
#define TICKS(insn) \
	({ \
		u64 lapic_ = LAPIC_BASE, scratch_[16], *s_ = scratch_, *d_ = scratch_ + 8, msr_ = 0x2ff, start_, end_; \
		__asm__ volatile("rdtsc; mov %%rax, %0; mov $0x1238, %%edx\n\t" insn "\n\trdtsc" \
				 : "=&r"(start_), "=&a"(end_), "+b"(lapic_), "+S"(s_), "+D"(d_), "+c"(msr_), "+m"(resume) \
				 : : "rdx", "memory", "cc"); \
		(u32)end_ - (u32)start_; \
	})

/* n instructions: RDTSC itself, two moves, and they. */
#define COSTS(n, insn) \
	do { \
		u32 t_ = TICKS(insn); \
		mix(t_); \
		check_at(!exact || t_ == (n) + 3, #n " instructions: " insn, __LINE__); \
	} while (0)

static void costs(void)
{
	COSTS(0, "");
	COSTS(1, "nop");
	COSTS(5, "nop; nop; nop; nop; nop");
	COSTS(1, "jmp 1f; 1:");
	COSTS(3, "call 1f; jmp 2f; 1: ret; 2:");
	COSTS(1, "in %%dx, %%al");
	COSTS(1, "out %%al, %%dx");
	COSTS(1, "in $0x61, %%al");
	COSTS(1, "mov 0x30(%%rbx), %%eax");
	COSTS(1, "movl $0, 0xb0(%%rbx)");
	COSTS(2, "rdmsr; wrmsr");
	COSTS(2, "mov $1, %%eax; nop");
	COSTS(2, "mov %%cr8, %%rax; mov %%rax, %%cr8");
	COSTS(2, "mov %%cr3, %%rax; mov %%rax, %%cr3");
	COSTS(6, "mov %%cr0, %%rax; xor $4, %%al; mov %%rax, %%cr0; xor $4, %%al; mov %%rax, %%cr0; nop");
	COSTS(2, "mov %%cr4, %%rax; mov %%rax, %%cr4");
	COSTS(2, "mov %%dr7, %%rax; mov %%rax, %%dr7");
	COSTS(2, "sti; cli");
	COSTS(2, "mov %%ss, %%eax; mov %%eax, %%ss");
	COSTS(1, "wbinvd");
	COSTS(3, "pushf; popf; fnop");
	COSTS(9, "mov $7, %%ecx; rep movsb");   /* an iteration is an instruction, and so is seeing the end */
	COSTS(2, "mov $0, %%ecx; rep movsb");
	COSTS(8, "mov $7, %%ecx; rep insb");
	COSTS(1, "rdtscp");
	COSTS(2, "lock xadd %%eax, (%%rdi); xchg %%eax, (%%rdi)");
	COSTS(1, "invlpg (%%rdi)");
}

static u32 cpuid_cost(void)
{
	u32 start, end;

	__asm__ volatile("rdtsc; mov %%eax, %%esi; mov $1, %%eax; cpuid; rdtsc; mov %%eax, %0"
			 : "=r"(end), "=S"(start) : : "rax", "rbx", "rcx", "rdx");
	return end - start;
}

/* --- changing it ---------------------------------------------------------------- */

static bool has_adjust(void)
{
	u32 r[4];

	cpuid(7, 0, r);
	return r[1] & 2;
}

/* Plain QEMU ignores writes to its TSC. */
static void writes(u64 round)
{
	u64 t = rdtsc(), adjust = has_adjust() ? rdmsr(MSR_TSC_ADJUST) : 0, got;

	wrmsr(MSR_TSC, t + 1000000);
	got = rdtsc();
	check(got > t);
	if (exact)
		check(got > t + 1000000 && got < t + 1000100);
	if (!has_adjust())
		return;
	got = rdmsr(MSR_TSC_ADJUST) - adjust;
	check(got <= 1000000 && got > 999900);
	wrmsr(MSR_TSC_ADJUST, adjust);
	got = rdtsc();
	check(got > t && got < t + 1000);
	wrmsr(MSR_TSC_ADJUST, adjust + (round % 2 ? 12345678 : -9876543));
	mix(rdtsc());
	mix(rdmsr(MSR_TSC));
	wrmsr(MSR_TSC_ADJUST, adjust);
}

static void stream(unsigned n)
{
	u64 last = rdtsc(), t, ones = 0;

	for (unsigned i = 0; i < n; i++) {
		t = rdtsc();
		ones += t > last;
		mix(t - last);
		last = t;
	}
	check(ones == n);
}

static void read_with_aux(u64 aux)
{
	u32 r[4], a, d, c;

	cpuid(0x80000001, 0, r);
	if (!(r[3] & 1 << 27))
		return;
	wrmsr(0xc0000103, aux);
	__asm__ volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(c));
	check(c == aux && rdmsr(0xc0000103) == aux);
	mix(a ^ (u64)d << 32);
}

static void on_fault(struct frame *f)
{
	f->rip = resume;
}

void guest_main(void)
{
	exact = on_reprise();
	handlers[6] = handlers[14] = on_fault;
	for (u64 round = 0; round < ROUNDS; round++) {
		costs();
		mix(cpuid_cost());
		check(!exact || cpuid_cost() == 4);
		/* What faults is not counted, but #UD is; the checksum keeps how long handlers take. */
		mix(TICKS("movq $1f, %6; mov 0x7fffffff0000, %%rax; 1:"));
		mix(TICKS("movq $1f, %6; ud2; 1:"));
		writes(round);
		stream(200);
		read_with_aux(round);
	}
}
