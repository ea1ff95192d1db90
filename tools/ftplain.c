/*
 * ftplain.c - a switch over UDP for the demo.  See ftplain.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tools/ftnet.h"
#include "tools/ftplain.h"
#include "tools/ftplay.h"
#include "tools/pcapng.h"
#include "tools/qemu.h"

enum { HOST_A, HOST_B, GATEWAY, NENDS };

/* ---- opening ---- */

static void leave_by(void *ctx, const u8 *frame, u32 size)
{
	const struct plain_end *e = ctx;

	/* Who is not there, or does not read, loses it: that is what a wire is. */
	(void)!sendto(e->plain->fd, frame, size, MSG_NOSIGNAL, (const struct sockaddr *)&e->at, sizeof(e->at));
}

/* Ports that are free now, for those who will take them; and the switch's own. */
static bool open_sockets(struct plain *n)
{
	int later[NENDS + 1], room = 4 << 20, one = 1;
	struct sockaddr_in client;
	bool good;

	n->fd = loopback_bind(SOCK_DGRAM, &n->own);
	later[NENDS] = loopback_bind(SOCK_STREAM, &client);
	n->client_port = ntohs(client.sin_port);
	good = n->fd >= 0 && later[NENDS] >= 0;
	for (unsigned i = 0; i < NENDS; i++) {
		struct plain_end *e = &n->end[i];

		later[i] = loopback_bind(SOCK_DGRAM, &e->at);
		good &= later[i] >= 0;
		e->plain = n;
		e->port.deliver = leave_by;
		e->port.ctx = e;
		good &= !vswitch_plug(&n->sw, &e->port, NULL);
	}
	for (unsigned i = 0; i <= NENDS; i++)
		if (later[i] >= 0)
			close(later[i]);
	if (!good)
		return false;
	setsockopt(n->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	setsockopt(n->fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one));
	return true;
}

enum status plain_open(struct plain *n, const u8 guest_mac[6], const char *file)
{
	const char *const names[NENDS] = { ftnet_tap(0), ftnet_tap(1), "gateway" };

	*n = (struct plain){ .fd = -1 };
	memcpy(n->guest_mac, guest_mac, 6);
	if (!open_sockets(n)) {
		enum status st = complain(ST_HOST, "ft demo: the network's sockets: %s; close some programs", strerror(errno));

		plain_close(n);
		return st;
	}
	return file ? wire_begin_file(&n->file, file, "what host a, host b and the gateway send", names, NENDS) : ST_OK;
}

void plain_close(struct plain *n)
{
	if (n->fd >= 0)
		close(n->fd);
	if (n->file)
		fclose(n->file);
	n->fd = -1;
	n->file = NULL;
}

/* ---- who is on it ---- */

void plain_gateway(const struct plain *n, char text[PLAIN_ARGS][160], char *argv[PLAIN_ARGS])
{
	unsigned k = 0;

#define ARG(...) (snprintf(text[k], sizeof(text[k]), __VA_ARGS__), argv[k] = text[k], k++)
	ARG("%s", qemu_program());
	ARG("-machine"), ARG("none"), ARG("-nodefaults"), ARG("-no-user-config"), ARG("-display"), ARG("none");
	ARG("-netdev"), ARG("user,id=user,hostfwd=tcp:" PLAIN_CLIENT ":%u-" FTNET_GUEST ":%d", n->client_port, SERVER_PORT);
	ARG("-netdev"), ARG("dgram,id=wire,local.type=inet,local.host=127.0.0.1,local.port=%u,remote.type=inet,remote.host=127.0.0.1,remote.port=%u",
			    ntohs(n->end[GATEWAY].at.sin_port), ntohs(n->own.sin_port));
	ARG("-netdev"), ARG("hubport,id=one,hubid=0,netdev=user");
	ARG("-netdev"), ARG("hubport,id=two,hubid=0,netdev=wire");
#undef ARG
	argv[k] = NULL;
}

void plain_net(const struct plain *n, unsigned host, char *text, size_t size)
{
	snprintf(text, size, "udp=:%u-:%u", ntohs(n->end[host].at.sin_port), ntohs(n->own.sin_port));
}

/* ---- frames ---- */

static struct plain_end *sender(struct plain *n, const struct sockaddr_in *from)
{
	for (unsigned i = 0; i < NENDS; i++)
		if (n->end[i].at.sin_port == from->sin_port && n->end[i].at.sin_addr.s_addr == from->sin_addr.s_addr)
			return &n->end[i];
	return NULL;
}

/* How many were lost since the socket was opened, says socket(7): it comes with a frame. */
static void count_dropped(struct plain *n, struct msghdr *m)
{
	u32 dropped;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&dropped, CMSG_DATA(c), sizeof(dropped));
			n->dropped = dropped;
		}
}

static void keep(struct plain *n, unsigned interface, const u8 *data, u32 size)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	pcapng_packet(n->file, interface, (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec, false, data, size, NULL);
}

void plain_turn(struct plain *n, void (*on_frame)(void *ctx, const struct wire_frame *f), void *ctx)
{
	for (;;) {
		u8 data[VSWITCH_FRAME_MAX + 1], control[CMSG_SPACE(sizeof(u32))];
		struct sockaddr_in from = { 0 };
		struct iovec v = { data, sizeof(data) };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1,
				    .msg_control = control, .msg_controllen = sizeof(control) };
		ssize_t size = recvmsg(n->fd, &m, 0);
		struct plain_end *e;
		u64 now = host_ns();

		if (size < 0)
			return;
		count_dropped(n, &m);
		e = sender(n, &from);
		if (!e) {
			n->strangers++;
			continue;
		}
		if (n->file)
			keep(n, (unsigned)(e - n->end), data, (u32)size);
		if (e != &n->end[GATEWAY] && size >= ETH_HLEN && !memcmp(data + ETH_ALEN, n->guest_mac, ETH_ALEN))
			on_frame(ctx, &(struct wire_frame){ .host = (unsigned)(e - n->end), .at_ns = now, .size = (u32)size, .data = data });
		vswitch_send(&e->port, data, (u32)size, now);
	}
}
