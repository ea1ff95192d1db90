/*
 * board_pci.h - the PCI bus of the board and the devices on it.
 *
 * There are only when the machine's configuration asks for one of them; without,
 * the board is what it was before there was a bus.  Each kind of device has slots
 * of its own, so that a device's address says which it is and does not depend on
 * the others.
 */
#ifndef VMM_BOARD_PCI_H
#define VMM_BOARD_PCI_H

#include "vmm/boundary.h"
#include "vmm/dev/pci.h"
#include "vmm/dev/virtio_blk.h"
#include "vmm/dev/virtio_console.h"
#include "vmm/dev/virtio_net.h"
#include "vmm/dev/virtio_rng.h"

#define VM_MAX_DISKS 8
#define VM_MAX_NICS 4

/* Slots: 0 is the host bridge. */
enum { SLOT_DISK = 1, SLOT_NIC = SLOT_DISK + VM_MAX_DISKS, SLOT_CONSOLE = SLOT_NIC + VM_MAX_NICS, SLOT_RNG };

struct vm;

/* Where a NIC's frames leave. */
struct nic_wire {
	struct vm *vm;
	u16 index;
};

struct board_pci {
	bool present, has_console, has_rng;
	unsigned ndisks, nnics;
	struct pci bus;
	struct virtq_chain room;      /* for the devices to work in */
	struct virtio_blk disk[VM_MAX_DISKS];
	struct virtio_net nic[VM_MAX_NICS];
	struct nic_wire wire[VM_MAX_NICS];
	struct virtio_console console;
	struct virtio_rng rng;
};

struct vm_config;
bool board_pci_wanted(const struct vm_config *c);

/* line, irq: the ISA interrupts of the bus's two lines.  console: where a virtio console's bytes go. */
void board_pci_init(struct vm *vm, const struct virtio_env *env, const struct irq_line line[PCI_NLINES],
		    const u8 irq[PCI_NLINES], struct outlet console);

void board_pci_input_room(const struct board_pci *b, struct input_room *room);
void board_pci_input(struct board_pci *b, const struct input *in);
void board_pci_state_walk(struct board_pci *b, struct state_walk *w);

#endif
