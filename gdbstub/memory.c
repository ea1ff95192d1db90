/*
 * memory.c - the guest's memory as GDB reads, writes and searches it.
 *
 * Addresses are guest-virtual, by the tables of the vCPU at hand, and without
 * regard to rights: a debugger may look everywhere.  In physical mode they
 * are guest-physical.  What is no RAM cannot be read: looking at a device's
 * register changes the device.
 */
#include "gdbstub/stub.h"

#define SEARCH_GAPS BIT(24) /* pages not there: a search of all addresses would pass 2^52 of them */

struct walk_result memory_walk(const struct gdb *g, u64 at)
{
	struct vcpu *v = gdb_vcpu(g);

	/* The walk looks at the low 48 or 32 bits; the others must be their sign, or zero [APM2 5.3.1]. */
	if ((v->cpu.efer & EFER_LMA) ? (u64)((s64)(at << 16) >> 16) != at : at >> 32)
		return (struct walk_result){ .ok = false };
	return paging_walk(v, GVA(at), 0);
}

/* Where `at` is; false: nowhere. */
static bool locate(const struct gdb *g, bool physical, u64 at, gpa_t *gpa)
{
	struct walk_result w = physical ? (struct walk_result){ .ok = true, .gpa = GPA(at) } : memory_walk(g, at);

	*gpa = w.gpa;
	return w.ok && guestmem_is_ram(&gdb_vm(g)->mem, *gpa);
}

static size_t to_page_end(u64 at, size_t n)
{
	return MIN(n, PAGE_SIZE - at % PAGE_SIZE);
}

size_t memory_read(const struct gdb *g, bool physical, u64 at, void *buf, size_t n)
{
	size_t done = 0, part;
	gpa_t gpa;

	for (; done < n; done += part) {
		part = to_page_end(at + done, n - done);
		if (!locate(g, physical, at + done, &gpa) ||
		    guestmem_read(&gdb_vm(g)->mem, gpa, (u8 *)buf + done, part))
			break;
	}
	return done;
}

/* Whether the bytes there are these already: to write them again is no change. */
static bool same(const struct gdb *g, u64 at, const u8 *data, size_t n)
{
	u8 there[256];
	size_t part;

	for (size_t done = 0; done < n; done += part) {
		part = MIN(n - done, sizeof(there));
		if (memory_read(g, g->physical, at + done, there, part) != part || memcmp(there, data + done, part))
			return false;
	}
	return true;
}

bool memory_write(struct gdb *g, u64 at, const void *buf, size_t n)
{
	size_t part;
	gpa_t gpa;

	/* All or nothing: first see whether it is all there. */
	for (size_t done = 0; done < n; done += to_page_end(at + done, n - done))
		if (!locate(g, g->physical, at + done, &gpa))
			return false;
	if (same(g, at, buf, n))
		return true;
	if (!gdb_leave_line(g))
		return false;
	for (size_t done = 0; done < n; done += part) {
		part = to_page_end(at + done, n - done);
		if (!locate(g, g->physical, at + done, &gpa) ||
		    guestmem_write(&gdb_vm(g)->mem, gpa, (const u8 *)buf + done, part))
			return false;
	}
	return true;
}

/*
 * ADDRESS;LENGTH;PATTERN, the pattern in binary [GDB Manual E.4 General Query
 * Packets].  Chunks overlap by the pattern's length less one, so that no match
 * lies across an edge.  What cannot be read holds no match.  The pattern
 * stays where it was received: nothing is received while we search, but
 * interrupts, which wait elsewhere.
 */
void memory_search(struct gdb *g, const char *args)
{
	const char *s = args;
	u64 at, left, skip;
	size_t size, have, want, npages = 0;

	if (!take_hex(&s, &at) || !take(&s, ";") || !take_hex(&s, &left) || !take(&s, ";")) {
		packet_reply(&g->io, "E22");
		return;
	}
	size = (size_t)(g->io.in + g->io.size - s);
	if (!size || size > sizeof(g->chunk) / 2) {
		packet_reply(&g->io, "E22");
		return;
	}
	for (; left >= size && npages < SEARCH_GAPS && !gdb_wants_stop(g); at += skip, left -= MIN(skip, left)) {
		want = MIN(left, sizeof(g->chunk));
		have = memory_read(g, g->physical, at, g->chunk, want);
		for (size_t i = 0; i + size <= have; i++)
			if (g->chunk[i] == (u8)*s && !memcmp(g->chunk + i, s, size)) {
				packet_reply(&g->io, "1,%lx", at + i);
				return;
			}
		npages += have < want;
		skip = have < want ? have + to_page_end(at + have, PAGE_SIZE) : have - (size - 1);
		if (at + skip < at)
			left = 0;
	}
	packet_reply(&g->io, left >= size ? "E04" : "0");
}

/* ADDRESS,LENGTH: GDB's compare-sections.  CRC-32, not reflected [GDB Manual E.4 General Query Packets, qCRC]. */
void memory_crc(struct gdb *g, const char *args)
{
	const char *s = args;
	u64 at, left;
	u32 crc = 0xffffffff;

	if (!take_hex(&s, &at) || !take(&s, ",") || !take_hex(&s, &left)) {
		packet_reply(&g->io, "E22");
		return;
	}
	while (left) {
		size_t n = to_page_end(at, MIN(left, PAGE_SIZE));

		if (memory_read(g, g->physical, at, g->chunk, n) != n || gdb_wants_stop(g)) {
			packet_reply(&g->io, "E14");
			return;
		}
		for (size_t i = 0; i < n; i++) {
			crc ^= (u32)g->chunk[i] << 24;
			for (unsigned k = 0; k < 8; k++)
				crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
		}
		at += n;
		left -= n;
	}
	packet_reply(&g->io, "C%x", crc);
}
