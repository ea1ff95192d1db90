/*
 * ftwire.h - what is on the wire: a capture on both taps of the demo, by the kernel, in the order
 * in which frames came to the bridge.
 *
 * A frame that a host sends with the guest's address as its source is a sign of life: whoever
 * sends one acts as the machine.  A capture that lost frames says so: what it did not see it cannot
 * vouch for.
 */
#ifndef TOOLS_FTWIRE_H
#define TOOLS_FTWIRE_H

#include "tools/tool.h"

struct wire {
	int fd;
	u8 *ring;
	size_t ring_bytes;
	unsigned nframes, frame_bytes, next;
	int tap[2];              /* their indexes */
	u8 guest_mac[6];
	u64 last_ns;
	u64 dropped;             /* frames the ring had no room for */
	FILE *file;              /* pcapng of all frames; NULL: not kept */
};

struct wire_frame {
	unsigned host;           /* 0 or 1: it sent the frame */
	u64 at_ns;               /* CLOCK_MONOTONIC, when it came to the tap */
	u32 size;
	const u8 *data;          /* its beginning, 60 bytes or all of it if there are fewer */
};

/* Begins a pcapng file of frames on n interfaces.  Complains. */
enum status wire_begin_file(FILE **f, const char *path, const char *comment, const char *const *interfaces, unsigned n) must_check;

/* file: where to keep all frames, for Wireshark; NULL: nowhere.  Complains. */
enum status wire_open(struct wire *w, const char *const taps[2], const u8 guest_mac[6], const char *file) must_check;
/* Calls with each frame of the guest's that has come. */
void wire_turn(struct wire *w, void (*on_frame)(void *ctx, const struct wire_frame *f), void *ctx);
void wire_close(struct wire *w);

#endif
