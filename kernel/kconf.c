/*
 * kconf.c - reading "key=value" text.  See kconf.h.
 */
#include "kernel/kconf.h"

const char *conf_find(const char *text, size_t len, const char *key, size_t *value_len)
{
	size_t key_len = strlen(key);
	const char *value = NULL;

	for (size_t at = 0, end; at < len; at = end + 1) {
		for (end = at; end < len && text[end] != '\n'; end++)
			;
		if (text[at] == '#' || end - at <= key_len || text[at + key_len] != '=' ||
		    memcmp(text + at, key, key_len))
			continue;
		value = text + at + key_len + 1;
		*value_len = end - at - key_len - 1;
	}
	return value;
}

bool conf_get(const char *text, size_t len, const char *key, char *buf, size_t size)
{
	size_t value_len = 0;
	const char *value = conf_find(text, len, key, &value_len);

	if (size)
		buf[0] = '\0';
	if (!value || value_len >= size)
		return false;
	memcpy(buf, value, value_len);
	buf[value_len] = '\0';
	return true;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

u64 conf_u64(const char *text, size_t len, const char *key, u64 fallback)
{
	char buf[32];
	const char *p = buf;
	unsigned base = 10;
	u64 v = 0;

	if (!conf_get(text, len, key, buf, sizeof(buf)))
		return fallback;
	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (!*p)
		return fallback;
	for (; *p; p++) {
		unsigned digit = (unsigned)digit_value(*p);

		if (digit >= base || v > (~0UL - digit) / base)
			return fallback;
		v = v * base + digit;
	}
	return v;
}
