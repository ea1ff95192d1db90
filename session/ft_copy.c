/*
 * ft_copy.c - a machine's copy, for a pair: its memories page by page while it runs,
 * and its state.  See ft/ft.h, struct ft_machine.
 *
 * Reads and changes: the VM's memories and what they note of changed pages.
 * There is no image keeper in this mode, so those notes are the copy's.
 */
#include "kernel/console.h"
#include "session/ft.h"

#define DIGEST_PAGES 256

/* A page of the chunk: in word and bit of its notes. */
static bool take_bit(u64 *bits, unsigned *page)
{
	for (unsigned i = 0; i < CHUNK_PAGES / 64; i++)
		if (bits[i]) {
			*page = i * 64 + (unsigned)__builtin_ctzl(bits[i]);
			bits[i] &= bits[i] - 1;
			return true;
		}
	return false;
}

/* Moves what was noted of changed pages to those that are to be given, or drops it. */
static u64 gather(struct session_pair *f, bool give)
{
	struct vm *vm = f->s->vm;
	u64 n = 0;

	vm->paging.ops->harvest_dirty(vm);
	for (unsigned m = 0; m < vm_nmemories(vm); m++) {
		struct guest_memory *mem = vm_memory(vm, m);

		for (unsigned c = 0; c < mem->nchunks; c++)
			for (unsigned i = 0; mem->chunk[c] && i < CHUNK_PAGES / 64; i++) {
				u64 *to = &f->give[m][c * (CHUNK_PAGES / 64) + i];

				*to = give ? *to | mem->chunk[c]->changed[i] : 0;
				mem->chunk[c]->changed[i] = 0;
				n += (u64)__builtin_popcountl(*to);
			}
	}
	f->memory = f->chunk = 0;
	return n;
}

static void copy_begin(void *ctx)
{
	struct session_pair *f = ctx;
	struct vm *vm = f->s->vm;

	gather(f, false);
	for (unsigned m = 0; m < vm_nmemories(vm); m++) {
		struct guest_memory *mem = vm_memory(vm, m);

		for (unsigned c = 0; c < mem->nchunks; c++)
			for (unsigned i = 0; mem->chunk[c] && i < CHUNK_PAGES; i++)
				if (mem->chunk[c]->hash[i] || !guestmem_is_zero(mem->chunk[c]->data + i * PAGE_SIZE))
					f->give[m][c * (CHUNK_PAGES / 64) + i / 64] |= BIT(i % 64);
	}
}

static bool copy_next(void *ctx, struct ft_page *page)
{
	struct session_pair *f = ctx;
	struct vm *vm = f->s->vm;

	for (; f->memory < vm_nmemories(vm); f->memory++, f->chunk = 0) {
		struct guest_memory *mem = vm_memory(vm, f->memory);

		for (; f->chunk < mem->nchunks; f->chunk++) {
			const struct chunk_info *c = mem->chunk[f->chunk];
			unsigned n;

			if (!c || !take_bit(&f->give[f->memory][f->chunk * (CHUNK_PAGES / 64)], &n))
				continue;
			*page = (struct ft_page){ .space = f->memory, .number = (u64)f->chunk * CHUNK_PAGES + n,
						  .data = c->data + n * PAGE_SIZE };
			if (guestmem_is_zero(page->data))
				page->data = NULL;
			return true;
		}
	}
	return false;
}

static u64 copy_round(void *ctx)
{
	return gather(ctx, true);
}

static void copy_end(void *ctx unused_arg)
{
}

static err_t save(void *ctx, const u8 **state, u32 *size, u64 *digest)
{
	struct session_pair *f = ctx;
	struct state_walk w = state_save_to(f->state, CHECKPOINT_STATE_MAX);

	*digest = vm_digest(f->s->vm); /* makes the vCPUs' state current, too */
	vm_state_walk(f->s->vm, &w);
	*state = f->state;
	*size = (u32)w.pos;
	return w.error;
}

static void clear(void *ctx)
{
	struct session_pair *f = ctx;

	session_clear_guest(f->s);
	if (f->arrival)
		stored_arrive(f->arrival, f->s->vm, f->s->writer);
}

/* Pages are digested as they come: the live host waits for the digest of all, with its outputs held. */
static err_t put_page(void *ctx, const struct ft_page *page)
{
	static const u8 zeros[PAGE_SIZE];
	const u8 *data = page->data ? page->data : zeros;
	struct session_pair *f = ctx;
	struct guest_memory *mem;

	if (page->space >= vm_nmemories(f->s->vm))
		return ERR_INVALID;
	mem = vm_memory(f->s->vm, page->space);
	if (page->number >= mem->size_bytes / PAGE_SIZE)
		return ERR_INVALID;
	if (++f->put % DIGEST_PAGES == 0)
		guestmem_digest(mem, &f->s->vm->stats.digest_pages);
	if (f->arrival)
		stored_page(f->arrival, stored_number((unsigned)page->space, page->number), data);
	return guestmem_write(mem, GPA(page->number << PAGE_SHIFT), data, PAGE_SIZE);
}

static err_t load(void *ctx, const u8 *state, u32 size, u64 *digest)
{
	struct session_pair *f = ctx;
	err_t err = checkpoint_load_state(f->s->vm, state, size);

	*digest = err ? 0 : vm_digest(f->s->vm);
	return err;
}

void session_copy_init(struct session_pair *f)
{
	struct vm *vm = f->s->vm;

	for (unsigned m = 0; m < vm_nmemories(vm); m++)
		f->give[m] = session_memory(MAX((size_t)vm_memory(vm, m)->nchunks, 1UL) * (CHUNK_PAGES / 8)); /* a disk that is not written has none */
	f->state = session_memory(CHECKPOINT_STATE_MAX);
	f->copy = (struct ft_machine){ copy_begin, copy_next, copy_round, copy_end, save, clear, put_page, load, f };
}
