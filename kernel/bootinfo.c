/*
 * bootinfo.c - PVH's and Multiboot2's tables, read into one struct boot_info.
 *
 * Runs on the early identity map of 4 GiB, before the allocator: it may use
 * only its arguments and static memory.  Firmware's memory maps overlap and
 * come unsorted; what any entry calls not RAM is not RAM.
 */
#include "kernel/bootinfo.h"
#include "kernel/console.h"
#include "kernel/panic.h"

/* [start_info.h, version 1] */
struct hvm_start_info {
	u32 magic, version, flags, nr_modules;
	u64 modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	u32 memmap_entries, reserved;
};

struct hvm_modlist_entry {
	u64 paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_table_entry {
	u64 addr, size;
	u32 type, reserved;
};

#define HVM_START_MAGIC 0x336ec578

/* [Multiboot2 3.6 Boot information format] */
struct mb2_tag {
	u32 type, size;
};

enum { MB2_TAG_END = 0, MB2_TAG_CMDLINE = 1, MB2_TAG_MODULE = 3, MB2_TAG_MMAP = 6 };

struct mb2_module {
	struct mb2_tag tag;
	u32 start, end;
	char cmdline[];
};

struct mb2_mmap_entry {
	u64 addr, size;
	u32 type, reserved;
};

struct mb2_mmap {
	struct mb2_tag tag;
	u32 entry_size, entry_version;
	struct mb2_mmap_entry entries[];
};

#define MEM_RAM 1 /* the same number in both, and in E820 */

static struct boot_info boot_info;
extern u64 boot_entry_tsc;

static void copy_string(char *to, size_t size, const char *from)
{
	size_t i = 0;

	for (; from && i + 1 < size && from[i]; i++)
		to[i] = from[i];
	to[i] = '\0';
}

static void remove_ram_at(struct boot_info *bi, unsigned i)
{
	memmove(&bi->ram[i], &bi->ram[i + 1], (bi->nram - i - 1) * sizeof(bi->ram[0]));
	bi->nram--;
}

static void insert_ram(struct boot_info *bi, u64 start, u64 end)
{
	unsigned i = 0;

	if (start >= end || bi->nram == BOOT_MAX_RAM)
		return; /* a map of 64 pieces is beyond any firmware; losing the rest is safe */
	while (i < bi->nram && bi->ram[i].start < start)
		i++;
	memmove(&bi->ram[i + 1], &bi->ram[i], (bi->nram - i) * sizeof(bi->ram[0]));
	bi->ram[i] = (struct boot_ram){ start, end };
	bi->nram++;
}

static void cut_ram(struct boot_info *bi, u64 start, u64 end)
{
	for (unsigned i = 0; i < bi->nram;) {
		struct boot_ram r = bi->ram[i];

		if (r.start >= end || r.end <= start) {
			i++;
			continue;
		}
		remove_ram_at(bi, i);
		insert_ram(bi, r.start, MIN(start, r.end));
		insert_ram(bi, MAX(end, r.start), r.end);
		i = 0;
	}
}

static void add_ram(struct boot_info *bi, u64 addr, u64 size)
{
	u64 start = ALIGN_UP(addr, PAGE_SIZE), end = (addr + size) & PAGE_MASK;

	if (end <= start)
		return;
	cut_ram(bi, start, end); /* the map may name a piece twice */
	insert_ram(bi, start, end);
}

static void not_ram(struct boot_info *bi, u64 addr, u64 size)
{
	if (size)
		cut_ram(bi, addr & PAGE_MASK, ALIGN_UP(addr + size, PAGE_SIZE));
}

static void add_module(struct boot_info *bi, u64 start, u64 size, const char *cmdline)
{
	struct boot_module *m;

	if (bi->nmodules == BOOT_MAX_MODULES)
		panic("more than %u boot modules", BOOT_MAX_MODULES);
	m = &bi->modules[bi->nmodules++];
	m->data = (const u8 *)start;
	m->size_bytes = size;
	copy_string(m->cmdline, sizeof(m->cmdline), cmdline);
}

static void read_pvh(struct boot_info *bi, const struct hvm_start_info *si)
{
	const struct hvm_memmap_table_entry *e = (const void *)si->memmap_paddr;
	const struct hvm_modlist_entry *m = (const void *)si->modlist_paddr;

	if (si->magic != HVM_START_MAGIC || si->version < 1)
		panic("PVH start info has magic %x version %u: no memory map", si->magic, si->version);
	for (u32 i = 0; i < si->memmap_entries; i++)
		if (e[i].type == MEM_RAM)
			add_ram(bi, e[i].addr, e[i].size);
	for (u32 i = 0; i < si->memmap_entries; i++)
		if (e[i].type != MEM_RAM)
			not_ram(bi, e[i].addr, e[i].size);
	for (u32 i = 0; i < si->nr_modules; i++)
		add_module(bi, m[i].paddr, m[i].size, (const char *)m[i].cmdline_paddr);
	copy_string(bi->cmdline, sizeof(bi->cmdline), (const char *)si->cmdline_paddr);
}

static void read_mb2_mmap(struct boot_info *bi, const struct mb2_mmap *t)
{
	u32 n = (t->tag.size - sizeof(*t)) / t->entry_size;

	for (unsigned pass = 0; pass < 2; pass++) {
		for (u32 i = 0; i < n; i++) {
			const struct mb2_mmap_entry *e =
				(const void *)((const u8 *)t->entries + (size_t)i * t->entry_size);

			if (pass == 0 && e->type == MEM_RAM)
				add_ram(bi, e->addr, e->size);
			else if (pass == 1 && e->type != MEM_RAM)
				not_ram(bi, e->addr, e->size);
		}
	}
}

static void read_mb2(struct boot_info *bi, const u8 *info)
{
	const struct mb2_tag *t = (const void *)(info + 8);

	for (; t->type != MB2_TAG_END; t = (const void *)((const u8 *)t + ALIGN_UP(t->size, 8U))) {
		const struct mb2_module *m = (const void *)t;

		if (t->type == MB2_TAG_CMDLINE)
			copy_string(bi->cmdline, sizeof(bi->cmdline), (const char *)(t + 1));
		else if (t->type == MB2_TAG_MODULE)
			add_module(bi, m->start, m->end - m->start, m->cmdline);
		else if (t->type == MB2_TAG_MMAP)
			read_mb2_mmap(bi, (const void *)t);
	}
}

noreturn_fn void boot_entry(enum boot_protocol protocol, u64 loader_info)
{
	struct boot_info *bi = &boot_info;

	console_init(); /* so that what follows can complain */
	bi->protocol = protocol;
	bi->entry_tsc = boot_entry_tsc;
	if (protocol == BOOT_PVH)
		read_pvh(bi, (const void *)loader_info);
	else
		read_mb2(bi, (const void *)loader_info);
	kmain(bi);
}
