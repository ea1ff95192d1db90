/*
 * faketarget.c - see faketarget.h.
 */
#include <criterion/criterion.h>

#include "tests/unit/faketarget.h"

enum { READ_CAPACITY = 0x25, RESERVE_IN = 0x5e, RESERVE_OUT = 0x5f, READ16 = 0x88, COMPARE = 0x89, WRITE16 = 0x8a };

static struct scsi_reply sense(u8 key, u16 asc)
{
	return (struct scsi_reply){ .delivered = true, .status = SCSI_CHECK_CONDITION, .sense_key = key, .asc = asc };
}

static struct scsi_reply status(u8 s)
{
	return (struct scsi_reply){ .delivered = true, .status = s };
}

/* ---- reservations ---- */

static u64 *key_of(struct fake_target *t, u64 nexus)
{
	for (unsigned i = 0; i < t->nregistered; i++)
		if (t->registered[i].nexus == nexus)
			return &t->registered[i].key;
	return NULL;
}

static void unregister_at(struct fake_target *t, unsigned i)
{
	t->registered[i] = t->registered[--t->nregistered];
}

static void abort_of(struct fake_target *t, u64 nexus)
{
	for (unsigned i = 0; i < FAKE_COMMANDS; i++)
		if (t->command[i].nexus == nexus && t->command[i].stage == FAKE_QUEUED) {
			t->command[i].stage = FAKE_DONE;
			t->command[i].reply = status(SCSI_TASK_ABORTED);
		}
}

static struct scsi_reply preempt(struct fake_target *t, struct fake_command *c, u64 other)
{
	bool found = false;

	for (unsigned i = 0; i < t->nregistered;) {
		if (t->registered[i].key != other) {
			i++;
			continue;
		}
		found = true;
		if (t->holder == t->registered[i].nexus)
			t->holder = c->nexus;
		if ((c->c.cdb[1] & 31) == 5)
			abort_of(t, t->registered[i].nexus);
		if (t->registered[i].nexus != c->nexus)
			unregister_at(t, i);
		else
			i++;
	}
	return status(found ? SCSI_GOOD : SCSI_RESERVATION_CONFLICT);
}

static struct scsi_reply reserve_out(struct fake_target *t, struct fake_command *c)
{
	u64 key = read_bytes_be(c->out, 8), other = read_bytes_be(c->out + 8, 8);
	u64 *mine = key_of(t, c->nexus);

	if (c->c.cdb[2] >> 4 || (c->out[20] && !t->persists) || read_bytes_be(c->c.cdb + 5, 4) != 24 || c->c.out_bytes != 24)
		return sense(5, 0x2400);
	switch (c->c.cdb[1] & 31) {
	case 6: /* register and ignore */
		cr_assert_neq(other, 0);
		if (!mine) {
			cr_assert_lt(t->nregistered, FAKE_REGISTRATIONS);
			t->registered[t->nregistered].nexus = c->nexus;
			mine = &t->registered[t->nregistered++].key;
		}
		*mine = other;
		return status(SCSI_GOOD);
	case 1: /* reserve */
		if (!mine || *mine != key || (t->holder && t->holder != c->nexus))
			return status(SCSI_RESERVATION_CONFLICT);
		cr_assert_eq(c->c.cdb[2], 1, "write exclusive");
		t->holder = c->nexus;
		return status(SCSI_GOOD);
	case 2: /* release */
		if (!mine || *mine != key)
			return status(SCSI_RESERVATION_CONFLICT);
		if (t->holder == c->nexus)
			t->holder = 0;
		return status(SCSI_GOOD);
	case 4:
	case 5:
		if ((c->c.cdb[1] & 31) == 5 && !t->has_abort)
			return sense(5, 0x2400);
		if (!mine || *mine != key)
			return status(SCSI_RESERVATION_CONFLICT);
		return preempt(t, c, other);
	default:
		return sense(5, 0x2400);
	}
}

static struct scsi_reply reserve_in(struct fake_target *t, struct fake_command *c)
{
	struct scsi_reply r = status(SCSI_GOOD);

	memset(c->in, 0, sizeof(c->in));
	r.in_bytes = 8;
	if (t->holder) {
		r.in_bytes = 24;
		write_bytes_be(c->in + 4, 4, 16);
		write_bytes_be(c->in + 8, 8, *key_of(t, t->holder));
		c->in[21] = 1;
	}
	return r;
}

/* ---- blocks ---- */

static void write_block(struct fake_target *t, u64 lba, const u8 *data)
{
	u8 before[FAKE_BLOCK_BYTES];

	memcpy(before, t->block[lba], FAKE_BLOCK_BYTES);
	memcpy(t->block[lba], data, FAKE_BLOCK_BYTES);
	if (t->on_write)
		t->on_write(t->ctx, lba, before, data);
}

static void carry_out(struct fake_target *t, struct fake_command *c)
{
	u64 lba = read_bytes_be(c->c.cdb + 2, 8);

	c->stage = FAKE_DONE;
	c->reply = status(SCSI_GOOD);
	if (lba >= t->nblocks) {
		c->reply = sense(5, 0x2100);
	} else if (c->c.cdb[0] == READ16) {
		memcpy(c->in, t->block[lba], FAKE_BLOCK_BYTES);
		c->reply.in_bytes = FAKE_BLOCK_BYTES;
	} else if (c->c.cdb[0] == WRITE16) {
		write_block(t, lba, c->out);
	} else if (memcmp(t->block[lba], c->out, FAKE_BLOCK_BYTES)) {
		c->reply = sense(14, 0x1d00);
	} else {
		write_block(t, lba, c->out + FAKE_BLOCK_BYTES);
	}
}

/* ---- a command's way ---- */

static struct scsi_reply capacity(struct fake_target *t, struct fake_command *c)
{
	struct scsi_reply r = status(SCSI_GOOD);

	write_bytes_be(c->in, 4, t->nblocks - 1);
	write_bytes_be(c->in + 4, 4, t->block_bytes);
	r.in_bytes = 8;
	return r;
}

static void accept_command(struct fake_target *t, struct fake_command *c)
{
	u8 op = c->c.cdb[0];
	bool writes = op == WRITE16 || op == COMPARE;

	c->stage = FAKE_DONE;
	t->ncommands[op]++;
	if (c->way && c->way->attention) {
		c->reply = sense(6, c->way->attention);
		c->way->attention = 0;
	} else if (op == READ_CAPACITY) {
		c->reply = capacity(t, c);
	} else if ((op == RESERVE_IN || op == RESERVE_OUT) && t->has_reserve) {
		c->reply = op == RESERVE_IN ? reserve_in(t, c) : reserve_out(t, c);
	} else if (op != READ16 && op != WRITE16 && (op != COMPARE || !t->has_compare)) {
		c->reply = sense(5, 0x2000);
	} else if (writes && t->holder && t->holder != c->nexus) {
		c->reply = status(SCSI_RESERVATION_CONFLICT);
	} else {
		c->stage = FAKE_QUEUED;
	}
}

static void answer(struct fake_target *t, struct fake_command *c)
{
	if (t->lose_answer_of && c->c.cdb[0] == t->lose_answer_of) {
		t->lose_answer_of = 0;
		c->reply = (struct scsi_reply){ 0 };
	}
	c->stage = c->way ? FAKE_ANSWERED : FAKE_FREE;
}

/* The commands of one connection arrive in their order; the unit's queue is worked off in its own. */
static struct fake_command *first(struct fake_target *t, enum fake_stage stage, const struct fake_command *than)
{
	struct fake_command *best = NULL;

	for (unsigned i = 0; i < FAKE_COMMANDS; i++) {
		struct fake_command *c = &t->command[i];

		if (c->stage == stage && (!than || (c->nexus == than->nexus && c->way == than->way)) &&
		    (!best || c->order < best->order))
			best = c;
	}
	return best;
}

static void advance(struct fake_target *t, struct fake_command *c)
{
	if (c->stage == FAKE_SENT) {
		c = first(t, FAKE_SENT, c);
		accept_command(t, c);
		if (c->stage == FAKE_QUEUED)
			c->order = ++t->orders;
	} else if (c->stage == FAKE_QUEUED) {
		carry_out(t, t->unordered ? c : first(t, FAKE_QUEUED, NULL));
	} else if (c->stage == FAKE_DONE) {
		answer(t, c);
	}
}

bool fake_target_step(struct fake_target *t, struct rng *r)
{
	unsigned at = (unsigned)rng_below(r, FAKE_COMMANDS);

	for (unsigned i = 0; i < FAKE_COMMANDS; i++) {
		struct fake_command *c = &t->command[(at + i) % FAKE_COMMANDS];

		if (c->stage != FAKE_FREE && c->stage != FAKE_ANSWERED) {
			advance(t, c);
			return true;
		}
	}
	return false;
}

static struct fake_command *new_command(struct fake_target *t)
{
	for (unsigned i = 0; i < FAKE_COMMANDS; i++)
		if (t->command[i].stage == FAKE_FREE)
			return &t->command[i];
	return NULL;
}

static err_t start(void *ctx, const struct scsi_command *c, u64 *ticket)
{
	struct fake_way *w = ctx;
	struct fake_command *f = new_command(w->target);

	if (!f)
		return ERR_NO_MEMORY;
	*f = (struct fake_command){ .stage = FAKE_SENT, .way = w, .nexus = w->nexus, .order = ++w->target->orders, .c = *c };
	f->ticket = *ticket = f->order;
	cr_assert_leq(c->out_bytes, sizeof(f->out));
	if (c->out_bytes)
		memcpy(f->out, c->out, c->out_bytes);
	f->c.out = NULL;
	return OK;
}

static bool poll(void *ctx, u64 ticket, struct scsi_reply *r)
{
	struct fake_way *w = ctx;

	for (unsigned i = 0; i < FAKE_COMMANDS; i++) {
		struct fake_command *f = &w->target->command[i];
		u8 *in = r->in;

		if (f->stage == FAKE_FREE || f->way != w || f->ticket != ticket)
			continue;
		while (w->target->instant && f->stage != FAKE_ANSWERED)
			advance(w->target, f);
		if (f->stage != FAKE_ANSWERED)
			return false;
		*r = f->reply;
		r->in = in;
		r->in_bytes = MIN(f->reply.in_bytes, f->c.in_bytes);
		if (r->in_bytes)
			memcpy(in, f->in, r->in_bytes);
		f->stage = FAKE_FREE;
		return true;
	}
	cr_assert(false, "a ticket that is nobody's");
	return true;
}

static void abandon(void *ctx, u64 ticket)
{
	struct fake_way *w = ctx;

	for (unsigned i = 0; i < FAKE_COMMANDS; i++)
		if (w->target->command[i].way == w && w->target->command[i].ticket == ticket)
			w->target->command[i].way = NULL;
}

void fake_target_init(struct fake_target *t)
{
	memset(t, 0, sizeof(*t));
	t->has_compare = t->has_reserve = true;
	t->block_bytes = FAKE_BLOCK_BYTES;
	t->nblocks = FAKE_BLOCKS;
}

void fake_way_init(struct fake_way *w, struct fake_target *t)
{
	*w = (struct fake_way){ { start, poll, abandon, w }, t, ++t->nexuses, 0x2900 };
}

/* A new connection: unanswered commands are sent again on it; what the old one still carries may arrive. */
void fake_way_lose(struct fake_way *w, struct rng *r)
{
	struct fake_target *t = w->target;
	u64 old = w->nexus;

	if (!t->keeps_nexus)
		w->nexus = ++t->nexuses;
	w->attention = 0x2900;
	for (unsigned i = 0; i < FAKE_COMMANDS; i++) {
		struct fake_command *c = &t->command[i], *copy;

		if (c->stage == FAKE_FREE || c->stage == FAKE_ANSWERED || c->way != w || c->nexus != old)
			continue;
		/* Of a nexus that goes on under its name, the old session's commands are ended. */
		copy = t->keeps_nexus || (c->stage == FAKE_SENT && rng_chance(r, 50)) ? NULL : new_command(t);
		if (copy && c->stage != FAKE_DONE) {
			*copy = *c;
			copy->way = NULL;
		}
		c->stage = FAKE_SENT;
		c->nexus = w->nexus;
	}
}

void fake_way_drop(struct fake_way *w)
{
	for (unsigned i = 0; i < FAKE_COMMANDS; i++)
		if (w->target->command[i].way == w) {
			w->target->command[i].way = NULL;
			if (w->target->command[i].stage == FAKE_ANSWERED)
				w->target->command[i].stage = FAKE_FREE;
		}
}

/* What it was doing is gone, and the connections with what was on them. */
void fake_target_restart(struct fake_target *t, struct fake_way *const *ways, unsigned n, struct rng *r)
{
	for (unsigned i = 0; i < FAKE_COMMANDS; i++)
		if (t->command[i].stage == FAKE_QUEUED)
			t->command[i].stage = FAKE_SENT; /* if it has a way: it is sent again there */
	if (!t->persists)
		t->nregistered = 0;
	t->holder = t->persists ? t->holder : 0;
	for (unsigned i = 0; i < n; i++)
		fake_way_lose(ways[i], r);
	for (unsigned i = 0; i < FAKE_COMMANDS; i++)
		if (!t->command[i].way)
			t->command[i].stage = FAKE_FREE;
}
