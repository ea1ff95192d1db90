/*
 * inspect.c - printing digests and state at points of a run.  See inspect.h.
 */
#include "kernel/kconf.h"
#include "replay/inspect.h"

struct printer {
	void (*print)(const char *fmt, ...) printf_like(1, 2);
};

static void print_field(void *ctx, const char *section, const char *field, const void *data, size_t size)
{
	struct printer *p = ctx;

	if (!strcmp(field, "section"))
		return;
	if (size <= 8) {
		p->print("state %s.%s 0x%lx\n", section, field, read_bytes_le(data, (unsigned)size));
		return;
	}
	for (size_t i = 0; i < size; i += 8) {
		u64 v = read_bytes_le((const u8 *)data + i, (unsigned)MIN(size - i, 8UL));
		if (v)
			p->print("state %s.%s[%lu] 0x%lx\n", section, field, i, v);
	}
}

void inspect_print_state(struct vm *vm, void (*print)(const char *fmt, ...))
{
	struct printer p = { print };
	struct state_walk w = { .mode = STATE_VISIT, .visit = print_field, .visit_ctx = &p };

	for (unsigned i = 0; i < vm->config.ncpus; i++)
		vm->virt->save(&vm->vcpu[i], PART_ALL);
	vm_state_walk(vm, &w);
}

/* The next count of the list, NO_STOP behind the last. */
static u64 next_listed(struct inspect *i)
{
	u64 v = 0;

	if (!i->list_left)
		return NO_STOP;
	while (i->list_left && *i->list >= '0' && *i->list <= '9') {
		v = v * 10 + (u64)(*i->list++ - '0');
		i->list_left--;
	}
	if (i->list_left && *i->list == ',') {
		i->list++;
		i->list_left--;
	} else {
		i->list_left = 0;
	}
	return v;
}

static void print_trace(struct inspect *i, struct vm *vm)
{
	u64 digest = vm_digest(vm);

	i->print("state trace insns=%lu vtime_ns=%lu digest=%016lx memory=%016lx rip=0x%lx\n", vm->now.count, vm->now.vtime_ns,
		 digest, vm->mem.digest, vm->vcpu[0].cpu.rip);
}

static u64 trace(struct vm *vm, void *ctx)
{
	struct inspect *i = ctx;

	print_trace(i, vm);
	return vm->now.count + i->stride <= i->to ? vm->now.count + i->stride : NO_STOP;
}

static u64 trace_listed(struct vm *vm, void *ctx)
{
	struct inspect *i = ctx;
	u64 next;

	print_trace(i, vm);
	do
		next = next_listed(i);
	while (next <= vm->now.count);
	return next;
}

static void print_page(struct inspect *i, const u8 *page)
{
	for (unsigned at = 0; at < PAGE_SIZE; at += 8)
		if (read_bytes_le(page + at, 8))
			i->print("state bytes 0x%x %016lx\n", at, read_bytes_le(page + at, 8));
}

/* The bytes of code around RIP, for a disassembler. */
static void print_code(struct vcpu *v, void (*print)(const char *fmt, ...) printf_like(1, 2))
{
	u64 from = v->cpu.rip + v->cpu.seg[SEG_CS].base - 48;

	for (u64 at = from; at < from + 80; at++) {
		struct walk_result w = paging_walk(v, GVA(at), 0);
		u8 byte;

		if (w.ok && !guestmem_read(&v->vm->mem, w.gpa, &byte, 1))
			print("state code 0x%lx %02x\n", at, byte);
	}
}

static u64 dump(struct vm *vm, void *ctx)
{
	struct inspect *i = ctx;

	vm_digest(vm);
	inspect_print_state(vm, i->print);
	print_code(&vm->vcpu[0], i->print);
	for (unsigned n = 0; n < vm->mem.nchunks; n++) {
		const struct chunk_info *c = vm->mem.chunk[n];

		for (unsigned p = 0; c && p < CHUNK_PAGES; p++) {
			if (c->hash[p])
				i->print("state page 0x%lx %016lx\n", n * CHUNK_PAGES + p, c->hash[p]);
			if (n * CHUNK_PAGES + p == i->page)
				print_page(i, c->data + p * PAGE_SIZE);
		}
	}
	vm_stop(vm, VM_QUIT, "dumped");
	return NO_STOP;
}

static u64 until(struct vm *vm, void *ctx unused_arg)
{
	vm_stop(vm, VM_QUIT, "the point asked for");
	return NO_STOP;
}

static u64 plant(struct vm *vm, void *ctx)
{
	struct inspect *i = ctx;
	u8 byte;

	if (!guestmem_read(&vm->mem, GPA(i->plant_gpa), &byte, 1)) {
		byte ^= 1;
		if (guestmem_write(&vm->mem, GPA(i->plant_gpa), &byte, 1))
			vm_stop(vm, VM_HOST_FAILED, "out of memory for the guest's RAM");
	}
	return NO_STOP;
}

void inspect_start(struct inspect *i, struct vm *vm, const char *conf, size_t size,
		   void (*print)(const char *fmt, ...))
{
	*i = (struct inspect){ .from = conf_u64(conf, size, "trace_from", NO_STOP),
			       .to = conf_u64(conf, size, "trace_to", NO_STOP),
			       .stride = conf_u64(conf, size, "trace_stride", 1000000),
			       .dump_at = conf_u64(conf, size, "dump_at", NO_STOP),
			       .page = conf_u64(conf, size, "dump_page", NO_STOP),
			       .print = print };
	i->plant_gpa = conf_u64(conf, size, "plant_gpa", 0);
	if (conf_u64(conf, size, "plant_at", NO_STOP) != NO_STOP)
		vm_add_stop(vm, conf_u64(conf, size, "plant_at", NO_STOP), plant, i);
	if (i->from != NO_STOP)
		vm_add_stop(vm, i->from, trace, i);
	i->list = conf_find(conf, size, "trace_at", &i->list_left);
	if (i->list)
		vm_add_stop(vm, next_listed(i), trace_listed, i);
	if (i->dump_at != NO_STOP)
		vm_add_stop(vm, i->dump_at, dump, i);
	if (conf_u64(conf, size, "until", NO_STOP) != NO_STOP)
		vm_add_stop(vm, conf_u64(conf, size, "until", NO_STOP), until, i);
}
