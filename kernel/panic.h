/*
 * panic.h - how the host dies: saying why, with a symbolised backtrace.
 */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include "kernel/base.h"

struct trap_frame;

/* Status of a panicked hypervisor on the debug-exit port: QEMU exits with 127. */
#define PANIC_EXIT_CODE 0x3f

noreturn_fn void panic(const char *fmt, ...) printf_like(1, 2);
noreturn_fn void panic_trap(const struct trap_frame *f, const char *fmt, ...) printf_like(2, 3);

/* Called once before a panic says why: for output that still waits somewhere. */
void panic_set_hook(void (*fn)(void *ctx), void *ctx);

/* Ends the machine: QEMU's status is code * 2 + 1. On a machine without that port, halts. */
noreturn_fn void machine_exit(u8 code);

/* "function+0x1f", or the bare address; always terminated. */
void symbol_name(u64 addr, char *buf, size_t size);

/* Prints the calls that led here, a line each. */
void backtrace(u64 rip, u64 rbp);

#endif
