/*
 * acpi.h - the ACPI tables that describe the board to the guest.
 *
 * Writes one buffer, to be placed at a guest-physical address below 4 GiB:
 * RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT [ACPI chapter 5].  Contents
 * are a function of the configuration alone.
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include "kernel/base.h"

#define ACPI_MAX_CPUS 64
#define ACPI_TABLES_MAX 4096 /* room enough for any configuration */

struct acpi_config {
	unsigned ncpus;        /* local APIC ids 0 .. ncpus - 1 */
	u8 rtc_century;        /* CMOS index, 0: none */
	u8 ioapic_id;
	u32 lapic_base, ioapic_base;
	u8 sci_irq;            /* level, active high */
	u16 pm1_evt, pm1_cnt, pm_tmr, smi_cmd, reset_port;
	u8 acpi_enable, acpi_disable, reset_value;
	u16 com1_port;
	u8 com1_irq;
	bool pci;              /* there is a bus */
	u8 pci_irq[2];         /* INTA of even slots, of odd slots: level, active low */
	u32 pci_mem_first, pci_mem_last;
	u16 pci_io_first, pci_io_last;
};

/*
 * at must be page-aligned.  ERR_TOO_BIG when the tables need more than size
 * bytes; the rest of the buffer is zeroed.
 */
err_t acpi_build(const struct acpi_config *c, gpa_t at, u8 *buf, size_t size, gpa_t *rsdp) must_check;

/* The PCI root bridge in AML, at p; returns its end.  For acpi_build. */
u8 *acpi_put_pci(u8 *p, const struct acpi_config *c);

#endif
