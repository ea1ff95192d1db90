/*
 * cmd_ftstatus.c - `reprise ft status`: prints what hosts of pairs on this machine say.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cmd_ft.h"
#include "tools/ftstatus.h"
#include "tools/options.h"

#define HOSTS_MAX 64
#define ANSWER_MS 2000 /* a host that says nothing for so long hangs */

struct host {
	char path[4096];
	int fd;          /* -1: done with */
	struct buf text; /* what has come of a block */
	bool any;        /* a block has come */
};

struct hosts {
	struct host host[HOSTS_MAX];
	unsigned n, shown;
	bool json;
};

/* ---- finding them ---- */

static void add(struct hosts *h, const char *path, int fd)
{
	struct host *new = &h->host[h->n++];

	*new = (struct host){ .fd = fd };
	snprintf(new->path, sizeof(new->path), "%s", path);
}

/* All of ours in a directory.  One that nobody listens at is what a killed host left. */
static void look_in(struct hosts *h, const char *dir)
{
	struct dirent **found;
	int n = scandir(dir, &found, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		const char *name = found[i]->d_name;
		char path[4096];
		struct stat st;
		int fd;

		if (h->n < HOSTS_MAX && !strncmp(name, STATUS_PREFIX, strlen(STATUS_PREFIX)) &&
		    snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path) && !lstat(path, &st) &&
		    S_ISSOCK(st.st_mode) && st.st_uid == getuid()) {
			fd = ftstatus_connect(path);
			if (fd >= 0)
				add(h, path, fd);
			else if (errno == ECONNREFUSED)
				unlink(path);
		}
		free(found[i]);
	}
	if (n >= 0)
		free(found);
}

static enum status find(struct hosts *h, const struct options *o)
{
	if (o->noperands) {
		int fd = ftstatus_connect(o->operands[0]);

		if (fd < 0)
			return complain(ST_USAGE, "%s: %s; give the socket of a host that runs", o->operands[0], strerror(errno));
		add(h, o->operands[0], fd);
		return ST_OK;
	}
	look_in(h, ftstatus_directory());
	return h->n ? ST_OK : complain(ST_USAGE, "ft status: no host of a pair runs here; one with a --status of its own is asked by that path");
}

/* ---- printing ---- */

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 19 && (*text != '0' || !text[1]);
}

static void print_json(const char *path, char *block)
{
	char *line, *rest = block;

	fputs("{\"socket\": ", stdout);
	json_string(stdout, path, strlen(path));
	while ((line = strsep(&rest, "\n"))) {
		char *value = strstr(line, ": ");

		if (!value)
			continue;
		*value = 0;
		value += 2;
		fputs(", ", stdout);
		json_string(stdout, line, strlen(line));
		fputs(": ", stdout);
		if (is_number(value))
			fputs(value, stdout);
		else
			json_string(stdout, value, strlen(value));
	}
	fputs("}\n", stdout);
}

static void print(struct hosts *h, const struct host *host, char *block)
{
	if (h->json) {
		print_json(host->path, block);
	} else {
		printf("%ssocket: %s\n%s", h->shown ? "\n" : "", host->path, block);
	}
	h->shown++;
	fflush(stdout);
}

/* Whole blocks that have come. */
static void take(struct hosts *h, struct host *host, bool follow)
{
	struct buf block = { 0 };

	while ((follow || !host->any) && ftstatus_block(&host->text, &block)) {
		print(h, host, (char *)block.data);
		host->any = true;
	}
	buf_free(&block);
}

static void hear(struct hosts *h, struct host *host, bool follow)
{
	char bytes[4096];
	ssize_t n = recv(host->fd, bytes, sizeof(bytes), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		buf_add(&host->text, bytes, (size_t)n);
		take(h, host, follow);
	}
	if (n > 0 && (follow || !host->any))
		return;
	close(host->fd);
	host->fd = -1;
}

static enum status listen_to(struct hosts *h, bool follow)
{
	struct pollfd fds[HOSTS_MAX];
	u64 end_ms = host_ms() + ANSWER_MS;
	enum status st = ST_OK;

	for (;;) {
		bool open = false, silent = false;
		u64 now = host_ms();
		int wait;

		for (unsigned i = 0; i < h->n; i++) {
			fds[i] = (struct pollfd){ .fd = h->host[i].fd, .events = POLLIN };
			open |= fds[i].fd >= 0;
			silent |= fds[i].fd >= 0 && !h->host[i].any;
		}
		if (!open || (now >= end_ms && silent && !follow) || ferror(stdout))
			break;
		wait = follow ? -1 : (int)(end_ms > now ? end_ms - now : 0);
		if (poll(fds, h->n, wait) < 0 && errno != EINTR)
			break;
		for (unsigned i = 0; i < h->n; i++)
			if (fds[i].fd >= 0 && fds[i].revents)
				hear(h, &h->host[i], follow);
	}
	for (unsigned i = 0; i < h->n; i++)
		if (!h->host[i].any)
			st = complain(ST_HOST, "%s: says nothing; look at that host", h->host[i].path);
	return st;
}

static enum status run(int argc, char **argv)
{
	struct hosts *h;
	struct options o;
	enum status st = options_parse(&o, OPT_STATUS | OPT_JSON, argc, argv);

	if (st)
		return st;
	if (o.noperands > 1)
		return complain(ST_USAGE, "%s: one host's socket, or none for all; see 'reprise help ft status'", o.operands[1]);
	h = need(calloc(1, sizeof(*h)));
	h->json = o.json;
	st = find(h, &o);
	if (!st)
		st = listen_to(h, o.follow);
	for (unsigned i = 0; i < h->n; i++) {
		if (h->host[i].fd >= 0)
			close(h->host[i].fd);
		buf_free(&h->host[i].text);
	}
	free(h);
	return st;
}

const struct command cmd_ft_status = {
	.name = "status",
	.title = "ft status",
	.summary = "how a pair is",
	.help = "reprise ft status [--follow] [--json] [SOCKET]\n\n"
		"Prints what a host of a pair says of itself, one `key: value` a line; without SOCKET\n"
		"what all hosts say that you run on this machine, an empty line between two.\n\n"
		"  role      primary, secondary; solo: live without a partner; joining: being copied;\n"
		"            waiting: for the other host, or for the arbiter; lost: the other is live,\n"
		"            or, without a reason, the machine has ended\n"
		"  state     in more words; reason says why\n"
		"  term      grows by one whenever it changes who is in the pair\n"
		"  protected 1: the other host would go on now, with nothing lost\n"
		"  point               instructions this host has run\n"
		"  lag_insns           how far the secondary is behind\n"
		"  held_bytes          what waits for the secondary's word\n"
		"  sent, received, resent      bytes on the link; those sent again\n"
		"  heartbeat_age_ms    since the other host was last heard\n"
		"  takeovers, joins    how often this host took over, was joined by a secondary\n"
		"  pause_us, join_pause_us    the machine stood: at the takeover; for a new secondary\n"
		"  mismatch_epoch      where the two machines began to differ; 0: nowhere\n\n"
		"  --follow            go on: a block at every change, at most five a second\n"
		"  --json              an object a line, for programs\n",
	.run = run,
};
