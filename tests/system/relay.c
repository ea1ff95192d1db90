/*
 * relay.c - a wire that can be held: passes TCP connections on to a port of this machine.
 *
 *     relay TO-PORT      prints the port it listens on, at 127.0.0.1, and runs until killed
 *
 * Stopped (SIGSTOP) it is a network that delays: what was sent counts as sent, and arrives
 * when it is continued.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS 32

static int end_of[2 * PAIRS]; /* an even one and the next are the ends of a connection; -1: free */

static struct sockaddr_in at(const char *port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port)),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void take(int listener, const char *to)
{
	struct sockaddr_in a = at(to);
	int near = accept(listener, NULL, NULL), far = socket(AF_INET, SOCK_STREAM, 0);

	for (unsigned i = 0; i < 2 * PAIRS; i += 2) {
		if (end_of[i] >= 0 || connect(far, (struct sockaddr *)&a, sizeof(a)))
			continue;
		end_of[i] = near;
		end_of[i + 1] = far;
		return;
	}
	close(near);
	close(far);
}

static void pass(unsigned i)
{
	char buf[65536];
	ssize_t n = read(end_of[i], buf, sizeof(buf)), done = 0, w;

	for (; n > 0 && done < n; done += w)
		if ((w = write(end_of[i ^ 1], buf + done, (size_t)(n - done))) <= 0)
			n = 0;
	if (n > 0)
		return;
	close(end_of[i]);
	close(end_of[i ^ 1]);
	end_of[i] = end_of[i ^ 1] = -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = at("0");
	socklen_t size = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 2 || bind(listener, (struct sockaddr *)&a, size) || listen(listener, 8) ||
	    getsockname(listener, (struct sockaddr *)&a, &size))
		return 1;
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		end_of[i] = -1;
	for (;;) {
		struct pollfd p[2 * PAIRS + 1] = { { listener, POLLIN, 0 } };

		for (unsigned i = 0; i < 2 * PAIRS; i++)
			p[i + 1] = (struct pollfd){ end_of[i], POLLIN, 0 };
		if (poll(p, 2 * PAIRS + 1, -1) < 0)
			return 1;
		if (p[0].revents)
			take(listener, argv[1]);
		for (unsigned i = 0; i < 2 * PAIRS; i++)
			if (p[i + 1].revents && end_of[i] == p[i + 1].fd && end_of[i] >= 0)
				pass(i);
	}
}
