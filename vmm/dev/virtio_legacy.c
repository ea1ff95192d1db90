/*
 * virtio_legacy.c - the face of a virtio device for drivers from before 1.0: one
 * I/O BAR.  [VIRTIO 4.1.4.10 Legacy Interfaces: A Note on PCI Device Layout]
 *
 * Differences: 32 feature bits and no FEATURES_OK; the device says how large a
 * queue is and the driver only where, by a page frame number; rings lie one
 * behind the other, the used ring on a page of its own; fields are in the guest's
 * byte order, which on this machine is little-endian, too.
 *
 * Reads and changes: as virtio_pci.c, of the same device.
 */
#include "vmm/dev/virtio_impl.h"

enum {
	DEVICE_FEATURES = 0, DRIVER_FEATURES = 4, QUEUE_ADDRESS = 8, QUEUE_SIZE = 12, QUEUE_SELECT = 14,
	QUEUE_NOTIFY = 16, DEVICE_STATUS = 18, ISR_STATUS = 19,
	/* With MSI-X enabled only; what follows comes four bytes earlier without. */
	CONFIG_VECTOR = 20, QUEUE_VECTOR = 22,
	HEADER_SIZE = 20,
};
#define FRAME_SHIFT 12
#define QUEUE_ALIGN 4096UL

static u32 config_at(const struct virtio *v)
{
	return pci_msix_enabled(&v->fn) ? VIRTIO_LEGACY_HEADER : HEADER_SIZE;
}

static u64 read_header(struct virtio *v, u32 offset)
{
	struct virtq *q = virtio_selected(v);

	switch (offset) {
	case DEVICE_FEATURES:
		return (u32)v->offered | VIRTIO_F_ANY_LAYOUT;
	case DRIVER_FEATURES:
		return (u32)v->features;
	case QUEUE_ADDRESS:
		return q && q->enabled ? (u32)(q->desc >> FRAME_SHIFT) : 0;
	case QUEUE_SIZE:
		return q ? q->size : 0;
	case QUEUE_SELECT:
		return v->queue_select;
	case DEVICE_STATUS:
		return v->status;
	case ISR_STATUS:
		return virtio_read_isr(v);
	case CONFIG_VECTOR:
		return v->config_vector;
	case QUEUE_VECTOR:
		return q ? v->queue_vector[v->queue_select] : VIRTIO_NO_VECTOR;
	default:
		return 0;
	}
}

u64 virtio_legacy_read(struct virtio *v, u32 offset, unsigned size_bytes)
{
	u32 config = config_at(v);

	return offset >= config ? virtio_read_config(v, offset - config, size_bytes) : read_header(v, offset);
}

/* Where the rings are, from where they begin [VIRTIO 2.7.2 Legacy Interfaces: A Note on Virtqueue Layout]. */
static void set_address(struct virtio *v, struct virtq *q, u32 frame)
{
	virtq_reset(q);
	if (!frame)
		return;
	q->desc = (u64)frame << FRAME_SHIFT;
	q->avail = q->desc + 16UL * q->size;
	q->used = ALIGN_UP(q->avail + 6UL + 2UL * q->size, QUEUE_ALIGN);
	virtio_enable_queue(v, q);
}

/* A field is written whole, at its own size. */
void virtio_legacy_write(struct virtio *v, u32 offset, unsigned size_bytes, u64 value)
{
	struct virtq *q = virtio_selected(v);

	if (offset >= config_at(v))
		return;
	switch (size_bytes << 8 | offset) {
	case 0x400 | DRIVER_FEATURES:
		virtio_write_features(v, 0, (u32)value & ((u32)v->offered | (u32)VIRTIO_F_ANY_LAYOUT));
		break;
	case 0x400 | QUEUE_ADDRESS:
		if (q)
			set_address(v, q, (u32)value);
		break;
	case 0x200 | QUEUE_SELECT:
		v->queue_select = (u16)value;
		break;
	case 0x200 | QUEUE_NOTIFY:
		virtio_kick(v, (unsigned)value);
		break;
	case 0x100 | DEVICE_STATUS:
		virtio_write_status(v, (u8)value);
		break;
	case 0x200 | CONFIG_VECTOR:
		v->config_vector = virtio_vector(v, value);
		break;
	case 0x200 | QUEUE_VECTOR:
		if (q)
			v->queue_vector[v->queue_select] = virtio_vector(v, value);
		break;
	default:
		break;
	}
}
