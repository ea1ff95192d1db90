/*
 * pty.c - runs a program on a terminal of its own and follows a script.
 *
 *   pty [-t SECONDS] STEP... -- PROGRAM [ARGUMENT...]
 *
 * Steps, in order:
 *   expect:TEXT   waits until TEXT has appeared after what the step before saw
 *   send:TEXT     types TEXT; \r \n \e \\ and \001 (three octal digits) are understood
 *   sleep:MS      looks on for so long
 *   file:NAME     waits until a file of that name exists
 *   end           waits until the program has ended and the terminal is closed
 * What the program writes goes to standard output.  On standard error each send says when it
 * began, "sent at N ms" since the start, and each expect how long it took: "seen TEXT after N ms,
 * N ms since the start".  The exit status is the
 * program's (128 + its signal); 124 when a step took longer than SECONDS (120), 125 when the
 * program ended too early.  A program left over is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SEEN_MAX (1 << 20)

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

struct run {
	int master;
	pid_t pid;
	bool closed;
	char seen[SEEN_MAX + 1];
	size_t fill;
	long long started, patience_ms;
};

static void finish(struct run *r, int status)
{
	kill(-r->pid, SIGKILL);
	kill(r->pid, SIGKILL);
	exit(status);
}

/* Takes what the program wrote within ms; false when there will be no more. */
static bool look(struct run *r, int ms)
{
	struct pollfd p = { .fd = r->master, .events = POLLIN };
	ssize_t n;

	if (r->closed)
		return false;
	if (poll(&p, 1, ms) <= 0)
		return true;
	if (r->fill > SEEN_MAX / 2) {
		memmove(r->seen, r->seen + SEEN_MAX / 4, r->fill - SEEN_MAX / 4);
		r->fill -= SEEN_MAX / 4;
	}
	n = read(r->master, r->seen + r->fill, SEEN_MAX - r->fill);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		r->closed = true; /* EIO: nobody has the terminal open any more */
		return false;
	}
	if (write(STDOUT_FILENO, r->seen + r->fill, (size_t)n) != n)
		finish(r, 125);
	for (ssize_t i = 0; i < n; i++)
		if (!r->seen[r->fill + (size_t)i])
			r->seen[r->fill + (size_t)i] = ' ';
	r->fill += (size_t)n;
	r->seen[r->fill] = 0;
	return true;
}

static void expect(struct run *r, const char *text)
{
	long long begin = now_ms();
	char *at;

	while (!(at = strstr(r->seen, text))) {
		if (now_ms() - begin > r->patience_ms) {
			fprintf(stderr, "pty: %s: not seen\n", text);
			finish(r, 124);
		}
		if (!look(r, 100)) {
			fprintf(stderr, "pty: %s: the program ended before\n", text);
			finish(r, 125);
		}
	}
	at += strlen(text);
	r->fill -= (size_t)(at - r->seen);
	memmove(r->seen, at, r->fill + 1);
	fprintf(stderr, "seen %s after %lld ms, %lld ms since the start\n", text, now_ms() - begin, now_ms() - r->started);
}

static void type(struct run *r, const char *text)
{
	char c;

	while ((c = *text++)) {
		if (c == '\\' && *text >= '0' && *text <= '3') {
			c = (char)((text[0] - '0') * 64 + (text[1] - '0') * 8 + (text[2] - '0'));
			text += 3;
		} else if (c == '\\') {
			c = *text == 'r' ? '\r' : *text == 'n' ? '\n' : *text == 'e' ? 27 : *text;
			text++;
		}
		if (write(r->master, &c, 1) != 1)
			finish(r, 125);
	}
}

static void step(struct run *r, const char *s)
{
	long long begin = now_ms();

	if (!strncmp(s, "expect:", 7)) {
		expect(r, s + 7);
	} else if (!strncmp(s, "send:", 5)) {
		fprintf(stderr, "sent at %lld ms\n", begin - r->started); /* at the earliest */
		type(r, s + 5);
	} else if (!strncmp(s, "sleep:", 6)) {
		while (now_ms() - begin < atoll(s + 6) && look(r, 20))
			;
	} else if (!strncmp(s, "file:", 5)) {
		while (access(s + 5, F_OK)) {
			if (now_ms() - begin > r->patience_ms)
				finish(r, 124);
			look(r, 20);
		}
	} else if (!strcmp(s, "end")) {
		while (look(r, 100))
			if (now_ms() - begin > r->patience_ms)
				finish(r, 124);
	} else {
		fprintf(stderr, "pty: %s: no such step\n", s);
		finish(r, 2);
	}
}

static void child(int slave, char **argv)
{
	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	dup2(slave, 0);
	dup2(slave, 1);
	dup2(slave, 2);
	if (slave > 2)
		close(slave);
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

int main(int argc, char **argv)
{
	static struct run r = { .patience_ms = 120000 };
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	int first = 1, dashes, slave, status;

	if (argc > 2 && !strcmp(argv[1], "-t")) {
		r.patience_ms = atoll(argv[2]) * 1000;
		first = 3;
	}
	for (dashes = first; dashes < argc && strcmp(argv[dashes], "--"); dashes++)
		;
	if (dashes >= argc - 1) {
		fprintf(stderr, "pty: usage: pty [-t SECONDS] STEP... -- PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	r.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (r.master < 0 || grantpt(r.master) || unlockpt(r.master) || (slave = open(ptsname(r.master), O_RDWR | O_NOCTTY)) < 0) {
		perror("pty");
		return 2;
	}
	ioctl(slave, TIOCSWINSZ, &size);
	r.started = now_ms();
	r.pid = fork();
	if (!r.pid)
		child(slave, argv + dashes + 1);
	close(slave);
	for (int i = first; i < dashes; i++)
		step(&r, argv[i]);
	while (look(&r, 100))
		if (now_ms() - r.started > 10 * r.patience_ms)
			finish(&r, 124);
	waitpid(r.pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
