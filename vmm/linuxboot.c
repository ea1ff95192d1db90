/*
 * linuxboot.c - loads a Linux bzImage by the 64-bit boot protocol.
 *
 * Where things go, all of it memory the map calls RAM: the kernel copies what
 * it needs before it allocates.
 *
 *   07000h  GDT
 *   08000h  setup_data with the random seed
 *   09000h  page tables: PML4, PDPT, four page directories
 *   10000h  boot_params (the "zero page")
 *   20000h  command line
 *   pref_address (16 MiB for most kernels): the kernel and the room it asks for
 *   top of RAM, downwards: the initrd
 */
#include "vmm/linuxboot.h"

#define GDT_AT 0x7000UL
#define SETUP_DATA_AT 0x8000UL
#define PAGE_TABLES_AT 0x9000UL
#define BOOT_PARAMS_AT 0x10000UL
#define CMDLINE_AT 0x20000UL
#define CMDLINE_ROOM 0x10000UL

/* Offsets in the file's header, the same in boot_params [boot.rst, "The Real-Mode Kernel Header"]. */
enum {
	HDR_START = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_VID_MODE = 0x1fa,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP = 0x200,          /* its second byte tells where the header ends */
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_TYPE_OF_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_CODE32_START = 0x214,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_SETUP_DATA = 0x250,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_MIN_END = 0x264,       /* the header of 2.12 reaches at least here */
	HDR_MAX_END = 0x290,       /* boot_params goes on with other things */
};

/* Offsets in boot_params [zero-page.rst]. */
enum { BP_ACPI_RSDP = 0x070, BP_E820_ENTRIES = 0x1e8, BP_E820_TABLE = 0x2d0, E820_ENTRY = 20 };

enum {
	VERSION_2_12 = 0x20c,
	LOADFLAG_HIGH = 0x01,
	XLF_KERNEL_64 = 0x01,
	LOADER_UNREGISTERED = 0xff,
	VID_MODE_NORMAL = 0xffff,
	SETUP_RNG_SEED = 9,
	RNG_SEED_BYTES = 32,
	ENTRY64 = 0x200,
	BOOT_CS = 0x10, BOOT_DS = 0x18,
};

struct image {
	u64 header_end;
	const u8 *code;
	u64 code_size;
	struct guest_range room; /* where the kernel runs */
};

static err_t fail(const char **why, err_t error, const char *reason)
{
	*why = reason;
	return error;
}

static u64 field(const struct linux_config *c, unsigned at, unsigned size_bytes)
{
	return read_bytes_le(c->kernel + at, size_bytes);
}

bool linux_is_bzimage(const u8 *file, size_t size)
{
	return size >= HDR_MIN_END && file[HDR_BOOT_FLAG] == 0x55 && file[HDR_BOOT_FLAG + 1] == 0xaa &&
	       !memcmp(file + HDR_MAGIC, "HdrS", 4);
}

/* Everything the file says about itself, checked before anything is written. */
static err_t parse(const struct linux_config *c, u64 ram_size, struct image *im, const char **why)
{
	u64 sects, offset, init_size;

	if (!linux_is_bzimage(c->kernel, c->kernel_size))
		return fail(why, ERR_DAMAGED, "kernel: not a Linux bzImage");
	if (field(c, HDR_VERSION, 2) < VERSION_2_12)
		return fail(why, ERR_UNSUPPORTED, "kernel: boot protocol older than 2.12 (Linux 3.8)");
	if (!(field(c, HDR_XLOADFLAGS, 2) & XLF_KERNEL_64))
		return fail(why, ERR_UNSUPPORTED, "kernel: no 64-bit entry point");
	if (!(field(c, HDR_LOADFLAGS, 1) & LOADFLAG_HIGH))
		return fail(why, ERR_UNSUPPORTED, "kernel: a zImage, which loads below 1 MiB");

	im->header_end = HDR_MAGIC + field(c, HDR_JUMP + 1, 1);
	if (im->header_end < HDR_MIN_END || im->header_end > c->kernel_size)
		return fail(why, ERR_DAMAGED, "kernel: its header has an impossible length");
	im->header_end = MIN(im->header_end, HDR_MAX_END);

	sects = field(c, HDR_SETUP_SECTS, 1);
	offset = ((sects ? sects : 4) + 1) * 512;
	if (offset + ENTRY64 >= c->kernel_size)
		return fail(why, ERR_DAMAGED, "kernel: the file ends before its 64-bit code");
	im->code = c->kernel + offset;
	im->code_size = c->kernel_size - offset;
	/* syssize is in paragraphs, the last perhaps cut short; a signature may follow. */
	if (field(c, HDR_SYSSIZE, 4) * 16 > ALIGN_UP(im->code_size, 16))
		return fail(why, ERR_DAMAGED, "kernel: the file is shorter than its header says");

	/* Relocatable or not, the preferred address suits. */
	init_size = field(c, HDR_INIT_SIZE, 4);
	im->room = (struct guest_range){ field(c, HDR_PREF_ADDRESS, 8), MAX(init_size, im->code_size) };
	if (im->room.base < GUEST_HIGH_START)
		return fail(why, ERR_DAMAGED, "kernel: wants to load below 1 MiB");
	if (!guest_ram_holds(ram_size, im->room))
		return fail(why, ERR_TOO_BIG, "kernel: does not fit in memory at its preferred address; give the VM more");
	if (guest_ranges_overlap(im->room, c->acpi))
		return fail(why, ERR_TOO_BIG, "kernel: would overwrite the ACPI tables; give the VM more memory");
	return OK;
}

static void put_page_tables(struct guest_writer *w)
{
	u64 pdpt = PAGE_TABLES_AT + PAGE_SIZE, pd = pdpt + PAGE_SIZE;
	u8 entries[512];

	guest_put_zero(w, PAGE_TABLES_AT, 2 * PAGE_SIZE);
	guest_put_le(w, PAGE_TABLES_AT, 8, pdpt | 3); /* present, writable */
	for (unsigned i = 0; i < 4; i++)
		guest_put_le(w, pdpt + 8 * i, 8, (pd + i * PAGE_SIZE) | 3);
	for (u64 i = 0; i < 2048; i++) {
		write_bytes_le(entries + i % 64 * 8, 8, i << 21 | 0x83); /* a 2 MiB page */
		if (i % 64 == 63)
			guest_put(w, pd + (i - 63) * 8, entries, sizeof(entries));
	}
}

/* Four words of a splitmix64 stream: the kernel's entropy is the run's seed. */
static void put_rng_seed(struct guest_writer *w, u64 seed)
{
	guest_put_le(w, SETUP_DATA_AT, 8, 0); /* next: none */
	guest_put_le(w, SETUP_DATA_AT + 8, 4, SETUP_RNG_SEED);
	guest_put_le(w, SETUP_DATA_AT + 12, 4, RNG_SEED_BYTES);
	for (unsigned i = 0; i < RNG_SEED_BYTES; i += 8) {
		u64 z = seed += 0x9e3779b97f4a7c15UL;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9UL;
		z = (z ^ z >> 27) * 0x94d049bb133111ebUL;
		guest_put_le(w, SETUP_DATA_AT + 16 + i, 8, z ^ z >> 31);
	}
}

static void put_boot_params(struct guest_writer *w, const struct linux_config *c, const struct image *im,
			    const struct memory_map *map, gpa_t initrd)
{
	u64 bp = BOOT_PARAMS_AT;

	guest_put_zero(w, bp, PAGE_SIZE);
	guest_put(w, bp + HDR_START, c->kernel + HDR_START, im->header_end - HDR_START);
	guest_put_le(w, bp + HDR_VID_MODE, 2, VID_MODE_NORMAL);
	guest_put_le(w, bp + HDR_TYPE_OF_LOADER, 1, LOADER_UNREGISTERED);
	guest_put_le(w, bp + HDR_CODE32_START, 4, im->room.base);
	guest_put_le(w, bp + HDR_RAMDISK_IMAGE, 4, initrd.v);
	guest_put_le(w, bp + HDR_RAMDISK_SIZE, 4, c->initrd_size);
	guest_put_le(w, bp + HDR_CMD_LINE_PTR, 4, CMDLINE_AT);
	guest_put_le(w, bp + HDR_SETUP_DATA, 8, SETUP_DATA_AT);
	guest_put_le(w, bp + BP_ACPI_RSDP, 8, c->rsdp.v);
	guest_put_le(w, bp + BP_E820_ENTRIES, 1, map->n);
	for (unsigned i = 0; i < map->n; i++) {
		u64 at = bp + BP_E820_TABLE + i * E820_ENTRY;

		guest_put_le(w, at, 8, map->entry[i].base);
		guest_put_le(w, at + 8, 8, map->entry[i].size);
		guest_put_le(w, at + 16, 4, map->entry[i].type);
	}
}

/* Descriptors the kernel may reload before it has its own [boot.rst, "64-bit Boot Protocol"]. */
static void put_gdt(struct guest_writer *w)
{
	guest_put_zero(w, GDT_AT, 0x20);
	guest_put_le(w, GDT_AT + BOOT_CS, 8, 0x00af9b000000ffffUL); /* 64-bit code */
	guest_put_le(w, GDT_AT + BOOT_DS, 8, 0x00cf93000000ffffUL); /* flat data */
}

static void set_cpu(struct cpu_state *cpu, const struct image *im)
{
	guest_cpu_flat(cpu, BOOT_CS, SEG_ATTR_G | SEG_ATTR_L | SEG_ATTR_P | SEG_ATTR_S | 0xb, BOOT_DS);
	cpu->gdtr.base = GDT_AT;
	cpu->gdtr.limit = 0x1f;
	cpu->cr0 |= CR0_NE | CR0_PG;
	cpu->cr3 = PAGE_TABLES_AT;
	cpu->cr4 = CR4_PAE;
	cpu->efer = EFER_LME | EFER_LMA;
	cpu->gpr[RSI] = BOOT_PARAMS_AT;
	cpu->rip = im->room.base + ENTRY64;
}

err_t linux_load(const struct linux_config *c, const struct guest_loader *mem, struct cpu_state *cpu,
		 const char **why)
{
	struct guest_writer w = { .mem = mem };
	size_t cmdline_len = strlen(c->cmdline);
	struct memory_map map;
	struct image im;
	gpa_t initrd = GPA(0);
	err_t error;

	*why = NULL;
	if (!memory_map_build(&map, mem->ram_size, c->acpi))
		return fail(why, ERR_INVALID, "memory: not 2 MiB to 3 GiB of whole pages, or no place for ACPI in it");
	if (guest_ranges_overlap(c->acpi, (struct guest_range){ GDT_AT, CMDLINE_AT + CMDLINE_ROOM - GDT_AT }))
		return fail(why, ERR_INVALID, "memory: the ACPI tables lie where the boot parameters go");
	error = parse(c, mem->ram_size, &im, why);
	if (error)
		return error;
	if (cmdline_len > field(c, HDR_CMDLINE_SIZE, 4) || cmdline_len >= CMDLINE_ROOM)
		return fail(why, ERR_TOO_BIG, "kernel: the command line is longer than this kernel takes");
	if (c->initrd_size && !guest_place_high(mem->ram_size, c->acpi, im.room.base + im.room.size,
						field(c, HDR_INITRD_ADDR_MAX, 4) + 1, c->initrd_size, &initrd))
		return fail(why, ERR_TOO_BIG, "initrd: does not fit in memory above the kernel; give the VM more");

	guest_put(&w, im.room.base, im.code, im.code_size);
	guest_put(&w, initrd.v, c->initrd, c->initrd_size);
	guest_put(&w, CMDLINE_AT, c->cmdline, cmdline_len + 1);
	put_boot_params(&w, c, &im, &map, initrd);
	put_rng_seed(&w, c->seed);
	put_page_tables(&w);
	put_gdt(&w);
	if (w.error)
		return fail(why, w.error, "memory: writing the guest's memory failed");
	set_cpu(cpu, &im);
	return OK;
}
