/*
 * fthosts.c - the demo's hosts: `reprise ft primary` and `secondary` as processes.  See ftplay.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/ftnet.h"
#include "tools/ftplay.h"
#include "tools/ftstatus.h"

#define CONNECT_AGAIN_NS 10000000u
#define ARGS_MAX 128
#define LOG_SHOWN 2000 /* bytes of a host's last words */

/* ---- processes ---- */

static noreturn_fn void child(const struct play *p, char *const argv[], pid_t parent, int in, int out, int err)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &p->before, NULL);
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
		execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

pid_t play_spawn(struct play *p, char *const argv[], int in, int out, int err)
{
	pid_t parent = getpid(), pid = fork();

	if (!pid)
		child(p, argv, parent, in, out, err);
	if (pid < 0) {
		remark("%s: cannot be started: %s; close some programs", argv[0], strerror(errno));
		return 0;
	}
	setpgid(pid, pid); /* whoever of the two comes first */
	return pid;
}

pid_t play_start(struct play *p, char *const argv[], const char *file, bool errors)
{
	char path[4096];
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), out;
	pid_t pid = 0;

	snprintf(path, sizeof(path), "%s/%s", p->dir, file);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (null >= 0 && out >= 0)
		pid = play_spawn(p, argv, null, out, errors ? out : STDERR_FILENO);
	if (null >= 0)
		close(null);
	if (out >= 0)
		close(out);
	return pid;
}

/* ---- arguments ---- */

struct args {
	char *v[ARGS_MAX];
	unsigned n;
};

static void put(struct args *a, const char *fmt, ...) printf_like(2, 3);
static void put(struct args *a, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (a->n + 1 >= ARGS_MAX)
		return;
	va_start(ap, fmt);
	n = vasprintf(&a->v[a->n], fmt, ap);
	va_end(ap);
	a->v[a->n] = need(n < 0 ? NULL : a->v[a->n]);
	a->v[++a->n] = NULL;
}

static void put_address(struct args *a, const char *option, const struct sockaddr_in *at)
{
	char text[INET_ADDRSTRLEN];

	put(a, "%s", option);
	put(a, "%s:%u", inet_ntop(AF_INET, &at->sin_addr, text, sizeof(text)), ntohs(at->sin_port));
}

/* The user's own, for both: %h in them is the host's letter. */
static void put_own(struct args *a, const char *own, unsigned h)
{
	struct buf b = { 0 };

	for (; *own; own++)
		if (own[0] == '%' && own[1] == 'h') {
			buf_add(&b, h ? "b" : "a", 1);
			own++;
		} else {
			buf_add(&b, own, 1);
		}
	buf_add(&b, "", 1);
	put(a, "%s", (const char *)b.data);
	buf_free(&b);
}

static void arguments(struct args *a, const struct play *p, unsigned h, const char *as)
{
	const struct options *o = p->o;
	char net[64];

	put(a, "/proc/self/exe");
	if (o->alone) {
		put(a, o->keep ? "record" : "run");
	} else {
		put(a, "ft"), put(a, "%s", as);
		put_address(a, "--listen", &p->cable.host[h]);
		put_address(a, "--peer", &p->cable.own[h]);
		put(a, "--side"), put(a, "%c", "ab"[h]);
		put(a, "--arbiter"), put(a, "%s", p->store.url);
		put(a, "--status"), put(a, "%s", p->host[h].socket);
		put(a, "--heartbeat"), put(a, "%llums", (unsigned long long)o->heartbeat_ms);
		put(a, "--detect"), put(a, "%llums", (unsigned long long)o->detect_ms);
	}
	put(a, "--kernel"), put(a, "%s", p->kernel);
	if (p->initrd)
		put(a, "--initrd"), put(a, "%s", p->initrd);
	put(a, "--append"), put(a, "%s", o->append);
	put(a, "--mem"), put(a, "%llu", (unsigned long long)o->mem_bytes);
	put(a, "--net");
	if (p->on_plain) {
		plain_net(&p->plain, h, net, sizeof(net));
		put(a, "%s", net);
	} else {
		put(a, "tap=%s", ftnet_tap(h));
	}
	if (o->keep)
		put(a, "-o"), put(a, "%s/%c-%u.rpl", p->dir, "ab"[h], p->host[h].life + 1);
	if (o->verbose)
		put(a, "--verbose");
	for (int i = 0; i < p->share.noperands; i++)
		put_own(a, p->share.operand[i], h);
}

/* ---- starting ---- */

/* A file of this life's, or -1. */
static int open_file(const struct play *p, unsigned h, const char *kind, char path[4096])
{
	snprintf(path, 4096, "%s/%s-%c-%u", p->dir, kind, "ab"[h], p->host[h].life + 1);
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

/* Its standard input: a FIFO that does not end, so that its clock follows real time. */
static int open_input(struct play *p, unsigned h)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/input-%c", p->dir, "ab"[h]);
	if (mkfifo(path, 0600) && errno != EEXIST)
		return -1;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (p->host[h].input_fd >= 0)
		close(p->host[h].input_fd);
	p->host[h].input_fd = fd;
	return fd;
}

/*
 * Half of the processors each, if there are two: a host is not to wait for the other one's threads, nor to be
 * moved by them.  What a child is given it hands on.  Where that is not possible they share all.
 */
static void use_half(const cpu_set_t *all, unsigned h)
{
	unsigned n = (unsigned)CPU_COUNT(all), i = 0;
	cpu_set_t half;

	CPU_ZERO(&half);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, all) && i++ * 2 / n == h)
			CPU_SET(cpu, &half);
	(void)!sched_setaffinity(0, sizeof(half), &half);
}

static pid_t spawn_host(struct play *p, unsigned h, char *const argv[], int in, int out, int err)
{
	cpu_set_t all;
	bool two = !p->o->alone && !sched_getaffinity(0, sizeof(all), &all) && CPU_COUNT(&all) > 1;
	pid_t pid;

	if (two)
		use_half(&all, h);
	pid = play_spawn(p, argv, in, out, err);
	if (two)
		(void)!sched_setaffinity(0, sizeof(all), &all);
	return pid;
}

/* What it sent before belongs to the life before. */
static void begin_life(struct play *p, unsigned h)
{
	play_hear_wire(p);
	p->host[h].life = p->facts.nlives++;
	p->facts.life[p->host[h].life] = (struct life){ .host = h };
}

bool host_start(struct play *p, unsigned h, const char *as)
{
	struct demo_host *host = &p->host[h];
	struct args a = { .n = 0 };
	char console[4096];
	int in, out, err;

	if (p->facts.nlives == LIVES_MAX)
		return false;
	begin_life(p, h);
	host->qemu_pid = 0;
	host->role[0] = host->reason[0] = 0;
	host->term = host->join_pause_us = host->pause_us = host->sent = 0;
	host->protected = host->out = false;
	host->heard.size = 0;
	in = open_input(p, h);
	out = open_file(p, h, "console", console);
	err = open_file(p, h, "log", host->log);
	if (in < 0 || out < 0 || err < 0) {
		remark("%s: %s; make room, or give --keep another directory", p->dir, strerror(errno));
	} else {
		arguments(&a, p, h, as);
		host->pid = spawn_host(p, h, a.v, in, out, err);
	}
	if (out >= 0)
		close(out);
	if (err >= 0)
		close(err);
	while (a.n)
		free(a.v[--a.n]);
	return host->pid > 0;
}

bool play_start_gateway(struct play *p)
{
	char text[PLAIN_ARGS][160], *argv[PLAIN_ARGS];

	plain_gateway(&p->plain, text, argv);
	p->gateway = play_start(p, argv, "gateway.log", true);
	return p->gateway > 0;
}

/* ---- hearing ---- */

static u64 number(const char *block, const char *key)
{
	char value[32];

	return ftstatus_get(block, key, value, sizeof(value)) ? strtoull(value, NULL, 10) : 0;
}

static void on_block(struct play *p, unsigned h, const char *block)
{
	struct demo_host *host = &p->host[h];
	char role[sizeof(host->role)];
	bool protected = number(block, "protected");

	host->qemu_pid = (pid_t)number(block, "qemu_pid");
	host->term = number(block, "term");
	host->pause_us = number(block, "pause_us");
	host->sent = number(block, "sent");
	host->join_pause_us = number(block, "join_pause_us");
	ftstatus_get(block, "reason", host->reason, sizeof(host->reason));
	ftstatus_get(block, "role", role, sizeof(role));
	if (strcmp(role, host->role))
		play_tell(p, !strcmp(role, "lost") ? SHADE_BAD : SHADE_PLAIN, "role", "host %c: %s, term %llu%s%s", "ab"[h], role,
			  (unsigned long long)host->term, host->reason[0] ? ": " : "", host->reason);
	/* Out of the pair, and on its way back into it. */
	if (!strcmp(role, "joining") && p->facts.life[host->life].frames && p->facts.nlives < LIVES_MAX)
		begin_life(p, h);
	host->out = !strcmp(role, "lost") || (host->out && strcmp(role, "secondary"));
	strcpy(host->role, role);
	host->protected = protected;
}

static void disconnect(struct demo_host *host)
{
	if (host->talk_fd >= 0)
		close(host->talk_fd);
	host->talk_fd = -1;
	host->heard.size = 0;
}

static void hear(struct play *p, unsigned h)
{
	struct demo_host *host = &p->host[h];
	struct buf block = { 0 };
	char bytes[4096];
	ssize_t n = recv(host->talk_fd, bytes, sizeof(bytes), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		disconnect(host);
		host->connect_at_ns = host_ns() + CONNECT_AGAIN_NS;
		return;
	}
	buf_add(&host->heard, bytes, (size_t)n);
	while (ftstatus_block(&host->heard, &block))
		on_block(p, h, (const char *)block.data);
	buf_free(&block);
}

struct pollfd host_watch(const struct play *p, unsigned h, u64 *until_ns)
{
	const struct demo_host *host = &p->host[h];

	*until_ns = host->pid && host->talk_fd < 0 && !p->o->alone ? host->connect_at_ns : UINT64_MAX;
	return (struct pollfd){ .fd = host->talk_fd, .events = POLLIN };
}

void host_turn(struct play *p, unsigned h, short revents)
{
	struct demo_host *host = &p->host[h];

	if (host->talk_fd >= 0 && revents)
		hear(p, h);
	if (!host->pid || host->talk_fd >= 0 || p->o->alone || host_ns() < host->connect_at_ns)
		return;
	host->talk_fd = ftstatus_connect(host->socket);
	host->connect_at_ns = host_ns() + CONNECT_AGAIN_NS;
}

/* ---- ending ---- */

/*
 * A QEMU whose parent was killed is our child, until we have waited for it.  Whatever else has its
 * number is a stranger: the host waited for it, or we did.
 */
static bool is_our_child(pid_t pid)
{
	siginfo_t info;

	return pid > 0 && !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
}

void host_ended(struct play *p, unsigned h, int status)
{
	struct demo_host *host = &p->host[h];

	/* Its last words: they are in the socket still. */
	while (host->talk_fd >= 0) {
		struct pollfd f = { .fd = host->talk_fd, .events = POLLIN };

		if (poll(&f, 1, 0) <= 0)
			break;
		hear(p, h);
	}
	disconnect(host);
	host->orphan = is_our_child(host->qemu_pid) && !kill(host->qemu_pid, SIGKILL) ? host->qemu_pid : 0;
	host->pid = host->qemu_pid = 0;
	host->status = status;
	unlink(host->socket);
}

void host_kill(struct play *p, unsigned h)
{
	struct demo_host *host = &p->host[h];

	/* The command first: a host that dies has no time to see its QEMU dead, and to clean up after it. */
	if (host->pid)
		kill(-host->pid, SIGKILL);
	if (host->qemu_pid)
		kill(host->qemu_pid, SIGKILL);
}

void host_stop(struct play *p, unsigned h)
{
	if (p->host[h].qemu_pid)
		kill(p->host[h].qemu_pid, SIGCONT);
	if (p->host[h].pid)
		kill(p->host[h].pid, SIGTERM);
}

bool host_alive(const struct play *p, unsigned h)
{
	return p->host[h].pid > 0;
}

bool host_live(const struct play *p, unsigned h)
{
	const struct demo_host *host = &p->host[h];

	return host->pid > 0 && (!strcmp(host->role, "primary") || !strcmp(host->role, "solo"));
}

void host_show_log(const struct play *p, unsigned h)
{
	const struct demo_host *host = &p->host[h];
	char text[LOG_SHOWN + 1];
	int fd = open(host->log, O_RDONLY | O_CLOEXEC);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t n = fd >= 0 ? pread(fd, text, LOG_SHOWN, MAX(size - LOG_SHOWN, (off_t)0)) : 0;

	if (fd >= 0)
		close(fd);
	if (n > 0)
		fprintf(stderr, "--- host %c, at the end of what it said:\n%.*s%s", "ab"[h], (int)n, text, text[n - 1] == '\n' ? "" : "\n");
}
