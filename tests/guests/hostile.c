/*
 * hostile.c - a guest that does what no kernel does, from a seed: "seed=N", and
 * "rounds=N" for more or less of it.  The hypervisor must give it the faults
 * hardware gives, and stay as deterministic and as alive as before.
 *
 *   1  devices: ports, MMIO of every size and alignment, the ICR; their interrupts
 *   2  the processor: MSRs, control registers, descriptors
 *   3  random instructions in ring 3
 *   4  ways to end: triple, badcr3, nowhere, hltcli, wild, nmi
 *   5  flags that are lost: setcc
 *
 * What would end the run by design is left out: reset, power-off, INIT.
 */
#include "guest.h"

const char guest_name[] = "hostile";

#define ROUNDS 120
#define TIMER 0xe1
#define USER 0x80000000UL
#define USER_RAM 0x1200000UL
#define SCRATCH 0x1400000UL
#define RAM_PAGES 16 /* of 2 MiB, of the least machine this runs on */
#define UNASSIGNED 0xd0000000UL
#define APIC_BASE 0xfee00900UL

static u64 state, resume, faults, caught[32];
static bool reprise;

static u64 random(u64 below)
{
	return random64(&state) * 0x9e3779b97f4a7c15UL % below;
}

/* A number of a random size: small ones are where the interesting bits are. */
static u64 any(void)
{
	u64 v = random64(&state) * 0x9e3779b97f4a7c15UL;

	return v >> random(64);
}

static void on_fault(struct frame *f)
{
	faults++;
	caught[f->vector]++;
	mix(f->vector << 32 ^ f->error);
	mix(f->rip ^ rdtsc() << 32);
	if (f->cs & 3 || f->rflags & 1 << 17) /* plain QEMU's IRET enters VM86 mode from anywhere */
		leave_user(f->vector);
	f->rip = resume;
}


static struct gate window_idt[256] __attribute__((aligned(4096)));
extern u8 window_isr[];
u64 window_count, window_stop;

/* No error code, whatever the vector: nothing in the window can fault.  Enough of them, and IF goes. */
__asm__("window_isr:	incq window_count(%rip)\n"
	"	push %rax\n"
	"	rdtsc\n"
	"	roll $5, sum(%rip)\n"
	"	xor %eax, sum(%rip)\n"
	"	mov $0xfee000b0, %eax\n"
	"	movl $0, (%rax)\n"
	"	mov $0x20, %al\n"
	"	out %al, $0x20\n"
	"	out %al, $0xa0\n"
	"	cmpq $30, window_count(%rip)\n"
	"	jb 1f\n"
	"	andl $~0x200, 24(%rsp)\n"
	"1:	pop %rax\n"
	"	iretq\n");

static void window(void)
{
	window_count = 0;
	load_idt(window_idt, sizeof(window_idt) - 1);
	__asm__ volatile("mov $200, %%ecx\n"
			 "	sti\n"
			 "1:	nop\n"
			 "	dec %%ecx\n"
			 "	jnz 1b\n"
			 "	cli\n" : : : "rcx", "rdx", "memory", "cc");
	load_idt(idt, sizeof(idt) - 1);
	mix(window_count);
}

/* Everything a guest's devices may be in: back to what the rest here relies on. */
static void restore(void)
{
	if (reprise)
		wrmsr(0x1b, APIC_BASE & ~0x800UL); /* from x2APIC there is no other way */
	wrmsr(0x1b, APIC_BASE);
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1UL); /* SYSCALL and SYSENTER of random code would go anywhere */
	wrmsr(0x174, 0);
	pic_init(0x20, 0xffff);
	pit_stop();
	outb(0x3fb, 3);
	outb(0x3f9, 0);
	outb(0x3fa, 1);
	outb(0x3fc, 0);
	rtc_write(0x0b, 2);
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_stop();
	for (unsigned reg = 0x330; reg <= 0x370; reg += 0x10)
		lapic_write(reg, LVT_MASKED);
	write_cr8(0);
	for (unsigned pin = 0; pin < 24; pin++)
		ioapic_write(0x10 + 2 * pin, LVT_MASKED);
	for (unsigned i = 0; i < 256; i++)
		lapic_eoi();
	do /* what is still requested */
		window();
	while (window_count);
}

/* --- 1  devices ----------------------------------------------------------- */

static u16 any_port(void)
{
	static const u16 known[] = {
		0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x70, 0x71, 0x80, 0x84, 0x3f8, 0x3f9, 0x3fa,
		0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x4d0, 0x4d1, 0x64,
	};

	/* On plain QEMU unknown ports belong to devices that are not this test's. */
	return random(4) || !reprise ? known[random(COUNT(known))] : (u16)random(0x10000);
}

/* Ports from `port` on that n bytes may not touch: they end the run. */
static bool port_allowed(u16 port, unsigned n)
{
	for (u32 p = port; p < (u32)port + n; p++)
		if (p == 0xf4 || p == 0x92 || p == 0xb2 || p == 0xcf9 || (p >= 0x600 && p <= 0x60f) || p > 0xffff)
			return false;
	return true;
}

static void ports(void)
{
	u16 port = any_port();
	unsigned n = 1U << random(3);
	u32 v = (u32)any();
	u64 c = random(20), at = SCRATCH + random(4096);

	if (!port_allowed(port, n) || (n > 1 && !reprise)) /* plain QEMU asserts */
		return;
	if (port <= 0x64 && port + n > 0x64)
		v = (v & 0x0f0f0f0f) | 0x20202020; /* no reset, no output port */
	else if (port <= 0x60 && port + n > 0x60)
		v |= 1;
	if (port >= 0x3f8 && port <= 0x3ff && random(2))
		v &= 0x80;
	switch (reprise ? random(8) : random(2) * 7) {
	case 0: __asm__ volatile("inb %%dx, %%al" : "+a"(v) : "d"(port)); break;
	case 1: __asm__ volatile("inw %%dx, %%ax" : "+a"(v) : "d"(port)); break;
	case 2: __asm__ volatile("inl %%dx, %%eax" : "+a"(v) : "d"(port)); break;
	case 3: __asm__ volatile("rep insb" : "+c"(c), "+D"(at) : "d"(port) : "memory"); break;
	default:
		if (n == 1)
			__asm__ volatile("outb %%al, %%dx" : : "a"(v), "d"(port));
		else if (n == 2)
			__asm__ volatile("outw %%ax, %%dx" : : "a"(v), "d"(port));
		else
			__asm__ volatile("outl %%eax, %%dx" : : "a"(v), "d"(port));
	}
	mix(v);
}

static u64 any_device_address(void)
{
	switch (random(reprise ? 6 : 3)) {
	case 0: return LAPIC_BASE + random(0x400);
	case 1: return LAPIC_BASE + random(0x40) * 16;
	case 2: return IOAPIC_BASE + random(2) * 16;
	case 3: return IOAPIC_BASE + random(0x1100);
	case 4: return LAPIC_BASE + 0xff0 + random(0x20);
	default: return UNASSIGNED + random(0x200000 - 8);
	}
}

static void memory(void)
{
	volatile u8 *p = (volatile u8 *)any_device_address();
	u64 v = any() & ~0x0707070707070707UL; /* no NMI, SMI, INIT as a delivery mode */
	u64 at = (u64)p & 0xfff, c = random(9), d = SCRATCH + random(64);

	if (((u64)p & ~0xfffUL) == LAPIC_BASE && at > 0x2f0 && at < 0x310)
		return; /* the ICR has its own */
	switch (random(14)) {
	case 0: v = *p; break;
	case 1: v = *(volatile u16 *)p; break;
	case 2: v = *(volatile u32 *)p; break;
	case 3: v = *(volatile u64 *)p; break;
	case 4: *p = (u8)v; break;
	case 5: *(volatile u16 *)p = (u16)v; break;
	case 6: *(volatile u64 *)p = v; break;
	case 7: __asm__ volatile("lock orl %k1, %0" : "+m"(*(volatile u32 *)p) : "r"(v & 0xf8) : "memory", "cc"); break;
	case 8: __asm__ volatile("xchg %k1, %0" : "+m"(*(volatile u32 *)p), "+r"(v) : : "memory"); break;
	case 9: __asm__ volatile("rep movsb" : "+c"(c), "+S"(p), "+D"(d) : : "memory"); break;
	case 10: __asm__ volatile("cmpl %k1, %0; setb %b1" : "+m"(*(volatile u32 *)p), "+r"(v) : : "memory", "cc"); break;
	default: *(volatile u32 *)p = (u32)v; break;
	}
	mix(v);
}

/* Fixed and lowest priority, any vector, any destination: but not INIT, STARTUP, NMI, SMI. */
static void icr(void)
{
	u32 v = (u32)any() & 0x000ccdff;

	v &= ~0x600U;
	lapic_write(LAPIC_ICR_HIGH, (u32)any());
	lapic_write(LAPIC_ICR, v);
	mix(lapic_read(LAPIC_ICR));
	lapic_write(LAPIC_ESR, 0);
	mix(lapic_read(LAPIC_ESR));
}

/* --- 2  the processor --------------------------------------------------------- */

static u32 any_msr(void)
{
	static const u32 known[] = { 0x10, 0x1b, 0x3a, 0x3b, 0x8b, 0xfe, 0x174, 0x175, 0x176, 0x179, 0x17a, 0x1a0, 0x1d9,
				     0x200, 0x20f, 0x250, 0x26f, 0x277, 0x2ff, 0x6e0, 0x802, 0x80b, 0x830, 0x838, 0xc0000080,
				     0xc0000081, 0xc0000082, 0xc0000084, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010015 };

	return random(4) ? known[random(COUNT(known))] : (u32)any();
}

static void msr(void)
{
	u32 index = any_msr(), a = 0, d = 0;
	u64 v = any();

	if (index == 0x830) /* the x2APIC's ICR */
		v &= ~0x700UL;
	if (index == 0x1b && !reprise)
		return; /* plain QEMU cannot enable its APIC again */
	if (index == 0xc0000080)
		v = (v & ~0x900UL) | 0x900; /* LME and NXE stay */
	__asm__ volatile("movq $1f, %0; rdmsr; 1:" : "+m"(resume), "+a"(a), "+d"(d) : "c"(index) : "memory");
	if (index != 0x10) /* but for time */
		mix(a ^ (u64)d << 32);
	if (random(2) || !reprise)
		__asm__ volatile("movq $1f, %0; wrmsr; 1:" : "+m"(resume)
				 : "c"(index), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

/* Bits that may be anything while this code runs. */
#define CR0_FREE 0x4004002eUL /* MP, EM, TS, NE, AM, CD */
#define CR4_FREE 0x60fUL      /* VME, PVI, TSD, DE, OSFXSR, OSXMMEXCPT */

static void control(void)
{
	u64 cr0 = read_cr0(), cr4 = read_cr4(), v = any();

	__asm__ volatile("movq $1f, %0; mov %1, %%cr0; 1:" : "+m"(resume) : "r"((cr0 & ~CR0_FREE) | (v & CR0_FREE)) : "memory");
	__asm__ volatile("movq $1f, %0; fninit; 1:" : "+m"(resume) : : "memory"); /* #NM with EM or TS */
	__asm__ volatile("movq $1f, %0; xorps %%xmm1, %%xmm1; 1:" : "+m"(resume) : : "memory");
	mix(read_cr0());
	write_cr0(cr0);
	__asm__ volatile("movq $1f, %0; mov %1, %%cr4; 1:" : "+m"(resume) : "r"((cr4 & ~CR4_FREE) | (any() & CR4_FREE)) : "memory");
	__asm__ volatile("movq $1f, %0; xorps %%xmm1, %%xmm1; 1:" : "+m"(resume) : : "memory");
	mix(read_cr4());
	write_cr4(cr4);
	if (reprise) {
		__asm__ volatile("movq $1f, %0; mov %1, %%cr8; 1:" : "+m"(resume) : "r"(any()) : "memory");
		write_cr8(0);
	}
	__asm__ volatile("movq $1f, %0; mov %1, %%dr7; 1:" : "+m"(resume) : "r"(any() & 0xfc00UL & ~0x2000UL) : "memory");
	__asm__ volatile("mov %0, %%dr7" : : "r"(0x400UL));
	__asm__ volatile("mov %0, %%dr3; mov %%dr3, %0" : "+r"(v));
	mix(v);
	__asm__ volatile("movq $1f, %0; .byte 0x0f, 0x01, 0xd0; 1:" : "+m"(resume) : : "rax", "rdx", "memory"); /* XGETBV */
	__asm__ volatile("movq $1f, %0; rdpmc; 1:" : "+m"(resume) : "c"((u32)v) : "rax", "rdx", "memory");
}

static void descriptors(void)
{
	u64 *free = &gdt[SEL_FREE / 8];
	u32 sel = (u32)(SEL_FREE + random(22) * 8);

	free[0] = 0x00ef9b000000ffff; /* code of 64 and of 32 bits, which plain QEMU loads */
	__asm__ volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq\n"
			 "1:	outb %%al, $0x80; pushq %1; leaq 2f(%%rip), %%rax; pushq %%rax; lretq\n2:"
			 : : "i"(SEL_FREE), "i"(SEL_CODE) : "rax", "memory");
	for (unsigned i = 0; i < 22; i++)
		free[i] = random(4) ? (any() & ~(1UL << 47)) | (random(2) ? 1UL << 47 : 0) : random64(&state);
	sel |= (u32)random(8);
	__asm__ volatile("movq $1f, %0; mov %1, %%ds; 1:" : "+m"(resume) : "r"(sel) : "memory");
	__asm__ volatile("movq $1f, %0; mov %1, %%es; 1:" : "+m"(resume) : "r"(sel ^ 8) : "memory");
	__asm__ volatile("movq $1f, %0; mov %1, %%fs; 1:" : "+m"(resume) : "r"(sel ^ 16) : "memory");
	__asm__ volatile("movq $1f, %0; mov %1, %%gs; 1:" : "+m"(resume) : "r"(sel ^ 24) : "memory");
	__asm__ volatile("movq $1f, %0; mov %1, %%ss; 1:" : "+m"(resume) : "r"(sel & ~3U) : "memory");
	__asm__ volatile("movq $1f, %0; lldt %w1; 1:" : "+m"(resume) : "r"(sel ^ 32) : "memory");
	__asm__ volatile("movq $1f, %0; ltr %w1; 1:" : "+m"(resume) : "r"(sel ^ 40) : "memory");
	__asm__ volatile("movq $1f, %0; lsl %1, %%rax; lar %1, %%rdx; verr %w1; 1:" : "+m"(resume) : "r"((u64)sel) : "rax", "rdx", "memory", "cc");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs; mov %1, %%gs; lldt %w1"
			 : : "r"(SEL_DATA), "r"(0));
	gdt[SEL_TSS / 8] &= ~(2UL << 40);
	__asm__ volatile("ltr %0" : : "r"((u16)SEL_TSS));
	for (unsigned i = 0; i < 22; i++)
		mix(free[i]); /* busy and accessed bits */
	/* A far return through the null selector, and through an LDT that is not there. */
	__asm__ volatile("movq $1f, %0; mov %%rsp, %%rdx; pushq $0; pushq $0; lretq; 1: mov %%rdx, %%rsp"
			 : "+m"(resume) : : "rdx", "memory", "cc");
	__asm__ volatile("movq $1f, %0; mov %%rsp, %%rdx; push %1; pushq $0; lretq; 1: mov %%rdx, %%rsp"
			 : "+m"(resume) : "r"((u64)sel | 4) : "rdx", "memory", "cc");
}

/* --- 3  random instructions ------------------------------------------------------------ */

static void on_user_timer(struct frame *f)
{
	lapic_eoi();
	mix(f->rip);
	if (f->cs & 3)
		leave_user(f->vector);
}

/* Ring 3, its own 2 MiB, a timer to end it. */
static void garbage(void)
{
	u8 *code = (u8 *)USER;
	u64 n = 64 + random(1000);

	for (u64 i = 0; i < 2048; i += 8)
		*(u64 *)(code + i) = random64(&state) * 0x9e3779b97f4a7c15UL;
	lapic_timer(TIMER_ONCE, TIMER, (u32)(500 + random(5000)));
	mix(enter_user(USER + random(n), USER + 0x10000, 0x202 | random(2) << 8 | random(2) << 18));
	lapic_stop();
	__asm__ volatile("cld; fninit; mov %0, %%fs; mov %0, %%gs" : : "r"(0));
	mix_bytes(code, 2048);
}

/* --- 4  ways to end ------------------------------------------------------------------------ */

/*
 * What TCG forgets the flags of when its memory access faults, so that they are
 * what was left in the host [docs/CAVEATS.md]: RCL and RCR of memory, LAR, LSL,
 * VERR, VERW, CMPXCHG8B.
 */
static bool loses_flags(u8 opcode, u8 next)
{
	bool rotates = (opcode & 0xfe) == 0xc0 || (opcode & 0xfc) == 0xd0;

	return (rotates && (next >> 3 & 6) == 2 && next < 0xc0) ||
	       (opcode == 0x0f && (next == 0 || next == 2 || next == 3 || next == 0xc7));
}

static void end_by_word(void)
{
	if (arg_word("triple")) {
		load_idt(idt, 0);
		__asm__ volatile("int3");
	}
	if (arg_word("badcr3")) {
		write_cr3(UNASSIGNED);
		__asm__ volatile("mov 0x12345678, %%eax" : : : "rax");
	}
	if (arg_word("nowhere"))
		((void (*)(void))UNASSIGNED)();
	if (arg_word("hltcli"))
		__asm__ volatile("cli; hlt");
	if (arg_word("nmi")) {
		lapic_write(LAPIC_ICR_HIGH, lapic_read(LAPIC_ID));
		lapic_write(LAPIC_ICR, 1 << 14 | 4 << 8);
	}
	if (arg_word("wild"))
		for (;;) { /* ring 0, any end will do */
			u8 *code = (u8 *)SCRATCH;

			for (u64 i = 0; i < 4096; i += 8)
				*(u64 *)(code + i) = random64(&state) * 0x9e3779b97f4a7c15UL;
			for (unsigned i = 0; i < 4095; i++)
				if (loses_flags(code[i], code[i + 1]))
					code[i] = 0x90;
			resume = (u64)&&next;
			((void (*)(void))(code + random(4096)))();
next:;
		}
}

/* --- 5  flags that are lost ----------------------------------------------------------------- */

u8 setcc(void);
__asm__(".pushsection .setcc, \"awx\", @progbits\n"
	"	.balign 4096\n"
	"setcc:	mov $0x8d, %al\n"
	"	test $0x36, %al\n"
	"	setnp 1f(%rip)\n"
	"	lahf\n"
	"	mov %ah, %al\n"
	"	and $0x84, %al\n" /* SF, PF */
	"	or 1f(%rip), %al\n"
	"	ret\n"
	"1:	.byte 0\n"
	"	.balign 4096\n"
	".popsection\n");

/*
 * SETcc into its own page: the store exits, and TCG has dropped the flags
 * [docs/CAVEATS.md].  What it shows for them may be wrong, but it must not be the
 * host's: a replay comes to the same sum.
 */
static void lost_flags(void)
{
	for (unsigned i = 0; i < 64; i++)
		mix(setcc());
}

static void prepare(void)
{
	static u64 user_pd[512] __attribute__((aligned(4096)));

	/*
	 * No mapping without something behind it: plain QEMU reads the stack of
	 * an IRET in ring 3 as the supervisor, and a random RSP finds anything.
	 */
	for (u64 i = RAM_PAGES; i < 4 * 512; i++)
		if (i != IOAPIC_BASE >> 21 && i != LAPIC_BASE >> 21 && i != UNASSIGNED >> 21)
			boot_pd[i] = 0;
	boot_pml4[0] |= 4;
	boot_pdpt[2] = (u64)user_pd | 7;
	user_pd[0] = USER_RAM | 0x87;
	write_cr3(read_cr3());
	for (unsigned i = 0; i < 32; i++)
		handlers[i] = on_fault;
	handlers[TIMER] = on_user_timer;
	for (unsigned i = 0; i < 256; i++) {
		set_gate(i, window_isr, 0, GATE_INTERRUPT);
		window_idt[i] = idt[i];
		set_gate(i, isr_stubs[i], 0, GATE_INTERRUPT);
	}
}

void guest_main(void)
{
	u64 rounds = arg_number("rounds", ROUNDS);

	state = (arg_number("seed", 1) + 1) * 0x9e3779b97f4a7c15UL;
	reprise = on_reprise();
	prepare();
	end_by_word();
	if (arg_word("setcc"))
		lost_flags();
	for (u64 round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < 40; i++) {
			ports();
			memory();
			icr();
			if (i % 8 == 0)
				window();
		}
		restore();
		for (unsigned i = 0; i < 10; i++)
			msr();
		restore();
		control();
		descriptors();
		for (unsigned i = 0; i < 8; i++)
			garbage();
	}
	restore();
	for (unsigned i = 0; i < 32; i++)
		mix(caught[i]);
	say("hostile: seed %u: %u faults\n", arg_number("seed", 1), faults);
}
