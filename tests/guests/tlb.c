/*
 * tlb.c - page tables changed under a running TLB.
 *
 * Lawfully: each change is followed by what the manuals ask for before its
 * effect is looked at [SDM3 4.10.4 Invalidation of TLBs; APM2 5.5].
 *
 *   1  remaps and changed rights: INVLPG, CR3, global pages
 *   2  accessed and dirty bits
 *   3  large pages split and joined
 *   4  devices through fresh mappings
 *   5  with the word "stale": unlawfully, as real kernels do
 *
 * Part 5 reads what a stale translation gives: it depends on where the TLB
 * was emptied, which a hypervisor cannot see.  It is evidence for CAVEATS and
 * no test.
 */
#include "guest.h"

const char guest_name[] = "tlb";

#define ROUNDS 3000
#define PAGES 64
#define WINDOW 0x40000000UL
#define RAM 0x1000000UL
#define DEVICES 0x60000000UL
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LARGE = 0x80, G = 0x100 };

static u64 pd[512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));
static u64 dev_pt[512] __attribute__((aligned(4096)));
static u64 faults, last_error, last_cr2, resume, seed = 42;

static void on_page_fault(struct frame *f)
{
	faults++;
	last_error = f->error;
	last_cr2 = read_cr2();
	mix(last_cr2 ^ f->error);
	f->rip = resume;
}

static volatile u64 *at(unsigned page)
{
	return (volatile u64 *)(WINDOW + page * 4096UL);
}

static void set(unsigned page, unsigned frame, u64 flags)
{
	*(volatile u64 *)&pt[page] = (RAM + frame * 4096UL) | flags;
	invlpg((u64)at(page));
}

/* The error code of a store or load that must fault; ~0 if it did not. */
static u64 try_write(volatile u64 *p, u64 v)
{
	last_error = ~0UL;
	__asm__ volatile("movq $1f, %0; mov %2, %1; 1:" : "=m"(resume), "=m"(*p) : "r"(v) : "memory");
	return last_error;
}

static u64 try_read(volatile u64 *p)
{
	u64 v;

	last_error = ~0UL;
	__asm__ volatile("movq $1f, %0; mov %2, %1; 1:" : "=m"(resume), "=r"(v) : "m"(*p) : "memory");
	return last_error;
}

static void reload_cr3(void)
{
	write_cr3(read_cr3());
}

/* --- 1  remaps and rights ------------------------------------------------- */

static void remaps(unsigned round)
{
	unsigned i = round % PAGES, j = (unsigned)(random64(&seed) % PAGES), k = (i + 1) % PAGES;

	set(i, j, P | W);
	check(*at(i) == j + 1000);
	set(i, k, P | W);
	check(*at(i) == k + 1000);
	set(i, j, 0);
	check(try_read(at(i)) == 0 && last_cr2 == (u64)at(i));
	*(volatile u64 *)&pt[i] = (RAM + j * 4096UL) | P; /* from absent: no flush needed */
	check(*at(i) == j + 1000);
	check(try_write(at(i), 7) == 3);
	*(volatile u64 *)&pt[i] |= W; /* more rights: a fault at most, and it flushes */
	if (try_write(at(i), j + 1000) != ~0UL)
		check(try_write(at(i), j + 1000) == ~0UL);
	write_cr0(read_cr0() & ~0x10000UL); /* WP off: ring 0 writes where it likes */
	set(i, j, P);
	check(try_write(at(i), j + 1000) == ~0UL);
	write_cr0(read_cr0() | 0x10000);
	check(try_write(at(i), 1) == 3);
	set(i, j, P | W);
	check(*at(i) == j + 1000);
}

/* The whole window moves by CR3; global pages stay until CR4.PGE goes. */
static void by_cr3(unsigned round)
{
	u64 cr4 = read_cr4();

	for (unsigned i = 0; i < PAGES; i++)
		*(volatile u64 *)&pt[i] = (RAM + (i + round) % PAGES * 4096UL) | P | W | (round % 2 ? G : 0);
	if (round % 4 < 2 || round % 2 == 0)
		reload_cr3();
	write_cr4(cr4 & ~0x80UL); /* PGE off and on: everything goes, global or not */
	write_cr4(cr4);
	for (unsigned i = 0; i < PAGES; i += 7)
		check(*at(i) == (i + round) % PAGES + 1000);
	for (unsigned i = 0; i < PAGES; i++)
		set(i, i, P | W);
}

/* --- 2  accessed and dirty ---------------------------------------------------- */

static void accessed(unsigned round)
{
	unsigned i = round % PAGES;
	volatile u64 *e = (volatile u64 *)&pt[i], *directory = (volatile u64 *)&pd[0];

	set(i, i, P | W);
	check((*e & (A | D)) == 0);
	(void)*at(i);
	check((*e & (A | D)) == A);
	try_write(at(i), i + 1000);
	check((*e & (A | D)) == (A | D));
	*e &= ~(u64)(A | D);
	invlpg((u64)at(i));
	check((*e & (A | D)) == 0);
	try_write(at(i), i + 1000);
	check((*e & (A | D)) == (A | D));
	*e &= ~(u64)D;
	reload_cr3();
	(void)*at(i);
	check((*e & (A | D)) == A);
	*directory &= ~(u64)A;
	reload_cr3();
	(void)*at(i);
	check(*directory & A);
	/* A locked operation and a string write. */
	set(i, i, P | W);
	__asm__ volatile("lock addq $0, %0" : "+m"(*at(i)) : : "memory", "cc");
	check((*e & (A | D)) == (A | D));
	mix(*e);
}

/* --- 3  large pages --------------------------------------------------------------- */

static void large(unsigned round)
{
	u64 small = pd[0];

	*(volatile u64 *)&pd[0] = RAM | P | W | LARGE;
	reload_cr3();
	for (unsigned i = 0; i < PAGES; i += 9)
		check(*at(i) == i + 1000);
	check((*(volatile u64 *)&pd[0] & (A | D)) == A);
	try_write(at(3), 1003);
	check((*(volatile u64 *)&pd[0] & (A | D)) == (A | D));
	if (round % 2) {
		*(volatile u64 *)&pd[0] = (RAM + 0x200000) | P | W | LARGE;
		invlpg(WINDOW + 0x155000); /* any address in it */
		check(*at(5) == 0);
	}
	for (unsigned i = 0; i < PAGES; i++)
		*(volatile u64 *)&pt[i] = (RAM + i * 4096UL) | P | W;
	*(volatile u64 *)&pd[0] = small & ~(u64)(A | D);
	reload_cr3();
	for (unsigned i = 0; i < PAGES; i += 9)
		check(*at(i) == i + 1000);
	set(9, 10, P | W);
	check(*at(9) == 1010);
	set(9, 9, P | W);
}

/* --- 4  devices ------------------------------------------------------------------------ */

/* The bits must be set though no memory lies behind the page. */
static void devices(unsigned round)
{
	volatile u64 *e = (volatile u64 *)&dev_pt[round % 16];
	volatile u32 *lapic = (volatile u32 *)(DEVICES + round % 16 * 4096UL);

	*e = LAPIC_BASE | P | W;
	invlpg((u64)lapic);
	check(lapic[LAPIC_ID / 4] == lapic_read(LAPIC_ID));
	check((*e & (A | D)) == A);
	lapic[LAPIC_TPR / 4] = 0x30;
	check((*e & (A | D)) == (A | D));
	*e = IOAPIC_BASE | P | W; /* no longer the LAPIC */
	invlpg((u64)lapic);
	lapic[0] = 1;
	check(lapic_read(LAPIC_TPR) == 0x30);
	mix(lapic[4]);
	*e = LAPIC_BASE | P; /* read-only */
	invlpg((u64)lapic);
	check(try_write((volatile u64 *)(DEVICES + round % 16 * 4096UL + LAPIC_TPR), 0) == 3);
	check(lapic_read(LAPIC_TPR) == 0x30);
	lapic_write(LAPIC_TPR, 0);
}

/* --- 5  stale --------------------------------------------------------------------------- */

static void stale(void)
{
	u64 set_again = 0, fresh = 0;

	for (unsigned round = 0; round < 200000; round++) {
		unsigned i = round % PAGES;
		volatile u64 *e = (volatile u64 *)&pt[i];

		(void)*at(i);
		*e &= ~(u64)A; /* and no flush: Linux's ptep_clear_flush_young */
		(void)*at(i);
		set_again += !!(*e & A);
		set(i, i, P | W);
		(void)*at(i);
		*e = (RAM + (i + 1) % PAGES * 4096UL) | P | W;
		fresh += *at(i) == (i + 1) % PAGES + 1000;
		set(i, i, P | W);
	}
	say("tlb: stale: accessed bit set again %u, remap seen %u of 200000\n", set_again, fresh);
	mix(set_again);
	mix(fresh);
}

void guest_main(void)
{
	boot_pdpt[1] = (u64)pd | P | W;
	pd[0] = (u64)pt | P | W;
	pd[256] = (u64)dev_pt | P | W; /* DEVICES */
	for (unsigned i = 0; i < PAGES; i++)
		*(u64 *)(RAM + i * 4096UL) = i + 1000;
	reload_cr3();
	for (unsigned i = 0; i < PAGES; i++)
		set(i, i, P | W);
	handlers[14] = on_page_fault;
	if (arg_word("stale")) {
		stale();
		return;
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		remaps(round);
		accessed(round);
		if (round % 4 == 0)
			by_cr3(round / 4);
		if (round % 8 == 0)
			large(round / 8);
		if (round % 4 == 0)
			devices(round / 4);
	}
	mix(faults);
	mix_bytes(pt, sizeof(pt));
	mix(pd[0]);
}
