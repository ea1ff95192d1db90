/*
 * guestload.h - what loading a guest kernel needs: writing guest memory, the
 * map of that memory, and where things fit.
 *
 * Changes guest memory only through struct guest_loader and never forms a
 * pointer into it, so that loaders run under a unit test as they are.
 *
 * RAM starts at 0, has the PC's hole from 640 KiB to 1 MiB and ends below
 * 3 GiB, where the MMIO hole begins.
 */
#ifndef VMM_GUESTLOAD_H
#define VMM_GUESTLOAD_H

#include "kernel/base.h"
#include "vmm/cpustate.h"

#define GUEST_RAM_MAX GIB(3)
#define GUEST_LOW_END 0xa0000UL  /* the hole begins */
#define GUEST_EBDA 0x9fc00UL     /* the last KiB below it is the BIOS's, by custom */
#define GUEST_HIGH_START MIB(1)

struct guest_loader {
	err_t (*write)(void *ctx, gpa_t at, const void *data, size_t size_bytes);
	err_t (*zero)(void *ctx, gpa_t at, u64 size_bytes);
	void *ctx;
	u64 ram_size;  /* bytes */
};

struct guest_range {
	u64 base, size;
};

/* Types of memory; E820 and the PVH map use the same numbers. */
enum { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3 };

#define MEMORY_MAP_MAX 8
struct memory_map {
	struct { u64 base, size; u32 type; } entry[MEMORY_MAP_MAX]; /* by address, not overlapping */
	unsigned n;
};

/* False when the sizes make no machine: RAM too small or too big, ACPI area unaligned or not in RAM. */
bool memory_map_build(struct memory_map *m, u64 ram_size, struct guest_range acpi) must_check;

/* All of it is RAM and, apart from that, sane (no wrap). */
bool guest_ram_holds(u64 ram_size, struct guest_range r);

bool guest_ranges_overlap(struct guest_range a, struct guest_range b);

/*
 * A page-aligned place for size bytes: as high as it goes in RAM, not below
 * floor, not beyond ceiling, not in the ACPI area.  False if there is none.
 */
bool guest_place_high(u64 ram_size, struct guest_range acpi, u64 floor, u64 ceiling, u64 size, gpa_t *at) must_check;

/* Writes that remember their first failure, so that a loader checks once. */
struct guest_writer {
	const struct guest_loader *mem;
	err_t error;
};

void guest_put(struct guest_writer *w, u64 at, const void *data, size_t size_bytes);
void guest_put_le(struct guest_writer *w, u64 at, unsigned size_bytes, u64 value);
void guest_put_zero(struct guest_writer *w, u64 at, u64 size_bytes);

/*
 * Reset state, then what both boot protocols ask for: flat 4 GiB segments
 * with the given selectors, interrupts off, caches on, and MTRRs as firmware
 * leaves them (write-back by default).
 */
void guest_cpu_flat(struct cpu_state *cpu, u16 cs, u16 cs_attrib, u16 ds);

#endif
