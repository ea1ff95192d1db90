/*
 * qemu.c - starting the QEMU that hosts the hypervisor.
 *
 * Everything it needs is handed over as open files: it opens no name of the
 * user's, so no name needs quoting, and nothing is left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/qemu.h"

const char *qemu_program(void)
{
	const char *name = getenv("REPRISE_QEMU");

	return name && *name ? name : "qemu-system-x86_64";
}

/* In the build tree or installed, from where this program lies; NULL: neither can be read, path is the first. */
static const char *find_beside(const char *const places[2], char path[4096])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		n = 0;
	self[n] = 0;
	*(strrchr(self, '/') ? strrchr(self, '/') : self) = 0;
	for (int i = 1; i >= 0; i--) /* the build tree's last: its name is the one to complain of */
		if (snprintf(path, 4096, "%s/%s", self, places[i]) < 4096 && !access(path, R_OK))
			return path;
	return NULL;
}

const char *qemu_hypervisor(char path[4096])
{
	static const char *const places[2] = { "../kernel/reprise.elf", "../lib/reprise/reprise.elf" };
	const char *given = getenv("REPRISE_KERNEL");

	if (given && *given) {
		if (!access(given, R_OK))
			return given;
		remark("%s: %s; set REPRISE_KERNEL to the hypervisor, or unset it", given, strerror(errno));
		return NULL;
	}
	if (find_beside(places, path))
		return path;
	remark("%s: the hypervisor is not there; run 'make', or set REPRISE_KERNEL", path);
	return NULL;
}

/* An open file of tools/steady.c's object, or -1 after a complaint. */
static int open_steady(void)
{
	static const char *const places[2] = { "steady.so", "../lib/reprise/steady.so" };
	char path[4096];
	int fd;

	find_beside(places, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		remark("%s: %s; it is QEMU's time of day: run 'make', or install again", path, strerror(errno));
	return fd;
}

/* Our object first, then whatever else was to be loaded.  By number: LD_PRELOAD cannot quote a name. */
static void preload(int fd)
{
	const char *more = getenv("LD_PRELOAD");
	struct buf list = { 0 };

	buf_printf(&list, "/proc/self/fd/%d%s%s", fd, more && *more ? ":" : "", more ? more : "");
	buf_add(&list, "", 1);
	setenv("LD_PRELOAD", (const char *)list.data, 1);
}

static void exec_qemu(const struct qemu_config *c, const char *hypervisor, int console, int control)
{
	char mem[32], bundle[64], first[64], second[64], drive[128];
	const char *argv[48];
	unsigned n = 0;

#define ARG(a) (argv[n++] = (a))
	snprintf(mem, sizeof(mem), "%lluM", (unsigned long long)c->mem_mib);
	snprintf(bundle, sizeof(bundle), "/proc/self/fd/%d", c->bundle_fd);
	snprintf(first, sizeof(first), "socket,id=console,fd=%d", console);
	snprintf(second, sizeof(second), "socket,id=control,fd=%d", control);
	ARG(qemu_program());
	ARG("-nodefaults"), ARG("-no-user-config"), ARG("-no-reboot");
	ARG("-display"), ARG("none");
	ARG("-machine"), ARG("q35");
	ARG("-accel"), ARG("tcg");
	/* All deterministic under TCG.  RDRAND and SMAP must stay out. */
	ARG("-cpu"), ARG("qemu64,+svm,+npt,+rdtscp,+ssse3,+sse4.1,+sse4.2,+popcnt");
	ARG("-icount"), ARG("shift=0,sleep=on");
	ARG("-m"), ARG(mem);
	ARG("-kernel"), ARG(hypervisor);
	ARG("-initrd"), ARG(bundle);
	ARG("-device"), ARG("isa-debug-exit,iobase=0xf4,iosize=4");
	ARG("-chardev"), ARG(first), ARG("-serial"), ARG("chardev:console");
	ARG("-chardev"), ARG(second), ARG("-serial"), ARG("chardev:control");
	if (c->recording_fd >= 0) {
		/* Without --sync a flush is dropped: a write is in the host's page cache, which kill -9 spares. */
		snprintf(drive, sizeof(drive), "file=/proc/self/fd/%d,format=raw,if=none,id=rec,cache=%s%s", c->recording_fd,
			 c->durable ? "writeback" : "unsafe", c->recording_readonly ? ",readonly=on" : "");
		ARG("-drive"), ARG(drive);
		ARG("-device"), ARG("virtio-blk-pci,drive=rec,serial=recording,werror=report,rerror=report");
	}
	ARG(NULL);
#undef ARG
	execvp(argv[0], (char **)(uintptr_t)argv);
}

/* Lets a file descriptor through exec. */
static bool hand_over(int fd)
{
	return fd < 0 || !fcntl(fd, F_SETFD, 0);
}

static noreturn_fn void child(const struct qemu_config *c, const char *hypervisor, pid_t parent, int steady, int console,
			      int control, int errors, const sigset_t *signals)
{
	int null = open("/dev/null", O_RDONLY);

	/* Its own process group: a Ctrl-C at the terminal is ours to handle. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, signals, NULL);
	if (dup2(null, STDIN_FILENO) >= 0 && dup2(errors, STDOUT_FILENO) >= 0 && dup2(errors, STDERR_FILENO) >= 0 &&
	    hand_over(console) && hand_over(control) && hand_over(c->bundle_fd) && hand_over(c->recording_fd) &&
	    hand_over(steady)) {
		preload(steady);
		exec_qemu(c, hypervisor, console, control);
	}
	dprintf(STDERR_FILENO, "%s\n", strerror(errno));
	_exit(127);
}

static void close_pair(int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

bool qemu_start(struct qemu *q, const struct qemu_config *c, const void *signals)
{
	int console[2] = { -1, -1 }, control[2] = { -1, -1 }, errors[2] = { -1, -1 };
	char path[4096];
	const char *hypervisor = qemu_hypervisor(path);
	pid_t parent = getpid();
	int steady = hypervisor ? open_steady() : -1;
	bool good;

	if (steady < 0)
		return false;
	good = !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) &&
	       !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) &&
	       !pipe2(errors, O_CLOEXEC) &&
	       !fcntl(console[0], F_SETFL, O_NONBLOCK) && !fcntl(control[0], F_SETFL, O_NONBLOCK) &&
	       !fcntl(errors[0], F_SETFL, O_NONBLOCK);
	q->pid = good ? fork() : -1;
	if (q->pid < 0) {
		remark("%s: cannot be started: %s; close some programs", qemu_program(), strerror(errno));
		close_pair(console);
		close_pair(control);
		close_pair(errors);
		close(steady);
		return false;
	}
	if (!q->pid)
		child(c, hypervisor, parent, steady, console[1], control[1], errors[1], signals);
	close(steady);
	close(console[1]);
	close(control[1]);
	close(errors[1]);
	q->console = console[0];
	q->control = control[0];
	q->errors = errors[0];
	return true;
}
