/*
 * arbiter_scsi.c - one attempt at the word, step by step.  See arbiter_scsi.h.
 *
 *     DRAIN --> SIZE --> READ --> judge --+--> SWAP (compare and write)
 *                         ^               |
 *                         |               +--> LOCK --> READ_LOCKED --> judge --> WRITE
 *                         |
 *                       PAUSE <-- from anywhere, after whatever is not certain
 *
 * DRAIN waits for the answer to an earlier attempt's command: nothing else is
 * asked before (S3).
 *
 * Only the answer GOOD to SWAP or WRITE, or the word itself when it is read, is
 * success.  Nothing else is failure for certain: what was sent may be carried out
 * late (S4), so from then on an attempt ends by success, by another word, or
 * as unknown.
 *
 *   1  the end of an attempt      2  what was read      3  answers      4  the attempt
 */
#include "ft/arbiter_scsi.h"
#include "kernel/xxh.h"

enum step { DRAIN, SIZE, READ, SWAP, LOCK, READ_LOCKED, WRITE, PAUSE, DONE };

#define PAUSE_NS 1000000UL /* the first, on average */
#define PAUSE_DOUBLINGS 5

/* --- 1  the end of an attempt ------------------------------------------------------ */

static enum ft_verdict end(struct ft_store *s, enum ft_verdict verdict)
{
	s->step = DONE;
	s->verdict = verdict;
	return verdict;
}

/* Neither success nor another word: said of what may still happen. */
static enum ft_verdict end_without(struct ft_store *s)
{
	return end(s, s->sent ? FT_UNKNOWN : FT_UNREACHABLE);
}

static enum ft_verdict refuse(struct ft_store *s, const char *complaint)
{
	s->complaint = complaint;
	return end_without(s);
}

static u64 next_key(struct ft_store *s)
{
	const u64 parts[2] = { s->config.host, ++s->nkeys };
	u64 key = XXH64(parts, sizeof(parts), 0);

	return key ? key : 1;
}

/* Begins again in a while: two hosts that take the lock from each other wait for different times. */
static enum ft_verdict pause_for(struct ft_store *s, const char *complaint)
{
	u64 most = 2 * PAUSE_NS << MIN(s->ntries, PAUSE_DOUBLINGS);

	s->ntries++;
	s->complaint = complaint;
	s->until_ns = s->config.now_ns(s->config.ctx) + next_key(s) % most;
	s->step = PAUSE;
	return FT_ASKING;
}

/* --- 2  what was read -------------------------------------------------------------- */

static enum ft_verdict refuse_block(struct ft_store *s, err_t err)
{
	switch (err) {
	case ERR_END:
		return refuse(s, "the store is not formatted; the first host of a pair does that: reprise ft primary");
	case ERR_VERSION:
		return refuse(s, "the store is of another version of Reprise; use that one, or put zeros over its first block");
	case ERR_DAMAGED:
		return refuse(s, "the store's block is damaged; make sure that no host of the pair runs, and put zeros over it");
	default:
		return refuse(s, "the disk holds something else than a store; give another disk, or put zeros over its first block");
	}
}

/* A format's desired block is an empty word; it goes over nothing, or over what it was told to. */
static enum ft_verdict judge_format(struct ft_store *s, err_t err)
{
	const struct ft_word none = { 0 };

	if (!err && s->sent && ft_word_equal(&s->current, &none))
		return end(s, FT_SWAPPED);
	if (s->overwrite || err == ERR_END)
		return FT_ASKING;
	return err ? refuse_block(s, err) : end(s, FT_DIFFERS);
}

/* FT_ASKING: the block is as expected, and may be changed. */
static enum ft_verdict judge(struct ft_store *s)
{
	enum ft_store_method method;
	err_t err = ft_store_decode(s->scsi.in, &method, &s->current);

	memcpy(s->seen, s->scsi.in, FT_BLOCK_BYTES);
	if (s->formatting)
		return judge_format(s, err);
	if (err)
		return refuse_block(s, err);
	s->method = method;
	if (s->sent && ft_word_equal(&s->current, &s->desired))
		return end(s, FT_SWAPPED);
	if (!ft_word_equal(&s->current, &s->expected))
		return end(s, FT_DIFFERS);
	return FT_ASKING;
}

static enum step first_step(const struct ft_store *s)
{
	return s->sized ? READ : SIZE;
}

/* --- 3  answers -------------------------------------------------------------------- */

static enum ft_verdict on_size(struct ft_store *s)
{
	const u8 *in = s->scsi.in;
	u64 last = (u64)in[0] << 24 | (u64)in[1] << 16 | (u64)in[2] << 8 | in[3];
	u32 block_bytes = (u32)in[4] << 24 | (u32)in[5] << 16 | (u32)in[6] << 8 | in[7];

	if (s->scsi.in_bytes < 8)
		return pause_for(s, "the store does not say its size");
	if (block_bytes != FT_BLOCK_BYTES)
		return refuse(s, "the store's disk has no blocks of 512 bytes; give one that has");
	if (s->config.lba > last)
		return refuse(s, "the store's block is beyond the end of its disk");
	s->sized = true;
	s->step = READ;
	return FT_ASKING;
}

static enum ft_verdict on_read(struct ft_store *s)
{
	enum ft_verdict verdict;

	if (s->scsi.in_bytes < FT_BLOCK_BYTES)
		return pause_for(s, "the store's block comes back short");
	verdict = judge(s);
	if (verdict != FT_ASKING)
		return verdict;
	if (s->step == READ_LOCKED) {
		s->step = WRITE;
	} else if (s->method == FT_STORE_COMPARE_AND_WRITE) {
		s->step = SWAP;
	} else {
		ft_reserve_begin(&s->lock, next_key(s));
		s->step = LOCK;
	}
	return FT_ASKING;
}

static enum ft_verdict on_good(struct ft_store *s)
{
	switch (s->step) {
	case SIZE:
		return on_size(s);
	case READ:
	case READ_LOCKED:
		return on_read(s);
	default: /* SWAP, WRITE: the word is ours */
		s->current = s->desired;
		return end(s, FT_SWAPPED);
	}
}

static enum ft_verdict on_unsupported(struct ft_store *s)
{
	if (s->step != SWAP)
		return refuse(s, "the store's disk does not know a command for reading and writing blocks; give another disk");
	if (!s->formatting)
		return refuse(s, "the store was formatted for COMPARE AND WRITE, which its target does not have (any more)");
	s->sent = false; /* the target has said that it cannot do that */
	s->method = FT_STORE_RESERVATION;
	s->step = READ;
	return FT_ASKING;
}

static enum ft_verdict on_answer(struct ft_store *s, enum ft_scsi_answer answer)
{
	if (s->step == DRAIN) { /* nobody waits for it any more */
		s->step = first_step(s);
		return FT_ASKING;
	}
	switch (answer) {
	case FT_SCSI_GOOD:
		return on_good(s);
	case FT_SCSI_UNSUPPORTED:
		return on_unsupported(s);
	case FT_SCSI_ILLEGAL:
		return refuse(s, "the store's disk refuses a command for reading and writing blocks; give another disk");
	case FT_SCSI_CONFLICT:
		return pause_for(s, "the store's disk is reserved by another host");
	case FT_SCSI_ATTENTION:
	case FT_SCSI_MISCOMPARE: /* what it found is read, and judged */
		return pause_for(s, NULL);
	default:
		return pause_for(s, "the store's disk answers with an error");
	}
}

static enum ft_verdict on_lock(struct ft_store *s)
{
	switch (ft_reserve_poll(&s->lock)) {
	case FT_RESERVE_HELD:
		s->step = READ_LOCKED;
		return FT_ASKING;
	case FT_RESERVE_REFUSED:
		return refuse(s, "the store's target has neither COMPARE AND WRITE nor persistent reservations; give another");
	case FT_RESERVE_AGAIN:
		return pause_for(s, "the store's disk is reserved by another host");
	default:
		return FT_ASKING;
	}
}

/* --- 4  the attempt ---------------------------------------------------------------- */

static struct scsi_command command_of(struct ft_store *s)
{
	if (s->step == SIZE)
		return ft_scsi_capacity();
	if (s->step == READ || s->step == READ_LOCKED)
		return ft_scsi_read(s->config.lba, 1);
	memcpy(s->out, s->seen, FT_BLOCK_BYTES);
	ft_store_encode(s->method, &s->desired, s->out + FT_BLOCK_BYTES);
	return s->step == SWAP ? ft_scsi_compare_and_write(s->config.lba, s->out) :
				 ft_scsi_write(s->config.lba, s->out + FT_BLOCK_BYTES, 1);
}

/* One step: FT_ASKING with nothing outstanding means another can follow at once. */
static enum ft_verdict advance(struct ft_store *s, bool *waiting)
{
	enum ft_scsi_answer answer;
	struct scsi_command c;

	if (s->step == PAUSE) {
		*waiting = s->config.now_ns(s->config.ctx) < s->until_ns;
		if (!*waiting)
			s->step = first_step(s);
		return FT_ASKING;
	}
	if (s->step == LOCK) {
		enum ft_verdict verdict = on_lock(s);

		*waiting = s->step == LOCK;
		return verdict;
	}
	if (!s->scsi.asked) {
		c = command_of(s);
		if (!ft_scsi_ask(&s->scsi, &c))
			return pause_for(s, "the store's adapter takes no more commands");
		s->sent |= s->step == SWAP || s->step == WRITE;
	}
	answer = ft_scsi_poll(&s->scsi);
	*waiting = answer == FT_SCSI_NONE;
	return *waiting ? FT_ASKING : on_answer(s, answer);
}

static enum ft_verdict poll(void *ctx, struct ft_word *current)
{
	struct ft_store *s = ctx;
	bool waiting = false;

	if (s->step == DONE)
		return s->verdict;
	for (unsigned i = 0; i < 16 && !waiting; i++) {
		enum ft_verdict verdict = advance(s, &waiting);

		if (verdict != FT_ASKING) {
			*current = s->current;
			return verdict;
		}
	}
	if (s->config.now_ns(s->config.ctx) - s->began_ns >= s->config.patience_ns) {
		if (s->scsi.asked)
			s->complaint = "the store does not answer";
		return end_without(s);
	}
	return FT_ASKING;
}

static void begin(struct ft_store *s, const struct ft_word *expected, const struct ft_word *desired)
{
	s->expected = *expected;
	s->desired = *desired;
	s->formatting = s->overwrite = s->sent = false;
	s->ntries = 0;
	s->complaint = NULL;
	s->began_ns = s->config.now_ns(s->config.ctx);
	s->step = s->scsi.asked ? DRAIN : first_step(s);
}

static void start(void *ctx, const struct ft_word *expected, const struct ft_word *desired)
{
	begin(ctx, expected, desired);
}

void ft_store_format(struct ft_store *s, bool overwrite)
{
	const struct ft_word none = { 0 };

	begin(s, &none, &none);
	s->formatting = true;
	s->overwrite = overwrite;
	s->method = FT_STORE_COMPARE_AND_WRITE;
}

static bool may_take(void *ctx unused_arg, u64 holder unused_arg)
{
	return true;
}

void ft_store_init(struct ft_store *s, const struct ft_store_config *c)
{
	*s = (struct ft_store){ .config = *c, .step = DONE, .verdict = FT_UNREACHABLE };
	s->arbiter = (struct ft_arbiter){ start, poll, s };
	s->scsi.port = c->port;
	s->lock = (struct ft_reserve){ .scsi = &s->scsi, .may_take = may_take, .abort = true };
}

const char *ft_store_complaint(const struct ft_store *s)
{
	return s->complaint;
}
