/*
 * lapic_route.c - messages between local APICs: what one sends, and which of
 * them a message is for.  See lapic.h.
 *
 * Reads: IDs, modes and priorities of all.  Changes: those a message is for,
 * by what lapic.c does with one.  Never: registers.
 */
#include "vmm/dev/lapic_impl.h"

/* --- the interrupt command register [SDM3 10.6.1] --- */

void lapic_send_ipi(struct lapic *l)
{
	u32 low = (u32)l->icr;
	struct apic_message m = {
		.dest = lapic_x2apic(l) ? (u32)(l->icr >> 32) : apic_dest8((u8)(l->icr >> 56)),
		.dest_mode = low >> 11 & 1,
		.delivery_mode = low >> 8 & 7,
		.vector = (u8)low,
		.trigger = APIC_EDGE, /* an IPI is taken as edge whatever ICR says */
		.level = 1,
		.shorthand = low >> 18 & 3,
	};

	switch (m.delivery_mode) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (m.vector < 16) {
			lapic_log_error(l, ESR_SEND_ILLEGAL);
			return;
		}
		break;
	case APIC_INIT:
		if (low >> 15 & 1 && !(low >> 14 & 1))
			return; /* level de-assert: only old buses heard it */
		break;
	case APIC_NMI:
	case APIC_STARTUP:
		break;
	default: /* SMI: there is no SMM; the rest is reserved */
		return;
	}
	/* To itself a LAPIC sends fixed interrupts only. [SDM3 Table 10-3] */
	if ((m.shorthand == APIC_TO_SELF || m.shorthand == APIC_TO_ALL) && m.delivery_mode != APIC_FIXED)
		return;
	if (m.shorthand == APIC_TO_SELF)
		lapic_deliver(l, &m);
	else
		l->env.send(l->env.ctx, &m);
}

void lapic_self_ipi(struct lapic *l, u8 vector)
{
	if (vector < 16)
		lapic_log_error(l, ESR_SEND_ILLEGAL);
	else
		lapic_take_fixed(l, vector, APIC_EDGE);
}

/* --- messages --- */

/* [SDM3 10.6.2.2 Logical Destination Mode] */
static bool logical_match(const struct lapic *l, u32 dest)
{
	u32 own = lapic_ldr(l);

	if (lapic_x2apic(l))
		return own >> 16 == dest >> 16 && own & dest & 0xffff;
	if (dest > 0xff)
		return false;
	own >>= 24;
	if (l->dfr >> 28 == 0xf) /* flat */
		return own & dest;
	return l->dfr >> 28 == 0 && own >> 4 == dest >> 4 && own & dest & 0xf;
}

bool lapic_matches(const struct lapic *l, const struct apic_message *m)
{
	if (!lapic_hw_enabled(l) || m->shorthand == APIC_TO_SELF || m->shorthand == APIC_TO_OTHERS)
		return false;
	if (m->shorthand == APIC_TO_ALL || m->dest == APIC_BROADCAST)
		return true;
	return m->dest_mode == APIC_LOGICAL ? logical_match(l, m->dest) : m->dest == l->apic_id;
}

void lapic_deliver(struct lapic *l, const struct apic_message *m)
{
	switch (m->delivery_mode) {
	case APIC_FIXED:
	case APIC_LOWEST:
		lapic_take_fixed(l, m->vector, m->trigger);
		break;
	case APIC_NMI:
		l->env.cpu_event(l->env.ctx, LAPIC_EVENT_NMI, 0);
		break;
	case APIC_INIT:
		if (!m->level)
			break;
		lapic_reset_registers(l); /* the ID and IA32_APIC_BASE stay [SDM3 10.4.7.3] */
		l->env.cpu_event(l->env.ctx, LAPIC_EVENT_INIT, 0);
		break;
	case APIC_STARTUP:
		l->env.cpu_event(l->env.ctx, LAPIC_EVENT_STARTUP, m->vector);
		break;
	default: /* lapic.h, "Not here" */
		break;
	}
}

static bool addressed(const struct lapic *l, bool is_source, const struct apic_message *m)
{
	if (m->shorthand == APIC_TO_SELF || m->shorthand == APIC_TO_OTHERS)
		return is_source == (m->shorthand == APIC_TO_SELF) && lapic_hw_enabled(l);
	return lapic_matches(l, m);
}

void lapic_route(struct lapic *const *lapics, unsigned n, int source, const struct apic_message *m)
{
	struct lapic *lowest = NULL;

	for (unsigned i = 0; i < n; i++) {
		if (!addressed(lapics[i], (int)i == source, m))
			continue;
		if (m->delivery_mode != APIC_LOWEST)
			lapic_deliver(lapics[i], m);
		else if (lapic_sw_enabled(lapics[i]) && (!lowest || lapic_ppr(lapics[i]) < lapic_ppr(lowest)))
			lowest = lapics[i];
	}
	if (lowest)
		lapic_deliver(lowest, m);
}
