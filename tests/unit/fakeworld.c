/*
 * fakeworld.c - the host, the medium and the runs of fakeworld.h.
 *
 *   1  random numbers
 *   2  the medium
 *   3  the host
 *   4  memory for a VM
 *   5  its disks, and its making
 *   6  runs
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kernel/kfmt.h"
#include "tests/unit/fakeworld.h"

/* --- 1  random numbers ------------------------------------------------------- */

struct rng rng_of(u64 seed)
{
	struct rng r = { (seed + 1) * 0x9e3779b97f4a7c15UL | 1 };

	for (int i = 0; i < 8; i++)
		rng_next(&r);
	return r;
}

u64 rng_next(struct rng *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state * 0x2545f4914f6cdd1dUL >> 8;
}

static u64 from_environment(const char *name, u64 fallback)
{
	const char *s = getenv(name);
	return s ? strtoull(s, NULL, 0) : fallback;
}

u64 world_first_seed(void)
{
	return from_environment("REPRISE_SIM_SEED", 1);
}

u64 world_runs(u64 n)
{
	return from_environment("REPRISE_SIM_RUNS", getenv("REPRISE_SIM_SEED") ? 1 : n);
}

/* --- 2  the medium ------------------------------------------------------------ */

struct world_medium medium_new(u64 size)
{
	struct world_medium m = { .data = calloc(1, size), .durable = calloc(1, size), .size = size };

	cr_assert(m.data && m.durable);
	return m;
}

void medium_free(struct world_medium *m)
{
	free(m->data);
	free(m->durable);
	*m = (struct world_medium){ 0 };
}

static bool medium_works(struct world_medium *m)
{
	m->operations++;
	if (m->operations == m->fail_at && m->count)
		m->failed_count = *m->count;
	return !m->fail_at || m->operations < m->fail_at;
}

static err_t medium_read(void *ctx, u64 offset, void *buf, size_t n)
{
	struct world_medium *m = ctx;

	cr_assert(offset % REC_SECTOR == 0 && offset + n <= m->size);
	if (m->unreadable)
		return ERR_IO;
	memcpy(buf, m->data + offset, n);
	return OK;
}

static err_t medium_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	struct world_medium *m = ctx;

	cr_assert(offset % REC_SECTOR == 0 && n % REC_SECTOR == 0);
	if (!medium_works(m) || offset + n > m->size)
		return ERR_IO;
	memcpy(m->data + offset, buf, n);
	m->high = MAX(m->high, offset + n);
	m->dirty = true;
	return OK;
}

static err_t medium_flush(void *ctx)
{
	struct world_medium *m = ctx;

	if (!medium_works(m))
		return ERR_IO;
	memcpy(m->durable, m->data, m->high);
	m->dirty = false;
	return OK;
}

struct rec_medium medium_ops(struct world_medium *m)
{
	return (struct rec_medium){ medium_read, medium_write, medium_flush, m, m->size, NULL };
}

/* --- 3  the host ----------------------------------------------------------------- */

static size_t host_read(void *ctx, void *buf, size_t n)
{
	struct world_host *h = ctx;
	u8 *bytes = buf;
	u64 want;

	h->looks++;
	if (h->on_look)
		h->on_look(h);
	if (!h->supply || !rng_chance(&h->rng, h->arrival_percent))
		return 0;
	want = 1 + rng_below(&h->rng, h->burst);
	n = MIN(MIN(n, h->supply), want);
	for (size_t i = 0; i < n; i++)
		bytes[i] = (u8)rng_next(&h->rng);
	h->supply -= (u32)n;
	return n;
}

static void host_write(void *ctx, const void *data, size_t n)
{
	struct world_host *h = ctx;

	if (h->output_size + n > h->output_room) {
		h->output_room = 2 * h->output_room + (u32)n + 256;
		h->output = realloc(h->output, h->output_room);
		cr_assert_not_null(h->output);
	}
	memcpy(h->output + h->output_size, data, n);
	h->output_size += (u32)n;
	if (h->on_output)
		h->on_output(h);
}

static bool host_ended(void *ctx)
{
	struct world_host *h = ctx;

	if (!h->closes || h->supply)
		return false;
	if (!h->ended_at_look)
		h->ended_at_look = h->looks;
	return true;
}

static bool host_quit(void *ctx)
{
	struct world_host *h = ctx;
	return h->waits >= h->patience || (h->quit_at_look && h->looks >= h->quit_at_look);
}

/* Woken early now and then, with or without a reason. */
static u64 host_wait(void *ctx, u64 max_ns)
{
	struct world_host *h = ctx;
	u64 ns = rng_chance(&h->rng, 40) ? rng_below(&h->rng, max_ns) + 1 : max_ns;

	if (rng_chance(&h->rng, 5))
		ns += rng_below(&h->rng, 100000); /* late */
	h->waits++;
	h->waited_ns += ns;
	return ns;
}

static void host_progress(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
}

static void host_init(struct world_host *h, const struct plan *p)
{
	*h = (struct world_host){
		.port = { .console_read = host_read, .console_write = host_write, .ended = host_ended, .quit = host_quit,
			  .wait = host_wait, .progress = host_progress, .ctx = h },
		.rng = rng_of(p->seed ^ 0xabcdef), .supply = p->supply, .arrival_percent = p->arrival_percent,
		.burst = MAX(p->burst, 1U), .closes = p->closes, .patience = p->patience,
		.quit_at_look = p->quit_at_look,
	};
}

/* --- 4  memory for a VM ---------------------------------------------------------------- */

static bool may_take(struct world *w, u64 n)
{
	if (w->pages_left == ~0UL)
		return true;
	if (w->pages_left < n) {
		w->pages_left = 0;
		return false;
	}
	w->pages_left -= n;
	return true;
}

static void *take_chunk(void *ctx)
{
	struct world *w = ctx;
	u8 *area;

	if (!may_take(w, CHUNK_PAGES))
		return NULL;
	cr_assert_lt(w->nchunks, ARRAY_SIZE(w->chunks));
	area = mmap(NULL, 2 * CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	cr_assert_neq(area, MAP_FAILED);
	w->chunks[w->nchunks++] = area;
	return (void *)ALIGN_UP((u64)area, CHUNK_SIZE);
}

static void *take_pages(void *ctx, size_t npages)
{
	struct world *w = ctx;
	void *p;

	if (!may_take(w, npages))
		return NULL;
	p = aligned_alloc(PAGE_SIZE, npages * PAGE_SIZE);
	cr_assert(p && w->npages < ARRAY_SIZE(w->pages));
	w->pages[w->npages++] = p;
	return memset(p, 0, npages * PAGE_SIZE);
}

/* --- 5  its disks, and its making ------------------------------------------------------- */

static err_t base_read(void *ctx, u64 sector, void *buf, u32 n)
{
	const struct world_disk *d = ctx;

	cr_assert(sector + n <= d->d.config.nsectors);
	for (u32 i = 0; i < n * DISK_SECTOR / 8; i++)
		write_bytes_le((u8 *)buf + 8 * i, 8, (d->seed + sector * 64 + i) * 0x9e3779b97f4a7c15UL);
	return OK;
}

/* Nothing is written to a base before its run is over. */
static err_t base_write(void *ctx unused_arg, u64 sector unused_arg, const void *buf unused_arg, u32 n unused_arg)
{
	cr_assert_fail("a base is written to");
	return ERR_IO;
}

static err_t base_flush(void *ctx unused_arg)
{
	return OK;
}

/* One request: a few sectors, so that regions are crossed; often the same ones again. */
static err_t use_disk(struct world *w, unsigned i, u8 byte)
{
	static u8 sectors[4 * DISK_SECTOR];
	struct vm *vm = w->vm;
	struct disk *d = vm->disk[i];
	struct rng r = rng_of(vm->now.count * 256 + byte);
	u64 at = rng_below(&r, rng_chance(&r, 50) ? MIN(d->config.nsectors, 20UL) : d->config.nsectors), log;
	u32 n = 1 + (u32)rng_below(&r, MIN(4UL, d->config.nsectors - at));
	err_t err;

	for (u32 k = 0; k < n * DISK_SECTOR; k++)
		sectors[k] = (u8)(k / 8 * byte + k % 3 * vm->now.count);
	err = disk_write(d, at, sectors, n);
	w->disk_writes++;
	w->disk_full += err == ERR_TOO_BIG;
	if (err && err != ERR_TOO_BIG)
		return err;
	at = rng_below(&r, MIN(d->config.nsectors, at + 30));
	err = disk_read(d, at, sectors, 1);
	if (err)
		return err;
	err = guestmem_read(&vm->mem, GPA(WORLD_DISK_LOG), &log, 8);
	log = (log ^ read_bytes_le(sectors + 8 * rng_below(&r, 64), 8)) * 0x9e3779b97f4a7c15UL;
	return err ? err : guestmem_write(&vm->mem, GPA(WORLD_DISK_LOG), &log, 8);
}

static void disk_device(void *ctx, const void *data, size_t size)
{
	struct world *w = ctx;
	const u8 *bytes = data;

	for (size_t i = 0; i < size; i++)
		if (use_disk(w, bytes[i] % w->vm->ndisks, bytes[i]))
			vm_stop(w->vm, VM_HOST_FAILED, "out of memory for a disk");
	w->wire.put(w->wire.ctx, data, size);
}

static void plug_disks(struct world *w, const struct chunk_source *source)
{
	const struct plan *p = &w->plan;

	for (unsigned i = 0; i < p->ndisks; i++) {
		struct world_disk *d = &w->disk[i];
		const struct disk_config c = { .nsectors = p->disk[i].nsectors, .mode = DISK_COW, .room_bytes = p->disk[i].room_bytes,
					       .base = { base_read, base_write, base_flush, d } };

		d->seed = p->disk[i].seed;
		cr_assert_eq(disk_init(&d->d, &c, source), OK);
		vm_add_disk(w->vm, &d->d);
	}
	if (!p->ndisks)
		return;
	w->wire = w->vm->board.com1.tx;
	w->vm->board.com1.tx = (struct outlet){ disk_device, w };
}

static u64 no_counter(void)
{
	return 0;
}

static void put(struct vm *vm, u64 at, const void *data, size_t size)
{
	cr_assert_eq(guestmem_write(&vm->mem, GPA(at), data, size), OK);
}

static void make(struct world *w, struct boundary *b)
{
	const struct plan *p = &w->plan;
	struct chunk_source source = { take_chunk, take_pages, w };

	w->pages_left = ~0UL;
	w->vm = malloc(sizeof(*w->vm));
	cr_assert_not_null(w->vm);
	memset(w->vm, 0xee, sizeof(*w->vm)); /* vm_create must not count on zeros */
	cr_assert_eq(vm_create(w->vm, &p->config, &fake_ops, b, &source), OK);
	plug_disks(w, &source);
	w->vm->host_counter = no_counter;
	w->vm->host_keeps_shadow = p->quirks.keeps_shadow;
	fake_of(&w->vm->vcpu[0])->quirks = p->quirks;
	put(w->vm, WORLD_IDT, p->program.idt, sizeof(p->program.idt));
	put(w->vm, WORLD_HANDLERS, p->program.handlers, p->program.handlers_size);
	put(w->vm, WORLD_CODE, p->program.code, p->program.size);
	fake_start(&w->vm->vcpu[0], WORLD_CODE, WORLD_STACK, WORLD_IDT);
}

static void begin(struct world *w, const struct plan *p)
{
	memset(w, 0, sizeof(*w));
	w->plan = *p;
	host_init(&w->host, p);
}

void world_live(struct world *w, const struct plan *p)
{
	begin(w, p);
	live_boundary_init(&w->live, &w->host.port);
	make(w, &w->live.b);
}

void world_record(struct world *w, const struct plan *p, struct world_medium *m)
{
	static const char head[] = "machine=1\nncpus=1\n", host[] = "counter=test\n";
	struct rec_medium ops = medium_ops(m);

	begin(w, p);
	w->medium = m;
	w->writer = calloc(1, sizeof(*w->writer));
	cr_assert_not_null(w->writer);
	/* A medium that fails at once shows in the writer's error, as later ones do. */
	if (rec_create(w->writer, &ops, p->seed, head, sizeof(head) - 1) ||
	    rec_put_chunk(w->writer, REC_HOST, host, sizeof(host) - 1))
		cr_assert(w->writer->error);
	record_boundary_init(&w->record, &w->host.port, w->writer, 0, p->sync);
	make(w, &w->record.b);
	m->count = &w->vm->now.count;
}

static void replay_through(struct world *w, const struct plan *p, struct world_medium *m, const struct host_port *port)
{
	struct rec_medium ops = medium_ops(m);

	begin(w, p);
	w->host.supply = 0;
	w->host.patience = ~0UL;
	w->host.quit_at_look = 0;
	w->medium = m;
	w->reader = calloc(1, sizeof(*w->reader));
	cr_assert_not_null(w->reader);
	cr_assert_eq(rec_reader_open(w->reader, &ops), OK, "seed %lu: the recording does not open", p->seed);
	replay_boundary_init(&w->replay, port, w->reader);
	make(w, &w->replay.b);
}

void world_replay(struct world *w, const struct plan *p, struct world_medium *m)
{
	replay_through(w, p, m, &w->host.port);
}

void world_leave_as(struct world *w, const struct world *recorded)
{
	if (recorded->vm->outcome == VM_QUIT)
		replay_leave_at(&w->replay, w->vm, recorded->vm->now.count, recorded->vm->now.vtime_ns);
}

err_t world_timeline(struct world *w, const struct plan *p, struct world_medium *m, struct timeline *t,
		     struct checkpoints *cs, const struct timeline_host *host, u64 pool_bytes)
{
	timeline_prepare(t, host);
	replay_through(w, p, m, &t->port);
	cr_assert_eq(checkpoints_init(cs, w->vm, &w->replay, take_pages(w, pool_bytes / PAGE_SIZE), pool_bytes), OK);
	return timeline_init(t, w->vm, &w->replay, cs);
}

void world_perturb(struct world *w, u64 seed)
{
	struct rng r = rng_of(seed);
	char conf[128];
	int n = ksnprintf(conf, sizeof(conf), "perturb=%lu\nperturb_gap=%lu\nperturb_stops=%lu\n", seed,
			  1 + rng_below(&r, 3000), 1 + rng_below(&r, 400));

	perturb_start(&w->perturb, w->vm, conf, (size_t)n);
}

/* --- 6  runs --------------------------------------------------------------------------- */

static u64 total_exits(const struct vm *vm)
{
	u64 n = 0;

	for (unsigned i = 0; i < NEXIT; i++)
		n += vm->stats.exits[i];
	return n;
}

enum vm_outcome world_run(struct world *w)
{
	struct vm *vm = w->vm;
	enum vm_outcome o = vm_run(vm);

	w->digest = vm_digest(vm);
	if (w->writer)
		record_boundary_finish(&w->record, &vm->now);
	if (w->writer && o != VM_HOST_FAILED) {
		struct rec_end end = { .outcome = o, .guest_exit = vm->guest_exit, .insns = vm->now.count,
				       .vtime_ns = vm->now.vtime_ns, .exits = total_exits(vm),
				       .inputs = vm->stats.inputs, .input_bytes = vm->stats.input_bytes,
				       .digest = w->digest };

		if (rec_put_end(w->writer, &end, 1))
			o = vm->outcome = VM_HOST_FAILED;
	}
	if (w->reader) {
		replay_check_end(&w->replay, o, vm->guest_exit, &vm->now, w->digest);
		if (w->replay.diverged.found)
			o = vm->outcome = VM_DIVERGED;
	}
	return o;
}

void world_free(struct world *w)
{
	free(w->vm->vcpu[0].vendor);
	free(w->vm);
	for (unsigned i = 0; i < w->npages; i++)
		free(w->pages[i]);
	for (unsigned i = 0; i < w->nchunks; i++)
		munmap(w->chunks[i], 2 * CHUNK_SIZE);
	free(w->writer);
	free(w->reader);
	free(w->host.output);
	memset(w, 0, sizeof(*w));
}

const char *world_difference(const struct world *a, const struct world *b)
{
	static char why[512];
	const struct vm *x = a->vm, *y = b->vm;
	u32 n = 0;

	why[0] = 0;
	while (n < MIN(a->host.output_size, b->host.output_size) && a->host.output[n] == b->host.output[n])
		n++;
	if (x->outcome == y->outcome && x->guest_exit == y->guest_exit && !execpoint_cmp(&x->now, &y->now) &&
	    a->digest == b->digest && a->host.output_size == b->host.output_size && n == a->host.output_size)
		return NULL;
	snprintf(why, sizeof(why),
		 "seed %lu: outcome %d/%d (%s/%s) exit %u/%u count %lu/%lu vtime %lu/%lu sequence %lu/%lu "
		 "digest %016lx/%016lx output %u/%u bytes, alike up to %u%s%s",
		 a->plan.seed, x->outcome, y->outcome, x->stop_reason, y->stop_reason, x->guest_exit, y->guest_exit,
		 x->now.count, y->now.count, x->now.vtime_ns, y->now.vtime_ns, x->now.sequence, y->now.sequence,
		 a->digest, b->digest, a->host.output_size, b->host.output_size, n,
		 b->replay.diverged.found ? "; " : "", b->replay.diverged.found ? b->replay.diverged.what : "");
	return why;
}

void world_load(struct world *w, const void *code, size_t size)
{
	put(w->vm, WORLD_CODE, code, size);
}
