/*
 * board_pci.c - wiring the PCI bus: which devices there are, what their
 * messages and frames become, and whom their disks' failures concern.
 *
 * Reads the machine's configuration; changes the bus and its devices, and by
 * them all that a guest can reach.  Never: the ISA side [board.c].
 */
#include "vmm/vm.h"

/*
 * A message as the local APICs take it [SDM3 10.11 Message Signalled
 * Interrupts].  The destination mode counts whatever the redirection hint says,
 * as processors do.
 */
static void send_message(void *ctx, u64 addr, u32 data)
{
	struct apic_message m = {
		.dest = apic_dest8((u8)(addr >> 12)),
		.dest_mode = addr >> 2 & 1,
		.delivery_mode = data >> 8 & 7,
		.vector = (u8)data,
		.trigger = data >> 15 & 1 ? APIC_LEVEL : APIC_EDGE,
		.level = 1,
		.shorthand = APIC_TO_DEST,
	};

	board_send_message(ctx, &m);
}

/* Where the boundary says that nothing was wrong and something was, the guest cannot go on. */
static err_t answer_disk(void *ctx, unsigned disk, err_t host)
{
	struct vm *vm = ctx;
	err_t seen = vm->boundary->ops->answer(vm->boundary, &vm->now, INPUT_DISK, (u16)disk, host);

	if (host && !seen)
		vm_stop(vm, VM_HOST_FAILED, "disk %u: the host's storage failed", disk);
	return seen;
}

static void disk_wrote(void *ctx, unsigned disk, u64 sector, const void *data, u32 nsectors)
{
	struct vm *vm = ctx;
	const struct output out = { .kind = OUTPUT_DISK, .instance = (u16)disk, .data = data, .size = nsectors * (u32)DISK_SECTOR,
				    .sector = sector };

	vm->boundary->ops->output(vm->boundary, &vm->now, &out);
}

static void nic_sends(const struct nic_wire *wire, enum output_kind kind, const void *data, size_t size)
{
	const struct output out = { .kind = kind, .instance = wire->index, .data = data, .size = (u32)size };
	struct vm *vm = wire->vm;

	vm->stats.output_bytes += size;
	vm->boundary->ops->output(vm->boundary, &vm->now, &out);
}

static void frame_out(void *ctx, const void *data, size_t size)
{
	nic_sends(ctx, OUTPUT_FRAME, data, size);
}

static void packet_out(void *ctx, const void *data, size_t size)
{
	nic_sends(ctx, OUTPUT_PACKET, data, size);
}

bool board_pci_wanted(const struct vm_config *c)
{
	return c->ndisks || c->nnics || c->virtio_console || c->rng;
}

void board_pci_init(struct vm *vm, const struct virtio_env *env, const struct irq_line line[PCI_NLINES],
		    const u8 irq[PCI_NLINES], struct outlet console)
{
	struct board_pci *b = &vm->board.pci;
	struct pci_env bus = { .msi = send_message, .ctx = vm };

	memcpy(bus.line, line, sizeof(bus.line));
	memcpy(bus.irq, irq, sizeof(bus.irq));
	b->present = true;
	b->ndisks = vm->config.ndisks;
	b->nnics = vm->config.nnics;
	b->has_console = vm->config.virtio_console;
	b->has_rng = vm->config.rng;
	pci_init(&b->bus, &bus);
	for (unsigned i = 0; i < b->ndisks; i++)
		virtio_blk_init(&b->disk[i], env, SLOT_DISK + i, i, vm->config.disk[i],
				(struct blk_board){ answer_disk, disk_wrote, vm });
	for (unsigned i = 0; i < b->nnics; i++) {
		b->wire[i] = (struct nic_wire){ vm, (u16)i };
		virtio_net_init(&b->nic[i], env, SLOT_NIC + i, vm->config.mac[i], vm->config.offload[i],
				(struct net_outlets){ { frame_out, &b->wire[i] }, { packet_out, &b->wire[i] } });
	}
	if (b->has_console)
		virtio_console_init(&b->console, env, SLOT_CONSOLE, console);
	if (b->has_rng)
		virtio_rng_init(&b->rng, env, SLOT_RNG, vm->config.seed);
}

/* What is typed goes to one console: to this one, where there is one. */
void board_pci_input_room(const struct board_pci *b, struct input_room *room)
{
	for (unsigned i = 0; i < b->nnics; i++) {
		room->nics |= (u32)virtio_net_can_receive(&b->nic[i]) << i;
		room->packets |= (u32)virtio_net_takes_packets(&b->nic[i]) << i;
		room->deaf |= (u32)virtio_net_deaf(&b->nic[i]) << i;
	}
	if (b->has_console)
		room->console = virtio_console_input_room(&b->console);
}

void board_pci_input(struct board_pci *b, const struct input *in)
{
	if (in->kind == INPUT_FRAME && in->instance < b->nnics)
		virtio_net_ops.input(&b->nic[in->instance], in->data, in->size);
	else if (in->kind == INPUT_PACKET && in->instance < b->nnics)
		virtio_net_receive_packet(&b->nic[in->instance], in->data, in->size);
	else if (in->kind == INPUT_CONSOLE && b->has_console)
		virtio_console_ops.input(&b->console, in->data, in->size);
}

static void walk(struct state_walk *w, const char *name, const struct device_ops *ops, void *dev)
{
	state_section(w, name, ops->version);
	ops->state(dev, w);
}

/* Each device has a name of its own: one disk's state is not another's. */
void board_pci_state_walk(struct board_pci *b, struct state_walk *w)
{
	static const char *const disk_names[VM_MAX_DISKS] = { "disk0", "disk1", "disk2", "disk3", "disk4", "disk5", "disk6", "disk7" };
	static const char *const nic_names[VM_MAX_NICS] = { "nic0", "nic1", "nic2", "nic3" };

	if (!b->present)
		return;
	walk(w, "pci", &pci_ops, &b->bus);
	for (unsigned i = 0; i < b->ndisks; i++)
		walk(w, disk_names[i], &virtio_blk_ops, &b->disk[i]);
	for (unsigned i = 0; i < b->nnics; i++)
		walk(w, nic_names[i], &virtio_net_ops, &b->nic[i]);
	if (b->has_console)
		walk(w, "virtio-console", &virtio_console_ops, &b->console);
	if (b->has_rng)
		walk(w, "rng", &virtio_rng_ops, &b->rng);
}
