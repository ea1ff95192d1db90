/*
 * bits.c - instructions that leave flags undefined, behind others that set them.  What
 * a processor makes of those is its own affair, and may depend on where it was stopped:
 * nothing here looks at them, so nothing that counts may depend on it.
 */
#include "guest.h"

const char guest_name[] = "bits";

#define TURNS 20000

static u64 map[8];

/* One of each, behind an overflow and a half carry. */
static __attribute__((noinline)) u64 turn(u64 i)
{
	u64 set = 0, x = i << 56 | 0x0f;

	__asm__ volatile("add %[x], %[x]\n\t"
			 "bt %[i], %[map]\n\t"
			 "adc $0, %[set]\n\t"
			 "sub $0x70, %b[x]\n\t"
			 "bts %[i], %[map]\n\t"
			 "adc $0, %[set]\n\t"
			 "add $0x7f, %b[x]\n\t"
			 "btr %[i], %[map]\n\t"
			 "adc $0, %[set]\n\t"
			 "inc %b[x]\n\t"
			 "btc %[i], %[map]\n\t"
			 "adc $0, %[set]"
			 : [set] "+r"(set), [x] "+q"(x), [map] "+m"(map) : [i] "r"(i % 512) : "cc");
	return set + x;
}

void guest_main(void)
{
	for (u64 i = 0; i < TURNS; i++)
		mix(turn(i * 7));
	mix_bytes(map, sizeof(map));
}
