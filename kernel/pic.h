/*
 * pic.h - the host's 8259 pair, which carries the serial lines to the CPU
 * through the LAPIC's LINT0 ("virtual wire").  Masked but inside cpu_wait, both
 * here and at LINT0: see pic.c.
 */
#ifndef KERNEL_PIC_H
#define KERNEL_PIC_H

#include "kernel/base.h"

/* Remaps to VEC_HOST_PIC, automatic EOI, everything masked. */
void host_pic_init(void);

/* Line irq (0-7) shall end a cpu_wait. */
void host_pic_wake_on(u8 irq);

/* Opens the lines of host_pic_wake_on; closes all. */
void host_pic_unmask(void);
void host_pic_mask(void);

#endif
