/*
 * ftarbiter.c - the store of a pair.  See ftarbiter.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/ftarbiter.h"
#include "tools/scsiunit.h"
#include "tools/session.h"

#define LOCK_TRIES 50 /* a millisecond apart: whoever has the lock needs microseconds */

/* ---- names ---- */

const char *arbiter_kind_name(const struct arbiter *a)
{
	return a->kind == ARBITER_FILE ? "file" : "scsi";
}

static enum status open_device(struct arbiter *a, const char *url, const char *path)
{
	struct buf b = { 0 };
	struct stat st;

	if (stat(path, &st) || access(path, R_OK | W_OK))
		return complain(ST_USAGE, "--arbiter %s: %s; name a SCSI disk's device that can be written", url, strerror(errno));
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return complain(ST_USAGE, "--arbiter %s: not a device; a file is given as file:PATH", url);
	buf_printf(&b, "driver=host_device,node-name=%s", a->unit.name);
	unit_option(&b, "filename", path, strlen(path));
	a->kind = ARBITER_SCSI;
	return unit_keep_drive(&a->unit, &b, "--arbiter", url);
}

static enum status open_file(struct arbiter *a, const char *url, const char *path)
{
	int fd = *path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
	struct stat st;
	enum status result = ST_OK;

	if (fd < 0 || fstat(fd, &st))
		result = complain(ST_USAGE, "--arbiter %s: %s; give a file both hosts can write", url,
				  *path ? strerror(errno) : "no name");
	else if (!S_ISREG(st.st_mode))
		result = complain(ST_USAGE, "--arbiter %s: not a file; a disk is given as scsi:DEVICE", url);
	else if (st.st_size && st.st_size != ARBITER_WORD)
		result = complain(ST_USAGE, "--arbiter %s: something else's file; give a new name", url);
	if (fd >= 0)
		close(fd);
	a->kind = ARBITER_FILE;
	a->path = path;
	return result;
}

enum status arbiter_open(struct arbiter *a, const char *url, char side)
{
	static const char scsi[] = "scsi:", file[] = "file:";

	*a = (struct arbiter){ .unit.name = "arbiter" };
	if (unit_is_iscsi(url)) {
		a->kind = ARBITER_SCSI;
		return unit_iscsi(&a->unit, "--arbiter", url, side);
	}
	if (!strncmp(url, scsi, sizeof(scsi) - 1))
		return open_device(a, url, url + sizeof(scsi) - 1);
	if (!strncmp(url, file, sizeof(file) - 1))
		return open_file(a, url, url + sizeof(file) - 1);
	return complain(ST_USAGE, "--arbiter %s: not understood; give " UNIT_FORM ", scsi:DEVICE or file:PATH", url);
}

/* ---- the file ---- */

static bool parse_word(const char *line, const char *key, u8 word[ARBITER_WORD])
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * ARBITER_WORD + 2];

	if (!control_get(line, key, text, sizeof(text)) || strlen(text) != 2 * ARBITER_WORD)
		return false;
	for (unsigned i = 0; i < 2 * ARBITER_WORD; i++) {
		const char *digit = memchr(digits, text[i], 16);

		if (!digit)
			return false;
		word[i / 2] = (u8)(word[i / 2] << 4 | (digit - digits));
	}
	return true;
}

static void put_word(struct buf *b, const u8 word[ARBITER_WORD])
{
	buf_printf(b, " word=");
	for (unsigned i = 0; i < ARBITER_WORD; i++)
		buf_printf(b, "%02x", word[i]);
}

/* The file, locked; -1: not to be had now. */
static int lock_file(const struct arbiter *a)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	int fd = open(a->path, O_RDWR | O_CLOEXEC);

	for (unsigned i = 0; fd >= 0; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return fd;
		if (i == LOCK_TRIES)
			break;
		nanosleep(&pause, NULL);
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static const char *ask_file(const struct arbiter *a, const char *line, u8 word[ARBITER_WORD], bool *has_word)
{
	u8 expected[ARBITER_WORD], desired[ARBITER_WORD];
	char op[16];
	const char *result;
	ssize_t n;
	int fd;

	*has_word = false;
	control_get(line, "op", op, sizeof(op));
	if (strcmp(op, "swap") || !parse_word(line, "expected", expected) || !parse_word(line, "desired", desired))
		return "unreachable";
	fd = lock_file(a);
	if (fd < 0)
		return "unreachable";
	memset(word, 0, ARBITER_WORD);
	n = pread(fd, word, ARBITER_WORD, 0);
	if (n && n != ARBITER_WORD) {
		result = "unreachable";
	} else if (memcmp(word, expected, ARBITER_WORD)) {
		*has_word = true;
		result = "differs";
	} else {
		/* It survives what the host does not: a word that comes back would let two be live. */
		result = pwrite(fd, desired, ARBITER_WORD, 0) == ARBITER_WORD && !fdatasync(fd) ? "swapped" : "unknown";
	}
	close(fd);
	return result;
}

bool arbiter_line(const struct arbiter *a, const char *line, struct buf *answers)
{
	static const char prefix[] = "arbiter ";
	u8 word[ARBITER_WORD];
	bool has_word = false;
	const char *result = "unreachable";
	char n[32];

	if (strncmp(line, prefix, sizeof(prefix) - 1))
		return false;
	control_get(line, "n", n, sizeof(n));
	if (a->kind == ARBITER_FILE)
		result = ask_file(a, line, word, &has_word);
	buf_printf(answers, "arbiter n=%s result=%s", n, result);
	if (has_word)
		put_word(answers, word);
	buf_add(answers, "\n", 1);
	return true;
}
