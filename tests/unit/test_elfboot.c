/*
 * test_elfboot.c - hand-made PVH kernels, loaded and read back; and many broken ones.
 */
#include "tests/unit/device_check.h"
#include "tests/unit/fake_guest.h"
#include "vmm/elfboot.h"

#define RAM MIB(4)
#define LOAD 0x100000UL
#define ENTRY (LOAD + 0x40)

/* The file: headers, a note at 200h, a segment of 300h bytes at 400h with 900h in memory, another of 80h at 700h. */
#define NOTE_AT 0x200
#define TEXT_AT 0x400
#define TEXT_SIZE 0x300
#define TEXT_MEM 0x900
#define DATA_AT 0x700
#define DATA_SIZE 0x80
#define DATA_ADDR (LOAD + 0x10000)
#define FILE_SIZE (DATA_AT + DATA_SIZE)

static void put(u8 *f, u64 at, unsigned size_bytes, u64 v)
{
	write_bytes_le(f + at, size_bytes, v);
}

static void put_phdr(u8 *f, bool is64, unsigned i, u32 type, u64 offset, u64 paddr, u64 filesz, u64 memsz)
{
	u64 at = is64 ? 64 + i * 56 : 52 + i * 32;

	put(f, at, 4, type);
	if (is64) {
		put(f, at + 8, 8, offset);
		put(f, at + 16, 8, 0xffffffff80000000UL + paddr); /* vaddr: not where it is loaded */
		put(f, at + 24, 8, paddr);
		put(f, at + 32, 8, filesz);
		put(f, at + 40, 8, memsz);
		put(f, at + 48, 8, 4);
	} else {
		put(f, at + 4, 4, offset);
		put(f, at + 8, 4, 0xc0000000 + paddr);
		put(f, at + 12, 4, paddr);
		put(f, at + 16, 4, filesz);
		put(f, at + 20, 4, memsz);
		put(f, at + 28, 4, 4);
	}
}

static void make_kernel(u8 f[FILE_SIZE], bool is64)
{
	memset(f, 0, FILE_SIZE);
	memcpy(f, "\177ELF", 4);
	f[4] = is64 ? 2 : 1;
	f[5] = f[6] = 1;
	put(f, 16, 2, 2);
	put(f, 18, 2, is64 ? 62 : 3);
	put(f, is64 ? 32 : 28, 4, is64 ? 64 : 52);
	put(f, is64 ? 54 : 42, 2, is64 ? 56 : 32);
	put(f, is64 ? 56 : 44, 2, 4);
	put_phdr(f, is64, 0, 1, TEXT_AT, LOAD, TEXT_SIZE, TEXT_MEM);
	put_phdr(f, is64, 1, 1, DATA_AT, DATA_ADDR, DATA_SIZE, DATA_SIZE);
	put_phdr(f, is64, 2, 4, NOTE_AT, 0, 20 + 16 + (is64 ? 8 : 4), 0);
	put_phdr(f, is64, 3, 0x6474e551, 0, 0, 0, 0); /* GNU_STACK */
	/* somebody else's note, whose description needs padding, then ours */
	put(f, NOTE_AT, 4, 4);
	put(f, NOTE_AT + 4, 4, 2);
	put(f, NOTE_AT + 8, 4, 18);
	memcpy(f + NOTE_AT + 12, "GNU", 4);
	put(f, NOTE_AT + 20, 4, 4);
	put(f, NOTE_AT + 24, 4, is64 ? 8 : 4);
	put(f, NOTE_AT + 28, 4, 18);
	memcpy(f + NOTE_AT + 32, "Xen", 4);
	put(f, NOTE_AT + 36, is64 ? 8 : 4, ENTRY);
	for (unsigned i = 0; i < TEXT_SIZE + DATA_SIZE; i++)
		f[TEXT_AT + i] = (u8)(i * 5 + 1);
}

static struct elf_config config_of(const u8 *file, size_t size)
{
	return (struct elf_config){
		.kernel = file, .kernel_size = size, .cmdline = "root=none",
		.acpi = { RAM - 0x4000, 0x4000 }, .rsdp = GPA(RAM - 0x4000),
	};
}

Test(elfboot, loads_both_classes)
{
	for (int is64 = 0; is64 < 2; is64++) {
		u8 file[FILE_SIZE], initrd[5000];
		struct elf_config c = config_of(file, sizeof(file));
		struct fake_guest g;
		struct cpu_state cpu;
		const char *why = "unset";
		u64 si, mod, map;

		make_kernel(file, is64);
		memset(initrd, 0x1d, sizeof(initrd));
		c.initrd = initrd;
		c.initrd_size = sizeof(initrd);
		fake_guest_init(&g, RAM);
		cr_assert(elf_is_pvh(file, sizeof(file)));
		cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), OK, "%s", why);
		cr_assert_null(why);

		cr_assert_arr_eq(g.ram + LOAD, file + TEXT_AT, TEXT_SIZE);
		cr_assert_arr_eq(g.ram + DATA_ADDR, file + DATA_AT, DATA_SIZE);
		for (u64 a = LOAD + TEXT_SIZE; a < LOAD + TEXT_MEM; a++)
			cr_assert_eq(g.ram[a], 0, "bss at %#lx", a);
		cr_assert_eq(g.ram[LOAD + TEXT_MEM], 0xcc);
		cr_assert_eq(g.ram[LOAD - 1], 0xcc);

		/* the vCPU as the ABI promises */
		cr_assert_eq(cpu.rip, ENTRY);
		cr_assert_eq(cpu_code_bits(&cpu), 32);
		cr_assert_eq(cpu.cr0 & ~CR0_ET, CR0_PE);
		cr_assert_eq(cpu.cr4, 0);
		cr_assert_eq(cpu.efer, 0);
		cr_assert_eq(cpu.rflags & (RFLAGS_IF | RFLAGS_VM | RFLAGS_TF), 0);
		cr_assert_eq(cpu.seg[SEG_CS].attrib, 0xc9b);
		cr_assert_eq(cpu.seg[SEG_ES].attrib, 0xc93);
		cr_assert_eq(cpu.seg[SEG_SS].limit, 0xffffffff);
		cr_assert_eq(cpu.seg[SEG_TR].limit, 0x67);
		cr_assert_eq(cpu.seg[SEG_TR].attrib, 0x8b);

		si = cpu.gpr[RBX];
		cr_assert_lt(si, 0x9fc00);
		cr_assert_eq(fake_le(&g, si, 4), 0x336ec578);
		cr_assert_eq(fake_le(&g, si + 4, 4), 1);
		cr_assert_eq(fake_le(&g, si + 8, 4), 0);
		cr_assert_eq(fake_le(&g, si + 12, 4), 1);
		cr_assert_eq(fake_le(&g, si + 32, 8), c.rsdp.v);
		cr_assert_eq(fake_le(&g, si + 52, 4), 0);
		cr_assert_str_eq((char *)g.ram + fake_le(&g, si + 24, 8), "root=none");
		mod = fake_le(&g, si + 16, 8);
		cr_assert_eq(fake_le(&g, mod, 8), RAM - 0x4000 - 0x2000);
		cr_assert_eq(fake_le(&g, mod + 8, 8), sizeof(initrd));
		cr_assert_eq(fake_le(&g, mod + 16, 8), 0);
		cr_assert_arr_eq(g.ram + RAM - 0x6000, initrd, sizeof(initrd));
		map = fake_le(&g, si + 40, 8);
		cr_assert_eq(fake_le(&g, si + 48, 4), 5);
		cr_assert_eq(fake_le(&g, map + 4 * 24, 8), RAM - 0x4000);
		cr_assert_eq(fake_le(&g, map + 4 * 24 + 8, 8), 0x4000);
		cr_assert_eq(fake_le(&g, map + 4 * 24 + 16, 8), 3);
		free(g.ram);
	}
}

Test(elfboot, no_module_without_initrd)
{
	u8 file[FILE_SIZE];
	struct elf_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;

	make_kernel(file, true);
	fake_guest_init(&g, RAM);
	cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), OK);
	cr_assert_eq(fake_le(&g, cpu.gpr[RBX] + 12, 4), 0);
	cr_assert_eq(fake_le(&g, cpu.gpr[RBX] + 16, 8), 0);
	free(g.ram);
}

/* A kernel that fills low memory but for one page in the middle gets its start info there. */
Test(elfboot, start_info_avoids_segments)
{
	u8 file[FILE_SIZE];
	struct elf_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;

	make_kernel(file, true);
	fake_guest_init(&g, RAM);
	put_phdr(file, true, 1, 1, DATA_AT, 0, DATA_SIZE, 0x50000);
	put_phdr(file, true, 3, 1, DATA_AT, 0x51000, DATA_SIZE, 0xa0000 - 0x51000);
	cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), OK, "%s", why);
	cr_assert_eq(cpu.gpr[RBX], 0x50000);
	put_phdr(file, true, 1, 1, DATA_AT, 0, DATA_SIZE, 0x50001);
	cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), ERR_TOO_BIG);
	cr_assert_not_null(strstr(why, "640 KiB"));
	free(g.ram);
}

Test(elfboot, refuses)
{
	static const struct { const char *what; unsigned at, size_bytes; u64 value; err_t error; } cases[] = {
		{ "magic", 0, 1, 'E', ERR_DAMAGED },
		{ "class", 4, 1, 3, ERR_DAMAGED },
		{ "big endian", 5, 1, 2, ERR_DAMAGED },
		{ "machine", 18, 2, 183, ERR_DAMAGED },
		{ "phoff", 32, 8, FILE_SIZE, ERR_DAMAGED },
		{ "phoff wraps", 32, 8, ~0UL - 10, ERR_DAMAGED },
		{ "phentsize", 54, 2, 55, ERR_DAMAGED },
		{ "phnum", 56, 2, 0xffff, ERR_DAMAGED },
		{ "no headers", 56, 2, 0, ERR_UNSUPPORTED },
		{ "no note", 64 + 2 * 56, 4, 6, ERR_UNSUPPORTED },
		{ "note beyond file", 64 + 2 * 56 + 8, 8, FILE_SIZE - 8, ERR_UNSUPPORTED },
		{ "note name", NOTE_AT + 34, 1, 'm', ERR_UNSUPPORTED },
		{ "note type", NOTE_AT + 28, 4, 17, ERR_UNSUPPORTED },
		{ "note size", NOTE_AT + 24, 4, 9, ERR_UNSUPPORTED },
		{ "entry nowhere", NOTE_AT + 36, 8, LOAD + TEXT_MEM, ERR_DAMAGED },
		{ "file size", 64 + 32, 8, FILE_SIZE - TEXT_AT + 1, ERR_DAMAGED },
		{ "file larger than memory", 64 + 40, 8, TEXT_SIZE - 1, ERR_DAMAGED },
		{ "segment in the hole", 64 + 24, 8, 0xfff00, ERR_TOO_BIG },
		{ "segment beyond RAM", 64 + 56 + 24, 8, RAM - DATA_SIZE + 1, ERR_TOO_BIG },
		{ "segment wraps", 64 + 56 + 24, 8, ~0UL - 16, ERR_TOO_BIG },
		{ "memory size", 64 + 56 + 40, 8, ~0UL - LOAD, ERR_TOO_BIG },
		{ "segment on ACPI", 64 + 56 + 24, 8, RAM - 0x4000 - 1, ERR_TOO_BIG },
	};
	u8 file[FILE_SIZE], *big = calloc(1, MIB(3));
	struct elf_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu, before;
	const char *why;

	fake_guest_init(&g, RAM);
	memset(&cpu, 0x5a, sizeof(cpu));
	before = cpu;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_kernel(file, true);
		put(file, cases[i].at, cases[i].size_bytes, cases[i].value);
		why = NULL;
		cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), cases[i].error, "%s: %s", cases[i].what, why);
		cr_assert(why && *why && !strchr(why, '\n'), "%s", cases[i].what);
		cr_assert_eq(g.nwrites, 0, "%s", cases[i].what);
		cr_assert_arr_eq(&cpu, &before, sizeof(cpu));
	}
	make_kernel(file, true);
	c.initrd = big;
	c.initrd_size = MIB(3);
	cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), ERR_TOO_BIG);
	cr_assert_not_null(strstr(why, "initrd"));
	c.initrd_size = 0;
	memset(big, 'a', 0x10000);
	c.cmdline = (char *)big;
	cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), ERR_TOO_BIG);
	c.cmdline = "";
	c.acpi.base++;
	cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), ERR_INVALID);
	free(big);
	free(g.ram);
}

Test(elfboot, passes_on_memory_errors)
{
	u8 file[FILE_SIZE];
	struct elf_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;
	unsigned nwrites;

	make_kernel(file, false);
	fake_guest_init(&g, RAM);
	cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), OK);
	nwrites = g.nwrites;
	for (unsigned n = 1; n <= nwrites; n++) {
		g.nwrites = 0;
		g.fail_at = n;
		cr_assert_eq(elf_load(&c, &g.mem, &cpu, &why), ERR_NO_MEMORY, "access %u", n);
	}
	free(g.ram);
}

Test(elfboot, not_pvh)
{
	u8 file[FILE_SIZE] = { 0 };

	cr_assert_not(elf_is_pvh(file, sizeof(file)));
	cr_assert_not(elf_is_pvh(file, 0));
	make_kernel(file, true);
	file[NOTE_AT + 32] = 'x';
	cr_assert_not(elf_is_pvh(file, sizeof(file)));
}

/* Truncations and flips: never a read beyond the file, never a write outside RAM. */
Test(elfboot, fuzz)
{
	u8 good[FILE_SIZE], initrd[100] = { 0 };
	struct fake_guest g;
	u64 seed = 77;
	unsigned nloaded = 0;

	fake_guest_init(&g, RAM);
	for (int i = 0; i < 40000; i++) {
		bool is64 = check_random(&seed) & 1;
		size_t size = check_random(&seed) % 3 ? FILE_SIZE : check_random(&seed) % FILE_SIZE;
		struct elf_config c;
		struct cpu_state cpu;
		const char *why = NULL;
		u8 *file;

		make_kernel(good, is64);
		file = exact_copy(good, size);
		for (u64 n = check_random(&seed) % 4; n && size; n--) {
			/* headers and notes: the rest is contents */
			u64 at = check_random(&seed) % 2 ? check_random(&seed) % 288 : NOTE_AT + check_random(&seed) % 48;

			if (at < size)
				file[at] = (u8)(check_random(&seed) >> 9);
		}
		c = config_of(file, size);
		c.initrd = initrd;
		c.initrd_size = sizeof(initrd);
		if (elf_load(&c, &g.mem, &cpu, &why) == OK)
			nloaded++;
		else
			cr_assert_not_null(why);
		free(file);
	}
	cr_assert_gt(nloaded, 1000, "most single flips are harmless, or the fuzz tests nothing");
	free(g.ram);
}
