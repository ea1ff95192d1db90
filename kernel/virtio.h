/*
 * virtio.h - modern virtio over PCI: a device and its split queues, polled.
 *
 * [VIRTIO 4.1 Virtio Over PCI Bus; VIRTIO 2.7 Split Virtqueues].  A request is a
 * chain of buffers; many may be in flight.  Its number is that of its first
 * descriptor, below the queue's size, and no other in flight has the same: a
 * driver keeps what belongs to a request in an array, by that number.
 */
#ifndef KERNEL_VIRTIO_H
#define KERNEL_VIRTIO_H

#include "kernel/base.h"
#include "kernel/pci.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_F_VERSION_1 BIT(32)
#define RING_NO_VECTOR 0xffff

struct virtio {
	struct pci_device pci;
	volatile u8 *common;   /* struct virtio_pci_common_cfg */
	volatile u8 *config;   /* of the device type; NULL if it has none */
	volatile u8 *notify;   /* the doorbells, and how far apart they are */
	u32 notify_multiplier;
	u64 features;          /* agreed */
};

struct virtio_descriptor {
	u64 addr;
	u32 len;
	u16 flags, next;
};

struct virtio_ring {
	volatile u16 *doorbell;
	struct virtio_descriptor *desc;
	volatile u16 *avail;   /* flags, idx, ring[] */
	const volatile u16 *used; /* flags, idx, ring[] of { u32 id, u32 len } */
	u16 index, size;
	u16 free, nfree;       /* descriptors in no request: a list through their `next` */
	u16 offered, taken;    /* requests ever, modulo 2^16 */
};

/* A piece of a request: what the device reads comes before what it writes. */
struct virtio_buffer {
	const void *data;
	u32 size_bytes;
	bool device_writes;
};

/*
 * Resets the device and agrees on VERSION_1 and those of `features` it has.
 * ERR_UNSUPPORTED: not a modern device.  Then come its queues, then virtio_start.
 */
err_t virtio_open(struct virtio *v, const struct pci_device *pci, u64 features) must_check;

/*
 * Queue `index`, of at most max_size requests, a power of two.  vector: the
 * MSI-X table's entry for its interrupts, which are off until ring_interrupts.
 */
err_t ring_init(struct virtio *v, struct virtio_ring *q, u16 index, u16 max_size, u16 vector) must_check;

/* The queues are set up: the device may work. */
void virtio_start(struct virtio *v);

/* The number the next request will have; -1 while every descriptor is in flight. */
int ring_next(const struct virtio_ring *q);

/* Queues a request, for the next ring_kick to hand over.  False: not so many descriptors are free. */
bool ring_offer(struct virtio_ring *q, const struct virtio_buffer *buffers, unsigned n) must_check;

/* Hands over what was offered, and rings the doorbell unless the device says it looks by itself. */
void ring_kick(struct virtio_ring *q);

/*
 * The same, twice, whatever the device says.  QEMU's network devices with `tx=timer,ioeventfd=off` wait for more
 * at the first and send at the second, before it returns; without, another thread sends some time later.
 */
void ring_kick_through(struct virtio_ring *q);

/* Requests the device has completed, ever, modulo 2^16: as far as ring_take can go. */
static inline u16 ring_completed(const struct virtio_ring *q)
{
	return q->used[1];
}

/* The number of the next completed request, and the bytes the device wrote; -1: none.  It is free then. */
int ring_take(struct virtio_ring *q, u32 *written);

/* Whether the device is to interrupt for completed requests. */
void ring_interrupts(struct virtio_ring *q, bool on);

/*
 * Hands a request over; its number, -1: all are in flight.  ring_wait: until the device has done that
 * one; for a queue with nothing else in flight.
 */
int ring_submit(struct virtio_ring *q, const struct virtio_buffer *buffers, unsigned n);
err_t ring_wait(struct virtio_ring *q, int number) must_check;

#endif
