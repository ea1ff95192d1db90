/*
 * timed.c - runs one command and says how long it took.
 *
 *   timed [-t SECONDS] [-m MARKER] -o FILE COMMAND [ARGUMENT...]
 *
 * The command's standard output goes to FILE by way of this process, which
 * notes when MARKER first stands in a line of it.  One line is printed:
 *
 *   STATUS BOOT TOTAL CPU OWN
 *
 * STATUS is the exit status, "timeout" or "signal-N"; the others are seconds:
 * to the marker ("-" if it never came), from before fork to after wait, user
 * and system time of the command and what it waited for, and this process's own.
 *
 * Touches nothing but FILE.  On a timeout the command's process group is
 * killed; if this process dies, the command does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct watch {
	const char *marker;
	char line[1024];        /* the console's current line; a longer one is cut */
	size_t fill;
	double seen_s;          /* 0: not yet */
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(const struct rusage *r)
{
	return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) + (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what)
{
	fprintf(stderr, "timed: %s: %s\n", what, strerror(errno));
	exit(125);
}

static void look(struct watch *w, const char *data, size_t n, double at_s)
{
	char last = w->marker[0] ? w->marker[strlen(w->marker) - 1] : 0;

	for (size_t i = 0; i < n && !w->seen_s; i++) {
		if (data[i] == '\n')
			w->fill = 0;
		else if (data[i] && w->fill < sizeof(w->line) - 1)
			w->line[w->fill++] = data[i];
		w->line[w->fill] = 0;
		if (data[i] == last && strstr(w->line, w->marker))
			w->seen_s = at_s;
	}
}

/* Copies from the pipe to the file until the pipe ends.  False: the time was up first. */
static bool copy(int from, int to, struct watch *w, double deadline_s)
{
	struct pollfd p = { .fd = from, .events = POLLIN };
	char data[65536];
	ssize_t n;

	for (;;) {
		double left_s = deadline_s - now_s();

		if (left_s <= 0)
			return false;
		if (poll(&p, 1, (int)(left_s * 1000) + 1) <= 0)
			continue;
		n = read(from, data, sizeof(data));
		if (n <= 0)
			return true;
		if (w->marker)
			look(w, data, (size_t)n, now_s());
		if (write(to, data, (size_t)n) != n)
			fail("write");
	}
}

static pid_t start(char **argv, const int pipe_fd[2])
{
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		fail("fork");
	if (child)
		return child;
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(pipe_fd[1], STDOUT_FILENO) < 0)
		_exit(125);
	execvp(argv[0], argv);
	fprintf(stderr, "timed: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	struct watch w = { 0 };
	struct rusage theirs, ours;
	double timeout_s = 3600, began_s, total_s;
	int out = -1, pipe_fd[2], status, c;
	bool ended;
	pid_t child;

	while ((c = getopt(argc, argv, "+t:m:o:")) != -1) {
		if (c == 't')
			timeout_s = atof(optarg);
		else if (c == 'm')
			w.marker = optarg;
		else if (c == 'o')
			out = open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	}
	if (out < 0 || optind >= argc) {
		fprintf(stderr, "usage: timed [-t SECONDS] [-m MARKER] -o FILE COMMAND [ARGUMENT...]\n");
		return 125;
	}
	if (pipe2(pipe_fd, O_CLOEXEC))
		fail("pipe");
	began_s = now_s();
	child = start(argv + optind, pipe_fd);
	setpgid(child, child); /* whichever of the two is first */
	close(pipe_fd[1]);
	ended = copy(pipe_fd[0], out, &w, began_s + timeout_s);
	if (!ended)
		kill(-child, SIGKILL);
	while (wait4(child, &status, 0, &theirs) < 0)
		if (errno != EINTR)
			fail("wait4");
	total_s = now_s() - began_s;
	getrusage(RUSAGE_SELF, &ours);

	if (!ended)
		printf("timeout");
	else if (WIFSIGNALED(status))
		printf("signal-%d", WTERMSIG(status));
	else
		printf("%d", WEXITSTATUS(status));
	if (w.seen_s)
		printf(" %.3f", w.seen_s - began_s);
	else
		printf(" -");
	printf(" %.3f %.3f %.4f\n", total_s, cpu_s(&theirs), cpu_s(&ours));
	return 0;
}
