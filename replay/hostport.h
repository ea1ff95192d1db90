/*
 * hostport.h - the host as a boundary sees it: a console, NICs, and a clock to wait by.
 *
 * The hypervisor fills it with its serial ports, network devices and timer
 * (session/port.c, session/net.c), the tests with a script.  What is read here
 * may reach a guest only through next_input, stamped.
 */
#ifndef REPLAY_HOSTPORT_H
#define REPLAY_HOSTPORT_H

#include "kernel/base.h"
#include "vmm/boundary.h"

struct host_port {
	/* At most n bytes typed by the user, 0 if none are there now. */
	size_t (*console_read)(void *ctx, void *buf, size_t n);
	void (*console_write)(void *ctx, const void *data, size_t n);
	/*
	 * Frames for and from the guest's NIC number nic.  What frame_peek shows,
	 * NULL for nothing, stays valid until frame_done, which takes it away.
	 * All three NULL: no network is there; what a guest sends is lost.
	 *
	 * packet_peek shows what is next if that is a packet [kernel/netpacket.h], of which frame_peek has shown no
	 * frame yet; the same packet is some frames to frame_peek.  Both NULL: there are none.
	 */
	const u8 *(*frame_peek)(void *ctx, unsigned nic, u32 *size);
	void (*frame_done)(void *ctx, unsigned nic);
	void (*frame_write)(void *ctx, unsigned nic, const void *data, u32 size);
	const u8 *(*packet_peek)(void *ctx, unsigned nic, u32 *size);
	void (*packet_write)(void *ctx, unsigned nic, const u8 *data, u32 size);
	bool (*ended)(void *ctx);         /* nothing more will come from outside: the VM runs as a batch */
	bool (*quit)(void *ctx);          /* the operator wants to leave */
	/* Asked while the VM idles: the VM is to pause here.  NULL: never. */
	bool (*pause)(void *ctx);
	/* Waits until something has come, is said, or max_ns have passed; returns the ns that passed. */
	u64 (*wait)(void *ctx, u64 max_ns);
	/* Called now and then, for a progress line. */
	void (*progress)(void *ctx, const struct execpoint *now);
	void *ctx;
	bool report_errors;               /* a guest is told when the host's storage fails; false: it stops */
};

static inline void host_port_output(const struct host_port *p, const struct output *out)
{
	if (out->kind == OUTPUT_CONSOLE)
		p->console_write(p->ctx, out->data, out->size);
	else if (out->kind == OUTPUT_FRAME && p->frame_write)
		p->frame_write(p->ctx, out->instance, out->data, out->size);
	else if (out->kind == OUTPUT_PACKET && p->packet_write)
		p->packet_write(p->ctx, out->instance, out->data, out->size);
}

#endif
