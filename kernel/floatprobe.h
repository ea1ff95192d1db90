/*
 * floatprobe.h - a fingerprint of the host's floating-point results.
 *
 * An emulated host computes some x87 instructions with the C library of the
 * machine it runs on, so two hosts can differ in a last bit.  A recording
 * carries the fingerprint; a replay on a host with another is refused.
 */
#ifndef KERNEL_FLOATPROBE_H
#define KERNEL_FLOATPROBE_H

#include "kernel/base.h"

/* Takes about 20,000 instructions; leaves x87 and SSE as FNINIT does. */
u64 float_probe(void);

#endif
