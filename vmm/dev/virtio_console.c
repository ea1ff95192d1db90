/*
 * virtio_console.c - a console for the guest.  The model is in
 * virtio_console.h.
 */
#include "vmm/dev/virtio_console.h"

/* --- sending ----------------------------------------------------------------- */

static void send_all(struct virtio_console *c)
{
	struct virtq_chain *chain;

	while (virtio_look(&c->v, VCONSOLE_TX, 0, &chain)) {
		struct virtq_cursor at = virtq_reader(chain);
		u32 n;
		u8 *data;

		if (chain->read_bytes > VCONSOLE_MAX_BYTES) {
			virtio_break(&c->v);
			return;
		}
		while ((n = virtq_span(&at, VCONSOLE_MAX_BYTES, &data)))
			c->tx.put(c->tx.ctx, data, n);
		virtio_take(&c->v, VCONSOLE_TX, 1);
		if (!virtio_done(&c->v, VCONSOLE_TX, chain->head, 0))
			return;
	}
	virtio_want_kicks(&c->v, VCONSOLE_TX, true);
	virtio_signal(&c->v, VCONSOLE_TX);
}

/* --- receiving ----------------------------------------------------------------- */

/* From the queue into the driver's buffers, as far as both go. */
static void deliver(struct virtio_console *c)
{
	struct virtq_chain *chain;

	while (c->queue_len && virtio_look(&c->v, VCONSOLE_RX, 0, &chain)) {
		struct virtq_cursor at = virtq_writer(chain);
		u32 n = virtq_put(&at, c->queue + c->queue_start, c->queue_len);

		if (!n) {
			virtio_break(&c->v); /* a buffer that holds nothing */
			return;
		}
		c->queue_start += n;
		c->queue_len -= n;
		virtio_take(&c->v, VCONSOLE_RX, 1);
		if (!virtio_done(&c->v, VCONSOLE_RX, chain->head, n))
			return;
	}
	virtio_signal(&c->v, VCONSOLE_RX);
}

/* What waits goes in, or the timer is set for when it may. */
static void pump(struct virtio_console *c)
{
	u64 now_ns = c->v.env.clock->now_ns;
	bool waits;

	if (!virtio_working(&c->v))
		return;
	if (c->open_at_ns == VTIMER_NEVER && virtio_count(&c->v, VCONSOLE_RX))
		c->open_at_ns = now_ns + VCONSOLE_GATE_NS;
	waits = now_ns < c->open_at_ns && c->queue_len;
	vtimer_arm(&c->gate, waits ? c->open_at_ns : VTIMER_NEVER);
	if (now_ns >= c->open_at_ns)
		deliver(c);
	virtio_want_kicks(&c->v, VCONSOLE_RX, c->queue_len || c->open_at_ns == VTIMER_NEVER);
}

static void gate_fire(void *owner)
{
	pump(owner);
}

u32 virtio_console_input_room(const struct virtio_console *c)
{
	return VCONSOLE_QUEUE - c->queue_len;
}

static void receive(void *dev, const void *data, size_t size)
{
	struct virtio_console *c = dev;
	u32 n = (u32)MIN(size, virtio_console_input_room(c));

	if (c->queue_start + c->queue_len + n > VCONSOLE_QUEUE) {
		memmove(c->queue, c->queue + c->queue_start, c->queue_len);
		c->queue_start = 0;
	}
	if (n)
		memcpy(c->queue + c->queue_start + c->queue_len, data, n);
	c->queue_len += n;
	pump(c);
}

/* --- the hooks -------------------------------------------------------------------- */

static void kick(void *dev, unsigned queue)
{
	if (queue == VCONSOLE_TX)
		send_all(dev);
	else
		pump(dev);
}

static void resume(void *dev)
{
	send_all(dev);
	pump(dev);
}

/* What waits on the wire goes on waiting. */
static void forget(void *dev)
{
	struct virtio_console *c = dev;

	c->open_at_ns = VTIMER_NEVER;
	vtimer_cancel(&c->gate);
}

static u64 console_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	struct virtio_console *c = dev;

	return virtio_read(&c->v, space, addr, size_bytes);
}

static void console_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	struct virtio_console *c = dev;

	virtio_write(&c->v, space, addr, size_bytes, value);
}

static void console_reset(void *dev)
{
	struct virtio_console *c = dev;

	c->queue_start = c->queue_len = 0;
	virtio_reset(&c->v);
}

static void console_state(void *dev, struct state_walk *w)
{
	struct virtio_console *c = dev;

	virtio_state(&c->v, w);
	STATE(w, c, open_at_ns);
	vtimer_state(&c->gate, w, "gate_ns");
	STATE(w, c, queue_len);
	if (w->mode == STATE_LOAD) {
		c->queue_start = 0;
		if (c->queue_len > VCONSOLE_QUEUE) {
			c->queue_len = 0;
			w->error = w->error ? w->error : ERR_DAMAGED;
		}
	}
	state_field(w, "queue", c->queue + c->queue_start, c->queue_len);
}

const struct device_ops virtio_console_ops = {
	.name = "virtio-console",
	.version = 1,
	.read = console_read,
	.write = console_write,
	.reset = console_reset,
	.input = receive,
	.state = console_state,
};

static const struct virtio_class console_class = {
	.type = VIRTIO_CONSOLE,
	.transitional_id = 0x1003,
	.class_code = 0x078000, /* communication, other */
	.nqueues = 2,
	.queue_size = 64,
	.config_size = sizeof(((struct virtio_console *)0)->config),
	.ops = &virtio_console_ops,
	.kick = kick,
	.resume = resume,
	.reset = forget,
};

void virtio_console_init(struct virtio_console *c, const struct virtio_env *env, unsigned slot, struct outlet tx)
{
	memset(c, 0, sizeof(*c));
	c->tx = tx;
	vtimer_add(env->clock, &c->gate, gate_fire, c);
	virtio_init(&c->v, &console_class, c, env, slot, 0, c->config);
}
