/*
 * seqd.c - the guest's TCP server: it numbers, sums and keeps what it is sent [seq.h].
 *
 *   seqd [--port N] [--connections N] [--log PATH [--sync N]]
 *
 *   --port N          7 unless said otherwise
 *   --connections N   leave after so many have ended; else never.  Only those that asked something
 *                     count, and have a number: a forwarder tries the door before there is one
 *   --log PATH        a record of every request in this disk or file, written before the answer;
 *                     one that holds records already goes on
 *   --sync N          flush after every N records, and always before an answer; 0, and without
 *                     it: never
 *
 * Prints "seqd: listening on port N" when it does, and a line for each connection that has
 * ended.  Status 1: one of them broke the rules.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/net/seq.h"

#define CONNECTIONS 64
#define LOG_BATCH 64 /* records in one write */

struct connection {
	int fd;           /* -1: a free place */
	uint64_t number;  /* from 1; the log's.  0: it has asked nothing yet */
	uint64_t next;    /* the request that must come now */
	uint64_t requests, bytes, sum;
	bool wrong;
	char in[SEQ_LINE_MAX];
	size_t in_size;
	char out[4 * SEQ_LINE_MAX];
	size_t out_at, out_size;
};

struct disk_log {
	int fd; /* -1: none */
	uint64_t sync, unsynced;
	uint64_t record, connections, chain;
	unsigned pending;
	_Alignas(4096) char batch[LOG_BATCH][SEQ_SECTOR];
};

/* ---- the log ---- */

/* A record that is there already, true if it is one. */
static bool log_recall(struct disk_log *l, const char *sector)
{
	unsigned long long record, connection, seq, sum, chain;

	if (sector[SEQ_SECTOR - 1] || sscanf(sector, "seqlog 1 %llu %llu %llu %llx %llx", &record, &connection, &seq, &sum,
					     &chain) != 5 || record != l->record)
		return false;
	l->record++;
	l->connections = connection;
	l->chain = chain;
	return true;
}

static void log_open(struct disk_log *l, const char *path)
{
	/* A record goes to the disk, not to a page of the cache: no sector is read to write its neighbour. */
	l->fd = open(path, O_RDWR | O_DIRECT);
	if (l->fd < 0 && errno == EINVAL)
		l->fd = open(path, O_RDWR);
	if (l->fd < 0)
		fail("%s: %s", path, strerror(errno));
	while (pread(l->fd, l->batch[0], SEQ_SECTOR, (off_t)(l->record * SEQ_SECTOR)) == SEQ_SECTOR &&
	       log_recall(l, l->batch[0]))
		;
	say("seqd: log %s has %llu records", path, (unsigned long long)l->record);
}

static void log_write(struct disk_log *l, bool sync)
{
	size_t size = (size_t)l->pending * SEQ_SECTOR;

	if (size && pwrite(l->fd, l->batch, size, (off_t)((l->record - l->pending) * SEQ_SECTOR)) != (ssize_t)size)
		fail("the log: %s", errno ? strerror(errno) : "full");
	l->unsynced += l->pending;
	l->pending = 0;
	if (!sync || !l->sync || !l->unsynced)
		return;
	if (fdatasync(l->fd))
		fail("the log: %s", strerror(errno));
	l->unsynced = 0;
}

static void log_add(struct disk_log *l, const struct connection *c, uint64_t seq)
{
	char *line = l->batch[l->pending], before[17];
	int n;

	if (l->fd < 0)
		return;
	snprintf(before, sizeof(before), "%016llx", (unsigned long long)l->chain);
	memset(line, 0, SEQ_SECTOR);
	n = snprintf(line, SEQ_SECTOR, "seqlog 1 %llu %llu %llu %016llx ", (unsigned long long)l->record,
		     (unsigned long long)c->number, (unsigned long long)seq, (unsigned long long)c->sum);
	l->chain = fnv(fnv(FNV_START, before, 16), line, (size_t)n);
	snprintf(line + n, SEQ_SECTOR - (size_t)n, "%016llx\n", (unsigned long long)l->chain);
	l->record++;
	l->pending++;
	if (l->sync && l->unsynced + l->pending >= l->sync)
		log_write(l, true);
	else if (l->pending == LOG_BATCH)
		log_write(l, false);
}

/* ---- a connection ---- */

static void end_connection(struct connection *c, const char *how)
{
	if (c->number || c->wrong)
		say("seqd: connection %llu: %llu requests, %llu bytes, sum %016llx, %s", (unsigned long long)c->number,
		    (unsigned long long)c->requests, (unsigned long long)c->bytes, (unsigned long long)c->sum,
		    c->wrong ? "broke the rules" : how);
	close(c->fd);
	c->fd = -1;
}

static void answer(struct connection *c, const char *fmt, unsigned long long seq, unsigned long long value)
{
	c->out_size += (size_t)snprintf(c->out + c->out_size, sizeof(c->out) - c->out_size, fmt, seq, value);
}

/* One line, its newline included. */
static void request(struct connection *c, struct disk_log *l, const char *line, size_t size)
{
	char *end;
	uint64_t seq = strtoull(line, &end, 10);

	c->bytes += size;
	c->sum = fnv(c->sum, line, size);
	if (end == line || *end != ' ' || (c->requests && seq != c->next)) {
		c->wrong = true;
		answer(c, "%llu expected %llu\n", seq, c->next);
		return;
	}
	if (!c->number)
		c->number = ++l->connections;
	c->next = seq + 1;
	c->requests++;
	log_add(l, c, seq);
	answer(c, "%llu %016llx\n", seq, c->sum);
}

/* All whole lines, while there is room for their answers. */
static void requests(struct connection *c, struct disk_log *l)
{
	size_t at = 0;
	char *newline;

	while (!c->wrong && sizeof(c->out) - c->out_size >= 64 &&
	       (newline = memchr(c->in + at, '\n', c->in_size - at))) {
		request(c, l, c->in + at, (size_t)(newline + 1 - (c->in + at)));
		at = (size_t)(newline + 1 - c->in);
	}
	memmove(c->in, c->in + at, c->in_size - at);
	c->in_size -= at;
	if (c->in_size == sizeof(c->in) && !memchr(c->in, '\n', c->in_size))
		c->wrong = true;
	if (l->fd >= 0)
		log_write(l, true);
}

static bool send_answers(struct connection *c)
{
	while (c->out_at < c->out_size) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_size - c->out_at, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0)
			return false;
		c->out_at += (size_t)n;
	}
	c->out_at = c->out_size = 0;
	return true;
}

/* What has come, and what can go.  False: it has ended. */
static bool serve(struct connection *c, struct disk_log *l)
{
	size_t before;
	ssize_t n = 0;

	if (!send_answers(c)) {
		end_connection(c, strerror(errno));
		return false;
	}
	if (!c->out_size && c->in_size < sizeof(c->in)) {
		n = recv(c->fd, c->in + c->in_size, sizeof(c->in) - c->in_size, 0);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			end_connection(c, n ? strerror(errno) : "closed");
			return false;
		}
	}
	c->in_size += n > 0 ? (size_t)n : 0;
	do {
		before = c->in_size;
		requests(c, l);
		if (!send_answers(c) || c->wrong) {
			end_connection(c, c->wrong ? "" : strerror(errno));
			return false;
		}
	} while (c->in_size < before && !c->out_size);
	return true;
}

static void welcome(struct connection *c, int listener)
{
	int one = 1, fd = accept(listener, NULL, NULL);

	if (fd < 0)
		return;
	set_nonblocking(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->fd = fd;
	c->number = c->requests = c->bytes = c->next = 0;
	c->sum = FNV_START;
	c->wrong = false;
	c->in_size = c->out_at = 0;
	c->out_size = strlen(SEQ_HELLO);
	memcpy(c->out, SEQ_HELLO, c->out_size);
	send_answers(c);
}

static int serve_all(int listener, struct disk_log *l, uint64_t connections)
{
	static struct connection all[CONNECTIONS];
	struct pollfd poll_fds[CONNECTIONS + 1];
	uint64_t ended = 0;
	int status = 0;

	for (unsigned i = 0; i < CONNECTIONS; i++)
		all[i].fd = -1;
	while (!connections || ended < connections) {
		struct connection *free_place = NULL;

		for (unsigned i = 0; i < CONNECTIONS; i++) {
			struct connection *c = &all[i];

			if (c->fd < 0)
				free_place = c;
			poll_fds[i] = (struct pollfd){ .fd = c->fd, .events = c->out_size ? POLLOUT : POLLIN };
		}
		poll_fds[CONNECTIONS] = (struct pollfd){ .fd = free_place ? listener : -1, .events = POLLIN };
		if (poll(poll_fds, CONNECTIONS + 1, -1) < 0 && errno != EINTR)
			fail("poll: %s", strerror(errno));
		for (unsigned i = 0; i < CONNECTIONS; i++) {
			if (all[i].fd < 0 || !poll_fds[i].revents || serve(&all[i], l))
				continue;
			ended += all[i].number || all[i].wrong;
			status |= all[i].wrong;
		}
		if (poll_fds[CONNECTIONS].revents & POLLIN)
			welcome(free_place, listener);
	}
	return status;
}

int seqd_main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' }, { "connections", required_argument, NULL, 'c' },
		{ "log", required_argument, NULL, 'l' }, { "sync", required_argument, NULL, 's' }, { 0 },
	};
	static struct disk_log log = { .fd = -1 };
	uint64_t port = 7, connections = 0;
	const char *path = NULL;
	int o, listener;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'p': port = number("--port", optarg); break;
		case 'c': connections = number("--connections", optarg); break;
		case 'l': path = optarg; break;
		case 's': log.sync = number("--sync", optarg); break;
		default: return 2;
		}
	}
	if (optind < argc)
		fail("%s: not understood", argv[optind]);
	if (path)
		log_open(&log, path);
	listener = listen_on(port);
	say("seqd: listening on port %llu", (unsigned long long)port);
	return serve_all(listener, &log, connections);
}
