/*
 * state.h - one walk over a machine's state, used for four things.
 *
 * Every piece of guest-visible state is visited by a `state` hook that names
 * each field once.  The same hook saves, loads, digests and prints: what a
 * checkpoint holds, what a digest covers and what a divergence report shows
 * can therefore never disagree.
 *
 * The encoding is little-endian, fields in the order visited, no padding.
 * A section carries its name's digest and version, so that loading a state
 * into the wrong device, or from another version, is refused.
 *
 * Never visited: host clocks, host pointers, anything derivable.
 */
#ifndef VMM_STATE_H
#define VMM_STATE_H

#include "kernel/base.h"

enum state_mode {
	STATE_SAVE,   /* fields -> buffer */
	STATE_LOAD,   /* buffer -> fields */
	STATE_DIGEST, /* fields -> running digest */
	STATE_VISIT,  /* fields -> callback, by name (reports, monitor commands) */
};

struct state_walk {
	enum state_mode mode;
	err_t error;     /* first error; later visits do nothing */
	u8 *buf;         /* SAVE, LOAD: the caller's */
	size_t size;     /* SAVE: room in buf; LOAD: bytes in it */
	size_t pos;      /* SAVE, LOAD: bytes so far */
	u64 digest;      /* DIGEST: running value */
	bool all_flags;  /* DIGEST: OF and AF, too [cpustate.c] */
	const char *section;
	void (*visit)(void *ctx, const char *section, const char *field, const void *data, size_t size);
	void *visit_ctx;
};

struct state_walk state_save_to(u8 *buf, size_t size);
struct state_walk state_load_from(const u8 *buf, size_t size);
struct state_walk state_digest(void);

/* Opens a section, normally one device.  On load the name and version must match. */
void state_section(struct state_walk *w, const char *name, u32 version);

/*
 * Visits one field of size bytes (raw little-endian memory; for scalars and
 * arrays of scalars without padding).  On load, overwrites it.
 */
void state_field(struct state_walk *w, const char *name, void *data, size_t size);

/* One scalar or array member of a struct: STATE(w, uart, ier). */
#define STATE(w, obj, member) state_field((w), #member, &(obj)->member, sizeof((obj)->member))

#endif
