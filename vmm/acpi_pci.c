/*
 * acpi_pci.c - the PCI root bridge, in AML: what acpi_build puts into the DSDT
 * of a machine with a bus.
 *
 * Writes its part of one buffer.  The source of what it writes [ACPI chapter 20]:
 *
 *	Scope (\_SB) {
 *	    Device (PCI0) {
 *	        Name (_HID, EisaId ("PNP0A03"))
 *	        Name (_UID, 0)
 *	        Name (_CRS, ResourceTemplate () {
 *	            WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
 *	            IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
 *	            WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, first, last, 0, size)
 *	            DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
 *	                         0, first, last, 0, size)
 *	        })
 *	        Name (_PRT, Package () {                     for each slot n from 1 on:
 *	            Package () { (n << 16) | 0xFFFF, 0, 0, irq }
 *	        })
 *	    }
 *	}
 */
#include "vmm/acpi.h"

enum {
	ZERO_OP = 0x00, NAME_OP = 0x08, BYTE_OP = 0x0a, DWORD_OP = 0x0c, SCOPE_OP = 0x10, BUFFER_OP = 0x11, PACKAGE_OP = 0x12,
	EXT_OP = 0x5b, DEVICE_OP = 0x82,
};
/* Resource descriptors [ACPI 6.4.2; ACPI 6.4.3.5]. */
enum {
	IO_DESCRIPTOR = 0x47, END_DESCRIPTOR = 0x79, WORD_SPACE = 0x88, DWORD_SPACE = 0x87,
	TYPE_MEMORY = 0, TYPE_IO = 1, TYPE_BUS = 2, MIN_MAX_FIXED = 0x0c, ENTIRE_RANGE = 3, READ_WRITE = 1,
};
#define NSLOTS 16

static u8 *put(u8 *p, unsigned size_bytes, u64 value)
{
	write_bytes_le(p, size_bytes, value);
	return p + size_bytes;
}

static u8 *put_text(u8 *p, const char *text)
{
	memcpy(p, text, strlen(text));
	return p + strlen(text);
}

static u8 *put_name(u8 *p, const char *name)
{
	*p++ = NAME_OP;
	return put_text(p, name);
}

/*
 * A package length of two bytes, itself included [ACPI 20.2.4 Package Length
 * Encoding]: written when what it measures has ended.
 */
static u8 *open_package(u8 *p, u8 **length)
{
	*length = p;
	return p + 2;
}

static void close_package(u8 *length, const u8 *end)
{
	u64 n = (u64)(end - length);

	length[0] = (u8)(0x40 | (n & 15));
	length[1] = (u8)(n >> 4);
}

/* An address space that the bridge passes on, in fields of 2 or 4 bytes. */
static u8 *put_space(u8 *p, unsigned width, u8 type, u8 flags, u64 first, u64 last)
{
	*p++ = width == 2 ? WORD_SPACE : DWORD_SPACE;
	p = put(p, 2, 3 + 5 * width);
	*p++ = type;
	*p++ = MIN_MAX_FIXED;
	*p++ = flags;
	p = put(p, width, 0);
	p = put(p, width, first);
	p = put(p, width, last);
	p = put(p, width, 0);
	return put(p, width, last - first + 1);
}

static u8 *put_resources(u8 *p, const struct acpi_config *c)
{
	u8 *length, *size;

	*p++ = BUFFER_OP;
	p = open_package(p, &length);
	*p++ = BYTE_OP;
	size = p++;
	p = put_space(p, 2, TYPE_BUS, 0, 0, 0);
	*p++ = IO_DESCRIPTOR;
	*p++ = 1;
	p = put(p, 2, 0xcf8);
	p = put(p, 2, 0xcf8);
	*p++ = 1;
	*p++ = 8;
	p = put_space(p, 2, TYPE_IO, ENTIRE_RANGE, c->pci_io_first, c->pci_io_last);
	p = put_space(p, 4, TYPE_MEMORY, READ_WRITE, c->pci_mem_first, c->pci_mem_last);
	*p++ = END_DESCRIPTOR;
	*p++ = 0;
	*size = (u8)(p - size - 1);
	close_package(length, p);
	return p;
}

/* INTA of each slot, straight to an I/O APIC input: no interrupt link a guest would have to program. */
static u8 *put_routing(u8 *p, const struct acpi_config *c)
{
	u8 *length;

	*p++ = PACKAGE_OP;
	p = open_package(p, &length);
	*p++ = NSLOTS - 1;
	for (unsigned slot = 1; slot < NSLOTS; slot++) {
		static const u8 head[] = { PACKAGE_OP, 11, 4, DWORD_OP };

		memcpy(p, head, sizeof(head));
		p = put(p + sizeof(head), 4, slot << 16 | 0xffff);
		*p++ = ZERO_OP;
		*p++ = ZERO_OP;
		*p++ = BYTE_OP;
		*p++ = c->pci_irq[slot % 2];
	}
	close_package(length, p);
	return p;
}

u8 *acpi_put_pci(u8 *p, const struct acpi_config *c)
{
	u8 *scope, *device;

	*p++ = SCOPE_OP;
	p = open_package(p, &scope);
	p = put_text(p, "\\_SB_");
	*p++ = EXT_OP;
	*p++ = DEVICE_OP;
	p = open_package(p, &device);
	p = put_text(p, "PCI0");
	p = put_name(p, "_HID");
	*p++ = DWORD_OP;
	p = put(p, 4, 0x030ad041); /* EISA id PNP0A03 */
	p = put_name(p, "_UID");
	*p++ = ZERO_OP;
	p = put_name(p, "_CRS");
	p = put_resources(p, c);
	p = put_name(p, "_PRT");
	p = put_routing(p, c);
	close_package(device, p);
	close_package(scope, p);
	return p;
}
