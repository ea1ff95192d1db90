/*
 * rsp.c - the debugger's side of GDB's remote serial protocol.  See rsp.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/rsp.h"

static bool failed(struct rsp *r, enum rsp_end why)
{
	if (r->end == RSP_GOOD)
		r->end = why;
	return false;
}

/* ---- bytes ---- */

static bool send_bytes(struct rsp *r, const void *data, size_t n)
{
	const u8 *p = data;

	while (n) {
		ssize_t sent = send(r->fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return failed(r, RSP_CLOSED);
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* The next byte, by the deadline. */
static bool next_byte(struct rsp *r, u64 deadline_ms, u8 *byte)
{
	struct pollfd port = { .fd = r->fd, .events = POLLIN };

	while (r->raw_at == r->raw_size) {
		u64 now = host_ms();
		int ready = now < deadline_ms ? poll(&port, 1, (int)(deadline_ms - now)) : 0;
		ssize_t n;

		if (!ready)
			return failed(r, RSP_SILENT);
		n = ready > 0 ? recv(r->fd, r->raw, sizeof(r->raw), MSG_DONTWAIT) : -1;
		if (!n || (n < 0 && errno != EINTR && errno != EAGAIN))
			return failed(r, RSP_CLOSED);
		r->raw_at = 0;
		r->raw_size = n > 0 ? (size_t)n : 0;
	}
	*byte = r->raw[r->raw_at++];
	return true;
}

/* ---- packets ---- */

static int digit(u8 c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A body behind its '$', escapes and repetitions undone, and whether its checksum is right. */
static bool receive_body(struct rsp *r, u64 deadline_ms, bool *right)
{
	u8 c, sum = 0, high, low;
	bool escaped = false, repeats = false;

	for (r->size = 0; next_byte(r, deadline_ms, &c) && c != '#'; sum = (u8)(sum + c)) {
		/* [GDB Manual E.1 Overview]: "X*n" is X and n - 29 more of it */
		unsigned times = repeats ? c - 29U : 1;
		u8 what = repeats ? (u8)r->packet[r->size - 1] : escaped ? c ^ 0x20 : c;

		if (!repeats && !escaped && (c == '}' || (c == '*' && r->size))) {
			escaped = c == '}';
			repeats = c == '*';
			continue;
		}
		if ((repeats && c < 29) || r->size + times >= sizeof(r->packet))
			return failed(r, RSP_NONSENSE);
		memset(r->packet + r->size, what, times);
		r->size += times;
		escaped = repeats = false;
	}
	r->packet[r->size] = 0;
	if (r->end != RSP_GOOD || !next_byte(r, deadline_ms, &high) || !next_byte(r, deadline_ms, &low))
		return false;
	*right = digit(high) >= 0 && digit(low) >= 0 && digit(high) * 16 + digit(low) == sum;
	return true;
}

/* The next answer.  What stands between packets is passed over: acknowledgements. */
static bool receive(struct rsp *r)
{
	u64 deadline_ms = host_ms() + (u64)r->patience_ms;
	bool right;
	u8 c;

	for (;;) {
		do {
			if (!next_byte(r, deadline_ms, &c))
				return false;
		} while (c != '$');
		if (!receive_body(r, deadline_ms, &right))
			return false;
		if (r->no_ack)
			return right || failed(r, RSP_NONSENSE);
		if (!send_bytes(r, right ? "+" : "-", 1))
			return false;
		if (right)
			return true;
	}
}

bool rsp_ask(struct rsp *r, const char *fmt, ...)
{
	char body[256], packet[sizeof(body) + 4];
	u8 sum = 0;
	va_list ap;
	int n;

	if (r->end != RSP_GOOD)
		return false;
	va_start(ap, fmt);
	vsnprintf(body, sizeof(body), fmt, ap);
	va_end(ap);
	for (const char *p = body; *p; p++)
		sum = (u8)(sum + (u8)*p);
	n = snprintf(packet, sizeof(packet), "$%s#%02x", body, sum);
	return send_bytes(r, packet, (size_t)n) && receive(r);
}

bool rsp_open(struct rsp *r, int fd, int patience_ms)
{
	*r = (struct rsp){ .fd = fd, .patience_ms = patience_ms };
	/* The stub forgets what an earlier debugger agreed on. */
	if (!rsp_ask(r, "qSupported:swbreak+") || !rsp_ask(r, "QStartNoAckMode"))
		return false;
	r->no_ack = !strcmp(r->packet, "OK");
	/* The acknowledgement of that answer has been sent: from here on there is none. */
	return true;
}

/* ---- what is asked ---- */

/* The bytes of an answer in hexadecimal.  'x' stands for what is not known. */
static bool take_bytes(struct rsp *r, u8 *buf, size_t size, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i + 1 < r->size && *n < size; i += 2) {
		int high = digit((u8)r->packet[i]), low = digit((u8)r->packet[i + 1]);
		bool unknown = r->packet[i] == 'x' && r->packet[i + 1] == 'x';

		if (!unknown && (high < 0 || low < 0))
			return false;
		buf[(*n)++] = unknown ? 0 : (u8)(high << 4 | low);
	}
	return true;
}

bool rsp_threads(struct rsp *r, u64 *ids, size_t max, size_t *n)
{
	const char *p;
	char *end;

	*n = 0;
	if (!rsp_ask(r, "qfThreadInfo"))
		return false;
	if (!r->size) { /* it knows of none: then there is one */
		ids[(*n)++] = 1;
		return true;
	}
	while (r->packet[0] == 'm') {
		for (p = r->packet + 1; *n < max; p = end + 1) {
			ids[(*n)++] = strtoull(p, &end, 16);
			if (end == p)
				return failed(r, RSP_NONSENSE);
			if (*end != ',')
				break;
		}
		if (*n == max || !rsp_ask(r, "qsThreadInfo"))
			return *n == max;
	}
	return *n || failed(r, RSP_NONSENSE);
}

bool rsp_registers(struct rsp *r, u64 thread, u8 *buf, size_t size, size_t *n)
{
	if (!rsp_ask(r, "Hg%llx", (unsigned long long)thread))
		return false;
	if (strcmp(r->packet, "OK"))
		return failed(r, RSP_NONSENSE);
	memset(r->lines, 0, sizeof(r->lines)); /* another vCPU sees other memory */
	if (!rsp_ask(r, "g"))
		return false;
	return take_bytes(r, buf, size, n) && *n ? true : failed(r, RSP_NONSENSE);
}

/* The line that begins at `at`; NULL: it is not there. */
static const struct rsp_line *line(struct rsp *r, u64 at)
{
	struct rsp_line *l = &r->lines[at / RSP_LINE % RSP_LINES];
	size_t n;

	if (!l->known || l->at != at) {
		if (!rsp_ask(r, "m%llx,%x", (unsigned long long)at, RSP_LINE))
			return NULL;
		*l = (struct rsp_line){ .at = at, .known = true };
		/* Lines do not cross pages: there is all of one, or nothing. */
		l->readable = r->packet[0] != 'E' && take_bytes(r, l->data, sizeof(l->data), &n) && n == RSP_LINE;
	}
	return l->readable ? l : NULL;
}

bool rsp_read(struct rsp *r, u64 at, void *buf, size_t n)
{
	u8 *to = buf;

	if (at + n < at)
		return false;
	while (n) {
		const struct rsp_line *l = line(r, at & ~(RSP_LINE - 1UL));
		size_t part = MIN(n, RSP_LINE - at % RSP_LINE);

		if (!l)
			return false;
		memcpy(to, l->data + at % RSP_LINE, part);
		to += part;
		at += part;
		n -= part;
	}
	return true;
}

const char *rsp_end_text(enum rsp_end end)
{
	static const char *const texts[] = {
		[RSP_GOOD] = "no failure",
		[RSP_CLOSED] = "has gone",
		[RSP_SILENT] = "does not answer",
		[RSP_NONSENSE] = "answers what cannot be understood",
	};

	return texts[end];
}
