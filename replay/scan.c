/*
 * scan.c - looking for hits along a stretch of the run.
 *
 * The processor's debug registers are armed in a fork of the run: the machine
 * is put back to a checkpoint and runs ahead, faster than it could be asked at
 * each instruction.  They are linear addresses, seen by no guest.  But hosts
 * have their quirks, so nothing found is believed before the fork, at the end
 * of its stretch, has the digest of the undisturbed run.  A fork that has not
 * is thrown away, and the stretch walked instruction by instruction.
 *
 * More watches than debug registers are looked for in several passes.
 *
 *   1  a hit
 *   2  armed passes
 *   3  instruction by instruction
 *   4  a stretch
 */
#include "replay/timeline_impl.h"

/* --- 1  a hit -------------------------------------------------------------------- */

static void save_all(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.ncpus; i++)
		vm->virt->save(&vm->vcpu[i], PART_ALL);
}

/* A hit at a position, if that is of interest and its condition holds in the state as it is now. */
static bool counts(struct timeline *t, struct scan *s, unsigned watch, u64 at)
{
	const struct watch *w = &s->c->watches[watch];

	if (at < s->low || at >= s->high)
		return false;
	if (s->forward && at == s->begun && (w->kind != WATCH_EXEC || w->at == s->begun_at))
		return false;
	s->nhits++;
	if (!s->c->holds)
		return true;
	save_all(t->vm);
	return s->c->holds(s->c->ctx, watch);
}

/* The first is wanted going forward, the last going backward.  False: a better one has been found. */
static bool note(struct scan *s, unsigned watch, u64 at, u64 linear)
{
	bool exec = s->c->watches[watch].kind == WATCH_EXEC;

	if (s->found && at == s->count && exec && s->c->watches[s->watch].kind == WATCH_EXEC && linear != s->linear) {
		s->twice = true;
		s->other_watch = watch;
		s->other_linear = linear;
	}
	if (s->found && (s->forward ? at >= s->count : at <= s->count))
		return false;
	s->found = true;
	s->twice = false;
	s->count = at;
	s->watch = watch;
	s->linear = linear;
	return true;
}

/* Where a store or load counts that was made by the instruction before this count. */
static u64 access_position(const struct scan *s, u64 count)
{
	return s->forward ? count : count - 1;
}

static void watch_hit(struct vcpu *v, unsigned slots, void *ctx)
{
	struct timeline *t = ctx;
	struct scan *s = t->scan;
	bool noted = false;

	for (unsigned i = 0; i < v->nwatches; i++) {
		const struct watch *w = &s->c->watches[s->serves[i]];
		u64 at = w->kind == WATCH_EXEC ? t->vm->now.count : access_position(s, t->vm->now.count);

		if (!(slots >> i & 1))
			continue;
		if (w->kind == WATCH_READ && v->watch[i].kind == SLOT_WRITE) {
			i++; /* a store, which also hits the other slot of the pair */
			continue;
		}
		if (counts(t, s, s->serves[i], at))
			noted |= note(s, s->serves[i], at, v->watch[i].linear);
	}
	s->crowded = s->nhits > s->max_hits;
	if (s->crowded || (s->forward && noted)) /* what an earlier pass has found ends no later one */
		t->vm->pause = true;
}

/* --- 2  armed passes ------------------------------------------------------------------ */

/* The largest aligned piece at `at` that a slot takes, of at most `left` bytes. */
static u8 piece(u64 at, u64 left)
{
	u8 n = 8;

	while (n > left || at % n)
		n /= 2;
	return n;
}

/* The last slot stays empty when a pair would not fit. */
bool scan_next_pass(struct vm *vm, struct scan *s, struct scan_cursor *at)
{
	struct vcpu *v = &vm->vcpu[0];
	unsigned n = 0;

	while (at->watch < s->c->nwatches) {
		const struct watch *w = &s->c->watches[at->watch];
		unsigned need = w->kind == WATCH_READ ? 2 : 1;
		struct watch_slot slot = { .linear = w->at, .size_bytes = 1, .kind = SLOT_EXEC };

		if (n + need > WATCH_SLOTS)
			break;
		if (w->kind != WATCH_EXEC) {
			slot.linear = w->at + at->done_bytes;
			slot.size_bytes = piece(slot.linear, w->size_bytes - at->done_bytes);
			slot.kind = w->kind == WATCH_ACCESS ? SLOT_ACCESS : SLOT_WRITE;
		}
		s->serves[n] = at->watch;
		v->watch[n++] = slot;
		if (need == 2) { /* a load hits the second alone */
			slot.kind = SLOT_ACCESS;
			s->serves[n] = at->watch;
			v->watch[n++] = slot;
		}
		at->done_bytes += slot.size_bytes;
		if (w->kind == WATCH_EXEC || at->done_bytes >= w->size_bytes)
			*at = (struct scan_cursor){ .watch = at->watch + 1 };
	}
	for (unsigned i = 1; i < vm->config.ncpus; i++)
		memcpy(vm->vcpu[i].watch, v->watch, sizeof(v->watch));
	s->nslots = n;
	return n;
}

static void disarm(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.ncpus; i++) {
		vm->vcpu[i].nwatches = 0;
		vm->vcpu[i].watch_past = NO_STOP;
	}
}

enum stopped scan_run_armed(struct timeline *t, struct scan *s, u64 to)
{
	struct vm *vm = t->vm;
	enum stopped how;

	t->scan = s;
	vm->watch_hit = watch_hit;
	vm->watch_ctx = t;
	vm->watch_blind = false;
	for (unsigned i = 0; i < vm->config.ncpus; i++)
		vm->vcpu[i].nwatches = s->nslots;
	how = run_until(t, to);
	disarm(vm);
	t->scan = NULL;
	return how;
}

u64 linear_rip(const struct vcpu *v)
{
	return v->cpu.rip + (cpu_code_bits(&v->cpu) == 64 ? 0 : v->cpu.seg[SEG_CS].base);
}

bool executes(struct timeline *t, u64 linear)
{
	const struct watch entry = { .kind = WATCH_EXEC, .at = linear, .size_bytes = 1 };
	const struct conditions c = { .watches = &entry, .nwatches = 1 };
	u64 here = t->vm->now.count;
	struct scan s = { .c = &c, .forward = true, .low = here, .high = here + 1, .max_hits = NO_STOP, .begun = NO_STOP };
	struct scan_cursor at = { 0 };

	if (scan_next_pass(t->vm, &s, &at))
		scan_run_armed(t, &s, here + 1);
	t->off_line = true; /* no stop ever stands here */
	return s.found;
}

void enter_handler(struct timeline *t, u64 linear)
{
	u64 here = t->vm->now.count;

	t->delivered = executes(t, linear);
	if (!t->delivered)
		go_to(t, here);
}

/* --- 3  instruction by instruction ------------------------------------------------------- */

#define NO_WATCH (~0U)
#define FNV_PRIME 0x100000001b3UL

/* A hash of a watched place's bytes, by the guest's tables as they are. */
static u64 contents(struct vm *vm, const struct watch *w)
{
	u8 bytes[256];
	u64 hash = 1, part;

	for (u64 done = 0; done < w->size_bytes; done += part) {
		u64 at = w->at + done;
		struct walk_result r = paging_walk(&vm->vcpu[0], GVA(at), 0);

		part = MIN(MIN(w->size_bytes - done, PAGE_SIZE - at % PAGE_SIZE), sizeof(bytes));
		hash *= FNV_PRIME;
		if (!r.ok || guestmem_read(&vm->mem, r.gpa, bytes, part))
			continue;
		for (u64 i = 0; i < part; i++)
			hash = (hash ^ (bytes[i] + 1U)) * FNV_PRIME;
	}
	return hash;
}

/* A change tells of a store; of a load nothing does. */
static bool shows_stores(const struct watch *w)
{
	return w->kind == WATCH_WRITE || w->kind == WATCH_ACCESS;
}

/* One instruction, with every watch looked at before and after.  Other tables show other memory, and store nothing. */
static enum stopped walk_one(struct timeline *t, struct scan *s)
{
	struct vm *vm = t->vm;
	const struct cpu_state *cpu = &vm->vcpu[0].cpu;
	u64 count = vm->now.count, irqs = vm->stats.irqs, rip, cr3;
	unsigned hit = NO_WATCH;
	enum stopped how;
	bool halted = cpu->halted;

	save_all(vm);
	rip = linear_rip(&vm->vcpu[0]);
	cr3 = cpu->cr3;
	for (unsigned i = 0; i < s->c->nwatches; i++) {
		const struct watch *w = &s->c->watches[i];

		if (shows_stores(w))
			t->before[i] = contents(vm, w);
		else if (hit == NO_WATCH && w->kind == WATCH_EXEC && w->at == rip && counts(t, s, i, count))
			hit = i;
	}
	how = run_until(t, count + 1);
	/* else an interrupt came before the instruction, or nothing has woken the vCPU */
	if (hit != NO_WATCH && vm->stats.irqs == irqs && !halted)
		note(s, hit, count, rip);
	save_all(vm);
	for (unsigned i = 0; cpu->cr3 == cr3 && i < s->c->nwatches; i++)
		if (shows_stores(&s->c->watches[i]) && contents(vm, &s->c->watches[i]) != t->before[i] &&
		    counts(t, s, i, access_position(s, count + 1)))
			note(s, i, access_position(s, count + 1), s->c->watches[i].at);
	return how;
}

enum stopped scan_walk_to(struct timeline *t, struct scan *s, u64 to)
{
	enum stopped how = STOPPED_AT_COUNT;

	while (how == STOPPED_AT_COUNT && t->vm->now.count < to && !(s->forward && s->found))
		how = walk_one(t, s);
	return how;
}

static bool walk(struct timeline *t, struct scan *s, u64 from, u64 to)
{
	s->found = false;
	s->nhits = 0;
	t->walked++;
	t->off_line = true;
	if (go_to(t, from) != STOPPED_AT_COUNT)
		return false;
	t->off_line = true;
	scan_walk_to(t, s, to);
	return !t->interrupted;
}

/* --- 4  a stretch -------------------------------------------------------------------------- */

/* Whether the undisturbed run has this digest at a count (NO_STOP: its end). */
static bool agrees(struct timeline *t, u64 count, u64 digest)
{
	return go_to(t, count) != STOPPED_ON_WAY && vm_digest(t->vm) == digest;
}

/*
 * Whether the undisturbed run comes by where the fork stands.  A hit on a
 * handler's first instruction lies behind the delivery, in the middle of a
 * point, where the undisturbed run never stops: of those the next point tells.
 */
static bool comes_by(struct timeline *t, enum stopped how)
{
	u64 here = t->vm->now.count, digest = vm_digest(t->vm), next;

	if (how == STOPPED_AT_END)
		return agrees(t, NO_STOP, digest);
	if (t->vm->vcpu[0].cpu.halted) /* behind no delivery; and there may be no next point */
		return agrees(t, here, digest);
	how = run_until(t, here + 1);
	next = vm_digest(t->vm);
	if (agrees(t, here, digest))
		return true;
	if (t->vm->outcome == VM_RUNNING && t->vm->now.count == here)
		checkpoint_take(t->cs); /* the journey ends here; none: it takes longer */
	return agrees(t, how == STOPPED_AT_END ? NO_STOP : here + 1, next);
}

/*
 * One pass over a stretch.  Sets *trusted if the fork did what the run does:
 * where it ends it has the digest known for that point, or the recording's at
 * the epoch that ends there, or else that of a run without watches.
 */
static bool pass(struct timeline *t, struct scan *s, u64 to, const u64 *known, bool *trusted)
{
	u64 epochs = t->replay->epochs;
	enum stopped how = scan_run_armed(t, s, to);
	struct vm *vm = t->vm;
	bool epoch_ended = t->replay->epochs > epochs && vm->now.count % vm->config.epoch_insns == 0;
	u64 digest;

	if (t->interrupted)
		return false;
	*trusted = !vm->watch_blind && vm->outcome != VM_DIVERGED;
	if (s->crowded || !*trusted)
		return true;
	if (how != STOPPED_AT_END) /* at a hit, be it at `to`: timers and inputs of this point enter */
		how = run_until(t, vm->now.count);
	digest = vm_digest(vm);
	if (known && how == STOPPED_AT_COUNT && vm->now.count == to)
		*trusted = digest == *known;
	else if (known && how == STOPPED_AT_END && to == NO_STOP)
		*trusted = digest == *known;
	else if (!epoch_ended || how != STOPPED_AT_COUNT)
		*trusted = comes_by(t, how);
	return !t->interrupted && !t->trouble[0];
}

bool scan_stretch(struct timeline *t, struct scan *s, u64 from, u64 to, const u64 *known)
{
	struct scan_cursor at = { 0 };
	bool trusted = true;

	s->nhits = 0;
	s->crowded = false;
	while (trusted && !s->crowded && scan_next_pass(t->vm, s, &at)) {
		if (s->forward && s->found && s->count + 1 < to) {
			to = s->count + 1; /* only what comes earlier is of interest now, be it at this very count */
			known = NULL;
		}
		t->off_line = true; /* whatever the last pass left: from a checkpoint */
		if (go_to(t, from) != STOPPED_AT_COUNT)
			return false;
		t->off_line = true;
		if (!pass(t, s, to, known, &trusted))
			return false;
	}
	return trusted || s->crowded || walk(t, s, from, to);
}
