/*
 * i8042.c - the PS/2 keyboard controller.  The model is in i8042.h.
 */
#include "vmm/dev/i8042.h"

enum {
	STATUS_OBF = 0x01,      /* a byte waits at 60h */
	STATUS_SYSTEM = 0x04,   /* follows the command byte's bit */
	STATUS_COMMAND = 0x08,  /* the last write was to 64h */
	STATUS_UNLOCKED = 0x10, /* the key lock is open */
	STATUS_AUX = 0x20,      /* the byte at 60h is the auxiliary device's */
	STATUS_TIMEOUT = 0x40,
	STATUS_OF_BYTE = STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT,

	CB_IRQ1 = 0x01, CB_IRQ12 = 0x02, CB_SYSTEM = 0x04,
	CB_KBD_OFF = 0x10, CB_AUX_OFF = 0x20, CB_TRANSLATE = 0x40,

	OUT_NO_RESET = 0x01, OUT_A20 = 0x02, OUT_IRQ1 = 0x10, OUT_IRQ12 = 0x20,
	PORT_A_RESET = 0x01, PORT_A_A20 = 0x02,
	RESEND = 0xfe,
};

/* Commands at 64h.  Those that take a byte at 60h wait in `pending`. */
enum {
	CMD_READ_RAM = 0x20,     /* to 3Fh; 20h is the command byte */
	CMD_WRITE_RAM = 0x60,    /* to 7Fh */
	CMD_AUX_OFF = 0xa7, CMD_AUX_ON = 0xa8, CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa, CMD_KBD_TEST = 0xab, CMD_KBD_OFF = 0xad, CMD_KBD_ON = 0xae,
	CMD_READ_INPUT_PORT = 0xc0,
	CMD_READ_OUTPUT_PORT = 0xd0, CMD_WRITE_OUTPUT_PORT = 0xd1,
	CMD_WRITE_KBD_BUFFER = 0xd2, CMD_WRITE_AUX_BUFFER = 0xd3, CMD_WRITE_AUX = 0xd4,
	CMD_READ_TEST_INPUTS = 0xe0,
	CMD_PULSE = 0xf0,        /* to FFh: pulls the low-nibble's zero bits of the output port */
};

static void ask_reset(struct i8042 *k)
{
	k->control.request(k->control.ctx, MACHINE_RESET, 0);
}

static void update_irqs(struct i8042 *k)
{
	bool full = k->status & STATUS_OBF, aux = k->status & STATUS_AUX;

	irq_set(&k->irq1, full && !aux && (k->ram[0] & CB_IRQ1));
	irq_set(&k->irq12, full && aux && (k->ram[0] & CB_IRQ12));
}

/* A byte for the guest; one it has not read is lost.  flags: AUX, TIMEOUT. */
static void put_output(struct i8042 *k, u8 byte, u8 flags)
{
	k->output = byte;
	k->status = (k->status & (u8)~STATUS_OF_BYTE) | STATUS_OBF | flags;
}

static void set_command_byte(struct i8042 *k, u8 value)
{
	k->ram[0] = value;
	k->status = (k->status & (u8)~STATUS_SYSTEM) | ((value & CB_SYSTEM) ? STATUS_SYSTEM : 0);
}

static u8 read_output_port(const struct i8042 *k)
{
	u8 value = k->output_port & (u8)~(OUT_IRQ1 | OUT_IRQ12);

	if (k->status & STATUS_OBF)
		value |= (k->status & STATUS_AUX) ? OUT_IRQ12 : OUT_IRQ1;
	return value;
}

static void write_output_port(struct i8042 *k, u8 value)
{
	k->output_port = value;
	if (!(value & OUT_NO_RESET))
		ask_reset(k);
}

static void write_command(struct i8042 *k, u8 cmd)
{
	k->status |= STATUS_COMMAND;
	k->pending = 0;
	switch (cmd) {
	case CMD_READ_RAM ... CMD_READ_RAM + 31:
		put_output(k, k->ram[cmd - CMD_READ_RAM], 0);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + 31:
	case CMD_WRITE_OUTPUT_PORT ... CMD_WRITE_AUX:
		k->pending = cmd;
		break;
	case CMD_AUX_OFF:
		k->ram[0] |= CB_AUX_OFF;
		break;
	case CMD_AUX_ON:
		k->ram[0] &= (u8)~CB_AUX_OFF;
		break;
	case CMD_KBD_OFF:
		k->ram[0] |= CB_KBD_OFF;
		break;
	case CMD_KBD_ON:
		k->ram[0] &= (u8)~CB_KBD_OFF;
		break;
	case CMD_AUX_TEST:
	case CMD_KBD_TEST:
		put_output(k, 0x00, 0); /* clock and data lines are fine */
		break;
	case CMD_SELF_TEST:
		set_command_byte(k, k->ram[0] | CB_SYSTEM);
		put_output(k, 0x55, 0);
		break;
	case CMD_READ_INPUT_PORT:
		put_output(k, 0x80, 0); /* bit 7: keyboard not locked */
		break;
	case CMD_READ_OUTPUT_PORT:
		put_output(k, read_output_port(k), 0);
		break;
	case CMD_READ_TEST_INPUTS:
		put_output(k, 0x00, 0);
		break;
	case CMD_PULSE ... 0xff:
		if (!(cmd & OUT_NO_RESET))
			ask_reset(k);
		break;
	default: /* the controller ignores what it does not know */
		break;
	}
}

static void write_data(struct i8042 *k, u8 value)
{
	u8 cmd = k->pending;

	k->status &= (u8)~STATUS_COMMAND;
	k->pending = 0;
	switch (cmd) {
	case CMD_WRITE_RAM:
		set_command_byte(k, value);
		break;
	case CMD_WRITE_RAM + 1 ... CMD_WRITE_RAM + 31:
		k->ram[cmd - CMD_WRITE_RAM] = value;
		break;
	case CMD_WRITE_OUTPUT_PORT:
		write_output_port(k, value);
		break;
	case CMD_WRITE_KBD_BUFFER:
		put_output(k, value, 0);
		break;
	case CMD_WRITE_AUX_BUFFER:
		put_output(k, value, STATUS_AUX);
		break;
	case CMD_WRITE_AUX:
		put_output(k, RESEND, STATUS_AUX | STATUS_TIMEOUT);
		break;
	default: /* for the keyboard; sending releases its clock line */
		k->ram[0] &= (u8)~CB_KBD_OFF;
		put_output(k, RESEND, STATUS_TIMEOUT);
		break;
	}
}

static void write_port_a(struct i8042 *k, u8 value)
{
	k->port_a = value & (u8)~PORT_A_RESET;
	if (value & PORT_A_RESET)
		ask_reset(k);
}

static u8 read_byte(struct i8042 *k, u64 port)
{
	switch (port) {
	case I8042_DATA:
		k->status &= (u8)~STATUS_OBF;
		update_irqs(k);
		return k->output;
	case I8042_COMMAND:
		return k->status;
	case I8042_PORT_A:
		return k->port_a;
	}
	return 0xff;
}

static u64 i8042_read(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes)
{
	u64 value = 0;

	for (unsigned i = 0; i < size_bytes; i++)
		value |= (u64)read_byte(dev, addr + i) << (8 * i);
	return value;
}

static void i8042_write(void *dev, enum io_space space unused_arg, u64 addr, unsigned size_bytes, u64 value)
{
	struct i8042 *k = dev;

	for (unsigned i = 0; i < size_bytes; i++) {
		u8 byte = (u8)(value >> (8 * i));

		switch (addr + i) {
		case I8042_DATA:
			write_data(k, byte);
			break;
		case I8042_COMMAND:
			write_command(k, byte);
			break;
		case I8042_PORT_A:
			write_port_a(k, byte);
			break;
		}
	}
	update_irqs(k);
}

static void i8042_reset(void *dev)
{
	struct i8042 *k = dev;

	memset(k->ram, 0, sizeof(k->ram));
	k->status = STATUS_UNLOCKED;
	set_command_byte(k, CB_TRANSLATE | CB_SYSTEM | CB_IRQ1);
	k->output = k->pending = 0;
	k->output_port = 0xc0 | OUT_A20 | OUT_NO_RESET; /* 7:6 keyboard data and clock, idle */
	k->port_a = PORT_A_A20;
	update_irqs(k);
}

static void i8042_state(void *dev, struct state_walk *w)
{
	struct i8042 *k = dev;

	STATE(w, k, status);
	STATE(w, k, output);
	STATE(w, k, pending);
	STATE(w, k, output_port);
	STATE(w, k, port_a);
	STATE(w, k, ram);
}

void i8042_init(struct i8042 *k, struct vclock *clock unused_arg, struct irq_line irq1, struct irq_line irq12,
		struct machine_control control)
{
	k->irq1 = irq1;
	k->irq12 = irq12;
	k->control = control;
	i8042_reset(k);
}

const struct device_ops i8042_ops = {
	.name = "i8042",
	.version = 1,
	.read = i8042_read,
	.write = i8042_write,
	.reset = i8042_reset,
	.input = device_no_input,
	.state = i8042_state,
};
