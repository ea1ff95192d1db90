/*
 * debugregs.c - the debug registers: the guest's own breakpoints, and the places
 * where a debugger wants it stopped.
 *
 * Reads and changes: DR0 to DR7 of the processor and of one VMCB, around an
 * entry.  Between entries the guest's own values are in all of them.
 */
#include "kernel/cpu.h"
#include "kernel/trap.h"
#include "vmm/svm/svm_impl.h"

#define INTERCEPT_ALL_DR 0xffff
#define DR7_ENABLED 0xffUL
#define DR7_RESET 0x400UL
#define DR6_RESET 0xffff0ff0UL
#define DR6_HITS 0xfUL
#define DR6_BS BIT(14)

/*
 * The guest has armed hardware breakpoints.  VMRUN loads DR7 but TCG arms
 * breakpoints only on a MOV to it, so the host writes the guest's value, for
 * as short as can be.  One that lies on what the hypervisor itself touches
 * meanwhile would fire here and spoil the count: that VM is stopped.
 */
static void enter_with_breakpoints(struct vcpu *v, struct svm_vcpu *s)
{
	u64 before = trap_stray_debug();

	write_dr7(v->cpu.dr7);
	svm_enter(&s->entry);
	write_dr7(DR7_RESET);
	if (trap_stray_debug() != before)
		vm_stop(v->vm, VM_UNHANDLED, "a hardware breakpoint of the guest lies on addresses the hypervisor uses");
}

/* DR0 to DR3 for the watches of this entry; returns DR7. */
static u64 watch_registers(const struct vcpu *v, u64 dr[4])
{
	u64 dr7 = DR7_RESET;

	for (unsigned i = 0; i < WATCH_SLOTS; i++) {
		const struct watch_slot *w = &v->watch[i];
		u64 length = w->size_bytes == 8 ? 2 : w->size_bytes - 1UL; /* [APM2 13.1.1.4 Debug-Control Register] */

		dr[i] = 0;
		if (!(v->watch_armed >> i & 1))
			continue;
		dr[i] = w->linear;
		dr7 |= 2UL << 2 * i | ((u64)w->kind | length << 2) << (16 + 4 * i); /* Gn, R/Wn, LENn */
	}
	return dr7;
}

static void write_dr0_to_3(const u64 dr[4])
{
	write_dr0(dr[0]);
	write_dr1(dr[1]);
	write_dr2(dr[2]);
	write_dr3(dr[3]);
}

/*
 * The debugger's watches in the debug registers: #DB and every access to the
 * registers come to us, and afterwards the guest's own values are back.
 */
static void enter_with_watches(struct vcpu *v, struct svm_vcpu *s)
{
	const u64 own[4] = { read_dr0(), read_dr1(), read_dr2(), read_dr3() };
	struct vmcb *b = s->vmcb;
	u64 dr6 = b->s.dr6, dr7 = b->s.dr7, before = trap_stray_debug(), dr[4];

	b->s.dr7 = watch_registers(v, dr);
	b->s.dr6 = DR6_RESET;
	write_dr0_to_3(dr);
	b->c.intercept_exceptions |= BIT(VEC_DB);
	b->c.intercept_dr_read = b->c.intercept_dr_write = INTERCEPT_ALL_DR;
	write_dr7(b->s.dr7);
	svm_enter(&s->entry);
	write_dr7(DR7_RESET);
	b->c.intercept_dr_read = 0;
	b->c.intercept_dr_write = INTERCEPT_DR7;
	s->watch_dr6 = b->s.dr6;
	s->watch_blind = trap_stray_debug() != before; /* one lies on what the hypervisor uses: the count is spoilt */
	b->s.dr6 = dr6;
	b->s.dr7 = dr7;
	write_dr0_to_3(own);
}

void svm_enter_with_debug(struct vcpu *v, struct svm_vcpu *s)
{
	s->watch_blind = v->watch_armed && (v->cpu.dr7 & DR7_ENABLED);
	if (v->cpu.dr7 & DR7_ENABLED)
		enter_with_breakpoints(v, s);
	else if (v->watch_armed)
		enter_with_watches(v, s);
	else
		svm_enter(&s->entry);
}

void svm_decode_debug(const struct svm_vcpu *s, struct exit *out)
{
	out->reason = EXIT_WATCH;
	out->watch.slots = s->watch_dr6 & DR6_HITS;
	out->watch.guest = s->watch_dr6 & DR6_BS;
	out->watch.dr6 = s->vmcb->s.dr6 | (s->watch_dr6 & DR6_BS);
}
