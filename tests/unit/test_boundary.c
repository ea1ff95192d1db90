/*
 * test_boundary.c - live, record and replay are one machine: properties over
 * random programs, random input and random hosts (fakeworld.h).
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "replay/inspect.h"
#include "tests/unit/fakeworld.h"

/* Too big for a stack; one test a process. */
static struct plan plan;
static struct world a, b;

#define MEDIUM_SIZE (1 << 20)

static void same(const struct world *x, const struct world *y, const char *what)
{
	const char *why = world_difference(x, y);

	cr_assert_null(why, "%s: %s", what, why);
}

static void record(struct world *w, struct world_medium *m)
{
	world_record(w, &plan, m);
	world_run(w);
}

static void replay(struct world *w, struct world_medium *m, u64 perturb_seed)
{
	world_replay(w, &plan, m);
	world_leave_as(w, &a);
	world_perturb(w, perturb_seed);
	world_run(w);
}

/* Every host must give the same run. */
static void other_host(struct plan *p, u64 seed)
{
	struct rng r = rng_of(seed + 77);

	p->quirks = (struct fake_host_quirks){ .says_length = rng_chance(&r, 50), .tsc_exits = rng_chance(&r, 50),
					       .keeps_shadow = rng_chance(&r, 50) };
}

Test(boundary, a_live_run_repeats_itself)
{
	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		plan_random(&plan, seed);
		world_live(&a, &plan);
		world_run(&a);
		world_live(&b, &plan);
		world_run(&b);
		same(&a, &b, "two live runs");
		world_free(&a);
		world_free(&b);
	}
}

Test(boundary, a_replay_is_the_recorded_run)
{
	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);

		plan_random(&plan, seed);
		record(&a, &m);
		other_host(&plan, seed);
		replay(&b, &m, 0);
		same(&a, &b, "recorded and replayed");
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
}

/* Built without CONFIG_PERTURB there is nothing to see: the VM has ended before it began. */
static bool perturb_is_built(void)
{
	bool built;

	plan_random(&plan, 1);
	world_live(&a, &plan);
	world_perturb(&a, 1);
	built = a.vm->outcome == VM_RUNNING;
	world_free(&a);
	return built;
}

Test(boundary, a_perturbed_replay_is_the_recorded_run)
{
	if (!perturb_is_built())
		cr_skip_test("built without CONFIG_PERTURB");
	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);

		plan_random(&plan, seed);
		record(&a, &m);
		for (u64 i = 1; i <= 2; i++) {
			other_host(&plan, seed + i);
			replay(&b, &m, seed * 10 + i);
			same(&a, &b, "recorded and replayed under disturbance");
			world_free(&b);
		}
		world_free(&a);
		medium_free(&m);
	}
}

/* ---- looking closer changes nothing ---- */

static char *lines;
static size_t lines_size;

static void printf_like(1, 2) note(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	lines = realloc(lines, lines_size + (size_t)n + 1);
	cr_assert_not_null(lines);
	memcpy(lines + lines_size, line, (size_t)n + 1);
	lines_size += (size_t)n;
}

static char *lines_of(struct world *w, struct inspect *i, u64 seed)
{
	struct rng r = rng_of(seed);
	char conf[128], *all;
	int n = snprintf(conf, sizeof(conf), "trace_from=%lu\ntrace_to=1000000\ntrace_stride=%lu\n",
			 1 + rng_below(&r, 1000), 1 + rng_below(&r, 300));

	inspect_start(i, w->vm, conf, (size_t)n, note);
	world_run(w);
	all = lines;
	lines = NULL;
	lines_size = 0;
	return all;
}

/* At any points, in a disturbed replay: the same digests and the same RIP as when it was recorded. */
Test(boundary, digests_at_any_point_are_those_of_the_recorded_run)
{
	static struct inspect inspect;
	bool perturbs = perturb_is_built();

	for (u64 seed = world_first_seed(), n = world_runs(60); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);
		char *recorded, *replayed;

		plan_random(&plan, seed);
		plan.config.limit_insns = MIN(plan.config.limit_insns, 4000UL);
		world_record(&a, &plan, &m);
		recorded = lines_of(&a, &inspect, seed);
		other_host(&plan, seed);
		world_replay(&b, &plan, &m);
		if (perturbs && seed & 1)
			world_perturb(&b, seed);
		replayed = lines_of(&b, &inspect, seed);
		same(&a, &b, "traced");
		cr_assert(recorded == replayed || (recorded && replayed && !strcmp(recorded, replayed)),
			  "seed %lu: a digest differs on the way:\n%s\n%s", seed, recorded, replayed);
		free(recorded);
		free(replayed);
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
}

/* ---- recordings that are not whole ---- */

/* The first `size` bytes; what follows was never written. */
static struct world_medium cut_medium(const struct world_medium *m, u64 size)
{
	struct world_medium c = { .data = malloc(size ? size : 1), .durable = malloc(1), .size = size };

	cr_assert(c.data && c.durable);
	memcpy(c.data, m->data, size);
	return c;
}

static bool is_prefix(const struct world *part, const struct world *whole)
{
	return part->host.output_size <= whole->host.output_size && (!part->host.output_size ||
	       !memcmp(part->host.output, whole->host.output, part->host.output_size));
}

/* Bytes of the recording in use, END and all. */
static u64 recorded_bytes(const struct world *w)
{
	return w->writer->end;
}

/* Where the first EVENTS chunk may begin: before it nothing can be replayed. */
static u64 head_bytes(struct world_medium *m)
{
	struct rec_reader *r = calloc(1, sizeof(*r));
	struct rec_medium ops = medium_ops(m);
	u64 end;

	cr_assert(r);
	cr_assert_eq(rec_reader_open(r, &ops), OK);
	cr_assert_eq(rec_next_chunk(r), OK); /* HOST */
	end = r->end;
	free(r);
	return end;
}

/*
 * A cut recording replays as far as it goes and says so.  A guest that ends
 * by itself before the VM next looks outside has ended as it did then.
 */
static void check_prefix_replays(struct world_medium *m, const char *what, u64 cut)
{
	enum vm_outcome o;

	world_replay(&b, &plan, m);
	world_leave_as(&b, &a);
	o = world_run(&b);
	cr_assert(!b.replay.diverged.found, "seed %lu, %s at %lu: diverged: %s", plan.seed, what, cut,
		  b.replay.diverged.what);
	cr_assert(o == VM_RECORDING_END || o == a.vm->outcome, "seed %lu, %s at %lu: outcome %d (%s), recorded %d",
		  plan.seed, what, cut, o, b.vm->stop_reason, a.vm->outcome);
	/* --sync holds output back until the recording reaches it, so a failed run may have shown less. */
	cr_assert(is_prefix(&b, &a) || (plan.sync && is_prefix(&a, &b)), "seed %lu, %s at %lu: other output", plan.seed, what, cut);
	cr_assert_leq(b.vm->now.count, a.vm->now.count, "seed %lu, %s at %lu: ran past the recording", plan.seed, what,
		      cut);
	world_free(&b);
}

Test(boundary, a_recording_cut_anywhere_replays_up_to_there)
{
	for (u64 seed = world_first_seed(), n = world_runs(150); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);
		struct rng r = rng_of(seed);

		plan_random(&plan, seed);
		record(&a, &m);
		for (int i = 0; i < 4; i++) {
			u64 from = head_bytes(&m), cut = from + rng_below(&r, recorded_bytes(&a) - from);
			struct world_medium c = cut_medium(&m, cut);

			check_prefix_replays(&c, "cut", cut);
			medium_free(&c);
		}
		world_free(&a);
		medium_free(&m);
	}
}

/* The whole replays to its end; without its last chunk it is one that was cut. */
Test(boundary, a_damaged_recording_replays_what_is_intact)
{
	for (u64 seed = world_first_seed(), n = world_runs(100); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);
		struct rng r = rng_of(seed + 5);
		u64 from, at;

		plan_random(&plan, seed);
		record(&a, &m);
		from = head_bytes(&m);
		at = from + rng_below(&r, recorded_bytes(&a) - from);
		m.data[at] ^= (u8)(1 << rng_below(&r, 8));
		check_prefix_replays(&m, "damaged", at);
		world_free(&a);
		medium_free(&m);
	}
}

Test(boundary, a_failing_medium_ends_the_vm_and_what_was_written_replays)
{
	u64 failed = 0;

	for (u64 seed = world_first_seed(), n = world_runs(200); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);
		struct rng r = rng_of(seed + 9);
		enum vm_outcome o;
		u64 operations;

		plan_random(&plan, seed);
		plan.sync = seed & 1;
		record(&a, &m); /* the whole, to compare with */
		operations = m.operations;
		medium_free(&m);

		m = medium_new(MEDIUM_SIZE);
		m.fail_at = 5 + rng_below(&r, operations); /* behind HEAD and HOST */
		world_record(&b, &plan, &m);
		o = world_run(&b);
		if (m.operations >= m.fail_at) {
			failed++;
			cr_assert_eq(o, VM_HOST_FAILED, "seed %lu: operation %lu failed, yet outcome %d", seed, m.fail_at, o);
			cr_assert(is_prefix(&b, &a), "seed %lu: other output", seed);
			cr_assert_leq(b.vm->now.count, m.failed_count + plan.config.poll_insns, "seed %lu: it ran on from %lu to %lu",
				      seed, m.failed_count, b.vm->now.count);
		}
		world_free(&b);
		m.fail_at = 0;
		check_prefix_replays(&m, "failed", m.operations);
		world_free(&a);
		medium_free(&m);
	}
	cr_assert(failed || world_runs(200) < 10, "no medium ever failed");
}

/* ---- divergence ---- */

struct planted {
	u64 at;
	bool memory;
	bool done;
};

static u64 plant(struct vm *vm, void *ctx)
{
	struct planted *p = ctx;
	u8 byte = 1;

	p->done = true;
	if (p->memory)
		cr_assert_eq(guestmem_write(&vm->mem, GPA(WORLD_UNUSED + 123), &byte, 1), OK);
	else
		vm->vcpu[0].cpu.gpr[R15] ^= 0x100;
	return NO_STOP;
}

Test(boundary, a_planted_difference_is_found_at_the_next_digest)
{
	u64 in_epochs = 0;

	for (u64 seed = world_first_seed(), n = world_runs(200); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);
		struct rng r = rng_of(seed + 11);
		struct planted p;
		u64 epoch, count;
		enum vm_outcome o;

		plan_random(&plan, seed);
		record(&a, &m);
		count = a.vm->now.count;
		p = (struct planted){ .at = 1 + rng_below(&r, MAX(count, 2UL) - 1), .memory = rng_chance(&r, 50) };
		world_replay(&b, &plan, &m);
		world_leave_as(&b, &a);
		vm_add_stop(b.vm, p.at, plant, &p);
		o = world_run(&b);
		cr_assert(p.done);
		cr_assert_eq(o, VM_DIVERGED, "seed %lu: a difference at %lu of %lu was not noticed: outcome %d", seed, p.at,
			     count, o);
		/* Stops come before the digest of the same point. */
		epoch = (p.at + plan.config.epoch_insns - 1) / plan.config.epoch_insns;
		if (epoch * plan.config.epoch_insns <= count && b.replay.diverged.epoch) {
			in_epochs++;
			cr_assert_eq(b.replay.diverged.epoch, epoch, "seed %lu: planted at %lu, found in epoch %lu, not %lu",
				     seed, p.at, b.replay.diverged.epoch, epoch);
			cr_assert_eq(b.replay.diverged.at.count, epoch * plan.config.epoch_insns);
			cr_assert_neq(b.replay.diverged.expected, b.replay.diverged.got);
			cr_assert_eq(b.vm->now.count, epoch * plan.config.epoch_insns, "seed %lu: it ran on", seed);
		} else { /* only the end shows it */
			cr_assert_gt((epoch + 0) * plan.config.epoch_insns + (epoch * plan.config.epoch_insns == count),
				     count - (epoch * plan.config.epoch_insns == count), "seed %lu: %s at %lu (epoch %lu)", seed,
				     b.replay.diverged.what, p.at, epoch);
			cr_assert_eq(b.replay.diverged.at.count, count);
		}
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
	cr_assert(in_epochs || world_runs(200) < 10);
}

/* ---- output waits for its recording (--sync) ---- */

static u64 durable_inputs(const struct world_medium *m)
{
	struct world_medium d = *m;
	struct rec_reader *r = calloc(1, sizeof(*r));
	struct rec_medium ops;
	struct rec_event ev;
	u64 n = 0;

	d.data = m->durable;
	ops = medium_ops(&d);
	cr_assert(r);
	cr_assert_eq(rec_reader_open(r, &ops), OK);
	while (rec_next_event(r, &ev) == OK)
		n += ev.kind == REC_INPUT;
	free(r);
	return n;
}

/* The disk as it was when some output left. */
static struct {
	struct world_medium medium;
	u32 output_size;
} moment[4];
static unsigned nmoments;

static void keep_moment(struct world *w)
{
	struct world_medium *d = &moment[nmoments].medium;

	*d = medium_new(MEDIUM_SIZE);
	memcpy(d->data, w->medium->durable, w->medium->high);
	moment[nmoments++].output_size = w->host.output_size;
}

static void check_flushed(struct world_host *h)
{
	struct world *w = h->ctx;

	if (nmoments < ARRAY_SIZE(moment) && rng_chance(&h->rng, 20))
		keep_moment(w);

	cr_assert_eq(w->writer->error, OK, "seed %lu: output left after the medium failed", w->plan.seed);
	cr_assert_eq(w->writer->fill, 0, "seed %lu: output overtook an event in the writer", w->plan.seed);
	cr_assert(!w->medium->dirty, "seed %lu: output overtook an event not flushed", w->plan.seed);
	if (h->output_size % 7 == 0)
		cr_assert_eq(durable_inputs(w->medium), w->vm->stats.inputs, "seed %lu: inputs behind the output",
			     w->plan.seed);
}

/* Had the power failed then: the replay of what was on the disk says all that had been said. */
static void check_moment(u64 seed)
{
	u32 said = moment[--nmoments].output_size;

	replay(&b, &moment[nmoments].medium, 0);
	cr_assert(!b.replay.diverged.found, "seed %lu: diverged: %s", seed, b.replay.diverged.what);
	cr_assert_geq(b.host.output_size, said, "seed %lu: %u bytes had left, the replay says %u (outcome %d)", seed, said,
		      b.host.output_size, b.vm->outcome);
	cr_assert(!memcmp(a.host.output, b.host.output, said), "seed %lu: other output", seed);
	world_free(&b);
	medium_free(&moment[nmoments].medium);
}

Test(boundary, synced_output_never_overtakes_what_led_to_it)
{
	u64 outputs = 0, inputs = 0;

	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);

		plan_random(&plan, seed);
		plan.sync = true;
		m.fail_at = seed % 3 ? 0 : 5 + seed % 50;
		world_record(&a, &plan, &m);
		a.host.ctx = &a;
		a.host.on_output = check_flushed;
		world_run(&a);
		outputs += a.host.output_size;
		inputs += a.vm->stats.inputs;
		while (nmoments)
			check_moment(seed);
		world_free(&a);
		medium_free(&m);
	}
	cr_assert((outputs > 1000 && inputs > 300) || world_runs(300) < 300, "the programs say too little");
}

/*
 * Whenever the machine looks outside, with or without --sync: what is queued
 * is in the recording, and what was said has been said.
 */
static u64 wait_and_check(void *ctx, u64 max_ns)
{
	struct world_host *h = ctx;

	cr_assert_eq(a.writer->fill, 0, "seed %lu: asleep with an event only in the writer", plan.seed);
	cr_assert_eq(a.record.held_bytes, 0, "seed %lu: asleep on output", plan.seed);
	h->waits++;
	h->waited_ns += max_ns;
	return max_ns;
}

static void progress_and_check(void *ctx unused_arg, const struct execpoint *now unused_arg)
{
	cr_assert_eq(a.writer->fill, 0, "seed %lu: at a poll point an event is only in the writer", plan.seed);
	cr_assert_eq(a.record.held_bytes, 0, "seed %lu: at a poll point output is held", plan.seed);
}

Test(boundary, before_it_waits_everything_is_written_and_said)
{
	u64 waits = 0;

	for (u64 seed = world_first_seed(), n = world_runs(200); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);

		plan_random(&plan, seed);
		plan.sync = seed & 1;
		plan.closes = false;
		world_record(&a, &plan, &m);
		a.host.port.wait = wait_and_check;
		a.host.port.progress = progress_and_check;
		world_run(&a);
		waits += a.host.waits;
		world_free(&a);
		medium_free(&m);
	}
	cr_assert(waits > 100 || world_runs(200) < 200);
}

/* ---- idleness ---- */

static void check_behind_host(struct world_host *h)
{
	struct world *w = h->ctx;

	if (!h->ended_at_look)
		cr_assert_leq(w->vm->idle_ns, h->waited_ns, "seed %lu: ahead of the host at %lu", w->plan.seed,
			      w->vm->now.vtime_ns);
}

Test(boundary, while_somebody_may_type_idle_time_never_runs_ahead_of_the_host)
{
	u64 waits = 0, idle_ns = 0;

	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		plan_random(&plan, seed);
		world_live(&a, &plan);
		a.host.ctx = &a;
		a.host.on_look = a.host.on_output = check_behind_host;
		world_run(&a);
		check_behind_host(&a.host);
		waits += a.host.waits;
		idle_ns += a.vm->idle_ns;
		world_free(&a);
	}
	cr_assert((waits > 100 && idle_ns > 1000000) || world_runs(300) < 300, "the programs are never idle");
}

Test(boundary, with_the_console_ended_idle_time_is_skipped)
{
	u64 jumps = 0;

	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		plan_random(&plan, seed);
		plan.supply = 0;
		plan.closes = true;
		world_live(&a, &plan);
		world_run(&a);
		cr_assert_eq(a.host.waits, 0, "seed %lu: waited for nobody", seed);
		jumps += a.vm->stats.idle_jumps;
		world_free(&a);
	}
	cr_assert(jumps > 100 || world_runs(300) < 300);
}

/* A scripted program in place of a random one. */
static void plan_code(const void *code, size_t size)
{
	plan_random(&plan, 1);
	plan.config = (struct vm_config){ .mem_bytes = WORLD_MEM, .ncpus = 1, .ns_per_insn = 1, .poll_insns = 1000,
					  .epoch_insns = 4000, .limit_insns = NO_STOP, .limit_vtime_ns = NO_STOP };
	plan.quirks = (struct fake_host_quirks){ .says_length = true };
	plan.supply = 0;
	plan.closes = true;
	plan.sync = false;
	plan.patience = ~0UL;
	plan.quit_at_look = 0;
	memcpy(plan.program.code, code, size);
	plan.program.size = (u32)size;
}

/* The PIT runs masked, so a guest in HLT stays there while time goes on. */
static const u8 sleeps_under_a_timer[] = {
	0xb8, 0x34, 0, 0, 0, 0xe6, 0x43, /* channel 0: mode 2 */
	0xb8, 0x00, 0, 0, 0, 0xe6, 0x40, 0xe6, 0x40, /* 65536 ticks */
	0xb8, 0xff, 0, 0, 0, 0xe6, 0x21, /* all masked */
	0xfb, 0xf4,
};

/*
 * More is typed than the machine can take, and the guest sleeps: an input
 * that cannot enter must not keep virtual time from going on.
 */
Test(boundary, input_without_room_does_not_stop_time, .timeout = 20)
{
	for (int batch = 0; batch < 2; batch++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);

		plan_code(sleeps_under_a_timer, sizeof(sleeps_under_a_timer));
		plan.supply = 6000;
		plan.burst = 1000;
		plan.arrival_percent = 100;
		plan.closes = batch;
		plan.config.limit_vtime_ns = 1000000000;
		record(&a, &m);
		cr_assert_eq(a.vm->outcome, VM_LIMIT);
		cr_assert_leq(a.vm->stats.input_bytes, UART_QUEUE);
		cr_assert_geq(a.vm->stats.input_bytes, UART_QUEUE - 1000);
		cr_assert_leq(a.vm->stats.idle_jumps, 100);
		replay(&b, &m, 0);
		same(&a, &b, "recorded and replayed");
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
}

/* What is typed while the guest stays asleep at one instruction enters at once, each time. */
Test(boundary, every_input_wakes_a_sleeping_machine)
{
	const struct input_room room = { .console = 4096 }, none = { 0 };
	struct execpoint now = { .count = 7, .vtime_ns = 1000 };
	struct input in;

	plan_code("\xf4", 1);
	plan.supply = 100;
	plan.burst = 5;
	plan.arrival_percent = 100;
	plan.closes = false;
	world_live(&a, &plan);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(a.live.b.ops->idle(&a.live.b, &now, &room, 1000000), 1000, "input %d waits", i);
		cr_assert(a.live.b.ops->next_input(&a.live.b, &now, &room, &in));
		cr_assert_eq(a.host.waits, 0);
	}
	/* One that the machine has no room for does not. */
	cr_assert_eq(a.live.b.ops->idle(&a.live.b, &now, &none, 1000000), 1000000);
	cr_assert(!a.live.b.ops->next_input(&a.live.b, &now, &none, &in));
	cr_assert_eq(a.live.b.ops->idle(&a.live.b, &now, &room, 1000000), 1000);
	world_free(&a);
}

/* A wait may be cut short or last too long: never does time pass the deadline asked for. */
static u64 odd_waits(void *ctx, u64 max_ns)
{
	struct world_host *h = ctx;

	h->waits++;
	h->waited_ns += h->waits % 3 == 0 ? 5 * max_ns : max_ns / 3 + 1;
	return h->waits % 3 == 0 ? 5 * max_ns : max_ns / 3 + 1;
}

static u64 deadline_of(u64 now_ns, u64 deadline_ns)
{
	const struct input_room room = { .console = 4096 };
	struct execpoint now = { .vtime_ns = now_ns };

	return a.live.b.ops->idle(&a.live.b, &now, &room, deadline_ns);
}

Test(boundary, a_wait_ends_at_its_deadline)
{
	plan_code("\xf4", 1);
	plan.closes = false;
	world_live(&a, &plan);
	a.host.port.wait = odd_waits;
	for (u64 now = 0; now < 5000000000; now += 777777777)
		for (u64 ahead = 0; ahead < 3000000000; ahead = ahead * 3 + 1) {
			u64 before = a.host.waits;

			cr_assert_eq(deadline_of(now, now + ahead), now + ahead);
			cr_assert_leq(a.host.waits - before, ahead ? 60 : 0, "%lu waits for %lu ns", a.host.waits - before,
				      ahead);
		}
	world_free(&a);
}

/* A replay that is already past an input's instant, at its very count, does not go back to it. */
Test(boundary, time_does_not_run_backwards_to_a_missed_input)
{
	struct world_medium m = medium_new(MEDIUM_SIZE);
	struct execpoint at = { .count = 5, .vtime_ns = 1000 }, late = { .count = 5, .vtime_ns = 1001 };
	struct input in = { .kind = INPUT_CONSOLE, .data = (const u8 *)"x", .size = 1 };
	const struct input_room room = { .console = 4096 };

	plan_code("\xf4", 1);
	world_record(&a, &plan, &m);
	cr_assert_eq(rec_put_input(a.writer, 0, &at, &in), OK);
	cr_assert_eq(rec_commit(a.writer, false), OK);
	for (int i = 0; i < 2; i++) {
		u64 to;

		world_replay(&b, &plan, &m);
		to = b.replay.b.ops->idle(&b.replay.b, i ? &late : &at, &room, 5000);
		cr_assert_eq(to, i ? VTIMER_NEVER : 1000);
		cr_assert_eq(b.replay.b.ops->poll(&b.replay.b, i ? &late : &at), i ? VM_DIVERGED : VM_RUNNING);
		world_free(&b);
	}
	world_free(&a);
	medium_free(&m);
}

/* ---- frames, and answers of the host ---- */

/* Frames that wait outside, by their first byte; NIC n's are those with n in the high half. */
static u8 outside[16];
static unsigned noutside, sent;

static const u8 *peek(void *ctx unused_arg, unsigned nic, u32 *size)
{
	*size = 1;
	for (unsigned i = 0; i < noutside; i++)
		if (outside[i] >> 4 == nic)
			return &outside[i];
	return NULL;
}

static void done(void *ctx unused_arg, unsigned nic)
{
	for (unsigned i = 0; i < noutside; i++)
		if (outside[i] >> 4 == nic) {
			memmove(&outside[i], &outside[i + 1], --noutside - i);
			return;
		}
	cr_assert_fail("nothing to take away");
}

static void send(void *ctx unused_arg, unsigned nic, const void *data, u32 size)
{
	cr_assert_eq(nic, 3);
	cr_assert_eq(size, 4);
	sent += !memcmp(data, "ping", 4);
}

/* What passed a replay, as text. */
static char passed[256];

static void pass(void *ctx, const struct execpoint *at, unsigned nic, bool out, bool packet, const u8 *data, u32 size)
{
	size_t n = strlen(passed);

	cr_assert_eq(ctx, passed);
	snprintf(passed + n, sizeof(passed) - n, "%llu %s%u %s%u %02x|", (unsigned long long)at->count, out ? "to" : "from", nic,
		 packet ? "packet " : "", size, *data);
}

static void with_frames(struct world *w, const u8 *frames, unsigned n)
{
	w->host.port.frame_peek = peek;
	w->host.port.frame_done = done;
	w->host.port.frame_write = send;
	memcpy(outside, frames, n);
	noutside = n;
	sent = 0;
}

/* What was recorded, in b, with all that passes in `passed`. */
static struct boundary *replay_tapped(struct world_medium *m)
{
	static const struct frame_tap tap = { pass, passed };

	world_replay(&b, &plan, m);
	b.replay.tap = &tap;
	passed[0] = 0;
	return &b.replay.b;
}

/* Each frame enters once, at a NIC that has room; for one nobody drives it is as if it had never come. */
Test(boundary, frames_wait_for_room_and_are_lost_on_the_deaf)
{
	const struct input_room room = { .nics = 1 << 1, .deaf = 1 << 2 }, other = { .nics = 1 << 0 }, none = { 0 };
	const struct output out = { .kind = OUTPUT_FRAME, .instance = 3, .data = "ping", .size = 4 };
	struct world_medium m = medium_new(MEDIUM_SIZE);
	struct execpoint now = { .count = 5, .vtime_ns = 1000 };
	struct input in;
	struct boundary *at;

	plan_code("\xf4", 1);
	plan.supply = 0;
	plan.closes = false;
	plan.patience = 1000000;
	world_record(&a, &plan, &m);
	at = &a.record.b;
	with_frames(&a, (const u8[]){ 0x21, 0x01, 0x11, 0x22, 0x12 }, 5);
	cr_assert_eq(at->ops->idle(at, &now, &none, 5000), 5000, "none has room");
	cr_assert(!at->ops->next_input(at, &now, &none, &in));
	cr_assert_eq(noutside, 5);
	cr_assert_eq(at->ops->idle(at, &now, &room, 5000), 1000);
	for (u64 i = 0; i < 2; i++, now.sequence++) {
		cr_assert(at->ops->next_input(at, &now, &room, &in));
		cr_assert(in.kind == INPUT_FRAME && in.instance == 1 && in.size == 1 && *in.data == 0x11 + i);
	}
	cr_assert(!at->ops->next_input(at, &now, &room, &in));
	cr_assert_eq(noutside, 1, "the deaf one's are gone, the other's waits");
	cr_assert_eq(at->ops->idle(at, &now, &other, 5000), 1000);
	at->ops->output(at, &now, &out);
	cr_assert_eq(sent, 1);
	cr_assert_eq(rec_commit(a.writer, false), OK);

	at = replay_tapped(&m);
	now.sequence = 0;
	for (u64 i = 0; i < 2; i++, now.sequence++) {
		cr_assert(at->ops->next_input(at, &now, &room, &in));
		cr_assert(in.kind == INPUT_FRAME && in.instance == 1 && in.size == 1 && *in.data == 0x11 + i);
	}
	cr_assert(!at->ops->next_input(at, &now, &room, &in));
	at->ops->output(at, &now, &out);
	at->ops->output(at, &now, &(struct output){ .kind = OUTPUT_CONSOLE, .data = "x", .size = 1 });
	cr_assert_str_eq(passed, "5 from1 1 11|5 from1 1 12|5 to3 4 70|");
	world_free(&b);
	world_free(&a);
	medium_free(&m);
}

static u8 a_packet[PACKET_HEADER + 3];

static const u8 *peek_packet(void *ctx unused_arg, unsigned nic, u32 *size)
{
	*size = sizeof(a_packet);
	return noutside && outside[0] >> 4 == nic && outside[0] & 8 ? a_packet : NULL;
}

static void send_packet(void *ctx unused_arg, unsigned nic, const u8 *data unused_arg, u32 size)
{
	cr_assert(nic == 3 && size == sizeof(a_packet));
	sent += 100;
}

/* What has work left for others enters as it is where it is welcome, and as frames where it is not. */
Test(boundary, packets_enter_where_they_are_welcome)
{
	const struct input_room welcome = { .nics = 3 << 1, .packets = 1 << 1 }, no_buffers = { .packets = 1 << 1 },
				deaf = { .deaf = 1 << 1, .packets = 1 << 1 };
	const struct output out = { .kind = OUTPUT_PACKET, .instance = 3, .data = a_packet, .size = sizeof(a_packet) };
	struct world_medium m = medium_new(MEDIUM_SIZE);
	struct execpoint now = { .count = 5, .vtime_ns = 1000 };
	struct input in;
	struct boundary *at;

	a_packet[PACKET_FLAGS] = PACKET_NEEDS_CSUM;
	plan_code("\xf4", 1);
	world_record(&a, &plan, &m);
	at = &a.record.b;
	with_frames(&a, (const u8[]){ 0x19, 0x11, 0x29 }, 3);
	a.host.port.packet_peek = peek_packet;
	a.host.port.packet_write = send_packet;
	cr_assert(!at->ops->next_input(at, &now, &no_buffers, &in), "not even as a packet");
	cr_assert(at->ops->next_input(at, &now, &welcome, &in));
	cr_assert(in.kind == INPUT_PACKET && in.instance == 1 && in.size == sizeof(a_packet) && in.data == a_packet);
	now.sequence++;
	cr_assert(at->ops->next_input(at, &now, &welcome, &in));
	cr_assert(in.kind == INPUT_FRAME && in.instance == 1 && *in.data == 0x11, "the packet is done with");
	now.sequence++;
	cr_assert(at->ops->next_input(at, &now, &welcome, &in));
	cr_assert(in.kind == INPUT_FRAME && in.instance == 2 && *in.data == 0x29);
	now.sequence++;
	cr_assert(!at->ops->next_input(at, &now, &welcome, &in) && !noutside);
	with_frames(&a, (const u8[]){ 0x19 }, 1);
	cr_assert(!at->ops->next_input(at, &now, &deaf, &in) && !noutside, "nobody drives it: it is as if it had never come");
	at->ops->output(at, &now, &out);
	cr_assert_eq(sent, 100);
	cr_assert_eq(rec_commit(a.writer, false), OK);

	at = replay_tapped(&m);
	now.sequence = 0;
	cr_assert(at->ops->next_input(at, &now, &welcome, &in));
	cr_assert(in.kind == INPUT_PACKET && in.size == sizeof(a_packet) && !memcmp(in.data, a_packet, in.size));
	at->ops->output(at, &now, &out); /* a host without packets, and without frames */
	cr_assert_str_eq(passed, "5 from1 packet 15 01|5 to3 packet 15 01|");
	world_free(&b);
	world_free(&a);
	medium_free(&m);
}

/* A failure of the host's is the guest's business only if it was to be told; then it is again in each replay. */
Test(boundary, a_failure_that_the_guest_saw_is_recorded)
{
	struct world_medium m = medium_new(MEDIUM_SIZE);
	struct execpoint now = { .count = 5, .vtime_ns = 1000 }, later = { .count = 6, .vtime_ns = 1001, .sequence = 1 };
	const struct input_room room = { .console = 4096 };
	struct boundary *at;
	struct input in;

	plan_code("\xf4", 1);
	world_record(&a, &plan, &m);
	at = &a.record.b;
	cr_assert_eq(at->ops->answer(at, &now, INPUT_DISK, 2, ERR_IO), OK, "it is not to be told");
	a.host.port.report_errors = true;
	cr_assert_eq(at->ops->answer(at, &now, INPUT_DISK, 2, OK), OK);
	cr_assert_eq(at->ops->answer(at, &now, INPUT_DISK, 2, ERR_IO), ERR_IO);
	cr_assert_eq(at->ops->answer(at, &later, INPUT_DISK, 2, OK), OK);
	cr_assert_eq(rec_commit(a.writer, false), OK);

	world_replay(&b, &plan, &m);
	at = &b.replay.b;
	cr_assert_eq(at->ops->answer(at, &now, INPUT_DISK, 1, OK), OK, "another disk's");
	cr_assert_eq(at->ops->answer(at, &now, INPUT_DISK, 2, OK), ERR_IO);
	cr_assert_eq(at->ops->answer(at, &later, INPUT_DISK, 2, ERR_IO), OK);
	world_free(&b);

	/* One that was not asked for is a divergence. */
	world_replay(&b, &plan, &m);
	at = &b.replay.b;
	cr_assert(!at->ops->next_input(at, &now, &room, &in));
	cr_assert_eq(at->ops->poll(at, &now), VM_DIVERGED);
	world_free(&b);
	world_free(&a);
	medium_free(&m);
}

/* ---- the operator ---- */

Test(boundary, a_run_left_by_its_operator_replays_to_that_point)
{
	u64 left = 0;

	for (u64 seed = world_first_seed(), n = world_runs(300); n; n--, seed++) {
		struct world_medium m = medium_new(MEDIUM_SIZE);
		struct rng r = rng_of(seed + 3);

		plan_random(&plan, seed);
		plan.quit_at_look = 1 + rng_below(&r, 20);
		plan.closes = false;
		record(&a, &m);
		left += a.vm->outcome == VM_QUIT;
		replay(&b, &m, 0);
		same(&a, &b, "left and replayed");
		world_free(&a);
		world_free(&b);
		medium_free(&m);
	}
	cr_assert(left > 50 || world_runs(300) < 300);
}

/*
 * A guest that exits at every instruction, long before the first poll point:
 * the operator is heard, and the replay leaves where the recorded run was left.
 */
Test(boundary, left_between_poll_points_it_replays)
{
	/* IN al, dx; JMP back; and MOV ecx, none; RDMSR, whose exit leaves a #GP to be delivered (its handler skips three bytes) */
	static const u8 loops[2][10] = {
		{ 0xec, 0xeb, 0xfd }, { 0xb9, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x32, 0x90, 0xeb, 0xf6 }
	};

	for (u64 seed = 0; seed < 10; seed++) {
		struct world_medium m = medium_new(1 << 20);
		struct world recorded, replayed;
		const struct rec_end *e;

		plan_random(&plan, seed / 2 + 1);
		memcpy(plan.program.code, loops[seed % 2], sizeof(loops[0]));
		plan.program.size = sizeof(loops[0]);
		plan.config.poll_insns = plan.config.epoch_insns = 10000000;
		plan.config.limit_insns = plan.config.limit_vtime_ns = NO_STOP;
		plan.supply = 0;
		plan.patience = plan.quit_at_look = 0; /* leaves when first asked */
		world_record(&recorded, &plan, &m);
		if (world_run(&recorded) != VM_QUIT)
			cr_assert_fail("seed %lu: %d %s after %lu", seed, (int)recorded.vm->outcome, recorded.vm->stop_reason, recorded.vm->now.count);
		cr_assert_gt(recorded.vm->now.count, 0);
		cr_assert_lt(recorded.vm->now.count, 100000);
		world_replay(&replayed, &plan, &m);
		while (!(e = replay_recorded_end(&replayed.replay)))
			cr_assert(replayed.replay.error == OK, "the recording has no end");
		replay_leave_at(&replayed.replay, replayed.vm, e->insns, e->vtime_ns);
		world_perturb(&replayed, seed);
		cr_assert_eq(world_run(&replayed), VM_QUIT);
		cr_assert(!replayed.replay.diverged.found, "seed %lu: %s", seed, replayed.replay.diverged.what);
		cr_assert_eq(replayed.vm->now.count, recorded.vm->now.count);
		cr_assert_eq(replayed.digest, recorded.digest);
		world_free(&recorded);
		world_free(&replayed);
		medium_free(&m);
	}
}
