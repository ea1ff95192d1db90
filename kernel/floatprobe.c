/*
 * floatprobe.c - FSIN, FCOS, FPTAN, FPATAN, F2XM1, FYL2X and SQRTSD over a
 * spread of arguments, hashed bit by bit.
 */
#include "kernel/floatprobe.h"
#include "kernel/xxh.h"

/* One x87 instruction on the double with these bits; its result as 80 bits, zero-padded. */
#define X87(name, insns)                                                             \
	static void name(u64 bits, u8 out[16])                                       \
	{                                                                            \
		struct { u8 b[10]; } packed_struct r;                                \
		__asm__ volatile("fninit; fldl %1; " insns "; fstpt %0; fninit"      \
				 : "=m"(r) : "m"(bits));                             \
		memset(out, 0, 16);                                                  \
		memcpy(out, r.b, 10);                                                \
	}
X87(probe_sin, "fsin")
X87(probe_cos, "fcos")
X87(probe_tan, "fptan; fstp %%st(0)")
X87(probe_atan, "fld1; fpatan")
X87(probe_exp, "fld1; fadd %%st(0), %%st(0); fdivrp; f2xm1") /* argument halved: within -1..1 */
X87(probe_log, "fabs; fld1; fxch; fyl2x")

u64 float_probe(void)
{
	static void (*const probes[])(u64, u8 *) = { probe_sin, probe_cos, probe_tan, probe_atan, probe_exp, probe_log };
	u64 hash = 0, x = 0x9e3779b97f4a7c15UL;
	u8 result[16];

	for (unsigned i = 0; i < 96; i++) {
		u64 bits;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bits = (x & 0x800fffffffffffffUL) | (u64)(1013 + i % 10) << 52; /* 2^-10 to 1 */
		for (unsigned p = 0; p < ARRAY_SIZE(probes); p++) {
			probes[p](bits, result);
			hash = XXH64(result, sizeof(result), hash);
		}
	}
	return hash;
}
