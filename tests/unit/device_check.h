/*
 * device_check.h - what every device must hold, checked the same way for all.
 *
 * A device's `state` hook is right when saving, loading into another instance
 * and saving again gives the same bytes and the same digest, and when the
 * other instance then answers the same accesses alike.  The first is
 * check_device_roundtrip; the second, and that nothing crashes, is
 * check_device_fuzz.  A field the hook forgot is found by
 * check_device_visits_all.
 *
 * The section is opened here, with the device's own name and version, as the
 * board does.  `fresh` is another instance with its own clock, wired the same
 * way; make it as different as possible before, so that a field the hook
 * forgot shows.  A device's clock is not its state: set both clocks alike.
 */
#ifndef TESTS_UNIT_DEVICE_CHECK_H
#define TESTS_UNIT_DEVICE_CHECK_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "vmm/dev/device.h"

struct saved_device {
	u8 *bytes;
	size_t size;
	u64 digest;
};

static inline void device_walk(const struct device_ops *ops, void *dev, struct state_walk *w)
{
	state_section(w, ops->name, ops->version);
	ops->state(dev, w);
}

static inline struct saved_device device_save(const struct device_ops *ops, void *dev)
{
	struct state_walk d = state_digest();
	struct saved_device s;
	struct state_walk w;

	device_walk(ops, dev, &d); /* a digest walk also counts the bytes */
	s = (struct saved_device){ .bytes = malloc(d.pos), .size = d.pos, .digest = d.digest };
	cr_assert_not_null(s.bytes);
	w = state_save_to(s.bytes, s.size);
	device_walk(ops, dev, &w);
	cr_assert_eq(w.error, OK, "%s: save failed: %d", ops->name, w.error);
	cr_assert_eq(w.pos, s.size, "%s: save and digest visit different sizes", ops->name);
	return s;
}

static inline void device_load(const struct device_ops *ops, void *dev, const struct saved_device *s)
{
	struct state_walk w = state_load_from(s->bytes, s->size);

	device_walk(ops, dev, &w);
	cr_assert_eq(w.error, OK, "%s: load failed: %d", ops->name, w.error);
	cr_assert_eq(w.pos, s->size, "%s: load left %zu of %zu bytes", ops->name, w.pos, s->size);
}

static inline void check_device_same(const struct device_ops *ops, void *dev, void *other)
{
	struct saved_device a = device_save(ops, dev), b = device_save(ops, other);
	size_t at = 0;

	cr_assert_eq(a.size, b.size, "%s: %zu bytes saved, then %zu", ops->name, a.size, b.size);
	while (at < a.size && a.bytes[at] == b.bytes[at])
		at++;
	cr_assert_eq(at, a.size, "%s: state differs at byte %zu of %zu", ops->name, at, a.size);
	cr_assert_eq(a.digest, b.digest, "%s: same bytes, other digest", ops->name);
	free(a.bytes);
	free(b.bytes);
}

/* Save dev, load into fresh: fresh is now dev, and dev has not changed. */
static inline void check_device_roundtrip(const struct device_ops *ops, void *dev, void *fresh)
{
	struct saved_device before = device_save(ops, dev);
	struct state_walk cut = state_load_from(before.bytes, before.size - 1);
	struct saved_device after;

	/* A state that ends early is refused, whatever it leaves behind. */
	device_walk(ops, fresh, &cut);
	cr_assert_eq(cut.error, ERR_DAMAGED, "%s: a cut state was taken", ops->name);

	device_load(ops, fresh, &before);
	check_device_same(ops, dev, fresh);
	after = device_save(ops, dev);
	cr_assert(after.size == before.size && !memcmp(after.bytes, before.bytes, before.size),
		  "%s: saving changed the device", ops->name);
	free(before.bytes);
	free(after.bytes);
}

/*
 * No byte of a device is forgotten by its hook: of the size_bytes of its
 * struct, exactly except_bytes are not visited, which are its wiring
 * (pointers, lines, constants), what is derived, and padding.  A field added
 * without a STATE makes this fail.
 */
struct visited_bytes {
	const u8 *dev;
	size_t size_bytes;
	u8 *seen;
};

static inline void visited_mark(void *ctx, const char *section, const char *field, const void *data, size_t size)
{
	struct visited_bytes *v = ctx;
	uintptr_t at = (uintptr_t)data - (uintptr_t)v->dev;

	if (at >= v->size_bytes)
		return; /* the section's tag */
	for (size_t i = at; i < at + size; i++)
		cr_assert(!v->seen[i]++, "%s: %s is visited twice", section, field);
}

static inline void check_device_visits_all(const struct device_ops *ops, void *dev, size_t size_bytes,
					   size_t except_bytes)
{
	struct visited_bytes v = { .dev = dev, .size_bytes = size_bytes, .seen = calloc(1, size_bytes) };
	struct state_walk w = { .mode = STATE_VISIT, .visit = visited_mark, .visit_ctx = &v };
	size_t missing = 0;

	cr_assert_not_null(v.seen);
	device_walk(ops, dev, &w);
	for (size_t i = 0; i < size_bytes; i++)
		missing += !v.seen[i];
	free(v.seen);
	cr_assert_eq(missing, except_bytes, "%s: %zu bytes are not visited, expected %zu", ops->name, missing,
		     except_bytes);
}

/* xorshift64: the same numbers on every host.  The seed must not be 0. */
static inline u64 check_random(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Moves one clock to an instant the way the vCPU loop does: by way of every deadline. */
static inline void check_run_clock(struct vclock *c, u64 until_ns)
{
	while (vclock_next(c) <= until_ns) {
		c->now_ns = MAX(c->now_ns, vclock_next(c));
		vclock_run(c);
	}
	c->now_ns = until_ns;
}

/*
 * The ranges a fuzz reaches, and what else it may do in a round (raise input
 * lines, acknowledge, feed bytes); `other` may be NULL.  It is called for both
 * instances with the same random number and returns what it observed.
 */
struct fuzz_range {
	enum io_space space;
	u64 base, size_bytes;
};

struct device_fuzz {
	const struct device_ops *ops;
	const struct fuzz_range *ranges;
	unsigned nranges;
	u64 max_step_ns;  /* how far time may move in one round */
	u64 (*other)(void *dev, u64 random);
};

static inline void fuzz_access(const struct device_fuzz *f, void *dev, u64 *seed)
{
	const struct fuzz_range *range = &f->ranges[check_random(seed) % f->nranges];
	u64 addr = range->base + check_random(seed) % range->size_bytes, r = check_random(seed);
	unsigned size_bytes = 1U << (r >> 40) % 3;

	if (r >> 50 & 1)
		(void)f->ops->read(dev, range->space, addr, size_bytes);
	else
		f->ops->write(dev, range->space, addr, size_bytes, r);
	if (f->other && r >> 51 & 1)
		(void)f->other(dev, check_random(seed));
}

/* Reads everything in the ranges, as far as they are small, and compares. */
static inline void fuzz_compare(const struct device_fuzz *f, void *dev, void *twin)
{
	for (unsigned i = 0; i < f->nranges; i++) {
		const struct fuzz_range *range = &f->ranges[i];
		unsigned step = range->space == IO_PORT ? 1 : 4;

		for (u64 at = 0; at < MIN(range->size_bytes, 4096UL); at += step) {
			u64 a = f->ops->read(dev, range->space, range->base + at, step);
			u64 b = f->ops->read(twin, range->space, range->base + at, step);

			cr_assert_eq(a & size_mask(step), b & size_mask(step), "%s: %#lx reads %#lx, its twin %#lx",
				     f->ops->name, range->base + at, a, b);
		}
	}
}

/*
 * Drives dev with random accesses; every so often hands its state to twin,
 * which has been driven elsewhere meanwhile, and goes on driving both alike:
 * each read must agree, and so must the states.
 */
static inline void check_device_fuzz(const struct device_fuzz *f, void *dev, struct vclock *clock,
				     void *twin, struct vclock *twin_clock, u64 seed, unsigned rounds)
{
	static const u8 sizes[] = { 1, 2, 4, 8 };

	for (unsigned i = 0; i < rounds; i++) {
		u64 r = check_random(&seed), value = check_random(&seed), what = check_random(&seed);
		const struct fuzz_range *range = &f->ranges[r % f->nranges];
		unsigned size_bytes = sizes[(r >> 8) % (range->space == IO_PORT ? 3 : 4)];
		u64 addr = range->base + (r >> 16) % range->size_bytes;

		if (value & 1) /* small values reach more: modes, vectors, bits */
			value = (value >> 8) & size_mask(1 + (unsigned)(value >> 1 & 1));
		if (i % 64 == 0) {
			u64 elsewhere = seed ^ 0x5555;

			for (unsigned n = 0; n < 64; n++)
				fuzz_access(f, twin, &elsewhere);
			check_device_roundtrip(f->ops, dev, twin);
			twin_clock->now_ns = clock->now_ns;
			if (i % 512 == 0)
				fuzz_compare(f, dev, twin);
		}
		switch (what & 3) {
		case 0:
			f->ops->write(dev, range->space, addr, size_bytes, value);
			f->ops->write(twin, range->space, addr, size_bytes, value);
			break;
		case 1: {
			u64 a = f->ops->read(dev, range->space, addr, size_bytes);
			u64 b = f->ops->read(twin, range->space, addr, size_bytes);
			cr_assert_eq(a & size_mask(size_bytes), b & size_mask(size_bytes),
				     "%s: round %u: read of %#lx: %#lx, its twin %#lx",
				     f->ops->name, i, addr, a, b);
			break;
		}
		case 2: {
			u64 until_ns = clock->now_ns + value % (f->max_step_ns + 1);
			check_run_clock(clock, until_ns);
			check_run_clock(twin_clock, until_ns);
			break;
		}
		default:
			if (f->other) {
				u64 a = f->other(dev, value), b = f->other(twin, value);
				cr_assert_eq(a, b, "%s: round %u: observed %#lx, its twin %#lx",
					     f->ops->name, i, a, b);
			}
		}
		if (i % 16 == 15)
			check_device_same(f->ops, dev, twin);
	}
}

/*
 * A damaged state may be refused or taken, but what it leaves must still be a
 * device: no access to it may crash the host.
 */
static inline void check_device_damage(const struct device_fuzz *f, void *dev, void *fresh,
				       struct vclock *fresh_clock, u64 seed, unsigned rounds)
{
	struct saved_device s = device_save(f->ops, dev);

	for (unsigned i = 0; i < rounds; i++) {
		u64 r = check_random(&seed);
		size_t at = 8 + (r >> 8) % (s.size - 8); /* past the section's tag */
		struct state_walk w = state_load_from(s.bytes, s.size);
		u8 was = s.bytes[at];

		s.bytes[at] = (u8)(r & 0x80 ? r : r & 1 ? 0 : 0xff);
		device_walk(f->ops, fresh, &w);
		s.bytes[at] = was;
		for (unsigned n = 0; n < 32; n++) {
			fuzz_access(f, fresh, &seed);
			check_run_clock(fresh_clock, fresh_clock->now_ns + check_random(&seed) % 5000);
		}
	}
	free(s.bytes);
}

#endif
