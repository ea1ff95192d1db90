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

struct layout {
	unsigned levels, bits, entry_bytes;
};

static struct layout layout_of(const struct cpu_state *s)
{
	if (s->efer & EFER_LMA)
		return (struct layout){ 4, 9, 8 };
	if (s->cr4 & CR4_PAE)
		return (struct layout){ 3, 9, 8 };
	return (struct layout){ 2, 10, 4 };
}

/* False where there is no memory.  Memory never touched reads as zero: not present. */
static bool read_entry(const struct guest_memory *m, u64 at, unsigned entry_bytes, u64 *entry)
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

struct walk_result paging_walk(struct vcpu *v, gva_t at, bool write, bool fetch, bool user)
{
	const struct cpu_state *s = &v->cpu;
	struct layout l = layout_of(s);
	bool writable = true, user_ok = true, nx = false;
	u64 table = s->cr3 & (l.entry_bytes == 4 || l.levels == 4 ? 0x000ffffffffff000UL : 0xffffffe0UL), entry = 0;
	unsigned shift = 12 + l.bits * (l.levels - 1);

	if (!(s->cr0 & CR0_PG))
		return (struct walk_result){ .ok = true, .gpa = GPA(at.v & 0xffffffff) };
	for (unsigned level = l.levels; level; level--, shift -= l.bits) {
		u64 index = (at.v >> shift) & (BIT(l.bits) - 1);

		if (!read_entry(&v->vm->mem, table + index * l.entry_bytes, l.entry_bytes, &entry))
			return refuse(v, false, write, fetch, user);
		if (!(entry & PTE_P))
			return refuse(v, false, write, fetch, user);
		if (l.levels != 3 || level != 3) { /* a PDPTE of PAE paging has no rights */
			writable &= !!(entry & PTE_W);
			user_ok &= !!(entry & PTE_U);
			nx |= !!(entry & PTE_NX);
		}
		table = entry & 0x000ffffffffff000UL;
		if (level > 1 && level < 4 && (entry & PTE_PS) && (l.entry_bytes == 8 || (s->cr4 & CR4_PSE)))
			break;
		if (level == 1)
			break;
	}
	if ((user && !user_ok) || (write && !writable && (user || (s->cr0 & CR0_WP))) ||
	    (fetch && nx && (s->efer & EFER_NXE)))
		return refuse(v, true, write, fetch, user);
	return (struct walk_result){ .ok = true,
				     .gpa = GPA((table & ~(BIT(shift) - 1)) | (at.v & (BIT(shift) - 1))) };
}
