/*
 * x87ptr.c - what x87 remembers of its last instruction, which a program can see and a host
 * cannot save: looked at (FNSTENV) right behind an x87 instruction, and a long time later.
 *
 * What is seen later is the host's affair.  That it is the same each time the run is made, from
 * wherever it begins and whoever else runs on that host, is for the digest to show.
 */
#include "guest.h"

const char guest_name[] = "x87ptr";

/* [APM1 6.2.4 x87 Environment]: of 28 bytes these hold where the last instruction was. */
enum { INSTRUCTION = 3, OPERAND = 5, WORDS = 7 };

static u64 number = 3;

static __attribute__((noinline)) void one_place(void)
{
	__asm__ volatile("fildll %0\n\tfistpll %0" : "+m"(number));
}

static __attribute__((noinline)) void another(void)
{
	__asm__ volatile("nop\n\tfildll %0\n\tfistpll %0" : "+m"(number));
}

static void look(void)
{
	u32 env[WORDS];

	__asm__ volatile("fnstenv %0\n\tfldcw %0" : "=m"(env));
	mix(env[INSTRUCTION]);
	mix(env[OPERAND]);
}

void guest_main(void)
{
	u64 rounds = arg_number("rounds", 60);

	__asm__ volatile("fninit");
	for (u64 i = 0; i < rounds; i++) {
		if (i % 3)
			one_place();
		else
			another();
		look();
		for (volatile u64 k = 0; k < 40000 + i * 1000; k++)
			;
		look();
	}
	finish();
}
