/*
 * selftest.c - calibrating the counter and probing the host with micro-guests.
 *
 *   1  a tiny VM to run micro-guests in
 *   2  calibration: the constants of our own straight-line code
 *   3  exactness: counts, stops, and a mixture stopped at several strides
 *   4  quirks: does this host need the longer way round?
 *
 * Reads and changes: the boot area's counter.  It must leave nothing behind
 * that a guest could see.
 */
#include "kernel/counter.h"
#include "kernel/kfmt.h"
#include "kernel/mm.h"
#include "vmm/selftest.h"
#include "vmm/vm.h"

extern const u8 mg_start[], mg_end[], mg_loop[], mg_count[], mg_tsc[], mg_mix[], mg_smc[], mg_shadow[];
extern const u8 mg_skip_div[], mg_skip_ud[], mg_return[];

/* --- 1  a tiny VM ------------------------------------------------------------ */

#define CODE 0x10000UL
#define STACK 0x30000UL
#define IDT 0x5000UL
#define TABLES 0x8000UL
#define RAM CHUNK_SIZE
#define USED 0x31000UL /* of the RAM; the rest is never touched, so never cleared */

/* One arena for the VM, its chunk and its tables, used again for every micro-guest. */
struct arena {
	u8 *chunk, *pages;
	size_t next, npages;
};

struct lab {
	const struct virt_ops *virt;
	struct arena arena;
	struct vm *vm;
	struct boundary boundary;
	u64 stride;
};

static void *arena_chunk(void *ctx)
{
	struct arena *a = ctx;
	return memset(a->chunk, 0, USED);
}

static void *arena_pages(void *ctx, size_t n)
{
	struct arena *a = ctx;
	u8 *p = a->pages + a->next * PAGE_SIZE;

	if (a->next + n > a->npages)
		return NULL;
	a->next += n;
	return memset(p, 0, n * PAGE_SIZE);
}

static bool no_input(struct boundary *b unused_arg, const struct execpoint *now unused_arg,
		     const struct input_room *room unused_arg, struct input *in unused_arg)
{
	return false;
}

static u64 no_idle(struct boundary *b unused_arg, const struct execpoint *now unused_arg,
		   const struct input_room *room unused_arg, u64 deadline_ns)
{
	return deadline_ns;
}

static void no_output(struct boundary *b unused_arg, const struct execpoint *now unused_arg,
		      const struct output *out unused_arg)
{
}

static err_t no_answer(struct boundary *b unused_arg, const struct execpoint *now unused_arg,
		       enum input_kind kind unused_arg, u16 instance unused_arg, err_t host)
{
	return host;
}

static enum vm_outcome no_epoch(struct boundary *b unused_arg, const struct execpoint *now unused_arg,
				u64 digest unused_arg)
{
	return VM_RUNNING;
}

static enum vm_outcome no_poll(struct boundary *b unused_arg, const struct execpoint *now unused_arg)
{
	return VM_RUNNING;
}

static const struct boundary_ops sealed_ops = {
	.name = "sealed",
	.next_input = no_input,
	.idle = no_idle,
	.output = no_output,
	.answer = no_answer,
	.epoch = no_epoch,
	.poll = no_poll,
};

static u64 no_host_counter(void)
{
	return 0;
}

static err_t put(struct vm *vm, u64 at, const void *data, size_t n)
{
	return guestmem_write(&vm->mem, GPA(at), data, n);
}

static err_t gate(struct vm *vm, unsigned vector, const u8 *handler)
{
	u64 a = CODE + (u64)(handler - mg_start);
	u64 g[2] = { (a & 0xffff) | 8UL << 16 | 0x8eUL << 40 | (a >> 16 & 0xffff) << 48, 0 };

	return put(vm, IDT + vector * 16UL, g, sizeof(g));
}

static err_t fill_memory(struct vm *vm)
{
	u64 top[2] = { (TABLES + 0x1000) | 3, 0 }, mid[1] = { (TABLES + 0x2000) | 3 }, low[1] = { 0x83 };
	u64 gdt[3] = { 0, 0x00af9b000000ffffUL, 0x00cf93000000ffffUL };
	err_t err = put(vm, CODE, mg_start, (size_t)(mg_end - mg_start));

	err = err ? err : put(vm, TABLES, top, sizeof(top));
	err = err ? err : put(vm, TABLES + 0x1000, mid, sizeof(mid));
	err = err ? err : put(vm, TABLES + 0x2000, low, sizeof(low));
	err = err ? err : put(vm, 0x4000, gdt, sizeof(gdt));
	err = err ? err : gate(vm, VEC_DE, mg_skip_div);
	err = err ? err : gate(vm, VEC_UD, mg_skip_ud);
	err = err ? err : gate(vm, 0x41, mg_return);
	return err ? err : gate(vm, 0x50, mg_return);
}

/* A fresh VM about to execute `code`. */
static err_t set_up(struct lab *l, const u8 *code)
{
	struct vm_config c = { .mem_bytes = RAM, .ncpus = 1, .ns_per_insn = 1, .poll_insns = NO_STOP,
			       .epoch_insns = NO_STOP, .limit_insns = NO_STOP, .limit_vtime_ns = NO_STOP };
	struct chunk_source source = { arena_chunk, arena_pages, &l->arena };
	struct cpu_state *s = &l->vm->vcpu[0].cpu;
	err_t err;

	l->arena.next = 0;
	err = vm_create(l->vm, &c, l->virt, &l->boundary, &source);
	if (err)
		return err;
	l->vm->next_poll = l->vm->next_epoch = NO_STOP;
	l->vm->host_counter = no_host_counter;
	s->cr0 = CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_PE;
	s->cr3 = TABLES;
	s->cr4 = CR4_PAE | CR4_PGE | CR4_PSE | CR4_OSFXSR;
	s->efer = EFER_LMA | EFER_LME | EFER_NXE | EFER_SCE;
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i] = (struct segment){ .selector = 0x10, .attrib = 0xc93, .limit = ~0U };
	s->seg[SEG_CS] = (struct segment){ .selector = 8, .attrib = 0xa9b, .limit = ~0U };
	s->gdtr = (struct table_reg){ .base = 0x4000, .limit = 23 };
	s->idtr = (struct table_reg){ .base = IDT, .limit = 4095 };
	s->rip = CODE + (u64)(code - mg_start);
	s->gpr[RSP] = STACK;
	l->virt->load(&l->vm->vcpu[0], PART_ALL);
	return fill_memory(l->vm);
}

/*
 * Runs what was set up to its first exit that is not paging, for at most n
 * instructions; retired is what the counter says, all entries together.
 */
static struct exit run_some(struct lab *l, u64 n)
{
	struct vcpu *v = &l->vm->vcpu[0];
	struct exit e;
	u64 sum = 0;

	do {
		l->virt->run(v, n - sum, &e);
		sum += e.retired;
	} while (e.reason == EXIT_PAGING && l->vm->paging.ops->fault(v, &e) == PAGING_RETRY);
	e.retired = sum;
	return e;
}

/* Brings the code and stack pages in, so that the next entry meets no paging exit. */
static err_t set_up_warm(struct lab *l, const u8 *code)
{
	err_t err = set_up(l, code);
	struct exit fetch = { .reason = EXIT_PAGING, .paging = { .gpa = GPA(CODE), .fetch = true } };

	if (err)
		return err;
	return l->vm->paging.ops->fault(&l->vm->vcpu[0], &fetch) == PAGING_RETRY ? OK : ERR_NO_MEMORY;
}

/* --- 2  calibration ------------------------------------------------------------ */

#define PLENTY 1000000UL

static err_t refuse(const char *why)
{
	struct counter *c = host_counter();

	c->exact = false;
	ksnprintf(c->refusal, sizeof(c->refusal), "%s", why);
	return ERR_UNSUPPORTED;
}

static const char not_counting[] =
	"the TSC does not count instructions on this host; start QEMU with -icount shift=0";

/* What two readings of the TSC around an entry cost, with a guest of 2n instructions. */
static err_t measure_entry(struct lab *l, u64 n, u64 *cost)
{
	struct exit e;
	err_t err = set_up_warm(l, mg_count);

	if (err)
		return err;
	l->vm->vcpu[0].cpu.gpr[RCX] = n;
	e = run_some(l, PLENTY);
	if (e.reason != EXIT_HYPERCALL)
		return refuse(not_counting); /* stopped long before its end */
	*cost = e.retired - 2 * n;
	return OK;
}

static err_t calibrate_entry(struct lab *l)
{
	struct counter *c = host_counter();
	u64 cost = 0, again = 0;

	for (u64 n = 1; n < PLENTY / 4; n = n * 5 + 1) {
		err_t err = measure_entry(l, n, &again);
		if (err)
			return err;
		if (n > 1 && again != cost)
			return refuse(not_counting);
		cost = again;
	}
	c->entry_cost = cost;
	return OK;
}

static err_t calibrate_stop(struct lab *l)
{
	struct counter *c = host_counter();

	for (c->stop_cost = 0; c->stop_cost < 200; c->stop_cost++) {
		struct exit e;
		err_t err = set_up_warm(l, mg_loop);

		if (err)
			return err;
		e = run_some(l, 1);
		if (e.reason == EXIT_STOP && e.retired == 1)
			return OK;
		if (e.retired > 1)
			break;
	}
	return refuse("the LAPIC timer does not stop a guest on an exact instruction");
}

static err_t calibrate_tsc(struct lab *l)
{
	struct counter *c = host_counter();
	struct vcpu *v = &l->vm->vcpu[0];
	err_t err = set_up_warm(l, mg_tsc);

	if (err)
		return err;
	run_some(l, PLENTY);
	c->tsc_lead = v->cpu.gpr[RAX];
	return c->tsc_lead < 1000 ? OK : refuse(not_counting);
}

/* --- 3  exactness ---------------------------------------------------------------- */

/* Stops after k of the endless loop: the registers say whether it was k. */
static err_t check_stop(struct lab *l, u64 k)
{
	struct cpu_state *s = &l->vm->vcpu[0].cpu;
	err_t err = set_up_warm(l, mg_loop);
	struct exit e;

	if (err)
		return err;
	e = run_some(l, k);
	if (e.reason != EXIT_STOP || e.retired != k || s->gpr[RCX] != (k + 1) / 2 ||
	    s->rip != CODE + (u64)(mg_loop - mg_start) + (k % 2 ? 3 : 0))
		return refuse("a guest did not stop on the instruction it was to stop on");
	return OK;
}

static u64 next_stride(struct vm *vm, void *ctx)
{
	const struct lab *l = ctx;
	return vm->now.count + l->stride;
}

/* Runs the mixture to its end, stopped every `stride` instructions (0: never). */
static err_t run_mix(struct lab *l, u64 stride, u64 *count, u64 *digest)
{
	err_t err = set_up(l, mg_mix);

	if (err)
		return err;
	l->stride = stride;
	l->vm->vcpu[0].cpu.gpr[R8] = 3;
	vm_add_stop(l->vm, stride ? stride : NO_STOP, next_stride, l);
	if (vm_run(l->vm) != VM_DEBUG_EXIT)
		return refuse("the self-test's mixture of instructions did not end as it should");
	*count = l->vm->now.count;
	*digest = vm_digest(l->vm);
	return OK;
}

static err_t check_exact(struct lab *l)
{
	static const u64 strides[] = { 0, 1, 2, 3, 7, 64 };
	static const u64 stops[] = { 1, 2, 3, 4, 5, 8, 13, 21, 100, 1001, 65537 };
	u64 count0 = 0, digest0 = 0, count, digest;
	err_t err;

	for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
		if ((err = check_stop(l, stops[i])))
			return err;
	for (size_t i = 0; i < ARRAY_SIZE(strides); i++) {
		if ((err = run_mix(l, strides[i], &count, &digest)))
			return err;
		if (!i) {
			count0 = count;
			digest0 = digest;
		} else if (count != count0 || digest != digest0) {
			return refuse("a guest stopped often ended otherwise than one left alone");
		}
	}
	return OK;
}

/* --- 4  quirks --------------------------------------------------------------------- */

/* Enters with a saved shadow and an interrupt offered: a clean host runs one instruction first. */
static err_t probe_shadow(struct lab *l, struct host_quirks *q)
{
	struct vcpu *v = &l->vm->vcpu[0];
	err_t err = set_up_warm(l, mg_shadow);

	if (err)
		return err;
	run_some(l, 1); /* STI retired, its shadow pending */
	v->irq_vector = 0x50;
	run_some(l, 1);
	q->shadow_lost = v->cpu.gpr[RCX] == 0;
	v->irq_vector = -1;
	return OK;
}

static err_t probe_code(struct lab *l, struct host_quirks *q)
{
	struct vcpu *v = &l->vm->vcpu[0];
	err_t err = set_up(l, mg_smc);

	if (err)
		return err;
	l->vm->paging.coherent_code = true; /* both rights, for once */
	run_some(l, PLENTY);
	q->stale_code = v->cpu.gpr[RAX] != 1;
	return OK;
}

err_t selftest_run(const struct virt_ops *virt, struct host_quirks *quirks)
{
	struct counter *c = host_counter();
	size_t vm_pages = (sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE;
	struct lab l = { .virt = virt, .boundary.ops = &sealed_ops, .arena.npages = 24 };
	err_t err = ERR_NO_MEMORY;

	*quirks = (struct host_quirks){ 0 };
	*c = (struct counter){ .kind = "none" };
	l.vm = page_alloc(vm_pages);
	l.arena.chunk = page_alloc_aligned(CHUNK_PAGES, CHUNK_SIZE);
	l.arena.pages = page_alloc(l.arena.npages);
	if (l.vm && l.arena.chunk && l.arena.pages) {
		err = calibrate_entry(&l);
		err = err ? err : calibrate_stop(&l);
		err = err ? err : calibrate_tsc(&l);
		err = err ? err : check_exact(&l);
		err = err ? err : probe_shadow(&l, quirks);
		err = err ? err : probe_code(&l, quirks);
	}
	if (!err) {
		c->kind = "icount";
		c->exact = true;
	}
	page_free(l.vm, vm_pages);
	page_free(l.arena.chunk, CHUNK_PAGES);
	page_free(l.arena.pages, l.arena.npages);
	return err;
}
