/*
 * faults.c - exceptions on top of exceptions.
 *
 *   1  one at a time, with their error codes
 *   2  nested: a page fault in a handler, during delivery, double faults
 *   3  single-stepping
 *   4  hardware breakpoints
 *
 * [APM2 8.2 Vectors; SDM3 6.15 Exception and Interrupt Reference]
 */
#include "guest.h"

const char guest_name[] = "faults";

#define ROUNDS 1500
#define HOLE 0x40000000UL  /* pages that come and go */
#define HOLE_RAM 0x1000000UL
#define STACKS 0x2000000UL /* of double faults: a page nobody touched before for each */

static u64 pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static u8 ist_stack[8192] __attribute__((aligned(16)));

/* What happened last, and what to do: skip to `resume`, or step over `skip` bytes. */
static volatile struct {
	u64 n, vector, error, rip, cr2;
} last;
static u64 resume, total;

static void note(struct frame *f)
{
	total++;
	last.n++;
	last.vector = f->vector;
	last.error = f->error;
	last.rip = f->rip;
	mix(f->vector << 32 ^ f->error);
	mix(f->rip);
	mix(rdtsc());
}

static void on_fault(struct frame *f)
{
	note(f);
	f->rip = resume;
}

static void on_trap(struct frame *f)
{
	note(f);
}

static void map(unsigned page, u64 flags)
{
	pt[page] = flags & 1 ? (HOLE_RAM + page * 4096UL) | flags : 0;
	invlpg(HOLE + page * 4096UL);
}

static void on_page_fault(struct frame *f)
{
	note(f);
	last.cr2 = read_cr2();
	mix(last.cr2);
	if (last.cr2 - HOLE < 512 * 4096UL && !(f->error & 1))
		map((unsigned)((last.cr2 - HOLE) / 4096), 3);
	else
		f->rip = resume;
}

/* Runs instructions of which one must fault; goes on with `after`. */
#define FAULTS_THEN(insn, after) \
	do { \
		last.n = 0; \
		__asm__ volatile("movq $1f, %0\n\t" insn "\n1:\t" after \
				 : "+m"(resume) : : "rax", "rcx", "rdx", "rdi", "memory", "cc"); \
	} while (0)
#define FAULTS(insn) FAULTS_THEN(insn, "")

static bool was(unsigned vector, u64 error)
{
	return last.n == 1 && last.vector == vector && last.error == error;
}

/* The error code that names a gate: QEMU counts it in the 16 bytes of a 64-bit gate. */
static bool was_gate(unsigned vector, u64 gate)
{
	return last.n == 1 && last.vector == vector &&
	       ((last.error & ~1UL) == gate * 8 + 2 || (last.error & ~1UL) == gate * 16 + 2);
}

/* --- 1  one at a time ------------------------------------------------------ */

#define SEL_ABSENT 0x50 /* data, not present */
#define SEL_SYSTEM 0x58 /* an LDT descriptor */

static void undefined(void)
{
	FAULTS("ud2");
	check(was(6, 0));
	FAULTS(".byte 0x0f, 0xff"); /* UD0 */
	check(was(6, 0));
	FAULTS(".byte 0xce"); /* INTO is not in 64-bit mode */
	check(was(6, 0));
	FAULTS(".byte 0x0f, 0x20, 0xc8"); /* MOV from CR1 */
	check(was(6, 0));
	FAULTS("vmmcall");
	check(was(6, 0));
}

static void protection(void)
{
	FAULTS("mov $0x8000000000000000, %%rax; mov (%%rax), %%rax");
	check(was(13, 0));
	FAULTS_THEN("mov %%rbp, %%rdx; mov $0x8000000000000000, %%rax; mov %%rax, %%rbp; mov (%%rbp), %%rcx", "mov %%rdx, %%rbp");
	check(last.n == 1 && (last.vector == 12 || last.vector == 13)); /* QEMU has no #SS here */
	FAULTS("mov $0x1f8, %%eax; mov %%eax, %%ds"); /* beyond the GDT */
	check(was(13, 0x1f8));
	FAULTS("mov $0x50, %%eax; mov %%eax, %%es");
	check(was(11, 0x50));
	FAULTS("mov $0x50, %%eax; mov %%eax, %%ss");
	check(was(12, 0x50));
	FAULTS("mov $0x58, %%eax; mov %%eax, %%fs");
	check(was(13, 0x58));
	FAULTS("mov $0x40, %%eax; ltr %%ax"); /* busy */
	check(was(13, 0x40));
	FAULTS("mov $8, %%eax; lldt %%ax");
	check(was(13, 8));
	FAULTS_THEN("mov %%rsp, %%rdx; pushq $0x58; pushq $0; lretq", "mov %%rdx, %%rsp");
	check(was(13, 0x58));
}

/* Plain QEMU has every MSR, ignores bits of CR8, and hangs at reserved bits of CR3, CR4 and CR0. */
static void control(void)
{
	FAULTS("mov $0x12345, %%ecx; rdmsr");
	check(was(13, 0));
	FAULTS("mov $0x10, %%eax; mov %%rax, %%cr8");
	check(was(13, 0));
	FAULTS("mov %%cr4, %%rax; bts $31, %%rax; mov %%rax, %%cr4");
	check(was(13, 0));
	FAULTS("mov %%cr4, %%rax; btr $5, %%rax; mov %%rax, %%cr4"); /* long mode without PAE */
	check(was(13, 0));
	FAULTS("mov %%cr3, %%rax; bts $51, %%rax; mov %%rax, %%cr3");
	check(was(13, 0));
	FAULTS("mov %%cr0, %%rax; bts $29, %%rax; mov %%rax, %%cr0"); /* NW without CD */
	check(was(13, 0));
	FAULTS("mov %%cr0, %%rax; btr $31, %%rax; mov %%rax, %%cr0"); /* 64-bit code without paging */
	check(was(13, 0));
	FAULTS("mov %%cr0, %%rax; btr $0, %%rax; mov %%rax, %%cr0"); /* paging without protection */
	check(was(13, 0));
	FAULTS("smsw %%ax; xor $4, %%eax; lmsw %%ax; xor $4, %%eax; lmsw %%ax"); /* EM, and back */
	check(last.n == 0);
}

static void software(void)
{
	last.n = 0;
	__asm__ volatile("int3" : : : "memory");
	check(was(3, 0));
	last.n = 0;
	__asm__ volatile("int $4" : : : "memory");
	check(was(4, 0));
	last.n = 0;
	__asm__ volatile("int $0x71" : : : "memory");
	check(was(0x71, 0));
	FAULTS("int $0x70"); /* its gate is not present */
	check(was_gate(11, 0x70));
	load_idt(idt, 0xf0 * 16 - 1);
	FAULTS("int $0xf0");
	load_idt(idt, sizeof(idt) - 1);
	check(was_gate(13, 0xf0));
	FAULTS("xor %%ecx, %%ecx; div %%ecx");
	check(was(0, 0));
}

static void paging(void)
{
	map(5, 0);
	FAULTS("mov 0x40005010, %%eax");
	check(was(14, 0) && last.cr2 == HOLE + 0x5010);
	map(5, 0);
	FAULTS("lock incl 0x40005ffe"); /* 5 and 6, both absent */
	check(last.n >= 1 && last.vector == 14);
	map(6, 0);
	map(5, 1); /* read-only */
	FAULTS("movb $1, 0x40005000");
	check(was(14, 3));
	map(5, 3 | 1UL << 63);
	FAULTS("mov $0x40005000, %%eax; call *%%rax");
	check(last.n == 1 && last.vector == 14 && last.error == 17);
	__asm__ volatile("add $8, %%rsp" : : : "memory"); /* what CALL pushed */
}

/* --- 2  nested -------------------------------------------------------------------- */

#define USER 0x80000000UL /* user pages: code at the start, stack at 64 KiB */
#define USER_RAM 0x1200000UL

static u64 user_pd[512] __attribute__((aligned(4096)));
extern u8 user_code[], user_spin[], user_code_end[];

__asm__("user_code:	mov $1, %eax\n"
	"	int $0x72\n"
	"	ud2\n"
	"user_spin:	mov $3000, %ecx\n"
	"1:	inc %rdx\n"
	"	dec %ecx\n"
	"	jnz 1b\n"
	"	int $0x72\n"
	"	ud2\n"
	"user_code_end:\n");

static void on_divide(struct frame *f)
{
	note(f);
	mix(*(volatile u64 *)(HOLE + 0x7008)); /* the page is not there */
	f->rip = resume;
}

static void on_leave(struct frame *f)
{
	note(f);
	leave_user(f->rsp);
}

static void on_timer(struct frame *f)
{
	note(f);
	lapic_eoi();
}

static u64 run_user(const u8 *code, u64 flags)
{
	last.n = 0;
	return enter_user(USER + (u64)(code - user_code), USER + 0x10000, flags);
}

/* enter_user sets RSP0 to where it stands: this one puts it into the hole. */
static void aim_rsp0(struct frame *f)
{
	*(u64 *)(tss + 4) = HOLE + 0x3000;
	map(2, 0);
	f->rflags = 0x202;
}

static void on_first_step(struct frame *f)
{
	f->rflags &= ~0x100UL;
	aim_rsp0(f);
}

static void inside_handler(void)
{
	handlers[0] = on_divide;
	map(7, 0);
	FAULTS("xor %%ecx, %%ecx; div %%ecx");
	check(last.n == 2);
	handlers[0] = on_fault;
}

/* The ring-0 stack is not there when INT n, then a timer interrupt, wants it. */
static void during_delivery(void)
{
	set_gate(14, isr_stubs[14], 2, GATE_INTERRUPT);
	handlers[1] = on_first_step;
	run_user(user_code, 0x102); /* TF: the first step aims RSP0 */
	check(last.n == 2 && last.vector == 0x72);
	handlers[0x40] = on_timer;
	lapic_timer(TIMER_ONCE, 0x40, 900);
	run_user(user_spin, 0x302);
	lapic_stop();
	mix(last.n);
	if (lapic_in_service(0x40))
		lapic_eoi(); /* acknowledged, then lost with the fault: as real processors do */
	set_gate(14, isr_stubs[14], 0, GATE_INTERRUPT);
	handlers[1] = on_trap;
}

static void double_faults(void)
{
	static u64 fresh = STACKS;

	set_ist(1, (void *)(fresh += 4096));
	map(4, 0);
	FAULTS_THEN("mov %%rsp, %%rdx; mov $0x40005000, %%rsp; ud2", "mov %%rdx, %%rsp");
	check(was(8, 0)); /* #UD, #PF for its stack, #PF again for that one's */
	set_gate(11, isr_stubs[11], 0, 0x0e);
	FAULTS("int $0x70"); /* #NP whose gate is not present */
	check(was(8, 0));
	set_gate(11, isr_stubs[11], 0, GATE_INTERRUPT);
	set_ist(1, (void *)(fresh += 4096));
	idt[0].low = (idt[0].low & ~0xffff0000UL) | SEL_SYSTEM << 16;
	FAULTS("xor %%ecx, %%ecx; div %%ecx"); /* #GP in the delivery of #DE */
	check(was(8, 0));
	set_gate(0, isr_stubs[0], 0, GATE_INTERRUPT);
	set_gate(6, isr_stubs[6], 0, 0x0e);
	FAULTS("ud2"); /* #UD is benign: #NP alone */
	check(was_gate(11, 6));
	set_gate(6, isr_stubs[6], 0, GATE_INTERRUPT);
}

/* --- 3  single-stepping -------------------------------------------------------------- */

/* Traps after insn and the four that follow it. */
#define STEP(insn) \
	do { \
		u64 lapic = LAPIC_BASE; \
		last.n = 0; \
		__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq\n\t" insn "\n\tnop\n\t" \
				 "pushfq; andl $~0x100, (%%rsp); popfq" \
				 : "+b"(lapic) : : "rax", "rcx", "rdx", "rsi", "rdi", "memory", "cc"); \
		mix(last.n); \
	} while (0)
#define STEP1(insn) \
	do { \
		STEP(insn); \
		check_at(last.n == 5, "single-step over " insn, __LINE__); \
	} while (0)

static void stepping(void)
{
	STEP1("nop");
	STEP1("inc %%rax");
	STEP1("jmp 1f; 1:");
	STEP1("mov (%%rsp), %%rax");
	STEP1("rdtsc");
	STEP1("cpuid");
	STEP1("out %%al, $0x80");
	STEP1("in $0x80, %%al");
	STEP1("mov 0x30(%%rbx), %%eax");
	STEP1("movl $0, 0xb0(%%rbx)");
	STEP1("mov %%cr8, %%rax");
	STEP1("mov %%cr3, %%rax");
	STEP("mov %%ss, %%eax; mov %%eax, %%ss");
	STEP("xor %%ecx, %%ecx; mov %%rcx, %%cr8");
	STEP("mov $0xfe, %%ecx; rdmsr"); /* MTRRCAP */
	STEP("mov $0x10, %%ecx; rdmsr");
	STEP("mov $5, %%ecx; lea -64(%%rsp), %%rdi; mov %%rdi, %%rsi; rep movsb");
	STEP("int $0x71");
	STEP("call 1f; jmp 2f; 1: ret; 2:");
	STEP("mov %%cr3, %%rax; mov %%rax, %%cr3");
	STEP("sti; nop; cli");
	STEP("int3");
	STEP("invlpg (%%rsp)");
	map(9, 0);
	STEP("mov 0x40009000, %%eax"); /* a fault comes first, then the step */
}

/* --- 4  hardware breakpoints ------------------------------------------------------------ */

extern u8 break_here[];
static volatile u64 watched[2];
static u64 nbreaks, dr6_seen[8];

static void on_break(struct frame *f)
{
	u64 dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	nbreaks++;
	note(f);
	mix(dr6);
	dr6_seen[dr6 & 7]++;
	dr6 = 0xffff0ff0;
	__asm__ volatile("mov %0, %%dr6" : : "r"(dr6));
	f->rflags |= 1 << 16; /* RF: past an execution breakpoint */
}

static void breakpoints(void)
{
	u64 dr7 = 0x400 | 0x2a | 1UL << 20 | 3UL << 22 | 3UL << 24 | 2UL << 26, got, n = 20;

	handlers[1] = on_break;
	nbreaks = 0;
	__asm__ volatile("mov %0, %%dr0; mov %1, %%dr1; mov %2, %%dr2; mov %3, %%dr7"
			 : : "r"(break_here), "r"(&watched[0]), "r"(&watched[1]), "r"(dr7) : "memory");
	__asm__ volatile("1:	incl %1\n"            /* write */
			 "	movl %1, %%eax\n"     /* read: not DR1's */
			 "break_here:	nop\n"
			 "	movl 4+%2, %%eax\n"   /* read */
			 "	incq %2\n"            /* read and write: one */
			 "	dec %0\n"
			 "	jnz 1b"
			 : "+r"(n), "+m"(watched[0]), "+m"(watched[1]) : : "rax", "memory", "cc");
	__asm__ volatile("mov %%dr7, %0" : "=r"(got));
	check(got == dr7);
	got = 0x400;
	__asm__ volatile("mov %0, %%dr7" : : "r"(got));
	__asm__ volatile("mov %%dr0, %0" : "=r"(got));
	check(got == (u64)break_here);
	check(dr6_seen[1] == 20 && dr6_seen[2] == 20 && dr6_seen[4] >= 40);
	for (unsigned i = 0; i < 8; i++) {
		mix(dr6_seen[i]);
		dr6_seen[i] = 0;
	}
	handlers[1] = on_trap;
}

static void prepare(void)
{
	static const u8 faulting[] = { 0, 6, 8, 10, 11, 12, 13, 17 }, trapping[] = { 1, 3, 4, 0x71 };

	boot_pml4[0] |= 4;
	boot_pdpt[1] = (u64)pd | 3;
	boot_pdpt[2] = (u64)user_pd | 7;
	pd[0] = (u64)pt | 3;
	user_pd[0] = USER_RAM | 0x87;
	write_cr3(read_cr3());
	for (u8 *p = user_code; p < user_code_end; p++)
		*(u8 *)(USER + (u64)(p - user_code)) = *p;
	for (unsigned i = 0; i < COUNT(faulting); i++)
		handlers[faulting[i]] = on_fault;
	for (unsigned i = 0; i < COUNT(trapping); i++)
		handlers[trapping[i]] = on_trap;
	handlers[14] = on_page_fault;
	handlers[0x72] = on_leave;
	set_ist(2, ist_stack + sizeof(ist_stack));
	set_gate(8, isr_stubs[8], 1, GATE_INTERRUPT);
	set_gate(0x70, isr_stubs[0x70], 0, 0x0e);
	set_gate(0x72, isr_stubs[0x72], 0, GATE_INTERRUPT | GATE_USER);
	gdt[SEL_ABSENT / 8] = 0x00cf13000000ffff;
	gdt[SEL_SYSTEM / 8] = 0x0000820000000fff;
}

void guest_main(void)
{
	prepare();
	for (unsigned round = 0; round < ROUNDS; round++) {
		undefined();
		protection();
		software();
		paging();
		inside_handler();
		during_delivery();
		double_faults();
		if (round % 8 == 0)
			stepping();
	}
	for (unsigned round = 0; round < ROUNDS / 8; round++)
		breakpoints();
	if (on_reprise())
		control();
	mix(total);
}
