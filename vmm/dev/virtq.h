/*
 * virtq.h - split virtqueues: what a device does with the rings of its driver.
 *
 * [VIRTIO 2.7 Split Virtqueues].  The rings lie in guest memory and the guest
 * may write anything there at any time.  Nothing is believed: indexes, heads,
 * lengths, addresses and the order of descriptors are checked each time they
 * are read, and a chain is handed to a device as pieces of RAM that were checked
 * as a whole, so a device cannot be led anywhere.
 *
 * Results: ERR_END nothing is there; ERR_INVALID the driver lied, and its device
 * is to be broken [virtio.h]; ERR_NO_MEMORY the host has no memory for the
 * guest's RAM, and the machine is to stop.
 *
 * A piece points into host memory and is good until the device returns.  What
 * must be remembered for later is the chain's head, an index: the chain is then
 * looked up, and checked, anew.
 */
#ifndef VMM_DEV_VIRTQ_H
#define VMM_DEV_VIRTQ_H

#include "vmm/guestmem.h"
#include "vmm/state.h"

/* Feature bits that concern queues [VIRTIO chapter 6]. */
#define VIRTIO_F_RING_INDIRECT_DESC BIT(28)
#define VIRTIO_F_RING_EVENT_IDX BIT(29)

#define VIRTQ_MAX_SIZE 256U
/* Descriptors of an indirect table: queue size is the standard's limit, but drivers go by seg_max alone. */
#define VIRTQ_MAX_TABLE 256U
/* Buffers are cut where chunks of guest memory end, so a chain has more pieces than descriptors. */
#define VIRTQ_MAX_PIECES 512U

struct virtq {
	struct guest_memory *mem;
	const u64 *features;      /* as agreed with the driver */
	u16 max_size;

	u16 size;                 /* a power of two */
	u8 enabled;
	u64 desc, avail, used;    /* guest-physical; checked when enabled */
	u16 next_avail;           /* the next entry of the available ring to take */
	u16 next_used;            /* the next entry of the used ring to fill */
	u16 signalled;            /* next_used when an interrupt was last thought about */
};

struct virtq_piece {
	u8 *data;
	u64 at;                   /* guest-physical */
	u32 size_bytes;
};

/* A driver's request.  Big: there is one to work in, the board's. */
struct virtq_chain {
	struct guest_memory *mem;
	u16 head;
	unsigned nread, npieces;  /* the first nread pieces are the device's to read, the others to write */
	u32 read_bytes, write_bytes;
	struct virtq_piece piece[VIRTQ_MAX_PIECES];
};

void virtq_init(struct virtq *q, struct guest_memory *mem, const u64 *features, u16 max_size);
void virtq_reset(struct virtq *q);

/* The driver has said where the rings are.  ERR_INVALID: they cannot be there. */
err_t virtq_enable(struct virtq *q) must_check;

/* How many chains are available that were not taken. */
err_t virtq_count(const struct virtq *q, u16 *n) must_check;

/* The nth of them, 0 the next; ERR_END: there is none. */
err_t virtq_look(const struct virtq *q, u16 n, struct virtq_chain *c) must_check;
void virtq_take(struct virtq *q, u16 n);

/* A chain by its head, taken before. */
err_t virtq_chain_at(const struct virtq *q, u16 head, struct virtq_chain *c) must_check;

/*
 * Gives chains back: filled in one after the other (nth 0, 1 ...), then all
 * shown to the driver at once.  written: bytes from the beginning of what
 * the device was to write.
 */
err_t virtq_fill(struct virtq *q, u16 nth, u16 head, u32 written) must_check;
err_t virtq_publish(struct virtq *q, u16 n) must_check;

/* Whether the driver wants an interrupt for what was published since this was last asked. */
err_t virtq_signal(struct virtq *q, bool *wanted) must_check;

/* Whether the driver is to kick when it adds the next chain.  Advice: it may kick all the same. */
err_t virtq_want_kicks(struct virtq *q, bool wanted) must_check;

void virtq_state(struct virtq *q, struct state_walk *w);

/* ---- a chain's bytes, in order ---- */

struct virtq_cursor {
	const struct virtq_chain *c;
	unsigned piece, end;
	u32 offset;               /* in the piece */
	bool writes;
};

/* At the first byte that the device reads, or writes. */
struct virtq_cursor virtq_reader(const struct virtq_chain *c);
struct virtq_cursor virtq_writer(const struct virtq_chain *c);

/* The next bytes that lie together, at most max; moves behind them.  0: the end.  What is to be written is marked. */
u32 virtq_span(struct virtq_cursor *at, u32 max, u8 **data);
u32 virtq_skip(struct virtq_cursor *at, u32 n);
/* Copies out of or into guest memory; returns how many bytes there were. */
u32 virtq_get(struct virtq_cursor *at, void *buf, u32 n);
u32 virtq_put(struct virtq_cursor *at, const void *buf, u32 n);

#endif
