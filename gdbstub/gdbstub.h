/*
 * gdbstub.h - GDB's remote serial protocol over a timeline.
 *
 * gdb_serve answers one GDB after the other until told to end.  GDB sees one
 * process, a thread for each vCPU, guest-virtual addresses.  Breakpoints and
 * watchpoints are conditions of journeys: nothing is ever written into the
 * guest for them [docs/TIMELINE.md].
 */
#ifndef GDBSTUB_GDBSTUB_H
#define GDBSTUB_GDBSTUB_H

#include "replay/timeline.h"

/* The bytes to and from GDB. */
struct gdb_link {
	/* What is there now, at most n bytes; 0: nothing. */
	size_t (*read)(void *ctx, void *buf, size_t n);
	void (*write)(void *ctx, const void *data, size_t n);
	/* Waits until read has something, the client is gone or the session is to end. */
	void (*wait)(void *ctx);
	/* The client has gone: stays true until client_forgotten is called. */
	bool (*client_gone)(void *ctx);
	void (*client_forgotten)(void *ctx);
	bool (*quit)(void *ctx);     /* the session is to end */
	void *ctx;
};

/* What GDB believes the processor to be. */
enum gdb_arch {
	GDB_BY_MODE,    /* as the vCPU runs when GDB attaches */
	GDB_X86_64,
	GDB_I386,
	GDB_I8086,
};

struct gdb;

/* Bytes a struct gdb takes: the caller's memory, zeroed. */
size_t gdb_size(void);

void gdb_init(struct gdb *g, struct timeline *t, const struct gdb_link *link, enum gdb_arch arch);

/* True while GDB has asked to stop a journey (or has gone): the timeline's host asks this now and then. */
bool gdb_wants_stop(struct gdb *g);

/* A client has come, and has not left yet. */
bool gdb_attached(const struct gdb *g);

/* Serves until a client kills the machine or link.quit says so. */
void gdb_serve(struct gdb *g);

#endif
