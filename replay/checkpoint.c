/*
 * checkpoint.c - taking, restoring and dropping checkpoints.  See checkpoint.h.
 *
 * Reads and changes: one VM, its replay boundary, the pool.
 */
#include "replay/checkpoint.h"

err_t checkpoints_init(struct checkpoints *cs, struct vm *vm, struct replay_boundary *replay, void *memory,
		       u64 size_bytes)
{
	err_t err;

	memset(cs, 0, sizeof(*cs));
	cs->vm = vm;
	cs->replay = replay;
	err = page_pool_init(&cs->pool, memory, size_bytes);
	if (err)
		return err;
	for (unsigned i = 0; i < vm_nmemories(vm); i++)
		image_keeper_init(&cs->keeper[i], &cs->pool, vm_memory(vm, i));
	for (unsigned i = 0; i < MAX_CHECKPOINTS; i++)
		cs->unused[cs->nunused++] = &cs->store[i];
	return OK;
}

/* How many lie at or before count. */
static unsigned position(const struct checkpoints *cs, u64 count)
{
	unsigned low = 0, high = cs->n;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (cs->sorted[middle]->at.count <= count)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct checkpoint *checkpoint_before(struct checkpoints *cs, u64 count)
{
	unsigned i = position(cs, count);

	return i ? cs->sorted[i - 1] : NULL;
}

struct checkpoint *checkpoint_behind(struct checkpoints *cs, u64 count)
{
	unsigned i = position(cs, count);

	return i < cs->n ? cs->sorted[i] : NULL;
}

/* --- images of all memories ------------------------------------------------------- */

err_t images_take(struct checkpoints *cs, struct memory_image *im)
{
	for (unsigned i = 0; i < vm_nmemories(cs->vm); i++) {
		err_t err = image_take(&cs->keeper[i], &im[i]);

		if (!err)
			continue;
		while (i--)
			image_drop(&cs->keeper[i], &im[i]);
		return err;
	}
	return OK;
}

err_t images_restore(struct checkpoints *cs, const struct memory_image *im)
{
	err_t err = OK;

	for (unsigned i = 0; i < vm_nmemories(cs->vm) && !err; i++)
		err = image_restore(&cs->keeper[i], &im[i]);
	return err;
}

void images_copy(struct checkpoints *cs, struct memory_image *to, const struct memory_image *from)
{
	for (unsigned i = 0; i < vm_nmemories(cs->vm); i++)
		image_copy(&cs->keeper[i], &to[i], &from[i]);
}

void images_drop(struct checkpoints *cs, struct memory_image *im)
{
	for (unsigned i = 0; i < vm_nmemories(cs->vm); i++)
		image_drop(&cs->keeper[i], &im[i]);
}

/* --- dropping -------------------------------------------------------------------- */

static void drop_state(struct checkpoints *cs, struct checkpoint *c)
{
	for (unsigned i = 0; i < ARRAY_SIZE(c->state); i++) {
		page_pool_drop(&cs->pool, c->state[i]);
		c->state[i] = 0;
	}
}

void checkpoint_drop(struct checkpoints *cs, struct checkpoint *c)
{
	images_drop(cs, c->memory);
	drop_state(cs, c);
}

void checkpoint_forget(struct checkpoints *cs, struct checkpoint *c)
{
	checkpoint_drop(cs, c);
	cs->unused[cs->nunused++] = c;
}

/*
 * What one would be missed: the stretch that would be run again without it,
 * against how far away that is.  So checkpoints stay dense around the user and
 * grow sparser with the distance.
 */
static bool misses_less(const struct checkpoints *cs, unsigned a, unsigned b, u64 here)
{
	u64 span[2], far[2];
	unsigned which[2] = { a, b };

	for (unsigned i = 0; i < 2; i++) {
		unsigned n = which[i];
		u64 at = cs->sorted[n]->at.count;

		span[i] = (n + 1 < cs->n ? cs->sorted[n + 1]->at.count : MAX(here, at)) - cs->sorted[n - 1]->at.count;
		far[i] = 1 + (at > here ? at - here : here - at);
	}
	return (unsigned __int128)span[0] * far[1] < (unsigned __int128)span[1] * far[0];
}

bool checkpoints_drop_one(struct checkpoints *cs)
{
	unsigned worst = 0;

	for (unsigned i = 1; i < cs->n; i++) /* number 0 is the beginning */
		if (!cs->sorted[i]->kept && (!worst || misses_less(cs, i, worst, cs->vm->now.count)))
			worst = i;
	if (!worst)
		return false;
	checkpoint_forget(cs, cs->sorted[worst]);
	cs->n--;
	memmove(&cs->sorted[worst], &cs->sorted[worst + 1], (cs->n - worst) * sizeof(cs->sorted[0]));
	cs->dropped++;
	return true;
}

/* --- taking ------------------------------------------------------------------------ */

err_t checkpoint_put_state(struct checkpoints *cs, struct checkpoint *c, const u8 *data, u32 size)
{
	if (size > CHECKPOINT_STATE_MAX)
		return ERR_TOO_BIG;
	c->state_bytes = size;
	for (u32 at = 0, i = 0; at < size; at += PAGE_SIZE, i++) {
		c->state[i] = page_pool_take(&cs->pool);
		if (!c->state[i]) {
			drop_state(cs, c);
			return ERR_NO_MEMORY;
		}
		memcpy(page_pool_at(&cs->pool, c->state[i]), data + at, MIN(PAGE_SIZE, size - at));
	}
	return OK;
}

static err_t take_state(struct checkpoints *cs, struct checkpoint *c)
{
	struct state_walk w = state_save_to(cs->scratch, sizeof(cs->scratch));

	vm_state_walk(cs->vm, &w);
	return w.error ? w.error : checkpoint_put_state(cs, c, cs->scratch, (u32)w.pos);
}

static err_t fill(struct checkpoints *cs, struct checkpoint *c)
{
	err_t err;

	c->at = cs->vm->now;
	c->digest = vm_digest(cs->vm); /* makes cpu_state and the dirty pages current, too */
	c->kept = false;
	err = take_state(cs, c);
	if (!err)
		err = images_take(cs, c->memory);
	if (cs->recording && cs->vm->boundary == &cs->recording->b)
		c->place = record_tell(cs->recording, &cs->vm->now);
	else
		replay_tell(cs->replay, &c->place);
	if (err)
		checkpoint_drop(cs, c);
	return err;
}

bool checkpoint_fill(struct checkpoints *cs, struct checkpoint *c)
{
	err_t err;

	while ((err = fill(cs, c)))
		if (err != ERR_NO_MEMORY || !checkpoints_drop_one(cs))
			return false;
	return true;
}

struct checkpoint *checkpoint_new(struct checkpoints *cs)
{
	if (!cs->nunused && !checkpoints_drop_one(cs))
		return NULL;
	return cs->unused[--cs->nunused];
}

void checkpoint_insert(struct checkpoints *cs, struct checkpoint *c)
{
	unsigned i = position(cs, c->at.count);

	memmove(&cs->sorted[i + 1], &cs->sorted[i], (cs->n - i) * sizeof(cs->sorted[0]));
	cs->sorted[i] = c;
	cs->n++;
	cs->taken++;
}

struct checkpoint *checkpoint_take(struct checkpoints *cs)
{
	struct checkpoint *c = checkpoint_before(cs, cs->vm->now.count);

	if (c && c->at.count == cs->vm->now.count)
		return c;
	c = checkpoint_new(cs);
	if (!c)
		return NULL;
	if (!checkpoint_fill(cs, c)) {
		checkpoint_forget(cs, c);
		return NULL;
	}
	checkpoint_insert(cs, c);
	return c;
}

bool checkpoint_take_end(struct checkpoints *cs)
{
	if (cs->has_end)
		checkpoint_drop(cs, &cs->end);
	cs->has_end = checkpoint_fill(cs, &cs->end);
	cs->end_outcome = cs->vm->outcome;
	cs->end_guest_exit = cs->vm->guest_exit;
	return cs->has_end;
}

/* --- restoring ----------------------------------------------------------------------- */

/* What of a VM is no state: it begins anew at the restored point. */
static void begin_anew(struct vm *vm)
{
	vm->outcome = VM_RUNNING;
	vm->guest_exit = 0;
	vm->stop_reason[0] = 0;
	vm->pause = false;
	vm->stalled = 0;
	vm->asked_at = vm->now.count;
	vm->unasked_exits = 0;
	vm->leave_at = NO_STOP;
	for (unsigned i = 0; i < vm->config.ncpus; i++) {
		struct vcpu *v = &vm->vcpu[i];

		v->irq_vector = -1;
		v->watch_past = v->watch_off = NO_STOP;
		v->watch_touched = 0;
		vm->virt->load(v, PART_ALL);
	}
}

err_t checkpoint_load_state(struct vm *vm, const u8 *data, u32 size)
{
	struct state_walk w = state_load_from(data, size);

	vm_state_walk(vm, &w);
	if (w.error || w.pos != size)
		return w.error ? w.error : ERR_DAMAGED;
	begin_anew(vm);
	return OK;
}

err_t checkpoint_restore_machine(struct checkpoints *cs, const struct checkpoint *c)
{
	struct vm *vm = cs->vm;
	err_t err;

	vm->paging.ops->step_done(vm);
	vm->paging.ops->harvest_dirty(vm);
	err = images_restore(cs, c->memory);
	if (err)
		return err;
	for (u32 at = 0, i = 0; at < c->state_bytes; at += PAGE_SIZE, i++)
		memcpy(cs->scratch + at, page_pool_at(&cs->pool, c->state[i]), MIN(PAGE_SIZE, c->state_bytes - at));
	err = checkpoint_load_state(vm, cs->scratch, c->state_bytes);
	if (err)
		return err;
	cs->restored++;
	if (c == &cs->end) {
		vm->outcome = cs->end_outcome;
		vm->guest_exit = cs->end_guest_exit;
	}
	return OK;
}

err_t checkpoint_restore(struct checkpoints *cs, const struct checkpoint *c)
{
	err_t err = checkpoint_restore_machine(cs, c);

	return err ? err : replay_seek(cs->replay, cs->vm, &c->place);
}
