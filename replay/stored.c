/*
 * stored.c - checkpoints into a recording, and out of one onto a timeline.  See
 * stored.h; what lies in the file is read by stored_read.c.
 *
 *   1  writing
 *   2  as checkpoints of a timeline
 */
#include "replay/recording_format.h"
#include "replay/stored.h"

#define PAGE_PART_MAX (VARINT_MAX + PAGE_SIZE)

/* --- 1  writing -------------------------------------------------------------------- */

static void put_number(struct stored_writer *s, u64 v)
{
	s->fill += put_varint(s->part + s->fill, v);
}

/* Errors stick in the writer: the boundary's next poll reports them. */
static void flush(struct stored_writer *s)
{
	if (!rec_put_chunk(s->w, REC_CHECKPOINT | REC_SKIPPABLE, s->part, s->fill))
		s->written += s->fill;
	s->fill = 0;
}

static void begin_part(struct stored_writer *s, enum stored_part part)
{
	s->part = rec_chunk_space(s->w);
	s->part[0] = (u8)part;
	s->fill = 1;
}

static void put_begin(struct stored_writer *s, const struct stored_point *p)
{
	const struct rec_base *base = &s->w->base[0];

	begin_part(s, STORED_BEGIN);
	put_number(s, (p->full ? STORED_FULL : 0) | (p->end ? STORED_AT_END : 0));
	put_number(s, p->at.count);
	put_number(s, p->at.vtime_ns);
	put_number(s, p->at.sequence);
	put_number(s, base->count);
	put_number(s, base->vtime_ns);
	put_number(s, base->sequence);
	put_number(s, p->epochs);
	write_bytes_le(s->part + s->fill, 8, p->digest);
	s->fill += 8;
	flush(s);
}

static void put_state(struct stored_writer *s, const struct state_walk *w)
{
	begin_part(s, STORED_STATE);
	memcpy(s->part + s->fill, s->state, w->pos);
	s->fill += (u32)w->pos;
	flush(s);
}

/* Where the VM stands, but for its pages. */
static struct stored_point point_now(struct stored_writer *s)
{
	return (struct stored_point){ .end = s->vm->outcome != VM_RUNNING, .at = s->vm->now, .epochs = s->vm->stats.epochs, .digest = vm_digest(s->vm) };
}

void stored_page(struct stored_writer *s, u64 number, const u8 *data)
{
	if (s->fill + PAGE_PART_MAX > REC_PART_MAX)
		flush(s);
	if (!s->fill)
		begin_part(s, STORED_PAGES);
	put_number(s, number);
	memcpy(s->part + s->fill, data, PAGE_SIZE);
	s->fill += PAGE_SIZE;
	s->pages++;
	s->since_full++;
}

static void put_memory(struct stored_writer *s, unsigned memory, bool full)
{
	struct guest_memory *m = vm_memory(s->vm, memory);

	for (u64 n = 0; n < m->nchunks; n++) {
		struct chunk_info *c = m->chunk[n];

		for (unsigned i = 0; c && i < CHUNK_PAGES; i++)
			if (full ? c->hash[i] || !guestmem_is_zero(c->data + i * PAGE_SIZE) : c->changed[i / 64] >> i % 64 & 1)
				stored_page(s, stored_number(memory, n * CHUNK_PAGES + i), c->data + i * PAGE_SIZE);
		if (c)
			memset(c->changed, 0, sizeof(c->changed));
	}
}

static void put_pages(struct stored_writer *s, bool full)
{
	for (unsigned i = 0; i < vm_nmemories(s->vm); i++)
		put_memory(s, i, full);
	if (s->fill)
		flush(s);
}

static u64 pages_not_zero(struct vm *vm)
{
	u64 npages = 0;

	for (unsigned k = 0; k < vm_nmemories(vm); k++) {
		const struct guest_memory *m = vm_memory(vm, k);

		for (unsigned n = 0; n < m->nchunks; n++)
			for (unsigned i = 0; m->chunk[n] && i < CHUNK_PAGES; i++)
				npages += !!m->chunk[n]->hash[i];
	}
	return npages;
}

/*
 * A full one when those since the last full one have more pages together than
 * it will have: to be at any point, at most about twice the memory is read.
 */
static void store(struct stored_writer *s)
{
	struct state_walk w = state_save_to(s->state, sizeof(s->state));
	struct stored_point p = point_now(s);

	p.full = !s->pages || s->since_full > pages_not_zero(s->vm);
	vm_state_walk(s->vm, &w);
	if (w.error || rec_commit(s->w, false))
		return;
	put_begin(s, &p);
	put_pages(s, p.full);
	if (p.full)
		s->since_full = 0; /* its own pages are no reason for the next */
	put_state(s, &w);
}

/* Not where an epoch ends: its digest comes behind the stops of that point. */
static u64 next_point(const struct stored_writer *s, u64 now)
{
	u64 next = (now / s->every + 1) * s->every;

	return next % s->vm->config.epoch_insns ? next : next + s->vm->config.poll_insns;
}

static u64 point_reached(struct vm *vm, void *ctx)
{
	store(ctx);
	return next_point(ctx, vm->now.count);
}

void stored_start(struct stored_writer *s, struct vm *vm, struct rec_writer *w, u64 every)
{
	s->vm = vm;
	s->w = w;
	s->every = every;
	vm_add_stop(vm, next_point(s, 0), point_reached, s);
}

void stored_end(struct stored_writer *s)
{
	store(s);
}

/*
 * Of where it will stand nothing is known yet: a first BEGIN at no point takes the
 * pages, a second one, which adds none, says what they are of.
 */
void stored_arrive(struct stored_writer *s, struct vm *vm, struct rec_writer *w)
{
	s->vm = vm;
	s->w = w;
	s->fill = 0;
	put_begin(s, &(struct stored_point){ .full = true });
}

void stored_arrived(struct stored_writer *s, u64 epochs)
{
	struct state_walk w = state_save_to(s->state, sizeof(s->state));
	struct stored_point p = point_now(s);

	p.epochs = epochs;
	vm_state_walk(s->vm, &w);
	if (s->fill)
		flush(s);
	put_begin(s, &p);
	put_state(s, &w);
}

/* --- 2  as checkpoints of a timeline -------------------------------------------------------- */

static err_t keep_begin(void *ctx, const struct stored_point *p)
{
	struct stored_keeper *k = ctx;

	k->point = *p;
	if (p->full)
		images_drop(k->cs, k->image);
	return OK;
}

static err_t keep_page(void *ctx, u64 number, const u8 *data)
{
	struct stored_keeper *k = ctx;
	unsigned i = (unsigned)(number >> 32);
	err_t err;

	if (!stored_memory(k->cs->vm, number))
		return ERR_INVALID;
	while ((err = image_put(&k->cs->keeper[i], &k->image[i], stored_frame(number), data)) == ERR_NO_MEMORY)
		if (!checkpoints_drop_one(k->cs))
			break;
	return err;
}

static err_t keep_state(void *ctx, const u8 *data, u32 size)
{
	struct stored_keeper *k = ctx;
	struct checkpoints *cs = k->cs;
	struct checkpoint *c = k->point.end ? &cs->end : checkpoint_new(cs);
	err_t err;

	if (!c)
		return ERR_NO_MEMORY;
	c->at = k->point.at;
	c->digest = k->point.digest;
	c->kept = false;
	c->place = (struct replay_place){ .epochs = k->point.epochs };
	c->place.at.at = k->stage;
	rec_tell(k->r, &c->place.at.place);
	images_copy(cs, c->memory, k->image);
	while ((err = checkpoint_put_state(cs, c, data, size)) == ERR_NO_MEMORY && checkpoints_drop_one(cs))
		;
	if (err) {
		checkpoint_drop(cs, c);
		if (!k->point.end)
			checkpoint_forget(cs, c);
		return err;
	}
	if (k->point.end)
		cs->has_end = true;
	else
		checkpoint_insert(cs, c);
	return OK;
}

void stored_forget(struct stored_keeper *k)
{
	images_drop(k->cs, k->image);
}

struct stored_sink stored_keep(struct stored_keeper *k, struct checkpoints *cs, struct rec_reader *r)
{
	memset(k, 0, sizeof(*k));
	k->cs = cs;
	k->r = r;
	return (struct stored_sink){ keep_begin, keep_page, keep_state, k };
}
