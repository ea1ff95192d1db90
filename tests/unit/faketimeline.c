/*
 * faketimeline.c - the scripted timeline of faketimeline.h.
 */
#include <stdlib.h>

#include "tests/unit/faketimeline.h"

/* ---- a VM that never runs ---- */

static err_t no_create(struct vcpu *v)
{
	(void)v;
	return OK;
}

static void no_parts(struct vcpu *v, unsigned parts)
{
	(void)v;
	(void)parts;
}

static u64 table(hpa_t at)
{
	return at.v | 1;
}

static u64 leaf(hpa_t at, unsigned rights)
{
	return at.v | rights;
}

static unsigned rights_of(u64 pte)
{
	return pte & 7;
}

static const struct virt_ops still = {
	.name = "still",
	.create = no_create,
	.load = no_parts,
	.save = no_parts,
	.pte_leaf = leaf,
	.pte_table = table,
	.pte_rights = rights_of,
};

static void *new_pages(void *ctx, size_t n)
{
	struct timeline *t = ctx;
	void *p = aligned_alloc(n % CHUNK_PAGES ? PAGE_SIZE : CHUNK_SIZE, n * PAGE_SIZE);

	if (!p || t->npages == ARRAY_SIZE(t->pages))
		abort();
	t->pages[t->npages++] = p;
	return memset(p, 0, n * PAGE_SIZE);
}

static void *new_chunk(void *ctx)
{
	return new_pages(ctx, CHUNK_PAGES);
}

struct timeline *fake_line_new(void)
{
	struct timeline *t = calloc(1, sizeof(*t));
	const struct vm_config c = { .mem_bytes = FAKE_LINE_MEM, .ncpus = 1, .ns_per_insn = 1, .poll_insns = 1000,
				     .epoch_insns = 1000 };
	const struct chunk_source chunks = { new_chunk, new_pages, t };

	t->vm = calloc(1, sizeof(*t->vm));
	t->kept_memory = malloc(FAKE_LINE_MEM);
	if (vm_create(t->vm, &c, &still, NULL, &chunks) || !guestmem_touch(&t->vm->mem, GPA(0)))
		abort();
	t->base = t->vm->vcpu[0].cpu;
	t->base.cr0 = CR0_PE | CR0_ET;
	t->base.seg[SEG_CS].base = 0;
	t->base.seg[SEG_CS].attrib = 0x9b | SEG_ATTR_DB | SEG_ATTR_G;
	t->ninsns = 40;
	for (unsigned i = 0; i < t->ninsns; i++) {
		struct fake_insn *n = &t->insn[i];

		*n = (struct fake_insn){ .rip = 0x1000 + i % 10 * 4 };
		if (i % 10 == 3 || i % 10 == 5)
			*n = (struct fake_insn){ .rip = n->rip, .at = 0x8000, .size = 4, .value = i, .load = i % 10 == 5 };
		if (i % 10 == 7)
			*n = (struct fake_insn){ .rip = n->rip, .at = 0x8010, .size = 1, .value = 7 };
	}
	fake_line_stand(t, 0);
	return t;
}

void fake_line_free(struct timeline *t)
{
	while (t->npages)
		free(t->pages[--t->npages]);
	free(t->vm);
	free(t->kept_memory);
	free(t);
}

/* ---- moving ---- */

static u8 *ram(struct timeline *t, u64 at)
{
	return t->vm->mem.chunk[0]->data + at;
}

static u64 here(const struct timeline *t)
{
	return t->vm->now.count;
}

/* Registers and clock, memory being right. */
static void show(struct timeline *t, u64 count)
{
	struct cpu_state *s = &t->vm->vcpu[0].cpu;

	t->vm->now.count = count;
	t->vm->now.vtime_ns = count * 100;
	*s = t->base;
	s->rip = count < t->ninsns ? t->insn[count].rip : 0x9000;
	s->gpr[RAX] = count;
}

static void one_forward(struct timeline *t)
{
	u64 i = here(t);
	struct fake_insn *n = &t->insn[i];

	t->travelled++;
	if (n->size && !n->load) {
		t->undo[i] = read_bytes_le(ram(t, n->at), n->size);
		write_bytes_le(ram(t, n->at), n->size, n->value);
	}
	show(t, i + 1);
}

static void one_back(struct timeline *t)
{
	u64 i = here(t) - 1;
	struct fake_insn *n = &t->insn[i];

	t->travelled++;
	if (n->size && !n->load)
		write_bytes_le(ram(t, n->at), n->size, t->undo[i]);
	show(t, i);
}

static void leave_branch(struct timeline *t)
{
	if (!t->branched)
		return;
	memcpy(ram(t, 0), t->kept_memory, FAKE_LINE_MEM);
	show(t, t->branch_at);
	t->branched = false;
}

void fake_line_stand(struct timeline *t, u64 count)
{
	leave_branch(t);
	while (here(t) < count && here(t) < t->ninsns)
		one_forward(t);
	while (here(t) > count)
		one_back(t);
	show(t, here(t));
}

static struct travel ended(enum travel_end end)
{
	return (struct travel){ .end = end };
}

static struct travel fake_step(struct timeline *t, bool forward)
{
	if (t->fail)
		return ended(TRAVEL_FAILED);
	if (t->branched && !forward) {
		leave_branch(t);
	} else if (t->branched) {
		t->vm->vcpu[0].cpu.rip++;
		t->vm->now.count++;
	} else if (forward) {
		if (here(t) == t->ninsns)
			return ended(TRAVEL_END);
		one_forward(t);
	} else {
		if (!here(t))
			return ended(TRAVEL_BEGIN);
		one_back(t);
	}
	return ended(TRAVEL_ARRIVED);
}

static bool counts(const struct conditions *c, unsigned i)
{
	return !c->holds || c->holds(c->ctx, i);
}

/* Instruction i against the watches of memory. */
static bool touched(const struct timeline *t, const struct conditions *c, u64 i, struct travel *r)
{
	const struct fake_insn *n = &t->insn[i];

	for (unsigned k = 0; n->size && k < c->nwatches; k++) {
		const struct watch *w = &c->watches[k];

		if (w->kind == WATCH_EXEC || w->kind == (n->load ? WATCH_WRITE : WATCH_READ))
			continue;
		if ((w->at - n->at >= n->size && n->at - w->at >= w->size_bytes) || !counts(c, k))
			continue;
		*r = (struct travel){ .end = TRAVEL_HIT, .watch = k, .linear = n->at };
		return true;
	}
	return false;
}

static bool reached(const struct timeline *t, const struct conditions *c, struct travel *r)
{
	for (unsigned k = 0; k < c->nwatches; k++)
		if (c->watches[k].kind == WATCH_EXEC && c->watches[k].at == regs_pc(&t->vm->vcpu[0].cpu) && counts(c, k)) {
			*r = (struct travel){ .end = TRAVEL_HIT, .watch = k };
			return true;
		}
	return false;
}

static struct travel fake_run(struct timeline *t, bool forward, const struct conditions *c)
{
	struct travel r = ended(TRAVEL_ARRIVED);

	for (unsigned i = 0; i < 2 * FAKE_LINE_MAX; i++) {
		bool hit = !forward && !t->branched && here(t) && touched(t, c, here(t) - 1, &r);
		struct travel s;

		if (t->wants_stop && t->wants_stop(t->ctx))
			return ended(TRAVEL_INTERRUPTED);
		if (t->branched && !forward) {
			leave_branch(t); /* a place to stop at, if nothing else is */
			continue;
		}
		s = fake_step(t, forward);
		if (s.end != TRAVEL_ARRIVED)
			return s;
		if (forward && !t->branched)
			hit = touched(t, c, here(t) - 1, &r);
		if (hit || reached(t, c, &r))
			return r;
	}
	return ended(TRAVEL_END); /* of a branch */
}

static struct travel fake_goto(struct timeline *t, u64 count)
{
	if (t->fail)
		return ended(TRAVEL_FAILED);
	if (t->wants_stop && t->wants_stop(t->ctx))
		return ended(TRAVEL_INTERRUPTED);
	fake_line_stand(t, MIN(count, t->ninsns));
	return ended(count > t->ninsns ? TRAVEL_END : TRAVEL_ARRIVED);
}

static struct travel fake_goto_end(struct timeline *t)
{
	return fake_goto(t, t->ninsns);
}

static bool fake_branch(struct timeline *t)
{
	t->branch_at = here(t);
	t->branched = true;
	t->nbranches++;
	memcpy(t->kept_memory, ram(t, 0), FAKE_LINE_MEM);
	return true;
}

static bool fake_branched(const struct timeline *t)
{
	return t->branched;
}

static err_t fake_keep(struct timeline *t)
{
	return t->nkept < 2 ? (t->nkept++, OK) : ERR_NO_MEMORY;
}

static struct vm *fake_vm(struct timeline *t)
{
	return t->vm;
}

static bool fake_at_end(const struct timeline *t)
{
	return !t->branched && here(t) == t->ninsns;
}

static const char *fake_trouble(const struct timeline *t)
{
	return t->fail ? t->fail : "none";
}

static void fake_describe(struct timeline *t, void (*print)(void *ctx, const char *line), void *ctx)
{
	(void)t;
	print(ctx, "a line by script");
}

static void fake_inputs(struct timeline *t, unsigned n, void (*print)(void *ctx, const char *line), void *ctx)
{
	(void)t;
	for (unsigned i = 0; i < MIN(n, 3U); i++)
		print(ctx, "an input");
}

const struct timeline_ops fake_timeline_ops = {
	.step = fake_step,
	.run = fake_run,
	.go = fake_goto,
	.go_end = fake_goto_end,
	.branch = fake_branch,
	.branched = fake_branched,
	.keep = fake_keep,
	.vm = fake_vm,
	.at_end = fake_at_end,
	.trouble = fake_trouble,
	.describe = fake_describe,
	.inputs = fake_inputs,
};
