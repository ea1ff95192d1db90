/*
 * paging.c - four-level tables for VA = PA.  See paging.h.
 *
 * Uses the largest page that fits: fewer tables to build, fewer levels to
 * walk.  Everything is global, never changes rights after boot, and entries
 * are only ever added; so nothing here needs a TLB flush but the switch.
 */
#include "kernel/coroutine.h"
#include "kernel/cpu.h"
#include "kernel/mm.h"
#include "kernel/paging.h"
#include "kernel/panic.h"

/* [APM2 5.4 Page-Translation-Table Entry Fields] */
#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_PS BIT(7)
#define PTE_G BIT(8)
#define PTE_NX BIT(63)
#define PTE_ADDR 0x000ffffffffff000UL

#define MAP_TEXT (PTE_P | PTE_G)
#define MAP_RODATA (PTE_P | PTE_G | PTE_NX)
#define MAP_DATA (PTE_P | PTE_G | PTE_NX | PTE_W)
/* PAT entry 3, UC, in the power-on PAT. */
#define MAP_MMIO (MAP_DATA | PTE_PCD | PTE_PWT)

extern const u8 __text_start[], __text_end[], __rodata_start[], __rodata_end[];
extern const u8 __data_start[], __kernel_end[];
extern const u8 boot_stack_guard[], boot_stack_top[], ist_df_stack_guard[], ist_df_stack_top[],
	ist_nmi_stack_guard[], ist_nmi_stack_top[], ist_mc_stack_guard[], ist_mc_stack_top[],
	ist_irq_stack_guard[], ist_irq_stack_top[], coroutine_stacks[];

#define COROUTINE(n) { "coroutine " #n, coroutine_stacks + (n) * (PAGE_SIZE + COROUTINE_STACK), \
		       coroutine_stacks + ((n) + 1) * (PAGE_SIZE + COROUTINE_STACK) }

static const struct {
	const char *name;
	const u8 *guard, *top;
} stacks[] = {
	/* In the order they lie in memory. */
	{ "boot", boot_stack_guard, boot_stack_top },
	{ "#DF", ist_df_stack_guard, ist_df_stack_top },
	{ "NMI", ist_nmi_stack_guard, ist_nmi_stack_top },
	{ "#MC", ist_mc_stack_guard, ist_mc_stack_top },
	{ "IRQ", ist_irq_stack_guard, ist_irq_stack_top },
	COROUTINE(0), COROUTINE(1), COROUTINE(2), COROUTINE(3),
	COROUTINE(4), COROUTINE(5), COROUTINE(6), COROUTINE(7),
};
_Static_assert(COROUTINES == 8, "a line above for each");

static u64 *host_pml4;
static bool pages_1g;

const char *paging_guard_of(u64 addr)
{
	for (size_t i = 0; i < ARRAY_SIZE(stacks); i++)
		if (addr - (u64)stacks[i].guard < PAGE_SIZE)
			return stacks[i].name;
	return NULL;
}

bool paging_is_stack(u64 addr)
{
	for (size_t i = 0; i < ARRAY_SIZE(stacks); i++)
		if (addr >= (u64)stacks[i].guard + PAGE_SIZE && addr < (u64)stacks[i].top)
			return true;
	return false;
}

/* Maps the page at va of 2^shift bytes, unless something is mapped there. */
static void map_page(u64 va, unsigned shift, u64 flags)
{
	u64 *table = host_pml4;
	unsigned level_shift;

	for (level_shift = 39; level_shift > shift; level_shift -= 9) {
		u64 *e = &table[va >> level_shift & 511];

		if (!(*e & PTE_P)) {
			void *fresh = page_zalloc(1);

			if (!fresh)
				panic("no memory for the host's page tables");
			*e = (u64)fresh | PTE_P | PTE_W;
		} else if (*e & PTE_PS) {
			return;
		}
		table = (u64 *)(*e & PTE_ADDR);
	}
	if (!(table[va >> shift & 511] & PTE_P))
		table[va >> shift & 511] = va | flags | (shift > PAGE_SHIFT ? PTE_PS : 0);
}

/* Both ends on page boundaries. */
static void map(u64 start, u64 end, u64 flags)
{
	while (start < end) {
		unsigned shift = PAGE_SHIFT;

		if (!(start & (MIB(2) - 1)) && end - start >= MIB(2))
			shift = 21;
		if (pages_1g && !(start & (GIB(1) - 1)) && end - start >= GIB(1))
			shift = 30;
		map_page(start, shift, flags);
		start += 1UL << shift;
	}
}

static void map_kernel(void)
{
	u64 at = (u64)__data_start;

	map((u64)__text_start, (u64)__text_end, MAP_TEXT);
	map((u64)__rodata_start, (u64)__rodata_end, MAP_RODATA);
	for (size_t i = 0; i < ARRAY_SIZE(stacks); i++) {
		map(at, (u64)stacks[i].guard, MAP_DATA);
		at = (u64)stacks[i].guard + PAGE_SIZE;
	}
	map(at, (u64)__kernel_end, MAP_DATA);
}

static void map_ram(u64 start, u64 end)
{
	u64 kernel_start = (u64)__text_start, kernel_end = (u64)__kernel_end;

	start = MAX(start, PAGE_SIZE);
	if (start < kernel_start)
		map(start, MIN(end, kernel_start), MAP_DATA);
	if (end > kernel_end)
		map(MAX(start, kernel_end), end, MAP_DATA);
}

void paging_init(const struct boot_info *bi)
{
	u64 low_top = 0;

	pages_1g = cpuid(0x80000000, 0).eax >= 0x80000001 && (cpuid(0x80000001, 0).edx & BIT(26));
	host_pml4 = page_zalloc(1);
	if (!host_pml4)
		panic("no memory for the host's page tables");
	map_kernel();
	for (unsigned i = 0; i < bi->nram; i++) {
		map_ram(bi->ram[i].start, bi->ram[i].end);
		if (bi->ram[i].end <= GIB(4))
			low_top = bi->ram[i].end;
	}
	map(low_top, GIB(4), MAP_MMIO);
	/* CR0.WP, CR4.PGE and EFER.NXE are on since boot.S; the early map had no global pages. */
	write_cr3((u64)host_pml4);
}

volatile void *mmio_map(u64 start, size_t size_bytes)
{
	map(start & PAGE_MASK, ALIGN_UP(start + size_bytes, PAGE_SIZE), MAP_MMIO);
	return (volatile void *)start;
}
