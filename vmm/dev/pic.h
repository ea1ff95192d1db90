/*
 * pic.h - the two 8259A interrupt controllers of a PC, cascaded at IRQ 2.
 *
 * Lines come in by pic_set_line; the vCPU loop asks pic_has_interrupt and, when
 * the guest takes the interrupt, runs the INTA cycle with pic_acknowledge.  The
 * master's INT output is also given as a line, for a LAPIC's LINT0.
 */
#ifndef VMM_DEV_PIC_H
#define VMM_DEV_PIC_H

#include "vmm/dev/device.h"

enum {
	PIC_MASTER_PORT = 0x20,
	PIC_SLAVE_PORT = 0xa0,
	PIC_ELCR_PORT = 0x4d0,
	PIC_NLINES = 16,
};

struct pic_chip {
	u8 lines;        /* levels of IR0-7 */
	u8 irr;          /* edge: a rise not yet acknowledged; level: the line */
	u8 isr;
	u8 imr;
	u8 elcr;         /* a bit set: that line is level-triggered */
	u8 vector_base;  /* ICW2 */
	u8 lowest;       /* which input has the lowest priority; 7 unless rotated */
	u8 init_step;    /* 0: ready; 2, 3, 4: the ICW expected next */
	u8 icw1;
	u8 icw4;
	u8 rotate_aeoi;
	u8 special_mask;
	u8 read_isr;     /* a read of the first port gives ISR, not IRR */
	u8 poll;         /* the next read is a poll */
};

struct pic {
	struct irq_line intr;
	struct pic_chip chip[2];  /* master, slave */
};

extern const struct device_ops pic_ops;

/* The clock is not used: a PIC has no timing.  intr is the master's INT output. */
void pic_init(struct pic *p, struct vclock *clock, struct irq_line intr);

/* A device's line changes.  IRQ 2 is the cascade and is ignored. */
void pic_set_line(struct pic *p, unsigned irq, bool level);

bool pic_has_interrupt(const struct pic *p);

/* The vector pic_acknowledge would give now, with nothing changed. */
u8 pic_pending_vector(const struct pic *p);

/* The INTA cycle: the vector, spurious IRQ 7 or 15 when the request has gone. */
u8 pic_acknowledge(struct pic *p);

#endif
