/*
 * acpi.c - the ACPI tables that describe the board to the guest.  See acpi.h.
 *
 * Field offsets are those of the tables in [ACPI chapter 5]; the FADT is
 * revision 3 (244 bytes), the last before hardware-reduced and hypervisor
 * fields, which every guest reads.
 */
#include "vmm/acpi.h"

/* Where in the buffer: the short ones at fixed places, MADT last as it grows with ncpus. */
enum {
	RSDP_AT = 0x000, RSDT_AT = 0x040, XSDT_AT = 0x080, FACS_AT = 0x0c0, /* FACS: 64-aligned */
	FADT_AT = 0x100, DSDT_AT = 0x200, MADT_AT = 0x300,
	PCI_DSDT_AT = 0x600, PCI_DSDT_MAX = 0x400, /* with a PCI bus in it: behind the largest MADT */
	RSDP_SIZE = 36, HEADER_SIZE = 36, FACS_SIZE = 64, FADT_SIZE = 244,
};

enum {
	/* FADT flags [ACPI 5.2.9, Table 5.10] */
	FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_NO_FIXED_POWER_BUTTON = 1 << 4,
	FADT_NO_FIXED_SLEEP_BUTTON = 1 << 5, FADT_NO_FIXED_RTC_WAKE = 1 << 6,
	FADT_TIMER_32_BITS = 1 << 8, FADT_RESET_REG = 1 << 10,
	/*
	 * IAPC_BOOT_ARCH [ACPI 5.2.9.3]: legacy devices there are.  8042 stays
	 * 0 while no keyboard is plugged in, or Linux waits for one; no VGA.
	 */
	BOOT_LEGACY_DEVICES = 1 << 0, BOOT_NO_VGA = 1 << 2,
	/* MADT interrupt structures [ACPI 5.2.12] */
	MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4,
	MADT_PCAT_COMPAT = 1,
	INTI_CONFORMS = 0, INTI_HIGH_LEVEL = 0x000d,
	GAS_IO = 1,
	C2_NONE = 101, C3_NONE = 1001, /* latencies that mean: not supported */
	LAPIC_ENABLED = 1,
};

static void put(u8 *p, unsigned size_bytes, u64 value)
{
	write_bytes_le(p, size_bytes, value);
}

/* A byte that makes the sum of all size bytes 0. */
static u8 checksum(const u8 *p, size_t size)
{
	u8 sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += p[i];
	return (u8)-sum;
}

/* System Description Table Header [ACPI 5.2.6], written last: it holds the checksum. */
static void finish_table(u8 *t, const char *signature, u8 revision, u32 length)
{
	memcpy(t, signature, 4);
	put(t + 4, 4, length);
	t[8] = revision;
	t[9] = 0;
	memcpy(t + 10, "REPRSE", 6);
	memcpy(t + 16, "REPRISE ", 8);
	put(t + 24, 4, 1);
	memcpy(t + 28, "RPRS", 4);
	put(t + 32, 4, 1);
	t[9] = checksum(t, length);
}

static void build_rsdp(u8 *t, u64 base)
{
	memcpy(t, "RSD PTR ", 8);
	memcpy(t + 9, "REPRSE", 6);
	t[15] = 2;
	put(t + 16, 4, base + RSDT_AT);
	put(t + 20, 4, RSDP_SIZE);
	put(t + 24, 8, base + XSDT_AT);
	t[8] = checksum(t, 20);
	t[32] = checksum(t, RSDP_SIZE);
}

/* RSDT (entry_size 4) or XSDT (8). */
static void build_root(u8 *t, const char *signature, u64 base, unsigned entry_size)
{
	put(t + HEADER_SIZE, entry_size, base + FADT_AT);
	put(t + HEADER_SIZE + entry_size, entry_size, base + MADT_AT);
	finish_table(t, signature, 1, HEADER_SIZE + 2 * entry_size);
}

static void build_facs(u8 *t)
{
	memcpy(t, "FACS", 4);
	put(t + 4, 4, FACS_SIZE);
	t[32] = 1; /* version */
}

/* Generic Address Structure for a port [ACPI 5.2.3.2]; access_size 1: byte, 2: word, 3: dword. */
static void put_gas(u8 *p, u64 port, u8 bit_width, u8 access_size)
{
	p[0] = GAS_IO;
	p[1] = bit_width;
	p[2] = 0;
	p[3] = access_size;
	put(p + 4, 8, port);
}

static u32 dsdt_at(const struct acpi_config *c)
{
	return c->pci ? PCI_DSDT_AT : DSDT_AT;
}

static void build_fadt(u8 *t, const struct acpi_config *c, u64 base)
{
	put(t + 36, 4, base + FACS_AT);
	put(t + 40, 4, base + dsdt_at(c));
	t[45] = 1;                     /* Preferred_PM_Profile: desktop */
	put(t + 46, 2, c->sci_irq);
	put(t + 48, 4, c->smi_cmd);
	t[52] = c->acpi_enable;
	t[53] = c->acpi_disable;
	put(t + 56, 4, c->pm1_evt);
	put(t + 64, 4, c->pm1_cnt);
	put(t + 76, 4, c->pm_tmr);
	t[88] = 4;                     /* PM1_EVT_LEN */
	t[89] = 2;                     /* PM1_CNT_LEN */
	t[91] = 4;                     /* PM_TMR_LEN */
	put(t + 96, 2, C2_NONE);
	put(t + 98, 2, C3_NONE);
	t[108] = c->rtc_century;
	put(t + 109, 2, BOOT_LEGACY_DEVICES | BOOT_NO_VGA);
	put(t + 112, 4, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_FIXED_POWER_BUTTON | FADT_NO_FIXED_SLEEP_BUTTON |
			FADT_NO_FIXED_RTC_WAKE | FADT_TIMER_32_BITS | FADT_RESET_REG);
	put_gas(t + 116, c->reset_port, 8, 1);
	t[128] = c->reset_value;
	put(t + 140, 8, base + dsdt_at(c)); /* X_DSDT; X_FIRMWARE_CTRL stays 0: only one of the two may be set */
	put_gas(t + 148, c->pm1_evt, 32, 2);
	put_gas(t + 172, c->pm1_cnt, 16, 2);
	put_gas(t + 208, c->pm_tmr, 32, 3);
	finish_table(t, "FACP", 3, FADT_SIZE);
}

/*
 * The DSDT, assembled by hand [ACPI chapter 20, AML]:
 *
 *	Name (\_S5, Package () { 0, 0, 0, 0 })
 *	Scope (\_SB) {
 *	    Device (COM1) {
 *	        Name (_HID, EisaId ("PNP0501"))
 *	        Name (_UID, 1)
 *	        Name (_CRS, ResourceTemplate () {
 *	            IO (Decode16, 0x03F8, 0x03F8, 0x00, 0x08)
 *	            IRQNoFlags () { 4 }
 *	        })
 *	    }
 *	}
 *
 * A package length counts itself and all after it.
 */
static void build_dsdt(u8 *t, const struct acpi_config *c)
{
	static const u8 aml[] = {
		0x08, '\\', '_', 'S', '5', '_',         /* Name (\_S5 */
		0x12, 0x06, 0x04, 0, 0, 0, 0,           /*   Package of 4 zeros */
		0x10, 0x33, '\\', '_', 'S', 'B', '_',   /* Scope (\_SB), 51 bytes */
		0x5b, 0x82, 0x2b, 'C', 'O', 'M', '1',   /* Device (COM1), 43 bytes */
		0x08, '_', 'H', 'I', 'D',
		0x0c, 0x41, 0xd0, 0x05, 0x01,           /*   EISA id PNP0501 */
		0x08, '_', 'U', 'I', 'D', 0x01,         /*   One */
		0x08, '_', 'C', 'R', 'S',
		0x11, 0x10, 0x0a, 0x0d,                 /*   Buffer of 13 bytes */
		0x47, 0x01, 0, 0, 0, 0, 0x00, 0x08,     /*     IO, 16-bit decode: minimum, maximum */
		0x22, 0, 0,                             /*     IRQ mask */
		0x79, 0x00,                             /*     end, no checksum */
	};
	enum { IO_AT = 54, IRQ_AT = 61 };
	u8 *p = t + HEADER_SIZE;

	memcpy(p, aml, sizeof(aml));
	put(p + IO_AT, 2, c->com1_port);
	put(p + IO_AT + 2, 2, c->com1_port);
	put(p + IRQ_AT, 2, 1UL << c->com1_irq);
	p += sizeof(aml);
	if (c->pci)
		p = acpi_put_pci(p, c);
	finish_table(t, "DSDT", 2, (u32)(p - t));
}

/* ISA interrupt `irq` is I/O APIC input gsi. */
static u8 *put_override(u8 *p, u8 irq, u32 gsi, u16 flags)
{
	p[0] = MADT_OVERRIDE;
	p[1] = 10;
	p[2] = 0; /* bus: ISA */
	p[3] = irq;
	put(p + 4, 4, gsi);
	put(p + 8, 2, flags);
	return p + 10;
}

static u32 madt_size(const struct acpi_config *c)
{
	return HEADER_SIZE + 8 + c->ncpus * 8 + 12 + 2 * 10 + 6;
}

static void build_madt(u8 *t, const struct acpi_config *c)
{
	u8 *p = t + HEADER_SIZE + 8;

	put(t + 36, 4, c->lapic_base);
	put(t + 40, 4, MADT_PCAT_COMPAT);
	for (unsigned i = 0; i < c->ncpus; i++, p += 8) {
		p[0] = MADT_LAPIC;
		p[1] = 8;
		p[2] = p[3] = (u8)i; /* processor UID, APIC id */
		put(p + 4, 4, LAPIC_ENABLED);
	}
	p[0] = MADT_IOAPIC;
	p[1] = 12;
	p[2] = c->ioapic_id;
	put(p + 4, 4, c->ioapic_base);
	put(p + 8, 4, 0); /* its first interrupt */
	p += 12;
	p = put_override(p, 0, 2, INTI_CONFORMS); /* the PIT */
	p = put_override(p, c->sci_irq, c->sci_irq, INTI_HIGH_LEVEL);
	p[0] = MADT_LAPIC_NMI;
	p[1] = 6;
	p[2] = 0xff; /* every processor */
	put(p + 3, 2, INTI_CONFORMS);
	p[5] = 1; /* LINT1 */
	finish_table(t, "APIC", 1, madt_size(c));
}

err_t acpi_build(const struct acpi_config *c, gpa_t at, u8 *buf, size_t size, gpa_t *rsdp)
{
	if (c->ncpus < 1 || c->ncpus > ACPI_MAX_CPUS || at.v % PAGE_SIZE || at.v + ACPI_TABLES_MAX > GIB(4) ||
	    at.v > GIB(4) || c->com1_irq > 15)
		return ERR_INVALID;
	if (size < (c->pci ? PCI_DSDT_AT + PCI_DSDT_MAX : MADT_AT + madt_size(c)))
		return ERR_TOO_BIG;
	memset(buf, 0, size);
	build_rsdp(buf + RSDP_AT, at.v);
	build_root(buf + RSDT_AT, "RSDT", at.v, 4);
	build_root(buf + XSDT_AT, "XSDT", at.v, 8);
	build_facs(buf + FACS_AT);
	build_fadt(buf + FADT_AT, c, at.v);
	build_dsdt(buf + dsdt_at(c), c);
	build_madt(buf + MADT_AT, c);
	*rsdp = GPA(at.v + RSDP_AT);
	return OK;
}
