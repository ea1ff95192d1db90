/*
 * virtio.h - modern virtio over PCI: one device, one split queue, polled.
 *
 * [VIRTIO 4.1 Virtio Over PCI Bus; VIRTIO 2.6 Split Virtqueues].  One request
 * is in flight at a time, so descriptors need no allocator: a request always
 * takes them from number 0.
 */
#ifndef KERNEL_VIRTIO_H
#define KERNEL_VIRTIO_H

#include "kernel/base.h"
#include "kernel/pci.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_F_VERSION_1 BIT(32)
#define VIRTQ_MAX_SIZE 64 /* so that the whole queue is one page */

struct virtio {
	struct pci_device pci;
	volatile u8 *common;  /* struct virtio_pci_common_cfg */
	volatile u8 *config;  /* of the device type; NULL if it has none */
	volatile u16 *notify; /* of queue 0 */
	u64 features;         /* agreed */
	u16 queue_size;
	u16 avail_idx;        /* requests ever submitted, modulo 2^16 */
	u8 *queue;            /* one page: descriptors, available ring, used ring */
};

/* A piece of a request: what the device reads comes before what it writes. */
struct virtio_buffer {
	const void *data;
	u32 size_bytes;
	bool device_writes;
};

/*
 * Resets the device, agrees on VERSION_1 and those of `features` it has, and
 * enables queue 0.  ERR_UNSUPPORTED: not a modern device.
 */
err_t virtio_init(struct virtio *v, const struct pci_device *pci, u64 features) must_check;

/* Hands the device one request and waits for its completion.  n <= 8. */
err_t virtio_request(struct virtio *v, const struct virtio_buffer *buffers, unsigned n) must_check;

#endif
