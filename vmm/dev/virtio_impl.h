/*
 * virtio_impl.h - between the three rooms of a virtio device: virtio.c,
 * virtio_pci.c, virtio_legacy.c.  Devices include virtio.h only.
 */
#ifndef VMM_DEV_VIRTIO_IMPL_H
#define VMM_DEV_VIRTIO_IMPL_H

#include "vmm/dev/virtio.h"

enum { VIRTIO_BAR_LEGACY = 0, VIRTIO_BAR_MEMORY = 1, VIRTIO_BAR_NOTIFY = 2 };

/* In the ISR status [VIRTIO 4.1.4.5 ISR status capability]. */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

/* ---- virtio.c ---- */

void virtio_write_status(struct virtio *v, u8 value);
void virtio_write_features(struct virtio *v, unsigned shift, u32 value);
u8 virtio_read_isr(struct virtio *v);
void virtio_kick(struct virtio *v, unsigned queue);
void virtio_enable_queue(struct virtio *v, struct virtq *q);
/* The queue that queue_select names; NULL: there is none. */
struct virtq *virtio_selected(struct virtio *v);
/* A vector as the driver may set it: one there is none of becomes VIRTIO_NO_VECTOR. */
u16 virtio_vector(const struct virtio *v, u64 value);
u64 virtio_read_config(const struct virtio *v, u32 offset, unsigned size_bytes);

/* ---- virtio_pci.c ---- */

void virtio_pci_describe(struct virtio *v, unsigned slot);

/* ---- virtio_legacy.c ---- */

#define VIRTIO_LEGACY_HEADER 24U
u64 virtio_legacy_read(struct virtio *v, u32 offset, unsigned size_bytes);
void virtio_legacy_write(struct virtio *v, u32 offset, unsigned size_bytes, u64 value);

#endif
