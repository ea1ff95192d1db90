/*
 * virtio_rng.h - random numbers for the guest [VIRTIO 5.4 Entropy Device], out of
 * the machine's seed.
 *
 * A stream of bytes: its nth eight are XXH64 of the number n, seeded with the
 * machine's seed and a constant of this device.  The state is how many were
 * given.  The same seed, the same numbers: for a guest they are as good as any, but
 * whoever has the recording knows them [docs/CAVEATS.md].
 *
 * A request is answered at once, with at most RNG_MAX_BYTES.
 */
#ifndef VMM_DEV_VIRTIO_RNG_H
#define VMM_DEV_VIRTIO_RNG_H

#include "vmm/dev/virtio.h"

#define RNG_MAX_BYTES 4096U

struct virtio_rng {
	struct virtio v;
	u64 seed;

	u64 ngiven;      /* of eight bytes */
};

extern const struct device_ops virtio_rng_ops;

void virtio_rng_init(struct virtio_rng *r, const struct virtio_env *env, unsigned slot, u64 seed);

#endif
