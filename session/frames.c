/*
 * frames.c - a replay's frames, written for the host command to the disk "frames" [replay/frames.h].
 *
 * Reads the replay as it passes, and changes nothing of it.
 */
#include "session/session.h"

static void put(struct session *s, const struct execpoint *at, unsigned nic, bool sent, const u8 *data, u32 size)
{
	frames_put(s->frames, &(struct frame_record){ .sent = sent, .nic = (u16)nic, .size = size, .insns = at->count,
						      .vtime_ns = at->vtime_ns, .data = data });
}

/* Of a packet the frames that it is on a wire; of one that makes no sense there are none. */
static void keep(void *ctx, const struct execpoint *at, unsigned nic, bool sent, bool packet, const u8 *data, u32 size)
{
	struct segments s;
	u8 frame[SEGMENT_FRAME_MAX];

	if (!packet)
		put(ctx, at, nic, sent, data, size);
	else if (segments_begin(&s, data, size))
		while ((size = segments_next(&s, frame)))
			put(ctx, at, nic, sent, frame, size);
}

void session_tap_frames(struct session *s, struct replay_boundary *p)
{
	struct rec_medium m;

	if (!session_number(s->session, "frames", 0))
		return;
	m = session_medium(s, "frames");
	s->frames = session_memory(sizeof(*s->frames));
	frames_begin(s->frames, &m);
	s->tap = (struct frame_tap){ keep, s };
	p->tap = &s->tap;
}

void session_end_frames(struct session *s)
{
	if (s->frames && frames_end(s->frames, &s->vm->now))
		session_fail("the frames could not be written: the disk for temporary files is full or failing");
}
