/*
 * virtio.c - a virtio device as such: status, features, queues, interrupts.
 * See virtio.h.
 *
 * Reads and changes: one device's part of struct virtio, its rings through
 * virtq.h, its interrupt through pci.h.  Never: what requests mean.
 *
 *   1  working or not     2  interrupts     3  the driver's registers     4  queues     5  making, state
 */
#include "vmm/dev/virtio_impl.h"

/* --- 1  working or not ------------------------------------------------------- */

/* A device that may not master the bus cannot reach its rings. */
bool virtio_working(const struct virtio *v)
{
	return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET | VIRTIO_FAILED)) == VIRTIO_DRIVER_OK &&
	       pci_command(&v->fn) & PCI_COMMAND_MASTER;
}

static void forget(struct virtio *v)
{
	v->status = v->isr = v->config_generation = 0;
	v->features = 0;
	v->device_feature_select = v->driver_feature_select = 0;
	v->queue_select = 0;
	v->config_vector = VIRTIO_NO_VECTOR;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		v->queue_vector[i] = VIRTIO_NO_VECTOR;
		virtq_reset(&v->queue[i]);
	}
	v->class->reset(v->dev);
	pci_set_intx(&v->fn, false);
}

/* --- 2  interrupts ------------------------------------------------------------- */

/* By message, or by the line with a bit in the ISR status [VIRTIO 4.1.5.3 Used Buffer Notifications]. */
static void interrupt(struct virtio *v, u16 vector, u8 isr)
{
	if (pci_msix_enabled(&v->fn)) {
		pci_msix_send(&v->fn, vector);
		return;
	}
	v->isr |= isr;
	pci_set_intx(&v->fn, true);
}

u8 virtio_read_isr(struct virtio *v)
{
	u8 isr = v->isr;

	if (isr) {
		v->isr = 0;
		pci_set_intx(&v->fn, false);
	}
	return isr;
}

void virtio_config_changed(struct virtio *v)
{
	v->config_generation++;
	if (v->status & VIRTIO_DRIVER_OK)
		interrupt(v, v->config_vector, VIRTIO_ISR_CONFIG);
}

/* [VIRTIO 2.1.2 Device Requirements: Device Status Field] */
void virtio_break(struct virtio *v)
{
	if (v->status & VIRTIO_NEEDS_RESET)
		return;
	v->status |= VIRTIO_NEEDS_RESET;
	if (v->status & VIRTIO_DRIVER_OK)
		interrupt(v, v->config_vector, VIRTIO_ISR_CONFIG);
}

/* --- 3  the driver's registers --------------------------------------------------- */

/* A modern driver takes what is offered or less, and VERSION_1. */
static bool features_hold(const struct virtio *v)
{
	return !(v->features & ~v->offered) && v->features & VIRTIO_F_VERSION_1;
}

/*
 * Bits are added one after the other and only a reset takes them away.  Without
 * FEATURES_OK it is a driver from before 1.0; of those some never allowed the
 * device to master the bus, and worked.
 */
void virtio_write_status(struct virtio *v, u8 value)
{
	u8 added = value & ~v->status & (u8)~VIRTIO_NEEDS_RESET;

	if (!value) {
		forget(v);
		return;
	}
	if (added & VIRTIO_FEATURES_OK && !features_hold(v))
		added &= (u8)~VIRTIO_FEATURES_OK;
	v->status |= added;
	if (!(added & VIRTIO_DRIVER_OK))
		return;
	if (!(v->status & VIRTIO_FEATURES_OK))
		pci_enable(&v->fn, PCI_COMMAND_MASTER); /* which resumes */
	else if (virtio_working(v))
		v->class->resume(v->dev);
}

/* Half of the 64 bits.  Agreed is agreed. */
void virtio_write_features(struct virtio *v, unsigned shift, u32 value)
{
	if (v->status & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK))
		return;
	v->features = (v->features & ~(0xffffffffUL << shift)) | (u64)value << shift;
}

struct virtq *virtio_selected(struct virtio *v)
{
	return v->queue_select < v->class->nqueues ? &v->queue[v->queue_select] : NULL;
}

u16 virtio_vector(const struct virtio *v, u64 value)
{
	return value < v->fn.nvectors ? (u16)value : VIRTIO_NO_VECTOR;
}

u64 virtio_read_config(const struct virtio *v, u32 offset, unsigned size_bytes)
{
	u64 value = ~0UL;

	if (offset < v->class->config_size && size_bytes <= v->class->config_size - offset)
		value = read_bytes_le(v->config + offset, size_bytes);
	return value;
}

void virtio_kick(struct virtio *v, unsigned queue)
{
	if (queue < v->class->nqueues && virtio_working(v))
		v->class->kick(v->dev, queue);
}

/* --- 4  queues ---------------------------------------------------------------------- */

void virtio_out_of_memory(struct virtio *v)
{
	v->env.control.request(v->env.control.ctx, MACHINE_OUT_OF_MEMORY, 0);
}

static bool good(struct virtio *v, err_t err)
{
	if (err == ERR_INVALID)
		virtio_break(v);
	else if (err == ERR_NO_MEMORY)
		virtio_out_of_memory(v);
	return !err;
}

void virtio_enable_queue(struct virtio *v, struct virtq *q)
{
	(void)good(v, virtq_enable(q));
}

u16 virtio_count(struct virtio *v, unsigned queue)
{
	u16 n;

	return good(v, virtq_count(&v->queue[queue], &n)) ? n : 0;
}

bool virtio_look(struct virtio *v, unsigned queue, u16 nth, struct virtq_chain **c)
{
	*c = v->env.room;
	return good(v, virtq_look(&v->queue[queue], nth, *c));
}

bool virtio_chain_at(struct virtio *v, unsigned queue, u16 head, struct virtq_chain **c)
{
	*c = v->env.room;
	return good(v, virtq_chain_at(&v->queue[queue], head, *c));
}

void virtio_take(struct virtio *v, unsigned queue, u16 n)
{
	virtq_take(&v->queue[queue], n);
}

bool virtio_fill(struct virtio *v, unsigned queue, u16 nth, u16 head, u32 written)
{
	return good(v, virtq_fill(&v->queue[queue], nth, head, written));
}

bool virtio_publish(struct virtio *v, unsigned queue, u16 n)
{
	return good(v, virtq_publish(&v->queue[queue], n));
}

bool virtio_done(struct virtio *v, unsigned queue, u16 head, u32 written)
{
	return virtio_fill(v, queue, 0, head, written) && virtio_publish(v, queue, 1);
}

void virtio_signal(struct virtio *v, unsigned queue)
{
	bool wanted;

	if (virtio_working(v) && good(v, virtq_signal(&v->queue[queue], &wanted)) && wanted)
		interrupt(v, v->queue_vector[queue], VIRTIO_ISR_QUEUE);
}

void virtio_want_kicks(struct virtio *v, unsigned queue, bool wanted)
{
	if (virtio_working(v))
		(void)good(v, virtq_want_kicks(&v->queue[queue], wanted));
}

/* --- 5  making, state ---------------------------------------------------------------- */

void virtio_init(struct virtio *v, const struct virtio_class *class, void *dev, const struct virtio_env *env,
		 unsigned slot, u64 features, const u8 *config)
{
	v->class = class;
	v->dev = dev;
	v->env = *env;
	v->config = config;
	v->offered = features | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_INDIRECT_DESC;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		virtq_init(&v->queue[i], env->mem, &v->features, class->queue_size);
	virtio_pci_describe(v, slot);
	forget(v);
}

void virtio_reset(struct virtio *v)
{
	pci_function_reset(&v->fn);
	forget(v);
}

void virtio_state(struct virtio *v, struct state_walk *w)
{
	pci_function_state(&v->fn, w);
	STATE(w, v, status);
	STATE(w, v, isr);
	STATE(w, v, config_generation);
	STATE(w, v, features);
	STATE(w, v, device_feature_select);
	STATE(w, v, driver_feature_select);
	STATE(w, v, queue_select);
	STATE(w, v, config_vector);
	for (unsigned i = 0; i < v->class->nqueues; i++) {
		state_field(w, "queue_vector", &v->queue_vector[i], sizeof(v->queue_vector[i]));
		virtq_state(&v->queue[i], w);
	}
}
