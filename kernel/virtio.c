/*
 * virtio.c - the PCI transport and its queues.  See virtio.h.
 */
#include "kernel/cpu.h"
#include "kernel/mm.h"
#include "kernel/time.h"
#include "kernel/virtio.h"

/* Vendor capability [VIRTIO 4.1.4 Virtio Structure PCI Capabilities]. */
enum { CAP_VENDOR = 0x09, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_MULTIPLIER = 16 };
enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_DEVICE = 4 };

/* Offsets in the common configuration [VIRTIO 4.1.4.3]. */
enum {
	DEVICE_FEATURE_SELECT = 0, DEVICE_FEATURE = 4, DRIVER_FEATURE_SELECT = 8, DRIVER_FEATURE = 12,
	MSIX_CONFIG = 16, DEVICE_STATUS = 20, QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_MSIX = 26,
	QUEUE_ENABLE = 28, QUEUE_NOTIFY_OFF = 30, QUEUE_DESC = 32, QUEUE_DRIVER = 40, QUEUE_DEVICE = 48,
};

/* Device status [VIRTIO 2.1]. */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };

/* In a queue's memory [VIRTIO 2.7.5, 2.7.6, 2.7.8]. */
enum { DESC_NEXT = 1, DESC_WRITE = 2, AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

#define REQUEST_TIMEOUT_S 60 /* a host disk can be slow; a device that is gone never answers */

static void put8(struct virtio *v, unsigned at, u8 value)
{
	v->common[at] = value;
}

static void put16(struct virtio *v, unsigned at, u16 value)
{
	*(volatile u16 *)(v->common + at) = value;
}

static void put32(struct virtio *v, unsigned at, u32 value)
{
	*(volatile u32 *)(v->common + at) = value;
}

static u16 get16(struct virtio *v, unsigned at)
{
	return *(volatile u16 *)(v->common + at);
}

/* 64-bit fields are two 32-bit accesses [VIRTIO 4.1.3.1]. */
static void put64(struct virtio *v, unsigned at, u64 value)
{
	put32(v, at, (u32)value);
	put32(v, at + 4, (u32)(value >> 32));
}

/* Where the first capability of a type leads, mapped; NULL if there is none.  *cap tells which. */
static volatile u8 *find_structure(const struct pci_device *d, u8 type, u8 *cap)
{
	for (*cap = 0; (*cap = pci_capability(d, CAP_VENDOR, *cap));) {
		volatile u8 *at;

		if (pci_read8(d, *cap + CAP_TYPE) != type)
			continue;
		at = pci_map(d, pci_read8(d, *cap + CAP_BAR), pci_read32(d, *cap + CAP_OFFSET),
			     pci_read32(d, *cap + CAP_LENGTH));
		if (at)
			return at;
	}
	return NULL;
}

static err_t find_structures(struct virtio *v)
{
	u8 cap;

	v->common = find_structure(&v->pci, CFG_COMMON, &cap);
	v->config = find_structure(&v->pci, CFG_DEVICE, &cap);
	v->notify = find_structure(&v->pci, CFG_NOTIFY, &cap);
	if (!v->common || !v->notify)
		return ERR_UNSUPPORTED;
	v->notify_multiplier = pci_read32(&v->pci, cap + CAP_MULTIPLIER);
	return OK;
}

static err_t agree_features(struct virtio *v, u64 wanted)
{
	u64 offered = 0;

	for (u32 i = 0; i < 2; i++) {
		put32(v, DEVICE_FEATURE_SELECT, i);
		offered |= (u64)*(volatile u32 *)(v->common + DEVICE_FEATURE) << (32 * i);
	}
	v->features = offered & (wanted | VIRTIO_F_VERSION_1);
	for (u32 i = 0; i < 2; i++) {
		put32(v, DRIVER_FEATURE_SELECT, i);
		put32(v, DRIVER_FEATURE, (u32)(v->features >> (32 * i)));
	}
	put8(v, DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	if (!(v->features & VIRTIO_F_VERSION_1) || !(v->common[DEVICE_STATUS] & FEATURES_OK))
		return ERR_UNSUPPORTED;
	return OK;
}

/* [VIRTIO 3.1.1 Driver Requirements: Device Initialization], up to FEATURES_OK */
err_t virtio_open(struct virtio *v, const struct pci_device *pci, u64 features)
{
	u64 give_up = rdtsc() + host_tsc_hz();
	err_t err;

	*v = (struct virtio){ .pci = *pci };
	pci_write16(pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
	err = find_structures(v);
	if (err)
		return err;
	put8(v, DEVICE_STATUS, 0);
	while (v->common[DEVICE_STATUS])
		if (rdtsc() > give_up)
			return ERR_IO;
	put8(v, DEVICE_STATUS, ACKNOWLEDGE);
	put8(v, DEVICE_STATUS, ACKNOWLEDGE | DRIVER);
	put16(v, MSIX_CONFIG, RING_NO_VECTOR);
	return agree_features(v, features);
}

void virtio_start(struct virtio *v)
{
	put8(v, DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

/* The three parts of a queue, one behind the other [VIRTIO 2.7]. */
static err_t lay_out(struct virtio_ring *q)
{
	size_t avail_at = q->size * sizeof(*q->desc);
	size_t used_at = ALIGN_UP(avail_at + 6UL + 2UL * q->size, 4);
	u8 *pages = page_zalloc((used_at + 6UL + 8UL * q->size + PAGE_SIZE - 1) / PAGE_SIZE);

	if (!pages)
		return ERR_NO_MEMORY;
	q->desc = (struct virtio_descriptor *)pages;
	q->avail = (volatile u16 *)(pages + avail_at);
	q->used = (const volatile u16 *)(pages + used_at);
	for (u16 i = 0; i < q->size; i++)
		q->desc[i].next = (u16)(i + 1);
	q->nfree = q->size;
	return OK;
}

err_t ring_init(struct virtio *v, struct virtio_ring *q, u16 index, u16 max_size, u16 vector)
{
	err_t err;

	put16(v, QUEUE_SELECT, index);
	*q = (struct virtio_ring){ .index = index, .size = MIN(get16(v, QUEUE_SIZE), max_size) };
	q->doorbell = (volatile u16 *)(v->notify + (size_t)get16(v, QUEUE_NOTIFY_OFF) * v->notify_multiplier);
	if (q->size < 8 || (q->size & (q->size - 1)))
		return ERR_UNSUPPORTED;
	err = lay_out(q);
	if (err)
		return err;
	ring_interrupts(q, false);
	put16(v, QUEUE_SIZE, q->size);
	put16(v, QUEUE_MSIX, vector);
	put64(v, QUEUE_DESC, (u64)q->desc);
	put64(v, QUEUE_DRIVER, (u64)q->avail);
	put64(v, QUEUE_DEVICE, (u64)q->used);
	put16(v, QUEUE_ENABLE, 1);
	return get16(v, QUEUE_MSIX) == vector ? OK : ERR_UNSUPPORTED;
}

int ring_next(const struct virtio_ring *q)
{
	return q->nfree ? q->free : -1;
}

/* The list of free descriptors is linked as a chain is: the first n of it become one. */
bool ring_offer(struct virtio_ring *q, const struct virtio_buffer *buffers, unsigned n)
{
	u16 head = q->free;

	if (!n || n > q->nfree)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct virtio_descriptor *d = &q->desc[q->free];

		d->addr = (u64)buffers[i].data;
		d->len = buffers[i].size_bytes;
		d->flags = (u16)((buffers[i].device_writes ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0));
		q->free = d->next;
	}
	q->nfree = (u16)(q->nfree - n);
	q->avail[2 + q->offered++ % q->size] = head;
	return true;
}

static void show_offered(struct virtio_ring *q)
{
	/* Stores stay in order on x86; the barrier is for the compiler. */
	__asm__ volatile("" : : : "memory");
	q->avail[1] = q->offered;
	__asm__ volatile("mfence" : : : "memory"); /* the index, before the flag is looked at [VIRTIO 2.7.10] */
}

void ring_kick_through(struct virtio_ring *q)
{
	show_offered(q);
	*q->doorbell = q->index;
	*q->doorbell = q->index;
}

void ring_kick(struct virtio_ring *q)
{
	show_offered(q);
	if (!(q->used[0] & USED_NO_NOTIFY))
		*q->doorbell = q->index;
}

int ring_take(struct virtio_ring *q, u32 *written)
{
	const volatile u32 *element = (const volatile u32 *)(q->used + 2) + 2 * (q->taken % q->size);
	u32 head, last;
	u16 n = 1;

	if (q->taken == ring_completed(q))
		return -1;
	__asm__ volatile("" : : : "memory"); /* what the device wrote, after its index */
	head = last = element[0];
	if (head >= q->size)
		return -1; /* a device gone mad: nothing completes any more */
	*written = element[1];
	for (; q->desc[last].flags & DESC_NEXT; n++)
		last = q->desc[last].next;
	q->desc[last].next = q->free;
	q->free = (u16)head;
	q->nfree = (u16)(q->nfree + n);
	q->taken++;
	return (int)head;
}

void ring_interrupts(struct virtio_ring *q, bool on)
{
	q->avail[0] = on ? 0 : AVAIL_NO_INTERRUPT;
	__asm__ volatile("mfence" : : : "memory"); /* before completed requests are looked for [VIRTIO 2.7.7] */
}

int ring_submit(struct virtio_ring *q, const struct virtio_buffer *buffers, unsigned n)
{
	int number = ring_next(q);

	if (!ring_offer(q, buffers, n))
		return -1;
	ring_kick(q);
	return number;
}

err_t ring_wait(struct virtio_ring *q, int number)
{
	u64 give_up = rdtsc() + REQUEST_TIMEOUT_S * host_tsc_hz();
	u32 written;

	while (ring_take(q, &written) != number) {
		if (rdtsc() > give_up)
			return ERR_IO;
		pause();
	}
	return OK;
}
