/*
 * time.c - clock frequencies and cpu_wait.  See time.h.
 */
#include "kernel/cpu.h"
#include "kernel/lapic.h"
#include "kernel/percpu.h"
#include "kernel/pic.h"
#include "kernel/serial.h"
#include "kernel/time.h"
#include "kernel/trap.h"
#include "kernel/virtio_net.h"

#define PIT_HZ 1193182UL
#define NS_PER_S 1000000000UL

static struct {
	u64 tsc_hz, lapic_hz;
} clocks;

/*
 * Counts both clocks while channel 2 of the PIT runs down [8254 datasheet,
 * mode 0]; port 61h gates it (bit 0), keeps the speaker off (bit 1) and
 * shows its output (bit 5).
 */
static void measure(u16 pit_ticks)
{
	u8 gate = inb(0x61) & 0xfc;
	u64 tsc, end;
	u32 lapic;

	outb(0x61, gate | 1);
	outb(0x43, 0xb0); /* channel 2, low then high byte, mode 0 */
	outb(0x42, (u8)pit_ticks);
	outb(0x42, (u8)(pit_ticks >> 8));
	host_timer_arm(~0U);
	tsc = rdtsc();
	end = tsc + 10 * NS_PER_S; /* no PIT here: give up */
	while (!(inb(0x61) & 0x20) && rdtsc() < end)
		;
	lapic = ~0U - host_lapic_read(LAPIC_TIMER_CURRENT);
	tsc = rdtsc() - tsc;
	host_timer_arm(0);
	outb(0x61, gate);
	clocks.tsc_hz = tsc * PIT_HZ / pit_ticks;
	clocks.lapic_hz = lapic * PIT_HZ / pit_ticks;
}

/* A measured GHz is a GHz: under -icount one tick is one nanosecond. */
static void round_to_ghz(u64 *hz)
{
	if (*hz > NS_PER_S - NS_PER_S / 100 && *hz < NS_PER_S + NS_PER_S / 100)
		*hz = NS_PER_S;
}

void time_init(void)
{
	u32 max = cpuid(0, 0).eax;
	struct cpuid_regs r;

	if (cpu_is_tcg()) {
		measure(PIT_HZ / 4000);
		round_to_ghz(&clocks.tsc_hz);
		round_to_ghz(&clocks.lapic_hz);
		return;
	}
	measure(PIT_HZ / 20);
	if (max >= 0x15 && (r = cpuid(0x15, 0)).eax && r.ebx && r.ecx)
		clocks.tsc_hz = (u64)r.ecx * r.ebx / r.eax; /* [SDM3 19.7.3] */
	if ((cpuid(1, 0).ecx & BIT(31)) && cpuid(0x40000000, 0).eax >= 0x40000010 &&
	    (r = cpuid(0x40000010, 0)).eax)
		clocks.tsc_hz = r.eax * 1000UL; /* in kHz, by agreement of several hypervisors */
}

u64 host_tsc_hz(void)
{
	return clocks.tsc_hz;
}

u64 host_lapic_hz(void)
{
	return clocks.lapic_hz;
}

/* a * b / c, with 128 bits in between; the result must fit. */
static u64 scale(u64 a, u64 b, u64 c)
{
	u64 high;

	__asm__("mulq %3" : "=a"(a), "=d"(high) : "0"(a), "rm"(b) : "cc");
	__asm__("divq %4" : "=a"(a), "=d"(high) : "0"(a), "1"(high), "rm"(c) : "cc");
	return a;
}

u64 host_ns(void)
{
	u64 t = rdtsc();

	return clocks.tsc_hz == NS_PER_S ? t : t / clocks.tsc_hz * NS_PER_S + scale(t % clocks.tsc_hz, NS_PER_S, clocks.tsc_hz);
}

/* A byte from before: its edge may have been taken by an earlier wait. */
static bool byte_waits(const struct serial *s)
{
	return s->rx_irq && serial_rx_ready(s);
}

/*
 * Opening and closing the ways by which interrupts come costs a tenth of a millisecond under QEMU, and
 * in a conversation the other side has often answered by then: so it is awaited awake for about as long.
 */
#define AWAKE_TRIES 50

static bool heard_awake(void)
{
	if (nics_present())
		for (unsigned i = 0; i < AWAKE_TRIES; i++) {
			if (nics_heard())
				return true;
			pause();
		}
	return false;
}

void cpu_wait(u64 max_ns)
{
	const struct cpu *c = this_cpu();
	u64 wakeups = c->wakeups, deadline;

	if (heard_awake())
		return;
	max_ns = MIN(max_ns, 3600 * NS_PER_S);
	deadline = rdtsc() + scale(max_ns, clocks.tsc_hz, NS_PER_S);
	host_pic_unmask();
	nics_listen(true);
	for (;;) {
		u64 now = rdtsc(), ticks;

		if (now >= deadline || c->wakeups != wakeups || byte_waits(&com1) || byte_waits(&com2) ||
		    byte_waits(&com3) || nics_heard())
			break;
		ticks = scale(deadline - now, clocks.lapic_hz, clocks.tsc_hz) + 1;
		host_timer_arm((u32)MIN(ticks, ~0U));
		/* STI holds interrupts until HLT has begun: none can fall between them. */
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	}
	nics_listen(false);
	host_pic_mask();
	host_timer_arm(0);
	/* A timer that fired just now would stop the next guest entry before its first instruction. */
	trap_drain();
}
