/*
 * faketimeline.h - a timeline by script: a straight line of instructions, each
 * at an address, perhaps with one store or load.
 *
 * The state at count N is the base state with RIP that of instruction N, RAX
 * N, and the stores of all instructions before N made.  A branch goes on from
 * where it was left, byte by byte, and stores nothing.
 */
#ifndef TESTS_UNIT_FAKETIMELINE_H
#define TESTS_UNIT_FAKETIMELINE_H

#include "gdbstub/stub.h"

#define FAKE_LINE_MEM (2UL << 20)
#define FAKE_LINE_MAX 256

struct fake_insn {
	u64 rip;
	u64 at;       /* physical address of what it stores or loads */
	u8 size;      /* 0: it does neither */
	bool load;
	u64 value;
};

struct timeline {
	struct vm *vm;
	void *pages[16];             /* all the VM was given */
	unsigned npages;
	struct cpu_state base;
	struct fake_insn insn[FAKE_LINE_MAX];
	u64 undo[FAKE_LINE_MAX];     /* what each store overwrote */
	u64 ninsns;
	bool branched;
	u64 branch_at;
	u8 *kept_memory;             /* of where the branch began */
	unsigned nbranches, nkept;
	const char *fail;            /* the next journey fails, for this reason */
	bool (*wants_stop)(void *ctx);
	void *ctx;
	u64 travelled;               /* instructions, both ways */
};

/* 40 instructions, a loop of ten from 0x1000 on: the 4th stores its count at 0x8000, the 6th loads it, the 8th stores 7 at 0x8010. */
struct timeline *fake_line_new(void);
void fake_line_free(struct timeline *t);

/* Puts the machine at a count, the base state having been changed, say. */
void fake_line_stand(struct timeline *t, u64 count);

extern const struct timeline_ops fake_timeline_ops;

#endif
