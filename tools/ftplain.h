/*
 * ftplain.h - the demo's network where none may be made of the kernel's: plain sockets.
 *
 *     client, Linux's own TCP
 *        |  127.0.0.1:PORT
 *     gateway: a QEMU without a machine; its network in user space is 10.0.2.2
 *        |  UDP
 *     a switch in this process [session/vswitch.h], one socket
 *        |  UDP                |  UDP
 *     host a                host b     each a guest's adapter, --net udp=
 *
 * In place of namespace, bridge and taps [ftnet.h], and of the capture on them [ftwire.h]: each frame
 * passes through here, in the order in which the kernel took it.  Between the client's connection
 * and the guest's stands the gateway, which no blow hits.
 */
#ifndef TOOLS_FTPLAIN_H
#define TOOLS_FTPLAIN_H

#include <netinet/in.h>
#include <sys/types.h>

#include "session/vswitch.h"
#include "tools/ftwire.h"

#define PLAIN_CLIENT "127.0.0.1" /* where the guest's server is for a client */

struct plain_end {
	struct plain *plain;
	struct sockaddr_in at;
	struct vswitch_port port;
};

struct plain {
	int fd;                  /* -1: not in use */
	struct sockaddr_in own;
	struct plain_end end[3]; /* host a, host b, the gateway */
	struct vswitch sw;
	unsigned client_port;
	u8 guest_mac[6];
	u64 dropped;             /* frames the socket had no room for */
	u64 strangers;           /* datagrams from somebody else */
	FILE *file;              /* pcapng of all frames; NULL: not kept */
};

/* file: where to keep all frames, for Wireshark; NULL: nowhere.  Complains. */
enum status plain_open(struct plain *n, const u8 guest_mac[6], const char *file) must_check;
/* The gateway's arguments, up to NULL; they live as long as n.  At most PLAIN_ARGS. */
#define PLAIN_ARGS 20
void plain_gateway(const struct plain *n, char text[PLAIN_ARGS][160], char *argv[PLAIN_ARGS]);
/* What --net of host 0 or 1 is to say. */
void plain_net(const struct plain *n, unsigned host, char *text, size_t size);
/* Carries what has come; calls with each frame of the guest's. */
void plain_turn(struct plain *n, void (*on_frame)(void *ctx, const struct wire_frame *f), void *ctx);
void plain_close(struct plain *n);

#endif
