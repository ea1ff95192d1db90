/*
 * test_acpi.c - the tables, read back the way a guest does: from the RSDP on.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "kernel/xxh.h"
#include "vmm/acpi.h"

#define AT 0x7ff0000UL

static struct acpi_config config(unsigned ncpus)
{
	return (struct acpi_config){
		.ncpus = ncpus, .rtc_century = 0x32, .ioapic_id = 3, .lapic_base = 0xfee00000, .ioapic_base = 0xfec00000,
		.sci_irq = 9, .pm1_evt = 0x600, .pm1_cnt = 0x604, .pm_tmr = 0x608, .smi_cmd = 0xb2, .reset_port = 0xcf9,
		.acpi_enable = 0xf1, .acpi_disable = 0xf0, .reset_value = 6, .com1_port = 0x3f8, .com1_irq = 4,
	};
}

static u8 sum(const u8 *p, size_t n)
{
	u8 s = 0;

	while (n--)
		s += *p++;
	return s;
}

static u64 le(const u8 *p, unsigned size_bytes)
{
	return read_bytes_le(p, size_bytes);
}

/* The table at a guest address: signature and checksum right, all of it in the buffer. */
static const u8 *table(const u8 *buf, u64 gpa, const char *signature)
{
	const u8 *t = buf + (gpa - AT);

	cr_assert(gpa >= AT && gpa - AT < ACPI_TABLES_MAX - 36, "%s at %#lx", signature, gpa);
	cr_assert_arr_eq(t, signature, 4);
	cr_assert_leq(gpa - AT + le(t + 4, 4), ACPI_TABLES_MAX);
	cr_assert_eq(sum(t, le(t + 4, 4)), 0, "%s: checksum", signature);
	return t;
}

struct tables {
	u8 buf[ACPI_TABLES_MAX];
	const u8 *fadt, *madt, *dsdt, *facs;
};

static void build(struct tables *t, unsigned ncpus)
{
	struct acpi_config c = config(ncpus);
	const u8 *rsdp, *rsdt, *xsdt;
	gpa_t at;

	memset(t->buf, 0xcc, sizeof(t->buf));
	cr_assert_eq(acpi_build(&c, GPA(AT), t->buf, sizeof(t->buf), &at), OK);
	cr_assert_eq(at.v % 16, 0);
	rsdp = t->buf + (at.v - AT);
	cr_assert_arr_eq(rsdp, "RSD PTR ", 8);
	cr_assert_eq(sum(rsdp, 20), 0);
	cr_assert_eq(sum(rsdp, 36), 0);
	cr_assert_eq(rsdp[15], 2);
	cr_assert_eq(le(rsdp + 20, 4), 36);
	rsdt = table(t->buf, le(rsdp + 16, 4), "RSDT");
	xsdt = table(t->buf, le(rsdp + 24, 8), "XSDT");
	cr_assert_eq(le(rsdt + 4, 4), 36 + 2 * 4);
	cr_assert_eq(le(xsdt + 4, 4), 36 + 2 * 8);
	cr_assert_eq(le(rsdt + 36, 4), le(xsdt + 36, 8));
	cr_assert_eq(le(rsdt + 40, 4), le(xsdt + 44, 8));
	t->fadt = table(t->buf, le(xsdt + 36, 8), "FACP");
	t->madt = table(t->buf, le(xsdt + 44, 8), "APIC");
	cr_assert_eq(le(t->fadt + 40, 4), le(t->fadt + 140, 8), "DSDT, both ways");
	t->dsdt = table(t->buf, le(t->fadt + 40, 4), "DSDT");
	t->facs = t->buf + (le(t->fadt + 36, 4) - AT);
}

Test(acpi, fadt_describes_the_board)
{
	struct tables t;

	build(&t, 1);
	cr_assert_eq(t.fadt[8], 3);
	cr_assert_eq(le(t.fadt + 4, 4), 244);
	cr_assert_eq(le(t.fadt + 46, 2), 9);
	cr_assert_eq(le(t.fadt + 48, 4), 0xb2);
	cr_assert_eq(t.fadt[52], 0xf1);
	cr_assert_eq(t.fadt[53], 0xf0);
	cr_assert_eq(le(t.fadt + 56, 4), 0x600);
	cr_assert_eq(le(t.fadt + 64, 4), 0x604);
	cr_assert_eq(le(t.fadt + 76, 4), 0x608);
	cr_assert_eq(t.fadt[88], 4);
	cr_assert_eq(t.fadt[89], 2);
	cr_assert_eq(t.fadt[91], 4);
	cr_assert_eq(t.fadt[108], 0x32);
	cr_assert_eq(le(t.fadt + 109, 2) & 0x23, 1, "legacy devices; no 8042; an RTC");
	cr_assert_eq(le(t.fadt + 112, 4) >> 8 & 1, 1, "32-bit timer");
	cr_assert_eq(le(t.fadt + 112, 4) >> 10 & 1, 1, "reset register");
	cr_assert_eq(le(t.fadt + 112, 4) >> 20 & 1, 0, "not hardware-reduced");
	cr_assert_eq(le(t.fadt + 120, 8), 0xcf9);
	cr_assert_eq(t.fadt[128], 6);
	/* the extended addresses say the same as the short ones */
	cr_assert_eq(t.fadt[148], 1);
	cr_assert_eq(le(t.fadt + 152, 8), 0x600);
	cr_assert_eq(t.fadt[149], 32);
	cr_assert_eq(le(t.fadt + 176, 8), 0x604);
	cr_assert_eq(t.fadt[173], 16);
	cr_assert_eq(le(t.fadt + 212, 8), 0x608);
	cr_assert_eq(t.fadt[209], 32);
	cr_assert_arr_eq(t.facs, "FACS", 4);
	cr_assert_eq((t.facs - t.buf) % 64, 0);
	cr_assert_eq(le(t.facs + 4, 4), 64);
}

Test(acpi, madt_lists_the_interrupt_controllers)
{
	static const unsigned counts[] = { 1, 2, 8, ACPI_MAX_CPUS };

	for (size_t n = 0; n < ARRAY_SIZE(counts); n++) {
		struct tables t;
		const u8 *p, *end;
		unsigned nlapics = 0, nioapics = 0, noverrides = 0, nnmis = 0;

		build(&t, counts[n]);
		cr_assert_eq(le(t.madt + 36, 4), 0xfee00000);
		cr_assert_eq(le(t.madt + 40, 4), 1);
		end = t.madt + le(t.madt + 4, 4);
		for (p = t.madt + 44; p < end; p += p[1]) {
			switch (p[0]) {
			case 0:
				cr_assert_eq(p[1], 8);
				cr_assert_eq(p[3], nlapics);
				cr_assert_eq(le(p + 4, 4), 1);
				nlapics++;
				break;
			case 1:
				cr_assert_eq(p[1], 12);
				cr_assert_eq(p[2], 3);
				cr_assert_eq(le(p + 4, 4), 0xfec00000);
				cr_assert_eq(le(p + 8, 4), 0);
				nioapics++;
				break;
			case 2:
				cr_assert_eq(p[1], 10);
				cr_assert_eq(p[2], 0);
				cr_assert_eq(le(p + 4, 4), p[3] == 0 ? 2 : 9);
				cr_assert_eq(le(p + 8, 2), p[3] == 0 ? 0 : 0xd);
				noverrides++;
				break;
			case 4:
				cr_assert_eq(p[1], 6);
				cr_assert_eq(p[2], 0xff);
				cr_assert_eq(p[5], 1);
				nnmis++;
				break;
			default:
				cr_assert_fail("MADT entry of type %u", p[0]);
			}
		}
		cr_assert_eq(p, end);
		cr_assert(nlapics == counts[n] && nioapics == 1 && noverrides == 2 && nnmis == 1);
	}
}

/* The AML: what iasl makes of the source in vmm/acpi.c, byte for byte. */
Test(acpi, dsdt_aml)
{
	static const u8 want[] = {
		0x08, 0x5c, 0x5f, 0x53, 0x35, 0x5f, 0x12, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00,
		0x10, 0x33, 0x5c, 0x5f, 0x53, 0x42, 0x5f,
		0x5b, 0x82, 0x2b, 0x43, 0x4f, 0x4d, 0x31,
		0x08, 0x5f, 0x48, 0x49, 0x44, 0x0c, 0x41, 0xd0, 0x05, 0x01,
		0x08, 0x5f, 0x55, 0x49, 0x44, 0x01,
		0x08, 0x5f, 0x43, 0x52, 0x53, 0x11, 0x10, 0x0a, 0x0d,
		0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x00, 0x08, 0x22, 0x10, 0x00, 0x79, 0x00,
	};
	struct tables t;

	build(&t, 1);
	cr_assert_eq(t.dsdt[8], 2, "64-bit integers");
	cr_assert_eq(le(t.dsdt + 4, 4), 36 + sizeof(want));
	cr_assert_arr_eq(t.dsdt + 36, want, sizeof(want));
	/* package lengths end where the table does: a length one short still disassembles */
	cr_assert_eq(14 + want[14], sizeof(want));
	cr_assert_eq(22 + want[22], sizeof(want));
	cr_assert_eq(49 + want[49], sizeof(want));
}

/* A machine without a bus is described as it was before there were any, to the byte: recordings rest on it. */
Test(acpi, nothing_changes_without_a_bus)
{
	static const struct { unsigned ncpus; u64 digest; } were[] = { { 1, 0xa4ff6ef45d0c26d3 }, { 64, 0x6a78c4cd41eb08ab } };

	for (size_t i = 0; i < ARRAY_SIZE(were); i++) {
		struct acpi_config c = config(were[i].ncpus);
		u8 buf[ACPI_TABLES_MAX];
		gpa_t at;

		cr_assert_eq(acpi_build(&c, GPA(AT), buf, sizeof(buf), &at), OK);
		cr_assert_eq(XXH64(buf, sizeof(buf), 0), were[i].digest);
	}
}

/* Length of the package at p, which ends there. */
static u64 package(const u8 *p)
{
	return p[0] >> 6 ? (p[0] & 15U) | (u64)p[1] << 4 : p[0];
}

static const u8 *find(const u8 *p, const u8 *end, const char *name)
{
	while (p < end && memcmp(p, name, 4))
		p++;
	cr_assert_lt(p, end, "%s", name);
	return p + 4;
}

/* iasl disassembles it to the source in vmm/acpi_pci.c. */
Test(acpi, a_bus_in_the_dsdt)
{
	struct acpi_config c = config(ACPI_MAX_CPUS);
	struct tables t;
	u8 buf[ACPI_TABLES_MAX], plain[0x300];
	const u8 *end, *p, *crs;
	gpa_t at;

	cr_assert_eq(acpi_build(&c, GPA(AT), plain, 0x300, &at), ERR_TOO_BIG);
	build(&t, ACPI_MAX_CPUS);
	c.pci = true;
	c.pci_irq[0] = 10;
	c.pci_irq[1] = 11;
	c.pci_mem_first = 0xc0000000;
	c.pci_mem_last = 0xfebfffff;
	c.pci_io_first = 0x1000;
	c.pci_io_last = 0xffff;
	cr_assert_eq(acpi_build(&c, GPA(AT), buf, 0x9ff, &at), ERR_TOO_BIG);
	cr_assert_eq(acpi_build(&c, GPA(AT), buf, 0xa00, &at), OK);
	cr_assert_eq(le(buf + 0x100 + 40, 4), AT + 0x600);
	cr_assert_eq(le(buf + 0x100 + 140, 8), AT + 0x600);
	p = table(buf, AT + 0x600, "DSDT");
	table(buf, AT + 0x300, "APIC");
	end = p + le(p + 4, 4);
	cr_assert_arr_eq(p + 36, t.dsdt + 36, le(t.dsdt + 4, 4) - 36, "what was there comes first");
	p += le(t.dsdt + 4, 4);
	cr_assert_eq(p[0], 0x10);
	cr_assert_eq(p + 1 + package(p + 1), end, "Scope");
	cr_assert_arr_eq(p + 3, "\\_SB_\x5b\x82", 7);
	cr_assert_eq(p + 10 + package(p + 10), end, "Device");
	cr_assert_eq(le(find(p, end, "_HID"), 5), 0x030ad0410cUL);
	crs = find(p, end, "_CRS");
	cr_assert_eq(crs[0], 0x11);
	cr_assert_eq(crs[1 + 2 + 1] + 5U, package(crs + 1) + 1, "the buffer is as large as it says");
	cr_assert_arr_eq(crs + 1 + package(crs + 1) - 2, "\x79\0\x08_PRT", 7);
	p = find(p, end, "_PRT");
	cr_assert_eq(p + 1 + package(p + 1), end);
	cr_assert_eq(p[3], 15);
	p += 4;
	for (unsigned slot = 1; slot < 16; slot++, p += 12) {
		cr_assert_arr_eq(p, "\x12\x0b\x04\x0c", 4);
		cr_assert_eq(le(p + 4, 4), slot << 16 | 0xffff);
		cr_assert_arr_eq(p + 8, "\0\0\x0a", 3);
		cr_assert_eq(p[11], slot & 1 ? 11 : 10);
	}
	cr_assert_eq(p, end);
	for (p = end; p < buf + 0xa00; p++)
		cr_assert_eq(*p, 0);
}

Test(acpi, refuses)
{
	struct acpi_config c = config(1);
	u8 *small = malloc(0x300 + 36 + 8 + 8 + 12 + 20 + 6);
	u8 buf[ACPI_TABLES_MAX];
	gpa_t rsdp;

	cr_assert_eq(acpi_build(&c, GPA(AT + 16), buf, sizeof(buf), &rsdp), ERR_INVALID);
	cr_assert_eq(acpi_build(&c, GPA(GIB(4)), buf, sizeof(buf), &rsdp), ERR_INVALID);
	cr_assert_eq(acpi_build(&c, GPA(~0UL << 12), buf, sizeof(buf), &rsdp), ERR_INVALID);
	c.ncpus = 0;
	cr_assert_eq(acpi_build(&c, GPA(AT), buf, sizeof(buf), &rsdp), ERR_INVALID);
	c.ncpus = ACPI_MAX_CPUS + 1;
	cr_assert_eq(acpi_build(&c, GPA(AT), buf, sizeof(buf), &rsdp), ERR_INVALID);
	/* exactly enough, and one byte less */
	c.ncpus = 1;
	cr_assert_eq(acpi_build(&c, GPA(AT), small, 0x300 + 36 + 8 + 8 + 12 + 20 + 6, &rsdp), OK);
	cr_assert_eq(acpi_build(&c, GPA(AT), small, 0x300 + 36 + 8 + 8 + 12 + 20 + 5, &rsdp), ERR_TOO_BIG);
	free(small);
}

Test(acpi, leaves_nothing_of_the_buffer)
{
	struct tables t;
	const u8 *end;

	build(&t, 1);
	for (end = t.madt + le(t.madt + 4, 4); end < t.buf + sizeof(t.buf); end++)
		cr_assert_eq(*end, 0);
	cr_assert_eq(t.buf[36], 0, "between RSDP and RSDT");
}
