/*
 * nested.c - nested paging: the hardware walks our second-level tables.
 *
 * A chunk is touched when the guest first reaches into it, and mapped as 512
 * small pages, readable and writable.  No page is ever writable and executable at
 * once: the first fetch turns it executable, the first store after that turns
 * it back.  So the emulated processor never executes bytes it translated
 * before a store changed them [docs/CAVEATS.md].
 * A store into the page it executes from gets both rights for one instruction.
 *
 * These exits retire no instruction, and they are a function of the run: the
 * same in record and replay.
 */
#include "vmm/vm.h"

#define ENTRIES 512UL
#define RW (MAP_READ | MAP_WRITE)
#define RX (MAP_READ | MAP_EXEC)
#define RWX (MAP_READ | MAP_WRITE | MAP_EXEC)
#define NO_PAGE (~0UL)

/* Identity: the hypervisor maps all host memory at its physical address. */
static u64 *table_at(u64 hpa)
{
	return (u64 *)hpa;
}

static u64 *new_table(struct vm *vm)
{
	return vm->mem.source.pages(vm->mem.source.ctx, 1);
}

static u64 entry_address(u64 entry)
{
	return entry & 0x000ffffffffff000UL;
}

/* The entry of the level-2 table (2 MiB each) that covers gpa, tables made on the way. */
static u64 *chunk_entry(struct vm *vm, gpa_t gpa)
{
	u64 *table = vm->paging.root;

	for (int shift = 39; shift > 21; shift -= 9) {
		u64 *e = &table[(gpa.v >> shift) % ENTRIES];

		if (!*e) {
			u64 *next = new_table(vm);
			if (!next)
				return NULL;
			*e = vm->virt->pte_table(HPA((u64)next));
		}
		table = table_at(entry_address(*e));
	}
	return &table[(gpa.v >> 21) % ENTRIES];
}

static u64 leaf(struct vm *vm, const struct chunk_info *c, unsigned page, unsigned rights)
{
	return vm->virt->pte_leaf(HPA((u64)c->data + page * PAGE_SIZE), rights);
}

/* The entries of what is RAM in a chunk.  In every vendor's format the page's address is where it is in the entry. */
static void map_chunk(struct vm *vm, u64 chunk, u64 first, u64 pages[CHUNK_PAGES])
{
	for (u64 at = 0; at < CHUNK_SIZE; at += PAGE_SIZE, pages++)
		*pages = guestmem_is_ram(&vm->mem, GPA(chunk + at)) ? first + at : 0;
}

/* A page of RAM the guest has not reached before, or reached with other rights. */
static enum paging_verdict set_rights(struct vm *vm, gpa_t gpa, unsigned rights)
{
	unsigned others = vm->paging.coherent_code ? RWX : RW;
	struct chunk_info *c = guestmem_touch(&vm->mem, gpa);
	unsigned page = (gpa.v >> PAGE_SHIFT) % CHUNK_PAGES;
	u64 *entry = c ? chunk_entry(vm, gpa) : NULL;
	u64 *pages;

	if (!entry)
		return PAGING_FAILED;
	if (!*entry) {
		pages = new_table(vm);
		if (!pages)
			return PAGING_FAILED;
		*entry = vm->virt->pte_table(HPA((u64)pages));
		if (vm->paging.variant == PAGING_NORMAL)
			map_chunk(vm, gpa.v & ~(CHUNK_SIZE - 1), leaf(vm, c, 0, others), pages);
	}
	pages = table_at(entry_address(*entry));
	if (pages[page] & vm->virt->pte_dirty)
		guestmem_mark(&vm->mem, gpa);
	pages[page] = leaf(vm, c, page, rights);
	return PAGING_RETRY;
}

/* The rights gpa has now; 0 when not mapped. */
static unsigned rights_now(struct vm *vm, gpa_t gpa)
{
	u64 *entry = chunk_entry(vm, gpa);

	if (!entry || !*entry)
		return 0;
	return vm->virt->pte_rights(table_at(entry_address(*entry))[(gpa.v >> PAGE_SHIFT) % CHUNK_PAGES]);
}

static enum paging_verdict step_with_both(struct vm *vm, gpa_t page)
{
	struct paging *p = &vm->paging;

	if (p->nstepping == PAGING_MAX_STEP)
		return PAGING_BROKEN;
	p->stepping[p->nstepping++] = page;
	return set_rights(vm, page, RWX) == PAGING_FAILED ? PAGING_FAILED : PAGING_STEP;
}

static err_t nested_init(struct vm *vm)
{
	vm->paging.root = new_table(vm);
	vm->paging.root_hpa = (u64)vm->paging.root;
	vm->paging.turned = GPA(NO_PAGE);
	return vm->paging.root ? OK : ERR_NO_MEMORY;
}

static enum paging_verdict nested_fault(struct vcpu *v, const struct exit *e)
{
	struct vm *vm = v->vm;
	gpa_t page = GPA(e->paging.gpa.v & PAGE_MASK);
	unsigned had;

	if (!guestmem_is_ram(&vm->mem, page))
		return PAGING_EMULATE;
	if (vm->paging.nstepping)
		return step_with_both(vm, page); /* this one instruction needs another page, too */
	had = rights_now(vm, page);
	if (vm->paging.coherent_code && !had)
		return set_rights(vm, page, RWX);
	if (had & (e->paging.fetch ? MAP_EXEC : e->paging.write ? MAP_WRITE : MAP_READ))
		return PAGING_BROKEN; /* allowed, yet it faulted: a loop if we went on */
	if (e->paging.fetch) {
		/*
		 * The page was turned writable for the very instruction that now
		 * cannot be fetched from it: it needs both.
		 */
		if (page.v == vm->paging.turned.v && vm->paging.turned_at == vm->now.count)
			return step_with_both(vm, page);
		return set_rights(vm, page, RX);
	}
	if (had == RX) {
		vm->paging.turned = page;
		vm->paging.turned_at = vm->now.count;
	}
	return set_rights(vm, page, RW);
}

static void nested_step_done(struct vm *vm)
{
	struct paging *p = &vm->paging;

	while (p->nstepping) {
		gpa_t page = p->stepping[--p->nstepping];

		set_rights(vm, page, RX);
		guestmem_mark(&vm->mem, page);
	}
	p->turned = GPA(NO_PAGE);
}

/*
 * The hardware sets dirty bits when it loads a translation for a store, so
 * clearing them counts only from the next flush of its TLB: every entry to
 * the guest flushes on the hosts we know, and vendor code asks for it.
 */
static void nested_harvest_dirty(struct vm *vm)
{
	u64 dirty = vm->virt->pte_dirty;

	for (unsigned n = 0; n < vm->mem.nchunks; n++) {
		gpa_t base = GPA((u64)n << CHUNK_SHIFT);
		u64 *entry, *pages;

		if (!vm->mem.chunk[n] || !(entry = chunk_entry(vm, base)) || !*entry)
			continue;
		if (vm->virt->pte_accessed && !(*entry & vm->virt->pte_accessed))
			continue; /* not walked through since last time */
		*entry &= ~vm->virt->pte_accessed;
		pages = table_at(entry_address(*entry));
		for (unsigned i = 0; i < CHUNK_PAGES; i++)
			if (pages[i] & dirty) {
				pages[i] &= ~dirty;
				vm->mem.chunk[n]->stale[i / 64] |= BIT(i % 64);
				vm->mem.chunk[n]->changed[i / 64] |= BIT(i % 64);
			}
	}
}

const struct paging_ops nested_paging = {
	.name = "nested",
	.init = nested_init,
	.fault = nested_fault,
	.step_done = nested_step_done,
	.harvest_dirty = nested_harvest_dirty,
};
