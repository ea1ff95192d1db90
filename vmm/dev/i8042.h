/*
 * i8042.h - the PS/2 keyboard controller, with nothing plugged in.
 *
 * Changes only itself and IRQ 1 and 12; asks the machine to reset.  Ports:
 * 60h data, 64h status and command, 92h system control port A (fast A20 and
 * reset) [8042 reference].
 *
 * A command is carried out before the next instruction.  A byte for the
 * absent keyboard or mouse times out at once: the controller answers FEh with
 * status bit 6, so a driver that waits for an answer gets one and gives up.
 *
 * A20 is on for good: its two bits are kept and read back, no more.
 * After reset the command byte is what PC firmware leaves (45h: scan code
 * translation, system flag, IRQ 1), as guests started without firmware expect.
 */
#ifndef VMM_DEV_I8042_H
#define VMM_DEV_I8042_H

#include "vmm/dev/device.h"

#define I8042_DATA 0x60
#define I8042_COMMAND 0x64
#define I8042_PORT_A 0x92

struct i8042 {
	struct irq_line irq1, irq12;
	struct machine_control control;

	u8 status;       /* as read at 64h */
	u8 output;       /* as read at 60h */
	u8 pending;      /* the command that waits for its byte at 60h; 0: none */
	u8 output_port;  /* bits the guest set; 4 and 5 follow the output buffer */
	u8 port_a;
	u8 ram[32];      /* byte 0 is the command byte */
};

extern const struct device_ops i8042_ops;

void i8042_init(struct i8042 *k, struct vclock *clock, struct irq_line irq1, struct irq_line irq12,
		struct machine_control control);

#endif
