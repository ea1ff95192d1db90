/*
 * virtio_net.h - an Ethernet interface for the guest [VIRTIO 5.1 Network Device].
 *
 * Changes only itself, guest memory by the chains of its queues, and its
 * outlets.  Checksums and the cutting of long TCP segments are offered where the machine
 * has it so, and never done here: what a guest leaves to the device leaves as a packet
 * [netpacket.h], and is done where it meets somebody who takes no packets [session/segment.h].
 * So it is done once, by the host that sends it, whoever else runs the same machine.  A
 * packet that makes no sense is lost.
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

#include "kernel/netpacket.h"
#include "vmm/dev/virtio.h"

#define NET_BUSY_NS 100000UL
#define NET_POLL_NS 50000UL
#define NET_QUEUE_SIZE 256U
#define NET_FRAME_MIN 14U             /* an Ethernet header */
#define NET_FRAME_MAX (1514U + 4U)    /* MTU 1500, with a VLAN tag, without check sequence */
#define NET_PACKET_BUFFERS 44U        /* of a driver's that merges them, 1,526 bytes each as drivers have them: enough for any packet */

enum { NET_RX = 0, NET_TX = 1 };      /* queues */

struct net_outlets {
	struct outlet frame, packet;
};

struct virtio_net {
	struct virtio v;
	struct net_outlets tx;          /* one frame, one packet a call */
	u8 config[12];
	u64 nlost_rx, nlost_tx;         /* frames, for statistics */

	u64 kicked_at_ns;               /* the last kick of the queue to send */
	u8 link_down;
	struct vtimer poll;             /* armed while no kicks are asked for */

	u8 packet[PACKET_MAX];          /* one on its way out: nothing in it outlives a call */
};

extern const struct device_ops virtio_net_ops;

/* offload: the guest is offered to send and receive packets. */
void virtio_net_init(struct virtio_net *n, const struct virtio_env *env, unsigned slot, const u8 mac[6], bool offload,
		     struct net_outlets tx);

/* A packet arrives, as `input` is for one frame; whose driver has not agreed to it has lost it. */
void virtio_net_receive_packet(struct virtio_net *n, const u8 *packet, size_t size);
/* Packets are welcome: the driver has agreed to them, and has buffers for any; else they are to be made frames. */
bool virtio_net_takes_packets(const struct virtio_net *n);

/* A frame would find a buffer; `input` is for one frame. */
bool virtio_net_can_receive(const struct virtio_net *n);
/* There is no driver, or no link: a frame would be lost. */
bool virtio_net_deaf(const struct virtio_net *n);

/* The cable is pulled or plugged, by the operator. */
void virtio_net_set_link(struct virtio_net *n, bool up);

#endif
