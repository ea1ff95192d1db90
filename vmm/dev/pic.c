/*
 * pic.c - the pair of 8259A interrupt controllers.  See pic.h.
 *
 * Reads and changes: its own registers, and its INT line.  Never: time.
 *
 * Where PCI chipsets differ from the bare 8259A, this is the chipset: edge or
 * level is chosen a line at a time in ELCR, and ICW1's LTIM does nothing.
 *
 * "The datasheet" is Intel's 8259A, order 231468.
 */
#include "vmm/dev/pic.h"

enum {
	CASCADE = 2, /* the master's input the slave's INT is wired to */
	ICW1_IC4 = 1 << 0, ICW1_SNGL = 1 << 1, ICW1 = 1 << 4,
	ICW4_AEOI = 1 << 1, ICW4_SFNM = 1 << 4,
	OCW3 = 1 << 3, OCW3_RIS = 1 << 0, OCW3_RR = 1 << 1, OCW3_POLL = 1 << 2,
	OCW3_SMM = 1 << 5, OCW3_ESMM = 1 << 6,
};

/* Lines the chipset keeps edge-triggered: timer, keyboard, cascade; RTC, FPU error. */
static const u8 elcr_writable[2] = { 0xf8, 0xde };

/* 0 is the highest of the eight; 8 means no bit is set. */
static unsigned top_priority(const struct pic_chip *c, u8 bits)
{
	unsigned priority = 0;

	if (!bits)
		return 8;
	while (!(bits >> ((c->lowest + 1 + priority) & 7) & 1))
		priority++;
	return priority;
}

static unsigned input_of(const struct pic_chip *c, unsigned priority)
{
	return (c->lowest + 1 + priority) & 7;
}

/*
 * The input that INT is raised for, or -1.  What is in service holds back its
 * own and lower priorities; special mask mode lets a masked one hold back
 * nothing.  [8259A datasheet, Fully Nested Mode, Special Mask Mode]
 */
static int requesting(const struct pic *p, unsigned n)
{
	const struct pic_chip *c = &p->chip[n];
	u8 request = c->irr & (u8)~c->imr;
	unsigned serving, priority;

	if (!request || c->init_step)
		return -1;
	serving = top_priority(c, c->special_mask ? c->isr & (u8)~c->imr : c->isr);
	priority = top_priority(c, request);
	if (priority < serving)
		return (int)input_of(c, priority);
	/*
	 * The special fully nested master lets the slave interrupt itself, so
	 * that the slave's own priorities hold.  [8259A datasheet, Special Fully Nested Mode]
	 */
	if (n == 0 && c->icw4 & ICW4_SFNM && priority == serving && input_of(c, priority) == CASCADE)
		return CASCADE;
	return -1;
}

/*
 * The slave's INT follows through to the master's IR2 as a level.  Were it an
 * edge, a slave that goes on requesting after an acknowledge would never be
 * heard again.
 */
static void update(struct pic *p)
{
	struct pic_chip *master = &p->chip[0];
	u8 slave_int = requesting(p, 1) >= 0 ? 1 << CASCADE : 0;

	master->irr = (u8)((master->irr & ~(1 << CASCADE)) | slave_int);
	irq_set(&p->intr, requesting(p, 0) >= 0);
}

void pic_set_line(struct pic *p, unsigned irq, bool level)
{
	struct pic_chip *c = &p->chip[irq >> 3 & 1];
	u8 bit = (u8)(1 << (irq & 7));

	if (irq == CASCADE || irq >= PIC_NLINES)
		return;
	/*
	 * An edge is latched until acknowledged, but the line must stay high
	 * until then: a fall withdraws it.  [8259A datasheet, Edge and Level Triggered Modes]
	 */
	if (!level)
		c->irr &= (u8)~bit;
	else if (c->elcr & bit || !(c->lines & bit))
		c->irr |= bit;
	c->lines = (u8)(level ? c->lines | bit : c->lines & ~bit);
	update(p);
}

bool pic_has_interrupt(const struct pic *p)
{
	return requesting(p, 0) >= 0;
}

/* One chip's half of INTA.  Returns the input, 7 with nothing in service if spurious. */
static unsigned acknowledge(struct pic *p, unsigned n, bool *spurious)
{
	struct pic_chip *c = &p->chip[n];
	int input = requesting(p, n);
	u8 bit;

	*spurious = input < 0;
	if (input < 0)
		return 7;
	bit = (u8)(1 << input);
	if (!(c->elcr & bit))
		c->irr &= (u8)~bit;
	if (!(c->icw4 & ICW4_AEOI))
		c->isr |= bit;
	else if (c->rotate_aeoi)
		c->lowest = (u8)input;
	return (unsigned)input;
}

/* The two pulses of INTA. */
static u8 inta(struct pic *p)
{
	bool spurious;
	unsigned input = acknowledge(p, 0, &spurious), n = 0;

	if (!spurious && input == CASCADE) {
		n = 1;
		input = acknowledge(p, 1, &spurious); /* spurious: IRQ 15, IR2 stays in service */
	}
	return (u8)(p->chip[n].vector_base | input);
}

u8 pic_acknowledge(struct pic *p)
{
	u8 vector = inta(p);

	update(p);
	return vector;
}

u8 pic_pending_vector(const struct pic *p)
{
	struct pic copy = *p;

	return inta(&copy);
}

static void end_of_interrupt(struct pic_chip *c, u8 command)
{
	u8 serving = c->isr;
	bool specific = command & 0x40, rotate = command & 0x80;
	unsigned input = command & 7;

	if (!specific) {
		/* A non-specific EOI passes over masked ones in special mask mode. */
		if (c->special_mask)
			serving &= (u8)~c->imr;
		if (!serving)
			return;
		input = input_of(c, top_priority(c, serving));
	}
	c->isr &= (u8)~(1 << input);
	if (rotate)
		c->lowest = (u8)input;
}

/* [8259A datasheet, Operation Command Word 2] */
static void write_ocw2(struct pic_chip *c, u8 value)
{
	switch (value >> 5) {
	case 0:
	case 4:
		c->rotate_aeoi = value >> 7;
		break;
	case 1:
	case 3:
	case 5:
	case 7:
		end_of_interrupt(c, value);
		break;
	case 6:
		c->lowest = value & 7;
		break;
	default: /* 2: no operation */
		break;
	}
}

static void write_ocw3(struct pic_chip *c, u8 value)
{
	if (value & OCW3_ESMM)
		c->special_mask = !!(value & OCW3_SMM);
	if (value & OCW3_POLL)
		c->poll = 1;
	else if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
}

/*
 * Begins initialisation.  The edge detectors start over: a line that is high
 * already must fall and rise.  [8259A datasheet, Initialization Command Words 1 and 2]
 */
static void write_icw1(struct pic_chip *c, u8 value)
{
	c->icw1 = value;
	if (!(value & ICW1_IC4))
		c->icw4 = 0;
	c->irr = c->lines & c->elcr;
	c->isr = c->imr = 0;
	c->lowest = 7;
	c->rotate_aeoi = c->special_mask = c->read_isr = c->poll = 0;
	c->init_step = 2;
}

/* The second port: the rest of the ICWs in turn, then the mask (OCW1). */
static void write_data(struct pic_chip *c, u8 value)
{
	bool needs_icw4 = c->icw1 & ICW1_IC4;

	switch (c->init_step) {
	case 2:
		c->vector_base = value & 0xf8;
		c->init_step = c->icw1 & ICW1_SNGL ? (needs_icw4 ? 4 : 0) : 3;
		break;
	case 3: /* ICW3 names the cascade, which is wired and not ours to choose */
		c->init_step = needs_icw4 ? 4 : 0;
		break;
	case 4:
		c->icw4 = value & 0x1f;
		c->init_step = 0;
		break;
	default:
		c->imr = value;
	}
}

/* A poll is an acknowledge by the processor's own hand. [8259A datasheet, Poll Command] */
static u8 read_poll(struct pic *p, unsigned n)
{
	bool spurious;
	unsigned input = acknowledge(p, n, &spurious);

	p->chip[n].poll = 0;
	update(p);
	return spurious ? 0 : (u8)(0x80 | input);
}

/* Which chip a port belongs to: 0, 1, or -1.  *second: its A0 = 1 port. */
static int chip_of(u64 port, bool *second)
{
	*second = port & 1;
	if ((port & ~1UL) == PIC_MASTER_PORT)
		return 0;
	return (port & ~1UL) == PIC_SLAVE_PORT ? 1 : -1;
}

static u8 read_port(struct pic *p, u64 port)
{
	bool second;
	int n = chip_of(port, &second);
	struct pic_chip *c;

	if ((port & ~1UL) == PIC_ELCR_PORT)
		return p->chip[port & 1].elcr;
	if (n < 0)
		return 0xff;
	c = &p->chip[n];
	if (c->poll)
		return read_poll(p, (unsigned)n);
	if (second)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

static void write_port(struct pic *p, u64 port, u8 value)
{
	bool second;
	int n = chip_of(port, &second);
	struct pic_chip *c;

	if ((port & ~1UL) == PIC_ELCR_PORT) {
		c = &p->chip[port & 1];
		c->irr &= (u8)~c->elcr; /* a level leaves no edge behind */
		c->elcr = value & elcr_writable[port & 1];
		c->irr = (u8)((c->irr & ~c->elcr) | (c->lines & c->elcr));
	} else if (n >= 0) {
		c = &p->chip[n];
		if (second)
			write_data(c, value);
		else if (value & ICW1)
			write_icw1(c, value);
		else if (value & OCW3)
			write_ocw3(c, value);
		else
			write_ocw2(c, value);
	}
	update(p);
}

/* 8 bits wide: a wider access is one for each port, low one first. */
static u64 pic_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	u64 value = 0;

	if (space != IO_PORT)
		return ~0UL;
	for (unsigned i = 0; i < size_bytes; i++)
		value |= (u64)read_port(dev, addr + i) << (8 * i);
	return value;
}

static void pic_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	if (space != IO_PORT)
		return;
	for (unsigned i = 0; i < size_bytes; i++)
		write_port(dev, addr + i, (u8)(value >> (8 * i)));
}

/* Not yet initialised it interrupts nobody: everything masked, as firmware finds it. */
static void pic_reset(void *dev)
{
	struct pic *p = dev;

	for (unsigned n = 0; n < 2; n++)
		p->chip[n] = (struct pic_chip){ .imr = 0xff, .lowest = 7 };
	update(p);
}

static void pic_state(void *dev, struct state_walk *w)
{
	struct pic *p = dev;

	for (unsigned n = 0; n < 2; n++) {
		struct pic_chip *c = &p->chip[n];

		STATE(w, c, lines);
		STATE(w, c, irr);
		STATE(w, c, isr);
		STATE(w, c, imr);
		STATE(w, c, elcr);
		STATE(w, c, vector_base);
		STATE(w, c, lowest);
		STATE(w, c, init_step);
		STATE(w, c, icw1);
		STATE(w, c, icw4);
		STATE(w, c, rotate_aeoi);
		STATE(w, c, special_mask);
		STATE(w, c, read_isr);
		STATE(w, c, poll);
	}
}

const struct device_ops pic_ops = {
	.name = "pic",
	.version = 1,
	.read = pic_read,
	.write = pic_write,
	.reset = pic_reset,
	.input = device_no_input,
	.state = pic_state,
};

void pic_init(struct pic *p, struct vclock *clock unused_arg, struct irq_line intr)
{
	memset(p, 0, sizeof(*p));
	p->intr = intr;
	pic_reset(p);
}
