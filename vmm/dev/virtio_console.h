/*
 * virtio_console.h - a console for the guest [VIRTIO 5.3 Console Device], of one
 * port.
 *
 * Changes only itself, guest memory by the chains of its queues, and its outlet.
 * Sending takes no time.  Received bytes wait in `queue`, as on a wire, until the
 * driver listens: what is typed, or piped in, before is not lost, nor is it by a
 * reset of the device.  Rules:
 *   1. A driver listens from VCONSOLE_GATE_NS after its first buffer on.  Not at
 *      once: Linux's gives buffers in the middle of setting itself up, and throws
 *      away what comes before it is done.
 *   2. From then on each buffer is given back as soon as there is a byte for it.
 *   3. The driver is asked to kick for new buffers until it has given its first
 *      one, and then only while bytes wait for them.
 */
#ifndef VMM_DEV_VIRTIO_CONSOLE_H
#define VMM_DEV_VIRTIO_CONSOLE_H

#include "vmm/dev/virtio.h"

#define VCONSOLE_QUEUE 4096U
#define VCONSOLE_GATE_NS 20000000UL
#define VCONSOLE_MAX_BYTES (1U << 20) /* of one chain to send: more no honest driver has */

enum { VCONSOLE_RX = 0, VCONSOLE_TX = 1 }; /* queues */

struct virtio_console {
	struct virtio v;
	struct outlet tx;
	u8 config[12];                  /* nothing of it is valid without its features */

	u64 open_at_ns;                 /* rule 1; VTIMER_NEVER before the first buffer */
	struct vtimer gate;             /* at open_at_ns, if bytes wait for it */
	u8 queue[VCONSOLE_QUEUE];       /* live bytes: queue_len from queue_start */
	u32 queue_start;                /* moves as it likes: never visible */
	u32 queue_len;
};

extern const struct device_ops virtio_console_ops;

void virtio_console_init(struct virtio_console *c, const struct virtio_env *env, unsigned slot, struct outlet tx);

/* Bytes that `input` can take now; more than that is lost. */
u32 virtio_console_input_room(const struct virtio_console *c);

#endif
