/*
 * hostport.h - the host as a boundary sees it: a console and a clock to wait by.
 *
 * The hypervisor fills it with its serial ports and timer (session.c), the
 * tests with a script.  What is read here may reach a guest only through
 * next_input, stamped.
 */
#ifndef REPLAY_HOSTPORT_H
#define REPLAY_HOSTPORT_H

#include "kernel/base.h"
#include "vmm/execpoint.h"

struct host_port {
	/* At most n bytes typed by the user, 0 if none are there now. */
	size_t (*console_read)(void *ctx, void *buf, size_t n);
	void (*console_write)(void *ctx, const void *data, size_t n);
	bool (*console_ended)(void *ctx); /* no more will come: the VM runs as a batch */
	bool (*quit)(void *ctx);          /* the operator wants to leave */
	/* Asked while the VM idles: the VM is to pause here.  NULL: never. */
	bool (*pause)(void *ctx);
	/* Waits until something is typed, said, or max_ns have passed; returns the ns that passed. */
	u64 (*wait)(void *ctx, u64 max_ns);
	/* Called now and then, for a progress line. */
	void (*progress)(void *ctx, const struct execpoint *now);
	void *ctx;
};

#endif
