/*
 * test_uart.c - the 16550A as drivers see it.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/uart.h"

#define BASE 0x3f8
#define CHAR_NS_9600 1041666UL /* ten bits at divisor 12 */

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

struct rig {
	struct vclock clock;
	struct uart uart;
	bool level;
	unsigned nrises;
	u8 sent[8192];
	size_t nsent;
};

static void rig_set(void *ctx, unsigned pin, bool level)
{
	struct rig *r = ctx;

	cr_assert_eq(pin, 4);
	r->nrises += level && !r->level;
	r->level = level;
}

static void rig_put(void *ctx, const void *data, size_t size)
{
	struct rig *r = ctx;

	if (r->nsent + size <= sizeof(r->sent))
		memcpy(r->sent + r->nsent, data, size);
	r->nsent += size;
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	uart_init(&r->uart, &r->clock, BASE, (struct irq_line){ rig_set, r, 4 }, (struct outlet){ rig_put, r });
}

static u8 in(struct rig *r, unsigned reg)
{
	return (u8)uart_ops.read(&r->uart, IO_PORT, BASE + reg, 1);
}

static void out(struct rig *r, unsigned reg, u8 value)
{
	uart_ops.write(&r->uart, IO_PORT, BASE + reg, 1, value);
}

static void feed(struct rig *r, const char *s)
{
	uart_ops.input(&r->uart, s, strlen(s));
}

static void pass(struct rig *r, u64 ns)
{
	check_run_clock(&r->clock, r->clock.now_ns + ns);
}

/* Interrupt-driven, and the gate's one character time has passed. */
static void listen_with(struct rig *r, u8 fcr)
{
	out(r, FCR, fcr);
	out(r, IER, 0x01);
	pass(r, CHAR_NS_9600 + 1);
}

Test(uart, transmits_at_once)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(in(&r, LSR), 0x60);
	out(&r, DATA, 'h');
	cr_assert_eq(in(&r, LSR), 0x60);
	out(&r, DATA, 'i');
	cr_assert_eq(r.nsent, 2);
	cr_assert_arr_eq(r.sent, "hi", 2);
	cr_assert_eq(r.level, false);
}

Test(uart, thre_interrupt)
{
	struct rig r;

	rig_init(&r);
	out(&r, IER, 0x02);
	cr_assert(r.level, "enabling it with THR empty raises it");
	cr_assert_eq(in(&r, IIR), 0x02);
	cr_assert_not(r.level, "reading IIR takes it");
	cr_assert_eq(in(&r, IIR), 0x01);
	out(&r, IER, 0x02);
	cr_assert_not(r.level, "already enabled: no new cause");
	out(&r, DATA, 'x');
	cr_assert(r.level);
	cr_assert_eq(r.nrises, 2);
	out(&r, DATA, 'y');
	cr_assert_eq(r.nrises, 3, "a THR write drops the line before it rises again");
	out(&r, IER, 0);
	cr_assert_not(r.level);
	out(&r, IER, 0x02);
	cr_assert(r.level);
}

/* What Linux's 8250 driver does to find out what is there, and what it must find. */
Test(uart, linux_autoconfig_finds_16550a)
{
	struct rig r;

	rig_init(&r);
	/* IER holds four bits and no more (no XScale, no sleep mode) */
	out(&r, IER, 0);
	cr_assert_eq(in(&r, IER), 0);
	out(&r, IER, 0x0f);
	cr_assert_eq(in(&r, IER), 0x0f);
	out(&r, IER, 0x40);
	cr_assert_eq(in(&r, IER) & 0x40, 0);
	out(&r, IER, 0);
	/* loopback: OUT2 and RTS come back as DCD and CTS */
	out(&r, MCR, 0x10 | 0x0a);
	cr_assert_eq(in(&r, MSR) & 0xf0, 0x90);
	out(&r, MCR, 0);
	cr_assert_eq(in(&r, MSR) & 0xf0, 0xb0);
	/* FIFOs that work, register 2 under DLAB is no EFR, no 64-byte FIFO */
	out(&r, LCR, 0);
	out(&r, FCR, 0x01);
	cr_assert_eq(in(&r, IIR) >> 6, 3);
	out(&r, LCR, 0x80);
	cr_assert_neq(in(&r, IIR), 0);
	out(&r, LCR, 0xbf);
	cr_assert_neq(in(&r, IIR), 0);
	out(&r, LCR, 0);
	out(&r, FCR, 0x21);
	cr_assert_eq(in(&r, IIR) >> 5, 6);
	out(&r, LCR, 0x80);
	out(&r, FCR, 0x21);
	cr_assert_eq(in(&r, IIR) >> 5, 6);
	out(&r, LCR, 0);
	out(&r, FCR, 0);
	cr_assert_eq(in(&r, IIR), 0x01);
	/* the transmitter interrupt can be raised twice by enabling it */
	for (int i = 0; i < 2; i++) {
		out(&r, IER, 0x02);
		cr_assert_eq(in(&r, IIR), 0x02);
		out(&r, IER, 0);
	}
	/* scratch */
	out(&r, SCR, 0xa5);
	cr_assert_eq(in(&r, SCR), 0xa5);
	cr_assert_eq(in(&r, LSR), 0x60);
}

Test(uart, divisor_behind_dlab)
{
	struct rig r;

	rig_init(&r);
	out(&r, LCR, 0x83);
	out(&r, DATA, 0x34);
	out(&r, IER, 0x12);
	cr_assert_eq(in(&r, DATA), 0x34);
	cr_assert_eq(in(&r, IER), 0x12);
	out(&r, LCR, 0x03);
	cr_assert_eq(in(&r, IER), 0);
	cr_assert_eq(r.nsent, 0);
	cr_assert_eq(r.uart.divisor, 0x1234);
}

Test(uart, receives_by_interrupt_without_fifo)
{
	struct rig r;

	rig_init(&r);
	listen_with(&r, 0);
	feed(&r, "ab");
	cr_assert(r.level);
	cr_assert_eq(in(&r, IIR), 0x04);
	cr_assert_eq(in(&r, LSR), 0x61);
	cr_assert_eq(in(&r, DATA), 'a');
	cr_assert(r.level);
	cr_assert_eq(r.nrises, 2, "one edge a byte, or an edge-triggered handler starves");
	cr_assert_eq(in(&r, DATA), 'b');
	cr_assert_not(r.level);
	cr_assert_eq(in(&r, LSR), 0x60);
	cr_assert_eq(in(&r, IIR), 0x01);
	cr_assert_eq(in(&r, DATA), 0);
}

Test(uart, fifo_triggers)
{
	static const struct { u8 fcr; unsigned level; } cases[] = { { 0x01, 1 }, { 0x41, 4 }, { 0x81, 8 }, { 0xc1, 14 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;

		rig_init(&r);
		listen_with(&r, cases[i].fcr);
		for (unsigned n = 1; n < cases[i].level; n++) {
			feed(&r, "x");
			cr_assert_not(r.level, "trigger %u: raised at %u", cases[i].level, n);
		}
		feed(&r, "x");
		cr_assert(r.level);
		cr_assert_eq(in(&r, IIR), 0xc4);
		in(&r, DATA);
		cr_assert_not(r.level);
	}
}

Test(uart, character_timeout)
{
	struct rig r;
	u64 t0;

	rig_init(&r);
	/* 115200 8N1: ten bits of 16 clocks, 86805 ns a character */
	out(&r, LCR, 0x83);
	out(&r, DATA, 1);
	out(&r, IER, 0);
	out(&r, LCR, 0x03);
	listen_with(&r, 0x81);
	t0 = r.clock.now_ns;
	feed(&r, "ab");
	cr_assert_eq(vclock_next(&r.clock), t0 + 4 * 86805);
	pass(&r, 4 * 86805 - 1);
	cr_assert_not(r.level);
	pass(&r, 1);
	cr_assert(r.level);
	cr_assert_eq(in(&r, IIR), 0xcc);
	feed(&r, "c");
	cr_assert_eq(in(&r, IIR), 0xcc, "another byte does not take it back");
	cr_assert_eq(in(&r, DATA), 'a');
	cr_assert_not(r.level, "reading RBR does");
	pass(&r, 4 * 86805);
	cr_assert(r.level, "two bytes are left: again");
	in(&r, DATA);
	in(&r, DATA);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER, "nothing left to time");
	cr_assert_not(r.level);
}

/* A handler that takes one byte an interrupt, behind an edge-triggered 8259, at every trigger level. */
Test(uart, one_byte_an_edge)
{
	static const u8 fcrs[] = { 0x00, 0x01, 0x41, 0x81, 0xc1 };
	static const char text[] = "a line pasted all at once, longer than the FIFO\n";

	for (size_t i = 0; i < ARRAY_SIZE(fcrs); i++) {
		struct rig r;
		unsigned handled = 0;
		size_t n = 0;

		rig_init(&r);
		listen_with(&r, fcrs[i]);
		feed(&r, text);
		while (n < sizeof(text) - 1) {
			if (r.nrises == handled)
				check_run_clock(&r.clock, vclock_next(&r.clock)); /* only the timeout can come */
			cr_assert_neq(r.nrises, handled, "FCR %02x: no edge for byte %zu", fcrs[i], n);
			handled = r.nrises;
			cr_assert_eq(in(&r, DATA), text[n++]);
		}
		cr_assert_eq(in(&r, LSR), 0x60);
	}
}

Test(uart, endless_queue_never_overruns)
{
	struct rig r;
	u8 block[UART_QUEUE];
	u8 next_in = 0, next_out = 0;

	rig_init(&r);
	listen_with(&r, 0xc1);
	for (int round = 0; round < 40; round++) {
		u32 room = uart_input_room(&r.uart);

		for (u32 i = 0; i < room; i++)
			block[i] = next_in++;
		uart_ops.input(&r.uart, block, room);
		cr_assert_eq(uart_input_room(&r.uart), 0);
		for (int i = 0; i < 997; i++) {
			cr_assert_eq(in(&r, LSR), 0x61);
			cr_assert_eq(in(&r, DATA), next_out++);
		}
	}
}

Test(uart, too_much_input_is_an_overrun)
{
	struct rig r;
	u8 block[UART_QUEUE + 1];

	rig_init(&r);
	memset(block, 'q', sizeof(block));
	out(&r, IER, 0x04);
	uart_ops.input(&r.uart, block, sizeof(block));
	cr_assert(r.level);
	cr_assert_eq(in(&r, IIR), 0x06);
	cr_assert_eq(in(&r, LSR), 0x62);
	cr_assert_not(r.level);
	cr_assert_eq(in(&r, LSR) & 2, 0);
}

/* Opening the port as Linux does eats nothing of what was piped in before. */
Test(uart, early_input_survives_linux_startup)
{
	struct rig r;
	char got[64];
	size_t n = 0;

	rig_init(&r);
	feed(&r, "echo hello; poweroff\n");
	out(&r, MCR, 0x03); /* an early console asserted DTR and RTS, and printed */
	in(&r, LSR);
	out(&r, DATA, '.');
	in(&r, LSR);
	for (int round = 0; round < 2; round++) {
		out(&r, FCR, 0x01);
		out(&r, FCR, 0x07);
		out(&r, FCR, 0x00);
		in(&r, LSR);
		in(&r, DATA);
		in(&r, IIR);
		in(&r, MSR);
		in(&r, LSR); /* is it there? */
		in(&r, LSR); /* and THRE? */
		in(&r, LSR);
	}
	out(&r, MCR, 0x0b);
	out(&r, IER, 0x05);
	pass(&r, 1000);
	cr_assert_eq(in(&r, LSR), 0x60, "no character can have arrived yet");
	in(&r, DATA);
	pass(&r, 2 * CHAR_NS_9600);
	cr_assert(r.level);
	cr_assert_eq(in(&r, LSR), 0x61);
	out(&r, FCR, 0x01); /* enabling the FIFO clears it, with a byte in it */
	out(&r, FCR, 0x81);
	while ((in(&r, LSR) & 1) && n < sizeof(got))
		got[n++] = (char)in(&r, DATA);
	cr_assert_eq(n, strlen("echo hello; poweroff\n"));
	cr_assert_arr_eq(got, "echo hello; poweroff\n", n);
}

/* xv6 clears MCR, enables the interrupt, and reads IIR and RBR to clear what is pending. */
Test(uart, xv6_startup_keeps_input_and_interrupt)
{
	struct rig r;

	rig_init(&r);
	feed(&r, "ls\n");
	out(&r, FCR, 0);
	out(&r, MCR, 0);
	out(&r, IER, 0x01);
	cr_assert_neq(in(&r, LSR), 0xff);
	in(&r, IIR);
	in(&r, DATA);
	pass(&r, 2 * CHAR_NS_9600);
	cr_assert(r.level, "OUT2 is clear and INTR comes through all the same");
	cr_assert_eq(in(&r, DATA), 'l');
	cr_assert_eq(in(&r, DATA), 's');
	cr_assert_eq(in(&r, DATA), '\n');
	cr_assert_eq(in(&r, LSR), 0x60);
}

/* Linux turns IER off around every line it prints: that costs no timer while nobody types. */
Test(uart, no_timer_without_input)
{
	struct rig r;

	rig_init(&r);
	out(&r, LCR, 0x03);
	out(&r, IER, 0x01);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	feed(&r, "a");
	cr_assert_eq(vclock_next(&r.clock), CHAR_NS_9600, "too early: the rest of one character time");
	out(&r, IER, 0x00);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	pass(&r, 500);
	out(&r, IER, 0x01);
	cr_assert_eq(vclock_next(&r.clock), 500 + CHAR_NS_9600);
	pass(&r, CHAR_NS_9600);
	cr_assert_eq(in(&r, DATA), 'a');
	feed(&r, "b");
	cr_assert_eq(in(&r, DATA), 'b', "the gate stays open");
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
}

/* The look at THRE before each byte sent is no poll, nor are a few looks in a row. */
Test(uart, polling_reads_input)
{
	struct rig r;

	rig_init(&r);
	feed(&r, "ab");
	for (unsigned i = 0; i < 100; i++) {
		cr_assert_eq(in(&r, LSR), 0x60);
		out(&r, DATA, '>');
	}
	for (unsigned i = 0; i < UART_POLLS; i++)
		cr_assert_eq(in(&r, LSR), 0x60, "%u looks: not waiting for input yet", i);
	cr_assert_eq(in(&r, LSR), 0x61);
	cr_assert_eq(in(&r, DATA), 'a');
	cr_assert_eq(in(&r, LSR), 0x61, "it goes on polling");
	cr_assert_eq(in(&r, DATA), 'b');
	cr_assert_eq(in(&r, LSR), 0x60);
	cr_assert_eq(in(&r, LSR), 0x60);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
}

Test(uart, loopback)
{
	struct rig r;

	rig_init(&r);
	listen_with(&r, 0xc7);
	feed(&r, "outside");
	out(&r, MCR, 0x1e);
	cr_assert_eq(in(&r, LSR), 0x60, "what was unread is back on the wire");
	for (int i = 0; i < 17; i++)
		out(&r, DATA, (u8)(0xa0 + i));
	cr_assert_eq(r.nsent, 0);
	cr_assert_eq(in(&r, LSR), 0x63, "17 into 16: overrun");
	for (int i = 0; i < 15; i++)
		cr_assert_eq(in(&r, DATA), 0xa0 + i);
	out(&r, MCR, 0x0b);
	cr_assert_eq(in(&r, MSR), 0xb0 | 0x02 | 0x04, "DSR went and came, RI (OUT1) fell");
	cr_assert_eq(in(&r, MSR), 0xb0);
	pass(&r, 2 * CHAR_NS_9600);
	cr_assert_eq(in(&r, DATA), 0xaf);
	for (const char *s = "outside"; *s; s++)
		cr_assert_eq(in(&r, DATA), *s);
	cr_assert_eq(in(&r, LSR), 0x60);
}

Test(uart, loopback_without_fifo_overwrites)
{
	struct rig r;

	rig_init(&r);
	out(&r, MCR, 0x10);
	out(&r, DATA, 1);
	out(&r, DATA, 2);
	cr_assert_eq(in(&r, LSR), 0x63);
	cr_assert_eq(in(&r, DATA), 2);
	out(&r, DATA, 3);
	out(&r, FCR, 0x03);
	cr_assert_eq(in(&r, LSR), 0x60, "a reset drops loopback bytes");
	cr_assert_eq(uart_input_room(&r.uart), UART_QUEUE);
}

Test(uart, modem_status_interrupt)
{
	struct rig r;

	rig_init(&r);
	in(&r, MSR);
	out(&r, IER, 0x08);
	cr_assert_not(r.level);
	out(&r, MCR, 0x10 | 0x0b);
	cr_assert_not(r.level, "DTR, RTS, OUT2 stand for the lines that were on: no change");
	out(&r, MCR, 0x10 | 0x0f);
	cr_assert_not(r.level, "the leading edge of the ring is no event");
	out(&r, MCR, 0x10 | 0x0b);
	cr_assert(r.level);
	cr_assert_eq(in(&r, IIR), 0x00);
	cr_assert_eq(in(&r, MSR), 0xb4);
	cr_assert_not(r.level);
}

Test(uart, wide_accesses_are_byte_cycles)
{
	struct rig r;

	rig_init(&r);
	uart_ops.write(&r.uart, IO_PORT, BASE + LCR, 2, 0x0b83);
	cr_assert_eq(in(&r, LCR), 0x83);
	cr_assert_eq(in(&r, MCR), 0x0b);
	cr_assert_eq(uart_ops.read(&r.uart, IO_PORT, BASE + LCR, 2) & 0xffff, 0x0b83);
	cr_assert_eq(uart_ops.read(&r.uart, IO_PORT, BASE + SCR, 4) & 0xffffffff, 0xffffff00);
}

Test(uart, reset_is_power_on)
{
	struct rig r, fresh;

	rig_init(&r);
	rig_init(&fresh);
	listen_with(&r, 0xc1);
	feed(&r, "some bytes and more of them");
	out(&r, LCR, 0x80);
	out(&r, DATA, 0x77);
	out(&r, MCR, 0x1f);
	cr_assert(r.level == (in(&r, IIR) != 0xc1));
	uart_ops.reset(&r.uart);
	cr_assert_not(r.level);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	check_device_same(&uart_ops, &r.uart, &fresh.uart);
}

Test(uart, state_roundtrip)
{
	struct rig r, fresh;

	rig_init(&r);
	rig_init(&fresh);
	listen_with(&r, 0x81);
	feed(&r, "twenty-seven bytes of input");
	in(&r, DATA);
	out(&r, SCR, 9);
	out(&r, LCR, 0x1b);
	out(&r, MCR, 0x03);
	listen_with(&fresh, 0xc1);
	feed(&fresh, "something else altogether, and then some more");
	check_device_roundtrip(&uart_ops, &r.uart, &fresh.uart);
	fresh.clock.now_ns = r.clock.now_ns;
	for (int i = 0; i < 30; i++)
		cr_assert_eq(in(&r, DATA), in(&fresh, DATA));
}

/* The digest must not see where in the array the queue happens to lie. */
Test(uart, digest_ignores_queue_position)
{
	struct rig a, b;

	rig_init(&a);
	rig_init(&b);
	listen_with(&a, 0x01);
	listen_with(&b, 0x01);
	feed(&a, "0123456789abcdefghijXY");
	feed(&b, "klmnopqr9abcdefghijXY");
	while (in(&a, DATA) != '8')
		;
	while (in(&b, DATA) != 'r')
		;
	cr_assert_neq(a.uart.queue_start, b.uart.queue_start);
	check_device_same(&uart_ops, &a.uart, &b.uart);
}

Test(uart, damaged_lengths_are_refused)
{
	static const struct { const char *what; u32 at; u8 value; } cases[] = {
		/* after the 8-byte section tag: 5 registers, divisor, 5 flags, open_at_ns, fifo_len ... */
		{ "fifo_len", 8 + 20, 17 },
		{ "fifo_local", 8 + 21, 1 },
		{ "queue_len", 8 + 22 + 1, 0x11 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;
		struct saved_device s;
		struct state_walk w;

		rig_init(&r);
		s = device_save(&uart_ops, &r.uart);
		s.bytes[cases[i].at] = cases[i].value;
		w = state_load_from(s.bytes, s.size);
		device_walk(&uart_ops, &r.uart, &w);
		cr_assert_eq(w.error, ERR_DAMAGED, "%s", cases[i].what);
		cr_assert_eq(uart_input_room(&r.uart), UART_QUEUE);
		free(s.bytes);
	}
}

static u64 fuzz_other(void *dev, u64 random)
{
	u8 bytes[64];
	size_t n = MIN(random % 64, uart_input_room(dev));

	for (size_t i = 0; i < n; i++)
		bytes[i] = (u8)(random >> (i % 8 * 8));
	uart_ops.input(dev, bytes, n);
	return uart_input_room(dev);
}

Test(uart, fuzz)
{
	static const struct fuzz_range range = { IO_PORT, BASE, UART_NPORTS };
	static const struct device_fuzz fuzz = { &uart_ops, &range, 1, 3000000, fuzz_other };
	struct rig r, twin;

	for (u64 seed = 1; seed <= 4; seed++) {
		rig_init(&r);
		rig_init(&twin);
		listen_with(&twin, 0x41);
		feed(&twin, "other");
		check_device_fuzz(&fuzz, &r.uart, &r.clock, &twin.uart, &twin.clock, seed, 20000);
	}
}
