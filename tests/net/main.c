/*
 * main.c - seqd, seqclient and bulk: one program of three names, as busybox is, because it goes
 * into an initramfs; and what they share.  Ordinary Linux sockets, nothing of the project's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/net/seq.h"

static const char *program = "?";

void fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: ", program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

uint64_t number(const char *what, const char *text)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;
	uint64_t v;

	errno = 0;
	v = text && *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	if (!text || *text < '0' || *text > '9' || errno)
		fail("%s: wants a number", what);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		v <<= 10 * (unit - units + 1);
		end++;
	}
	if (*end)
		fail("%s %s: not a number", what, text);
	return v;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

int listen_on(uint64_t port)
{
	const struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (port > 65535 || fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) || listen(fd, 64))
		fail("port %llu: %s", (unsigned long long)port, strerror(errno));
	return fd;
}

/* Numbers only: a static program has no resolver. */
int dial(const char *where)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const char *colon = strrchr(where, ':');
	char host[INET_ADDRSTRLEN];
	int fd, one = 1;

	snprintf(host, sizeof(host), "%.*s", colon ? (int)(colon - where) : 0, where);
	if (!colon || inet_pton(AF_INET, host, &to.sin_addr) != 1)
		fail("%s: wants ADDRESS:PORT, in numbers", where);
	to.sin_port = htons((uint16_t)number("the port", colon + 1));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to))) {
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

void set_nonblocking(int fd)
{
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		fail("a socket: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} programs[] = { { "seqd", seqd_main }, { "seqclient", seqclient_main }, { "bulk", bulk_main } };
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;

	program = slash ? slash + 1 : argc ? argv[0] : "?";
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (!strcmp(program, programs[i].name))
			return programs[i].run(argc, argv);
	fail("call it seqd, seqclient or bulk");
}
