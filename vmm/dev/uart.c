/*
 * uart.c - a 16550A serial port.  The model is in uart.h.
 *
 * Parts: the interrupt line; reception (queue, gate, FIFO, timeout); the
 * registers; the hooks.
 */
#include "vmm/dev/uart.h"

/* Register offsets [PC16550D 8.0, Table II]. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum {
	IER_RDA = 0x01, IER_THRE = 0x02, IER_RLS = 0x04, IER_MS = 0x08,
	IIR_MS = 0x00, IIR_NONE = 0x01, IIR_THRE = 0x02, IIR_RDA = 0x04, IIR_RLS = 0x06, IIR_TIMEOUT = 0x0c,
	IIR_FIFOS = 0xc0,
	FCR_ENABLE = 0x01, FCR_RX_RESET = 0x02, FCR_KEPT = 0xc9, /* enable, DMA mode, trigger */
	LCR_STOP = 0x04, LCR_PARITY = 0x08, LCR_DLAB = 0x80,
	MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10,
	LSR_DR = 0x01, LSR_OE = 0x02, LSR_THRE = 0x20, LSR_TEMT = 0x40,
	MSR_TERI = 0x04,
	MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80,
};

/* ---- the interrupt line ---- */

static unsigned rx_trigger(const struct uart *u)
{
	static const u8 level[] = { 1, 4, 8, 14 };

	return (u->fcr & FCR_ENABLE) ? level[u->fcr >> 6] : 1;
}

/* The highest-priority cause [PC16550D Table IV, Interrupt Control Functions]. */
static u8 interrupt_cause(const struct uart *u)
{
	if (!u->ier)
		return IIR_NONE;
	if ((u->ier & IER_RLS) && u->overrun)
		return IIR_RLS;
	if ((u->ier & IER_RDA) && u->fifo_len >= rx_trigger(u))
		return IIR_RDA;
	if ((u->ier & IER_RDA) && u->timeout_pending)
		return IIR_TIMEOUT;
	if ((u->ier & IER_THRE) && u->thre_pending)
		return IIR_THRE;
	if ((u->ier & IER_MS) && u->msr_delta)
		return IIR_MS;
	return IIR_NONE;
}

static void update_irq(struct uart *u)
{
	irq_set(&u->irq, interrupt_cause(u) != IIR_NONE);
}

/* ---- reception ---- */

static unsigned fifo_room(const struct uart *u)
{
	return ((u->fcr & FCR_ENABLE) ? UART_FIFO_SIZE : 1) - u->fifo_len;
}

/*
 * One character on the line: start, 5-8 data, parity, stop (1.5 stop bits
 * count as 2), each 16 * divisor periods of the 1.8432 MHz crystal.  Divisor 0
 * is undefined and counts as 1.
 */
static u64 character_ns(const struct uart *u)
{
	u64 nbits = 1 + 5 + (u->lcr & 3) + !!(u->lcr & LCR_PARITY) + ((u->lcr & LCR_STOP) ? 2 : 1);

	return nbits * 16 * MAX(u->divisor, 1) * 1000000000UL / 1843200;
}

/*
 * The character timeout: four character times after the last byte arrived or
 * was read, with bytes left in the FIFO [PC16550D 8.5.1].  One that is already
 * pending stays until RBR is read.
 */
static void restart_timeout(struct uart *u)
{
	if ((u->fcr & FCR_ENABLE) && u->fifo_len && !u->timeout_pending)
		vtimer_arm(&u->timeout, u->clock->now_ns + 4 * character_ns(u));
	else
		vtimer_cancel(&u->timeout);
}

static void timeout_fire(void *owner)
{
	struct uart *u = owner;

	u->timeout_pending = 1;
	update_irq(u);
}

/* Rule 3: from the queue into the FIFO, up to the trigger level. */
static void fill_fifo(struct uart *u)
{
	unsigned level = rx_trigger(u), n;

	if (u->fifo_len >= level || !u->queue_len)
		return;
	n = MIN(level - u->fifo_len, u->queue_len);
	memcpy(u->fifo + u->fifo_len, u->queue + u->queue_start, n);
	u->fifo_len += n;
	u->queue_start += n;
	u->queue_len -= n;
	restart_timeout(u);
}

/* Rule 4: what came from outside and was not read goes back to the front of the queue. */
static void unread_fifo(struct uart *u)
{
	unsigned n = u->fifo_len - u->fifo_local;

	if (n > u->queue_start) {
		memmove(u->queue + n, u->queue + u->queue_start, u->queue_len);
		u->queue_start = n;
	}
	u->queue_start -= n;
	memcpy(u->queue + u->queue_start, u->fifo + u->fifo_local, n);
	u->queue_len += n;
	u->fifo_len = u->fifo_local;
}

static void reset_fifo(struct uart *u)
{
	unread_fifo(u);
	u->fifo_len = u->fifo_local = 0;
	u->timeout_pending = 0;
	vtimer_cancel(&u->timeout);
}

/* Rule 1: what waits goes in, or the timer is set for when it may.  No timer runs for an empty queue. */
static void pump(struct uart *u)
{
	bool open = u->clock->now_ns >= u->open_at_ns;

	if (open)
		fill_fifo(u);
	vtimer_arm(&u->gate, !open && u->queue_len ? u->open_at_ns : VTIMER_NEVER);
}

/* Called when IER or MCR has changed. */
static void update_gate(struct uart *u)
{
	if (!(u->ier & IER_RDA) || (u->mcr & MCR_LOOP))
		u->open_at_ns = VTIMER_NEVER;
	else if (u->open_at_ns == VTIMER_NEVER)
		u->open_at_ns = u->clock->now_ns + character_ns(u);
	pump(u);
}

static void gate_fire(void *owner)
{
	pump(owner);
	update_irq(owner);
}

static void receive_loopback(struct uart *u, u8 byte)
{
	if (fifo_room(u)) {
		u->fifo[u->fifo_len++] = byte;
		u->fifo_local++;
	} else {
		/* A full FIFO loses the new byte, RBR alone the old one [PC16550D 8.6.3, bit 1]. */
		u->overrun = 1;
		if (!(u->fcr & FCR_ENABLE))
			u->fifo[0] = byte;
	}
	restart_timeout(u);
}

static u8 read_rbr(struct uart *u)
{
	u8 byte = u->fifo[0];

	if (!u->fifo_len)
		return 0;
	memmove(u->fifo, u->fifo + 1, --u->fifo_len);
	if (u->fifo_local)
		u->fifo_local--;
	u->timeout_pending = 0;
	restart_timeout(u);
	update_irq(u); /* rule 3: the low half of the edge that the 8259 needs */
	pump(u);
	update_irq(u);
	return byte;
}

u32 uart_input_room(const struct uart *u)
{
	/* Bytes in the FIFO may come back (rule 4): their place is kept. */
	return UART_QUEUE - u->queue_len - (u->fifo_len - u->fifo_local);
}

static void uart_input(void *dev, const void *data, size_t size)
{
	struct uart *u = dev;
	u32 n = (u32)MIN(size, uart_input_room(u));

	if (n < size)
		u->overrun = 1;
	if (u->queue_start + u->queue_len + n > UART_QUEUE) {
		memmove(u->queue, u->queue + u->queue_start, u->queue_len);
		u->queue_start = 0;
	}
	if (n)
		memcpy(u->queue + u->queue_start + u->queue_len, data, n);
	u->queue_len += n;
	pump(u);
	update_irq(u);
}

/* ---- the registers ---- */

/* Modem inputs: a ready terminal, or in loopback our own outputs [PC16550D 8.7, bit 4]. */
static u8 modem_lines(u8 mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return ((mcr & MCR_RTS) ? MSR_CTS : 0) | ((mcr & MCR_DTR) ? MSR_DSR : 0) |
	       ((mcr & MCR_OUT1) ? MSR_RI : 0) | ((mcr & MCR_OUT2) ? MSR_DCD : 0);
}

static void write_mcr(struct uart *u, u8 value)
{
	u8 before = modem_lines(u->mcr), after = modem_lines(value & 0x1f);
	u8 changed = (u8)((before ^ after) >> 4);

	if (after & MSR_RI) /* TERI: only the trailing edge of the ring */
		changed &= (u8)~MSR_TERI;
	u->msr_delta |= changed;
	if ((value & MCR_LOOP) && !(u->mcr & MCR_LOOP)) {
		unread_fifo(u);
		u->timeout_pending = 0;
		restart_timeout(u);
	}
	u->mcr = value & 0x1f;
	update_gate(u);
}

static void write_ier(struct uart *u, u8 value)
{
	/* Enabling it with THR empty raises it at once: Linux's 8250 tests for that. */
	if ((value & IER_THRE) && !(u->ier & IER_THRE))
		u->thre_pending = 1;
	u->ier = value & 0x0f;
	update_gate(u);
}

static void write_fcr(struct uart *u, u8 value)
{
	/* Without bit 0 the other bits are not programmed [PC16550D 8.4]. */
	u8 fcr = (value & FCR_ENABLE) ? value & FCR_KEPT : 0;
	bool toggled = (fcr ^ u->fcr) & FCR_ENABLE;

	if (toggled || ((value & FCR_ENABLE) && (value & FCR_RX_RESET)))
		reset_fifo(u);
	u->fcr = fcr;
	pump(u);
}

static void transmit(struct uart *u, u8 byte)
{
	u->thre_pending = 0;
	if (u->ier & IER_THRE)
		update_irq(u); /* the low half of the edge, for a handler that skips IIR */
	if (u->mcr & MCR_LOOP)
		receive_loopback(u, byte);
	else
		u->tx.put(u->tx.ctx, &byte, 1);
	u->thre_pending = 1;
	update_irq(u);
}

static u8 read_lsr(struct uart *u)
{
	bool polled = u->polls == UART_POLLS && !(u->mcr & MCR_LOOP); /* rule 2 */
	bool changes = u->overrun || (polled && u->queue_len);
	u8 value;

	u->polls += u->polls < UART_POLLS;
	if (polled)
		fill_fifo(u);
	value = LSR_THRE | LSR_TEMT | (u->fifo_len ? LSR_DR : 0) | (u->overrun ? LSR_OE : 0);
	u->overrun = 0;
	if (changes)
		update_irq(u);
	return value;
}

static u8 read_iir(struct uart *u)
{
	u8 cause = interrupt_cause(u);

	if (cause == IIR_THRE)
		u->thre_pending = 0;
	return cause | ((u->fcr & FCR_ENABLE) ? IIR_FIFOS : 0);
}

static u8 read_reg(struct uart *u, unsigned reg)
{
	u8 value = 0;

	if (reg == REG_LSR) /* what a console polls for each byte it sends */
		return read_lsr(u);
	if (reg == REG_DATA && !(u->lcr & LCR_DLAB))
		return read_rbr(u);
	u->polls = 0;
	switch (reg) {
	case REG_DATA:
		return (u8)u->divisor;
	case REG_IER:
		return (u->lcr & LCR_DLAB) ? (u8)(u->divisor >> 8) : u->ier;
	case REG_LCR:
		return u->lcr;
	case REG_MCR:
		return u->mcr;
	case REG_SCR:
		return u->scr;
	case REG_IIR_FCR:
		value = read_iir(u);
		break;
	case REG_MSR:
		value = modem_lines(u->mcr) | u->msr_delta;
		u->msr_delta = 0;
		break;
	}
	update_irq(u);
	return value;
}

static void write_reg(struct uart *u, unsigned reg, u8 value)
{
	if (reg == REG_DATA && !(u->lcr & LCR_DLAB)) {
		u->polls -= u->polls != 0;
		transmit(u, value);
		return;
	}
	u->polls = 0;
	switch (reg) {
	case REG_DATA:
		u->divisor = (u16)((u->divisor & 0xff00) | value);
		break;
	case REG_IER:
		if (u->lcr & LCR_DLAB)
			u->divisor = (u16)((u->divisor & 0xff) | value << 8);
		else
			write_ier(u, value);
		break;
	case REG_IIR_FCR:
		write_fcr(u, value);
		break;
	case REG_LCR:
		u->lcr = value;
		break;
	case REG_MCR:
		write_mcr(u, value);
		break;
	case REG_SCR:
		u->scr = value;
		break;
	default: /* LSR, MSR: writes are for the factory [PC16550D 8.6.3, note] */
		break;
	}
	update_irq(u);
}

/* ---- the hooks ---- */

/* An 8-bit card: the bus splits a wide access into byte cycles, low address first. */
static u64 uart_read(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes)
{
	struct uart *u = dev;
	u64 value = 0;

	for (unsigned i = 0; i < size_bytes; i++) {
		u64 reg = addr + i - u->base_port;
		value |= (u64)(reg < UART_NPORTS ? read_reg(u, (unsigned)reg) : 0xff) << (8 * i);
	}
	return value;
}

static void uart_write(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes, u64 value)
{
	struct uart *u = dev;

	for (unsigned i = 0; i < size_bytes; i++) {
		u64 reg = addr + i - u->base_port;
		if (reg < UART_NPORTS)
			write_reg(u, (unsigned)reg, (u8)(value >> (8 * i)));
	}
}

static void uart_reset(void *dev)
{
	struct uart *u = dev;

	u->ier = u->fcr = u->lcr = u->mcr = u->scr = 0;
	u->divisor = 12; /* undefined on the chip; 9600 baud, as PC firmware leaves it */
	u->overrun = u->msr_delta = u->thre_pending = u->timeout_pending = 0;
	u->polls = 0;
	u->open_at_ns = VTIMER_NEVER;
	u->fifo_len = u->fifo_local = 0;
	u->queue_start = u->queue_len = 0;
	memset(u->fifo, 0, sizeof(u->fifo));
	vtimer_cancel(&u->timeout);
	vtimer_cancel(&u->gate);
	update_irq(u);
}

/* Lengths from a damaged state would reach beyond the arrays later. */
static bool lengths_hold(const struct uart *u)
{
	return u->fifo_len <= ((u->fcr & FCR_ENABLE) ? UART_FIFO_SIZE : 1) && u->fifo_local <= u->fifo_len &&
	       u->polls <= UART_POLLS && u->queue_len <= UART_QUEUE && u->queue_len + (u->fifo_len - u->fifo_local) <= UART_QUEUE;
}

static void uart_state(void *dev, struct state_walk *w)
{
	struct uart *u = dev;

	STATE(w, u, ier);
	STATE(w, u, fcr);
	STATE(w, u, lcr);
	STATE(w, u, mcr);
	STATE(w, u, scr);
	STATE(w, u, divisor);
	STATE(w, u, overrun);
	STATE(w, u, msr_delta);
	STATE(w, u, thre_pending);
	STATE(w, u, timeout_pending);
	STATE(w, u, polls);
	STATE(w, u, open_at_ns);
	STATE(w, u, fifo_len);
	STATE(w, u, fifo_local);
	STATE(w, u, queue_len);
	if (w->mode == STATE_LOAD) {
		u->queue_start = 0;
		if (!lengths_hold(u)) {
			u->fifo_len = u->fifo_local = 0;
			u->queue_len = 0;
			w->error = w->error ? w->error : ERR_DAMAGED;
		}
	}
	state_field(w, "fifo", u->fifo, u->fifo_len);
	vtimer_state(&u->timeout, w, "timeout_ns");
	vtimer_state(&u->gate, w, "gate_ns");
	state_field(w, "queue", u->queue + u->queue_start, u->queue_len);
}

void uart_init(struct uart *u, struct vclock *clock, u16 base_port, struct irq_line irq, struct outlet tx)
{
	u->clock = clock;
	u->base_port = base_port;
	u->irq = irq;
	u->tx = tx;
	vtimer_add(clock, &u->timeout, timeout_fire, u);
	vtimer_add(clock, &u->gate, gate_fire, u);
	uart_reset(u);
}

const struct device_ops uart_ops = {
	.name = "uart",
	.version = 2,
	.read = uart_read,
	.write = uart_write,
	.reset = uart_reset,
	.input = uart_input,
	.state = uart_state,
};
