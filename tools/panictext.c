/*
 * panictext.c - the hypervisor's last words, found in a text.  See
 * panictext.h.
 *
 * The text is anybody's: a terminal's copy, a log with a time in front of each
 * line.
 */
#include <stdlib.h>

#include "tools/panictext.h"

/* A line of the text, without its end; false: no more. */
static bool next_line(const char **at, const char *end, char *line, size_t size)
{
	const char *stop;
	size_t n;

	if (*at == end)
		return false;
	stop = memchr(*at, '\n', (size_t)(end - *at));
	n = MIN((size_t)((stop ? stop : end) - *at), size - 1);
	memcpy(line, *at, n);
	line[n] = 0;
	for (char *p = line; p < line + n; p++) /* a terminal's, or zeros */
		if (*p == '\r' || !*p)
			*p = ' ';
	while (n && line[n - 1] == ' ')
		line[--n] = 0;
	*at = stop ? stop + 1 : end;
	return true;
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '$';
}

/* What stands behind the indentation of a backtrace's line, or NULL.  A log may have blanks in front of it as well. */
static const char *entry_of(const char *line)
{
	const char *at = strstr(line, "    "), *next;

	while (at && (next = strstr(at + strspn(at, " "), "    ")))
		at = next;
	return at ? at + strspn(at, " ") : NULL;
}

/* "name+0x1f (0x10abcd)", "name+0x1f", "0x10abcd", each with nothing behind it. */
static bool parse_frame(struct panic_frame *f, const char *s)
{
	size_t n = 0;
	char *end;

	*f = (struct panic_frame){ 0 };
	if (!strncmp(s, "0x", 2)) {
		f->address = strtoull(s, &end, 16);
		s = end;
	} else {
		while (is_name(s[n]))
			n++;
		if (!n || n >= sizeof(f->name) || strncmp(s + n, "+0x", 3))
			return false;
		memcpy(f->name, s, n);
		f->offset = strtoull(s + n + 1, &end, 16);
		s = end;
	}
	if (!strncmp(s, " (0x", 4)) {
		f->address = strtoull(s + 2, &end, 16);
		if (*end != ')')
			return false;
		s = end + 1;
	}
	return !*s;
}

/* True while it is the backtrace. */
static bool take_line(struct panic_text *p, const char *line)
{
	const char *entry = entry_of(line);

	if (!entry || p->n == PANIC_FRAMES)
		return false;
	if (!strcmp(entry, "...")) {
		p->is_cut = true;
		return false;
	}
	if (!parse_frame(&p->frames[p->n], entry))
		return false;
	p->n++;
	return true;
}

bool panic_parse(struct panic_text *p, const char *text, size_t size)
{
	const char *end = text + size, *found;
	char line[512];
	bool inside = false;

	*p = (struct panic_text){ 0 };
	while (next_line(&text, end, line, sizeof(line))) {
		if (inside) {
			if (!take_line(p, line))
				break;
		} else if ((found = strstr(line, "panic: "))) {
			snprintf(p->message, sizeof(p->message), "%s", found + 7);
		} else if (*p->message && strstr(line, "backtrace:")) {
			inside = true;
		}
	}
	return p->n;
}
