/*
 * packet.c - framing: checksums, acknowledgements, escapes.  See packet.h.
 *
 * Changes only struct packets; talks to the link.
 */
#include "gdbstub/packet.h"
#include "kernel/kfmt.h"

/* ---- coming in ---- */

void packet_fill(struct packets *p)
{
	size_t n;

	while (p->nraw < sizeof(p->raw)) {
		n = p->link.read(p->link.ctx, p->raw + p->nraw, sizeof(p->raw) - p->nraw);
		if (!n)
			return;
		p->nraw += MIN(n, sizeof(p->raw) - p->nraw);
	}
}

static void drop(struct packets *p, size_t n)
{
	p->nraw -= n;
	memmove(p->raw, p->raw + n, p->nraw);
}

/* Goes over the bytes between packets; with `dropping`, takes the interrupts out.  Returns how many there are. */
static size_t interrupts(const struct packets *p, u8 *raw, bool dropping)
{
	size_t n = 0;
	bool inside = false;

	for (size_t i = 0; i < p->nraw; i++) {
		if (p->raw[i] == '$' || p->raw[i] == '#') /* no digit of the checksum behind '#' is 0x03 */
			inside = p->raw[i] == '$';
		else if (p->raw[i] == PACKET_INTERRUPT && !inside && ++n)
			continue;
		if (dropping)
			raw[i - n] = p->raw[i];
	}
	return n;
}

bool packet_interrupted(const struct packets *p)
{
	return interrupts(p, NULL, false);
}

void packet_drop_interrupts(struct packets *p)
{
	p->nraw -= interrupts(p, p->raw, true);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What stands between packets: acknowledgements, noise, an interrupt that came too late for its journey. */
static void skip_to_packet(struct packets *p)
{
	size_t i;

	for (i = 0; i < p->nraw && p->raw[i] != '$'; i++)
		if (p->raw[i] == PACKET_INTERRUPT)
			p->interrupt_left = true;
		else if (p->raw[i] == '-' && !p->no_ack && p->nout)
			p->link.write(p->link.ctx, p->out, p->nout);
	drop(p, i);
}

/* The body without its escapes; '}' stands for nothing else in any packet [GDB Manual E.1 Overview]. */
static void unescape(struct packets *p, const u8 *body, size_t n)
{
	p->size = 0;
	for (size_t i = 0; i < n; i++) {
		u8 c = body[i];

		if (c == '}' && i + 1 < n)
			c = body[++i] ^ 0x20;
		p->in[p->size++] = (char)c;
	}
	p->in[p->size] = 0;
}

static bool acknowledge(struct packets *p, const u8 *body, size_t n)
{
	u8 sum = 0;
	int high = digit((char)body[n + 1]), low = digit((char)body[n + 2]);

	/* A GDB that has just come knows nothing of what an earlier one agreed on. */
	if (n >= 10 && !memcmp(body, "qSupported", 10))
		p->no_ack = false;
	if (p->no_ack)
		return true;
	for (size_t i = 0; i < n; i++)
		sum = (u8)(sum + body[i]);
	if (high < 0 || low < 0 || sum != high * 16 + low) {
		p->link.write(p->link.ctx, "-", 1);
		return false;
	}
	p->link.write(p->link.ctx, "+", 1);
	return true;
}

bool packet_next(struct packets *p)
{
	packet_fill(p);
	for (;;) {
		size_t end = 1;
		bool good;

		skip_to_packet(p);
		/* A '$' in a packet begins another: the end of this one was lost. */
		while (end < p->nraw && p->raw[end] != '#' && p->raw[end] != '$')
			end++;
		if (end < p->nraw && p->raw[end] == '$') {
			drop(p, end);
			continue;
		}
		if (end + 2 >= p->nraw) {
			if (p->nraw == sizeof(p->raw))
				drop(p, p->nraw); /* no packet is that long */
			return false;
		}
		good = acknowledge(p, p->raw + 1, end - 1);
		/* One longer than GDB was told is unknown: its answer is the empty one. */
		if (good)
			unescape(p, p->raw + 1, end - 1 <= PACKET_BYTES ? end - 1 : 0);
		drop(p, end + 3);
		if (good)
			return true;
	}
}

/* ---- going out ---- */

static const char hex_digits[] = "0123456789abcdef";

void packet_begin(struct packets *p)
{
	p->out[0] = '$';
	p->nout = 1;
}

/* What does not fit is lost: callers ask for no more than GDB can take, which is half of it. */
static void put(void *ctx, const char *text, size_t n)
{
	struct packets *p = ctx;

	n = MIN(n, sizeof(p->out) - 3 - p->nout);
	memcpy(p->out + p->nout, text, n);
	p->nout += n;
}

void packet_text(struct packets *p, const char *text)
{
	put(p, text, strlen(text));
}

void packet_hex(struct packets *p, const void *data, size_t n)
{
	const u8 *b = data;

	for (size_t i = 0; i < n; i++) {
		char pair[2] = { hex_digits[b[i] >> 4], hex_digits[b[i] & 15] };

		put(p, pair, 2);
	}
}

void packet_binary(struct packets *p, const void *data, size_t n)
{
	const char *b = data;

	for (size_t i = 0; i < n; i++) {
		char escaped[2] = { '}', (char)(b[i] ^ 0x20) };
		bool special = b[i] == '$' || b[i] == '#' || b[i] == '}' || b[i] == '*';

		put(p, special ? escaped : b + i, special ? 2 : 1);
	}
}

/*
 * Runs of one character as that, '*' and a count [GDB Manual E.1 Overview]: registers and
 * memory are zeros for the most part, and each byte on the wire costs microseconds.  The
 * count is a printable character, of n repeats that with the value n + 29; '#' and '$' it
 * must not be.
 */
static size_t shorten(char *s, size_t n)
{
	size_t out = 0, repeats;

	for (size_t i = 0; i < n; i += repeats + 1) {
		char c = s[i];

		for (repeats = 0; i + repeats + 1 < n && s[i + repeats + 1] == c && repeats < 97;)
			repeats++;
		if (repeats + 29 == '#' || repeats + 29 == '$')
			repeats = '"' - 29;
		s[out++] = c;
		if (repeats >= 3) {
			s[out++] = '*';
			s[out++] = (char)(repeats + 29);
		} else {
			for (size_t k = 0; k < repeats; k++)
				s[out++] = c;
		}
	}
	return out;
}

void packet_send(struct packets *p)
{
	u8 sum = 0;

	p->nout = 1 + shorten(p->out + 1, p->nout - 1);
	for (size_t i = 1; i < p->nout; i++)
		sum = (u8)(sum + (u8)p->out[i]);
	p->out[p->nout++] = '#';
	p->out[p->nout++] = hex_digits[sum >> 4];
	p->out[p->nout++] = hex_digits[sum & 15];
	p->link.write(p->link.ctx, p->out, p->nout);
}

void packet_reply(struct packets *p, const char *fmt, ...)
{
	va_list ap;

	packet_begin(p);
	va_start(ap, fmt);
	kvformat(put, p, fmt, ap);
	va_end(ap);
	packet_send(p);
}

/* ---- forms ---- */

bool take(const char **s, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*s, word, n))
		return false;
	*s += n;
	return true;
}

bool take_hex(const char **s, u64 *value)
{
	const char *from = *s;

	for (*value = 0; digit(**s) >= 0; (*s)++) {
		if (*value >> 60)
			return false;
		*value = *value << 4 | (u64)digit(**s);
	}
	return *s != from;
}

bool take_bytes(const char **s, u8 *buf, size_t n)
{
	for (size_t i = 0; i < n; i++, *s += 2) {
		int high = digit((*s)[0]), low = high < 0 ? -1 : digit((*s)[1]);

		if (low < 0)
			return false;
		buf[i] = (u8)(high << 4 | low);
	}
	return true;
}
