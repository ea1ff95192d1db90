/*
 * serial.h - the host's 16550 UARTs, polled: the guest's console, the control
 * channel and, where there is a third, the debugger.
 *
 * A received byte can wake the host from HLT (cpu_wait), but never interrupts
 * a running guest: the lines are unmasked only while waiting, because an exit
 * at an arbitrary instruction would make exits depend on host time.
 *
 * On real hardware the receive FIFO holds 16 bytes: at 115200 baud someone
 * must read every 1.4 ms, or bytes are lost (LSR overrun, counted).  QEMU
 * holds further bytes back instead.
 */
#ifndef KERNEL_SERIAL_H
#define KERNEL_SERIAL_H

#include "kernel/base.h"

struct serial {
	u16 port;
	u8 irq;           /* line of the 8259 */
	bool present;
	bool rx_irq;      /* wakes cpu_wait */
	u8 tx_room;       /* bytes the transmit FIFO surely takes */
	u64 overruns;     /* received bytes the FIFO had no room for: at least so many */
};

extern struct serial com1, com2, com3;

/* Looks for a UART, sets 115200 8n1 and FIFOs; present tells. */
void serial_init(struct serial *s, u16 port, u8 irq);

/* Writes all of it, waiting for room as needed; nothing if absent. */
void serial_write(struct serial *s, const void *data, size_t size);

/* What has arrived, at most size bytes; 0 if nothing has. */
size_t serial_read(struct serial *s, void *data, size_t size);

bool serial_rx_ready(const struct serial *s);

/* From now on a received byte ends cpu_wait. */
void serial_rx_irq_enable(struct serial *s);

/* Waits, not forever, until the last byte is on the wire. */
void serial_flush(struct serial *s);

#endif
