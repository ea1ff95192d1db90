/*
 * lineage.c - one row of events out of several recordings.  See lineage.h.
 */
#include "replay/lineage.h"
#include "vmm/vm.h"

bool lineage_add(struct lineage *l, struct rec_reader *r, u64 jitter_ns, u64 seed)
{
	struct lineage_stage *s = &l->stage[l->n];

	if (l->n == LINEAGE_MAX)
		return false;
	*s = (struct lineage_stage){ .r = r, .until = { NO_STOP, NO_STOP, NO_STOP }, .jitter_ns = jitter_ns, .seed = seed };
	rec_tell(r, &s->begin);
	l->n++;
	return true;
}

void lineage_fork_at(struct lineage *l, const struct execpoint *until)
{
	for (unsigned i = 0; i < l->n; i++)
		if (execpoint_cmp(&l->stage[i].until, until) > 0)
			l->stage[i].until = *until;
}

struct rec_reader *lineage_last(const struct lineage *l)
{
	return l->stage[l->n - 1].r;
}

/* Inputs delivered before the fork, digests taken before it: those of its very point, too. */
static bool belongs(const struct rec_event *ev, const struct execpoint *until)
{
	int c = execpoint_cmp(&ev->at, until);

	return c < 0 || (c == 0 && ev->kind != REC_INPUT);
}

err_t lineage_next_event(struct lineage *l, struct rec_event *ev)
{
	for (;;) {
		struct lineage_stage *s = &l->stage[l->at];
		err_t e = rec_next_event(s->r, ev);

		if (l->at == l->n - 1 || (e && e != ERR_END) || (!e && belongs(ev, &s->until)))
			return e;
		l->at++;
		e = rec_seek(l->stage[l->at].r, &l->stage[l->at].begin);
		if (e)
			return e;
	}
}

void lineage_tell(const struct lineage *l, struct lineage_place *at)
{
	at->at = l->at;
	rec_tell(l->stage[l->at].r, &at->place);
}

err_t lineage_seek(struct lineage *l, const struct lineage_place *at)
{
	l->at = at->at;
	return rec_seek(l->stage[l->at].r, &at->place);
}

static unsigned stage_of(const struct lineage *l, const struct vm *vm)
{
	unsigned i = 0;

	while (i < l->n - 1 && execpoint_cmp(&l->stage[i].until, &vm->now) <= 0)
		i++;
	return i;
}

u64 lineage_next_fork(const struct lineage *l, const struct vm *vm)
{
	unsigned i = stage_of(l, vm);

	return i < l->n - 1 ? l->stage[i].until.count : NO_STOP;
}

void lineage_apply(const struct lineage *l, struct vm *vm)
{
	const struct lineage_stage *s = &l->stage[stage_of(l, vm)];

	vclock_set_jitter(&vm->clock, s->jitter_ns, s->seed);
}
