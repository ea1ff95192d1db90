/*
 * ftstatus.c - a host's status, for whoever asks.  See ftstatus.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/ftstatus.h"
#include "tools/session.h"

const char *ftstatus_directory(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	return dir && *dir && !access(dir, W_OK) ? dir : "/tmp";
}

/* ---- opening ---- */

static bool address(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(a->sun_path))
		return false;
	strcpy(a->sun_path, path);
	return true;
}

int ftstatus_connect(const char *path)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), reason = ENAMETOOLONG;

	if (fd < 0)
		return -1;
	if (address(&a, path) && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	reason = strlen(path) >= sizeof(a.sun_path) ? ENAMETOOLONG : errno;
	close(fd);
	errno = reason;
	return -1;
}

/* What a host that was killed left there is nobody's. */
static void remove_stale(const char *path)
{
	int fd = ftstatus_connect(path);
	struct stat st;

	if (fd >= 0)
		close(fd);
	else if (errno == ECONNREFUSED && !lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
}

enum status ftstatus_open(struct ftstatus *s, const char *path)
{
	char own[4096];
	struct sockaddr_un a;
	mode_t mask;
	bool good;

	*s = (struct ftstatus){ .listener = -1 };
	for (unsigned i = 0; i < STATUS_CLIENTS; i++)
		s->client[i].fd = -1;
	if (!path) {
		snprintf(own, sizeof(own), "%s/" STATUS_PREFIX "%d", ftstatus_directory(), (int)getpid());
		path = own;
	}
	if (!address(&a, path))
		return complain(ST_USAGE, "--status %s: too long a name for a socket; give one of at most %zu bytes", path,
				sizeof(a.sun_path) - 1);
	remove_stale(path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0077);
	good = s->listener >= 0 && !bind(s->listener, (struct sockaddr *)&a, sizeof(a)) && !listen(s->listener, STATUS_CLIENTS);
	umask(mask);
	if (good) {
		strcpy(s->path, path);
		return ST_OK;
	}
	if (s->listener >= 0)
		close(s->listener);
	s->listener = -1;
	return complain(ST_USAGE, "--status %s: %s; give another place", path, strerror(errno));
}

static void drop(struct status_client *c)
{
	close(c->fd);
	buf_free(&c->block);
	*c = (struct status_client){ .fd = -1 };
}

void ftstatus_close(struct ftstatus *s)
{
	if (s->listener < 0)
		return;
	for (unsigned i = 0; i < STATUS_CLIENTS; i++)
		if (s->client[i].fd >= 0)
			drop(&s->client[i]);
	close(s->listener);
	s->listener = -1;
	unlink(s->path);
	buf_free(&s->block);
}

/* ---- blocks ---- */

/* Sends what it can; a new block begins when the one before is out. */
static void serve(struct ftstatus *s, struct status_client *c)
{
	while (c->sent < c->block.size || c->edition != s->edition) {
		ssize_t n;

		if (c->sent == c->block.size) {
			c->block.size = c->sent = 0;
			buf_add(&c->block, s->block.data, s->block.size);
			c->edition = s->edition;
		}
		n = send(c->fd, c->block.data + c->sent, c->block.size - c->sent, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			drop(c);
			return;
		}
		c->sent += (size_t)n;
	}
}

void ftstatus_set(struct ftstatus *s, const struct buf *head, const char *pairs)
{
	char key[64], value[512];

	s->block.size = 0;
	buf_add(&s->block, head->data, head->size);
	while (control_next(&pairs, key, sizeof(key), value, sizeof(value)))
		buf_printf(&s->block, "%s: %s\n", key, value);
	buf_add(&s->block, "\n", 1);
	s->edition++;
	for (unsigned i = 0; i < STATUS_CLIENTS; i++)
		if (s->client[i].fd >= 0)
			serve(s, &s->client[i]);
}

unsigned ftstatus_watch(const struct ftstatus *s, struct pollfd fds[STATUS_NFDS])
{
	bool full = true;

	for (unsigned i = 0; i < STATUS_CLIENTS; i++) {
		const struct status_client *c = &s->client[i];

		fds[1 + i] = (struct pollfd){ .fd = c->fd, .events = (short)(POLLIN | (c->sent < c->block.size ? POLLOUT : 0)) };
		full &= c->fd >= 0;
	}
	fds[0] = (struct pollfd){ .fd = full ? -1 : s->listener, .events = POLLIN };
	return STATUS_NFDS;
}

static void welcome(struct ftstatus *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (unsigned i = 0; fd >= 0 && i < STATUS_CLIENTS; i++) {
		if (s->client[i].fd >= 0)
			continue;
		s->client[i] = (struct status_client){ .fd = fd, .edition = s->edition - 1 };
		serve(s, &s->client[i]);
		return;
	}
	if (fd >= 0)
		close(fd);
}

/* He has left: with an error, if he did not read all. */
static bool has_left(int fd)
{
	u8 ignored[256];
	ssize_t n = recv(fd, ignored, sizeof(ignored), 0);

	return !n || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void ftstatus_turn(struct ftstatus *s, const struct pollfd *fds, unsigned nfds)
{
	for (unsigned i = 0; i + 1 < nfds; i++) {
		struct status_client *c = &s->client[i];

		if (c->fd < 0 || c->fd != fds[1 + i].fd || !fds[1 + i].revents)
			continue;
		if (fds[1 + i].revents & ~POLLOUT && has_left(c->fd))
			drop(c);
		else
			serve(s, c);
	}
	if (nfds && fds[0].fd >= 0 && fds[0].revents)
		welcome(s);
}

/* ---- the other end ---- */

bool ftstatus_block(struct buf *heard, struct buf *block)
{
	const u8 *end = heard->size ? memmem(heard->data, heard->size, "\n\n", 2) : NULL;

	if (!end)
		return false;
	block->size = 0;
	buf_add(block, heard->data, (size_t)(end + 1 - heard->data));
	buf_add(block, "", 1);
	heard->size -= (size_t)(end + 2 - heard->data);
	memmove(heard->data, end + 2, heard->size);
	return true;
}

bool ftstatus_get(const char *block, const char *key, char *value, size_t size)
{
	size_t n = strlen(key);
	bool found = false;

	value[0] = 0;
	for (const char *p = block; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (!strncmp(p, key, n) && p[n] == ':' && p[n + 1] == ' ') {
			snprintf(value, size, "%.*s", (int)strcspn(p + n + 2, "\n"), p + n + 2);
			found = true;
		}
	return found;
}
