/*
 * ftrelay.c - datagrams from one host to the other.  See ftrelay.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/ftrelay.h"

#define MOST_AT_ONCE 64 /* then others have their turn */

/* ---- opening ---- */

int loopback_bind(int type, struct sockaddr_in *a)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(*a);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd >= 0 && !bind(fd, (struct sockaddr *)a, sizeof(*a)) && !getsockname(fd, (struct sockaddr *)a, &size))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

enum status cable_open(struct cable *c, const struct cable_faults *faults)
{
	bool good = true;
	int later[2];

	*c = (struct cable){ 0 };
	if (faults) {
		c->faults = *faults;
		c->random = faults->seed * 2 + 1;
	}
	for (unsigned i = 0; i < 2; i++) {
		int room = 4 << 20;

		c->fd[i] = loopback_bind(SOCK_DGRAM, &c->own[i]);
		later[i] = loopback_bind(SOCK_DGRAM, &c->host[i]); /* free now; the host takes it */
		good &= c->fd[i] >= 0 && later[i] >= 0;
		if (c->fd[i] >= 0)
			setsockopt(c->fd[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	}
	for (unsigned i = 0; i < 2; i++)
		if (later[i] >= 0)
			close(later[i]);
	if (!good || !faults)
		cable_close(c);
	for (unsigned i = 0; i < 2 && !faults; i++)
		c->own[i] = c->host[!i];
	return good ? ST_OK : complain(ST_HOST, "ft demo: the link's sockets: %s; close some programs", strerror(errno));
}

void cable_close(struct cable *c)
{
	for (unsigned i = 0; i < 2; i++) {
		if (c->fd[i] >= 0)
			close(c->fd[i]);
		c->fd[i] = -1;
	}
}

/* ---- datagrams ---- */

/* The same faults for the same seed. */
static unsigned draw(struct cable *c, unsigned below)
{
	return (unsigned)(draw64(&c->random) % below);
}

static void pass_on(const struct cable *c, unsigned to, const void *data, size_t size)
{
	/* A host that is not there, or does not read, loses it: that is what datagrams are. */
	(void)!sendto(c->fd[to], data, size, MSG_NOSIGNAL, (const struct sockaddr *)&c->host[to], sizeof(c->host[to]));
}

static void carry(struct cable *c, unsigned from, const u8 *data, size_t size)
{
	struct cable_way *w = &c->way[from];
	const struct cable_faults *f = &c->faults;

	w->datagrams++;
	w->bytes += size;
	if (c->cut || (f->lose && draw(c, 1000) < f->lose)) {
		w->lost++;
		return;
	}
	if (f->reorder && !w->held_size && size && draw(c, 1000) < f->reorder) {
		memcpy(w->held, data, size);
		w->held_size = (u16)size;
		return;
	}
	pass_on(c, !from, data, size);
	if (f->duplicate && draw(c, 1000) < f->duplicate)
		pass_on(c, !from, data, size);
	if (w->held_size)
		pass_on(c, !from, w->held, w->held_size);
	w->held_size = 0;
}

void cable_watch(const struct cable *c, struct pollfd fds[CABLE_NFDS])
{
	for (unsigned i = 0; i < 2; i++)
		fds[i] = (struct pollfd){ .fd = c->fd[i], .events = POLLIN };
}

void cable_turn(struct cable *c, const struct pollfd fds[CABLE_NFDS])
{
	u8 data[65536];

	for (unsigned i = 0; i < 2; i++)
		for (unsigned n = 0; fds[i].revents && n < MOST_AT_ONCE; n++) {
			struct sockaddr_in from = { 0 };
			socklen_t from_size = sizeof(from);
			ssize_t size = recvfrom(c->fd[i], data, sizeof(data), 0, (struct sockaddr *)&from, &from_size);

			if (size < 0)
				break;
			if (from.sin_port == c->host[i].sin_port && from.sin_addr.s_addr == c->host[i].sin_addr.s_addr)
				carry(c, i, data, (size_t)size);
			else
				c->way[i].strangers++;
		}
}
