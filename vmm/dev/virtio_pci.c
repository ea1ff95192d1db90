/*
 * virtio_pci.c - the modern face of a virtio device: capabilities that say which
 * structure lies where.  [VIRTIO 4.1 Virtio Over PCI Bus]
 *
 * Reads and changes: the registers of one device, its function's configuration
 * space.  Never: a ring, or what requests mean.
 *
 *   1  the common structure     2  the BARs     3  access through configuration space     4  what the function is
 */
#include "vmm/dev/virtio_impl.h"

/* In BAR 1; MSI-X has a page of its own, as guests may map it for somebody else. */
enum { COMMON_AT = 0x000, ISR_AT = 0x100, CONFIG_AT = 0x200, NOTIFY_AT = 0x400, MSIX_AT = 0x1000, MEMORY_SIZE = 0x2000 };
enum { LEGACY_SIZE = 0x80, NOTIFY_EACH = 4, NOTIFY_SIZE = NOTIFY_EACH * VIRTIO_MAX_QUEUES, CONFIG_ROOM = 0x100 };

/* --- 1  the common structure --------------------------------------------------- */

/* [VIRTIO 4.1.4.3 Common configuration structure layout] */
enum {
	DEVICE_FEATURE_SELECT = 0, DEVICE_FEATURE = 4, DRIVER_FEATURE_SELECT = 8, DRIVER_FEATURE = 12,
	CONFIG_MSIX_VECTOR = 16, NUM_QUEUES = 18, DEVICE_STATUS = 20, CONFIG_GENERATION = 21, QUEUE_SELECT = 22,
	QUEUE_SIZE = 24, QUEUE_MSIX_VECTOR = 26, QUEUE_ENABLE = 28, QUEUE_NOTIFY_OFF = 30,
	QUEUE_DESC = 32, QUEUE_DRIVER = 40, QUEUE_DEVICE = 48,
	COMMON_SIZE = 60, /* with queue_notify_data and queue_reset, whose features are not offered: zero */
};

/* A window of 32 bits into 64; any other number than 0 and 1 shows nothing. */
static u32 feature_word(u64 features, u32 select)
{
	return select < 2 ? (u32)(features >> 32 * select) : 0;
}

static u64 read_common(struct virtio *v, u32 offset, unsigned size_bytes)
{
	const struct virtq *q = virtio_selected(v);
	u8 image[64] = { 0 };

	write_bytes_le(image + DEVICE_FEATURE_SELECT, 4, v->device_feature_select);
	write_bytes_le(image + DEVICE_FEATURE, 4, feature_word(v->offered, v->device_feature_select));
	write_bytes_le(image + DRIVER_FEATURE_SELECT, 4, v->driver_feature_select);
	write_bytes_le(image + DRIVER_FEATURE, 4, feature_word(v->features, v->driver_feature_select));
	write_bytes_le(image + CONFIG_MSIX_VECTOR, 2, v->config_vector);
	write_bytes_le(image + NUM_QUEUES, 2, v->class->nqueues);
	image[DEVICE_STATUS] = v->status;
	image[CONFIG_GENERATION] = v->config_generation;
	write_bytes_le(image + QUEUE_SELECT, 2, v->queue_select);
	if (q) {
		write_bytes_le(image + QUEUE_SIZE, 2, q->size);
		write_bytes_le(image + QUEUE_MSIX_VECTOR, 2, v->queue_vector[v->queue_select]);
		write_bytes_le(image + QUEUE_ENABLE, 2, q->enabled);
		write_bytes_le(image + QUEUE_NOTIFY_OFF, 2, v->queue_select);
		write_bytes_le(image + QUEUE_DESC, 8, q->desc);
		write_bytes_le(image + QUEUE_DRIVER, 8, q->avail);
		write_bytes_le(image + QUEUE_DEVICE, 8, q->used);
	}
	return offset + size_bytes <= sizeof(image) ? read_bytes_le(image + offset, size_bytes) : ~0UL;
}

/* Part of a 64-bit field: all of it, or either half [VIRTIO 4.1.3.1]. */
static void write_address(u64 *field, unsigned at, unsigned size_bytes, u64 value)
{
	u64 bits = size_mask(size_bytes) << 8 * at;

	*field = (*field & ~bits) | (value << 8 * at & bits);
}

/* The fields of the queue that is selected; once it is enabled they stay. */
static void write_queue(struct virtio *v, struct virtq *q, u32 offset, unsigned size_bytes, u64 value)
{
	if (offset == QUEUE_MSIX_VECTOR && size_bytes == 2) {
		v->queue_vector[v->queue_select] = virtio_vector(v, value);
		return;
	}
	if (q->enabled)
		return;
	if (offset == QUEUE_SIZE && size_bytes == 2)
		q->size = (u16)value;
	else if (offset == QUEUE_ENABLE && size_bytes == 2 && value == 1)
		virtio_enable_queue(v, q);
	else if (offset >= QUEUE_DESC && size_bytes >= 4 && offset % size_bytes == 0)
		write_address(offset < QUEUE_DRIVER ? &q->desc : offset < QUEUE_DEVICE ? &q->avail : &q->used, offset % 8,
			      size_bytes, value);
}

/* Each field is written whole; anything else is no access of a driver's and changes nothing. */
static void write_common(struct virtio *v, u32 offset, unsigned size_bytes, u64 value)
{
	struct virtq *q = virtio_selected(v);

	switch (size_bytes << 8 | offset) {
	case 0x400 | DEVICE_FEATURE_SELECT:
		v->device_feature_select = (u32)value;
		break;
	case 0x400 | DRIVER_FEATURE_SELECT:
		v->driver_feature_select = (u32)value;
		break;
	case 0x400 | DRIVER_FEATURE:
		if (v->driver_feature_select < 2)
			virtio_write_features(v, 32 * v->driver_feature_select, (u32)value);
		break;
	case 0x200 | CONFIG_MSIX_VECTOR:
		v->config_vector = virtio_vector(v, value);
		break;
	case 0x100 | DEVICE_STATUS:
		virtio_write_status(v, (u8)value);
		break;
	case 0x200 | QUEUE_SELECT:
		v->queue_select = (u16)value;
		break;
	default:
		if (q && offset >= QUEUE_SIZE && offset + size_bytes <= QUEUE_DEVICE + 8)
			write_queue(v, q, offset, size_bytes, value);
		break;
	}
}

/* --- 2  the BARs ------------------------------------------------------------------- */

static u64 read_memory(struct virtio *v, u32 offset, unsigned size_bytes)
{
	if (offset >= MSIX_AT)
		return pci_msix_read(&v->fn, offset - MSIX_AT);
	if (offset < ISR_AT)
		return read_common(v, offset, size_bytes);
	if (offset == ISR_AT)
		return virtio_read_isr(v);
	if (offset >= CONFIG_AT && offset < CONFIG_AT + CONFIG_ROOM)
		return virtio_read_config(v, offset - CONFIG_AT, size_bytes);
	return ~0UL;
}

/* The device's own structure can only be read. */
static void write_memory(struct virtio *v, u32 offset, unsigned size_bytes, u64 value)
{
	if (offset >= MSIX_AT)
		pci_msix_write(&v->fn, offset - MSIX_AT, size_bytes, value);
	else if (offset < ISR_AT)
		write_common(v, offset, size_bytes, value);
	else if (offset >= NOTIFY_AT && offset < NOTIFY_AT + NOTIFY_SIZE)
		virtio_kick(v, (offset - NOTIFY_AT) / NOTIFY_EACH);
}

static u64 read_bar(struct virtio *v, unsigned bar, u32 offset, unsigned size_bytes)
{
	if (bar == VIRTIO_BAR_MEMORY)
		return read_memory(v, offset, size_bytes);
	return bar == VIRTIO_BAR_LEGACY ? virtio_legacy_read(v, offset, size_bytes) : 0;
}

static void write_bar(struct virtio *v, unsigned bar, u32 offset, unsigned size_bytes, u64 value)
{
	if (bar == VIRTIO_BAR_NOTIFY)
		virtio_kick(v, offset / NOTIFY_EACH);
	else if (bar == VIRTIO_BAR_MEMORY)
		write_memory(v, offset, size_bytes, value);
	else
		virtio_legacy_write(v, offset, size_bytes, value);
}

u64 virtio_read(struct virtio *v, enum io_space space, u64 addr, unsigned size_bytes)
{
	u32 offset;
	int bar = pci_bar_of(&v->fn, space, addr, &offset);

	return bar < 0 ? ~0UL : read_bar(v, (unsigned)bar, offset, size_bytes);
}

void virtio_write(struct virtio *v, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	u32 offset;
	int bar = pci_bar_of(&v->fn, space, addr, &offset);

	if (bar >= 0)
		write_bar(v, (unsigned)bar, offset, size_bytes, value);
}

/* --- 3  access through configuration space -------------------------------------------- */

/* In the capability, from its beginning [VIRTIO 4.1.4 Virtio Structure PCI Capabilities]. */
enum { CAP_LENGTH = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_SIZE = 12, CAP_MORE = 16 };
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI = 5 };

/* Which access the driver has described [VIRTIO 4.1.4.9 PCI configuration access capability]; false: none that can be. */
static bool window(const struct virtio *v, unsigned *bar, u32 *offset, u32 *size_bytes)
{
	const u8 *cap = v->fn.config + v->window_cap;

	*bar = cap[CAP_BAR];
	*offset = (u32)read_bytes_le(cap + CAP_OFFSET, 4);
	*size_bytes = (u32)read_bytes_le(cap + CAP_SIZE, 4);
	return *bar <= VIRTIO_BAR_NOTIFY && (*size_bytes == 1 || *size_bytes == 2 || *size_bytes == 4) &&
	       *offset % *size_bytes == 0 && *offset < v->fn.bar[*bar].size_bytes;
}

static u64 window_read(struct pci_function *f, unsigned at, unsigned size_bytes unused_arg)
{
	struct virtio *v = container_of(f, struct virtio, fn);
	unsigned bar;
	u32 offset, n;

	return at == 0 && window(v, &bar, &offset, &n) ? read_bar(v, bar, offset, n) : ~0UL;
}

static void window_write(struct pci_function *f, unsigned at, unsigned size_bytes unused_arg, u64 value)
{
	struct virtio *v = container_of(f, struct virtio, fn);
	unsigned bar;
	u32 offset, n;

	if (at == 0 && window(v, &bar, &offset, &n))
		write_bar(v, bar, offset, n, value & size_mask(n));
}

/* Kept off the bus and let on again: what was kicked meanwhile is found now. */
static void command_written(struct pci_function *f)
{
	struct virtio *v = container_of(f, struct virtio, fn);

	if (virtio_working(v))
		v->class->resume(v->dev);
}

static const struct pci_hooks hooks = { command_written, window_read, window_write };

/* --- 4  what the function is --------------------------------------------------------------- */

/* more: the four bytes behind the capability proper, or none of them. */
static u8 add_structure(struct virtio *v, u8 type, u8 bar, u32 offset, u32 size_bytes, bool more, u32 value)
{
	u8 body[CAP_MORE + 4 - CAP_LENGTH] = { 0 };
	u8 size = (u8)(more ? sizeof(body) : sizeof(body) - 4);

	body[0] = (u8)(size + CAP_LENGTH);
	body[CAP_TYPE - CAP_LENGTH] = type;
	body[CAP_BAR - CAP_LENGTH] = bar;
	write_bytes_le(body + CAP_OFFSET - CAP_LENGTH, 4, offset);
	write_bytes_le(body + CAP_SIZE - CAP_LENGTH, 4, size_bytes);
	write_bytes_le(body + CAP_MORE - CAP_LENGTH, 4, value);
	return pci_add_capability(&v->fn, PCI_CAP_VENDOR, body, size);
}

/* The window's description is the driver's to write; its data are the window. */
static void add_window(struct virtio *v)
{
	u8 at = add_structure(v, CAP_PCI, 0, 0, 0, true, 0);
	u8 *writable = v->fn.writable + at;

	writable[CAP_BAR] = 0xff;
	memset(writable + CAP_OFFSET, 0xff, 4);
	memset(writable + CAP_SIZE, 0xff, 4);
	v->window_cap = at;
	v->fn.window = at + CAP_MORE;
}

void virtio_pci_describe(struct virtio *v, unsigned slot)
{
	const struct virtio_class *c = v->class;
	const struct pci_identity id = {
		.vendor = VIRTIO_VENDOR, .device = c->transitional_id, .subsystem_vendor = VIRTIO_VENDOR,
		.subsystem = (u16)c->type, .class_code = c->class_code, .revision = 0, .interrupts = true,
	};

	pci_add(v->env.pci, slot, &v->fn, &id, c->ops, &hooks, v->dev);
	pci_add_bar(&v->fn, VIRTIO_BAR_LEGACY, IO_PORT, LEGACY_SIZE);
	pci_add_bar(&v->fn, VIRTIO_BAR_MEMORY, IO_MEMORY, MEMORY_SIZE);
	pci_add_bar(&v->fn, VIRTIO_BAR_NOTIFY, IO_PORT, NOTIFY_SIZE);
	add_structure(v, CAP_COMMON, VIRTIO_BAR_MEMORY, COMMON_AT, COMMON_SIZE, false, 0);
	add_structure(v, CAP_NOTIFY, VIRTIO_BAR_NOTIFY, 0, NOTIFY_SIZE, true, NOTIFY_EACH);
	add_structure(v, CAP_NOTIFY, VIRTIO_BAR_MEMORY, NOTIFY_AT, NOTIFY_SIZE, true, NOTIFY_EACH);
	add_structure(v, CAP_ISR, VIRTIO_BAR_MEMORY, ISR_AT, 1, false, 0);
	if (c->config_size)
		add_structure(v, CAP_DEVICE, VIRTIO_BAR_MEMORY, CONFIG_AT, c->config_size, false, 0);
	add_window(v);
	pci_add_msix(&v->fn, VIRTIO_BAR_MEMORY, MSIX_AT, c->nqueues + 1);
}
