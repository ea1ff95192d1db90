/*
 * virtio_driver.c - a guest and its virtio driver.  See virtio_driver.h.
 *
 *   1  the machine     2  a queue     3  a driver
 */
#include <stdlib.h>

#include "tests/unit/virtio_driver.h"

/* --- 1  the machine ------------------------------------------------------------ */

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void *new_chunk(void *ctx)
{
	struct vguest *g = ctx;
	void *p;

	if (!g->chunks_left)
		return NULL;
	g->chunks_left--;
	p = aligned_alloc(CHUNK_SIZE, CHUNK_SIZE);
	must(p);
	return memset(p, 0, CHUNK_SIZE);
}

static void *new_pages(void *ctx, size_t npages)
{
	return ((struct vguest *)ctx)->chunks_left ? calloc(npages, PAGE_SIZE) : NULL;
}

static void on_line(void *ctx, unsigned pin, bool level)
{
	struct vguest *g = ctx;

	g->nrises[pin] += level && !g->level[pin];
	g->level[pin] = level;
}

static void on_message(void *ctx, u64 addr, u32 data)
{
	struct vguest *g = ctx;

	must((addr & ~0xfffffUL) == 0xfee00000UL);
	g->nmessages[data % ARRAY_SIZE(g->nmessages)]++;
	g->nall_messages++;
}

static void on_request(void *ctx, enum machine_request what, u32 value unused_arg)
{
	must(what == MACHINE_OUT_OF_MEMORY);
	((struct vguest *)ctx)->nrequests++;
}

void vguest_init(struct vguest *g)
{
	struct chunk_source source = { new_chunk, new_pages, g };
	struct pci_env env = { .msi = on_message, .ctx = g, .irq = { 10, 11 } };

	memset(g, 0, sizeof(*g));
	g->chunks_left = ~0U;
	must(!guestmem_init(&g->mem, VGUEST_MEMORY, &source));
	for (unsigned i = 0; i < PCI_NLINES; i++)
		env.line[i] = (struct irq_line){ on_line, g, i };
	pci_init(&g->pci, &env);
	g->env = (struct virtio_env){ &g->pci, &g->clock, &g->mem, &g->room, { on_request, g } };
}

void vguest_free(struct vguest *g)
{
	for (unsigned i = 0; i < g->mem.nchunks; i++) {
		if (!g->mem.chunk[i])
			continue;
		free(g->mem.chunk[i]->data);
		free(g->mem.chunk[i]);
	}
}

void vguest_clear_memory(struct vguest *g)
{
	for (unsigned i = 0; i < g->mem.nchunks; i++) {
		struct chunk_info *c = g->mem.chunk[i];

		for (unsigned n = 0; c && n < CHUNK_PAGES / 64; n++) {
			for (u64 bits = c->changed[n]; bits; bits &= bits - 1)
				memset(c->data + (n * 64 + (unsigned)__builtin_ctzl(bits)) * PAGE_SIZE, 0, PAGE_SIZE);
			c->stale[n] |= c->changed[n];
			c->changed[n] = 0;
		}
	}
}

void vguest_copy_memory(struct vguest *to, const struct vguest *from)
{
	for (u64 at = 0; at < VGUEST_MEMORY; at += PAGE_SIZE) {
		const u8 *page = guestmem_peek(&from->mem, GPA(at));

		if (page)
			must(!guestmem_write(&to->mem, GPA(at), page, PAGE_SIZE));
	}
}

static void *find(struct vguest *g, enum io_space space, u64 addr, const struct device_ops **ops)
{
	if (space == IO_PORT && addr >= PCI_CONFIG_ADDRESS && addr < PCI_CONFIG_DATA + 4) {
		*ops = &pci_ops;
		return &g->pci;
	}
	return pci_find(&g->pci, space, addr, ops);
}

static u64 load(struct vguest *g, enum io_space space, u64 addr, unsigned size_bytes)
{
	const struct device_ops *ops = NULL;
	void *dev = find(g, space, addr, &ops);

	return (dev ? ops->read(dev, space, addr, size_bytes) : ~0UL) & size_mask(size_bytes);
}

static void store(struct vguest *g, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	const struct device_ops *ops = NULL;
	void *dev = find(g, space, addr, &ops);

	if (dev)
		ops->write(dev, space, addr, size_bytes, value & size_mask(size_bytes));
}

u64 vguest_in(struct vguest *g, u64 port, unsigned size_bytes)
{
	return load(g, IO_PORT, port, size_bytes);
}

void vguest_out(struct vguest *g, u64 port, unsigned size_bytes, u64 value)
{
	store(g, IO_PORT, port, size_bytes, value);
}

u64 vguest_load(struct vguest *g, u64 addr, unsigned size_bytes)
{
	return load(g, IO_MEMORY, addr, size_bytes);
}

void vguest_store(struct vguest *g, u64 addr, unsigned size_bytes, u64 value)
{
	store(g, IO_MEMORY, addr, size_bytes, value);
}

u32 vguest_config(struct vguest *g, unsigned slot, unsigned reg, unsigned size_bytes)
{
	vguest_out(g, PCI_CONFIG_ADDRESS, 4, 0x80000000U | slot << 11 | (reg & 0xfc));
	return (u32)vguest_in(g, PCI_CONFIG_DATA + reg % 4, size_bytes);
}

void vguest_set_config(struct vguest *g, unsigned slot, unsigned reg, unsigned size_bytes, u32 value)
{
	vguest_out(g, PCI_CONFIG_ADDRESS, 4, 0x80000000U | slot << 11 | (reg & 0xfc));
	vguest_out(g, PCI_CONFIG_DATA + reg % 4, size_bytes, value);
}

bool vguest_put(struct vguest *g, u64 at, const void *data, u64 size_bytes)
{
	return !guestmem_write(&g->mem, GPA(at), data, size_bytes);
}

bool vguest_get(struct vguest *g, u64 at, void *data, u64 size_bytes)
{
	return !guestmem_read(&g->mem, GPA(at), data, size_bytes);
}

u64 vguest_word(struct vguest *g, u64 at, unsigned size_bytes)
{
	u64 value = 0;

	return vguest_get(g, at, &value, size_bytes) ? value : 0;
}

void vguest_set_word(struct vguest *g, u64 at, unsigned size_bytes, u64 value)
{
	(void)vguest_put(g, at, &value, size_bytes);
}

void vguest_run(struct vguest *g, u64 ns)
{
	u64 until_ns = g->clock.now_ns + ns;

	while (vclock_next(&g->clock) <= until_ns) {
		g->clock.now_ns = MAX(g->clock.now_ns, vclock_next(&g->clock));
		vclock_run(&g->clock);
	}
	g->clock.now_ns = until_ns;
}

/* --- 2  a queue ------------------------------------------------------------------- */

enum { F_NEXT = 1, F_WRITE = 2, F_INDIRECT = 4 };

void vring_init(struct vring *r, struct vguest *g, u64 at, u16 size, bool event_idx, bool indirect)
{
	memset(r, 0, sizeof(*r));
	r->g = g;
	if (size > VIRTQ_MAX_SIZE)
		size = 0; /* read where no device answers: nothing can be added */
	r->desc = at;
	r->avail = at + 16UL * size;
	r->used = ALIGN_UP(r->avail + 6UL + 2UL * size, PAGE_SIZE);
	r->tables = ALIGN_UP(r->used + 6UL + 8UL * size, PAGE_SIZE);
	r->size = size;
	r->event_idx = event_idx;
	r->indirect = indirect;
	r->nfree = size;
	for (u64 page = at; page < r->tables; page += PAGE_SIZE) {
		static const u8 zeros[PAGE_SIZE];

		(void)vguest_put(g, page, zeros, sizeof(zeros));
	}
	for (u16 i = 0; i < size; i++)
		vguest_set_word(g, at + 16UL * i + 14, 2, (u16)(i + 1));
}

static void put_desc(struct vring *r, u64 at, const struct vbuffer *b, u16 flags, u16 next)
{
	vguest_set_word(r->g, at, 8, b->at);
	vguest_set_word(r->g, at + 8, 4, b->size_bytes);
	vguest_set_word(r->g, at + 12, 2, flags | (b->device_writes ? F_WRITE : 0));
	vguest_set_word(r->g, at + 14, 2, next);
}

static u16 next_of(struct vring *r, u16 i)
{
	return (u16)vguest_word(r->g, r->desc + 16UL * i + 14, 2) % r->size;
}

int vring_add(struct vring *r, const struct vbuffer *b, unsigned n)
{
	bool indirect = r->indirect && n > 1 && n <= VRING_TABLE;
	unsigned need = indirect ? 1 : n;
	u16 head = r->free_head, at = head;

	if (!n || need > r->nfree)
		return -1;
	if (indirect) {
		u64 table = r->tables + 16UL * VRING_TABLE * head;
		struct vbuffer whole = { table, 16 * n, false };

		for (unsigned i = 0; i < n; i++)
			put_desc(r, table + 16UL * i, &b[i], i + 1 < n ? F_NEXT : 0, (u16)(i + 1));
		r->free_head = next_of(r, head);
		put_desc(r, r->desc + 16UL * head, &whole, F_INDIRECT, r->free_head);
	} else {
		for (unsigned i = 0; i < n; i++) {
			u16 next = next_of(r, at);

			put_desc(r, r->desc + 16UL * at, &b[i], i + 1 < n ? F_NEXT : 0, next);
			at = next;
		}
		r->free_head = at;
	}
	r->nfree -= (u16)need;
	r->length[head] = (u16)need;
	vguest_set_word(r->g, r->avail + 4 + 2UL * (r->next_avail % r->size), 2, head);
	vguest_set_word(r->g, r->avail + 2, 2, ++r->next_avail);
	return head;
}

bool vring_kick_wanted(struct vring *r)
{
	u16 old = r->asked, event = (u16)vguest_word(r->g, r->used + 4 + 8UL * r->size, 2);

	r->asked = r->next_avail;
	if (!r->event_idx)
		return !(vguest_word(r->g, r->used, 2) & 1);
	return (u16)(r->next_avail - event - 1) < (u16)(r->next_avail - old);
}

bool vring_used(struct vring *r, u16 *head, u32 *written)
{
	u64 entry = r->used + 4 + 8UL * (r->size ? r->next_used % r->size : 0);
	u16 last;

	if (!r->size || (u16)vguest_word(r->g, r->used + 2, 2) == r->next_used)
		return false;
	*head = (u16)vguest_word(r->g, entry, 4) % r->size;
	*written = (u32)vguest_word(r->g, entry + 4, 4);
	r->next_used++;
	if (r->event_idx)
		vguest_set_word(r->g, r->avail + 4 + 2UL * r->size, 2, r->next_used);
	last = *head;
	for (u16 i = 1; i < r->length[*head]; i++)
		last = next_of(r, last);
	vguest_set_word(r->g, r->desc + 16UL * last + 14, 2, r->free_head);
	r->free_head = *head;
	r->nfree += r->length[*head];
	r->length[*head] = 0;
	return true;
}

void vring_want_interrupts(struct vring *r, bool wanted)
{
	if (r->event_idx)
		vguest_set_word(r->g, r->avail + 4 + 2UL * r->size, 2, (u16)(r->next_used - !wanted));
	else
		vguest_set_word(r->g, r->avail, 2, !wanted);
}

/* --- 3  a driver --------------------------------------------------------------------- */

enum { TYPE_COMMON = 1, TYPE_NOTIFY, TYPE_ISR, TYPE_DEVICE, TYPE_PCI };

/* The address a BAR has now, and whether it is of ports. */
static u64 bar_at(struct vdriver *d, unsigned bar, bool *ports)
{
	u32 value = vguest_config(d->g, d->slot, 0x10 + 4 * bar, 4);

	*ports = value & 1;
	return value & 1 ? value & ~3U : value & ~15U;
}

static void take_structure(struct vdriver *d, unsigned cap)
{
	bool ports;
	u64 at = bar_at(d, vguest_config(d->g, d->slot, cap + 4, 1) % 6, &ports) + vguest_config(d->g, d->slot, cap + 8, 4);

	switch (vguest_config(d->g, d->slot, cap + 3, 1)) {
	case TYPE_COMMON:
		d->common = at;
		break;
	case TYPE_NOTIFY:
		d->notify[ports ? 0 : 1] = at;
		d->notify_each = vguest_config(d->g, d->slot, cap + 16, 4);
		break;
	case TYPE_ISR:
		d->isr = at;
		break;
	case TYPE_DEVICE:
		d->config = at;
		break;
	}
}

bool vdriver_find(struct vdriver *d, struct vguest *g, unsigned slot)
{
	unsigned cap, steps = 0;
	bool ports;

	memset(d, 0, sizeof(*d));
	d->g = g;
	d->slot = slot;
	if (vguest_config(g, slot, 0, 2) != 0x1af4)
		return false;
	for (cap = vguest_config(g, slot, 0x34, 1); cap && steps++ < 48; cap = vguest_config(g, slot, cap + 1, 1)) {
		unsigned id = vguest_config(g, slot, cap, 1);

		if (id == 9)
			take_structure(d, cap);
		if (id == 0x11) {
			u32 table = vguest_config(g, slot, cap + 4, 4);

			d->msix_cap = (u8)cap;
			d->msix = bar_at(d, table % 8, &ports) + (table & ~7U);
		}
	}
	d->legacy_port = bar_at(d, 0, &ports);
	return d->common && d->notify[0] && d->notify[1] && d->isr && d->msix && ports;
}

u64 vdriver_offered(struct vdriver *d, bool legacy)
{
	u64 low, high;

	if (legacy)
		return vguest_in(d->g, d->legacy_port, 4);
	vguest_store(d->g, d->common, 4, 0);
	low = vguest_load(d->g, d->common + 4, 4);
	vguest_store(d->g, d->common, 4, 1);
	high = vguest_load(d->g, d->common + 4, 4);
	return low | high << 32;
}

u8 vdriver_status(struct vdriver *d)
{
	return (u8)(d->legacy ? vguest_in(d->g, d->legacy_port + 18, 1) : vguest_load(d->g, d->common + 20, 1));
}

static void set_status(struct vdriver *d, u8 status)
{
	if (d->legacy)
		vguest_out(d->g, d->legacy_port + 18, 1, status);
	else
		vguest_store(d->g, d->common + 20, 1, status);
}

void vdriver_reset(struct vdriver *d)
{
	set_status(d, 0);
}

/* Vector n sends n to the first LAPIC; the last is for the configuration. */
static void set_up_vectors(struct vdriver *d)
{
	unsigned n = (vguest_config(d->g, d->slot, d->msix_cap + 2U, 2) & 0x7ff) + 1;

	for (unsigned i = 0; i < n; i++) {
		vguest_store(d->g, d->msix + 16UL * i, 4, 0xfee00000);
		vguest_store(d->g, d->msix + 16UL * i + 4, 4, 0);
		vguest_store(d->g, d->msix + 16UL * i + 8, 4, i);
		vguest_store(d->g, d->msix + 16UL * i + 12, 4, 0);
	}
	vguest_set_config(d->g, d->slot, d->msix_cap + 2U, 2, 0x8000);
}

static void start_legacy_queue(struct vdriver *d, unsigned i, u64 at)
{
	u64 p = d->legacy_port;

	vguest_out(d->g, p + 14, 2, i);
	vring_init(&d->ring[i], d->g, at, (u16)vguest_in(d->g, p + 12, 2), d->features & VIRTIO_F_RING_EVENT_IDX,
		   d->features & VIRTIO_F_RING_INDIRECT_DESC);
	vguest_out(d->g, p + 8, 4, at >> 12);
	if (d->with_msix)
		vguest_out(d->g, p + 22, 2, i);
}

static void start_queue(struct vdriver *d, unsigned i, u64 at)
{
	struct vring *r = &d->ring[i];
	u64 c = d->common;
	u16 size;

	vguest_store(d->g, c + 22, 2, i);
	size = (u16)vguest_load(d->g, c + 24, 2);
	if (d->queue_limit)
		size = MIN(size, d->queue_limit);
	vring_init(r, d->g, at, size, d->features & VIRTIO_F_RING_EVENT_IDX,
		   d->features & VIRTIO_F_RING_INDIRECT_DESC);
	vguest_store(d->g, c + 24, 2, r->size);
	vguest_store(d->g, c + 32, 4, r->desc);
	vguest_store(d->g, c + 36, 4, r->desc >> 32);
	vguest_store(d->g, c + 40, 4, r->avail);
	vguest_store(d->g, c + 44, 4, r->avail >> 32);
	vguest_store(d->g, c + 48, 8, r->used);
	if (d->with_msix)
		vguest_store(d->g, c + 26, 2, i);
	vguest_store(d->g, c + 28, 2, 1);
}

static u16 read_queue_size(struct vdriver *d, unsigned i)
{
	if (d->legacy) {
		vguest_out(d->g, d->legacy_port + 14, 2, i);
		return (u16)vguest_in(d->g, d->legacy_port + 12, 2);
	}
	vguest_store(d->g, d->common + 22, 2, i);
	return (u16)vguest_load(d->g, d->common + 24, 2);
}

/* [VIRTIO 3.1.1 Driver Requirements: Device Initialization] */
bool vdriver_start(struct vdriver *d, u64 wanted, bool legacy, bool with_msix, u64 rings_at)
{
	d->legacy = legacy;
	d->with_msix = with_msix;
	d->config_at = with_msix ? 24 : 20;
	vdriver_reset(d);
	set_status(d, VIRTIO_ACKNOWLEDGE);
	set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	vguest_set_config(d->g, d->slot, 4, 2, legacy ? 3 : 7);
	vguest_set_config(d->g, d->slot, d->msix_cap + 2U, 2, 0);
	d->features = wanted & vdriver_offered(d, legacy);
	if (with_msix)
		set_up_vectors(d);
	if (legacy) {
		vguest_out(d->g, d->legacy_port + 4, 4, d->features);
	} else {
		vguest_store(d->g, d->common + 8, 4, 0);
		vguest_store(d->g, d->common + 12, 4, d->features);
		vguest_store(d->g, d->common + 8, 4, 1);
		vguest_store(d->g, d->common + 12, 4, d->features >> 32);
		set_status(d, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
		if (!(vdriver_status(d) & VIRTIO_FEATURES_OK))
			return false;
	}
	for (d->nqueues = 0; d->nqueues < VIRTIO_MAX_QUEUES && read_queue_size(d, d->nqueues); d->nqueues++) {
		if (legacy)
			start_legacy_queue(d, d->nqueues, rings_at + d->nqueues * VRING_BYTES);
		else
			start_queue(d, d->nqueues, rings_at + d->nqueues * VRING_BYTES);
	}
	if (with_msix && legacy)
		vguest_out(d->g, d->legacy_port + 20, 2, d->nqueues);
	else if (with_msix)
		vguest_store(d->g, d->common + 16, 2, d->nqueues);
	set_status(d, vdriver_status(d) | VIRTIO_DRIVER_OK);
	return !(vdriver_status(d) & VIRTIO_NEEDS_RESET);
}

void vdriver_kick(struct vdriver *d, unsigned queue)
{
	if (d->legacy)
		vguest_out(d->g, d->legacy_port + 16, 2, queue);
	else
		vguest_out(d->g, d->notify[0] + queue * d->notify_each, 2, queue);
}

bool vdriver_kick_if_wanted(struct vdriver *d, unsigned queue)
{
	if (!vring_kick_wanted(&d->ring[queue]))
		return false;
	vdriver_kick(d, queue);
	return true;
}

u64 vdriver_read_config(struct vdriver *d, unsigned at, unsigned size_bytes)
{
	if (d->legacy)
		return vguest_in(d->g, d->legacy_port + d->config_at + at, size_bytes);
	return vguest_load(d->g, d->config + at, size_bytes);
}
