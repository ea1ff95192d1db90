/*
 * trap.c - the IDT, and what happens behind it.  See trap.h.
 */
#include "kernel/cpu.h"
#include "kernel/console.h"
#include "kernel/lapic.h"
#include "kernel/paging.h"
#include "kernel/panic.h"
#include "kernel/percpu.h"
#include "kernel/trap.h"
#include "kernel/vectors.h"

enum { TRAP_NMI = 2, TRAP_DF = 8, TRAP_GP = 13, TRAP_PF = 14, TRAP_MC = 18, FIRST_IRQ = 32 };

/* [APM2 4.8.4 Interrupt and trap gates, long mode] */
struct idt_gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_mid;
	u32 offset_high, reserved;
};

static struct idt_gate idt[256] aligned_to(16);
static void (*irq_handlers[256])(void);

extern const u8 trap_stubs[][16];
extern const struct { u32 fault, fixup; } __extable_start[], __extable_end[];

void trap_dispatch(struct trap_frame *f);

static void set_gate(unsigned vector, const void *stub, u8 ist)
{
	u64 at = (u64)stub;

	idt[vector] = (struct idt_gate){
		.offset_low = (u16)at,
		.offset_mid = (u16)(at >> 16),
		.offset_high = (u32)(at >> 32),
		.selector = SEL_CODE,
		.ist = ist,
		.type = 0x8e, /* present, interrupt gate: IF is cleared */
	};
}

static void ignore(void)
{
}

void trap_set_irq_handler(u8 vector, void (*fn)(void))
{
	irq_handlers[vector] = fn ? fn : ignore;
}

void trap_init(void)
{
	const struct table_operand op = { sizeof(idt) - 1, (u64)idt };

	for (unsigned v = 0; v < 256; v++)
		set_gate(v, trap_stubs[v], v < FIRST_IRQ ? 0 : IST_IRQ);
	set_gate(TRAP_DF, trap_stubs[TRAP_DF], IST_DF);
	set_gate(TRAP_NMI, trap_stubs[TRAP_NMI], IST_NMI);
	set_gate(TRAP_MC, trap_stubs[TRAP_MC], IST_MC);
	trap_set_irq_handler(VEC_HOST_TIMER, NULL);
	trap_set_irq_handler(VEC_SPURIOUS, NULL);
	lidt(&op);
}

static void irq(struct trap_frame *f)
{
	struct cpu *c = this_cpu();
	bool from_pic = f->vector > VEC_HOST_PIC && f->vector <= VEC_HOST_PIC_LAST;

	c->irqs++;
	if (irq_handlers[f->vector]) {
		irq_handlers[f->vector]();
	} else if (!from_pic && c->unexpected_irqs++ == 0) {
		kprintf("interrupt %02lxh has no handler; ignored from now on\n", f->vector);
	}
	/* The 8259s give their EOI themselves; a spurious interrupt wants none [APM2 16.4.7]. */
	if (!from_pic && f->vector != VEC_SPURIOUS)
		host_lapic_eoi();
}

static bool fixed_up(struct trap_frame *f)
{
	for (size_t i = 0; &__extable_start[i] < __extable_end; i++) {
		if (__extable_start[i].fault == f->rip) {
			f->rip = __extable_start[i].fixup;
			return true;
		}
	}
	return false;
}

#define TRAP_DB 1
#define RFLAGS_RESUME BIT(16)

static u64 stray_debug; /* boot area: %gs may be the guest's where these come */

u64 trap_stray_debug(void)
{
	return stray_debug;
}

static void debug_exception(struct trap_frame *f)
{
	write_dr7(0x400);
	stray_debug++;
	f->rflags |= RFLAGS_RESUME;
}

static noreturn_fn void exception(const struct trap_frame *f)
{
	static const char *const names[FIRST_IRQ] = {
		"#DE divide error", "#DB debug", "NMI", "#BP breakpoint", "#OF overflow", "#BR bound",
		"#UD invalid opcode", "#NM device not available", "#DF double fault", NULL,
		"#TS invalid TSS", "#NP segment not present", "#SS stack", "#GP general protection",
		"#PF page fault", NULL, "#MF x87", "#AC alignment check", "#MC machine check", "#XF SIMD",
		[21] = "#CP control protection", [28] = "#HV", [29] = "#VC", [30] = "#SX security",
	};
	const char *name = names[f->vector] ? names[f->vector] : "reserved exception";
	u64 cr2 = read_cr2();
	const char *stack = paging_guard_of(cr2);

	/* An overflow faults on the guard page, and once more pushing that fault: #DF. */
	if (stack && (f->vector == TRAP_DF || f->vector == TRAP_PF))
		panic_trap(f, "%s: the %s stack overflowed (cr2 %lx)", name, stack, cr2);
	if (f->vector == TRAP_PF)
		panic_trap(f, "%s: %s of %lx, %s", name,
			   f->error & BIT(4) ? "execution" : f->error & BIT(1) ? "write" : "read", cr2,
			   f->error & BIT(0) ? "not permitted" : "not mapped");
	panic_trap(f, "%s, error code %lx", name, f->error);
}

void trap_dispatch(struct trap_frame *f)
{
	if (f->vector >= FIRST_IRQ)
		irq(f);
	else if (f->vector == TRAP_DB)
		debug_exception(f);
	else if (f->vector != TRAP_GP || !fixed_up(f))
		exception(f);
}
