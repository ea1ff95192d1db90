/*
 * seqclient.c - the client of seqd [seq.h]: it sends numbered requests over one connection and
 * checks every answer.
 *
 *   seqclient OPTION... ADDRESS:PORT
 *
 *   --seconds N        send for so long (10)
 *   --count N          or so many; 0: as many as the time allows
 *   --rate N           requests a second, at most; 0: as fast as answers come
 *   --window N         at most so many without an answer (1)
 *   --size N           bytes of each payload (32)
 *   --seed N           of the payloads
 *   --first N          number of the first request
 *   --connect-wait N   try for so many seconds until a server says hello (0: once)
 *   --patience N       seconds without an answer after which the connection is broken (30)
 *   --progress MS      every so often a line "at_ms sent received" on standard error
 *   --gaps MS          a line "gap at_ms N ms N" on standard error for each pause as long as that
 *
 * A connection that breaks stays broken: nothing connects again.  When it is over, lines "KEY:
 * VALUE" on standard output:
 *   sent, received   requests; answers that were right
 *   lost             requests never answered though all were waited for
 *   repeated         answers that came again
 *   contradicted     answers no right server could have given
 *   broken           no, or how
 *   last             number of the last request answered, "none"
 *   seconds, rate    how long it sent; answers a second
 *   pause_ms_max     the longest wait for the next answer while one was due
 *   pause_at_ms      when it began, since the start
 *   p50_us, p99_us, max_us    from a request to its answer
 * Status 0: all answered, and rightly.  1: not so.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/net/seq.h"

struct options {
	const char *where;
	uint64_t seconds, count, rate, window, size, seed, first, connect_wait, patience, progress_ms, gaps_ms;
};

struct due {
	uint64_t sent_ns, sum;
};

struct client {
	struct options o;
	int fd;
	uint64_t start_ns, stop_ns, last_answer_ns, shown_ns;
	uint64_t sent, received, repeated, contradicted;
	uint64_t sum;                 /* of all that was sent */
	struct due *due;              /* of the last o.window requests, at sent % o.window */
	uint64_t pause_ns, pause_at_ns;
	uint32_t *latency_us;
	size_t latencies, latency_room;
	char broken[128];             /* empty: it is not */
	bool finished;                /* all asked, and told so */
	char out[4 * SEQ_LINE_MAX];
	size_t out_at, out_size;
	char in[4096];
	size_t in_size;
};

static void broke(struct client *c, const char *how)
{
	if (!c->broken[0])
		snprintf(c->broken, sizeof(c->broken), "%s", how);
}

static uint64_t outstanding(const struct client *c)
{
	return c->sent - c->received;
}

/* ---- requests ---- */

/* Payload N is the same for all who know the seed: disksum.c makes it, too. */
static size_t make_line(const struct options *o, uint64_t seq, char *line)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint64_t x = (o->seed + 1) * 0x9e3779b97f4a7c15u ^ (seq + 1) * 0xbf58476d1ce4e5b9u;
	size_t n = (size_t)sprintf(line, "%llu ", (unsigned long long)seq);

	for (uint64_t i = 0; i < o->size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		line[n++] = letters[x >> 58];
	}
	line[n++] = '\n';
	return n;
}

/* When the next request may be sent; UINT64_MAX: not before an answer, or never. */
static uint64_t next_send_ns(const struct client *c, uint64_t now)
{
	if (now >= c->stop_ns || (c->o.count && c->sent >= c->o.count) || outstanding(c) >= c->o.window ||
	    sizeof(c->out) - c->out_size < SEQ_LINE_MAX)
		return UINT64_MAX;
	return c->o.rate ? c->start_ns + (uint64_t)((double)c->sent * 1e9 / (double)c->o.rate) : now;
}

static bool all_asked(const struct client *c, uint64_t now)
{
	return now >= c->stop_ns || (c->o.count && c->sent >= c->o.count);
}

static void ask(struct client *c, uint64_t now)
{
	while (next_send_ns(c, now) <= now) {
		char *line = c->out + c->out_size;
		size_t size = make_line(&c->o, c->o.first + c->sent, line);

		c->out_size += size;
		c->sum = fnv(c->sum, line, size);
		c->due[c->sent % c->o.window] = (struct due){ now, c->sum };
		if (!outstanding(c))
			c->last_answer_ns = now; /* nothing was due until now */
		c->sent++;
	}
	while (c->out_at < c->out_size) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_size - c->out_at, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			broke(c, strerror(errno));
			return;
		}
		c->out_at += (size_t)n;
	}
	c->out_at = c->out_size = 0;
}

/* ---- answers ---- */

static void keep_latency(struct client *c, uint64_t ns)
{
	if (c->latencies == c->latency_room) {
		c->latency_room = c->latency_room ? 2 * c->latency_room : 4096;
		c->latency_us = realloc(c->latency_us, c->latency_room * sizeof(*c->latency_us));
		if (!c->latency_us)
			fail("no memory left");
	}
	c->latency_us[c->latencies++] = (uint32_t)(ns / 1000);
}

static void note_pause(struct client *c, uint64_t now)
{
	uint64_t pause = now - c->last_answer_ns, at = c->last_answer_ns - c->start_ns;

	if (pause > c->pause_ns) {
		c->pause_ns = pause;
		c->pause_at_ns = at;
	}
	if (c->o.gaps_ms && pause >= c->o.gaps_ms * 1000000)
		fprintf(stderr, "gap at_ms %llu ms %llu\n", (unsigned long long)(at / 1000000), (unsigned long long)(pause / 1000000));
}

static void answered(struct client *c, const char *line, uint64_t now)
{
	unsigned long long seq, sum;
	char extra;

	if (sscanf(line, "%llu %16llx%c", &seq, &sum, &extra) != 2 || strlen(strchr(line, ' ') + 1) != 16) {
		c->contradicted++;
		fprintf(stderr, "seqclient: not an answer: %.80s\n", line);
		return;
	}
	if (seq >= c->o.first && seq < c->o.first + c->received) {
		c->repeated++;
		fprintf(stderr, "seqclient: %llu is answered again\n", seq);
		return;
	}
	if (!outstanding(c) || seq != c->o.first + c->received || sum != c->due[c->received % c->o.window].sum) {
		c->contradicted++;
		fprintf(stderr, "seqclient: answer %llu %016llx, due %llu %016llx\n", seq, sum,
			(unsigned long long)(c->o.first + c->received),
			(unsigned long long)(outstanding(c) ? c->due[c->received % c->o.window].sum : 0));
		if (!outstanding(c) || seq != c->o.first + c->received)
			return; /* the one that is due may still come */
	}
	note_pause(c, now);
	c->last_answer_ns = now;
	keep_latency(c, now - c->due[c->received % c->o.window].sent_ns);
	c->received++;
}

/* False: nothing more will come. */
static bool hear(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_size, sizeof(c->in) - 1 - c->in_size, 0);
	char *line = c->in, *newline;
	uint64_t now = now_ns();

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		if (n < 0 || !c->finished || outstanding(c))
			broke(c, n < 0 ? strerror(errno) : "closed by the server");
		return false;
	}
	c->in_size += (size_t)n;
	for (; (newline = memchr(line, '\n', c->in_size - (size_t)(line - c->in))); line = newline + 1) {
		*newline = 0;
		answered(c, line, now);
	}
	c->in_size -= (size_t)(line - c->in);
	memmove(c->in, line, c->in_size);
	if (c->in_size >= 200) {
		c->contradicted++;
		broke(c, "answers without an end");
		return false;
	}
	return true;
}

/* ---- a run ---- */

/* Until a server says hello: a forwarder may take the connection before there is one. */
static void connect_client(struct client *c)
{
	uint64_t until = now_ns() + c->o.connect_wait * 1000000000u;
	const size_t size = strlen(SEQ_HELLO);

	do {
		struct pollfd p;
		char hello[16];
		size_t have = 0;
		ssize_t n;

		c->fd = dial(c->o.where);
		p = (struct pollfd){ .fd = c->fd, .events = POLLIN };
		while (c->fd >= 0 && have < size && poll(&p, 1, c->o.connect_wait ? 2000 : 10000) == 1 &&
		       (n = recv(c->fd, hello + have, size - have, 0)) > 0)
			have += (size_t)n;
		if (have == size && !memcmp(hello, SEQ_HELLO, size)) {
			set_nonblocking(c->fd);
			return;
		}
		if (c->fd >= 0)
			close(c->fd);
		usleep(100000);
	} while (now_ns() < until);
	fail("%s: nobody says hello there", c->o.where);
}

static void show_progress(struct client *c, uint64_t now)
{
	if (!c->o.progress_ms || now - c->shown_ns < c->o.progress_ms * 1000000)
		return;
	c->shown_ns = now;
	fprintf(stderr, "%llu %llu %llu\n", (unsigned long long)((now - c->start_ns) / 1000000), (unsigned long long)c->sent,
		(unsigned long long)c->received);
}

/* How long to sleep when nothing comes, in ms, rounded up: a request is not early. */
static int timeout_ms(const struct client *c, uint64_t now)
{
	uint64_t next = next_send_ns(c, now), wait = c->o.progress_ms ? c->o.progress_ms : 100;

	if (next <= now)
		return 0;
	if (next != UINT64_MAX && (next - now) / 1000000 + 1 < wait)
		wait = (next - now) / 1000000 + 1;
	return (int)wait;
}

static void run(struct client *c)
{
	uint64_t now = now_ns();

	c->start_ns = c->last_answer_ns = c->shown_ns = now;
	c->stop_ns = c->o.seconds ? now + c->o.seconds * 1000000000u : UINT64_MAX;
	while (!c->broken[0]) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };

		ask(c, now);
		if (all_asked(c, now) && !outstanding(c) && !c->finished) {
			/* What the server still says now would be too much: it is heard to its end. */
			c->finished = true;
			c->last_answer_ns = now;
			shutdown(c->fd, SHUT_WR);
		}
		if (c->out_size)
			p.events |= POLLOUT;
		if (poll(&p, 1, timeout_ms(c, now)) > 0 && p.revents & ~POLLOUT && !hear(c))
			break;
		now = now_ns();
		show_progress(c, now);
		if ((outstanding(c) || c->finished) && now - c->last_answer_ns > c->o.patience * 1000000000u) {
			note_pause(c, now);
			broke(c, c->finished ? "not closed by the server" : "no answer for too long");
		}
	}
	close(c->fd);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned long long centile(const struct client *c, unsigned percent)
{
	return c->latencies ? c->latency_us[(c->latencies - 1) * percent / 100] : 0;
}

static int report(struct client *c)
{
	uint64_t lost = outstanding(c);
	double seconds = (double)(c->last_answer_ns - c->start_ns) / 1e9;

	qsort(c->latency_us, c->latencies, sizeof(*c->latency_us), by_value);
	say("sent: %llu\nreceived: %llu\nlost: %llu\nrepeated: %llu\ncontradicted: %llu\nbroken: %s",
	    (unsigned long long)c->sent, (unsigned long long)c->received, (unsigned long long)lost,
	    (unsigned long long)c->repeated, (unsigned long long)c->contradicted, c->broken[0] ? c->broken : "no");
	if (c->received)
		say("last: %llu", (unsigned long long)(c->o.first + c->received - 1));
	else
		say("last: none");
	say("seconds: %.3f\nrate: %.1f\npause_ms_max: %.1f\npause_at_ms: %.1f\np50_us: %llu\np99_us: %llu\nmax_us: %llu", seconds,
	    seconds > 0 ? (double)c->received / seconds : 0, (double)c->pause_ns / 1e6, (double)c->pause_at_ns / 1e6,
	    centile(c, 50), centile(c, 99), centile(c, 100));
	return lost || c->repeated || c->contradicted || c->broken[0];
}

int seqclient_main(int argc, char **argv)
{
	static struct client c = { .sum = FNV_START, .o = { .seconds = 10, .window = 1, .size = 32, .patience = 30 } };
	static struct {
		struct option option;
		uint64_t *value;
	} table[] = {
		{ { "seconds", 1, NULL, 0 }, &c.o.seconds }, { { "count", 1, NULL, 0 }, &c.o.count },
		{ { "rate", 1, NULL, 0 }, &c.o.rate }, { { "window", 1, NULL, 0 }, &c.o.window },
		{ { "size", 1, NULL, 0 }, &c.o.size }, { { "seed", 1, NULL, 0 }, &c.o.seed },
		{ { "first", 1, NULL, 0 }, &c.o.first }, { { "connect-wait", 1, NULL, 0 }, &c.o.connect_wait },
		{ { "patience", 1, NULL, 0 }, &c.o.patience }, { { "progress", 1, NULL, 0 }, &c.o.progress_ms },
		{ { "gaps", 1, NULL, 0 }, &c.o.gaps_ms },
	};
	enum { N = sizeof(table) / sizeof(*table) };
	struct option options[N + 1] = { 0 };
	int o, index;

	for (int i = 0; i < N; i++)
		options[i] = table[i].option;
	while ((o = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (o)
			return 2;
		*table[index].value = number(table[index].option.name, optarg);
	}
	if (optind != argc - 1)
		fail("wants ADDRESS:PORT");
	c.o.where = argv[optind];
	if (!c.o.window || c.o.window > 1 << 20 || c.o.size > SEQ_LINE_MAX - 64)
		fail("--window is 1 to 1048576, --size at most %d", SEQ_LINE_MAX - 64);
	c.due = calloc(c.o.window, sizeof(*c.due));
	if (!c.due)
		fail("no memory left");
	connect_client(&c);
	run(&c);
	return report(&c);
}
