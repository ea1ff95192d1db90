/*
 * guestload.c - what the loaders of guest kernels share.  See guestload.h.
 */
#include "vmm/guestload.h"

static u64 end_of(struct guest_range r)
{
	return r.base + r.size;
}

bool guest_ranges_overlap(struct guest_range a, struct guest_range b)
{
	return a.size && b.size && a.base < end_of(b) && b.base < end_of(a);
}

bool guest_ram_holds(u64 ram_size, struct guest_range r)
{
	if (r.size > ram_size || r.base > ram_size - r.size)
		return false;
	return end_of(r) <= GUEST_LOW_END || r.base >= GUEST_HIGH_START;
}

static void add(struct memory_map *m, u64 from, u64 to, u32 type)
{
	if (from < to) {
		m->entry[m->n].base = from;
		m->entry[m->n].size = to - from;
		m->entry[m->n].type = type;
		m->n++;
	}
}

static void add_ram(struct memory_map *m, u64 from, u64 to, struct guest_range acpi)
{
	if (acpi.size && acpi.base >= from && acpi.base < to) {
		add(m, from, acpi.base, MEMORY_RAM);
		add(m, acpi.base, end_of(acpi), MEMORY_ACPI);
		from = end_of(acpi);
	}
	add(m, from, to, MEMORY_RAM);
}

bool memory_map_build(struct memory_map *m, u64 ram_size, struct guest_range acpi)
{
	m->n = 0;
	if (ram_size < MIB(2) || ram_size > GUEST_RAM_MAX || ram_size % PAGE_SIZE)
		return false;
	if (acpi.size && (!guest_ram_holds(ram_size, acpi) || (acpi.base | acpi.size) % PAGE_SIZE ||
			  guest_ranges_overlap(acpi, (struct guest_range){ GUEST_EBDA, GUEST_LOW_END - GUEST_EBDA })))
		return false;
	add_ram(m, 0, GUEST_EBDA, acpi);
	add(m, GUEST_EBDA, GUEST_LOW_END, MEMORY_RESERVED);
	add(m, 0xf0000, GUEST_HIGH_START, MEMORY_RESERVED);
	add_ram(m, GUEST_HIGH_START, ram_size, acpi);
	return true;
}

bool guest_place_high(u64 ram_size, struct guest_range acpi, u64 floor, u64 ceiling, u64 size, gpa_t *at)
{
	u64 top = MIN(ram_size, ceiling);
	struct guest_range r;

	floor = MAX(ALIGN_UP(floor, PAGE_SIZE), GUEST_HIGH_START);
	for (int tries = 0; tries < 2; tries++) {
		if (size > top || top - size < floor)
			return false;
		r = (struct guest_range){ (top - size) & PAGE_MASK, size };
		if (r.base < floor)
			return false;
		if (!guest_ranges_overlap(r, acpi)) {
			*at = GPA(r.base);
			return true;
		}
		top = acpi.base; /* below it, then */
	}
	return false;
}

void guest_put(struct guest_writer *w, u64 at, const void *data, size_t size_bytes)
{
	if (!w->error && size_bytes)
		w->error = w->mem->write(w->mem->ctx, GPA(at), data, size_bytes);
}

void guest_put_le(struct guest_writer *w, u64 at, unsigned size_bytes, u64 value)
{
	u8 bytes[8];

	write_bytes_le(bytes, size_bytes, value);
	guest_put(w, at, bytes, size_bytes);
}

void guest_put_zero(struct guest_writer *w, u64 at, u64 size_bytes)
{
	if (!w->error && size_bytes)
		w->error = w->mem->zero(w->mem->ctx, GPA(at), size_bytes);
}

void guest_cpu_flat(struct cpu_state *cpu, u16 cs, u16 cs_attrib, u16 ds)
{
	static const u8 data[] = { SEG_DS, SEG_ES, SEG_SS, SEG_FS, SEG_GS };

	cpu_state_reset(cpu);
	cpu->seg[SEG_CS] = (struct segment){ .selector = cs, .attrib = cs_attrib, .limit = 0xffffffff };
	for (size_t i = 0; i < ARRAY_SIZE(data); i++)
		cpu->seg[data[i]] = (struct segment){
			.selector = ds,
			.attrib = SEG_ATTR_G | SEG_ATTR_DB | SEG_ATTR_P | SEG_ATTR_S | 0x3, /* read, write, accessed */
			.limit = 0xffffffff,
		};
	cpu->cr0 = CR0_ET | CR0_PE;
	cpu->gdtr.limit = cpu->idtr.limit = 0;
	cpu->mtrr_def_type = 0x806; /* enabled, write-back [APM2 7.7.2 MTRRs] */
	cpu->gpr[RDX] = 0;
}
