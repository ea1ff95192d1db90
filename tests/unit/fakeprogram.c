/*
 * fakeprogram.c - random guest programs for fakeworld.h.
 *
 * A program sets up the PIC, the PIT, the UART, the RTC and the APICs in a
 * random way, then goes round a loop of random instructions and device
 * accesses, and ends in one of the ways a guest ends.  Interrupt handlers
 * add what they see (the TSC, the byte received) to sums in memory, and every
 * delivery leaves its return address on the stack: an interrupt one
 * instruction early changes the digest.
 */
#include "tests/unit/fakeworld.h"
#include "vmm/dev/debugexit.h"

enum {
	AX, CX, DX, BX, SP, BP, SI, DI,
	COUNTERS = WORLD_DATA + 0x1000, /* one a vector */
	SUMS = WORLD_DATA + 0x2000,
	LOOPS = WORLD_DATA + 0x2100,
	LAPIC = 0xfee00000, IOAPIC = 0xfec00000,
	VECTOR_LAPIC_TIMER = 0x41, VECTOR_IOAPIC_UART = 0x54, VECTOR_IOAPIC_PIT = 0x62,
};

struct gen {
	struct rng r;
	u8 *out;
	u32 at, room, base; /* base: guest address of out[0] */
};

static void e8(struct gen *g, unsigned b)
{
	if (g->at < g->room)
		g->out[g->at++] = (u8)b;
}

static void e32(struct gen *g, u32 v)
{
	for (int i = 0; i < 4; i++)
		e8(g, v >> (8 * i));
}

static u64 below(struct gen *g, u64 n)
{
	return rng_below(&g->r, n);
}

static bool chance(struct gen *g, unsigned percent)
{
	return rng_chance(&g->r, percent);
}

/* --- pieces --- */

static void mov_imm(struct gen *g, unsigned r, u32 v)
{
	e8(g, 0xb8 + r);
	e32(g, v);
}

/* 8B: load, 89: store, 01: add to memory. */
static void at_address(struct gen *g, unsigned op, unsigned r, u32 at)
{
	e8(g, op);
	e8(g, 0x05 | r << 3);
	e32(g, at);
}

static void store_imm(struct gen *g, u32 at, u32 v)
{
	e8(g, 0xc7);
	e8(g, 0x05);
	e32(g, at);
	e32(g, v);
}

static void out_imm(struct gen *g, unsigned port, unsigned v)
{
	if (port < 256) {
		mov_imm(g, AX, v);
		e8(g, 0xe6);
		e8(g, port);
		return;
	}
	mov_imm(g, DX, port);
	mov_imm(g, AX, v);
	e8(g, 0xee);
}

static void in_al(struct gen *g, unsigned port)
{
	mov_imm(g, DX, port);
	e8(g, 0xec);
}

static void rdtsc(struct gen *g)
{
	e8(g, 0x0f);
	e8(g, 0x31);
}

static void wrmsr(struct gen *g, u32 index)
{
	mov_imm(g, CX, index);
	e8(g, 0x0f);
	e8(g, 0x30);
}

static void push_pop(struct gen *g, unsigned op, unsigned r)
{
	e8(g, op + r);
}

/* --- handlers --- */

static void count_it(struct gen *g, unsigned vector)
{
	rdtsc(g);
	at_address(g, 0x01, AX, SUMS + vector % 16 * 4);
	mov_imm(g, AX, 1);
	at_address(g, 0x01, AX, COUNTERS + vector * 4);
}

static void serve_uart(struct gen *g)
{
	in_al(g, 0x3fa);
	at_address(g, 0x01, AX, SUMS + 64);
	in_al(g, 0x3f8);
	at_address(g, 0x01, AX, SUMS + 68);
	if (chance(g, 60)) { /* echo */
		mov_imm(g, DX, 0x3f8);
		e8(g, 0xee);
	}
}

static void serve_rtc(struct gen *g)
{
	out_imm(g, 0x70, 0x0c);
	in_al(g, 0x71);
	at_address(g, 0x01, AX, SUMS + 72);
}

static void end_of_interrupt(struct gen *g, unsigned vector)
{
	if (vector >= 0x40) {
		store_imm(g, LAPIC + 0xb0, 0);
		return;
	}
	if (vector >= 0x28)
		out_imm(g, 0xa0, 0x20);
	out_imm(g, 0x20, 0x20);
}

static void irq_handler(struct gen *g, unsigned vector, bool with_eoi)
{
	push_pop(g, 0x50, AX);
	push_pop(g, 0x50, DX);
	if (chance(g, 20))
		e8(g, 0xfb); /* nested at once: another controller's interrupt may wait */
	count_it(g, vector);
	if (chance(g, 20))
		e8(g, 0xfb);
	if (vector == 0x24 || vector == VECTOR_IOAPIC_UART)
		serve_uart(g);
	if (vector == 0x28)
		serve_rtc(g);
	if (with_eoi && chance(g, 95))
		end_of_interrupt(g, vector);
	push_pop(g, 0x58, DX);
	push_pop(g, 0x58, AX);
	e8(g, 0xcf);
}

/* Skips the three bytes of the instruction that raised it. */
static void exception_handler(struct gen *g, unsigned vector, bool has_error)
{
	if (has_error) {
		e8(g, 0x83); /* ADD esp, 4 */
		e8(g, 0xc4);
		e8(g, 4);
	}
	push_pop(g, 0x50, AX);
	push_pop(g, 0x50, DX);
	count_it(g, vector);
	push_pop(g, 0x58, DX);
	push_pop(g, 0x58, AX);
	e8(g, 0x83); /* ADD dword [esp], 3 */
	e8(g, 0x44);
	e8(g, 0x24);
	e8(g, 0);
	e8(g, 3);
	e8(g, 0xcf);
}

static void make_handlers(struct program *p, struct gen *g)
{
	bool aeoi = false;

	*g = (struct gen){ g->r, p->handlers, 0, sizeof(p->handlers), WORLD_HANDLERS };
	for (unsigned v = 0; v < 256; v++) {
		bool known = v < 32 || (v >= 0x20 && v < 0x30) || v == VECTOR_LAPIC_TIMER || v == VECTOR_IOAPIC_UART ||
			     v == VECTOR_IOAPIC_PIT || v == 0x80;

		if (!known) { /* all the others share the last one */
			memcpy(p->idt + v * 8, p->idt + 0x2f * 8, 8);
			continue;
		}
		if (chance(g, 10))
			g->at = MIN(ALIGN_UP(g->at, 4096U) - 3, g->room - 512); /* across a page */
		fake_gate(p->idt + v * 8, g->base + g->at, chance(g, 15) && v >= 32);
		if (v < 32)
			exception_handler(g, v, v == 8 || (v >= 10 && v <= 14) || v == 17);
		else
			irq_handler(g, v, !aeoi && v != 0x80);
	}
	p->handlers_size = g->at;
}

/* --- setting the machine up --- */

static void setup_pic(struct gen *g)
{
	unsigned icw4 = 1 | (chance(g, 20) ? 2 : 0); /* automatic EOI now and then */

	out_imm(g, 0x20, 0x11);
	out_imm(g, 0x21, 0x20);
	out_imm(g, 0x21, 0x04);
	out_imm(g, 0x21, icw4);
	out_imm(g, 0xa0, 0x11);
	out_imm(g, 0xa1, 0x28);
	out_imm(g, 0xa1, 0x02);
	out_imm(g, 0xa1, 1);
	out_imm(g, 0x21, chance(g, 70) ? 0xea : (unsigned)below(g, 256)); /* PIT, UART, cascade */
	out_imm(g, 0xa1, chance(g, 70) ? 0xfe : 0xff);
	if (chance(g, 10))
		out_imm(g, 0x20, 0x68); /* special mask mode */
}

static void setup_pit(struct gen *g)
{
	static const u8 modes[] = { 0x30, 0x34, 0x36, 0x32 };
	unsigned ticks = chance(g, 70) ? 3 + (unsigned)below(g, 60) : (unsigned)below(g, 3000);

	out_imm(g, 0x43, modes[below(g, 4)]);
	out_imm(g, 0x40, ticks & 0xff);
	out_imm(g, 0x40, ticks >> 8);
}

static void setup_uart(struct gen *g)
{
	static const u8 fcr[] = { 0, 1, 0x07, 0x41, 0xc1 };

	if (chance(g, 80)) {
		out_imm(g, 0x3fb, 0x83);
		out_imm(g, 0x3f8, 1);
		out_imm(g, 0x3f9, 0);
	}
	out_imm(g, 0x3fb, 0x03);
	out_imm(g, 0x3fa, fcr[below(g, ARRAY_SIZE(fcr))]);
	if (chance(g, 85))
		out_imm(g, 0x3f9, chance(g, 70) ? 1 : (unsigned)below(g, 16));
}

static void setup_rtc(struct gen *g)
{
	out_imm(g, 0x70, 0x0a);
	out_imm(g, 0x71, 0x20 | (3 + (unsigned)below(g, 6)));
	out_imm(g, 0x70, 0x0b);
	out_imm(g, 0x71, 0x42);
	out_imm(g, 0x70, 0x0c);
	in_al(g, 0x71);
}

static void ioapic_entry(struct gen *g, unsigned pin, u32 low)
{
	store_imm(g, IOAPIC, 0x11 + 2 * pin);
	store_imm(g, IOAPIC + 0x10, 0);
	store_imm(g, IOAPIC, 0x10 + 2 * pin);
	store_imm(g, IOAPIC + 0x10, low);
}

static void setup_apics(struct gen *g)
{
	static const u32 modes[] = { 0, 0x20000, 0x40000 };

	store_imm(g, LAPIC + 0xf0, 0x1ff);
	if (chance(g, 80)) {
		store_imm(g, LAPIC + 0x3e0, chance(g, 50) ? 0xb : (u32)below(g, 12));
		store_imm(g, LAPIC + 0x320, modes[below(g, 3)] | VECTOR_LAPIC_TIMER);
		store_imm(g, LAPIC + 0x380, 200 + (u32)below(g, chance(g, 50) ? 3000 : 60000));
	}
	if (chance(g, 40))
		ioapic_entry(g, 4, VECTOR_IOAPIC_UART | (chance(g, 30) ? 1 << 15 : 0));
	if (chance(g, 40))
		ioapic_entry(g, 2, VECTOR_IOAPIC_PIT);
}

/* --- the body --- */

static unsigned any_reg(struct gen *g)
{
	static const u8 regs[] = { AX, CX, DX, BX, BP, SI, DI };
	return regs[below(g, ARRAY_SIZE(regs))];
}

static u32 any_data(struct gen *g)
{
	u32 base = chance(g, 20) ? WORLD_HIGH_DATA : WORLD_DATA + 0x4000;
	return base + (u32)below(g, chance(g, 50) ? 0x200 : 0x10000);
}

static void arithmetic(struct gen *g)
{
	static const u8 ops[] = { 0x01, 0x29, 0x31, 0x89 };

	switch (below(g, 5)) {
	case 0:
		mov_imm(g, any_reg(g), (u32)rng_next(&g->r));
		break;
	case 1:
		e8(g, 0x69);
		e8(g, 0xc0 | any_reg(g) << 3 | any_reg(g));
		e32(g, (u32)rng_next(&g->r) | 1);
		break;
	case 2:
		e8(g, 0xc1);
		e8(g, 0xc0 | any_reg(g));
		e8(g, (unsigned)below(g, 32));
		break;
	case 3:
		e8(g, (chance(g, 50) ? 0x40 : 0x48) + any_reg(g));
		break;
	default:
		e8(g, ops[below(g, 4)]);
		e8(g, 0xc0 | any_reg(g) << 3 | any_reg(g));
	}
}

static void memory(struct gen *g)
{
	static const u8 ops[] = { 0x8b, 0x89, 0x01 };
	u32 at = any_data(g);

	if (chance(g, 15)) /* across a page */
		at = (u32)ALIGN_UP(at, PAGE_SIZE) - 1 - (u32)below(g, 3);
	if (chance(g, 30)) {
		unsigned base = chance(g, 50) ? SI : BX;

		mov_imm(g, base, at - 100);
		e8(g, ops[below(g, 3)]);
		e8(g, 0x80 | any_reg(g) << 3 | base);
		e32(g, 100);
		return;
	}
	at_address(g, ops[below(g, 3)], any_reg(g), at);
}

/* A store into the page it runs in, next to it or into an instruction to come. */
static void store_into_code(struct gen *g)
{
	if (chance(g, 50)) { /* the immediate of the MOV right behind */
		u32 immediate = g->base + g->at + 6 + 1;

		at_address(g, 0x89, any_reg(g), immediate);
		mov_imm(g, any_reg(g), 0);
		return;
	}
	e8(g, 0xeb);
	e8(g, 8);
	u32 hole = g->base + g->at;

	for (int i = 0; i < 8; i++)
		e8(g, 0);
	at_address(g, chance(g, 50) ? 0x89 : 0x01, any_reg(g), hole + (u32)below(g, 4));
}

static void device_access(struct gen *g)
{
	static const u16 reads[] = { 0x20, 0x21, 0xa0, 0x40, 0x42, 0x61, 0x71, 0x3f8, 0x3fa, 0x3fd, 0x3fe, 0x64, 0x60,
				     0x92, 0x608, 0x600, 0x80, 0x1234, 0x4d0 };

	switch (below(g, 8)) {
	case 0:
		out_imm(g, 0x3f8, 'a' + (unsigned)below(g, 26));
		break;
	case 1:
		out_imm(g, 0x43, 0); /* latch channel 0, read it */
		in_al(g, 0x40);
		e8(g, 0xec);
		break;
	case 2:
		out_imm(g, 0x70, (unsigned)below(g, 128));
		in_al(g, 0x71);
		break;
	case 3: /* wait for input as one who polls does */
		in_al(g, 0x3fd);
		for (unsigned i = 0; i < 16; i++)
			e8(g, 0xec);
		in_al(g, 0x3f8);
		break;
	case 4:
		if (chance(g, 30))
			setup_pit(g);
		break;
	case 5:
		mov_imm(g, DX, 0x608);
		e8(g, 0xed); /* the ACPI timer, four bytes */
		break;
	default:
		in_al(g, reads[below(g, ARRAY_SIZE(reads))]);
	}
	at_address(g, 0x01, AX, SUMS + 80);
}

static void apic_access(struct gen *g)
{
	switch (below(g, 6)) {
	case 0:
		at_address(g, 0x8b, AX, LAPIC + 0x390);
		break;
	case 1:
		store_imm(g, LAPIC + 0x380, 100 + (u32)below(g, 20000));
		break;
	case 2:
		store_imm(g, LAPIC + 0x80, (u32)below(g, 5) << 4);
		break;
	case 3:
		at_address(g, 0x8b, any_reg(g), LAPIC + (u32)below(g, 64) * 16);
		break;
	case 4: /* a TSC deadline */
		rdtsc(g);
		e8(g, 0x83);
		e8(g, 0xc0);
		e8(g, 0x7f);
		wrmsr(g, 0x6e0);
		break;
	default:
		store_imm(g, IOAPIC, 0x10 + (u32)below(g, 48));
		at_address(g, 0x8b, any_reg(g), IOAPIC + 0x10);
	}
	at_address(g, 0x01, AX, SUMS + 84);
}

static void flags_and_shadows(struct gen *g)
{
	switch (below(g, 6)) {
	case 0:
		e8(g, 0xfa);
		for (u64 n = below(g, 8); n; n--)
			arithmetic(g);
		e8(g, 0xfb);
		memory(g);
		break;
	case 1:
		e8(g, 0x8e); /* MOV SS, AX */
		e8(g, 0xd0);
		memory(g);
		break;
	case 2:
		e8(g, 0x9c);
		e8(g, 0xfa);
		arithmetic(g);
		e8(g, 0x9d);
		break;
	case 3: /* the shadow over something that exits */
		e8(g, 0xfa);
		arithmetic(g);
		e8(g, 0xfb);
		if (chance(g, 50))
			device_access(g);
		else
			apic_access(g);
		break;
	case 4:
		e8(g, 0xfa);
		e8(g, 0xfb);
		store_into_code(g);
		break;
	default:
		e8(g, 0xfa);
		e8(g, 0xfb);
		e8(g, 0xfa);
		e8(g, 0xfb);
	}
}

static void strings(struct gen *g)
{
	push_pop(g, 0x50, DI);
	mov_imm(g, CX, (u32)below(g, 40));
	mov_imm(g, SI, any_data(g));
	mov_imm(g, DI, any_data(g));
	switch (below(g, 4)) {
	case 0:
		mov_imm(g, DX, 0x3f8);
		e8(g, 0xf3);
		e8(g, 0x6e);
		break;
	case 1:
		mov_imm(g, DX, chance(g, 50) ? 0x3f8 : 0x40);
		e8(g, 0xf3);
		e8(g, 0x6c);
		break;
	default:
		e8(g, 0xf3);
		e8(g, 0xa4);
	}
	push_pop(g, 0x58, DI);
}

/* Three bytes each: the handlers skip that much. */
static void faulting(struct gen *g)
{
	switch (below(g, 5)) {
	case 0:
		e8(g, 0x0f);
		e8(g, 0x0b);
		break;
	case 1:
		mov_imm(g, BX, (u32)below(g, 2));
		e8(g, 0xf7);
		e8(g, 0xf3);
		break;
	case 2:
		mov_imm(g, CX, 0xdead);
		e8(g, 0x0f);
		e8(g, 0x32);
		break;
	case 3:
		e8(g, 0x0f);
		e8(g, 0x01);
		e8(g, 0xd9);
		return;
	default:
		mov_imm(g, AX, 0xff); /* no memory types */
		mov_imm(g, DX, 0);
		wrmsr(g, 0x277);
	}
	e8(g, 0x90);
}

static void processor(struct gen *g)
{
	switch (below(g, 7)) {
	case 0:
		mov_imm(g, AX, chance(g, 50) ? (u32)below(g, 32) : 0x80000000 + (u32)below(g, 10));
		e8(g, 0x0f);
		e8(g, 0xa2);
		break;
	case 1:
		rdtsc(g);
		at_address(g, 0x01, AX, SUMS + 76);
		break;
	case 2:
		mov_imm(g, CX, chance(g, 50) ? 0x10 : 0x3b);
		e8(g, 0x0f);
		e8(g, 0x32);
		at_address(g, 0x01, AX, SUMS + 76);
		break;
	case 3:
		mov_imm(g, AX, (u32)below(g, 100000));
		mov_imm(g, DX, 0);
		wrmsr(g, chance(g, 50) ? 0x3b : 0x10);
		break;
	case 4:
		e8(g, 0x0f);
		e8(g, 0x09);
		break;
	case 5:
		e8(g, 0xcd);
		e8(g, 0x80);
		break;
	default:
		faulting(g);
	}
}

static void block(struct gen *g, unsigned depth);

static void small_loop(struct gen *g, unsigned depth)
{
	u32 start;

	mov_imm(g, CX, 1 + (u32)below(g, 20));
	start = g->at;
	push_pop(g, 0x50, CX);
	for (u64 n = below(g, 3); n; n--)
		block(g, depth + 1);
	push_pop(g, 0x58, CX);
	if (g->at + 2 - start < 128) {
		e8(g, 0xe2);
		e8(g, (start - (g->at + 1)) & 0xff);
	}
}

static void skip_maybe(struct gen *g, unsigned depth)
{
	u32 at;

	e8(g, chance(g, 50) ? 0x74 : 0x75);
	e8(g, 0);
	at = g->at;
	block(g, depth + 1);
	if (g->at - at < 128)
		g->out[at - 1] = (u8)(g->at - at);
}

static void sleep_till_interrupt(struct gen *g)
{
	if (chance(g, 70))
		e8(g, 0xfb);
	e8(g, 0xf4);
}

static void block(struct gen *g, unsigned depth)
{
	u64 what = below(g, 100);

	if (what < 30 || depth > 3)
		arithmetic(g);
	else if (what < 45)
		memory(g);
	else if (what < 52)
		store_into_code(g);
	else if (what < 62)
		device_access(g);
	else if (what < 67)
		apic_access(g);
	else if (what < 74)
		flags_and_shadows(g);
	else if (what < 78)
		strings(g);
	else if (what < 86)
		processor(g);
	else if (what < 91)
		small_loop(g, depth);
	else if (what < 95)
		skip_maybe(g, depth);
	else
		sleep_till_interrupt(g);
}

/* --- the ways a guest ends --- */

static void ending(struct gen *g)
{
	switch (below(g, 7)) {
	case 0:
	case 1:
		out_imm(g, DEBUGEXIT_PORT, (unsigned)below(g, 256));
		break;
	case 2: /* ACPI: sleep type 5, enable */
		mov_imm(g, DX, ACPIPM_PM1_CNT);
		mov_imm(g, AX, 0x2000);
		e8(g, 0xef);
		break;
	case 3:
		e8(g, 0xfa);
		e8(g, 0xf4);
		break;
	case 4: /* no gate for INT3's vector any more */
		store_imm(g, WORLD_IDT + 3 * 8 + 4, 0);
		e8(g, 0xcd);
		e8(g, 3);
		break;
	case 5:
		out_imm(g, 0x64, 0xfe); /* the keyboard controller resets */
		break;
	}
	e8(g, 0xfb); /* still here: idle until a limit, or for ever */
	e8(g, 0xf4);
	e8(g, 0xeb);
	e8(g, 0xfc);
}

static void make_code(struct program *p, struct gen *g)
{
	u32 loop, patch;

	*g = (struct gen){ g->r, p->code, 0, sizeof(p->code) - 256, WORLD_CODE };
	setup_pic(g);
	if (chance(g, 80))
		setup_pit(g);
	if (chance(g, 80))
		setup_uart(g);
	if (chance(g, 20))
		setup_rtc(g);
	if (chance(g, 60))
		setup_apics(g);
	store_imm(g, LOOPS, 1 + (u32)below(g, chance(g, 50) ? 3 : 30));
	e8(g, 0xfb);
	loop = g->at;
	for (u64 n = 5 + below(g, chance(g, 50) ? 30 : 120); n; n--)
		block(g, 0);
	mov_imm(g, AX, ~0U);
	at_address(g, 0x01, AX, LOOPS);
	e8(g, 0x74); /* JZ over the jump back */
	e8(g, 5);
	e8(g, 0xe9);
	patch = loop - (g->at + 4);
	e32(g, patch);
	g->room = sizeof(p->code);
	ending(g);
	p->size = g->at;
}

static void make_program(struct program *p, struct rng *r)
{
	struct gen g = { .r = *r };

	make_handlers(p, &g);
	make_code(p, &g);
	*r = g.r;
}

void plan_random(struct plan *p, u64 seed)
{
	struct rng r = rng_of(seed);
	u64 poll = 20 + rng_below(&r, 1500);

	memset(p, 0, sizeof(*p));
	p->seed = seed;
	p->config = (struct vm_config){
		.mem_bytes = WORLD_MEM, .ncpus = 1, .seed = seed, .rtc_epoch_s = 1735689600,
		.ns_per_insn = rng_chance(&r, 50) ? 1 : 1 + rng_below(&r, 200),
		.poll_insns = poll, .epoch_insns = poll * (1 + rng_below(&r, 6)),
		.limit_insns = 2000 + rng_below(&r, 12000),
		/* Without it one that halts with a masked timer running idles for ever. */
		.limit_vtime_ns = 100000 + rng_below(&r, 10000000),
	};
	p->quirks = (struct fake_host_quirks){ .says_length = rng_chance(&r, 50), .tsc_exits = rng_chance(&r, 50),
					       .keeps_shadow = rng_chance(&r, 50) };
	p->supply = rng_chance(&r, 15) ? 0 : (u32)rng_below(&r, rng_chance(&r, 10) ? 9000 : 400);
	p->arrival_percent = (unsigned)rng_below(&r, 60);
	p->burst = rng_chance(&r, 20) ? 1024 : 1 + (unsigned)rng_below(&r, 40);
	p->closes = rng_chance(&r, 60);
	p->patience = 20 + rng_below(&r, 400);
	p->quit_at_look = rng_chance(&r, 10) ? 1 + rng_below(&r, 60) : 0;
	if (p->supply && !p->arrival_percent)
		p->arrival_percent = 1;
	make_program(&p->program, &r);
	p->ndisks = rng_chance(&r, 40) ? 1 + (unsigned)rng_below(&r, WORLD_DISKS) : 0;
	for (unsigned i = 0; i < p->ndisks; i++) {
		p->disk[i].nsectors = 1 + rng_below(&r, 3 * DISK_REGION_SECTORS);
		p->disk[i].seed = rng_next(&r);
		p->disk[i].room_bytes = (1 + rng_below(&r, 2)) * CHUNK_SIZE;
	}
}
