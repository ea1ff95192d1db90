/*
 * modes.c - a tour through every mode of the processor, again and again, with
 * a timer's interrupts in each of them.  The tour is in modes_switch.S.
 *
 * Segment limits are left alone: QEMU checks none.
 */
#include "guest.h"
#include "modes.h"

const char guest_name[] = "modes";

#define ROUNDS 60
#define PIT_DIVISOR 7 /* 5.9 us */

extern u8 low_start[], low_end[], tick16[], call16[], tick32[], fail32[], v86_done[], tss32[];
extern u64 idt32[256], pae_pdpt[4];
extern u32 flat_pd[1024];
void tour(void);

/* Below 4 KiB the compiler suspects every pointer. */
static volatile u32 *low(u64 at)
{
	__asm__("" : "+r"(at));
	return (volatile u32 *)at;
}
static u64 ticks64;

static void on_tick64(struct frame *f)
{
	if (f->cs == SEL_CODE)
		ticks64++;
	else
		++*low(LOG_TICKS); /* compatibility mode */
	mix(rdtsc() ^ f->cs << 48);
	mix(f->rip);
	pic_eoi(0);
}

static void set_gate32(unsigned vector, const u8 *entry, unsigned type)
{
	u64 a = (u64)entry;

	idt32[vector] = (a & 0xffff) | SEL_CODE32 << 16 | (u64)type << 40 | (a >> 16 & 0xffff) << 48;
}

static void set_vector16(unsigned vector, const u8 *entry)
{
	*low(vector * 4) = (u32)(LOW + (entry - low_start)); /* segment 0 */
}

static void prepare(void)
{
	u64 t = (u64)tss32;

	for (u8 *from = low_start, *to = (u8 *)(u64)low(LOW); from < low_end;)
		*to++ = *from++;
	for (unsigned i = 0; i < 256; i++)
		set_gate32(i, fail32, 0x8e);
	set_gate32(0x20, tick32, 0x8e);
	set_gate32(0x61, v86_done, 0xee);
	set_vector16(0x20, tick16);
	set_vector16(0x62, call16);
	for (unsigned i = 0; i < 4; i++)
		pae_pdpt[i] = ((u64)boot_pd + i * 4096) | 1;
	for (u32 i = 0; i < 1024; i++)
		flat_pd[i] = i << 22 | 0x87;
	gdt[SEL_BASED / 8] = 0x004093000000ffffUL | FS_BASE << 16;
	gdt[SEL_LAPIC / 8] = 0xfe4093e000000fff;
	*(u16 *)(tss32 + 102) = 104; /* the I/O bitmap: all allowed up to port 3ffh */
	tss32[104 + 128] = 0xff;
	gdt[SEL_TSS32 / 8] = (104 + 128) | (t & 0xffffff) << 16 | 0x89UL << 40 | (t >> 24 & 0xff) << 56;
	for (unsigned i = 0; i < 0x100; i++)
		((volatile u8 *)low(LOG_SOURCE))[i] = (u8)(i * 37 + 11);
}

/* LTR makes a TSS busy. */
static void load_task(void)
{
	gdt[SEL_TSS32 / 8] &= ~(2UL << 40);
	gdt[SEL_TSS / 8] &= ~(2UL << 40);
	__asm__ volatile("ltr %0" : : "r"((u16)SEL_TSS));
}

static void work64(void)
{
	u64 until = ticks64 + 2, x = 1;

	while (ticks64 < until) {
		u64 c = 20, s = LOG_SOURCE, d = LOG_TARGET;

		sti();
		__asm__ volatile("addr32 rep movsb" : "+c"(c), "+S"(s), "+D"(d) : : "memory");
		x = x * 31 + s + *low(LOG_TARGET + 4);
		cli();
	}
	mix(x);
	sti_hlt();
}

void guest_main(void)
{
	prepare();
	handlers[0x20] = on_tick64;
	lapic_write(LAPIC_LINT0, 0x700); /* ExtINT */
	pic_init(0x20, 0xfffe);
	pit_periodic(PIT_DIVISOR);
	for (unsigned round = 0; round < ROUNDS; round++) {
		u32 before = *low(LOG_TICKS);

		work64();
		tour();
		load_task();
		check(*low(LOG_TICKS) >= before + 2 * (NMODES - 1));
		for (unsigned i = 0; i < NMODES; i++)
			mix(low(LOG_SUMS)[i]);
		mix(*low(LOG_SUM));
		check(low(LOG_SUMS)[0] != 0);
	}
	pit_stop();
	mix(*low(LOG_TICKS));
	mix(ticks64);
	mix_bytes((void *)(u64)low(LOG_TARGET), 0x100);
}
