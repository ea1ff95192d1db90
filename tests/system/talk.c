/*
 * talk.c - a TCP connection's client, for tests: talk HOST PORT [QUIET_MS].
 * Standard input goes there, what comes goes to standard output.  Ends when
 * the other side closes, and says "closed" on standard error then; or when
 * standard input has ended and nothing came for QUIET_MS.  Status 1: nobody
 * listens.
 */
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int dial(const char *host, const char *port)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *a;
	int fd;

	if (getaddrinfo(host, port, &hints, &a))
		return -1;
	fd = socket(a->ai_family, SOCK_STREAM, 0);
	return fd >= 0 && !connect(fd, a->ai_addr, a->ai_addrlen) ? fd : -1;
}

/* One piece, all of it; 0 at the end of from. */
static ssize_t carry(int from, int to)
{
	char bytes[16384];
	ssize_t n = read(from, bytes, sizeof(bytes)), done = 0, put;

	for (; done < n; done += put) {
		put = write(to, bytes + done, (size_t)(n - done));
		if (put <= 0)
			return -1;
	}
	return n;
}

int main(int argc, char **argv)
{
	int quiet_ms = argc > 3 ? atoi(argv[3]) : 300, fd = argc > 2 ? dial(argv[1], argv[2]) : -1;
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };

	if (fd < 0) {
		perror("talk");
		return 1;
	}
	while (poll(fds, 2, fds[1].fd < 0 ? quiet_ms : -1) > 0) {
		if (fds[0].revents && carry(fd, STDOUT_FILENO) <= 0) {
			fputs("closed\n", stderr);
			return 0;
		}
		if (fds[1].revents && carry(STDIN_FILENO, fd) <= 0)
			fds[1].fd = -1;
	}
	return 0;
}
