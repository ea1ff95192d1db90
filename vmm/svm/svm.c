/*
 * svm.c - running a vCPU with AMD SVM.
 *
 * Reads and changes: the vCPU's VMCB, cpu_state at the seams (load, save,
 * run), the host LAPIC timer.  Nothing outside this directory knows a VMCB.
 *
 *   1  enabling SVM, the permission maps
 *   2  cpu_state <-> VMCB
 *   3  events in: exceptions by EVENTINJ, interrupts by V_IRQ
 *   4  one entry, counted
 *   5  raw exit -> struct exit
 */
#include "kernel/counter.h"
#include "kernel/cpu.h"
#include "kernel/lapic.h"
#include "kernel/mm.h"
#include "kernel/trap.h"
#include "vmm/svm/svm.h"
#include "vmm/svm/svm_impl.h"
#include "vmm/vm.h"

/* --- 1  enabling SVM, the permission maps --------------------------------- */

#define MSR_TSC_AUX 0xc0000103U
#define MSR_VM_CR 0xc0010114U
#define MSR_VM_HSAVE_PA 0xc0010117U
#define VM_CR_SVMDIS BIT(4)
#define IOPM_PAGES 3
#define MSRPM_PAGES 2

/* Boot area: the same for every VM, written once by svm_enable; but for the timer, which is this CPU's. */
static struct {
	u8 *iopm, *msrpm;
	struct vmcb *host;      /* the host's FS, GS, TR, LDTR and syscall MSRs, for VMLOAD */
	bool has_tsc_aux;
	bool entry_flushes;     /* every VMRUN empties the TLB: no need to ask for it */
	u64 timer_due;          /* host TSC at which the timer of the last entry, of whichever vCPU, fires; 0: not armed */
} svm;

/* MSRs the processor switches by itself with VMLOAD and VMSAVE [APM2 15.5.2]. */
static const u32 passed_msrs[] = {
	0x174, 0x175, 0x176,                                    /* SYSENTER_CS, ESP, EIP */
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,         /* STAR, LSTAR, CSTAR, SFMASK */
	0xc0000100, 0xc0000101, 0xc0000102,                     /* FS_BASE, GS_BASE, KERNEL_GS_BASE */
};

static void pass_msr(u32 msr)
{
	u32 bit = msr < 0x2000 ? msr * 2 : 0x4000 + (msr - 0xc0000000) * 2; /* [APM2 15.11 MSR Intercepts] */

	svm.msrpm[bit / 8] &= (u8)~(3 << bit % 8);
}

err_t svm_enable(const char **why)
{
	u8 *hsave;

	*why = "this processor has no SVM; start QEMU with -cpu qemu64,+svm,+npt";
	if (cpuid(0x80000000, 0).eax < 0x8000000a || !(cpuid(0x80000001, 0).ecx & BIT(2)))
		return ERR_UNSUPPORTED;
	*why = "this processor's SVM has no nested paging; start QEMU with -cpu qemu64,+svm,+npt";
	if (!(cpuid(0x8000000a, 0).edx & 1))
		return ERR_UNSUPPORTED;
	*why = "the firmware has disabled SVM (VM_CR.SVMDIS); enable it in the setup";
	if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS)
		return ERR_UNSUPPORTED;
	*why = "out of memory";
	hsave = page_zalloc(1);
	svm.iopm = page_alloc(IOPM_PAGES);
	svm.msrpm = page_alloc(MSRPM_PAGES);
	svm.host = page_zalloc(1);
	if (!hsave || !svm.iopm || !svm.msrpm || !svm.host)
		return ERR_NO_MEMORY;
	memset(svm.iopm, 0xff, IOPM_PAGES * PAGE_SIZE);
	memset(svm.msrpm, 0xff, MSRPM_PAGES * PAGE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(passed_msrs); i++)
		pass_msr(passed_msrs[i]);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (u64)hsave);
	__asm__ volatile("vmsave %%rax" : : "a"(svm.host) : "memory");
	svm.entry_flushes = cpu_is_tcg(); /* its software TLB, at every VMRUN and #VMEXIT; asking again costs 2 us */
	svm.has_tsc_aux = cpuid(0x80000001, 0).edx & BIT(27); /* RDTSCP */
	/*
	 * VMRUN and #VMEXIT flush once more when CR4's paging bits change, so
	 * the host keeps those that guests keep: TCG then flushes half as often.
	 */
	write_cr4(read_cr4() | CR4_PSE | CR4_PGE | CR4_PAE);
	return OK;
}

/* --- 2  cpu_state <-> VMCB ------------------------------------------------ */

static struct svm_vcpu *svm_of(const struct vcpu *v)
{
	return v->vendor;
}

static err_t svm_create(struct vcpu *v)
{
	struct svm_vcpu *s = page_zalloc(1);
	struct vmcb *b = page_zalloc(1);

	if (!s || !b)
		return ERR_NO_MEMORY;
	s->vmcb = b;
	s->entry.gpr = v->cpu.gpr;
	s->entry.vmcb = (u64)b;
	s->entry.host_vmcb = (u64)svm.host;
	s->entry.timer = &host_lapic[LAPIC_TIMER_INITIAL / 4];
	v->vendor = s;

	b->c.intercept_dr_write = INTERCEPT_DR7; /* see debugregs.c */
	/* CR0 that cannot be, and reserved bits of CR4, would fail a later VMRUN.  CR8 tells the LAPIC which interrupts it may offer. */
	b->c.intercept_cr_write = 1 << 4 | 1 << 8;
	b->c.intercept1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_SMI | INTERCEPT_INIT | INTERCEPT_CR0_SELECTIVE | INTERCEPT_RDPMC |
			  INTERCEPT_CPUID | INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_IOIO | INTERCEPT_MSR |
			  INTERCEPT_TASK_SWITCH | INTERCEPT_INVLPGA | INTERCEPT_SHUTDOWN;
	b->c.intercept2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |
			  INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_MONITOR | INTERCEPT_MWAIT |
			  INTERCEPT_XSETBV;
	b->c.iopm_base_pa = (u64)svm.iopm;
	b->c.msrpm_base_pa = (u64)svm.msrpm;
	b->c.asid = 1 + v->index;
	b->c.tlb_control = 1;
	b->c.int_ctl = V_INTR_MASKING;
	b->c.np_enable = 1;
	b->c.n_cr3 = v->vm->paging.root_hpa;
	svm_ops.load(v, PART_ALL);
	return OK;
}

/* The VMCB's place for each segment register. */
static struct vmcb_segment *segment_of(struct vmcb *b, unsigned seg)
{
	struct vmcb_save *s = &b->s;

	switch (seg) {
	case SEG_ES: return &s->es;
	case SEG_CS: return &s->cs;
	case SEG_SS: return &s->ss;
	case SEG_DS: return &s->ds;
	case SEG_FS: return &s->fs;
	case SEG_GS: return &s->gs;
	case SEG_LDTR: return &s->ldtr;
	default: return &s->tr;
	}
}

static void load_segment(struct vmcb_segment *to, const struct segment *from)
{
	*to = (struct vmcb_segment){ from->selector, from->attrib, from->limit, from->base };
}

static void save_segment(struct segment *to, const struct vmcb_segment *from)
{
	to->selector = from->selector;
	to->attrib = from->attrib;
	to->limit = from->limit;
	to->base = from->base;
}

static void load_segments(struct vmcb *b, const struct cpu_state *c)
{
	for (unsigned i = 0; i < NSEG; i++)
		load_segment(segment_of(b, i), &c->seg[i]);
	b->s.gdtr.base = c->gdtr.base;
	b->s.gdtr.limit = c->gdtr.limit;
	b->s.idtr.base = c->idtr.base;
	b->s.idtr.limit = c->idtr.limit;
}

static void save_segments(const struct vmcb *b, struct cpu_state *c)
{
	for (unsigned i = 0; i < NSEG; i++)
		save_segment(&c->seg[i], segment_of((struct vmcb *)(uintptr_t)b, i));
	c->gdtr.base = b->s.gdtr.base;
	c->gdtr.limit = b->s.gdtr.limit;
	c->idtr.base = b->s.idtr.base;
	c->idtr.limit = b->s.idtr.limit;
}

/* EFER.SVME must be set while a guest runs, and the guest never sees it. */
static void load_control(struct vmcb *b, const struct cpu_state *c)
{
	b->s.cpl = c->cpl;
	b->s.efer = c->efer | EFER_SVME;
	b->s.cr0 = c->cr0;
	b->s.cr2 = c->cr2;
	b->s.cr3 = c->cr3;
	b->s.cr4 = c->cr4;
	b->s.g_pat = c->pat;
	if (svm.has_tsc_aux)
		wrmsr(MSR_TSC_AUX, c->tsc_aux);
}

/* What the processor may have changed while the guest ran; PAT and TSC_AUX are only ever ours. */
static void save_control(const struct vmcb *b, struct cpu_state *c)
{
	c->cpl = b->s.cpl;
	c->efer = b->s.efer & ~EFER_SVME;
	c->cr0 = b->s.cr0;
	c->cr2 = b->s.cr2;
	c->cr3 = b->s.cr3;
	c->cr4 = b->s.cr4;
}

static void load_rest(struct vmcb *b, const struct cpu_state *c)
{
	b->s.dr6 = c->dr6;
	b->s.dr7 = c->dr7;
	b->s.star = c->star;
	b->s.lstar = c->lstar;
	b->s.cstar = c->cstar;
	b->s.sfmask = c->sfmask;
	b->s.kernel_gs_base = c->kernel_gs_base;
	b->s.sysenter_cs = c->sysenter_cs;
	b->s.sysenter_esp = c->sysenter_esp;
	b->s.sysenter_eip = c->sysenter_eip;
	write_dr0(c->dr[0]);
	write_dr1(c->dr[1]);
	write_dr2(c->dr[2]);
	write_dr3(c->dr[3]);
	__asm__ volatile("fxrstor64 %0" : : "m"(c->fx));
}

static void save_rest(const struct vmcb *b, struct cpu_state *c)
{
	c->dr6 = b->s.dr6;
	c->dr7 = b->s.dr7;
	c->star = b->s.star;
	c->lstar = b->s.lstar;
	c->cstar = b->s.cstar;
	c->sfmask = b->s.sfmask;
	c->kernel_gs_base = b->s.kernel_gs_base;
	c->sysenter_cs = b->s.sysenter_cs;
	c->sysenter_esp = b->s.sysenter_esp;
	c->sysenter_eip = b->s.sysenter_eip;
	c->dr[0] = read_dr0();
	c->dr[1] = read_dr1();
	c->dr[2] = read_dr2();
	c->dr[3] = read_dr3();
	memset(c->fx, 0, sizeof(c->fx)); /* FXSAVE leaves its reserved bytes as they were */
	__asm__ volatile("fxsave64 %0" : "+m"(c->fx));
}

static void svm_load(struct vcpu *v, unsigned parts)
{
	struct vmcb *b = svm_of(v)->vmcb;

	if (parts & PART_SEGMENTS)
		load_segments(b, &v->cpu);
	if (parts & PART_CONTROL)
		load_control(b, &v->cpu);
	if (parts & PART_REST)
		load_rest(b, &v->cpu);
}

static void svm_save(struct vcpu *v, unsigned parts)
{
	const struct vmcb *b = svm_of(v)->vmcb;

	if (parts & PART_SEGMENTS)
		save_segments(b, &v->cpu);
	if (parts & PART_CONTROL)
		save_control(b, &v->cpu);
	if (parts & PART_REST)
		save_rest(b, &v->cpu);
}

struct aligned_to(16) fx_area {
	u8 bytes[512];
};

/* FNINIT sets them to 0, and FXRSTOR leaves them so. */
static void svm_clear_x87_pointers(struct vcpu *v unused_arg)
{
	struct fx_area fx;

	__asm__ volatile("fxsave64 %0\n\tfninit\n\tfxrstor64 %0" : "+m"(fx));
}

/* FNSTENV masks exceptions, and FLDCW would raise a pending one: FXRSTOR puts back what it changed. */
static bool svm_x87_pointers_clear(struct vcpu *v unused_arg)
{
	struct fx_area fx;
	u32 env[7]; /* [3] to [6]: instruction pointer and selector, operand's pointer and selector [APM2 11.4.4] */

	__asm__ volatile("fxsave64 %0\n\tfnstenv %1\n\tfxrstor64 %0" : "+m"(fx), "=m"(env));
	return !(env[3] | env[4] | env[5] | env[6]);
}

/* --- 3  events in --------------------------------------------------------- */

/* Exceptions that on top of another may make a double fault: #DE, #TS, #NP, #SS, #GP, #PF [APM2 8.2.9]. */
#define COMPOUNDING (BIT(VEC_DE) | BIT(VEC_TS) | BIT(VEC_NP) | BIT(VEC_SS) | BIT(VEC_GP) | BIT(VEC_PF))

static void inject(struct vcpu *v, struct vmcb *b)
{
	struct pending_exception *p = &v->exception;
	struct vmcb_control *c = &b->c;

	c->int_ctl = v->cpu.cr8 | V_INTR_MASKING;
	c->intercept_exceptions = 0;
	if (p->valid) {
		/* TCG forgets that an injected exception was the first of two: the second comes to us, to be combined. */
		if ((COMPOUNDING | BIT(VEC_DF)) & BIT(p->vector))
			c->intercept_exceptions = COMPOUNDING;
		c->eventinj = EVENT_VALID | (u64)EVENT_EXCEPTION << 8 | p->vector |
			      (p->has_error ? EVENT_HAS_ERROR | (u64)p->error << 32 : 0);
		p->valid = false;
		b->s.cr2 = v->cpu.cr2; /* a page fault's address */
	}
	/*
	 * V_IRQ waits for the guest's IF by itself, and is the one way that
	 * TCG delivers exactly once: an external interrupt by EVENTINJ is
	 * delivered again if the entry reaches an armed stop.
	 */
	if (v->irq_vector >= 0)
		c->int_ctl |= V_IRQ | V_IGN_TPR | 15UL << V_INTR_PRIO_SHIFT | (u64)v->irq_vector << V_VECTOR_SHIFT;
}

/* An event whose delivery an exit cut short is delivered again at the next entry. */
static void reinject(struct vcpu *v, const struct vmcb_control *c, struct exit *out)
{
	u64 e = c->exitintinfo;

	out->in_delivery = e & EVENT_VALID;
	if (!out->in_delivery)
		return;
	if (EVENT_TYPE(e) == EVENT_SOFTWARE || (EVENT_TYPE(e) == EVENT_EXCEPTION && EVENT_VECTOR(e) == VEC_BP)) {
		/* INT n was counted and runs again; but not when it is its own fault that comes to us. */
		if (c->exitcode - VMEXIT_EXCP0 > 31)
			out->retired -= out->retired != 0;
		return;
	}
	/*
	 * The offered interrupt is offered again.  TCG calls it an exception
	 * here, but V_IRQ still stands; and with IF set nothing else could have
	 * been delivered before it.
	 */
	if (EVENT_TYPE(e) == EVENT_INTR ||
	    (EVENT_VECTOR(e) == v->irq_vector && (c->int_ctl & V_IRQ) && (v->cpu.rflags & RFLAGS_IF))) {
		out->irq_taken = false;
		return;
	}
	v->exception = (struct pending_exception){ .valid = true,
						   .has_error = e & EVENT_HAS_ERROR,
						   .vector = EVENT_VECTOR(e),
						   .error = (u32)(e >> 32) };
}

/* --- 4  one entry, counted ------------------------------------------------ */

/* Ticks from here to where a new timer is armed are fewer. */
#define SETTLE_TICKS 512

/* The timer of an earlier entry may be about to fire in the hypervisor, or have fired: put it out first. */
static void settle_timer(struct svm_vcpu *s)
{
	if (svm.timer_due && rdtsc() + SETTLE_TICKS >= svm.timer_due) {
		*s->entry.timer = 0;
		trap_drain();
	}
}

static void decode_exit(struct vcpu *v, const struct vmcb_control *c, struct exit *out);

static void svm_run(struct vcpu *v, u64 budget, struct exit *out)
{
	const struct counter *counter = host_counter();
	struct svm_vcpu *s = svm_of(v);
	struct vmcb *b = s->vmcb;

	b->s.rax = v->cpu.gpr[RAX];
	b->s.rsp = v->cpu.gpr[RSP];
	b->s.rip = v->cpu.rip;
	b->s.rflags = v->cpu.rflags;
	b->c.interrupt_shadow = v->cpu.interrupt_shadow;
	b->c.tlb_control = svm.entry_flushes ? 0 : 1;
	inject(v, b);
	settle_timer(s);
	s->entry.tsc_want = v->vm->now.vtime_ns + v->cpu.tsc_adjust - counter->tsc_lead;
	s->entry.arm_ticks = counter_ticks(counter, budget);
	svm_enter_with_debug(v, s);
	svm.timer_due = s->entry.before + s->entry.arm_ticks;
	if (b->c.exitcode == VMEXIT_INTR) {
		trap_drain();
		svm.timer_due = 0;
	}

	v->cpu.gpr[RAX] = b->s.rax;
	v->cpu.gpr[RSP] = b->s.rsp;
	v->cpu.rip = b->s.rip;
	v->cpu.rflags = (b->s.rflags & RFLAGS_DEFINED) | RFLAGS_RESERVED1;
	v->cpu.interrupt_shadow = b->c.interrupt_shadow & 1;
	save_control(b, &v->cpu);
	/* TCG loads code that is of 64 and of 32 bits, runs it as the former, and refuses it at the next entry. */
	if ((b->s.cs.attrib & SEG_ATTR_L) && (v->cpu.efer & EFER_LMA))
		b->s.cs.attrib &= (u16)~SEG_ATTR_DB;
	save_segment(&v->cpu.seg[SEG_CS], &b->s.cs);
	out->raw_code = b->c.exitcode;
	out->insn_bytes = 0;
	out->retired = s->entry.after - s->entry.before - counter->entry_cost;
	out->irq_taken = v->irq_vector >= 0 && !(b->c.int_ctl & V_IRQ);
	out->blind = s->watch_blind;
	reinject(v, &b->c, out);
	b->c.eventinj = 0;
	decode_exit(v, &b->c, out);
}

/* --- 5  raw exit -> struct exit -------------------------------------------- */

/* exitinfo1 of IOIO [APM2 15.10.2 IN and OUT Behavior]. */
static void decode_port(const struct vcpu *v, const struct vmcb_control *c, struct exit *out)
{
	u64 info = c->exitinfo1;

	out->reason = EXIT_PORT;
	out->port.port = (u16)(info >> 16);
	out->port.size_bytes = (info >> 4) & 7;
	out->port.in = info & 1;
	out->port.string = info & 4;
	out->insn_bytes = (u8)(c->exitinfo2 - v->cpu.rip);
}

static void decode_npf(const struct vmcb_control *c, struct exit *out)
{
	out->reason = EXIT_PAGING; /* error code as #PF's, with bits 32 and 33 [APM2 15.25.6] */
	out->paging.gpa = GPA(c->exitinfo2);
	out->paging.write = c->exitinfo1 & 2;
	out->paging.fetch = c->exitinfo1 & 16;
	out->paging.table_walk = c->exitinfo1 & BIT(33);
}

static void decode_exception(const struct vmcb_control *c, struct exit *out)
{
	u8 vector = (u8)(c->exitcode - VMEXIT_EXCP0);

	out->reason = EXIT_EXCEPTION; /* [APM2 15.12 Exception Intercepts] */
	out->exception.vector = vector;
	out->exception.has_error = vector != VEC_DE;
	out->exception.error = (u32)c->exitinfo1;
	out->exception.cr2 = c->exitinfo2;
}

/*
 * The entry was refused: then not even VMRUN was counted.  Else TCG says it of
 * a MOV to CR3 in the guest with address bits that are none
 * (QEMU 7.2, helper_write_crN), which is #GP.
 */
static void decode_invalid(struct exit *out)
{
	bool entered = (s64)out->retired >= 0;

	out->reason = entered ? EXIT_CR3 : EXIT_BAD_STATE;
	if (!entered)
		out->retired = 0;
}

static void decode_exit(struct vcpu *v, const struct vmcb_control *c, struct exit *out)
{
	switch (c->exitcode) {
	case VMEXIT_INTR:
	case VMEXIT_NMI:
		out->reason = EXIT_STOP;
		break;
	case VMEXIT_IOIO:
		decode_port(v, c, out);
		break;
	case VMEXIT_MSR:
		out->reason = EXIT_MSR;
		out->msr.write = c->exitinfo1 & 1;
		break;
	case VMEXIT_NPF:
		decode_npf(c, out);
		break;
	case VMEXIT_EXCP0 + VEC_DB:
		svm_decode_debug(svm_of(v), out);
		break;
	case VMEXIT_EXCP0 ... VMEXIT_EXCP0 + VEC_DB - 1:
	case VMEXIT_EXCP0 + VEC_DB + 1 ... VMEXIT_EXCP0 + 31:
		decode_exception(c, out);
		break;
	case VMEXIT_CPUID:
		out->reason = EXIT_CPUID;
		break;
	case VMEXIT_DR7_WRITE:
		out->reason = EXIT_DR7;
		break;
	case VMEXIT_DR0_READ ... VMEXIT_DR0_READ + 15:
	case VMEXIT_DR0_READ + 16 ... VMEXIT_DR7_WRITE - 1:
		out->reason = EXIT_DEBUG_REG;
		break;
	case VMEXIT_CR0_SELECTIVE:
		out->reason = EXIT_CR0;
		break;
	case VMEXIT_CR4_WRITE:
		out->reason = EXIT_CR4;
		break;
	case VMEXIT_CR8_WRITE:
		out->reason = EXIT_CR8;
		break;
	case VMEXIT_HLT:
		out->reason = EXIT_HLT;
		break;
	case VMEXIT_VMMCALL:
		out->reason = EXIT_HYPERCALL;
		break;
	case VMEXIT_SHUTDOWN:
		out->reason = EXIT_TRIPLE_FAULT;
		break;
	case VMEXIT_TASK_SWITCH:
		out->reason = EXIT_TASK_SWITCH;
		break;
	case VMEXIT_RDTSC:
	case VMEXIT_RDTSCP:
		out->reason = EXIT_TSC;
		break;
	case VMEXIT_INVD:
	case VMEXIT_WBINVD:
		out->reason = EXIT_CACHE;
		break;
	case VMEXIT_RDPMC:
	case VMEXIT_INVLPGA:
	case VMEXIT_MONITOR:
	case VMEXIT_MWAIT:
	case VMEXIT_XSETBV:
	case VMEXIT_VMRUN:
	case VMEXIT_VMLOAD ... VMEXIT_SKINIT:
		out->reason = EXIT_UNDEFINED;
		break;
	default:
		if ((u32)c->exitcode == VMEXIT_INVALID) /* 64 bits of ones; QEMU writes 32 */
			decode_invalid(out);
		else
			out->reason = EXIT_UNKNOWN;
		break;
	}
}

static unsigned svm_pte_rights(u64 pte)
{
	if (!(pte & 1))
		return 0;
	return MAP_READ | (pte & 2 ? MAP_WRITE : 0) | (pte >> 63 ? 0 : MAP_EXEC);
}

/* NPT entries are long-mode page-table entries; every guest access is a user access [APM2 15.25.5]. */
static u64 svm_pte_leaf(hpa_t at, unsigned rights)
{
	return at.v | 1 | (rights & MAP_WRITE ? 2 : 0) | 4 | (rights & MAP_EXEC ? 0 : BIT(63));
}

static u64 svm_pte_table(hpa_t at)
{
	return at.v | 7;
}

const struct virt_ops svm_ops = {
	.name = "svm",
	.create = svm_create,
	.load = svm_load,
	.save = svm_save,
	.run = svm_run,
	.clear_x87_pointers = svm_clear_x87_pointers,
	.x87_pointers_clear = svm_x87_pointers_clear,
	.pte_leaf = svm_pte_leaf,
	.pte_table = svm_pte_table,
	.pte_rights = svm_pte_rights,
	.pte_accessed = 0x20,
	.pte_dirty = 0x40,
};
