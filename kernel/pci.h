/*
 * pci.h - the host's PCI devices, through ports CF8h and CFCh.
 *
 * Firmware has assigned buses and BARs, and nothing it has assigned is moved; but
 * firmware whose only business is to load us, as QEMU's qboot, assigns none.
 */
#ifndef KERNEL_PCI_H
#define KERNEL_PCI_H

#include "kernel/base.h"

/* [PCI 6.1 Configuration Space Organization] */
enum {
	PCI_ID = 0x00,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_CLASS = 0x08,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SECONDARY_BUS = 0x19,
	PCI_SUBSYSTEM = 0x2c,
	PCI_CAPABILITIES = 0x34,

	PCI_COMMAND_MEMORY = 1 << 1,
	PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_INTX_OFF = 1 << 10,
	PCI_STATUS_CAPABILITIES = 1 << 4,
};

struct pci_device {
	u8 bus, slot, function;
	u16 vendor, device;
	u32 class; /* base class, subclass, interface: 24 bits */
};

struct pci_bar {
	bool io;
	u64 base; /* 0 when firmware assigned none: pci_assign */
	u64 size_bytes;
};

u32 pci_read32(const struct pci_device *d, u16 offset);
u16 pci_read16(const struct pci_device *d, u16 offset);
u8 pci_read8(const struct pci_device *d, u16 offset);
void pci_write32(const struct pci_device *d, u16 offset, u32 value);
void pci_write16(const struct pci_device *d, u16 offset, u16 value);

/*
 * Calls fn for every function, bus 0 first, what is behind a bridge after
 * the bridge, until fn answers false.
 */
void pci_scan(bool (*fn)(void *ctx, const struct pci_device *d), void *ctx);

/* The index-th device (from 0) with these numbers, in the order of pci_scan. */
bool pci_find_device(u16 vendor, u16 device, unsigned index, struct pci_device *found) must_check;

/* A base address register with its size; false when it is not implemented. */
bool pci_bar(const struct pci_device *d, unsigned index, struct pci_bar *bar) must_check;

/* An address for a small BAR of memory, on bus 0, that has none.  False: it has, or is not of that kind. */
bool pci_assign(const struct pci_device *d, unsigned index, struct pci_bar *bar) must_check;

/* Registers in a BAR of memory, mapped, the BAR given an address if it has none; NULL: no such thing. */
volatile u8 *pci_map(const struct pci_device *d, unsigned index, u32 offset, u32 size_bytes);

/* The next capability with this id after offset `after` (0: from the first); 0 if none. */
u8 pci_capability(const struct pci_device *d, u8 id, u8 after);

#endif
