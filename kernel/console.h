/*
 * console.h - where the hypervisor speaks.
 *
 * COM2 is the control channel to the host command, COM1 the guest's console.
 * On the control channel the host's own talk is comment lines, "# " first;
 * what the command reads is written by control_printf, without it.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <stdarg.h>

#include "kernel/base.h"
#include "kernel/serial.h"

/* Finds the ports; selects COM2 when there is one, else COM1. */
void console_init(void);

/* Where kprintf and control_printf go from now on; NULL is nowhere. */
void console_select(struct serial *port);

void kprintf(const char *fmt, ...) printf_like(1, 2);
void kvprintf(const char *fmt, va_list args);

/*
 * On the control channel each line begins with this from now on, "# " of talk included; NULL:
 * with nothing.  The string stays the caller's.  A line that is half printed goes on as it began.
 */
void console_tag(const char *tag);

/* A machine-readable line: begins at the start of a line, no prefix. */
void control_printf(const char *fmt, ...) printf_like(1, 2);

/* Waits until what was printed has left the machine. */
void console_flush(void);

#endif
