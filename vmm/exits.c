/*
 * exits.c - one handler for each reason a vCPU can stop.
 *
 * Each handler does what the hardware would have done and lets the guest go
 * on: an instruction is completed (vcpu_retire), becomes the fault real
 * hardware gives, or ends this VM with its state.  Nothing here can end the
 * host.
 */
#include "kernel/kfmt.h"
#include "vmm/emulate.h"
#include "vmm/vm.h"

const char *exit_reason_name(enum exit_reason r)
{
	static const char *const names[NEXIT] = {
		[EXIT_STOP] = "stop", [EXIT_PORT] = "port", [EXIT_MSR] = "msr", [EXIT_CPUID] = "cpuid",
		[EXIT_HLT] = "hlt", [EXIT_DR7] = "dr7", [EXIT_CR0] = "cr0", [EXIT_CR3] = "cr3", [EXIT_CR4] = "cr4", [EXIT_CR8] = "cr8", [EXIT_EXCEPTION] = "exception", [EXIT_WATCH] = "watch", [EXIT_DEBUG_REG] = "debug-reg", [EXIT_PAGING] = "paging", [EXIT_TSC] = "tsc", [EXIT_HYPERCALL] = "hypercall",
		[EXIT_UNDEFINED] = "undefined", [EXIT_TRIPLE_FAULT] = "triple-fault",
		[EXIT_TASK_SWITCH] = "task-switch", [EXIT_CACHE] = "cache", [EXIT_BAD_STATE] = "bad-state",
		[EXIT_UNKNOWN] = "unknown",
	};
	return r < NEXIT ? names[r] : "?";
}

#define DR6_BS BIT(14)

/* --- the instruction at RIP ------------------------------------------------ */

/* Linear addresses are 32 bits wide but in 64-bit code: what runs over their end begins at 0 again. */
static gva_t linear(const struct vcpu *v, u64 at)
{
	return GVA(cpu_code_bits(&v->cpu) == 64 ? at : (u32)at);
}

static unsigned ring(const struct vcpu *v)
{
	return v->cpu.cpl == 3 ? WALK_USER : 0;
}

/* Fetches up to 15 bytes at RIP; returns how many.  Where that is fewer, *at and *w are of the first that is not there. */
static size_t fetch(struct vcpu *v, u8 bytes[INSN_MAX_LENGTH], gva_t *at, struct walk_result *w)
{
	u64 base = cpu_code_bits(&v->cpu) == 64 ? 0 : v->cpu.seg[SEG_CS].base;
	size_t got = 0;

	while (got < INSN_MAX_LENGTH) {
		*at = linear(v, base + v->cpu.rip + got);
		size_t n = MIN(INSN_MAX_LENGTH - got, PAGE_SIZE - at->v % PAGE_SIZE);

		*w = paging_walk(v, *at, WALK_FETCH | ring(v));
		if (!w->ok || guestmem_read(&v->vm->mem, w->gpa, bytes + got, n))
			break;
		got += n;
	}
	return got;
}

/* The first bytes in hexadecimal, for a message. */
static const char *hex(char text[INSN_MAX_LENGTH * 3 + 1], const u8 *bytes, size_t n)
{
	text[0] = 0;
	for (size_t i = 0; i < n; i++)
		ksnprintf(text + 3 * i, 4, "%02x ", bytes[i]);
	return text;
}

static bool decode_at_rip(struct vcpu *v, struct insn *in)
{
	u8 bytes[INSN_MAX_LENGTH];
	char text[INSN_MAX_LENGTH * 3 + 1];
	struct walk_result w;
	gva_t at;
	size_t n = fetch(v, bytes, &at, &w);
	err_t err = insn_decode(bytes, n, cpu_code_bits(&v->cpu), in);

	if (!err)
		return true;
	if (err == ERR_INVALID) {
		vcpu_raise(v, in->vector, in->vector == VEC_GP, 0);
	} else if (err == ERR_END && !w.ok) {
		v->cpu.cr2 = at.v;
		vcpu_raise(v, VEC_PF, true, w.error);
	} else {
		vm_stop(v->vm, VM_UNHANDLED, "instruction %sat rip 0x%lx %s", hex(text, bytes, MIN(n, 8UL)), v->cpu.rip,
			err == ERR_END ? "goes on where there is no memory"
				       : "reaches a device and is not one this machine emulates");
	}
	return false;
}

/* The length of a plain CPUID, RDMSR, WRMSR or RDTSC in 64-bit code, which needs no decoder; else 0. */
static unsigned plain_length(struct vcpu *v)
{
	gva_t at = GVA(v->cpu.rip);
	struct walk_result w;
	const u8 *p;

	if (cpu_code_bits(&v->cpu) != 64 || at.v % PAGE_SIZE == PAGE_SIZE - 1)
		return 0;
	w = paging_walk(v, at, WALK_FETCH | ring(v));
	p = w.ok ? guestmem_peek(&v->vm->mem, w.gpa) : NULL;
	return p && p[0] == 0x0f && (p[1] == 0xa2 || p[1] == 0x32 || p[1] == 0x30 || p[1] == 0x31) ? 2 : 0;
}

/* With RFLAGS.TF set the instruction just completed ends in a trap [APM2 13.1.4 Single Stepping]. */
static void single_step(struct vcpu *v)
{
	if (!(v->cpu.rflags & RFLAGS_TF))
		return;
	v->vm->virt->save(v, PART_REST);
	v->cpu.dr6 |= DR6_BS;
	v->vm->virt->load(v, PART_REST);
	vcpu_raise(v, VEC_DB, false, 0);
}

/* Completes an instruction whose length the vendor may not have said. */
static void complete(struct vcpu *v, const struct exit *e)
{
	unsigned n = e->insn_bytes ? e->insn_bytes : plain_length(v);
	struct insn in;

	if (n)
		vcpu_retire(v, n);
	else if (decode_at_rip(v, &in))
		vcpu_retire(v, in.length);
	else
		return;
	single_step(v);
}

/* --- memory and ports for the emulator -------------------------------------- */

/* The gpa behind a linear address, or the page fault the access gives. */
static bool translate(struct vcpu *v, gva_t at, unsigned access, gpa_t *gpa)
{
	struct walk_result w = paging_walk(v, at, WALK_MARK | (access & EMU_WRITE ? WALK_WRITE : 0) | ring(v));

	*gpa = w.gpa;
	if (!w.ok) {
		v->cpu.cr2 = at.v;
		vcpu_raise(v, VEC_PF, true, w.error);
	}
	return w.ok;
}

/* Both pages of an access that may cross one.  second.v is 0 when it does not. */
static bool translate_both(struct vcpu *v, gva_t at, unsigned n, unsigned access, gpa_t *first, gpa_t *second)
{
	second->v = 0;
	return translate(v, at, access, first) &&
	       (at.v % PAGE_SIZE + n <= PAGE_SIZE || translate(v, linear(v, (at.v | ~PAGE_MASK) + 1), access, second));
}

static enum emu_result emu_check(void *ctx, gva_t at, unsigned n, unsigned access)
{
	gpa_t first, second;
	return translate_both(ctx, at, n, access, &first, &second) ? EMU_OK : EMU_FAULT;
}

/* What is left of an access at a page's end may be 3, 5, 6 or 7 bytes: devices know 1, 2, 4 and 8. */
static unsigned device_piece(u64 at, unsigned left)
{
	unsigned n = 4;

	if (!(left & (left - 1)))
		return left;
	while (n > left || at % n)
		n /= 2;
	return n;
}

static enum emu_result read_physical(struct vcpu *v, gpa_t at, unsigned n, u64 *value)
{
	*value = 0;
	if (!guestmem_is_ram(&v->vm->mem, at)) {
		for (unsigned i = 0, step; i < n; i += step) {
			step = device_piece(at.v + i, n - i);
			*value |= board_read(v, IO_MEMORY, at.v + i, step) << (8 * i);
		}
	} else if (guestmem_read(&v->vm->mem, at, value, n)) {
		vm_stop(v->vm, VM_HOST_FAILED, "out of memory for the guest's RAM");
		return EMU_STOP;
	}
	return EMU_OK;
}

static enum emu_result write_physical(struct vcpu *v, gpa_t at, unsigned n, u64 value)
{
	if (!guestmem_is_ram(&v->vm->mem, at)) {
		for (unsigned i = 0, step; i < n; i += step) {
			step = device_piece(at.v + i, n - i);
			board_write(v, IO_MEMORY, at.v + i, step, value >> (8 * i));
		}
	} else if (guestmem_write(&v->vm->mem, at, &value, n)) {
		vm_stop(v->vm, VM_HOST_FAILED, "out of memory for the guest's RAM");
		return EMU_STOP;
	}
	return EMU_OK;
}

/* An access we make for the guest, which the debug registers do not see. */
static void touch_watches(struct vcpu *v, gva_t at, unsigned n, bool write)
{
	for (unsigned i = 0; i < v->nwatches; i++) {
		const struct watch_slot *w = &v->watch[i];

		if (w->kind != SLOT_EXEC && (write || w->kind == SLOT_ACCESS) && at.v < w->linear + w->size_bytes &&
		    w->linear < at.v + n)
			v->watch_touched |= 1U << i;
	}
}

static enum emu_result emu_read(void *ctx, gva_t at, unsigned n, unsigned access, u64 *value)
{
	gpa_t first, second;
	unsigned head = (unsigned)MIN((u64)n, PAGE_SIZE - at.v % PAGE_SIZE);
	enum emu_result r;
	u64 tail = 0;

	if (!translate_both(ctx, at, n, access, &first, &second))
		return EMU_FAULT;
	touch_watches(ctx, at, n, false);
	r = read_physical(ctx, first, head, value);
	if (r != EMU_OK || head == n)
		return r;
	r = read_physical(ctx, second, n - head, &tail);
	*value = (*value & size_mask(head)) | tail << (8 * head);
	return r;
}

static enum emu_result emu_write(void *ctx, gva_t at, unsigned n, u64 value)
{
	gpa_t first, second;
	unsigned head = (unsigned)MIN((u64)n, PAGE_SIZE - at.v % PAGE_SIZE);
	enum emu_result r;

	if (!translate_both(ctx, at, n, EMU_WRITE, &first, &second))
		return EMU_FAULT;
	touch_watches(ctx, at, n, true);
	r = write_physical(ctx, first, head, value);
	return r != EMU_OK || head == n ? r : write_physical(ctx, second, n - head, value >> (8 * head));
}

static enum emu_result emu_in(void *ctx, u16 port, unsigned n, u64 *value)
{
	*value = board_read(ctx, IO_PORT, port, n);
	return EMU_OK;
}

static enum emu_result emu_out(void *ctx, u16 port, unsigned n, u64 value)
{
	board_write(ctx, IO_PORT, port, n, value);
	return EMU_OK;
}

static const struct emu_ops emu_surroundings = {
	.read = emu_read, .write = emu_write, .check = emu_check, .in = emu_in, .out = emu_out,
};

/* Executes an instruction that reaches a device. */
static void emulate_insn(struct vcpu *v, const struct insn *in)
{
	v->vm->virt->save(v, PART_SEGMENTS);
	switch (emulate(&v->cpu, in, &emu_surroundings, v)) {
	case EMU_DONE:
	case EMU_REPEAT:
		vcpu_count_one(v);
		single_step(v);
		break;
	case EMU_FAULT:
	case EMU_STOP:
		break; /* the callback has said why */
	case EMU_GP:
		vcpu_raise(v, VEC_GP, true, 0);
		break;
	case EMU_SS:
		vcpu_raise(v, VEC_SS, true, 0);
		break;
	case EMU_DE:
		vcpu_raise(v, VEC_DE, false, 0);
		break;
	case EMU_UNSUPPORTED:
		vm_stop(v->vm, VM_UNHANDLED, "the instruction at rip 0x%lx reaches a device and is not emulated",
			v->cpu.rip);
		break;
	}
}

/*
 * A MOV between a register and one page of device registers, in 64-bit code:
 * nearly all there are.  The processor has checked the access and says where
 * it goes, so the emulator's own segmentation and walk can be left out.
 */
static bool move_device(struct vcpu *v, const struct insn *in, gpa_t gpa)
{
	bool load = in->operand[0].kind == OPND_REG;
	unsigned n = in->operand[load].size_bytes;

	if (in->op != INSN_MOV || cpu_code_bits(&v->cpu) != 64 || in->mem.seg == SEG_FS || in->mem.seg == SEG_GS ||
	    (emu_offset(&v->cpu, in) ^ gpa.v) % PAGE_SIZE || gpa.v % PAGE_SIZE + n > PAGE_SIZE)
		return false;
	if (load)
		emu_set_reg(&v->cpu, &in->operand[0], board_read(v, IO_MEMORY, gpa.v, n));
	else
		board_write(v, IO_MEMORY, gpa.v, n,
			    in->operand[1].kind == OPND_IMM ? in->imm : emu_get_reg(&v->cpu, &in->operand[1]));
	vcpu_retire(v, in->length);
	single_step(v);
	return true;
}

/* --- one handler a reason ----------------------------------------------------- */

static void exit_port(struct vcpu *v, const struct exit *e)
{
	unsigned n = e->port.size_bytes;
	u64 *rax = &v->cpu.gpr[RAX];
	struct insn in;

	if (e->port.string) {
		if (decode_at_rip(v, &in))
			emulate_insn(v, &in);
		return;
	}
	/* Time stands at the instruction while the device works; then it retires. */
	if (e->port.in) {
		u64 value = board_read(v, IO_PORT, e->port.port, n);
		*rax = n == 4 ? value : (*rax & ~size_mask(n)) | value;
	} else {
		board_write(v, IO_PORT, e->port.port, n, *rax);
	}
	complete(v, e);
}

static void exit_msr(struct vcpu *v, const struct exit *e)
{
	u32 index = (u32)v->cpu.gpr[RCX];
	u64 value = (u32)v->cpu.gpr[RAX] | v->cpu.gpr[RDX] << 32;
	err_t err = e->msr.write ? msr_write(v, index, value) : msr_read(v, index, &value);

	if (err) {
		vcpu_raise(v, VEC_GP, true, 0);
		return;
	}
	if (e->msr.write) {
		v->vm->virt->load(v, PART_CONTROL);
	} else {
		v->cpu.gpr[RAX] = (u32)value;
		v->cpu.gpr[RDX] = value >> 32;
	}
	complete(v, e);
}

static void exit_cpuid(struct vcpu *v, const struct exit *e)
{
	u32 out[4];

	cpuid_read(v, (u32)v->cpu.gpr[RAX], (u32)v->cpu.gpr[RCX], out);
	v->cpu.gpr[RAX] = out[0];
	v->cpu.gpr[RBX] = out[1];
	v->cpu.gpr[RCX] = out[2];
	v->cpu.gpr[RDX] = out[3];
	complete(v, e);
}

static void exit_hlt(struct vcpu *v, const struct exit *e)
{
	complete(v, e);
	v->cpu.halted = !v->exception.valid; /* a single-step trap goes on behind it */
}

/* Operand n, read from its register or from memory.  False: the guest gets a fault instead. */
static bool source_operand(struct vcpu *v, const struct insn *in, unsigned n, u64 *value)
{
	const struct insn_operand *o = &in->operand[n];
	enum emu_result r;
	gva_t at;

	if (o->kind != OPND_MEM) {
		*value = emu_get_reg(&v->cpu, o);
		return true;
	}
	v->vm->virt->save(v, PART_SEGMENTS);
	r = emu_segment(&v->cpu, in->mem.seg, emu_offset(&v->cpu, in), o->size_bytes, EMU_READ, &at);
	if (r == EMU_OK)
		r = emu_read(v, at, o->size_bytes, EMU_READ, value);
	else
		vcpu_raise(v, r == EMU_SS ? VEC_SS : VEC_GP, true, 0);
	return r == EMU_OK;
}

/* False: #GP [APM2 3.1.1 CR0 Register].  Bits that are not defined stay 0, ET stays 1. */
static bool set_cr0(struct vcpu *v, u64 value)
{
	struct cpu_state *c = &v->cpu;
	bool paging = value & CR0_PG, turned_on = paging && !(c->cr0 & CR0_PG);

	if (value >> 32 || ((value & CR0_NW) && !(value & CR0_CD)) || (paging && !(value & CR0_PE)))
		return false;
	if (turned_on && (c->efer & EFER_LME) && (!(c->cr4 & CR4_PAE) || (c->seg[SEG_CS].attrib & SEG_ATTR_L)))
		return false;
	if (!paging && cpu_code_bits(c) == 64)
		return false;
	c->cr0 = (value & CR0_DEFINED) | CR0_ET;
	c->efer = paging && (c->efer & EFER_LME) ? c->efer | EFER_LMA : c->efer & ~(u64)EFER_LMA;
	return true;
}

/* The bits of CR4 this machine has: those CPUID offers [APM2 3.1.3 CR4]. */
#define CR4_OFFERED 0x7ffUL

static bool set_cr4(struct vcpu *v, u64 value)
{
	if ((value & ~CR4_OFFERED) || ((v->cpu.efer & EFER_LMA) && !(value & CR4_PAE)))
		return false;
	v->cpu.cr4 = value;
	return true;
}

static bool set_cr8(struct vcpu *v, u64 value)
{
	if (value & ~0xfUL)
		return false;
	lapic_set_tpr_from_cr8(&v->lapic, (u8)value);
	return true;
}

/* The bits of DR7 that are; bit 10 reads 1 [APM2 13.1.1.4 Debug-Control Register]. */
#define DR7_DEFINED 0xffff2bffUL
#define DR7_FIXED 0x400UL

static bool set_dr7(struct vcpu *v, u64 value)
{
	if (value >> 32)
		return false;
	v->vm->virt->save(v, PART_REST);
	v->cpu.dr7 = (value & DR7_DEFINED) | DR7_FIXED;
	v->vm->virt->load(v, PART_REST);
	return true;
}

static bool set_register(struct vcpu *v, enum exit_reason which, u64 value)
{
	switch (which) {
	case EXIT_CR0: return set_cr0(v, value);
	case EXIT_CR4: return set_cr4(v, value);
	case EXIT_CR8: return set_cr8(v, value);
	default: return set_dr7(v, value);
	}
}

/* MOV to a control register or DR7, and LMSW. */
static void exit_control_register(struct vcpu *v, const struct exit *e)
{
	struct insn in;
	u64 value;

	if (!decode_at_rip(v, &in) || !source_operand(v, &in, in.op == INSN_LMSW ? 0 : 1, &value))
		return;
	if (in.op == INSN_LMSW) /* sets PE, never clears it */
		value = (v->cpu.cr0 & ~(u64)LMSW_BITS) | (value & LMSW_BITS) | (v->cpu.cr0 & CR0_PE);
	if (!set_register(v, e->reason, value)) {
		vcpu_raise(v, VEC_GP, true, 0);
		return;
	}
	v->vm->virt->load(v, PART_CONTROL);
	vcpu_retire(v, in.length);
	single_step(v);
}

static void exit_fatal(struct vcpu *v, const struct exit *e)
{
	if (e->reason == EXIT_TRIPLE_FAULT)
		vm_stop(v->vm, VM_TRIPLE_FAULT, "triple fault at rip 0x%lx", v->cpu.rip);
	else
		vm_stop(v->vm, VM_UNHANDLED, "exit %s (0x%lx) at rip 0x%lx", exit_reason_name(e->reason), e->raw_code,
			v->cpu.rip);
}

static void exit_cr3(struct vcpu *v, const struct exit *e unused_arg)
{
	vcpu_raise(v, VEC_GP, true, 0);
}

/* An access to what is no memory: a device register, or nothing. */
static void reach_device(struct vcpu *v, const struct exit *e)
{
	const char *what = e->in_delivery ? "delivery of an interrupt or exception"
			   : e->paging.fetch ? "instruction fetch"
			   : e->paging.table_walk ? "page table walk" : NULL;
	struct insn in;

	v->vm->paging.ops->step_done(v->vm);
	if (what)
		vm_stop(v->vm, VM_UNHANDLED, "%s reaches guest-physical 0x%lx, where there is no memory; rip 0x%lx", what,
			e->paging.gpa.v, v->cpu.rip);
	else if (decode_at_rip(v, &in) && !move_device(v, &in, e->paging.gpa))
		emulate_insn(v, &in);
}

/* v->exception still holds the first exception if this one came out of its delivery. */
static void exit_exception(struct vcpu *v, const struct exit *e)
{
	/* TCG sets CR2 for a #GP by an address that is not canonical, too, when it delivers one itself. */
	if (e->exception.vector == VEC_PF || e->exception.cr2)
		v->cpu.cr2 = e->exception.cr2;
	vcpu_raise(v, e->exception.vector, e->exception.has_error, e->exception.error);
}

static void exit_paging(struct vcpu *v, const struct exit *e)
{
	switch (v->vm->paging.ops->fault(v, e)) {
	case PAGING_RETRY:
	case PAGING_STEP:
		break;
	case PAGING_EMULATE:
		reach_device(v, e);
		break;
	case PAGING_FAILED:
		vm_stop(v->vm, VM_HOST_FAILED, "no memory to map guest-physical 0x%lx", e->paging.gpa.v);
		break;
	case PAGING_BROKEN:
		vm_stop(v->vm, VM_UNHANDLED, "second-level fault at guest-physical 0x%lx that the tables allow; rip 0x%lx",
			e->paging.gpa.v, v->cpu.rip);
		break;
	}
}

static void exit_tsc(struct vcpu *v, const struct exit *e)
{
	u64 tsc = v->vm->now.vtime_ns + v->cpu.tsc_adjust;
	struct insn in = { 0 };

	if (!plain_length(v) && !decode_at_rip(v, &in)) /* RDTSC, or RDTSCP? */
		return;
	v->cpu.gpr[RAX] = (u32)tsc;
	v->cpu.gpr[RDX] = tsc >> 32;
	if (in.op == INSN_RDTSCP)
		v->cpu.gpr[RCX] = (u32)v->cpu.tsc_aux;
	complete(v, e);
}

/* This machine answers no hypercalls and has no nested virtualisation, MONITOR or RDPMC. */
static void exit_undefined(struct vcpu *v, const struct exit *e unused_arg)
{
	vcpu_raise(v, VEC_UD, false, 0);
}

/* The loop reports the slots; what of the exception is the guest's goes to the guest. */
static void exit_watch(struct vcpu *v, const struct exit *e)
{
	if (!e->watch.guest)
		return;
	v->vm->virt->save(v, PART_REST);
	v->cpu.dr6 = e->watch.dr6;
	v->vm->virt->load(v, PART_REST);
	vcpu_raise(v, VEC_DB, false, 0);
}

/* Once more, with the guest's own values in them. */
static void exit_debug_reg(struct vcpu *v, const struct exit *e unused_arg)
{
	v->watch_off = v->vm->now.count;
}

static void exit_stop(struct vcpu *v unused_arg, const struct exit *e unused_arg)
{
}

static void (*const handlers[NEXIT])(struct vcpu *, const struct exit *) = {
	[EXIT_STOP] = exit_stop,
	[EXIT_PORT] = exit_port,
	[EXIT_MSR] = exit_msr,
	[EXIT_CPUID] = exit_cpuid,
	[EXIT_HLT] = exit_hlt,
	[EXIT_DR7] = exit_control_register,
	[EXIT_CR0] = exit_control_register,
	[EXIT_CR3] = exit_cr3,
	[EXIT_CR4] = exit_control_register,
	[EXIT_CR8] = exit_control_register,
	[EXIT_EXCEPTION] = exit_exception,
	[EXIT_WATCH] = exit_watch,
	[EXIT_DEBUG_REG] = exit_debug_reg,
	[EXIT_PAGING] = exit_paging,
	[EXIT_TSC] = exit_tsc,
	[EXIT_HYPERCALL] = exit_undefined,
	[EXIT_UNDEFINED] = exit_undefined,
	[EXIT_CACHE] = complete,
	[EXIT_TRIPLE_FAULT] = exit_fatal,
	[EXIT_TASK_SWITCH] = exit_fatal,
	[EXIT_BAD_STATE] = exit_fatal,
	[EXIT_UNKNOWN] = exit_fatal,
};

void exit_dispatch(struct vcpu *v, const struct exit *e)
{
	handlers[e->reason](v, e);
}
