/*
 * test_linuxboot.c - a made-up bzImage, loaded and read back; and many broken ones.
 */
#include "tests/unit/device_check.h"
#include "tests/unit/fake_guest.h"
#include "vmm/linuxboot.h"

#define CODE_AT 0xa00 /* four setup sectors and the boot sector */
#define CODE_SIZE 0x3005
#define FILE_SIZE (CODE_AT + CODE_SIZE)
#define PREF 0x1000000UL
#define INIT_SIZE 0x200000UL
#define RAM MIB(32)

static const struct guest_range acpi_at_top = { RAM - 0x10000, 0x10000 };

static void put(u8 *f, unsigned at, unsigned size_bytes, u64 v)
{
	write_bytes_le(f + at, size_bytes, v);
}

static void make_kernel(u8 f[FILE_SIZE])
{
	memset(f, 0x90, FILE_SIZE);
	memset(f, 0, CODE_AT);
	put(f, 0x1f1, 1, 4);
	put(f, 0x1f4, 4, (CODE_SIZE + 15) / 16);
	put(f, 0x1fe, 2, 0xaa55);
	put(f, 0x200, 2, 0x6aeb);
	memcpy(f + 0x202, "HdrS", 4);
	put(f, 0x206, 2, 0x20f);
	put(f, 0x211, 1, 1);
	put(f, 0x22c, 4, 0x7fffffff);
	put(f, 0x230, 4, 0x200000);
	put(f, 0x234, 1, 1);
	put(f, 0x236, 2, 0x7f);
	put(f, 0x238, 4, 2047);
	put(f, 0x258, 8, PREF);
	put(f, 0x260, 4, INIT_SIZE);
	for (unsigned i = 0; i < CODE_SIZE; i++)
		f[CODE_AT + i] = (u8)(i * 7);
}

static struct linux_config config_of(const u8 *file, size_t size)
{
	return (struct linux_config){
		.kernel = file, .kernel_size = size, .cmdline = "console=ttyS0 panic=-1",
		.acpi = acpi_at_top, .rsdp = GPA(RAM - 0x10000), .seed = 1,
	};
}

Test(linuxboot, loads)
{
	u8 file[FILE_SIZE], initrd[5000];
	struct linux_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why = "unset";
	u64 bp, at;

	make_kernel(file);
	memset(initrd, 0x1d, sizeof(initrd));
	c.initrd = initrd;
	c.initrd_size = sizeof(initrd);
	fake_guest_init(&g, RAM);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK, "%s", why);
	cr_assert_null(why);

	cr_assert_eq(cpu.rip, PREF + 0x200);
	cr_assert_eq(cpu_code_bits(&cpu), 64);
	cr_assert_eq(cpu.rflags, 2);
	cr_assert_eq(cpu.efer, EFER_LME | EFER_LMA);
	cr_assert_eq(cpu.cr0 & (CR0_PE | CR0_PG | CR0_CD | CR0_NW), CR0_PE | CR0_PG);
	cr_assert_eq(cpu.cr4, CR4_PAE);
	cr_assert_eq(cpu.seg[SEG_CS].selector, 0x10);
	cr_assert_eq(cpu.seg[SEG_CS].attrib, 0xa9b);
	cr_assert_eq(cpu.seg[SEG_DS].selector, 0x18);
	cr_assert_eq(cpu.seg[SEG_SS].attrib, 0xc93);
	cr_assert_arr_eq(g.ram + PREF, file + CODE_AT, CODE_SIZE);

	bp = cpu.gpr[RSI];
	cr_assert_eq(fake_le(&g, bp + 0x206, 2), 0x20f, "the header came along");
	cr_assert_eq(fake_le(&g, bp + 0x210, 1), 0xff);
	cr_assert_eq(fake_le(&g, bp + 0x1fa, 2), 0xffff);
	cr_assert_eq(fake_le(&g, bp + 0x070, 8), c.rsdp.v);
	cr_assert_eq(fake_le(&g, bp, 8), 0, "no screen");
	cr_assert_eq(fake_le(&g, bp + 0x1ef, 1), 0, "nothing of the boot sector's code");
	cr_assert_str_eq((char *)g.ram + fake_le(&g, bp + 0x228, 4), c.cmdline);
	at = fake_le(&g, bp + 0x218, 4);
	cr_assert_eq(fake_le(&g, bp + 0x21c, 4), sizeof(initrd));
	cr_assert_eq(at, RAM - 0x10000 - 0x2000, "page-aligned, right below the ACPI tables");
	cr_assert_arr_eq(g.ram + at, initrd, sizeof(initrd));
	free(g.ram);
}

Test(linuxboot, memory_map)
{
	static const struct { u64 base, size; u32 type; } want[] = {
		{ 0, 0x9fc00, 1 }, { 0x9fc00, 0x400, 2 }, { 0xf0000, 0x10000, 2 },
		{ 0x100000, RAM - 0x10000 - 0x100000, 1 }, { RAM - 0x10000, 0x10000, 3 },
	};
	u8 file[FILE_SIZE];
	struct linux_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;

	make_kernel(file);
	fake_guest_init(&g, RAM);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK);
	cr_assert_eq(fake_le(&g, cpu.gpr[RSI] + 0x1e8, 1), ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		u64 at = cpu.gpr[RSI] + 0x2d0 + i * 20;

		cr_assert_eq(fake_le(&g, at, 8), want[i].base, "entry %zu", i);
		cr_assert_eq(fake_le(&g, at + 8, 8), want[i].size, "entry %zu", i);
		cr_assert_eq(fake_le(&g, at + 16, 4), want[i].type, "entry %zu", i);
	}
	free(g.ram);
}

Test(linuxboot, page_tables_map_4_gib)
{
	u8 file[FILE_SIZE];
	struct linux_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;

	make_kernel(file);
	fake_guest_init(&g, RAM);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK);
	for (u64 va = 0; va < GIB(4); va += MIB(2)) {
		u64 e = fake_le(&g, cpu.cr3 + (va >> 39 & 511) * 8, 8);

		cr_assert_eq(e & 0xfff, 3);
		e = fake_le(&g, (e & PAGE_MASK) + (va >> 30 & 511) * 8, 8);
		cr_assert_eq(e & 0xfff, 3);
		e = fake_le(&g, (e & PAGE_MASK) + (va >> 21 & 511) * 8, 8);
		cr_assert_eq(e, va | 0x83);
	}
	cr_assert_eq(fake_le(&g, cpu.cr3 + 8, 8), 0);
	cr_assert_eq(fake_le(&g, cpu.cr3 + PAGE_SIZE + 4 * 8, 8), 0);
	/* the descriptors say what the hidden parts say */
	cr_assert_eq(fake_le(&g, cpu.gdtr.base + 0x10, 8), 0x00af9b000000ffffUL);
	cr_assert_eq(fake_le(&g, cpu.gdtr.base + 0x18, 8), 0x00cf93000000ffffUL);
	cr_assert_eq(cpu.gdtr.limit, 0x1f);
	free(g.ram);
}

Test(linuxboot, random_seed_is_splitmix64)
{
	/* the published first outputs of splitmix64 for seed 1234567 */
	static const u64 want[] = { 6457827717110365317UL, 3203168211198807973UL, 9817491932198370423UL,
				    4593380528125082431UL };
	u8 file[FILE_SIZE];
	struct linux_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;
	u64 at;

	make_kernel(file);
	c.seed = 1234567;
	fake_guest_init(&g, RAM);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK);
	at = fake_le(&g, cpu.gpr[RSI] + 0x250, 8);
	cr_assert_eq(fake_le(&g, at, 8), 0);
	cr_assert_eq(fake_le(&g, at + 8, 4), 9);
	cr_assert_eq(fake_le(&g, at + 12, 4), 32);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		cr_assert_eq(fake_le(&g, at + 16 + i * 8, 8), want[i]);
	free(g.ram);
}

/* One thing wrong at a time: the error and a reason, and the machine untouched. */
Test(linuxboot, refuses)
{
	static const struct { const char *what; unsigned at, size_bytes; u64 value; err_t error; } cases[] = {
		{ "boot flag", 0x1fe, 2, 0, ERR_DAMAGED },
		{ "magic", 0x202, 1, 'h', ERR_DAMAGED },
		{ "version", 0x206, 2, 0x20b, ERR_UNSUPPORTED },
		{ "no 64-bit entry", 0x236, 2, 0x7e, ERR_UNSUPPORTED },
		{ "zImage", 0x211, 1, 0, ERR_UNSUPPORTED },
		{ "header too short", 0x201, 1, 0x61, ERR_DAMAGED },
		{ "setup beyond file", 0x1f1, 1, 60, ERR_DAMAGED },
		{ "syssize", 0x1f4, 4, (CODE_SIZE + 15) / 16 + 1, ERR_DAMAGED },
		{ "loads low", 0x258, 8, 0x90000, ERR_DAMAGED },
		{ "loads beyond RAM", 0x258, 8, RAM, ERR_TOO_BIG },
		{ "address wraps", 0x258, 8, ~0UL - 0xfff, ERR_TOO_BIG },
		{ "init_size", 0x260, 4, RAM, ERR_TOO_BIG },
		{ "init_size into ACPI", 0x260, 4, RAM - PREF, ERR_TOO_BIG },
		{ "command line", 0x238, 4, 21, ERR_TOO_BIG },
		{ "initrd_addr_max", 0x22c, 4, PREF + INIT_SIZE - 1, ERR_TOO_BIG },
	};
	u8 file[FILE_SIZE], initrd[100] = { 0 };
	struct linux_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu, before;
	const char *why;

	c.initrd = initrd;
	c.initrd_size = sizeof(initrd);
	fake_guest_init(&g, RAM);
	memset(&cpu, 0x5a, sizeof(cpu));
	before = cpu;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_kernel(file);
		put(file, cases[i].at, cases[i].size_bytes, cases[i].value);
		why = NULL;
		cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), cases[i].error, "%s", cases[i].what);
		cr_assert(why && *why && !strchr(why, '\n'), "%s", cases[i].what);
		cr_assert_eq(g.nwrites, 0, "%s", cases[i].what);
		cr_assert_arr_eq(&cpu, &before, sizeof(cpu));
	}
	make_kernel(file);
	put(file, 0x238, 4, 22);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK, "the command line just fits");
	free(g.ram);
}

Test(linuxboot, refuses_machines)
{
	static const struct { u64 ram; struct guest_range acpi; } cases[] = {
		{ MIB(1), { 0, 0 } }, { RAM + 1, { 0, 0 } }, { GIB(4), { 0, 0 } },
		{ RAM, { RAM, 0x1000 } }, { RAM, { RAM - 0x800, 0x800 } }, { RAM, { 0xe0000, 0x1000 } },
		{ RAM, { ~0UL << 12, 0x2000 } }, { RAM, { 0x9f000, 0x1000 } }, { RAM, { 0x10000, 0x1000 } },
	};
	u8 file[FILE_SIZE];
	struct linux_config c = config_of(file, sizeof(file));

	make_kernel(file);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_loader mem = { .ram_size = cases[i].ram };
		struct cpu_state cpu;
		const char *why;

		c.acpi = cases[i].acpi;
		cr_assert_eq(linux_load(&c, &mem, &cpu, &why), ERR_INVALID, "case %zu", i);
		cr_assert_not_null(why);
	}
}

Test(linuxboot, passes_on_memory_errors)
{
	u8 file[FILE_SIZE];
	struct linux_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;
	unsigned nwrites;

	make_kernel(file);
	fake_guest_init(&g, RAM);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK);
	nwrites = g.nwrites;
	for (unsigned n = 1; n <= nwrites; n++) {
		g.nwrites = 0;
		g.fail_at = n;
		cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), ERR_NO_MEMORY, "access %u", n);
		cr_assert_not_null(why);
	}
	free(g.ram);
}

/* Low ACPI area, initrd around a high one, signature behind the code. */
Test(linuxboot, odd_layouts)
{
	u8 file[FILE_SIZE + 1000], *big = malloc(MIB(10));
	struct linux_config c = config_of(file, sizeof(file));
	struct fake_guest g;
	struct cpu_state cpu;
	const char *why;

	make_kernel(file);
	memset(file + FILE_SIZE, 's', 1000);
	memset(big, 0x77, MIB(10));
	fake_guest_init(&g, RAM);
	c.acpi = (struct guest_range){ 0x80000, 0x4000 };
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK, "%s", why);
	cr_assert_eq(fake_le(&g, cpu.gpr[RSI] + 0x1e8, 1), 6);

	c.acpi = (struct guest_range){ RAM - MIB(4), 0x4000 };
	c.initrd = big;
	c.initrd_size = MIB(3);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK, "%s", why);
	cr_assert_eq(fake_le(&g, cpu.gpr[RSI] + 0x218, 4), RAM - MIB(3), "above the tables");
	c.initrd_size = MIB(10);
	cr_assert_eq(linux_load(&c, &g.mem, &cpu, &why), OK, "%s", why);
	cr_assert_eq(fake_le(&g, cpu.gpr[RSI] + 0x218, 4), RAM - MIB(14), "below them");
	free(big);
	free(g.ram);
}

/* Broken files: never a read beyond the file, never a write outside RAM, an error with a reason or a load. */
Test(linuxboot, fuzz)
{
	u8 good[FILE_SIZE], initrd[5000] = { 0 };
	struct fake_guest g;
	u64 seed = 3;
	unsigned nloaded = 0;

	make_kernel(good);
	fake_guest_init(&g, RAM);
	for (int i = 0; i < 20000; i++) {
		size_t size = check_random(&seed) % 3 ? FILE_SIZE : check_random(&seed) % FILE_SIZE;
		u8 *file = exact_copy(good, size);
		struct linux_config c = config_of(file, size);
		struct cpu_state cpu;
		const char *why = NULL;

		c.initrd = initrd;
		c.initrd_size = check_random(&seed) % sizeof(initrd);
		for (u64 n = check_random(&seed) % 4; n && size; n--) {
			u64 at = 0x1f1 + check_random(&seed) % (0x268 - 0x1f1);

			if (at < size)
				file[at] = (u8)(check_random(&seed) >> 8);
		}
		if (linux_load(&c, &g.mem, &cpu, &why) == OK)
			nloaded++;
		else
			cr_assert_not_null(why);
		free(file);
	}
	cr_assert_gt(nloaded, 1000, "most single flips are harmless, or the fuzz tests nothing");
	free(g.ram);
}
