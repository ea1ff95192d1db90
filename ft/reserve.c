/*
 * reserve.c - register, look, reserve or preempt.  See reserve.h.
 *
 *     REGISTER --> LOOK --> RESERVE (nobody has it)    --> held
 *        ^           |
 *        |           +----> PREEMPT (from its holder)  --> held
 *        |                      |
 *        +--- without what the target does not know ---+
 *
 * Every other answer ends the attempt: FT_RESERVE_AGAIN.
 */
#include "ft/reserve.h"

enum { REGISTER, LOOK, RESERVE, PREEMPT };

void ft_reserve_begin(struct ft_reserve *r, u64 key)
{
	r->key = key;
	r->holder = 0;
	r->aborted = false;
	r->step = REGISTER;
}

static struct scsi_command command_of(struct ft_reserve *r)
{
	switch (r->step) {
	case REGISTER:
		return ft_scsi_reserve_out(FT_PR_REGISTER_IGNORE, 0, r->key, r->persist, r->out);
	case LOOK:
		return ft_scsi_reserve_in(FT_PR_READ_RESERVATION);
	case RESERVE:
		return ft_scsi_reserve_out(FT_PR_RESERVE, r->key, 0, false, r->out);
	default:
		return ft_scsi_reserve_out(r->abort ? FT_PR_PREEMPT_AND_ABORT : FT_PR_PREEMPT, r->key, r->holder, false, r->out);
	}
}

/* [SPC4 6.15.3 READ RESERVATION]: generation, length, and the holder's key if there is one. */
static enum ft_reserve_state on_look(struct ft_reserve *r)
{
	const u8 *in = r->scsi->in;
	bool held = r->scsi->in_bytes >= 24 && read_bytes_le(in + 4, 4); /* not zero, in any order of bytes */

	if (r->scsi->in_bytes < 8)
		return FT_RESERVE_AGAIN;
	r->holder = held ? read_bytes_be(in + 8, 8) : 0;
	if (held && r->holder != r->key) {
		if (!r->may_take(r->ctx, r->holder))
			return FT_RESERVE_FORBIDDEN;
		r->step = PREEMPT;
	} else {
		r->step = RESERVE; /* or it is ours: then that changes nothing */
	}
	return FT_RESERVE_ASKING;
}

/* What this target does not know: asked again without it.  Refused if that was not it. */
static enum ft_reserve_state do_without(struct ft_reserve *r)
{
	if (r->step == REGISTER && r->persist)
		r->persist = false;
	else if (r->step == PREEMPT && r->abort)
		r->abort = false;
	else
		return FT_RESERVE_REFUSED;
	return FT_RESERVE_ASKING;
}

static enum ft_reserve_state on_good(struct ft_reserve *r)
{
	switch (r->step) {
	case REGISTER:
		r->step = LOOK;
		return FT_RESERVE_ASKING;
	case LOOK:
		return on_look(r);
	default:
		r->aborted = r->step == PREEMPT && r->abort;
		return FT_RESERVE_HELD;
	}
}

enum ft_reserve_state ft_reserve_poll(struct ft_reserve *r)
{
	struct scsi_command c;

	if (r->scsi->asked) {
		enum ft_scsi_answer answer = ft_scsi_poll(r->scsi);
		enum ft_reserve_state state;

		switch (answer) {
		case FT_SCSI_NONE:
			return FT_RESERVE_ASKING;
		case FT_SCSI_GOOD:
			state = on_good(r);
			break;
		case FT_SCSI_UNSUPPORTED:
		case FT_SCSI_ILLEGAL:
			state = do_without(r);
			break;
		default:
			return FT_RESERVE_AGAIN;
		}
		if (state != FT_RESERVE_ASKING)
			return state;
	}
	c = command_of(r);
	return ft_scsi_ask(r->scsi, &c) ? FT_RESERVE_ASKING : FT_RESERVE_AGAIN;
}
