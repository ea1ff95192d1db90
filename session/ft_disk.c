/*
 * ft_disk.c - disks that both hosts of a pair share: logical units of this machine,
 * reserved by the host that is live [ft/disks.h, docs/ARBITER.md 4].
 *
 *   machine.conf  diskN_mode=shared, diskN_size=0 (the unit says), diskN_room_bytes=BYTES
 *   session.conf  sharedN_unit=INDEX of the unit among this machine's
 *
 * One command at a time is under way to a unit (docs/ARBITER.md, S3): a read waits
 * for the write before it, and whoever learns that the way to the unit was lost
 * takes the reservation again before it writes.
 */
#include "kernel/cpu.h"
#include "kernel/kfmt.h"
#include "kernel/realtime.h"
#include "kernel/virtio_scsi.h"
#include "session/ft.h"

#define AWAKE_NS 2000000UL
#define LOOK_NS 1000000UL        /* it wakes nobody */
#define PATIENCE_NS 10000000000UL
#define ANSWER_NS 2000000000UL  /* for one command, where no machine runs */
#define READ_TRIES 5
#define RECORDED_AT_ONCE 64U    /* blocks in a DISK chunk */
_Static_assert(FT_WRITE_MAX <= SCSI_DATA_MAX, "a write is one command");
enum { MEDIUM_ERROR = 3, HARDWARE_ERROR = 4, DATA_PROTECT = 7 }; /* sense keys that stay [SPC4 4.5] */

/* --- reading ---------------------------------------------------------------------- */

/*
 * A unit in reach answers within a millisecond; one that does not is waited for with the link served.  A machine
 * that cannot get at its disk for long may do better on the other host.  False: this one leaves.
 */
static bool wait_for_unit(struct shared_disk *d, u64 since_ns)
{
	u64 waited_ns = host_realtime_ns() - since_ns;

	if (waited_ns < AWAKE_NS) {
		pause();
		return true;
	}
	if (waited_ns > PATIENCE_NS)
		ft_give_up(d->f->pair, "a shared disk has not answered for ten seconds");
	return ft_meanwhile(d->f->pair, LOOK_NS);
}

/*
 * The answer to what is under way is kept for who asked for it, if that was a write.  One of a reservation that
 * is being taken is asked for again, but for what it may have told.  False: this host leaves.
 */
static bool settle(struct shared_disk *d)
{
	u64 since_ns = host_realtime_ns();

	while (d->fence.scsi.asked) {
		d->answer = ft_scsi_poll(&d->fence.scsi);
		d->answered = d->answer != FT_SCSI_NONE;
		d->attention |= d->answered && d->answer != FT_SCSI_GOOD;
		if (!d->answered && !wait_for_unit(d, since_ns))
			return false;
	}
	return true;
}

/* A read: also one of this host's former life, whose answer nobody waits for but who wants to send something else. */
static bool under_way(struct shared_disk *d)
{
	struct scsi_reply r = { .in = d->waste };

	if (d->left && d->port->poll(d->port->ctx, d->ticket, &r)) {
		d->left = d->reading = false;
		d->attention |= !r.delivered || r.status != SCSI_GOOD;
	}
	return d->reading;
}

enum read_end { READ, NOT_THIS_TIME, LEAVES };

/* n sectors, FT_SCSI_BLOCKS at most. */
static enum read_end read_some(struct shared_disk *d, u64 sector, void *buf, u32 n)
{
	const struct scsi_command c = ft_scsi_read(sector, n);
	struct scsi_reply r = { .in = buf };
	u64 since_ns = host_realtime_ns();
	bool good;

	while (under_way(d))
		if (!wait_for_unit(d, since_ns))
			return LEAVES;
	if (!settle(d) || d->port->start(d->port->ctx, &c, &d->ticket))
		return LEAVES;
	d->reading = true;
	while (!d->port->poll(d->port->ctx, d->ticket, &r))
		if (!wait_for_unit(d, since_ns)) {
			d->left = true;
			return LEAVES;
		}
	d->reading = false;
	good = r.delivered && r.status == SCSI_GOOD && r.in_bytes == n * FT_BLOCK_BYTES;
	/* The way there may be another one now, or become one: the reservation belonged to the old one. */
	d->attention |= !good;
	return good ? READ : NOT_THIS_TIME;
}

/*
 * A recording holds what was read of the disk itself [docs/RECORDING.md 3]: that is what was there before the machine, for
 * what it has written it reads in its own memory.  The medium may take its time, as with events [ft/boundary.c].
 */
static void record_read(struct shared_disk *d, u64 sector, const void *data, u32 n)
{
	struct rec_writer *w = d->f->s->writer;
	u64 since_ns = host_realtime_ns();

	for (u32 done = 0, some; d->record && w && done < n; done += some) {
		u32 head = rec_disk_head(d->record, d->number, sector + done);

		while (rec_busy(w) && host_realtime_ns() - since_ns < PATIENCE_NS)
			if (!ft_meanwhile(d->f->pair, LOOK_NS))
				break;
		some = MIN(n - done, RECORDED_AT_ONCE);
		memcpy(d->record + head, (const u8 *)data + done * FT_BLOCK_BYTES, some * FT_BLOCK_BYTES);
		if (rec_put_chunk(w, REC_DISK, d->record, head + some * FT_BLOCK_BYTES))
			return; /* sticks in the writer: the pair's poll reports it */
	}
}

static err_t base_read(void *ctx, u64 sector, void *buf, u32 nsectors)
{
	struct shared_disk *d = ctx;
	u8 *to = buf;

	while (nsectors) {
		u32 n = MIN(nsectors, FT_SCSI_BLOCKS);
		unsigned tries = 0;
		enum read_end end;

		while ((end = read_some(d, sector, to, n)) != READ)
			if ((d->f->left_read = end == LEAVES) || ++tries == READ_TRIES)
				return ERR_IO;
		record_read(d, sector, to, n);
		sector += n;
		to += n * FT_BLOCK_BYTES;
		nsectors -= n;
	}
	return OK;
}

/* Its writes are outputs: nothing else ever comes here. */
static err_t no_write(void *ctx unused_arg, u64 sector unused_arg, const void *buf unused_arg, u32 nsectors unused_arg)
{
	return ERR_UNSUPPORTED;
}

static err_t no_flush(void *ctx unused_arg)
{
	return OK;
}

/* --- the pair's way to them [ft/disks.h] -------------------------------------------- */

static void take_all(void *ctx, u64 term)
{
	struct session_pair *f = ctx;

	for (unsigned i = 0; i < f->nshared; i++) {
		f->shared[i].attention = f->shared[i].answered = f->shared[i].unsent = false;
		ft_fence_take(&f->shared[i].fence, term);
	}
	f->taking = true;
}

/* The first that is not held says how all of them stand. */
static enum ft_disk_answer poll_fences(struct session_pair *f)
{
	for (unsigned i = 0; i < f->nshared; i++) {
		struct ft_fence *fence = &f->shared[i].fence;
		enum ft_fence_state state = under_way(&f->shared[i]) ? FT_FENCE_TAKING : ft_fence_poll(fence);

		f->complaint = fence->complaint;
		if (state == FT_FENCE_TAKING)
			return FT_DISK_BUSY;
		if (state != FT_FENCE_HELD)
			return state == FT_FENCE_LOST ? FT_DISK_LOST : FT_DISK_REFUSED;
	}
	f->taking = false;
	return FT_DISK_DONE;
}

/* Behind a read, if there is one; false: it cannot be.  Without a reservation nothing is written. */
static bool send_write(struct session_pair *f)
{
	struct shared_disk *d = f->writing;
	const struct scsi_command c = ft_scsi_write(f->write.sector, f->write.data, f->write.size / FT_BLOCK_BYTES);

	if (under_way(d))
		return true;
	d->unsent = false;
	return !d->attention && ft_scsi_ask(&d->fence.scsi, &c);
}

static enum ft_disk_answer poll_write(struct session_pair *f)
{
	struct shared_disk *d = f->writing;
	enum ft_scsi_answer a;

	if (d && d->unsent)
		d = f->writing = send_write(f) ? d : NULL;
	a = !d ? FT_SCSI_AGAIN : d->unsent ? FT_SCSI_NONE : d->answered ? d->answer : ft_scsi_poll(&d->fence.scsi);
	if (a == FT_SCSI_NONE)
		return FT_DISK_BUSY;
	f->writing = NULL;
	if (a == FT_SCSI_GOOD)
		return FT_DISK_DONE;
	f->complaint = "the target refuses to write";
	if (a == FT_SCSI_UNSUPPORTED || a == FT_SCSI_ILLEGAL ||
	    (a == FT_SCSI_AGAIN && d && (d->fence.scsi.sense_key == MEDIUM_ERROR || d->fence.scsi.sense_key == HARDWARE_ERROR ||
					 d->fence.scsi.sense_key == DATA_PROTECT)))
		return FT_DISK_REFUSED;
	return FT_DISK_AGAIN;
}

static enum ft_disk_answer poll_disks(void *ctx)
{
	struct session_pair *f = ctx;

	return f->taking ? poll_fences(f) : poll_write(f);
}

static struct shared_disk *shared(struct session_pair *f, u16 number)
{
	for (unsigned i = 0; i < f->nshared; i++)
		if (f->shared[i].number == number)
			return &f->shared[i];
	return NULL;
}

static void write_disk(void *ctx, const struct ft_write *w)
{
	struct session_pair *f = ctx;
	struct shared_disk *d = f->writing = shared(f, w->disk);

	f->write = *w;
	if (!d)
		return; /* poll_write says `again` */
	d->answered = false;
	d->unsent = true;
	f->writing = send_write(f) ? d : NULL;
}

static void give_back(void *ctx)
{
	struct session_pair *f = ctx;
	u64 until_ns = host_realtime_ns() + ANSWER_NS;

	for (unsigned i = 0; i < f->nshared; i++) {
		while (under_way(&f->shared[i]) && host_realtime_ns() < until_ns)
			pause();
		if (!f->shared[i].reading)
			ft_fence_release(&f->shared[i].fence);
	}
	for (unsigned i = 0; i < f->nshared; i++)
		while (ft_fence_poll(&f->shared[i].fence) == FT_FENCE_TAKING && host_realtime_ns() < until_ns)
			pause();
}

static const char *complaint(void *ctx)
{
	struct session_pair *f = ctx;

	return f->complaint ? f->complaint : "no answer";
}

/* --- plugging them in ------------------------------------------------------------------ */

static u64 clock_ns(void *ctx unused_arg)
{
	return host_realtime_ns();
}

noreturn_fn static void fail(unsigned n, const char *what)
{
	char text[256];

	ksnprintf(text, sizeof(text), "shared disk %u: %s", n, what);
	session_fail(text);
}

/* Of READ CAPACITY: the last block's number and a block's size, big-endian [SBC3 5.16]. */
static u64 capacity(unsigned n, const struct shared_disk *d)
{
	const struct scsi_command c = ft_scsi_capacity();
	u8 in[8];
	struct scsi_reply r = { .in = in };

	for (unsigned tries = 0; tries < READ_TRIES; tries++)
		if (!scsi_command(d->port, &c, &r, ANSWER_NS) && r.status == SCSI_GOOD && r.in_bytes == sizeof(in)) {
			if (read_bytes_be(in + 4, 4) != FT_BLOCK_BYTES)
				fail(n, "its blocks are not of 512 bytes; share a unit whose blocks are");
			return read_bytes_be(in, 4) + 1;
		}
	fail(n, "its logical unit does not answer; is its target running?");
}

struct disk_base session_share_disk(struct session_pair *f, unsigned n, u64 *nsectors)
{
	struct shared_disk *d = &f->shared[f->nshared++];
	struct ft_fence_config c = { .now_ns = clock_ns };
	struct scsi_unit *u;
	char key[32];

	ksnprintf(key, sizeof(key), "shared%u_unit", n);
	u = scsi_open((unsigned)session_number(f->s->session, key, ~0U));
	if (!u)
		fail(n, "its logical unit does not answer; is its target running?");
	d->f = f;
	d->number = (u16)n;
	d->waste = session_memory(SCSI_DATA_MAX);
	d->port = c.port = scsi_unit_port(u);
	c.pair = session_number(f->s->session, "ft_pair_id", 1);
	c.host = session_number(f->s->session, "random", 0);
	ft_fence_init(&d->fence, &c);
	d->nsectors = *nsectors = capacity(n, d);
	f->disks = (struct ft_disks){ take_all, write_disk, poll_disks, give_back, complaint, f };
	return (struct disk_base){ base_read, no_write, no_flush, d };
}

void session_record_shared(struct session_pair *f)
{
	for (unsigned i = 0; i < f->nshared && f->s->writer; i++) {
		struct shared_disk *d = &f->shared[i];
		u32 head;

		d->record = session_memory(REC_DISK_HEAD_MAX + RECORDED_AT_ONCE * FT_BLOCK_BYTES);
		head = rec_disk_head(d->record, d->number, d->nsectors);
		if (rec_put_chunk(f->s->writer, REC_DISK, d->record, head))
			return; /* the same */
	}
}
