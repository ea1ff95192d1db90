/*
 * ioapic.c - the I/O APIC.  See ioapic.h.
 *
 * Reads and changes: its own registers; sends messages.  Never: time, or a LAPIC
 * other than by message.
 */
#include "vmm/dev/ioapic.h"

/* Offsets in the page. */
enum { IOREGSEL = 0x00, IOWIN = 0x10, EOI = 0x40 };

/* Registers behind IOREGSEL and IOWIN. */
enum { IOAPIC_ID = 0x00, IOAPIC_VERSION = 0x01, IOAPIC_ARB = 0x02, IOREDTBL = 0x10 };

#define ENTRY_REMOTE_IRR BIT(14)
#define ENTRY_LEVEL BIT(15)
#define ENTRY_MASKED BIT(16)
#define ENTRY_WRITABLE 0xff0000000001afffUL /* all but delivery status, remote IRR, reserved */

static void send(struct ioapic *io, unsigned pin)
{
	u64 entry = io->entry[pin];
	struct apic_message m = {
		.dest = apic_dest8((u8)(entry >> 56)),
		.dest_mode = entry >> 11 & 1,
		.delivery_mode = entry >> 8 & 7,
		.vector = (u8)entry,
		.trigger = entry & ENTRY_LEVEL ? APIC_LEVEL : APIC_EDGE,
		.level = 1,
		.shorthand = APIC_TO_DEST,
	};

	io->send(io->ctx, &m);
}

/*
 * A level-triggered pin that is asserted and unmasked asks once; remote IRR
 * then holds it back until the EOI.  Only fixed and lowest priority know an
 * EOI, so only they may be level-triggered.
 */
static void service_level(struct ioapic *io, unsigned pin)
{
	u64 *entry = &io->entry[pin];

	if (!(*entry & ENTRY_LEVEL) || *entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR) || !(io->lines >> pin & 1))
		return;
	if ((*entry >> 8 & 7) > APIC_LOWEST)
		return;
	*entry |= ENTRY_REMOTE_IRR;
	send(io, pin);
}

/* An edge on a masked pin is lost, not kept. [82093AA 3.2.4, Interrupt Mask] */
void ioapic_set_line(struct ioapic *io, unsigned pin, bool level)
{
	bool rise;

	if (pin >= IOAPIC_NPINS)
		return;
	rise = level && !(io->lines >> pin & 1);
	io->lines = level ? io->lines | 1U << pin : io->lines & ~(1U << pin);
	if (io->entry[pin] & ENTRY_LEVEL)
		service_level(io, pin);
	else if (rise && !(io->entry[pin] & ENTRY_MASKED))
		send(io, pin);
}

void ioapic_eoi(struct ioapic *io, u8 vector)
{
	for (unsigned pin = 0; pin < IOAPIC_NPINS; pin++) {
		u64 *entry = &io->entry[pin];

		if ((u8)*entry != vector || !(*entry & ENTRY_LEVEL) || !(*entry & ENTRY_REMOTE_IRR))
			continue;
		*entry &= ~ENTRY_REMOTE_IRR;
		service_level(io, pin);
	}
}

static u32 read_window(const struct ioapic *io)
{
	unsigned pin = (io->select - IOREDTBL) / 2;

	if (io->select == IOAPIC_ID || io->select == IOAPIC_ARB)
		return (u32)io->id << 24;
	if (io->select == IOAPIC_VERSION)
		return (IOAPIC_NPINS - 1) << 16 | 0x20;
	if (io->select < IOREDTBL || pin >= IOAPIC_NPINS)
		return 0;
	return (u32)(io->select & 1 ? io->entry[pin] >> 32 : io->entry[pin]);
}

static void write_window(struct ioapic *io, u32 value)
{
	unsigned pin = (io->select - IOREDTBL) / 2, shift = io->select & 1 ? 32 : 0;
	u64 *entry, writable;

	if (io->select == IOAPIC_ID)
		io->id = value >> 24 & 15;
	if (io->select < IOREDTBL || pin >= IOAPIC_NPINS)
		return;
	entry = &io->entry[pin];
	writable = ENTRY_WRITABLE & 0xffffffffUL << shift;
	*entry = (*entry & ~writable) | ((u64)value << shift & writable);
	/* Going through edge forgets a remote IRR: how an EOI is forced on chips without EOI. */
	if (!(*entry & ENTRY_LEVEL))
		*entry &= ~ENTRY_REMOTE_IRR;
	service_level(io, pin);
}

/* IOREGSEL and EOI are 8 bits wide, in any access; IOWIN is written 32 bits at once. */
static u64 ioapic_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes unused_arg)
{
	const struct ioapic *io = dev;

	if (space != IO_MEMORY || (addr & PAGE_MASK) != IOAPIC_BASE)
		return ~0UL;
	switch (addr & ~PAGE_MASK) {
	case IOREGSEL:
		return io->select;
	case IOWIN:
		return read_window(io);
	default:
		return 0;
	}
}

static void ioapic_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct ioapic *io = dev;

	if (space != IO_MEMORY || (addr & PAGE_MASK) != IOAPIC_BASE)
		return;
	switch (addr & ~PAGE_MASK) {
	case IOREGSEL:
		io->select = (u8)value;
		break;
	case IOWIN:
		if (size_bytes == 4)
			write_window(io, (u32)value);
		break;
	case EOI:
		ioapic_eoi(io, (u8)value);
		break;
	default:
		break;
	}
}

static void ioapic_reset(void *dev)
{
	struct ioapic *io = dev;

	io->id = io->default_id;
	io->select = 0;
	io->lines = 0;
	for (unsigned pin = 0; pin < IOAPIC_NPINS; pin++)
		io->entry[pin] = ENTRY_MASKED;
}

static void ioapic_state(void *dev, struct state_walk *w)
{
	struct ioapic *io = dev;

	STATE(w, io, id);
	STATE(w, io, select);
	STATE(w, io, lines);
	STATE(w, io, entry);
}

const struct device_ops ioapic_ops = {
	.name = "ioapic",
	.version = 1,
	.read = ioapic_read,
	.write = ioapic_write,
	.reset = ioapic_reset,
	.input = device_no_input,
	.state = ioapic_state,
};

void ioapic_init(struct ioapic *io, struct vclock *clock unused_arg, u8 id,
		 void (*send_message)(void *ctx, const struct apic_message *m), void *ctx)
{
	memset(io, 0, sizeof(*io));
	io->send = send_message;
	io->ctx = ctx;
	io->default_id = id & 15;
	ioapic_reset(io);
}
