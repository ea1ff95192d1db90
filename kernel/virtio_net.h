/*
 * virtio_net.h - the host's network devices: Ethernet frames, and packets where device and
 * network have offloads [kernel/netpacket.h].
 *
 * Reception waits in the device's ring until somebody looks; it never interrupts a
 * running guest, but a frame that arrives ends a cpu_wait.  Sending never waits for
 * the wire.  Nothing is recorded or checked: a frame can hold anything, and be
 * too short to have a header.  Until a NIC is opened, what arrives stays with the host.
 */
#ifndef KERNEL_VIRTIO_NET_H
#define KERNEL_VIRTIO_NET_H

#include "kernel/netpacket.h"

#define NIC_MAX 16
#define NIC_FRAME 1518U        /* an Ethernet frame, with a VLAN's tag and without FCS */
#define NIC_JUMBO_FRAME 9018U
#define NIC_PACKETS PACKET_FRAME_MAX /* packets, too, if device and network have them */
#define NIC_RING 256           /* frames that fit on their way in, and out */
#define NIC_PACKET_RING 64     /* ... of a device for packets */

struct nic;

struct nic_stats {
	u64 received, sent;
	u64 dropped;           /* to be sent: too long, or the device had no room for a few ms */
};

/*
 * The index-th NIC in bus order, or the one with that address; NULL if there is
 * none.  The first to open it says how long a frame can be; longer ones are not
 * received.
 */
struct nic *nic_open(unsigned index, u32 frame_max);
struct nic *nic_find(const u8 mac[6], u32 frame_max);

const u8 *nic_mac(const struct nic *n);
const struct nic_stats *nic_stats(const struct nic *n);

/* It was opened for packets and has them: what arrives may be one, what is sent may be. */
bool nic_has_packets(const struct nic *n);

/* The next frame that has arrived, NULL for none; it stays where it is until nic_done. */
const u8 *nic_peek(struct nic *n, u32 *size);
/* The frame that nic_peek has shown, PACKET_HEADER bytes of header before it; they are zeros where it has no packets. */
const u8 *nic_shown_packet(const struct nic *n);
void nic_done(struct nic *n);

/* Copies the frame and hands it to the device. */
void nic_send(struct nic *n, const void *frame, u32 size);

/*
 * The same for one of several: it is handed over by the next nic_kick or
 * nic_send, or with NIC_BATCH others.  Handing over takes longer than copying.
 */
#define NIC_BATCH 32
void nic_queue(struct nic *n, const void *frame, u32 size);
/* A packet, size bytes with its header; only where nic_has_packets. */
void nic_queue_packet(struct nic *n, const u8 *packet, u32 size);

/*
 * The same without the copy: a frame is made where nic_room says, then nic_made queues it, or drops it if the
 * device has had no room for a few ms.  The place is the same until then, and no other is queued in between.
 */
u8 *nic_room(struct nic *n);
void nic_made(struct nic *n, u32 size);
void nic_kick(struct nic *n);

/*
 * From now on a frame has left when nic_kick returns, if the adapters are of the kind that can
 * (tools/qemu.h, QEMU_SENDS_AT_ONCE); each costs one access to the device more.
 */
void nics_send_at_once(void);

/* Frames that have ever come, and of those the ones that nic_peek has shown; modulo 2^16. */
u16 nic_arrived(const struct nic *n);
u16 nic_shown(const struct nic *n);

/*
 * For cpu_wait [time.c]: is one open; has a frame come since this was last true, or since the last
 * nic_done; may interrupts come (off, none is raised any more once a port has been written: QEMU's
 * devices are at rest then).
 */
bool nics_present(void);
bool nics_heard(void);
void nics_listen(bool on);

#endif
