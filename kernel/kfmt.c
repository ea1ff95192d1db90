/*
 * kfmt.c - printf's formatting.  See kfmt.h.
 */
#include "kernel/kfmt.h"

struct sink {
	void (*put)(void *ctx, const char *text, size_t size);
	void *ctx;
};

struct spec {
	bool left, zero;
	int width, precision; /* precision -1: not given */
	unsigned size_bytes;  /* of the integer argument */
};

static void emit(const struct sink *s, const char *text, size_t size)
{
	if (size)
		s->put(s->ctx, text, size);
}

static void pad(const struct sink *s, char c, int n)
{
	while (n-- > 0)
		s->put(s->ctx, &c, 1);
}

/* prefix is a sign or "0x": zeros go between it and the digits. */
static void put_padded(const struct sink *s, const struct spec *sp, const char *prefix,
		       const char *text, size_t size)
{
	int prefix_len = (int)strlen(prefix), len = (int)size + prefix_len;

	if (!sp->left && !sp->zero)
		pad(s, ' ', sp->width - len);
	emit(s, prefix, (size_t)prefix_len);
	if (!sp->left && sp->zero)
		pad(s, '0', sp->width - len);
	emit(s, text, size);
	if (sp->left)
		pad(s, ' ', sp->width - len);
}

static void put_number(const struct sink *s, struct spec *sp, u64 v, unsigned base, bool upper,
		       const char *prefix)
{
	char digits[64];
	size_t at = sizeof(digits);

	if (sp->precision > (int)sizeof(digits))
		sp->precision = sizeof(digits);
	while (v || at == sizeof(digits)) {
		digits[--at] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
		v /= base;
	}
	while ((int)(sizeof(digits) - at) < sp->precision)
		digits[--at] = '0';
	if (sp->precision >= 0)
		sp->zero = false;
	put_padded(s, sp, prefix, digits + at, sizeof(digits) - at);
}

static void put_string(const struct sink *s, struct spec *sp, const char *text)
{
	size_t len = 0;

	if (!text)
		text = "(null)";
	while ((sp->precision < 0 || len < (size_t)sp->precision) && text[len])
		len++;
	sp->zero = false;
	put_padded(s, sp, "", text, len);
}

static const char *parse_number(const char *p, int *n)
{
	for (*n = 0; *p >= '0' && *p <= '9'; p++)
		if (*n < 10000)
			*n = *n * 10 + (*p - '0');
	return p;
}

static const char *parse_length(const char *p, struct spec *sp)
{
	sp->size_bytes = 4;
	if (*p == 'z') {
		sp->size_bytes = 8;
		return p + 1;
	}
	if (*p == 'l') {
		sp->size_bytes = 8;
		return p + (p[1] == 'l' ? 2 : 1);
	}
	if (*p == 'h') {
		sp->size_bytes = p[1] == 'h' ? 1 : 2;
		return p + (p[1] == 'h' ? 2 : 1);
	}
	return p;
}

void kvformat(void (*put)(void *ctx, const char *text, size_t size), void *ctx,
	      const char *fmt, va_list args)
{
	const struct sink s = { put, ctx };
	const char *p = fmt;

	for (;;) {
		const char *start = p;
		struct spec sp = { .precision = -1 };
		u64 v;
		char c;

		while (*p && *p != '%')
			p++;
		emit(&s, start, (size_t)(p - start));
		if (!*p)
			return;
		start = p++;
		for (; *p == '-' || *p == '0'; p++)
			*(*p == '-' ? &sp.left : &sp.zero) = true;
		if (*p == '*') {
			sp.width = va_arg(args, int);
			p++;
		} else {
			p = parse_number(p, &sp.width);
		}
		if (sp.width < 0) {
			sp.left = true;
			sp.width = -sp.width;
		}
		if (*p == '.' && p[1] == '*') {
			sp.precision = va_arg(args, int);
			p += 2;
		} else if (*p == '.') {
			p = parse_number(p + 1, &sp.precision);
		}
		p = parse_length(p, &sp);
		switch (*p) {
		case 'd':
		case 'i':
			v = sp.size_bytes == 8 ? va_arg(args, u64) : (u64)va_arg(args, int);
			if (sp.size_bytes < 4)
				v = sp.size_bytes == 1 ? (u64)(s8)v : (u64)(s16)v;
			put_number(&s, &sp, (s64)v < 0 ? -v : v, 10, false, (s64)v < 0 ? "-" : "");
			break;
		case 'u':
		case 'x':
		case 'X':
			v = sp.size_bytes == 8 ? va_arg(args, u64) : va_arg(args, unsigned);
			put_number(&s, &sp, v & size_mask(sp.size_bytes), *p == 'u' ? 10 : 16,
				   *p == 'X', "");
			break;
		case 'p':
			put_number(&s, &sp, (u64)(uintptr_t)va_arg(args, void *), 16, false, "0x");
			break;
		case 'c':
			c = (char)va_arg(args, int);
			sp.zero = false;
			put_padded(&s, &sp, "", &c, 1);
			break;
		case 's':
			put_string(&s, &sp, va_arg(args, const char *));
			break;
		case '%':
			emit(&s, "%", 1);
			break;
		default: /* not ours: show it */
			emit(&s, start, (size_t)(p - start));
			continue;
		}
		p++;
	}
}

struct bounded {
	char *buf;
	size_t size, length;
};

static void put_bounded(void *ctx, const char *text, size_t size)
{
	struct bounded *b = ctx;

	for (size_t i = 0; i < size; i++, b->length++)
		if (b->length + 1 < b->size)
			b->buf[b->length] = text[i];
}

size_t kvsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
	struct bounded b = { buf, size, 0 };

	kvformat(put_bounded, &b, fmt, args);
	if (size)
		buf[MIN(b.length, size - 1)] = '\0';
	return b.length;
}

size_t ksnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t length;

	va_start(args, fmt);
	length = kvsnprintf(buf, size, fmt, args);
	va_end(args);
	return length;
}
