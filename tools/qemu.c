/*
 * qemu.c - starting the QEMU that hosts the hypervisor.
 *
 * What it needs is handed over as open files, so no name needs quoting, and
 * nothing is left behind.  It opens one kind of thing by a name of the user's, a
 * pair's SCSI units, and scsiunit.c has quoted that.
 */
#include <errno.h>
#include <fcntl.h>
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

/*
 * QEMU's own small firmware, where it is: it loads the hypervisor and does nothing else,
 * in a tenth of a second.  SeaBIOS takes ten times that, for a PC nobody looks at.
 */
static bool has_qboot(void)
{
	static const char *const places[] = { "/usr/share/qemu/qboot.rom", "/usr/local/share/qemu/qboot.rom" };

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		if (!access(places[i], R_OK))
			return true;
	return false;
}

/* An open file of tools/steady.c's object, or -1 after a complaint. */
static int open_steady(void)
{
	static const char *const places[2] = { "steady.so", "../lib/reprise/steady.so" };
	char path[4096];
	int fd;

	(void)find_beside(places, path);
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

/* QEMU's ends of what it is given. */
struct given {
	int steady, console, control, gdb, errors; /* -1: none */
};

/* The adapter's and the unit's -device. */
struct unit_devices {
	char adapter[48], unit[80];
};

/* Appends one unit to argv, whose size is n; what it then is.  The hypervisor finds units in this order. */
static unsigned plug_unit(const struct qemu_unit *u, struct unit_devices *d, const char **argv, unsigned n)
{
	snprintf(d->adapter, sizeof(d->adapter), "virtio-scsi-pci,id=%s", u->name);
	snprintf(d->unit, sizeof(d->unit), "scsi-generic,drive=%s,bus=%s.0", u->name, u->name);
	argv[n++] = "-blockdev", argv[n++] = u->drive;
	argv[n++] = "-device", argv[n++] = d->adapter;
	argv[n++] = "-device", argv[n++] = d->unit;
	return n;
}

static void exec_qemu(const struct qemu_config *c, const char *hypervisor, const struct given *g)
{
	char mem[32], bundle[64], first[64], second[64], third[64], drive[128];
	char drives[QEMU_MAX_DISKS][128], devices[QEMU_MAX_DISKS][128], link[64], nic[96];
	char nics[QEMU_MAX_NICS][192];
	struct unit_devices units[QEMU_MAX_UNITS];
	const char *argv[56 + 4 * QEMU_MAX_DISKS + 4 * QEMU_MAX_NICS + 6 * QEMU_MAX_UNITS];
	unsigned n = 0;

#define ARG(a) (argv[n++] = (a))
	snprintf(mem, sizeof(mem), "%lluM", (unsigned long long)c->mem_mib);
	snprintf(bundle, sizeof(bundle), "/proc/self/fd/%d", c->bundle_fd);
	snprintf(first, sizeof(first), "socket,id=console,fd=%d", g->console);
	snprintf(second, sizeof(second), "socket,id=control,fd=%d", g->control);
	snprintf(third, sizeof(third), "socket,id=gdb,fd=%d", g->gdb);
	ARG(qemu_program());
	ARG("-nodefaults"), ARG("-no-user-config"), ARG("-no-reboot");
	ARG("-display"), ARG("none");
	ARG("-machine"), ARG("q35");
	ARG("-accel"), ARG("tcg");
	/* All deterministic under TCG.  RDRAND and SMAP must stay out. */
	ARG("-cpu"), ARG("qemu64,+svm,+npt,+rdtscp,+ssse3,+sse4.1,+sse4.2,+popcnt");
	ARG("-icount"), ARG("shift=0,sleep=on");
	ARG("-rtc"), ARG("clock=rt"); /* [steady.c] */
	ARG("-m"), ARG(mem);
	if (has_qboot())
		ARG("-bios"), ARG("qboot.rom");
	ARG("-kernel"), ARG(hypervisor);
	ARG("-initrd"), ARG(bundle);
	ARG("-device"), ARG("isa-debug-exit,iobase=0xf4,iosize=4");
	ARG("-chardev"), ARG(first), ARG("-serial"), ARG("chardev:console");
	ARG("-chardev"), ARG(second), ARG("-serial"), ARG("chardev:control");
	if (g->gdb >= 0)
		ARG("-chardev"), ARG(third), ARG("-serial"), ARG("chardev:gdb");
	if (c->recording_fd >= 0) {
		/* Without --sync a flush is dropped: a write is in the host's page cache, which kill -9 spares. */
		snprintf(drive, sizeof(drive), "file=/proc/self/fd/%d,format=raw,if=none,id=rec,cache=%s%s", c->recording_fd,
			 c->durable ? "writeback" : "unsafe", c->recording_readonly ? ",readonly=on" : "");
		ARG("-drive"), ARG(drive);
		ARG("-device"), ARG("virtio-blk-pci,drive=rec,serial=recording,werror=report,rerror=report");
	}
	for (unsigned i = 0; i < c->ndisks; i++) {
		const struct qemu_disk *d = &c->disk[i];

		snprintf(drives[i], sizeof(drives[i]), "file=/proc/self/fd/%d,format=raw,if=none,id=disk%u,cache=%s%s", d->fd, i,
			 d->durable ? "writeback" : "unsafe", d->readonly ? ",readonly=on" : "");
		snprintf(devices[i], sizeof(devices[i]), "virtio-blk-pci,drive=disk%u,serial=%s,werror=report,rerror=report", i, d->serial);
		ARG("-drive"), ARG(drives[i]);
		ARG("-device"), ARG(devices[i]);
	}
	for (unsigned i = 0; i < c->nnics; i++) {
		if (c->nic[i].netdev[0])
			ARG("-netdev"), ARG(c->nic[i].netdev);
		snprintf(nics[i], sizeof(nics[i]), "%s%s", c->nic[i].device, c->pair.link_mac ? QEMU_SENDS_AT_ONCE : "");
		ARG("-device"), ARG(nics[i]);
	}
	if (c->pair.link_mac) {
		snprintf(link, sizeof(link), "dgram,id=link,local.type=fd,local.str=%d", c->pair.link_fd);
		snprintf(nic, sizeof(nic), "virtio-net-pci,netdev=link,mac=%s" QEMU_NIC_OPTIONS QEMU_SENDS_AT_ONCE, c->pair.link_mac);
		ARG("-netdev"), ARG(link), ARG("-device"), ARG(nic);
	}
	for (unsigned i = 0; i < c->pair.nunits; i++)
		n = plug_unit(&c->pair.unit[i], &units[i], argv, n);
	ARG(NULL);
#undef ARG
	execvp(argv[0], (char **)(uintptr_t)argv);
}

/* Lets a file descriptor through exec. */
static bool hand_over(int fd)
{
	return fd < 0 || !fcntl(fd, F_SETFD, 0);
}

static bool hand_over_devices(const struct qemu_config *c)
{
	for (unsigned i = 0; i < c->ndisks; i++)
		if (!hand_over(c->disk[i].fd))
			return false;
	for (unsigned i = 0; i < c->nnics; i++)
		if (!hand_over(c->nic[i].fd))
			return false;
	return true;
}

static noreturn_fn void child(const struct qemu_config *c, const char *hypervisor, pid_t parent, const struct given *g,
			      const sigset_t *signals)
{
	int null = open("/dev/null", O_RDONLY);

	/* Its own process group: a Ctrl-C at the terminal is ours to handle. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, signals, NULL);
	if (dup2(null, STDIN_FILENO) >= 0 && dup2(g->errors, STDOUT_FILENO) >= 0 &&
	    dup2(g->errors, STDERR_FILENO) >= 0 && hand_over(g->console) && hand_over(g->control) && hand_over(g->gdb) &&
	    hand_over(c->bundle_fd) && hand_over(c->recording_fd) && hand_over_devices(c) && hand_over(g->steady) &&
	    (!c->pair.link_mac || hand_over(c->pair.link_fd))) {
		preload(g->steady);
		exec_qemu(c, hypervisor, g);
	}
	dprintf(STDERR_FILENO, "%s\n", strerror(errno));
	_exit(127);
}

/* A serial port's two ends; ours does not block. */
static bool port(int pair[2])
{
	return !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) && !fcntl(pair[0], F_SETFL, O_NONBLOCK);
}

static void close_end(int fd)
{
	if (fd >= 0)
		close(fd);
}

bool qemu_start(struct qemu *q, const struct qemu_config *c, const void *signals)
{
	enum { CONSOLE, CONTROL, GDB, ERRORS, PAIRS };
	int pair[PAIRS][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
	char path[4096];
	const char *hypervisor = qemu_hypervisor(path);
	pid_t parent = getpid();
	int steady = hypervisor ? open_steady() : -1;
	bool good;

	if (steady < 0)
		return false;
	good = port(pair[CONSOLE]) && port(pair[CONTROL]) && (!c->gdb || port(pair[GDB])) &&
	       !pipe2(pair[ERRORS], O_CLOEXEC) && !fcntl(pair[ERRORS][0], F_SETFL, O_NONBLOCK);
	q->pid = good ? fork() : -1;
	if (!q->pid)
		child(c, hypervisor, parent, &(struct given){ steady, pair[CONSOLE][1], pair[CONTROL][1], pair[GDB][1],
							      pair[ERRORS][1] }, signals);
	if (q->pid < 0)
		remark("%s: cannot be started: %s; close some programs", qemu_program(), strerror(errno));
	for (unsigned i = 0; i < PAIRS; i++) {
		close_end(pair[i][1]);
		if (q->pid < 0)
			close_end(pair[i][0]);
	}
	close(steady);
	q->console = pair[CONSOLE][0];
	q->control = pair[CONTROL][0];
	q->gdb = pair[GDB][0];
	q->errors = pair[ERRORS][0];
	return q->pid > 0;
}
