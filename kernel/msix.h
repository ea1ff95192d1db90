/*
 * msix.h - a PCI device's interrupts as messages, each with a mask.
 *
 * An interrupt must never fall while a guest runs, so every entry is masked
 * but inside cpu_wait: what is raised meanwhile stays pending in the device.
 * [PCI 6.8.2 MSI-X Capability and Table Structures]
 */
#ifndef KERNEL_MSIX_H
#define KERNEL_MSIX_H

#include "kernel/pci.h"

struct msix {
	volatile u32 *table; /* four words an entry; NULL: the device has none */
};

/* Finds the table and turns MSI-X on, every entry masked.  The device's memory decoding is on. */
err_t msix_init(struct msix *m, const struct pci_device *d) must_check;

/* What the entry sends: that vector to the boot CPU. */
void msix_route(struct msix *m, unsigned entry, u8 vector);

/* From now on the entry's messages are sent. */
void msix_unmask(struct msix *m, unsigned entry);

#endif
