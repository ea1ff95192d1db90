/*
 * functions.c - which function of an ELF file an address lies in.  See
 * functions.h.
 */
#include <stdlib.h>

#include "tools/functions.h"
#include "tools/tool.h"

static void add(void *ctx, const struct elf_symbol *s)
{
	struct functions *f = ctx;

	/* The assembler's own labels, and Linux's padding in front of functions. */
	if (!strncmp(s->name, ".L", 2) || !strncmp(s->name, "__pfx_", 6))
		return;
	if (f->n == f->room) {
		f->room = f->room * 2 + 1024;
		f->list = need(realloc(f->list, f->room * sizeof(*f->list)));
	}
	f->list[f->n++] = (struct function){
		.name = s->name, .at = s->value, .size = s->size, .rank = s->is_function * 2U + s->is_global,
	};
}

/* By address; of one address the best name first; else as strings, so that the order is always the same. */
static int compare(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void find_code(struct functions *f, const struct elf *e)
{
	struct elf_section s;

	f->first = ~0UL;
	for (u64 i = 0; elf_section(e, i, &s); i++) {
		if (!s.is_code || !s.size || s.address > ~s.size)
			continue;
		f->first = MIN(f->first, s.address);
		f->last = MAX(f->last, s.address + s.size);
	}
}

void functions_read(struct functions *f, const struct elf *e)
{
	size_t kept = 0;

	*f = (struct functions){ 0 };
	find_code(f, e);
	elf_code_symbols(e, add, f);
	if (f->n)
		qsort(f->list, f->n, sizeof(*f->list), compare);
	for (size_t i = 0; i < f->n; i++)
		if (!kept || f->list[kept - 1].at != f->list[i].at)
			f->list[kept++] = f->list[i];
	f->n = kept;
}

void functions_free(struct functions *f)
{
	free(f->list);
	*f = (struct functions){ 0 };
}

const struct function *function_at(const struct functions *f, u64 at)
{
	size_t low = 0, high = f->n;

	if (!is_code(f, at) || !high || at < f->list[0].at)
		return NULL;
	while (high - low > 1) {
		size_t mid = (low + high) / 2;

		*(f->list[mid].at <= at ? &low : &high) = mid;
	}
	return &f->list[low];
}

const struct function *function_named(const struct functions *f, const char *name, u64 offset)
{
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->list[i].name, name) && (!f->list[i].size || offset < f->list[i].size))
			return &f->list[i];
	return NULL;
}
