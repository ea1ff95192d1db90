/*
 * pic.c - the 8259 pair.  See pic.h.
 *
 * While a line is masked its edge is still latched in IRR, so a byte that
 * came while the guest ran interrupts at the next host_pic_unmask.
 *
 * LINT0 is masked, too, because of QEMU: its thread for devices updates the
 * CPU's pending interrupts whenever a byte arrives and the LAPIC listens to the
 * 8259s, masked lines or not; its VMRUN sets the V_IRQ bit of the same word
 * without a lock (7.2, helper_vmrun).  Now and then the guest's interrupt was
 * lost in between, or rather came an entry later.
 */
#include "kernel/cpu.h"
#include "kernel/lapic.h"
#include "kernel/percpu.h"
#include "kernel/pic.h"
#include "kernel/trap.h"
#include "kernel/vectors.h"

enum { PIC1 = 0x20, PIC2 = 0xa0, DATA = 1 };

static u8 wake_lines;

static void wake(void)
{
	this_cpu()->wakeups++;
}

void host_pic_init(void)
{
	/* [8259A datasheet, Initialization command words] */
	outb(PIC1, 0x11); /* ICW1: edge, cascade, ICW4 follows */
	outb(PIC2, 0x11);
	outb(PIC1 + DATA, VEC_HOST_PIC);
	outb(PIC2 + DATA, VEC_HOST_PIC + 8);
	outb(PIC1 + DATA, 0x04); /* ICW3: slave on line 2 */
	outb(PIC2 + DATA, 0x02);
	outb(PIC1 + DATA, 0x03); /* ICW4: 8086 mode, automatic EOI */
	outb(PIC2 + DATA, 0x01);
	host_pic_mask();
	outb(PIC2 + DATA, 0xff);
	/* A line that falls before it is acknowledged shows as line 7. */
	trap_set_irq_handler(VEC_HOST_PIC + 7, NULL);
}

void host_pic_wake_on(u8 irq)
{
	wake_lines |= (u8)(1 << irq);
	trap_set_irq_handler((u8)(VEC_HOST_PIC + irq), wake);
}

void host_pic_unmask(void)
{
	outb(PIC1 + DATA, (u8)~wake_lines);
	host_lint0_open(true);
}

void host_pic_mask(void)
{
	/* In this order: what LINT0 holds already goes with its line; QEMU has no answer for it behind a masked one. */
	outb(PIC1 + DATA, 0xff);
	host_lint0_open(false);
}
