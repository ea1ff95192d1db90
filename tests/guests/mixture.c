/*
 * mixture.c - a bit of everything that exits, faults, counts or is interrupted,
 * round after round: faults, self-modification, shadows, REP, HLT, CPUID, MSRs,
 * ports, floating point, under a LAPIC timer that never stops.
 */
#include "guest.h"

const char guest_name[] = "mixture";

#define ROUNDS 8000
#define TIMER 0x40
#define HOLE 0x40000000UL
#define AREA 0x1000000UL

static u64 pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static u64 counts[8], irqs, irq_sum;

static void on_ud(struct frame *f)
{
	counts[0]++;
	f->rip += 2;
}

static void on_de(struct frame *f)
{
	counts[1]++;
	f->rip += 3;
}

static void on_gp(struct frame *f)
{
	counts[2]++;
	f->rip += 3;
}

static void on_pf(struct frame *f)
{
	counts[3]++;
	mix(read_cr2() ^ f->error);
	pt[0] |= 1;
}

static void on_trap(struct frame *f)
{
	counts[4 + (f->vector == 3)]++;
}

static void on_timer(struct frame *f)
{
	irqs++;
	irq_sum = irq_sum * 31 + rdtsc() + f->rip;
	lapic_eoi();
}

/* One round; r9 is the running value. */
static u64 round_of_all(u64 v)
{
	register u64 r9 __asm__("r9") = v;

	__asm__ volatile("imul $0x4c957f2d, %0, %0\n"
			 "	add $12345, %0\n"
			 "	mov %0, 0x1000000\n"
			 "	int $0x41\n"
			 "	int3\n"
			 "	ud2\n"
			 "	xor %%ecx, %%ecx\n"
			 "	xor %%edx, %%edx\n"
			 "	mov $7, %%eax\n"
			 "	div %%rcx\n"
			 "	mov 0x40000000, %%rbx\n" /* absent every other time */
			 "	add %%rbx, %0\n"
			 "	andl $~1, %1\n"
			 "	invlpg 0x40000000\n"
			 "	mov $0x8000000000000000, %%rsi\n"
			 "	mov (%%rsi), %%rbx\n"    /* #GP */
			 "	mov %%r9d, 1f+1(%%rip)\n"
			 "	jmp 1f\n"
			 "	nop\n"
			 "1:	mov $0, %%eax\n"
			 "	add %%rax, %0\n"
			 "	incl 3f+1(%%rip)\n"
			 "	mov $3, %%ecx\n"
			 "	jmp 2f\n"
			 "	nop\n"
			 "2:\n"
			 "3:	mov $0, %%eax\n"
			 "	add %%rax, %0\n"
			 "	dec %%ecx\n"
			 "	jnz 2b\n"
			 "	mov %%r9d, 4f+1(%%rip)\n"   /* straight-line */
			 "4:	mov $0, %%eax\n"
			 "	add %%rax, %0\n"
			 "	mov %%cr3, %%rax\n"
			 "	mov %%rax, %%cr3\n"
			 "	mov 0x1002000, %%rbx\n"
			 "	sti\n"
			 "	nop\n"
			 "	nop\n"
			 "	cli\n"
			 "	nop\n"
			 "	sti\n"
			 "	cli\n"
			 "	mov %%ss, %%eax\n"
			 "	sti\n"
			 "	mov %%eax, %%ss\n"
			 "	nop\n"
			 "	nop\n"
			 "	pushfq\n"
			 "	popfq\n"
			 "	pushfq\n"
			 "	cli\n"
			 "	popfq\n"
			 "	nop\n"
			 "	cld\n"
			 "	mov $0x1003000, %%esi\n"
			 "	mov $0x1004000, %%edi\n"
			 "	mov $37, %%ecx\n"
			 "	mov %0, (%%rsi)\n"
			 "	rep movsb\n"
			 "	mov $11, %%ecx\n"
			 "	mov $0x1004000, %%edi\n"
			 "	mov $0x1003000, %%esi\n"
			 "	repe cmpsb\n"
			 : "+r"(r9), "+m"(pt[0]) : : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc");
	__asm__ volatile("mov %%r9d, %%eax\n"
			 "	and $3, %%eax\n"
			 "	xor %%ecx, %%ecx\n"
			 "	cpuid\n"
			 "	and $0xffff, %%eax\n"
			 "	add %%rax, %0\n"
			 "	mov $0x1238, %%edx\n"
			 "	out %%al, %%dx\n"
			 "	in %%dx, %%al\n"
			 "	mov $0x277, %%ecx\n"     /* PAT */
			 "	rdmsr\n"
			 "	add %%rax, %0\n"
			 "	sti\n"
			 "	hlt\n"
			 "	cli\n"
			 "	rdtsc\n"
			 "	add %%rax, %0\n"
			 "	rdtscp\n"
			 "	add %%rax, %0\n"
			 "	fildll 0x1000000\n"
			 "	fsqrt\n"
			 "	fld1\n"
			 "	faddp\n"
			 "	fstpl 0x1000008\n"
			 "	cvtsi2sd %0, %%xmm0\n"
			 "	sqrtsd %%xmm0, %%xmm1\n"
			 "	mulsd %%xmm0, %%xmm1\n"
			 "	movq %%xmm1, %%rax\n"
			 "	add %%rax, %0\n"
			 "	lock xadd %0, 0x1000010\n"
			 "	mov $3, %%ecx\n"
			 "	sti\n"
			 "1:	dec %%rcx\n"
			 "	jnz 1b\n"
			 "	cli\n"
			 : "+r"(r9) : : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	return r9;
}

void guest_main(void)
{
	u64 v = 0;

	boot_pdpt[1] = (u64)pd | 3;
	pd[0] = (u64)pt | 3;
	pt[0] = (AREA + 0x1000) | 3;
	write_cr3(read_cr3());
	__asm__ volatile("fninit");
	handlers[0] = on_de;
	handlers[3] = handlers[0x41] = on_trap;
	handlers[6] = on_ud;
	handlers[13] = on_gp;
	handlers[14] = on_pf;
	handlers[TIMER] = on_timer;
	lapic_timer(TIMER_PERIODIC, TIMER, 1709);
	for (unsigned i = 0; i < ROUNDS; i++) {
		v = round_of_all(v);
		mix(v);
	}
	lapic_stop();
	check(counts[0] == ROUNDS && counts[1] == ROUNDS && counts[2] == ROUNDS);
	check(counts[4] == ROUNDS && counts[5] == ROUNDS && counts[3] == ROUNDS - 1);
	mix(irqs);
	mix(irq_sum);
	mix_bytes((void *)AREA, 0x5000);
	__asm__ volatile("fxsave64 0x1008000" : : : "memory");
	mix_bytes((void *)0x1008000, 416);
}
