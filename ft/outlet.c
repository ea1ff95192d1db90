/*
 * outlet.c - outputs leave: console bytes and frames at once, a write to a shared
 * disk when the disk has performed it [docs/LINK.md 6, 10].
 *
 *   1  what may leave     2  the disks     3  leaving
 *
 * All in the order they were made (I7): what was made behind a write waits for it.
 * Nothing here decides whether an output may leave: rules.c does.
 */
#include "ft/pair.h"

#define RELEASED_AT_ONCE 64

/* --- 1  what may leave ---------------------------------------------------------------- */

bool ft_waits_its_turn(const struct ft_pair *p, const struct output *out)
{
	return out->kind == OUTPUT_DISK || p->held.fill;
}

/* unit: its number. */
static bool may_leave(const struct ft_pair *p, u64 now_ns, const struct ft_held_front *f, u64 unit)
{
	if (!ft_holds_back(p->role))
		return ft_is_live(p->role);
	if (f->out.kind == OUTPUT_DISK && !ft_has_made(p, unit))
		return false;
	return (f->position != FT_NO_POSITION && ft_leaves_freely(p)) ||
	       (ft_acknowledged(p, f->position) && ft_lease_holds(p, now_ns));
}

static bool first_may_leave(const struct ft_pair *p, u64 now_ns, struct ft_held_front *f)
{
	return ft_held_front(&p->held, f) && may_leave(p, now_ns, f, p->ship.released);
}

bool ft_waits_for_other(const struct ft_pair *p)
{
	struct ft_held_front f;

	return ft_holds_back(p->role) && ft_held_front(&p->held, &f) && f.out.kind == OUTPUT_DISK &&
	       !ft_has_made(p, p->ship.released);
}

static void has_left(struct ft_pair *p, const struct ft_held_front *f)
{
	if (ft_holds_back(p->role)) {
		p->ship.released += f->units;
		p->ship.left_to = MAX(p->ship.left_to, f->position);
	}
	ft_held_take(&p->held, f->units);
}

/* --- 2  the disks ----------------------------------------------------------------------- */

static void performed(struct ft_pair *p)
{
	struct ft_held_front f;

	for (; p->outlet.nwriting && ft_held_front(&p->held, &f); p->outlet.nwriting--)
		has_left(p, &f);
	p->outlet.busy = false;
}

/* Who has just founded a pair, and has no partner, has nobody beside it who could have won since: that is from an earlier one. */
static void lost_disks(struct ft_pair *p)
{
	if (p->word.term == 1 && !ft_holds_back(p->role)) {
		pair_stop(p, VM_HOST_FAILED, "the shared disks: reserved by an earlier run of this pair; clear that reservation");
		return;
	}
	p->s.may_join = true;
	pair_stop(p, VM_QUIT, "out of the pair: another host has taken the shared disks");
}

static void hear_disks(struct ft_pair *p)
{
	const struct ft_disks *d = p->env->disks;

	if (p->outlet.again) {
		if (ft_now(p) >= p->outlet.look_ns)
			ft_take_disks(p);
		return;
	}
	p->outlet.look_ns = ft_now(p) + FT_DISK_LOOK_NS;
	switch (d->poll(d->ctx)) {
	case FT_DISK_BUSY:
		break;
	case FT_DISK_DONE:
		performed(p);
		break;
	case FT_DISK_AGAIN:
		p->outlet.again = true;
		p->outlet.look_ns = ft_now(p) + p->c.timers.retry_ns;
		break;
	case FT_DISK_LOST:
		lost_disks(p);
		break;
	case FT_DISK_REFUSED:
		pair_stop(p, VM_HOST_FAILED, "the shared disks: %s", d->complaint(d->ctx));
		break;
	}
}

static bool follows(const struct ft_write *w, const struct output *out)
{
	return out->kind == OUTPUT_DISK && out->instance == w->disk && out->sector == w->sector + w->size / 512 &&
	       out->size <= FT_WRITE_MAX - w->size;
}

/* The first, and those behind it that go on where it ends: together. */
static void begin_write(struct ft_pair *p, u64 now_ns, struct ft_held_front f)
{
	const struct ft_disks *d = p->env->disks;
	struct ft_write w = { .disk = f.out.instance, .sector = f.out.sector, .data = p->sectors };
	u32 n = 0;

	do {
		memcpy(p->sectors + w.size, f.out.data, f.out.size);
		w.size += f.out.size;
		n++;
	} while (ft_held_behind(&p->held, &f) && follows(&w, &f.out) && may_leave(p, now_ns, &f, p->ship.released + n));
	p->outlet = (struct ft_outlet){ .busy = true, .nwriting = n, .look_ns = now_ns + FT_DISK_LOOK_NS };
	d->write(d->ctx, &w);
}

/* --- 3  leaving ----------------------------------------------------------------------------- */

/* The lease is judged by a clock that was read just now: a host may have been frozen since the pump looked (I6). */
static bool first_leaves(struct ft_pair *p, struct ft_held_front *f)
{
	if (!first_may_leave(p, ft_now(p), f))
		return false;
	if (ft_holds_back(p->role))
		ft_look(p);
	return first_may_leave(p, ft_now(p), f);
}

/* False: nothing leaves now. */
static bool release_one(struct ft_pair *p)
{
	struct ft_held_front f;

	if (p->outlet.busy)
		hear_disks(p);
	if (!first_leaves(p, &f))
		return false;
	if (f.out.kind != OUTPUT_DISK) {
		host_port_output(p->env->host, &f.out);
		has_left(p, &f);
	} else if (p->outlet.busy) {
		return false;
	} else {
		begin_write(p, ft_now(p), f);
	}
	return true;
}

/* So many, and the link is served again: a network that is slow to take them must not make this host silent. */
void ft_release(struct ft_pair *p)
{
	for (unsigned i = 0; i < RELEASED_AT_ONCE && release_one(p); i++)
		;
}

void ft_release_all(struct ft_pair *p)
{
	while (release_one(p))
		;
}

u64 ft_release_due(const struct ft_pair *p)
{
	struct ft_held_front f;

	if (p->outlet.busy)
		return p->outlet.look_ns;
	return first_may_leave(p, ft_now(p), &f) ? 0 : ~0UL;
}
