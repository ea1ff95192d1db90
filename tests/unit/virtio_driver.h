/*
 * virtio_driver.h - a guest for virtio devices: memory, a bus, and a driver that
 * does what the standard tells drivers to do.
 *
 * For unit tests and for the fuzzer, which lets it drive and then lies on top.
 * Everything goes the guest's way: configuration space by ports CF8h and CFCh,
 * BARs by the addresses found there, rings by guest memory.
 */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "vmm/dev/virtio.h"

/* ---- a machine around the devices ---- */

#define VGUEST_MEMORY (2 * CHUNK_SIZE)

struct vguest {
	struct guest_memory mem;
	struct vclock clock;
	struct pci pci;
	struct virtq_chain room;
	struct virtio_env env;         /* for the devices of this machine */
	bool level[PCI_NLINES];
	unsigned nrises[PCI_NLINES];
	unsigned nmessages[8];         /* by the low bits of their data */
	unsigned nall_messages;
	unsigned nrequests;            /* of machine_control */
	unsigned chunks_left;          /* of the host's memory */
};

void vguest_init(struct vguest *g);
void vguest_free(struct vguest *g);
/* Zeroes what was written to: cheap.  Devices and clock are not touched. */
void vguest_clear_memory(struct vguest *g);
/* Makes the memory of `to` that of `from`. */
void vguest_copy_memory(struct vguest *to, const struct vguest *from);

u64 vguest_in(struct vguest *g, u64 port, unsigned size_bytes);
void vguest_out(struct vguest *g, u64 port, unsigned size_bytes, u64 value);
u64 vguest_load(struct vguest *g, u64 addr, unsigned size_bytes);  /* device memory */
void vguest_store(struct vguest *g, u64 addr, unsigned size_bytes, u64 value);
u32 vguest_config(struct vguest *g, unsigned slot, unsigned reg, unsigned size_bytes);
void vguest_set_config(struct vguest *g, unsigned slot, unsigned reg, unsigned size_bytes, u32 value);

/* RAM; false where there is none. */
bool vguest_put(struct vguest *g, u64 at, const void *data, u64 size_bytes);
bool vguest_get(struct vguest *g, u64 at, void *data, u64 size_bytes);
u64 vguest_word(struct vguest *g, u64 at, unsigned size_bytes);
void vguest_set_word(struct vguest *g, u64 at, unsigned size_bytes, u64 value);

/* Time passes the way the vCPU loop lets it. */
void vguest_run(struct vguest *g, u64 ns);

/* ---- a driver's side of a queue ---- */

struct vbuffer {
	u64 at;
	u32 size_bytes;
	bool device_writes;
};

struct vring {
	struct vguest *g;
	u64 desc, avail, used, tables;  /* tables: 16 indirect descriptors for each head */
	u16 size;
	bool event_idx, indirect;
	u16 next_avail, next_used, asked; /* asked: next_avail at the last vring_kick_wanted */
	u16 free_head, nfree;
	u16 length[VIRTQ_MAX_SIZE];     /* descriptors of the chain that begins here */
};

#define VRING_TABLE 16U
#define VRING_BYTES 0x20000UL       /* room for one of any size, with its tables */

/* Lays it out as legacy drivers must, which suits modern ones. */
void vring_init(struct vring *r, struct vguest *g, u64 at, u16 size, bool event_idx, bool indirect);

/* Adds a chain; its head, or -1: no descriptors left.  Up to VRING_TABLE buffers with indirect descriptors. */
int vring_add(struct vring *r, const struct vbuffer *b, unsigned n);
/* Whether the device wants to hear of what was added since this was last asked. */
bool vring_kick_wanted(struct vring *r);
/* The next chain that came back; false: none. */
bool vring_used(struct vring *r, u16 *head, u32 *written);
/* An interrupt for the next chain that comes back, or none. */
void vring_want_interrupts(struct vring *r, bool wanted);

/* ---- a driver ---- */

struct vdriver {
	struct vguest *g;
	unsigned slot;
	bool legacy;
	u64 features;                   /* agreed */
	u64 common, isr, config, legacy_port;
	u64 notify[2];                  /* by port, and by memory */
	u32 notify_each;
	u64 msix;                       /* table */
	u8 msix_cap;
	u16 config_at;                  /* legacy */
	bool with_msix;
	u16 queue_limit;                /* no queue larger than this, where the driver may say so; 0: as large as offered */
	unsigned nqueues;
	struct vring ring[VIRTIO_MAX_QUEUES];
};

/* Finds the device's structures by its capabilities; false: no virtio device with all of them. */
bool vdriver_find(struct vdriver *d, struct vguest *g, unsigned slot);
/* rings_at: VRING_BYTES for each queue. */
bool vdriver_start(struct vdriver *d, u64 wanted, bool legacy, bool with_msix, u64 rings_at);
void vdriver_reset(struct vdriver *d);
u64 vdriver_offered(struct vdriver *d, bool legacy);
u8 vdriver_status(struct vdriver *d);
void vdriver_kick(struct vdriver *d, unsigned queue);
/* Only when the ring says so; true: it did. */
bool vdriver_kick_if_wanted(struct vdriver *d, unsigned queue);
u64 vdriver_read_config(struct vdriver *d, unsigned at, unsigned size_bytes);

#endif
