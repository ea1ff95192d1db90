/*
 * shadow.c - no interrupt inside a shadow, under a storm of timers.
 *
 * STI that sets IF and a load of SS hold interrupts back for one instruction
 * [SDM3 6.8.3 Masking Exceptions and Interrupts When Switching Stacks; APM3
 * STI].  A timer fires 0 to 60 instructions after each handler's IRET, so every
 * instruction of the loop is tried; the handler looks where it was called.
 *
 * SHADOWED marks the instruction that must not be interrupted.
 */
#include "guest.h"

const char guest_name[] = "shadow";

#define INTERRUPTS 24000
#define TIMER 0x40

extern u8 loop_start[], loop_end[];
extern u64 shadowed_start[], shadowed_end[];

static u64 ticks, caught, first_caught, seed = 0x1234567;
static u8 forbidden[2048];
static u32 hits[2048];

#define SHADOWED ".pushsection .shadowed, \"a\"; .quad 77f; .popsection; 77: "

/* One round of every shadow there is; leaves with interrupts on.  rcx counts them. */
__asm__(".globl loop_start, loop_end\n"
	"loop_start:\n"
	"	push %rbx\n"
	"1:	cli\n"
	SHADOWED "nop\n"		/* IF is off */
	SHADOWED "sti\n"
	SHADOWED "nop\n"		/* the shadow */
	"	nop\n"
	"	cli\n"
	SHADOWED "sti\n"
	SHADOWED "cli\n"		/* STI; CLI: never a window */
	SHADOWED "sti\n"
	SHADOWED "mov %ss, %eax\n"
	"	mov %eax, %ss\n"
	SHADOWED "inc %rcx\n"		/* MOV SS */
	"	mov %rsp, %rdx\n"
	"	mov %eax, %ss\n"
	SHADOWED "mov %rdx, %rsp\n"	/* the pair the shadow is for */
	"	pushfq\n"
	"	cli\n"
	SHADOWED "popfq\n"		/* sets IF: no shadow after it */
	"	inc %rcx\n"
	"	pushfq\n"
	"	popfq\n"
	"	inc %rcx\n"
	"	cli\n"
	SHADOWED "sti\n"
	SHADOWED "mov (%rsp), %rax\n"	/* a load in the shadow */
	"	cli\n"
	SHADOWED "sti\n"
	SHADOWED "rdtsc\n"
	"	cli\n"
	SHADOWED "mov $1, %eax\n"
	SHADOWED "sti\n"
	SHADOWED "cpuid\n"		/* an exit in the shadow */
	"	inc %rcx\n"
	"	cli\n"
	SHADOWED "sti\n"
	SHADOWED "out %al, $0x80\n"
	"	cli\n"
	SHADOWED "sti\n"
	SHADOWED "hlt\n"		/* wakes, never sleeps through one */
	"	cli\n"
	SHADOWED "mov %ss, %eax\n"
	SHADOWED "sti\n"
	SHADOWED "mov %eax, %ss\n"	/* a shadow in the shadow */
	"	inc %rcx\n"
	"	mov $20, %edx\n"
	"2:	cli\n"
	SHADOWED "sti\n"
	SHADOWED "dec %edx\n"
	"	jnz 2b\n"
	"	dec %edi\n"
	"	jnz 1b\n"
	"	pop %rbx\n"
	"	ret\n"
	"loop_end:\n");

static void on_timer(struct frame *f)
{
	u64 at = f->rip - (u64)loop_start;

	ticks++;
	mix(rdtsc() ^ f->rip << 40);
	if (at < sizeof(forbidden)) {
		hits[at]++;
		if (forbidden[at] && !caught++)
			first_caught = at;
	}
	if (!(f->rflags & 0x200) && !caught++)
		first_caught = at;
	lapic_eoi();
	lapic_write(LAPIC_INITIAL, 21 + (u32)(random64(&seed) % 60)); /* 21: from here to the IRET */
}

static void rounds(u64 n)
{
	__asm__ volatile("call loop_start" : "+D"(n) : : "rax", "rbx", "rcx", "rdx", "memory", "cc");
}

void guest_main(void)
{
	u64 untried = 0;

	check((u64)(loop_end - loop_start) < sizeof(forbidden));
	for (u64 *p = shadowed_start; p < shadowed_end; p++)
		forbidden[*p - (u64)loop_start] = 1;
	handlers[TIMER] = on_timer;
	lapic_timer(TIMER_ONCE, TIMER, 100);
	while (ticks < INTERRUPTS)
		rounds(100);
	cli();
	lapic_stop();
	if (caught)
		say("shadow: %u interrupts in a shadow, the first at offset %x of the loop\n", caught, first_caught);
	check(caught == 0);
	for (unsigned i = 0; i < sizeof(forbidden); i++) {
		mix(hits[i]);
		untried += hits[i] != 0;
	}
	check(untried > 15); /* of the places where it may come, most had one */
}
