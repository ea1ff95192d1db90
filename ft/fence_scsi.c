/*
 * fence_scsi.c - the reservation of a shared disk, by term.  See fence_scsi.h.
 *
 *     RESERVE --> DRAIN --> held
 *       ^  ^--------+ not certain: PAUSE, and again      held --> RELEASE --> done
 *
 * PREEMPT AND ABORT ends the loser's commands before it is answered [SPC4
 * 5.13.11.2.8].  A target without it may have accepted a write of the loser's
 * before PREEMPT, and still be at it: DRAIN is a read, behind it in the
 * unit's queue.  That is exact where the queue is worked off in order; tgtd does so
 * with one I/O thread (docs/ARBITER.md 5).
 */
#include "ft/fence_scsi.h"
#include "kernel/xxh.h"

enum step { WAIT_ANSWER, RESERVE, DRAIN, PAUSE, RELEASE, DONE };

#define PAUSE_NS 1000000UL
#define PAUSE_DOUBLINGS 6

/*
 * A key: 16 bits of the pair, the term, 8 bits of the host, 8 bits that count up.
 * Keys are compared only with those of the same pair.
 */
static u16 pair_bits(u64 pair)
{
	return (u16)(XXH64(&pair, sizeof(pair), 0) | 1); /* never zero, nor the whole key */
}

static u8 host_bits(u64 host)
{
	return (u8)XXH64(&host, sizeof(host), 0);
}

static u64 key_of(struct ft_fence *f)
{
	return (u64)pair_bits(f->config.pair) << 48 | (f->term & 0xffffffff) << 16 | (u64)host_bits(f->config.host) << 8 |
	       ++f->nkeys;
}

static u32 term_of(u64 key)
{
	return (u32)(key >> 16);
}

static bool is_ours(const struct ft_fence *f, u64 key)
{
	return key >> 48 == pair_bits(f->config.pair);
}

/* From an earlier term, or from our own former life in this one. */
static bool may_take(void *ctx, u64 holder)
{
	const struct ft_fence *f = ctx;

	return is_ours(f, holder) &&
	       (term_of(holder) < f->term || (term_of(holder) == f->term && (u8)(holder >> 8) == host_bits(f->config.host)));
}

static enum ft_fence_state end(struct ft_fence *f, enum ft_fence_state state, const char *complaint)
{
	f->step = DONE;
	f->state = state;
	f->complaint = complaint;
	return state;
}

static enum ft_fence_state pause_for(struct ft_fence *f, const char *complaint)
{
	f->complaint = complaint;
	f->until_ns = f->config.now_ns(f->config.ctx) + (PAUSE_NS << MIN(f->ntries, PAUSE_DOUBLINGS));
	f->ntries++;
	f->step = PAUSE;
	return FT_FENCE_TAKING;
}

static enum ft_fence_state on_reserve(struct ft_fence *f)
{
	switch (ft_reserve_poll(&f->reserve)) {
	case FT_RESERVE_HELD:
		f->step = DRAIN;
		return FT_FENCE_TAKING;
	case FT_RESERVE_FORBIDDEN:
		if (is_ours(f, f->reserve.holder))
			return end(f, FT_FENCE_LOST, "another host of the pair has won since and has the disk");
		return end(f, FT_FENCE_REFUSED, "the disk is reserved by somebody who is not of the pair; clear that reservation");
	case FT_RESERVE_REFUSED:
		return end(f, FT_FENCE_REFUSED, "the disk's target has no persistent reservations; share another disk");
	case FT_RESERVE_AGAIN:
		return pause_for(f, "the disk answers with an error");
	default:
		return FT_FENCE_TAKING;
	}
}

static enum ft_fence_state on_drain(struct ft_fence *f, bool *waiting)
{
	const struct scsi_command c = ft_scsi_read(0, 1);
	enum ft_scsi_answer answer;

	if (!f->scsi.asked && !ft_scsi_ask(&f->scsi, &c))
		return pause_for(f, "the disk's adapter takes no more commands");
	answer = ft_scsi_poll(&f->scsi);
	*waiting = answer == FT_SCSI_NONE;
	if (*waiting)
		return FT_FENCE_TAKING;
	return answer == FT_SCSI_GOOD ? end(f, FT_FENCE_HELD, NULL) : pause_for(f, "the disk answers with an error");
}

static void begin(struct ft_fence *f)
{
	ft_reserve_begin(&f->reserve, key_of(f));
	f->step = RESERVE;
}

static enum ft_fence_state advance(struct ft_fence *f, bool *waiting)
{
	enum ft_fence_state state;

	switch (f->step) {
	case WAIT_ANSWER:
		*waiting = ft_scsi_poll(&f->scsi) == FT_SCSI_NONE;
		if (!*waiting)
			begin(f);
		return FT_FENCE_TAKING;
	case PAUSE:
		*waiting = f->config.now_ns(f->config.ctx) < f->until_ns;
		if (!*waiting)
			begin(f);
		return FT_FENCE_TAKING;
	case RESERVE:
		state = on_reserve(f);
		*waiting = f->step == RESERVE;
		return state;
	case RELEASE:
		*waiting = ft_scsi_poll(&f->scsi) == FT_SCSI_NONE;
		return *waiting ? FT_FENCE_TAKING : end(f, FT_FENCE_REFUSED, "given back");
	default:
		return on_drain(f, waiting);
	}
}

enum ft_fence_state ft_fence_poll(struct ft_fence *f)
{
	enum ft_fence_state state = f->state;
	bool waiting = false;

	for (unsigned i = 0; i < 8 && f->step != DONE && !waiting; i++)
		state = advance(f, &waiting);
	return state;
}

void ft_fence_take(struct ft_fence *f, u64 term)
{
	f->term = term;
	f->state = FT_FENCE_TAKING;
	f->complaint = NULL;
	f->ntries = 0;
	if (term > 0xffffffff)
		(void)end(f, FT_FENCE_REFUSED, "the pair has changed hands more than 4 thousand million times; found it anew");
	else if (f->scsi.asked)
		f->step = WAIT_ANSWER;
	else
		begin(f);
}

void ft_fence_release(struct ft_fence *f)
{
	const struct scsi_command c = ft_scsi_reserve_out(FT_PR_RELEASE, f->reserve.key, 0, false, f->reserve.out);

	if (f->state != FT_FENCE_HELD || f->scsi.asked || !ft_scsi_ask(&f->scsi, &c)) {
		(void)end(f, FT_FENCE_REFUSED, "not given back");
		return;
	}
	f->state = FT_FENCE_TAKING;
	f->step = RELEASE;
}

void ft_fence_init(struct ft_fence *f, const struct ft_fence_config *c)
{
	*f = (struct ft_fence){ .config = *c, .step = DONE, .state = FT_FENCE_REFUSED, .complaint = "not asked for" };
	f->scsi.port = c->port;
	f->reserve = (struct ft_reserve){ .scsi = &f->scsi, .may_take = may_take, .ctx = f, .persist = true, .abort = true };
}

bool ft_fence_aborts(const struct ft_fence *f)
{
	return f->reserve.abort;
}

bool ft_fence_persists(const struct ft_fence *f)
{
	return f->reserve.persist;
}
