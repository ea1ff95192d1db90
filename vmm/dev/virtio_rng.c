/*
 * virtio_rng.c - random numbers for the guest.  See virtio_rng.h.
 *
 * Reads and changes: its place in the stream, and guest memory by the chains of
 * its queue.  Never: a random bit of the host's.
 */
#include "kernel/xxh.h"
#include "vmm/dev/virtio_rng.h"

#define STREAM 0x676e7220726e6456UL /* not the seed's other uses [linuxboot.c] */

static void fill(struct virtio_rng *r, const struct virtq_chain *c)
{
	struct virtq_cursor at = virtq_writer(c);

	for (u32 left = MIN(c->write_bytes, RNG_MAX_BYTES), n; left; left -= n) {
		u64 words[32];

		n = MIN(left, (u32)sizeof(words));
		for (u32 i = 0; i < n; i += 8, r->ngiven++)
			words[i / 8] = XXH64(&r->ngiven, sizeof(r->ngiven), r->seed ^ STREAM);
		virtq_put(&at, words, n);
	}
}

static void kick(void *dev, unsigned queue unused_arg)
{
	struct virtio_rng *r = dev;
	struct virtq_chain *c;

	while (virtio_look(&r->v, 0, 0, &c)) {
		virtio_take(&r->v, 0, 1);
		fill(r, c);
		if (!virtio_done(&r->v, 0, c->head, MIN(c->write_bytes, RNG_MAX_BYTES)))
			return;
	}
	virtio_want_kicks(&r->v, 0, true);
	virtio_signal(&r->v, 0);
}

static void resume(void *dev)
{
	kick(dev, 0);
}

/* A driver that begins anew does not get the same numbers again. */
static void forget(void *dev unused_arg)
{
}

static u64 rng_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	struct virtio_rng *r = dev;

	return virtio_read(&r->v, space, addr, size_bytes);
}

static void rng_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct virtio_rng *r = dev;

	virtio_write(&r->v, space, addr, size_bytes, value);
}

static void rng_reset(void *dev)
{
	struct virtio_rng *r = dev;

	r->ngiven = 0;
	virtio_reset(&r->v);
}

static void rng_state(void *dev, struct state_walk *w)
{
	struct virtio_rng *r = dev;

	virtio_state(&r->v, w);
	STATE(w, r, ngiven);
}

const struct device_ops virtio_rng_ops = {
	.name = "virtio-rng",
	.version = 1,
	.read = rng_read,
	.write = rng_write,
	.reset = rng_reset,
	.input = device_no_input,
	.state = rng_state,
};

static const struct virtio_class rng_class = {
	.type = VIRTIO_RNG,
	.transitional_id = 0x1005,
	.class_code = 0x00ff00, /* none of PCI's */
	.nqueues = 1,
	.queue_size = 8,
	.config_size = 0,
	.ops = &virtio_rng_ops,
	.kick = kick,
	.resume = resume,
	.reset = forget,
};

void virtio_rng_init(struct virtio_rng *r, const struct virtio_env *env, unsigned slot, u64 seed)
{
	memset(r, 0, sizeof(*r));
	r->seed = seed;
	virtio_init(&r->v, &rng_class, r, env, slot, 0, NULL);
}
