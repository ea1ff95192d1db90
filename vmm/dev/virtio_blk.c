/*
 * virtio_blk.c - a disk for the guest.  See virtio_blk.h.
 *
 * Reads and changes: its disk, and guest memory by the chains of its queue.
 * Never: the host's storage other than through disk.h, nor its errors but by
 * asking.
 *
 *   1  requests and their data     2  in time     3  the hooks
 */
#include "vmm/dev/virtio_blk.h"

/* [VIRTIO 5.2.3 Feature bits] */
#define F_SIZE_MAX BIT(1)
#define F_SEG_MAX BIT(2)
#define F_RO BIT(5)
#define F_BLK_SIZE BIT(6)
#define F_FLUSH BIT(9)

/* [VIRTIO 5.2.4 Device configuration layout] */
enum { CONFIG_CAPACITY = 0, CONFIG_SIZE_MAX = 8, CONFIG_SEG_MAX = 12, CONFIG_BLK_SIZE = 20 };

/* [VIRTIO 5.2.6 Device Operation] */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { HEADER_SIZE = 16, STATUS_SIZE = 1 };

/* --- 1  requests and their data -------------------------------------------------- */

struct request {
	struct virtq_chain *c;
	u32 type;
	u64 sector;
	u32 size_bytes;      /* of the data */
};

/* False: header or status have no place, so the driver cannot even be told. */
static bool parse(struct virtq_chain *c, struct request *r)
{
	struct virtq_cursor at = virtq_reader(c);
	u8 header[HEADER_SIZE];

	if (virtq_get(&at, header, sizeof(header)) < sizeof(header) || c->write_bytes < STATUS_SIZE)
		return false;
	r->c = c;
	r->type = (u32)read_bytes_le(header, 4);
	r->sector = read_bytes_le(header + 8, 8);
	r->size_bytes = r->type == T_IN    ? c->write_bytes - STATUS_SIZE :
			r->type == T_OUT   ? c->read_bytes - HEADER_SIZE :
					     0;
	return true;
}

static bool within(const struct virtio_blk *b, const struct request *r)
{
	u64 n = r->size_bytes / DISK_SECTOR, all = b->disk->config.nsectors;

	return r->size_bytes % DISK_SECTOR == 0 && r->size_bytes <= BLK_SEG_MAX * BLK_SIZE_MAX && r->sector <= all &&
	       n <= all - r->sector;
}

static err_t write_sectors(struct virtio_blk *b, u64 sector, const u8 *data, u32 n)
{
	err_t err = disk_write(b->disk, sector, data, n);

	if (!err && n && b->disk->config.mode == DISK_SHARED)
		b->board.wrote(b->board.ctx, b->index, sector, data, n);
	return err;
}

/* A sector that the driver has cut into pieces: by way of a buffer of ours. */
static err_t move_cut_sector(struct virtio_blk *b, const struct request *r, u64 sector, struct virtq_cursor *at, u8 *data,
			     u32 have)
{
	u8 whole[DISK_SECTOR];
	err_t err;

	if (r->type == T_OUT) {
		memcpy(whole, data, have);
		virtq_get(at, whole + have, DISK_SECTOR - have);
		return write_sectors(b, sector, whole, 1);
	}
	err = disk_read(b->disk, sector, whole, 1);
	if (err)
		return err;
	memcpy(data, whole, have);
	virtq_put(at, whole + have, DISK_SECTOR - have);
	return OK;
}

/* Piece by piece, as many whole sectors at once as lie together. */
static err_t move_data(struct virtio_blk *b, const struct request *r)
{
	struct virtq_cursor at = r->type == T_OUT ? virtq_reader(r->c) : virtq_writer(r->c);
	u64 sector = r->sector;
	u32 left = r->size_bytes, have;
	err_t err = OK;
	u8 *data;

	if (r->type == T_OUT)
		virtq_skip(&at, HEADER_SIZE);
	while (!err && (have = virtq_span(&at, left, &data))) {
		u32 n = have / DISK_SECTOR, cut = have % DISK_SECTOR;

		if (n)
			err = r->type == T_OUT ? write_sectors(b, sector, data, n) : disk_read(b->disk, sector, data, n);
		if (!err && cut)
			err = move_cut_sector(b, r, sector + n, &at, data + n * DISK_SECTOR, cut);
		sector += n + !!cut;
		left -= (u32)((n + !!cut) * DISK_SECTOR);
	}
	return err;
}

static void clear_data(const struct request *r)
{
	struct virtq_cursor at = virtq_writer(r->c);
	u32 left = r->size_bytes, n;
	u8 *data;

	for (; (n = virtq_span(&at, left, &data)); left -= n)
		memset(data, 0, n);
}

/* Whether the host did it is the board's to say, of each request once. */
static err_t answered(struct virtio_blk *b, err_t host)
{
	return !host || host == ERR_IO ? b->board.answer(b->board.ctx, b->index, host) : host;
}

static err_t read_data(struct virtio_blk *b, const struct request *r)
{
	err_t err = answered(b, move_data(b, r));

	if (err)
		clear_data(r);
	return err;
}

/* A driver that knows no flush is told of a write when it will survive [VIRTIO 5.2.6.2]. */
static err_t write_data(struct virtio_blk *b, const struct request *r)
{
	err_t err = move_data(b, r);

	if (!err && !virtio_has(&b->v, F_FLUSH))
		err = disk_flush(b->disk);
	return answered(b, err);
}

/* "reprise-disk0", and zeros. */
static u32 put_id(const struct virtio_blk *b, const struct request *r)
{
	struct virtq_cursor at = virtq_writer(r->c);
	char id[DISK_ID_SIZE] = "reprise-disk";

	id[strlen(id)] = (char)('0' + b->index);
	return virtq_put(&at, id, MIN(DISK_ID_SIZE, r->c->write_bytes - STATUS_SIZE));
}

/* Does what is asked.  *written: bytes of data. */
static err_t perform(struct virtio_blk *b, const struct request *r, u32 *written, u8 *status)
{
	err_t err = OK;

	*written = 0;
	*status = S_UNSUPP;
	switch (r->type) {
	case T_IN:
		err = ERR_INVALID;
		if (within(b, r)) {
			*written = r->size_bytes;
			err = read_data(b, r);
		}
		break;
	case T_OUT:
		err = within(b, r) ? write_data(b, r) : ERR_INVALID;
		break;
	case T_FLUSH:
		err = answered(b, disk_flush(b->disk));
		break;
	case T_GET_ID:
		*written = put_id(b, r);
		break;
	default:
		return OK;
	}
	*status = err ? S_IOERR : S_OK;
	return err;
}

/* --- 2  in time --------------------------------------------------------------------- */

static struct blk_request *waiting(struct virtio_blk *b, u32 nth)
{
	return &b->waiting[(b->first + nth) % BLK_QUEUE_SIZE];
}

/* For the first that waits; but two never complete at one instant, even if timers come late [vclock.h]. */
static void arm(struct virtio_blk *b, u64 earliest_ns)
{
	vtimer_arm(&b->timer, b->nwaiting ? MAX(waiting(b, 0)->due_ns, earliest_ns) : VTIMER_NEVER);
}

/* A driver cannot have more outstanding than it has descriptors: more is a lie. */
static bool submit(struct virtio_blk *b, struct virtq_chain *c)
{
	u64 now_ns = b->v.env.clock->now_ns, start_ns = now_ns + BLK_ACCESS_NS;
	struct request r;

	if (b->nwaiting == BLK_QUEUE_SIZE || !parse(c, &r))
		return false;
	if (b->nwaiting)
		start_ns = MAX(start_ns, waiting(b, b->nwaiting - 1)->due_ns);
	*waiting(b, b->nwaiting) = (struct blk_request){ start_ns + 1 + r.size_bytes * 1000UL / BLK_BYTES_PER_US, c->head };
	b->nwaiting++;
	return true;
}

static void look(struct virtio_blk *b)
{
	struct virtq_chain *c;
	bool idle = !b->nwaiting;

	while (virtio_look(&b->v, 0, 0, &c)) {
		if (!submit(b, c)) {
			virtio_break(&b->v);
			return;
		}
		virtio_take(&b->v, 0, 1);
	}
	virtio_want_kicks(&b->v, 0, true);
	if (idle)
		arm(b, b->v.env.clock->now_ns);
}

/* The first one's instant has come.  The chain is looked up anew: what it says now is what counts. */
static void complete(struct virtio_blk *b)
{
	struct virtq_cursor at;
	struct virtq_chain *c;
	struct request r;
	u32 written;
	u8 status;

	if (!virtio_chain_at(&b->v, 0, waiting(b, 0)->head, &c))
		return;
	if (!parse(c, &r)) {
		virtio_break(&b->v);
		return;
	}
	if (perform(b, &r, &written, &status) == ERR_NO_MEMORY) {
		virtio_out_of_memory(&b->v);
		return;
	}
	at = virtq_writer(c);
	virtq_skip(&at, c->write_bytes - STATUS_SIZE);
	virtq_put(&at, &status, STATUS_SIZE);
	if (virtio_done(&b->v, 0, c->head, written + STATUS_SIZE))
		virtio_signal(&b->v, 0);
}

/* A device that is broken forgets at its reset; one that is kept off the bus goes on when it may. */
static void timer_fire(void *owner)
{
	struct virtio_blk *b = owner;

	if (!virtio_working(&b->v) || !b->nwaiting)
		return;
	complete(b);
	b->first = (b->first + 1) % BLK_QUEUE_SIZE;
	b->nwaiting--;
	arm(b, b->v.env.clock->now_ns + 1);
}

static void kick(void *dev, unsigned queue unused_arg)
{
	look(dev);
}

static void resume(void *dev)
{
	struct virtio_blk *b = dev;

	arm(b, b->v.env.clock->now_ns);
	look(b);
}

static void forget(void *dev)
{
	struct virtio_blk *b = dev;

	b->first = b->nwaiting = 0;
	vtimer_cancel(&b->timer);
}

/* --- 3  the hooks ------------------------------------------------------------------------ */

static u64 blk_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	struct virtio_blk *b = dev;

	return virtio_read(&b->v, space, addr, size_bytes);
}

static void blk_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct virtio_blk *b = dev;

	virtio_write(&b->v, space, addr, size_bytes, value);
}

static void blk_reset(void *dev)
{
	struct virtio_blk *b = dev;

	virtio_reset(&b->v);
}

static void blk_state(void *dev, struct state_walk *w)
{
	struct virtio_blk *b = dev;

	virtio_state(&b->v, w);
	STATE(w, b, nwaiting);
	if (w->mode == STATE_LOAD) {
		b->first = 0;
		if (b->nwaiting > BLK_QUEUE_SIZE) {
			b->nwaiting = 0;
			w->error = w->error ? w->error : ERR_DAMAGED;
		}
	}
	for (u32 i = 0; i < b->nwaiting; i++) {
		state_field(w, "due_ns", &waiting(b, i)->due_ns, sizeof(u64));
		state_field(w, "head", &waiting(b, i)->head, sizeof(u16));
	}
	vtimer_state(&b->timer, w, "timer_ns");
}

const struct device_ops virtio_blk_ops = {
	.name = "virtio-blk",
	.version = 1,
	.read = blk_read,
	.write = blk_write,
	.reset = blk_reset,
	.input = device_no_input,
	.state = blk_state,
};

static const struct virtio_class blk_class = {
	.type = VIRTIO_BLK,
	.transitional_id = 0x1001,
	.class_code = 0x018000, /* mass storage, other */
	.nqueues = 1,
	.queue_size = BLK_QUEUE_SIZE,
	.config_size = sizeof(((struct virtio_blk *)0)->config),
	.ops = &virtio_blk_ops,
	.kick = kick,
	.resume = resume,
	.reset = forget,
};

void virtio_blk_init(struct virtio_blk *b, const struct virtio_env *env, unsigned slot, unsigned index, struct disk *disk,
		     struct blk_board board)
{
	u64 features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | (disk->config.mode == DISK_RO ? F_RO : 0);

	memset(b, 0, sizeof(*b));
	b->disk = disk;
	b->index = index;
	b->board = board;
	write_bytes_le(b->config + CONFIG_CAPACITY, 8, disk->config.nsectors);
	write_bytes_le(b->config + CONFIG_SIZE_MAX, 4, BLK_SIZE_MAX);
	write_bytes_le(b->config + CONFIG_SEG_MAX, 4, BLK_SEG_MAX);
	write_bytes_le(b->config + CONFIG_BLK_SIZE, 4, DISK_SECTOR);
	vtimer_add(env->clock, &b->timer, timer_fire, b);
	virtio_init(&b->v, &blk_class, b, env, slot, features, b->config);
}
