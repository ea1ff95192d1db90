/*
 * percpu.c - the boot CPU's struct, GDT and TSS.  See percpu.h.
 */
#include "kernel/cpu.h"
#include "kernel/percpu.h"

extern u8 ist_df_stack_top[], ist_nmi_stack_top[], ist_mc_stack_top[], ist_irq_stack_top[];

static struct cpu boot_cpu;

void cpu_init(void)
{
	struct cpu *c = &boot_cpu;
	u64 tss = (u64)&c->tss;
	const struct table_operand op = { sizeof(c->gdt) - 1, (u64)c->gdt };

	c->self = c;
	/* Fixed on purpose: a run must not depend on it.  The zero byte stops a string overrun. */
	c->stack_canary = 0x5265707269736500;
	c->tss.ist[IST_DF - 1] = (u64)ist_df_stack_top;
	c->tss.ist[IST_NMI - 1] = (u64)ist_nmi_stack_top;
	c->tss.ist[IST_MC - 1] = (u64)ist_mc_stack_top;
	c->tss.ist[IST_IRQ - 1] = (u64)ist_irq_stack_top;
	c->tss.iomap_base = sizeof(c->tss);
	/* [APM2 4.8.2 Data-segment and 4.8.3 system descriptors, long mode] */
	c->gdt[SEL_CODE / 8] = 0x00af9b000000ffff;
	c->gdt[SEL_DATA / 8] = 0x00cf93000000ffff;
	c->gdt[SEL_TSS / 8] = (sizeof(c->tss) - 1) | (tss & 0xffffff) << 16 | 0x89UL << 40 |
			      (tss >> 24 & 0xff) << 56;
	c->gdt[SEL_TSS / 8 + 1] = tss >> 32;
	/* The selectors are those of boot.S and mean the same, so nothing need be reloaded. */
	lgdt(&op);
	ltr(SEL_TSS);
	wrmsr(MSR_FS_BASE, (u64)c);
	wrmsr(MSR_GS_BASE, (u64)c);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
}
