/*
 * lapic.c - the local APIC.  See lapic.h.
 *
 * Changes: its own registers and, by lapic_timer.c, its one timer; calls its
 * env.  Never: another LAPIC.  What goes between them is in lapic_route.c.
 *
 * Parts: vectors and priority - errors and local delivery - registers -
 * memory and MSR faces - the hooks.
 */
#include "vmm/dev/lapic_impl.h"

enum { LVT_READ_ONLY = 1 << 12 | 1 << 14 }; /* delivery status, remote IRR: always 0 here */

/* Register numbers: offset / 16 in the page, MSR - 800h in x2APIC [SDM3 Table 10-6]. */
enum {
	REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a,
	REG_EOI = 0x0b, REG_RRD = 0x0c, REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SVR = 0x0f,
	REG_ISR = 0x10, REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28, REG_ICR = 0x30,
	REG_ICR_HIGH = 0x31, REG_LVT = 0x32, REG_INITIAL = 0x38, REG_CURRENT = 0x39,
	REG_DIVIDE = 0x3e, REG_SELF_IPI = 0x3f,
};

bool lapic_claims(const struct lapic *l, gpa_t addr)
{
	return lapic_hw_enabled(l) && !lapic_x2apic(l) && (addr.v & PAGE_MASK) == (l->apic_base & PAGE_MASK);
}

/* --- vectors and priority --- */

static void set_vector(u32 *bits, u8 *words, u8 vector)
{
	bits[vector / 32] |= 1U << vector % 32;
	*words |= (u8)(1 << vector / 32);
}

static void clear_vector(u32 *bits, u8 *words, u8 vector)
{
	bits[vector / 32] &= ~(1U << vector % 32);
	if (!bits[vector / 32])
		*words &= (u8)~(1 << vector / 32);
}

static int highest(const u32 *bits, u8 words)
{
	int word;

	if (!words)
		return -1;
	word = 31 - __builtin_clz(words);
	return word * 32 + 31 - __builtin_clz(bits[word]);
}

static void rebuild_words(struct lapic *l)
{
	l->irr_words = l->isr_words = 0;
	for (unsigned i = 0; i < 8; i++) {
		l->irr_words |= (u8)(!!l->irr[i] << i);
		l->isr_words |= (u8)(!!l->isr[i] << i);
	}
}

/* [SDM3 10.8.3.1 Task and Processor Priorities] */
u32 lapic_ppr(const struct lapic *l)
{
	int serving = highest(l->isr, l->isr_words);

	if (serving < 0 || (l->tpr >> 4) >= (u32)serving >> 4)
		return l->tpr;
	return (u32)serving & 0xf0;
}

int lapic_pending_vector(const struct lapic *l)
{
	int vector;

	if (!l->irr_words || !lapic_sw_enabled(l))
		return -1;
	vector = highest(l->irr, l->irr_words);
	return (u32)vector >> 4 > lapic_ppr(l) >> 4 ? vector : -1;
}

void lapic_accept(struct lapic *l, u8 vector)
{
	clear_vector(l->irr, &l->irr_words, vector);
	set_vector(l->isr, &l->isr_words, vector);
}

/* [SDM3 10.8.5 Signaling Interrupt Servicing Completion] */
static void end_of_interrupt(struct lapic *l)
{
	int vector = highest(l->isr, l->isr_words);

	if (vector < 0)
		return;
	clear_vector(l->isr, &l->isr_words, (u8)vector);
	if (l->tmr[vector / 32] >> vector % 32 & 1)
		l->env.eoi(l->env.ctx, (u8)vector);
}

void lapic_set_tpr_from_cr8(struct lapic *l, u8 cr8)
{
	l->tpr = (u32)(cr8 & 15) << 4;
}

/* --- errors and local delivery --- */

/*
 * Logs an error.  The error interrupt comes once, then waits for a write to
 * ESR to arm it again.  [SDM3 10.5.3 Error Handling]
 */
void lapic_log_error(struct lapic *l, u32 bit)
{
	u32 lvt = l->lvt[LVT_ERROR], already = l->esr_pending;

	l->esr_pending |= bit;
	if (already || lvt & LVT_MASKED || !lapic_sw_enabled(l))
		return;
	if ((lvt & 0xff) < 16)
		l->esr_pending |= ESR_RECEIVE_ILLEGAL;
	else
		set_vector(l->irr, &l->irr_words, (u8)lvt);
}

/* Vectors 0-15 are the exceptions' and are refused. [SDM3 10.5.2 Valid Interrupt Vectors] */
void lapic_take_fixed(struct lapic *l, u8 vector, u8 trigger)
{
	if (!lapic_sw_enabled(l))
		return;
	if (vector < 16) {
		lapic_log_error(l, ESR_RECEIVE_ILLEGAL);
		return;
	}
	set_vector(l->irr, &l->irr_words, vector);
	if (trigger == APIC_LEVEL)
		l->tmr[vector / 32] |= 1U << vector % 32;
	else
		l->tmr[vector / 32] &= ~(1U << vector % 32);
}

static unsigned lvt_delivery(u32 lvt)
{
	return lvt >> 8 & 7;
}

bool lapic_extint_enabled(const struct lapic *l)
{
	u32 lvt = l->lvt[LVT_LINT0];

	return !lapic_hw_enabled(l) || (!(lvt & LVT_MASKED) && lvt_delivery(lvt) == APIC_EXTINT);
}

/* --- registers, alike in memory and MSRs --- */

/* -1: there is no such register. */
static s64 read_register(const struct lapic *l, unsigned reg)
{
	switch (reg) {
	case REG_ID:
		return lapic_x2apic(l) ? l->apic_id : l->apic_id << 24;
	case REG_VERSION:
		return LAPIC_VERSION;
	case REG_TPR:
		return l->tpr;
	case REG_PPR:
		return lapic_ppr(l);
	case REG_APR:
	case REG_EOI:
	case REG_RRD:
		return 0;
	case REG_LDR:
		return lapic_ldr(l);
	case REG_DFR:
		return l->dfr;
	case REG_SVR:
		return l->svr;
	case REG_ISR ... REG_ISR + 7:
		return l->isr[reg - REG_ISR];
	case REG_TMR ... REG_TMR + 7:
		return l->tmr[reg - REG_TMR];
	case REG_IRR ... REG_IRR + 7:
		return l->irr[reg - REG_IRR];
	case REG_ESR:
		return l->esr;
	case REG_ICR:
		return (u32)l->icr;
	case REG_ICR_HIGH:
		return (u32)(l->icr >> 32);
	case REG_LVT ... REG_LVT + NLVT - 1:
		return l->lvt[reg - REG_LVT];
	case REG_INITIAL:
		return l->timer_initial;
	case REG_CURRENT:
		return lapic_timer_count(l);
	case REG_DIVIDE:
		return l->timer_divide;
	default:
		return -1;
	}
}

/* The bits that may be written; 0: not a writable register, or one whose value says nothing. */
static u32 writable_bits(unsigned reg)
{
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI:
		return 0xff;
	case REG_LDR:
		return 0xff000000;
	case REG_DFR:
		return 0xf0000000;
	case REG_SVR:
		return 0x3ff;
	case REG_ICR:
		return 0x000ccfff;
	case REG_LVT + LVT_TIMER:
		return 0x000710ff;
	case REG_LVT + LVT_THERMAL:
	case REG_LVT + LVT_PMC:
		return 0x000117ff;
	case REG_LVT + LVT_LINT0:
	case REG_LVT + LVT_LINT1:
		return 0x0001f7ff;
	case REG_LVT + LVT_ERROR:
		return 0x000110ff;
	case REG_ICR_HIGH:
	case REG_INITIAL:
		return 0xffffffff;
	case REG_DIVIDE:
		return 0xb;
	default:
		return 0;
	}
}

/* While software-disabled every LVT entry is and stays masked [SDM3 10.4.7.2]. */
static void set_svr(struct lapic *l, u32 value)
{
	l->svr = value;
	if (value & SVR_ENABLE)
		return;
	for (unsigned i = 0; i < NLVT; i++)
		l->lvt[i] |= LVT_MASKED;
	lapic_timer_arm(l);
}

static void set_lvt(struct lapic *l, unsigned i, u32 value)
{
	value &= ~(u32)LVT_READ_ONLY;
	if (!(l->svr & SVR_ENABLE))
		value |= LVT_MASKED;
	if (i == LVT_TIMER)
		lapic_timer_set_lvt(l, value);
	else
		l->lvt[i] = value;
}

/* value holds writable bits only.  False: there is no such register to write. */
static bool write_register(struct lapic *l, unsigned reg, u32 value)
{
	lapic_timer_catch_up(l);
	switch (reg) {
	case REG_TPR:
		l->tpr = value;
		return true;
	case REG_EOI:
		end_of_interrupt(l);
		return true;
	case REG_LDR:
		l->ldr = value;
		return true;
	case REG_DFR:
		l->dfr = value | 0x0fffffff;
		return true;
	case REG_SVR:
		set_svr(l, value);
		return true;
	case REG_ESR:
		l->esr = l->esr_pending;
		l->esr_pending = 0;
		return true;
	case REG_LVT ... REG_LVT + NLVT - 1:
		set_lvt(l, reg - REG_LVT, value);
		return true;
	case REG_INITIAL:
		lapic_timer_set_initial(l, value);
		return true;
	case REG_DIVIDE:
		lapic_timer_set_divide(l, value);
		return true;
	default:
		return false;
	}
}

/* --- the memory face --- */

static bool read_only_in_memory(unsigned reg)
{
	return reg == REG_ID || reg == REG_VERSION || reg == REG_APR || reg == REG_PPR || reg == REG_RRD ||
	       (reg >= REG_ISR && reg < REG_ESR) || reg == REG_CURRENT;
}

/* Other than aligned 32-bit accesses are undefined [SDM3 10.4.1]: here they do nothing. */
static u64 lapic_read(void *dev, enum io_space space, u64 addr, unsigned size_bytes)
{
	struct lapic *l = dev;
	s64 value;

	if (space != IO_MEMORY || !lapic_claims(l, GPA(addr)))
		return ~0UL;
	if (size_bytes != 4 || addr & 15)
		return 0;
	lapic_timer_catch_up(l);
	value = read_register(l, (addr & 0xfff) >> 4);
	if (value >= 0)
		return (u64)value;
	lapic_log_error(l, ESR_ILLEGAL_REGISTER);
	return 0;
}

static void lapic_write(void *dev, enum io_space space, u64 addr, unsigned size_bytes, u64 value)
{
	unsigned reg = (addr & 0xfff) >> 4;
	struct lapic *l = dev;

	if (space != IO_MEMORY || !lapic_claims(l, GPA(addr)) || size_bytes != 4 || addr & 15)
		return;
	value &= writable_bits(reg);
	if (reg == REG_ICR) {
		lapic_timer_catch_up(l);
		l->icr = (l->icr & ~0xffffffffUL) | (value & ~0x1000UL); /* delivery status: idle */
		lapic_send_ipi(l);
	} else if (reg == REG_ICR_HIGH) {
		l->icr = (u32)l->icr | (value & 0xff000000) << 32;
	} else if (!write_register(l, reg, (u32)value) && !read_only_in_memory(reg)) {
		lapic_log_error(l, ESR_ILLEGAL_REGISTER);
	}
}

/* --- the MSR face [SDM3 10.12 Extended XAPIC (x2APIC)] --- */

/* Registers of the page that x2APIC dropped; reads and writes of them fault. */
static bool gone_in_x2apic(unsigned reg)
{
	return reg == REG_APR || reg == REG_RRD || reg == REG_DFR || reg == REG_ICR_HIGH;
}

err_t lapic_read_msr(struct lapic *l, u32 msr, u64 *value)
{
	unsigned reg = msr - MSR_X2APIC_FIRST;
	s64 low;

	lapic_timer_catch_up(l);
	*value = 0;
	if (msr == MSR_APIC_BASE) {
		*value = l->apic_base;
		return OK;
	}
	if (msr == MSR_TSC_DEADLINE) {
		*value = l->tsc_deadline;
		return OK;
	}
	if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST || !lapic_x2apic(l))
		return ERR_INVALID;
	if (reg == REG_ICR) {
		*value = l->icr;
		return OK;
	}
	low = read_register(l, reg);
	if (gone_in_x2apic(reg) || reg == REG_EOI || low < 0)
		return ERR_INVALID;
	*value = (u64)low;
	return OK;
}

static err_t write_x2apic(struct lapic *l, unsigned reg, u64 value)
{
	if (reg == REG_ICR) {
		if ((u32)value & ~(writable_bits(reg) & ~0x1000U))
			return ERR_INVALID;
		l->icr = value;
		lapic_send_ipi(l);
		return OK;
	}
	if (gone_in_x2apic(reg) || reg == REG_LDR || value & ~(u64)writable_bits(reg))
		return ERR_INVALID;
	if (reg == REG_SELF_IPI) {
		lapic_self_ipi(l, (u8)value);
		return OK;
	}
	return write_register(l, reg, (u32)value) ? OK : ERR_INVALID;
}

/* All registers but the ID and IA32_APIC_BASE: power-up, INIT, and disabling. */
void lapic_reset_registers(struct lapic *l)
{
	l->icr = 0;
	l->tpr = 0;
	l->svr = 0xff;
	l->ldr = 0;
	l->dfr = 0xffffffff;
	l->esr = l->esr_pending = 0;
	for (unsigned i = 0; i < NLVT; i++)
		l->lvt[i] = LVT_MASKED;
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->tmr, 0, sizeof(l->tmr));
	rebuild_words(l);
	l->timer_initial = l->timer_count = l->timer_divide = 0;
	l->timer_start_ns = 0;
	l->tsc_deadline = 0;
	vtimer_cancel(&l->timer);
}

/*
 * Legal changes: disabled <-> xAPIC -> x2APIC -> disabled.  A LAPIC that comes
 * back from disabled is as after power-up.  [SDM3 10.12.5 State Transitions]
 */
static err_t write_apic_base(struct lapic *l, u64 value)
{
	u64 legal = (BIT(LAPIC_PHYS_BITS) - 1) & PAGE_MASK;
	u64 was = l->apic_base & (BASE_EN | BASE_EXTD), will = value & (BASE_EN | BASE_EXTD);

	if (value & ~(legal | BASE_EN | BASE_EXTD | BASE_BSP) || will == BASE_EXTD)
		return ERR_INVALID;
	if (will == (BASE_EN | BASE_EXTD) && !was)
		return ERR_INVALID;
	if (will == BASE_EN && was & BASE_EXTD)
		return ERR_INVALID;
	l->apic_base = value;
	if (!will && was)
		lapic_reset_registers(l);
	if (will & BASE_EXTD && !(was & BASE_EXTD))
		l->icr = (u32)l->icr; /* its destination field changes format */
	return OK;
}

err_t lapic_write_msr(struct lapic *l, u32 msr, u64 value)
{
	lapic_timer_catch_up(l);
	if (msr == MSR_APIC_BASE)
		return write_apic_base(l, value);
	if (msr == MSR_TSC_DEADLINE) {
		if (lapic_timer_mode(l) == TIMER_TSC_DEADLINE)
			lapic_timer_set_deadline(l, value);
		return OK;
	}
	if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST || !lapic_x2apic(l))
		return ERR_INVALID;
	return write_x2apic(l, msr - MSR_X2APIC_FIRST, value);
}

/* --- the hooks --- */

void lapic_set_virtual_wire(struct lapic *l)
{
	lapic_timer_catch_up(l);
	set_svr(l, SVR_ENABLE | 0xff);
	set_lvt(l, LVT_LINT0, APIC_EXTINT << 8);
	set_lvt(l, LVT_LINT1, APIC_NMI << 8);
}

static void lapic_reset(void *dev)
{
	struct lapic *l = dev;

	l->apic_base = LAPIC_DEFAULT_BASE | BASE_EN | (l->bsp ? BASE_BSP : 0);
	l->tsc_adjust = 0;
	lapic_reset_registers(l);
}

static void lapic_state(void *dev, struct state_walk *w)
{
	struct lapic *l = dev;

	STATE(w, l, apic_base);
	STATE(w, l, icr);
	STATE(w, l, tpr);
	STATE(w, l, svr);
	STATE(w, l, ldr);
	STATE(w, l, dfr);
	STATE(w, l, esr);
	STATE(w, l, esr_pending);
	STATE(w, l, lvt);
	STATE(w, l, irr);
	STATE(w, l, isr);
	STATE(w, l, tmr);
	STATE(w, l, timer_initial);
	STATE(w, l, timer_divide);
	STATE(w, l, timer_count);
	STATE(w, l, timer_start_ns);
	STATE(w, l, tsc_deadline);
	STATE(w, l, tsc_adjust);
	vtimer_state(&l->timer, w, "timer");
	if (w->mode != STATE_LOAD)
		return;
	/* A running count has a period: without one, a division by zero waits. */
	if (!w->error && l->timer_count && !l->timer_initial)
		w->error = ERR_DAMAGED;
	if (w->error)
		lapic_reset(l);
	rebuild_words(l);
}

const struct device_ops lapic_ops = {
	.name = "lapic",
	.version = 2,
	.read = lapic_read,
	.write = lapic_write,
	.reset = lapic_reset,
	.input = device_no_input,
	.state = lapic_state,
};

void lapic_init(struct lapic *l, struct vclock *clock, u32 apic_id, bool bsp, const struct lapic_env *env)
{
	memset(l, 0, sizeof(*l));
	l->clock = clock;
	l->apic_id = apic_id;
	l->bsp = bsp;
	l->env = *env;
	vtimer_add(clock, &l->timer, lapic_timer_fires, l);
	lapic_reset(l);
}
