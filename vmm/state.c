/*
 * state.c - the four ways to walk a machine's state.  See state.h.
 */
#include "kernel/xxh.h"
#include "vmm/state.h"

struct state_walk state_save_to(u8 *buf, size_t size)
{
	return (struct state_walk){ .mode = STATE_SAVE, .buf = buf, .size = size };
}

struct state_walk state_load_from(const u8 *buf, size_t size)
{
	return (struct state_walk){ .mode = STATE_LOAD, .buf = (u8 *)(uintptr_t)buf, .size = size };
}

struct state_walk state_digest(void)
{
	return (struct state_walk){ .mode = STATE_DIGEST };
}

void state_section(struct state_walk *w, const char *name, u32 version)
{
	u64 want = XXH64(name, strlen(name), version), tag = want;

	w->section = name;
	state_field(w, "section", &tag, sizeof(tag));
	if (w->mode == STATE_LOAD && !w->error && tag != want)
		w->error = ERR_MISMATCH;
}

void state_field(struct state_walk *w, const char *name, void *data, size_t size)
{
	if (w->error)
		return;
	switch (w->mode) {
	case STATE_SAVE:
		if (w->size - w->pos < size) {
			w->error = ERR_TOO_BIG;
			return;
		}
		memcpy(w->buf + w->pos, data, size);
		break;
	case STATE_LOAD:
		if (w->size - w->pos < size) {
			w->error = ERR_DAMAGED;
			return;
		}
		memcpy(data, w->buf + w->pos, size);
		break;
	case STATE_DIGEST:
		w->digest = XXH64(data, size, w->digest);
		break;
	case STATE_VISIT:
		w->visit(w->visit_ctx, w->section, name, data, size);
		break;
	}
	w->pos += size;
}
