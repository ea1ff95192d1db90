/*
 * rsp.h - the debugger's side of GDB's remote serial protocol: as much of it
 * as looking at a stopped machine takes [GDB Manual E.1 Overview, E.2 Packets].
 *
 * One question at a time, each waits for its answer.  Memory that was read is
 * kept, for the machine stands still: a walk up a stack reads the same places
 * again and again, and each question takes an exchange over a serial port.
 */
#ifndef TOOLS_RSP_H
#define TOOLS_RSP_H

#include "tools/tool.h"

#define RSP_LINE 256            /* memory is read in lines: half a kilobyte of digits */
#define RSP_LINES 64
#define RSP_PACKET 8192         /* the longest answer to what is asked here */

enum rsp_end {
	RSP_GOOD,
	RSP_CLOSED,             /* the other side has gone */
	RSP_SILENT,             /* no answer in time */
	RSP_NONSENSE,           /* none that can be understood */
};

struct rsp {
	int fd;                 /* a socket; the caller's */
	int patience_ms;
	enum rsp_end end;       /* not RSP_GOOD: it has failed, and nothing is asked any more */
	bool no_ack;
	u8 raw[4096];           /* received and not yet looked at */
	size_t raw_at, raw_size;
	char packet[RSP_PACKET];/* the last answer, terminated */
	size_t size;
	struct rsp_line {
		u64 at;
		bool known, readable;
		u8 data[RSP_LINE];
	} lines[RSP_LINES];
};

/* Agrees on how to talk.  False: r->end tells why. */
bool rsp_open(struct rsp *r, int fd, int patience_ms) must_check;

/* Asks; the answer is in r->packet then, an empty one for what the other side does not know. */
bool rsp_ask(struct rsp *r, const char *fmt, ...) printf_like(2, 3) must_check;

/* The threads, of which each is a vCPU: *n of them, at most max. */
bool rsp_threads(struct rsp *r, u64 *ids, size_t max, size_t *n) must_check;

/* Turns to a thread and reads its registers as the packet g has them: *n bytes. */
bool rsp_registers(struct rsp *r, u64 thread, u8 *buf, size_t size, size_t *n) must_check;

/* The memory the thread sees.  False: not all of it is there, or r has failed. */
bool rsp_read(struct rsp *r, u64 at, void *buf, size_t n) must_check;

/* What `end` means, for a complaint. */
const char *rsp_end_text(enum rsp_end end);

#endif
