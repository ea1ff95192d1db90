/*
 * lapic.c - bringing the local APIC up.  See lapic.h.
 */
#include "kernel/cpu.h"
#include "kernel/lapic.h"
#include "kernel/paging.h"
#include "kernel/panic.h"
#include "kernel/vectors.h"

#define MSR_IA32_APIC_BASE 0x1bU

volatile u32 *host_lapic;

void host_lapic_init(void)
{
	u64 base = rdmsr(MSR_HOST_APIC_BASE);

	/* [APM2 16.9 x2APIC]: leaving x2APIC mode needs the APIC off in between. */
	if (base & BIT(10)) {
		wrmsr(MSR_HOST_APIC_BASE, base & ~(BIT(10) | BIT(11)));
		base &= ~BIT(10);
	}
	wrmsr(MSR_HOST_APIC_BASE, base | BIT(11));
	host_lapic = mmio_map(base & 0x000ffffffffff000UL, PAGE_SIZE);
	host_lapic_write(LAPIC_TPR, 0);
	host_lapic_write(LAPIC_SVR, 0x100 | VEC_SPURIOUS);
	host_lint0_open(false);
	host_lapic_write(LAPIC_LVT_LINT1, 0x400); /* NMI */
	host_lapic_write(LAPIC_LVT_ERROR, 0x10000);
	host_lapic_write(LAPIC_ESR, 0);
	host_lapic_write(LAPIC_TIMER_DIVIDE, 0xb); /* by 1 */
	host_lapic_write(LAPIC_LVT_TIMER, VEC_HOST_TIMER);
	host_timer_arm(0);
	host_lapic_eoi(); /* one the firmware may have left open */
}
