/*
 * serial.c - 16550 driver.  See serial.h.  [PC16550D 8.0]
 */
#include "kernel/cpu.h"
#include "kernel/pic.h"
#include "kernel/serial.h"

enum { RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCR = 7 };
enum { LSR_DR = 1 << 0, LSR_OE = 1 << 1, LSR_THRE = 1 << 5, LSR_TEMT = 1 << 6 };

#define FIFO_BYTES 16

struct serial com1, com2, com3;

void serial_init(struct serial *s, u16 port, u8 irq)
{
	*s = (struct serial){ .port = port, .irq = irq };
	/* An empty port reads as all ones; a UART remembers what is in its scratch register. */
	outb(port + SCR, 0x5a);
	if (inb(port + SCR) != 0x5a || inb(port + LSR) == 0xff)
		return;
	outb(port + IER, 0);
	outb(port + LCR, 0x80); /* DLAB */
	outb(port + DLL, 1);    /* 115200 */
	outb(port + DLM, 0);
	outb(port + LCR, 0x03); /* 8n1 */
	outb(port + FCR, 0x01); /* FIFOs on, receive trigger at 1 byte; keep what arrived already */
	outb(port + MCR, 0x0b); /* DTR, RTS, and OUT2, which gates the interrupt line on PCs */
	s->present = true;
}

void serial_write(struct serial *s, const void *data, size_t size)
{
	const u8 *p = data;

	if (!s->present)
		return;
	while (size) {
		while (!s->tx_room) {
			/* THRE means the whole FIFO is empty. */
			if (inb(s->port + LSR) & LSR_THRE)
				s->tx_room = FIFO_BYTES;
			else
				pause();
		}
		outb(s->port + THR, *p++);
		s->tx_room--;
		size--;
	}
}

bool serial_rx_ready(const struct serial *s)
{
	return s->present && (inb(s->port + LSR) & LSR_DR);
}

size_t serial_read(struct serial *s, void *data, size_t size)
{
	u8 *p = data;
	size_t n = 0;

	while (s->present && n < size) {
		u8 lsr = inb(s->port + LSR);

		s->overruns += !!(lsr & LSR_OE);
		if (!(lsr & LSR_DR))
			break;
		p[n++] = inb(s->port + RBR);
	}
	return n;
}

void serial_rx_irq_enable(struct serial *s)
{
	if (!s->present)
		return;
	outb(s->port + IER, 0x01); /* received data available */
	host_pic_wake_on(s->irq);
	s->rx_irq = true;
}

void serial_flush(struct serial *s)
{
	/* 16 bytes at 115200 baud take 1.4 ms; a port read takes about 1 us on real hardware. */
	for (unsigned i = 0; s->present && i < 10000 && !(inb(s->port + LSR) & LSR_TEMT); i++)
		pause();
}
