/*
 * virtio_net.c - Ethernet frames over virtio.  See virtio_net.h.
 * [VIRTIO 5.1 Network Device]
 *
 * Both rings have a buffer for each request number, where it stays: a frame lies
 * behind the header, in one piece.
 */
#include "kernel/cpu.h"
#include "kernel/mm.h"
#include "kernel/msix.h"
#include "kernel/panic.h"
#include "kernel/time.h"
#include "kernel/trap.h"
#include "kernel/vectors.h"
#include "kernel/virtio.h"
#include "kernel/virtio_net.h"

enum { DEVICE_ID_MODERN = 0x1041, DEVICE_ID_TRANSITIONAL = 0x1000 };

#define F_MAC BIT(5)
/* CSUM, HOST_TSO4, HOST_TSO6, HOST_ECN; GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, GUEST_ECN */
#define F_PACKETS (BIT(0) | BIT(11) | BIT(12) | BIT(13) | BIT(1) | BIT(7) | BIT(8) | BIT(9))
#define HEADER PACKET_HEADER /* [VIRTIO 5.1.6]: with VERSION_1 a packet's, zero but for num_buffers without offloads */
#define SEND_TRIES 10000U /* a few milliseconds, on any clock: PAUSE lets QEMU go and send */

enum { RECEIVE = 0, TRANSMIT = 1 }; /* queues */
enum { WAKE = 0 };                  /* the MSI-X table's entry for received frames */

struct nic {
	struct virtio v;
	struct virtio_ring rx, tx;
	struct msix msix;
	bool open;
	u8 mac[6];
	u32 frame_max, stride; /* stride: bytes from buffer to buffer */
	int nbuffers;          /* for each way, of NIC_RING that the rings have */
	u8 *in, *out;          /* ... and one behind those to send, for what a device that is stuck does not get */
	int shown;             /* the buffer nic_peek has shown; -1: none */
	int making;            /* the buffer nic_room has given, until nic_made; -1: none; nbuffers: that for what is lost */
	u32 shown_size;
	unsigned queued;       /* frames not yet handed over */
	u16 heard;             /* of what ring_completed counts: as far as a cpu_wait need not end */
	struct nic_stats stats;
};

static struct {
	bool scanned, at_once;
	unsigned n;
	struct nic nic[NIC_MAX];
} nics;

/*
 * The number that the next request will have, which is its buffer's; -1: all of those are under way.  Numbers given
 * back are the next to be given, so that of a ring's first ones never more than are under way at a time are in use.
 */
static int free_buffer(const struct nic *n, const struct virtio_ring *q)
{
	return (int)q->size - (int)q->nfree < n->nbuffers ? ring_next(q) : -1;
}

static void receive_into(struct nic *n, int number)
{
	const struct virtio_buffer b = { n->in + (u32)number * n->stride, HEADER + n->frame_max, true };

	if (!ring_offer(&n->rx, &b, 1))
		panic("virtio_net: buffer %d has no descriptor", number);
}

/* Packets with all that belongs to them, or none. */
static err_t agree(struct nic *n, bool packets)
{
	const struct pci_device pci = n->v.pci;
	err_t err = virtio_open(&n->v, &pci, packets ? F_MAC | F_PACKETS : F_MAC);

	return err || !packets || nic_has_packets(n) ? err : agree(n, false);
}

/* Where it turns out to have no packets its memory is as if it had: a replay's, which is connected to nothing, is like its recording's. */
static err_t start(struct nic *n, u32 frame_max)
{
	size_t npages;
	int number;
	err_t err;

	n->frame_max = frame_max;
	n->nbuffers = frame_max > NIC_JUMBO_FRAME ? NIC_PACKET_RING : NIC_RING;
	n->stride = ALIGN_UP(HEADER + frame_max, 2048U);
	npages = (size_t)n->stride * (size_t)n->nbuffers / PAGE_SIZE;
	n->shown = n->making = -1;
	err = agree(n, frame_max > NIC_JUMBO_FRAME);
	if (!err)
		err = msix_init(&n->msix, &n->v.pci);
	if (!err)
		err = ring_init(&n->v, &n->rx, RECEIVE, NIC_RING, WAKE);
	if (!err)
		err = ring_init(&n->v, &n->tx, TRANSMIT, NIC_RING, RING_NO_VECTOR);
	if (err)
		return err;
	n->in = page_alloc(npages);
	n->out = page_zalloc(npages + (n->stride + PAGE_SIZE - 1) / PAGE_SIZE);
	if (!n->in || !n->out)
		return ERR_NO_MEMORY;
	trap_set_irq_handler(VEC_HOST_NIC, NULL);
	msix_route(&n->msix, WAKE, VEC_HOST_NIC);
	msix_unmask(&n->msix, WAKE);
	while ((number = free_buffer(n, &n->rx)) >= 0)
		receive_into(n, number);
	virtio_start(&n->v);
	ring_kick(&n->rx);
	return OK;
}

static bool probe(void *ctx unused_arg, const struct pci_device *d)
{
	struct nic *n = &nics.nic[nics.n];

	if (d->vendor != VIRTIO_VENDOR || (d->device != DEVICE_ID_MODERN && d->device != DEVICE_ID_TRANSITIONAL))
		return true;
	if (virtio_open(&n->v, d, F_MAC) || !n->v.config || !(n->v.features & F_MAC))
		return true;
	for (unsigned i = 0; i < sizeof(n->mac); i++)
		n->mac[i] = n->v.config[i];
	return ++nics.n < NIC_MAX;
}

static struct nic *at(unsigned index)
{
	if (!nics.scanned) {
		nics.scanned = true;
		pci_scan(probe, NULL);
	}
	return index < nics.n ? &nics.nic[index] : NULL;
}

struct nic *nic_open(unsigned index, u32 frame_max)
{
	struct nic *n = at(index);

	if (n && !n->open)
		n->open = start(n, frame_max) == OK;
	return n && n->open ? n : NULL;
}

struct nic *nic_find(const u8 mac[6], u32 frame_max)
{
	const struct nic *n;

	for (unsigned i = 0; (n = at(i)); i++)
		if (!memcmp(n->mac, mac, sizeof(n->mac)))
			return nic_open(i, frame_max);
	return NULL;
}

const u8 *nic_mac(const struct nic *n)
{
	return n->mac;
}

bool nic_has_packets(const struct nic *n)
{
	return (n->v.features & F_PACKETS) == F_PACKETS;
}

const struct nic_stats *nic_stats(const struct nic *n)
{
	return &n->stats;
}

const u8 *nic_peek(struct nic *n, u32 *size)
{
	u32 written;

	if (n->shown < 0) {
		n->shown = ring_take(&n->rx, &written);
		if (n->shown < 0)
			return NULL;
		n->shown_size = MIN(MAX(written, HEADER), HEADER + n->frame_max) - HEADER;
		write_bytes_le(n->in + (u32)n->shown * n->stride + PACKET_ZERO, 2, 0); /* num_buffers: 1 */
		n->stats.received++;
	}
	*size = n->shown_size;
	return n->in + (u32)n->shown * n->stride + HEADER;
}

const u8 *nic_shown_packet(const struct nic *n)
{
	return n->in + (u32)n->shown * n->stride;
}

void nic_done(struct nic *n)
{
	if (n->shown < 0)
		return;
	receive_into(n, n->shown);
	ring_kick(&n->rx);
	n->shown = -1;
	n->heard = n->rx.taken;
}

/* A free request on the transmit queue, perhaps after a while; -1: the device is stuck. */
static int room(struct nic *n)
{
	u32 written;

	for (unsigned i = 0; i < SEND_TRIES; i++) {
		while (ring_take(&n->tx, &written) >= 0)
			;
		if (free_buffer(n, &n->tx) >= 0)
			return free_buffer(n, &n->tx);
		if (!i)
			nic_kick(n);
		pause();
	}
	return -1;
}

u8 *nic_room(struct nic *n)
{
	/* Once: what the device gives back meanwhile comes first in the list of free ones. */
	if (n->making < 0)
		n->making = room(n);
	if (n->making < 0)
		n->making = n->nbuffers;
	return n->out + (u32)n->making * n->stride + HEADER;
}

void nic_made(struct nic *n, u32 size)
{
	const int number = n->making;
	const struct virtio_buffer b = { n->out + (u32)number * n->stride, HEADER + size, false };

	n->making = -1;
	if (number == n->nbuffers) {
		n->stats.dropped++;
		return;
	}
	if (number != ring_next(&n->tx) || size > n->frame_max || !ring_offer(&n->tx, &b, 1))
		panic("virtio_net: a frame of %u bytes, made at buffer %d, has no descriptor", size, number);
	n->stats.sent++;
	if (++n->queued == NIC_BATCH)
		nic_kick(n);
}

void nic_queue(struct nic *n, const void *frame, u32 size)
{
	if (size > n->frame_max) {
		n->stats.dropped++;
		return;
	}
	memcpy(nic_room(n), frame, size);
	if (nic_has_packets(n))
		memset(n->out + (u32)n->making * n->stride, 0, HEADER);
	nic_made(n, size);
}

void nic_queue_packet(struct nic *n, const u8 *packet, u32 size)
{
	if (size < HEADER || size - HEADER > n->frame_max || !nic_has_packets(n)) {
		n->stats.dropped++;
		return;
	}
	memcpy(nic_room(n) - HEADER, packet, size);
	nic_made(n, size - HEADER);
}

void nic_kick(struct nic *n)
{
	if (n->queued && nics.at_once)
		ring_kick_through(&n->tx);
	else if (n->queued)
		ring_kick(&n->tx);
	n->queued = 0;
}

void nic_send(struct nic *n, const void *frame, u32 size)
{
	nic_queue(n, frame, size);
	nic_kick(n);
}

void nics_send_at_once(void)
{
	nics.at_once = true;
}

u16 nic_arrived(const struct nic *n)
{
	return ring_completed(&n->rx);
}

u16 nic_shown(const struct nic *n)
{
	return n->rx.taken;
}

bool nics_present(void)
{
	for (unsigned i = 0; i < nics.n; i++)
		if (nics.nic[i].open)
			return true;
	return false;
}

/*
 * By the ring's flag alone: masking the vector takes two accesses to the device, each of which costs
 * QEMU more than the rest of a wait.
 */
void nics_listen(bool on)
{
	for (unsigned i = 0; i < nics.n; i++)
		if (nics.nic[i].open)
			ring_interrupts(&nics.nic[i].rx, on);
}

bool nics_heard(void)
{
	bool heard = false;

	for (unsigned i = 0; i < nics.n; i++) {
		struct nic *n = &nics.nic[i];

		if (n->open && n->heard != ring_completed(&n->rx)) {
			n->heard = ring_completed(&n->rx);
			heard = true;
		}
	}
	return heard;
}
