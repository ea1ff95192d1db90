/*
 * seq.h - what seqd and seqclient agree on.
 *
 * A connection, all of it lines of text:
 *   the server, at once    seqd 1
 *   the client             SEQ PAYLOAD     SEQ counts up by one; the first may be any number
 *   the server, to each    SEQ SUM         in the same order
 * SUM is 64-bit FNV-1a, as 16 hexadecimal digits, of every byte the server has received on this
 * connection, this line's newline included.  So an answer speaks for the whole past: a byte lost,
 * repeated or changed on the way there shows in every answer after it.  A line that breaks the
 * rule is answered with "SEQ expected N" and the connection closed.
 *
 * With a log on a disk every request is in it before it is answered.  A record is a sector of 512
 * bytes: a line, then zeros:
 *   seqlog 1 RECORD CONNECTION SEQ SUM CHAIN
 * RECORD counts from 0, CONNECTION from 1; CHAIN is FNV-1a of the 16 digits of the CHAIN before
 * (zeros for the first) and of this line up to CHAIN.  Behind the last record there is nothing.
 * disksum.c reads it, and shares nothing with this file.
 */
#ifndef TESTS_NET_SEQ_H
#define TESTS_NET_SEQ_H

#include <stddef.h>
#include <stdint.h>

#define SEQ_HELLO "seqd 1\n"
#define SEQ_LINE_MAX 16384
#define SEQ_SECTOR 512
#define FNV_START 0xcbf29ce484222325u

static inline uint64_t fnv(uint64_t sum, const void *data, size_t size)
{
	const unsigned char *p = data;

	while (size--)
		sum = (sum ^ *p++) * 0x100000001b3u;
	return sum;
}

/* ---- main.c ---- */

int seqd_main(int argc, char **argv);
int seqclient_main(int argc, char **argv);
int bulk_main(int argc, char **argv);

/* Ends the program with a line on standard error and status 2. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *fmt, ...);
/* A number in decimal, with K, M or G (1024) behind it if need be; fails, naming what, without one. */
uint64_t number(const char *what, const char *text);
/* Monotonic nanoseconds. */
uint64_t now_ns(void);
/* Standard output, whole lines at once. */
__attribute__((format(printf, 1, 2))) void say(const char *fmt, ...);
/* A listening socket, on every address; fails without one. */
int listen_on(uint64_t port);
/* A connected socket of HOST:PORT, or -1 with errno. */
int dial(const char *where);
void set_nonblocking(int fd);

#endif
