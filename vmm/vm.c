/*
 * vm.c - making a VM, ending it, and walking its state.
 */
#include <stdarg.h>

#include "kernel/kfmt.h"
#include "vmm/vm.h"

err_t vm_create(struct vm *vm, const struct vm_config *c, const struct virt_ops *virt,
		struct boundary *boundary, const struct chunk_source *chunks)
{
	err_t err;

	memset(vm, 0, sizeof(*vm));
	if (!c->ncpus || c->ncpus > VM_MAX_VCPUS || !c->ns_per_insn || !c->poll_insns || !c->epoch_insns ||
	    c->ndisks > VM_MAX_DISKS || c->nnics > VM_MAX_NICS)
		return ERR_INVALID;
	vm->config = *c;
	vm->virt = virt;
	vm->boundary = boundary;
	vm->next_poll = c->poll_insns;
	vm->next_epoch = c->epoch_insns;
	vm->leave_at = NO_STOP;
	err = guestmem_init(&vm->mem, c->mem_bytes, chunks);
	if (err)
		return err;
	vm->paging.ops = &nested_paging;
	err = vm->paging.ops->init(vm);
	if (err)
		return err;
	for (unsigned i = 0; i < c->ndisks; i++)
		vm_add_disk(vm, c->disk[i]);
	board_init(vm);
	for (unsigned i = 0; i < c->ncpus; i++) {
		struct vcpu *v = &vm->vcpu[i];

		v->vm = vm;
		v->index = i;
		v->irq_vector = -1;
		v->watch_past = v->watch_off = NO_STOP;
		cpu_state_reset(&v->cpu);
		board_wire_vcpu(vm, v);
		err = virt->create(v);
		if (err)
			return err;
	}
	return OK;
}

void vm_add_disk(struct vm *vm, struct disk *d)
{
	if (vm->ndisks == VM_MAX_DISKS)
		__builtin_trap(); /* a fixed set, chosen when the VM is made */
	vm->disk[vm->ndisks++] = d;
}

void vm_stop(struct vm *vm, enum vm_outcome why, const char *fmt, ...)
{
	va_list ap;

	if (vm->outcome != VM_RUNNING)
		return;
	vm->outcome = why;
	va_start(ap, fmt);
	kvsnprintf(vm->stop_reason, sizeof(vm->stop_reason), fmt, ap);
	va_end(ap);
}

struct vm_stop *vm_add_stop(struct vm *vm, u64 at, u64 (*hit)(struct vm *vm, void *ctx), void *ctx)
{
	if (vm->nstops == VM_MAX_STOPS)
		__builtin_trap(); /* a fixed set, chosen when the VM is made */
	vm->stops[vm->nstops] = (struct vm_stop){ at, hit, ctx };
	return &vm->stops[vm->nstops++];
}

void vm_state_walk(struct vm *vm, struct state_walk *w)
{
	state_section(w, "vm", 1);
	state_field(w, "count", &vm->now.count, 8);
	state_field(w, "vtime_ns", &vm->now.vtime_ns, 8);
	state_field(w, "sequence", &vm->now.sequence, 8);
	STATE(w, vm, idle_ns);
	if (w->mode == STATE_LOAD) { /* derived, and devices read the clock when they load */
		vm->clock.now_ns = vm->now.vtime_ns;
		vm->next_poll = (vm->now.count / vm->config.poll_insns + 1) * vm->config.poll_insns;
		vm->next_epoch = (vm->now.count / vm->config.epoch_insns + 1) * vm->config.epoch_insns;
	}
	for (unsigned i = 0; i < vm->config.ncpus; i++) {
		struct vcpu *v = &vm->vcpu[i];

		cpu_state_walk(&v->cpu, w);
		state_section(w, "pending", 1);
		STATE(w, v, exception.valid);
		STATE(w, v, exception.has_error);
		STATE(w, v, exception.vector);
		STATE(w, v, exception.error);
		board_vcpu_state_walk(v, w);
	}
	board_state_walk(&vm->board, w);
}

u64 vm_digest(struct vm *vm)
{
	struct state_walk w = state_digest();

	w.all_flags = vm->config.digest_all_flags;
	for (unsigned i = 0; i < vm->config.ncpus; i++)
		vm->virt->save(&vm->vcpu[i], PART_ALL);
	vm_state_walk(vm, &w);
	vm->paging.ops->harvest_dirty(vm);
	for (unsigned i = 0; i < vm_nmemories(vm); i++) {
		u64 memory = guestmem_digest(vm_memory(vm, i), &vm->stats.digest_pages);

		state_section(&w, i ? "disk" : "memory", 1);
		state_field(&w, "digest", &memory, 8);
	}
	return w.digest;
}

/* Contributory exceptions [APM2 8.2.9 #DF - Double-Fault Exception]. */
static bool contributory(u8 vector)
{
	return vector == VEC_DE || (vector >= VEC_TS && vector <= VEC_GP);
}

void vcpu_raise(struct vcpu *v, u8 vector, bool has_error, u32 error)
{
	struct pending_exception *p = &v->exception;

	if (p->valid && p->vector == VEC_DF) {
		vm_stop(v->vm, VM_TRIPLE_FAULT, "triple fault at rip 0x%lx", v->cpu.rip);
		return;
	}
	if (p->valid && ((contributory(p->vector) && contributory(vector)) ||
			 (p->vector == VEC_PF && (contributory(vector) || vector == VEC_PF)))) {
		vector = VEC_DF;
		has_error = true;
		error = 0;
	}
	has_error &= !!(v->cpu.cr0 & CR0_PE); /* real mode pushes none */
	*p = (struct pending_exception){ .valid = true, .has_error = has_error, .vector = vector, .error = error };
}
