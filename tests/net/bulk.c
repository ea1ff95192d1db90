/*
 * bulk.c - many bytes over one connection, each of them checked.
 *
 *   bulk send BYTES WHERE
 *   bulk recv WHERE
 *
 *   WHERE   ADDRESS:PORT, to connect to; or PORT alone: wait there for one who connects
 *   BYTES   may end in K, M or G; rounded up to a multiple of 8
 *
 * Byte streams are words that count up, multiplied by a constant.  The receiver answers with how
 * much it got, and the sender waits for that: its time is that of the whole way.  Both print
 * "KEY: VALUE" lines bytes, seconds, mbit_s and errors (words that were wrong).  Status 1: not
 * all came, or not as it was.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/net/seq.h"

#define PIECE 65536u
#define WORDS (PIECE / sizeof(uint64_t))

static uint64_t word_at(uint64_t index)
{
	return (index + 1) * 0x9e3779b97f4a7c15u;
}

static int open_where(const char *where)
{
	int listener, fd;

	if (strchr(where, ':')) {
		fd = dial(where);
		if (fd < 0)
			fail("%s: %s", where, strerror(errno));
		return fd;
	}
	listener = listen_on(number("the port", where));
	say("bulk: listening on port %s", where);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		fail("port %s: %s", where, strerror(errno));
	close(listener);
	return fd;
}

/* Linux's default, whatever this machine prefers: figures of several machines are to be of one kind. */
static void settle_congestion_control(int fd)
{
	static const char name[] = "cubic";

	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof(name) - 1); /* a kernel without it: its own default */
}

static int report(uint64_t bytes, uint64_t started_ns, uint64_t errors, bool whole)
{
	double seconds = (double)(now_ns() - started_ns) / 1e9;

	say("bytes: %llu\nseconds: %.3f\nmbit_s: %.2f\nerrors: %llu", (unsigned long long)bytes, seconds,
	    seconds > 0 ? (double)bytes * 8 / 1e6 / seconds : 0, (unsigned long long)errors);
	return errors || !whole;
}

static bool send_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t n = send(fd, p, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

static int bulk_send(int fd, uint64_t bytes)
{
	static uint64_t piece[WORDS];
	uint64_t started = now_ns(), done = 0, got = 0;

	while (done < bytes) {
		size_t size = bytes - done < PIECE ? (size_t)(bytes - done) : PIECE;

		for (size_t i = 0; i < size / 8; i++)
			piece[i] = word_at(done / 8 + i);
		if (!send_all(fd, piece, size))
			fail("after %llu bytes: %s", (unsigned long long)done, strerror(errno));
		done += size;
	}
	shutdown(fd, SHUT_WR);
	if (recv(fd, &got, sizeof(got), MSG_WAITALL) != sizeof(got))
		got = 0;
	return report(got, started, 0, got == bytes);
}

static int bulk_recv(int fd)
{
	static uint64_t piece[WORDS];
	uint64_t started = now_ns(), done = 0, errors = 0;
	size_t have = 0; /* of the piece: bytes of a word that is not whole yet */
	ssize_t n;

	while ((n = recv(fd, (char *)piece + have, PIECE - have, 0)) > 0 || (n < 0 && errno == EINTR)) {
		have += n > 0 ? (size_t)n : 0;
		for (size_t i = 0; i < have / 8; i++)
			errors += piece[i] != word_at(done / 8 + i);
		done += have / 8 * 8;
		memmove(piece, (char *)piece + have / 8 * 8, have % 8);
		have %= 8;
	}
	if (n < 0)
		fail("after %llu bytes: %s", (unsigned long long)done, strerror(errno));
	return report(done, started, errors, send_all(fd, &done, sizeof(done)) && !have && done);
}

int bulk_main(int argc, char **argv)
{
	int fd;

	if (argc == 4 && !strcmp(argv[1], "send")) {
		uint64_t bytes = (number("BYTES", argv[2]) + 7) / 8 * 8;

		fd = open_where(argv[3]);
		settle_congestion_control(fd);
		return bulk_send(fd, bytes);
	}
	if (argc == 3 && !strcmp(argv[1], "recv"))
		return bulk_recv(open_where(argv[2]));
	fail("wants send BYTES WHERE, or recv WHERE; WHERE is ADDRESS:PORT or PORT");
}
