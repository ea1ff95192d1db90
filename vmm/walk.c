/*
 * walk.c - guest-virtual to guest-physical by the guest's own page tables.
 *
 * Needed only to fetch and emulate the rare instruction that touches a device.
 * It reads tables and never writes them: the hardware set the accessed bits
 * when it tried the same access itself.  [APM2 5.2 to 5.6 page translation]
 */
#include "vmm/vm.h"

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PS = 0x80 };
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

static struct walk_result refuse(const struct vcpu *v, bool present, bool write, bool fetch, bool user)
{
	bool nx = (v->cpu.efer & EFER_NXE) && (v->cpu.cr4 & CR4_PAE);

	return (struct walk_result){ .error = (present ? PF_PRESENT : 0) | (write ? PF_WRITE : 0) |
					      (user ? PF_USER : 0) | (fetch && nx ? PF_FETCH : 0) };
}

/* The tables of one paging mode; inlined for each, so that its constants are. */
static inline_always struct walk_result
walk(const struct vcpu *v, u64 table, unsigned levels, unsigned bits, unsigned entry_bytes, bool large_pages, gva_t at,
     bool write, bool fetch, bool user)
{
	const struct cpu_state *s = &v->cpu;
	unsigned shift = 12 + bits * (levels - 1);
	u64 all = ~0UL, any = 0, entry; /* the rights are those that all entries give; one NX is enough */

	for (unsigned level = levels;; level--, shift -= bits) {
		u64 index = (at.v >> shift) & (BIT(bits) - 1);

		if (!read_entry(&v->vm->mem, table + index * entry_bytes, entry_bytes, &entry) || !(entry & PTE_P))
			return refuse(v, false, write, fetch, user);
		if (levels != 3 || level != 3) { /* a PDPTE of PAE paging has no rights */
			all &= entry;
			any |= entry;
		}
		table = entry & 0x000ffffffffff000UL;
		if (level == 1 || ((entry & PTE_PS) && level < 4 && large_pages))
			break;
	}
	if ((user && !(all & PTE_U)) || (write && !(all & PTE_W) && (user || (s->cr0 & CR0_WP))) ||
	    (fetch && (any & PTE_NX) && (s->efer & EFER_NXE)))
		return refuse(v, true, write, fetch, user);
	return (struct walk_result){ .ok = true,
				     .gpa = GPA((table & ~(BIT(shift) - 1)) | (at.v & (BIT(shift) - 1))) };
}

struct walk_result paging_walk(struct vcpu *v, gva_t at, bool write, bool fetch, bool user)
{
	const struct cpu_state *s = &v->cpu;

	if (!(s->cr0 & CR0_PG))
		return (struct walk_result){ .ok = true, .gpa = GPA(at.v & 0xffffffff) };
	if (s->efer & EFER_LMA)
		return walk(v, s->cr3 & 0x000ffffffffff000UL, 4, 9, 8, true, at, write, fetch, user);
	if (s->cr4 & CR4_PAE)
		return walk(v, s->cr3 & 0xffffffe0UL, 3, 9, 8, true, at, write, fetch, user);
	return walk(v, s->cr3 & 0xfffff000UL, 2, 10, 4, s->cr4 & CR4_PSE, at, write, fetch, user);
}
