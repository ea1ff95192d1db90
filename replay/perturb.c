/*
 * perturb.c - choosing where to disturb.  See perturb.h.
 *
 * Everything is drawn from the seed, so a disturbance that uncovers a leak
 * can be repeated.
 */
#include "kernel/kconf.h"
#include "replay/perturb.h"

static u64 draw(struct perturb *p, u64 below)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return p->random % below;
}

/* A new stretch: where it begins, how it is stopped. */
static u64 next_stretch(struct perturb *p, u64 count)
{
	static const u64 strides[] = { 0, 1, 2, 3, 7 };
	u64 start = count + 1 + draw(p, 2 * p->mean_gap);

	p->stride = strides[draw(p, ARRAY_SIZE(strides))];
	p->stretch_end = start + draw(p, p->stretch_stops) * (p->stride ? p->stride : 100);
	return start;
}

static u64 perturb_stop(struct vm *vm, void *ctx)
{
	struct perturb *p = ctx;
	u64 count = vm->now.count;

	if (count >= p->stretch_end)
		return next_stretch(p, count);
	return count + (p->stride ? p->stride : 1 + draw(p, 200));
}

void perturb_start(struct perturb *p, struct vm *vm, const char *conf, size_t size)
{
	u64 seed = conf_u64(conf, size, "perturb", 0);
	u64 variant = conf_u64(conf, size, "perturb_paging", 2);

	if (!seed)
		return;
	*p = (struct perturb){ .seed = seed, .random = seed * 0x9e3779b97f4a7c15UL | 1,
			       .mean_gap = conf_u64(conf, size, "perturb_gap", 1000000),
			       .stretch_stops = conf_u64(conf, size, "perturb_stops", 2000) };
	vm->paging.variant = (enum paging_variant)(variant < 2 ? variant : draw(p, 2));
	vm_add_stop(vm, next_stretch(p, 0), perturb_stop, p);
}
