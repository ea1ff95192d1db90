/*
 * stub.h - what the files of gdbstub/ share: the state of a session, and who
 * does what in it.
 *
 *   stub.c    sessions, queries, registers and memory by packet
 *   memory.c  the guest's memory, virtual or physical
 *   points.c  breakpoints and watchpoints, and their conditions
 *   travel.c  packets that move the machine, and stop replies
 *   monitor.c monitor commands
 */
#ifndef GDBSTUB_STUB_H
#define GDBSTUB_STUB_H

#include "gdbstub/packet.h"
#include "gdbstub/regs.h"

/* timeline.h's functions; the tests have scripted ones. */
struct timeline_ops {
	struct travel (*step)(struct timeline *t, bool forward);
	struct travel (*run)(struct timeline *t, bool forward, const struct conditions *c);
	struct travel (*go)(struct timeline *t, u64 count);
	struct travel (*go_end)(struct timeline *t);
	bool (*branch)(struct timeline *t);
	bool (*branched)(const struct timeline *t);
	err_t (*keep)(struct timeline *t);
	struct vm *(*vm)(struct timeline *t);
	bool (*at_end)(const struct timeline *t);
	const char *(*trouble)(const struct timeline *t);
	void (*describe)(struct timeline *t, void (*print)(void *ctx, const char *line), void *ctx);
	void (*inputs)(struct timeline *t, unsigned n, void (*print)(void *ctx, const char *line), void *ctx);
};

#define MAX_POINTS MAX_WATCHES
#define POINT_CODE_BYTES 0x4000 /* of all conditions together */

/* Z's number [GDB Manual E.2 Packets]. */
enum point_type { POINT_SW, POINT_HW, POINT_WRITE, POINT_READ, POINT_ACCESS, NPOINT_TYPES };

struct point {
	enum point_type type;
	u32 code_at, code_size;  /* conditions: each a length in 2 bytes, and bytecode */
	u64 before;              /* of the memory watched, before a step */
};

struct gdb {
	struct timeline *t;
	const struct timeline_ops *line;
	struct packets io;
	enum gdb_arch wanted, arch;
	unsigned vcpu;           /* whose registers and memory are meant: Hg */
	bool physical;           /* memory packets mean guest-physical addresses */
	bool killed, attached;
	char stop[80];           /* the last stop reply */
	u8 chunk[PACKET_BYTES / 2]; /* memory on its way, of one packet at a time */

	/* Watches stand beside the points they are of: what journeys are given. */
	unsigned npoints;
	struct point point[MAX_POINTS];
	struct watch watch[MAX_POINTS];
	u8 code[POINT_CODE_BYTES];
	u32 code_size;
	u64 cr3_before;          /* a step */

	/* Words for GDB's user, until they may be said: only while GDB waits for a stop or a monitor command. */
	char said[1024];
	size_t nsaid;
	bool may_say;
	bool goes_on;         /* GDB may go on from the last stop without its user */
};

/* gdb_init, with another way to the timeline. */
void gdb_init_over(struct gdb *g, struct timeline *t, const struct timeline_ops *line, const struct gdb_link *link,
		   enum gdb_arch arch);

static inline struct vm *gdb_vm(const struct gdb *g)
{
	return g->line->vm(g->t);
}

static inline struct vcpu *gdb_vcpu(const struct gdb *g)
{
	return &gdb_vm(g)->vcpu[g->vcpu];
}

/* stub.c: words for the user; gdb_flush sends what may be sent. */
void gdb_say(struct gdb *g, const char *fmt, ...) printf_like(2, 3);
void gdb_flush(struct gdb *g);

/* stub.c: the machine is about to be changed by hand. */
bool gdb_leave_line(struct gdb *g) must_check; /* false: it cannot be, and is not to be */

/* memory.c: guest-virtual to guest-physical. */
struct walk_result memory_walk(const struct gdb *g, u64 at);

/* memory.c: bytes that could be read, from the first on; whether all could be written. */
size_t memory_read(const struct gdb *g, bool physical, u64 at, void *buf, size_t n);
bool memory_write(struct gdb *g, u64 at, const void *buf, size_t n);
void memory_search(struct gdb *g, const char *args);
void memory_crc(struct gdb *g, const char *args);

/* points.c */
void points_insert(struct gdb *g, const char *args);
void points_remove(struct gdb *g, const char *args);
void points_clear(struct gdb *g);
struct conditions points_conditions(struct gdb *g);
/* With several vCPUs, the one that has hit point i: for a breakpoint, the one that stands there. */
unsigned points_vcpu(const struct gdb *g, unsigned i);
void points_before_step(struct gdb *g);
/* What the step just made has met: a point there, a value changed.  False: nothing. */
bool points_after_step(struct gdb *g, struct travel *hit);

/* travel.c */
void travel_vcont(struct gdb *g, const char *args);
void travel_resume(struct gdb *g, const char *args);   /* c C s S */
void travel_back(struct gdb *g, const char *args);     /* bs bc */

/* monitor.c */
void monitor_command(struct gdb *g, char *line);

#endif
