/*
 * log.h - what the stream carries: a recording's events, and what a pair needs
 * besides [docs/LINK.md 6].
 *
 * Writing checks for room first: a record is in the stream whole or not at all.
 * Reading waits for a record to be whole; what makes no sense is an error, and
 * the session is over.
 */
#ifndef FT_LOG_H
#define FT_LOG_H

#include "ft/stream.h"
#include "replay/recording_format.h"

enum ft_record_kind {
	/* 1 to 3: enum rec_event_kind */
	FT_PROGRESS = 8,
	FT_RELEASED = 9,
	FT_PAD = 10,
	FT_PAGE = 11,
	FT_STATE = 12,
	FT_START = 13,
	FT_END = 14,
	FT_ANSWERED = 15,
};

#define FT_STATE_PART 4096
#define FT_RECORD_MAX (REC_INPUT_MAX + 128)
/* Records without bytes behind them are never longer. */
#define FT_SMALL_RECORD_MAX 80

/* A page of the machine: of its memory (space 0), or of disk d's overlay (space 1 + d). */
struct ft_page {
	u32 space;
	u64 number;
	const u8 *data;      /* PAGE_SIZE bytes; NULL: all zeros */
};

/* Where a copy of the machine begins. */
struct ft_start {
	struct execpoint at;
	u64 units, questions, epochs;
	u64 digest;
};

struct ft_end {
	u32 outcome, guest_exit;
	u64 digest;
};

struct ft_record {
	unsigned kind;
	struct rec_event ev;      /* 1 to 3, PROGRESS, END: the point; and what recordings have */
	u64 n;                    /* RELEASED, ANSWERED */
	struct ft_page page;
	const u8 *state;          /* STATE */
	u32 state_bytes;
	struct ft_start start;
	struct ft_end end;
};

/* ---- writing ---- */

struct ft_log_writer {
	struct ft_sender *to;
	struct rec_base base;
};

static inline bool ft_log_has_room(const struct ft_log_writer *w, u32 n)
{
	return ft_sender_room(w->to) >= n;
}

/* All: false if there is no room, and then nothing is written. */
bool ft_log_event(struct ft_log_writer *w, const struct rec_event *ev) must_check;
bool ft_log_progress(struct ft_log_writer *w, u64 count, u64 vtime_ns) must_check;
bool ft_log_number(struct ft_log_writer *w, enum ft_record_kind kind, u64 n) must_check; /* RELEASED, ANSWERED */
bool ft_log_pad(struct ft_log_writer *w) must_check;
bool ft_log_page(struct ft_log_writer *w, const struct ft_page *page) must_check;
bool ft_log_state(struct ft_log_writer *w, const u8 *part, u32 size) must_check;
bool ft_log_start(struct ft_log_writer *w, const struct ft_start *s) must_check; /* deltas start from there */
bool ft_log_end(struct ft_log_writer *w, const struct execpoint *at, const struct ft_end *end) must_check;

/* ---- reading ---- */

struct ft_log_reader {
	u64 at;                          /* of the next record */
	struct rec_base base[REC_MAX_VMS];
	bool started;                    /* START was read */
};

/*
 * The next record; its bytes stay where they are until the receiver's `taken`
 * has passed them.  ERR_END: it is not whole yet.
 */
err_t ft_log_read(struct ft_log_reader *r, const struct ft_receiver *from, struct ft_record *rec) must_check;

#endif
