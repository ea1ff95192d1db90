/*
 * virtio.h - what all virtio devices share: status, features, queues, interrupts,
 * and their place on the PCI bus.
 *
 * A device embeds a struct virtio, describes itself by a struct virtio_class,
 * and works when a queue is kicked or its own timer fires; everything between it
 * and the driver is here.  Three rooms: virtio.c the device as such [VIRTIO chapter 2],
 * virtio_pci.c its modern face [VIRTIO 4.1], virtio_legacy.c the face drivers
 * from before 1.0 know [VIRTIO 4.1.4.10].  Devices are transitional: both faces are
 * there, and the one whose driver comes is used.
 *
 * A driver that lies gets a device that is broken: DEVICE_NEEDS_RESET, a
 * configuration interrupt, and no work until the reset.  Never more.
 *
 * BAR 0  I/O     the legacy face
 * BAR 1  memory  common, ISR, device, notify; from 1000h on MSI-X
 * BAR 2  I/O     notify: four bytes a queue.  Found first: an exit by a port
 *                costs half of one by memory
 */
#ifndef VMM_DEV_VIRTIO_H
#define VMM_DEV_VIRTIO_H

#include "vmm/dev/device.h"
#include "vmm/dev/pci.h"
#include "vmm/dev/virtq.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_MAX_QUEUES 2
#define VIRTIO_NO_VECTOR 0xffffU

enum virtio_type { VIRTIO_NET = 1, VIRTIO_BLK = 2, VIRTIO_CONSOLE = 3, VIRTIO_RNG = 4 };

/* Feature bits of all devices [VIRTIO chapter 6]. */
#define VIRTIO_F_ANY_LAYOUT BIT(27) /* legacy: no request depends on how it is cut into descriptors */
#define VIRTIO_F_VERSION_1 BIT(32)

/* Device status [VIRTIO 2.1 Device Status Field]. */
enum {
	VIRTIO_ACKNOWLEDGE = 0x01, VIRTIO_DRIVER = 0x02, VIRTIO_DRIVER_OK = 0x04, VIRTIO_FEATURES_OK = 0x08,
	VIRTIO_NEEDS_RESET = 0x40, VIRTIO_FAILED = 0x80,
};

/* What a device is.  No hook may be missing. */
struct virtio_class {
	enum virtio_type type;
	u16 transitional_id;   /* PCI device id */
	u32 class_code;        /* PCI's */
	unsigned nqueues;
	u16 queue_size;
	u32 config_size;
	const struct device_ops *ops;
	void (*kick)(void *dev, unsigned queue); /* the driver asks to look at a queue; the device is working */
	void (*resume)(void *dev);               /* it works from here on: chains may be waiting */
	void (*reset)(void *dev);                /* forget all requests */
};

/* What the board gives each of them. */
struct virtio_env {
	struct pci *pci;
	struct vclock *clock;
	struct guest_memory *mem;
	struct virtq_chain *room;      /* to work in; nothing in it outlives a call */
	struct machine_control control;
};

struct virtio {
	struct pci_function fn;
	const struct virtio_class *class;
	void *dev;
	struct virtio_env env;
	u64 offered;                   /* features */
	const u8 *config;              /* the device's; read-only to drivers */
	u8 window_cap;                 /* where the PCI configuration access capability is */

	struct virtq queue[VIRTIO_MAX_QUEUES];
	u16 queue_vector[VIRTIO_MAX_QUEUES];
	u16 config_vector;
	u64 features;                  /* the driver's */
	u32 device_feature_select, driver_feature_select;
	u16 queue_select;
	u8 status, isr, config_generation;
};

/* features: those of the device type that this one offers.  slot: on the bus. */
void virtio_init(struct virtio *v, const struct virtio_class *class, void *dev, const struct virtio_env *env,
		 unsigned slot, u64 features, const u8 *config);
void virtio_reset(struct virtio *v);       /* as at power-on */
void virtio_state(struct virtio *v, struct state_walk *w);

/* The guest's accesses to the BARs. */
u64 virtio_read(struct virtio *v, enum io_space space, u64 addr, unsigned size_bytes);
void virtio_write(struct virtio *v, enum io_space space, u64 addr, unsigned size_bytes, u64 value);

/* ---- for the device ---- */

/* The driver is ready, and the device is neither broken nor kept off the bus. */
bool virtio_working(const struct virtio *v);

static inline bool virtio_has(const struct virtio *v, u64 feature)
{
	return v->features & feature;
}

/* The driver has lied. */
void virtio_break(struct virtio *v);

/* The host has no memory for the guest's RAM, or its disks: the machine stops. */
void virtio_out_of_memory(struct virtio *v);

/* The device has changed its configuration space. */
void virtio_config_changed(struct virtio *v);

/*
 * Queues, as in virtq.h, with their errors dealt with: where one answers false
 * there is nothing to do, or the device is broken, or the machine stops.  A device
 * that does not work, as it may have been broken just now, tells its driver nothing.
 */
u16 virtio_count(struct virtio *v, unsigned queue);
bool virtio_look(struct virtio *v, unsigned queue, u16 nth, struct virtq_chain **c);
bool virtio_chain_at(struct virtio *v, unsigned queue, u16 head, struct virtq_chain **c);
void virtio_take(struct virtio *v, unsigned queue, u16 n);
bool virtio_fill(struct virtio *v, unsigned queue, u16 nth, u16 head, u32 written);
bool virtio_publish(struct virtio *v, unsigned queue, u16 n);
/* One chain: fill and publish. */
bool virtio_done(struct virtio *v, unsigned queue, u16 head, u32 written);
/* An interrupt for what was published, if the driver wants one. */
void virtio_signal(struct virtio *v, unsigned queue);
void virtio_want_kicks(struct virtio *v, unsigned queue, bool wanted);

#endif
