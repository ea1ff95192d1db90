/*
 * ftstore.c - the demo's store: a target of its own, by Debian's tgt, with a logical unit as the
 * arbiter and one for each file that the hosts share; or a file where that is not installed.  See ftplay.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/ftplay.h"

#define TARGET "iqn.2026-01.reprise:demo"
#define UNIT_BYTES (1 << 20)
#define READY_MS 10000

/* It is for administrators, and not in everybody's PATH. */
static const char *program(const char *name, char path[64])
{
	static const char *const dirs[] = { "/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin" };

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, 64, "%s/%s", dirs[i], name);
		if (!access(path, X_OK))
			return path;
	}
	return NULL;
}

/* 0: none. */
static int port_free(void)
{
	struct sockaddr_in a;
	int fd = loopback_bind(SOCK_STREAM, &a);

	if (fd < 0)
		return 0;
	close(fd);
	return ntohs(a.sin_port);
}

/* tgtadm --lld iscsi with more words, up to NULL; whether it was content.  quiet: it may not be. */
static bool administer(struct play *p, bool quiet, const char *const *words)
{
	char path[64], *argv[32] = { (char *)(uintptr_t)program("tgtadm", path), (char[]){ "--lld" }, (char[]){ "iscsi" } };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), status = 1;
	pid_t pid = 0;

	for (unsigned n = 3; *words && n < ARRAY_SIZE(argv) - 1; n++)
		argv[n] = (char *)(uintptr_t)*words++;
	if (argv[0] && null >= 0)
		pid = play_spawn(p, argv, null, null, quiet ? null : STDERR_FILENO);
	if (pid && waitpid(pid, &status, 0) != pid)
		status = 1;
	if (null >= 0)
		close(null);
	return pid && !status;
}
#define ADMINISTER(p, quiet, ...) administer(p, quiet, (const char *const[]){ __VA_ARGS__, NULL })

static bool start_daemon(struct play *p, int port)
{
	char path[64], portal[64], ipc[4096];
	const char *name = program("tgtd", path);
	char *argv[] = { (char *)(uintptr_t)name, (char[]){ "-f" }, (char[]){ "-t" }, (char[]){ "1" } /* docs/ARBITER.md 5 */,
		(char[]){ "--iscsi" }, portal, NULL };

	snprintf(portal, sizeof(portal), "portal=127.0.0.1:%d", port);
	snprintf(ipc, sizeof(ipc), "%s/tgt", p->dir);
	setenv("TGT_IPC_SOCKET", ipc, 1);
	p->store.pid = play_start(p, argv, "tgtd.log", true);
	return p->store.pid > 0;
}

/* It takes a moment until it answers. */
static bool answers(struct play *p)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	u64 end = host_ms() + READY_MS;

	while (host_ms() < end) {
		if (ADMINISTER(p, true, "--op", "show", "--mode", "target"))
			return true;
		if (waitpid(p->store.pid, NULL, WNOHANG) == p->store.pid) {
			p->store.pid = 0;
			return false;
		}
		nanosleep(&pause, NULL);
	}
	return false;
}

static bool offer(struct play *p, unsigned lun, const char *path)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", lun);
	return ADMINISTER(p, false, "--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", number, "-b", path);
}

static bool offer_arbiter(struct play *p)
{
	char unit[3100];
	int fd;
	bool good;

	snprintf(unit, sizeof(unit), "%s/arbiter.img", p->dir);
	fd = open(unit, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	good = fd >= 0 && !ftruncate(fd, UNIT_BYTES);
	if (fd >= 0)
		close(fd);
	return good && offer(p, 1, unit);
}

/* By a link of ours: tgtadm takes no comma in a name. */
static bool offer_disk(struct play *p, unsigned lun, const char *path)
{
	char unit[3100], absolute[PATH_MAX];

	snprintf(unit, sizeof(unit), "%s/shared-%u", p->dir, lun);
	return realpath(path, absolute) && !symlink(absolute, unit) && offer(p, lun, unit);
}

static bool offer_units(struct play *p)
{
	bool good = ADMINISTER(p, false, "--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET) && offer_arbiter(p);

	for (unsigned i = 0; i < p->share.nfiles && good; i++)
		good = offer_disk(p, SHARE_LUN + i, p->share.file[i].option.path);
	return good && ADMINISTER(p, false, "--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL");
}

static enum status open_target(struct play *p)
{
	char target[100];
	int port = port_free();

	if (!port || !start_daemon(p, port) || !answers(p) || !offer_units(p))
		return complain(ST_HOST, "ft demo: tgtd, the arbiter's target, does not work: its words are in %s/tgtd.log with --keep; "
				"--arbiter file goes without", p->dir);
	snprintf(target, sizeof(target), "iscsi://127.0.0.1:%d/" TARGET, port);
	snprintf(p->store.url, sizeof(p->store.url), "%s/1", target);
	ftshare_name(&p->share, target);
	return ST_OK;
}

enum status store_open(struct play *p, const char *kind)
{
	char path[64];
	bool installed = program("tgtd", path) && program("tgtadm", path);

	if (kind && !strcmp(kind, "tgt") && !installed)
		return complain(ST_USAGE, "--arbiter tgt: tgtd is not here; apt-get install tgt, or give --arbiter file%s",
				p->share.nfiles ? " and no file with ,shared" : "");
	if (!kind && !installed)
		remark("ft demo: tgtd is not here, a file is the arbiter; apt-get install tgt qemu-block-extra for one over iSCSI");
	if (kind ? !strcmp(kind, "tgt") : installed)
		return open_target(p);
	snprintf(p->store.url, sizeof(p->store.url), "file:%s/arbiter", p->dir);
	return ST_OK;
}

void store_close(struct play *p)
{
	if (p->store.pid)
		kill(-p->store.pid, SIGKILL);
}
