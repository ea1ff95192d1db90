/*
 * test_lapic.c - the local APIC as [SDM3 chapter 10] tells it.
 */
#include "tests/unit/device_check.h"
#include "vmm/dev/lapic.h"

#define BASE 0xfee00000UL

/* Offsets in the register page. */
enum {
	ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0,
	ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR_HIGH = 0x310,
	TIMER = 0x320, THERMAL = 0x330, PMC = 0x340, LINT0 = 0x350, LINT1 = 0x360, ERROR = 0x370,
	INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0,
};

enum { MASKED = 1 << 16, PERIODIC = 1 << 17, DEADLINE = 2 << 17, DIV_1 = 0xb, DIV_2 = 0, DIV_16 = 3, DIV_128 = 0xa };

#define BASE_EN BIT(11)
#define BASE_EXTD BIT(10)

struct rig {
	struct vclock clock;
	struct lapic l;
	unsigned nsent, neois, nevents;
	struct apic_message sent;
	u8 eoi;
	enum lapic_cpu_event event;
	u8 event_vector;
};

static void on_send(void *ctx, const struct apic_message *m)
{
	struct rig *r = ctx;

	r->nsent++;
	r->sent = *m;
}

static void on_eoi(void *ctx, u8 vector)
{
	struct rig *r = ctx;

	r->neois++;
	r->eoi = vector;
}

static void on_event(void *ctx, enum lapic_cpu_event kind, u8 vector)
{
	struct rig *r = ctx;

	r->nevents++;
	r->event = kind;
	r->event_vector = vector;
}

static void rig_new(struct rig *r, u32 apic_id, bool bsp)
{
	struct lapic_env env = { .send = on_send, .eoi = on_eoi, .cpu_event = on_event, .ctx = r };

	memset(r, 0, sizeof(*r));
	r->clock.now_ns = 5000;
	lapic_init(&r->l, &r->clock, apic_id, bsp, &env);
}

static u32 get(struct rig *r, unsigned offset)
{
	return (u32)lapic_ops.read(&r->l, IO_MEMORY, BASE + offset, 4);
}

static void put(struct rig *r, unsigned offset, u32 value)
{
	lapic_ops.write(&r->l, IO_MEMORY, BASE + offset, 4, value);
}

/* Enabled by software, as every operating system does first. */
static void rig_init(struct rig *r)
{
	rig_new(r, 2, true);
	put(r, SVR, 0x1ff);
}

static u64 get_msr(struct rig *r, u32 msr)
{
	u64 value = 0;

	cr_assert_eq(lapic_read_msr(&r->l, msr, &value), OK, "MSR %#x", msr);
	return value;
}

static void put_msr(struct rig *r, u32 msr, u64 value)
{
	cr_assert_eq(lapic_write_msr(&r->l, msr, value), OK, "MSR %#x = %#lx", msr, value);
}

#define assert_write_faults(r, msr, value) cr_assert_eq(lapic_write_msr(&(r)->l, msr, value), ERR_INVALID)

static void assert_read_faults(struct rig *r, u32 msr)
{
	u64 value;

	cr_assert_eq(lapic_read_msr(&r->l, msr, &value), ERR_INVALID, "MSR %#x", msr);
}

static void rig_x2apic(struct rig *r, u32 apic_id)
{
	rig_new(r, apic_id, false);
	put_msr(r, MSR_APIC_BASE, BASE | BASE_EN | BASE_EXTD);
	put_msr(r, 0x80f, 0x1ff);
}

static void fixed(struct rig *r, u8 vector, u8 trigger)
{
	struct apic_message m = { .vector = vector, .trigger = trigger, .level = 1 };

	lapic_deliver(&r->l, &m);
}

static void after(struct rig *r, u64 ns)
{
	check_run_clock(&r->clock, r->clock.now_ns + ns);
}

static bool in_irr(struct rig *r, u8 vector)
{
	return get(r, IRR + vector / 32 * 16) >> vector % 32 & 1;
}

/* Accepts and ends a pending vector: whether there was one. */
static bool consume(struct rig *r, u8 vector)
{
	if (lapic_pending_vector(&r->l) != vector)
		return false;
	lapic_accept(&r->l, vector);
	put(r, EOI, 0);
	return true;
}

Test(lapic, registers_after_reset)
{
	struct rig r;

	rig_new(&r, 2, true);
	cr_assert_eq(get(&r, ID), 0x02000000);
	cr_assert_eq(get(&r, VERSION), 0x00050014);
	cr_assert_eq(get(&r, SVR), 0xff);
	cr_assert_eq(get(&r, DFR), 0xffffffff);
	cr_assert_eq(get(&r, TPR), 0);
	for (unsigned lvt = TIMER; lvt <= ERROR; lvt += 16)
		cr_assert_eq(get(&r, lvt), MASKED);
	cr_assert_eq(get_msr(&r, MSR_APIC_BASE), 0xfee00900);
	cr_assert_eq(get(&r, CURRENT), 0);
	rig_new(&r, 3, false);
	cr_assert_eq(get_msr(&r, MSR_APIC_BASE), 0xfee00800);
}

Test(lapic, only_defined_bits_are_written)
{
	static const struct { u16 reg; u32 reads; } all_ones[] = {
		{ ID, 0x02000000 }, { VERSION, 0x00050014 }, { TPR, 0xff }, { LDR, 0xff000000 },
		{ DFR, 0xffffffff }, { SVR, 0x3ff }, { TIMER, 0x000700ff }, { THERMAL, 0x000107ff },
		{ PMC, 0x000107ff }, { LINT0, 0x0001a7ff }, { LINT1, 0x0001a7ff }, { ERROR, 0x000100ff },
		{ DIVIDE, 0xb }, { ICR_HIGH, 0xff000000 },
	};
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < ARRAY_SIZE(all_ones); i++) {
		put(&r, all_ones[i].reg, 0xffffffff);
		cr_assert_eq(get(&r, all_ones[i].reg), all_ones[i].reads, "register %#x reads %#x",
			     all_ones[i].reg, get(&r, all_ones[i].reg));
	}
	put(&r, DFR, 0);
	cr_assert_eq(get(&r, DFR), 0x0fffffff);
	put(&r, EOI, 0);
	put(&r, INITIAL, 0);
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0, "all of them are registers");
}

Test(lapic, odd_accesses_do_nothing)
{
	struct rig r;

	rig_init(&r);
	put(&r, TPR, 0x40);
	cr_assert_eq(lapic_ops.read(&r.l, IO_MEMORY, BASE + TPR, 1), 0);
	cr_assert_eq(lapic_ops.read(&r.l, IO_MEMORY, BASE + TPR, 8), 0);
	cr_assert_eq(lapic_ops.read(&r.l, IO_MEMORY, BASE + TPR + 4, 4), 0);
	lapic_ops.write(&r.l, IO_MEMORY, BASE + TPR, 1, 0x20);
	lapic_ops.write(&r.l, IO_MEMORY, BASE + TPR + 1, 4, 0x20);
	cr_assert_eq(get(&r, TPR), 0x40);
	cr_assert_eq(lapic_ops.read(&r.l, IO_PORT, BASE + TPR, 4), ~0UL);
	cr_assert_eq(lapic_ops.read(&r.l, IO_MEMORY, BASE + PAGE_SIZE + TPR, 4), ~0UL);
}

Test(lapic, priority_order_and_eoi)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	fixed(&r, 0x31, APIC_EDGE);
	fixed(&r, 0xe0, APIC_EDGE);
	fixed(&r, 0x35, APIC_EDGE);
	cr_assert_eq(lapic_pending_vector(&r.l), 0xe0);
	lapic_accept(&r.l, 0xe0);
	cr_assert_eq(get(&r, ISR + 0x70), 1);
	cr_assert_eq(get(&r, IRR + 0x10), 0x00220000);
	cr_assert_eq(get(&r, IRR + 0x70), 0);
	cr_assert_eq(get(&r, PPR), 0xe0);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	fixed(&r, 0xef, APIC_EDGE); /* same class: waits */
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	fixed(&r, 0xf0, APIC_EDGE);
	cr_assert_eq(lapic_pending_vector(&r.l), 0xf0);
	lapic_accept(&r.l, 0xf0);
	put(&r, EOI, 0); /* ends F0h, the highest */
	cr_assert_eq(get(&r, PPR), 0xe0);
	put(&r, EOI, 0);
	cr_assert(consume(&r, 0xef));
	cr_assert(consume(&r, 0x35));
	cr_assert(consume(&r, 0x31));
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	put(&r, EOI, 0); /* nothing in service */
	cr_assert_eq(r.neois, 0);
}

Test(lapic, every_vector_comes_back_in_order)
{
	struct rig r;

	rig_init(&r);
	for (unsigned v = 16; v < 256; v++)
		fixed(&r, (u8)(16 + v * 7 % 240), APIC_EDGE);
	for (unsigned v = 255; v >= 16; v--)
		cr_assert(consume(&r, (u8)v), "%u", v);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
}

Test(lapic, task_priority)
{
	struct rig r;

	rig_init(&r);
	fixed(&r, 0x45, APIC_EDGE);
	put(&r, TPR, 0x3f);
	cr_assert_eq(get(&r, PPR), 0x3f);
	cr_assert_eq(lapic_pending_vector(&r.l), 0x45);
	lapic_set_tpr_from_cr8(&r.l, 4);
	cr_assert_eq(get(&r, TPR), 0x40);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	cr_assert_eq(lapic_cr8(&r.l), 4);
	lapic_set_tpr_from_cr8(&r.l, 3);
	lapic_accept(&r.l, 0x45);
	cr_assert_eq(get(&r, PPR), 0x40, "in service above the task priority");
	put(&r, TPR, 0x48);
	cr_assert_eq(get(&r, PPR), 0x48, "same class: the task priority itself");
}

Test(lapic, level_broadcasts_its_eoi)
{
	struct rig r;

	rig_init(&r);
	fixed(&r, 0x51, APIC_LEVEL);
	fixed(&r, 0x4e, APIC_LEVEL);
	cr_assert_eq(get(&r, TMR + 0x20), 1 << 17 | 1 << 14);
	lapic_accept(&r.l, 0x51);
	cr_assert_eq(get(&r, ISR + 0x20), 1 << 17);
	put(&r, EOI, 0);
	cr_assert_eq(r.neois, 1);
	cr_assert_eq(r.eoi, 0x51);
	cr_assert(consume(&r, 0x4e));
	cr_assert_eq(r.eoi, 0x4e);
	fixed(&r, 0x51, APIC_EDGE);
	cr_assert_eq(get(&r, TMR + 0x20), 1 << 14);
	cr_assert(consume(&r, 0x51));
	cr_assert_eq(r.neois, 2);
}

Test(lapic, software_disable)
{
	struct rig r;

	rig_init(&r);
	put(&r, TIMER, 0x40);
	put(&r, INITIAL, 1000);
	fixed(&r, 0x41, APIC_EDGE);
	put(&r, SVR, 0xff);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	cr_assert_eq(get(&r, TIMER), MASKED | 0x40);
	put(&r, TIMER, 0x50); /* the mask cannot be cleared */
	cr_assert_eq(get(&r, TIMER), MASKED | 0x50);
	fixed(&r, 0x42, APIC_EDGE);
	cr_assert_not(in_irr(&r, 0x42), "nothing new is taken");
	cr_assert(in_irr(&r, 0x41), "what was pending is held");
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	put(&r, SVR, 0x1ff);
	cr_assert_eq(get(&r, TIMER), MASKED | 0x50, "the mask stays until it is cleared");
	cr_assert_eq(lapic_pending_vector(&r.l), 0x41);
}

Test(lapic, timer_one_shot_reads_zero_when_it_fires)
{
	struct rig r;

	rig_init(&r);
	put(&r, DIVIDE, DIV_16);
	put(&r, TIMER, 0x40);
	put(&r, INITIAL, 100);
	cr_assert_eq(get(&r, CURRENT), 100);
	after(&r, 15);
	cr_assert_eq(get(&r, CURRENT), 100);
	after(&r, 1);
	cr_assert_eq(get(&r, CURRENT), 99);
	after(&r, 1583);
	cr_assert_eq(get(&r, CURRENT), 1);
	cr_assert_not(in_irr(&r, 0x40));
	after(&r, 1);
	cr_assert_eq(get(&r, CURRENT), 0);
	cr_assert(consume(&r, 0x40));
	after(&r, 1UL << 40);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	cr_assert_eq(get(&r, INITIAL), 100);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
}

Test(lapic, timer_divisors)
{
	static const struct { u8 reg; u8 div; } all[] = {
		{ 0x0, 2 }, { 0x1, 4 }, { 0x2, 8 }, { 0x3, 16 }, { 0x8, 32 }, { 0x9, 64 }, { 0xa, 128 }, { 0xb, 1 },
	};
	struct rig r;

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		rig_init(&r);
		put(&r, DIVIDE, all[i].reg);
		put(&r, TIMER, 0x40);
		put(&r, INITIAL, 1000);
		cr_assert_eq(vclock_next(&r.clock), 5000 + 1000 * all[i].div);
	}
}

Test(lapic, timer_periodic_never_drifts)
{
	struct rig r;
	unsigned n = 0;

	rig_init(&r);
	put(&r, DIVIDE, DIV_1);
	put(&r, TIMER, PERIODIC | 0x40);
	put(&r, INITIAL, 1000003);
	while (n < 5000) {
		u64 due_ns = 5000 + (n + 1) * 1000003UL;

		cr_assert_eq(vclock_next(&r.clock), due_ns);
		check_run_clock(&r.clock, due_ns - 1);
		cr_assert_eq(get(&r, CURRENT), 1);
		check_run_clock(&r.clock, due_ns);
		cr_assert_eq(get(&r, CURRENT), 1000003, "the initial count again when it fires");
		n += consume(&r, 0x40);
	}
	put(&r, INITIAL, 0);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	cr_assert_eq(get(&r, CURRENT), 0);
}

Test(lapic, timer_late_fires_once_and_keeps_its_phase)
{
	struct rig r;

	rig_init(&r);
	put(&r, DIVIDE, DIV_1);
	put(&r, TIMER, PERIODIC | 0x40);
	put(&r, INITIAL, 10);
	r.clock.now_ns += 1000000005;
	vclock_run(&r.clock);
	cr_assert(consume(&r, 0x40));
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	cr_assert_eq(vclock_next(&r.clock), r.clock.now_ns + 5);
}

Test(lapic, timer_masked_counts_without_exits)
{
	struct rig r;

	rig_init(&r);
	put(&r, DIVIDE, DIV_1);
	put(&r, TIMER, PERIODIC | MASKED | 0x40);
	put(&r, INITIAL, 1000);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	after(&r, 12345);
	cr_assert_eq(get(&r, CURRENT), 655);
	put(&r, TIMER, PERIODIC | 0x40);
	cr_assert_not(in_irr(&r, 0x40), "expiries while masked are lost");
	cr_assert_eq(vclock_next(&r.clock), r.clock.now_ns + 655);
	put(&r, TIMER, MASKED | 0x40);
	put(&r, INITIAL, 1000);
	after(&r, 1001);
	cr_assert_eq(get(&r, CURRENT), 0);
	put(&r, TIMER, 0x40);
	after(&r, 100000);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
}

Test(lapic, timer_changes_mode_without_losing_count)
{
	struct rig r;

	rig_init(&r);
	put(&r, DIVIDE, DIV_1);
	put(&r, TIMER, PERIODIC | 0x40);
	put(&r, INITIAL, 1000);
	after(&r, 2300);
	put(&r, TIMER, 0x40); /* one-shot: the running period is the last */
	cr_assert_eq(get(&r, CURRENT), 700);
	after(&r, 700);
	cr_assert_eq(get(&r, CURRENT), 0);
	cr_assert(consume(&r, 0x40));
	put(&r, TIMER, PERIODIC | 0x40); /* nothing runs: nothing starts */
	after(&r, 5000);
	cr_assert_eq(get(&r, CURRENT), 0);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	put(&r, TIMER, MASKED | 0x40); /* the same with one that ran out unseen */
	put(&r, INITIAL, 1000);
	after(&r, 1500);
	put(&r, TIMER, PERIODIC | 0x40);
	cr_assert_eq(get(&r, CURRENT), 0);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	put(&r, TIMER, 0x40);
	put(&r, INITIAL, 1000);
	after(&r, 300);
	put(&r, TIMER, PERIODIC | 0x40);
	after(&r, 1699);
	cr_assert_eq(get(&r, CURRENT), 1);
	cr_assert(consume(&r, 0x40));
	after(&r, 1);
	cr_assert(consume(&r, 0x40));
}

Test(lapic, timer_new_divisor_goes_on_from_the_count)
{
	struct rig r;

	rig_init(&r);
	put(&r, DIVIDE, DIV_1);
	put(&r, TIMER, PERIODIC | 0x40);
	put(&r, INITIAL, 1000);
	after(&r, 400);
	put(&r, DIVIDE, DIV_2);
	cr_assert_eq(get(&r, CURRENT), 600);
	cr_assert_eq(vclock_next(&r.clock), 5400 + 1200);
	after(&r, 1200);
	cr_assert(consume(&r, 0x40));
	cr_assert_eq(get(&r, CURRENT), 1000);
	cr_assert_eq(vclock_next(&r.clock), 5400 + 1200 + 2000);
}

Test(lapic, timer_longest)
{
	struct rig r;

	rig_init(&r);
	put(&r, DIVIDE, DIV_128);
	put(&r, TIMER, PERIODIC | 0x40);
	put(&r, INITIAL, 0xffffffff);
	cr_assert_eq(vclock_next(&r.clock), 5000 + 0xffffffffUL * 128);
	after(&r, 0xffffffffUL * 128 * 1000 + 128);
	cr_assert_eq(get(&r, CURRENT), 0xfffffffe);
}

Test(lapic, tsc_deadline)
{
	struct rig r;

	rig_init(&r);
	put_msr(&r, MSR_TSC_DEADLINE, 9000);
	cr_assert_eq(get_msr(&r, MSR_TSC_DEADLINE), 0, "ignored in other modes");
	lapic_set_tsc_adjust(&r.l, 1000); /* the guest's TSC is now 6000 */
	put(&r, INITIAL, 100);
	put(&r, TIMER, DEADLINE | 0x40);
	put(&r, INITIAL, 100);
	cr_assert_eq(get(&r, INITIAL), 0);
	cr_assert_eq(get(&r, CURRENT), 0);
	put_msr(&r, MSR_TSC_DEADLINE, 9000);
	cr_assert_eq(get_msr(&r, MSR_TSC_DEADLINE), 9000);
	cr_assert_eq(vclock_next(&r.clock), 8000);
	check_run_clock(&r.clock, 7999);
	cr_assert_not(in_irr(&r, 0x40));
	check_run_clock(&r.clock, 8000);
	cr_assert(consume(&r, 0x40));
	cr_assert_eq(get_msr(&r, MSR_TSC_DEADLINE), 0);
	put_msr(&r, MSR_TSC_DEADLINE, 1); /* long past: at once */
	cr_assert(consume(&r, 0x40));
	put_msr(&r, MSR_TSC_DEADLINE, 9001);
	put_msr(&r, MSR_TSC_DEADLINE, 0); /* disarmed */
	after(&r, 1000);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	put_msr(&r, MSR_TSC_DEADLINE, ~0UL); /* centuries away */
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	cr_assert_gt(vclock_next(&r.clock), 1UL << 62);
	put(&r, TIMER, 0x40); /* leaving the mode disarms */
	cr_assert_eq(get(&r, CURRENT), 0);
	put(&r, TIMER, DEADLINE | 0x40);
	cr_assert_eq(get_msr(&r, MSR_TSC_DEADLINE), 0);
}

Test(lapic, tsc_deadline_moves_with_the_tsc)
{
	struct rig r;

	rig_init(&r);
	put(&r, TIMER, DEADLINE | 0x40);
	put_msr(&r, MSR_TSC_DEADLINE, 20000);
	cr_assert_eq(vclock_next(&r.clock), 20000);
	lapic_set_tsc_adjust(&r.l, 5000);
	cr_assert_eq(vclock_next(&r.clock), 15000);
	lapic_set_tsc_adjust(&r.l, (u64)-4000); /* TSC 1000 */
	cr_assert_eq(vclock_next(&r.clock), 24000);
	lapic_set_tsc_adjust(&r.l, 15000); /* the TSC jumps onto the deadline */
	cr_assert(consume(&r, 0x40));
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
}

Test(lapic, tsc_deadline_masked_disarms_silently)
{
	struct rig r;

	rig_init(&r);
	put(&r, TIMER, DEADLINE | MASKED | 0x40);
	put_msr(&r, MSR_TSC_DEADLINE, 6000);
	check_run_clock(&r.clock, 6000);
	cr_assert_eq(get_msr(&r, MSR_TSC_DEADLINE), 0);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
}

Test(lapic, expiry_due_now_comes_before_the_access)
{
	struct rig r;

	rig_init(&r);
	put(&r, DIVIDE, DIV_1);
	put(&r, TIMER, 0x40);
	put(&r, INITIAL, 100);
	r.clock.now_ns += 100; /* the loop has not run its timers yet */
	put(&r, TIMER, MASKED | 0x40);
	cr_assert_eq(lapic_pending_vector(&r.l), 0x40);
	put(&r, TIMER, 0x41);
	put(&r, INITIAL, 100);
	r.clock.now_ns += 100;
	cr_assert(in_irr(&r, 0x41), "a read sees it too");
}

Test(lapic, illegal_vectors)
{
	struct rig r;

	rig_init(&r);
	put(&r, ERROR, 0xfe);
	fixed(&r, 15, APIC_EDGE);
	cr_assert_eq(get(&r, ESR), 0, "not before a write");
	cr_assert(consume(&r, 0xfe));
	put(&r, ICR, 0x0f); /* fixed, vector 15 */
	cr_assert_eq(r.nsent, 0);
	cr_assert_eq(lapic_pending_vector(&r.l), -1, "not armed again before a write");
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0x60);
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0);
	put(&r, DIVIDE, DIV_1);
	put(&r, TIMER, 0x05);
	put(&r, INITIAL, 10);
	after(&r, 10);
	cr_assert(consume(&r, 0xfe));
	cr_assert_not(in_irr(&r, 5));
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0x40);
	put(&r, ERROR, 0x03); /* the error's own vector is illegal: logged, no more */
	put(&r, ICR, 0x01);
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0x60);
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	put(&r, ERROR, 0x10); /* 16 is the first legal one */
	fixed(&r, 0x0f, APIC_EDGE);
	cr_assert(in_irr(&r, 0x10));
	put(&r, ICR, 0x10);
	cr_assert_eq(r.nsent, 1);
}

Test(lapic, illegal_register)
{
	struct rig r;

	rig_init(&r);
	cr_assert_eq(get(&r, 0x2f0), 0); /* CMCI, which version 14h with six entries lacks */
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0x80);
	put(&r, 0x400, 1);
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0x80);
	put(&r, ID, 0); /* read-only ones are legal */
	put(&r, VERSION, 0);
	put(&r, 0x90, 0);
	put(&r, PPR, 0);
	put(&r, 0xc0, 0);
	put(&r, CURRENT, 0);
	put(&r, IRR, 0);
	put(&r, ESR, 0);
	cr_assert_eq(get(&r, ESR), 0);
}

Test(lapic, icr)
{
	struct rig r;

	rig_init(&r);
	put(&r, ICR_HIGH, 0x05000000);
	put(&r, ICR, 0x000048c1 | 1 << 12); /* fixed, logical, assert */
	cr_assert_eq(r.nsent, 1);
	cr_assert_eq(r.sent.dest, 5);
	cr_assert_eq(r.sent.dest_mode, APIC_LOGICAL);
	cr_assert_eq(r.sent.vector, 0xc1);
	cr_assert_eq(r.sent.trigger, APIC_EDGE);
	cr_assert_eq(r.sent.shorthand, APIC_TO_DEST);
	cr_assert_eq(get(&r, ICR), 0x000048c1, "delivery status reads idle");
	put(&r, ICR, 0x0000c500); /* INIT, level assert */
	cr_assert_eq(r.sent.delivery_mode, APIC_INIT);
	cr_assert_eq(r.nsent, 2);
	put(&r, ICR, 0x00008500); /* INIT level de-assert: nobody hears it */
	cr_assert_eq(r.nsent, 2);
	put(&r, ICR, 0x00000608); /* startup at 8000h */
	cr_assert_eq(r.sent.delivery_mode, APIC_STARTUP);
	cr_assert_eq(r.sent.vector, 8);
	put(&r, ICR, 0x00000400);
	cr_assert_eq(r.sent.delivery_mode, APIC_NMI);
	cr_assert_eq(r.nsent, 4);
	put(&r, ICR, 0x000c4041);
	cr_assert_eq(r.sent.shorthand, APIC_TO_OTHERS);
	put(&r, ICR, 0x00084042);
	cr_assert_eq(r.sent.shorthand, APIC_TO_ALL);
	cr_assert_eq(r.nsent, 6);
	put(&r, ICR, 0x00044043); /* self */
	cr_assert_eq(r.nsent, 6);
	cr_assert(in_irr(&r, 0x43));
	put(&r, ICR, 0x00040400); /* NMI to self, NMI to all, reserved modes */
	put(&r, ICR, 0x00080400);
	put(&r, ICR, 0x00000300);
	put(&r, ICR, 0x00000700);
	cr_assert_eq(r.nsent, 6);
	cr_assert_eq(r.nevents, 0);
	put(&r, ICR, 0x00008041); /* level-triggered and not asserted means nothing but in INIT */
	cr_assert_eq(r.nsent, 7);
	cr_assert_eq(r.sent.trigger, APIC_EDGE);
	put(&r, ICR_HIGH, 0xff000000);
	put_msr(&r, MSR_APIC_BASE, BASE | BASE_EN); /* no change */
	put(&r, ICR, 0x41);
	cr_assert_eq(r.sent.dest, APIC_BROADCAST);
}

Test(lapic, messages_for_the_core)
{
	struct apic_message m = { .delivery_mode = APIC_NMI, .level = 1 };
	struct rig r;

	rig_init(&r);
	put(&r, SVR, 0xff); /* these come through while software-disabled */
	lapic_deliver(&r.l, &m);
	cr_assert_eq(r.nevents, 1);
	cr_assert_eq(r.event, LAPIC_EVENT_NMI);
	m.delivery_mode = APIC_STARTUP;
	m.vector = 0x9f;
	lapic_deliver(&r.l, &m);
	cr_assert_eq(r.event, LAPIC_EVENT_STARTUP);
	cr_assert_eq(r.event_vector, 0x9f);
	put(&r, SVR, 0x1ff);
	put(&r, TPR, 0x20);
	put(&r, TIMER, PERIODIC | 0x40);
	put(&r, INITIAL, 1000);
	fixed(&r, 0x30, APIC_EDGE);
	m.delivery_mode = APIC_INIT;
	lapic_deliver(&r.l, &m);
	cr_assert_eq(r.nevents, 3);
	cr_assert_eq(r.event, LAPIC_EVENT_INIT);
	cr_assert_eq(get(&r, TPR), 0);
	cr_assert_eq(get(&r, SVR), 0xff);
	cr_assert_eq(get(&r, IRR + 0x10), 0);
	cr_assert_eq(get(&r, ID), 0x02000000);
	cr_assert_eq(get_msr(&r, MSR_APIC_BASE), 0xfee00900);
	cr_assert_eq(vclock_next(&r.clock), VTIMER_NEVER);
	m.level = 0;
	lapic_deliver(&r.l, &m);
	cr_assert_eq(r.nevents, 3);
}

Test(lapic, lint0_extint)
{
	struct rig r;

	rig_new(&r, 0, true);
	cr_assert_not(lapic_extint_enabled(&r.l), "masked after reset");
	lapic_set_virtual_wire(&r.l);
	cr_assert(lapic_extint_enabled(&r.l));
	cr_assert_eq(get(&r, LINT0), 0x700);
	cr_assert_eq(get(&r, LINT1), 0x400);
	cr_assert_eq(get(&r, SVR), 0x1ff);
	put(&r, LINT0, 0x10700);
	cr_assert_not(lapic_extint_enabled(&r.l));
	put(&r, LINT0, 0x00030); /* fixed: not the PIC's vector */
	cr_assert_not(lapic_extint_enabled(&r.l));
	put_msr(&r, MSR_APIC_BASE, BASE);
	cr_assert(lapic_extint_enabled(&r.l), "no APIC: straight through");
}

Test(lapic, apic_base_transitions)
{
	struct rig r;

	rig_init(&r);
	assert_write_faults(&r, MSR_APIC_BASE, BASE | BASE_EXTD); /* x2APIC without enable */
	assert_write_faults(&r, MSR_APIC_BASE, BASE | BASE_EN | 1);
	assert_write_faults(&r, MSR_APIC_BASE, BASE | BASE_EN | BIT(9));
	assert_write_faults(&r, MSR_APIC_BASE, BASE | BASE_EN | BIT(LAPIC_PHYS_BITS));
	assert_write_faults(&r, MSR_APIC_BASE, ~0UL);
	cr_assert_eq(get_msr(&r, MSR_APIC_BASE), 0xfee00900);

	put(&r, TPR, 0x30);
	put(&r, ICR_HIGH, 0x22000000);
	put(&r, ICR, 0x41);
	put_msr(&r, MSR_APIC_BASE, BASE | BASE_EN | BASE_EXTD | BIT(8));
	cr_assert_eq(get_msr(&r, 0x830), 0x41, "an 8-bit destination does not become a 32-bit one");
	cr_assert_eq(get_msr(&r, 0x808), 0x30, "kept");
	assert_write_faults(&r, MSR_APIC_BASE, BASE | BASE_EN); /* no way back but by disabling */
	put_msr(&r, MSR_APIC_BASE, BASE);
	assert_write_faults(&r, MSR_APIC_BASE, BASE | BASE_EN | BASE_EXTD); /* not in one step */
	cr_assert_eq(lapic_pending_vector(&r.l), -1);
	put_msr(&r, MSR_APIC_BASE, BASE | BASE_EN);
	cr_assert_eq(get(&r, TPR), 0, "as after power-up");
	cr_assert_eq(get(&r, SVR), 0xff);
}

Test(lapic, page_moves)
{
	struct rig r;

	rig_init(&r);
	cr_assert(lapic_claims(&r.l, GPA(0xfee00ff0)));
	put_msr(&r, MSR_APIC_BASE, 0x12345000 | BASE_EN);
	cr_assert_not(lapic_claims(&r.l, GPA(0xfee00000)));
	cr_assert(lapic_claims(&r.l, GPA(0x12345000)));
	cr_assert_eq(lapic_ops.read(&r.l, IO_MEMORY, 0x12345000 + VERSION, 4), LAPIC_VERSION);
	cr_assert_eq(lapic_ops.read(&r.l, IO_MEMORY, BASE + VERSION, 4), ~0UL);
	put_msr(&r, MSR_APIC_BASE, 0x12345000 | BASE_EN | BASE_EXTD);
	cr_assert_not(lapic_claims(&r.l, GPA(0x12345000)), "x2APIC has no page");
}

Test(lapic, x2apic_registers)
{
	struct rig r;

	rig_new(&r, 0x123, false);
	assert_read_faults(&r, 0x802);
	assert_write_faults(&r, 0x808, 0);
	rig_x2apic(&r, 0x123);
	cr_assert_eq(get_msr(&r, 0x802), 0x123);
	cr_assert_eq(get_msr(&r, 0x803), LAPIC_VERSION);
	cr_assert_eq(get_msr(&r, 0x80d), 0x12 << 16 | 1 << 3);
	put_msr(&r, 0x808, 0x50);
	cr_assert_eq(get_msr(&r, 0x80a), 0x50);
	assert_write_faults(&r, 0x808, 0x100);
	assert_write_faults(&r, 0x808, 1UL << 32);
	assert_write_faults(&r, 0x802, 0); /* read-only */
	assert_write_faults(&r, 0x803, 0);
	assert_write_faults(&r, 0x80a, 0);
	assert_write_faults(&r, 0x80d, 0);
	assert_write_faults(&r, 0x839, 0);
	assert_write_faults(&r, 0x820, 0);
	assert_write_faults(&r, 0x80b, 1); /* EOI and ESR take 0 only */
	assert_write_faults(&r, 0x828, 1);
	put_msr(&r, 0x80b, 0);
	put_msr(&r, 0x828, 0);
	assert_read_faults(&r, 0x80b); /* write-only */
	assert_read_faults(&r, 0x83f);
	assert_read_faults(&r, 0x80e); /* gone: DFR, high ICR, APR, RRD; never there: 831h */
	assert_write_faults(&r, 0x80e, 0);
	assert_read_faults(&r, 0x831);
	assert_write_faults(&r, 0x831, 0);
	assert_read_faults(&r, 0x809);
	assert_read_faults(&r, 0x80c);
	assert_read_faults(&r, 0x82f);
	assert_read_faults(&r, 0x840);
	assert_write_faults(&r, 0x832, 1UL << 19);
	assert_write_faults(&r, 0x83e, 4);
	put_msr(&r, 0x83e, DIV_1);
	put_msr(&r, 0x832, 0x40);
	put_msr(&r, 0x838, 10);
	after(&r, 4);
	cr_assert_eq(get_msr(&r, 0x839), 6);
	after(&r, 6);
	lapic_set_tpr_from_cr8(&r.l, 0);
	cr_assert_eq(lapic_pending_vector(&r.l), 0x40);
	cr_assert_eq(get_msr(&r, 0x822), 1);
}

Test(lapic, x2apic_ipi)
{
	struct rig r;

	rig_x2apic(&r, 1);
	put_msr(&r, 0x830, 0x123UL << 32 | 0x40f1);
	cr_assert_eq(r.sent.dest, 0x123);
	cr_assert_eq(get_msr(&r, 0x830), 0x123UL << 32 | 0x40f1);
	put_msr(&r, 0x830, 0xffUL << 32 | 0x40f1);
	cr_assert_eq(r.sent.dest, 0xff, "an ID like another here");
	put_msr(&r, 0x830, 0xffffffffUL << 32 | 0x40f1);
	cr_assert_eq(r.sent.dest, APIC_BROADCAST);
	assert_write_faults(&r, 0x830, 1UL << 20);
	assert_write_faults(&r, 0x830, 1UL << 12);
	put_msr(&r, 0x83f, 0x61);
	cr_assert_eq(lapic_pending_vector(&r.l), 0x61);
	assert_write_faults(&r, 0x83f, 0x161);
	put_msr(&r, 0x83f, 0x10);
	cr_assert_eq(get_msr(&r, 0x820), 1U << 16);
	cr_assert_eq(get_msr(&r, 0x821), 0);
	put_msr(&r, 0x83f, 0x0f);
	put_msr(&r, 0x828, 0);
	cr_assert_eq(get_msr(&r, 0x828), 0x20);
}

Test(lapic, destinations)
{
	struct apic_message m = { .dest = 2 };
	struct rig r;

	rig_init(&r);
	cr_assert(lapic_matches(&r.l, &m));
	m.dest = 3;
	cr_assert_not(lapic_matches(&r.l, &m));
	m.dest = APIC_BROADCAST;
	cr_assert(lapic_matches(&r.l, &m));
	m.dest_mode = APIC_LOGICAL;
	cr_assert(lapic_matches(&r.l, &m));
	m.dest = 0x06;
	cr_assert_not(lapic_matches(&r.l, &m), "LDR is 0");
	put(&r, LDR, 0x04000000);
	cr_assert(lapic_matches(&r.l, &m)); /* flat: any bit in common */
	m.dest = 0x0a;
	cr_assert_not(lapic_matches(&r.l, &m));
	m.dest = 0x104; /* from an x2APIC sender */
	cr_assert_not(lapic_matches(&r.l, &m));
	put(&r, DFR, 0x0fffffff); /* cluster: high four bits equal, low four in common */
	put(&r, LDR, 0x32000000);
	m.dest = 0x36;
	cr_assert(lapic_matches(&r.l, &m));
	m.dest = 0x26;
	cr_assert_not(lapic_matches(&r.l, &m));
	m.dest = 0x3d;
	cr_assert_not(lapic_matches(&r.l, &m));
	rig_x2apic(&r, 0x25);
	m.dest = 0x20020; /* cluster 2, bit 5 */
	cr_assert(lapic_matches(&r.l, &m));
	m.dest = 0x2ffdf;
	cr_assert_not(lapic_matches(&r.l, &m));
	m.dest = 0x10020;
	cr_assert_not(lapic_matches(&r.l, &m));
	put_msr(&r, MSR_APIC_BASE, BASE);
	m.dest = APIC_BROADCAST;
	cr_assert_not(lapic_matches(&r.l, &m), "disabled: deaf");
}

Test(lapic, routing)
{
	struct rig r[3];
	struct lapic *all[3];
	struct apic_message m = { .vector = 0x40, .level = 1, .shorthand = APIC_TO_OTHERS };

	for (unsigned i = 0; i < 3; i++) {
		rig_new(&r[i], i, i == 0);
		put(&r[i], SVR, 0x1ff);
		put(&r[i], LDR, 1U << (24 + i));
		all[i] = &r[i].l;
	}
	lapic_route(all, 3, 1, &m);
	cr_assert(in_irr(&r[0], 0x40) && !in_irr(&r[1], 0x40) && in_irr(&r[2], 0x40));
	m.vector = 0x41;
	m.shorthand = APIC_TO_ALL;
	lapic_route(all, 3, 1, &m);
	cr_assert(in_irr(&r[0], 0x41) && in_irr(&r[1], 0x41) && in_irr(&r[2], 0x41));
	m = (struct apic_message){ .vector = 0x42, .level = 1, .dest = 2 };
	lapic_route(all, 3, -1, &m);
	cr_assert(!in_irr(&r[0], 0x42) && !in_irr(&r[1], 0x42) && in_irr(&r[2], 0x42));

	m = (struct apic_message){ .vector = 0x43, .level = 1, .dest = 7, .dest_mode = APIC_LOGICAL,
				   .delivery_mode = APIC_LOWEST };
	lapic_route(all, 3, -1, &m);
	cr_assert(in_irr(&r[0], 0x43) && !in_irr(&r[1], 0x43) && !in_irr(&r[2], 0x43), "a tie: the first");
	m.vector = 0x44;
	put(&r[0], TPR, 0x20);
	put(&r[1], TPR, 0x10);
	put(&r[2], SVR, 0xff); /* would be lowest, but does not take any */
	lapic_route(all, 3, -1, &m);
	cr_assert(!in_irr(&r[0], 0x44) && in_irr(&r[1], 0x44) && !in_irr(&r[2], 0x44));
}

static void scramble(struct rig *r)
{
	rig_init(r);
	for (unsigned v = 16; v < 256; v += 3)
		fixed(r, (u8)v, v & 1);
	lapic_accept(&r->l, 0x40);
	lapic_accept(&r->l, 0xf1);
	put(r, ERROR, 0x77);
	put(r, ESR, 0);
	put(r, LDR, 0xff000000);
	put(r, DFR, 0);
	put(r, ICR_HIGH, 0x77000000);
	put(r, ICR, 0x41);
	put(r, TPR, 0x80);
	put(r, 0x2f0, 0);
	put(r, ESR, 0);
	put(r, 0x2f0, 0);
	lapic_set_tsc_adjust(&r->l, 0x123456789);
	put(r, DIVIDE, DIV_16);
	put(r, TIMER, PERIODIC | 0x31);
	put(r, INITIAL, 4321);
}

Test(lapic, state_in_the_middle_of_things)
{
	static const u32 modes[] = { 0x40, MASKED | 0x40, PERIODIC | 0x40, PERIODIC | MASKED | 0x40, DEADLINE | 0x40 };
	struct rig r, twin;

	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		rig_init(&r);
		put(&r, DIVIDE, DIV_2);
		put(&r, TIMER, modes[i]);
		put(&r, INITIAL, 1000);
		put_msr(&r, MSR_TSC_DEADLINE, 6789);
		fixed(&r, 0x93, APIC_LEVEL);
		lapic_accept(&r.l, 0x93);
		fixed(&r, 0x34, APIC_EDGE);
		after(&r, 1234);
		scramble(&twin);
		check_device_roundtrip(&lapic_ops, &r.l, &twin.l);
		twin.clock.now_ns = r.clock.now_ns;
		cr_assert_eq(get(&r, CURRENT), get(&twin, CURRENT));
		put(&twin, EOI, 0); /* the hints of what is highest were rebuilt */
		put(&r, EOI, 0);
		cr_assert_eq(twin.eoi, 0x93);
		cr_assert_eq(lapic_pending_vector(&twin.l), 0x34);
		cr_assert_eq(vclock_next(&r.clock), vclock_next(&twin.clock));
		after(&r, 4000);
		after(&twin, 4000);
		check_device_same(&lapic_ops, &r.l, &twin.l);
		cr_assert_eq(lapic_pending_vector(&r.l), lapic_pending_vector(&twin.l));
	}
	rig_x2apic(&r, 2);
	scramble(&twin);
	check_device_roundtrip(&lapic_ops, &r.l, &twin.l);
	cr_assert_eq(get_msr(&twin, 0x802), 2);
	scramble(&twin);
	lapic_ops.reset(&twin.l);
	rig_new(&r, 2, true);
	check_device_same(&lapic_ops, &r.l, &twin.l);
	rig_init(&twin);
	put(&twin, TIMER, DEADLINE | 0x40);
	put_msr(&twin, MSR_TSC_DEADLINE, 1000000);
	lapic_ops.reset(&twin.l);
	check_device_same(&lapic_ops, &r.l, &twin.l);
}

Test(lapic, state_is_complete_and_checked)
{
	size_t wiring = offsetof(struct lapic, apic_base) - sizeof(u64); /* all before but the deadline */
	struct rig r, twin;
	struct saved_device s;
	struct state_walk w;

	rig_init(&r);
	check_device_visits_all(&lapic_ops, &r.l, sizeof(r.l), wiring + 2 /* derived */ + 10 /* padding */);
	put(&r, INITIAL, 100);
	r.l.timer_initial = 0; /* a running count with no period */
	s = device_save(&lapic_ops, &r.l);
	w = state_load_from(s.bytes, s.size);
	scramble(&twin);
	device_walk(&lapic_ops, &twin.l, &w);
	cr_assert_eq(w.error, ERR_DAMAGED);
	cr_assert_eq(lapic_pending_vector(&twin.l), -1);
	free(s.bytes);
}

/* Everything that is not an access: messages, acceptance, MSRs, lines, CR8. */
static u64 other(void *dev, u64 random)
{
	struct rig *r = container_of((struct lapic *)dev, struct rig, l);
	struct apic_message m = { .vector = (u8)(random >> 16), .delivery_mode = random >> 24 & 7,
				  .trigger = random >> 27 & 1, .level = random >> 28 & 1, .dest = random >> 32 & 3,
				  .dest_mode = random >> 29 & 1 };
	u32 msr = random & 16 ? 0x800 + (random >> 16) % 0x42 : random & 32 ? MSR_TSC_DEADLINE : MSR_APIC_BASE;
	u64 value = random >> 24, seen = 0;
	int vector;

	if (msr == MSR_APIC_BASE) /* mostly legal, and mostly back to xAPIC */
		value = BASE | (random & 64 ? BASE_EN : random & 128 ? BASE_EN | BASE_EXTD : 0);
	if (msr == MSR_TSC_DEADLINE)
		value = r->clock.now_ns + r->l.tsc_adjust + random % 100000;
	r->nsent = r->neois = r->nevents = 0;
	switch (random >> 8 & 7) {
	case 0:
		if (lapic_matches(&r->l, &m))
			lapic_deliver(&r->l, &m);
		break;
	case 1:
		lapic_set_tpr_from_cr8(&r->l, random & 15);
		break;
	case 2:
		seen = (u64)lapic_write_msr(&r->l, msr, value);
		break;
	case 3:
		seen = (u64)lapic_read_msr(&r->l, msr, &value) ^ value;
		break;
	case 4:
		lapic_set_tsc_adjust(&r->l, random);
		break;
	default:
		vector = lapic_pending_vector(&r->l);
		if (vector >= 0)
			lapic_accept(&r->l, (u8)vector);
		seen = (u64)vector << 8 | lapic_extint_enabled(&r->l);
	}
	return seen ^ ((u64)r->nsent << 40 | (u64)r->neois << 48 | (u64)r->nevents << 56);
}

Test(lapic, fuzz)
{
	static const struct fuzz_range ranges[] = {
		{ IO_MEMORY, BASE + 0x320, 1 }, { IO_MEMORY, BASE + 0x380, 1 }, { IO_MEMORY, BASE + 0x300, 1 },
		{ IO_MEMORY, BASE + 0x390, 1 }, { IO_MEMORY, BASE + 0x3e0, 1 }, { IO_MEMORY, BASE + 0xf0, 1 },
		{ IO_MEMORY, BASE + 0xb0, 1 }, { IO_MEMORY, BASE, 0x1000 }, { IO_PORT, 0, 65536 },
	};
	struct device_fuzz f = {
		.ops = &lapic_ops, .ranges = ranges, .nranges = ARRAY_SIZE(ranges), .max_step_ns = 3000, .other = other,
	};
	struct rig r, twin;

	for (u64 seed = 1; seed <= 8; seed++) {
		rig_init(&r);
		scramble(&twin);
		check_device_fuzz(&f, &r.l, &r.clock, &twin.l, &twin.clock, seed * 0x9e3779b97f4a7c15UL, 8000);
		check_device_damage(&f, &r.l, &twin.l, &twin.clock, seed, 200);
	}
}
