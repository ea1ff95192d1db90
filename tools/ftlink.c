/*
 * ftlink.c - the socket of the link.  See ftlink.h.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/ftlink.h"
#include "tools/gdbrelay.h"

#define MTU_LEAST 576 /* RFC 791, "Total Length": every host takes so much */
#define ROOM_BYTES (4 << 20) /* for bursts of the log; the system may give less */

static const char *reason(int e)
{
	return e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e);
}

/* The first address of HOST:PORT of that family, AF_UNSPEC: any. */
static int find(const char *host, const char *port, int family, struct sockaddr_storage *a, socklen_t *size)
{
	const struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found;
	int e = getaddrinfo(host, port, &hints, &found);

	if (e)
		return e;
	memcpy(a, found->ai_addr, found->ai_addrlen);
	*size = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static void name(const struct sockaddr_storage *a, socklen_t size, char text[80])
{
	char host[60], port[8];

	if (getnameinfo((const struct sockaddr *)a, size, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(text, 80, "unknown");
	else
		snprintf(text, 80, a->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* Of two ends' addresses: less than 0, 0, more. */
static int compare(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	bool six = a->ss_family == AF_INET6;
	int d = six ? memcmp(&a6->sin6_addr, &b6->sin6_addr, 16) : memcmp(&a4->sin_addr, &b4->sin_addr, 4);

	return d ? d : six ? ntohs(a6->sin6_port) - ntohs(b6->sin6_port) : ntohs(a4->sin_port) - ntohs(b4->sin_port);
}

/* Where we listen: every address of the peer's family, its port, unless said otherwise. */
static enum status own_end(const char *listen, const char *peer_port, struct sockaddr_storage *a, socklen_t *size, int family)
{
	char host[256] = "", port[8];
	int e;

	strcpy(port, peer_port);
	if (listen && !gdbrelay_address(listen, host, port))
		return complain(ST_USAGE, "--listen %s: not understood; give [HOST:]PORT, as 7000 or 10.0.0.1:7000", listen);
	if (!listen || !strchr(listen, ':') || listen[0] == ':')
		strcpy(host, family == AF_INET6 ? "::" : "0.0.0.0");
	e = find(host, port, family, a, size);
	return e ? complain(ST_USAGE, "--listen %s: %s; give an address of this machine", listen ? listen : port, reason(e)) : ST_OK;
}

/*
 * What the way to the peer carries in one piece, says the system, IP_MTU of ip(7), IPV6_MTU of ipv6(7): the frame goes in
 * whole.  Where a network on the way carries less, the system cuts them.
 */
static unsigned datagram_bytes(int fd, int family)
{
	const bool six = family == AF_INET6;
	const unsigned headers = (six ? 40 : 20) + 8 + 14; /* IP, UDP, the frame's own */
	socklen_t size = sizeof(int);
	int mtu;

	if (getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU : IP_MTU, &mtu, &size) || mtu < MTU_LEAST)
		mtu = MTU_LEAST;
	return (unsigned)mtu - headers;
}

/* Who is who, and the names. */
static enum status introduce(struct ftlink *l, const struct sockaddr_storage *peer, socklen_t peer_size, const char *given, char side)
{
	struct sockaddr_storage own;
	socklen_t size = sizeof(own);
	int order;

	if (getsockname(l->fd, (struct sockaddr *)&own, &size))
		return complain(ST_HOST, "the link: %s", strerror(errno));
	name(&own, size, l->here);
	name(peer, peer_size, l->peer);
	order = compare(&own, peer);
	if (!order)
		return complain(ST_USAGE, "--peer %s: that is this host's own end; give the other's", given);
	l->side = side ? side : order < 0 ? 'a' : 'b';
	return ST_OK;
}

enum status ftlink_open(struct ftlink *l, const char *peer, const char *listen, char side)
{
	struct sockaddr_storage there, here;
	socklen_t there_size, here_size;
	int room = ROOM_BYTES, one = 1, e;
	char host[256], port[8];
	enum status st;

	*l = (struct ftlink){ .fd = -1 };
	if (!gdbrelay_address(peer, host, port) || !strchr(peer, ':') || peer[0] == ':')
		return complain(ST_USAGE, "--peer %s: not understood; give HOST:PORT, as 10.0.0.2:7000", peer);
	e = find(host, port, AF_UNSPEC, &there, &there_size);
	if (e)
		return complain(ST_USAGE, "--peer %s: %s; give the other host's name or address", peer, reason(e));
	st = own_end(listen, port, &here, &here_size, there.ss_family);
	if (st)
		return st;
	l->fd = socket(there.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd >= 0 && there.ss_family == AF_INET6)
		setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&here, here_size))
		st = complain(ST_HOST, "--listen %s: %s; give another port or address of this machine", listen ? listen : port,
			      strerror(errno));
	else if (connect(l->fd, (struct sockaddr *)&there, there_size))
		st = complain(ST_HOST, "--peer %s: %s; there must be a way to it when the host starts", peer, strerror(errno));
	else
		st = introduce(l, &there, there_size, peer, side);
	if (st) {
		if (l->fd >= 0)
			close(l->fd);
		l->fd = -1;
		return st;
	}
	l->datagram_bytes = datagram_bytes(l->fd, there.ss_family);
	setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return ST_OK;
}

const char *ftlink_mac(const struct ftlink *l)
{
	return l->side == 'a' ? "52:54:00:ff:00:01" : "52:54:00:ff:00:02";
}
