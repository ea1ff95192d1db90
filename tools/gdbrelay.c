/*
 * gdbrelay.c - a TCP client and a serial port.  See gdbrelay.h; the numbers
 * here are those of its rules.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/gdbrelay.h"

#define DRAIN_POLL_MS 5
#define DRAIN_MAX_MS 500 /* for QEMU to take a client's last words: a hypervisor that reads takes far less */

enum { LISTENER, CLIENT, SERIAL };

/* ---- the address ---- */

bool gdbrelay_address(const char *where, char host[256], char port[8])
{
	const char *colon = strrchr(where, ':'), *digits = colon ? colon + 1 : where;
	size_t size = colon ? (size_t)(colon - where) : 0;

	if (size && where[0] == '[') {
		if (size < 3 || where[size - 1] != ']')
			return false;
		where++;
		size -= 2;
	} else if (memchr(where, ':', size)) {
		return false;
	}
	if (size >= 256 || !*digits || strlen(digits) > 5 || strspn(digits, "0123456789") != strlen(digits))
		return false;
	memcpy(host, where, size);
	host[size] = 0;
	if (!size)
		strcpy(host, "127.0.0.1");
	strcpy(port, digits);
	return true;
}

static int bind_to(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, reason;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (!bind(fd, a->ai_addr, a->ai_addrlen))
		return fd;
	reason = errno;
	close(fd);
	errno = reason;
	return -1;
}

void gdbrelay_init(struct gdbrelay *r)
{
	*r = (struct gdbrelay){ .listener = -1, .client = -1, .serial = -1 };
}

bool gdbrelay_bind(struct gdbrelay *r, const char *where)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char host[256], port[8];
	const char *reason;
	int e;

	gdbrelay_init(r);
	if (!gdbrelay_address(where, host, port)) {
		remark("--listen %s: not understood; give HOST:PORT, :PORT or PORT, as 127.0.0.1:1234", where);
		return false;
	}
	e = getaddrinfo(host, port, &hints, &found);
	for (const struct addrinfo *a = found; a && r->listener < 0; a = a->ai_next)
		r->listener = bind_to(a);
	reason = e ? gai_strerror(e) : strerror(errno);
	if (found)
		freeaddrinfo(found);
	if (r->listener < 0)
		remark("--listen %s: %s; give another address, or port 0 for any that is free", where, reason);
	return r->listener >= 0;
}

bool gdbrelay_open(struct gdbrelay *r, char name[RELAY_NAME_MAX])
{
	struct sockaddr_storage a;
	socklen_t size = sizeof(a);
	char host[64], port[8];

	if (listen(r->listener, 4) || getsockname(r->listener, (struct sockaddr *)&a, &size) ||
	    getnameinfo((struct sockaddr *)&a, size, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV)) {
		remark("listening for a debugger: %s; give another address with --listen", strerror(errno));
		return false;
	}
	snprintf(name, RELAY_NAME_MAX, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	r->state = RELAY_IDLE;
	return true;
}

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void gdbrelay_close(struct gdbrelay *r)
{
	drop(&r->listener);
	drop(&r->client);
	r->serial = -1;
	r->state = RELAY_CLOSED;
}

/* ---- clients ---- */

static bool pending(const struct relay_buffer *b)
{
	return b->at < b->size;
}

static void client_gone(struct gdbrelay *r)
{
	drop(&r->client);
	r->answer.at = r->answer.size = 0;
	r->state = RELAY_LEAVING;
	r->left_ms = host_ms();
}

static void on_listener(struct gdbrelay *r)
{
	int fd, one = 1;

	if (r->state != RELAY_IDLE && r->state != RELAY_SERVING)
		return; /* 4: it waits */
	fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return; /* it left again */
	if (r->state != RELAY_IDLE) { /* 2 */
		close(fd);
		if (r->remarks)
			remark("a second debugger: refused while the first is connected; end that one first");
		return;
	}
	/* Packets are small and each waits for its answer; a debugger's host that is switched off says nothing. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	r->client = fd;
	r->said.at = r->said.size = r->answer.at = r->answer.size = 0;
	r->state = RELAY_SERVING;
}

void gdbrelay_give(struct gdbrelay *r, int client)
{
	fcntl(client, F_SETFL, O_NONBLOCK);
	r->client = client;
	r->said.at = r->said.size = r->answer.at = r->answer.size = 0;
	r->state = RELAY_SERVING;
}

/* ---- bytes ---- */

/* False: the other side is gone. */
static bool fill(struct relay_buffer *b, int fd)
{
	ssize_t n = recv(fd, b->data, sizeof(b->data), 0);

	b->at = 0;
	b->size = n > 0 ? (size_t)n : 0;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool empty(struct relay_buffer *b, int fd)
{
	ssize_t n = send(fd, b->data + b->at, b->size - b->at, MSG_NOSIGNAL);

	if (n > 0)
		b->at += (size_t)n;
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

/* QEMU went: the client sees its connection close, behind the last that was said to it. */
static void serial_gone(struct gdbrelay *r)
{
	if (r->client >= 0 && pending(&r->answer))
		(void)empty(&r->answer, r->client);
	gdbrelay_close(r);
}

static void on_serial(struct gdbrelay *r, short events)
{
	if ((events & POLLOUT) && pending(&r->said) && !empty(&r->said, r->serial)) {
		serial_gone(r);
		return;
	}
	if (!(events & (POLLIN | POLLHUP | POLLERR)) || pending(&r->answer))
		return;
	if (!fill(&r->answer, r->serial))
		serial_gone(r);
	else if (r->state != RELAY_SERVING)
		r->answer.size = 0; /* 4 */
}

static void on_client(struct gdbrelay *r, short events)
{
	if ((events & POLLOUT) && pending(&r->answer) && !empty(&r->answer, r->client))
		client_gone(r);
	else if ((events & POLLIN) && !pending(&r->said) && !fill(&r->said, r->client))
		client_gone(r);
	else if ((events & (POLLHUP | POLLERR)) && !(events & POLLIN))
		client_gone(r); /* it comes without being asked for */
}

/* 3: has QEMU taken the last of the client's bytes? */
static bool all_taken(const struct gdbrelay *r)
{
	int queued = 0;

	if (host_ms() - r->left_ms >= DRAIN_MAX_MS)
		return true;
	return !pending(&r->said) && (ioctl(r->serial, SIOCOUTQ, &queued) || !queued);
}

/* ---- the loop's side ---- */

int gdbrelay_watch(const struct gdbrelay *r, struct pollfd fds[RELAY_NFDS])
{
	bool serving = r->state == RELAY_SERVING, hears = serving && !pending(&r->said);
	bool sends = pending(&r->said), answers = pending(&r->answer);

	fds[LISTENER] = (struct pollfd){ .fd = r->state == RELAY_IDLE || serving ? r->listener : -1, .events = POLLIN };
	fds[CLIENT] = (struct pollfd){
		.fd = serving ? r->client : -1, .events = (short)((hears ? POLLIN : 0) | (answers ? POLLOUT : 0)),
	};
	/* A port that hangs up says so unasked: not watched while nothing can be taken from it. */
	fds[SERIAL] = (struct pollfd){
		.fd = answers && !sends ? -1 : r->serial,
		.events = (short)((answers ? 0 : POLLIN) | (sends ? POLLOUT : 0)),
	};
	return r->state == RELAY_LEAVING ? DRAIN_POLL_MS : -1;
}

bool gdbrelay_turn(struct gdbrelay *r, const struct pollfd fds[RELAY_NFDS])
{
	if (r->serial >= 0 && fds[SERIAL].revents)
		on_serial(r, fds[SERIAL].revents);
	if (r->client >= 0 && fds[CLIENT].revents)
		on_client(r, fds[CLIENT].revents);
	if (r->listener >= 0 && fds[LISTENER].revents)
		on_listener(r);
	if (r->state != RELAY_LEAVING || !all_taken(r))
		return false;
	r->said.at = r->said.size = 0;
	r->state = RELAY_FORGETTING;
	return true;
}

void gdbrelay_forgotten(struct gdbrelay *r)
{
	if (r->state != RELAY_FORGETTING)
		return;
	/* 4: what was said before the answer is in the socket by now. */
	do {
		if (!fill(&r->answer, r->serial)) {
			serial_gone(r);
			return;
		}
	} while (r->answer.size);
	r->state = RELAY_IDLE;
}
