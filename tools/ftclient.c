/*
 * ftclient.c - asks, and remembers what it asked.  See ftclient.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/ftclient.h"

#define FNV_START 0xcbf29ce484222325u
#define HELLO "seqd 1\n"
#define TRY_AGAIN_NS 200000000u
#define HELLO_PATIENCE_NS 3000000000u /* a door without a server behind it: a forwarder's, perhaps */
#define PAYLOAD 32

static u64 fnv(u64 sum, const char *data, size_t size)
{
	while (size--)
		sum = (sum ^ (u8)*data++) * 0x100000001b3u;
	return sum;
}

void client_init(struct client *c, const char *address, unsigned port, unsigned rate, u64 patience_ns, u64 seed)
{
	*c = (struct client){
		.address = address, .port = port, .period_ns = 1000000000u / MAX(rate, 1u), .fd = -1, .seed = seed, .sum = FNV_START,
		.patience_ns = patience_ns,
	};
}

void client_connect(struct client *c)
{
	c->state = CLIENT_CONNECTING;
	c->try_at_ns = 0;
}

static void shut(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->in_size = c->out_size = 0;
}

void client_close(struct client *c)
{
	shut(c);
	c->state = CLIENT_DONE;
}

static void broke(struct client *c, const char *how)
{
	if (!c->broken[0])
		snprintf(c->broken, sizeof(c->broken), "%s", how);
	client_close(c);
}

u64 client_lost(const struct client *c)
{
	return c->sent - c->next + c->left_out;
}

static u64 due(const struct client *c)
{
	return c->sent - c->next;
}

/* ---- pauses ---- */

/* The wait for the answer that is due began when the one before came, or when it was asked. */
static u64 waiting_since(const struct client *c)
{
	return MAX(c->heard_ns, c->due[c->next % CLIENT_DUE_MAX].sent_ns);
}

static void note_wait(struct client *c, u64 now)
{
	u64 since = waiting_since(c);

	if (now > since && now - since > c->pause_ns) {
		c->pause_ns = now - since;
		c->pause_from_ns = since;
	}
}

void client_mark(struct client *c)
{
	c->pause_ns = c->pause_from_ns = 0;
}

u64 client_pause_ns(const struct client *c, u64 now_ns)
{
	u64 lasts = due(c) && now_ns > waiting_since(c) ? now_ns - waiting_since(c) : 0;

	return MAX(c->pause_ns, lasts);
}

/* ---- requests ---- */

static void ask(struct client *c, u64 now)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char line[64 + PAYLOAD];
	int n = snprintf(line, sizeof(line), "%llu ", (unsigned long long)c->sent);
	u64 x = (c->sent + 1) * 0x9e3779b97f4a7c15u ^ c->seed;

	if (due(c) >= CLIENT_DUE_MAX || c->out_size + sizeof(line) > sizeof(c->out))
		return;
	for (unsigned i = 0; i < PAYLOAD; i++, x = x * 6364136223846793005u + 1442695040888963407u)
		line[n++] = letters[x >> 58];
	line[n++] = '\n';
	c->sum = fnv(c->sum, line, (size_t)n);
	c->due[c->sent % CLIENT_DUE_MAX].sent_ns = now;
	c->due[c->sent % CLIENT_DUE_MAX].sum = c->sum;
	if (!due(c))
		c->heard_ns = now;
	memcpy(c->out + c->out_size, line, (size_t)n);
	c->out_size += (size_t)n;
	c->sent++;
}

static void flush(struct client *c)
{
	ssize_t n = c->out_size ? send(c->fd, c->out, c->out_size, MSG_NOSIGNAL) : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		broke(c, strerror(errno));
		return;
	}
	if (n > 0) {
		c->out_size -= (size_t)n;
		memmove(c->out, c->out + n, c->out_size);
	}
}

/* ---- answers ---- */

static void answer(struct client *c, const char *line, u64 now)
{
	char *end;
	u64 seq = strtoull(line, &end, 10), sum;

	if (end == line || *end != ' ' || seq >= c->sent) {
		c->contradicted++; /* no answer, or to nothing that was asked */
		return;
	}
	if (seq < c->next) {
		c->repeated++;
		return;
	}
	note_wait(c, now);
	sum = strtoull(end + 1, NULL, 16);
	/* With another sum it is one of another past. */
	if (sum == c->due[seq % CLIENT_DUE_MAX].sum && strlen(end + 1) == 16)
		c->answered++;
	else
		c->contradicted++;
	c->left_out += seq - c->next;
	c->next = seq + 1;
	c->heard_ns = now;
}

static void greet(struct client *c, u64 now)
{
	if (c->in_size < strlen(HELLO))
		return;
	if (memcmp(c->in, HELLO, strlen(HELLO))) {
		broke(c, "no server of numbers answered");
		return;
	}
	c->in_size -= strlen(HELLO);
	memmove(c->in, c->in + strlen(HELLO), c->in_size);
	c->state = CLIENT_SENDING;
	c->next_send_ns = c->heard_ns = now;
}

static void answers(struct client *c, u64 now)
{
	size_t at = 0;
	char *newline;

	while ((newline = memchr(c->in + at, '\n', c->in_size - at))) {
		*newline = 0;
		answer(c, c->in + at, now);
		at = (size_t)(newline + 1 - c->in);
	}
	memmove(c->in, c->in + at, c->in_size - at);
	c->in_size -= at;
	if (c->in_size == sizeof(c->in))
		broke(c, "an answer without an end");
}

/* It ended: as it should if all was asked and answered. */
static void ended(struct client *c, int reason)
{
	if (c->state == CLIENT_CONNECTING) {
		shut(c); /* nobody there yet */
	} else if (c->state == CLIENT_LEAVING && !reason && !due(c)) {
		client_close(c);
	} else {
		broke(c, reason ? strerror(reason) : "closed by the server");
	}
}

static void hear(struct client *c, u64 now)
{
	while (c->fd >= 0) {
		ssize_t n = recv(c->fd, c->in + c->in_size, sizeof(c->in) - c->in_size, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			ended(c, n ? errno : 0);
			return;
		}
		c->in_size += (size_t)n;
		if (c->state == CLIENT_CONNECTING)
			greet(c, now);
		if (c->state == CLIENT_SENDING || c->state == CLIENT_LEAVING)
			answers(c, now);
	}
}

/* ---- its time ---- */

static void try_to_connect(struct client *c, u64 now)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((u16)c->port) };
	int one = 1;

	shut(c);
	c->try_at_ns = now + HELLO_PATIENCE_NS;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || !inet_aton(c->address, &a.sin_addr)) {
		broke(c, "no socket");
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) && errno != EINPROGRESS)
		shut(c);
}

void client_leave(struct client *c)
{
	if (c->state == CLIENT_SENDING)
		c->state = CLIENT_LEAVING;
	else if (c->state < CLIENT_SENDING)
		client_close(c);
}

struct pollfd client_watch(const struct client *c, u64 *until_ns)
{
	*until_ns = UINT64_MAX;
	if (c->state == CLIENT_CONNECTING)
		*until_ns = c->try_at_ns;
	else if (c->state == CLIENT_SENDING)
		*until_ns = c->next_send_ns;
	else if (c->state == CLIENT_LEAVING)
		*until_ns = c->heard_ns + c->patience_ns;
	return (struct pollfd){ .fd = c->fd, .events = (short)(POLLIN | (c->out_size ? POLLOUT : 0)) };
}

void client_turn(struct client *c, short revents, u64 now)
{
	if (c->state == CLIENT_IDLE || c->state == CLIENT_DONE)
		return;
	if (revents)
		hear(c, now);
	if (c->state == CLIENT_CONNECTING) {
		if (c->fd < 0 && c->try_at_ns > now + TRY_AGAIN_NS)
			c->try_at_ns = now + TRY_AGAIN_NS;
		if (now >= c->try_at_ns)
			try_to_connect(c, now);
		return;
	}
	if (c->state == CLIENT_SENDING && now >= c->next_send_ns) {
		ask(c, now);
		/* After a pause not all at once what was not asked meanwhile. */
		c->next_send_ns = MAX(c->next_send_ns + c->period_ns, now);
	}
	if (c->fd >= 0)
		flush(c);
	if (c->state == CLIENT_LEAVING && !due(c) && !c->out_size)
		shutdown(c->fd, SHUT_WR);
	if (c->state == CLIENT_DONE)
		return;
	/* All that the server still says would be too much: it is heard to its end. */
	if ((due(c) || c->state == CLIENT_LEAVING) && now > waiting_since(c) + c->patience_ns) {
		note_wait(c, now);
		broke(c, due(c) ? "no answer for too long" : "not closed by the server");
	}
}
