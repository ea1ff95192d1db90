/*
 * pci.c - configuration space.  See pci.h.
 */
#include "kernel/cpu.h"
#include "kernel/paging.h"
#include "kernel/pci.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };
enum { HEADER_BRIDGE = 1, HEADER_MULTIFUNCTION = 0x80 };

static void select(const struct pci_device *d, u16 offset)
{
	outl(CONFIG_ADDRESS, 1U << 31 | (u32)d->bus << 16 | (u32)d->slot << 11 |
				     (u32)d->function << 8 | (offset & 0xfcU));
}

u32 pci_read32(const struct pci_device *d, u16 offset)
{
	select(d, offset);
	return inl(CONFIG_DATA);
}

u16 pci_read16(const struct pci_device *d, u16 offset)
{
	select(d, offset);
	return inw((u16)(CONFIG_DATA + (offset & 2)));
}

u8 pci_read8(const struct pci_device *d, u16 offset)
{
	select(d, offset);
	return inb((u16)(CONFIG_DATA + (offset & 3)));
}

void pci_write32(const struct pci_device *d, u16 offset, u32 value)
{
	select(d, offset);
	outl(CONFIG_DATA, value);
}

void pci_write16(const struct pci_device *d, u16 offset, u16 value)
{
	select(d, offset);
	outw((u16)(CONFIG_DATA + (offset & 2)), value);
}

static bool scan_bus(u8 bus, bool (*fn)(void *ctx, const struct pci_device *d), void *ctx);

static bool scan_function(struct pci_device *d, bool (*fn)(void *ctx, const struct pci_device *d),
			  void *ctx)
{
	u8 secondary;

	d->class = pci_read32(d, PCI_CLASS) >> 8;
	if (!fn(ctx, d))
		return false;
	if ((pci_read8(d, PCI_HEADER_TYPE) & 0x7f) != HEADER_BRIDGE)
		return true;
	/* Buses are numbered downwards: another order is a bridge not set up, or a loop. */
	secondary = pci_read8(d, PCI_SECONDARY_BUS);
	return secondary <= d->bus || scan_bus(secondary, fn, ctx);
}

static bool scan_bus(u8 bus, bool (*fn)(void *ctx, const struct pci_device *d), void *ctx)
{
	for (u8 slot = 0; slot < 32; slot++) {
		unsigned nfunctions = 1;

		for (u8 function = 0; function < nfunctions; function++) {
			struct pci_device d = { .bus = bus, .slot = slot, .function = function };
			u32 id = pci_read32(&d, PCI_ID);

			d.vendor = (u16)id;
			d.device = (u16)(id >> 16);
			if (d.vendor == 0xffff)
				continue;
			if (function == 0 && (pci_read8(&d, PCI_HEADER_TYPE) & HEADER_MULTIFUNCTION))
				nfunctions = 8;
			if (!scan_function(&d, fn, ctx))
				return false;
		}
	}
	return true;
}

void pci_scan(bool (*fn)(void *ctx, const struct pci_device *d), void *ctx)
{
	scan_bus(0, fn, ctx);
}

struct find {
	u16 vendor, device;
	unsigned index;
	struct pci_device *found;
	bool hit;
};

static bool find_one(void *ctx, const struct pci_device *d)
{
	struct find *f = ctx;

	if (d->vendor != f->vendor || d->device != f->device || f->index-- != 0)
		return true;
	*f->found = *d;
	f->hit = true;
	return false;
}

bool pci_find_device(u16 vendor, u16 device, unsigned index, struct pci_device *found)
{
	struct find f = { vendor, device, index, found, false };

	pci_scan(find_one, &f);
	return f.hit;
}

/* The bits of a register that can be written, with decoding off meanwhile. */
static u32 writable_bits(const struct pci_device *d, u16 offset)
{
	u32 old = pci_read32(d, offset), bits;

	pci_write32(d, offset, ~0U);
	bits = pci_read32(d, offset);
	pci_write32(d, offset, old);
	return bits;
}

bool pci_bar(const struct pci_device *d, unsigned index, struct pci_bar *bar)
{
	u16 offset = (u16)(PCI_BAR0 + 4 * index), command = pci_read16(d, PCI_COMMAND);
	u32 low = pci_read32(d, offset);
	bool is64 = (low & 7) == 4; /* memory, 64 bits */
	u64 mask;

	bar->io = low & 1;
	bar->base = bar->io ? low & ~3U : low & ~15U;
	if (is64)
		bar->base |= (u64)pci_read32(d, offset + 4) << 32;
	/* [PCI 6.2.5.1]: of all ones written, the size's zeros do not stick. */
	pci_write16(d, PCI_COMMAND, command & ~3U);
	mask = writable_bits(d, offset) & (bar->io ? ~3U : ~15U);
	if (is64)
		mask |= (u64)writable_bits(d, offset + 4) << 32;
	else if (mask) /* above 32 bits, or for ports above 16, nothing is implemented */
		mask |= bar->io ? ~0xffffUL : ~0xffffffffUL;
	pci_write16(d, PCI_COMMAND, command);
	bar->size_bytes = -mask;
	return mask;
}

/*
 * Below the I/O APIC, in the hole every PC leaves for PCI: a place of its own for
 * each BAR, so that nothing has to be remembered.
 */
#define HOLE 0xfe000000UL
#define PLACE 0x8000UL

bool pci_assign(const struct pci_device *d, unsigned index, struct pci_bar *bar)
{
	u16 offset = (u16)(PCI_BAR0 + 4 * index);

	if (bar->base || bar->io || bar->size_bytes > PLACE || d->bus || d->function)
		return false;
	bar->base = HOLE + (d->slot * 8UL + index) * PLACE;
	pci_write32(d, offset, (u32)bar->base);
	if ((pci_read32(d, offset) & 7) == 4) /* 64 bits */
		pci_write32(d, offset + 4, 0);
	return true;
}

volatile u8 *pci_map(const struct pci_device *d, unsigned index, u32 offset, u32 size_bytes)
{
	struct pci_bar bar;

	if (index > 5 || !pci_bar(d, index, &bar) || bar.io || (u64)offset + size_bytes > bar.size_bytes ||
	    (!bar.base && !pci_assign(d, index, &bar)))
		return NULL;
	return (volatile u8 *)mmio_map(bar.base + offset, size_bytes);
}

u8 pci_capability(const struct pci_device *d, u8 id, u8 after)
{
	u8 at;

	if (!(pci_read16(d, PCI_STATUS) & PCI_STATUS_CAPABILITIES))
		return 0;
	at = pci_read8(d, after ? after + 1 : PCI_CAPABILITIES) & 0xfc;
	/* At most 48 fit; a list that loops ends there too. */
	for (unsigned i = 0; at && i < 48; i++) {
		if (pci_read8(d, at) == id)
			return at;
		at = pci_read8(d, at + 1) & 0xfc;
	}
	return 0;
}
