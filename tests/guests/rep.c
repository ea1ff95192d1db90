/*
 * rep.c - REP string instructions, interrupted every few hundred iterations.
 *
 * A REP is resumed in its middle after an interrupt, a page fault or a stop of
 * the hypervisor's, and each iteration counts.  The handler mixes RDTSC and
 * the registers that tell how far it has come.
 */
#include "guest.h"

const char guest_name[] = "rep";

#define ROUNDS 12
#define PERIOD_NS 607
#define SIZE 0x10000UL
#define A 0x1000000UL
#define B 0x1400000UL
#define FRESH 0x1800000UL /* never touched before: second-level faults in the middle of a REP */
#define LAZY 0x40000000UL /* mapped page by page by the page-fault handler */
#define TIMER 0x40

static u64 ticks, faults, lazy_pt[512] __attribute__((aligned(4096))), lazy_pd[512] __attribute__((aligned(4096)));

static void on_timer(struct frame *f)
{
	ticks++;
	mix(rdtsc());
	mix(f->rcx ^ f->rsi << 16 ^ f->rdi << 32);
	mix(f->rip ^ f->rflags << 32);
	lapic_eoi();
}

static void on_page_fault(struct frame *f)
{
	u64 at = read_cr2();

	faults++;
	mix(f->rcx ^ f->error << 32);
	if (at - LAZY >= 512 * 4096)
		leave(3);
	lazy_pt[(at - LAZY) / 4096] = (FRESH + 0x400000 + (at - LAZY) / 4096 * 4096) | 3;
}

/* The string instructions, with what they leave. */
struct regs {
	u64 a, c, s, d;
};

#define STRING(name, insn) \
	static struct regs name(u64 a, u64 c, u64 s, u64 d) \
	{ \
		__asm__ volatile(insn "\n\tcld" : "+a"(a), "+c"(c), "+S"(s), "+D"(d) : : "memory", "cc"); \
		return (struct regs){ a, c, s, d }; \
	}
STRING(movsb, "rep movsb")
STRING(movsw_down, "std; rep movsw")
STRING(movsd32, "addr32 rep movsl")
STRING(movsq, "rep movsq")
STRING(stosb, "rep stosb")
STRING(stosq, "rep stosq")
STRING(stosl_down, "std; rep stosl")
STRING(cmpsb, "repe cmpsb")
STRING(cmpsq, "repe cmpsq")
STRING(scasb, "repne scasb")
STRING(scasw_down, "std; repe scasw")
STRING(lodsb, "rep lodsb")

/* An unused port reads all ones, each iteration an exit. */
static void string_ports(u64 n)
{
	u64 c = n, d = B + 7, s = A + 3;

	__asm__ volatile("rep insb" : "+c"(c), "+D"(d) : "d"(0x1238) : "memory");
	check(c == 0 && d == B + 7 + n);
	check(*(u8 *)(B + 7) == 0xff && *(u8 *)(B + 6 + n) == 0xff);
	c = n;
	__asm__ volatile("rep outsw" : "+c"(c), "+S"(s) : "d"(0x1238) : "memory");
	check(c == 0 && s == A + 3 + 2 * n);
}

static void fill(u64 round)
{
	struct regs r = stosq(0x0101010101010101UL * (round + 1), SIZE / 8, A, A);

	check(r.c == 0 && r.d == A + SIZE);
	for (u64 i = 0; i < SIZE; i += 509)
		*(u8 *)(A + i) = (u8)(i * 7 + round);
}

static void copy(u64 round)
{
	u64 skew = round * 5 % 16;
	struct regs r = movsb(0, SIZE - 16, A, B + skew);

	check(r.c == 0 && r.s == A + SIZE - 16 && r.d == B + skew + SIZE - 16);
	r = cmpsb(0, SIZE - 16, A, B + skew);
	check(r.c == 0);
	r = movsw_down(0, SIZE / 2 - 8, A + SIZE - 18, B + SIZE - 2);
	check(r.c == 0 && r.s == A - 2 && r.d == B + 14);
	r = cmpsq(0, SIZE / 8 - 2, A, B + 16);
	check(r.c == 0);
	/* RCX above 32 bits is not the count of an instruction with 32-bit addresses. */
	r = movsd32(0, 1UL << 40 | SIZE / 4, A, B);
	check((u32)r.c == 0 && r.s == A + SIZE && r.d == B + SIZE);
	/* Overlapping forwards by 3: a pattern runs through the buffer. */
	*(u8 *)B = 1;
	*(u8 *)(B + 1) = 2;
	*(u8 *)(B + 2) = 3;
	movsb(0, SIZE - 3, B, B + 3);
	check(*(u8 *)(B + SIZE - 1) == (SIZE - 1) % 3 + 1);
}

static void search(u64 round)
{
	u64 at = (round * 7919 + 1234) % SIZE;
	struct regs r;

	stosb(0x20, SIZE, 0, B);
	*(u8 *)(B + at) = 0x99;
	r = scasb(0x99, SIZE, 0, B);
	check(r.d == B + at + 1 && r.c == SIZE - at - 1);
	movsb(0, SIZE, B, A);
	*(u8 *)(A + at) = 0x98;
	r = cmpsb(0, SIZE, A, B);
	check(r.s == A + at + 1 && r.c == SIZE - at - 1);
	r = scasw_down(0x2020, SIZE / 2, 0, B + SIZE - 2);
	check(r.d == B + (at & ~1UL) - 2);
	r = lodsb(0, SIZE, A, 0);
	check((u8)r.a == (at == SIZE - 1 ? 0x98 : 0x20) && r.c == 0);
}

static void lazily(void)
{
	u64 before = faults;
	struct regs r;

	for (u64 i = 0; i < SIZE / 4096; i++) {
		lazy_pt[i] = 0;
		invlpg(LAZY + i * 4096);
	}
	r = movsb(0, SIZE - 100, A, LAZY + 50);
	check(r.c == 0 && faults == before + SIZE / 4096);
	r = stosl_down(0x55aa1234, SIZE / 4 - 32, 0, LAZY + SIZE - 4);
	check(r.c == 0 && *(u32 *)(LAZY + 128) == 0x55aa1234);
}

void guest_main(void)
{
	boot_pdpt[1] = (u64)lazy_pd | 3;
	lazy_pd[0] = (u64)lazy_pt | 3;
	write_cr3(read_cr3());
	handlers[TIMER] = on_timer;
	handlers[14] = on_page_fault;
	lapic_timer(TIMER_PERIODIC, TIMER, PERIOD_NS);
	sti();
	for (u64 round = 0; round < ROUNDS; round++) {
		fill(round);
		copy(round);
		search(round);
		lazily();
		string_ports(40);
		movsq(0, SIZE / 8, A, FRESH + round * SIZE);
		movsq(0, 0, 0, 0); /* nothing: no access either */
	}
	cli();
	lapic_stop();
	check(ticks > 1000);
	mix(ticks);
	mix_bytes((void *)A, SIZE);
	mix_bytes((void *)LAZY, SIZE);
}
