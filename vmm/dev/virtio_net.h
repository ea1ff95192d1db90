/*
 * virtio_net.h - an Ethernet interface for the guest [VIRTIO 5.1 Network Device].
 *
 * Changes only itself, guest memory by the chains of its queues, and its
 * outlet.  No checksum and no segmentation is done for the guest: neither is
 * offered, and what a header asks for is not looked at.
 *
 * Sending takes no time: a frame has left when the device has looked at it.  A
 * kick makes it look.  Under load that would be an exit a frame, so
 *   1. a kick that comes within NET_BUSY_NS of the one before it is the last
 *      asked for; from then on the device looks every NET_POLL_NS;
 *   2. when it looks and finds nothing, it asks for kicks again, at once: the
 *      guest does not run meanwhile, so no frame falls between.
 *
 * Frames that arrive are inputs.  What cannot be taken now is held outside
 * (virtio_net_can_receive); what nobody listens for is dropped outside
 * (virtio_net_deaf).  The device keeps no frame: one that turns out not to fit
 * the driver's buffers is lost as a whole, as on a wire.
 */
#ifndef VMM_DEV_VIRTIO_NET_H
#define VMM_DEV_VIRTIO_NET_H

#include "vmm/dev/virtio.h"

#define NET_BUSY_NS 100000UL
#define NET_POLL_NS 50000UL
#define NET_QUEUE_SIZE 256U
#define NET_FRAME_MIN 14U             /* an Ethernet header */
#define NET_FRAME_MAX (1514U + 4U)    /* MTU 1500, with a VLAN tag, without check sequence */

enum { NET_RX = 0, NET_TX = 1 };      /* queues */

struct virtio_net {
	struct virtio v;
	struct outlet tx;               /* one frame a call */
	u8 config[12];
	u64 nlost_rx, nlost_tx;         /* frames, for statistics */

	u64 kicked_at_ns;               /* the last kick of the queue to send */
	u8 link_down;
	struct vtimer poll;             /* armed while no kicks are asked for */
};

extern const struct device_ops virtio_net_ops;

void virtio_net_init(struct virtio_net *n, const struct virtio_env *env, unsigned slot, const u8 mac[6], struct outlet tx);

/* A frame would find a buffer; `input` is for one frame. */
bool virtio_net_can_receive(const struct virtio_net *n);
/* There is no driver, or no link: a frame would be lost. */
bool virtio_net_deaf(const struct virtio_net *n);

/* The cable is pulled or plugged, by the operator. */
void virtio_net_set_link(struct virtio_net *n, bool up);

#endif
