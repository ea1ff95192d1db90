/*
 * uart.h - a 16550A serial port [PC16550D 8.0].
 *
 * Changes only itself, its interrupt line and its outlet.  Transmission takes
 * no time: a byte written to THR has left before the next instruction, so
 * THRE and TEMT always read 1.
 *
 * Reception has a host-side part: bytes that enter the machine wait in
 * `queue`, as on the wire, until the guest listens.  So input that is there
 * before the guest's driver (a script piped in) is not eaten by the driver's
 * resets and dummy reads.  Rules:
 *   1. With IER.RDA set, and not in loopback, the gate opens one character
 *      time later (a real character takes that long to arrive) and stays open.
 *   2. A guest that polls opens it by UART_POLLS reads of LSR in a row:
 *      the next one shows what waits.  A byte
 *      sent takes back one, the look at THRE before it; any other access but
 *      of RBR begins anew.  As the transmitter is always empty, nobody reads
 *      LSR so often but to wait for input: drivers that look two or three
 *      times while they set the chip up, and then read RBR to clear it (Linux
 *      does), must not eat what waits.
 *   3. With the gate open the FIFO is kept filled up to its trigger level, as
 *      if the sender waited for the guest: nothing from the queue is overrun,
 *      and every byte read gives INTR a new edge, so a handler that takes one
 *      byte an interrupt gets them all.
 *   4. Resetting the FIFO, or entering loopback, puts what the guest has not
 *      read back on the wire.  Loopback bytes are dropped by a reset.
 *
 * INTR is not gated by MCR.OUT2, as on boards that wire it straight through:
 * xv6 and its kind clear MCR and then rely on IRQ 4.
 */
#ifndef VMM_DEV_UART_H
#define VMM_DEV_UART_H

#include "vmm/dev/device.h"

#define UART_NPORTS 8
#define UART_FIFO_SIZE 16
#define UART_QUEUE 4096
#define UART_POLLS 16

struct uart {
	struct vclock *clock;
	u16 base_port;
	struct irq_line irq;
	struct outlet tx;

	u8 ier, fcr, lcr, mcr, scr;
	u16 divisor;
	u8 overrun;          /* LSR.OE */
	u8 msr_delta;        /* MSR bits 3:0 */
	u8 thre_pending;     /* THRE interrupt not yet taken by an IIR read */
	u8 timeout_pending;  /* character timeout, until RBR is read */
	u8 polls;            /* rule 2: reads of LSR, at most UART_POLLS */
	u64 open_at_ns;      /* rule 1: the gate is open from here on; VTIMER_NEVER while nobody listens */

	u8 fifo[UART_FIFO_SIZE]; /* oldest first; one byte is used when FCR.0 is 0 */
	u8 fifo_len;
	u8 fifo_local;           /* of these, the leading ones that came by loopback */

	struct vtimer timeout;   /* character timeout */
	struct vtimer gate;      /* at open_at_ns, if bytes wait for it */

	u8 queue[UART_QUEUE];    /* live bytes: queue_len from queue_start */
	u32 queue_start;         /* moves as it likes: never visible */
	u32 queue_len;
};

extern const struct device_ops uart_ops;

void uart_init(struct uart *u, struct vclock *clock, u16 base_port, struct irq_line irq, struct outlet tx);

/* Bytes that `input` can take now.  More than that is lost, and LSR.OE says so. */
u32 uart_input_room(const struct uart *u);

#endif
