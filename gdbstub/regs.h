/*
 * regs.h - a vCPU's registers as GDB numbers and names them.
 */
#ifndef GDBSTUB_REGS_H
#define GDBSTUB_REGS_H

#include "gdbstub/gdbstub.h"

#define REG_MAX_BYTES 16

/* What GDB_BY_MODE means for this vCPU, as it runs now. */
enum gdb_arch regs_arch(const struct cpu_state *s);

/* Register n's bytes into buf; returns how many, 0: there is none of that number. */
unsigned regs_read(const struct cpu_state *s, enum gdb_arch arch, unsigned n, u8 buf[REG_MAX_BYTES]);

/* False: no such register, or one that must not be written from outside. */
bool regs_write(struct cpu_state *s, enum gdb_arch arch, unsigned n, const u8 buf[REG_MAX_BYTES]);

/* The target description, in pieces [GDB Manual Appendix G]. */
void regs_describe(enum gdb_arch arch, void (*put)(void *ctx, const char *text, size_t n), void *ctx);

/* Where the vCPU executes, as breakpoints mean it: linear. */
u64 regs_pc(const struct cpu_state *s);

#endif
