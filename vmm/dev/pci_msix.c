/*
 * pci_msix.c - MSI-X: a table of messages, one for each vector of a function.
 * See pci.h.
 *
 * Reads and changes: one function's table and pending bits; sends messages.
 * Never: interrupt lines.  What the board makes of a message is its matter.
 */
#include "vmm/dev/pci.h"

/* Message Control, in the capability's third and fourth bytes [PCI 6.8.2.3 Message Control for MSI-X]. */
enum { CONTROL_AT = 2, CONTROL_ENABLE = 0x8000, CONTROL_MASK = 0x4000 };

/* In the page that the capability points to. */
enum { TABLE_AT = 0, ENTRY_SIZE = 16, PENDING_AT = 0x800 };

enum { VECTOR_MASKED = 1 };

/* Local APICs, where all messages go [SDM3 10.11.1 Message Address Register Format]. */
#define LAPIC_FIRST 0xfee00000U
#define LAPIC_MASK 0xfff00000U

void pci_add_msix(struct pci_function *f, unsigned bar, u32 offset, unsigned nvectors)
{
	u8 body[10];

	if (nvectors > PCI_MAX_VECTORS)
		__builtin_trap();
	write_bytes_le(body, 2, nvectors - 1);
	write_bytes_le(body + 2, 4, (offset + TABLE_AT) | bar);
	write_bytes_le(body + 6, 4, (offset + PENDING_AT) | bar);
	f->msix = pci_add_capability(f, PCI_CAP_MSIX, body, sizeof(body));
	f->nvectors = (u8)nvectors;
	write_bytes_le(f->writable + f->msix + CONTROL_AT, 2, CONTROL_ENABLE | CONTROL_MASK);
}

static u16 control(const struct pci_function *f)
{
	return f->msix ? (u16)read_bytes_le(f->config + f->msix + CONTROL_AT, 2) : 0;
}

bool pci_msix_enabled(const struct pci_function *f)
{
	return control(f) & CONTROL_ENABLE;
}

/* A message is a write to memory, so a function that may not master the bus holds it back. */
static bool masked(const struct pci_function *f, unsigned vector)
{
	return control(f) & CONTROL_MASK || f->vector[vector].control & VECTOR_MASKED || !(pci_command(f) & PCI_COMMAND_MASTER);
}

void pci_msix_send(struct pci_function *f, unsigned vector)
{
	const struct pci_env *env = &f->bus->env;
	const struct pci_vector *v;

	if (vector >= f->nvectors || !pci_msix_enabled(f))
		return;
	v = &f->vector[vector];
	if (masked(f, vector))
		f->pending |= (u8)(1U << vector);
	else if (!v->address_high && (v->address & LAPIC_MASK) == LAPIC_FIRST)
		env->msi(env->ctx, v->address, v->data);
}

void pci_msix_flush(struct pci_function *f)
{
	for (unsigned i = 0; f->pending && i < f->nvectors && pci_msix_enabled(f); i++) {
		if (!(f->pending >> i & 1) || masked(f, i))
			continue;
		f->pending &= (u8)~(1U << i);
		pci_msix_send(f, i);
	}
}

/* Dwords of the table and of the pending bits; between them and behind, zeros. */
static u32 read_dword(const struct pci_function *f, u32 at)
{
	const struct pci_vector *v = &f->vector[at / ENTRY_SIZE % PCI_MAX_VECTORS];

	if (at == PENDING_AT)
		return f->pending;
	if (at >= f->nvectors * ENTRY_SIZE)
		return 0;
	switch (at % ENTRY_SIZE / 4) {
	case 0:
		return v->address;
	case 1:
		return v->address_high;
	case 2:
		return v->data;
	default:
		return v->control;
	}
}

u64 pci_msix_read(const struct pci_function *f, u32 at)
{
	u32 first = at & ~3U;
	u64 value = read_dword(f, first) | (u64)read_dword(f, first + 4) << 32;

	return value >> 8 * (at - first);
}

static void write_dword(struct pci_function *f, u32 at, u32 value)
{
	struct pci_vector *v = &f->vector[at / ENTRY_SIZE % PCI_MAX_VECTORS];

	if (at >= f->nvectors * ENTRY_SIZE)
		return; /* pending bits are read-only */
	switch (at % ENTRY_SIZE / 4) {
	case 0:
		v->address = value & ~3U;
		break;
	case 1:
		v->address_high = value;
		break;
	case 2:
		v->data = value;
		break;
	default:
		v->control = value & VECTOR_MASKED;
		pci_msix_flush(f);
		break;
	}
}

/* Only aligned dwords and qwords are defined; anything else changes nothing. */
void pci_msix_write(struct pci_function *f, u32 at, unsigned size_bytes, u64 value)
{
	if (size_bytes < 4 || at % size_bytes)
		return;
	write_dword(f, at, (u32)value);
	if (size_bytes == 8)
		write_dword(f, at + 4, (u32)(value >> 32));
}
