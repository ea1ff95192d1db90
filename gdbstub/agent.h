/*
 * agent.h - GDB's agent expressions: the bytecode of breakpoint conditions
 * [GDB Manual F.1 General Bytecode Design].
 */
#ifndef GDBSTUB_AGENT_H
#define GDBSTUB_AGENT_H

#include "kernel/base.h"

/* What an expression can look at; each answers false where there is nothing. */
struct agent_machine {
	bool (*reg)(void *ctx, unsigned n, u64 *value);
	bool (*memory)(void *ctx, u64 at, u8 *buf, unsigned n);
	void *ctx;
};

/*
 * The value on top of the stack at the end.  ERR_INVALID: bad code, something
 * not readable, a division by zero, or too long a run; the caller then lets
 * GDB decide, which evaluates every condition again itself.
 */
err_t agent_eval(const u8 *code, size_t size, const struct agent_machine *m, u64 *value) must_check;

#endif
