/*
 * selftest.c - the substrate's test, linked in place of the layers above.
 *
 * kernel/selftest.sh boots it once for each word after "test=" on the command
 * line and checks what it prints and how it ends.  Here are the things only a
 * machine can show: rights of pages, traps, interrupts; its devices are next door
 * [selftest_devices.c].
 */
#include <lz4.h>

#include "kernel/bootinfo.h"
#include "kernel/bundle.h"
#include "kernel/console.h"
#include "kernel/coroutine.h"
#include "kernel/cpu.h"
#include "kernel/fpu.h"
#include "kernel/lapic.h"
#include "kernel/malloc.h"
#include "kernel/mm.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"
#include "kernel/realtime.h"
#include "kernel/selftest.h"
#include "kernel/serial.h"
#include "kernel/time.h"
#include "kernel/trap.h"
#include "kernel/vectors.h"

static void test_info(const struct boot_info *bi)
{
	const char *name;
	const u8 *data;
	size_t pos = 0, size;

	kprintf("protocol %u, tsc %lu Hz, lapic %lu Hz\n", bi->protocol, host_tsc_hz(), host_lapic_hz());
	for (unsigned i = 0; i < bi->nram; i++)
		kprintf("ram %012lx-%012lx\n", bi->ram[i].start, bi->ram[i].end);
	kprintf("free %zu pages\n", page_free_count());
	for (unsigned i = 0; i < bi->nmodules; i++) {
		const struct boot_module *m = &bi->modules[i];

		kprintf("module %u: %zu bytes, \"%s\"\n", i, m->size_bytes, m->cmdline);
		while (!bundle_next(m->data, m->size_bytes, &pos, &name, &data, &size))
			control_printf("file %s %zu %.*s\n", name, size, (int)MIN(size, 40UL), data);
	}
}

static void overflow(u64 depth)
{
	volatile u8 frame[512];

	frame[0] = (u8)depth;
	if (frame[0] + depth) /* always */
		overflow(depth + frame[0]);
}

static void test_guard(const struct boot_info *bi unused_arg)
{
	overflow(1);
}

extern u8 __text_start[], __rodata_start[];

/* By assembly: a compiler may do as it likes with these. */
static void store(u64 at)
{
	__asm__ volatile("movb $1, (%0)" : : "r"(at) : "memory");
}

static void test_write_text(const struct boot_info *bi unused_arg)
{
	store((u64)__text_start);
}

static void test_write_rodata(const struct boot_info *bi unused_arg)
{
	store((u64)__rodata_start);
}

static void test_null(const struct boot_info *bi unused_arg)
{
	store(8);
}

static void test_execute_data(const struct boot_info *bi unused_arg)
{
	static u8 code[1] = { 0xc3 }; /* ret */

	((void (*)(void))(u64)code)();
}

static void test_panic(const struct boot_info *bi unused_arg)
{
	panic("asked for %s, %u", "by the test", 42U);
}

static void test_msr(const struct boot_info *bi unused_arg)
{
	u64 v = 0;

	check(!rdmsr_safe(MSR_EFER, &v) && (v & BIT(11)), "rdmsr_safe of EFER");
	check(!wrmsr_safe(MSR_KERNEL_GS_BASE, 0x1234) && rdmsr(MSR_KERNEL_GS_BASE) == 0x1234,
	      "wrmsr_safe");
	/* VM_HSAVE_PA, not page aligned, is #GP [APM2 15.30.4]; QEMU lets most absent MSRs pass. */
	check(wrmsr_safe(0xc0010117, 0xfff) == ERR_UNSUPPORTED, "a faulting wrmsr_safe");
}

/* Every page once: no page is handed out twice, all come back, high memory is mapped. */
static void test_memory(const struct boot_info *bi)
{
	size_t total = page_free_count(), n = 0;
	u64 chain = 0, highest = 0, *p;
	void *big = page_alloc_aligned(1024, MIB(2));

	check(big && !((u64)big & (MIB(2) - 1)), "aligned");
	check(page_free_count() == total - 1024, "count after an allocation");
	check(!page_alloc(total), "too much is NULL");
	page_free(big, 1024);
	while ((p = page_alloc(1))) {
		*p = chain;
		chain = (u64)p;
		highest = MAX(highest, chain);
		n++;
	}
	check(n == total && page_free_count() == 0, "every page once");
	kprintf("highest page %lx\n", highest);
	check(highest >= bi->ram[bi->nram - 1].start, "memory of the last range");
	while (chain) {
		p = (u64 *)chain;
		chain = *p;
		page_free(p, 1);
	}
	check(page_free_count() == total, "all pages back");
	check((p = page_alloc_aligned(MIB(64) / PAGE_SIZE, MIB(2))), "merged again");
	page_free(p, MIB(64) / PAGE_SIZE);
	page_free(p, 1); /* must panic */
}

static void test_malloc(const struct boot_info *bi unused_arg)
{
	size_t total = page_free_count();
	u8 *a = malloc(100), *b = malloc(100), *c = calloc(3, 100000), *d;
	u8 *volatile twice; /* volatile: the compiler, too, sees what is wrong with it */

	check(a && b && c && a != b && !((u64)a & 15) && !((u64)c & 15), "malloc");
	memset(a, 1, 100);
	memset(b, 2, 100);
	check(a[99] == 1 && c[299999] == 0, "objects do not overlap; calloc clears");
	free(a);
	d = malloc(90);
	twice = d;
	check(d == a, "an object is used again");
	free(c);
	free(b);
	free(d);
	check(page_free_count() == total - 1, "large objects go back, a page of small ones stays");
	free(twice); /* must panic */
}

static void test_lz4(const struct boot_info *bi unused_arg)
{
	static char text[20000], packed[LZ4_COMPRESSBOUND(20000)], unpacked[20000];
	u64 before = 0x1122334455667788, after = 0;
	int size;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)("lz4 wants SSE2"[i % 14] + i / 1000);
	__asm__ volatile("movq %0, %%xmm0; movq %0, %%xmm15" : : "r"(before));
	fpu_enter();
	size = LZ4_compress_default(text, packed, sizeof(text), sizeof(packed));
	check(size > 0 && size < 2000, "compressed");
	check(LZ4_decompress_safe(packed, unpacked, size, sizeof(unpacked)) == sizeof(text), "unpacked");
	__asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm15, %%xmm15" : : : "memory");
	fpu_leave();
	check(!memcmp(text, unpacked, sizeof(text)), "lz4 there and back");
	__asm__ volatile("movq %%xmm0, %0" : "=r"(after));
	check(before == after, "xmm0 kept");
	__asm__ volatile("movq %%xmm15, %0" : "=r"(after));
	check(before == after, "xmm15 kept");
	kprintf("lz4: %zu -> %d\n", sizeof(text), size);
}

static void test_string(const struct boot_info *bi unused_arg)
{
	u8 a[256], b[256];

	for (unsigned from = 0; from < 20; from++) {
		for (unsigned to = 0; to < 20; to++) {
			for (unsigned size = 0; size < 200; size++) {
				for (unsigned i = 0; i < 256; i++)
					a[i] = b[i] = (u8)i;
				memmove(a + to, a + from, size);
				for (unsigned i = 0; i < size; i++)
					b[to + i] = (u8)(from + i);
				check(!memcmp(a, b, 256), "memmove");
			}
		}
	}
	for (unsigned size = 0; size < 200; size++) {
		memset(a, 1, 256);
		memset(a + 3, 7, size);
		for (unsigned i = 0; i < 256; i++)
			check(a[i] == (i >= 3 && i < 3 + size ? 7 : 1), "memset");
	}
	check(memcmp("abcdefghi", "abcdefghj", 9) < 0 && memcmp("b", "a", 1) > 0, "memcmp");
	check(strcmp("ab", "abc") < 0 && !strcmp("", "") && strncmp("abx", "aby", 2) == 0, "strcmp");
	check(strlen("four") == 4 && strchr("four", 'r') && !strchr("four", 'x'), "strlen, strchr");
	check(strstr("hypervisor", "visor") && !strstr("hyper", "visor"), "strstr");
}

static u64 hits;

static void hit(void)
{
	hits++;
}

static void test_irq(const struct boot_info *bi unused_arg)
{
	u64 start, ns, wakeups = this_cpu()->wakeups;

	trap_set_irq_handler(VEC_HOST_TIMER, hit);
	host_timer_arm(1000);
	start = rdtsc();
	while (!host_lapic_pending(VEC_HOST_TIMER))
		;
	ns = rdtsc() - start;
	check(hits == 0 && ns > 900 && ns < 1200, "the timer is exact");
	trap_drain();
	check(hits == 1 && !interrupts_on(), "and delivered once");
	start = rdtsc();
	cpu_wait(3000000);
	ns = rdtsc() - start;
	kprintf("cpu_wait(3 ms) took %lu ns\n", ns);
	check(ns >= 3000000, "cpu_wait waits as long as it was asked to");
	check(this_cpu()->wakeups == wakeups, "cpu_wait by itself");
	check(hits == 2 && !host_lapic_pending(VEC_HOST_TIMER), "no timer left behind");
	__asm__ volatile("int $0x80");
	__asm__ volatile("int $0x80");
	check(this_cpu()->unexpected_irqs == 2, "unexpected interrupts are counted");
}

static struct {
	struct coroutine main, two[2];
	u64 turns[2];
} co;

/* Its own variables survive what the other does to registers and stack. */
static void count_turns(void *ctx)
{
	u64 number = (u64)ctx, mine = number;

	check(!((u64)__builtin_frame_address(0) & 15), "a coroutine's stack is aligned");
	for (;;) {
		co.turns[number] = ++mine;
		coroutine_switch(&co.two[number], number ? &co.main : &co.two[1]);
	}
}

static void test_coroutine(const struct boot_info *bi unused_arg)
{
	coroutine_init(&co.two[0], 0, count_turns, (void *)0);
	coroutine_init(&co.two[1], COROUTINES - 1, count_turns, (void *)1);
	for (u64 i = 1; i <= 1000; i++) {
		coroutine_switch(&co.main, &co.two[0]);
		check(co.turns[0] == i && co.turns[1] == i + 1, "each goes on where it was");
	}
}

static void overflow_there(void *ctx unused_arg)
{
	overflow(1);
}

static void test_coroutine_guard(const struct boot_info *bi unused_arg)
{
	coroutine_init(&co.two[0], 3, overflow_there, NULL);
	coroutine_switch(&co.main, &co.two[0]);
}

/* Busy for some hundred million instructions between the two lines, whose distance the script measures. */
static void test_realtime(const struct boot_info *bi unused_arg)
{
	u64 before, asleep = host_realtime_ns(), tsc, calls;

	cpu_wait(300000000);
	asleep = host_realtime_ns() - asleep;
	kprintf("300 ms asleep: %lu ms\n", asleep / 1000000);
	check(asleep >= 299000000, "a sleep is as long as its time");
	before = host_realtime_ns();
	kprintf("begin %lu\n", before / 1000000);
	tsc = rdtsc();
	for (volatile u64 i = 0; i < 80000000; i++)
		;
	kprintf("end %lu\n", host_realtime_ns() / 1000000);
	kprintf("busy: %lu ms, instructions say %lu ms\n", (host_realtime_ns() - before) / 1000000, (rdtsc() - tsc) / 1000000);
	before = host_realtime_ns();
	for (calls = 0; host_realtime_ns() - before < 200000000; calls++)
		;
	kprintf("a call: %lu ns, real: %d\n", 200000000 / calls, host_realtime_is_real());
}

/* Echoes what arrives, as it wakes us; ends at 'q'. */
static void test_serial(const struct boot_info *bi unused_arg)
{
	u8 buf[8];
	size_t n;

	serial_rx_irq_enable(&com1);
	kprintf("ready\n");
	for (;;) {
		u64 start = rdtsc();

		cpu_wait(20000000000);
		n = serial_read(&com1, buf, sizeof(buf));
		check(n || rdtsc() - start < 20000000000, "a byte within 20 s");
		for (size_t i = 0; i < n; i++) {
			kprintf("got %c\n", buf[i]);
			if (buf[i] == 'q')
				return;
		}
	}
}

static const struct {
	const char *name;
	void (*run)(const struct boot_info *bi);
} tests[] = {
	{ "info", test_info }, { "guard", test_guard }, { "write_text", test_write_text },
	{ "write_rodata", test_write_rodata }, { "null", test_null },
	{ "execute_data", test_execute_data }, { "panic", test_panic }, { "msr", test_msr },
	{ "memory", test_memory }, { "malloc", test_malloc }, { "lz4", test_lz4 },
	{ "string", test_string }, { "irq", test_irq },
	{ "coroutine", test_coroutine }, { "coroutine_guard", test_coroutine_guard }, { "realtime", test_realtime },
	{ "serial", test_serial }, { "blk", test_blk },
	{ "net", test_net }, { "jumbo", test_jumbo },
	{ "scsi", test_scsi }, { "scsi_late", test_scsi_late },
};

void hypervisor_main(const struct boot_info *bi)
{
	u64 spent = rdtsc() - bi->entry_tsc;
	const char *word = strstr(bi->cmdline, "test=");

	kprintf("%lu instructions from entry to hypervisor_main\n", spent);
	for (size_t i = 0; word && i < ARRAY_SIZE(tests); i++) {
		if (!strcmp(word + 5, tests[i].name)) {
			tests[i].run(bi);
			kprintf("passed\n");
			return;
		}
	}
	panic("selftest: no such test: %s", bi->cmdline);
}
