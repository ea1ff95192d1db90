/*
 * inspect.h - a closer look at a run: digests at any stride, the whole state
 * at one point, memory page by page.
 *
 * What `replay --bisect` is made of.  The extra stops are exits like those of
 * a perturbed replay: the run must not notice them.
 */
#ifndef REPLAY_INSPECT_H
#define REPLAY_INSPECT_H

#include "vmm/vm.h"

struct inspect {
	u64 from, to, stride;   /* a digest at from, from + stride, ... to */
	const char *list;       /* and at these counts, in ascending order: the rest of the text */
	size_t list_left;
	u64 dump_at;            /* the state, and the hash of every page */
	u64 page;               /* and this page's contents; NO_STOP: none */
	u64 plant_gpa;
	void (*print)(const char *fmt, ...) printf_like(1, 2);
};

/*
 * Keys of the session: `trace_from`, `trace_to`, `trace_stride` print lines
 *   trace insns=N vtime_ns=N digest=HEX memory=HEX rip=HEX
 * `trace_at=N,N,...` prints such lines at the counts listed, in ascending order;
 * the text stays the caller's and must stay there.
 * `until` ends the VM there.  `plant_at`, `plant_gpa` flip the lowest bit of a
 * byte of memory: a divergence made on purpose.
 * `dump_at` prints `state SECTION.FIELD VALUE` and `page FRAME HASH` lines,
 * with `dump_page=FRAME` also `bytes OFFSET HEX...`, then ends the VM.
 */
void inspect_start(struct inspect *i, struct vm *vm, const char *conf, size_t size,
		   void (*print)(const char *fmt, ...));

/* Every field of the machine but memory, a line each. */
void inspect_print_state(struct vm *vm, void (*print)(const char *fmt, ...));

#endif
