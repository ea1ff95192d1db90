/*
 * msix.c - interrupts as messages.  See msix.h.
 */
#include "kernel/lapic.h"
#include "kernel/msix.h"

enum { CAP_MSIX = 0x11, CONTROL = 2, TABLE = 4 };
enum { CONTROL_SIZE = 0x7ff, CONTROL_MASK_ALL = 1 << 14, CONTROL_ENABLE = 1 << 15 };
enum { ADDRESS_LOW = 0, ADDRESS_HIGH = 1, DATA = 2, VECTOR_CONTROL = 3, WORDS = 4 };
enum { MASKED = 1 };

err_t msix_init(struct msix *m, const struct pci_device *d)
{
	u8 cap = pci_capability(d, CAP_MSIX, 0);
	u16 control;
	u32 table;

	*m = (struct msix){ 0 };
	if (!cap)
		return ERR_UNSUPPORTED;
	control = pci_read16(d, cap + CONTROL);
	table = pci_read32(d, cap + TABLE);
	m->table = (volatile u32 *)pci_map(d, table & 7, table & ~7U, (control & CONTROL_SIZE) * 16U + 16);
	if (!m->table)
		return ERR_UNSUPPORTED;
	/* Entries are masked after a reset; firmware may have been here. */
	pci_write16(d, cap + CONTROL, control | CONTROL_ENABLE | CONTROL_MASK_ALL);
	for (unsigned i = 0; i <= (control & CONTROL_SIZE); i++)
		m->table[i * WORDS + VECTOR_CONTROL] = MASKED;
	pci_write16(d, cap + CONTROL, (u16)((control | CONTROL_ENABLE) & ~CONTROL_MASK_ALL));
	return OK;
}

/* [SDM3 10.11 Message Signalled Interrupts]: fixed, edge, to one APIC. */
void msix_route(struct msix *m, unsigned entry, u8 vector)
{
	volatile u32 *e = m->table + entry * WORDS;

	e[ADDRESS_LOW] = 0xfee00000 | host_lapic_read(LAPIC_ID) >> 24 << 12;
	e[ADDRESS_HIGH] = 0;
	e[DATA] = vector;
}

void msix_unmask(struct msix *m, unsigned entry)
{
	m->table[entry * WORDS + VECTOR_CONTROL] = 0;
}
