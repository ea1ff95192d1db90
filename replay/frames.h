/*
 * frames.h - all frames of a replay, on their way to the host command: written by the hypervisor
 * while it replays, read when it has ended.
 *
 * A recording holds the frames that were received; those that were sent exist only while it runs
 * again.  So `reprise log --pcap` replays it, with nothing plugged in, and has both written, in
 * their order, to a disk of the hypervisor's named "frames".
 *
 * What is on it, little-endian, no gaps, written front to back in whole sectors:
 *    8  "RPFRAMES"
 *    8  version, 1
 * then for each frame
 *    1  type: 1
 *    1  1: sent by the guest, 0: received
 *    2  NIC
 *    4  size, at most FRAME_RECORD_MAX
 *    8  instructions, 8: virtual time in ns, of when it left or entered
 *       size bytes
 * and a last one of type 2 and size 0, at the end of the run.  Type 0: the hypervisor has not
 * come to its end.
 */
#ifndef REPLAY_FRAMES_H
#define REPLAY_FRAMES_H

#include "replay/recording.h"

#define FRAME_RECORD_MAX 16384U
#define FRAMES_BUFFER 65536U /* a multiple of the sector, with room for a record */

struct frame_record {
	bool sent;
	u16 nic;
	u32 size;
	u64 insns, vtime_ns;
	const u8 *data;
};

struct frames_writer {
	struct rec_medium medium;
	err_t error;    /* sticky */
	u64 written;    /* bytes of the medium that are full sectors behind us */
	u32 fill;
	u8 buf[FRAMES_BUFFER];
};

void frames_begin(struct frames_writer *w, const struct rec_medium *m);
void frames_put(struct frames_writer *w, const struct frame_record *f);
/* At the run's end.  Tells whether everything was written. */
err_t frames_end(struct frames_writer *w, const struct execpoint *now) must_check;

struct frames_reader {
	struct rec_medium medium;
	u64 read;       /* bytes of the medium that were read */
	u32 at, fill;
	u8 buf[FRAMES_BUFFER];
};

/* ERR_INVALID: nothing of this kind. */
err_t frames_open(struct frames_reader *r, const struct rec_medium *m) must_check;
/*
 * The next frame; its data is valid until the next call.  ERR_END: that was all; ERR_DAMAGED: the
 * end of the run was not written, or something else; ERR_IO.
 */
err_t frames_next(struct frames_reader *r, struct frame_record *f) must_check;

#endif
