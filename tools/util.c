/*
 * util.c - complaints, buffers, numbers, files.  See tool.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/tool.h"

static void line(const char *fmt, va_list ap)
{
	char text[4096];

	/* One write, so that a line stays whole among other programs' output. */
	int n = snprintf(text, sizeof(text), "reprise: ");

	n += vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	if ((size_t)n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n] = '\n';
	write_all(STDERR_FILENO, text, (size_t)n + 1);
}

enum status complain(enum status st, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
	return st;
}

void remark(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line(fmt, ap);
	va_end(ap);
}

void *need(void *p)
{
	if (!p)
		exit(complain(ST_HOST, "memory: none left; give the host more, or the guest less with --mem"));
	return p;
}

static void buf_room(struct buf *b, size_t more)
{
	if (b->room - b->size >= more)
		return;
	b->room = MAX(b->room * 2, b->size + more + 256);
	b->data = need(realloc(b->data, b->room));
}

void buf_add(struct buf *b, const void *data, size_t size)
{
	buf_room(b, size);
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
}

void buf_fill(struct buf *b, u8 byte, size_t size)
{
	buf_room(b, size);
	memset(b->data + b->size, byte, size);
	b->size += size;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	buf_room(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->size, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->size += (size_t)n;
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

/* ---- numbers ---- */

/* The digits s begins with; false without any, or beyond 64 bits. */
static bool parse_digits(const char *s, const char **rest, u64 *v)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*v = strtoull(s, &end, s[0] == '0' && (s[1] == 'x' || s[1] == 'X') ? 16 : 10);
	*rest = end;
	return !errno;
}

static bool scale(u64 *v, u64 by)
{
	return !__builtin_mul_overflow(*v, by, v);
}

bool parse_count(const char *s, unsigned unit, u64 *v)
{
	static const char letters[] = "KMGT";
	const char *at;

	if (!parse_digits(s, &s, v))
		return false;
	if (!*s)
		return true;
	at = *s == ' ' ? NULL : strchr(letters, *s & ~0x20); /* upper case */
	if (!at || s[1])
		return false;
	for (; at >= letters; at--)
		if (!scale(v, unit))
			return false;
	return true;
}

bool parse_duration(const char *s, u64 *ns)
{
	static const struct {
		const char *name;
		u64 ns;
	} units[] = {
		{ "", 1000000000 }, { "s", 1000000000 }, { "ms", 1000000 }, { "us", 1000 },
		{ "ns", 1 }, { "m", 60000000000 }, { "h", 3600000000000 },
	};

	if (!parse_digits(s, &s, ns))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(s, units[i].name))
			return scale(ns, units[i].ns);
	return false;
}

bool parse_date(const char *s, u64 *seconds)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d" };
	const char *rest;

	if (!strcmp(s, "now")) {
		*seconds = (u64)time(NULL);
		return true;
	}
	if (*s == '@')
		return parse_digits(s + 1, &rest, seconds) && !*rest;
	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = { 0 };
		time_t t;

		rest = strptime(s, forms[i], &tm);
		if (!rest || *rest)
			continue;
		t = timegm(&tm);
		*seconds = (u64)t;
		return t >= 0;
	}
	return false;
}

static const char *three_digits(u64 v, unsigned unit, const char *const *names, char buf[32])
{
	double x = (double)v;

	while (x >= unit && names[1]) {
		x /= unit;
		names++;
	}
	if (x == (double)v)
		snprintf(buf, 32, "%llu%s", (unsigned long long)v, *names);
	else
		snprintf(buf, 32, "%.*f%s", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x, *names);
	return buf;
}

const char *human_count(u64 v, char buf[32])
{
	static const char *const names[] = { "", " k", " M", " G", " T", NULL };

	return three_digits(v, 1000, names, buf);
}

const char *human_bytes(u64 v, char buf[32])
{
	static const char *const names[] = { " bytes", " KiB", " MiB", " GiB", " TiB", NULL };

	return three_digits(v, 1024, names, buf);
}

const char *human_ns(u64 ns, char buf[32])
{
	static const char *const names[] = { " ns", " us", " ms", " s", NULL };

	return three_digits(ns, 1000, names, buf);
}

const char *with_commas(u64 v, char buf[32])
{
	char *p = buf + 31;

	*p = 0;
	for (unsigned n = 0; n == 0 || v; n++, v /= 10) {
		if (n && n % 3 == 0)
			*--p = ',';
		*--p = (char)('0' + v % 10);
	}
	return p;
}

#define MAC_CHARS 17

bool parse_mac(const char *text, u8 mac[6])
{
	unsigned b[6];
	int size = 0;

	if (strspn(text, "0123456789abcdefABCDEF:") != MAC_CHARS || text[MAC_CHARS] ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &size) != 6 ||
	    size != MAC_CHARS || (b[0] & 1))
		return false;
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (u8)b[i];
	return memcmp(mac, "\0\0\0\0\0", 6);
}

u64 host_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

u64 host_ms(void)
{
	return host_ns() / 1000000;
}

u64 draw64(u64 *state)
{
	u64 z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* ---- files ---- */

const char *tmp_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir && *dir ? dir : "/tmp";
}

u8 *load_file(const char *path, const char *mend, size_t *size)
{
	struct buf b = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && !fstat(fd, &st) && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
	} else if (fd >= 0) {
		do {
			buf_room(&b, 1 << 20);
			n = read(fd, b.data + b.size, b.room - b.size);
			b.size += n > 0 ? (size_t)n : 0;
		} while (n > 0);
	}
	if (n < 0) {
		remark("%s: %s; %s", path, strerror(errno), mend);
		buf_free(&b);
	}
	if (fd >= 0)
		close(fd);
	*size = b.size;
	return b.data;
}

bool write_all(int fd, const void *data, size_t size)
{
	const u8 *p = data;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool same_names(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool find_beside(const char *const places[2], char path[4096])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		n = 0;
	self[n] = 0;
	*(strrchr(self, '/') ? strrchr(self, '/') : self) = 0;
	for (int i = 1; i >= 0; i--) /* the build tree's last: its name is the one to complain of */
		if (snprintf(path, 4096, "%s/%s", self, places[i]) < 4096 && !access(path, R_OK))
			return true;
	return false;
}

/* Bytes of the UTF-8 sequence p begins with; 0 if it is none [RFC 3629, section 4]. */
static size_t utf8_bytes(const u8 *p, size_t left)
{
	size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;

	if (n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (n > 2 && ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf0 && p[1] < 0x90) ||
		      (*p == 0xf4 && p[1] >= 0x90)))
		return 0;
	return n;
}

void json_string(FILE *f, const void *data, size_t size)
{
	const u8 *p = data;

	putc('"', f);
	for (size_t i = 0, n; i < size; i += MAX(n, (size_t)1)) {
		n = utf8_bytes(p + i, size - i);
		if (p[i] == '"' || p[i] == '\\')
			fprintf(f, "\\%c", p[i]);
		else if (p[i] < 0x20 || p[i] == 0x7f || !n)
			fprintf(f, "\\u%04x", p[i]);
		else
			fwrite(p + i, 1, n, f);
	}
	putc('"', f);
}
