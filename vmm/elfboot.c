/*
 * elfboot.c - loads an ELF kernel by the PVH boot protocol.  See elfboot.h.
 *
 * The file is not trusted: every offset and size in it goes through slice()
 * before a byte behind it is read, and every load address through
 * guest_ram_holds() before a byte is written.
 */
#include "vmm/elfboot.h"

/* ELF constants [ELF, ELF Header; ELF, Program Header]. */
enum {
	ELFCLASS32 = 1, ELFCLASS64 = 2, ELFDATA2LSB = 1,
	EM_386 = 3, EM_X86_64 = 62,
	PT_LOAD = 1, PT_NOTE = 4,
	NOTE_PHYS32_ENTRY = 18,
	PHNUM_MAX = 128, /* kernels have under 20; keeps a hostile file from costing minutes */
};

/* struct hvm_start_info and what it points to [start_info.h]. */
enum {
	START_MAGIC = 0x336ec578,
	START_VERSION = 1,
	START_SIZE = 56, MODULE_SIZE = 32, MAP_ENTRY_SIZE = 24,
	MODULE_AT = 0x40,
	MAP_AT = 0x60,
	CMDLINE_AT = MAP_AT + MEMORY_MAP_MAX * MAP_ENTRY_SIZE,
	CMDLINE_MAX = 0x10000,
	BOOT_CS = 0x08, BOOT_DS = 0x10,
};

struct elf {
	const u8 *file;
	u64 size;
	bool is64;
	u64 phoff;
	u32 phnum, phentsize;
};

struct phdr {
	u32 type;
	u64 offset, paddr, filesz, memsz, align;
};

static err_t fail(const char **why, err_t error, const char *reason)
{
	*why = reason;
	return error;
}

/* The bytes [offset, offset + size) of the file, or NULL when they are not all in it. */
static const u8 *slice(const struct elf *e, u64 offset, u64 size)
{
	return offset <= e->size && size <= e->size - offset ? e->file + offset : NULL;
}

static bool elf_open(struct elf *e, const u8 *file, size_t size)
{
	const u8 *h;

	*e = (struct elf){ .file = file, .size = size };
	h = slice(e, 0, 52);
	if (!h || memcmp(h, "\177ELF", 4) || h[5] != ELFDATA2LSB)
		return false;
	e->is64 = h[4] == ELFCLASS64;
	if (e->is64 ? !slice(e, 0, 64) : h[4] != ELFCLASS32)
		return false;
	if (read_bytes_le(h + 18, 2) != EM_X86_64 && read_bytes_le(h + 18, 2) != EM_386)
		return false;
	e->phoff = e->is64 ? read_bytes_le(h + 32, 8) : read_bytes_le(h + 28, 4);
	e->phentsize = (u32)read_bytes_le(h + (e->is64 ? 54 : 42), 2);
	e->phnum = (u32)read_bytes_le(h + (e->is64 ? 56 : 44), 2);
	return e->phnum <= PHNUM_MAX && e->phentsize >= (e->is64 ? 56 : 32) &&
	       slice(e, e->phoff, (u64)e->phnum * e->phentsize);
}

/* Program header i < phnum: elf_open has checked that the table is in the file. */
static struct phdr elf_phdr(const struct elf *e, u32 i)
{
	const u8 *p = e->file + e->phoff + (u64)i * e->phentsize;

	if (e->is64)
		return (struct phdr){
			.type = (u32)read_bytes_le(p, 4), .offset = read_bytes_le(p + 8, 8),
			.paddr = read_bytes_le(p + 24, 8), .filesz = read_bytes_le(p + 32, 8),
			.memsz = read_bytes_le(p + 40, 8), .align = read_bytes_le(p + 48, 8),
		};
	return (struct phdr){
		.type = (u32)read_bytes_le(p, 4), .offset = read_bytes_le(p + 4, 4),
		.paddr = read_bytes_le(p + 12, 4), .filesz = read_bytes_le(p + 16, 4),
		.memsz = read_bytes_le(p + 20, 4), .align = read_bytes_le(p + 28, 4),
	};
}

/* The PVH entry in one note segment: 4 or 8 bytes of address.  Notes are padded to 4, rarely to 8. */
static bool entry_in_notes(const struct elf *e, const struct phdr *ph, u64 *entry)
{
	const u8 *p = slice(e, ph->offset, ph->filesz);
	u64 pad = ph->align == 8 ? 8 : 4, left = ph->filesz;

	while (p && left >= 12) {
		u64 name_size = read_bytes_le(p, 4), desc_size = read_bytes_le(p + 4, 4);
		u64 desc_at = ALIGN_UP(12 + name_size, pad), end = desc_at + desc_size;

		if (end > left)
			return false;
		if (read_bytes_le(p + 8, 4) == NOTE_PHYS32_ENTRY && name_size == 4 && !memcmp(p + 12, "Xen", 4) &&
		    (desc_size == 4 || desc_size == 8)) {
			*entry = read_bytes_le(p + desc_at, (unsigned)desc_size);
			return true;
		}
		end = MIN(ALIGN_UP(end, pad), left); /* the last note may end unpadded */
		p += end;
		left -= end;
	}
	return false;
}

static bool find_entry(const struct elf *e, u64 *entry)
{
	for (u32 i = 0; i < e->phnum; i++) {
		struct phdr ph = elf_phdr(e, i);

		if (ph.type == PT_NOTE && entry_in_notes(e, &ph, entry))
			return true;
	}
	return false;
}

bool elf_is_pvh(const u8 *file, size_t size)
{
	struct elf e;
	u64 entry;

	return elf_open(&e, file, size) && find_entry(&e, &entry);
}

static bool is_loaded(const struct phdr *ph)
{
	return ph->type == PT_LOAD && ph->memsz;
}

static struct guest_range range_of(const struct phdr *ph)
{
	return (struct guest_range){ ph->paddr, ph->memsz };
}

/* Whether any loaded segment, or the ACPI area, has a byte in r. */
static bool is_taken(const struct elf *e, struct guest_range acpi, struct guest_range r)
{
	for (u32 i = 0; i < e->phnum; i++) {
		struct phdr ph = elf_phdr(e, i);

		if (is_loaded(&ph) && guest_ranges_overlap(range_of(&ph), r))
			return true;
	}
	return guest_ranges_overlap(acpi, r);
}

/* Every segment and the entry point; *end becomes the end of the highest one. */
static err_t check_segments(const struct elf *e, const struct elf_config *c, u64 ram_size, u64 entry, u64 *end,
			    const char **why)
{
	bool entry_loaded = false;

	*end = 0;
	for (u32 i = 0; i < e->phnum; i++) {
		struct phdr ph = elf_phdr(e, i);

		if (!is_loaded(&ph))
			continue;
		if (ph.filesz > ph.memsz || !slice(e, ph.offset, ph.filesz))
			return fail(why, ERR_DAMAGED, "kernel: a segment lies outside the ELF file");
		if (!guest_ram_holds(ram_size, range_of(&ph)))
			return fail(why, ERR_TOO_BIG, "kernel: a segment lies outside the VM's memory; give it more");
		if (guest_ranges_overlap(range_of(&ph), c->acpi))
			return fail(why, ERR_TOO_BIG, "kernel: a segment would overwrite the ACPI tables");
		if (entry >= ph.paddr && entry - ph.paddr < ph.memsz)
			entry_loaded = true;
		*end = MAX(*end, ph.paddr + ph.memsz);
	}
	if (!entry_loaded)
		return fail(why, ERR_DAMAGED, "kernel: its PVH entry is in none of its segments");
	return OK;
}

static void put_segments(struct guest_writer *w, const struct elf *e)
{
	for (u32 i = 0; i < e->phnum; i++) {
		struct phdr ph = elf_phdr(e, i);

		if (!is_loaded(&ph))
			continue;
		guest_put(w, ph.paddr, slice(e, ph.offset, ph.filesz), ph.filesz);
		guest_put_zero(w, ph.paddr + ph.filesz, ph.memsz - ph.filesz);
	}
}

/* Free pages below 640 KiB for the start info, as high as they are: kernels start APs from low ones. */
static bool place_start_info(const struct elf *e, struct guest_range acpi, u64 size, u64 *at)
{
	for (u64 base = (GUEST_EBDA - size) & PAGE_MASK; base >= PAGE_SIZE; base -= PAGE_SIZE)
		if (!is_taken(e, acpi, (struct guest_range){ base, size })) {
			*at = base;
			return true;
		}
	return false;
}

static void put_start_info(struct guest_writer *w, const struct elf_config *c, u64 at, const struct memory_map *map,
			   gpa_t initrd)
{
	guest_put_zero(w, at, CMDLINE_AT);
	guest_put_le(w, at, 4, START_MAGIC);
	guest_put_le(w, at + 4, 4, START_VERSION);
	guest_put_le(w, at + 12, 4, c->initrd_size ? 1 : 0);                /* nr_modules */
	guest_put_le(w, at + 16, 8, c->initrd_size ? at + MODULE_AT : 0);   /* modlist_paddr */
	guest_put_le(w, at + 24, 8, at + CMDLINE_AT);                       /* cmdline_paddr */
	guest_put_le(w, at + 32, 8, c->rsdp.v);                             /* rsdp_paddr */
	guest_put_le(w, at + 40, 8, at + MAP_AT);                           /* memmap_paddr */
	guest_put_le(w, at + 48, 4, map->n);                                /* memmap_entries */
	guest_put_le(w, at + MODULE_AT, 8, initrd.v);
	guest_put_le(w, at + MODULE_AT + 8, 8, c->initrd_size);
	for (unsigned i = 0; i < map->n; i++) {
		u64 entry = at + MAP_AT + i * MAP_ENTRY_SIZE;

		guest_put_le(w, entry, 8, map->entry[i].base);
		guest_put_le(w, entry + 8, 8, map->entry[i].size);
		guest_put_le(w, entry + 16, 4, map->entry[i].type);
	}
	guest_put(w, at + CMDLINE_AT, c->cmdline, strlen(c->cmdline) + 1);
}

/* [pvh.pandoc, "x86/HVM direct boot ABI"]: only these are promised; segments come with no GDT behind them. */
static void set_cpu(struct cpu_state *cpu, u64 entry, u64 start_info)
{
	guest_cpu_flat(cpu, BOOT_CS, SEG_ATTR_G | SEG_ATTR_DB | SEG_ATTR_P | SEG_ATTR_S | 0xb, BOOT_DS);
	cpu->seg[SEG_TR] = (struct segment){ .attrib = SEG_ATTR_P | 0xb, .limit = 0x67 }; /* busy 32-bit TSS */
	cpu->gpr[RBX] = start_info;
	cpu->rip = entry;
}

err_t elf_load(const struct elf_config *c, const struct guest_loader *mem, struct cpu_state *cpu, const char **why)
{
	struct guest_writer w = { .mem = mem };
	u64 entry, end, start_info, cmdline_len = strlen(c->cmdline);
	struct memory_map map;
	gpa_t initrd = GPA(0);
	struct elf e;
	err_t error;

	*why = NULL;
	if (!memory_map_build(&map, mem->ram_size, c->acpi))
		return fail(why, ERR_INVALID, "memory: not 2 MiB to 3 GiB of whole pages, or no place for ACPI in it");
	if (!elf_open(&e, c->kernel, c->kernel_size))
		return fail(why, ERR_DAMAGED, "kernel: not an x86 ELF file, or a damaged one");
	if (!find_entry(&e, &entry))
		return fail(why, ERR_UNSUPPORTED, "kernel: an ELF file without a PVH entry note");
	error = check_segments(&e, c, mem->ram_size, entry, &end, why);
	if (error)
		return error;
	if (cmdline_len >= CMDLINE_MAX)
		return fail(why, ERR_TOO_BIG, "kernel: the command line is longer than 64 KiB");
	if (!place_start_info(&e, c->acpi, CMDLINE_AT + cmdline_len + 1, &start_info))
		return fail(why, ERR_TOO_BIG, "kernel: leaves no room below 640 KiB for its start info");
	if (c->initrd_size &&
	    !guest_place_high(mem->ram_size, c->acpi, end, mem->ram_size, c->initrd_size, &initrd))
		return fail(why, ERR_TOO_BIG, "initrd: does not fit in memory above the kernel; give the VM more");

	put_segments(&w, &e);
	guest_put(&w, initrd.v, c->initrd, c->initrd_size);
	put_start_info(&w, c, start_info, &map, initrd);
	if (w.error)
		return fail(why, w.error, "memory: writing the guest's memory failed");
	set_cpu(cpu, entry, start_info);
	return OK;
}
