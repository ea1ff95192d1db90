/*
 * capture.h - the frames of a replay, from the hypervisor's file [replay/frames.h] into pcapng.
 */
#ifndef TOOLS_CAPTURE_H
#define TOOLS_CAPTURE_H

#include <stdio.h>

#include "replay/frames.h"

#define CAPTURE_NICS 4

/* What a capture is told of the machine. */
struct capture_machine {
	u64 start_ns;                  /* the date at virtual time 0, in ns since 1970 UTC */
	bool there[CAPTURE_NICS];
	u8 mac[CAPTURE_NICS][6];
	char comment[512];             /* of the whole file; empty: none */
};

struct capture_counts {
	u64 received, sent;
};

/* From HEAD [docs/RECORDING.md 4].  False: it has no NICs. */
bool capture_describe(struct capture_machine *m, const void *head, size_t head_size) must_check;

/* All of r, to a file that is empty.  ERR_DAMAGED: it is not whole; what came before is written. */
err_t capture_convert(const struct capture_machine *m, struct frames_reader *r, FILE *file, struct capture_counts *n) must_check;

#endif
