/*
 * lapic_timer.c - the local APIC's timer [SDM3 10.5.4 APIC Timer].
 *
 * Reads: the virtual clock.  Changes: the timer's registers, its one vtimer
 * and, when it fires, the IRR.  The count is never ticked: it is computed from
 * when it was loaded.
 */
#include "vmm/dev/lapic_impl.h"

/* Modes 2 and 3 (reserved) do not use the counter. */
static bool counts(const struct lapic *l)
{
	return lapic_timer_mode(l) <= TIMER_PERIODIC && l->timer_count;
}

/* Bits 3, 1, 0: 2, 4, ... 128, then 1. [SDM3 Figure 10-10] */
static u64 divisor(const struct lapic *l)
{
	return 1UL << (((l->timer_divide & 3) + (l->timer_divide >> 1 & 4) + 1) & 7);
}

static u64 guest_tsc(const struct lapic *l)
{
	return l->clock->now_ns + l->tsc_adjust;
}

/*
 * A count of c reads c for `divisor` nanoseconds, and 0 (one-shot) or the
 * initial count again (periodic) from the very instant at which the timer fires.
 */
u32 lapic_timer_count(const struct lapic *l)
{
	u64 div = divisor(l), elapsed_ns = l->clock->now_ns - l->timer_start_ns;
	u64 first_ns = l->timer_count * div;

	if (!counts(l))
		return 0;
	if (elapsed_ns < first_ns)
		return l->timer_count - (u32)(elapsed_ns / div);
	if (lapic_timer_mode(l) == TIMER_ONE_SHOT)
		return 0;
	return l->timer_initial - (u32)((elapsed_ns - first_ns) % (l->timer_initial * div) / div);
}

/* The next expiry after now, VTIMER_NEVER if there is none. */
static u64 next_expiry_ns(const struct lapic *l)
{
	u64 now_ns = l->clock->now_ns, next_ns, period_ns;

	if (lapic_timer_mode(l) == TIMER_TSC_DEADLINE && l->tsc_deadline) {
		u64 ahead_ns = l->tsc_deadline - guest_tsc(l);

		return ahead_ns < VTIMER_NEVER - now_ns ? now_ns + ahead_ns : VTIMER_NEVER;
	}
	if (!counts(l))
		return VTIMER_NEVER;
	next_ns = l->timer_start_ns + l->timer_count * divisor(l);
	if (next_ns > now_ns)
		return next_ns;
	if (lapic_timer_mode(l) == TIMER_ONE_SHOT)
		return VTIMER_NEVER;
	period_ns = l->timer_initial * divisor(l);
	return next_ns + ((now_ns - next_ns) / period_ns + 1) * period_ns;
}

/*
 * Masked, an expiry shows nowhere but in the count, which is computed: no
 * timer is armed, so it costs the guest no exit.  A TSC deadline disarms
 * itself when it is reached, masked or not, which a read shows.
 */
void lapic_timer_arm(struct lapic *l)
{
	if (lapic_timer_mode(l) != TIMER_TSC_DEADLINE && l->lvt[LVT_TIMER] & LVT_MASKED)
		vtimer_cancel(&l->timer);
	else
		vtimer_arm(&l->timer, next_expiry_ns(l));
}

void lapic_timer_fires(void *owner)
{
	struct lapic *l = owner;

	if (lapic_timer_mode(l) == TIMER_TSC_DEADLINE)
		l->tsc_deadline = 0;
	if (!(l->lvt[LVT_TIMER] & LVT_MASKED))
		lapic_take_fixed(l, (u8)l->lvt[LVT_TIMER], APIC_EDGE);
	lapic_timer_arm(l);
}

/* An expiry due by now comes before the access that could change it. */
void lapic_timer_catch_up(struct lapic *l)
{
	if (l->timer.deadline_ns <= l->clock->now_ns)
		lapic_timer_fires(l);
}

void lapic_timer_set_deadline(struct lapic *l, u64 deadline)
{
	l->tsc_deadline = deadline;
	if (deadline && deadline <= guest_tsc(l))
		lapic_timer_fires(l);
	else
		lapic_timer_arm(l);
}

void lapic_set_tsc_adjust(struct lapic *l, u64 adjust)
{
	lapic_timer_catch_up(l);
	l->tsc_adjust = adjust;
	if (lapic_timer_mode(l) == TIMER_TSC_DEADLINE)
		lapic_timer_set_deadline(l, l->tsc_deadline);
}

void lapic_timer_set_initial(struct lapic *l, u32 value)
{
	if (lapic_timer_mode(l) == TIMER_TSC_DEADLINE)
		return; /* ignored there [SDM3 10.5.4.1 TSC-Deadline Mode] */
	l->timer_initial = l->timer_count = value;
	l->timer_start_ns = l->clock->now_ns;
	lapic_timer_arm(l);
}

/* The count goes on from where it is, at the new rate; the prescaler starts over. */
void lapic_timer_set_divide(struct lapic *l, u32 value)
{
	if (value == l->timer_divide)
		return;
	l->timer_count = lapic_timer_count(l);
	l->timer_start_ns = l->clock->now_ns;
	l->timer_divide = value;
	lapic_timer_arm(l);
}

/*
 * One-shot and periodic share the running count: only what happens at zero
 * changes.  To and from TSC-deadline mode disarms [SDM3 10.5.4.1].
 */
void lapic_timer_set_lvt(struct lapic *l, u32 value)
{
	unsigned from = lapic_timer_mode(l), to = value >> 17 & 3;

	if (from != to && MAX(from, to) >= TIMER_TSC_DEADLINE) {
		l->timer_initial = l->timer_count = 0;
		l->tsc_deadline = 0;
	} else if (from != to && counts(l)) {
		u64 elapsed_ns = l->clock->now_ns - l->timer_start_ns;
		u64 first_ns = l->timer_count * divisor(l), period_ns = l->timer_initial * divisor(l);

		if (elapsed_ns >= first_ns && from == TIMER_ONE_SHOT) {
			l->timer_count = 0;
		} else if (elapsed_ns >= first_ns) {
			l->timer_start_ns += first_ns + (elapsed_ns - first_ns) / period_ns * period_ns;
			l->timer_count = l->timer_initial;
		}
	}
	l->lvt[LVT_TIMER] = value;
	lapic_timer_arm(l);
}
