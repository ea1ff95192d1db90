/*
 * walk.c - guest-virtual to guest-physical by the guest's own page tables.
 *
 * Needed only to fetch and emulate the rare instruction that touches a device.
 * It writes the tables where the processor would: accessed and dirty bits of
 * what an emulated instruction reaches.  [APM2 5.2 to 5.6 page translation]
 */
#include "vmm/vm.h"

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80 };
#define PTE_NX BIT(63)
enum { PF_PRESENT = 1, PF_WRITE = 2, PF_USER = 4, PF_FETCH = 16 };

/* False where there is no memory.  Memory never touched reads as zero: not present. */
static inline_always bool read_entry(const struct guest_memory *m, u64 at, unsigned entry_bytes, u64 *entry)
{
	const u8 *p = guestmem_peek(m, GPA(at));

	*entry = 0;
	if (!p)
		return guestmem_is_ram(m, GPA(at));
	*entry = entry_bytes == 8 ? *(const u64 *)(const void *)p : *(const u32 *)(const void *)p;
	return true;
}

#define ENTRY_ADDRESS 0x000ffffffffff000UL

/*
 * Accessed bits from the top table to the entry at level `leaf`, and there the
 * dirty bit [APM2 5.4.2 Page-Translation-Table Entry Fields].  They are there:
 * the walk has just been here.
 */
static void mark(struct guest_memory *m, u64 table, unsigned levels, unsigned bits, unsigned entry_bytes,
		 unsigned leaf, gva_t at, bool write)
{
	u64 entry;

	for (unsigned level = levels; level >= leaf; level--, table = entry & ENTRY_ADDRESS) {
		u64 entry_at = table + ((at.v >> (12 + bits * (level - 1))) & (BIT(bits) - 1)) * entry_bytes;
		u64 marked = PTE_A | (write && level == leaf ? PTE_D : 0);

		if (!read_entry(m, entry_at, entry_bytes, &entry))
			return;
		marked |= entry;
		if (marked != entry && (levels != 3 || level != 3) &&
		    guestmem_write(m, GPA(entry_at), &marked, entry_bytes))
			return;
	}
}

static struct walk_result refuse(const struct vcpu *v, bool present, unsigned access)
{
	bool nx = (v->cpu.efer & EFER_NXE) && (v->cpu.cr4 & CR4_PAE);

	return (struct walk_result){ .error = (present ? PF_PRESENT : 0) | (access & WALK_WRITE ? PF_WRITE : 0) |
					      (access & WALK_USER ? PF_USER : 0) |
					      (access & WALK_FETCH && nx ? PF_FETCH : 0) };
}

/* The tables of one paging mode; inlined for each, so that its constants are. */
static inline_always struct walk_result
walk(struct vcpu *v, u64 table, unsigned levels, unsigned bits, unsigned entry_bytes, bool large_pages, gva_t at,
     unsigned access)
{
	const struct cpu_state *s = &v->cpu;
	unsigned shift = 12 + bits * (levels - 1);
	u64 all = ~0UL, any = 0, entry; /* the rights are those that all entries give; one NX is enough */
	u64 root = table;
	unsigned level;

	for (level = levels;; level--, shift -= bits) {
		u64 index = (at.v >> shift) & (BIT(bits) - 1);

		if (!read_entry(&v->vm->mem, table + index * entry_bytes, entry_bytes, &entry) || !(entry & PTE_P))
			return refuse(v, false, access);
		if (levels != 3 || level != 3) { /* a PDPTE of PAE paging has no rights, nor accessed bit */
			all &= entry;
			any |= entry;
		}
		table = entry & ENTRY_ADDRESS;
		if (level == 1 || ((entry & PTE_PS) && level < 4 && large_pages))
			break;
	}
	if ((access & WALK_USER && !(all & PTE_U)) ||
	    (access & WALK_WRITE && !(all & PTE_W) && (access & WALK_USER || (s->cr0 & CR0_WP))) ||
	    (access & WALK_FETCH && (any & PTE_NX) && (s->efer & EFER_NXE)))
		return refuse(v, true, access);
	if (access & WALK_MARK)
		mark(&v->vm->mem, root, levels, bits, entry_bytes, level, at, access & WALK_WRITE);
	return (struct walk_result){ .ok = true,
				     .gpa = GPA((table & ~(BIT(shift) - 1)) | (at.v & (BIT(shift) - 1))) };
}

struct walk_result paging_walk(struct vcpu *v, gva_t at, unsigned access)
{
	const struct cpu_state *s = &v->cpu;

	if (!(s->cr0 & CR0_PG))
		return (struct walk_result){ .ok = true, .gpa = GPA(at.v & 0xffffffff) };
	if (s->efer & EFER_LMA)
		return walk(v, s->cr3 & ENTRY_ADDRESS, 4, 9, 8, true, at, access);
	if (s->cr4 & CR4_PAE)
		return walk(v, s->cr3 & 0xffffffe0UL, 3, 9, 8, true, at, access);
	return walk(v, s->cr3 & 0xfffff000UL, 2, 10, 4, s->cr4 & CR4_PSE, at, access);
}
