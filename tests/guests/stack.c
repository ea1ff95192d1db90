/*
 * stack.c - a known stack, for those who read it from outside: functions that
 * call each other, a timer interrupt in the innermost, an exception in its
 * handler; the handler of that ends the machine with a failure.
 *
 * Nothing here may be inlined, or end in a jump to what it should call: so
 * each does something with what the call gave back.  It has frame pointers
 * besides its call frame information; what it takes from the library has not.
 */
#include "guest.h"

const char guest_name[] = "stack";

#define NOINLINE __attribute__((noinline, noclone))
#ifdef __clang__
#undef NOINLINE
#define NOINLINE __attribute__((noinline))
#endif

#define VECTOR 0x40

static volatile u64 ticks;

static NOINLINE u64 give_up(u64 code)
{
	outb(0xf4, (u8)code);
	return code + ticks; /* not reached */
}

static NOINLINE void on_undefined(struct frame *f)
{
	f->rip += 2 + give_up(7);
}

static NOINLINE u64 stumble(u64 n)
{
	__asm__ volatile("ud2" : "+r"(n) : : "memory");
	return n + 1;
}

static NOINLINE void on_timer(struct frame *f)
{
	lapic_eoi();
	ticks++;
	f->rax = stumble(f->rip);
}

static NOINLINE u64 innermost(u64 n)
{
	lapic_timer(TIMER_ONCE, VECTOR, 5000);
	sti();
	while (!ticks)
		n++;
	cli();
	return n;
}

/* Some of the registers that a caller gets back, and room on the stack. */
static NOINLINE u64 middle(u64 n)
{
	volatile u64 room[32];

	for (unsigned i = 0; i < COUNT(room); i++)
		room[i] = n * i;
	n += innermost(n ^ room[3]);
	return n + room[n % COUNT(room)];
}

static NOINLINE u64 outermost(u64 n)
{
	return middle(n + 1) * 3 + n;
}

void guest_main(void)
{
	handlers[6] = on_undefined;
	handlers[VECTOR] = on_timer;
	mix(outermost(arg_number("n", 5)));
}
