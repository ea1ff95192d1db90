/*
 * smc.c - code that changes itself, in every way code does.
 *
 * A store must be seen by the very next instruction [SDM3 11.6 Self-Modifying
 * Code; APM2 7.6.1].  Each way patches the immediate of MOV $imm32, %eax with a
 * fresh number and looks at what the instruction then loads.
 *
 *   1  straight-line, by every kind of store
 *   2  with a jump between, through aliases, across pages
 *   3  generated code; code and data on one page
 *   4  patched by an interrupt handler
 */
#include "guest.h"

const char guest_name[] = "smc";

#define ROUNDS 400
#define TIMER 0x40
#define ALIAS 0x40000000UL /* a second mapping of this image's first 2 MiB */

static u64 stale;

/* Plain QEMU misses some straight-line stores; a hypervisor may not. */
static void see(u64 got, u64 want)
{
	if (got != want)
		stale++;
	mix(got);
}

/* --- 1  straight-line ---------------------------------------------------- */

/* The store, then at once the changed instruction. */
#define STRAIGHT(name, store) \
	static u32 name(u32 v) \
	{ \
		u32 r; \
		__asm__ volatile(store "\n1:\tmov $0x01010101, %%eax" : "=&a"(r), "+d"(v) : : "memory", "cc", "rcx", "rdi", "rbx"); \
		return r; \
	}
STRAIGHT(by_mov, "movl %%edx, 1f+1(%%rip)")
STRAIGHT(by_byte, "movl $0x01010101, 1f+1(%%rip); movb %%dl, 1f+1(%%rip)")
STRAIGHT(by_xchg, "xchgl %%edx, 1f+1(%%rip)")
STRAIGHT(by_lock, "movl $0, 1f+1(%%rip); lock addl %%edx, 1f+1(%%rip)")
STRAIGHT(by_stos, "lea 1f+1(%%rip), %%rdi; mov %%edx, %%eax; stosl")
STRAIGHT(by_two, "movw %%dx, 1f+1(%%rip); shr $16, %%edx; movw %%dx, 1f+3(%%rip)")
STRAIGHT(by_push, "mov %%edx, %%eax; shr $16, %%eax; mov %%rsp, %%rbx; lea 1f+5(%%rip), %%rsp; pushw %%ax; pushw %%dx;"
		  "mov %%rbx, %%rsp")
STRAIGHT(by_cmpxchg, "movl $7, 1f+1(%%rip); mov $7, %%eax; cmpxchgl %%edx, 1f+1(%%rip)")

/* REP over the instruction that follows it. */
static u32 by_rep(u32 v)
{
	u8 bytes[5] = { 0xb8, (u8)v, (u8)(v >> 8), (u8)(v >> 16), (u8)(v >> 24) };
	u32 r;
	u64 c = 5;
	const u8 *s = bytes;

	__asm__ volatile("lea 1f(%%rip), %%rdi; rep movsb\n1:\tmov $0x01010101, %%eax"
			 : "=a"(r), "+S"(s), "+c"(c) : : "memory", "rdi");
	return r;
}

static void straight(u32 v)
{
	see(by_mov(v), v);
	see(by_byte(v), 0x01010100 | (v & 0xff));
	see(by_xchg(v), v);
	see(by_lock(v), v);
	see(by_stos(v), v);
	see(by_two(v), v);
	see(by_push(v), v);
	see(by_cmpxchg(v), v);
	see(by_rep(v), v);
}

/* --- 2  jumps, aliases, page boundaries ------------------------------------- */

u32 smc_jump(u32 v);
u32 smc_loop(u32 v);
u32 smc_other_page(u32 v);
u32 smc_crossing(u32 v);
u32 smc_alias(u32 v);
u32 smc_alias_jump(u32 v);
u32 smc_call(u32 v);

__asm__(".pushsection .smc, \"awx\", @progbits\n"
	".balign 4096\n"
	"smc_jump:	movl %edi, 1f+1(%rip)\n"
	"	jmp 1f\n"
	"	nop\n"
	"1:	mov $0, %eax\n"
	"	ret\n"
	/* in a loop that has run before: eax = 3v + 3 */
	"smc_loop:	mov $3, %ecx\n"
	"	xor %edx, %edx\n"
	"	mov %edi, 1f+1(%rip)\n"
	"1:	mov $0, %eax\n"
	"	add %eax, %edx\n"
	"	incl 1b+1(%rip)\n"
	"	dec %ecx\n"
	"	jnz 1b\n"
	"	mov %edx, %eax\n"
	"	ret\n"
	/* through the second mapping, straight-line and with a jump */
	"smc_alias:	mov $1f+1, %eax\n"
	"	mov %edi, 0x40000000(%rax)\n"
	"1:	mov $0, %eax\n"
	"	ret\n"
	"smc_alias_jump:	mov $1f+1, %eax\n"
	"	mov %edi, 0x40000000(%rax)\n"
	"	jmp 1f\n"
	"1:	mov $0, %eax\n"
	"	ret\n"
	/* CALL pushes onto the page it runs on: the return address becomes the immediate's low half */
	"smc_call:	mov %rsp, %rdx\n"
	"	lea 2f+10(%rip), %rsp\n"
	"	call 2f\n"
	"2:	mov $0x1122334455667788, %rax\n"
	"	mov %rdx, %rsp\n"
	"	sub $2b, %eax\n"
	"	ret\n"
	/* the last instruction of one page changes the first of the next */
	"	.balign 4096\n"
	"	.skip 4096 - 6\n"
	"smc_other_page:	mov %edi, 1f+1(%rip)\n"
	"1:	mov $0, %eax\n"
	"	ret\n"
	/* an instruction across a page boundary, changed on both sides */
	"	.balign 4096\n"
	"	.skip 4096 - 6 - 3\n"
	"smc_crossing:	mov %edi, 1f+1(%rip)\n"
	"1:	mov $0, %eax\n"
	"	ret\n"
	"	.balign 4096\n"
	".popsection\n");

static void jumping(u32 v)
{
	see(smc_jump(v), v);
	see(smc_loop(v), 3 * v + 3);
	see(smc_alias(v + 1), v + 1);
	see(smc_alias_jump(v + 2), v + 2);
	see(smc_other_page(v), v);
	see(smc_crossing(v), v);
	see(smc_call(v), 0);
}

/* --- 3  generated code, code and data on one page ---------------------------- */

static u8 buffer[8192] __attribute__((aligned(4096)));

/* mov $v, %eax; n times add $k, %eax; ret */
static u8 *generate(u8 *at, u32 v, unsigned n, u8 k)
{
	u8 *p = at;

	*p++ = 0xb8;
	for (unsigned i = 0; i < 4; i++)
		*p++ = (u8)(v >> 8 * i);
	for (unsigned i = 0; i < n; i++) {
		*p++ = 0x83;
		*p++ = 0xc0;
		*p++ = k;
	}
	*p++ = 0xc3;
	return p;
}

static u32 call(const u8 *at)
{
	return ((u32 (*)(void))(uintptr_t)at)();
}

static void generated(u32 v)
{
	u8 *at = buffer + v % 4000;

	generate(at, v, 20, 3);
	see(call(at), v + 60);
	generate(at, v + 1, 10, 1); /* over it, at the same place */
	see(call(at), v + 11);
	at[6] ^= 1;                 /* add becomes or: one bit of the second byte */
	at[6] ^= 1;
	see(call((u8 *)ALIAS + (uintptr_t)at), v + 11);
}

/* inc the counter beside the code, n times: eax = n */
static u32 counting(u32 n)
{
	u64 c = n;
	u32 r;

	__asm__ volatile("movl $0, 3f(%%rip)\n"
			 "1:	incl 3f(%%rip)\n"
			 "	dec %1\n"
			 "	jnz 1b\n"
			 "	mov 3f(%%rip), %0\n"
			 "	jmp 2f\n"
			 "3:	.long 0\n"
			 "2:"
			 : "=r"(r), "+r"(c) : : "memory", "cc");
	return r;
}

/* --- 4  patched by an interrupt handler ----------------------------------------- */

extern u8 smc_patched[];
u64 smc_spin(u32 n, u32 v);
static u64 ticks;
static u32 step;

__asm__(".pushsection .smc, \"awx\", @progbits\n"
	"smc_spin:	xor %eax, %eax\n"
	"1:	add %rsi, %rax\n"
	"smc_patched:	mov $0, %esi\n"
	"	imul $33, %rax, %rax\n"
	"	dec %edi\n"
	"	jnz 1b\n"
	"	ret\n"
	".popsection\n");

static void on_timer(struct frame *f)
{
	ticks++;
	*(volatile u32 *)(smc_patched + 1) = ++step;
	mix(rdtsc() ^ f->rip << 32);
	lapic_eoi();
}

void guest_main(void)
{
	u64 seed = 88172645463325252UL;

	boot_pdpt[1] = boot_pdpt[0]; /* ALIAS */
	write_cr3(read_cr3());
	handlers[TIMER] = on_timer;
	for (unsigned round = 0; round < ROUNDS; round++) {
		u32 v = (u32)random64(&seed) | 0x100;

		straight(v);
		jumping(v & 0x3fffffff);
		generated(v & 0xffffff);
		if (round % 16 == 0)
			see(counting(200), 200);
	}
	lapic_timer(TIMER_PERIODIC, TIMER, 1009);
	sti();
	mix(smc_spin(300000, 1));
	cli();
	lapic_stop();
	check(ticks > 100);
	if (on_reprise())
		check(stale == 0);
	else if (stale)
		say("%s: %u stores seen late, as plain QEMU does\n", guest_name, stale);
	mix(ticks);
}
