/*
 * virtio.c - the PCI transport and its one queue.  See virtio.h.
 */
#include "kernel/cpu.h"
#include "kernel/mm.h"
#include "kernel/paging.h"
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
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64 };

/* The queue's page. */
struct descriptor {
	u64 addr;
	u32 len;
	u16 flags, next;
};
enum { DESC_NEXT = 1, DESC_WRITE = 2, AVAIL_NO_INTERRUPT = 1 };
enum { AVAIL_AT = VIRTQ_MAX_SIZE * 16, USED_AT = 2048 };

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
		u32 offset = pci_read32(d, *cap + CAP_OFFSET), length = pci_read32(d, *cap + CAP_LENGTH);
		u8 index = pci_read8(d, *cap + CAP_BAR);
		struct pci_bar bar;

		if (pci_read8(d, *cap + CAP_TYPE) != type || index > 5 || !pci_bar(d, index, &bar) ||
		    bar.io || (u64)offset + length > bar.size_bytes || (!bar.base && !pci_assign(d, index, &bar)))
			continue;
		return (volatile u8 *)mmio_map(bar.base + offset, length);
	}
	return NULL;
}

static err_t find_structures(struct virtio *v)
{
	volatile u8 *notify;
	u8 cap;

	v->common = find_structure(&v->pci, CFG_COMMON, &cap);
	v->config = find_structure(&v->pci, CFG_DEVICE, &cap);
	notify = find_structure(&v->pci, CFG_NOTIFY, &cap);
	if (!v->common || !notify)
		return ERR_UNSUPPORTED;
	put16(v, QUEUE_SELECT, 0);
	v->notify = (volatile u16 *)(notify + (size_t)get16(v, QUEUE_NOTIFY_OFF) *
						      pci_read32(&v->pci, cap + CAP_MULTIPLIER));
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

static err_t enable_queue(struct virtio *v)
{
	put16(v, QUEUE_SELECT, 0);
	v->queue_size = MIN(get16(v, QUEUE_SIZE), VIRTQ_MAX_SIZE);
	if (v->queue_size < 8 || (v->queue_size & (v->queue_size - 1)))
		return ERR_UNSUPPORTED;
	v->queue = page_zalloc(1);
	if (!v->queue)
		return ERR_NO_MEMORY;
	*(u16 *)(v->queue + AVAIL_AT) = AVAIL_NO_INTERRUPT;
	put16(v, QUEUE_SIZE, v->queue_size);
	put16(v, MSIX_CONFIG, 0xffff); /* no vector */
	put16(v, QUEUE_MSIX, 0xffff);
	put64(v, QUEUE_DESC, (u64)v->queue);
	put64(v, QUEUE_DRIVER, (u64)v->queue + AVAIL_AT);
	put64(v, QUEUE_DEVICE, (u64)v->queue + USED_AT);
	put16(v, QUEUE_ENABLE, 1);
	return OK;
}

/* [VIRTIO 3.1.1 Driver Requirements: Device Initialization] */
err_t virtio_init(struct virtio *v, const struct pci_device *pci, u64 features)
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
	err = agree_features(v, features);
	if (!err)
		err = enable_queue(v);
	if (!err)
		put8(v, DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	return err;
}

err_t virtio_request(struct virtio *v, const struct virtio_buffer *buffers, unsigned n)
{
	struct descriptor *desc = (struct descriptor *)v->queue;
	volatile u16 *avail = (volatile u16 *)(v->queue + AVAIL_AT); /* flags, idx, ring[] */
	const volatile u16 *used = (const volatile u16 *)(v->queue + USED_AT);
	u64 give_up = rdtsc() + REQUEST_TIMEOUT_S * host_tsc_hz();

	for (unsigned i = 0; i < n; i++) {
		desc[i] = (struct descriptor){
			.addr = (u64)buffers[i].data,
			.len = buffers[i].size_bytes,
			.flags = (u16)((buffers[i].device_writes ? DESC_WRITE : 0) |
				       (i + 1 < n ? DESC_NEXT : 0)),
			.next = (u16)(i + 1),
		};
	}
	avail[2 + v->avail_idx % v->queue_size] = 0;
	/* Stores stay in order on x86; the barrier is for the compiler. */
	__asm__ volatile("" : : : "memory");
	avail[1] = ++v->avail_idx;
	__asm__ volatile("mfence" : : : "memory"); /* the index before the doorbell */
	*v->notify = 0;
	while (used[1] != v->avail_idx) {
		if (rdtsc() > give_up)
			return ERR_IO;
		pause();
	}
	__asm__ volatile("" : : : "memory");
	return OK;
}
