/*
 * fpu.c - x87, MMX and SSE state, kept across interrupts and exits.
 *
 * A long calculation with everything that has state: the stack, control and
 * status words, MXCSR and its flags, denormals, the x87/MMX aliasing.  An
 * interrupt's handler saves all of it, spoils it, and puts it back; between,
 * instructions make a hypervisor exit.  The checksum is over FXSAVE images.
 */
#include "guest.h"

const char guest_name[] = "fpu";

#define ROUNDS 4000
#define TIMER 0x40

struct image {
	u8 bytes[512];
} __attribute__((aligned(16)));

static struct image saved, shown;
static u64 ticks, mf, xf, nm, resume;
static double cell[4] __attribute__((aligned(16)));
static float floats[8] __attribute__((aligned(16)));

static void mix_image(struct image *i)
{
	mix_bytes(i, 416); /* the rest is software's, or reserved */
}

static void on_timer(struct frame *f)
{
	ticks++;
	__asm__ volatile("fxsave64 %0" : "=m"(saved));
	mix_image(&saved);
	mix(rdtsc() ^ f->rip << 32);
	__asm__ volatile("fninit; fldpi; fld1; faddp; pcmpeqd %%xmm3, %%xmm3; movdqa %%xmm3, %%xmm11; emms; fld1; fsqrt" : :);
	__asm__ volatile("fxrstor64 %0" : : "m"(saved));
	lapic_eoi();
}

static void show(void)
{
	for (unsigned i = 0; i < sizeof(shown); i++)
		shown.bytes[i] = 0;
	__asm__ volatile("fxsave64 %0" : "=m"(shown));
	mix_image(&shown);
}

static void x87(u64 round)
{
	u64 n = round + 3;

	__asm__ volatile("fninit\n"
			 "fildll %0\n"
			 "fsqrt\n"
			 "fldpi\n"
			 "fmulp\n"
			 "fld %%st(0)\n"
			 "fsin\n"
			 "fld %%st(1)\n"
			 "fcos\n"
			 "cpuid\n"
			 "fpatan\n"
			 "fld1\n"
			 "fld %%st(2)\n"
			 "fabs\n"
			 "fyl2x\n"
			 "fxch\n"
			 "out %%al, $0x80\n"
			 "f2xm1\n"
			 "fxtract\n"
			 "fscale\n"
			 "fprem1\n"
			 "fld1\n"
			 "fptan\n"
			 "fincstp\n"
			 "fdecstp\n"
			 "frndint\n"
			 : : "m"(n) : "rax", "rbx", "rcx", "rdx", "memory");
	show();
	__asm__ volatile("fstpt %0; fbstp %1" : "=m"(shown.bytes[0]), "=m"(shown.bytes[32]));
	mix_bytes(&shown, 64);
}

/* Rounding and precision of the control word. */
static void control(u64 round)
{
	u16 cw = (u16)(0x37f ^ (round % 4) << 10 ^ (round % 3 ? 0x100 : 0));
	u64 n = round * round + 1;

	__asm__ volatile("fldcw %0; fildll %1; fld1; fadd %%st, %%st; fdivrp; fsqrt; fistpll %1" : "+m"(cw), "+m"(n) : : );
	mix(n);
	show();
	__asm__ volatile("fnstsw %0; fnclex; fninit" : "=m"(cw));
	mix(cw);
}

static void mmx(u64 round)
{
	u64 v = round * 0x0123456789abcdefUL;

	__asm__ volatile("movq %0, %%mm0; movq %%mm0, %%mm7; paddb %%mm0, %%mm7; pmaddwd %%mm7, %%mm0;"
			 "punpcklbw %%mm7, %%mm0; movq %%mm0, %0" : "+m"(v) : : "memory");
	mix(v);
	show(); /* seen through x87: tags full, exponents all ones */
	__asm__ volatile("emms");
}

static void sse(u64 round)
{
	u32 csr = (u32)(0x1f80 ^ (round % 4) << 13 ^ (round % 5 == 0 ? 0x8040 : 0)); /* rounding; FTZ and DAZ */

	cell[0] = 0;
	*(u64 *)&cell[1] = 1 + round;                 /* a denormal */
	*(u64 *)&cell[2] = 0x3ff0000000000000 + round;
	*(u64 *)&cell[3] = 0x0010000000000000 + round; /* the smallest normal */
	*(u32 *)&floats[0] = 0x00000001 + (u32)round;
	*(u32 *)&floats[1] = 0x7f7fffff;
	*(u32 *)&floats[2] = 0xff800000;
	*(u32 *)&floats[3] = 0x40490fdb + (u32)round;
	__asm__ volatile("ldmxcsr %0\n"
			 "movapd 16+%1, %%xmm0\n"
			 "movapd %1, %%xmm1\n"
			 "mulpd %%xmm0, %%xmm1\n"
			 "sqrtpd %%xmm0, %%xmm2\n"
			 "divpd %%xmm0, %%xmm2\n"
			 "in $0x80, %%al\n"
			 "movaps %2, %%xmm3\n"
			 "mulps %%xmm3, %%xmm3\n"
			 "rsqrtps %%xmm3, %%xmm4\n"
			 "cvtps2pd %%xmm3, %%xmm5\n"
			 "cvtpd2dq %%xmm2, %%xmm6\n"
			 "pmuludq %%xmm6, %%xmm5\n"
			 "pshufd $0x1b, %%xmm5, %%xmm15\n"
			 "cpuid\n"
			 "addpd %%xmm15, %%xmm8\n"
			 "stmxcsr %0\n"
			 : "+m"(csr), "+m"(cell), "+m"(floats) : : "rax", "rbx", "rcx", "rdx", "memory");
	mix(csr);
	show();
	csr = 0x1f80;
	__asm__ volatile("ldmxcsr %0; xorps %%xmm8, %%xmm8" : : "m"(csr));
}

static void on_mf(struct frame *f)
{
	u16 sw;

	__asm__ volatile("fnstsw %0; fnclex" : "=m"(sw));
	mf++;
	mix(sw ^ f->rip << 16);
}

static void on_xf(struct frame *f)
{
	xf++;
	mix(f->rip);
	f->rip = resume;
}

static void on_nm(struct frame *f)
{
	nm++;
	mix(f->rip);
	__asm__ volatile("clts");
}

static void exceptions(u64 round)
{
	u16 cw = 0x37b; /* zero divide not masked */
	u32 csr = 0x1d80;
	u64 one = round | 1;
	u32 zero = 0;

	__asm__ volatile("fninit; fldcw %0; fildll %1; fidivl %2; nop; fwait; fninit" : : "m"(cw), "m"(one), "m"(zero));
	__asm__ volatile("movq $1f, %0; ldmxcsr %1; cvtsi2sdq %2, %%xmm1; xorpd %%xmm2, %%xmm2; divsd %%xmm2, %%xmm1; 1:"
			 : "+m"(resume) : "m"(csr), "m"(one) : "memory");
	csr = 0x1f80;
	__asm__ volatile("ldmxcsr %0" : : "m"(csr));
	write_cr0(read_cr0() | 8); /* TS */
	__asm__ volatile("fld1; fstp %%st(0)" : :);
	check(mf == round + 1 && nm == round + 1);
	mix(xf); /* QEMU raises none */
}

void guest_main(void)
{
	handlers[TIMER] = on_timer;
	handlers[7] = on_nm;
	handlers[16] = on_mf;
	handlers[19] = on_xf;
	__asm__ volatile("fninit; pxor %%xmm8, %%xmm8" : :);
	lapic_timer(TIMER_PERIODIC, TIMER, 1511);
	for (u64 round = 0; round < ROUNDS; round++) {
		sti();
		x87(round);
		control(round);
		mmx(round);
		sse(round);
		cli();
		exceptions(round);
	}
	lapic_stop();
	check(ticks > 100);
	mix(ticks);
}
