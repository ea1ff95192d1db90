/*
 * lib.c - what the tiny test kernels share: see guest.h.
 *
 *   1  checksum, checks, the end
 *   2  console
 *   3  command line
 *   4  vectors
 *   5  devices
 *
 * All of it single-threaded and polled; nothing here enables interrupts.
 */
#include <stdarg.h>

#include "guest.h"

/* The compiler calls these for struct copies and the like. */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
void start_c(u64 start_info);

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int c, size_t n)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return to;
}

/* --- 1  checksum, checks, the end ---------------------------------------- */

u64 sum = 1;
static u64 nfailed;

void mix_bytes(const void *data, size_t n)
{
	const u8 *p = data;

	for (size_t i = 0; i + 8 <= n; i += 8)
		mix(*(const u64 *)(p + i));
	for (size_t i = n & ~7UL; i < n; i++)
		mix(p[i]);
}

void check_at(bool good, const char *what, int line)
{
	static u8 said[4096];

	if (good)
		return;
	nfailed++;
	if (!said[line % 4096]++) /* each check once */
		say("%s: FAILED line %u: %s\n", guest_name, (u64)line, what);
}

noreturn_fn void leave(u8 code)
{
	cli();
	outb(0xf4, code);
	for (;;)
		__asm__ volatile("hlt");
}

noreturn_fn void finish(void)
{
	cli();
	if (nfailed)
		say("%s: %u checks failed, checksum %x\n", guest_name, nfailed, sum);
	else
		say("%s: ok %x\n", guest_name, sum);
	leave(nfailed != 0);
}

/* --- 2  console ------------------------------------------------------------ */

#define COM1 0x3f8

void put_char(char c)
{
	if (c == '\n')
		put_char('\r');
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (u8)c);
}

static void put_number(u64 v, unsigned base)
{
	char text[24];
	unsigned n = 0;

	do
		text[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		put_char(text[--n]);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		switch (*++fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				put_char(*s);
			break;
		case 'x':
			put_number(va_arg(ap, u64), 16);
			break;
		case 'u':
			put_number(va_arg(ap, u64), 10);
			break;
		}
	}
	va_end(ap);
}

/* --- 3  command line --------------------------------------------------------- */

static char cmdline[512];

/* The start of the value of `key` where the line holds key=..., of "" for a bare word; or NULL. */
static const char *find_arg(const char *key)
{
	for (const char *p = cmdline; *p;) {
		const char *k = key;

		while (*k && *k == *p)
			k++, p++;
		if (!*k && (*p == '=' || *p == ' ' || !*p))
			return *p == '=' ? p + 1 : "";
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
	}
	return NULL;
}

bool arg_word(const char *word)
{
	return find_arg(word);
}

u64 arg_number(const char *key, u64 fallback)
{
	const char *p = find_arg(key);
	u64 v = 0;

	if (!p || *p < '0' || *p > '9')
		return fallback;
	while (*p >= '0' && *p <= '9')
		v = v * 10 + (u64)(*p++ - '0');
	return v;
}

bool on_reprise(void)
{
	u32 r[4];

	cpuid(0x40000000, 0, r);
	return r[1] == 0x72706552; /* "Repr" */
}

bool has_tsc_deadline(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[2] & 1 << 24;
}

/* --- 4  vectors --------------------------------------------------------------- */

handler_fn handlers[256];
struct gate idt[256] __attribute__((aligned(4096)));

void set_gate(unsigned vector, const void *entry, unsigned ist, unsigned type)
{
	u64 a = (u64)entry;

	idt[vector].low = (a & 0xffff) | SEL_CODE << 16 | (u64)ist << 32 | (u64)type << 40 | (a >> 16 & 0xffff) << 48;
	idt[vector].high = a >> 32;
}

void load_idt(const void *base, u16 limit)
{
	struct __attribute__((packed)) {
		u16 limit;
		u64 base;
	} r = { limit, (u64)base };

	__asm__ volatile("lidt %0" : : "m"(r));
}

void set_ist(unsigned n, void *stack_end)
{
	*(u64 *)(tss + 0x24 + (n - 1) * 8) = (u64)stack_end;
}

static void unexpected(struct frame *f)
{
	say("%s: FAILED: vector %u error %x rip %x rsp %x cr2 %x checksum %x\n", guest_name, f->vector, f->error, f->rip,
	    f->rsp, read_cr2(), sum);
	leave(2);
}

static void load_tss(void)
{
	u64 a = (u64)tss;

	*(u64 *)(tss + 4) = (u64)stack_top; /* RSP0; enter_user sets the real one */
	*(u16 *)(tss + 0x66) = 104;         /* no I/O bitmap */
	gdt[SEL_TSS / 8] = 103 | (a & 0xffffff) << 16 | 0x89UL << 40 | (a >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = a >> 32;
	__asm__ volatile("ltr %0" : : "r"((u16)SEL_TSS));
}

void start_c(u64 start_info)
{
	const char *p = (const char *)*(u64 *)(start_info + 24); /* cmdline_paddr */

	for (unsigned i = 0; p && p[i] && i < sizeof(cmdline) - 1; i++)
		cmdline[i] = p[i];
	for (unsigned i = 0; i < 256; i++) {
		handlers[i] = unexpected;
		set_gate(i, isr_stubs[i], 0, GATE_INTERRUPT);
	}
	load_tss();
	load_idt(idt, sizeof(idt) - 1);
	outb(COM1 + 1, 0);    /* no interrupts */
	outb(COM1 + 3, 3);    /* 8N1 */
	outb(COM1 + 2, 1);    /* FIFO */
	pic_init(0x20, 0xffff);
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_LINT0, LVT_MASKED | 0x700);
	guest_main();
	finish();
}

/* --- 5  devices ------------------------------------------------------------------ */

bool lapic_in_service(unsigned vector)
{
	return lapic_read(LAPIC_ISR + vector / 32 * 16) >> vector % 32 & 1;
}

bool lapic_requested(unsigned vector)
{
	return lapic_read(LAPIC_IRR + vector / 32 * 16) >> vector % 32 & 1;
}

void lapic_timer(unsigned mode, unsigned vector, u32 count)
{
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_TIMER, mode | vector);
	lapic_write(LAPIC_INITIAL, count);
}

void lapic_stop(void)
{
	lapic_write(LAPIC_TIMER, LVT_MASKED);
	lapic_write(LAPIC_INITIAL, 0);
}

void ipi_self(unsigned vector)
{
	lapic_write(LAPIC_ICR, 1 << 18 | 1 << 14 | vector);
}

u32 ioapic_read(unsigned reg)
{
	*(volatile u32 *)IOAPIC_BASE = reg;
	return *(volatile u32 *)(IOAPIC_BASE + 0x10);
}

void ioapic_write(unsigned reg, u32 v)
{
	*(volatile u32 *)IOAPIC_BASE = reg;
	*(volatile u32 *)(IOAPIC_BASE + 0x10) = v;
}

void ioapic_route(unsigned pin, u32 low)
{
	ioapic_write(0x10 + 2 * pin, LVT_MASKED);
	ioapic_write(0x11 + 2 * pin, lapic_read(LAPIC_ID) & 0xff000000);
	ioapic_write(0x10 + 2 * pin, low);
}

void pic_init(u8 base, u16 mask)
{
	outb(0x20, 0x11);
	outb(0xa0, 0x11);
	outb(0x21, base);
	outb(0xa1, (u8)(base + 8));
	outb(0x21, 4);
	outb(0xa1, 2);
	outb(0x21, 1);
	outb(0xa1, 1);
	outb(0x21, (u8)mask);
	outb(0xa1, (u8)(mask >> 8));
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(0xa0, 0x20);
	outb(0x20, 0x20);
}

/* Channel 0, low and high byte: mode 2 is the rate generator, mode 0 counts once. */
void pit_periodic(u16 divisor)
{
	outb(0x43, 0x34);
	outb(0x40, (u8)divisor);
	outb(0x40, (u8)(divisor >> 8));
}

void pit_once(u16 count)
{
	outb(0x43, 0x30);
	outb(0x40, (u8)count);
	outb(0x40, (u8)(count >> 8));
}

/* A mode without a count does not start. */
void pit_stop(void)
{
	outb(0x43, 0x30);
}

void rtc_write(u8 reg, u8 v)
{
	outb(0x70, reg);
	outb(0x71, v);
}

u8 rtc_read(u8 reg)
{
	outb(0x70, reg);
	return inb(0x71);
}
