/*
 * test_state.c - the state walk, and the walk over the whole machine: what is
 * saved, loaded into another VM and run on is the same run.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/fakeworld.h"

/* --- the walk itself --- */

struct thing {
	u8 a;
	u32 b;
	u64 c[3];
};

static void thing_walk(struct thing *t, struct state_walk *w, const char *name, u32 version)
{
	state_section(w, name, version);
	STATE(w, t, a);
	STATE(w, t, b);
	STATE(w, t, c);
}

static const struct thing sample = { 1, 0x01020304, { 5, 6, 0x1122334455667788 } };
#define THING_BYTES (8 + 1 + 4 + 24)

Test(state, saves_little_endian_in_order_without_padding)
{
	struct thing t = sample;
	u8 buf[THING_BYTES];
	struct state_walk w = state_save_to(buf, sizeof(buf));

	thing_walk(&t, &w, "thing", 1);
	cr_assert_eq(w.error, OK);
	cr_assert_eq(w.pos, THING_BYTES);
	cr_assert_eq(buf[8], 1);
	cr_assert_eq(read_bytes_le(buf + 9, 4), 0x01020304);
	cr_assert_eq(read_bytes_le(buf + 13 + 16, 8), 0x1122334455667788);
}

Test(state, load_gives_back_what_was_saved)
{
	struct thing t = sample, u = { 0 };
	u8 buf[THING_BYTES];
	struct state_walk w = state_save_to(buf, sizeof(buf));

	thing_walk(&t, &w, "thing", 1);
	w = state_load_from(buf, sizeof(buf));
	thing_walk(&u, &w, "thing", 1);
	cr_assert_eq(w.error, OK);
	cr_assert(u.a == t.a && u.b == t.b && !memcmp(u.c, t.c, sizeof(u.c)));
}

Test(state, load_refuses_another_name_or_version_and_changes_nothing)
{
	struct thing t = sample, u = { 9, 9, { 9, 9, 9 } };
	u8 buf[THING_BYTES];
	struct state_walk w = state_save_to(buf, sizeof(buf));

	thing_walk(&t, &w, "thing", 1);
	for (int i = 0; i < 2; i++) {
		w = state_load_from(buf, sizeof(buf));
		thing_walk(&u, &w, i ? "thing" : "other", i ? 2 : 1);
		cr_assert_eq(w.error, ERR_MISMATCH);
		cr_assert(u.a == 9 && u.b == 9 && u.c[2] == 9);
	}
}

Test(state, too_little_room_or_too_few_bytes_is_an_error_that_stays)
{
	struct thing t = sample, u = { 0 };
	u8 buf[THING_BYTES];

	for (size_t n = 0; n < THING_BYTES; n++) {
		u8 *exact = malloc(n ? n : 1); /* the sanitizer sees a byte too many */
		struct state_walk w = state_save_to(exact, n);

		thing_walk(&t, &w, "thing", 1);
		cr_assert_eq(w.error, ERR_TOO_BIG);
		cr_assert_leq(w.pos, n);
		w = state_save_to(buf, sizeof(buf));
		thing_walk(&t, &w, "thing", 1);
		memcpy(exact, buf, n);
		w = state_load_from(exact, n);
		thing_walk(&u, &w, "thing", 1);
		cr_assert_eq(w.error, ERR_DAMAGED);
		free(exact);
	}
}

Test(state, the_digest_covers_every_field_and_the_section)
{
	struct thing t = sample;
	struct state_walk w = state_digest();
	u64 first;

	thing_walk(&t, &w, "thing", 1);
	first = w.digest;
	w = state_digest();
	thing_walk(&t, &w, "thing", 1);
	cr_assert_eq(w.digest, first);
	for (int i = 0; i < 5; i++) {
		struct thing u = sample;

		u.a += i == 0;
		u.b += i == 1;
		u.c[2] += i == 2;
		w = state_digest();
		thing_walk(&u, &w, i == 3 ? "thinh" : "thing", i == 4 ? 2 : 1);
		cr_assert_neq(w.digest, first, "change %d", i);
	}
}

struct visited {
	unsigned n;
	bool a, tag;
};

static void visit(void *ctx, const char *section, const char *field, const void *data, size_t size)
{
	struct visited *v = ctx;

	v->n++;
	cr_assert_str_eq(section, "thing");
	v->tag |= !strcmp(field, "section");
	v->a |= !strcmp(field, "a") && size == 1 && *(const u8 *)data == 1;
}

Test(state, visit_names_each_field)
{
	struct visited v = { 0 };
	struct thing t = sample;
	struct state_walk w = { .mode = STATE_VISIT, .visit = visit, .visit_ctx = &v };

	thing_walk(&t, &w, "thing", 1);
	cr_assert(v.n == 4 && v.a && v.tag);
}

/* --- the whole machine --- */

#define STATE_ROOM 65536

static struct plan plan, other;
static struct world a, b;

/* A machine's whole state at a stop. */
struct snapshot {
	struct world *w;
	bool taken;
	u8 state[STATE_ROOM];
	size_t size;
	u64 digest;
	u8 *memory[1 + WORLD_DISKS];
	struct world_host host;
	struct live_boundary live;
	u32 output_size;
	u64 next_poll, next_epoch;
};
static struct snapshot snap;

static void save_all(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.ncpus; i++)
		vm->virt->save(&vm->vcpu[i], PART_ALL);
}

static size_t save_machine(struct vm *vm, u8 *buf)
{
	struct state_walk w = state_save_to(buf, STATE_ROOM);

	save_all(vm);
	vm_state_walk(vm, &w);
	cr_assert_eq(w.error, OK);
	return w.pos;
}

static u64 take(struct vm *vm, void *ctx)
{
	struct snapshot *s = ctx;

	s->taken = true;
	s->size = save_machine(vm, s->state);
	s->digest = vm_digest(vm);
	for (unsigned i = 0; i < vm_nmemories(vm); i++)
		for (u64 at = 0; at < vm_memory(vm, i)->size_bytes; at += PAGE_SIZE)
			if (guestmem_is_ram(vm_memory(vm, i), GPA(at)))
				cr_assert_eq(guestmem_read(vm_memory(vm, i), GPA(at), s->memory[i] + at, PAGE_SIZE), OK);
	s->host = s->w->host;
	s->live = s->w->live;
	s->output_size = s->w->host.output_size;
	s->next_poll = vm->next_poll;
	s->next_epoch = (vm->now.count / vm->config.epoch_insns + 1) * vm->config.epoch_insns;
	return NO_STOP;
}

static void load_machine(struct world *w, const struct snapshot *s)
{
	struct vm *vm = w->vm;
	struct state_walk load = state_load_from(s->state, s->size);
	struct world_host host = s->host;

	vm_state_walk(vm, &load);
	cr_assert_eq(load.error, OK, "seed %lu: load failed in section %s", w->plan.seed, load.section);
	cr_assert_eq(load.pos, s->size);
	cr_assert_eq(vm->next_poll, s->next_poll, "seed %lu: polls elsewhere", w->plan.seed);
	cr_assert_eq(vm->next_epoch, s->next_epoch);
	vm->virt->load(&vm->vcpu[0], PART_ALL);
	for (unsigned i = 0; i < vm_nmemories(vm); i++)
		for (u64 at = 0; at < vm_memory(vm, i)->size_bytes; at += PAGE_SIZE)
			if (guestmem_is_ram(vm_memory(vm, i), GPA(at)))
				cr_assert_eq(guestmem_write(vm_memory(vm, i), GPA(at), s->memory[i] + at, PAGE_SIZE), OK);
	free(w->host.output);
	host.output = NULL;
	host.output_size = host.output_room = 0;
	host.port = w->host.port;
	w->host = host;
	w->live = s->live;
	w->live.host = &w->host.port;
	vm->outcome = VM_RUNNING;
}

/* Another machine of the same make, as different inside as can be. */
static void make_other(struct world *w, u64 seed)
{
	plan_random(&other, seed + 1000000);
	other.config = plan.config;
	other.ndisks = plan.ndisks;
	memcpy(other.disk, plan.disk, sizeof(other.disk));
	other.config.limit_insns = 3000;
	world_live(w, &other);
	world_run(w);
	w->vm->config.limit_insns = plan.config.limit_insns;
	w->plan = plan;
}

static void check_same_bytes(struct vm *vm, const struct snapshot *s, u64 seed)
{
	static u8 again[STATE_ROOM];
	size_t n = save_machine(vm, again), at = 0;

	while (at < n && at < s->size && again[at] == s->state[at])
		at++;
	cr_assert(n == s->size && at == n, "seed %lu: saved again, byte %zu of %zu (%zu) differs", seed, at, s->size, n);
}

static unsigned timers_armed(const struct vm *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->clock.ntimers; i++)
		n += vm->clock.timers[i]->deadline_ns != VTIMER_NEVER;
	return n;
}

/* Saved at a random point, loaded elsewhere, saved again: the same bytes; run on: the same end. */
Test(state, a_saved_machine_loaded_into_another_runs_on_alike)
{
	u64 with_timers = 0, ran_on = 0;

	for (unsigned i = 0; i < 1 + WORLD_DISKS; i++)
		snap.memory[i] = calloc(1, MIB(6)); /* as large as any of them */
	for (u64 seed = world_first_seed(), n = world_runs(200); n; n--, seed++) {
		struct rng r = rng_of(seed + 21);

		plan_random(&plan, seed);
		snap.taken = false;
		snap.w = &a;
		world_live(&a, &plan);
		vm_add_stop(a.vm, 1 + rng_below(&r, plan.config.limit_insns - 1), take, &snap);
		world_run(&a);
		if (snap.taken) {
			make_other(&b, seed);
			load_machine(&b, &snap);
			check_same_bytes(b.vm, &snap, seed);
			cr_assert_eq(vm_digest(b.vm), snap.digest, "seed %lu: another digest", seed);
			with_timers += timers_armed(b.vm) > 1;
			world_run(&b);
			ran_on++;
			cr_assert(a.vm->outcome == b.vm->outcome && !execpoint_cmp(&a.vm->now, &b.vm->now) &&
				  a.digest == b.digest, "seed %lu: runs on to another end: %s", seed, world_difference(&a, &b));
			cr_assert(a.host.output_size - snap.output_size == b.host.output_size &&
				  (!b.host.output_size ||
				   !memcmp(a.host.output + snap.output_size, b.host.output, b.host.output_size)),
				  "seed %lu: other output", seed);
			world_free(&b);
		}
		world_free(&a);
	}
	for (unsigned i = 0; i < 1 + WORLD_DISKS; i++)
		free(snap.memory[i]);
	cr_assert((ran_on > 100 && with_timers > 40) || world_runs(200) < 200, "%lu snapshots, %lu with timers", ran_on,
		  with_timers);
}

/* The point itself is part of the digest. */
Test(state, a_machine_loaded_at_another_point_has_another_digest)
{
	struct state_walk w;
	u64 before;

	plan_random(&plan, 5);
	world_live(&a, &plan);
	world_run(&a);
	snap.size = save_machine(a.vm, snap.state);
	before = a.digest;
	for (size_t at = 0; at < 8 * 4; at++) { /* count, vtime, sequence, idle: plain numbers */
		snap.state[8 + at] ^= 1;
		w = state_load_from(snap.state, snap.size);
		vm_state_walk(a.vm, &w);
		cr_assert_eq(w.error, OK);
		a.vm->virt->load(&a.vm->vcpu[0], PART_ALL);
		cr_assert_neq(vm_digest(a.vm), before, "byte %zu", at);
		snap.state[8 + at] ^= 1;
	}
	world_free(&a);
}

/* No register of the vCPU is forgotten by its walk. */
struct seen {
	const u8 *from;
	u8 bytes[sizeof(struct cpu_state)];
};

static void see(void *ctx, const char *section unused_arg, const char *field, const void *data, size_t size)
{
	struct seen *s = ctx;
	uintptr_t at = (uintptr_t)data - (uintptr_t)s->from;

	for (size_t i = at; at < sizeof(s->bytes) && i < at + size; i++)
		cr_assert(!s->bytes[i]++, "%s is visited twice", field);
}

Test(state, every_register_is_visited_once)
{
	struct cpu_state s = { 0 };
	struct seen seen = { .from = (const u8 *)&s };
	struct state_walk w = { .mode = STATE_VISIT, .visit = see, .visit_ctx = &seen };
	size_t missed = 0, padding = sizeof(s.pad) + sizeof(s.gdtr.pad) + sizeof(s.idtr.pad);

	cpu_state_walk(&s, &w);
	for (size_t i = 0; i < sizeof(s); i++)
		missed += !seen.bytes[i];
	/* The FXSAVE image is aligned to 16: up to 8 bytes lie before it. */
	padding += offsetof(struct cpu_state, fx) - offsetof(struct cpu_state, mtrr_var) - sizeof(s.mtrr_var);
	cr_assert_eq(missed, padding, "%zu bytes not visited, %zu are padding", missed, padding);
}

static u64 digest_of(u64 rflags, bool all_flags)
{
	struct cpu_state s = { .rflags = rflags };
	struct state_walk w = state_digest();

	w.all_flags = all_flags;
	cpu_state_walk(&s, &w);
	return w.digest;
}

Test(state, digests_leave_out_the_flags_that_bt_leaves_undefined)
{
	for (unsigned bit = 0; bit < 22; bit++) {
		bool undefined = BIT(bit) == RFLAGS_OF || BIT(bit) == RFLAGS_AF;

		cr_assert_eq(digest_of(BIT(bit), false) == digest_of(0, false), undefined, "bit %u", bit);
		cr_assert_neq(digest_of(BIT(bit), true), digest_of(0, true), "bit %u of digest_version=1", bit);
	}
}
